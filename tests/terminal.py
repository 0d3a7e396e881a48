"""A pseudo-terminal with a netlab command on it, started in a fork, and a judge of what was written to it.

Quicker than `tests.screen`, and without what makes a terminal the session's own: no signal comes from its keys, nor
from its end.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import threading
import unicodedata
from collections.abc import Mapping

from tests.injection import Forked, Nursery
from tests.programs import clean_environment

__all__ = ["Terminal", "assert_harmless"]

_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of what cannot be seen for what it is: controls, formats, surrogates, separators."""


def assert_harmless(written: bytes) -> str:
    r"""Return what a terminal got, if it is text and newlines and nothing else; its own ``\r\n`` is a newline."""
    text = written.decode("utf-8").replace("\r\n", "\n")
    wrong = [char for char in text if char not in "\n\t" and unicodedata.category(char) in _UNSEEN]
    assert not wrong, f"{wrong!r} reached the terminal:\n{text!r}"
    return text


class Terminal:
    """The terminal, its command, and all that was written to it."""

    def __init__(self, nursery: Nursery, *args: str, env: Mapping[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        self._written = bytearray()
        self._changed = threading.Condition()
        self._hang_up, hung_up = os.pipe()
        self._reader = threading.Thread(target=self._read, args=(hung_up,))
        try:
            self.process: Forked = nursery.fork(
                ["netlab", *args], [slave] * 3, env=clean_environment({"NO_COLOR": "1", **(env or {})})
            )
        finally:
            os.close(slave)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self.hang_up()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until something is written; return the match."""

        def find() -> re.Match[str] | None:
            return re.search(pattern, self._written.decode(errors="replace"))

        with self._changed:
            assert self._changed.wait_for(find, 10), f"{pattern!r} did not come: {bytes(self._written)!r}"
            found = find()
        assert found is not None
        return found

    def press(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self._master, keys)

    def end(self, status: int | None = None) -> str:
        """Wait for the program's end; return what it wrote, which is harmless."""
        ended = self.process.wait(10)
        self._reader.join(5)
        text = assert_harmless(bytes(self._written).replace(b"\r  \r", b""))
        assert "Traceback" not in text, text
        assert status is None or ended == status, (ended, text)
        return text

    def hang_up(self) -> None:
        """Close the terminal, as its window does."""
        if self._master >= 0:
            os.close(self._hang_up)
            self._reader.join(5)
            os.close(self._master)
            self._master = -1

    def _read(self, hung_up: int) -> None:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        poll.register(hung_up, select.POLLIN)
        with contextlib.suppress(OSError):  # EIO: the program has ended
            while hung_up not in dict(poll.poll()) and (data := os.read(self._master, 65536)):
                with self._changed:
                    self._written += data
                    self._changed.notify_all()
        os.close(hung_up)
