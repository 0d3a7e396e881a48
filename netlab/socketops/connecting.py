"""Connecting: one attempt and its outcome as data, and the race over a name's addresses (RFC 8305).

All attempts are non-blocking with our own poll: Python's settimeout() would report a time-out of connect_ex as EAGAIN,
which no caller can tell from a full unix backlog or from ports that ran out.
"""

from __future__ import annotations

import dataclasses
import errno
import itertools
import math
import select
import socket
import time
from collections.abc import Iterable, Iterator, Sequence

from netlab.endpoint import Endpoint, SockAddr, Transport
from netlab.errors import ConnectError, LocalError, NetlabError, ResolveError, TimedOut, errno_name
from netlab.explain import explain_self_connect, explain_timeout, verdict_of_connect
from netlab.socketops.resolving import Family, family_of, resolve
from netlab.socketops.sockopts import Setting, apply_settings
from netlab.socketops.stop import poller
from netlab.values import format_setting

__all__ = [
    "ATTEMPT_DELAY",
    "PENDING",
    "Attempt",
    "SocketClass",
    "addresses_to_try",
    "bind_source",
    "connect",
    "connect_error",
    "is_self_connect",
    "open_client_socket",
    "reached_itself",
    "start_connect",
    "wait_connected",
]

SocketClass = type[socket.socket]
"""What an opener instantiates; tracing passes a subclass."""

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside one that has not answered: RFC 8305 section 8."""

RETRY_PAUSE = 0.1
"""Seconds between attempts of ``wait``; arbitrary, short for a script and long for a peer."""

_SOCKET_TYPES = {
    Transport.TCP: socket.SOCK_STREAM,
    Transport.UDP: socket.SOCK_DGRAM,
    Transport.UNIX: socket.SOCK_STREAM,
    Transport.UNIX_DGRAM: socket.SOCK_DGRAM,
    # Windows has no SOCK_SEQPACKET on unix sockets, but it has the constant.
    Transport.UNIX_SEQPACKET: socket.SOCK_SEQPACKET,
}

# connect(2): "in progress" for a non-blocking socket; Windows says EWOULDBLOCK instead.
PENDING = {errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)}


_WILDCARDS = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}


@dataclasses.dataclass(slots=True)
class Attempt:
    """One connection attempt: ``errno`` is None while it is pending, 0 when it stands.

    ``started`` and ``ended`` are time.perf_counter() seconds, read next to the calls.  ``at_once`` says that connect()
    itself gave the errno: on INET nothing was sent then.  The socket stays open, and is the owner's to close, whatever
    came of it.
    """

    endpoint: Endpoint
    sock: socket.socket
    errno: int | None
    started: float
    ended: float = 0.0
    at_once: bool = False

    @property
    def duration(self) -> float:
        return self.ended - self.started


def open_client_socket(
    endpoint: Endpoint,
    *,
    source: Endpoint | None = None,
    settings: Sequence[Setting] = (),
    socket_class: SocketClass = socket.socket,
) -> socket.socket:
    """Open a non-blocking socket that fits a numeric or unix endpoint, set its options, and bind its source.

    A unix datagram socket is always bound (to an abstract name that the kernel picks, unix(7)): without a name it
    could get no reply.

    Raises:
      LocalError: the host has no such family, no descriptors, refuses an option, or the source is not its own.
    """
    family = family_of(endpoint)
    try:
        sock = socket_class(family, _SOCKET_TYPES[endpoint.transport])
    except OSError as exc:
        raise LocalError.from_os(exc, "socket", endpoint) from None
    try:
        sock.setblocking(False)
        apply_settings(sock, settings)
        if source is not None:
            if not endpoint.transport.is_unix:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(source.port != 0))
            bind_source(sock, source, endpoint)
        elif endpoint.transport is Transport.UNIX_DGRAM:
            _bind(sock, "", endpoint)
    except BaseException:
        sock.close()
        raise
    return sock


def bind_source(sock: socket.socket, source: Endpoint, target: Endpoint) -> None:
    """Bind a client's socket to a numeric host or a path; a host that stands for any is that of the socket's family.

    Raises:
      LocalError: the source is of another family than the target, or is not this host's to bind.
    """
    if sock.family != family_of(source):
        if not source.is_wildcard:
            raise LocalError("bind", source, f"it is of another family than {target}")
        source = dataclasses.replace(source, host=_WILDCARDS[sock.family])
    _bind(sock, source.to_sockaddr(), source)


def _bind(sock: socket.socket, sockaddr: SockAddr, where: Endpoint) -> None:
    try:
        sock.bind(sockaddr)
    except OSError as exc:
        raise LocalError.from_os(exc, "bind", where) from None


def start_connect(sock: socket.socket, endpoint: Endpoint) -> Attempt:
    """Call connect on a non-blocking socket and return the attempt, decided or pending."""
    sockaddr = endpoint.to_sockaddr()
    connect_ex, clock = sock.connect_ex, time.perf_counter
    clock()  # the first reading after other work is the slow one
    started = clock()
    code = connect_ex(sockaddr)
    ended = clock()
    if code not in PENDING:
        return Attempt(endpoint, sock, code, started, ended, at_once=True)
    # On loopback the handshake is over before connect() returns: then the time just read is the true one.
    is_over = _poll_writable([sock], 0)
    outcome = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if is_over else None
    return Attempt(endpoint, sock, outcome, started, ended)


def wait_connected(attempts: Iterable[Attempt], timeout: float) -> list[Attempt]:
    """Wait until a pending attempt is decided, and decide it.

    Args:
      attempts: pending ones (``errno`` is None).
      timeout: seconds to wait at most.

    Returns:
      those that were decided: ``errno`` 0, or what SO_ERROR holds (connect(2)); none when time ran out.
    """
    by_fileno = {attempt.sock.fileno(): attempt for attempt in attempts}
    decided = []
    for fileno in _poll_writable([attempt.sock for attempt in by_fileno.values()], timeout):
        attempt = by_fileno[fileno]
        attempt.ended = time.perf_counter()
        attempt.errno = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        decided.append(attempt)
    return decided


def _poll_writable(socks: Sequence[socket.socket], timeout: float) -> list[int]:
    filenos = [sock.fileno() for sock in socks]
    if not hasattr(select, "poll"):  # Windows reports a failed connect in the third list
        _, writable, failed = select.select([], filenos, filenos, None if timeout == math.inf else timeout)
        return list({*writable, *failed})
    poll = poller(socks[0])
    for fileno in filenos:
        poll.register(fileno, select.POLLOUT)
    # poll(2) counts whole milliseconds and Python rounds up, so this never returns early.
    return [fileno for fileno, _ in poll.poll(None if timeout == math.inf else max(timeout, 0) * 1000)]


def connect(
    endpoint: Endpoint,
    *,
    timeout: float,
    wait: float = 0.0,
    family: Family = None,
    source: Endpoint | None = None,
    settings: Sequence[Setting] = (),
    socket_class: SocketClass = socket.socket,
) -> socket.socket:
    """Connect to the first address of ``endpoint`` that answers.

    Addresses are tried in turn with alternating families, the next one beside the pending ones after `ATTEMPT_DELAY`
    or at once after a failure, so that a dead IPv6 costs a quarter of a second (RFC 8305).

    Args:
      endpoint: where to; a name is resolved first, within the same time.
      timeout: seconds for one round over all addresses; 0 leaves it to the kernel (about 130 s, tcp(7)).
      wait: seconds during which failed rounds are repeated; the last one decides.
      family: 4 or 6 to keep to one family.
      source: local numeric host and port, or path, to bind.
      settings: socket options, set before bind and connect.

    Returns:
      a connected, blocking socket without a time-out.

    Raises:
      ResolveError: no such name.
      ConnectError: refused, unreachable, denied, no such path.
      TimedOut: no answer in time, or a unix backlog that stayed full.
      LocalError: this host could not try.
    """
    give_up = time.monotonic() + wait
    while True:
        try:
            return _connect_round(endpoint, timeout, family, source, settings, socket_class)
        except (ConnectError, TimedOut, ResolveError):
            left = give_up - time.monotonic()
            if left <= 0:
                raise
        time.sleep(min(RETRY_PAUSE, left))


def _connect_round(
    endpoint: Endpoint,
    timeout: float,
    family: Family,
    source: Endpoint | None,
    settings: Sequence[Setting],
    socket_class: SocketClass,
) -> socket.socket:
    deadline = time.monotonic() + timeout if timeout else math.inf
    opened: list[socket.socket] = []
    refusals: list[LocalError] = []
    winner: Attempt | None = None

    def start_attempts() -> Iterator[Attempt]:
        for address in addresses_to_try(endpoint, family=family, source=source, timeout=timeout):
            try:
                sock = open_client_socket(address, source=source, settings=settings, socket_class=socket_class)
            except LocalError as exc:  # no IPv6 on this host, say: the other addresses may still do
                refusals.append(exc)
                continue
            opened.append(sock)
            yield start_connect(sock, address)

    try:
        while True:
            winner, lost = _race(start_attempts(), deadline)
            if not _backlog_is_full(lost) or time.monotonic() >= deadline:
                break
            time.sleep(RETRY_PAUSE)
        if winner is None:
            if refusals and not lost:
                raise refusals[0]
            raise connect_error(endpoint, lost, timeout)
        if is_self_connect(winner):
            told = explain_self_connect(winner.endpoint)
            raise ConnectError(
                "connect", endpoint, told.what, means=told.means, likely=told.likely, next_steps=told.next_steps
            )
        winner.sock.setblocking(True)
        opened.remove(winner.sock)
        return winner.sock
    finally:
        for sock in opened:
            sock.close()


def addresses_to_try(endpoint: Endpoint, *, family: Family, source: Endpoint | None, timeout: float) -> list[Endpoint]:
    """Resolve ``endpoint`` and order its addresses for the race: families alternate (RFC 8305 section 4).

    A source address leaves only the destinations of its own family.
    """
    found = resolve(endpoint, family=family, timeout=timeout)
    if source is not None and not source.is_wildcard:
        found = [address for address in found if family_of(address) == family_of(source)] or found
    first = [address for address in found if family_of(address) == family_of(found[0])]
    other = [address for address in found if family_of(address) != family_of(found[0])]
    pairs = itertools.zip_longest(first, other)
    return [address for pair in pairs for address in pair if address is not None]


def _race(attempts: Iterator[Attempt], deadline: float) -> tuple[Attempt | None, list[Attempt]]:
    """Start attempts one after another until one stands, all have failed, or the deadline has passed.

    Returns:
      the attempt that stands, if any, and those that failed or are still pending.
    """
    pending: list[Attempt] = []
    failed: list[Attempt] = []
    while True:
        started = next(attempts, None)
        if started is not None:
            pending.append(started)
        if not pending:
            return None, failed
        left = deadline - time.monotonic()
        decided = [attempt for attempt in pending if attempt.errno is not None]
        if not decided:
            if left <= 0:
                return None, failed + pending
            decided = wait_connected(pending, left if started is None else min(left, ATTEMPT_DELAY))
        for attempt in decided:
            if attempt.errno == 0:
                return attempt, failed
            pending.remove(attempt)
            failed.append(attempt)


def _backlog_is_full(lost: Sequence[Attempt]) -> bool:
    """Tell whether a unix listener lives but has no room: EAGAIN at once, whatever the time-out (unix(7))."""
    return any(attempt.errno == errno.EAGAIN and attempt.endpoint.transport.is_unix for attempt in lost)


def is_self_connect(attempt: Attempt) -> bool:
    """Tell whether a connected TCP socket reached itself.

    A closed port inside ip_local_port_range can become the client's own port; the two SYNs then cross and TCP calls
    it a connection (simultaneous open, RFC 9293 section 3.5).
    """
    return attempt.endpoint.transport is Transport.TCP and reached_itself(attempt.sock)


def reached_itself(sock: socket.socket) -> bool:
    """Tell whether a connected socket has one name at both ends."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:  # reset already: getpeername says ENOTCONN
        return False


def connect_error(endpoint: Endpoint, lost: Sequence[Attempt], timeout: float) -> NetlabError:
    """Turn the attempts that lost into the one error that the caller sees, the most hopeful of them.

    A time-out outranks a refusal: one of the addresses may still be alive.
    """
    facts = tuple(f"{attempt.endpoint}: {_outcome(attempt)}" for attempt in lost) if len(lost) > 1 else ()
    if any(attempt.errno is None for attempt in lost):
        told = explain_timeout(endpoint)
        cause = f"no answer within {format_setting(timeout)}"
        return TimedOut(
            "connect", endpoint, cause, facts=facts, means=told.means, likely=told.likely, next_steps=told.next_steps
        )
    code = lost[0].errno or 0
    verdict = verdict_of_connect(code, endpoint.transport)
    kind = {"timeout": TimedOut, "busy": TimedOut, "error": LocalError}.get(verdict, ConnectError)
    return kind("connect", endpoint, errno=code, facts=facts)


def _outcome(attempt: Attempt) -> str:
    return "no answer" if attempt.errno is None else errno_name(attempt.errno)
