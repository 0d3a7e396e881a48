"""The fault lab: faults decide what goes wrong, and do no I/O.

A fault changes the actions that a reply names (`replies` and `actions` in `netlab.socketops.serving`), so what it does
is the same in every server.  Several combine, whatever order they were given in:

1. the connection: refuse-every, half-close, stall (before anything is sent);
2. whether there is a reply: no-reply, drop;
3. what it is: garbage, corrupt, truncate, duplicate, wrong-port;
4. when it comes: delay, reorder, split-utf8, dribble, rate;
5. how it all ends: close-after, reset-after.

A reply is what one chunk or datagram is answered; what a client gets before it has sent anything is one reply, too.
Chance is a connection's own, from the seed and the connection's number: whatever the others do, and however threads
are scheduled, the same requests meet the same faults.
"""

from __future__ import annotations

import difflib
import itertools
import random
from collections.abc import Mapping, Sequence

from netlab.socketops.faultlab.faulttable import KINDS, Fault, Kind, kinds
from netlab.socketops.faultlab.faultyreply import FaultyReply
from netlab.socketops.serving.replies import Reply

__all__ = ["Faults", "parse_fault", "unable"]

_KINDS: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}
_NO_ACCEPT = "no-accept"


def parse_fault(text: str, *, datagrams: bool = False) -> Fault:
    """Read a fault as it is written after ``--fault``: ``NAME``, or ``NAME=VALUE``.

    Args:
      text: what was written.
      datagrams: the server has no connections.

    Raises:
      ValueError: there is no such fault, this server cannot do it, or its value is none; the message is one line that
          lists what is right.

    >>> str(parse_fault("delay=300ms")), parse_fault("delay=300ms").amount
    ('delay=300ms', 0.3)
    """
    name, has_value, value = text.partition("=")
    kind = _KINDS.get(name)
    if kind is None:
        raise ValueError(f"there is no fault {_shown(name)}{_alike(name, datagrams)}; choose from {_names(datagrams)}")
    if not (kind.datagrams if datagrams else kind.streams):
        wanted, here = ("connections", "datagrams") if datagrams else ("datagrams", "connections")
        raise ValueError(f"{name} is a fault of {wanted}, and here are {here}; choose from {_names(datagrams)}")
    if kind.read is None:
        if has_value:
            raise ValueError(f"{name} takes no value")
        return Fault(kind, text)
    if not value:
        raise ValueError(f"{name} needs a value: {kind.usage}, such as {kind.sample}")
    try:
        amount, extra = kind.read(value)
    except ValueError as exc:
        raise ValueError(f"{_shown(text)}: {exc}; write {kind.usage}, such as {kind.sample}") from None
    return Fault(kind, text, amount, extra)


def unable(faults: Sequence[Fault], *, reply: str, unix: bool = False, datagrams: bool = False) -> str | None:
    """Say why a server cannot do a fault, in one line that names others; None where it can do them all.

    Args:
      faults: as `parse_fault` has read them for this kind of server.
      reply: the name of what it replies, ``broadcast`` included.
      unix: one of its sockets is a unix one.
      datagrams: it has no connections.
    """

    def lack(kind: Kind) -> tuple[str, list[str]] | None:
        """Return why it is impossible, and what could be chosen in its place beside another fault."""
        if reply == "broadcast":
            return "is impossible with broadcast: clients hear each other there", ["another reply"]
        if reply == "discard" and kind.changes_replies:
            return "changes replies, and discard has none", ["another reply"]
        if unix and (kind.resets or kind.needs_port):
            return f"is impossible here: a unix socket has no {'reset' if kind.resets else 'port'}", []
        return None

    for fault in faults:
        lacking = lack(fault.kind)
        if lacking is not None:
            why, choices = lacking
            others = ", ".join(kind.name for kind in kinds(datagrams=datagrams) if lack(kind) is None)
            choices += [f"from {others}"] if others else []
            return f"{fault.name} {why}; choose {', or '.join(choices)}"
    for one, other in itertools.permutations(faults, 2):
        if one.name == _NO_ACCEPT or (one.kind.mutes and other.kind.changes_replies):
            return f"{other} has no effect beside {one}; choose one of them"
    return None


class Faults:
    """All that goes wrong in one server.

    Args:
      faults: as `parse_fault` has read them; each name once.
      seed: what chance starts from; None takes any, which `seed` then tells.

    Attributes:
      faults: in the table's order.
      seed: for another run in which the same goes wrong.

    Raises:
      ValueError: a fault is given twice.
    """

    def __init__(self, faults: Sequence[Fault], *, seed: int | None = None) -> None:
        order = list(_KINDS)
        self.faults = tuple(sorted(faults, key=lambda fault: order.index(fault.name)))
        for one, other in itertools.pairwise(self.faults):
            if one.name == other.name:
                raise ValueError(f"{one.name} is given twice: {one} and {other}")
        self.seed = random.SystemRandom().randrange(2**32) if seed is None else seed

    @property
    def never_accepts(self) -> bool:
        """Whether no client is ever to be accepted: then nothing else of this matters."""
        return any(fault.name == _NO_ACCEPT for fault in self.faults)

    @property
    def uses_chance(self) -> bool:
        """Whether the seed makes a difference."""
        return any(fault.kind.uses_chance or (fault.extra and fault.name == "delay") for fault in self.faults)

    def for_client(self, conn: int, reply: Reply) -> FaultyReply:
        """Return what one connection gets in place of a reply; it is that connection's only.

        Args:
          conn: the connection's number, from 1.
          reply: what it would get if all went well.
        """
        return FaultyReply(reply, self.faults, random.Random(f"{self.seed}/{conn}"), conn)

    def for_datagrams(self, reply: Reply) -> FaultyReply:
        """Return what all peers of a datagram server get in place of a reply.

        They share one chance, in the order in which they come: whoever forges addresses could else make a server keep
        something for each.
        """
        return FaultyReply(reply, self.faults, random.Random(f"{self.seed}/0"), 0)

    def __str__(self) -> str:
        return ", ".join(map(str, self.faults))


def _names(datagrams: bool) -> str:
    return ", ".join(kind.name for kind in kinds(datagrams=datagrams))


def _alike(name: str, datagrams: bool) -> str:
    found = difflib.get_close_matches(name.lower(), [kind.name for kind in kinds(datagrams=datagrams)], 1)
    return f" (did you mean {found[0]}?)" if found else ""


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "...")
