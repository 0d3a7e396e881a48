"""Counting what many targets came to, and telling those that are to be seen as soon as they are known."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from netlab.endpoint import Endpoint
from netlab.errors import errno_name
from netlab.explain import verdict_of_connect
from netlab.records import Emit, Probe
from netlab.socketops.probing.diagnosing import BEST_FIRST
from netlab.socketops.probing.scanning import Outcome, Refusals

__all__ = ["FEW", "Group", "Tally", "with_port"]

Group = tuple[Endpoint, tuple[int, ...]]
"""An endpoint and all its ports; none where there are no ports, and 0 stands for the one there is."""

FEW = 20
"""Targets of which each gets a line, in the order they were named; of more, only those that are a yes."""

_Key = tuple[int, int]
"""A target: the number of its group, and its port."""


class Tally:
    """What came of the targets so far.

    Args:
      groups: all there are.
      yes: verdicts that count as yes.
      everything: show each target.
      emit: takes the Probe of a target that is shown.
      progress: told how many targets are done.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        yes: frozenset[str],
        *,
        everything: bool,
        emit: Emit,
        progress: Callable[[int], None] | None,
    ) -> None:
        self.total = sum(len(ports) or 1 for _, ports in groups)
        self.done = 0
        self.addresses = [1] * len(groups)
        """How many addresses each group's name has."""
        self._targets = [endpoint for endpoint, _ in groups]
        self._counts: Counter[str] = Counter()
        self._yes = yes
        self._everything = everything or self.total <= FEW
        self._emit = emit
        self._progress = progress
        self._verdicts: dict[int | None, str] = {}
        self._partial: dict[_Key, list[tuple[str, Probe | Outcome]]] = {}
        # Few are shown in the order in which they were named, whatever comes first.
        few = self.total <= FEW
        self._order = [(n, port) for n, (_, ports) in enumerate(groups) for port in ports or (0,)] if few else []
        self._held: dict[_Key, Probe] = {}

    def take(self, outcome: Outcome) -> None:
        """Count how one port of one address answered."""
        code = outcome.code
        if outcome.is_self:
            verdict = "refused"
        elif code in self._verdicts:
            verdict = self._verdicts[code]
        else:
            verdict = verdict_of_connect(errno.EINPROGRESS if code is None else code, "tcp")
            self._verdicts[code] = verdict
        self._settle((outcome.group, outcome.port), verdict, outcome)

    def hides(self, group: int, verdict: str) -> bool:
        """Tell whether targets of this group with this verdict are only counted, one by one or many at once."""
        return self.addresses[group] == 1 and not self._everything and verdict not in self._yes

    def take_refusals(self, refusals: Refusals) -> None:
        """Count targets that were refused and need not be shown."""
        self._counts["refused"] += refusals.ports
        self.done += refusals.ports
        self.tick()

    def take_probe(self, group: int, port: int, probe: Probe) -> None:
        """Count an attempt at one address of a target."""
        self._settle((group, port), probe.verdict, probe)

    def counts(self) -> dict[str, int]:
        """Return the number of targets by verdict, the most hopeful first."""
        return {verdict: self._counts[verdict] for verdict in BEST_FIRST if verdict in self._counts}

    def tick(self) -> None:
        """Say how many targets are done."""
        if self._progress is not None:
            self._progress(self.done)

    def flush(self) -> None:
        """Show what was held back for those before it, which never came."""
        for probe in self._held.values():
            self._emit(probe)
        self._held.clear()

    def _settle(self, key: _Key, verdict: str, met: Probe | Outcome) -> None:
        if self.addresses[key[0]] > 1:
            known = self._partial.setdefault(key, [])
            known.append((verdict, met))
            if len(known) < self.addresses[key[0]]:
                return
            verdict, met = min(self._partial.pop(key), key=lambda one: BEST_FIRST.index(one[0]))
        self._counts[verdict] += 1
        self.done += 1
        if self._everything or verdict in self._yes:
            self._show(key, met if isinstance(met, Probe) else self._probe(met, verdict))
        self.tick()

    def _show(self, key: _Key, probe: Probe) -> None:
        if not self._order:
            self._emit(probe)
            return
        self._held[key] = probe
        while self._order and self._order[0] in self._held:
            self._emit(self._held.pop(self._order.pop(0)))

    def _probe(self, outcome: Outcome, verdict: str) -> Probe:
        code = outcome.code
        return Probe(
            target=replace(self._targets[outcome.group], port=outcome.port),
            endpoint=replace(outcome.address, port=outcome.port),
            verdict=verdict,
            errno=code,
            errno_name=errno_name(code) if code else None,
            evidence=_evidence(outcome),
            duration_us=outcome.seconds * 1e6,
            handshake_us=outcome.seconds * 1e6 if verdict == "open" else None,
            self_connect=True if outcome.is_self else None,
            service=_service(outcome.port),
        )


def _evidence(outcome: Outcome) -> str:
    if outcome.code is None:
        return "no answer to connect()"
    if outcome.is_self:
        return "connect_ex 0, but the connection reached itself"
    return f"connect_ex {outcome.code}" + (f" {errno_name(outcome.code)}" if outcome.code else "")


def with_port(endpoint: Endpoint, port: int) -> Endpoint:
    """Return an endpoint with this port, or as it is where there are no ports, which is 0."""
    return replace(endpoint, port=port) if port else endpoint


def _service(port: int) -> str | None:
    try:
        return socket.getservbyport(port, "tcp")
    except OSError:
        return None
