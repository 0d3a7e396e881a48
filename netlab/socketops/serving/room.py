"""A chat room: each client's lines go to all others, with the sender's number in front (``#3 text``).

The room only cuts lines, makes escapes of their control characters, and knows who is in; how a line gets out is its
member's `Outbox`, which never waits.  A member whose outbox is full leaves the room: so a slow one holds up nobody, and
memory is bounded.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from typing import Protocol

from netlab.socketops.serving.replies import ACK_TEXT, Ack, Chunk, Close, encode

__all__ = ["QUEUE", "TOO_SLOW", "Member", "Outbox", "Room", "too_slow"]

QUEUE = 256 * 1024
"""Bytes that may wait for a member beside what its kernel holds; some thousand lines."""
LINE = 64 * 1024
"""Bytes after which a line that has no end is passed on as one."""
TOO_SLOW = Close("limit")
"""How the conversation of a member ends that is too slow, once it has read what was kept for it."""
_BLANKS = " \t\r\n"
_CONTROLS = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""What moves a terminal, or makes a line look like another member's (CR and a number); TAB may stay."""


class Outbox(Protocol):
    """Takes what a member is to get, from any thread, and never waits."""

    def put(self, line: bytes) -> bool:
        """Send it, or keep it until there is room; return False if the member is, or is now, on its way out."""
        ...


class Room:
    """Who is in; safe in any thread.

    Args:
      exit_word: the line that ends a member's conversation; empty for none.
      stop_on_exit: that line stops the server, too.
      ack_text: how that line is acknowledged; ``{n}`` is the number of its bytes.
      eol: what ends the acknowledgement.
      encoding: the members'.

    Raises:
      ValueError: the encoding lacks a character of the text or of the word; or its newline is no single byte, so that
          lines could not be told apart in a stream.
    """

    def __init__(
        self,
        *,
        exit_word: str = "exit",
        stop_on_exit: bool = False,
        ack_text: str = ACK_TEXT,
        eol: str = "\n",
        encoding: str = "utf-8",
    ) -> None:
        self.ack = Ack(ack_text, eol=eol, encoding=encoding)
        self.encoding = encoding
        self.exit_word = encode(exit_word, encoding)
        self.newline = "\n".encode(encoding)
        if len(self.newline) != 1:
            raise ValueError(f"a room cuts lines at single bytes, which {encoding} does not allow")
        self.blanks = _BLANKS.encode(encoding)
        self.close = Close("exit", stops_server=stop_on_exit)
        self._lock = threading.Lock()
        self._outboxes: dict[int, Outbox] = {}

    def enter(self, number: int, outbox: Outbox, *, whole: bool = False) -> Member:
        """Take in a client.

        Args:
          number: what the others see in front of its lines.
          outbox: where the others' lines go.
          whole: what comes is whole messages (seqpacket), so that a line needs no newline at its end.
        """
        with self._lock:
            self._outboxes[number] = outbox
        return Member(self, number, outbox, whole=whole)

    def say(self, number: int, line: bytes) -> None:
        """Give a line to all but its sender."""
        with self._lock:
            others = [(other, outbox) for other, outbox in self._outboxes.items() if other != number]
        if self.newline == b"\n":  # else these bytes are other characters
            line = _CONTROLS.sub(_escape, line)
        text = f"#{number} ".encode(self.encoding) + line + self.newline
        for other, outbox in others:
            if not outbox.put(text):
                self.leave(other)

    def leave(self, number: int) -> None:
        with self._lock:
            self._outboxes.pop(number, None)


class Member:
    """One client in a room, its lines as they come."""

    __slots__ = ("_number", "_outbox", "_partial", "_room", "_whole")

    def __init__(self, room: Room, number: int, outbox: Outbox, *, whole: bool) -> None:
        self._room = room
        self._number = number
        self._outbox = outbox
        self._whole = whole
        self._partial = b""

    def answer(self, chunk: Chunk) -> Iterable[Close]:
        """Pass on the lines that are whole now; return how the conversation ends, if it does."""
        room = self._room
        *lines, self._partial = (self._partial + chunk).split(room.newline)
        if self._whole or len(self._partial) >= LINE or (room.exit_word and self._partial == room.exit_word):
            lines += [self._partial] if self._partial else []
            self._partial = b""
        for line in lines:
            if room.exit_word and line.rstrip(room.blanks) == room.exit_word:
                self._outbox.put(room.ack.acknowledge(len(line) + len(room.newline)))
                return (room.close,)
            room.say(self._number, line.removesuffix(b"\r"))
        return ()

    def leave(self) -> None:
        """Leave the room; what was said last counts even without the end of its line."""
        self._room.leave(self._number)
        if self._partial:
            self._room.say(self._number, self._partial)
            self._partial = b""


def _escape(found: re.Match[bytes]) -> bytes:
    return b"\\x%02x" % found[0][0]


def too_slow(number: int, room_newline: bytes) -> tuple[bytes, str]:
    """Return the last word to a member whose outbox is full, and the warning to whoever runs the server."""
    return (
        b"netlab: you do not read what the others say, so you are out" + room_newline,
        f"#{number} does not read: {QUEUE // 1024} KiB wait for it, so it leaves the room",
    )
