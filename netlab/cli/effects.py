"""Options of a server that would have no effect: refused where they are typed, for whoever types one expects it.

What stands in the environment is for many runs, and may be of no use in one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint

__all__ = ["refuse_idle_openings", "refuse_idle_options"]

_WITH_WORDS = ("ack", "broadcast")
"""Replies that acknowledge and know an exit word."""
_OF_OPENING = {"backlog": "--backlog", "set": "--set", "type": "--type", "ipv4": "-4", "ipv6": "-6"}


def refuse_idle_options(ctx: click.Context, *, datagrams: bool) -> None:
    """Refuse what the kind of reply makes no use of, and a log that would have clients' bytes in it.

    Raises:
      UsageError: it says which.
    """
    chosen = ctx.params
    if chosen["output"] == "":
        raise click.UsageError("-o '' names no file: write -o FILE, or leave it out.", ctx)
    if chosen["output"] == "-":
        raise click.UsageError("-o - would put what clients send into the log: write -o FILE.", ctx)
    idle = [] if chosen["reply"] in _WITH_WORDS else ["ack_text", "eol", "crlf"]
    if idle and not chosen["stop_on_exit"]:  # that needs a word, whatever the reply is
        idle.append("exit_word")
    for name in idle:
        if chosen[name] and _is_typed(ctx, name):
            flag = "-C" if name == "crlf" else f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{flag} is for --reply ack and broadcast, not for {chosen['reply']}.", ctx)
    if not chosen["stop_on_exit"] or not _is_typed(ctx, "stop_on_exit"):
        return
    if chosen["reply"] == "generate" and not datagrams:
        raise click.UsageError("--stop-on-exit has no effect with generate, which sends and never reads.", ctx)
    if not chosen["exit_word"]:
        raise click.UsageError("--stop-on-exit needs an exit word, and --exit-word is empty.", ctx)


def refuse_idle_openings(ctx: click.Context, places: Sequence[Endpoint], *, adopted: bool) -> None:
    """Refuse what is for a socket, or for a socket's file, that netlab opens itself, where it opens none.

    Raises:
      UsageError: it says which.
    """
    for name, flag in _OF_OPENING.items():
        if adopted and _is_typed(ctx, name):
            raise click.UsageError(f"LISTEN_FDS has brought sockets that are open, so {flag} has no effect.", ctx)
    makes_file = not adopted and any(one.transport.is_unix and not one.path.startswith("@") for one in places)
    if _is_typed(ctx, "mode") and not makes_file:
        raise click.UsageError("--mode is for the file of a unix socket that netlab makes (-U PATH).", ctx)


def _is_typed(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
