"""Lines from standard input, be it a terminal or a pipe, without ever waiting for more than poll has promised."""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Callable

__all__ = ["TypedLines"]

_CHUNK = 65536
_NO_INPUT = (errno.EIO, errno.EBADF)
"""The terminal was closed; there is no standard input."""


class TypedLines:
    """The lines of a descriptor, as `netlab.socketops.talking.relay` takes them.

    A terminal stays in its line mode: the kernel edits the line (termios(3), ICANON) and gives it when it is whole.

    Args:
      descriptor: stays open, and is never made non-blocking, because the shell shares it.
      on_end: called once at the end of the input.
    """

    def __init__(self, descriptor: int = 0, *, on_end: Callable[[], None] = lambda: None) -> None:
        self._descriptor = descriptor
        self._on_end = on_end
        self._charset = getattr(sys.stdin, "encoding", None) or "utf-8"
        self._part = b""

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> tuple[list[str], bool]:
        """Read what is there; return the lines in it, and whether they were the last."""
        chunk = self._read()
        if chunk is None:
            return [], False
        *lines, self._part = (self._part + chunk).split(b"\n")
        if not chunk:
            lines, self._part = [line for line in (*lines, self._part) if line], b""
            self._on_end()
        return [line.decode(self._charset, "surrogateescape") for line in lines], not chunk

    def rest(self) -> str:
        """Take and return what was typed and not read, a line without its end included, so that no shell gets it."""
        if os.isatty(self._descriptor):
            waiting = _read_unfinished_line(self._descriptor)
        else:
            waiting = (self._read() if _is_readable(self._descriptor) else None) or b""
        text, self._part = self._part + waiting, b""
        return text.decode(self._charset, "replace")

    def _read(self) -> bytes | None:
        try:
            return os.read(self._descriptor, _CHUNK)
        except BlockingIOError:  # somebody else has made it non-blocking, and has read what was there
            return None
        except OSError as exc:
            if exc.errno in _NO_INPUT:
                return b""
            raise


def _is_readable(descriptor: int) -> bool:
    if not hasattr(select, "poll"):  # Windows cannot tell, and a read would wait
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _read_unfinished_line(descriptor: int) -> bytes:
    """Read a terminal's line that has no end yet: outside its line mode the kernel gives what it has."""
    try:
        import termios
    except ImportError:  # Windows
        return b""
    try:
        before = termios.tcgetattr(descriptor)
        now = [*before[:6], [*before[6]]]
        now[3] &= ~termios.ICANON
        now[6][termios.VMIN], now[6][termios.VTIME] = 0, 0
        termios.tcsetattr(descriptor, termios.TCSANOW, now)
        try:
            return os.read(descriptor, _CHUNK)
        finally:
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
    except (OSError, termios.error):  # the terminal was closed
        return b""
