"""Probing UDP: a datagram that a server would answer, and what comes back (udp(7), RFC 768).

There is no handshake, so a port is open only where something answers, and closed only where ICMP says so.
"""

from __future__ import annotations

import socket

from netlab.endpoint import Endpoint
from netlab.socketops.probing.asking import Ancillary, Answer, Question

__all__ = ["udp_question"]


def udp_question(endpoint: Endpoint, sock: socket.socket, payload: bytes) -> Question:
    """Return the question whether a program answers ``payload`` at a UDP port.

    Args:
      endpoint: the numeric address that ``sock`` is connected to.
      sock: non-blocking; connected, so that it takes datagrams and errors of this peer only (udp(7)).
      payload: what each datagram holds; an empty one is sent as such.
    """
    return Question(endpoint, sock, make=lambda number: payload, read=_read)


def _read(data: bytes, ancillary: Ancillary) -> Answer:
    return Answer(data)
