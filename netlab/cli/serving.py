"""What the three servers' commands share: open or adopt, announce, and end in good order.

A command reads: parse, open, announce, serve; `serving` is all of it but the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from netlab.cli.effects import refuse_idle_openings, refuse_idle_options
from netlab.cli.faulting import check_faults, chosen_faults, described
from netlab.cli.readiness import check_readiness, inherited_listeners, notify_ready
from netlab.cli.signals import raise_descriptor_limit, stop_on_signals
from netlab.cli.tracing import socket_class
from netlab.cli.where import family, names_place, server_endpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netlab.endpoint import Endpoint
    from netlab.records import Emit
    from netlab.socketops import Bound, Faults, Reply, Room

__all__ = ["serving"]

_EOLS = {"none": "", "lf": "\n", "crlf": "\r\n"}


@contextmanager
def serving(
    ctx: click.Context,
    word: str | None,
    *,
    model: str,
    datagrams: bool = False,
    has_room: bool = False,
    cpu: int | None = None,
) -> Iterator[dict[str, Any]]:
    """Open the sockets that a server's options ask for, and say that they are ready.

    Args:
      ctx: the command's, with the options of `netlab.cli.options.server_options`.
      word: its ENDPOINT argument.
      model: how it serves, in a few words.
      datagrams: it serves datagrams and not connections.
      has_room: its clients can be in a room together.
      cpu: the CPU that it will keep to.

    Yields:
      what all the serving functions of `netlab.socketops` take, the sockets as ``sockets``.

    Raises:
      UsageError: options that contradict each other.
      LocalError: a socket could not be opened.
      OutputError: the file of -o could not.
    """
    from netlab import socketops

    chosen = ctx.params
    faults = chosen_faults(ctx, datagrams=datagrams)
    refuse_idle_options(ctx, datagrams=datagrams)
    check_readiness(chosen["ready_fd"])
    raise_descriptor_limit()
    reply = _room(ctx, has_room=has_room) if chosen["reply"] == "broadcast" else _reply(ctx, datagrams=datagrams)
    with ExitStack() as stack:
        emit: Emit = ctx.obj
        wants = ctx.obj.wants
        if chosen["output"]:
            from netlab.render.saving import Saver

            emit = saver = stack.enter_context(Saver(chosen["output"], ctx.obj))
            wants = saver.wants
        kind = "datagram" if datagrams else "stream"
        adopted = [stack.enter_context(bound) for bound in inherited_listeners(kind, socket_class(ctx))]
        _refuse_two_places(ctx, word, adopted)
        places = [bound.endpoint for bound in adopted] or [server_endpoint(ctx, word, datagram=datagrams)]
        refuse_idle_openings(ctx, places, adopted=bool(adopted))
        check_faults(ctx, faults, places)
        sockets = adopted or [stack.enter_context(bound) for bound in _open(ctx, places[0], datagrams=datagrams)]
        if faults is not None and faults.never_accepts:
            stack.enter_context(socketops.full_queues(sockets))
        stop = stack.enter_context(stop_on_signals())
        _announce(ctx, sockets, emit)
        _describe(ctx, sockets, emit, reply, faults, model=model, cpu=cpu)
        notify_ready(sockets, chosen["ready_fd"])
        yield {
            "sockets": sockets,
            "reply": reply,
            "faults": faults,
            "stop": stop,
            "emit": emit,
            "watch": {kind for kind in socketops.CLIENT_RECORDS if wants(kind)},
            "once": chosen["once"],
            "duration": chosen["duration"],
        }


def _reply(ctx: click.Context, *, datagrams: bool) -> Reply:
    from netlab import socketops

    chosen = ctx.params
    try:
        return socketops.make_reply(
            chosen["reply"],
            ack_text=chosen["ack_text"],
            eol=_eol(ctx),
            exit_word=chosen["exit_word"],
            stop_on_exit=chosen["stop_on_exit"],
            encoding=chosen["encoding"],
            datagrams=datagrams,
        )
    except ValueError as exc:
        raise click.UsageError(str(exc), ctx) from None


def _room(ctx: click.Context, *, has_room: bool) -> Room:
    from netlab import socketops

    chosen = ctx.params
    if not has_room:
        where = "serve-threaded and serve-tcp --concurrent"
        raise click.UsageError(f"--reply broadcast needs a server of many connections at once: {where}.", ctx)
    try:
        return socketops.Room(
            exit_word=chosen["exit_word"],
            stop_on_exit=chosen["stop_on_exit"],
            ack_text=chosen["ack_text"],
            eol=_eol(ctx),
            encoding=chosen["encoding"],
        )
    except ValueError as exc:
        raise click.UsageError(str(exc), ctx) from None


def _eol(ctx: click.Context) -> str:
    return _EOLS["crlf" if ctx.params["crlf"] else ctx.params["eol"]]


def _open(ctx: click.Context, endpoint: Endpoint, *, datagrams: bool) -> list[Bound]:
    from netlab import socketops

    chosen = ctx.params
    where: dict[str, Any] = {"family": family(ctx), "settings": chosen["set"], "mode": chosen["mode"]}
    where["socket_class"] = socket_class(ctx)
    if datagrams:
        return socketops.bind(endpoint, **where)
    return socketops.listen(endpoint, backlog=chosen["backlog"], **where)


def _refuse_two_places(ctx: click.Context, word: str | None, adopted: Sequence[Bound]) -> None:
    """Refuse a place on the command line beside sockets that the parent has passed."""
    given = [word] if word else names_place(ctx)
    if given and adopted:
        raise click.UsageError(f"LISTEN_FDS has brought the sockets to serve, so {given[0]} cannot name others.", ctx)


def _announce(ctx: click.Context, sockets: Sequence[Bound], emit: Emit) -> None:
    from netlab.records import Listening

    for bound in sockets:
        emit(Listening(endpoint=bound.endpoint, fileno=bound.sock.fileno(), backlog=bound.backlog))


def _describe(
    ctx: click.Context,
    sockets: Sequence[Bound],
    emit: Emit,
    reply: Reply | Room,
    faults: Faults | None,
    *,
    model: str,
    cpu: int | None,
) -> None:
    from netlab import socketops
    from netlab.records import Serving

    ends_on_word = isinstance(reply, socketops.EndsOnWord | socketops.Room)
    emit(
        Serving(
            model=model,
            reply=ctx.params["reply"],
            exit_word=ctx.params["exit_word"] if ends_on_word else None,
            reach=socketops.reach(sockets),
            cpu=cpu,
            **described(ctx, faults),
        )
    )
