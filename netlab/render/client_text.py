"""The records of send and chat that are not payload, as lines of text; see `netlab.render.text`."""

from __future__ import annotations

from collections.abc import Mapping

from netlab.records import ConnectionInfo, Exchange, Note, Record
from netlab.render.safe import defuse
from netlab.render.text import Lines, View, shown_endpoint
from netlab.values import format_bytes, format_elapsed, format_time

__all__ = ["LINES"]


def _exchange(view: View, record: Exchange) -> list[str]:
    if not view.verbose:
        return []
    first = "" if record.rtt_us is None else f", first after {format_elapsed(record.rtt_us / 1e6)}"
    whole = f"whole after {format_elapsed(record.duration_us / 1e6)} by {record.ended_by}"
    return [f"reply: {format_bytes(record.bytes_in)}{first}, {whole}"]


def _note(_view: View, record: Note) -> list[str]:
    return [defuse(line) for line in record.message.splitlines()]


def _info(_view: View, record: ConnectionInfo) -> list[str]:
    place = [f"local {shown_endpoint(record.local)}", f"peer {shown_endpoint(record.peer)}"]
    if record.state is not None:
        place.append(f"tcp {record.state}")
    place.append(f"fileno {record.fileno}")
    passed = [f"sent {format_bytes(record.bytes_out)}, received {format_bytes(record.bytes_in)}"]
    if record.unread is not None and record.unacknowledged is not None:
        passed.append(f"unread {format_bytes(record.unread)}, unacknowledged {format_bytes(record.unacknowledged)}")
    times = []
    if record.rtt_us is not None:
        times.append(f"rtt {format_time(record.rtt_us / 1e6)} (kernel)")
    if record.reply_us is not None:
        times.append(f"last reply {format_elapsed(record.reply_us / 1e6)}")
    options = [", ".join(times)] if times else []
    for name, value in (("TCP_NODELAY", record.nodelay), ("SO_KEEPALIVE", record.keepalive)):
        if value is not None:
            options.append(f"{name} {value}")
    return ["   ".join(parts) for parts in (place, passed, options) if parts]


LINES: Mapping[type[Record], Lines] = {Exchange: _exchange, Note: _note, ConnectionInfo: _info}
