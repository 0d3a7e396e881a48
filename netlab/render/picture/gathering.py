"""Calls in a row that share a step of a picture, so that what matters is not lost among them.

They are calls that only look at a socket (options, names, an empty error queue), and polls that time out and are
repeated, with the looks between them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from netlab.records import Call
from netlab.render.picture.merging import socket_id

__all__ = ["gathered"]

_LOOKS = frozenset({"getsockopt", "getsockname", "getpeername"})
_MANY = 3
"""Looks in a row from which on they share a step."""


def gathered(calls: Sequence[Call]) -> Iterator[tuple[Call, int]]:
    """Yield the calls of one lane, and for each how many it stands for.

    The first of several polls stands for all until one that brought something: it has their end, the last one's result,
    and the sum of their waits.
    """
    rest = list(calls)
    while rest:
        looks = list(itertools.takewhile(_is_look, rest))
        polls, length = _polls(rest)
        if len(looks) >= _MANY:
            yield looks[0], len(looks)
            del rest[: len(looks)]
        elif len(polls) > 1:
            yield _as_one(polls), len(polls)
            del rest[:length]
        else:
            yield rest.pop(0), 1


def _is_look(call: Call) -> bool:
    if call.call == "recvmsg":
        return "MSG_ERRQUEUE" in call.args and call.errno_name == "EAGAIN"
    return call.call in _LOOKS and call.args != "SO_ERROR"


def _polls(calls: Sequence[Call]) -> tuple[list[Call], int]:
    """Return the polls of one socket up to the first that brought something, and how many calls they span."""
    polls: list[Call] = []
    length = 0
    for number, call in enumerate(calls, start=1):
        if call.call == "poll" and call.waited_us is not None and socket_id(call) == socket_id(calls[0]):
            polls.append(call)
            length = number
            if call.result != "timed out":
                break
        elif not (polls and _is_look(call)):
            break
    return polls, length


def _as_one(polls: Sequence[Call]) -> Call:
    first, last = polls[0], polls[-1]
    return replace(
        last,
        time=first.time,
        mono_us=first.mono_us,
        duration_us=last.mono_us + last.duration_us - first.mono_us,
        waited_us=sum(poll.waited_us or 0 for poll in polls),
    )
