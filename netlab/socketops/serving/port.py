"""One bound datagram socket of a server: how it is read and written."""

from __future__ import annotations

import socket
import sys
from typing import Any

from netlab.socketops.opening import Bound
from netlab.socketops.queues import dropped
from netlab.socketops.serving.pktinfo import Control, tells_destination

__all__ = ["Port"]

_TRUE_SIZE = socket.MSG_TRUNC if sys.platform == "linux" else 0
"""Elsewhere that flag does not give a datagram's true size."""


class Port:
    """A socket and its flags, and what the kernel has dropped at it so far.

    Args:
      bound: stays its owner's to close.
      blocks: whether a call may wait for a datagram.

    Attributes:
      has_control: whether an answer needs the control message that says where it is sent from.
    """

    __slots__ = ("drops", "has_control", "receive_flags", "send_flags", "sock", "transport", "where")

    def __init__(self, bound: Bound, *, blocks: bool) -> None:
        self.sock = bound.sock
        self.where = bound.endpoint
        self.transport = bound.endpoint.transport
        at_once = getattr(socket, "MSG_DONTWAIT", 0)
        self.receive_flags = _TRUE_SIZE | (0 if blocks else at_once)
        # A unix peer that does not read would hold up everybody else: its queue is what send waits for (unix(7)).
        self.send_flags = at_once if self.transport.is_unix else 0
        self.has_control = tells_destination(bound)
        self.drops = dropped(bound.sock) or 0

    def send(self, data: bytes | memoryview, address: Any, control: Control | None) -> None:
        """Send one datagram, from where ``control`` says if it says so."""
        if control:
            self.sock.sendmsg([data], control, self.send_flags, address)
        else:
            self.sock.sendto(data, self.send_flags, address)
