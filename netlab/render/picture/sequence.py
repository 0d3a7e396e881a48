"""--diagram: client and server as two columns, or a column for each thread where there are more of them.

Pure ASCII around the data, 80 columns or wider.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from netlab.render.picture.arrows import is_data
from netlab.render.picture.cells import Cell, fit, text_width
from netlab.render.picture.grid import Grid
from netlab.render.picture.lanes import Lane
from netlab.render.picture.scene import Scene
from netlab.values import format_count

__all__ = ["NARROWEST", "draw_sequence", "says"]

NARROWEST = 80
_CLOCK = 8
"""Columns of the times, two blanks included; longer ones take what they need."""
_GUTTER = 16
"""Columns between two lanes: an arrow with its label, and a blank on each side."""
_SMALL_GUTTER = 4
"""Columns before each lane where there are more than two: room for an arrow, whose label joins the call."""
_SMALLEST_LANE = 24
"""Columns of such a lane and its gutter."""
_RIGHT_IS_WIDER = 4
"""Columns that the right lane of two has more than the left: the states of a server stand beside its calls."""


def draw_sequence(scene: Scene, *, width: int = NARROWEST) -> list[str]:
    """Return the lines of the picture, ``width`` columns wide, but 80 at least."""
    width = max(width, NARROWEST)
    clock = max(_CLOCK, len(f"{scene.duration_us / (1e6 if scene.duration_us >= 10e6 else 1e3):.3f}") + 2)
    is_pair = len(scene.lanes) == 2
    widths = _pair_widths(width - clock) if is_pair else _many_widths(scene, width - clock)
    grid = Grid(scene, widths, is_pair=is_pair, apart=(0,) if is_pair else ())

    def line(time: str, cells: Mapping[int, Cell], arrows: Mapping[int, tuple[str, bool]]) -> str:
        text = f"{time:>{clock - 2}}  "
        for lane, columns in widths.items():
            arrow = arrows.get(lane)
            if is_pair:
                text += _filled(cells.get(lane), columns) + ("" if lane else f" {_draw(arrow):<{_GUTTER - 1}}")
            else:
                text += f"{_head(arrow):<{_SMALL_GUTTER}}{_filled(_labelled(cells.get(lane), arrow, columns), columns)}"
        return text.rstrip()

    hidden = sum(bool(lane.thread) for lane in scene.lanes) - len(widths)
    titles = {lane: Cell(_title(scene.lanes[lane])) for lane in widths}
    names = {lane: Cell(scene.lanes[lane].local if is_pair else _with_peer(scene.lanes[lane])) for lane in widths}
    return [
        line("", titles, {}),
        line(grid.unit, names, {}),
        "",
        *(line(row.time, row.cells, row.arrows) for row in grid.lines),
        "",
        *says(scene, grid, waiting='":"', hidden=hidden, width=width),
    ]


def says(scene: Scene, grid: Grid, *, waiting: str, hidden: int = 0, width: int) -> list[str]:
    """Return what stands below the picture: totals, what is derived, what is left out, and the notes.

    Args:
      waiting: what marks a lane whose thread waits.
      hidden: lanes for which there was no room.
    """
    sides = dict.fromkeys(lane.side for lane in scene.lanes if lane.thread)
    waits = ", ".join(f"{side} {grid.clock(scene.waited_us[side])} {grid.unit}" for side in sides)
    texts = [
        f"{_counted(scene.calls, 'call')} in {grid.clock(scene.duration_us)} {grid.unit}; "
        f"blocked: {waits} ({waiting} = waiting).",
        "Calls, results and states are as they ran; the arrows are drawn from them.",
    ]
    if len(scene.lanes) > 2:
        texts.append("Arrows to the right bring something from the peer, those to the left take it there.")
    if any(step.repeats > 1 for step in scene.steps):
        texts.append("Calls that only look at a socket, and polls in a row, share a line; --trace shows each.")
    if scene.left_out:
        texts.append(f"Not drawn: {_counted(scene.left_out, 'call')} that came before, or of threads that only waited.")
    if hidden > 0:
        texts.append(f"Not drawn: {_counted(hidden, 'thread')} for which a wider terminal has room.")
    lines = [line for text in texts for line in textwrap.wrap(text, width)]
    for number, text in enumerate(scene.notes, start=1):
        mark = f"({number}) "
        lines += textwrap.wrap(
            text, width, initial_indent=mark, subsequent_indent=" " * len(mark), break_on_hyphens=False
        )
    return lines


def _pair_widths(room: int) -> dict[int, int]:
    left = (room - _GUTTER - _RIGHT_IS_WIDER) // 2
    return {0: left, 1: room - _GUTTER - left}


def _many_widths(scene: Scene, room: int) -> dict[int, int]:
    traced = [index for index, lane in enumerate(scene.lanes) if lane.thread][: room // _SMALLEST_LANE]
    return dict.fromkeys(traced, room // len(traced) - _SMALL_GUTTER)


def _filled(cell: Cell | None, columns: int) -> str:
    """Return a cell that fills its columns, its state at the right edge."""
    if cell is None:
        return " " * columns
    return fit(cell.text, columns - len(cell.state)) + cell.state


def _draw(arrow: tuple[str, bool] | None) -> str:
    if arrow is None:
        return ""
    label, to_right = arrow
    inside = f" {label} " if len(label) < _GUTTER - 4 else label
    dashes = _GUTTER - 3 - len(inside)
    near, far = "-" * ((dashes + 1) // 2), "-" * (dashes // 2)
    return f"{far}{inside}{near}>" if to_right else f"<{near}{inside}{far}"


def _head(arrow: tuple[str, bool] | None) -> str:
    return "" if arrow is None else "<--" if arrow[1] else "-->"


def _labelled(cell: Cell | None, arrow: tuple[str, bool] | None, columns: int) -> Cell | None:
    """Name what a small arrow stands for where the call does not say it: SYN, FIN, RST."""
    if arrow is None or is_data(arrow[0]):
        return cell
    cell = cell or Cell("")
    text = f"{cell.text} ({arrow[0]})"
    return Cell(text, cell.state) if text_width(text) + len(cell.state) < columns else cell


def _title(lane: Lane) -> str:
    return f"{lane.side.upper()}  {lane.thread or '(not traced)'}"


def _with_peer(lane: Lane) -> str:
    return f"<-> {lane.peer}" if lane.peer else lane.local


def _counted(number: int, what: str) -> str:
    return f"{format_count(number)} {what}{'s' * (number != 1)}"
