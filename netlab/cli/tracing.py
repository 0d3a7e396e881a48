"""--trace, --diagram, --trace-file, --trace-peer: the socket class that a command's openers take, and the end of a run.

Without these options openers get the plain class, and nothing of tracing is even imported.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from netlab.errors import NetlabError, UsageError

if TYPE_CHECKING:
    import socket

    from netlab.records import Call
    from netlab.render import Renderer
    from netlab.render.payload import PayloadRenderer
    from netlab.socketops import Trace

__all__ = ["socket_class", "tracing"]

_META = "netlab.socket_class"
_WIDEST = 132
"""Columns above which a diagram's lanes only drift apart."""
_PEER_PATIENCE = 2.0
"""Seconds that the other program has to write its trace, once this one is done: both mostly end at the same moment."""
_PEER_PAUSE = 0.05


def socket_class(ctx: click.Context) -> type[socket.socket]:
    """Return the class for a command's openers: the plain one, or one whose calls are seen."""
    import socket

    found: type[socket.socket] = ctx.meta.get(_META, socket.socket)
    return found


@contextmanager
def tracing(ctx: click.Context, out: Renderer | PayloadRenderer, *, serves: bool) -> Iterator[None]:
    """Trace a command's sockets as its options ask for, and draw the picture at its end, whatever ends it.

    Raises:
      UsageError: the trace of the other program does not fit.
      OutputError: the trace could not be written.
    """
    chosen = ctx.params
    if chosen["trace_peer"] and not (chosen["diagram"] or chosen["trace_file"]):
        raise click.UsageError("--trace-peer needs --diagram or --trace-file, which show both programs' calls.", ctx)
    if not (chosen["trace"] or chosen["diagram"] or chosen["trace_file"]):
        yield
        return
    from netlab.socketops import Trace, traced_socket_class

    trace = Trace(emit=out if chosen["trace"] else None)
    ctx.meta[_META] = traced_socket_class(trace, lane="server" if serves else "client")
    try:
        yield
    except (NetlabError, KeyboardInterrupt):
        try:
            _finish(ctx, out, trace)
        except NetlabError as exc:  # what went wrong first decides the status
            out.error(exc)
        raise
    except click.exceptions.Exit:
        _finish(ctx, out, trace)
        raise
    _finish(ctx, out, trace)


def _finish(ctx: click.Context, out: Renderer | PayloadRenderer, trace: Trace) -> None:
    from netlab.records import WarningReport

    chosen = ctx.params
    if trace.failure is not None:
        raise trace.failure
    if not (chosen["diagram"] or chosen["trace_file"]):
        return
    calls = trace.calls()
    if not calls:
        out(WarningReport(message="no socket call was made, so there is nothing to draw"))
        return
    if chosen["trace_peer"]:
        calls = _merged(calls, chosen["trace_peer"])
    if chosen["diagram"]:
        import shutil

        from netlab.render.picture.scene import build_scene
        from netlab.render.picture.sequence import draw_sequence

        width = min(shutil.get_terminal_size().columns, _WIDEST)
        out.draw(draw_sequence(build_scene(calls, dropped=trace.dropped), width=width))
    if chosen["trace_file"]:
        from netlab.render.picture.tracefile import write_trace

        write_trace(chosen["trace_file"], calls, dropped=trace.dropped)


def _merged(calls: list[Call], path: str) -> list[Call]:
    """Put the other program's calls among ours, as soon as it has written them."""
    from netlab.render.picture.merging import merge
    from netlab.render.picture.tracefile import read_trace

    deadline = time.monotonic() + _PEER_PATIENCE
    while True:
        try:
            return merge(calls, read_trace(path))
        except UsageError:
            if time.monotonic() >= deadline:
                raise
        except ValueError as exc:
            if time.monotonic() >= deadline:
                raise UsageError("merge", path, str(exc)) from None
        time.sleep(_PEER_PAUSE)
