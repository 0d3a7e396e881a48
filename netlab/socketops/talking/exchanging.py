"""One message and its reply: sent, awaited until a rule says that it is whole, compared with what is expected.

A reply that does not come is an error that says how far the message got; a reply is never given up because it came
late, in pieces, or while the message was still being sent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from netlab.errors import ConnectError, ReceiveError, SendError, TimedOut
from netlab.records import Emit, Exchange, Sent
from netlab.socketops.talking.awaiting import ReplyReader
from netlab.socketops.talking.connection import Connection
from netlab.socketops.talking.until import Expect, Until
from netlab.values import format_bytes, format_setting

__all__ = ["converse", "exchange", "wait_acknowledged"]

_FIRST_PAUSE = 0.0005
_LONGEST_PAUSE = 0.05
"""Seconds between two looks at SIOCOUTQ, each twice the last: no event tells that the queue has run empty."""


def converse(
    connection: Connection,
    messages: Sequence[bytes],
    *,
    emit: Emit,
    until: Until | None = None,
    expect: Expect | None = None,
    timeout: float = 5.0,
    deadline: float = math.inf,
    half_close: bool = False,
) -> None:
    """Send each message and receive its reply before the next; arguments and errors are `exchange`'s.

    Args:
      half_close: end the sending side after the last message.
    """
    for number, message in enumerate(messages, start=1):
        done = exchange(
            connection,
            message,
            emit=emit,
            until=until,
            expect=expect,
            timeout=timeout,
            deadline=deadline,
            half_close=half_close and number == len(messages),
        )
        emit(done)
    if until and until.rule == "none":
        wait_acknowledged(connection, timeout=timeout, deadline=deadline)


def exchange(
    connection: Connection,
    message: bytes,
    *,
    emit: Emit,
    until: Until | None = None,
    expect: Expect | None = None,
    timeout: float = 5.0,
    deadline: float = math.inf,
    half_close: bool = False,
) -> Exchange:
    """Send one message and receive its reply.

    Args:
      connection: stream or datagram; what it received before and nobody read belongs to this reply.
      message: bytes; where it is empty nothing is sent, and what the peer says by itself is the reply.
      emit: takes a Sent, and a Received for each chunk.
      until: when the reply is whole; None: ``expect`` alone decides if there is one, else a message is a whole reply
          where the transport has messages, and on a stream a silence ends it.
      expect: what the reply must hold.
      timeout: seconds for the reply from the message's sending, and for each pause of the sending; 0 is no limit.
      deadline: instant of time.monotonic() that ends all waiting.
      half_close: end the sending side after the message.

    Returns:
      sizes, times, and the rule that ended the reply.

    Raises:
      TimedOut: no reply, or not all of it, in time; or the peer did not take the message.
      ClosedWithoutReply: the peer closed instead.
      AnswerNo: a reply came that is not the expected one.
      SendError, ReceiveError: the connection broke.
      ConnectError: a datagram was refused, or a router knows no way for it.
    """
    connection.listen_for_errors()
    if until is None and expect is None:
        until = Until("quiet" if connection.transport.is_stream else "first")
    calls = connection.calls
    reply = ReplyReader(
        connection, until, emit=emit, timeout=timeout, deadline=deadline, expect=expect, message=message
    )
    try:
        _send_all(connection, message, reply)
        if half_close:
            connection.half_close()
    except (SendError, ReceiveError, ConnectError) as exc:
        raise reply.send_broken(exc) from None
    reply.sent()
    if message:
        emit(Sent(peer=connection.peer, data=message, calls=connection.calls - calls))
    reply.wait_until_whole()
    return reply.finish()


def _send_all(connection: Connection, message: bytes, reply: ReplyReader) -> None:
    """Send the message, and receive what comes meanwhile."""
    rest = memoryview(message)
    while rest:
        sent = connection.send(rest)
        rest = rest[sent:]
        if sent:
            reply.sent()
        else:
            reply.wait_for_room()


def wait_acknowledged(connection: Connection, *, timeout: float, deadline: float = math.inf) -> None:
    """Wait until the peer's kernel has acknowledged all that was sent, where it does so (TCP).

    What needs no answer can still be lost: a peer that is gone, or that answers what was closed already, resets the
    connection, and that throws away what this kernel has not sent yet.

    Raises:
      TimedOut: it had not, in time.
      SendError: the peer reset the connection, or (UDP, at once on this host only) refused the datagram.
    """
    limit = min(time.monotonic() + timeout if timeout else math.inf, deadline)
    pause = _FIRST_PAUSE
    while left := connection.unacknowledged():
        now = time.monotonic()
        if now >= limit:
            raise TimedOut(
                "send",
                connection.target,
                f"{format_bytes(left)} of {connection.bytes_out:,} B not acknowledged within {format_setting(timeout)}",
                means="the peer's kernel takes no more: its program does not read, or packets are lost",
            )
        time.sleep(min(pause, limit - now))
        pause = min(2 * pause, _LONGEST_PAUSE)
    connection.check()
