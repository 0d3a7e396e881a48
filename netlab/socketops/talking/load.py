"""Load: exchanges by the thousand over several connections, each timed and checked, from one thread.

One thread and epoll, because threads in one interpreter wait for each other: 50 of them are slower than one loop.

Closed loop: a connection sends its next message when the reply to the last is whole.  Open loop (``rate``): messages
are due by a fixed schedule, whatever the server does, and a reply's time counts from when its message was due.  A
closed loop sends less just while the server is slow, and so hides what its users would have waited ("coordinated
omission", Tene 2013).
"""

from __future__ import annotations

import heapq
import math
import select
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netlab.endpoint import Endpoint
from netlab.errors import (
    AnswerNo,
    ClosedWithoutReply,
    ConnectError,
    LocalError,
    NetlabError,
    TimedOut,
    errno_name,
)
from netlab.explain import verdict_of_connect
from netlab.reports import LoadReport
from netlab.socketops.sockopts import Setting
from netlab.socketops.stats import Samples
from netlab.socketops.stop import Stop
from netlab.socketops.talking.connection import BROKEN, Connection
from netlab.socketops.talking.exchanging import wait_acknowledged
from netlab.socketops.talking.slot import Conversation, Outcome, Slot
from netlab.socketops.talking.until import Expect, Until
from netlab.values import format_count

__all__ = ["Load", "Plan"]

_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p999": 99.9}
_SECOND = 1_000_000_000
_LOOK = _SECOND // 20
"""Nanoseconds between two looks for what has taken too long."""
_PAUSE = _SECOND // 10
"""Nanoseconds until a connection is tried again that could not be made; arbitrary."""
_SPIN = 100_000
"""Nanoseconds before a message is due in which the clock is watched and nothing is slept: a sleeper wakes some 60 us
late (PR_SET_TIMERSLACK, prctl(2)), which would count as the server's."""
_SELECTABLE = 1024
"""FD_SETSIZE of select(2), the one wait that Python gives in microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much load, how fast, and for how long.

    Attributes:
      count: exchanges over all connections; 0 for no limit.
      jobs: connections.
      rate: exchanges a second over all connections, by schedule; 0 for as many as replies allow.
      interval: seconds on each connection from one message to the next, at least.
      reconnect: a connection for each exchange, whose time then includes connecting.
      duration: seconds; 0 for no limit.
      deadline: instant of time.monotonic() by which all has to be done.
      timeout: seconds for connecting, and for each reply; 0 for no limit.
      half_close: end the sending side after a message, which needs ``reconnect``.
    """

    count: int = 0
    jobs: int = 1
    rate: float = 0.0
    interval: float = 0.0
    reconnect: bool = False
    duration: float = 0.0
    deadline: float = math.inf
    timeout: float = 5.0
    half_close: bool = False


class Load:
    """A run of a plan.  What fails in it is counted, and raises nothing.

    Args:
      connection: the first; all others go to the same address.
      messages: sent in turn on each connection; an empty one only reads.
      plan: how many, how fast.
      until: as in `exchange`, but that a silence ends no reply here: it would be all that is measured.  None is
          ``first``, but for an echo, which is whole with its last byte.
      expect: what every reply must hold.
      source, settings: of the other connections, as in `connect`.
    """

    def __init__(
        self,
        connection: Connection,
        messages: Sequence[bytes],
        plan: Plan,
        *,
        until: Until | None = None,
        expect: Expect | None = None,
        source: Endpoint | None = None,
        settings: Sequence[Setting] = (),
    ) -> None:
        if not hasattr(select, "epoll"):
            raise LocalError("load", connection.target, "this system has no epoll(7)")
        self._plan = plan
        self._what = Conversation(
            target=connection.target,
            address=connection.peer,
            messages=messages,
            until=Until("first") if until is None and not (expect and expect.kind == "echo") else until,
            expect=expect,
            timeout=plan.timeout,
            half_close=plan.half_close,
            source=source,
            settings=settings,
            socket_class=type(connection.sock),
        )
        self._begun = self._done = 0
        self._failures: Counter[str] = Counter()
        self._first_failures: dict[str, NetlabError] = {}
        self._times = Samples()
        self._started = self._ended = time.monotonic_ns()
        self._ended_by: str | None = None
        self._between = round(_SECOND / plan.rate) if plan.rate else 0
        self._is_chained = not (plan.rate or plan.interval or self._what.awaits_none)
        self._poll = select.epoll()
        jobs = min(plan.jobs, plan.count or plan.jobs)
        self._slots = [Slot(number, self._what, self._poll) for number in range(jobs)]
        self._slots[0].adopt(connection.sock)
        self._by_fileno = {self._slots[0].fileno: self._slots[0]}
        self._free = deque(self._slots)
        self._sleeping: list[tuple[int, int]] = []  # when a slot is free again, and its number

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        for slot in self._slots:
            slot.close()
        self._poll.close()

    def run(self, *, stop: Stop | None = None, progress: Callable[[int], None] | None = None) -> None:
        """Run the plan to its end.

        Args:
          stop: ends it before.
          progress: told how many exchanges are over, some 20 times a second.
        """
        if stop is not None:
            self._poll.register(stop.fileno(), select.EPOLLIN)
        self._started = now = look = time.monotonic_ns()
        end, end_is = self._end_of_run(now)
        while True:
            self._begin_due(now)
            if now >= look:
                look = now + min(_LOOK, round(self._plan.timeout * _SECOND / 4) or _LOOK)
                self._give_up_late(now)
                if progress:
                    progress(self._done)
            if self._plan.count and self._done + self._failures.total() >= self._plan.count:
                break
            if stop is not None and stop.is_set():
                self._ended_by = stop.reason
                break
            if now >= end:
                self._ended_by = end_is
                break
            for fileno, events in self._wait(now, min(look, end)):
                self._go_on(fileno, events)
            now = time.monotonic_ns()
        self._settle()
        self._ended = time.monotonic_ns()

    def _end_of_run(self, now: int) -> tuple[int, str]:
        """Return when the run ends in any case, and what says so."""
        never = now + (1 << 62)
        duration = now + round(self._plan.duration * _SECOND) if self._plan.duration else never
        deadline = never if self._plan.deadline == math.inf else round(self._plan.deadline * _SECOND)
        return min((duration, "--duration"), (deadline, "--deadline"))

    def report(self) -> LoadReport:
        """Return the figures on all exchanges so far."""
        seconds = max(self._ended - self._started, 1) / _SECOND
        slots = self._slots
        return LoadReport(
            target=self._what.target,
            exchanges=self._done,
            connections=len(slots),
            exchanges_per_s=self._done / seconds,
            failed=self._failures.total(),
            failures={f"failed_{kind}": count for kind, count in self._failures.most_common()},
            unfinished=sum(slot.is_busy for slot in slots),
            reconnects=sum(max(slot.opened - 1, 0) for slot in slots),
            bytes_out=sum(slot.bytes_out for slot in slots),
            bytes_in=sum(slot.bytes_in for slot in slots),
            duration_us=seconds * 1e6,
            asked_per_s=self._plan.rate or None,
            checked=self._what.expect.kind if self._what.expect else None,
            reconnecting=self._plan.reconnect,
            ended_by=self._ended_by,
            statistics=self._times.figures(_PERCENTILES),
            histogram=tuple((low * 1e6, high * 1e6, count) for low, high, count in self._times.histogram()) or None,
        )

    def failure(self) -> NetlabError | None:
        """Return what the run comes to where not all went well.

        That is a no; or, if every exchange failed in the same way, that way; or the deadline.
        """
        failed, target = self._failures.total(), self._what.target
        told = f"{format_count(failed)} of {format_count(failed + self._done)} exchanges failed"
        if failed and not self._done and len(self._failures) == 1:
            (error,) = self._first_failures.values()
            error.facts = (told, *error.facts)
            return error
        if failed:
            kinds = self._failures.most_common()
            facts = (f"{format_count(count)} {kind}, first: {self._first_failures[kind]}" for kind, count in kinds)
            return AnswerNo("exchange", target, told, facts=tuple(facts))
        if self._ended_by == "--deadline":
            return TimedOut("exchange", target, "not all was done before the deadline")
        return None

    def _begin_due(self, now: int) -> None:
        """Begin what is due, on the connections that are free."""
        while self._sleeping and self._sleeping[0][0] <= now:
            self._free.append(self._slots[heapq.heappop(self._sleeping)[1]])
        for _ in range(len(self._free)):
            if self._all_begun() or self._due() > now:
                return
            self._begin(self._free.popleft(), now)

    def _all_begun(self) -> bool:
        return bool(self._plan.count) and self._begun >= self._plan.count

    def _due(self) -> int:
        """Return when the schedule has the next message; where there is none, the start."""
        return self._started + self._begun * self._between

    def _begin(self, slot: Slot, now: int) -> None:
        slot.began = self._due() if self._between else now
        slot.limit = now + round(self._plan.timeout * _SECOND)
        self._begun += 1
        before = slot.fileno
        outcome = slot.begin()
        if slot.fileno != before:
            self._by_fileno[slot.fileno] = slot
        if outcome:
            self._end(slot, outcome)

    def _go_on(self, fileno: int, events: int) -> None:
        slot = self._by_fileno.get(fileno)
        if slot is None:  # the stop
            return
        outcome = slot.ready(events)
        if outcome and slot.is_busy:
            self._end(slot, outcome)
        elif outcome:  # the peer leaves between two exchanges, as it may
            self._drop(slot)

    def _end(self, slot: Slot, outcome: Outcome) -> None:
        """Count an exchange, and let its slot begin the next, at once where nothing speaks against it."""
        now = time.monotonic_ns()
        slot.is_busy = False
        if isinstance(outcome, NetlabError):
            self._fail(slot, outcome, now)
            return
        self._done += 1
        if not self._what.awaits_none:
            self._times.add((now - slot.began) / _SECOND)
        if self._plan.reconnect or slot.is_spent:
            self._drop(slot)
        if self._plan.interval:
            heapq.heappush(self._sleeping, (slot.began + round(self._plan.interval * _SECOND), slot.number))
        elif self._is_chained and not self._all_begun():
            self._begin(slot, now)
        else:
            self._free.append(slot)

    def _fail(self, slot: Slot, error: NetlabError, now: int) -> None:
        kind = _kind_of(error, "unix" if self._what.target.transport.is_unix else "tcp")
        self._failures[kind] += 1
        if kind not in self._first_failures:
            self._first_failures[kind] = error
        self._drop(slot)
        # Whoever closes what was connected is tried again at once; whoever is not there, later.
        pause = _PAUSE if isinstance(error, ConnectError | LocalError) else 0
        heapq.heappush(self._sleeping, (now + pause, slot.number))

    def _drop(self, slot: Slot) -> None:
        self._by_fileno.pop(slot.fileno, None)
        slot.close()

    def _give_up_late(self, now: int) -> None:
        for slot in self._slots if self._plan.timeout else ():
            if slot.is_busy and now >= slot.limit:
                self._end(slot, slot.too_late())

    def _wait(self, now: int, until: int) -> list[tuple[int, int]]:
        """Wait for events, or until the next message is due, to some microseconds where that is a matter of them."""
        if self._sleeping:
            until = min(until, self._sleeping[0][0])
        if self._free and not self._all_begun():
            until = min(until, self._due())
        left = until - now
        if self._is_chained or left > 2_000_000:
            # epoll counts milliseconds, and Python rounds up.
            return self._poll.poll(max(left / _SECOND - (0 if self._is_chained else 0.001), 0))
        if left > _SPIN and self._poll.fileno() < _SELECTABLE:
            select.select([self._poll], [], [], (left - _SPIN) / _SECOND)
        return self._poll.poll(0)

    def _settle(self) -> None:
        """Where no reply was awaited, wait until the peer's kernel has acknowledged all that was sent."""
        for slot in self._slots if self._what.awaits_none else ():
            if slot.sock is not None:
                try:
                    wait_acknowledged(Connection(slot.sock, self._what.target), timeout=self._plan.timeout)
                except BROKEN as exc:
                    self._fail(slot, exc, 0)


def _kind_of(error: NetlabError, family: str) -> str:
    """Return the word under which a failure is counted; ``closed`` is not UDP's here, so UDP has TCP's words."""
    if isinstance(error, ConnectError):
        return verdict_of_connect(error.errno or 0, family)
    for kind, word in ((TimedOut, "timeout"), (ClosedWithoutReply, "closed"), (AnswerNo, "unexpected")):
        if isinstance(error, kind):
            return word
    if error.errno_name in ("ECONNRESET", "EPIPE", "ENOTCONN"):
        return "reset"
    return errno_name(error.errno).lower() if error.errno else "local"
