"""The figures on a load as text: what was done, how long replies took, and how their times are spread."""

from __future__ import annotations

from collections.abc import Mapping

from netlab.records import Record
from netlab.render.repeat_text import figure_lines, histogram_lines
from netlab.render.text import Lines, View
from netlab.reports import LoadReport
from netlab.values import format_bytes, format_count, format_elapsed

__all__ = ["LINES"]

_COLUMNS = {"p999": "p99.9"}
_CHECKS = {
    "echo": "every reply equal to its message",
    "text": "every reply as expected",
    "regex": "every reply as expected",
}


def _load(_view: View, record: LoadReport) -> list[str]:
    connections = f"{format_count(record.connections)} connection{'s' * (record.connections != 1)}"
    exchanges = f"{format_count(record.exchanges)} exchange{'s' * (record.exchanges != 1)}"
    counts = [
        f"{exchanges} on {connections} in {format_elapsed(record.duration_us / 1e6)}: {_rate(record.exchanges_per_s)}",
        f"{format_count(record.failed)} failed",
        f"{format_count(record.reconnects)} reconnect{'s' * (record.reconnects != 1)}",
    ]
    lines = [", ".join(counts)]
    if record.failures:
        lines.append("failed: " + ", ".join(f"{format_count(n)} {kind[7:]}" for kind, n in record.failures.items()))
    passed = [f"out {format_bytes(record.bytes_out)}", f"in {format_bytes(record.bytes_in)}"]
    if record.checked and record.exchanges and not record.failed:
        passed.append(_CHECKS[record.checked])
    lines.append(", ".join(passed))
    if record.ended_by:
        unfinished = f", {format_count(record.unfinished)} unfinished" if record.unfinished else ""
        lines.append(f"ended by {record.ended_by}{unfinished}")
    if not record.statistics:
        return lines
    figures = {}
    for key, value in record.statistics.items():
        name = key.removesuffix("_us")
        figures[_COLUMNS.get(name, name)] = value / 1e6
    return [
        *lines,
        *_counted_from(record),
        "",
        *figure_lines({"rtt": figures}),
        "",
        *histogram_lines(record.histogram or ()),
    ]


def _counted_from(record: LoadReport) -> list[str]:
    """Say what the times include, where that is more than a message and its reply."""
    if record.asked_per_s:
        return [f"asked for {_rate(record.asked_per_s)}; times count from when each message was due"]
    return ["times include connecting"] if record.reconnecting else []


def _rate(per_second: float) -> str:
    return f"{format_count(round(per_second)) if per_second >= 100 else f'{per_second:.3g}'}/s"


LINES: Mapping[type[Record], Lines] = {LoadReport: _load}
