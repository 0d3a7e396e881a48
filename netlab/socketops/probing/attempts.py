"""One attempt at each address of a target, and what each of them met, as a `Probe` with its socket still open.

TCP and unix connect, all addresses at the same moment; UDP and ICMP ask.  Nothing here is an error: that nothing
listens, that nobody answers, and that this host would not try, are all answers.
"""

from __future__ import annotations

import contextlib
import errno
import math
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from netlab.endpoint import Endpoint, Transport
from netlab.errors import LocalError, NetlabError
from netlab.records import Option, Probe, Reply
from netlab.socketops.connecting import (
    Attempt,
    SocketClass,
    open_client_socket,
    start_connect,
    wait_connected,
)
from netlab.socketops.errqueue import listen_for_errors, read_error, stop_listening
from netlab.socketops.probing import evidence
from netlab.socketops.probing.asking import TRIES, Question, ask
from netlab.socketops.probing.icmp import ECHO_SIZE, echo_question, open_echo_socket
from netlab.socketops.probing.payloads import Payload, payload_for
from netlab.socketops.probing.udp import udp_question
from netlab.socketops.resolving import Family
from netlab.socketops.sockopts import Setting, read_settings
from netlab.socketops.tcpinfo import read_syn_retransmits
from netlab.values import format_bytes

__all__ = ["Goal", "Method", "Tried", "finish", "try_all"]

_PATIENCE = 5.0
"""Seconds for a handshake: SYN goes out five times in it (tcp(7), tcp_syn_linear_timeouts)."""
_SILENCE = 2.0
"""Seconds for an answer where silence is the normal case (UDP, ICMP)."""
_SYN_SAMPLING = 0.02
"""Seconds between two looks at a pending socket's count of SYNs; times of them are shown to 0.1 s."""
_BUSY_PAUSE = 0.05
"""Seconds until a full unix backlog is tried again; nothing tells when there is room (unix(7))."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How to probe.

    Attributes:
      timeout: seconds for one attempt, 0 for as long as the kernel tries; None for what the transport is worth.
      deadline: instant of time.monotonic() at which every attempt ends.
      family: 4 or 6 to keep to one family.
      source: local address to bind.
      settings: socket options, set before bind and connect.
      payload: what a UDP datagram holds; None lets the port decide.
      header_included: build the IPv4 header of an echo request ourselves (raw(7), IP_HDRINCL).
      tries: datagrams or echo requests before silence is believed.
      socket_class: what is instantiated.
    """

    timeout: float | None = None
    deadline: float = math.inf
    family: Family = None
    source: Endpoint | None = None
    settings: Sequence[Setting] = ()
    payload: Payload | None = None
    header_included: bool = False
    tries: int = TRIES
    socket_class: SocketClass = socket.socket

    def limit(self, transport: Transport) -> float:
        """Return the seconds that an attempt has from now; math.inf for no limit."""
        asks = transport in (Transport.UDP, Transport.ICMP)
        timeout = (_SILENCE if asks else _PATIENCE) if self.timeout is None else self.timeout or math.inf
        return max(min(timeout, self.deadline - time.monotonic()), 0.0)


@dataclass(slots=True)
class Tried:
    """One address, and what it met.

    ``sock`` is None where nothing could be tried, for the reason in ``refusal``.  ``taken`` are the settings as the
    kernel took them, ``sent`` is the last datagram.
    """

    probe: Probe
    sock: socket.socket | None = None
    refusal: NetlabError | None = None
    taken: Sequence[Option] = ()
    reply: Reply | None = None
    sent: bytes = b""


Goal = tuple[Endpoint, Endpoint]
"""What was asked for, and the numeric address to try for it."""


def try_all(goals: Sequence[Goal], method: Method, sockets: contextlib.ExitStack, *, number: int = 1) -> list[Tried]:
    """Try every goal once, all at the same moment.

    Args:
      goals: all of one transport.
      method: how.
      sockets: closes the sockets, which stay open until then, so that they can be looked at.
      number: of this attempt in a run; an echo request bears it as its sequence number.

    Returns:
      one Tried a goal, in their order.
    """
    if goals[0][0].transport in (Transport.UDP, Transport.ICMP):
        return _ask_all(goals, method, sockets, number)
    return _connect_all(goals, method, sockets)


def _connect_all(goals: Sequence[Goal], method: Method, sockets: contextlib.ExitStack) -> list[Tried]:
    # Opened before the first SYN leaves: what one costs must not count as the other's handshake.
    opened, tried = _open_all(goals, method, sockets)
    under_way = [_Connecting(goal, start_connect(sock, goal[1])) for goal, sock in opened.items()]
    tried |= _finish_all(under_way, method)
    return [tried[goal] for goal in goals]


def finish(goal: Goal, attempt: Attempt, method: Method) -> Tried:
    """Wait for one connection attempt that was started, and say what it met."""
    return _finish_all([_Connecting(goal, attempt)], method)[goal]


def _finish_all(under_way: Sequence[_Connecting], method: Method) -> dict[Goal, Tried]:
    if not under_way:
        return {}
    transport = under_way[0].attempt.endpoint.transport
    timeout = method.limit(transport)
    if transport.is_unix:
        for connecting in under_way:
            _wait_unix(connecting, timeout)
    else:
        _wait_tcp(under_way, timeout)
    return {connecting.goal: _connected(connecting, method, timeout) for connecting in under_way}


def _ask_all(goals: Sequence[Goal], method: Method, sockets: contextlib.ExitStack, number: int) -> list[Tried]:
    opened, tried = _open_all(goals, method, sockets)
    timeout = method.limit(goals[0][0].transport)
    questions: dict[Goal, Question] = {}
    for goal, sock in opened.items():
        address = goal[1]
        attempt = start_connect(sock, address)
        if attempt.errno:
            tried[goal] = _connected(_Connecting(goal, attempt), method, timeout)
        elif address.transport is Transport.UDP:
            questions[goal] = udp_question(address, sock, _payload(address, method).data)
        else:
            questions[goal] = echo_question(address, sock, first=number)
    ask(list(questions.values()), timeout=timeout, tries=method.tries)
    tried |= {goal: _asked(goal[0], question, method, timeout, number) for goal, question in questions.items()}
    return [tried[goal] for goal in goals]


def _open_all(
    goals: Sequence[Goal], method: Method, sockets: contextlib.ExitStack
) -> tuple[dict[Goal, socket.socket], dict[Goal, Tried]]:
    """Return the sockets that could be opened, and for the other goals why not."""
    opened, tried = {}, {}
    for goal in goals:
        try:
            sock = _open(goal[1], method)
        except LocalError as exc:
            tried[goal] = Tried(evidence.met_here(*goal, exc), refusal=exc)
            continue
        sockets.callback(sock.close)
        listen_for_errors(sock)
        opened[goal] = sock
    return opened, tried


@dataclass(slots=True)
class _Connecting:
    """A connection attempt under way."""

    goal: Goal
    attempt: Attempt
    tries: int = 1
    resent: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Note when SYN was sent again: the socket counts it while it is pending (tcp(7), TCP_INFO)."""
        count = read_syn_retransmits(self.attempt.sock)
        self.resent += [time.perf_counter() - self.attempt.started] * (count - len(self.resent))


def _wait_tcp(under_way: Sequence[_Connecting], timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while pending := [connecting for connecting in under_way if connecting.attempt.errno is None]:
        left = deadline - time.monotonic()
        wait_connected((connecting.attempt for connecting in pending), min(left, _SYN_SAMPLING))
        for connecting in pending:
            if connecting.attempt.errno is None:
                connecting.look()
        if left <= 0:
            return


def _wait_unix(connecting: _Connecting, timeout: float) -> None:
    """Try again while the backlog, or the queue of a datagram socket, is full: connect() says so at once (unix(7))."""
    attempt = connecting.attempt
    deadline = time.monotonic() + timeout
    while _is_busy(attempt) and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(_BUSY_PAUSE, left))
        again = start_connect(attempt.sock, attempt.endpoint)
        attempt.errno, attempt.ended = again.errno, again.ended
        connecting.tries += 1


def _is_busy(attempt: Attempt) -> bool:
    """Tell whether a unix socket lives but has no room, and let the attempt say so."""
    if attempt.errno == 0 and attempt.endpoint.transport is Transport.UNIX_DGRAM:
        # connect() asks a datagram socket for nothing but its name; poll knows about the peer's queue.
        with selectors.DefaultSelector() as selector:
            selector.register(attempt.sock, selectors.EVENT_WRITE)
            if not selector.select(0):
                attempt.errno = errno.EAGAIN
    return attempt.errno == errno.EAGAIN


def _connected(connecting: _Connecting, method: Method, timeout: float) -> Tried:
    sock = connecting.attempt.sock
    probe = evidence.met_by_connecting(
        connecting.goal[0],
        connecting.attempt,
        tries=connecting.tries,
        resent=connecting.resent,
        icmp=read_error(sock),
        timeout=timeout,
    )
    # Who looks at the options is to see what any program's socket has.
    stop_listening(sock)
    return Tried(probe, sock, taken=read_settings(sock, method.settings))


def _asked(target: Endpoint, question: Question, method: Method, timeout: float, number: int) -> Tried:
    endpoint, answer = question.endpoint, question.answer
    is_udp = endpoint.transport is Transport.UDP
    shown = str(_payload(endpoint, method)) if is_udp else f"{format_bytes(ECHO_SIZE)} (ICMP echo request)"
    probe = evidence.met_by_asking(target, question, shown=shown, timeout=timeout)
    stop_listening(question.sock)
    reply = None
    if answer:
        reply = Reply(
            endpoint=endpoint,
            sequence=number + (answer.number or len(question.sent_at)) - 1,
            bytes_in=len(answer.data),
            rtt_us=question.rtt * 1e6,
            ttl=answer.ttl,
            data=answer.data if is_udp else None,
        )
    taken = read_settings(question.sock, method.settings)
    return Tried(probe, question.sock, taken=taken, reply=reply, sent=question.sent)


def _open(address: Endpoint, method: Method) -> socket.socket:
    if address.transport is not Transport.ICMP:
        return open_client_socket(
            address, source=method.source, settings=method.settings, socket_class=method.socket_class
        )
    return open_echo_socket(
        address,
        header_included=method.header_included,
        source=method.source,
        settings=method.settings,
        socket_class=method.socket_class,
    )


def _payload(address: Endpoint, method: Method) -> Payload:
    return payload_for(address.port) if method.payload is None else method.payload
