"""netlab probe: what a connection attempt meets, why, and what to do next."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import click

from netlab.cli.command import Command
from netlab.cli.options import client_options, option, output_options, trace_options, where_options
from netlab.cli.signals import spare_descriptors, stop_on_signals
from netlab.cli.targets import loopback_endpoint, target_groups
from netlab.cli.tracing import socket_class
from netlab.cli.types import DURATION, Parsed
from netlab.cli.where import family, source_endpoint

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint
    from netlab.socketops import Group, Method, OptionSet, Payload

__all__ = ["probe"]

_INTERVAL = 1.0
"""Seconds between attempts, as ping has it."""


def _payload() -> Callable[[str], Payload]:
    from netlab.socketops import Payload, parse_payload

    def read(text: str) -> Payload:
        if not text.startswith("@"):
            return parse_payload(text)
        try:
            with open(text[1:], "rb") as file:
                return Payload(file.read(65508))
        except OSError as exc:
            raise ValueError(f"{text[1:]}: {exc.strerror}") from None

    return read


def _verdicts() -> Callable[[str], tuple[str, ...]]:
    from netlab.explain import VERDICT_STATUS

    def read(text: str) -> tuple[str, ...]:
        words = tuple(word.strip() for word in text.split(","))
        for word in words:
            if word not in VERDICT_STATUS:
                raise ValueError(f"{word!r} is no verdict; there are {', '.join(VERDICT_STATUS)}")
        return words

    return read


@click.command(cls=Command, short_help="Say what a connection attempt meets, and why.")
@click.argument("targets", metavar="[TARGET]...", nargs=-1)
@where_options("stream", "seqpacket", "dgram", port="Ports of targets that have none: 443, https, 22,80,8000-8100.")
@client_options("Longest wait for an answer.  [default: 5s; UDP and ICMP 2s]")
@option("-f", "--file", metavar="FILE", section="Where", help="More targets, one a line; - is standard input.")
@option(
    "--payload",
    type=Parsed("payload", _payload),
    section="What",
    help="UDP: what to send: TEXT, @FILE, hex:DIGITS, proto:dns.",
)
@option("--loopback", is_flag=True, section="What", help="Probe a listener of netlab's own; needs no server.")
@option("--header-included", is_flag=True, section="What", help="ICMP: build the IPv4 header here, and show it.")
@option("--deadline", type=DURATION, default="0", section="When", help="End the whole run after so long.")
@option(
    "-c", "--count", type=click.IntRange(min=1), section="When", help="Attempts, with figures at the end.  [default: 1]"
)
@option(
    "-i", "--interval", type=DURATION, section="When", help="Time between attempts; without -c endless.  [default: 1s]"
)
@option("--duration", type=DURATION, default="0", section="When", help="Repeat for so long.")
@option(
    "-j", "--jobs", type=click.IntRange(min=1), section="When", help="Attempts at a time.  [default: by descriptors]"
)
@option(
    "--rate",
    type=click.FloatRange(min=0),
    section="When",
    help="Attempts a second, 0 without limit.  [default: 500 beyond this host]",
)
@option("--options", is_flag=True, section="Output", help="Show the socket options that matter.")
@option("--all-options", is_flag=True, section="Output", help="Show every socket option this kernel answers.")
@option("--tcp-info", is_flag=True, section="Output", help="Show all that the kernel knows of the connection.")
@option(
    "--ok-if",
    type=Parsed("verdicts", _verdicts),
    section="Output",
    help="Verdicts that count as yes, such as open,busy: 0, else 1.",
)
@option("--any", "any", is_flag=True, section="Output", help="One target that is a yes is enough.")
@output_options("Only the exit status, and errors of use.")
@trace_options()
@click.pass_context
def probe(ctx: click.Context, /, targets: tuple[str, ...], **chosen: Any) -> None:
    """Say what a connection attempt meets: open or not, why, and what to try next.

    TARGET is HOST:PORT, :PORT, icmp:HOST or unix:PATH; without one it is 127.0.0.1:9999.  The status is 0 for open,
    7 for refused and its like, 28 for silence, 6 for a name without address; of several targets 0 or 1.

    \b
    Examples:
      netlab probe --loopback
      netlab probe example.com:443
      netlab probe db:5432 --wait 30s
      netlab probe -u 192.0.2.1:53
      netlab probe icmp:192.0.2.1
    """
    from netlab import socketops

    if chosen["loopback"]:
        _loopback(ctx, targets)
    groups = target_groups(ctx, targets)
    method = _method(ctx, groups[0][0])
    _check(ctx, groups)
    if len(groups) > 1 or len(groups[0][1]) > 1:
        _survey(ctx, groups, method)
    details: dict[str, Any] = {
        "ok": chosen["ok_if"] or (),
        "options": _option_set(ctx),
        "tcp_info": chosen["tcp_info"],
    }
    target = groups[0][0]
    if chosen["count"] or chosen["interval"] is not None or chosen["duration"]:
        _repeat(ctx, target, method)
    if chosen["wait"]:
        diagnosis = socketops.wait_until(target, method, wait=chosen["wait"], emit=ctx.obj, **details)
    else:
        diagnosis = socketops.diagnose(target, method, **details)
    ctx.obj(diagnosis)
    ctx.exit(diagnosis.summary.status)


def _check(ctx: click.Context, groups: list[Group]) -> None:
    """Refuse what would silently do nothing."""
    chosen = ctx.params
    transports = {endpoint.transport for endpoint, _ in groups}
    if chosen["header_included"] and (transports != {"icmp"} or any(one.is_ipv6 for one, _ in groups)):
        raise click.UsageError("--header-included is for icmp: targets over IPv4, such as icmp:127.0.0.1.", ctx)
    if chosen["payload"] is not None and "udp" not in transports:
        raise click.UsageError("--payload is for UDP (-u); over a connection: netlab send TARGET MESSAGE", ctx)
    repeats = chosen["count"] or chosen["interval"] is not None or chosen["duration"]
    if repeats and chosen["wait"]:
        raise click.UsageError("--wait and repeating (-c, -i, --duration) exclude each other.", ctx)
    if repeats and chosen["rate"] is not None:
        raise click.UsageError("--rate is for many targets; -i says how often one is tried.", ctx)
    if len(groups) > 1 or len(groups[0][1]) > 1:
        for name in ("options", "all_options", "tcp_info", "count", "interval", "duration"):
            if chosen[name] not in (None, False, 0):
                raise click.UsageError(f"--{name.replace('_', '-')} is for one target; here are several.", ctx)


def _survey(ctx: click.Context, groups: list[Group], method: Method) -> NoReturn:
    from netlab import socketops

    chosen = ctx.params
    total = sum(len(ports) or 1 for _, ports in groups)
    how: dict[str, Any] = {
        "jobs": chosen["jobs"] or max(1, spare_descriptors()),
        "rate": chosen["rate"],
        "ok": chosen["ok_if"] or (),
        "one_is_enough": chosen["any"],
        "emit": ctx.obj,
    }
    with stop_on_signals() as stop:
        if chosen["wait"]:
            report = socketops.survey_until(groups, method, wait=chosen["wait"], stop=stop, **how)
        else:
            with ctx.obj.progress(total) as progress:
                report = socketops.survey(
                    groups, method, everything=chosen["verbose"], progress=progress, stop=stop, **how
                )
        ctx.obj(report)
        ctx.exit(128 + signal.Signals[stop.reason] if stop.is_set() else report.summary.status)


def _repeat(ctx: click.Context, target: Endpoint, method: Method) -> NoReturn:
    from netlab import socketops

    chosen = ctx.params
    repeating = socketops.Repeating(target, method, ok=chosen["ok_if"] or (), emit=ctx.obj)
    interval = _INTERVAL if chosen["interval"] is None else chosen["interval"]
    interrupted = None
    try:
        repeating.run(count=chosen["count"], interval=interval, duration=chosen["duration"] or math.inf)
    except KeyboardInterrupt:
        interrupted = "SIGINT"
    report = repeating.report(interrupted)
    ctx.obj(report)
    ctx.exit(128 + signal.SIGINT if interrupted else report.summary.status)


def _loopback(ctx: click.Context, targets: tuple[str, ...]) -> NoReturn:
    from netlab import socketops

    at = loopback_endpoint(ctx, targets)
    options = _option_set(ctx)
    report = socketops.probe_loopback(
        at,
        _method(ctx, at),
        options="main" if options == "none" else options,
        tcp_info=ctx.params["tcp_info"],
    )
    ctx.obj(report)
    ctx.exit(report.summary.status)


def _option_set(ctx: click.Context) -> OptionSet:
    return "all" if ctx.params["all_options"] else "main" if ctx.params["options"] else "none"


def _method(ctx: click.Context, first: Endpoint) -> Method:
    from netlab.socketops import Method

    chosen = ctx.params
    return Method(
        timeout=chosen["timeout"],
        deadline=time.monotonic() + chosen["deadline"] if chosen["deadline"] else math.inf,
        family=4 if chosen["header_included"] else family(ctx),
        source=source_endpoint(ctx, first),
        settings=chosen["set"],
        payload=chosen["payload"],
        header_included=chosen["header_included"],
        socket_class=socket_class(ctx),
    )
