"""The options that several commands share, each written once; a command adds its own beside them.

Names are the long options with dashes as underscores, because ``NETLAB_<COMMAND>_<OPTION>`` is made of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from netlab.cli.command import Option
from netlab.cli.types import DURATION, ENCODING, MODE, PORT, SETTING, TRACE_FILE

__all__ = [
    "client_options",
    "max_clients_option",
    "option",
    "output_options",
    "payload_options",
    "server_options",
    "stream_server_options",
    "trace_options",
    "where_options",
]

F = TypeVar("F", bound=Callable[..., Any])


def option(*names: str, section: str, **attrs: Any) -> Callable[[F], F]:
    """Declare an option under a heading of --help (see `netlab.cli.command.SECTIONS`)."""
    return click.option(*names, cls=Option, section=section, **attrs)


def _together(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def where_options(*types: str, port: str = "Port number or service name.") -> Callable[[F], F]:
    """-H -p -U -4 -6 --set, and --type with the given choices (none for serve-udp); ``port`` is the help of -p."""
    typed = [
        option(
            "--type",
            type=click.Choice(types),
            default="stream",
            section="Where",
            rare=True,
            help="Kind of unix socket.",
            show_default=True,
        )
    ]
    return _together(
        option("-H", "--host", metavar="HOST", section="Where", help="Host name or address.  [default: 127.0.0.1]"),
        option("-p", "--port", type=PORT, section="Where", help=f"{port}  [default: 9999]"),
        option("-U", "--unix", metavar="PATH", section="Where", help="Unix socket; @NAME is an abstract one."),
        option("-4", "--ipv4", "ipv4", is_flag=True, section="Where", help="IPv4 only."),
        option("-6", "--ipv6", "ipv6", is_flag=True, section="Where", help="IPv6 only."),
        *(typed if types else ()),
        option(
            "--set",
            "set",
            type=SETTING,
            multiple=True,
            section="Where",
            rare=True,
            help="Set a socket option by name, such as SO_RCVBUF=64k; repeatable.",
        ),
    )


def client_options(timeout_help: str) -> Callable[[F], F]:
    """-u -s -w --wait: what send, chat and probe share."""
    return _together(
        option("-u", "--udp", is_flag=True, section="Where", help="UDP instead of TCP."),
        option("-s", "--source", metavar="[HOST][:PORT]", section="Where", help="Local address to send from."),
        option("-w", "--timeout", type=DURATION, section="When", help=timeout_help),
        option(
            "--wait",
            type=DURATION,
            default="0",
            section="When",
            help="Keep trying to connect for so long.",
            show_default=False,
        ),
    )


def payload_options() -> Callable[[F], F]:
    """-o -x --encoding: how received bytes are kept and shown, on all but probe."""
    return _together(
        option("-o", "--output", metavar="FILE", section="Output", help="Write received bytes to FILE as they are."),
        option("-x", "--hexdump", is_flag=True, section="Output", help="Show bytes in hexadecimal."),
        option(
            "--encoding",
            type=ENCODING,
            default="utf-8",
            section="Output",
            rare=True,
            help="Encoding of the peer's text.",
            show_default=True,
        ),
    )


def output_options(quiet: str) -> Callable[[F], F]:
    """--json -q -v --color, on every command; ``quiet`` is the help of -q."""
    return _together(
        option("--json", is_flag=True, section="Output", help="One JSON object a line."),
        option("-q", "--quiet", is_flag=True, section="Output", help=quiet),
        option("-v", "--verbose", is_flag=True, section="Output", help="More detail."),
        option(
            "--color",
            type=click.Choice(["auto", "always", "never"]),
            default="auto",
            section="Output",
            rare=True,
            help="When to colour the output.",
            show_default=True,
        ),
    )


def trace_options() -> Callable[[F], F]:
    """--trace --diagram --trace-file --trace-peer, on every command; `netlab.cli.tracing` does as they say."""
    return _together(
        option("--trace", is_flag=True, section="Trace", help="Write a line for every socket call to stderr."),
        option("--diagram", is_flag=True, section="Trace", help="Draw the calls of client and server at the end."),
        option(
            "--trace-file",
            type=TRACE_FILE,
            metavar="FILE",
            section="Trace",
            help="Write the calls to FILE.jsonl, or a picture to FILE.txt, .mmd (Mermaid) or .svg.",
        ),
        option(
            "--trace-peer",
            metavar="FILE",
            section="Trace",
            help="Show the other program's calls, too, from its --trace-file FILE.jsonl.",
        ),
    )


REPLIES = ("ack", "echo", "discard", "generate")


def _reply_options(*, datagrams: bool) -> Callable[[F], F]:
    return _together(
        option(
            "--reply",
            type=click.Choice(REPLIES if datagrams else [*REPLIES, "broadcast"]),
            default="ack",
            section="What",
            help="What a client gets back" + ("." if datagrams else "; broadcast is a chat room."),
            show_default=True,
        ),
        option(
            "--ack-text",
            metavar="TEXT",
            default="received {n} bytes",
            section="What",
            help="The acknowledgement; {n} is the number of bytes.",
            show_default=True,
        ),
        option(
            "--eol",
            type=click.Choice(["none", "lf", "crlf"]),
            default="lf",
            section="What",
            help="What ends an acknowledgement.",
            show_default=True,
        ),
        option("-C", "crlf", is_flag=True, section="What", help="Same as --eol crlf."),
        option(
            "--exit-word",
            metavar="WORD",
            default="exit",
            section="What",
            help="Word that ends "
            + (
                "the server with --stop-on-exit; else it is only shown."
                if datagrams
                else "a client's conversation; empty for none."
            ),
            show_default=True,
        ),
    )


def _fault_options(*, datagrams: bool) -> Callable[[F], F]:
    from netlab.cli.faulting import FaultName, FaultOption  # which clients have no use for

    return _together(
        click.option(
            "--fault",
            cls=FaultOption,
            type=FaultName(datagrams=datagrams),
            multiple=True,
            section="What",
            help="Misbehave on purpose. Repeatable; NAME is one of NAMES. --fault list tells more.",
        ),
        option(
            "--seed",
            type=click.IntRange(min=0),
            metavar="N",
            section="What",
            help="Let chance repeat itself: same number, same faults.",
        ),
    )


def server_options(*, datagrams: bool) -> Callable[[F], F]:
    """What all three servers share beside `where_options`; only those of connections have rooms."""
    return _together(
        option(
            "--mode",
            type=MODE,
            default="0600",
            section="Where",
            rare=True,
            help="Permissions of the unix socket file.",
            show_default=True,
        ),
        _reply_options(datagrams=datagrams),
        _fault_options(datagrams=datagrams),
        option(
            "-1",
            "--once",
            "once",
            is_flag=True,
            section="When",
            help=f"End after one {'datagram is answered' if datagrams else 'client'}.",
        ),
        option("--duration", type=DURATION, default="0", section="When", help="End after so long."),
        option("--stop-on-exit", is_flag=True, section="When", help="Let the exit word stop the server, too."),
        option(
            "--ready-fd",
            type=click.IntRange(1, 2**31 - 1),
            metavar="FD",
            section="Output",
            rare=True,
            help="Write the endpoint to descriptor FD once clients can come.",
        ),
        payload_options(),
        output_options("Only the ready line and errors."),
        trace_options(),
    )


def max_clients_option() -> Callable[[F], F]:
    """--max-clients, where many are served at once."""
    return option(
        "--max-clients",
        type=click.IntRange(min=0),
        metavar="N",
        default=1000,
        section="When",
        help="Serve no more at once; 0 for no limit.",
        show_default=True,
    )


def stream_server_options(backlog: int | None) -> Callable[[F], F]:
    """--backlog and --idle-timeout: what serve-tcp and serve-threaded share beside `server_options`."""
    limit = "the kernel's limit"
    default = f".  [default: {limit}]" if backlog is None else f"; with --concurrent {limit}.  [default: {backlog}]"
    return _together(
        option(
            "--backlog",
            type=click.IntRange(0, 2**31 - 1),
            metavar="N",
            default=backlog,
            section="Where",
            rare=True,
            help=f"Connections that may wait to be accepted{default}",
        ),
        option(
            "--idle-timeout",
            type=DURATION,
            default="300s",
            section="When",
            help="Close a client that is silent for so long; 0 for never.",
            show_default=True,
        ),
    )
