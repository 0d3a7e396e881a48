"""The loop of serve-udp over its sockets: what is answered, and what never is.

A UDP source address can be forged, so a server must be no use to whoever forges it: no reply is larger than what came
in, or 64 bytes, and nothing that another server may have sent is answered.
"""

from __future__ import annotations

import errno
import functools
import math
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, Any

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from netlab.errors import LocalError, errno_name
from netlab.records import Emit, Received, Record, Sent, Summary, WarningReport
from netlab.socketops.errqueue import drain_errors
from netlab.socketops.opening import Bound
from netlab.socketops.queues import dropped
from netlab.socketops.serving.entrance import PAUSE, shut_down
from netlab.socketops.serving.hopmark import mark_replies
from netlab.socketops.serving.pktinfo import CONTROL_ROOM, Control, control_back
from netlab.socketops.serving.port import Port
from netlab.socketops.serving.replies import Action, Close, Discard, Echo, Reply, Silence
from netlab.socketops.stop import Stop

if TYPE_CHECKING:
    from netlab.socketops.serving.batches import Batch

__all__ = ["SMALLEST_LIMIT", "DatagramServer"]

SMALLEST_LIMIT = 64
"""Bytes that may always be answered, so that an acknowledgement fits."""

LARGEST = 256 * 1024
"""Bytes of the receive buffer: more than any UDP datagram, or any unix one with the default SO_SNDBUF of Linux."""

_BATCH = 256
"""Datagrams between two looks at the stop, and from one socket before the next has its turn; arbitrary."""

_BATCHES = 16
"""The same in batches, of which each has up to 32."""

_NEWS = 10.0
"""Seconds without a failure of a kind after which the next one is worth another warning."""

_ON_LINUX = sys.platform == "linux"
"""Elsewhere shutdown wakes nobody, and MSG_TRUNC does not tell the size of what is dropped."""

_WHY_CUT = "whoever forges an address could else make a flood of little"

_FATAL = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EFAULT, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTCONN})


class DatagramServer:
    """The loop over the sockets, and its totals.

    Args:
      may_block: whether a socket may be waited for by a call that blocks, where there is only one.
      others: those of `serve_datagrams`.
    """

    def __init__(
        self,
        sockets: Sequence[Bound],
        reply: Reply,
        stop: Stop,
        emit: Emit,
        watch: Container[type[Record]],
        *,
        once: bool,
        may_block: bool = True,
    ) -> None:
        # One socket of our own may block in recvfrom, for a stop can shut it down, on Linux; others are waited for.
        self._blocks = may_block and len(sockets) == 1 and not sockets[0].adopted and _ON_LINUX
        self._ports = [Port(bound, blocks=self._blocks) for bound in sockets]
        for bound in sockets:
            if not bound.adopted:
                mark_replies(bound.sock)
        # What comes from a server's own port is its own reply, or that of one like it.
        self._own_numbers = frozenset(bound.endpoint.port for bound in sockets if not bound.endpoint.transport.is_unix)
        self._reply = reply
        self._stop = stop
        self._emit = emit
        self._received = emit if Received in watch else None
        self._sent = emit if Sent in watch else None
        self._once = once
        self._unwatched = self._received is None and self._sent is None and not once
        self._view = memoryview(bytearray(LARGEST))
        self._last_warnings: dict[str, float] = {}
        self._started = time.perf_counter()
        self._came = self._went = self._bytes_in = self._bytes_out = self._dropped = 0

    def run(self) -> None:
        """Serve until the stop is set."""
        work = {port.sock.fileno(): (self._choose(port), port) for port in self._ports}
        with selectors.DefaultSelector() as selector:
            selector.register(self._stop, selectors.EVENT_READ)
            for port in self._ports:
                selector.register(port.sock, selectors.EVENT_READ)
            ready, wait = list(work), self._waiting(selector)
            while not self._stop.is_set():
                for fileno in ready:
                    serve, port = work[fileno]
                    serve(port)
                if not self._blocks:
                    ready = [key.fd for key, _ in wait() if key.fd in work]

    def _waiting(self, selector: selectors.BaseSelector) -> Callable[[], list[tuple[selectors.SelectorKey, int]]]:
        """Return what waits for datagrams and the stop."""
        return selector.select

    def wake(self) -> None:
        """Wake a thread that blocks in recvfrom."""
        if self._blocks:
            shut_down(self._ports[0].sock, socket.SHUT_RD)

    def tell_drops(self) -> None:
        """Say how many datagrams the kernel has dropped since this was asked last."""
        before = self._dropped
        for port in self._ports:
            now = dropped(port.sock) or 0
            self._dropped += now - port.drops
            port.drops = now
        if self._dropped > before:
            lost = self._dropped - before
            self._emit(
                WarningReport(
                    message=f"{lost:,} datagram{'s' * (lost != 1)} dropped by the kernel: the receive queue was full, "
                    "or it was another netlab server's reply; a larger queue: --set SO_RCVBUF=4M"
                )
            )

    def summary(self) -> Summary:
        return Summary(
            ended_by=self._stop.reason,
            duration_us=(time.perf_counter() - self._started) * 1e6,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            datagrams_in=self._came,
            datagrams_out=self._went,
            dropped=self._dropped,
        )

    def _choose(self, port: Port) -> Callable[[Port], None]:
        # A traced socket is a subclass, whose calls are all to be seen.
        if self._unwatched and type(port.sock) is socket.socket and port.transport is Transport.UDP:
            if type(self._reply) is Echo:
                batch = _batch_for(port)
                if batch is not None:
                    return functools.partial(self._echo, batch=batch)
            elif type(self._reply) is Discard and _ON_LINUX:
                return self._discard
        return self._answer_from_there if port.has_control else self._answer

    def _echo(self, port: Port, batch: Batch) -> None:
        """Send datagrams back as they came, many at a time."""
        own_numbers = frozenset(map(socket.htons, self._own_numbers))
        for _ in range(_BATCHES):
            try:
                number = batch.receive()
            except OSError as exc:
                self._survive(exc, port)
                return
            if not number:  # woken by shutdown
                return
            sizes, numbers = batch.sizes(number), batch.ports(number)
            self._count(number, 0, sum(sizes), 0)
            start = 0
            if not own_numbers.isdisjoint(numbers):
                for at, source in enumerate(numbers):
                    if source in own_numbers:
                        self._send_back(port, batch, sizes, start, at)
                        start = at + 1
            self._send_back(port, batch, sizes, start, number)

    def _send_back(self, port: Port, batch: Batch, sizes: Sequence[int], start: int, end: int) -> None:
        while start < end:
            sent = 1
            try:
                sent = batch.send(start, end)
                answered = True
            except OSError as exc:
                answered = self._send_again(exc, port, *batch.datagram(start))
            if answered:
                self._count(0, sent, 0, sum(sizes[start : start + sent]))
            start += sent

    def _discard(self, port: Port) -> None:
        """Take datagrams off the queue without copying them: MSG_TRUNC gives the size of each, whatever the room."""
        recv_into, flags, nowhere = port.sock.recv_into, port.receive_flags, bytearray(1)
        came = bytes_in = 0
        try:
            for _ in range(_BATCH):
                try:
                    size = recv_into(nowhere, 0, flags)
                except OSError as exc:
                    self._survive(exc, port)
                    return
                if not size and self._stop.is_set():
                    return
                came += 1
                bytes_in += size
        finally:
            self._count(came, 0, bytes_in, 0)

    def _answer(self, port: Port) -> None:
        """Give any reply to what comes."""
        for _ in range(_BATCH):
            if self._stop.is_set():
                return
            try:
                size, address = port.sock.recvfrom_into(self._view, 0, port.receive_flags)
            except OSError as exc:
                self._survive(exc, port)
                return
            if not size and self._stop.is_set():
                return
            self._take(port, size, address)

    def _answer_from_there(self, port: Port) -> None:
        """Do the same where answers have to come from the address that each datagram was sent to."""
        for _ in range(_BATCH):
            if self._stop.is_set():
                return
            try:
                size, control, _, address = port.sock.recvmsg_into([self._view], CONTROL_ROOM, port.receive_flags)
            except OSError as exc:
                self._survive(exc, port)
                return
            if not size and self._stop.is_set():
                return
            self._take(port, size, address, control_back(control))

    def _take(self, port: Port, size: int, address: Any, control: Control | None = None) -> None:
        """Show one datagram, and do what the reply says about it."""
        chunk = self._view[:size]
        peer = from_sockaddr(port.transport, address)
        self._count(1, 0, len(chunk), 0)
        actions = tuple(self._reply.answer(chunk))
        why = self._why_silent(port, peer, actions)
        if self._received is not None:
            whole = size if size > len(chunk) else None
            self._received(Received(peer=peer, data=bytes(chunk), size=whole, unanswered=why))
        self._carry_out(port, address, peer, len(chunk), why, actions, control)

    def _carry_out(
        self,
        port: Port,
        address: Any,
        peer: Endpoint | None,
        came: int,
        why: str | None,
        actions: Sequence[Action],
        control: Control | None,
    ) -> None:
        """Do what the reply says about a datagram of so many bytes; ``why`` it gets none, if so."""
        answered = why is None
        for action in actions:
            if isinstance(action, Close):  # there is no conversation to end, only the server
                self._stop.set("exit word")
            elif isinstance(action, bytes | memoryview) and why is None:
                limit = max(came, SMALLEST_LIMIT)
                if len(action) > limit:
                    self._warn_of_cut()
                answered = self._send(port, action[:limit], address, peer, control) and answered
        if self._once and answered:
            self._stop.set("--once")

    def _why_silent(self, port: Port, peer: Endpoint | None, actions: Sequence[Action]) -> str | None:
        """Say why a datagram gets no reply where one is due, if so."""
        for action in actions:
            if isinstance(action, Silence):
                return action.why
            if isinstance(action, Close):
                continue
            if peer is None:
                return "its sender has no name to reply to"
            if not port.transport.is_unix and peer.port in self._own_numbers:
                return f"it comes from port {peer.port} as our own replies do"
        return None

    def _send(
        self, port: Port, data: bytes | memoryview, address: Any, peer: Endpoint | None, control: Control | None
    ) -> bool:
        """Send one datagram; return whether that was possible."""
        try:
            port.send(data, address, control)
        except OSError as exc:
            if not self._send_again(exc, port, data, address, control):
                return False
        self._count(0, 1, 0, len(data))
        if self._sent is not None:
            self._sent(Sent(peer=peer, data=bytes(data)))
        return True

    def _send_again(
        self, exc: OSError, port: Port, data: bytes | memoryview, address: Any, control: Control | None
    ) -> bool:
        """Send what failed because of another datagram's error; return whether it went out.

        With IP_RECVERR set, an ICMP message about one peer fails the next call, whatever that is for (ip(7)).
        """
        # A datagram that is too large leaves an error of its own there each time.
        while exc.errno != errno.EMSGSIZE and not self._stop.is_set() and drain_errors(port.sock):
            try:
                port.send(data, address, control)
            except OSError as again:
                exc = again
            else:
                return True
        peer = from_sockaddr(port.transport, address)
        self._warn("reply", f"reply to {peer}: {_cause(exc)}")
        return False

    def _survive(self, exc: OSError, port: Port) -> None:
        """Live through an error of recv, or raise it."""
        if isinstance(exc, BlockingIOError | InterruptedError) or self._stop.is_set():
            return
        if exc.errno in _FATAL:
            raise LocalError.from_os(exc, "receive", port.where) from None
        if not drain_errors(port.sock):
            self._warn("receive", f"receive {port.where}: {_cause(exc)}")
            self._stop.wait(PAUSE)

    def _warn_of_cut(self) -> None:
        self._warn("cut", f"replies are cut to {SMALLEST_LIMIT} bytes, or to as much as came: {_WHY_CUT}")

    def _warn(self, kind: str, message: str) -> None:
        """Warn, unless the last of its kind was just now: one kind must not hide another."""
        now = time.monotonic()
        if now - self._last_warnings.get(kind, -math.inf) >= _NEWS:
            self._emit(WarningReport(message=message))
        self._last_warnings[kind] = now

    def _count(self, came: int, went: int, bytes_in: int, bytes_out: int) -> None:
        self._came += came
        self._went += went
        self._bytes_in += bytes_in
        self._bytes_out += bytes_out


def _batch_for(port: Port) -> Batch | None:
    try:
        from netlab.socketops.serving.batches import batch_for  # ctypes takes its time to load
    except ImportError:  # and some builds of Python have none
        return None
    return batch_for(port.sock, port.receive_flags, has_control=port.has_control)


def _cause(exc: OSError) -> str:
    code = exc.errno or 0
    return f"{os.strerror(code).lower()} ({errno_name(code)})"
