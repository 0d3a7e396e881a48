"""serve-tcp --concurrent: one thread serves all clients from an event loop.

The loop asks the kernel which sockets have something to read (epoll(7)) and never waits for one of them alone.  Where a
client does not take its reply, the rest is kept, nothing more is read from that client, and the loop waits for room:
so memory is bounded by one chunk and its replies for each client.

What happens next at a descriptor is always one bound method, so a round trip of a plain echo costs two system calls
and no decision.  Time limits are looked at now and then by comparing byte counts; no message sets a timer.
"""

from __future__ import annotations

import contextlib
import functools
import math
import select
import selectors
import socket
import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

from netlab.records import Emit, FaultReport, Received, Record, Sent
from netlab.socketops.opening import Bound
from netlab.socketops.serving.clients import CLIENT_RECORDS, GRACE, UNFINISHED, Client, Clients, Ending
from netlab.socketops.serving.entrance import (
    PAUSE,
    SEND_TIMEOUT,
    Lost,
    Shortage,
    non_blocking,
    quick_accept,
    shut_down,
    time_limit,
)
from netlab.socketops.serving.replies import Reply
from netlab.socketops.serving.room import Room
from netlab.socketops.serving.talk import Loop, RoomTalk, Service, Talk
from netlab.socketops.serving.timers import Timer, Timers
from netlab.socketops.stop import Stop

if TYPE_CHECKING:
    from netlab.socketops.faultlab.faults import Faults

__all__ = ["serve_concurrently"]

_IN = getattr(select, "EPOLLIN", 1)
_OUT = getattr(select, "EPOLLOUT", 4)
_NEITHER = getattr(select, "EPOLLET", 0)
"""Errors and hang-ups are told always (epoll_ctl(2)); with this once, and not for as long as they last."""

_ACCEPTS = 64
"""Most clients that come in before those that are here have their turn; arbitrary.

At first it is one, then two, four and so on until there was nobody: to find that out costs a third of a client.
"""

_LOOKS = 8
"""Looks at a time limit before it can run out, so that it is kept to an eighth."""

_SHORTEST_LOOK = 0.01

_LONGEST_WAIT = 3600.0
"""Seconds until the loop wakes for nothing, so that it never has to ask whether anything is due at all."""


def serve_concurrently(
    sockets: Sequence[Bound],
    *,
    reply: Reply | Room,
    stop: Stop,
    emit: Emit,
    watch: Container[type[Record]] = CLIENT_RECORDS,
    max_clients: int | None = 1000,
    idle_timeout: float = 300.0,
    once: bool = False,
    duration: float = 0.0,
    faults: Faults | None = None,
) -> None:
    """Serve all clients at once in the caller's thread, until the stop is set.

    Args:
      sockets: listeners; they stay the caller's to close.
      reply: what clients get; or the room that they share.
      stop: ends it: running replies have a second, every client sees the end of its connection.
      emit: takes the records: warnings and the Summary always, those of clients as ``watch`` says.  While it blocks,
          nobody is served.
      watch: classes of Connected, Received, Sent, FaultReport and Closed that are wanted; the others are never made.
      max_clients: how many are served at once, None for no limit; one more is told so and closed.
      idle_timeout: seconds of silence after which a client is closed, 0 for never.
      once: end after one client.
      duration: seconds after which to end, 0 for never.
      faults: what goes wrong with each client; nothing in a room.

    Raises:
      LocalError: a listener is no listener any more.
      Exception: what ``emit`` raised, once.
    """
    if faults is not None and faults.never_accepts:
        from netlab.socketops.faultlab.misbehaving import serve_nobody

        serve_nobody(sockets, stop=stop, emit=emit, watch=watch, duration=duration)
        return
    clients = Clients(stop, emit, watch, limit=1 if once else max_clients)
    received, sent, struck = (emit if kind in watch else None for kind in (Received, Sent, FaultReport))
    service = Service(reply, stop, received=received, sent=sent, struck=struck, warn=emit, faults=faults)
    with non_blocking(sockets), _Poller() as poller:
        shortage = Shortage(stop, emit)
        loop = _Loop(sockets, poller, clients, service, shortage, stop, idle_timeout=idle_timeout, once=once)
        loop.end_after(duration)
        try:
            loop.run()
        finally:
            loop.abandon()
    emit(clients.summary())


class _Poller:
    """The part of select.epoll that is needed here, where the system has no epoll."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._selector = None if self._epoll else selectors.DefaultSelector()
        if self._epoll is not None:
            # Bound once: the loop calls the kernel's object without a step between.
            self.poll: Callable[[float], list[tuple[int, int]]] = self._epoll.poll
            self.register: Callable[[int, int], None] = self._epoll.register
            self.modify: Callable[[int, int], None] = self._epoll.modify
            self.unregister: Callable[[int], None] = self._epoll.unregister
            self.forget: Callable[[int], None] = _leave_to_close
        else:
            self.poll, self.register = self._select, self._register
            self.modify, self.unregister, self.forget = self._modify, self._unregister, self._unregister

    def __enter__(self) -> _Poller:
        return self

    def __exit__(self, *_: object) -> None:
        (self._epoll or self._other()).close()

    def _other(self) -> selectors.BaseSelector:
        assert self._selector is not None
        return self._selector

    def _select(self, timeout: float) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._other().select(timeout)]

    def _register(self, fd: int, events: int) -> None:
        self._other().register(fd, _selector_events(events))

    def _modify(self, fd: int, events: int) -> None:
        self._unregister(fd)
        if _selector_events(events):  # else whoever goes meanwhile is noticed later
            self._register(fd, events)

    def _unregister(self, fd: int) -> None:
        with contextlib.suppress(KeyError):  # nothing is waited for there
            self._other().unregister(fd)


def _leave_to_close(_fd: int) -> None:
    """Leave a descriptor that is about to be closed to its close, which takes it out of the set (epoll(7))."""


def _selector_events(events: int) -> int:
    return (selectors.EVENT_READ if events & _IN else 0) | (selectors.EVENT_WRITE if events & _OUT else 0)


class _Loop:
    """One event loop, its clients, and what is due when."""

    def __init__(
        self,
        listeners: Sequence[Bound],
        poller: _Poller,
        clients: Clients,
        service: Service,
        shortage: Shortage,
        stop: Stop,
        *,
        idle_timeout: float,
        once: bool,
    ) -> None:
        self._listeners = listeners
        self._poller = poller
        self._clients = clients
        self._service = service
        self._shortage = shortage
        self._stop = stop
        self._lost = Lost()
        self._idle_timeout = idle_timeout
        self._send_timeouts = {
            bound.sock: time_limit(bound.sock, socket.SO_SNDTIMEO) or SEND_TIMEOUT for bound in listeners
        }
        self._handlers: dict[int, Callable[[], None]] = {}
        self._talks: dict[int, Talk] = {}
        self._kind = _kind_of_talk(service)
        self._slow: set[Talk] = set()
        self._timers = Timers()
        self._once = once
        self._accepts = 1
        self._over = False
        self._end_at = self._idle_look_at = self._slow_look_at = self._reopen_at = math.inf
        self._due = time.monotonic() + _LONGEST_WAIT
        self._handlers[stop.fileno()] = self._begin_to_end
        poller.register(stop.fileno(), _IN)
        self._open()

    def end_after(self, duration: float) -> None:
        """Set the stop after so many seconds, 0 for never."""
        if duration:
            self._end_at = time.monotonic() + duration
            self._wake_at(self._end_at)

    def run(self) -> None:
        """Serve until the stop is set, and until everybody has gone."""
        poll, handlers, clock = self._poller.poll, self._handlers, time.monotonic
        while not self._over:
            left = self._due - clock()
            if left <= 0:
                self._do_what_is_due(clock())
                left = 0
            for fd, _events in poll(left):
                handler = handlers.get(fd)
                if handler is not None:  # else what came before it in this round has ended it
                    handler()

    def abandon(self) -> None:
        """Close the clients that are left, if an exception has ended the loop."""
        for talk in list(self._talks.values()):
            with contextlib.suppress(Exception):  # the first exception is on its way
                self.dismiss(talk, UNFINISHED)

    def dismiss(self, talk: Talk, ending: Ending) -> None:
        """End a conversation; `Talk` calls this."""
        client = talk.client
        fd = client.sock.fileno()
        if self._talks.get(fd) is not talk:  # ended already, by what another's end has led to
            return
        del self._talks[fd], self._handlers[fd]
        self._slow.discard(talk)
        talk.waits = False
        self._poller.forget(fd)
        talk.leave()
        client.bytes_in, client.bytes_out = talk.came, talk.went
        if self._stop.is_set() and ending.reason != "exit":
            ending = Ending("stopped")
        if ending.stops_server:
            self._stop.set("exit word")
        elif self._once:
            self._stop.set("--once")
        self._over = self._reopen_at == -math.inf and not self._talks
        self._clients.dismiss(client, ending)

    def wait_for_room(self, talk: Talk) -> None:
        """Call the talk again when its client takes more, and read nothing from it meanwhile; `Talk` calls this."""
        self._slow.add(talk)
        talk.waits = True
        fd = talk.client.sock.fileno()
        self._handlers[fd] = talk.carry_on
        self._poller.modify(fd, _OUT)
        look = time.monotonic() + self._slow_interval(talk)
        self._slow_look_at = min(self._slow_look_at, look)
        self._wake_at(look)

    def go_on_reading(self, talk: Talk) -> None:
        """Read from a client again that has taken all there was; `Talk` calls this."""
        self._slow.discard(talk)
        talk.waits = False
        fd = talk.client.sock.fileno()
        self._handlers[fd] = talk.read
        self._poller.modify(fd, _IN)

    def hold(self, talk: Talk, moment: float, over: Callable[[], None], gone: Callable[[], None]) -> Timer:
        """Leave a client alone until a moment, or the stop; what a fault asks for."""
        fd = talk.client.sock.fileno()
        self._handlers[fd] = gone
        self._poller.modify(fd, _NEITHER)
        return self.remind(moment, over)

    def remind(self, moment: float, action: Callable[[], None]) -> Timer:
        """Do something at a moment, or at the stop; `Talk` calls this."""
        self._wake_at(moment)
        return self._timers.add(moment, action)

    def let_go(self, timer: Timer) -> None:
        """Forget what was to be done at a moment."""
        self._timers.cancel(timer)

    def _open(self) -> None:
        for bound in self._listeners:
            self._handlers[bound.sock.fileno()] = functools.partial(self._accept, bound, quick_accept(bound.sock))
            self._poller.register(bound.sock.fileno(), _IN)

    def _shut(self) -> None:
        for bound in self._listeners:
            if self._handlers.pop(bound.sock.fileno(), None) is not None:
                self._poller.unregister(bound.sock.fileno())

    def _accept(self, bound: Bound, accept: Callable[[], tuple[socket.socket, object]]) -> None:
        for _ in range(self._accepts):
            try:
                sock, address = accept()
            except OSError as exc:
                self._accepts = 1
                shortage = self._lost.judge(exc, bound)
                if shortage is not None:  # those that are here are served meanwhile
                    self._shortage.tell(shortage)
                    self._shut()
                    self._reopen_at = time.monotonic() + PAUSE
                    self._wake_at(self._reopen_at)
                return
            self._lost.none()
            client = self._clients.admit(sock, address, bound)
            if client is not None:
                self._take_in(client, bound)
            if self._once or self._stop.is_set():
                return
        self._accepts = min(2 * self._accepts, _ACCEPTS)

    def _take_in(self, client: Client, bound: Bound) -> None:
        sock = client.sock
        sock.setblocking(False)
        if bound.adopted and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = self._kind(self, client, self._service, self._send_timeouts[bound.sock])
        fd = sock.fileno()
        self._talks[fd] = talk
        self._handlers[fd] = talk.read
        self._poller.register(fd, _IN)
        if self._idle_timeout and self._idle_look_at == math.inf:
            self._idle_look_at = time.monotonic() + self._idle_interval()
            self._wake_at(self._idle_look_at)
        talk.begin()

    def _begin_to_end(self) -> None:
        """Let every client see the end: what has come is still answered, for `GRACE` seconds at most."""
        self._shut()
        self._poller.unregister(self._stop.fileno())
        self._reopen_at = -math.inf  # never again
        self._end_at = time.monotonic() + GRACE
        self._wake_at(self._end_at)
        for talk in list(self._talks.values()):
            shut_down(talk.client.sock, socket.SHUT_RD)
        self._timers.run(math.inf)
        self._over = not self._talks

    def _wake_at(self, moment: float) -> None:
        self._due = min(self._due, moment)

    def _do_what_is_due(self, now: float) -> None:
        if now >= self._end_at:
            self._end_at = math.inf
            if self._stop.is_set():
                for talk in list(self._talks.values()):
                    self.dismiss(talk, Ending("stopped"))
            else:
                self._stop.set("--duration")
        if now >= self._reopen_at > -math.inf:
            self._reopen_at = math.inf
            self._open()
        if now >= self._idle_look_at:
            for talk in list(self._talks.values()):
                talk.look(now, self._idle_timeout)
            self._idle_look_at = now + self._idle_interval() if self._talks else math.inf
        if now >= self._slow_look_at:
            for talk in list(self._slow):
                talk.look(now, self._idle_timeout)
            self._slow_look_at = now + min(map(self._slow_interval, self._slow), default=math.inf)
        self._timers.run(now)
        reopen = self._reopen_at if self._reopen_at > 0 else math.inf
        longest = now + _LONGEST_WAIT
        self._due = min(self._end_at, reopen, self._idle_look_at, self._slow_look_at, self._timers.next, longest)

    def _idle_interval(self) -> float:
        return max(self._idle_timeout / _LOOKS, _SHORTEST_LOOK)

    def _slow_interval(self, talk: Talk) -> float:
        return max(talk.send_timeout / _LOOKS, _SHORTEST_LOOK)


def _kind_of_talk(service: Service) -> Callable[[Loop, Client, Service, float], Talk]:
    if service.room is not None:
        return RoomTalk
    # What only a few servers need costs nothing without them.
    if service.only_discards:
        from netlab.socketops.serving.discardingtalk import DiscardingTalk

        return DiscardingTalk
    if service.faults is not None:
        from netlab.socketops.faultlab.faultytalk import FaultyTalk

        return FaultyTalk
    return Talk
