"""One connected socket that never blocks: its calls, what passed through it, and what its failures mean.

Sending and receiving are never two turns here: a peer that answers while it is still being sent to stops reading once
both buffers are full, and two such programs wait for each other for ever.  So whoever sends waits for both directions.

Errors are translated next to the call that met them, so that a peer's EPIPE cannot be taken for a closed stdout.
"""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from netlab.errors import ConnectError, LocalError, NetlabError, ReceiveError, SendError, TimedOut
from netlab.explain import explain_rejected, verdict_of_connect
from netlab.records import Closed, Connected, ConnectionInfo, Received
from netlab.socketops.errqueue import IcmpError, drain_errors, icmp_text, listen_for_errors
from netlab.socketops.queues import unacknowledged, unread
from netlab.socketops.stop import poller
from netlab.socketops.talking.until import quiet_after
from netlab.socketops.tcpinfo import read_rtt, read_tcp_info

__all__ = ["BROKEN", "CHUNK", "LARGEST_MESSAGE", "Connection", "Ready", "call_failure"]

BROKEN = (SendError, ReceiveError, ConnectError, TimedOut)
"""What the calls of a connection raise, and nothing that shows records does."""

CHUNK = 65536
"""Bytes asked of one recv on a stream; a datagram over IP is never larger."""
_READ_AWAY = 16
"""Chunks that are read away before a close, at most: a peer may never stop sending."""
LARGEST_MESSAGE = 1 << 18
"""Bytes of a unix message that are taken whole; the usual limit, net.core.wmem_max, is 212,992."""

_POLLRDHUP = getattr(select, "POLLRDHUP", 0)  # Linux: the peer will send no more


class Ready(NamedTuple):
    """What a wait ended with; all False when its time ran out."""

    readable: bool = False
    writable: bool = False
    source: bool = False
    """Whether the other descriptor that was waited for has something, its end included."""


class Connection:
    """A connected socket with its counters; the socket is closed with the ``with`` block.

    Args:
      sock: connected; it is made non-blocking.
      target: what the user asked for, as errors name it.

    Attributes:
      peer: the address that answered.
      bytes_in, bytes_out: payload so far.
      calls: send calls that took something.
      eof: whether the peer has ended its side.
      near: whether the peer is on this host.
    """

    def __init__(self, sock: socket.socket, target: Endpoint) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.target = target
        self.transport = target.transport
        self.local = self._name(sock.getsockname)
        self.peer = self._name(sock.getpeername) or target
        self.bytes_in = self.bytes_out = self.calls = 0
        self.eof = False
        self.half_closed = False
        self._listens_for_errors = False
        self.started = time.monotonic()
        same_host = self.local is not None and bool(self.local.host) and self.local.host == self.peer.host
        self.near = self.peer.is_loopback or same_host

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    @property
    def quiet(self) -> float:
        """Seconds of silence after which a reply on this connection counts as whole."""
        rtt = None if self.near else read_rtt(self.sock)
        return quiet_after(near=self.near, rtt=None if rtt is None else rtt / 1e6)

    def listen_for_errors(self) -> None:
        """Let UDP's calls fail by every ICMP error: without this a host out of reach is only silence (ip(7))."""
        if self.transport is Transport.UDP and not self._listens_for_errors:
            self._listens_for_errors = True
            listen_for_errors(self.sock)

    def send(self, data: bytes | memoryview) -> int:
        """Send what there is room for; return how many bytes that was, 0 where a wait is needed first.

        Raises:
          SendError: the peer has reset or closed the connection, or the message is too big for one.
          ConnectError: a datagram to here was refused or could not go out.
        """
        try:
            count = self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._failure(exc, "send") from None
        self.calls += 1
        self.bytes_out += count
        return count

    @property
    def can_splice(self) -> bool:
        """Whether `splice` works here: on Linux, on a stream whose calls nobody wants to see."""
        return hasattr(os, "splice") and self.transport.is_stream and type(self.sock) is socket.socket

    def splice(self, pipe: int, size: int) -> int | None:
        """Move what waits in a pipe to the socket without a copy through this process (splice(2)).

        Returns:
          bytes moved, ``size`` at most; 0 where a wait is needed first, be it for the pipe or for room; None at the
          pipe's end.

        Raises:
          SendError: the peer has reset or closed the connection.
        """
        try:
            count = os.splice(pipe, self.sock.fileno(), size, flags=os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            return 0
        except OSError as exc:
            raise self._failure(exc, "send") from None
        self.calls += 1
        self.bytes_out += count
        return count or None

    def receive(self, size: int = CHUNK, *, share: Callable[[bytes], int] | None = None) -> Received | None:
        """Receive one chunk or message; None where there is none now, and at EOF, which sets ``eof``.

        Args:
          size: bytes at most, on a stream.
          share: told what waits in a stream, it says how many bytes of it to take; the kernel keeps the rest.

        Raises:
          ReceiveError: the peer has reset the connection.
          ConnectError: a datagram that was sent from here was refused.
        """
        try:
            data, true_size = self._receive(size, share)
        except BlockingIOError:
            return None
        except OSError as exc:
            raise self._failure(exc, "receive") from None
        if not data and not true_size and self._is_eof():
            self.eof = True
            return None
        self.bytes_in += len(data)
        return Received(peer=self.peer, data=data, size=true_size)

    def wait(self, timeout: float, *, write: bool = False, source: int | None = None) -> Ready:
        """Wait until something came, and whatever else is asked for.

        Args:
          timeout: seconds at most; infinite where something else is sure to end it.
          write: also until there is room to send.
          source: also until this descriptor has something to read.
        """
        read = not self.eof
        if not hasattr(select, "poll"):
            return self._wait_by_select(timeout, read, write, source)
        poll = poller(self.sock)
        if read or write:
            poll.register(self.sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        if source is not None:
            poll.register(source, select.POLLIN)
        happened = dict(poll.poll(None if timeout == math.inf else max(timeout, 0) * 1000))
        events = happened.get(self.sock.fileno(), 0)
        # An error or a hang-up shows in whichever call comes next.
        return Ready(
            readable=read and bool(events & ~select.POLLOUT),
            writable=write and bool(events & ~select.POLLIN),
            source=source in happened,
        )

    def half_close(self) -> None:
        """End the sending side (shutdown(2)); on a datagram socket, which has no such end, nothing."""
        if self.transport.is_datagram or self.half_closed:
            return
        self.half_closed = True
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as exc:
            if exc.errno != errno.ENOTCONN:  # reset meanwhile: the next receive says so
                raise self._failure(exc, "send") from None

    def unacknowledged(self) -> int:
        """Return the bytes that the peer's kernel has not acknowledged; 0 where nobody knows."""
        return (unacknowledged(self.sock) or 0) if self.transport is Transport.TCP else 0

    def check(self) -> None:
        """Raise the error that the kernel holds for the next call, if it holds one: as `send` would."""
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise self._failure(OSError(code, os.strerror(code)), "send")

    def connected(self) -> Connected:
        """Return the record of the connection's beginning."""
        return Connected(peer=self.peer, local=self.local)

    def closed(self, reason: str, cause: NetlabError | None = None) -> Closed:
        """Return the record of its end."""
        return Closed(
            peer=self.peer,
            reason=reason,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            duration_us=(time.monotonic() - self.started) * 1e6,
            errno=cause.errno if cause else None,
            errno_name=cause.errno_name if cause else None,
            operation=cause.operation if cause else None,
        )

    def info(self, last_reply: float | None = None) -> ConnectionInfo:
        """Return what is known of the connection now; ``last_reply`` is in seconds."""
        tcp = read_tcp_info(self.sock) if self.transport is Transport.TCP else None
        return ConnectionInfo(
            local=self.local,
            peer=self.peer,
            state=tcp.state_name if tcp else None,
            fileno=self.sock.fileno(),
            bytes_out=self.bytes_out,
            bytes_in=self.bytes_in,
            unread=unread(self.sock),
            unacknowledged=unacknowledged(self.sock),
            rtt_us=tcp.fields.get("rtt") if tcp else None,
            reply_us=None if last_reply is None else last_reply * 1e6,
            nodelay=self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) if tcp else None,
            keepalive=self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        )

    def close(self) -> None:
        """Close the socket, in good order where the peer lets it.

        Bytes that wait unread would turn the FIN into a RST, which takes from the peer what it has not read yet (RFC
        1122 section 4.2.2.13); so they are read away first.
        """
        if self.sock.fileno() >= 0 and self.transport.has_connections:
            with suppress(*BROKEN):  # reset: there is no order left to keep
                self.half_close()
                for _ in range(_READ_AWAY):
                    if self.receive() is None:
                        break
        self.sock.close()

    def _wait_by_select(self, timeout: float, read: bool, write: bool, source: int | None) -> Ready:
        """Wait on Windows, whose select takes sockets alone: any other descriptor counts as ready, and then blocks."""
        reading, writing = [self.sock] * read, [self.sock] * write
        seconds = 0.0 if source is not None else None if timeout == math.inf else max(timeout, 0)
        readable, writable, failed = select.select(reading, writing, writing, seconds)
        return Ready(bool(readable), bool(writable or failed), source is not None)

    def _receive(self, size: int, share: Callable[[bytes], int] | None) -> tuple[bytes, int | None]:
        """Return the bytes, and a message's true size where it was cut."""
        if self.transport.is_stream:
            if share:
                size = share(self.sock.recv(size, socket.MSG_PEEK)) or size
            return self.sock.recv(size), None
        if self.transport is Transport.UDP or sys.platform != "linux":
            return self.sock.recv(CHUNK), None
        buffer = bytearray(LARGEST_MESSAGE)
        true_size = self.sock.recv_into(buffer, 0, socket.MSG_TRUNC)
        return bytes(buffer[:true_size]), true_size if true_size > LARGEST_MESSAGE else None

    def _is_eof(self) -> bool:
        """Tell EOF from an empty message, which recv returns just the same."""
        if self.transport.is_datagram:
            return False
        if self.transport.is_stream:
            return True
        poll = select.poll()
        poll.register(self.sock, _POLLRDHUP)  # POLLHUP is always reported
        return bool(poll.poll(0))

    def _failure(self, exc: OSError, operation: str) -> NetlabError:
        error = call_failure(exc, operation, self.target)
        if self.transport is Transport.UDP:
            queued: list[IcmpError] = []
            with suppress(LocalError):  # closed meanwhile
                queued = drain_errors(self.sock)
            for icmp in queued:
                if icmp.version and icmp.errno == exc.errno:
                    self._name_sender(error, icmp)
                    break
        return error

    def _name_sender(self, error: NetlabError, icmp: IcmpError) -> None:
        """Let an error say which ICMP message it was, and what that means."""
        told = explain_rejected(
            icmp.errno,
            self.peer,
            family=4 if icmp.version == 4 else 6,
            kind=icmp.type,
            code=icmp.code,
            sender=icmp.sender,
            local=self.local.host if self.local else "",
        )
        error.facts = (icmp_text(icmp),)
        error.means, error.likely, error.next_steps = told.means, told.likely, told.next_steps

    def _name(self, ask: Callable[[], object]) -> Endpoint | None:
        try:
            return from_sockaddr(self.transport, ask())
        except OSError:  # reset already
            return None


def call_failure(exc: OSError, operation: str, target: Endpoint) -> NetlabError:
    """Return what a failed ``send`` or ``receive`` on a connected socket means."""
    kind: type[NetlabError] = SendError if operation == "send" else ReceiveError
    if exc.errno == errno.ETIMEDOUT:
        kind = TimedOut
    elif target.transport.is_datagram and exc.errno != errno.ECONNRESET:
        # Without a handshake the first answer of all may be that nobody is there.
        verdict = verdict_of_connect(exc.errno or 0, target.transport)
        kind = ConnectError if verdict in ("refused", "closed", "unreachable", "denied", "missing") else kind
    return kind.from_os(exc, operation, target)
