"""How far a long operation is: one line on a terminal, drawn over and over, that other lines push aside."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from netlab.errors import NetlabError
from netlab.render.output import Writer
from netlab.values import format_count

__all__ = ["Progress"]

_FIRST = 0.5
"""Seconds before the line is drawn at all: what is over by then needs none."""
_REDRAW = 0.1
_WINDOW = 30
"""Drawings over which the rate is taken, so that it follows a connection that slows down."""
_BAR = 12
_PREFIXES = ("", "k", "M", "G", "T")

_Describe = Callable[[int, float, float], str]
"""Words for how much is done, the rate a second, and the seconds it took so far."""


class Progress:
    """The line, to be told how much is done as often as one likes.

    Args:
      total: how much there is to do, where that is known.
      writer: of a terminal.
      unit: what is counted; with ``B``, bytes, the last line is left standing.
    """

    def __init__(self, total: int | None, writer: Writer, unit: str) -> None:
        self._writer = writer
        self._words = _describe(total, unit)
        self._keep = unit == "B"
        self._done = 0
        self._started = time.monotonic()
        self._next = self._started + _FIRST
        self._seen = deque([(self._started, 0)], maxlen=_WINDOW)
        self._width = 0  # columns that stand there now
        self._was_drawn = False

    def update(self, done: int) -> None:
        """Take note that so much is done; draw the line if it is time."""
        self._done = done
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REDRAW
            self._seen.append((now, done))
            self._draw(self._rate(*self._seen[0], now), now)

    def hide(self) -> None:
        """Take the line away, for another one to be written; it comes back with the next call."""
        if self._width:
            self._write("\r" + " " * self._width + "\r")
            self._width = 0

    def close(self) -> None:
        """End the line, if it was ever drawn: with the figures on the whole, or without a trace."""
        if not (self._keep and self._was_drawn):
            self.hide()
            return
        now = time.monotonic()
        self._draw(self._rate(self._started, 0, now), now)
        self._write("\n")
        self._width = 0

    def _rate(self, since: float, done_then: int, now: float) -> float:
        return (self._done - done_then) / max(now - since, 1e-6)

    def _draw(self, rate: float, now: float) -> None:
        columns = 80
        with suppress(OSError):
            columns = os.get_terminal_size(self._writer.fd).columns or columns
        # The last column stays free: a terminal wraps when it is written.
        line = self._words(self._done, rate, now - self._started)[: columns - 1]
        self._write(f"\r{line:<{min(self._width, columns - 1)}}")
        self._width, self._was_drawn = len(line), True

    def _write(self, text: str) -> None:
        with suppress(NetlabError):  # the terminal is gone: what matters is written elsewhere
            self._writer.write(text.encode("ascii"))


def _describe(total: int | None, unit: str) -> _Describe:
    """Return the words for a progress in bytes (``B``) or in things of another kind.

    >>> _describe(2_000_000_000, "B")(500_000_000, 1.25e9, 0.4)
    '[###---------]  25 %  500 MB of 2.00 GB  1.25 GB/s  1.2 s left'
    >>> _describe(None, "exchanges")(12_345, 5000, 2.469)
    '12,345 exchanges  5,000/s  2.5 s'
    """

    def amount(number: float) -> str:
        return _short(number) if unit == "B" else format_count(round(number))

    def words(done: int, rate: float, elapsed: float) -> str:
        speed = f"{amount(rate)}/s"
        noun = "" if unit == "B" else f" {unit}"
        if not total:
            return f"{amount(done)}{noun}  {speed}  {_seconds(elapsed)}"
        share = min(done / total, 1.0)
        bar = "#" * int(share * _BAR)
        left = (total - done) / rate if rate else 0.0
        ends = f"in {_seconds(elapsed)}" if done >= total else f"{_seconds(left)} left"
        return f"[{bar:-<{_BAR}}] {int(share * 100):>3} %  {amount(done)} of {amount(total)}{noun}  {speed}  {ends}"

    return words


def _short(size: float) -> str:
    power = 0
    while size >= 999.5 and power < len(_PREFIXES) - 1:
        size, power = size / 1000, power + 1
    digits = 0 if not power or size >= 99.5 else 1 if size >= 9.95 else 2
    return f"{size:.{digits}f} {_PREFIXES[power]}B"


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
