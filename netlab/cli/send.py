"""netlab send: one message or a stream, and the reply."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from netlab.cli.command import Command
from netlab.cli.conversing import STREAM_TIMEOUT, TIMEOUT, connect, or_default
from netlab.cli.loading import check_load, load_options, repeats, run_load
from netlab.cli.messages import EOLS, encode_message, input_size, open_input, read_message
from netlab.cli.options import client_options, option, output_options, payload_options, trace_options, where_options
from netlab.cli.types import DURATION, Parsed
from netlab.cli.where import client_endpoint, names_place

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint
    from netlab.socketops import Expect

__all__ = ["send"]


def _until() -> Callable[[str], Any]:
    from netlab.socketops.talking.until import Until

    return Until.parse


def _regex() -> Callable[[str], str]:
    import re

    def check(text: str) -> str:
        try:
            re.compile(text)
        except re.error as exc:
            raise ValueError(f"{text!a} is no regular expression: {exc}") from None
        return text

    return check


@click.command(cls=Command, converses=True, terse=True)
@click.argument("words", metavar="[TARGET] [MESSAGE]...", nargs=-1)
@where_options("stream", "seqpacket", "dgram")
@client_options("Longest wait for connecting, and for each reply.  [default: 5s; streams 30s of silence]")
@option("-f", "--file", metavar="FILE", section="What", help="Send FILE as one stream; - is standard input.")
@option("--hex", "hex", is_flag=True, section="What", help="MESSAGE is hex digits.")
@option("-e", "--escapes", is_flag=True, section="What", help=r"MESSAGE has \r \n \t \\ \0 \xHH.")
@option(
    "--eol",
    type=click.Choice(list(EOLS)),
    default="none",
    section="What",
    help="Put this after each MESSAGE.",
    show_default=True,
)
@option("-C", "crlf", is_flag=True, section="What", help="Same as --eol crlf; in a stream each newline becomes CR LF.")
@option(
    "--until",
    type=Parsed("rule", _until),
    section="What",
    help="When a reply is whole: none, first, line, quiet[:DURATION], close, SIZE."
    "  [default: quiet; streams close, -c first]",
)
@option(
    "-N",
    "--half-close/--no-half-close",
    "half_close",
    default=None,
    section="What",
    help="End the sending side after the last byte.  [default: streams only]",
)
@option("--expect", metavar="TEXT", section="What", help="Succeed if the reply contains TEXT, as soon as it does.")
@option("--expect-regex", type=Parsed("regex", _regex), section="What", help="The same for a regular expression.")
@option("--expect-echo", is_flag=True, section="What", help="Succeed if the reply is the MESSAGE itself.")
@load_options()
@option("--deadline", type=DURATION, default="0", section="When", help="End the whole run after so long.")
@payload_options()
@output_options("Only the reply and errors.")
@trace_options()
@click.pass_context
def send(ctx: click.Context, /, words: tuple[str, ...], **chosen: Any) -> None:
    """Send one message or a stream, and show the reply.

    Each MESSAGE is sent as it is, and its reply is read before the next; an empty one sends nothing and reads.  Where
    there is no MESSAGE, -f FILE or standard input is sent as one stream.  TARGET is HOST:PORT, :PORT or unix:PATH, and
    is left out where -H, -p or -U says where.

    \b
    Examples:
      netlab send :9999 hello
      netlab send -e example.com:80 'HEAD / HTTP/1.0\\r\\n\\r\\n'
      netlab send -p 9999 --wait 5s --expect pong ping
      tar c . | netlab send backup:9999
      netlab send :9999 -c 10000 -j 50 hello
    """
    from netlab import socketops

    deadline = time.monotonic() + chosen["deadline"] if chosen["deadline"] else math.inf
    target, messages = _target_and_messages(ctx, words)
    if repeats(ctx):
        check_load(ctx, target)
    rules: dict[str, Any] = {"emit": ctx.obj, "until": chosen["until"], "expect": _expect(ctx), "deadline": deadline}
    with ExitStack() as stack:
        if chosen["output"]:
            ctx.obj.save_to(chosen["output"])
        source = None if messages else stack.enter_context(open_input(chosen["file"] or "-"))
        if source is not None and not target.transport.is_stream:
            messages, source = [read_message(source)], None
        connection = stack.enter_context(connect(ctx, target, deadline))
        ctx.obj(connection.connected())
        if repeats(ctx):
            run_load(ctx, connection, messages, rules["expect"], deadline)
        if source is None:
            timeout = or_default(chosen["timeout"], TIMEOUT)
            half_close = bool(chosen["half_close"])
            socketops.converse(connection, messages, timeout=timeout, half_close=half_close, **rules)
        else:
            timeout = or_default(chosen["timeout"], STREAM_TIMEOUT)
            half_close = chosen["half_close"] is not False
            translate = socketops.to_crlf() if _eol(ctx) == "crlf" else None
            with ctx.obj.progress(input_size(source), "B") as progress:
                done = socketops.stream(
                    connection,
                    source,
                    timeout=timeout,
                    half_close=half_close,
                    translate=translate,
                    progress=progress,
                    **rules,
                )
            ctx.obj(done)


def _target_and_messages(ctx: click.Context, words: tuple[str, ...]) -> tuple[Endpoint, list[bytes]]:
    """Tell TARGET from the MESSAGEs, and encode these; without any, check that there is something else to send."""
    chosen = ctx.params
    given = bool(names_place(ctx))
    if not words and not given and not any(chosen[name] for name in ("host", "port", "unix")):
        raise click.UsageError("Where to? Write a TARGET, such as :9999, or -H, -p or -U.", ctx)
    target = client_endpoint(ctx, None if given or not words else words[0])
    texts = words if given else words[1:]
    if texts and chosen["file"]:
        raise click.UsageError("A MESSAGE and -f exclude each other.", ctx)
    if not texts:
        _check_stream(ctx, target)
    if chosen["half_close"] and target.transport.is_datagram:
        raise click.UsageError(f"{target} has no half-close: datagrams have no end.", ctx)
    if chosen["hex"] and chosen["escapes"]:
        raise click.UsageError("--hex and -e exclude each other.", ctx)
    eol = EOLS[_eol(ctx)]
    try:
        encode = partial(
            encode_message, encoding=chosen["encoding"], hexadecimal=chosen["hex"], escapes=chosen["escapes"]
        )
        return target, [encode(text) + eol if text else b"" for text in texts]
    except ValueError as exc:
        raise click.BadParameter(str(exc), ctx, param_hint="MESSAGE") from None


def _check_stream(ctx: click.Context, target: Endpoint) -> None:
    """Refuse what makes no sense without a MESSAGE."""
    chosen = ctx.params
    for name, flag in (("hex", "--hex"), ("escapes", "-e"), ("expect_echo", "--expect-echo")):
        if chosen[name]:
            raise click.UsageError(f"{flag} is for a MESSAGE on the command line.", ctx)
    if repeats(ctx) and target.transport.is_stream:
        raise click.UsageError(
            "-c, -j, -i, --rate, --reconnect and --duration repeat a MESSAGE; a file or pipe is sent once.", ctx
        )
    if not chosen["file"] and os.isatty(0):
        raise click.UsageError(
            f"Nothing to send: give a MESSAGE, -f FILE or a pipe. To type: netlab chat {target}", ctx
        )


def _eol(ctx: click.Context) -> str:
    return "crlf" if ctx.params["crlf"] else ctx.params["eol"]


def _expect(ctx: click.Context) -> Expect | None:
    from netlab.socketops import Expect

    chosen, encoding = ctx.params, ctx.params["encoding"]
    found: list[Expect] = []
    if chosen["expect"] is not None:
        try:
            encode_message(chosen["expect"], encoding=encoding)
        except ValueError as exc:
            raise click.BadParameter(str(exc), ctx, param_hint="'--expect'") from None
        found.append(Expect("text", chosen["expect"], encoding))
    if chosen["expect_regex"] is not None:
        found.append(Expect("regex", chosen["expect_regex"], encoding))
    if chosen["expect_echo"]:
        found.append(Expect("echo", encoding=encoding))
    if len(found) > 1:
        raise click.UsageError("--expect, --expect-regex and --expect-echo exclude each other.", ctx)
    if found and chosen["until"] and chosen["until"].rule == "none":
        raise click.UsageError("--until none awaits no reply, so that none can be expected.", ctx)
    return found[0] if found else None
