"""Probing one target: every address it has is tried, and the best of them becomes a verdict with its reasons."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal

from netlab.endpoint import Endpoint, Transport
from netlab.errors import NetlabError, ResolveError, TimedOut
from netlab.explain import (
    VERDICT_STATUS,
    Explanation,
    explain_bind,
    explain_connect,
    explain_rejected,
    explain_resolve,
    explain_self_connect,
    explain_timeout,
)
from netlab.records import ErrorReport, Option, Probe
from netlab.reports import Diagnosis, ProbeSummary, SentHeader
from netlab.socketops.connecting import addresses_to_try
from netlab.socketops.probing import evidence
from netlab.socketops.probing.attempts import Method, Tried, try_all
from netlab.socketops.probing.ipheader import parse_header
from netlab.socketops.sockopts import read_options
from netlab.socketops.tcpinfo import read_tcp_info
from netlab.values import format_elapsed

__all__ = ["BEST_FIRST", "OptionSet", "diagnose", "options_of", "report", "resolve_and_try", "status_of", "summarize"]

OptionSet = Literal["none", "main", "all"]
"""Which socket options to read."""

BEST_FIRST = (
    "open", "busy", "timeout", "no-answer", "refused", "closed", "denied", "unreachable", "missing", "error",
    "unresolved",
)  # fmt: skip
"""Verdicts by hope: a time-out outranks a refusal, for one of the addresses may still be alive."""

_OWN_ROUTING = {
    "EHOSTUNREACH": ("an unreachable route on this host (ip route, ip rule)",),
    "EACCES": ("a prohibit route on this host (ip route, ip rule)", "a broadcast address without SO_BROADCAST"),
    "EINVAL": ("a blackhole route on this host (ip route, ip rule)", "a link-local address without its %interface"),
    "ENETUNREACH": (
        "no route to it on this host: no default route, or a throw route",
        "the interface is down",
        "this host has no address of that family",
    ),
}
"""Causes that are left where this host's own routing decided (ip-route(8))."""


def diagnose(
    target: Endpoint,
    method: Method,
    *,
    options: OptionSet = "none",
    tcp_info: bool = False,
    ok: Collection[str] = (),
) -> Diagnosis:
    """Try every address of ``target`` once, and say what happened, why, and what to try next.

    Args:
      target: tcp, udp, icmp or unix; a name is resolved first, within the same time-out, and its time told apart.
      method: how to try.
      options: which socket options of the best attempt to read.
      tcp_info: whether to read its TCP_INFO.
      ok: verdicts that count as yes; empty for ``open`` alone, with a status of its own for every no.
    """
    started = time.perf_counter()
    with contextlib.ExitStack() as sockets:
        tried = resolve_and_try(target, method, sockets)
        found = report(target, tried, method, time.perf_counter() - started, ok=ok)
        sock = best_of(tried).sock
        return replace(
            found,
            options=options_of(sock, options),
            all_options=options == "all",
            tcp_info=read_tcp_info(sock) if sock and tcp_info else None,
        )


def resolve_and_try(target: Endpoint, method: Method, sockets: contextlib.ExitStack, *, number: int = 1) -> list[Tried]:
    """Resolve ``target`` and try all its addresses; a name without one is an attempt, too, with the verdict unresolved.

    Args:
      sockets: closes the sockets of all attempts.
      number: of this round in a run.
    """
    started = time.perf_counter()
    try:
        patience = method.limit(target.transport)
        addresses = addresses_to_try(
            target, family=method.family, source=method.source, timeout=0 if patience == math.inf else patience
        )
    except (ResolveError, TimedOut) as exc:
        return [Tried(evidence.not_resolved(target, exc, time.perf_counter() - started), refusal=exc)]
    resolved = None if target.is_numeric or target.transport.is_unix else (time.perf_counter() - started) * 1e6
    tried = try_all([(target, address) for address in addresses], method, sockets, number=number)
    for one in tried:
        one.probe = replace(one.probe, resolve_us=resolved)
    return tried


def best_of(tried: Sequence[Tried]) -> Tried:
    """Return the most hopeful of several attempts, the first of equals."""
    return min(tried, key=lambda one: BEST_FIRST.index(one.probe.verdict))


def status_of(verdict: str, ok: Collection[str]) -> int:
    """Return the exit status of a verdict: its own, or 0 or 1 where the caller says which count as yes."""
    return int(verdict not in ok) if ok else VERDICT_STATUS[verdict]


def options_of(sock: socket.socket | None, wanted: OptionSet) -> tuple[Option, ...]:
    """Read the options of a socket, beside those of a new one of its kind."""
    if sock is None or wanted == "none":
        return ()
    with contextlib.ExitStack() as stack:
        try:
            fresh = stack.enter_context(socket.socket(sock.family, sock.type, sock.proto))
        except OSError:  # no descriptors: then there is nothing to compare with
            fresh = None
        return tuple(read_options(sock, everything=wanted == "all", fresh=fresh))


def summarize(probes: Sequence[Probe]) -> dict[str, int]:
    """Count attempts by verdict, the most hopeful first."""
    counts = {verdict: sum(probe.verdict == verdict for probe in probes) for verdict in BEST_FIRST}
    return {verdict: count for verdict, count in counts.items() if count}


def report(
    target: Endpoint, tried: Sequence[Tried], method: Method, duration: float, *, ok: Collection[str] = ()
) -> Diagnosis:
    """Make the report on attempts at the addresses of one target, of which the best counts.

    Args:
      duration: seconds that all of it took.
      ok: verdicts that count as yes.
    """
    best = best_of(tried)
    probes = tuple(one.probe for one in tried)
    status = status_of(best.probe.verdict, ok)
    told = _explain(best)
    return Diagnosis(
        target=target,
        attempts=probes,
        best=best.probe,
        summary=ProbeSummary(
            target=target,
            verdict=best.probe.verdict,
            attempts=len(probes),
            verdicts=summarize(probes),
            duration_us=duration * 1e6,
            status=status,
        ),
        replies=tuple(one.reply for one in tried if one.reply),
        header=_header(best) if method.header_included else None,
        settings=tuple(best.taken),
        note=_note(target, probes),
        means=told.means,
        likely=told.likely,
        next_steps=told.next_steps,
        failure=_failure(best, status, ok) if status else None,
    )


def _explain(best: Tried) -> Explanation:
    probe, refusal = best.probe, best.refusal
    endpoint = probe.endpoint or probe.target
    if refusal is not None and (refusal.means or refusal.next_steps):
        return Explanation("", refusal.means, refusal.likely, refusal.next_steps)
    if isinstance(refusal, ResolveError) and refusal.gai_errno is not None:
        return explain_resolve(refusal.gai_errno, endpoint.host)
    if refusal is not None:
        known = {"bind": explain_bind, "socket": explain_connect}.get(refusal.operation)
        return known(refusal.errno, endpoint) if known and refusal.errno else Explanation("", "", (), ())
    if probe.self_connect:
        return explain_self_connect(endpoint)
    told = explain_timeout(endpoint) if probe.errno is None else explain_connect(probe.errno, endpoint)
    if probe.icmp_type is not None and probe.icmp_code is not None:
        return explain_rejected(
            probe.errno or 0,
            endpoint,
            family=6 if endpoint.is_ipv6 else 4,
            kind=probe.icmp_type,
            code=probe.icmp_code,
            sender=probe.icmp_sender or "",
            local=probe.local.host if probe.local else "",
        )
    if probe.nothing_sent and probe.errno_name in _OWN_ROUTING:
        means = "no packet left this host, so nothing is known of the other side"
        return told._replace(means=means, likely=_OWN_ROUTING[probe.errno_name])
    return told


def _failure(best: Tried, status: int, ok: Collection[str]) -> ErrorReport:
    probe, refusal = best.probe, best.refusal
    endpoint = probe.endpoint or probe.target
    if ok:
        error = NetlabError("probe", endpoint, f"{probe.verdict}, where {' or '.join(ok)} is asked for")
    elif refusal is not None:
        error = refusal
    elif probe.self_connect:
        error = NetlabError("connect", endpoint, explain_self_connect(endpoint).what)
    elif probe.errno is None:
        error = NetlabError("probe", endpoint, f"{probe.verdict} after {format_elapsed(probe.duration_us / 1e6)}")
    else:
        error = NetlabError("connect", endpoint, os.strerror(probe.errno).lower(), errno=probe.errno)
    return ErrorReport(
        message=str(error),
        status=status,
        operation=error.operation,
        where=error.where,
        errno=probe.errno or None,
        errno_name=probe.errno_name,
    )


def _header(best: Tried) -> SentHeader | None:
    if not best.sent:
        return None
    header = parse_header(best.sent)
    return SentHeader(
        source=header.source,
        destination=header.destination,
        header_bytes=header.header_size,
        total_bytes=header.total_length,
        tos=header.tos,
        identification=header.identification,
        flags_and_offset=header.flags_and_offset,
        ttl=header.ttl,
        protocol=header.protocol,
        checksum=header.checksum,
        data=best.sent,
    )


def _note(target: Endpoint, probes: Sequence[Probe]) -> str:
    """Say what it means that some addresses of a name are open and others are not, or that one reached itself."""
    if any(probe.self_connect for probe in probes):
        return "the handshake completed, but with our own socket: this is no server, and counts as refused."
    shut = [probe for probe in probes if probe.verdict != "open" and probe.endpoint]
    if len(shut) in (0, len(probes)):
        return ""
    families = {"IPv6" if probe.endpoint and probe.endpoint.is_ipv6 else "IPv4" for probe in shut}
    is_mixed = any(
        probe.verdict == "open" and probe.endpoint and ("IPv6" if probe.endpoint.is_ipv6 else "IPv4") in families
        for probe in probes
    )
    verdicts = " or ".join(dict.fromkeys(probe.verdict for probe in shut))
    which = f"{len(shut)} of {len(probes)} addresses" if is_mixed or len(families) > 1 else families.pop()
    says = f"{which} {'are' if which[0].isdigit() else 'is'} {verdicts}: clients that do not fall back will fail."
    if target.is_loopback and target.transport is Transport.TCP:
        says += f" Server on both: netlab serve-tcp --host {target.host} -p {target.port}"
    return says
