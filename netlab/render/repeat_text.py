"""Repeated probes as text: a line each, as ping has it, and the figures on all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from netlab.render.layout import word
from netlab.render.safe import defuse
from netlab.render.text import View
from netlab.reports import ProbeSummary, Repeated, Repetition
from netlab.values import format_bytes, format_count, format_elapsed, format_time

__all__ = ["figure_lines", "histogram_lines", "repeated_lines", "repetition_lines"]

_MANY = 10
"""Times from which on a table and a histogram tell more than a line."""
_COLUMNS = ("min", "p50", "p90", "p99", "p99.9", "max", "mean", "sd")
_BAR = 38
_UNSAID = ("open", "no-answer")
"""Verdicts that are in the counts already, as answered and lost."""


def repeated_lines(view: View, record: Repeated) -> list[str]:
    """Return the line of one attempt."""
    probe, reply = record.probe, record.reply
    elapsed = format_elapsed(probe.duration_us / 1e6)
    front = f"{word(view, probe.verdict)}{defuse(str(probe.target))}  "
    if reply is not None:
        kind = "reply" if reply.ttl is not None else "answer"
        ttl = "" if reply.ttl is None else f"ttl {reply.ttl}   "
        size = format_bytes(reply.bytes_in)
        return [f"{front}{kind} {probe.number:<3} {size:>4}  {ttl}{format_elapsed(reply.rtt_us / 1e6)}"]
    if probe.verdict == "open":
        kernel = "" if probe.rtt_us is None else f"   kernel {format_elapsed(probe.rtt_us / 1e6)}"
        return [f"{front}{probe.number:<3} {elapsed}{kernel}"]
    why = "" if probe.errno_name is None else f"   {probe.errno_name}"
    return [f"{front}{probe.number:<3} {elapsed}{why}"]


def repetition_lines(_view: View, record: Repetition) -> list[str]:
    """Return how all attempts went: counts, times, and how the times are spread."""
    summary = record.summary
    counts = _counts(summary)
    here, kernel = _figures(summary, ""), _figures(summary, "kernel_")
    if not here:
        return [counts]
    if summary.verdicts.get("open", 0) < _MANY:
        figures = "  ".join(f"{name} {format_time(here[name])}" for name in ("min", "p50", "p90", "max", "sd"))
        return [f"{counts}    {figures}"]
    table = figure_lines({"here": here, "kernel": kernel} if kernel else {"here": here})
    return [counts, "", *table, "", *histogram_lines(summary.histogram or ())]


def figure_lines(rows: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a table of times in seconds: a row a label, a column a figure (min, p50 ... mean, sd)."""
    names = [name for name in _COLUMNS if any(name in row for row in rows.values())]
    lines = [f"{'time':<7}" + "".join(f"{name:>9}" for name in names)]
    for label, row in rows.items():
        lines.append(f"{label:<7}" + "".join(f"{format_time(row[name]) if name in row else '':>9}" for name in names))
    return lines


def histogram_lines(rows: Sequence[tuple[float, float, int]]) -> list[str]:
    """Return one line a row of lower bound, upper bound (us) and count, with a bar in proportion."""
    most = max((count for _, _, count in rows), default=0)
    total = sum(count for _, _, count in rows)
    lines = []
    for low, high, count in rows:
        span = f"{format_time(low / 1e6):>8} - {format_time(high / 1e6):<8}"
        bar = "#" * max(round(count / most * _BAR), 1 if count else 0)
        lines.append(f"{span} {format_count(count):>9} {count / total * 100:>7.2f} %  {bar}".rstrip())
    return lines


def _counts(summary: ProbeSummary) -> str:
    count, answered, over = summary.attempts, summary.verdicts.get("open", 0), sum(summary.verdicts.values())
    lost = f"{(1 - answered / over) * 100:.3g} %" if over else "0 %"
    asks = summary.target is not None and summary.target.transport in ("udp", "icmp")
    words = ("sent", "answered", "lost") if asks else ("attempts", "open", "failed")
    says = [f"{format_count(count)} {words[0]}", f"{format_count(answered)} {words[1]}"]
    says += [f"{format_count(n)} {verdict}" for verdict, n in summary.verdicts.items() if verdict not in _UNSAID]
    says.append(f"{lost} {words[2]}")
    if over < count:
        says.append(f"{format_count(count - over)} under way")
    if summary.ended_by:
        says.append(f"ended by {summary.ended_by}")
    return ", ".join(says)


def _figures(summary: ProbeSummary, front: str) -> dict[str, float]:
    """Return the figures of one clock in seconds, under the names of the table's columns."""
    found = {name: summary.statistics.get(f"{front}{name}_us") for name in _COLUMNS}
    return {name: value / 1e6 for name, value in found.items() if value is not None}
