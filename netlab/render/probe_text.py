"""What probe met, as text: one target as a page, several as a line each, and how it went in the end."""

from __future__ import annotations

from collections.abc import Mapping

from netlab.records import Probe, Record, Reply
from netlab.render.decode import StreamDecoder
from netlab.render.layout import headline, labelled, numbered, steps, word
from netlab.render.loopback_text import loopback_lines
from netlab.render.safe import defuse
from netlab.render.socket_text import option_lines, setting_lines, socket_lines, tcp_info_lines, times_lines
from netlab.render.text import Lines, View
from netlab.reports import Diagnosis, Loopback, Repeated, Repetition, SentHeader, Survey
from netlab.values import format_bytes, format_count, format_elapsed

__all__ = ["ADVICE", "PROBE_LINES"]


def _diagnosis(view: View, record: Diagnosis) -> list[str]:
    best = record.best
    lines = [_title(view, record)]
    # Who has waited wants to know that it is over; who asks for more gets more.
    if best.history is None or record.failure or view.verbose:
        lines += _details(view, record)
    lines += header_lines(record.header)
    lines += setting_lines(record.settings)
    lines += option_lines(record.options, everything=record.all_options)
    lines += tcp_info_lines(record.tcp_info, everything=True)
    if record.note:
        lines += labelled("note", record.note)
    if best.verdict == "open" and record.failure is None and best.history is None:
        lines += steps("next", record.next_steps)
    return lines


def _details(view: View, record: Diagnosis) -> list[str]:
    best = record.best
    if len(record.attempts) > 1:
        lines = [_address(view, probe) for probe in record.attempts]
    else:
        lines = labelled("", best.evidence)
    lines += times_lines(best)
    if best.verdict in ("open", "busy") or best.self_connect:
        lines += socket_lines(best)
    return lines + [line for reply in record.replies for line in _answer(view, reply)]


def _advice(_view: View, record: Diagnosis | Repetition) -> list[str]:
    """Say why it failed and what to do; nothing where the answer is yes."""
    if record.failure is None:
        return []
    if record.summary.verdict == "open":
        return [f"netlab: {defuse(record.failure.message)}"]
    lines = labelled("means", record.means) if record.means else []
    return [*lines, *numbered("likely", record.likely), *steps("next", record.next_steps)]


def _title(view: View, record: Diagnosis) -> str:
    best, found = record.best, record.attempts
    if best.history is not None:
        return _waited(view, best)
    middle = ""
    if len(found) > 1:
        middle = f"{sum(probe.verdict == 'open' for probe in found)} of {len(found)} addresses open"
    elif best.endpoint is not None and best.endpoint != best.target:
        middle = best.endpoint.host
    seconds = (record.summary.duration_us if len(found) > 1 else best.duration_us) / 1e6
    figure = format_elapsed(seconds) if seconds else ""
    return headline(view, best.verdict, defuse(str(record.target)), figure, defuse(middle))


def _waited(view: View, probe: Probe) -> str:
    place = defuse(str(probe.target))
    if probe.endpoint is not None and probe.endpoint != probe.target:
        place += f"  {probe.endpoint.host}"
    seconds = (probe.waited_us or 0) / 1e6
    place += f"   after {seconds:.1f} s: {probe.history}"
    return headline(view, probe.verdict, place, format_elapsed(probe.duration_us / 1e6))


def _address(view: View, probe: Probe) -> str:
    place = defuse(str(probe.endpoint or probe.target))
    return headline(view, probe.verdict, place, format_elapsed(probe.duration_us / 1e6), _call(probe), indent=2)


def _call(probe: Probe) -> str:
    """Say in a few words what decided an attempt."""
    if probe.icmp_type is not None:
        return f"ICMP {probe.icmp_type}/{probe.icmp_code}, {probe.errno_name}"
    if probe.self_connect:
        return "connect_ex 0, self-connect"
    if probe.errno is None:
        return "no answer" if probe.endpoint else ""
    call = "connect_ex" if probe.endpoint and probe.endpoint.transport not in ("udp", "icmp") else "errno"
    return f"{call} {probe.errno} {probe.errno_name or ''}".rstrip()


def _answer(view: View, reply: Reply) -> list[str]:
    if reply.data is None:
        return []
    text = StreamDecoder(view.encoding).preview(reply.data, final=True)
    return [f'{"answer":<13}{format_bytes(reply.bytes_in)} "{text}"']


def header_lines(header: SentHeader | None) -> list[str]:
    """Show an IPv4 header of our own, field by field, and as it went out."""
    if header is None:
        return []
    flags = [name for bit, name in ((0x4000, "DF"), (0x2000, "MF")) if header.flags_and_offset & bit]
    own = header.data[: header.header_bytes].hex(" ")
    return [
        f"{'header':<13}version 4, header length {format_bytes(header.header_bytes)}, TOS {header.tos:#04x}, "
        f"total length {format_bytes(header.total_bytes)}",
        f"{'':<13}identification {header.identification:#06x}, flags {' '.join(flags) or 'none'}, "
        f"fragment offset {(header.flags_and_offset & 0x1FFF) * 8}",
        f"{'':<13}TTL {header.ttl}, protocol {header.protocol} (ICMP), checksum {header.checksum:#06x}",
        f"{'':<13}{header.source} -> {header.destination}",
        f"{'':<13}{own}",
    ]


def _probe(view: View, record: Probe) -> list[str]:
    if record.history is not None:
        return [_waited(view, record)]
    elapsed = format_elapsed(record.duration_us / 1e6)
    place = defuse(str(record.target))
    says = record.service or "" if record.verdict == "open" else _call(record)
    return [f"{word(view, record.verdict)}{place:<24} {elapsed:>10}  {says}".rstrip()]


def _survey(_view: View, report: Survey) -> list[str]:
    record = report.summary
    counts = [f"{format_count(count)} {verdict}" for verdict, count in record.verdicts.items()]
    if record.not_tried:
        counts.append(f"{format_count(record.not_tried)} not tried ({record.ended_by})")
    attempts = f"{format_count(record.attempts)} attempt{'s' * (record.attempts != 1)}"
    return [f"{attempts} in {format_elapsed(record.duration_us / 1e6)}: {', '.join(counts) or 'none'}"]


def _loopback(view: View, record: Loopback) -> list[str]:
    # The first picture is better without a page of text before it.
    return [] if view.diagram and not view.verbose else loopback_lines(view, record)


def _verdict(_view: View, report: Survey) -> list[str]:
    return [f"netlab: {defuse(report.failure.message)}"] if report.failure else []


def _repeated(view: View, record: Repeated) -> list[str]:
    from netlab.render.repeat_text import repeated_lines

    return repeated_lines(view, record)


def _repetition(view: View, record: Repetition) -> list[str]:
    from netlab.render.repeat_text import repetition_lines

    return repetition_lines(view, record)


PROBE_LINES: Mapping[type[Record], Lines] = {
    Diagnosis: _diagnosis,
    Loopback: _loopback,
    Probe: _probe,
    Repeated: _repeated,
    Repetition: _repetition,
    Survey: _survey,
}
ADVICE: Mapping[type[Record], Lines] = {Diagnosis: _advice, Repetition: _advice, Survey: _verdict}
"""What goes to stderr beside a report."""
