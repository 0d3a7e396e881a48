"""One client's conversation by blocking calls: what serve-tcp's only thread and each thread of serve-threaded runs.

Everything is decided before the first chunk comes: a plain echo or discard that nobody watches runs in a loop of its
own, with nothing in it but the calls; any other reply runs in the loop that carries out actions, and so does one that
faults change.
"""

from __future__ import annotations

import itertools
import mmap
import os
import socket
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from typing import TYPE_CHECKING

from netlab.endpoint import Transport
from netlab.records import Emit, FaultReport, Received, Record, Sent
from netlab.socketops.serving.clients import EOF, UNFINISHED, Client, Clients, Ending, failed_call
from netlab.socketops.serving.discarding import UNTOUCHED, discard
from netlab.socketops.serving.mailbox import Mailbox
from netlab.socketops.serving.replies import Action, Chunk, Close, Discard, Echo, Reply
from netlab.socketops.serving.room import Room
from netlab.socketops.stop import Stop

if TYPE_CHECKING:
    from netlab.socketops.faultlab.faults import Faults

__all__ = ["CREDENTIALS", "LARGE", "RECORD", "SHORT", "TRUE_SIZE", "Conversation"]

SMALL = 2048
"""Bytes of a client's first buffer: more than a segment on Ethernet, and half a page for an idle client."""
SHORT = 512 - sys.getsizeof(b"")
"""Bytes that an echo reads at first: as many as CPython's own allocator has room for (512 B with the header)."""
LARGE = 120 * 1024
"""Bytes of the buffer of a client that filled the small one, a little less than two segments of loopback (65,483 B
each): a little more, or twice as much, costs an echoed stream a tenth of its speed (measured)."""
RECORD = 256 * 1024
"""Bytes of the buffer for records, more than Linux lets a sender put into one by default (212,992 B, unix(7)).  They
are address space, of which only what is ever filled becomes memory."""

TRUE_SIZE = socket.MSG_TRUNC if sys.platform == "linux" else 0
"""Elsewhere that flag means nothing to recv."""
_TCP, _SEQPACKET = Transport.TCP, Transport.UNIX_SEQPACKET
CREDENTIALS = 64
"""Room for the control message that comes with every record, if only to tell an empty one from the end."""


class Conversation:
    """How the conversations of one server run; `run` may be called from many threads.

    Args:
      reply: what clients get, or the room that they are in.
      stop: what ends the server: an end of the stream may then be ours, not the client's.
      emit: takes Received, Sent and FaultReport, and warnings.
      watch: which of the three are wanted.
      faults: what goes wrong with the replies; a room has none.
      once: the end of one conversation stops the server.
    """

    def __init__(
        self,
        reply: Reply | Room,
        stop: Stop,
        emit: Emit,
        watch: Container[type[Record]],
        *,
        faults: Faults | None = None,
        once: bool = False,
    ) -> None:
        self._reply = reply
        self._faults = faults
        self._misbehave: Callable[[Client, Action], Ending | None] | None = None
        if faults is not None:
            from netlab.socketops.faultlab.misbehaving import Misbehaviour

            self._misbehave = Misbehaviour(stop, emit if FaultReport in watch else None).carry_out
        self._emit = emit
        self._stop = stop
        self._once = once
        self._received = emit if Received in watch else None
        self._sent = emit if Sent in watch else None
        unwatched = faults is None and self._received is None and self._sent is None
        self._only_echoes = unwatched and type(reply) is Echo and os.name == "posix"
        self._only_discards = unwatched and type(reply) is Discard and sys.platform == "linux"
        self._sink = mmap.mmap(-1, UNTOUCHED) if self._only_discards else None

    def run(self, client: Client, clients: Clients) -> None:
        """Serve one client to its end, dismiss it, and stop the server if that was to be its end, too."""
        ending = UNFINISHED
        try:
            ending = self._choose(client)(client)
            if self._stop.is_set() and ending.reason != "exit":
                ending = Ending("stopped")
        finally:
            clients.dismiss(client, ending)
        if ending.stops_server:
            self._stop.set("exit word")
        elif self._once:
            self._stop.set("--once")

    def _choose(self, client: Client) -> Callable[[Client], Ending]:
        if isinstance(self._reply, Room):
            return self._share_room
        if type(client.sock) is socket.socket:  # a traced one is a subclass, whose calls are all to be seen
            if self._only_echoes and client.transport is not _SEQPACKET:
                return _echo
            if self._only_discards and client.transport is _TCP:
                return self._discard
        return self._answer

    def _answer(self, client: Client) -> Ending:
        """Give any reply to what comes."""
        assert not isinstance(self._reply, Room)
        reply = self._reply if self._faults is None else self._faults.for_client(client.conn, self._reply)
        opening = itertools.takewhile(lambda _: not self._stop.is_set(), reply.opening())
        ending = self._carry_out(client, opening)
        if ending is not None:
            return ending
        answer, carry_out = reply.answer, self._carry_out
        for chunk in self._heard(client):
            ending = carry_out(client, answer(chunk))
            if ending is not None:
                return ending
        return client.ending

    def _share_room(self, client: Client) -> Ending:
        """Pass on to the others what comes; what they say reaches the client through its mailbox."""
        assert isinstance(self._reply, Room)
        mailbox = Mailbox(client, self._reply, emit=self._emit, sent=self._sent)
        member = self._reply.enter(client.conn, mailbox, whole=client.transport is _SEQPACKET)
        ending: Ending | None = None
        try:
            for chunk in self._heard(client):
                for close in member.answer(chunk):
                    ending = Ending(close.reason, stops_server=close.stops_server)
                if ending is not None or mailbox.ending is not None:
                    break
        finally:
            member.leave()
            mailbox.close()
        return ending or mailbox.ending or client.ending

    def _heard(self, client: Client) -> Iterator[Chunk]:
        """Yield what comes, counted and shown, until the end, which is then ``client.ending``."""
        received = self._received
        for chunk, size in _records(client) if client.transport is _SEQPACKET else _chunks(client):
            client.bytes_in += len(chunk)
            if received is not None:
                received(Received(peer=client.peer, conn=client.conn, data=bytes(chunk), size=size))
            yield chunk

    def _carry_out(self, client: Client, actions: Iterable[Action]) -> Ending | None:
        """Do what a reply says; return how that ended the conversation, if it did."""
        for action in actions:
            if isinstance(action, (bytes, memoryview)):  # a union would be made anew each time
                try:
                    calls = _send_all(client, action)
                except OSError as exc:
                    return failed_call(exc, "send")
                if self._sent is not None:
                    self._sent(Sent(peer=client.peer, conn=client.conn, data=bytes(action), calls=calls))
            elif isinstance(action, Close):
                return Ending(action.reason, stops_server=action.stops_server)
            elif self._misbehave is not None:
                ending = self._misbehave(client, action)
                if ending is not None:
                    return ending
        return None

    def _discard(self, client: Client) -> Ending:
        assert self._sink is not None
        return discard(client, self._sink)


def _echo(client: Client) -> Ending:
    """Echo by the calls that lead through the least memory, which is what hundreds of threads wait for."""
    read, write, fd = os.read, os.write, client.sock.fileno()
    came = went = got = 0
    try:
        while got < SHORT:
            try:
                chunk = read(fd, SHORT)
            except OSError as exc:
                return failed_call(exc, "receive")
            if not chunk:
                return EOF
            got = len(chunk)
            came += got
            try:
                sent = write(fd, chunk)
                went += sent
                if sent < got:
                    _send_all(client, chunk[sent:])
            except OSError as exc:
                return failed_call(exc, "send")
    finally:
        client.bytes_in += came
        client.bytes_out += went
    return _echo_more(client)


def _echo_more(client: Client) -> Ending:
    """Echo by a buffer that is never given back."""
    recv_into, send = client.sock.recv_into, client.sock.send
    view = memoryview(mmap.mmap(-1, LARGE))
    came = went = 0
    try:
        while True:
            try:
                got = recv_into(view)
            except OSError as exc:
                return failed_call(exc, "receive")
            if not got:
                return EOF
            came += got
            sent = 0
            try:
                while sent < got:
                    more = send(view[sent:got])
                    went += more
                    sent += more
            except OSError as exc:
                return failed_call(exc, "send")
    finally:
        client.bytes_in += came
        client.bytes_out += went


def _chunks(client: Client) -> Iterator[tuple[Chunk, None]]:
    """Yield what recv returns, until the end, which is then ``client.ending``; each chunk overwrites the one before."""
    recv = client.sock.recv
    chunk: Chunk = b""
    try:
        while len(chunk) < SMALL:
            chunk = recv(SMALL)
            if not chunk:
                client.ending = EOF
                return
            yield chunk, None
        view, recv_into = memoryview(mmap.mmap(-1, LARGE)), client.sock.recv_into
        while got := recv_into(view):
            yield view[:got], None
        client.ending = EOF
    except OSError as exc:
        client.ending = failed_call(exc, "receive")


def _records(client: Client) -> Iterator[tuple[memoryview, int | None]]:
    """Yield the records of a seqpacket socket as `_chunks` does, each with its true size where it was cut.

    recv returns 0 for an empty record as for the end, but with SO_PASSCRED every record brings its sender's
    credentials, and the end brings none (unix(7); where that is missing, an empty record is taken for the end).
    """
    sock = client.sock
    has_credentials = hasattr(socket, "SO_PASSCRED")
    if has_credentials:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    view = memoryview(mmap.mmap(-1, RECORD))  # a record has to be taken whole, or is cut
    while True:
        try:
            size, credentials, _, _ = sock.recvmsg_into([view], CREDENTIALS, TRUE_SIZE)
        except OSError as exc:
            client.ending = failed_call(exc, "receive")
            return
        if not size and not (has_credentials and credentials):
            client.ending = EOF
            return
        yield view[:size], size if size > RECORD else None


def _send_all(client: Client, data: Chunk) -> int:
    """Send all of it, and return how many calls that took.

    Raises:
      OSError: that of the call that failed; what went out before it is counted.
    """
    send = client.sock.send
    sent = send(data)  # an empty record is sent, too
    client.bytes_out += sent
    calls = 1
    if sent < len(data):
        rest = memoryview(data)[sent:]
        while rest:
            sent = send(rest)
            client.bytes_out += sent
            calls += 1
            rest = rest[sent:]
    return calls
