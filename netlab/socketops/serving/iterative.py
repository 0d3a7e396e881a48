"""serve-tcp: one thread serves one client at a time, blocking; the next one waits in the accept queue.

The simplest server there is.  What it costs its clients is made visible: who waits, and for how long.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from netlab.records import Connected, Emit, Record, Waiting
from netlab.socketops.opening import Bound
from netlab.socketops.queues import accept_queue
from netlab.socketops.serving.clients import CLIENT_RECORDS, Clients
from netlab.socketops.serving.conversation import Conversation
from netlab.socketops.serving.entrance import Entrance, Shortage
from netlab.socketops.serving.replies import Reply
from netlab.socketops.stop import Stop, Watcher

if TYPE_CHECKING:
    from netlab.socketops.faultlab.faults import Faults

__all__ = ["serve_iteratively"]


def serve_iteratively(
    sockets: Sequence[Bound],
    *,
    reply: Reply,
    stop: Stop,
    emit: Emit,
    watch: Container[type[Record]] = CLIENT_RECORDS,
    faults: Faults | None = None,
    idle_timeout: float = 300.0,
    once: bool = False,
    duration: float = 0.0,
) -> None:
    """Serve one client after the other in the caller's thread, until the stop is set.

    Args:
      sockets: listeners; they stay the caller's to close.
      reply: what clients get.
      stop: ends it: the running reply has a second, every client sees the end of its connection.
      emit: takes the records: warnings and the Summary always, those of clients as ``watch`` says.
      watch: classes of Connected, Waiting, Received, Sent, FaultReport and Closed that are wanted; the others are never
          made.
      faults: what goes wrong on purpose.
      idle_timeout: seconds of silence after which a client is closed, 0 for never.
      once: end after one client.
      duration: seconds after which to end, 0 for never.

    Raises:
      LocalError: a listener is no listener any more.
      Exception: what ``emit`` raised, once.
    """
    if faults is not None and faults.never_accepts:
        from netlab.socketops.faultlab.misbehaving import serve_nobody

        serve_nobody(sockets, stop=stop, emit=emit, watch=watch, duration=duration)
        return
    clients = Clients(stop, emit, watch)
    conversation = Conversation(reply, stop, emit, watch, faults=faults, once=once)
    queue = _Queue(sockets, clients, emit if Waiting in watch else None)
    entrance = Entrance(sockets, stop, Shortage(stop, emit), idle_timeout=idle_timeout)

    def wake() -> None:
        entrance.wake()
        clients.end_all()

    watches_queue = Waiting in watch or Connected in watch
    with entrance, Watcher(stop, wake, duration=duration, tick=queue.look if watches_queue else None):
        while (arrival := entrance.accept()) is not None:
            client = clients.admit(*arrival, waited=queue.leave(arrival[2]))
            if client is not None:
                conversation.run(client, clients)
    emit(clients.summary())


class _Queue:
    """Who waits to be accepted, seen from time to time by another thread while a client is served.

    A client that came and was accepted between two looks is never seen waiting; nor is any on a unix listener, which
    does not tell.
    """

    def __init__(self, listeners: Sequence[Bound], clients: Clients, emit: Emit | None) -> None:
        # For each listener since when the clients in its queue are known to wait; accept takes the first.
        self._since = {bound.sock.fileno(): (bound, collections.deque[float]()) for bound in listeners}
        self._clients = clients
        self._emit = emit

    def look(self) -> None:
        """Compare the queues with what they were."""
        if len(self._clients):  # else nobody is in the way of those who come
            for bound, since in self._since.values():
                self._look_at(bound, since)

    def leave(self, bound: Bound) -> float | None:
        """Note that the first in a queue was accepted; return how many seconds it is known to have waited."""
        _, since = self._since[bound.sock.fileno()]
        return time.monotonic() - since.popleft() if since else None

    def _look_at(self, bound: Bound, since: collections.deque[float]) -> None:
        told = accept_queue(bound.sock)
        if told is None:
            return
        queued, backlog = told
        while len(since) > queued:
            since.popleft()
        if len(since) < queued:
            since.extend([time.monotonic()] * (queued - len(since)))
            if self._emit is not None:
                self._emit(Waiting(endpoint=bound.endpoint, queued=queued, backlog=backlog))
