"""A reply as it is awaited on a connection: shown chunk by chunk, timed, and judged at its end.

What did not come is an error that tells the two sides apart: what was sent, whether the peer's kernel has it, what
came instead.  A reply is whole or not by `netlab.socketops.talking.until`; here are the clocks and the errors.
"""

from __future__ import annotations

import math
import re
import time
from contextlib import suppress

from netlab.endpoint import Transport
from netlab.errors import AnswerNo, ClosedWithoutReply, ConnectError, NetlabError, ReceiveError, SendError, TimedOut
from netlab.records import Emit, Exchange
from netlab.socketops.queues import unacknowledged
from netlab.socketops.talking.connection import BROKEN, CHUNK, Connection
from netlab.socketops.talking.until import Awaited, Expect, Until
from netlab.socketops.tcpinfo import answers_no_more
from netlab.values import format_bytes, format_elapsed, format_setting

__all__ = ["ReplyReader", "show_bytes"]

_WHEN_WHOLE = {
    "line": "no newline came",
    "quiet": "the peer never paused for long enough to end its reply",
    "close": "the peer did not close the connection",
    "size": "fewer bytes came than --until asks for",
}
"""What was missing at the end of a reply, by the rule that awaited it."""

_NO_ROOM_PAUSE = 0.01
"""Seconds until the next try where poll promises room and send finds none."""

_SHOWN = 64
"""Characters of a text that an error quotes."""


class ReplyReader:
    """The reply to one message, or to one stream.

    Args:
      connection: where it comes.
      until: the rule for its end; None where only ``expect`` ends it.
      emit: takes each chunk as a Received.
      timeout: seconds for it from the message's sending; 0 is no limit.
      renews: each chunk starts that time anew, so that it limits the silence.
      deadline: instant of time.monotonic() after which nothing is awaited any more.
      expect: what it must hold.
      message: what it answers.
      required: whether it is an error that the peer closes without one.
    """

    def __init__(
        self,
        connection: Connection,
        until: Until | None,
        *,
        emit: Emit,
        timeout: float,
        renews: bool = False,
        deadline: float = math.inf,
        expect: Expect | None = None,
        message: bytes = b"",
        required: bool = True,
    ) -> None:
        quiet = connection.quiet if until and until.rule == "quiet" and until.quiet is None else 0.0
        self.awaited = Awaited(until, expect=expect, message=message, quiet=quiet)
        self._connection = connection
        self._emit = emit
        self._expect = expect
        self._timeout = timeout
        self._renews = renews
        self._deadline = deadline
        self._required = required or expect is not None
        self._lacks_eol = bool(message) and not message.endswith(b"\n")
        self._sent_before = connection.bytes_out
        self._broken_promises = 0
        self._first_in: float | None = None
        self.started = self._sent_at = self._last_in = time.monotonic()

    @property
    def is_whole(self) -> bool:
        return bool(self.awaited.ended_by)

    @property
    def bytes_out(self) -> int:
        return self._connection.bytes_out - self._sent_before

    def sent(self) -> None:
        """Start the reply's clock anew: the message, or a part of it, is on its way."""
        self._sent_at = time.monotonic()
        self._broken_promises = 0

    def time_left(self, now: float) -> float:
        """Return the seconds left for the reply at ``now``; infinite where it has no limit."""
        return self._silence_ends(max(self._sent_at, self._last_in) if self._renews else self._sent_at) - now

    def wait_for_room(self, size: int = CHUNK) -> None:
        """Wait until the peer takes more, and receive what comes meanwhile, ``size`` bytes at once.

        Raises:
          TimedOut: it did not, in time.
        """
        left = self._silence_ends(self._sent_at) - time.monotonic()
        ready = self._connection.wait(left, write=True)
        if ready.readable:
            self.take(size)
        self._broken_promises += ready.writable
        if self._broken_promises > 1 and left > 0:
            # poll sees room in this socket's queue, but the host's memory for all of them is short (tcp(7), tcp_mem).
            time.sleep(min(_NO_ROOM_PAUSE, left))
        # A wait that is over still tries once: this process may have slept, and not the peer.
        if left <= 0 and (not ready.writable or self._broken_promises > 1):
            raise TimedOut(
                "send",
                self._connection.target,
                f"the peer took nothing more {self._limit()}",
                facts=self.facts(", still connected"),
                means=self._why_no_room(),
                next_steps=(self._patience(),),
            )

    def wait_for_source(self, source: int, size: int) -> bool:
        """Wait until a descriptor has something to read, and receive what comes meanwhile; return whether it has.

        The source may take its time, but not once the peer has closed: then it may never end (``tail -f``).

        Raises:
          TimedOut: the deadline passed, or the peer has closed and the source is silent.
        """
        end = self._silence_ends(max(self._sent_at, self._last_in)) if self._connection.eof else self._deadline
        left = end - time.monotonic()
        ready = self._connection.wait(left, source=source)
        if ready.readable:
            self.take(size)
        # A source that always has something never waits, so the deadline holds in any case.
        if time.monotonic() >= self._deadline or (left <= 0 and not ready.source):
            cause = f"the input did not end {self._limit()}"
            raise TimedOut("send", self._connection.target, cause, facts=self.facts(""))
        return ready.source

    def take(self, size: int = CHUNK) -> bool:
        """Receive one chunk, if there is one, and show it; return whether there was."""
        rule = self.awaited.until.rule if self.awaited.until else ""
        received = self._connection.receive(size, share=self.awaited.share if rule in ("line", "size") else None)
        if received is None:
            if self._connection.eof:
                self.awaited.feed_eof()
            return False
        self._last_in = time.monotonic()
        if self._first_in is None:
            self._first_in = self._last_in
        self.awaited.feed(received.data)
        self._emit(received)
        return True

    def broken(self, error: NetlabError) -> NetlabError:
        """Show what came before the connection broke, for a peer may say why it goes; return the error with facts."""
        # The next datagram is the next reply's, and a peer may send more and more.
        is_datagram = self._connection.transport.is_datagram
        with suppress(*BROKEN):  # the first error tells more
            while not (is_datagram and self.is_whole) and self.take() and time.monotonic() < self._deadline:
                pass
        after = " in " if is_datagram else ", broken after "
        tail = f"{after}{format_elapsed(time.monotonic() - self.started)}"
        error.facts = (*self.facts(tail), *error.facts)
        return error

    def send_broken(self, error: NetlabError) -> NetlabError:
        """Do the same for what broke before all was sent: a failed send, whichever call met it."""
        if isinstance(error, ReceiveError):
            error = SendError("send", error.where, error.cause, errno=error.errno)
        return self.broken(error)

    def wait_until_whole(self, size: int = CHUNK) -> None:
        """Receive until the reply is whole, ``size`` bytes at once.

        Raises:
          TimedOut: it was not, in time.
          ReceiveError: the peer reset the connection before it was.
          ConnectError: a datagram was refused, or a router knows no way for it.
        """
        while not self.is_whole:
            now = time.monotonic()
            left = self.time_left(now)
            patience = self.awaited.patience(now - self._last_in)
            # A wait that is over still looks once: this process may have slept, and not the peer.
            if self._connection.wait(min(left, patience)).readable:
                self._take_until_reset(size)
            else:
                self.awaited.feed_silence(time.monotonic() - self._last_in)
            if left <= 0 and not self.is_whole:
                raise self._too_late()

    def _silence_ends(self, since: float) -> float:
        return min(since + self._timeout if self._timeout else math.inf, self._deadline)

    def _take_until_reset(self, size: int) -> None:
        try:
            self.take(size)
        except (ReceiveError, ConnectError) as exc:
            error = self.broken(exc)
            # The kernel tells of an error first, though a reply may have come before it, or to another datagram.
            if not (self._connection.transport.is_datagram and self.is_whole):
                raise error from None

    def finish(self) -> Exchange:
        """Return the record of the whole exchange.

        Raises:
          AnswerNo: what came is not what was expected.
          ClosedWithoutReply: the peer closed, and nothing had come, or not all that the rule awaits.
        """
        awaited, now = self.awaited, time.monotonic()
        if self._expect and not awaited.found:
            if not awaited.received:
                raise self._closed_without_reply(now)
            raise self._answer_no("is not what came back" if self._expect.kind == "echo" else "is not in the reply")
        if awaited.eof and self._required and (awaited.is_cut or not awaited.chunks):
            raise self._closed_without_reply(now)
        rtt = None if self._first_in is None or not self.bytes_out else max(self._first_in - self._sent_at, 0.0)
        return Exchange(
            peer=self._connection.peer,
            bytes_out=self.bytes_out,
            bytes_in=awaited.received,
            rtt_us=None if rtt is None else rtt * 1e6,
            duration_us=(now - self.started) * 1e6,
            ended_by=awaited.ended_by,
        )

    def facts(self, tail: str) -> tuple[str, ...]:
        """Return what passed in this exchange, as an error tells it."""
        came = f"peer sent {format_bytes(self.awaited.received)}"
        return (f"sent {format_bytes(self.bytes_out)}, {came}{tail}",)

    def _closed_without_reply(self, now: float) -> ClosedWithoutReply:
        tail = f", then EOF after {format_elapsed(now - self._sent_at)}"
        where = "receive", self._connection.target
        if not self.awaited.is_cut or not self.awaited.received:
            return ClosedWithoutReply(*where, "closed without a reply", facts=self.facts(tail))
        assert self.awaited.until is not None
        return ClosedWithoutReply(
            *where,
            "closed before the reply was whole",
            facts=self.facts(tail),
            means=_WHEN_WHOLE[self.awaited.until.rule],
            next_steps=(("--until close", "to take what comes until the peer closes"),),
        )

    def _too_late(self) -> NetlabError:
        limit = self._limit()
        elapsed = f" in {format_elapsed(time.monotonic() - self._sent_at)}"
        if self._expect and self.awaited.received:
            return self._answer_no(f"did not come {limit}", elapsed)
        state = "" if self._connection.transport.is_datagram else ", still connected"
        if not self.awaited.chunks:
            return TimedOut(
                "receive",
                self._connection.target,
                f"no reply {limit}",
                facts=self.facts(elapsed + state),
                means=self._how_far(),
                next_steps=self._without_reply(),
            )
        rule = self.awaited.until.rule if self.awaited.until else ""
        return TimedOut(
            "receive",
            self._connection.target,
            f"the reply was not whole {limit}",
            facts=self.facts(elapsed + state),
            means=_WHEN_WHOLE.get(rule, ""),
            next_steps=(("--until first", "to take what comes first"), self._patience()),
        )

    def _limit(self) -> str:
        if time.monotonic() >= self._deadline:
            return "before the deadline"
        return f"within {format_setting(self._timeout)}"

    def _patience(self) -> tuple[str, str]:
        """Return the step that moves the limit which was met."""
        limit = "--deadline" if time.monotonic() >= self._deadline else "-w"
        return (f"{limit} 30s", "to wait longer")

    def _answer_no(self, what: str, elapsed: str = "") -> AnswerNo:
        assert self._expect is not None
        wanted = "the message" if self._expect.kind == "echo" else show_text(self._expect.text)
        facts = self.facts(f"{elapsed}: {show_bytes(self.awaited.head, self._expect.encoding)}")
        return AnswerNo("expect", self._connection.target, f"{wanted} {what}", facts=facts)

    def _how_far(self) -> str:
        """Say how far the message got that found no reply."""
        size, transport = self.bytes_out, self._connection.transport
        if not size:
            return "nothing was sent, and the peer says nothing by itself"
        if transport is Transport.UDP:
            return "UDP acknowledges nothing: the datagram or its reply was lost, or nobody answers such a datagram"
        waiting = unacknowledged(self._connection.sock)
        if transport.is_unix:
            return "the peer's program has not read all of it" if waiting else "the peer's program has read all of it"
        if waiting:
            acknowledged = f"the peer's kernel acknowledged only {format_bytes(max(size - waiting, 0))} of {size:,} B"
            return f"{acknowledged}: its buffer is full, or packets are lost"
        return f"the peer's kernel acknowledged all {format_bytes(size)}; its program has not answered"

    def _why_no_room(self) -> str:
        """Tell a peer that does not read from one that packets no longer reach."""
        full = "both kernels' buffers are full: the peer's program does not read"
        waiting = self._connection.unacknowledged()
        if not waiting:
            return full
        size = self.bytes_out
        acknowledged = f"the peer's kernel acknowledged {format_bytes(max(size - waiting, 0))} of {size:,} B"
        if answers_no_more(self._connection.sock):
            return f"{acknowledged} and answers no more: packets are lost on the way there or back"
        return f"{acknowledged}; {full}"

    def _without_reply(self) -> tuple[tuple[str, str], ...]:
        patient = self._patience()
        if not self.bytes_out:
            return (("netlab send TARGET MESSAGE", "the peer may wait for a message"), patient)
        steps = (("--until none", "if no answer is expected"), patient)
        if self._connection.transport.is_stream and self._lacks_eol:
            return (("--eol lf, --eol crlf", "it may be waiting for the end of a line"), *steps)
        return steps


def show_text(text: str) -> str:
    r"""Quote text on one line, whatever it is, shortened.

    >>> print(show_text("pong\n"))
    "pong\n"
    """
    # With a " inside, repr takes ' for its own quotes.
    quoted = repr('"' + text[:_SHOWN])[2:-1]
    return f'"{quoted}"' + ("..." if len(text) > _SHOWN else "")


def show_bytes(data: bytes, encoding: str) -> str:
    r"""Quote the beginning of what a peer sent on one line; wrong bytes are ``\xHH``.

    >>> print(show_bytes(b"\x1b[2J\xff", "utf-8"))
    "\x1b[2J\xff"
    """
    text = data.decode(encoding, "surrogateescape" if encoding == "utf-8" else "backslashreplace")
    return re.sub(r"\\udc([89a-f][0-9a-f])", r"\\x\1", show_text(text))
