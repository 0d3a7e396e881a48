"""serve-udp where things go wrong on purpose: replies that come late, again, in another order, or from elsewhere.

A server that misbehaves still has to be of no use to whoever forges an address.  No reply is larger than it would be
without faults, and one that is sent twice goes to a peer beyond loopback twice only if both together are no more than
what came: servers that answer each other with more than they got would soon do nothing else.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import selectors
import socket
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

from netlab.endpoint import Endpoint
from netlab.records import Emit, FaultReport, Record
from netlab.socketops.faultlab.faults import Faults
from netlab.socketops.opening import Bound, bind
from netlab.socketops.serving.actions import Pause, SendElsewhere, Strike
from netlab.socketops.serving.datagramserver import SMALLEST_LIMIT, DatagramServer
from netlab.socketops.serving.hopmark import mark_replies
from netlab.socketops.serving.pktinfo import Control
from netlab.socketops.serving.port import Port
from netlab.socketops.serving.replies import Action, Close, Reply
from netlab.socketops.serving.timers import Timers
from netlab.socketops.stop import Stop

__all__ = ["faulty_server"]

_MOST_LATE = 16 * 1024 * 1024
"""Bytes of replies that wait for their time; arbitrary.  With more, nothing is read: then the kernel's queue fills, and
what the kernel drops is counted and told."""

_OVERHEAD = 1024
"""Bytes that each of these costs beside what came, about."""


@contextlib.contextmanager
def faulty_server(
    sockets: Sequence[Bound],
    reply: Reply,
    stop: Stop,
    emit: Emit,
    watch: Container[type[Record]],
    *,
    once: bool,
    faults: Faults,
) -> Iterator[DatagramServer]:
    """Make a server, and until the block ends the sockets that answer from another port.

    Raises:
      LocalError: there are no such sockets to be had.
    """
    with contextlib.ExitStack() as stack:
        others: dict[socket.socket, Port] = {}
        if any(fault.name == "wrong-port" for fault in faults.faults):
            for bound in sockets:
                others[bound.sock] = stack.enter_context(_bind_beside(bound))
        yield _FaultyServer(sockets, reply, stop, emit, watch, once=once, faults=faults, others=others)


@contextlib.contextmanager
def _bind_beside(bound: Bound) -> Iterator[Port]:
    """Bind a socket to the same address with another port."""
    elsewhere = dataclasses.replace(bound.endpoint, port=0)
    [other] = bind(elsewhere, socket_class=type(bound.sock))  # an address is no name: it has one
    with other:
        mark_replies(other.sock)
        yield Port(other, blocks=False)


@dataclasses.dataclass(slots=True, eq=False)
class _Answering:
    """A datagram, and what is still to be done about it.

    Attributes:
      came: its size; no reply is larger, but for the first few bytes.
      why: why it is not answered, if so.
      went: bytes that were sent to its sender so far.
      replies: how many datagrams these were.
      control: what says from which address.
      struck: whether a fault has had to do with it.
      failed: whether a reply could not be sent.
    """

    port: Port
    address: Any
    peer: Endpoint | None
    came: int
    why: str | None
    actions: Iterator[Action]
    control: Control | None = None
    went: int = 0
    replies: int = 0
    struck: bool = False
    failed: bool = False

    @property
    def is_answered(self) -> bool:
        """Whether all was done that a server without faults would have done."""
        return self.why is None and not self.failed and (self.replies > 0 or not self.struck)


class _FaultyServer(DatagramServer):
    """A server whose replies run into faults; those that are late are timers, so nobody else has to wait."""

    def __init__(
        self,
        sockets: Sequence[Bound],
        reply: Reply,
        stop: Stop,
        emit: Emit,
        watch: Container[type[Record]],
        *,
        once: bool,
        faults: Faults,
        others: Mapping[socket.socket, Port],
    ) -> None:
        super().__init__(sockets, faults.for_datagrams(reply), stop, emit, watch, once=once, may_block=False)
        self._struck = emit if FaultReport in watch else None
        self._others = others
        self._timers = Timers()
        self._late = 0

    def run(self) -> None:
        """Serve until the stop is set; then what is late is sent at once."""
        super().run()
        self._timers.run(math.inf)

    def _waiting(self, selector: selectors.BaseSelector) -> Callable[[], list[tuple[selectors.SelectorKey, int]]]:
        def wait() -> list[tuple[selectors.SelectorKey, int]]:
            self._timers.run(time.monotonic())
            left = max(self._timers.next - time.monotonic(), 0.0) if self._timers else None
            if self._late < _MOST_LATE:
                return selector.select(left)
            self._stop.wait(left)
            return []

        return wait

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
        """Begin with it."""
        self._go_on(_Answering(port, address, peer, came, why, iter(actions), control))

    def _go_on(self, asked: _Answering) -> None:
        """Do what is to be done about a datagram, up to the next pause."""
        for action in asked.actions:
            if isinstance(action, Close):
                self._stop.set("exit word")
            elif asked.why is not None:
                continue
            elif isinstance(action, bytes | memoryview):
                self._send_reply(asked, asked.port, action)
            elif isinstance(action, SendElsewhere):
                self._send_reply(asked, self._others[asked.port.sock], action.data)
            elif isinstance(action, Strike):
                asked.struck = True
                if self._struck is not None:
                    self._struck(FaultReport(peer=asked.peer, fault=action.fault, effect=action.effect))
            elif isinstance(action, Pause) and not self._stop.is_set():
                self._put_off(asked, action.seconds)
                return
        if self._once and asked.is_answered:
            self._stop.set("--once")

    def _put_off(self, asked: _Answering, seconds: float) -> None:
        size = asked.came + _OVERHEAD

        def go_on() -> None:
            self._late -= size
            self._go_on(asked)

        self._late += size
        self._timers.add(time.monotonic() + seconds, go_on)

    def _send_reply(self, asked: _Answering, port: Port, data: bytes | memoryview) -> None:
        """Send a datagram, as far as its sender may be told that much."""
        limit = max(asked.came, SMALLEST_LIMIT)
        if len(data) > limit:
            self._warn_of_cut()
            data = data[:limit]
        if asked.replies and asked.went + len(data) > asked.came and not _is_near(asked.peer):
            self._warn("twice", "beyond loopback a reply is sent twice only if that is no more than what came")
            return
        if self._send(port, data, asked.address, asked.peer, asked.control):
            asked.went += len(data)
            asked.replies += 1
        else:
            asked.failed = True


def _is_near(peer: Endpoint | None) -> bool:
    return peer is not None and peer.is_loopback
