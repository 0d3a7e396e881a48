"""How much waits in a socket's queues: bytes unread, bytes unacknowledged, connections not yet accepted.

None everywhere means that this kind of socket, or this system, does not tell.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys

from netlab.errors import LocalError

__all__ = ["accept_queue", "dropped", "unacknowledged", "unread"]

_TCP_LISTEN = 10
# The start of struct tcp_info (tcp(7)): state, 23 bytes, unacked, sacked.
_LISTENER_INFO = struct.Struct("=B23xII")
_SO_MEMINFO = 55
# sk_meminfo of linux/sock_diag.h; drops are the last.
_MEMINFO = struct.Struct("=9I")
_UNTOLD = frozenset({errno.EINVAL, errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOPROTOOPT})
"""ioctl and getsockopt on a socket that has no such queue: a listener, a raw socket, another family."""


def unread(sock: socket.socket) -> int | None:
    """Return the bytes that came and were not read yet (SIOCINQ); for datagrams the size of the next one.

    Raises:
      LocalError: the socket is closed.
    """
    return _ask(sock, "FIONREAD")


def unacknowledged(sock: socket.socket) -> int | None:
    """Return the bytes that were sent and that the peer's kernel has not acknowledged (SIOCOUTQ).

    A unix socket has no acknowledgements: there it is what the peer has not read, with the kernel's own overhead.

    Raises:
      LocalError: the socket is closed.
    """
    return _ask(sock, "TIOCOUTQ")


def accept_queue(listener: socket.socket) -> tuple[int, int] | None:
    """Return how many finished connections wait to be accepted, and the backlog; Linux queues one more than that.

    Only TCP tells: a unix listener's queue is in sock_diag(7) alone.

    Raises:
      LocalError: the socket is closed.
    """
    if sys.platform != "linux" or listener.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        raw = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LISTENER_INFO.size)
    except OSError as exc:
        if exc.errno in _UNTOLD:
            return None
        raise LocalError.from_os(exc, "getsockopt", "TCP_INFO") from exc
    state, queued, backlog = _LISTENER_INFO.unpack(raw)
    return (queued, backlog) if state == _TCP_LISTEN else None


def dropped(sock: socket.socket) -> int | None:
    """Return how many datagrams the kernel has dropped at this socket, most for want of room in its receive queue.

    The same count as SO_RXQ_OVFL would bring along with every datagram (socket(7)), at no cost for each.

    Raises:
      LocalError: the socket is closed.
    """
    if sys.platform != "linux":
        return None
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
    except OSError as exc:
        if exc.errno in _UNTOLD:
            return None
        raise LocalError.from_os(exc, "getsockopt", "SO_MEMINFO") from exc
    return int(_MEMINFO.unpack(raw)[-1])


def _ask(sock: socket.socket, request: str) -> int | None:
    if sys.platform == "win32":
        return None
    import fcntl
    import termios

    # SIOCINQ and SIOCOUTQ are Linux's other names of these two (tcp(7)).
    descriptor = sock.fileno()
    if descriptor < 0:  # ioctl would raise ValueError
        raise LocalError("ioctl", request, errno=errno.EBADF)
    try:
        answer = fcntl.ioctl(descriptor, getattr(termios, request), bytes(4))
    except OSError as exc:
        if exc.errno in _UNTOLD:
            return None
        raise LocalError.from_os(exc, "ioctl", request) from exc
    return int.from_bytes(answer, sys.byteorder)
