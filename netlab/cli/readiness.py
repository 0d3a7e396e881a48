"""Readiness: how a parent learns that a server listens, and how it hands over sockets that already do.

``--ready-fd`` gets one line a socket, NOTIFY_SOCKET gets ``READY=1`` (sd_notify(3)), LISTEN_FDS brings listeners from
descriptor 3 on (sd_listen_fds(3)).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from netlab.errors import LocalError, UsageError

if TYPE_CHECKING:
    from netlab.socketops import Bound

__all__ = ["check_readiness", "inherited_listeners", "notify_ready"]

FIRST_INHERITED = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""


def inherited_listeners(kind: str, socket_class: type[socket.socket] = socket.socket) -> list[Bound]:
    """Return the sockets that the parent passed by LISTEN_FDS, none if it meant another process.

    Args:
      kind: ``stream`` for servers that accept, ``datagram`` for serve-udp.
      socket_class: what is made of each descriptor.

    Raises:
      LocalError: a descriptor is no socket of that kind, or none that listens.
    """
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_PID", None)
    os.environ.pop("LISTEN_FDNAMES", None)
    if not (count.isascii() and count.isdigit()):
        return []
    from netlab.socketops import adopt

    with ExitStack() as stack:
        adopted = []
        for fileno in range(FIRST_INHERITED, FIRST_INHERITED + int(count)):
            try:
                sock = stack.enter_context(socket_class(fileno=fileno))
            except OSError as exc:
                raise LocalError.from_os(exc, "adopt", f"descriptor {fileno}") from None
            sock.set_inheritable(False)
            bound = adopt(sock)
            if bound.endpoint.transport.is_datagram != (kind == "datagram"):
                raise LocalError("adopt", f"descriptor {fileno}", f"{bound.endpoint} is not a {kind} socket")
            if kind == "stream" and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                # systemd passes a connection where the unit says Accept=yes.
                raise LocalError("adopt", f"descriptor {fileno}", f"{bound.endpoint} does not listen")
            adopted.append(bound)
        stack.pop_all()
    return adopted


def check_readiness(ready_fd: int | None) -> None:
    """Refuse what could not be told that the server is ready while nothing is open yet: afterwards clients come.

    Raises:
      UsageError: ``ready_fd`` is not open for writing.
      LocalError: nobody listens at NOTIFY_SOCKET.
    """
    if ready_fd is not None:
        _write_ready_fd(ready_fd, b"")
    _notify(b"")


def _write_ready_fd(ready_fd: int, data: bytes) -> None:
    try:
        os.write(ready_fd, data)
    except OSError as exc:
        raise UsageError("write", f"--ready-fd {ready_fd}", (exc.strerror or "").lower(), errno=exc.errno) from None


def notify_ready(listeners: Sequence[Bound], ready_fd: int | None) -> None:
    """Tell whoever waits that the server listens: endpoints to ``ready_fd``, READY=1 to NOTIFY_SOCKET.

    Raises:
      UsageError: ``ready_fd`` is not open for writing.
      LocalError: NOTIFY_SOCKET does not take the word.
    """
    if ready_fd is not None:
        lines = "".join(f"{bound.endpoint}\n" for bound in listeners)
        _write_ready_fd(ready_fd, os.fsencode(lines))
        if ready_fd > 2:  # standard output and error are still needed
            os.close(ready_fd)
    _notify(b"READY=1\n")


def _notify(message: bytes) -> None:
    """Connect to NOTIFY_SOCKET, where there is one, and send the message, unless it is empty."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = b"\0" + os.fsencode(path[1:]) if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(1.0)
        try:
            manager.connect(address)
            if message:
                manager.send(message)
        except OSError as exc:
            raise LocalError.from_os(exc, "notify", path) from None
