"""Writing bytes to a descriptor: whole, in order, and for a server without ever waiting long for who reads them.

Not sys.stdout: a thread that is blocked in its buffer keeps the interpreter from ending, one in os.write does not.

The descriptor that netlab was given is never made non-blocking, because the shell and other programs share it
(open(2): O_NONBLOCK belongs to the open file description).  Nor does poll keep a write from blocking: a terminal with
room for one byte is writable, and the two bytes of its newline block.  So a Writer that may drop lines opens the pipe
or terminal a second time, non-blocking; where that is not to be had, it polls and writes at most PIPE_BUF bytes, which
pipe(7) takes whole or not at all.
"""

from __future__ import annotations

import collections
import errno
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from types import TracebackType

from netlab.errors import NetlabError, OutputError, StdoutClosed

__all__ = ["Writer", "open_output"]

_PIECE = getattr(select, "PIPE_BUF", 512)
"""POSIX promises 512 at least."""
_SOON = 0.02
"""Seconds that a line may wait for others; too short for whoever looks at a log."""
_MANY = 512
"""Lines that are written at once at the latest; arbitrary."""
_RETRY = 0.005
"""Seconds until the next try where poll finds room, but not enough of it; picked by taste."""


def _in_brackets(message: str) -> bytes:
    return f"({message})\n".encode("ascii", "backslashreplace")


class Writer:
    """Writes to one descriptor, from any thread; every call's bytes stay together.

    Args:
      fd: the descriptor.
      drop_after: seconds that a pipe or terminal that nobody reads may delay a call.  Then lines are dropped at once,
          and counted, until there is room again; the next line comes after a note of how many are missing.  A line
          that has been begun is kept and ended first.  None waits as long as it takes and loses nothing.
      name: what an error calls it; without one it is standard output or error, whose closed reader is a quiet end.
      closefd: whether `close` closes ``fd`` too.
    """

    def __init__(self, fd: int, *, drop_after: float | None = None, name: str = "", closefd: bool = False) -> None:
        self.fd = fd
        self.name = name or ("standard error" if fd == 2 else "standard output")
        self.is_terminal = os.isatty(fd)
        self.dropped = 0
        """Lines dropped so far."""
        self.note: Callable[[str], bytes] = _in_brackets
        """Makes the line that says what was dropped; JSON output has another."""
        self._is_file = bool(name)
        self._drop_after = drop_after
        self._lock = threading.Lock()
        self._unsaid = 0  # lines dropped since the last note
        self._rest = b""  # the end of a line, or of a note, that has been begun
        self._target = fd
        self._polls = False  # whether a write could block for longer than drop_after
        self._owned = {fd} if closefd else set()  # what close() has to close
        # Only a log may be late: what a user redirects or saves is to be there when it is said to be.
        self._may_wait = drop_after is not None and _is_regular(fd)
        self._soon: collections.deque[bytes] = collections.deque()
        self._failed: NetlabError | None = None
        self._helper: threading.Thread | None = None
        self._is_due = threading.Event()
        self._is_helping = False
        self._is_closed = threading.Event()
        if drop_after is not None and _can_stall(fd):
            own = _reopen_nonblocking(fd)
            self._polls = own is None
            if own is not None:
                self._target = own
                self._owned.add(own)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def missing(self) -> str:
        """What was dropped and is not said yet, in a few words; empty if there is nothing."""
        lines = self._unsaid
        return f"{lines:,} log line{'s' * (lines != 1)} dropped: {self.name} was not read" if lines else ""

    def write(self, data: bytes) -> None:
        """Write all of ``data``, one or more whole lines, or count it as dropped.

        Raises:
          StdoutClosed: nobody reads standard output any more.
          OutputError: any other failure: full disk, hung-up terminal.
        """
        with self._lock:
            if self._soon or self._failed is not None:
                self._write_what_waits()
            if self._unsaid or self._rest:
                self._catch_up()
            # What is owed stands first, and its wait is over.
            done = 0 if self._unsaid or self._rest else self._push(data, self._drop_after)
            if done == len(data):
                return
            if done:
                self._rest = data[done:]
            else:
                lines = max(1, data.count(b"\n"))
                self.dropped += lines
                self._unsaid += lines

    def write_soon(self, line: bytes) -> None:
        """Write a line as `write` does; a log in a regular file may be behind by `_SOON` seconds.

        So a busy server makes a system call for many lines.  Whatever `write` writes comes after it.

        Raises:
          StdoutClosed, OutputError: as `write`, for this line or for one before it.
        """
        if not self._may_wait:
            self.write(line)
            return
        # Without the lock: a deque's append and popleft are whole, and the helper says that it sleeps before it looks.
        self._soon.append(line)
        if self._is_helping and len(self._soon) < _MANY:
            return
        with self._lock:
            if len(self._soon) >= _MANY or self._failed is not None:
                self._write_what_waits()
            self._is_helping = True
            if self._helper is None:
                helper = threading.Thread(target=self._help, name="log", daemon=True)
                try:
                    helper.start()
                except RuntimeError:  # this host gives no more threads: then nothing is written late
                    self._may_wait = False
                    self._write_what_waits()
                else:
                    self._helper = helper
            else:
                self._is_due.set()

    def close(self) -> None:
        """Write what is still owed, if there is room for it now; close what this object opened."""
        with self._lock:
            helper, self._helper = self._helper, None
            self._is_closed.set()
            self._is_due.set()
        if helper is not None:
            helper.join()
        with self._lock:
            try:
                if self._soon or self._failed is not None:
                    self._write_what_waits()
                if self._unsaid or self._rest:
                    self._catch_up()
            finally:
                # What still comes must not block for long either.
                self._polls = self._target != self.fd or self._polls
                self._target = self.fd
                while self._owned:
                    os.close(self._owned.pop())

    def _help(self) -> None:
        """Write what waits, a little later than it came; the thread that does this ends with `close`."""
        while not self._is_closed.wait(_SOON):
            self._is_due.clear()
            with self._lock:
                self._is_helping = False
                try:
                    if self._soon:
                        self._write_what_waits()
                except NetlabError as exc:  # told to whoever writes next
                    self._failed = exc
                    return
            self._is_due.wait()

    def _write_what_waits(self) -> None:
        lines = b"".join(self._soon.popleft() for _ in range(len(self._soon)))
        failed, self._failed = self._failed, None
        if failed is not None:
            raise failed
        self._push(lines, None)

    def _catch_up(self) -> None:
        """Write the rest of a line and the note on what is missing, as far as there is room now."""
        if self._rest:
            self._rest = self._rest[self._push(self._rest, 0) :]
        if self._unsaid and not self._rest and self._has_room(0):
            note, self._unsaid = self.note(self.missing), 0
            self._rest = note[self._push(note, 0) :]

    def _push(self, data: bytes, wait: float | None) -> int:
        """Write until all is written or there was no room for ``wait`` seconds; return how much was written."""
        limit = None if wait is None else time.monotonic() + wait
        size = _PIECE if self._polls else len(data)
        done, refused = 0, False
        while done < len(data):
            if self._polls and not self._has_room(limit):
                break
            try:
                done += os.write(self._target, memoryview(data)[done : done + size])
                refused = False
            except BlockingIOError:
                if not self._has_room(limit) or (limit is not None and time.monotonic() >= limit):
                    break
                if refused:
                    time.sleep(_RETRY)
                refused = True
            except OSError as exc:
                raise self._failure(exc) from exc
        return done

    def _has_room(self, limit: float | None) -> bool:
        """Wait for room until ``limit`` on the monotonic clock (a time that is past asks once); None is for ever."""
        if not hasattr(select, "poll"):  # Windows: a write there never says EAGAIN
            return True
        poller = select.poll()
        poller.register(self._target, select.POLLOUT)
        # An error or hang-up counts as room: the write that follows says what it is.
        return bool(poller.poll(None if limit is None else max(0.0, limit - time.monotonic()) * 1000))

    def _failure(self, exc: OSError) -> NetlabError:
        if exc.errno == errno.EPIPE and not self._is_file:
            return StdoutClosed()
        return OutputError.from_os(exc, "write", self.name)


def open_output(path: str) -> Writer:
    """Open a file for -o: made or emptied, written without loss, closed by `Writer.close`.

    Raises:
      OutputError: it cannot be opened; opening a FIFO waits for its reader (fifo(7)).
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as exc:
        raise OutputError.from_os(exc, "open", path) from exc
    return Writer(fd, name=path, closefd=True)


def _can_stall(fd: int) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return False
    try:
        return not stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:  # closed: the first write says so
        return False


def _is_regular(fd: int) -> bool:
    try:
        return stat.S_ISREG(os.fstat(fd).st_mode)
    except OSError:
        return False


def _reopen_nonblocking(fd: int) -> int | None:
    """Open a pipe or terminal again as a non-blocking description of our own; None where that is not to be had.

    As libuv does for terminals.  The link in /proc leads to the same pipe (proc(5)); other systems have none, and
    another user's terminal does not open.
    """
    if not (stat.S_ISFIFO(os.fstat(fd).st_mode) or os.isatty(fd)):
        return None
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
