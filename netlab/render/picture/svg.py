"""A picture as SVG: self-contained, without scripts or fonts from elsewhere, light or dark as its reader prefers."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from netlab.render.picture.arrows import is_data
from netlab.render.picture.cells import Cell
from netlab.render.picture.grid import Grid, Line
from netlab.render.picture.lanes import Lane
from netlab.render.picture.scene import Scene
from netlab.render.picture.sequence import says

__all__ = ["draw_svg"]

_CHAR = 7.83
"""Width of a character at 13 px in the widest of the fonts below (0.602 em); narrower ones leave some room."""
_ROW = 21
_MARGIN = 24
_HEADER = 56
_CLOCK = 10
_LEFT, _RIGHT, _ONE_OF_MANY = 47, 47, 40
"""Columns of the lanes: two of them, or each of more."""
_GUTTER = 150
_SMALL_GUTTER = 84

_LIGHT = {
    "page": "#ffffff", "text": "#1f2328", "faint": "#59636e", "line": "#d1d9e0", "soft": "#f0f3f6",
    "data": "#0550ae", "signal": "#59636e", "reset": "#c1121f", "wait": "#9a6700",
}  # fmt: skip
_DARK = {
    "page": "#0d1117", "text": "#e6edf3", "faint": "#9198a1", "line": "#3d444d", "soft": "#1c2128",
    "data": "#58a6ff", "signal": "#9198a1", "reset": "#ff7b72", "wait": "#d29922",
}  # fmt: skip
_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
_SANS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
# What XML 1.0 has no character for; escapes have made visible all else that would be no text.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def draw_svg(scene: Scene) -> list[str]:
    """Return the lines of an SVG document."""
    page = _Page(scene)
    width, height = page.size
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        "<title>Socket calls of client and server</title>",
        f"<style>{_style()}</style>",
        *(_marker(name) for name in ("data", "signal", "reset")),
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}" rx="8"/>',
        *page.lifelines(),
        *(shape for number, line in enumerate(page.grid.lines) for shape in page.line(number, line)),
        *page.footer(),
        "</svg>",
    ]


class _Page:
    """Where everything stands, in px."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.is_pair = len(scene.lanes) == 2
        lanes = [index for index, lane in enumerate(scene.lanes) if lane.thread or self.is_pair]
        self.widths = {0: _LEFT, 1: _RIGHT} if self.is_pair else dict.fromkeys(lanes, _ONE_OF_MANY)
        self.grid = Grid(scene, self.widths, is_pair=self.is_pair)
        self._text_x: dict[int, float] = {}
        self._life_x: dict[int, float] = {}
        x = _MARGIN + _CLOCK * _CHAR
        for lane, columns in self.widths.items():
            if self.is_pair and lane == 0:
                self._text_x[lane] = x
                self._life_x[lane] = x = x + columns * _CHAR
                x += _GUTTER
            else:
                self._life_x[lane] = x if self.is_pair else x + _SMALL_GUTTER
                self._text_x[lane] = self._life_x[lane] + 16
                x = self._text_x[lane] + columns * _CHAR
        self._says = says(scene, self.grid, waiting="dashes", width=round((x - _MARGIN) / 7.2))
        self._bottom = _MARGIN + _HEADER + (len(self.grid.lines) + 1) * _ROW
        self.size = (x + _MARGIN, self._bottom + 20 * len(self._says) + _MARGIN)

    def lifelines(self) -> Iterator[str]:
        yield _text(_MARGIN + (_CLOCK - 2) * _CHAR, _MARGIN + 36, self.grid.unit, "time")
        for lane in self.widths:
            known, x = self.scene.lanes[lane], self._life_x[lane]
            side = f"{known.side.upper()}  {known.thread or '(not traced)'}"
            yield _text(self._text_x[lane], _MARGIN + 14, side, "side")
            yield _text(self._text_x[lane], _MARGIN + 36, _name(known, is_pair=self.is_pair), "name")
            yield f'<line class="life" x1="{x:.1f}" y1="{_MARGIN}" x2="{x:.1f}" y2="{self._bottom - _ROW / 2:.1f}"/>'

    def line(self, number: int, line: Line) -> Iterator[str]:
        y = _MARGIN + _HEADER + number * _ROW + 14
        if line.time:
            yield _text(_MARGIN + (_CLOCK - 2) * _CHAR, y, line.time, "time")
        for lane, cell in line.cells.items():
            yield from self._cell(lane, cell, y)
        for lane, (label, direction) in line.arrows.items():
            yield from self._arrow(lane, label, direction, y - 4)

    def footer(self) -> Iterator[str]:
        for number, text in enumerate(self._says):
            yield _text(_MARGIN, self._bottom + 14 + number * 20, text, "says")

    def _cell(self, lane: int, cell: Cell, y: float) -> Iterator[str]:
        x, right = self._text_x[lane], self._text_x[lane] + self.widths[lane] * _CHAR - 14
        if cell.waits:
            life = self._life_x[lane]
            yield f'<line class="waits" x1="{life:.1f}" y1="{y - 14}" x2="{life:.1f}" y2="{y - 14 + _ROW}"/>'
        text = cell.text.removeprefix(":") if cell.waits else cell.text
        if text.strip():
            kind = "wait" if cell.waits else "result" if text.startswith(" ") else "call"
            yield _text(x + (len(text) - len(text.lstrip())) * _CHAR, y, text.strip(), kind)
        if cell.state:
            width = len(cell.state) * 7.1 + 12
            yield f'<rect class="pill" x="{right - width:.1f}" y="{y - 13}" width="{width:.1f}" height="17" rx="8.5"/>'
            yield _text(right - width / 2, y - 0.5, cell.state, "state")

    def _arrow(self, lane: int, label: str, direction: bool, y: float) -> Iterator[str]:
        kind = "data" if is_data(label) else "reset" if label in ("RST", "RST, ACK", "ICMP") else "signal"
        if self.is_pair:
            left, right, to_right = self._life_x[0] + 5, self._life_x[1] - 5, direction
        else:
            left, right, to_right = self._life_x[lane] - _SMALL_GUTTER + 18, self._life_x[lane] - 5, not direction
        start, end = (left, right) if to_right else (right, left)
        yield (
            f'<line class="arrow {kind}" x1="{start:.1f}" y1="{y}" x2="{end:.1f}" y2="{y + 3}" '
            f'marker-end="url(#{kind})"/>'
        )
        yield _text((left + right) / 2, y - 2.5, label, f"label {kind}")


def _name(lane: Lane, *, is_pair: bool) -> str:
    return lane.local if is_pair or not lane.peer else f"<-> {lane.peer}"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{_escape(text)}</text>'


def _escape(text: str) -> str:
    text = _NO_XML.sub("?", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _marker(name: str) -> str:
    return (
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="head {name}" d="M0,0.5 L8,4 L0,7.5 z"/></marker>'
    )


def _style() -> str:
    return textwrap.dedent(f"""
        text {{ font: 13px {_MONO}; white-space: pre }}
        .time {{ text-anchor: end }}
        .side {{ font: 600 13px {_SANS} }}
        .says {{ font: 13px {_SANS} }}
        .state {{ font-size: 11px; text-anchor: middle }}
        .label {{ font-size: 11px; text-anchor: middle; stroke-width: 4px; paint-order: stroke }}
        .life {{ stroke-width: 1px }}
        .waits {{ stroke-width: 4px; stroke-dasharray: 3.5 3.5 }}
        .arrow {{ stroke-width: 1.4px }}
        {_colors(_LIGHT)}
        @media (prefers-color-scheme: dark) {{ {_colors(_DARK)} }}
    """).strip()


def _colors(of: dict[str, str]) -> str:
    return (
        f".page {{ fill: {of['page']} }} .call, .side {{ fill: {of['text']} }} "
        f".time, .name, .says, .state {{ fill: {of['faint']} }} .result {{ fill: {of['text']} }} "
        f".wait {{ fill: {of['wait']} }} .waits {{ stroke: {of['wait']} }} .life {{ stroke: {of['line']} }} "
        f".pill {{ fill: {of['soft']} }} .label {{ stroke: {of['page']} }} "
        + " ".join(
            f".arrow.{kind} {{ stroke: {of[kind]} }} .label.{kind}, .head.{kind} {{ fill: {of[kind]} }}"
            for kind in ("data", "signal", "reset")
        )
    )
