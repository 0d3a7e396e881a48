"""The error queue: which ICMP message came back, of what type and code, and from whom (ip(7), IP_RECVERR).

Works without root, on UDP, ICMP and raw sockets, and for the SYN of a TCP connect too: so a firewall's reject is told
from the host's own RST.  Without it a connected UDP socket hears of 3/3, 3/10 and 3/13 only, an unconnected one of
nothing at all (observed on Linux 6.18; udp(7) says the first half).
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from typing import NamedTuple

from netlab.errors import LocalError
from netlab.explain import explain_icmp

__all__ = ["IcmpError", "drain_errors", "icmp_text", "listen_for_errors", "read_error", "stop_listening"]

# struct sock_extended_err (linux/errqueue.h): errno, origin, type, code, pad, info, data; a sockaddr follows.
_EXTENDED_ERROR = struct.Struct("=IBBBBII")
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3

_ON = sys.platform == "linux"
_LEVELS: dict[int, tuple[int, int]] = {
    # Python has no IP_RECVERR before 3.14; IPV6_RECVERR is 25 (linux/in6.h).
    socket.AF_INET: (socket.IPPROTO_IP, 11),
    socket.AF_INET6: (socket.IPPROTO_IPV6, 25),
}
_MSG_ERRQUEUE = getattr(socket, "MSG_ERRQUEUE", 0)
_LARGEST = 2048
"""Room for what we sent, which comes back at the front; of a larger datagram that much is enough."""


class IcmpError(NamedTuple):
    """One entry of the queue.

    ``version`` is 4 or 6 where an ICMP message brought it, with its ``type``, ``code`` and ``sender``; 0 where this
    host itself found the error.  ``data`` is what we had sent, as far as the message quotes it.  ``mtu`` is what the
    path takes, in bytes of IP, where the error is EMSGSIZE.
    """

    errno: int
    version: int
    type: int
    code: int
    sender: str
    data: bytes
    mtu: int = 0


def listen_for_errors(sock: socket.socket) -> None:
    """Ask the kernel to queue errors of this INET socket; nothing happens on other families and systems."""
    _set(sock, 1)


def stop_listening(sock: socket.socket) -> None:
    """Undo `listen_for_errors`, and drop what is queued (ip(7)): the socket is again as any program has it."""
    _set(sock, 0)


def read_error(sock: socket.socket) -> IcmpError | None:
    """Take the oldest error off the queue of a non-blocking socket; None where there is none.

    Raises:
      LocalError: the socket is closed.
    """
    if not _MSG_ERRQUEUE or sock.family not in _LEVELS:
        return None
    try:
        data, ancillary, _, _ = sock.recvmsg(_LARGEST, 512, _MSG_ERRQUEUE)
    except OSError as exc:
        if exc.errno == errno.EAGAIN:
            return None
        raise LocalError.from_os(exc, "recvmsg", "MSG_ERRQUEUE") from exc
    for level, kind, raw in ancillary:
        if (level, kind) == _LEVELS[sock.family] and len(raw) >= _EXTENDED_ERROR.size:
            return _decode(raw, data)
    return None


def drain_errors(sock: socket.socket) -> list[IcmpError]:
    """Take all errors off the queue of a socket, the oldest first: one that is left makes poll say so for ever.

    Raises:
      LocalError: the socket is closed.
    """
    errors = []
    while (error := read_error(sock)) is not None:
        errors.append(error)
    return errors


def icmp_text(icmp: IcmpError) -> str:
    """Name the message that brought an error, and its sender.

    >>> icmp_text(IcmpError(113, 4, 3, 1, "192.0.2.1", b""))
    'ICMP 3/1 host unreachable from 192.0.2.1'
    """
    name, _ = explain_icmp(4 if icmp.version == 4 else 6, icmp.type, icmp.code)
    sender = f" from {icmp.sender}" if icmp.sender else ""
    limit = f", next-hop MTU {icmp.mtu:,} B" if icmp.mtu else ""
    return f"ICMP{'v6' * (icmp.version == 6)} {icmp.type}/{icmp.code} {name}{sender}{limit}"


def _decode(raw: bytes, data: bytes) -> IcmpError:
    code_of_error, origin, kind, code, _, info, _ = _EXTENDED_ERROR.unpack_from(raw)
    version = {_ORIGIN_ICMP: 4, _ORIGIN_ICMP6: 6}.get(origin, 0)
    mtu = info if code_of_error == errno.EMSGSIZE else 0
    return IcmpError(code_of_error, version, kind, code, _sender(raw[_EXTENDED_ERROR.size :]), data, mtu)


def _sender(sockaddr: bytes) -> str:
    """Read the address in struct sockaddr_in or sockaddr_in6; empty where there is none."""
    family = int.from_bytes(sockaddr[:2], sys.byteorder)
    start, size = {socket.AF_INET: (4, 4), socket.AF_INET6: (8, 16)}.get(family, (0, 0))  # type: ignore[call-overload]
    address = sockaddr[start : start + size]
    if not size or len(address) != size:
        return ""
    return socket.inet_ntop(family, address)


def _set(sock: socket.socket, value: int) -> None:
    if _ON and sock.family in _LEVELS:
        sock.setsockopt(*_LEVELS[sock.family], value)
