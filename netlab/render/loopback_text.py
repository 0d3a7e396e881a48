"""``probe --loopback`` as text: both ends of one conversation side by side."""

from __future__ import annotations

from netlab.endpoint import Endpoint, Transport
from netlab.render.layout import INDENT, headline, labelled, steps
from netlab.render.safe import defuse, escape
from netlab.render.socket_text import (
    name_text,
    option_lines,
    setting_lines,
    socket_mode,
    tcp_info_lines,
    times_lines,
)
from netlab.render.text import View
from netlab.reports import Loopback
from netlab.values import format_bytes, format_elapsed

__all__ = ["loopback_lines"]

_CLIENT, _SERVER = 32, 19
"""Columns of the two ends."""

_DEMO = {
    Transport.UDP: (" -u", "serve-udp", "udp://127.0.0.1:9999"),
    Transport.UNIX: (" -U @demo", "serve-tcp", "unix:@demo"),
    Transport.UNIX_DGRAM: (" --type dgram", "serve-udp", "unix-dgram:@demo"),
    Transport.UNIX_SEQPACKET: (" --type seqpacket", "serve-tcp", "unix-seqpacket:@demo"),
}
"""Options that lead to this page, a server of its kind, and a place for it."""


def loopback_lines(view: View, record: Loopback) -> list[str]:
    """Return the page."""
    client, server, transport = record.client, record.server, record.client.target.transport
    place = defuse(f"{client.target!s:<20} netlab's own {'socket' if transport.is_datagram else 'listener'}")
    lines = [headline(view, client.verdict, place, format_elapsed(client.duration_us / 1e6))]
    lines += labelled("", client.evidence)
    lines += times_lines(client)
    sent, reply = record.sent, record.reply
    lines.append(
        f'{"exchange":<{INDENT}}sent {format_bytes(len(sent.data))} "{_text(sent.data)}", '
        f'received {format_bytes(reply.bytes_in)} "{_text(reply.data or b"")}" in {format_elapsed(reply.rtt_us / 1e6)}'
    )
    lines += [
        _row("", "client", "server"),
        _row("local", name_text(client.local), name_text(server.local), "getsockname()"),
        _row("peer", name_text(client.peer), name_text(server.peer), "getpeername()"),
        _row("socket", f"fileno {client.fileno}", f"fileno {server.fileno}"),
        _row("", socket_mode(client.blocking, client.timeout), socket_mode(server.blocking, server.timeout)),
        "",
    ]
    lines += setting_lines(record.settings)
    lines += option_lines(record.options, everything=record.all_options)
    lines += tcp_info_lines(record.tcp_info, everything=record.all_fields)
    return lines + steps("next", _next_steps(client.target))


def _next_steps(target: Endpoint) -> list[tuple[str, str]]:
    six = " -6" if target.is_ipv6 else ""
    if target.transport not in _DEMO:
        return [
            (f"netlab probe --loopback{six} --diagram", "see the calls"),
            (f"netlab serve-tcp{six}, then netlab chat{six}", "in two terminals"),
        ]
    options, server, place = _DEMO[target.transport]
    if six:
        place = f"'{place.replace('127.0.0.1', '[::1]')}'"
    return [
        (f"netlab probe --loopback{options}{six} --diagram", "see the calls"),
        (f"netlab {server} {place}", "in one terminal"),
        (f"netlab chat {place}", "in another"),
    ]


def _text(data: bytes) -> str:
    return escape(data.decode("ascii", "backslashreplace"))


def _row(label: str, client: str, server: str, call: str = "") -> str:
    return defuse(f"{label:<{INDENT}}{client:<{_CLIENT}}{server:<{_SERVER}}{call}".rstrip())
