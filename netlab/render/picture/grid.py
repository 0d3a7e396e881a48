"""The lines of a picture: which step stands on which, whoever draws them as text or as a drawing.

A line has the beginning of one call at most, so that its time is clear; a result may share the line of what happens in
another lane.  A thread that waits has a cell that says so on every line until its call ends.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from netlab.render.picture.cells import Cell, step_cells
from netlab.render.picture.scene import Scene, Step

__all__ = ["Grid", "Line"]

WAITING = Cell(":", waits=True)


@dataclass(slots=True)
class Line:
    """One line: when its call began, a cell for each lane, and an arrow for each gutter.

    An arrow is its label and whether it points to the right; where there are more than two lanes each has a gutter of
    its own, and whether it leaves to the peer.
    """

    time: str = ""
    cells: dict[int, Cell] = field(default_factory=dict)
    arrows: dict[int, tuple[str, bool]] = field(default_factory=dict)


class Grid:
    """Lines that fill up from the top; each lane has a first line that is still free.

    Args:
      scene: what to place.
      widths: columns of each lane that is drawn, by its index; steps in other lanes are not placed.
      is_pair: whether these are a client's and a server's lane with one gutter between them.
      apart: lanes in which a state stands below its call, and not at the right edge.
    """

    def __init__(self, scene: Scene, widths: dict[int, int], *, is_pair: bool, apart: Collection[int] = ()) -> None:
        self.lines: list[Line] = []
        self.in_seconds = scene.duration_us >= 10e6
        self._widths = widths
        self._is_pair = is_pair
        self._apart = apart
        self._end_times: dict[int, str] = {}
        self._free: dict[int, int] = {}
        self._waits_from: dict[int, int] = {}
        self._latest = 0
        for step in scene.steps:
            if step.lane in widths:
                self._place(step)
        while self.lines and not (self.lines[-1].cells or self.lines[-1].arrows):
            self.lines.pop()
        for number, time in self._end_times.items():
            if not self.lines[number].time and len(self.lines[number].cells) == 1:
                self.lines[number].time = time

    @property
    def unit(self) -> str:
        return "s" if self.in_seconds else "ms"

    def clock(self, micros: float) -> str:
        """Return a time in the picture's unit: ms, or s where it spans more than ten seconds."""
        return f"{micros / (1e6 if self.in_seconds else 1e3):.3f}"

    def _place(self, step: Step) -> None:
        """Put a step on the first lines that are free for it, and not above what happened before."""
        lane, gutter = step.lane, 0 if self._is_pair else step.lane
        blocked = self.clock(step.call.waited_us or 0)
        cells = step_cells(step, self._widths[lane], blocked=blocked, apart=lane in self._apart)
        arrows = [(arrow.label, self._direction(lane, arrow.outward)) for arrow in step.arrows]
        # An answer leaves with the result, not while the thread still waits.
        shift = 1 if step.kind == "end" and step.arrows and step.arrows[0].outward else 0
        top = max(self._free.get(lane, 0), self._latest)
        while self._is_taken(top, step, gutter, range(shift, shift + len(arrows))):
            top += 1
        bottom = top + max(len(cells), shift + len(arrows))
        self._extend(bottom)
        still_waits = lane in self._waits_from and step.kind != "end"  # a call of another thread in the same lane
        for line in self.lines[self._waits_from.pop(lane, top) : top]:
            line.cells[lane] = WAITING
        for line, cell in zip(self.lines[top:], cells, strict=False):
            line.cells[lane] = cell
        for line, arrow in zip(self.lines[top + shift :], arrows, strict=False):
            line.arrows[gutter] = arrow
        if step.kind == "end":
            self._end_times[top + 1] = self.clock(step.at_us)
        elif step.kind != "after":
            self.lines[top].time = self.clock(step.at_us)
        self._latest, self._free[lane] = top, bottom
        if step.kind == "begin" or still_waits:
            self._waits_from[lane] = bottom

    def _direction(self, lane: int, outward: bool) -> bool:
        return outward == (lane == 0) if self._is_pair else outward

    def _is_taken(self, top: int, step: Step, gutter: int, offsets: range) -> bool:
        self._extend(top + offsets.stop + 1)
        if step.kind in ("call", "begin") and self.lines[top].time:
            return True
        return any(gutter in self.lines[top + offset].arrows for offset in offsets)

    def _extend(self, count: int) -> None:
        while len(self.lines) < count:
            self.lines.append(Line())
