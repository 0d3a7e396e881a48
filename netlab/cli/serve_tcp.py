"""netlab serve-tcp: one client at a time, or all from one event loop."""

from __future__ import annotations

from typing import Any

import click

from netlab.cli.command import Command
from netlab.cli.options import max_clients_option, option, server_options, stream_server_options, where_options

__all__ = ["serve_tcp"]

BACKLOG = 5
"""The textbooks' listen(5), so that the queue that they speak of can be seen to fill."""


@click.command(name="serve-tcp", cls=Command, serves=True)
@click.argument("endpoint", metavar="[ENDPOINT]", required=False)
@where_options("stream", "seqpacket")
@option("--concurrent", is_flag=True, section="What", help="Serve all clients at once, from an event loop.")
@server_options(datagrams=False)
@stream_server_options(BACKLOG)
@max_clients_option()
@click.pass_context
def serve_tcp(ctx: click.Context, /, endpoint: str | None, **chosen: Any) -> None:
    """Serve one client at a time, on TCP or a unix socket.

    The simplest server there is: the next client waits in the accept queue until the one before it has gone, and the
    log says so.  With --concurrent the same one thread serves all clients at once.  Only this host can reach it unless
    --host says otherwise.

    \b
    Examples:
      netlab serve-tcp
      netlab serve-tcp :7 --reply echo
      netlab serve-tcp -p 0 --once --quiet -o upload.bin
      netlab serve-tcp --concurrent --reply broadcast
      netlab serve-tcp unix:/tmp/s --type seqpacket
      netlab serve-tcp --fault delay=300ms
    """
    from netlab import socketops
    from netlab.cli.serving import serving

    if not chosen["concurrent"]:
        if ctx.get_parameter_source("max_clients") is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--max-clients needs --concurrent: one client at a time is served without it.", ctx)
        with serving(ctx, endpoint, model="one client at a time") as service:
            socketops.serve_iteratively(**service, idle_timeout=chosen["idle_timeout"])
        return
    if ctx.get_parameter_source("backlog") is click.core.ParameterSource.DEFAULT:
        ctx.params["backlog"] = None  # the kernel's limit: nobody is to be seen waiting here
    with serving(ctx, endpoint, model="all clients in one thread", has_room=True) as service:
        socketops.serve_concurrently(
            **service, max_clients=chosen["max_clients"] or None, idle_timeout=chosen["idle_timeout"]
        )
