"""netlab serve-tcp: one client at a time."""

from __future__ import annotations

from typing import Any

import click

from netlab.cli.command import Command
from netlab.cli.options import server_options, stream_server_options, where_options

__all__ = ["serve_tcp"]

BACKLOG = 5
"""The textbooks' listen(5), so that the queue that they speak of can be seen to fill."""


@click.command(name="serve-tcp", cls=Command, serves=True)
@click.argument("endpoint", metavar="[ENDPOINT]", required=False)
@where_options("stream", "seqpacket")
@server_options()
@stream_server_options(BACKLOG)
@click.pass_context
def serve_tcp(ctx: click.Context, /, endpoint: str | None, **chosen: Any) -> None:
    """Serve one client at a time, on TCP or a unix socket.

    The simplest server there is: the next client waits in the accept queue until the one before it has gone, and the
    log says so.  Only this host can reach it unless --host says otherwise.

    \b
    Examples:
      netlab serve-tcp
      netlab serve-tcp :7 --reply echo
      netlab serve-tcp -p 0 --once --quiet -o upload.bin
      netlab serve-tcp unix:/tmp/s --type seqpacket
    """
    from netlab import socketops
    from netlab.cli.serving import serving

    with serving(ctx, endpoint, model="one client at a time") as service:
        socketops.serve_iteratively(**service, idle_timeout=chosen["idle_timeout"])
