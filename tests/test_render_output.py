"""Writer on real pipes, terminals, sockets and files: nothing lost where it may wait, no wait where it may drop."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from netlab.endpoint import Endpoint
from netlab.errors import OutputError, StdoutClosed
from netlab.records import Listening
from netlab.render import Renderer, renderer
from netlab.render.output import Writer, open_output

PATIENCE = 0.05
"""Seconds of drop_after in these tests."""
NOTE = re.compile(rb"\(([0-9,]+) log lines? dropped: standard output was not read\)\n")
LINE = b"#1 < " + b"x" * 93 + b"\n"

Ends = tuple[int, int]


@pytest.fixture
def keep() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def a_pipe(keep: ExitStack) -> Ends:
    reader, writer = os.pipe()
    keep.callback(os.close, writer)
    keep.callback(close_quietly, reader)
    return reader, writer


def a_terminal(keep: ExitStack) -> Ends:
    """As a shell has it, so that a newline comes out as CR LF and needs two bytes of room."""
    master, slave = pty.openpty()
    keep.callback(os.close, slave)
    keep.callback(close_quietly, master)
    return master, slave


def a_socket(keep: ExitStack) -> Ends:
    """Cannot be opened a second time, so that poll alone has to keep it from blocking."""
    pair = socket.socketpair()
    for end in pair:
        keep.enter_context(end)
    return pair[0].fileno(), pair[1].fileno()


def close_quietly(fd: int) -> None:
    with suppress(OSError):  # the test may have closed it
        os.close(fd)


def read_all_there_is(fd: int) -> bytes:
    parts = []
    while select.select([fd], [], [], 0)[0]:
        parts.append(os.read(fd, 65536))
    return b"".join(parts).replace(b"\r\n", b"\n")


def fill(writer: Writer) -> int:
    """Write lines until the first is dropped; return how many were written, whole or in part."""
    for count in range(100_000):
        writer.write(LINE)
        if writer.dropped:
            return count
    raise AssertionError("it never fills up")


KINDS = pytest.mark.parametrize("open_ends", [a_pipe, a_terminal, a_socket])
Opener = Callable[[ExitStack], Ends]


@KINDS
def test_a_stalled_reader_delays_once_then_lines_are_dropped_and_counted(keep: ExitStack, open_ends: Opener) -> None:
    reader, fd = open_ends(keep)
    with Writer(fd, drop_after=PATIENCE) as writer:
        written = fill(writer)
        started = time.monotonic()
        for _ in range(999):
            writer.write(LINE)
        assert time.monotonic() - started < 999 * PATIENCE / 10
        assert writer.dropped == 1000

        came = read_all_there_is(reader)
        writer.write(b"back\n")
        came += read_all_there_is(reader)
    assert came == LINE * written + b"(1,000 log lines dropped: standard output was not read)\nback\n"


@KINDS
def test_every_line_is_whole_and_every_missing_one_counted_for_a_slow_reader(
    keep: ExitStack, open_ends: Opener
) -> None:
    reader, fd = open_ends(keep)
    came = bytearray()
    sent = 0
    with Writer(fd, drop_after=PATIENCE / 10) as writer:
        while writer.dropped < 50:
            writer.write(b"line %d %s\n" % (sent, b"y" * (sent * 37 % 9000)))
            sent += 1
            if sent % 5 == 0:
                came += os.read(reader, 1000)
        came += read_all_there_is(reader)
        writer.write(b"line %d \n" % sent)
        came += read_all_there_is(reader)
    expected = 0
    for line in bytes(came).replace(b"\r\n", b"\n").splitlines(keepends=True):
        note = NOTE.fullmatch(line)
        if note:
            expected += int(note[1])
        else:
            assert line == b"line %d %s\n" % (expected, b"y" * (expected * 37 % 9000) if expected < sent else b"")
            expected += 1
    assert expected == sent + 1


def test_one_dropped_line_is_one_line(keep: ExitStack) -> None:
    reader, fd = a_pipe(keep)
    with Writer(fd, drop_after=PATIENCE) as writer:
        fill(writer)
        read_all_there_is(reader)
    assert read_all_there_is(reader) == b"(1 log line dropped: standard output was not read)\n"


def test_the_note_can_be_a_line_of_json(keep: ExitStack) -> None:
    reader, fd = a_pipe(keep)
    with Writer(fd, drop_after=PATIENCE) as writer:
        writer.note = lambda message: b'{"message":"%s"}\n' % message.encode()
        fill(writer)
        writer.write(b"two\nlines\n")
        read_all_there_is(reader)
        writer.write(b"")
    assert read_all_there_is(reader) == b'{"message":"3 log lines dropped: standard output was not read"}\n'


def show_to(stdout: Writer, stderr: Writer) -> Renderer:
    return renderer(json=False, quiet=False, verbose=False, color=False, encoding="utf-8", stdout=stdout, stderr=stderr)


@KINDS
def test_what_was_never_read_is_said_on_standard_error_at_the_end(keep: ExitStack, open_ends: Opener) -> None:
    _, stalled = open_ends(keep)
    reader, stderr = a_pipe(keep)
    stdout = Writer(stalled, drop_after=PATIENCE)
    show = show_to(stdout, Writer(stderr))
    fill(stdout)
    show(Listening(endpoint=Endpoint.of("127.0.0.1", 1), fileno=3))
    show.close()
    assert read_all_there_is(reader) == b"netlab: warning: 2 log lines dropped: standard output was not read\n"


@KINDS
def test_nobody_waits_at_the_end_for_a_standard_error_that_is_as_stalled(keep: ExitStack, open_ends: Opener) -> None:
    _, stalled = open_ends(keep)
    stdout = Writer(stalled, drop_after=PATIENCE)
    show = show_to(stdout, Writer(stalled))
    fill(stdout)
    started = time.monotonic()
    show.close()
    assert time.monotonic() - started < 1


@KINDS
def test_threads_share_one_delay(keep: ExitStack, open_ends: Opener) -> None:
    _, fd = open_ends(keep)
    with Writer(fd, drop_after=PATIENCE) as other, Writer(fd, drop_after=0.1) as writer:
        fill(other)
        threads = [threading.Thread(target=writer.write, args=(LINE,)) for _ in range(50)]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert 0.1 <= time.monotonic() - started < 50 * 0.1 / 5
        assert writer.dropped == 50


@KINDS
def test_the_descriptor_that_was_given_stays_blocking_and_open(keep: ExitStack, open_ends: Opener) -> None:
    _, fd = open_ends(keep)
    with Writer(fd, drop_after=PATIENCE) as writer:
        fill(writer)
        assert os.get_blocking(fd)
    assert os.get_blocking(fd)


def test_close_opens_no_way_to_block_and_leaks_nothing(keep: ExitStack) -> None:
    _, fd = a_pipe(keep)
    before = len(os.listdir("/proc/self/fd"))
    writer = Writer(fd, drop_after=PATIENCE)
    fill(writer)
    writer.close()
    writer.close()
    assert len(os.listdir("/proc/self/fd")) == before
    writer.write(LINE)
    assert writer.dropped == 2


@pytest.mark.parametrize("blocking", [True, False])
@KINDS
def test_without_drop_after_nothing_is_lost(keep: ExitStack, open_ends: Opener, blocking: bool) -> None:
    reader, fd = open_ends(keep)
    os.set_blocking(fd, blocking)
    data = os.urandom(300_000).replace(b"\n", b"")
    writing = threading.Thread(target=Writer(fd).write, args=(data,))
    writing.start()
    came = bytearray()
    while len(came) < len(data):
        came += os.read(reader, 10_000)
    writing.join()
    assert bytes(came) == data


def test_lines_of_many_threads_never_mix(keep: ExitStack) -> None:
    reader, fd = a_pipe(keep)
    writer = Writer(fd)
    lines = [bytes([65 + number]) * 5000 + b"\n" for number in range(8)]
    threads = [threading.Thread(target=writer.write, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    came = bytearray()
    while len(came) < 8 * 5001:
        came += os.read(reader, 65536)
    for thread in threads:
        thread.join()
    assert sorted(bytes(came).splitlines(keepends=True)) == lines


@pytest.mark.parametrize("drop_after", [None, PATIENCE])
def test_a_closed_reader_of_standard_output_is_its_own_error(keep: ExitStack, drop_after: float | None) -> None:
    reader, fd = a_pipe(keep)
    with Writer(fd, drop_after=drop_after) as writer:
        writer.write(LINE)
        os.close(reader)
        with pytest.raises(StdoutClosed) as caught:
            writer.write(LINE)
    assert caught.value.status == 141


def test_a_closed_reader_of_another_file_is_a_failure(keep: ExitStack) -> None:
    reader, fd = a_pipe(keep)
    os.close(reader)
    with pytest.raises(OutputError, match=r"^write log: broken pipe \(EPIPE\)$"):
        Writer(fd, name="log").write(LINE)


@pytest.mark.parametrize("drop_after", [None, PATIENCE])
def test_a_full_disk_is_an_output_error(drop_after: float | None) -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OutputError) as caught:
        Writer(full.fileno(), drop_after=drop_after).write(LINE)
    assert caught.value.status == 23
    assert str(caught.value) == "write standard output: no space left on device (ENOSPC)"


@pytest.mark.parametrize("drop_after", [None, PATIENCE])
def test_a_descriptor_that_was_closed_is_an_output_error(keep: ExitStack, drop_after: float | None) -> None:
    reader, _ = a_pipe(keep)
    closed = os.dup(reader)
    os.close(closed)
    with pytest.raises(OutputError, match="EBADF"):
        Writer(closed, drop_after=drop_after).write(LINE)


def test_a_terminal_that_hung_up_is_an_output_error(keep: ExitStack) -> None:
    master, slave = a_terminal(keep)
    with Writer(slave, drop_after=PATIENCE) as writer:
        os.close(master)
        with pytest.raises(OutputError, match="EIO"):
            writer.write(LINE)


def test_a_file_is_appended_to_where_the_shell_said_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    with path.open("ab", buffering=0) as file, Writer(file.fileno(), drop_after=PATIENCE) as writer:
        writer.write(LINE)
    assert path.read_bytes() == b"before\n" + LINE
    assert not writer.is_terminal


def test_open_output_makes_or_empties_a_file_and_closes_it(tmp_path: Path) -> None:
    path = tmp_path / "reply"
    path.write_bytes(b"old and longer")
    with open_output(str(path)) as writer:
        writer.write(b"new\0\xff")
    assert path.read_bytes() == b"new\0\xff"
    with pytest.raises(OutputError, match="EBADF"):
        writer.write(b"more")


def test_open_output_says_what_it_cannot_open(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "reply"
    with pytest.raises(OutputError) as caught:
        open_output(str(path))
    assert str(caught.value) == f"open {path}: no such file or directory (ENOENT)"


def test_a_thread_that_is_blocked_in_a_write_lets_the_process_end(keep: ExitStack) -> None:
    reader, fd = a_pipe(keep)
    script = (
        "import sys, threading; from netlab.render.output import Writer;"
        "threading.Thread(target=Writer(1).write, args=(b'x' * 1_000_000,), daemon=True).start();"
        "sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=fd) as program:
        os.read(reader, 1)  # the thread has begun, and nobody reads on
        program.communicate(timeout=10)
    assert program.returncode == 0


def test_lines_of_a_log_may_wait_for_each_other_but_not_for_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with Writer(fd, drop_after=PATIENCE, closefd=True) as writer:
        for number in range(3):
            writer.write_soon(b"%d\n" % number)
        writer.write(b"3\n")
        assert path.read_bytes() == b"0\n1\n2\n3\n"
        writer.write_soon(b"4\n")
        deadline = time.monotonic() + 5
        while not path.read_bytes().endswith(b"4\n"):
            assert time.monotonic() < deadline
        writer.write_soon(b"5\n")
    assert path.read_bytes() == b"0\n1\n2\n3\n4\n5\n"


def test_a_line_that_could_not_be_written_later_is_told_with_the_next(tmp_path: Path) -> None:
    fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    os.close(fd)
    reader = os.open(tmp_path / "log", os.O_RDONLY)  # a regular file that cannot be written
    assert reader == fd
    writer = Writer(reader, drop_after=PATIENCE, closefd=True)

    def write_on() -> None:
        while True:
            writer.write_soon(b"x\n")

    with pytest.raises(OutputError):
        write_on()
    writer.close()
