"""--trace: a line for each socket call, as it ended.

``14:03:05.000121 client   connect(fd 5, 127.0.0.1:42601) = 115 EINPROGRESS  18 us  ESTABLISHED``

The time is the wall clock at the call's start, so that two programs' lines can be read side by side.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from netlab.records import Call, Record
from netlab.render.calls import call_text, result_text, state_text
from netlab.render.safe import PREVIEW, defuse
from netlab.render.text import Lines, View
from netlab.values import format_time

__all__ = ["LINES", "who"]

_LANE_WIDTH = 8
_MAIN = "MainThread"


def who(call: Call) -> str:
    """Return who made the call: the thread where it is not the main one, else which side it is."""
    return defuse(call.lane if call.thread == _MAIN else call.thread)


def _call(view: View, call: Call) -> list[str]:
    limit = PREVIEW if view.verbose else 0
    did = call_text(call, limit=limit, encoding=view.encoding)
    came = result_text(call, limit=limit, encoding=view.encoding, peer=True)
    parts = [f"{_clock(call.time)} {who(call):<{_LANE_WIDTH}} {did} = {came}", _took(call)]
    if call.state_name is not None and call.call != "close":
        parts.append(state_text(call))
    return ["  ".join(parts)]


def _took(call: Call) -> str:
    text = format_time(call.duration_us / 1e6)
    if call.waited_us is not None:
        text += f" (waited {format_time(call.waited_us / 1e6)})"
    if call.pending_us is not None:
        text += f" (asked again after {format_time(call.pending_us / 1e6)})"
    return text


def _clock(seconds: float) -> str:
    micros = round(seconds * 1e6)
    return f"{time.strftime('%H:%M:%S', time.localtime(micros // 1_000_000))}.{micros % 1_000_000:06}"


LINES: Mapping[type[Record], Lines] = {Call: _call}
