r"""When a reply is whole, and whether it is the one that was expected: decisions, without a socket.

A stream has no messages, so nobody but the user knows where a reply ends.  `Until` is a rule for its end, `Expect` is
what it must hold, and `Awaited` applies both to one reply: it is fed each chunk, and each silence, and says when the
reply is whole.  What a reply holds is never kept, so that its size does not matter.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from netlab.values import format_bytes, format_setting, parse_duration, parse_size

__all__ = ["PREVIEW", "Awaited", "Expect", "Until", "quiet_after"]

QUIET_NEAR = 0.05
"""Seconds of silence that end a reply on loopback and unix sockets: a scheduler's hiccup is shorter."""
QUIET_FAR = 0.25
"""The same elsewhere: above the 200 ms for which TCP may hold back an ACK, and with it Nagle's next segment."""
QUIET_RTTS = 4
"""Round trips that the silence must last at least, so that one lost segment does not end a reply (RFC 6298)."""

PREVIEW = 256
"""Bytes from the start of a reply that are kept for an error's message."""
_PATTERN_SPAN = 1 << 20
"""Characters in which a regular expression is looked for at once; bounds the memory of a reply without end."""


def quiet_after(*, near: bool, rtt: float | None) -> float:
    """Return the seconds of silence after which a reply counts as whole.

    Args:
      near: whether the peer is on this host.
      rtt: the connection's round-trip time in seconds, where it is known.

    >>> quiet_after(near=True, rtt=0.00003), quiet_after(near=False, rtt=0.1)
    (0.05, 0.4)
    """
    return QUIET_NEAR if near else max(QUIET_FAR, round(QUIET_RTTS * (rtt or 0.0), 3))


@dataclass(frozen=True, slots=True)
class Until:
    """A rule for the end of a reply; the peer's EOF ends it under every rule, and cuts it under ``line`` and ``size``.

    Attributes:
      rule: ``none`` awaits nothing; ``first`` is whole with the first chunk or datagram, ``line`` with the first
          newline, ``size`` with so many bytes, ``quiet`` once something came and then nothing for a while; ``close``
          is whole at EOF alone.
      quiet: seconds of silence for ``quiet``; None takes `quiet_after` of the connection.
      size: bytes for ``size``.
    """

    rule: Literal["none", "first", "line", "quiet", "close", "size"]
    quiet: float | None = None
    size: int = 0

    @classmethod
    def parse(cls, text: str) -> Until:
        """Read ``none``, ``first``, ``line``, ``quiet``, ``quiet:300ms``, ``close`` or a size such as ``64k``.

        Raises:
          ValueError: the text is none of these; the message is one line that lists them.

        >>> Until.parse("quiet:300ms").quiet, Until.parse("4k").size
        (0.3, 4096)
        """
        for rule in ("none", "first", "line", "quiet", "close"):
            if text == rule:
                return cls(rule)
        if text.startswith("quiet:"):
            quiet = parse_duration(text.removeprefix("quiet:"))
            if not quiet:
                raise ValueError("a silence of 0 ends a reply at its first chunk: write first")
            return cls("quiet", quiet)
        if not text[:1].isdigit():
            raise ValueError(
                f"{text[:64]!r} is no end of a reply; write none, first, line, quiet, quiet:300ms, close, "
                "or a size such as 64k"
            )
        size = parse_size(text)
        if not size:
            raise ValueError("a reply of 0 bytes is none: write none")
        return cls("size", size=size)

    def __str__(self) -> str:
        if self.rule == "size":
            return format_bytes(self.size)
        return self.rule if self.quiet is None else f"{self.rule}:{format_setting(self.quiet).replace(' ', '')}"


Finder = Callable[[bytes], bool | None]
"""Fed each chunk in turn: True once what is expected is there, False once it can no longer come, else None."""


@dataclass(frozen=True, slots=True)
class Expect:
    """What a reply must hold.

    Attributes:
      kind: ``text`` is contained in it, ``regex`` matches somewhere in it, ``echo`` is the message itself, whole.
      text: the text or the pattern; shown in errors, and empty for ``echo``.
      encoding: of the reply.
    """

    kind: Literal["text", "regex", "echo"]
    text: str = ""
    encoding: str = "utf-8"

    def finder(self, message: bytes) -> Finder:
        """Return a finder for the reply to ``message``."""
        if self.kind == "echo":
            return _find_echo(message)
        if self.kind == "text":
            return _find_bytes(self.text.encode(self.encoding, "surrogateescape"))
        return _find_pattern(re.compile(self.text), self.encoding)


def _find_bytes(wanted: bytes) -> Finder:
    tail = b""

    def feed(chunk: bytes) -> bool | None:
        nonlocal tail
        seen = tail + chunk
        tail = seen[max(len(seen) - len(wanted) + 1, 0) :]
        return wanted in seen or None

    return feed


def _find_pattern(pattern: re.Pattern[str], encoding: str) -> Finder:
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    seen, start = "", 0

    def feed(chunk: bytes) -> bool | None:
        nonlocal seen, start
        seen += decoder.decode(chunk)
        if pattern.search(seen, start):
            return True
        if len(seen) > _PATTERN_SPAN:
            # One character stays in front of where the search begins, so that ^ does not match there.
            seen, start = seen[-_PATTERN_SPAN // 2 - 1 :], 1
        return None

    return feed


def _find_echo(message: bytes) -> Finder:
    done = 0

    def feed(chunk: bytes) -> bool | None:
        nonlocal done
        end = done + len(chunk)
        if message[done:end] != chunk:
            return False
        done = end
        return done == len(message) or None

    return feed


class Awaited:
    """One reply as it comes in.

    Args:
      until: the rule for its end; None where only ``expect`` ends it.
      expect: what it must hold.
      message: what it answers.
      quiet: seconds of silence for a rule ``quiet`` without its own.
    """

    def __init__(
        self, until: Until | None, *, expect: Expect | None = None, message: bytes = b"", quiet: float = QUIET_NEAR
    ) -> None:
        self.until = until
        self.received = 0
        self.chunks = 0
        self.head = b""
        """The beginning of it, for an error's message."""
        self.eof = False
        self.found: bool | None = None
        """Whether what is expected came; None while that is open."""
        self.ended_by = "none" if until and until.rule == "none" else ""
        """What said that the reply is whole; empty until then."""
        self._quiet = until.quiet if until and until.quiet is not None else quiet
        self._find = expect.finder(message) if expect else None

    @property
    def is_cut(self) -> bool:
        """Whether the peer's EOF came where the rule says that more was due."""
        return self.ended_by == "EOF" and self.until is not None and self.until.rule in ("line", "size")

    def share(self, waiting: bytes) -> int:
        """Return how many of the bytes that wait to be read belong to this reply; the rest is the next one's."""
        if self.until and self.until.rule == "line":
            return waiting.find(b"\n") + 1 or len(waiting)
        if self.until and self.until.rule == "size":
            return min(len(waiting), self.until.size - self.received)
        return len(waiting)

    def feed(self, chunk: bytes) -> None:
        """Take a chunk, or a datagram, which may be empty."""
        self.received += len(chunk)
        self.chunks += 1
        if len(self.head) < PREVIEW:
            self.head = (self.head + chunk)[:PREVIEW]
        if self._find and self.found is None:
            self.found = self._find(chunk)
            if self.found is not None:
                self.ended_by = "expect"
        if not self.ended_by and self.until:
            self.ended_by = self._rule_met(chunk)

    def feed_eof(self) -> None:
        """Take the peer's EOF."""
        self.eof = True
        self.ended_by = self.ended_by or ("close" if self.until and self.until.rule == "close" else "EOF")

    def feed_silence(self, seconds: float) -> None:
        """Take it that nothing came for so long since the last chunk."""
        if self.patience(seconds) <= 0:
            self.ended_by = self.ended_by or f"quiet ({format_setting(self._quiet)})"

    def patience(self, silence: float) -> float:
        """Return for how many more seconds the peer may be silent until the reply is whole; infinite if silence ends
        nothing.

        Args:
          silence: seconds since the last chunk.
        """
        if self.until and self.until.rule == "quiet" and self.chunks:
            return self._quiet - silence
        return math.inf

    def _rule_met(self, chunk: bytes) -> str:
        assert self.until is not None
        met = {
            "first": True,
            "line": b"\n" in chunk,
            "size": self.received >= self.until.size,
        }
        return str(self.until) if met.get(self.until.rule) else ""
