"""One of the places in which `netlab.socketops.talking.load` keeps a connection: opened, sent on, judged, opened anew.

Everything here happens once an exchange, so what is not needed is not done: no record is made, and a reply that is
what it should be in its first chunk is known by one comparison.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from netlab.endpoint import Endpoint, Transport
from netlab.errors import AnswerNo, ClosedWithoutReply, ConnectError, LocalError, NetlabError, TimedOut
from netlab.explain import verdict_of_connect
from netlab.socketops.connecting import PENDING, SocketClass, open_client_socket, reached_itself
from netlab.socketops.errqueue import listen_for_errors
from netlab.socketops.sockopts import Setting
from netlab.socketops.talking.awaiting import show_bytes
from netlab.socketops.talking.connection import CHUNK, LARGEST_MESSAGE, call_failure
from netlab.socketops.talking.until import Awaited, Expect, Until
from netlab.values import format_setting

__all__ = ["DONE", "Conversation", "Outcome", "Slot"]

DONE = True
Outcome = bool | NetlabError
"""What a step comes to: True where the exchange is over, False where it goes on, or why it failed."""

_IN = getattr(select, "EPOLLIN", 0) | getattr(select, "EPOLLRDHUP", 0)
_OUT = getattr(select, "EPOLLOUT", 0)
_HUNG_UP = getattr(select, "EPOLLHUP", 0) | getattr(select, "EPOLLRDHUP", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """What all slots have in common.

    Attributes:
      target: as the user named it.
      address: the numeric address, or the path, to connect to.
      messages: sent in turn.
      until, expect: when a reply is whole, and what it must hold.
      timeout: seconds for a reply, as errors tell it.
      half_close: end the sending side after a message.
      source, settings, socket_class: as in `netlab.socketops.connecting.connect`.
    """

    target: Endpoint
    address: Endpoint
    messages: Sequence[bytes]
    until: Until | None
    expect: Expect | None
    timeout: float
    half_close: bool = False
    source: Endpoint | None = None
    settings: Sequence[Setting] = ()
    socket_class: SocketClass = socket.socket

    @property
    def awaits_none(self) -> bool:
        return self.until is not None and self.until.rule == "none"


class Slot:
    """A place for one connection after another, with one exchange at a time.

    Attributes:
      fileno: the connection's descriptor; -1 where there is none.
      began: when the exchange began, or should have, in ns.
      limit: when it has taken too long, in ns.
      is_busy: whether an exchange runs.
      is_spent: whether the peer has ended the connection.
      bytes_out, bytes_in, opened: payload, and connections, so far.
    """

    def __init__(self, number: int, conversation: Conversation, poll: select.epoll) -> None:
        self.number = number
        self.sock: socket.socket | None = None
        self.fileno = -1
        self.began = self.limit = 0
        self.is_busy = self.is_spent = False
        self.bytes_out = self.bytes_in = self.opened = 0
        self._what = conversation
        self._transport = conversation.target.transport
        self._poll = poll
        self._turn = 0
        self._message = b""
        self._rest = memoryview(b"")
        self._is_opening = False
        self._awaited: Awaited | None = None
        until, expect = conversation.until, conversation.expect
        self._takes_echo = until is None and expect is not None and expect.kind == "echo"
        self._takes_first = expect is None and until is not None and until.rule == "first"
        self._awaits_none = conversation.awaits_none
        self._size = LARGEST_MESSAGE if self._transport.is_unix and not self._transport.is_stream else CHUNK
        self._recv: Callable[[int], bytes]
        self._send: Callable[[bytes | memoryview], int]

    def adopt(self, sock: socket.socket, *, is_opening: bool = False) -> None:
        """Take a socket that is connected, or about to be."""
        sock.setblocking(False)
        self.sock, self.fileno = sock, sock.fileno()
        self._recv, self._send = sock.recv, sock.send
        self._is_opening = is_opening
        self.opened += not is_opening
        if self._transport is Transport.UDP:
            listen_for_errors(sock)
        self._poll.register(self.fileno, _OUT if is_opening else _IN)

    def begin(self) -> Outcome:
        """Begin an exchange, with a new connection where there is none."""
        messages = self._what.messages
        self._message = messages[self._turn % len(messages)]
        self._turn += 1
        self._awaited = None
        self.is_busy = True
        return self._open() if self.sock is None else self._push(self._message)

    def ready(self, events: int) -> Outcome:
        """Go on after an event of the socket."""
        if self._is_opening:
            return self._finish_opening()
        if events & _OUT and self._rest and (outcome := self._push(self._rest)):
            return outcome
        return self._receive(events) if events & ~_OUT else False

    def too_late(self) -> NetlabError:
        """Return what it means that the exchange has taken too long."""
        limit = f"within {format_setting(self._what.timeout)}"
        if self._is_opening:
            return TimedOut("connect", self._what.target, f"no answer {limit}")
        if self._awaited and self._awaited.chunks:
            return self._unexpected() if self._what.expect else self._timed_out(f"the reply was not whole {limit}")
        return self._timed_out(f"no reply {limit}")

    def close(self) -> None:
        """Close the connection; what lies unread is taken out first, for it would turn the FIN into a RST."""
        if self.sock is None:
            return
        if not self._is_opening and self._transport.has_connections:
            with suppress(OSError):  # reset, or nothing is there
                self.bytes_in += len(self._recv(self._size))
        self.sock.close()
        self.sock, self.fileno = None, -1
        self._is_opening = self.is_spent = False
        self._rest = memoryview(b"")

    def _open(self) -> Outcome:
        what = self._what
        try:
            sock = open_client_socket(
                what.address, source=what.source, settings=what.settings, socket_class=what.socket_class
            )
        except LocalError as exc:
            return exc
        code = sock.connect_ex(what.address.to_sockaddr())
        self.adopt(sock, is_opening=True)
        return False if code in PENDING else self._connected(code)

    def _finish_opening(self) -> Outcome:
        assert self.sock is not None
        return self._connected(self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _connected(self, code: int) -> Outcome:
        assert self.sock is not None
        if code == 0 and self._transport is Transport.TCP and reached_itself(self.sock):
            code = errno.ECONNREFUSED
        if code:
            verdict = verdict_of_connect(code, self._transport)
            kind = {"timeout": TimedOut, "busy": TimedOut, "error": LocalError}.get(verdict, ConnectError)
            return kind("connect", self._what.target, errno=code)
        self._is_opening = False
        self.opened += 1
        self._poll.modify(self.fileno, _IN)
        return self._push(self._message)

    def _push(self, data: bytes | memoryview) -> Outcome:
        """Send what there is room for; the rest waits for an event."""
        if data:
            try:
                sent = self._send(data)
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                return call_failure(exc, "send", self._what.target)
            self.bytes_out += sent
            if sent < len(data):
                if not self._rest:
                    self._poll.modify(self.fileno, _IN | _OUT)
                self._rest = memoryview(data)[sent:]
                return False
        if self._rest:
            self._rest = memoryview(b"")
            self._poll.modify(self.fileno, _IN)
        if self._what.half_close and self.sock is not None:
            with suppress(OSError):  # reset meanwhile: the next call says so
                self.sock.shutdown(socket.SHUT_WR)
        return self._awaits_none

    def _receive(self, events: int) -> Outcome:
        try:
            data = self._recv(self._size)
        except BlockingIOError:
            return False
        except OSError as exc:
            return call_failure(exc, "receive", self._what.target)
        self.bytes_in += len(data)
        if data and data == self._message and self._takes_echo and self.is_busy and not self._awaited:
            return DONE
        # An empty message is told from the end by the event.
        is_end = not data and (self._transport.is_stream or bool(events & _HUNG_UP))
        self.is_spent = is_end and self._transport.has_connections
        if not self.is_busy or self._awaits_none:  # nothing was asked: the rest of a reply, or the peer's end
            return self._closed() if self.is_spent else False
        if self._takes_first and not is_end:
            return DONE
        return self._judge(data, is_end)

    def _judge(self, data: bytes, is_end: bool) -> Outcome:
        what = self._what
        if self._awaited is None:
            self._awaited = Awaited(what.until, expect=what.expect, message=self._message)
        awaited = self._awaited
        if is_end:
            awaited.feed_eof()
        else:
            awaited.feed(data)
        if not awaited.ended_by:
            return False
        if is_end and (awaited.is_cut or not awaited.chunks):
            return self._closed()
        return DONE if what.expect is None or awaited.found else self._unexpected()

    def _closed(self) -> NetlabError:
        steps = (("--reconnect", "if the peer closes after each reply"),)
        cut = self._awaited is not None and self._awaited.is_cut and self._awaited.received
        cause = "closed before the reply was whole" if cut else "closed without a reply"
        return ClosedWithoutReply("receive", self._what.target, cause, next_steps=steps)

    def _timed_out(self, cause: str) -> NetlabError:
        return TimedOut("receive", self._what.target, cause)

    def _unexpected(self) -> NetlabError:
        assert self._what.expect is not None
        assert self._awaited is not None
        came = show_bytes(self._awaited.head, self._what.expect.encoding)
        return AnswerNo("expect", self._what.target, f"another reply came: {came}")
