"""Asking where there is no handshake: send, wait for an answer or an ICMP error, send again, and give up in time.

UDP and ICMP echo differ in what is sent and in what counts as an answer; both are functions of a `Question`.
"""

from __future__ import annotations

import errno
import math
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from netlab.endpoint import Endpoint
from netlab.socketops.errqueue import IcmpError, read_error

__all__ = ["TRIES", "Ancillary", "Answer", "Question", "ask"]

TRIES = 3
"""Datagrams before silence is believed; arbitrary, as nmap's and traceroute's."""

_LONGEST_GAP = 1.0
"""Seconds between two datagrams: TCP's first retransmission of SYN (RFC 6298 section 2)."""

_LARGEST = 65535
# Nothing is wrong with the target: this host's own queue is full for a moment (udp(7), ENOBUFS of send(2)).
_TRY_LATER = frozenset({errno.EAGAIN, errno.ENOBUFS})

Ancillary = list[tuple[int, int, bytes]]


class Answer(NamedTuple):
    """What came back; ``ttl`` where the kernel told it, ``number`` of the datagram that it answers where it tells."""

    data: bytes
    ttl: int | None = None
    number: int | None = None


@dataclass(slots=True)
class Question:
    """One question to one address over a connected, non-blocking socket, which stays its owner's to close.

    Attributes:
      make: gives the n-th datagram, from 1.
      read: says what a datagram that came is: an answer, or None for somebody else's.
      owns: tells from the datagram that an ICMP error quotes whether it was ours.
      sent_at: time.perf_counter() just before each send.
      sent: the last datagram.
      answer: what came, at ``ended``.
      error: what the kernel said instead, an errno; with ``icmp`` where a message from the network said so.
    """

    endpoint: Endpoint
    sock: socket.socket
    make: Callable[[int], bytes]
    read: Callable[[bytes, Ancillary], Answer | None]
    owns: Callable[[bytes], bool] = lambda quoted: True
    sent_at: list[float] = field(default_factory=list)
    sent: bytes = b""
    ended: float = 0.0
    answer: Answer | None = None
    error: int | None = None
    icmp: IcmpError | None = None

    @property
    def is_decided(self) -> bool:
        return self.answer is not None or self.error is not None

    @property
    def rtt(self) -> float:
        """Seconds from the datagram that was answered, else from the last one sent, to its answer."""
        if self.answer is not None and self.answer.number is not None:
            return self.ended - self.sent_at[self.answer.number - 1]
        return self.ended - max((sent for sent in self.sent_at if sent <= self.ended), default=self.ended)

    def send(self) -> None:
        """Send the next datagram."""
        # An error that waits would be this send's, and nothing would go out (observed with UDP).
        self._take_errors()
        if self.is_decided:
            return
        self.sent = self.make(len(self.sent_at) + 1)
        self.sent_at.append(time.perf_counter())
        try:
            self.sock.send(self.sent)
        except OSError as exc:
            self.ended = time.perf_counter()
            self._take_errors()
            if not self.is_decided and exc.errno not in _TRY_LATER:
                self.error = exc.errno

    def receive(self) -> None:
        """Take what has come: an error first, for its message tells more than the errno of recv."""
        self.ended = time.perf_counter()
        self._take_errors()
        while not self.is_decided:
            try:
                data, ancillary = _receive(self.sock)
            except OSError as exc:
                if exc.errno != errno.EAGAIN:
                    self.error = exc.errno
                return
            self.answer = self.read(data, ancillary)

    def _take_errors(self) -> None:
        while not self.is_decided and (found := read_error(self.sock)) is not None:
            if self.owns(found.data):
                self.error, self.icmp, self.ended = found.errno, found, time.perf_counter()


def ask(questions: Sequence[Question], *, timeout: float, tries: int = TRIES) -> None:
    """Send every question up to ``tries`` times until all are decided or the time has run out.

    Args:
      timeout: seconds from the first datagram; math.inf for no limit.
      tries: datagrams a question, a second apart, or closer where the timeout is short.
    """
    started = time.monotonic()
    gap = min(timeout / tries, _LONGEST_GAP)
    with selectors.DefaultSelector() as selector:
        for question in questions:
            selector.register(question.sock, selectors.EVENT_READ, question)
        rounds = 0
        while selector.get_map():
            elapsed = time.monotonic() - started
            if elapsed >= timeout:
                return
            if rounds < tries and elapsed >= rounds * gap:
                rounds += 1
                for key in list(selector.get_map().values()):
                    key.data.send()
                    if key.data.is_decided:
                        selector.unregister(key.fileobj)
                continue
            wake = rounds * gap if rounds < tries else timeout
            for key, _ in selector.select(None if wake == math.inf else wake - elapsed):
                key.data.receive()
                if key.data.is_decided:
                    selector.unregister(key.fileobj)


def _receive(sock: socket.socket) -> tuple[bytes, Ancillary]:
    if not hasattr(sock, "recvmsg"):  # Windows
        return sock.recv(_LARGEST), []
    data, ancillary, _, _ = sock.recvmsg(_LARGEST, 512)
    return data, ancillary
