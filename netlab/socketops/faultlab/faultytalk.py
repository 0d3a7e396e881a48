"""One client's conversation in the event loop, where things go wrong on purpose.

What a thread does by waiting is here a timer of the loop: a client whose reply is late holds up nobody.
"""

from __future__ import annotations

import functools
import math
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from netlab.records import FaultReport
from netlab.socketops.faultlab.misbehaving import ARRIVAL
from netlab.socketops.queues import unacknowledged
from netlab.socketops.serving.actions import HalfClose, Pause, Reset, Stall, Strike
from netlab.socketops.serving.clients import EOF, Client, Ending, failed_call
from netlab.socketops.serving.entrance import shut_down
from netlab.socketops.serving.replies import Action
from netlab.socketops.serving.talk import Loop, Service, Talk

if TYPE_CHECKING:
    from netlab.socketops.serving.timers import Timer

__all__ = ["FaultyTalk"]


class FaultyTalk(Talk):
    """One client, what is still to be sent to it, and what goes wrong with it."""

    __slots__ = ("_is_stalled", "_timer")

    def __init__(self, loop: Loop, client: Client, service: Service, send_timeout: float) -> None:
        super().__init__(loop, client, service, send_timeout)
        assert service.faults is not None
        assert service.reply is not None
        self._reply = service.faults.for_client(client.conn, service.reply)
        self._timer: Timer | None = None
        self._is_stalled = False

    def look(self, now: float, idle_timeout: float) -> None:
        """End the conversation if nothing has passed for too long; a pause of ours is not the client's silence."""
        if self._timer is None or self._is_stalled:
            super().look(now, idle_timeout)
        else:
            self._mark = None

    def leave(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._loop.let_go(self._timer)

    def _take(self, chunk: memoryview, size: int | None) -> None:
        """Answer a chunk; the reply needs nothing of it any more, and is taken bit by bit, for it may be in pieces."""
        assert self._reply is not None
        self._tell_received(chunk, size)
        self._actions = iter(self._reply.answer(chunk))
        self.carry_on()

    def _misbehave(self, action: Action) -> bool:
        if isinstance(action, Strike):
            self._tell_struck(action)
        elif isinstance(action, HalfClose):
            shut_down(self.client.sock, socket.SHUT_WR)
        elif isinstance(action, Reset):
            self._reset(time.monotonic() + self.send_timeout)
            return True
        elif isinstance(action, Stall):
            self._is_stalled = True
            self._hold(math.inf, self._wake)
            return True
        elif isinstance(action, Pause) and not self._service.stop.is_set():
            self._hold(time.monotonic() + action.seconds, self._wake)
            return True
        return False

    def _hold(self, moment: float, over: Callable[[], None]) -> None:
        self._timer = self._loop.hold(self, moment, over, self._see_end)

    def _reset(self, until: float) -> None:
        """Reset the connection once all has arrived, or it is too late for that."""
        self._timer = None
        now = time.monotonic()
        if unacknowledged(self.client.sock) and now < until and not self._service.stop.is_set():
            self._hold(now + ARRIVAL, functools.partial(self._reset, until))
        else:
            self._end(Ending("fault", resets=True))

    def _wake(self) -> None:
        """Go on when a pause is over; only the stop wakes who is stalled."""
        self._timer = None
        if self._is_stalled:
            self._end(Ending("stopped"))
        else:
            self._loop.wait_for_room(self)

    def _see_end(self) -> None:
        """End the conversation if its client has reset it, or has gone for good, while nothing was read from it."""
        code = self.client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._end(failed_call(OSError(code, os.strerror(code)), "receive"))
        elif self._is_stalled:
            self._end(EOF)

    def _tell_struck(self, strike: Strike) -> None:
        if self._service.struck is not None:
            client = self.client
            report = FaultReport(peer=client.peer, conn=client.conn, fault=strike.fault, effect=strike.effect)
            self._service.struck(report)
