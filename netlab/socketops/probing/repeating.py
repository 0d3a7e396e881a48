"""Probing one target again and again: a line for each attempt, and figures at the end, whatever ends it."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from netlab.endpoint import Endpoint, Transport
from netlab.records import Emit
from netlab.reports import ProbeSummary, Repeated, Repetition
from netlab.socketops.connecting import is_self_connect, open_client_socket, start_connect
from netlab.socketops.optionvalues import RESET_ON_CLOSE
from netlab.socketops.probing.attempts import Method, Tried, finish, try_all
from netlab.socketops.probing.diagnosing import BEST_FIRST, best_of, report, resolve_and_try, status_of
from netlab.socketops.stats import Samples
from netlab.socketops.tcpinfo import read_rtt

__all__ = ["Repeating"]

_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0}
_HASTE = 0.1
"""Seconds between connections below which they are reset and not closed: else this host's ports are all in TIME_WAIT
before the first is free again, a minute later (tcp(7))."""
_AT_ONCE = 64
"""Attempts in haste between two looks at the clock; arbitrary, some 5 ms."""


class Repeating:
    """Attempts at one target, and what came of them so far.

    The figures are there at any time: who interrupts `run` can still ask for the `report`.

    Args:
      target: as in `diagnose`, like ``ok``.  A name is resolved once; the first address that is open is kept.
      method: as in `diagnose`; one datagram or echo request an attempt, so that each loss counts.
      emit: takes a Repeated an attempt.
    """

    def __init__(self, target: Endpoint, method: Method, *, ok: Collection[str] = (), emit: Emit) -> None:
        self._target = target
        self._method = replace(method, tries=1)
        self._ok = ok
        self._emit = emit
        self._started = time.perf_counter()
        self._addresses: list[Endpoint] = []
        self._begun = 0
        self._counts: Counter[str] = Counter()
        self._best: Tried | None = None
        self._times, self._kernel_times = Samples(), Samples()

    def run(self, *, count: int | None, interval: float, duration: float = math.inf) -> None:
        """Attempt ``count`` times (None: without end), one every ``interval`` seconds or as soon as the last is over.

        Args:
          duration: seconds after which no attempt is begun and none goes on.
        """
        end = min(time.monotonic() + duration, self._method.deadline)
        method = replace(self._method, deadline=end)
        due = time.monotonic()
        last = math.inf if count is None else self._begun + count
        while self._begun < last:
            now = time.monotonic()
            if now < due:
                time.sleep(min(due, end) - now)
                now = time.monotonic()
            if now >= end:
                return
            due = max(due + interval, now)
            if interval == 0 and self._is_open_tcp:
                self._connect_in_haste(method, min(_AT_ONCE, last - self._begun))
                continue
            self._begun += 1
            number = self._begun
            with contextlib.ExitStack() as sockets:
                tried = best_of(self._attempt(method, number, sockets))
                if interval < _HASTE and tried.sock and self._target.transport is Transport.TCP:
                    _reset_on_close(tried.sock)
            self._take(tried, number, shown=interval > 0)

    def report(self, ended_by: str | None = None) -> Repetition:
        """Return the figures on all attempts so far."""
        duration = time.perf_counter() - self._started
        status, told = 0, None
        verdict = next((verdict for verdict in BEST_FIRST if self._counts[verdict]), None)
        if self._best and verdict:
            status = 0 if any(self._counts[word] for word in self._ok) else status_of(verdict, self._ok)
            told = report(self._target, [self._best], self._method, duration, ok=self._ok) if status else None
        summary = ProbeSummary(
            target=self._target,
            verdict=verdict,
            attempts=self._begun,
            verdicts={word: self._counts[word] for word in BEST_FIRST if self._counts[word]},
            duration_us=duration * 1e6,
            status=status,
            ended_by=ended_by,
            statistics=self._times.figures(_PERCENTILES) | self._kernel_times.figures(_PERCENTILES, "kernel_"),
            histogram=tuple((low * 1e6, high * 1e6, count) for low, high, count in self._times.histogram()) or None,
        )
        if told is None:
            return Repetition(summary=summary)
        return Repetition(
            summary=summary, means=told.means, likely=told.likely, next_steps=told.next_steps, failure=told.failure
        )

    def _attempt(self, method: Method, number: int, sockets: contextlib.ExitStack) -> list[Tried]:
        if not self._addresses:
            tried = resolve_and_try(self._target, method, sockets, number=number)
            self._addresses = [one.probe.endpoint for one in tried if one.probe.endpoint]
            return tried
        return try_all([(self._target, address) for address in self._addresses], method, sockets, number=number)

    @property
    def _is_open_tcp(self) -> bool:
        return self._target.transport is Transport.TCP and self._best is not None and self._best.probe.verdict == "open"

    def _connect_in_haste(self, method: Method, most: float) -> None:
        """Connect again and again to a TCP address that was open, until one attempt is not.

        What runs between two attempts pushes the kernel's code out of the caches: 0.1 ms of Python makes the next
        connect() 3 us slower.  So nothing is done in between that can wait.
        """
        (address,) = self._addresses
        figures: list[tuple[float, int]] = []
        tried = None
        try:
            while len(figures) < most and tried is None:
                self._begun += 1
                with open_client_socket(
                    address, source=method.source, settings=method.settings, socket_class=method.socket_class
                ) as sock:
                    attempt = start_connect(sock, address)
                    _reset_on_close(sock)
                    if attempt.errno == 0 and not is_self_connect(attempt):
                        figures.append((attempt.duration, read_rtt(sock) or 0))
                    else:
                        tried = finish((self._target, address), attempt, method)
        finally:
            self._counts["open"] += len(figures)
            for duration, rtt in figures:
                self._times.add(duration)
                self._kernel_times.add(rtt / 1e6)
        if tried is not None:
            self._take(tried, self._begun, shown=False)

    def _take(self, tried: Tried, number: int, *, shown: bool) -> None:
        probe, reply = replace(tried.probe, number=number), tried.reply
        self._counts[probe.verdict] += 1
        if self._best is None or best_of([self._best, tried]) is tried:
            self._best = tried
        if probe.verdict == "open" and probe.endpoint:
            self._addresses = [probe.endpoint]
            self._times.add((reply.rtt_us if reply else probe.duration_us) / 1e6)
            if probe.rtt_us is not None:
                self._kernel_times.add(probe.rtt_us / 1e6)
        if shown:
            self._emit(Repeated(probe=probe, reply=reply))


def _reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
