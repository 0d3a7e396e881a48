"""Connecting to many TCP ports: as fast as the host allows, and never a false open.

On an address of this host every port answers at once, so one blocking socket is connected again and again: the kernel
lets a refused socket be used anew, and no poll, no close and no new descriptor is needed (1.8 times nmap's rate).
Everywhere else the attempts wait side by side in one window, and all of them together take as long as one.

A closed port of this host can look open: when the kernel gives a client the very port it calls, TCP connects it to
itself.  Both ways look at the two names of each connection.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NamedTuple

from netlab.endpoint import Endpoint, Transport
from netlab.errors import LocalError
from netlab.socketops.connecting import PENDING, open_client_socket, reached_itself
from netlab.socketops.optionvalues import TIMEVAL
from netlab.socketops.probing.attempts import Method
from netlab.socketops.resolving import family_of
from netlab.socketops.stop import Stop, Watcher

__all__ = ["Outcome", "Place", "Refusals", "inet_address", "is_local", "scan_here", "scan_window"]

_BOUND = 0.008
"""Seconds after which a port of this host counts as slow, and goes to the window; answers take some 10 us."""
_SLOW_MAX = 4
"""Slow ports after which all that are left go to the window, too: a firewall drops them."""
_STOP_EVERY = 1024
"""Ports between two looks at the stop, and between two counts; arbitrary, some 10 ms."""
_BATCH = 64
"""Attempts started between two looks at those under way, so that an answer's time is not counted twice."""
_LONGEST_WAIT = 0.2
"""Seconds until the stop is looked at again."""
_NONBLOCK = getattr(socket, "SOCK_NONBLOCK", 0)
"""Linux: one system call less for each port (socket(2))."""
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_BURST = 0.05
"""Seconds by which the rate may lag behind and be caught up at once."""


InetAddr = tuple[str, int] | tuple[str, int, int, int]
"""An address of IPv4, or of IPv6 with flow and scope, as socket.connect() takes it."""


class Place(NamedTuple):
    """A port to try: ``group`` is the caller's own number, ``address`` numeric, and its port does not count.

    ``base`` is the sockaddr of ``address``, as it costs more to make than an attempt may; ``paced`` says that the rate
    holds for it.
    """

    group: int
    address: Endpoint
    base: InetAddr
    port: int
    paced: bool


class Outcome(NamedTuple):
    """How a port answered: ``code`` is 0, an errno, or None for not at all; ``is_self`` marks a self-connect."""

    group: int
    address: Endpoint
    port: int
    code: int | None
    seconds: float
    is_self: bool = False


class Refusals(NamedTuple):
    """How many ports of a group were refused since the last time this was said, where nobody asks which."""

    group: int
    ports: int


def is_local(address: Endpoint) -> bool:
    """Tell whether a numeric address is this host's own: packets to it then leave from it."""
    if address.is_loopback:
        return True
    try:
        with socket.socket(family_of(address), socket.SOCK_DGRAM) as sock:
            sock.connect(_sockaddr(inet_address(address), 9))
            return bool(sock.getsockname()[0] == sock.getpeername()[0])
    except OSError:  # no route: then it is not ours; and without descriptors nobody knows
        return False


def scan_here(
    group: int, address: Endpoint, ports: Iterator[int], *, slow: list[int], bulk: bool, stop: Stop | None = None
) -> Iterator[Outcome | Refusals]:
    """Try ports of this host one after another over one blocking socket.

    Args:
      address: of this host, as `is_local` tells.
      ports: what is left of them when this ends is for the window: too many were slow, or no socket is to be had.
      slow: collects the ports that gave no answer at once.
      bulk: count the refused ones, and tell how many now and then.
    """
    base, clock, refused = inet_address(address), time.perf_counter, errno.ECONNREFUSED
    sock = _open_bounded(family := _family(base))

    def close() -> None:
        if sock is not None:
            sock.close()

    def wake() -> None:
        with contextlib.suppress(OSError):  # it is not connecting just now
            if sock is not None:
                sock.shutdown(socket.SHUT_RDWR)

    with contextlib.ExitStack() as stack:
        stack.callback(close)
        if stop is not None:
            # Python waits without a limit for a connect() that a signal has interrupted, whatever its time-out.
            stack.enter_context(Watcher(stop, wake))
        while sock is not None and len(slow) < _SLOW_MAX and not (stop is not None and stop.is_set()):
            count = 0
            port = None
            for port in itertools.islice(ports, _STOP_EVERY):
                sockaddr, started = _sockaddr(base, port), clock()
                code = sock.connect_ex(sockaddr)
                seconds = clock() - started
                if code == refused:
                    if bulk:
                        count += 1
                    else:
                        yield Outcome(group, address, port, code, seconds)
                    continue
                if stop is not None and stop.is_set():  # our own shutdown, and no verdict
                    break
                is_self = code == 0 and reached_itself(sock)
                sock.close()
                sock = _open_bounded(family)
                if code not in PENDING and code != errno.EAGAIN:
                    yield Outcome(group, address, port, code, seconds, is_self)
                else:
                    slow.append(port)
                if sock is None or len(slow) >= _SLOW_MAX:
                    break
            if count:
                yield Refusals(group, count)
            if port is None:
                return


def scan_window(
    places: Iterator[Place],
    method: Method,
    *,
    jobs: int,
    rate: float,
    tick: Callable[[], None] | None = None,
    stop: Stop | None = None,
) -> Iterator[Outcome]:
    """Try ports side by side, each for the method's time-out; end early at its deadline, and at the stop.

    Args:
      places: tried in this order; taken one by one, so that they may be many.
      jobs: attempts at a time; fewer where descriptors run out.
      rate: attempts a second of those places that are paced; math.inf for no limit.
      tick: called every now and then, answers or not.
    """
    with _Window(method, rate) as window:
        place = next(places, None)
        while (place or window.pending) and not (stop is not None and stop.is_set()):
            limit = method.limit(Transport.TCP)
            if limit <= 0:
                place = None
            started = 0
            while place and len(window.pending) < jobs and started < _BATCH and window.may_start(place):
                try:
                    outcome = window.start(place, limit)
                except LocalError as exc:
                    if exc.errno in _NO_DESCRIPTORS and window.pending:
                        jobs = len(window.pending)
                        break
                    outcome = Outcome(place.group, place.address, place.port, exc.errno, 0.0)
                if outcome:
                    yield outcome
                place = next(places, None)
                started += 1
            yield from window.collect(may_wait=not (started == _BATCH and len(window.pending) < jobs))
            if tick is not None:
                tick()


class _Pending(NamedTuple):
    sock: socket.socket
    place: Place
    started: float
    expires: float


class _Window:
    """Attempts under way."""

    def __init__(self, method: Method, rate: float) -> None:
        self.pending: dict[int, _Pending] = {}
        self._method = method
        self._interval = 1 / rate
        self._next_start = time.perf_counter()
        # In the order of their starts, and so of their ends: the time-out is the same for all.
        self._order: deque[_Pending] = deque()
        self._poller = _Poller()

    def __enter__(self) -> _Window:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        for pending in self.pending.values():
            pending.sock.close()
        self._poller.close()

    def may_start(self, place: Place) -> bool:
        """Tell whether the rate allows another attempt."""
        return not place.paced or time.perf_counter() >= self._next_start

    def start(self, place: Place, limit: float) -> Outcome | None:
        """Start an attempt that has ``limit`` seconds; return how it ended if that is known at once."""
        sockaddr = _sockaddr(place.base, place.port)
        sock = _open(place, self._method)
        try:
            started = time.perf_counter()
            if place.paced:
                self._next_start = max(self._next_start, started - _BURST) + self._interval
            code = sock.connect_ex(sockaddr)
            if code not in PENDING:
                seconds = time.perf_counter() - started
                is_self = code == 0 and reached_itself(sock)
                sock.close()
                return Outcome(place.group, place.address, place.port, code, seconds, is_self)
            self._poller.register(sock)
        except BaseException:
            sock.close()
            raise
        pending = _Pending(sock, place, started, started + limit)
        self.pending[sock.fileno()] = pending
        self._order.append(pending)
        return None

    def collect(self, *, may_wait: bool) -> Iterator[Outcome]:
        """Give the attempts that ended or whose time ran out; wait for the next, or for the rate to allow one."""
        for fileno in self._poller.poll(self._wait() if may_wait else 0.0):
            pending = self.pending.pop(fileno)
            seconds = time.perf_counter() - pending.started
            with pending.sock as sock:
                self._poller.forget(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                place, is_self = pending.place, code == 0 and reached_itself(sock)
            yield Outcome(place.group, place.address, place.port, code, seconds, is_self)
        now = time.perf_counter()
        while self._order and (self._is_over(self._order[0]) or self._order[0].expires <= now):
            pending = self._order.popleft()
            if self._is_over(pending):
                continue
            del self.pending[pending.sock.fileno()]
            self._poller.forget(pending.sock)
            pending.sock.close()
            yield Outcome(pending.place.group, pending.place.address, pending.place.port, None, now - pending.started)

    def _is_over(self, pending: _Pending) -> bool:
        return self.pending.get(pending.sock.fileno()) is not pending

    def _wait(self) -> float:
        now = time.perf_counter()
        first = next((pending.expires for pending in self._order if not self._is_over(pending)), math.inf)
        return min(max(min(first, self._next_start if self._next_start > now else math.inf) - now, 0.0), _LONGEST_WAIT)


class _Poller:
    """epoll where there is one, else poll: the same few calls over both."""

    def __init__(self) -> None:
        self._epoll = select.epoll() if hasattr(select, "epoll") else None
        self._set = self._epoll or select.poll()

    def register(self, sock: socket.socket) -> None:
        self._set.register(sock, select.POLLOUT)

    def forget(self, sock: socket.socket) -> None:
        """Drop a socket that is about to be closed; epoll does so by itself (epoll(7))."""
        if not self._epoll:
            self._set.unregister(sock)

    def poll(self, timeout: float) -> list[int]:
        """Return the descriptors that are decided, after ``timeout`` seconds at most."""
        # epoll counts in seconds, poll in milliseconds.
        found = self._epoll.poll(timeout) if self._epoll else self._set.poll(timeout * 1000)
        return [fileno for fileno, _ in found]

    def close(self) -> None:
        if self._epoll:
            self._epoll.close()


def _open(place: Place, method: Method) -> socket.socket:
    if method.source or method.settings:
        return open_client_socket(
            place.address, source=method.source, settings=method.settings, socket_class=method.socket_class
        )
    try:
        sock = method.socket_class(_family(place.base), socket.SOCK_STREAM | _NONBLOCK)
    except OSError as exc:
        raise LocalError("socket", place.address, errno=exc.errno) from None
    if not _NONBLOCK:
        sock.setblocking(False)
    return sock


def _family(sockaddr: InetAddr) -> socket.AddressFamily:
    return socket.AF_INET6 if len(sockaddr) == 4 else socket.AF_INET


def _open_bounded(family: socket.AddressFamily) -> socket.socket | None:
    """Open a blocking socket whose connect() gives up by itself (socket(7), SO_SNDTIMEO); None where there is none."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        return None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, TIMEVAL.pack(0, round(_BOUND * 1e6)))
    return sock


def inet_address(address: Endpoint) -> InetAddr:
    """Return the sockaddr of a numeric INET endpoint."""
    sockaddr = address.to_sockaddr()
    assert isinstance(sockaddr, tuple)
    return sockaddr


def _sockaddr(base: InetAddr, port: int) -> InetAddr:
    """Return an INET address with another port."""
    return (base[0], port, base[2], base[3]) if len(base) == 4 else (base[0], port)
