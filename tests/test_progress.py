"""The line that says how far a long operation is: on a terminal only, and never in another line's way."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator

import pytest

from netlab.endpoint import Endpoint
from netlab.records import Received, WarningReport
from netlab.render import Renderer, Writer, progress, renderer
from netlab.render.payload import PayloadRenderer
from netlab.render.progress import Progress
from tests.vt100 import Vt100


class Terminal:
    """A pseudo-terminal and what it shows."""

    def __init__(self, columns: int = 80) -> None:
        self._master, self.fd = pty.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self._screen = Vt100(columns)

    def shows(self, text: str) -> bool:
        """Wait until the whole screen is as ``text``, in which ``*`` stands for the rest of a line."""
        pattern = re.compile(re.escape(text).replace(r"\*", ".*"))
        while not pattern.fullmatch(self._screen.text):
            # What is written comes through the kernel's own thread, a little later.
            if not select.select([self._master], [], [], 2)[0]:
                raise AssertionError(f"{text!r} is not to be seen, but {self._screen.text!r}")
            self._screen.feed(os.read(self._master, 65536).decode())
        return True

    def close(self) -> None:
        os.close(self._master)
        os.close(self.fd)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    """A terminal on which every call draws, without the half second before the first."""
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    monkeypatch.setattr(progress, "_REDRAW", 0.0)
    made = Terminal()
    yield made
    made.close()


def plain(terminal: Terminal, *, json: bool = False, quiet: bool = False, fd: int | None = None) -> Renderer:
    return renderer(
        json=json,
        quiet=quiet,
        verbose=False,
        color=False,
        encoding="utf-8",
        charset="utf-8",
        stdout=Writer(terminal.fd if fd is None else fd),
        stderr=Writer(terminal.fd),
    )


def test_bytes_have_a_bar_a_rate_and_the_time_that_is_left(terminal: Terminal) -> None:
    bar = Progress(2_000_000_000, Writer(terminal.fd), "B")
    bar.update(500_000_000)
    assert terminal.shows("[###---------]  25 %  500 MB of 2.00 GB  * s left")
    bar.update(2_000_000_000)
    bar.close()
    assert terminal.shows("[############] 100 %  2.00 GB of 2.00 GB  *B/s  in 0.*\n"), "it stays, and ends its line"


def test_counted_things_leave_no_trace(terminal: Terminal) -> None:
    bar = Progress(None, Writer(terminal.fd), "exchanges")
    bar.update(12_345)
    assert terminal.shows("12,345 exchanges  *")
    bar.close()
    assert terminal.shows("")


def test_what_is_soon_over_draws_nothing() -> None:
    made = Terminal()
    bar = Progress(10, Writer(made.fd), "B")
    bar.update(10)
    bar.close()
    os.write(made.fd, b"next")
    assert made.shows("next")
    made.close()


def test_a_narrow_terminal_never_wraps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_FIRST", 0.0)
    made = Terminal(31)
    bar = Progress(2_000_000_000, Writer(made.fd), "B")
    bar.update(500_000_000)
    assert made.shows("[###---------]  25 %  500 MB o")
    made.close()


def test_other_lines_push_it_aside(terminal: Terminal) -> None:
    show = plain(terminal)
    with show.progress(100, "exchanges") as update:
        assert update is not None
        update(50)
        show(WarningReport(message="something"))
        assert terminal.shows("netlab: warning: something\n")
        update(60)
        assert terminal.shows("netlab: warning: something\n[#######-----]  60 %  60 of 100 exchanges  *")
    assert terminal.shows("netlab: warning: something\n")


def test_payload_on_the_same_terminal_pushes_it_aside_too(terminal: Terminal) -> None:
    show = PayloadRenderer(plain(terminal), Writer(terminal.fd), encoding="utf-8", charset="utf-8")
    peer = Endpoint.parse(":9999")
    with show.progress(100, "exchanges") as update:
        assert update is not None
        update(50)
        show(Received(peer=peer, data=b"no newline"))
        update(60)  # not over a line of payload that has no end yet
        assert terminal.shows("no newline")
        show(Received(peer=peer, data=b" yet\n"))
        update(70)
        assert terminal.shows("no newline yet\n[########----]  70 %*")


def test_there_is_none_where_nobody_sees_it(terminal: Terminal) -> None:
    with plain(terminal, quiet=True).progress(100, "B") as update:
        assert update is None
    reading, writing = os.pipe()
    try:
        to_pipe = renderer(
            json=False,
            quiet=False,
            verbose=False,
            color=False,
            encoding="utf-8",
            stdout=Writer(terminal.fd),
            stderr=Writer(writing),
        )
        with to_pipe.progress(100, "B") as update:
            assert update is None
    finally:
        os.close(reading)
        os.close(writing)
