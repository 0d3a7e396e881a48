"""The picture of a conversation before it is drawn: lanes, and in them steps in the order of time, with arrows.

Calls, results and states are as they ran; arrows are derived from them (`arrows`), and what would puzzle a reader gets
a mark and a note (`notes`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from netlab.records import Call
from netlab.render.calls import RECEIVING, SENDING, state_text
from netlab.render.picture.arrows import Arrow, Arrows, Borders
from netlab.render.picture.gathering import gathered
from netlab.render.picture.lanes import SIDES, Lane, Lanes
from netlab.render.picture.merging import Pairs, SocketId, socket_id
from netlab.render.picture.notes import Notes

__all__ = ["MOST_DRAWN", "Scene", "Step", "build_scene"]

MOST_DRAWN = 500
"""Calls in a picture, the newest; more is for `--trace-file` and a program.  GitHub draws no longer Mermaid text."""

_TALKING = frozenset({"ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSING"})
"""States after which TIME_WAIT comes, where no reset does."""


@dataclass(slots=True)
class Step:
    """What happens at one moment in one lane.

    A call that waited has two steps: ``begin``, and ``end``, which bears the result.  A state that was news when the
    call ended is a step of its own, ``after``, where something else happened in between.  ``repeats`` counts calls in a
    row that share the step (`gathering`).  Marks point to notes.  ``other`` is the lane at the other end of the arrows.
    The descriptor is news where the lane has several sockets, and it is needed where several of them are connections.
    """

    kind: Literal["call", "begin", "end", "after"]
    lane: int
    at_us: float
    call: Call
    repeats: int = 1
    arrows: list[Arrow] = field(default_factory=list)
    state: str = ""
    mark: str = ""
    state_mark: str = ""
    shows_fd: bool = False
    needs_fd: bool = False
    other: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """A whole picture; times of steps are us since its beginning.  ``left_out`` counts calls that are not in it."""

    lanes: list[Lane]
    steps: list[Step]
    notes: list[str]
    duration_us: float
    calls: int
    left_out: int
    waited_us: dict[str, float]


def build_scene(calls: Sequence[Call], *, dropped: int = 0) -> Scene:
    """Make the picture of one trace, or of two that were merged.

    Args:
      calls: at least one.
      dropped: how many older ones the trace has dropped.
    """
    drawn = sorted(calls, key=lambda call: call.mono_us)[-MOST_DRAWN:]
    lanes = Lanes(drawn)
    placed = [(call, lane) for call in drawn if (lane := lanes.lane_of(call)) is not None]
    start = min((call.mono_us for call in drawn), default=0.0)
    steps = sorted(_steps(placed, start), key=lambda step: step.at_us)
    director = _Director(Pairs(drawn), lanes.lanes, placed)
    for step in steps:
        director.direct(step)
    return Scene(
        lanes=lanes.lanes,
        steps=_joined(steps),
        notes=director.notes.texts,
        duration_us=max((call.mono_us + call.duration_us for call in drawn), default=0.0) - start,
        calls=len(placed),
        left_out=dropped + len(calls) - len(placed),
        waited_us={side: sum(call.waited_us or 0 for call, _ in placed if call.lane == side) for side in SIDES},
    )


def _steps(placed: Sequence[tuple[Call, int]], start: float) -> Iterator[Step]:
    """Yield the steps, lane by lane."""
    by_lane: dict[int, list[Call]] = {}
    for call, lane in placed:
        by_lane.setdefault(lane, []).append(call)
    for lane, calls in by_lane.items():
        for call, repeats in gathered(calls):
            at = call.mono_us - start
            if call.waited_us is not None:
                yield Step("begin", lane, at, call, repeats)
                yield Step("end", lane, at + call.duration_us, call)
                continue
            yield Step("call", lane, at, call, repeats)
            if repeats == 1 and call.call != "connect":  # whose state is the handshake's end, and stands beside it
                yield Step("after", lane, at + call.duration_us, call)


def _joined(steps: Sequence[Step]) -> list[Step]:
    """Join each state to its call where nothing else happened before it; leave out those that are no news."""
    joined: list[Step] = []
    for step in steps:
        if step.kind == "after":
            if not step.state:
                continue
            if joined[-1].call is step.call:
                joined[-1].state, joined[-1].state_mark = step.state, step.state_mark
                continue
        joined.append(step)
    return joined


class _Director:
    """Gives each step its arrows, its state and its marks, in the order of time."""

    def __init__(self, pairs: Pairs, lanes: Sequence[Lane], placed: Sequence[tuple[Call, int]]) -> None:
        self.notes = Notes()
        self._pairs = pairs
        self._lanes = lanes
        self._lane_of = {socket_id(call): lane for call, lane in placed}
        self._arrows = Arrows(pairs)
        self._borders = Borders(pairs)
        self._states: dict[SocketId, str | None] = {}
        self._accepted: dict[tuple[int, str], str | None] = {}
        self._open: dict[int, set[tuple[int, int]]] = {}
        self._listening: set[tuple[int, int]] = set()
        self._has_joined = False

    def direct(self, step: Step) -> None:
        call = step.call
        step.other = self._other(step)
        if step.kind in ("call", "begin"):
            step.arrows += self._arrows.at_start(call)
            self._set_fd(step)
        if step.kind in ("call", "end"):
            step.arrows += self._arrows.at_end(call)
            step.mark = self._mark(step) if step.repeats == 1 else ""
            if call.call == "close":
                self._open[step.lane].discard((call.pid, call.fd))
                self._listening.discard((call.pid, call.fd))
        if step.kind in ("end", "after") or call.call == "connect":
            self._set_state(step)
        # What is sent counts from the call's beginning, what is received from its end.
        counts = step.kind == "call" or (step.kind == "begin" and call.call in SENDING)
        counts = counts or (step.kind == "end" and call.call in RECEIVING)
        if counts and self._borders.crossed(call) and not self._has_joined:
            self._has_joined = True
            step.mark = self.notes.on_joined()

    def _set_fd(self, step: Step) -> None:
        call, descriptor = step.call, (step.call.pid, step.call.fd)
        opened = self._open.setdefault(step.lane, set())
        if call.fd >= 0:
            opened.add(descriptor)
        if call.call in ("listen", "accept"):
            self._listening.add(descriptor)
        step.needs_fd = call.call in ("accept", "close") or len(opened - self._listening) > 1
        step.shows_fd = step.needs_fd or len(opened) > 1

    def _other(self, step: Step) -> int:
        """Return the lane of the socket at the other end, or where that is not known the other side's first."""
        found = self._pairs.other(step.call)
        if found in self._lane_of:
            return self._lane_of[found]
        side = self._lanes[step.lane].side
        return next(index for index, lane in enumerate(self._lanes) if lane.side != side)

    def _mark(self, step: Step) -> str:
        call = step.call
        if call.errno is not None and call.errno_name != "EINPROGRESS":
            return self.notes.on_failure(call)
        if call.call == "close" and any(arrow.label == "RST" for arrow in step.arrows):
            return self.notes.on_reset(call.unread or 0)
        return self.notes.on_error_option(call)

    def _set_state(self, step: Step) -> None:
        call = step.call
        if call.state_name is None or call.call == "close":
            return
        if call.call == "accept":  # the state of the connection, which has made no call of its own yet
            self._accepted[call.pid, call.result or ""] = call.state_name
            step.state = state_text(call) if call.result else ""
            return
        socket = socket_id(call)
        if socket not in self._states:
            self._states[socket] = self._accepted.pop((call.pid, f"fd {call.fd}"), None)
        before = self._states[socket]
        if call.state_name != before:
            self._states[socket] = call.state_name
            step.state = state_text(call)
            if call.errno_name == "EINPROGRESS":
                step.state_mark = self.notes.on_failure(call)
            elif step.state == "CLOSED" and before in _TALKING and call.errno is None:
                step.state_mark = self.notes.on_closed()
