"""The page of a report: labels on the left, text beside them, figures at the right edge, 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from netlab.render.safe import defuse
from netlab.render.text import View

__all__ = ["EDGE", "INDENT", "columns", "headline", "labelled", "numbered", "steps", "word"]

WIDTH = 80
EDGE = 78
"""Where figures end; two columns short, so that a wide character or a cursor at the end breaks no line."""
INDENT = 13
"""Columns of a label or a verdict, under which all that belongs to it is aligned."""

_NO = ("refused", "closed", "unreachable", "denied", "missing", "unresolved", "error")
_COLORS = {
    "open": "green",
    **dict.fromkeys(_NO, "red"),
    **dict.fromkeys(("timeout", "no-answer", "busy"), "magenta"),  # yellow cannot be read on white
}


def headline(view: View, verdict: str, place: str, figure: str, middle: str = "", *, indent: int = 0) -> str:
    """Return ``verdict  place  middle  figure``, the figure at the right edge."""
    text = f"{place:<24} {middle}" if middle else place
    gap = max(EDGE - INDENT - len(text) - len(figure), 2)
    return f"{' ' * indent}{word(view, verdict, INDENT - indent)}{text}{' ' * gap}{figure}".rstrip()


def word(view: View, verdict: str, width: int = INDENT) -> str:
    """Return a verdict in its colour, padded by its own length: colour has bytes, but no width."""
    return view.paint(verdict, _COLORS[verdict]) + " " * max(width - len(verdict), 1)


def labelled(label: str, text: str, front: str = "") -> list[str]:
    """Return text wrapped beside a label; lines after the first stand under the end of ``front``."""
    import textwrap

    head = f"{label:<{INDENT}}{front}"
    return textwrap.wrap(
        defuse(text),
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * (INDENT + len(front)),
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns(label: str, *cells: str) -> str:
    """Return a label and cells of 20 columns, with two blanks at least between them."""
    return defuse(f"{label:<{INDENT}}{'  '.join(f'{cell:<18}' for cell in cells)}".rstrip())


def numbered(label: str, texts: Sequence[str]) -> list[str]:
    """Return texts as a numbered list beside a label."""
    lines: list[str] = []
    for number, text in enumerate(texts, start=1):
        lines += labelled(label if number == 1 else "", text, f"{number}. ")
    return lines


def steps(label: str, commands: Sequence[tuple[str, str]]) -> list[str]:
    """Return commands, each with its reason beside it, or below it where the two are too long for a line."""
    width = _command_width(commands)
    lines = []
    for number, (command, why) in enumerate(commands):
        head = f"{label if number == 0 else '':<{INDENT}}{command}"
        if len(command) <= width:
            lines.append(f"{head:<{INDENT + width}}   {why}".rstrip())
        else:
            lines += [head, f"{' ' * INDENT}  {why}"]
    return [defuse(line) for line in lines]


def _command_width(commands: Sequence[tuple[str, str]]) -> int:
    """Return the widest column of commands that leaves room for the reasons beside it."""
    widest, reasons = 0, 0
    for command, why in sorted(commands, key=lambda step: len(step[0])):
        reasons = max(reasons, len(why))
        if INDENT + len(command) + 3 + reasons > WIDTH:
            break
        widest = len(command)
    return widest
