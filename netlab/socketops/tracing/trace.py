"""What a trace holds: notes on socket calls, raw as they were taken, and the records that are made of them.

`tracedsocket` takes the notes, `calltext` puts them into words when somebody reads them.  CLOCK_MONOTONIC is one clock
for all programs of a host, so the traces of two of them can be laid side by side (`merging`).
"""

from __future__ import annotations

import collections
import itertools
import os
import socket
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from netlab.errors import NetlabError, errno_name
from netlab.records import Call, Emit
from netlab.socketops.tcpinfo import STATE_NAMES
from netlab.socketops.tracing.calltext import RECEIVING, arguments, outcome

__all__ = ["CALLS_KEPT", "Facts", "Lane", "Trace", "failure_of"]

CALLS_KEPT = 20_000
"""Calls that a trace keeps, the newest.  Arbitrary: more than anybody reads, and some 10 MB."""

Lane = Literal["client", "server"]

_UCRED = struct.Struct("@iII")
_plain = socket.socket


class Facts:
    """What is known of one traced socket; the notes on its calls point to it.

    Attributes:
      number: counts the sockets of this program, for descriptors are used again.
      pending: when the socket last said that it is not ready, in ns; 0 once it was asked again.
      local, peer: its names, as far as it has them.
      lane: which side it is: whoever connects is the client, whoever binds and does not connect the server.
      peer_pid: the process at the other end of a unix socket.
    """

    __slots__ = ("fd", "has_ports", "is_tcp", "lane", "local", "number", "peer", "peer_pid", "pending", "transport")

    def __init__(self, number: int, lane: Lane, transport: Transport, fd: int) -> None:
        self.number = number
        self.lane = lane
        self.transport = transport
        self.is_tcp = transport is Transport.TCP and sys.platform == "linux"
        self.has_ports = transport in (Transport.TCP, Transport.UDP)
        self.fd = fd
        self.pending = 0
        self.local: Endpoint | None = None
        self.peer: Endpoint | None = None
        self.peer_pid: int | None = None

    def ask_names(self, sock: socket.socket, peer: object = None) -> None:
        """Read the socket's names; ``peer`` is where it was told to go, which getpeername may not say yet."""
        local = _endpoint(self.transport, _ask(lambda: _plain.getsockname(sock)))
        # Until it is bound an INET socket calls itself port 0.
        self.local = local if local and (local.port or not self.has_ports) else None
        self.peer = _endpoint(self.transport, _ask(lambda: _plain.getpeername(sock)) or peer)
        if self.transport.is_unix and self.transport.has_connections and hasattr(socket, "SO_PEERCRED"):
            raw = _ask(lambda: _plain.getsockopt(sock, socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            self.peer_pid = _UCRED.unpack(raw)[0] or None if raw else None


class Note(NamedTuple):
    """One call, raw; times in ns of CLOCK_MONOTONIC, ``error`` an errno, or words where there is none."""

    number: int
    facts: Facts
    thread: str
    call: str
    args: tuple[Any, ...]
    started: int
    ended: int
    waited: bool
    pending: int
    result: Any
    error: int | str | None
    data: bytes | None
    size: int | None
    state: int | None
    local: Endpoint | None
    peer: Any
    unread: int | None


class _ThreadName(threading.local):
    """The name of the thread that asks, looked up once in each.

    Not current_thread(): where a thread was started by _thread alone, that makes an object that stays for ever.
    """

    def __init__(self, numbers: Iterator[int]) -> None:
        known = {thread.ident: thread.name for thread in threading.enumerate()}
        self.name = known.get(threading.get_ident()) or f"thread {next(numbers)}"


class Trace:
    """The newest calls of one program on its traced sockets.

    Args:
      keep: how many; older ones are dropped and counted.
      emit: takes each call as it ends, in its thread.  What it raises is kept as ``failure`` and ends the telling:
          it must not come out of a socket call, whose caller would take it for the peer's doing.
    """

    def __init__(self, *, keep: int = CALLS_KEPT, emit: Emit | None = None) -> None:
        self.failure: NetlabError | None = None
        self._emit = emit
        self._notes: collections.deque[tuple[Any, ...]] = collections.deque(maxlen=keep)
        self.numbers = itertools.count(1)
        """Counts the calls: a note begins with the next number."""
        self._sockets = itertools.count(1)
        self.thread = _ThreadName(itertools.count(1))
        self.sockets: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        """The open sockets by descriptor, for whoever waits for a descriptor."""
        self._pid = os.getpid()
        self._epoch = time.time() - time.monotonic()

    @property
    def dropped(self) -> int:
        """How many of the oldest calls were dropped."""
        notes = self._notes.copy()
        return max((note[0] for note in notes), default=0) - len(notes)

    def calls(self) -> list[Call]:
        """Return the calls that are kept, in the order in which they began."""
        # Not list(): that raises where another thread adds a note meanwhile; copy() holds the interpreter's lock.
        return sorted(map(self._call, self._notes.copy()), key=lambda call: call.mono_us)

    def facts(self, lane: Lane, transport: Transport, fd: int) -> Facts:
        """Begin the facts of a new socket."""
        return Facts(next(self._sockets), lane, transport, fd)

    def add(self, note: tuple[Any, ...]) -> None:
        """Keep a call, its fields as in `Note`, which is only made when it is read: that saves a third of the time."""
        self._notes.append(note)
        if self._emit is not None:
            try:
                self._emit(self._call(note))
            except NetlabError as exc:
                self.failure, self._emit = exc, None

    def _call(self, raw: tuple[Any, ...]) -> Call:
        note = Note(*raw)
        facts, transport = note.facts, note.facts.transport
        code = note.error if isinstance(note.error, int) else None
        value = note.size if note.call in RECEIVING else note.result
        result = outcome(note.call, note.args, value, transport) if note.error is None else None
        return Call(
            time=self._epoch + note.started / 1e9,
            mono_us=note.started / 1e3,
            duration_us=(note.ended - note.started) / 1e3,
            lane=facts.lane,
            thread=note.thread,
            pid=self._pid,
            socket=facts.number,
            transport=str(transport),
            call=note.call,
            args=arguments(note.call, note.args, transport),
            fd=facts.fd,
            result=note.error if isinstance(note.error, str) else result,
            errno=code,
            errno_name=None if code is None else errno_name(code),
            waited_us=(note.ended - note.started) / 1e3 if note.waited else None,
            pending_us=(note.started - note.pending) / 1e3 if note.pending else None,
            data=_whole_characters(note.data, note.size or 0),
            size=note.size,
            state_name=None if note.state is None else STATE_NAMES.get(note.state, str(note.state)),
            unread=note.unread,
            local=note.local,
            peer=note.peer if isinstance(note.peer, Endpoint) else _endpoint(transport, note.peer),
            peer_pid=facts.peer_pid,
        )


def failure_of(error: OSError | KeyboardInterrupt) -> int | str:
    """Return the errno of what ended a call, or words where it has none: the exception itself would keep its frames."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, TimeoutError) and error.errno is None:  # settimeout()
        return "timed out"
    if error.errno is None or isinstance(error, socket.gaierror):  # whose numbers are no errnos
        return error.strerror or str(error)
    return error.errno


def _whole_characters(data: bytes | None, size: int) -> bytes | None:
    """Drop a character of UTF-8 that was cut where the copy of a longer payload ends."""
    if not data or size <= len(data):
        return data
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        if exc.end == len(data) and exc.reason == "unexpected end of data":
            return data[: exc.start]
    return data


def _endpoint(transport: Transport, sockaddr: Any) -> Endpoint | None:
    try:
        return from_sockaddr(transport, sockaddr)
    except (TypeError, ValueError):  # a family that netlab has no endpoints for
        return None


def _ask(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except OSError:  # ENOTCONN: no peer, or no longer
        return None
