"""What a reply can ask for beside bytes and a close; only faults do, so no other server imports this.

Like the actions in `netlab.socketops.serving.replies`, these say what is to happen and do nothing themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HalfClose", "Misdeed", "Pause", "Reset", "SendElsewhere", "Stall", "Strike"]


@dataclass(frozen=True, slots=True)
class Strike:
    """Say that a fault strikes now: its name, and what it does to this reply or connection."""

    fault: str
    effect: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait before what comes next, in seconds; less than a millisecond becomes one, as poll(2) counts.

    In a stream nothing is read from this client meanwhile.  A datagram server waits with this one reply alone: other
    datagrams are answered meanwhile, and overtake it.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class HalfClose:
    """Send FIN and go on reading; no bytes follow."""


@dataclass(frozen=True, slots=True)
class Reset:
    """End the connection by RST, which drops what is on its way: so once all that was sent has arrived.

    A client that takes nothing for as long as a send may block gets it all the same.  What has come is not read.
    """


@dataclass(frozen=True, slots=True)
class Stall:
    """Read nothing and send nothing any more, but keep the connection; nothing follows."""


@dataclass(frozen=True, slots=True)
class SendElsewhere:
    """Send a datagram from another socket than the one that the client has written to."""

    data: bytes


Misdeed = Strike | Pause | HalfClose | Reset | Stall | SendElsewhere
