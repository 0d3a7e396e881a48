"""What a terminal would show: the few control sequences that a line editor uses, applied to a screen.

A sequence that is not known fails the test: so nothing reaches a terminal unseen.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["Vt100"]

_SEQUENCE = re.compile(r"\x1b\[(\??)([0-9;]*)([A-Za-z])")
_IGNORED = {"m", "h", "l"}
"""Colours and modes: cursor visibility, bracketed paste, wrapping."""


class Vt100:
    """A screen without an end at its bottom: rows that scrolled out stay.

    Args:
      columns: its width.
    """

    def __init__(self, columns: int = 80) -> None:
        self.columns = columns
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0

    @property
    def text(self) -> str:
        """The rows with anything on them, without blanks at their ends; the last one is the cursor's or below it."""
        rows = ["".join(row).rstrip() for row in self._rows]
        while len(rows) > self._row + 1 and not rows[-1]:
            rows.pop()
        return "\n".join(rows)

    def feed(self, data: str) -> None:
        """Show what a program wrote; half a sequence at its end is not for this."""
        place = 0
        while place < len(data):
            if data[place] == "\x1b":
                found = _SEQUENCE.match(data, place)
                assert found, f"an escape sequence that no line editor uses: {data[place : place + 20]!r}"
                self._control(found[3], int(found[2] or 0) if found[2].isdigit() or not found[2] else 0)
                place = found.end()
            else:
                self._put(data[place])
                place += 1

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._move(self._row + 1, self._column)
        elif char == "\b":
            self._column = max(self._column - 1, 0)
        else:
            assert char.isprintable() or char == "\t", f"a control character reached the terminal: {char!r}"
            width = 2 if unicodedata.east_asian_width(char) in "WF" else 1
            if self._column + width > self.columns:
                self._move(self._row + 1, 0)
            row = self._rows[self._row]
            row.extend(" " * (self._column + width - len(row)))
            row[self._column : self._column + width] = [char, *[""] * (width - 1)]
            self._column += width

    def _control(self, final: str, number: int) -> None:
        if final == "A":
            self._row = max(self._row - max(number, 1), 0)
        elif final == "B":
            self._move(self._row + max(number, 1), self._column)
        elif final == "C":
            self._column = min(self._column + max(number, 1), self.columns - 1)
        elif final == "D":
            self._column = max(self._column - max(number, 1), 0)
        elif final == "K":
            del self._rows[self._row][self._column :]
        elif final == "J":
            del self._rows[self._row][self._column :]
            del self._rows[self._row + 1 :]
        else:
            assert final in _IGNORED, f"a control sequence that no line editor uses: {final!r}"

    def _move(self, row: int, column: int) -> None:
        while row >= len(self._rows):
            self._rows.append([])
        self._row, self._column = row, column
