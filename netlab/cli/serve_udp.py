"""netlab serve-udp: one socket, many peers."""

from __future__ import annotations

from typing import Any

import click

from netlab.cli.command import Command
from netlab.cli.options import server_options, where_options

__all__ = ["serve_udp"]


@click.command(name="serve-udp", cls=Command, serves=True, short_help="Serve datagrams, on UDP or a unix socket.")
@click.argument("endpoint", metavar="[ENDPOINT]", required=False)
@where_options()
@server_options(datagrams=True)
@click.pass_context
def serve_udp(ctx: click.Context, /, endpoint: str | None, **chosen: Any) -> None:
    """Answer each datagram by itself, on UDP or a unix datagram socket.

    One socket serves all peers, without connections.  No reply is larger than what came in, or 64 bytes, and no other
    server's reply is answered.  Only this host can reach it unless --host says otherwise.

    \b
    Examples:
      netlab serve-udp
      netlab serve-udp :7 --reply echo
      netlab serve-udp -p 514 --reply discard --hexdump
      netlab serve-udp unix-dgram:/tmp/s
      netlab serve-udp --fault duplicate=10% --seed 7
    """
    from netlab import socketops
    from netlab.cli.serving import serving

    with serving(ctx, endpoint, model="one socket, many peers", datagrams=True) as service:
        socketops.serve_datagrams(**service)
