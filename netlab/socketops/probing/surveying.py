"""Probing many targets: hosts by turns, each target's best address counts, what is open is told at once."""

from __future__ import annotations

import contextlib
import itertools
import math
import select
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from netlab.endpoint import Endpoint, Transport
from netlab.errors import AnswerNo, LocalError, ResolveError, TimedOut
from netlab.records import Emit, ErrorReport, Probe
from netlab.reports import ProbeSummary, Survey
from netlab.socketops.connecting import addresses_to_try
from netlab.socketops.probing import evidence
from netlab.socketops.probing.attempts import Method, try_all
from netlab.socketops.probing.scanning import Outcome, Place, Refusals, inet_address, is_local, scan_here, scan_window
from netlab.socketops.probing.tally import Group, Tally, with_port
from netlab.socketops.stop import Stop

__all__ = ["REMOTE_RATE", "survey", "survey_report"]

T = TypeVar("T")

REMOTE_RATE = 500.0
"""Attempts a second at other hosts, unless asked for otherwise: what a firewall does not yet call a flood."""
_HAS_WINDOW = hasattr(select, "poll")
"""Windows has none; TCP is tried in batches there, as all else is."""
_RESOLVERS = 16
"""Names looked up at a time; arbitrary, and more than the servers in resolv.conf."""
_BATCH_SECONDS = 0.5
"""A batch of datagrams is what the rate allows in this time."""
_BATCH_MAX = 4096 if _HAS_WINDOW else 400
"""Sockets of a batch at most; arbitrary, but for Windows, where select() takes 512."""


def survey(
    groups: Sequence[Group],
    method: Method,
    *,
    jobs: int = 256,
    rate: float | None = None,
    ok: Collection[str] = (),
    one_is_enough: bool = False,
    everything: bool = False,
    emit: Emit,
    progress: Callable[[int], None] | None = None,
    stop: Stop | None = None,
) -> Survey:
    """Try every port of every group, and tell which are a yes.

    Args:
      groups: what to try; names are resolved first, side by side, and all addresses of a name are tried.
      method: how; its deadline ends the run.
      jobs: attempts at a time, each of which takes a descriptor.
      rate: attempts a second, 0 for no limit; None for none on this host and `REMOTE_RATE` elsewhere.
      ok: verdicts that count as yes; empty for ``open``.
      one_is_enough: whether one yes makes the status 0; else all have to be one.
      everything: show every target, and not only what is a yes; few targets are all shown anyway.
      emit: takes a Probe a target that is shown.
      progress: told how many targets are done.
      stop: ends the run early.

    Returns:
      the counts, and the status 0 or 1, with the reason for a 1.
    """
    started = time.perf_counter()
    tally = Tally(groups, frozenset(ok or ("open",)), everything=everything, emit=emit, progress=progress)
    hosts = _resolve_all(groups, method, tally)
    over_tcp = [host for host in hosts if host.transport is Transport.TCP and _HAS_WINDOW]
    for outcome in _tcp_outcomes(over_tcp, method, jobs, rate, tally, stop):
        if isinstance(outcome, Refusals):
            tally.take_refusals(outcome)
        else:
            tally.take(outcome)
    for transport in Transport:
        chosen = [host for host in hosts if host.transport is transport]
        if chosen and not (_HAS_WINDOW and transport is Transport.TCP):
            _try_others(chosen, method, jobs, rate, tally, stop)
    tally.flush()
    ended_by = stop.reason if stop and stop.is_set() else "--deadline" if tally.done < tally.total else None
    return survey_report(
        tally.counts(),
        tally.total,
        ok=ok,
        one_is_enough=one_is_enough,
        duration=time.perf_counter() - started,
        ended_by=ended_by,
    )


def survey_report(
    counts: dict[str, int],
    total: int,
    *,
    ok: Collection[str],
    one_is_enough: bool,
    duration: float,
    ended_by: str | None = None,
) -> Survey:
    """Make the report on many targets: ``counts`` of them by verdict, of ``total`` that there are."""
    yes, done = sum(counts.get(verdict, 0) for verdict in ok or ("open",)), sum(counts.values())
    enough = yes > 0 if one_is_enough else yes == total
    summary = ProbeSummary(
        attempts=done,
        verdicts=counts,
        duration_us=duration * 1e6,
        status=0 if enough else AnswerNo.status,
        ended_by=ended_by,
        not_tried=total - done or None,
    )
    if enough:
        return Survey(summary=summary)
    which = "no target is" if yes == 0 else f"{total - yes:,} of {total:,} targets are not"
    error = AnswerNo("probe", "", f"{which} {' or '.join(ok) or 'open'}")
    return Survey(
        summary=summary,
        failure=ErrorReport(message=str(error), status=error.status, operation=error.operation, where=error.where),
    )


@dataclass(frozen=True, slots=True)
class _Host:
    """One address of one group."""

    group: int
    target: Endpoint
    address: Endpoint
    ports: tuple[int, ...]
    is_local: bool

    @property
    def transport(self) -> Transport:
        return self.target.transport


def _resolve_all(groups: Sequence[Group], method: Method, tally: Tally) -> list[_Host]:
    """Return all addresses of all groups; a group whose name has none is settled at once."""

    def look_up(endpoint: Endpoint) -> list[Endpoint] | Probe:
        started = time.perf_counter()
        limit = method.limit(endpoint.transport)
        try:
            return addresses_to_try(
                endpoint, family=method.family, source=method.source, timeout=0 if limit == math.inf else limit
            )
        except (ResolveError, TimedOut) as exc:
            return evidence.not_resolved(endpoint, exc, time.perf_counter() - started)

    endpoints = [endpoint for endpoint, _ in groups]
    if sum(not endpoint.is_numeric and not endpoint.transport.is_unix for endpoint in endpoints) > 1:
        from concurrent.futures import ThreadPoolExecutor

        try:
            with ThreadPoolExecutor(_RESOLVERS) as pool:
                found = list(pool.map(look_up, endpoints))
        except RuntimeError:  # "can't start new thread"
            raise LocalError("start", "a thread", "this host gives no more threads") from None
    else:
        found = [look_up(endpoint) for endpoint in endpoints]
    hosts: list[_Host] = []
    for number, ((endpoint, ports), addresses) in enumerate(zip(groups, found, strict=True)):
        if isinstance(addresses, Probe):
            for port in ports or (0,):
                tally.take_probe(number, port, replace(addresses, target=with_port(endpoint, port)))
            continue
        tally.addresses[number] = len(addresses)
        is_inet = not endpoint.transport.is_unix
        hosts += [_Host(number, endpoint, one, ports, is_inet and is_local(one)) for one in addresses]
    return hosts


def _tcp_outcomes(
    hosts: Sequence[_Host],
    method: Method,
    jobs: int,
    rate: float | None,
    tally: Tally,
    stop: Stop | None,
) -> Iterator[Outcome | Refusals]:
    """Try addresses of this host first, one by one, as that takes no waiting; all others by turns, side by side."""
    is_plain = method.socket_class is socket.socket and not (method.settings or method.source)
    fast = sys.platform == "linux" and rate is None and is_plain
    left = []
    for host in hosts:
        ports, slow = iter(host.ports), list[int]()
        if fast and host.is_local:
            bulk = tally.hides(host.group, "refused")
            yield from scan_here(host.group, host.address, ports, slow=slow, bulk=bulk, stop=stop)
        left.append(_places(host, itertools.chain(slow, ports), paced=rate is not None or not host.is_local))
    limit = REMOTE_RATE if rate is None else rate or math.inf
    yield from scan_window(_by_turns(left), method, jobs=jobs, rate=limit, tick=tally.tick, stop=stop)


def _places(host: _Host, ports: Iterator[int], *, paced: bool) -> Iterator[Place]:
    base = inet_address(host.address)
    return (Place(host.group, host.address, base, port, paced) for port in ports)


def _by_turns(queues: Sequence[Iterator[T]]) -> Iterator[T]:
    """Take one of each queue, round after round, so that a slow host holds up no other."""
    return (item for turn in itertools.zip_longest(*queues) for item in turn if item is not None)


def _try_others(
    hosts: Sequence[_Host], method: Method, jobs: int, rate: float | None, tally: Tally, stop: Stop | None
) -> None:
    """Try what has no handshake, and unix sockets, in batches that keep to the rate on average."""
    is_here = all(host.is_local or host.transport.is_unix for host in hosts)
    limit = (math.inf if is_here else REMOTE_RATE) if rate is None else rate or math.inf
    size = min(jobs, _BATCH_MAX if limit == math.inf else max(1, int(limit * _BATCH_SECONDS)))
    places = _by_turns([_ports_of(host) for host in hosts])
    while batch := list(itertools.islice(places, size)):
        if time.monotonic() >= method.deadline or (stop is not None and stop.is_set()):
            return
        goals = [(with_port(host.target, port), with_port(host.address, port)) for host, port in batch]
        with contextlib.ExitStack() as sockets:
            for (host, port), tried in zip(batch, try_all(goals, method, sockets), strict=True):
                tally.take_probe(host.group, port, tried.probe)


def _ports_of(host: _Host) -> Iterator[tuple[_Host, int]]:
    return ((host, port) for port in host.ports or (0,))
