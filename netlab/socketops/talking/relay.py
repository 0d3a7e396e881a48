"""A conversation between whoever types and a peer: lines out, whatever comes in, at any time.

`Relay` waits for nothing itself, so that any front end can drive it: `run` with poll, one with an event loop of its
own by `say`, `receive` and `flush`; either within `ending`.
"""

from __future__ import annotations

import errno
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from netlab.errors import SendError, TimedOut
from netlab.records import ConnectionInfo, Emit, Sent, WarningReport
from netlab.socketops.talking.connection import BROKEN, Connection
from netlab.values import format_bytes, format_setting

__all__ = ["LINGER", "Relay", "Typed"]

LINGER = 5.0
"""Seconds for which what still comes is shown after the user's end."""
_BACKLOG = 1 << 20
"""Bytes that may wait for a slow peer before no more input is read."""
_TOLD = 10
"""Lines that were not sent and that an error repeats."""


class Typed(Protocol):
    """Where lines come from: a terminal, a pipe."""

    def fileno(self) -> int:
        """Return the descriptor that poll waits for."""

    def read(self) -> tuple[list[str], bool]:
        """Return the lines that are there, whole and without their newlines, and whether they were the last."""

    def rest(self) -> str:
        """Return what was typed and not read: a line without its end, lines that came too late."""


class Relay:
    """One conversation and where it stands.

    Args:
      connection: to the peer.
      emit: takes Received, Sent and, at the end, Closed.
      eol: put after each line; empty for none.
      encoding: of the peer's text.
      exit_word: the line that is sent and then ends the conversation; empty for none.
      linger: seconds for which what still comes is received after the end of the input; None: until the peer closes,
          as long as it is not silent for ``timeout`` seconds.
      timeout: seconds for which the peer may take nothing, and, where there is no ``linger``, may be silent at the end;
          0 is no limit.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        emit: Emit,
        eol: bytes = b"\n",
        encoding: str = "utf-8",
        exit_word: str = "exit",
        linger: float | None = LINGER,
        timeout: float = 0.0,
    ) -> None:
        self.connection = connection
        self.is_open = True
        """Whether lines are still taken."""
        self.is_over = False
        self.last_reply: float | None = None
        """Seconds from the last message that was answered to the first chunk after it."""
        self._emit = emit
        self._eol = eol
        self._encoding = encoding
        self._exit_word = exit_word
        self._linger = linger
        self._timeout = timeout
        self._backlog: deque[memoryview] = deque()
        self._waiting = 0  # bytes in the backlog
        self._unsaid: list[str] = []
        self._untaken: list[str] = []
        self._reason = "exit"
        self._ended_at = self._out_at = self._in_at = connection.started

    def run(self, typed: Typed | None = None, on_line: Callable[[str], None] | None = None) -> None:
        """Drive the conversation to its end, within `ending`.

        Args:
          typed: the lines; None where the input has ended.
          on_line: takes each of them, and calls `say` with what is for the peer; None is `say`.

        Raises:
          ReceiveError: the peer reset the connection.
          SendError: it broke while sending.
          ConnectError: a datagram was refused.
          TimedOut: the peer took nothing more, or, without ``linger``, did not close, or never sent a datagram.
        """
        while not self.is_over:
            wants_input = typed is not None and self.is_open and self._waiting < _BACKLOG
            source = typed.fileno() if typed is not None and wants_input else None
            ready = self.connection.wait(self.time_left(), write=self.has_backlog, source=source)
            if ready.readable:
                self.receive()
            if ready.writable and not self.is_over:
                self.flush()
            if ready.source and typed is not None and not self.is_over:
                self._take(*typed.read(), on_line or self.say)
            self.check_time()

    @contextmanager
    def ending(self, rest: Callable[[], str]) -> Iterator[None]:
        """Say at the block's end how the conversation ended, and what of the input the peer never got.

        Args:
          rest: takes and returns what was typed and not read.

        Raises:
          SendError: something that was typed was not sent.
        """
        try:
            yield
        except BROKEN as exc:
            self._emit(self.connection.closed("timeout" if isinstance(exc, TimedOut) else "reset", exc))
            exc.facts += self._not_sent(rest)
            raise
        self._emit(self.connection.closed(self._reason))
        if lost := self._not_sent(rest):
            raise SendError("send", self.connection.target, "not all was sent", facts=lost)

    @property
    def has_backlog(self) -> bool:
        """Whether something waits for room, and so for `flush`."""
        return bool(self._backlog)

    def say(self, text: str) -> None:
        """Send one line to the peer; the exit word ends the conversation after it."""
        if self._eol == b"\r\n":
            text = text.removesuffix("\r")
        try:
            self.send(text.encode(self._encoding, "surrogateescape") + self._eol)
        except UnicodeEncodeError as exc:
            self._unsaid.append(text)
            self._emit(WarningReport(message=f"not sent: {self._encoding} has no {text[exc.start : exc.end]}"))
        if self._exit_word and text.strip() == self._exit_word:
            self._linger = LINGER
            self.end()

    def send(self, data: bytes) -> None:
        """Send bytes as they are, as one message; where there is no room for them they wait for `flush`."""
        if data:
            self._out_at = time.monotonic()
            self._backlog.append(memoryview(data))
            self._waiting += len(data)
            self.flush()

    def flush(self) -> None:
        """Send what waits, as far as there is room; after all of it and the end of the input, half-close."""
        while self._backlog:
            rest = self._backlog[0]
            try:
                count = self.connection.send(rest)
            except SendError as exc:
                if exc.errno != errno.EMSGSIZE:
                    raise
                self._give_up(exc)
                continue
            if not count:
                return
            self._out_at = time.monotonic()
            self._waiting -= count
            if count < len(rest):
                self._backlog[0] = rest[count:]
                return
            self._backlog.popleft()
            self._emit(Sent(peer=self.connection.peer, data=bytes(rest.obj)))
        if not self.is_open:
            self.connection.half_close()

    def _give_up(self, error: SendError) -> None:
        """Drop a message that is too large for one; the conversation goes on."""
        lost = self._backlog.popleft()
        self._waiting -= len(lost)
        self._unsaid.append(f"{format_bytes(len(lost))}: {error.cause}")
        self._emit(WarningReport(message=f"not sent: {format_bytes(len(lost))} in one message: {error.cause}"))

    def end(self) -> None:
        """End the input: what waits is still sent, then the connection is half-closed."""
        self.is_open = False
        self._ended_at = time.monotonic()
        self.flush()

    def quit(self) -> None:
        """End the conversation without waiting for what may still come."""
        self.is_open, self.is_over = False, True

    def receive(self) -> None:
        """Receive and show one chunk; EOF ends the conversation."""
        received = self.connection.receive()
        if received is not None:
            now = time.monotonic()
            if self._out_at > self._in_at:
                self.last_reply = now - self._out_at
            self._in_at = now
            self._emit(received)
        elif self.connection.eof:
            self.is_over, self._reason = True, "eof"

    def time_left(self) -> float:
        """Return the seconds after which `check_time` has something to say, infinite if only the user ends this."""
        now = time.monotonic()
        if not self.is_open and self._is_answered():
            return self._in_at + self.connection.quiet - now
        if not self.is_open and self._linger is not None:
            return self._ended_at + self._linger - now
        if self._timeout and self._backlog:
            return self._out_at + self._timeout - now
        if self._timeout and not self.is_open:
            return max(self._ended_at, self._in_at) + self._timeout - now
        return math.inf

    def check_time(self) -> None:
        """End the conversation if its time is over.

        Raises:
          TimedOut: as in `run`.
        """
        if self.is_over or self.time_left() > 0:
            return
        if self.is_open or self._linger is None:
            self._complain()
        self.is_over = True
        if self.connection.transport.has_connections:
            self._reason = "timeout"

    def _complain(self) -> None:
        """Raise what a time-out means; datagrams, which have no end, may end so once one has come."""
        limit = f"within {format_setting(self._timeout)}"
        if self._backlog:
            raise TimedOut("send", self.connection.target, f"the peer took nothing more {limit}")
        if self.connection.transport.has_connections:
            # SIOCOUTQ counts a FIN as a byte.
            left = min(self.connection.unacknowledged() - (not self.is_open), self.connection.bytes_out)
            means = f"the peer's kernel has not acknowledged the last {format_bytes(left)}" if left > 0 else ""
            raise TimedOut("receive", self.connection.target, f"the peer did not close {limit}", means=means)
        if self._in_at == self.connection.started:
            raise TimedOut("receive", self.connection.target, f"no reply {limit}")

    def info(self) -> ConnectionInfo:
        """Return what is known of the connection now."""
        return self.connection.info(self.last_reply)

    def _take(self, lines: list[str], ended: bool, on_line: Callable[[str], None]) -> None:
        for number, line in enumerate(lines, start=1):
            if self.is_open:
                self._untaken = lines[number:]  # if this one breaks the conversation
                on_line(line)
        self._untaken = []
        if ended and self.is_open:
            self.end()

    def _is_answered(self) -> bool:
        """Tell whether datagrams, which have no end, ended with one of the peer's."""
        return self.connection.transport.is_datagram and not self._backlog and self._in_at >= self._out_at

    def _not_sent(self, rest: Callable[[], str]) -> tuple[str, ...]:
        """Return lines that tell what was typed and has not reached the kernel."""
        waiting = b"".join(self._backlog).decode(self._encoding, "replace")
        typed = (*self._untaken, *rest().splitlines()) if self.is_open else ()
        lines = [*self._unsaid, *waiting.splitlines(), *typed]
        more = (f"not sent: {len(lines) - _TOLD} lines more",) if len(lines) > _TOLD else ()
        return (*(f"not sent: {line}" for line in lines[:_TOLD]), *more)
