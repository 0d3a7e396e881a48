"""A reply and what goes wrong with it, for one connection: each fault is a step that changes the actions before it."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from netlab.socketops.faultlab.faulttable import Fault
from netlab.socketops.serving.actions import HalfClose, Pause, Reset, SendElsewhere, Stall, Strike
from netlab.socketops.serving.replies import Action, Chunk, Close, Reply
from netlab.values import format_bytes, format_setting, format_time

__all__ = ["FaultyReply"]

REORDER = 0.05
"""Seconds for which a reply is held back, so that others overtake it; arbitrary, and below any usual time-out."""
SPLIT = 0.01
"""Seconds between the parts of a cut character: long enough for the client to read the first by itself."""
STANDING = 0.01
"""Seconds that a connection stands until it is reset: at once, some clients would still be in connect()."""
MOST_CUTS = 16
"""Cuts in one reply, so that a long one does not take minutes; arbitrary."""
_STEPS = 20
"""Pieces a second of a reply whose rate is limited."""
_CHARACTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
"""A character of several bytes in UTF-8 (RFC 3629)."""


class FaultyReply:
    """A reply and what goes wrong with it, for one connection; it names bytes, and never a memoryview.

    What it returns is made while it is taken, and can be taken as slowly as is wanted: nothing of the chunk is needed
    any more.
    """

    def __init__(self, reply: Reply, faults: Sequence[Fault], chance: random.Random, conn: int) -> None:
        self._reply = reply
        self._conn = conn
        self._chance = chance
        self._faults = {fault.name: fault for fault in faults}
        self._mute = "half-close" in self._faults
        self._left = {name: int(self._faults[name].amount) for name in _ENDS if name in self._faults}
        self._stages = [(stage, self._faults[name]) for name, stage in _STAGES.items() if name in self._faults]
        self._held = False

    def opening(self) -> Iterable[Action]:
        """Name what happens before the client has sent anything; it may never end."""
        yield from self._beginning()
        opening = iter(self._reply.opening())
        first = None if self._mute else next(opening, None)
        if first is None:
            return
        lost = self._loss("what comes unasked")
        if lost is not None:
            yield lost
        else:
            whole = itertools.chain([first], opening)
            yield from self._change(bytes(a) if isinstance(a, memoryview) else a for a in whole)

    def answer(self, chunk: Chunk) -> Iterable[Action]:
        """Name what happens for a chunk, or for a datagram."""
        actions = [bytes(action) if isinstance(action, memoryview) else action for action in self._reply.answer(chunk)]
        sizes = [len(action) for action in actions if isinstance(action, bytes)]
        if not sizes:
            return actions
        others = [action for action in actions if not isinstance(action, bytes)]
        if self._mute:
            return others
        lost = self._loss(format_bytes(sum(sizes)))
        return [lost, *others] if lost is not None else self._change(actions)

    def _beginning(self) -> Iterator[Action]:
        """Name what goes wrong with the connection itself."""
        every = self._faults.get("refuse-every")
        if every is not None and self._conn % int(every.amount) == 0:
            yield Strike("refuse-every", f"connection {self._conn} is reset")
            yield Pause(STANDING)
            yield Reset()
        if self._mute:
            yield Strike("half-close", "sends FIN at once")
            yield HalfClose()
        if "stall" in self._faults:
            yield Strike("stall", "reads nothing")
            yield Stall()

    def _loss(self, what: str) -> Strike | None:
        """Decide whether a reply is lost."""
        if "no-reply" in self._faults:
            return Strike("no-reply", f"{what} not sent")
        if "drop" in self._faults and self._chance.random() < self._faults["drop"].amount:
            return Strike("drop", f"{what} not sent")
        return None

    def _change(self, actions: Iterable[Action]) -> Iterator[Action]:
        """Let a reply run through all the faults that change it."""
        changed = iter(actions)
        for stage, fault in self._stages:
            changed = stage(self, fault, changed)
        return changed

    def _garbage(self, _fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        told = False
        for action in actions:
            if isinstance(action, bytes):
                if not told:
                    told = True
                    yield Strike("garbage", f"{format_bytes(len(action))} at random")
                yield self._chance.randbytes(len(action))
            else:
                yield action

    def _corrupt(self, fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        told = False
        for action in actions:
            if isinstance(action, bytes):
                data, flipped = _flip(action, fault.amount, self._chance)
                if flipped and not told:
                    told = True
                    yield Strike("corrupt", f"{flipped} bit{'s' * (flipped != 1)} flipped in {format_bytes(len(data))}")
                yield data
            else:
                yield action

    def _truncate(self, fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        limit = int(fault.amount)
        for action in actions:
            if isinstance(action, bytes) and len(action) > limit:
                yield Strike("truncate", f"{format_bytes(len(action))} cut to {format_bytes(limit)}")
                yield action[:limit]
            else:
                yield action

    def _duplicate(self, fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        for action in actions:
            yield action
            if isinstance(action, bytes) and self._chance.random() < fault.amount:
                yield Strike("duplicate", f"{format_bytes(len(action))} sent again")
                yield action

    def _wrong_port(self, _fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        for action in actions:
            if isinstance(action, bytes):
                yield Strike("wrong-port", "sent from another port")
                yield SendElsewhere(action)
            else:
                yield action

    def _delay(self, fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        seconds = max(self._chance.uniform(fault.amount - fault.extra, fault.amount + fault.extra), 0.0)
        shown = format_time(seconds) if fault.extra else format_setting(seconds)
        yield Strike("delay", f"waits {shown}")
        yield Pause(seconds)
        yield from actions

    def _reorder(self, fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        # Never two in a row: of two that are both held back, none overtakes the other.
        self._held = not self._held and self._chance.random() < fault.amount
        if self._held:
            yield Strike("reorder", f"held back for {format_setting(REORDER)}")
            yield Pause(REORDER)
        yield from actions

    def _split(self, _fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        for action in actions:
            if not isinstance(action, bytes):
                yield action
                continue
            characters = [found.span() for found in itertools.islice(_CHARACTER.finditer(action), MOST_CUTS)]
            cuts = [self._chance.randrange(start + 1, end) for start, end in characters]
            if cuts:
                yield Strike("split-utf8", f"cut inside {len(cuts)} character{'s' * (len(cuts) != 1)}")
            for start, end in itertools.pairwise([0, *cuts, len(action)]):
                if start:
                    yield Pause(SPLIT)
                yield action[start:end]

    def _dribble(self, fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        size = int(fault.amount)
        told = False
        for action in actions:
            if not isinstance(action, bytes) or (len(action) <= size and not told):
                yield action
                continue
            for start in range(0, max(len(action), 1), size):
                if told:
                    yield Pause(fault.extra)
                else:
                    told = True
                    yield Strike("dribble", f"{format_bytes(size)} every {format_setting(fault.extra)}")
                yield action[start : start + size]

    def _limit_rate(self, fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        rate = int(fault.amount)
        step = max(rate // _STEPS, 1)
        told = False
        for action in actions:
            if not isinstance(action, bytes):
                yield action
                continue
            if not told:
                told = True
                yield Strike("rate", f"{format_bytes(rate)} a second")
            for start in range(0, max(len(action), 1), step):
                piece = action[start : start + step]
                yield piece
                yield Pause(len(piece) / rate)

    def _end(self, fault: Fault, actions: Iterator[Action]) -> Iterator[Action]:
        for action in actions:
            if isinstance(action, bytes):
                left = self._left[fault.name]
                if len(action) >= left:
                    if left:
                        yield action[:left]
                    how, end = _ENDS[fault.name]
                    yield Strike(fault.name, f"{how} after {format_bytes(int(fault.amount))}")
                    yield end
                    return
                self._left[fault.name] -= len(action)
            yield action


_STAGES: Mapping[str, Callable[[FaultyReply, Fault, Iterator[Action]], Iterator[Action]]] = {
    "garbage": FaultyReply._garbage,
    "corrupt": FaultyReply._corrupt,
    "truncate": FaultyReply._truncate,
    "duplicate": FaultyReply._duplicate,
    "wrong-port": FaultyReply._wrong_port,
    "delay": FaultyReply._delay,
    "reorder": FaultyReply._reorder,
    "split-utf8": FaultyReply._split,
    "dribble": FaultyReply._dribble,
    "rate": FaultyReply._limit_rate,
    "close-after": FaultyReply._end,
    "reset-after": FaultyReply._end,
}
"""What changes a reply, in that order."""

_ENDS: Mapping[str, tuple[str, Action]] = {"close-after": ("FIN", Close("fault")), "reset-after": ("RST", Reset())}


def _flip(data: bytes, chance: float, source: random.Random) -> tuple[bytes, int]:
    """Flip one bit in each byte with that chance; return the bytes, and how many bits were flipped."""
    changed = bytearray(data)
    flipped = 0
    # The distance to the next byte that is hit has a geometric distribution: so only those cost anything.
    position = _distance(chance, source)
    while position < len(changed):
        changed[position] ^= 1 << source.randrange(8)
        flipped += 1
        position += 1 + _distance(chance, source)
    return bytes(changed), flipped


def _distance(chance: float, source: random.Random) -> int:
    return 0 if chance >= 1 else int(math.log(1.0 - source.random()) / math.log1p(-chance))
