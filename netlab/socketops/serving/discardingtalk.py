"""One client's conversation in the event loop, where all that it sends is dropped and nobody wants to see it.

What a thread does by a time limit on its socket is here a timer of the loop; see `netlab.socketops.serving.discarding`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from netlab.endpoint import Transport
from netlab.socketops.serving.clients import Client
from netlab.socketops.serving.discarding import BLOCK, MUCH, PAUSE
from netlab.socketops.serving.talk import Loop, Service, Talk

if TYPE_CHECKING:
    from netlab.socketops.serving.timers import Timer

__all__ = ["DiscardingTalk"]


class DiscardingTalk(Talk):
    """One client, and whether its stream comes fast: then the loop is woken for whole blocks only."""

    __slots__ = ("_low_water", "_seen", "_timer")

    def __init__(self, loop: Loop, client: Client, service: Service, send_timeout: float) -> None:
        super().__init__(loop, client, service, send_timeout)
        self._low_water = 1
        self._seen = 0
        self._timer: Timer | None = None

    def look(self, now: float, idle_timeout: float) -> None:
        """End the conversation if nothing has passed for too long; while blocks are waited for, bytes may have."""
        if self._timer is None:
            super().look(now, idle_timeout)

    def leave(self) -> None:
        """Let go of the timer."""
        if self._timer is not None:
            self._loop.let_go(self._timer)

    def _choose(self) -> Callable[[], None]:
        # A traced socket is a subclass, whose bytes are to be seen; only TCP leaves the buffer alone for the flag.
        if type(self.client.sock) is socket.socket and self.client.transport is Transport.TCP:
            return self._discard
        return super()._choose()

    def _discard(self) -> None:
        """Drop what came without copying it out of the kernel."""
        assert self._service.sink is not None
        got = self._receive(self._service.sink, 0, socket.MSG_TRUNC)
        self.came += got
        if got >= MUCH and self._timer is None and not self._service.stop.is_set():
            self._low_water = self.client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT)
            self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, BLOCK)
            self._look_again()

    def _look_again(self) -> None:
        self._seen = self.came
        self._timer = self._loop.remind(time.monotonic() + PAUSE, self._end_of_pause)

    def _end_of_pause(self) -> None:
        """Go on by blocks if one has come; else drop what there is of it, as it comes."""
        if self.came != self._seen and not self._service.stop.is_set():
            self._look_again()
            return
        self._timer = None
        self.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, self._low_water)
        self._discard()
