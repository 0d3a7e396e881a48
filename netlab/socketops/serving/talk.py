"""One client's conversation by calls that never wait: what each client of the event loop is.

The loop calls ``read`` when there is something to read, and ``carry_on`` when there is room for what could not be sent.
A talk keeps at most one chunk's replies, or in a room what the others have said, up to a bound.
"""

from __future__ import annotations

import collections
import itertools
import mmap
import os
import socket
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from netlab.endpoint import Transport
from netlab.records import Emit, Received, Sent, WarningReport
from netlab.socketops.serving.clients import EOF, Client, Ending, failed_call
from netlab.socketops.serving.conversation import CREDENTIALS, LARGE, RECORD, SHORT, TRUE_SIZE
from netlab.socketops.serving.replies import Action, Close, Discard, Echo, Reply
from netlab.socketops.serving.room import QUEUE, TOO_SLOW, Room, too_slow
from netlab.socketops.stop import Stop

if TYPE_CHECKING:
    from netlab.socketops.faultlab.faults import Faults
    from netlab.socketops.serving.timers import Timer

__all__ = ["Loop", "RoomTalk", "Service", "Talk"]

_TURN = 16
"""Sends until the others have their turn, where a reply goes on for ever; arbitrary."""
_ROUNDS = 4
"""Echoes of a full buffer until the others have their turn: staying with one stream keeps its bytes in the cache, which
makes four of them a fifth faster (measured on loopback), and more than four rounds gain nothing."""
_DISCARDED = 4 * 1024 * 1024
"""Bytes that are discarded until the others have their turn."""
_ON_LINUX = sys.platform == "linux"
_NOTHING: Iterator[Action] = iter(())


class Service:
    """What all clients of one server share.

    Args:
      reply: what they get, or the room that they are in.
      stop: what ends a reply that would not end.
      received, sent, struck: take those records; None where they are not wanted.
      warn: takes warnings.
      faults: what goes wrong, if anything is to.
    """

    def __init__(
        self,
        reply: Reply | Room,
        stop: Stop,
        *,
        received: Emit | None,
        sent: Emit | None,
        struck: Emit | None,
        warn: Emit,
        faults: Faults | None,
    ) -> None:
        self.room = reply if isinstance(reply, Room) else None
        self.reply = None if isinstance(reply, Room) else reply
        self.stop = stop
        self.received = received
        self.sent = sent
        self.struck = struck
        self.warn = warn
        self.faults = faults
        unwatched = received is None and sent is None and faults is None
        self.only_echoes = unwatched and type(reply) is Echo and os.name == "posix"
        self.only_discards = unwatched and type(reply) is Discard and _ON_LINUX
        # A seqpacket record has to be taken whole, or is cut.
        self.buffer = memoryview(mmap.mmap(-1, RECORD))
        self.chunk = self.buffer[:LARGE]
        self.sink = mmap.mmap(-1, _DISCARDED) if self.only_discards else None


class Loop(Protocol):
    """What a talk needs of its event loop."""

    def dismiss(self, talk: Talk, ending: Ending) -> None:
        """End the conversation."""
        ...

    def wait_for_room(self, talk: Talk) -> None:
        """Call ``carry_on`` when the client takes more, and not ``read``; again and again until `go_on_reading`."""
        ...

    def go_on_reading(self, talk: Talk) -> None:
        """Call ``read`` again."""
        ...

    def hold(self, talk: Talk, moment: float, over: Callable[[], None], gone: Callable[[], None]) -> Timer:
        """Call neither ``carry_on`` nor ``read``: but ``over`` at a moment, and ``gone`` if the connection ends."""
        ...

    def remind(self, moment: float, action: Callable[[], None]) -> Timer:
        """Do something at a moment, or at the stop."""
        ...

    def let_go(self, timer: Timer) -> None:
        """Forget what `hold` or `remind` has returned."""
        ...


class Talk:
    """One client and what is still to be sent to it.

    Attributes:
      client: the connection.
      read: what to do when there is something to read.
      waits: whether the loop waits for room; the loop's to set.
      came: bytes received so far.
      went: bytes sent so far.
      send_timeout: seconds after which a client that takes nothing is given up.
    """

    __slots__ = (
        "_actions", "_calls", "_chunk", "_data", "_fd", "_loop", "_mark", "_recv_into", "_reply", "_rest", "_send",
        "_service", "_since", "came", "client", "read", "send_timeout", "waits", "went",
    )  # fmt: skip

    def __init__(self, loop: Loop, client: Client, service: Service, send_timeout: float) -> None:
        self.client = client
        self.send_timeout = send_timeout
        self.waits = False
        self.came = self.went = 0
        self._loop = loop
        self._service = service
        self._reply = service.reply
        self._chunk = service.chunk
        self._fd = client.sock.fileno()
        self._recv_into = client.sock.recv_into
        self._send = client.sock.send
        self._mark: int | None = None
        self._since = 0.0
        self._actions = _NOTHING
        self._rest: memoryview | None = None
        self._data = b""
        self._calls = 0
        self.read = self._choose()

    def begin(self) -> None:
        """Send what a client gets before it has sent anything."""
        assert self._reply is not None
        opening, stop = self._reply.opening(), self._service.stop
        if opening:  # most have nothing to say
            self._actions = itertools.takewhile(lambda _: not stop.is_set(), opening)
            self.carry_on()

    def carry_on(self) -> None:
        """Do what the reply says, as far as that goes without waiting."""
        for _ in range(_TURN):
            if self._rest is None:
                action = next(self._actions, None)
                if action is None:
                    self._actions = _NOTHING
                    if self.waits:
                        self._loop.go_on_reading(self)
                    return
                if isinstance(action, Close):
                    self._end(Ending(action.reason, stops_server=action.stops_server))
                    return
                if not isinstance(action, (bytes, memoryview)):
                    if self._misbehave(action):
                        return
                    continue
                self._rest = memoryview(action)
                self._calls = 0
                if self._service.sent is not None:
                    self._data = bytes(action)
            try:
                sent = self._send(self._rest)
            except BlockingIOError:
                break
            except OSError as exc:
                self._end(failed_call(exc, "send"))
                return
            self.went += sent
            self._calls += 1
            if sent < len(self._rest):
                self._rest = self._rest[sent:]
            else:
                self._rest = None
                self._tell_sent()
        if not self.waits:
            self._loop.wait_for_room(self)

    def look(self, now: float, idle_timeout: float) -> None:
        """End the conversation if nothing has passed for too long; to be called a few times within each limit."""
        mark = -1 - self.went if self.waits else self.came
        if mark != self._mark:
            self._mark, self._since = mark, now
        elif self.waits:
            if now - self._since >= self.send_timeout:
                self._end(Ending("timeout", operation="send"))
        elif idle_timeout and now - self._since >= idle_timeout:
            self._end(Ending("timeout", operation="receive"))

    def leave(self) -> None:
        """Let go of what is shared with others; called once, when the conversation has ended."""

    def _misbehave(self, _action: Action) -> bool:
        """Do what only a fault asks for; return whether nothing more can be done now."""
        return False

    def _choose(self) -> Callable[[], None]:
        service, client = self._service, self.client
        if client.transport is Transport.UNIX_SEQPACKET:
            if hasattr(socket, "SO_PASSCRED"):  # see `netlab.socketops.serving.conversation`
                client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            return self._read_record
        # A traced socket is a subclass, whose calls are all to be seen.
        if service.only_echoes and type(client.sock) is socket.socket:
            return self._echo
        return self._read_chunk

    def _echo(self) -> None:
        """Echo as the threads do, by the calls that lead through the least memory, until much comes at once."""
        try:
            chunk = os.read(self._fd, SHORT)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(failed_call(exc, "receive"))
            return
        if not chunk:
            self._end(EOF)
            return
        got = len(chunk)
        self.came += got
        try:
            sent = os.write(self._fd, chunk)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._end(failed_call(exc, "send"))
            return
        self.went += sent
        if got == SHORT:
            self.read = self._echo_more
            self._loop.go_on_reading(self)
        if sent < got:
            self._keep(chunk[sent:])

    def _echo_more(self) -> None:
        """Echo by the buffer that all share, for clients that send much at once."""
        view = self._chunk
        for _ in range(_ROUNDS):
            got = self._receive(view)
            if not got:
                return
            self.came += got
            try:
                sent = self._send(view[:got])
            except BlockingIOError:
                sent = 0
            except OSError as exc:
                self._end(failed_call(exc, "send"))
                return
            self.went += sent
            if sent < got:
                self._keep(bytes(view[sent:got]))
                return
            if got < LARGE:
                return

    def _keep(self, rest: bytes) -> None:
        """Send the rest of an echo when there is room for it."""
        self._rest = memoryview(rest)
        self._loop.wait_for_room(self)

    def _read_chunk(self) -> None:
        got = self._receive(self._chunk)
        if got:
            self._take(self._chunk[:got], None)

    def _receive(self, buffer: memoryview | mmap.mmap, size: int = 0, flags: int = 0) -> int:
        """Return how many bytes have come into a buffer, 0 where none have; an end or an error is dealt with."""
        try:
            got = self._recv_into(buffer, size, flags)
        except BlockingIOError:
            return 0
        except OSError as exc:
            self._end(failed_call(exc, "receive"))
            return 0
        if not got:
            self._end(EOF)
        return got

    def _read_record(self) -> None:
        view = self._service.buffer
        try:
            size, credentials, _, _ = self.client.sock.recvmsg_into([view], CREDENTIALS, TRUE_SIZE)
        except BlockingIOError:
            return
        except OSError as exc:
            self._end(failed_call(exc, "receive"))
            return
        if not size and not (hasattr(socket, "SO_PASSCRED") and credentials):
            self._end(EOF)
            return
        self._mark = None  # an empty record is no silence
        self._take(view[:size], size if size > RECORD else None)

    def _take(self, chunk: memoryview, size: int | None) -> None:
        """Answer a chunk; what cannot be sent at once is copied out of the buffer that all share."""
        assert self._reply is not None
        self._tell_received(chunk, size)
        self._actions = iter(self._reply.answer(chunk))
        self.carry_on()
        if self.waits:
            self._actions = iter([bytes(a) if isinstance(a, memoryview) else a for a in self._actions])
            if self._rest is not None:
                self._rest = memoryview(bytes(self._rest))

    def _tell_received(self, chunk: memoryview, size: int | None) -> None:
        self.came += len(chunk)
        if self._service.received is not None:
            client = self.client
            self._service.received(Received(peer=client.peer, conn=client.conn, data=bytes(chunk), size=size))

    def _tell_sent(self) -> None:
        if self._service.sent is not None:
            client = self.client
            self._service.sent(Sent(peer=client.peer, conn=client.conn, data=self._data, calls=self._calls))

    def _end(self, ending: Ending) -> None:
        self._loop.dismiss(self, ending)


class RoomTalk(Talk):
    """A client that shares a room with others; it is its own outbox."""

    __slots__ = ("_is_leaving", "_member", "_queue", "_queued", "_room")

    def __init__(self, loop: Loop, client: Client, service: Service, send_timeout: float) -> None:
        super().__init__(loop, client, service, send_timeout)
        assert service.room is not None
        self._room = service.room
        self._queue: collections.deque[Action] = collections.deque()
        self._queued = 0
        self._is_leaving = False
        self._member = self._room.enter(client.conn, self, whole=client.transport is Transport.UNIX_SEQPACKET)

    def begin(self) -> None:
        """Say nothing: the others' lines are all that a member gets."""

    def put(self, line: bytes) -> bool:
        """Send a line, or keep it; a member for whom too much is kept already gets a last word instead."""
        if self._is_leaving:
            return False
        if self._queued + len(line) <= QUEUE:
            self._post(line)
            return True
        word, warning = too_slow(self.client.conn, self._room.newline)
        self._post(word)
        self._leave_with(TOO_SLOW)
        self._service.warn(WarningReport(message=warning))
        return False

    def leave(self) -> None:
        """Leave the room."""
        self._is_leaving = True
        self._member.leave()

    def _take(self, chunk: memoryview, size: int | None) -> None:
        self._tell_received(chunk, size)
        for close in self._member.answer(chunk):
            self._leave_with(close)

    def _leave_with(self, close: Close) -> None:
        self._is_leaving = True
        self._post(close)

    def _post(self, action: Action) -> None:
        self._queue.append(action)
        if isinstance(action, bytes):
            self._queued += len(action)
        if not self.waits:
            self._actions = self._queued_actions()
            self.carry_on()

    def _queued_actions(self) -> Iterator[Action]:
        while self._queue:
            action = self._queue.popleft()
            if isinstance(action, bytes):
                self._queued -= len(action)
            yield action
