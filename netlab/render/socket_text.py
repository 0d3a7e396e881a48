"""What the kernel says of one socket: its names and times, its options as a table, TCP_INFO as a block."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from netlab.endpoint import Endpoint
from netlab.records import Option, Probe, TcpInfo
from netlab.render.layout import EDGE, columns, labelled
from netlab.render.safe import defuse
from netlab.values import format_bytes, format_elapsed

__all__ = [
    "name_text",
    "option_lines",
    "setting_lines",
    "socket_lines",
    "socket_mode",
    "tcp_info_lines",
    "times_lines",
]

_JOINT = 27
"""Columns of an option's name and value together; beside a longer pair there is no room for its meaning."""
_MEANING = 33
_MAIN_FIELDS = (
    ("rtt", "rttvar", "min_rtt", "rto"),
    ("snd_cwnd", "snd_ssthresh", "snd_mss", "rcv_mss"),
    ("segs_out", "segs_in", "total_retrans", "unacked"),
    ("bytes_acked", "bytes_received"),
)
_ALL_FIELDS = (
    ("options", "snd_wscale", "rcv_wscale", "fastopen_client_fail"),
    ("rtt", "rttvar", "min_rtt", "rcv_rtt", "rto", "ato", "backoff", "probes"),
    ("snd_mss", "rcv_mss", "advmss", "pmtu"),
    ("ca_state", "snd_cwnd", "snd_ssthresh", "reordering", "reord_seen", "snd_wnd", "rcv_wnd", "rcv_space"),
    ("rcv_ssthresh", "pacing_rate", "max_pacing_rate", "delivery_rate", "delivery_rate_app_limited"),
    ("segs_out", "segs_in", "data_segs_out", "data_segs_in", "bytes_sent", "bytes_acked", "bytes_received"),
    ("unacked", "notsent_bytes", "delivered", "delivered_ce", "rcv_ooopack"),
    ("retransmits", "retrans", "total_retrans", "bytes_retrans", "lost", "sacked", "fackets", "dsack_dups", "rehash"),
    ("total_rto", "total_rto_recoveries", "total_rto_time"),
    ("last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv"),
    ("busy_time", "rwnd_limited", "sndbuf_limited"),
)


def option_lines(options: Sequence[Option], *, everything: bool) -> list[str]:
    """Return the table of a socket's options, grouped by level; a star marks what a new socket has, too."""
    if not options:
        return []
    lines = ["options             value      * = as a new socket has it"]
    for level, rows in itertools.groupby(options, key=lambda option: option.level):
        lines.append(f" {level}")
        for option in rows:
            lines += _option(option)
    if not everything:
        lines.append(f"{'':<{_MEANING}}all of them: --all-options")
    return [defuse(line) for line in lines]


def setting_lines(settings: Sequence[Option]) -> list[str]:
    """Return what the kernel made of the options that --set asked for."""
    return [
        defuse(f"{'set' if number == 0 else '':<13}{option.name} {option.shown}")
        for number, option in enumerate(settings)
    ]


def tcp_info_lines(info: TcpInfo | None, *, everything: bool) -> list[str]:
    """Return TCP_INFO: the state, then the fields that matter, or all that the kernel gave."""
    if info is None:
        return []
    lines = [f"tcp_info     {info.state_name} ({info.state})"]
    groups = list(_ALL_FIELDS if everything else _MAIN_FIELDS)
    if everything:
        placed = {name for group in groups for name in group} | {"state"}
        groups.append(tuple(name for name in info.fields if name not in placed))
    for group in groups:
        shown = [f"{name} {_field(info, name)}" for name in group if name in info.fields]
        if shown:
            lines += _wrapped(shown)
    if info.unread is not None and info.unacknowledged is not None:
        queues = f"unread {format_bytes(info.unread)} (SIOCINQ), unacknowledged {format_bytes(info.unacknowledged)}"
        lines.append(f"  {queues} (SIOCOUTQ)")
    if not everything:
        lines.append(f"{'':<{_MEANING}}all fields: --tcp-info")
    return lines


def times_lines(probe: Probe) -> list[str]:
    """Show what took how long, the name's time apart."""
    says = []
    if probe.resolve_us is not None and probe.verdict != "unresolved":
        says.append(f"name resolved in {format_elapsed(probe.resolve_us / 1e6)}")
    if probe.handshake_us is not None:
        connect = f"connect {format_elapsed(probe.handshake_us / 1e6)} here"
        if probe.rtt_us is not None:
            connect += f", {format_elapsed(probe.rtt_us / 1e6)} in the kernel (rtt)"
        says.append(connect)
        if probe.syn_retransmits is not None:
            times = probe.syn_retransmits
            says.append(f"SYN resent {times} time{'s' * (times != 1)}" if times else "no SYN resent")
    return labelled("times", "; ".join(says)) if says else []


def socket_lines(probe: Probe) -> list[str]:
    """Show both names of a socket, who is behind a unix one, and what Python knows of it."""
    is_unix = probe.endpoint is not None and probe.endpoint.transport.is_unix
    lines = [
        columns(label, name_text(name), call)
        for label, name, call in (("local", probe.local, "getsockname()"), ("peer", probe.peer, "getpeername()"))
        if name is not None or is_unix
    ]
    if probe.pid is not None:
        lines.append(columns("", f"pid {probe.pid}, uid {probe.uid}, gid {probe.gid}", "SO_PEERCRED"))
    if probe.fileno is not None:
        lines.append(columns("socket", f"fileno {probe.fileno}, {socket_mode(probe.blocking, probe.timeout)}"))
    return lines


def socket_mode(blocking: bool | None, timeout: float | None) -> str:
    """Say how the calls of a socket wait."""
    return f"{'blocking' if blocking else 'non-blocking'}, gettimeout() {timeout}"


def name_text(endpoint: Endpoint | None) -> str:
    """Return a socket's name as getsockname() has it: a path, or host and port."""
    if endpoint is None:
        return "unnamed"
    return endpoint.path or (endpoint.host if endpoint.transport == "icmp" else str(endpoint).removeprefix("udp://"))


def _option(option: Option) -> list[str]:
    pair = f"{option.name} {option.shown:>{_JOINT - len(option.name) - 1}}"
    head = f"  {pair} {'*' if option.is_default else ' '}"
    if len(pair) <= _JOINT:
        return [f"{head}  {option.meaning}"]
    return [head.rstrip(), f"{'':<{_MEANING}}{option.meaning}"]


def _field(info: TcpInfo, name: str) -> str:
    shown = info.shown.get(name, str(info.fields[name]))
    sent = info.fields[name] - 1
    # tcp(7) counts the SYN as a byte that was acknowledged.
    return f"{shown} ({sent} + SYN)" if name == "bytes_acked" and sent >= 0 else shown


def _wrapped(fields: Sequence[str]) -> list[str]:
    import textwrap

    # A field and its value stay together.
    joined = ", ".join(field.replace(" ", "\0") for field in fields)
    lines = textwrap.wrap(joined, EDGE, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]
