"""Accepting one peer and no more, as ``nc -l`` does."""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence

from netlab.errors import LocalError
from netlab.socketops.opening import Bound

__all__ = ["accept_one"]

_ALREADY_GONE = (BlockingIOError, ConnectionAbortedError)
"""A client that gave up between poll and accept (accept(2))."""


def accept_one(bounds: Sequence[Bound]) -> socket.socket:
    """Wait for the first peer, and connect to it.

    Listeners are closed then, so that a second client is refused.  On datagram sockets the first datagram makes its
    sender the peer; it stays to be read, and from then on the kernel takes no other's.

    Args:
      bounds: listeners, or bound datagram sockets, which stay the caller's to close.

    Returns:
      a connected socket, the caller's.

    Raises:
      LocalError: no descriptors; or the sender of a unix datagram has no name, so that nothing can be sent to it.
    """
    by_fileno = {bound.sock.fileno(): bound for bound in bounds}
    while True:
        bound = by_fileno[_wait_readable(list(by_fileno))]
        if bound.endpoint.transport.is_datagram:
            return _connect_to_sender(bound)
        bound.sock.setblocking(False)
        try:
            sock, _ = bound.sock.accept()
        except _ALREADY_GONE:
            continue
        except OSError as exc:
            raise LocalError.from_os(exc, "accept", bound.endpoint) from None
        for other in bounds:
            other.close()
        return sock


def _wait_readable(filenos: list[int]) -> int:
    if not hasattr(select, "poll"):  # Windows
        return select.select(filenos, [], [])[0][0]
    poll = select.poll()
    for fileno in filenos:
        poll.register(fileno, select.POLLIN)
    return poll.poll()[0][0]


def _connect_to_sender(bound: Bound) -> socket.socket:
    sock = bound.sock.dup()
    try:
        _, sender = sock.recvfrom(1, socket.MSG_PEEK)
        if not sender:
            raise LocalError("accept", bound.endpoint, "the sender's socket has no name, so it cannot be answered")
        sock.connect(sender)
    except OSError as exc:
        sock.close()
        raise LocalError.from_os(exc, "accept", bound.endpoint) from None
    except BaseException:
        sock.close()
        raise
    return sock
