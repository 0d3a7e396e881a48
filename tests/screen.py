"""netlab on a terminal: a pseudo-terminal that the test types into and reads from, with the program as its session."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from types import TracebackType

from tests.programs import NETLAB, clean_environment
from tests.vt100 import Vt100

__all__ = ["Screen"]

_TAKE_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(2, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Makes the terminal that of the new session, so that Ctrl-C is a signal; preexec_fn may not meet threads."""


class Screen:
    """One program with a terminal for all of its standard streams, unless told otherwise.

    Args:
      args: of netlab.
      env: added to `clean_environment`.
      stdin: a descriptor in place of the terminal.
      stdout: the same.
    """

    def __init__(
        self, *args: str, env: Mapping[str, str] | None = None, stdin: int | None = None, stdout: int | None = None
    ) -> None:
        self._master, self.terminal = pty.openpty()
        self.before = termios.tcgetattr(self.terminal)
        self._data = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *NETLAB, *args],
            stdin=self.terminal if stdin is None else stdin,
            stdout=self.terminal if stdout is None else stdout,
            stderr=self.terminal,
            env=clean_environment({"TERM": "dumb", **(env or {})}),
            start_new_session=True,
        )

    @property
    def text(self) -> str:
        r"""All that was written so far, without prompts that were taken back; the terminal's ``\r\n`` is a newline."""
        return self._data.decode(errors="replace").replace("\r\n", "\n").replace("> \r  \r", "")

    @property
    def display(self) -> str:
        """What stands on the screen of a terminal with cursor movements (TERM=xterm), as far as it is whole."""
        screen = Vt100()
        screen.feed(re.sub(r"\x1b(\[[0-9;?]*)?$", "", self._data.decode(errors="ignore")))
        return screen.text

    def press(self, text: str) -> None:
        """Press keys: ``\\n`` is Enter, ``\\x04`` Ctrl-D, ``\\x03`` Ctrl-C."""
        os.write(self._master, text.encode())

    def wait_for(self, pattern: str, *, count: int = 1, timeout: float = 10) -> re.Match[str]:
        """Wait until what was written holds the pattern so many times; return that match."""
        deadline = time.monotonic() + timeout
        while len(found := list(re.finditer(pattern, self.text, re.MULTILINE))) < count:
            assert self._read(deadline - time.monotonic()), f"{pattern!r} did not come {count} times:\n{self.text}"
        return found[count - 1]

    def wait_to_see(self, pattern: str, timeout: float = 10) -> re.Match[str]:
        """Wait until the screen shows the pattern; return the match."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.display, re.MULTILINE)):
            assert self._read(deadline - time.monotonic()), f"{pattern!r} is not to be seen:\n{self.display}"
        return found

    def wait(self, timeout: float = 10) -> int:
        """Wait for the program's end, read the rest of what it wrote, and return its status."""
        status = self.process.wait(timeout)
        while self._read(0):
            pass
        assert "Traceback" not in self.text
        assert "ResourceWarning" not in self.text
        return status

    def hang_up(self) -> None:
        """Close the terminal, as its window does."""
        os.close(self._master)
        self._master = -1

    def _read(self, timeout: float) -> bool:
        if not select.select([self._master], [], [], max(timeout, 0))[0]:
            return False
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            data = os.read(self._master, 65536)
            self._data += data
            return bool(data)
        return False

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.terminal)
        if self._master >= 0:
            os.close(self._master)
