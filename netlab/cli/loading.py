"""Load: the options of send that repeat its messages, and the run that they ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from netlab.cli.conversing import TIMEOUT, or_default
from netlab.cli.options import option
from netlab.cli.signals import spare_descriptors, stop_on_signals
from netlab.cli.types import DURATION
from netlab.cli.where import source_endpoint

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint
    from netlab.socketops import Connection, Expect

__all__ = ["check_load", "load_options", "repeats", "run_load"]

F = TypeVar("F", bound=Callable[..., Any])

_NAMES = ("count", "jobs", "rate", "interval", "reconnect", "duration")
_STATUS = {"SIGINT": 130, "SIGTERM": 143}


def load_options() -> Callable[[F], F]:
    """-c -j --rate -i --reconnect --duration, on send."""

    def decorate(function: F) -> F:
        for add in reversed(
            (
                option(
                    "-c",
                    "--count",
                    type=click.IntRange(min=0),
                    section="When",
                    help="Exchanges in all; only figures are shown.  0 is without end, and so is -i or --rate alone."
                    "  [default: 1]",
                ),
                option(
                    "-j",
                    "--jobs",
                    type=click.IntRange(min=1),
                    section="When",
                    help="Connections at a time.  [default: 1]",
                ),
                option(
                    "-i", "--interval", type=DURATION, section="When", help="Time between exchanges on a connection."
                ),
                option(
                    "--rate",
                    type=click.FloatRange(min=0, min_open=True),
                    section="When",
                    help="Exchanges a second, by a schedule; times count from it.",
                ),
                option("--reconnect", is_flag=True, section="When", help="A connection for each exchange."),
                option("--duration", type=DURATION, section="When", help="Repeat for so long."),
            )
        ):
            function = add(function)
        return function

    return decorate


def repeats(ctx: click.Context) -> bool:
    """Tell whether an option asks for more than one exchange a message, which is then only measured."""
    return any(ctx.params[name] is not None and ctx.params[name] is not False for name in _NAMES)


def run_load(
    ctx: click.Context, connection: Connection, messages: list[bytes], expect: Expect | None, deadline: float
) -> NoReturn:
    """Run what the options ask for, show the figures, and end with what they come to.

    Raises:
      NetlabError: exchanges failed, or not all was done in time.
    """
    from netlab import socketops

    chosen, target = ctx.params, connection.target
    jobs = chosen["jobs"] or 1
    endless = chosen["duration"] or chosen["rate"] or chosen["interval"]
    plan = socketops.Plan(
        count=chosen["count"] if chosen["count"] is not None else 0 if endless else jobs,
        jobs=jobs,
        rate=chosen["rate"] or 0.0,
        interval=chosen["interval"] or 0.0,
        reconnect=chosen["reconnect"],
        duration=chosen["duration"] or 0.0,
        deadline=deadline,
        timeout=or_default(chosen["timeout"], TIMEOUT),
        half_close=bool(chosen["half_close"]),
    )
    load = socketops.Load(
        connection,
        messages,
        plan,
        until=chosen["until"],
        expect=expect,
        source=source_endpoint(ctx, target),
        settings=chosen["set"],
    )
    with load, stop_on_signals() as stop, ctx.obj.progress(plan.count or None, "exchanges") as progress:
        load.run(stop=stop, progress=progress)
    ctx.obj(load.report())
    if stop.is_set():
        ctx.exit(_STATUS[stop.reason])
    if failure := load.failure():
        raise failure
    ctx.exit(0)


def check_load(ctx: click.Context, target: Endpoint) -> None:
    """Refuse what makes no sense where messages are repeated."""
    chosen = ctx.params
    limit = spare_descriptors()
    source = source_endpoint(ctx, target)
    reasons = {
        "--rate and -i exclude each other.": chosen["rate"] and chosen["interval"],
        "Where messages are repeated no silence ends a reply: --until first, line, SIZE or close.": (
            chosen["until"] and chosen["until"].rule == "quiet"
        ),
        "-N with repeated messages needs --reconnect: nothing can be sent after it.": (
            chosen["half_close"] and not chosen["reconnect"]
        ),
        "-o and -x are for replies, and repeated messages show none.": chosen["output"] or chosen["hexdump"],
        "-s with a port is for one connection.": (
            source and source.port and ((chosen["jobs"] or 1) > 1 or chosen["reconnect"])
        ),
        f"-j {chosen['jobs']} is too many: this process may have {limit} connections (ulimit -n).": (
            (chosen["jobs"] or 1) > limit
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise click.UsageError(reason, ctx)
