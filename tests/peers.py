"""Deterministic peers: what a client of netlab may meet, each a context manager on a real socket.

An address is netlab's own kind of text-free sockaddr: ``(host, port)`` for INET and INET6, a path for AF_UNIX.  Port 0
always.  Threads end, and are joined, when the context does.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

__all__ = [
    "Peer",
    "alongside",
    "closing_server",
    "echo_server",
    "flooding_server",
    "late_server",
    "mute_server",
    "mute_udp",
    "numbered_lines",
    "pausing_server",
    "refusing_port",
    "refusing_udp",
    "reply_server",
    "resetting_server",
    "silent_listener",
]

Address = tuple[str, int] | str
LOOPBACK = ("127.0.0.1", 0)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 seconds: close() sends RST instead of FIN (socket(7))."""


class Peer:
    """Where a peer is, and what has come to it so far."""

    def __init__(self, sock: socket.socket, scheme: str = "") -> None:
        self.socket = sock
        self.stopping = threading.Event()
        self.longest_pause = 0.0
        self._received = bytearray()
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        name = sock.getsockname()
        if sock.family == socket.AF_UNIX:
            self.host, self.port, self.endpoint = name, 0, f"unix:{name}"
        else:
            self.host, self.port = name[0], name[1]
            shown = f"[{self.host}]" if ":" in self.host else self.host
            self.endpoint = f"{scheme}{shown}:{self.port}"

    @property
    def received(self) -> bytes:
        """All bytes that came so far, over all connections in the order they came."""
        with self._changed:
            return bytes(self._received)

    def wait_received(self, data: bytes, timeout: float = 5) -> None:
        """Wait until `data` has come.

        Raises:
          AssertionError: it did not come in time.
        """
        with self._changed:
            came = self._changed.wait_for(lambda: data in self._received, timeout)
            assert came, f"{data!r} did not come within {timeout} s, but {bytes(self._received)!r}"

    def read(self, connection: socket.socket) -> bytes:
        """Read one chunk and note it; b"" is EOF, or the end of this peer."""
        chunk = connection.recv(65536)
        with self._changed:
            self._received += chunk
            self._changed.notify_all()
        return chunk

    @contextlib.contextmanager
    def holding(self, connection: socket.socket) -> Iterator[None]:
        """Let `stop` reach this connection while it is served."""
        with self._changed:
            self._connections.add(connection)
            if self.stopping.is_set():
                _wake(connection)
        try:
            yield
        finally:
            with self._changed:
                self._connections.discard(connection)

    def stop(self) -> None:
        """Wake whoever waits in accept or recv."""
        with self._changed:
            self.stopping.set()
            for connection in self._connections:
                _wake(connection)
        _wake(self.socket)


Handler = Callable[[Peer, socket.socket], None]


def _wake(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # ENOTCONN: its other end is gone, so nobody waits on it
        sock.shutdown(socket.SHUT_RDWR)


def _bound(address: Address) -> socket.socket:
    if isinstance(address, str):
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _serving(handle: Handler, address: Address) -> Iterator[Peer]:
    with _bound(address) as listener:
        listener.listen()
        peer = Peer(listener)
        acceptor = threading.Thread(target=_accept, args=(peer, handle))
        acceptor.start()
        try:
            yield peer
        finally:
            peer.stop()
            acceptor.join()


def _accept(peer: Peer, handle: Handler) -> None:
    threads = []
    with contextlib.suppress(OSError):  # EINVAL: stop() has shut the listener down
        while True:
            connection, _ = peer.socket.accept()
            thread = threading.Thread(target=_converse, args=(peer, connection, handle))
            thread.start()
            threads.append(thread)
    for thread in threads:
        thread.join()


def _converse(peer: Peer, connection: socket.socket, handle: Handler) -> None:
    with connection, contextlib.suppress(ConnectionError), peer.holding(connection):
        handle(peer, connection)


def _read_at_least(peer: Peer, connection: socket.socket, size: int) -> None:
    got = 0
    while got < size and (chunk := peer.read(connection)):
        got += len(chunk)


def _read_to_eof(peer: Peer, connection: socket.socket) -> None:
    while peer.read(connection):
        pass


@contextlib.contextmanager
def silent_listener(address: Address = LOOPBACK) -> Iterator[Peer]:
    """A peer whose accept queue is full: a TCP connect gets no answer at all, one on AF_UNIX gets EAGAIN.

    listen(0) holds one connection (listen(2): the queue takes backlog + 1), and Linux drops the next SYN.
    """
    with _bound(address) as listener:
        listener.listen(0)
        with socket.socket(listener.family, socket.SOCK_STREAM) as filler:
            filler.settimeout(5)
            filler.connect(listener.getsockname())
            # The client's handshake may end before the server's: the queue is full once the listener is readable.
            readable, _, _ = select.select([listener], [], [], 5)
            assert readable, "the filling connection did not reach the accept queue"
            yield Peer(listener)


@contextlib.contextmanager
def alongside(work: Callable[[], None]) -> Iterator[None]:
    """Do something in another thread while the block runs, and wait for its end."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@contextlib.contextmanager
def refusing_port(address: Address = LOOPBACK) -> Iterator[Peer]:
    """A bound socket that does not listen: connect gets ECONNREFUSED, and nobody else can take the port."""
    with _bound(address) as sock:
        yield Peer(sock)


@contextlib.contextmanager
def mute_server(address: Address = LOOPBACK) -> Iterator[Peer]:
    """Accepts and reads, never answers, and stays after the client's EOF."""

    def handle(peer: Peer, connection: socket.socket) -> None:
        _read_to_eof(peer, connection)
        peer.stopping.wait()

    with _serving(handle, address) as peer:
        yield peer


@contextlib.contextmanager
def resetting_server(after: int = 1, *, address: Address = LOOPBACK) -> Iterator[Peer]:
    """Reads at least `after` bytes, then resets: the client's recv gets ECONNRESET."""

    def handle(peer: Peer, connection: socket.socket) -> None:
        _read_at_least(peer, connection, after)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)

    with _serving(handle, address) as peer:
        yield peer


@contextlib.contextmanager
def closing_server(after: int = 0, *, address: Address = LOOPBACK) -> Iterator[Peer]:
    """Reads at least `after` bytes, then closes in good order: the client's recv gets EOF.

    With 0 what the client sends may meet a closed socket and be answered by RST; with the size of its message it
    always sees EOF.
    """

    def handle(peer: Peer, connection: socket.socket) -> None:
        _read_at_least(peer, connection, after)

    with _serving(handle, address) as peer:
        yield peer


@contextlib.contextmanager
def late_server(delay: float, reply: bytes = b"late\n", *, address: Address = LOOPBACK) -> Iterator[Peer]:
    """Answers the first chunk `delay` seconds after it came, then reads to EOF."""

    def handle(peer: Peer, connection: socket.socket) -> None:
        if peer.read(connection) and not peer.stopping.wait(delay):
            connection.sendall(reply)
            _read_to_eof(peer, connection)

    with _serving(handle, address) as peer:
        yield peer


@contextlib.contextmanager
def reply_server(*replies: bytes, greeting: bytes = b"", address: Address = LOOPBACK) -> Iterator[Peer]:
    """Greets, answers the n-th chunk with the n-th reply, then reads to EOF."""

    def handle(peer: Peer, connection: socket.socket) -> None:
        connection.sendall(greeting)
        for reply in replies:
            if not peer.read(connection):
                return
            connection.sendall(reply)
        _read_to_eof(peer, connection)

    with _serving(handle, address) as peer:
        yield peer


@contextlib.contextmanager
def pausing_server(pause: float, *parts: bytes, address: Address = LOOPBACK) -> Iterator[Peer]:
    """Answers the first chunk with each part, `pause` seconds apart, then reads to EOF.

    ``longest_pause`` is the most that a busy machine can have made of it.
    """

    def handle(peer: Peer, connection: socket.socket) -> None:
        peer.read(connection)
        before = time.monotonic()
        for number, part in enumerate(parts):
            if number and peer.stopping.wait(pause):
                return
            last, before = before, time.monotonic()
            connection.sendall(part)
            peer.longest_pause = max(peer.longest_pause, time.monotonic() - last)
        _read_to_eof(peer, connection)

    with _serving(handle, address) as peer:
        yield peer


@contextlib.contextmanager
def echo_server(*, stall: float = 0.0, spoil: bytes = b"", address: Address = LOOPBACK) -> Iterator[Peer]:
    """Sends each chunk back: the first of a connection `stall` seconds late, and one that holds `spoil` in capitals."""

    def handle(peer: Peer, connection: socket.socket) -> None:
        chunk = peer.read(connection)
        peer.stopping.wait(stall)
        while chunk:
            connection.sendall(chunk.upper() if spoil and spoil in chunk else chunk)
            chunk = peer.read(connection)

    with _serving(handle, address) as peer:
        yield peer


def numbered_lines(first: int, number: int) -> bytes:
    """Return some of what `flooding_server` sends: ten bytes each."""
    return b"".join(b"%09d\n" % line for line in range(first, first + number))


@contextlib.contextmanager
def flooding_server(*, address: Address = LOOPBACK) -> Iterator[Peer]:
    """Reads nothing, and sends numbered lines for as long as they are taken."""

    def handle(_: Peer, connection: socket.socket) -> None:
        for first in itertools.count(step=5000):
            connection.sendall(numbered_lines(first, 5000))

    with _serving(handle, address) as peer:
        yield peer


@contextlib.contextmanager
def mute_udp(host: str = "127.0.0.1") -> Iterator[Peer]:
    """A UDP port that takes datagrams and never answers; read them from ``peer.socket``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind((host, 0))
        yield Peer(sock, "udp://")


@contextlib.contextmanager
def refusing_udp(host: str = "127.0.0.1") -> Iterator[Peer]:
    """A UDP port that answers ICMP 3/3 and that nobody else can take.

    A connected UDP socket receives from its peer alone; to everybody else the port is closed.
    """
    with mute_udp(host) as hermit, mute_udp(host) as peer:
        peer.socket.connect(hermit.socket.getsockname())
        yield peer
