"""What stands in one lane for one step: as much of a call as the width holds, its result, and its state."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from netlab.render.calls import call_text, equals
from netlab.render.picture.scene import Step
from netlab.render.safe import defuse

__all__ = ["Cell", "fit", "gathered_text", "step_cells", "text_width"]

_SHORT = frozenset({"socket", "poll", "recvmsg", "sendto"})
"""Calls that are better shown without their arguments than on two lines."""
_ASKS_NAME = frozenset({"getsockname", "getpeername"})
# Which details to give up first, to stay on one line: the payload's length, then the descriptor, then the payload.
_VARIANTS = ((True, 24), (True, 12), (True, 8), (False, 12), (False, 8), (True, 4), (True, 0), (False, 0))


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of one lane; ``state`` is TCP's, and stands at the right edge of the lane."""

    text: str
    state: str = ""
    waits: bool = False


def step_cells(step: Step, width: int, *, blocked: str, apart: bool) -> list[Cell]:
    """Return the lines of a step.

    Args:
      step: what to show.
      width: columns of the lane.
      blocked: how long the call waited, as text.
      apart: let the state stand below the call like a result, and not at the right edge.
    """
    if step.kind == "begin":
        return [Cell(gathered_text(step) or _call_alone(step, width))]
    cells = [Cell(text) for text in _call(step, width)] if step.kind == "call" else []
    if step.kind == "end":
        cells = [Cell(f": blocked {blocked}", waits=True), Cell(_result(step, width))]
    if step.state:
        state = defuse(f"{step.state} {step.state_mark}".rstrip())
        last = cells[-1].text if cells else ""
        if apart:
            cells.append(Cell(f"  {state}"))
        elif not cells or text_width(last) + 2 + len(state) > width:
            cells.append(Cell("", state))
        else:
            cells[-1] = Cell(last, state)
    return cells


def gathered_text(step: Step) -> str:
    """Return what stands for several calls; empty where the step is one."""
    if step.repeats == 1:
        return ""
    return f"poll() x {step.repeats}" if step.call.call == "poll" else f"({step.repeats} calls that only look)"


def fit(text: str, width: int) -> str:
    """Return text that fills ``width`` columns exactly: padded, or cut with an ellipsis."""
    if text_width(text) > width:
        while text and text_width(text) > width - 3:
            text = text[:-1]
        text += "..."
    return text + " " * (width - text_width(text))


def text_width(text: str) -> int:
    """Return the columns that text takes on a terminal: wide characters (East Asian Width, UAX 11) take two."""
    if text.isascii():
        return len(text)
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _call(step: Step, width: int) -> list[str]:
    """Return a call that did not wait, on one line if it can be, else on two."""
    call = step.call
    if step.repeats > 1:
        return [gathered_text(step)]
    for text, result in _variants(step, least=8 if call.data else 0):
        if text_width(text + result) <= width:
            return [text + result]
    if call.call in _ASKS_NAME and call.result:
        port = f"{call_text(call, fd=step.needs_fd)} = port {defuse(call.result).rpartition(':')[2]}"
        if call.transport in ("tcp", "udp") and text_width(port) <= width:
            return [port]
    if call.call in _SHORT and not (call.data and call.call == "recvmsg"):
        for limit in (12, 8, 0):
            short = call_text(call, fd=step.needs_fd, args=False, limit=limit) + _outcome(step, 0)
            if text_width(short) <= width:
                return [short]
    result = _result(step, width)
    return [_call_alone(step, width), *([result] if result.strip() else [])]


def _call_alone(step: Step, width: int) -> str:
    for text, _ in _variants(step):
        if text_width(text) <= width:
            return text
    if step.call.call in _SHORT:
        return call_text(step.call, fd=step.needs_fd, args=False)
    return fit(text, width - 1).rstrip() + ")" if text_width(text) > width else text


def _variants(step: Step, *, least: int = 0) -> Iterator[tuple[str, str]]:
    """Yield the call and its result in ever fewer words, with ``least`` characters of payload at least."""
    for fd, limit in _VARIANTS:
        if limit >= least and (fd or not step.needs_fd):
            yield call_text(step.call, fd=fd and step.shows_fd, limit=limit), _outcome(step, limit)


def _result(step: Step, width: int) -> str:
    for limit in (24, 12, 8, 4, 0):
        text = f" {_outcome(step, limit)}"
        if text_width(text) <= width:
            break
    return text


def _outcome(step: Step, limit: int) -> str:
    """Return the result and its mark, with a blank before each."""
    result = equals(step.call, limit)
    if step.kind == "call" and step.call.call == "connect" and result == "= 0":
        result = ""
    return "".join(f" {word}" for word in (result, step.mark) if word)
