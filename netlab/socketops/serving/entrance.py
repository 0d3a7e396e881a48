"""Where clients come in: accept, and all that accept(2) can say instead of a client.

Two kinds of waiting.  A listener of our own blocks in accept, which costs nothing, and a stop shuts it down (on Linux
that wakes accept).  Where there are several, or where one is shared with the parent that opened it (LISTEN_FDS) and
must not be shut down, a selector waits for them and for the stop, and accept does not block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from netlab.errors import LocalError, errno_name
from netlab.records import Emit, WarningReport
from netlab.socketops.opening import Bound
from netlab.socketops.optionvalues import TIMEVAL
from netlab.socketops.queues import accept_queue
from netlab.socketops.stop import Stop

__all__ = [
    "PAUSE",
    "SEND_TIMEOUT",
    "Entrance",
    "Lost",
    "Shortage",
    "non_blocking",
    "quick_accept",
    "shut_down",
    "time_limit",
]

SEND_TIMEOUT = 10.0
"""Seconds that one send may block: a client that does not read by then is gone for good."""

PAUSE = 0.1
"""Seconds until the next try where descriptors, memory or threads have run out; as sshd and trio."""

EPISODE = 10.0
"""Seconds without a shortage after which the next one is worth another warning."""

# accept(2), ERRORS.  What passes by itself as soon as others let go; trio, nginx and sshd pause for these, too.
_CAPACITY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO})
# "Linux accept() passes already-pending network errors on the new socket as an error code from accept()": the client
# was lost on its way in, and the next one may be well.  EPERM is a firewall's word on that one client.
_THAT_CLIENT = frozenset(
    getattr(errno, name, errno.ECONNABORTED)
    for name in (
        *("ECONNABORTED", "EPERM", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH"),
        *("ENONET", "ENOPROTOOPT", "EOPNOTSUPP", "ETIMEDOUT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "ENOSR"),
    )
)
_LOST_IN_A_ROW = 10
"""So many lost clients without one that is well are no accident; arbitrary."""


def shut_down(sock: socket.socket, how: int) -> None:
    """Wake whoever blocks in this socket, whatever state it is in."""
    try:
        sock.shutdown(how)
    except OSError:  # ENOTCONN: its peer is gone, or it is a datagram socket, which wakes all the same
        return


class Shortage:
    """Something has run out: a pause, so that nothing spins, and one warning for each episode."""

    def __init__(self, stop: Stop, emit: Emit) -> None:
        self._stop = stop
        self._emit = emit
        self._lock = threading.Lock()
        self._last = -EPISODE

    def pause(self, what: str) -> None:
        """Warn if this is news, then wait `PAUSE`, or until the stop is set."""
        self.tell(what)
        self._stop.wait(PAUSE)

    def tell(self, what: str) -> None:
        """Warn if this is news."""
        with self._lock:
            now = time.monotonic()
            is_news = now - self._last >= EPISODE
            self._last = now
        if is_news:
            self._emit(WarningReport(message=f"{what}; new clients wait until that is over"))


class Lost:
    """What accept says instead of a client, and how many clients it has lost in a row."""

    def __init__(self) -> None:
        self._in_a_row = 0

    def none(self) -> None:
        """Note that a client came in well."""
        self._in_a_row = 0

    def judge(self, exc: OSError, bound: Bound) -> str | None:
        """Return what has run out, for `Shortage`; None where the next client may be well.

        Raises:
          LocalError: the listener is no listener any more.
        """
        code = exc.errno or 0
        if isinstance(exc, BlockingIOError):  # the listener's own limit, or another took it
            return None
        if code in _THAT_CLIENT and self._in_a_row < _LOST_IN_A_ROW:
            self._in_a_row += 1
            return None
        if code not in _CAPACITY | _THAT_CLIENT:
            raise LocalError.from_os(exc, "accept", bound.endpoint) from None
        return f"accept {bound.endpoint}: {os.strerror(code).lower()} ({errno_name(code)})"


@contextlib.contextmanager
def non_blocking(listeners: Sequence[Bound]) -> Iterator[None]:
    """Let accept on these not block; afterwards they are as they were, for the mode belongs to a parent, too."""
    blocking = [os.get_blocking(bound.sock.fileno()) for bound in listeners]
    for bound in listeners:
        bound.sock.setblocking(False)
    try:
        yield
    finally:
        for bound, before in zip(listeners, blocking, strict=True):
            bound.sock.setblocking(before)


class Entrance:
    """Accepts from some listeners until the stop is set; what it returns has its time limits set.

    Args:
      listeners: where clients come in.
      stop: whoever sets it also has to call `wake`.
      shortage: what to do when descriptors run out.
      idle_timeout: seconds that a recv on an accepted socket may block, 0 for ever.

    Time limits are SO_RCVTIMEO and SO_SNDTIMEO (socket(7)): settimeout() would add a poll to every call, 5 to 12 % of
    a round trip.  recv and send then raise BlockingIOError.
    """

    def __init__(
        self, listeners: Sequence[Bound], stop: Stop, shortage: Shortage, *, idle_timeout: float = 0.0
    ) -> None:
        self._listeners = listeners
        self._stop = stop
        self._shortage = shortage
        self._limits = (
            (socket.SO_RCVTIMEO, _timeval(idle_timeout)),
            (socket.SO_SNDTIMEO, _timeval(SEND_TIMEOUT)),
        )
        self._lost = Lost()
        self._accepts = {bound.sock: quick_accept(bound.sock) for bound in listeners}
        self._ready: list[Bound] = []
        self._selector: selectors.BaseSelector | None = None
        self._on_exit = contextlib.ExitStack()
        # Sockets accepted from a TCP listener have its options from the start.  A unix listener hands down nothing,
        # and a parent's listener is not ours to set.
        self._inherits = {bound.sock: not (bound.endpoint.transport.is_unix or bound.adopted) for bound in listeners}
        for sock, inherits in self._inherits.items():
            if inherits:
                self._limit(sock)
                self._accepts[sock] = self._accept_early(sock)

    def __enter__(self) -> Entrance:
        if len(self._listeners) == 1 and not self._listeners[0].adopted and sys.platform == "linux":
            return self
        with contextlib.ExitStack() as stack:
            stack.enter_context(non_blocking(self._listeners))
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._selector.register(self._stop, selectors.EVENT_READ)
            for bound in self._listeners:
                self._selector.register(bound.sock, selectors.EVENT_READ, bound)
            self._on_exit = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._on_exit.close()

    def accept(self) -> tuple[socket.socket, object, Bound] | None:
        """Wait for the next client.

        Returns:
          its socket, its address as the kernel gives it, and the listener it came to; None once the stop is set.

        Raises:
          LocalError: the listener is no listener any more.
        """
        while not self._stop.is_set():
            bound = self._listeners[0] if self._selector is None else self._wait(self._selector)
            if bound is None:
                continue
            try:
                sock, address = self._accepts[bound.sock]()
            except OSError as exc:
                self._survive(exc, bound)
                continue
            self._lost.none()
            if self._selector is not None:  # elsewhere than on Linux it would be as non-blocking as its listener
                sock.setblocking(True)
            if not self._inherits[bound.sock]:
                self._welcome(sock)
            return sock, address, bound
        return None

    def wake(self) -> None:
        """Wake the threads that block in `accept`; they see the stop, and leave."""
        for bound in self._listeners:
            if not bound.adopted:
                shut_down(bound.sock, socket.SHUT_RD)

    def _accept_early(self, listener: socket.socket) -> Callable[[], tuple[socket.socket, object]]:
        """Return what accepts, and sets the limits of those who came before the listener had them."""
        accept, lock = self._accepts[listener], threading.Lock()
        early, _ = accept_queue(listener) or (0, 0)

        def take() -> tuple[socket.socket, object]:
            nonlocal early
            with lock:  # they come in order, and the last of them ends this
                sock, address = accept()
                self._limit(sock)
                early -= 1
                if early <= 0:
                    self._accepts[listener] = accept
                return sock, address

        return take if early else accept

    def _wait(self, selector: selectors.BaseSelector) -> Bound | None:
        """Return a listener that has a client; all that are ready have their turn before they are asked again."""
        if not self._ready:
            self._ready = [key.data for key, _ in selector.select() if key.data is not None]
        return self._ready.pop() if self._ready else None

    def _survive(self, exc: OSError, bound: Bound) -> None:
        """Live through an error of accept, or raise it."""
        if self._stop.is_set():
            return
        shortage = self._lost.judge(exc, bound)
        if shortage is not None:
            self._shortage.pause(shortage)

    def _welcome(self, sock: socket.socket) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._limit(sock)

    def _limit(self, sock: socket.socket) -> None:
        for option, value in self._limits:
            # A limit that --set has given stays.
            if not any(sock.getsockopt(socket.SOL_SOCKET, option, len(value))):
                sock.setsockopt(socket.SOL_SOCKET, option, value)


def quick_accept(listener: socket.socket) -> Callable[[], tuple[socket.socket, object]]:
    """Return what accepts as ``listener.accept()`` does, but asks for its family and type only once.

    socket.accept makes enums of both for every client, which is a twentieth of what a short connection costs.  Where
    the listener is of another class, or has no `_accept`, its own method is returned.
    """
    accept: Callable[[], tuple[int, object]] | None = getattr(listener, "_accept", None)
    if accept is None or type(listener) is not socket.socket:
        return listener.accept
    family, kind, proto = int(listener.family), int(listener.type), listener.proto

    def take() -> tuple[socket.socket, object]:
        fileno, address = accept()
        return socket.socket(family, kind, proto, fileno), address

    return take


def time_limit(sock: socket.socket, option: int) -> float:
    """Return what SO_RCVTIMEO or SO_SNDTIMEO is set to, in seconds, 0 for no limit."""
    raw = sock.getsockopt(socket.SOL_SOCKET, option, len(_timeval(0)))
    if sys.platform == "win32":
        return float(struct.unpack("=L", raw)[0] / 1000)
    seconds, micros = TIMEVAL.unpack(raw)
    return float(seconds + micros / 1e6)


def _timeval(seconds: float) -> bytes:
    if sys.platform == "win32":
        return struct.pack("=L", round(seconds * 1000))
    micros = round(seconds * 1_000_000)
    return TIMEVAL.pack(*divmod(micros, 1_000_000))
