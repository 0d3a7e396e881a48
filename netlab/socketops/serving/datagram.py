"""serve-udp: one thread, bound sockets, many peers; each datagram stands for itself.

An answer comes from the address that was asked, for a client may have asked that one alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from netlab.records import Emit, Record
from netlab.socketops.opening import Bound
from netlab.socketops.serving.clients import CLIENT_RECORDS
from netlab.socketops.serving.datagramserver import DatagramServer
from netlab.socketops.serving.pktinfo import destinations_told
from netlab.socketops.serving.replies import Reply
from netlab.socketops.stop import Stop, Watcher

if TYPE_CHECKING:
    from netlab.socketops.faultlab.faults import Faults

__all__ = ["serve_datagrams"]


def serve_datagrams(
    sockets: Sequence[Bound],
    *,
    reply: Reply,
    stop: Stop,
    emit: Emit,
    watch: Container[type[Record]] = CLIENT_RECORDS,
    once: bool = False,
    duration: float = 0.0,
    faults: Faults | None = None,
) -> None:
    """Answer each datagram by itself, in the caller's thread, until the stop is set.

    Args:
      sockets: bound datagram sockets; they stay the caller's to close.  On those that were not adopted, replies are
          marked (see `hopmark`): all of them, for the mark is set before the first datagram is read.
      reply: what a datagram gets: bytes are one datagram each, a Close stops the server.
      stop: ends it.
      emit: takes the records: warnings and the Summary always, Received, Sent and FaultReport as ``watch`` says.
      watch: which of these are wanted; the others are never made.
      once: end after one datagram that was answered.
      duration: seconds after which to end, 0 for never.
      faults: what goes wrong with the replies.

    Raises:
      LocalError: a socket cannot be read any more; or there is none to be had for answers from another port.
      Exception: what ``emit`` raised, once.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(destinations_told(sockets))
        if faults is None:
            server = DatagramServer(sockets, reply, stop, emit, watch, once=once)
        else:
            # What only faults need costs nothing without them.
            from netlab.socketops.faultlab.faultydatagrams import faulty_server

            server = stack.enter_context(faulty_server(sockets, reply, stop, emit, watch, once=once, faults=faults))
        with Watcher(stop, server.wake, duration=duration, tick=server.tell_drops, interval=1.0):
            server.run()
        server.tell_drops()
        emit(server.summary())
