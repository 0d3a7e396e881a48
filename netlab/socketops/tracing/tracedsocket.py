"""The socket that notes its own calls: a subclass, so that it costs nothing where openers make plain sockets.

A noted call costs two readings of the clock, one of TCP's state, and, where it may block, a poll that tells whether it
is going to: so waiting for the peer is told apart by what the kernel says and not by how long the call took.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from netlab.endpoint import Transport
from netlab.errors import LocalError
from netlab.socketops.queues import unread
from netlab.socketops.tracing.callparts import (
    Seen,
    see_accept,
    see_plain,
    see_recv,
    see_recv_into,
    see_recvfrom,
    see_recvfrom_into,
    see_recvmsg,
    see_recvmsg_into,
    see_send,
    see_sendmsg,
    see_sendto,
)
from netlab.socketops.tracing.calltext import RECEIVING, SENDING
from netlab.socketops.tracing.trace import Lane, Trace, failure_of

__all__ = ["traced_socket_class", "transport_of"]

_PREVIEW = 64
"""Bytes of each payload that are kept."""

_CERTAINLY_WAITED = 5_000_000
"""Nanoseconds from which on a send has waited for room: what is shorter can't be told from copying, nor from waiting
for another thread of this program, which gives way after 5 ms (sys.getswitchinterval)."""

_NOT_READY = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINPROGRESS})
_LISTEN = 10  # of tcp_states.h
_DISCARD = getattr(socket, "MSG_TRUNC", 0)  # on TCP: the bytes are dropped, and the buffer stays as it was (tcp(7))
_AT_ONCE = getattr(socket, "MSG_DONTWAIT", 0)
_ERROR_QUEUE = getattr(socket, "MSG_ERRQUEUE", 0)  # never waits, and EAGAIN says that it is empty (recv(2))
_clock = time.monotonic_ns
_plain = socket.socket


def traced_socket_class(trace: Trace, *, lane: Lane = "client") -> type[socket.socket]:
    """Return a class for openers' ``socket_class``: its sockets, and those they accept, note their calls in ``trace``.

    Args:
      trace: takes the notes of all sockets of all classes that were made for it.
      lane: which side of the conversation the sockets are, until their calls tell.
    """
    if sys.platform != "win32":
        # `unread` would import these between two calls, and the picture would show a pause before the first close.
        import fcntl  # noqa: F401
        import termios  # noqa: F401
    return type("TracedSocket", (_TracedSocket,), {"__slots__": (), "_trace": trace, "_lane": lane})


def transport_of(family: int, kind: int, proto: int) -> Transport:
    """Return the transport that a socket of this family, type and protocol carries."""
    kind &= 0xF  # Linux: SOCK_NONBLOCK and SOCK_CLOEXEC are flags beside the type
    if family == getattr(socket, "AF_UNIX", None):
        return {
            int(socket.SOCK_DGRAM): Transport.UNIX_DGRAM,
            int(socket.SOCK_SEQPACKET): Transport.UNIX_SEQPACKET,
        }.get(kind, Transport.UNIX)
    if kind == socket.SOCK_RAW or proto in (socket.IPPROTO_ICMP, socket.IPPROTO_ICMPV6):
        return Transport.ICMP
    return Transport.UDP if kind == socket.SOCK_DGRAM else Transport.TCP


class _Kind:
    """One system call: its name, what it is about, and what follows from that."""

    __slots__ = ("accepts", "connects", "name", "names", "reads", "receives", "see", "sends", "waits_long")

    def __init__(self, name: str, see: Callable[[tuple[Any, ...], Any], Seen], *, names: bool) -> None:
        self.name = name
        self.see = see
        self.names = names
        self.receives = name in RECEIVING
        self.sends = name in SENDING
        self.connects = name == "connect"
        self.accepts = name == "accept"
        self.reads = self.receives or self.accepts
        self.waits_long = self.sends or self.connects


def _noted(
    call: str,
    plain: Any,
    see: Callable[[tuple[Any, ...], Any], Seen] = see_plain,
    *,
    names: bool = False,
    returns_errno: bool = False,
) -> Any:
    """Return a method that does as ``plain`` does and notes it; what is no socket call, such as a TypeError, is not.

    Args:
      call: the system call's name, also where Python has several methods for it.
      plain: the method of socket.socket.
      see: tells what the call was about; its result is None where it failed.
      names: whether the call may give the socket a name or a peer.
      returns_errno: whether it returns its errno instead of raising it.
    """
    kind = _Kind(call, see, names=names)
    connects, reads = kind.connects, kind.reads

    def method(self: _TracedSocket, *args: Any, **kwargs: Any) -> Any:
        waited = self.gettimeout() != 0.0 and ((connects and self._facts.is_tcp) or (reads and _must_wait(self)))
        started = _clock()
        try:
            returned = plain(self, *args, **kwargs)
        except (OSError, KeyboardInterrupt) as exc:
            self._note(kind, args, kwargs, started, _clock(), waited, None, failure_of(exc))
            raise
        if returns_errno:
            self._note(kind, args, kwargs, started, _clock(), waited, None, returned or None)
        else:
            self._note(kind, args, kwargs, started, _clock(), waited, returned, None)
        return returned

    return method


def _positional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Put the arguments that recv_into and recvfrom_into also take by name in their places."""
    return (*args, *(kwargs.get(name, 0) for name in ("buffer", "nbytes", "flags")[len(args) :]))


def _must_wait(sock: socket.socket) -> bool:
    if sock.fileno() < 0 or not hasattr(select, "poll"):  # closed: the call will say so; Windows does not tell
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return not poll.poll(0)


def _preview(payload: Any, size: int | None) -> bytes | None:
    if payload is None or not size:
        return None
    if type(payload) is bytes:
        return payload if size <= _PREVIEW else payload[:_PREVIEW]
    count = size if size < _PREVIEW else _PREVIEW
    return bytes(payload[:count] if type(payload) is bytearray else memoryview(payload).cast("B")[:count])


class _TracedSocket(socket.socket):
    """A socket whose calls are noted; `traced_socket_class` ties it to a trace.

    Not noted are setblocking() and settimeout(), which set a mode that shows in what the calls return, and what
    sendfile() sends, because that is no call on a socket.
    """

    __slots__ = ("_facts",)
    _trace: Trace
    _lane: Lane

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:  # noqa: A002
        started = _clock()
        try:
            super().__init__(family, type, proto, fileno)
        except OSError as exc:
            self._facts = self._trace.facts(self._lane, transport_of(family, type, proto), -1)
            self._add("socket", (family, type, proto), started, _clock(), error=failure_of(exc))
            raise
        ended = _clock()
        known = (self.family, self.type, self.proto)
        self._facts = self._trace.facts(self._lane, transport_of(*known), self.fileno())
        self._trace.sockets[self._facts.fd] = self
        if fileno is None:
            self._add("socket", known, started, ended, result=self._facts.fd, state=self._state())
        else:
            self._facts.ask_names(self)

    bind = _noted("bind", _plain.bind, names=True)
    listen = _noted("listen", _plain.listen, names=True)
    connect = _noted("connect", _plain.connect, names=True)
    connect_ex = _noted("connect", _plain.connect_ex, names=True, returns_errno=True)
    shutdown = _noted("shutdown", _plain.shutdown)
    getsockname = _noted("getsockname", _plain.getsockname)
    getpeername = _noted("getpeername", _plain.getpeername)
    setsockopt = _noted("setsockopt", _plain.setsockopt)
    getsockopt = _noted("getsockopt", _plain.getsockopt)
    send = _noted("send", _plain.send, see_send)
    sendall = _noted("sendall", _plain.sendall, see_send)
    sendto = _noted("sendto", _plain.sendto, see_sendto)
    recv = _noted("recv", _plain.recv, see_recv)
    recv_into = _noted("recv", _plain.recv_into, see_recv_into)
    recvfrom = _noted("recvfrom", _plain.recvfrom, see_recvfrom)
    recvfrom_into = _noted("recvfrom", _plain.recvfrom_into, see_recvfrom_into)
    if hasattr(_plain, "sendmsg"):  # not on Windows
        recvmsg = _noted("recvmsg", _plain.recvmsg, see_recvmsg)
        _sendmsg_plain = _noted("sendmsg", _plain.sendmsg, see_sendmsg)
        _recvmsg_into_plain = _noted("recvmsg", _plain.recvmsg_into, see_recvmsg_into)

        # Buffers may come from an iterator, which can be gone through once.
        def sendmsg(self, buffers: Iterable[Any], *rest: Any) -> int:
            return int(self._sendmsg_plain(list(buffers), *rest))

        def recvmsg_into(self, buffers: Iterable[Any], *rest: Any) -> Any:
            return self._recvmsg_into_plain(list(buffers), *rest)

    _accept_plain = _noted("accept", _plain.accept, see_accept)

    def accept(self) -> tuple[socket.socket, Any]:
        # socket.socket.accept() makes plain sockets, whatever its own class.
        plain, address = self._accept_plain()
        sock = type(self)(self.family, self.type, self.proto, fileno=plain.detach())
        sock._facts.lane = "server"
        return sock, address

    def close(self) -> None:
        """Close the socket, unless a file that makefile() returned still needs it."""
        if self.fileno() < 0:
            super().close()
            return
        state = self._state()
        left = None
        if self._facts.is_tcp and state != _LISTEN:
            with contextlib.suppress(LocalError):  # closed by another thread meanwhile
                left = unread(self)
        started = _clock()
        super().close()
        ended = _clock()
        if self.fileno() < 0:
            self._forget()
            self._add("close", (), started, ended, state=state, unread=left)

    def detach(self) -> int:
        self._forget()
        return super().detach()

    def poller(self) -> TracedPoll:
        """Return what `netlab.socketops.stop.poller` gives to whoever waits for this socket."""
        return TracedPoll(self._trace)

    def _forget(self) -> None:
        if self._trace.sockets.get(self._facts.fd) is self:
            del self._trace.sockets[self._facts.fd]

    def _state(self, accepted: socket.socket | None = None) -> int | None:
        """Return TCP's state by the kernel's number, that of a connection just accepted if given; None for no TCP."""
        if not self._facts.is_tcp:
            return None
        try:
            return _plain.getsockopt(accepted or self, socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except OSError:  # closed by another thread
            return None

    def _note(
        self,
        kind: _Kind,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        started: int,
        ended: int,
        waited: bool,
        returned: Any,
        error: int | str | None,
    ) -> None:
        """Note a call that a method of `_noted` has made."""
        facts, trace = self._facts, self._trace
        state = self._state(returned[0] if kind.accepts and returned else None) if facts.is_tcp else None
        pending, facts.pending = facts.pending, 0
        if kwargs:
            args = _positional(args, kwargs)
        if kind.names:
            facts.lane = "client" if kind.connects else "server"
            facts.ask_names(self, args[0] if kind.connects else None)
        elif kind.sends and facts.local is None and facts.has_ports:
            facts.ask_names(self)
        shown, result, payload, size, peer = kind.see(args, returned)
        flags = shown[1] if kind.receives else 0
        if flags:
            waited = waited and not flags & (_AT_ONCE | _ERROR_QUEUE)
            payload = None if facts.is_tcp and flags & _DISCARD else payload
        blocks = self.gettimeout() != 0.0
        if error in _NOT_READY and not blocks and not flags & _ERROR_QUEUE:
            facts.pending = ended
        if kind.waits_long and blocks and ended - started >= _CERTAINLY_WAITED:
            waited = True
        trace.add(
            (
                next(trace.numbers), facts, trace.thread.name, kind.name, shown, started, ended, waited, pending,
                result, error, _preview(payload, size), size, state, facts.local, peer or facts.peer, None,
            )
        )  # fmt: skip

    def _add(
        self,
        call: str,
        args: tuple[Any, ...],
        started: int,
        ended: int,
        *,
        result: Any = None,
        error: int | str | None = None,
        waited: bool = False,
        state: int | None = None,
        unread: int | None = None,
    ) -> None:
        """Note a call without payload."""
        facts, trace = self._facts, self._trace
        pending, facts.pending = facts.pending, 0
        trace.add(
            (
                next(trace.numbers), facts, trace.thread.name, call, args, started, ended, waited, pending, result,
                error, None, None, state, facts.local, facts.peer, unread,
            )
        )  # fmt: skip


class TracedPoll:
    """A select.poll whose waits are noted with the socket that they were for."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._poll = select.poll()
        self._masks: dict[int, int] = {}

    def register(self, fd: Any, *eventmask: int) -> None:
        self._poll.register(fd, *eventmask)
        self._masks[_number(fd)] = eventmask[0] if eventmask else select.POLLIN | select.POLLPRI | select.POLLOUT

    def modify(self, fd: Any, eventmask: int) -> None:
        self._poll.modify(fd, eventmask)
        self._masks[_number(fd)] = eventmask

    def unregister(self, fd: Any) -> None:
        self._poll.unregister(fd)
        self._masks.pop(_number(fd), None)

    def poll(self, timeout: float | None = None) -> list[tuple[int, int]]:
        """Wait as select.poll does; ``timeout`` in ms, None for ever."""
        started = _clock()
        happened = self._poll.poll(0)
        waited = not happened and timeout != 0
        if waited:
            happened = self._poll.poll(timeout)
        ended = _clock()
        events = dict(happened)
        watched = [fd for fd in self._masks if fd in self._trace.sockets]
        fd = next((fd for fd in watched if fd in events), watched[0] if watched else -1)
        sock = self._trace.sockets.get(fd)
        if sock is not None:
            # What ends the wait may be another descriptor, such as standard input: that was no wait for the peer.
            waited = waited and (fd in events or not events)
            args, result = (self._masks[fd], timeout), (events.get(fd, 0), next(iter(events), None))
            sock._add("poll", args, started, ended, result=result, waited=waited, state=sock._state())
        return happened


def _number(fd: Any) -> int:
    return fd if isinstance(fd, int) else int(fd.fileno())
