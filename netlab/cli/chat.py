"""netlab chat: an interactive line client."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from netlab.cli.command import Command
from netlab.cli.conversing import STREAM_TIMEOUT, TIMEOUT, connect, or_default
from netlab.cli.messages import EOLS
from netlab.cli.options import client_options, option, output_options, payload_options, trace_options, where_options
from netlab.cli.tracing import socket_class
from netlab.cli.where import client_endpoint, family

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint
    from netlab.socketops import Connection

__all__ = ["chat"]


@click.command(cls=Command, converses=True)
@click.argument("target", required=False)
@where_options("stream", "seqpacket", "dgram")
@client_options("Longest wait for connecting; in a pipe also of silence at the end.  [default: 5s; streams 30s]")
@option("-l", "--listen", is_flag=True, section="Where", help="Wait for a peer instead, and accept one.")
@option(
    "--eol",
    type=click.Choice(list(EOLS)),
    default="lf",
    section="What",
    help="Put this after each line.",
    show_default=True,
)
@option("-C", "crlf", is_flag=True, section="What", help="Same as --eol crlf.")
@option(
    "--exit-word",
    metavar="WORD",
    default="exit",
    section="What",
    help="Line that ends the conversation once it is sent; empty for none.",
    show_default=True,
)
@payload_options()
@output_options("Only what the peer sends, and errors.")
@trace_options()
@click.pass_context
def chat(ctx: click.Context, /, target: str | None, **chosen: Any) -> None:
    """Type lines to a peer and see what it sends, as it comes.

    exit is sent and ends the conversation, Ctrl-D ends it too, Ctrl-C aborts.  On a terminal lines that begin with /
    are netlab's own, see /help.  In a pipe every line is the peer's.

    \b
    Examples:
      netlab chat
      netlab chat -C mail.example.com:smtp
      netlab chat --listen :9999
    """
    from netlab import socketops
    from netlab.cli.typed import TypedLines

    place = client_endpoint(ctx, target, listening=chosen["listen"])
    eol = "crlf" if chosen["crlf"] else chosen["eol"]
    on_terminal = os.isatty(0) and os.isatty(1)
    with ExitStack() as stack:
        if chosen["output"]:
            ctx.obj.save_to(chosen["output"])
        connection = _accept(ctx, place, stack) if chosen["listen"] else connect(ctx, place)
        stack.enter_context(connection)
        ctx.obj(connection.connected())
        relay = socketops.Relay(
            connection,
            emit=ctx.obj,
            eol=EOLS[eol],
            encoding=chosen["encoding"],
            exit_word=chosen["exit_word"],
            linger=socketops.LINGER if on_terminal else None,
            timeout=0.0 if on_terminal else or_default(chosen["timeout"], _silence(place)),
        )
        if on_terminal:
            from netlab.cli.terminal import talk

            talk(relay, ctx.obj, eol=eol, exit_word=chosen["exit_word"])
        else:
            typed = TypedLines()
            with relay.ending(typed.rest):
                relay.run(typed)


def _silence(place: Endpoint) -> float:
    return TIMEOUT if place.transport.is_datagram else STREAM_TIMEOUT


def _accept(ctx: click.Context, place: Endpoint, stack: ExitStack) -> Connection:
    """Listen, say where, and wait for one peer."""
    from netlab import socketops
    from netlab.records import Listening

    if ctx.params["source"] or ctx.params["wait"]:
        raise click.UsageError("--listen waits for the peer: -s and --wait are for connecting.", ctx)
    opening = socketops.bind if place.transport.is_datagram else socketops.listen
    options: dict[str, Any] = {"family": family(ctx), "settings": ctx.params["set"], "socket_class": socket_class(ctx)}
    bounds = [stack.enter_context(bound) for bound in opening(place, **options)]
    for bound in bounds:
        ctx.obj(Listening(endpoint=bound.endpoint, fileno=bound.sock.fileno(), backlog=bound.backlog))
    connection = socketops.Connection(socketops.accept_one(bounds), place)
    connection.target = connection.peer
    return connection
