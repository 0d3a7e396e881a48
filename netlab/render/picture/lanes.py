"""Who stands in which column of a picture: a lane for each thread of each side that takes part in a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netlab.endpoint import Endpoint
from netlab.records import Call
from netlab.render.calls import RECEIVING, SENDING, place_text
from netlab.render.safe import defuse

__all__ = ["SIDES", "Lane", "Lanes"]

SIDES = ("client", "server")
_TALK = SENDING | RECEIVING | {"connect", "poll"}

_Thread = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Lane:
    """One column: a thread of one side; without a thread, a side that was not traced.

    ``local`` and ``peer`` are the names that its sockets had, the first of each with how many more there were.
    """

    side: str
    thread: str
    local: str
    peer: str


class Lanes:
    """The columns, and the place of each call in them.

    A thread that only opened and closed sockets has no lane of its own: what it did stands with its side's first one.
    Nor has a thread that waited in accept for a client that never came: that is left out, and counted.
    """

    def __init__(self, calls: Sequence[Call]) -> None:
        threads: dict[_Thread, list[Call]] = {}
        for call in calls:
            threads.setdefault(_thread_of(call), []).append(call)
        self.lanes: list[Lane] = []
        """From left to right, clients first."""
        self._lane_of: dict[_Thread, int] = {}
        self._idle: set[_Thread] = set()
        for side in SIDES:
            on_side = {thread: made for thread, made in threads.items() if thread[0] == side}
            if on_side:
                self._add_side(side, on_side)
            else:
                local, peer = _names(calls)
                self.lanes.append(Lane(side, "", local=peer, peer=local))

    def lane_of(self, call: Call) -> int | None:
        """Return the lane of a call; None where it is left out."""
        thread = _thread_of(call)
        if thread in self._idle and call.waited_us is not None:
            return None
        return self._lane_of[thread]

    def _add_side(self, side: str, threads: dict[_Thread, list[Call]]) -> None:
        talking = [thread for thread, calls in threads.items() if any(call.call in _TALK for call in calls)]
        waiting = [thread for thread, calls in threads.items() if any(call.waited_us is not None for call in calls)]
        own = [thread for thread in threads if thread in talking or _accepted(threads[thread])]
        own = own or waiting[:1] or list(threads)[:1]
        for thread in own:
            self._lane_of[thread] = len(self.lanes)
            self.lanes.append(Lane(side, defuse(thread[2]), *_names(threads[thread])))
        for thread in threads:
            if thread not in self._lane_of:
                self._lane_of[thread] = self._lane_of[own[0]]
                self._idle.add(thread)


def _thread_of(call: Call) -> _Thread:
    return call.lane, call.pid, call.thread


def _accepted(calls: Iterable[Call]) -> bool:
    return any(call.call == "accept" and call.result is not None for call in calls)


def _names(calls: Iterable[Call]) -> tuple[str, str]:
    found = [call for call in calls if call.call not in ("socket", "setsockopt", "getsockopt")]
    return _listed(call.local for call in found), _listed(call.peer for call in found)


def _listed(endpoints: Iterable[Endpoint | None]) -> str:
    names = list(dict.fromkeys(place_text(one) for one in endpoints if one is not None))
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else "".join(names)
