"""Waiting until a target gives the answer that is hoped for, with a deadline that holds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from netlab.endpoint import Endpoint
from netlab.records import Emit, Probe, Record
from netlab.reports import Diagnosis, Survey
from netlab.socketops.probing.attempts import Method
from netlab.socketops.probing.diagnosing import BEST_FIRST, OptionSet, diagnose
from netlab.socketops.probing.surveying import survey, survey_report
from netlab.socketops.probing.tally import Group, with_port
from netlab.socketops.stop import Stop

__all__ = ["survey_until", "wait_until"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.3
"""Seconds between two attempts, growing: quick where a server is about to start, gentle where none is near."""
_LAST_ATTEMPT = 0.05
"""Seconds that are kept for the last attempt."""


def wait_until(
    target: Endpoint,
    method: Method,
    *,
    wait: float,
    ok: Collection[str] = (),
    options: OptionSet = "none",
    tcp_info: bool = False,
    emit: Emit,
) -> Diagnosis:
    """Try again and again until the verdict is a yes, or the time is up.

    Args:
      target: as in `diagnose`, like ``method``, ``ok``, ``options`` and ``tcp_info``.
      wait: seconds from now after which no attempt goes on; the last one decides.
      emit: takes the attempt of each change that is no end yet.

    Returns:
      the last attempt's diagnosis; where there were several, its ``best`` tells how they went, as in
      ``refused x14 -> open``.
    """
    started = time.monotonic()
    give_up = min(started + wait, method.deadline)
    bounded = replace(method, deadline=give_up)
    history: list[tuple[str, int]] = []
    pauses = _pauses()
    while True:
        found = diagnose(target, bounded, ok=ok, options=options, tcp_info=tcp_info)
        verdict = found.best.verdict
        is_change = not history or history[-1][0] != verdict
        history = [*history, (verdict, 1)] if is_change else [*history[:-1], (verdict, history[-1][1] + 1)]
        found = _with_history(found, history, time.monotonic() - started)
        left = give_up - time.monotonic()
        if found.summary.status == 0 or left <= 2 * _LAST_ATTEMPT:
            return found
        if is_change and len(history) > 1:
            emit(found.best)
        time.sleep(min(next(pauses), left - _LAST_ATTEMPT))


def survey_until(
    groups: Sequence[Group],
    method: Method,
    *,
    wait: float,
    jobs: int = 256,
    rate: float | None = None,
    ok: Collection[str] = (),
    one_is_enough: bool = False,
    emit: Emit,
    stop: Stop | None = None,
) -> Survey:
    """Try many targets again and again until each is a yes (or one, if that is enough), or the time is up.

    Args:
      groups: as in `survey`, like all that is not named here.
      wait: as in `wait_until`.
      emit: takes a target's Probe when it becomes a yes, and in the end those of the others.
    """
    started = time.monotonic()
    give_up = min(started + wait, method.deadline)
    bounded = replace(method, deadline=give_up)
    left = {with_port(endpoint, port): port for endpoint, ports in groups for port in ports or (0,)}
    total, counts, pauses = len(left), Counter[str](), _pauses()
    while True:
        met: list[Record] = []
        again = [(target, (port,) if port else ()) for target, port in left.items()]
        survey(again, bounded, jobs=jobs, rate=rate, ok=ok, everything=True, emit=met.append, stop=stop)
        probes = [probe for probe in met if isinstance(probe, Probe)]
        for probe in probes:
            if probe.verdict in (ok or ("open",)):
                counts[probe.verdict] += 1
                del left[probe.target]
                emit(probe)
        is_enough = not left or (one_is_enough and counts)
        remaining = give_up - time.monotonic()
        if is_enough or remaining <= 2 * _LAST_ATTEMPT or (stop is not None and stop.is_set()):
            break
        pause = min(next(pauses), remaining - _LAST_ATTEMPT)
        stop.wait(pause) if stop else time.sleep(pause)
    for probe in probes:
        if probe.target in left:
            counts[probe.verdict] += 1
            emit(probe)
    return survey_report(
        {verdict: counts[verdict] for verdict in BEST_FIRST if counts[verdict]},
        total,
        ok=ok,
        one_is_enough=one_is_enough,
        duration=time.monotonic() - started,
        ended_by=stop.reason if stop and stop.is_set() else None,
    )


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 1.25, _LONGEST_PAUSE)


def _with_history(found: Diagnosis, history: list[tuple[str, int]], waited: float) -> Diagnosis:
    if sum(count for _, count in history) == 1:
        return found
    told = " -> ".join(f"{verdict} x{count}" if count > 1 else verdict for verdict, count in history)
    best = replace(found.best, history=told, waited_us=waited * 1e6)
    attempts = tuple(best if probe is found.best else probe for probe in found.attempts)
    return replace(found, best=best, attempts=attempts)
