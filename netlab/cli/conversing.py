"""What send and chat share: connecting as their options say."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import click

from netlab.cli.tracing import socket_class
from netlab.cli.where import family, source_endpoint

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint
    from netlab.socketops import Connection

__all__ = ["STREAM_TIMEOUT", "TIMEOUT", "connect", "or_default"]

TIMEOUT = 5.0
"""Seconds for connecting, and for a reply from its message's sending, where -w says nothing."""
STREAM_TIMEOUT = 30.0
"""Seconds of silence in a stream."""


def or_default(timeout: float | None, default: float) -> float:
    """Return what -w says, 0 included, or the default."""
    return default if timeout is None else timeout


def connect(ctx: click.Context, target: Endpoint, deadline: float = math.inf) -> Connection:
    """Connect as -w, --wait, -s, -4, -6 and --set say.

    Args:
      ctx: of a command with `where_options` and `client_options`.
      target: where to.
      deadline: instant of time.monotonic() that connecting must not outlast.
    """
    from netlab import socketops

    chosen, left = ctx.params, deadline - time.monotonic()
    timeout = or_default(chosen["timeout"], TIMEOUT)
    sock = socketops.connect(
        target,
        timeout=timeout if left == math.inf else min(timeout or left, max(round(left, 3), 0.001)),
        wait=min(chosen["wait"], max(left, 0.0)),
        family=family(ctx),
        source=source_endpoint(ctx, target),
        settings=chosen["set"],
        socket_class=socket_class(ctx),
    )
    return socketops.Connection(sock, target)
