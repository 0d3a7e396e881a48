"""netlab serve-threaded: a thread for each client."""

from __future__ import annotations

import sys
import threading
from typing import Any

import click

from netlab.cli.command import Command
from netlab.cli.options import max_clients_option, option, server_options, stream_server_options, where_options
from netlab.cli.types import CPU

__all__ = ["serve_threaded"]

STACK = 256 * 1024
"""Bytes of address space for each thread's stack, of which it touches a few pages; the system's 8 MiB would not let ten
thousand of them be.  64 KiB was too small for a deep repr."""

SWITCH_INTERVAL = 0.1
"""Seconds after which a thread that waits for the interpreter's lock wakes to ask for it.  With CPython's 5 ms a
thousand threads that wait at once, when many clients leave, say, take a whole CPU to ask and hold up everybody for
seconds.  Whoever has the lock gives it up long before, at its next call of the system."""


@click.command(name="serve-threaded", cls=Command, serves=True, short_help="Serve each client in a thread of its own.")
@click.argument("endpoint", metavar="[ENDPOINT]", required=False)
@where_options("stream", "seqpacket")
@server_options(datagrams=False)
@stream_server_options(None)
@max_clients_option()
@option(
    "--cpu",
    type=CPU,
    metavar="auto|none|N",
    default="auto",
    section="Where",
    rare=True,
    help="Keep all threads on one CPU, which makes them faster; none for any.",
    show_default=True,
)
@click.pass_context
def serve_threaded(ctx: click.Context, /, endpoint: str | None, **chosen: Any) -> None:
    """Serve each client in a thread of its own, on TCP or a unix socket.

    A client too many is told that the server is full.  Only this host can reach it unless --host says otherwise.

    \b
    Examples:
      netlab serve-threaded
      netlab serve-threaded '[::]:9999' --reply echo --quiet
      netlab serve-threaded -p 9999 --max-clients 2 --idle-timeout 10s
      netlab serve-threaded -p 9999 --set SO_REUSEPORT=1 --cpu 0
      netlab serve-threaded --reply broadcast
    """
    from netlab import socketops
    from netlab.cli.serving import serving

    threading.stack_size(STACK)
    sys.setswitchinterval(SWITCH_INTERVAL)
    cpu = _choose_cpu(chosen["cpu"], chosen["reply"])
    with serving(ctx, endpoint, model="a thread for each client", has_room=True, cpu=cpu) as service:
        socketops.serve_threaded(
            **service, cpu=cpu, max_clients=chosen["max_clients"] or None, idle_timeout=chosen["idle_timeout"]
        )


def _choose_cpu(wanted: str | int, reply: str) -> int | None:
    import os

    from netlab import socketops

    if isinstance(wanted, int) and hasattr(os, "sched_getaffinity") and wanted not in os.sched_getaffinity(0):
        allowed = ", ".join(str(number) for number in sorted(os.sched_getaffinity(0)))
        raise click.BadParameter(f"this process may not use CPU {wanted}, only {allowed}.", param_hint="'--cpu'")
    if wanted == "auto":
        # Streams of bytes gain more from the second CPU than they lose to the interpreter's lock.
        return None if reply in ("discard", "generate") else socketops.choose_cpu()
    return wanted if isinstance(wanted, int) else None
