"""A file or a pipe as one stream: sent while what comes is received, in flat memory.

One loop waits for both directions at once, so that a peer that answers as it reads can never block the two.
"""

from __future__ import annotations

import errno
import io
import math
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress

from netlab.errors import LocalError, ReceiveError, SendError
from netlab.records import Emit, Exchange
from netlab.socketops.talking.awaiting import ReplyReader
from netlab.socketops.talking.connection import Connection
from netlab.socketops.talking.exchanging import wait_acknowledged
from netlab.socketops.talking.until import Expect, Until

__all__ = ["Progress", "Translate", "stream", "to_crlf"]

_BUFFER = 1 << 20
"""Bytes of one read of a file: on loopback 1 MiB was as fast as any, and 64 KiB half as fast."""
_RECEIVE = 1 << 18
"""Bytes of one receive."""

_PIPE = 1 << 20
"""Bytes that a pipe is made to hold: the most that an unprivileged process may ask for (pipe(7), pipe-max-size)."""
_SPLICE = 1 << 18
"""Bytes of one splice: with more the peer, which then reads many small pages at once, falls behind."""

Translate = Callable[[memoryview], bytes]
"""Fed each part of the source in turn; what it returns is sent instead."""

Progress = Callable[[int], None]
"""Told the bytes sent so far, after each send call."""


def to_crlf() -> Translate:
    r"""Return a translation that ends lines in CR LF, as Internet text protocols do; lines that do already stay.

    >>> translate = to_crlf()
    >>> [translate(memoryview(part)) for part in (b"a\nb\r", b"\nc")]
    [b'a\r\nb\r', b'\nc']
    """
    last = b""

    def translate(part: memoryview) -> bytes:
        nonlocal last
        text = last + bytes(part)
        done = text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")[len(last) :]
        last = b"\r" if text.endswith(b"\r") else b""
        return done

    return translate


def stream(
    connection: Connection,
    source: int,
    *,
    emit: Emit,
    until: Until | None = None,
    expect: Expect | None = None,
    timeout: float = 30.0,
    deadline: float = math.inf,
    half_close: bool = True,
    translate: Translate | None = None,
    progress: Progress | None = None,
) -> Exchange:
    """Send what a descriptor gives until its end, receive what comes, and then the rest of the reply.

    Args:
      connection: a stream.
      source: descriptor of a file, pipe or terminal; it stays open, and is never made non-blocking.
      emit: takes a Received for each chunk.
      until: when the reply is whole, once all is sent; None is ``close``, or ``expect`` alone where there is one.
      expect: what the reply must hold; it ends the sending, too.
      timeout: seconds of silence at most: of a peer that takes nothing more, and after the end of the source of one
          that says nothing; 0 is no limit.  How long the source is silent is its own affair.
      deadline: instant of time.monotonic() that ends all waiting.
      half_close: end the sending side at the end of the source.
      translate: applied to what is read.
      progress: told how far the sending is.

    Returns:
      sizes, times, and the rule that ended the reply.

    Raises:
      TimedOut: the peer stopped reading, or the reply was not whole, in time.
      ClosedWithoutReply: the peer closed where a rule awaits a reply; with ``close`` nothing has to come.
      AnswerNo: what came is not what was expected.
      SendError, ReceiveError: the connection broke.
      LocalError: the source could not be read.
    """
    if until is None and expect is None:
        until = Until("close")
    reply = ReplyReader(
        connection,
        until,
        emit=emit,
        timeout=timeout,
        renews=True,
        deadline=deadline,
        expect=expect,
        required=until is not None and until.rule != "close",
    )
    tell = progress or _tell_nobody
    try:
        if translate is None and connection.can_splice and _is_pipe(source):
            _splice_source(connection, source, reply, tell)
        else:
            _copy_source(connection, source, reply, tell, translate)
        if half_close:
            connection.half_close()
    except (SendError, ReceiveError) as exc:
        raise reply.send_broken(exc) from None
    reply.sent()
    reply.wait_until_whole(_RECEIVE)
    if until and until.rule == "none":
        wait_acknowledged(connection, timeout=timeout, deadline=deadline)
    return reply.finish()


def _tell_nobody(sent: int) -> None:
    pass


def _splice_source(connection: Connection, source: int, reply: ReplyReader, tell: Progress) -> None:
    """Send a pipe to its end, or until what is expected has come or can no longer come; nothing of it is looked at."""
    _enlarge(source)
    while reply.awaited.found is None:
        if not reply.wait_for_source(source, _RECEIVE):
            continue
        moved = connection.splice(source, _SPLICE)
        if moved is None:
            return
        if moved:
            reply.sent()
            tell(connection.bytes_out)
        else:
            reply.wait_for_room(_RECEIVE)


def _copy_source(
    connection: Connection, source: int, reply: ReplyReader, tell: Progress, translate: Translate | None
) -> None:
    """Do the same for any source, through one buffer.

    A file, too: sendfile(2) is a third faster, but the peer's queue then shares the file's pages, so that a change of
    the file reaches bytes that were told as sent; and where a reset ends it, it returns a count and not the errno.
    """
    buffer = bytearray(_BUFFER)
    rest = memoryview(b"")
    with io.FileIO(source, closefd=False) as reader:
        while reply.awaited.found is None:
            if rest:
                sent = connection.send(rest)
                rest = rest[sent:]
                if sent:
                    reply.sent()
                    tell(connection.bytes_out)
                else:
                    reply.wait_for_room(_RECEIVE)
            elif reply.wait_for_source(source, _RECEIVE):
                count = _read_into(buffer, reader)
                if not count:
                    return
                part = memoryview(buffer)[:count]
                rest = memoryview(translate(part)) if translate else part


def _is_pipe(source: int) -> bool:
    return stat.S_ISFIFO(os.fstat(source).st_mode)


def _enlarge(pipe: int) -> None:
    """Let a pipe hold more, so that its writer and this process take turns less often."""
    if sys.platform != "linux":
        return
    import fcntl

    # EPERM: this user has many large pipes already.  EBUSY cannot be, the pipe only grows.
    with suppress(OSError):
        if fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) < _PIPE:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


def _read_into(buffer: bytearray, reader: io.FileIO) -> int:
    try:
        return reader.readinto(buffer) or 0
    except OSError as exc:
        if exc.errno == errno.EIO and reader.isatty():  # the terminal was closed
            return 0
        raise LocalError.from_os(exc, "read", "the input") from None
