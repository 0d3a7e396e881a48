"""A serving function of netlab, run in a thread of the test, its records kept as they come."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from netlab import socketops
from netlab.endpoint import Endpoint
from netlab.records import Record

__all__ = ["Running", "bind", "connect", "flood", "listen", "read_line", "read_to_end", "running", "waiting"]

R = TypeVar("R", bound=Record)
TIMEOUT = 5.0
"""Seconds after which a test that waits has failed."""


class Running:
    """A server that runs: its sockets, its stop, and what it has told so far."""

    def __init__(self, sockets: Sequence[socketops.Bound], stop: socketops.Stop) -> None:
        self.sockets = sockets
        self.endpoint = sockets[0].endpoint
        self.stop = stop
        self.records: list[Record] = []
        self.failure: BaseException | None = None
        self._changed = threading.Condition()

    def emit(self, record: Record) -> None:
        with self._changed:
            self.records.append(record)
            self._changed.notify_all()

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of one class so far."""
        with self._changed:
            return [record for record in self.records if isinstance(record, kind)]

    def wait(self, kind: type[R], number: int = 1) -> R:
        """Wait for the number-th record of one class."""
        with self._changed:
            came = self._changed.wait_for(lambda: len(self.of(kind)) >= number, TIMEOUT)
            told = [record.event for record in self.records]
            assert came, f"{kind.__name__} number {number} did not come, but {told[:20]}"
        return self.of(kind)[number - 1]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for what the records so far have to satisfy."""
        with self._changed:
            assert self._changed.wait_for(condition, TIMEOUT), f"not with {[record.event for record in self.records]}"

    def connect(self, number: int = 0) -> socket.socket:
        """Connect a client to the number-th socket."""
        return connect(self.sockets[number].endpoint)


def listen(text: str = "127.0.0.1:0", **options: Any) -> list[socketops.Bound]:
    """Listen where an endpoint in its usual spelling says."""
    return socketops.listen(Endpoint.parse(text, listening=True), **options)


def bind(text: str = "udp://127.0.0.1:0", **options: Any) -> list[socketops.Bound]:
    """Bind a datagram socket likewise."""
    return socketops.bind(Endpoint.parse(text, listening=True), **options)


def connect(endpoint: Endpoint) -> socket.socket:
    """Connect to an endpoint; every wait on the socket has a bound."""
    return _bounded(socketops.connect(endpoint, timeout=TIMEOUT))


def _bounded(sock: socket.socket) -> socket.socket:
    sock.settimeout(TIMEOUT)
    return sock


def read_line(sock: socket.socket) -> bytes:
    """Read one line, and not a byte more."""
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        assert byte, f"the end came after {line!r}"
        line += byte
    return line


def read_to_end(sock: socket.socket) -> bytes:
    """Read until the end of the stream."""
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
    return data


def waiting(descriptor: int) -> int:
    """Return how many bytes wait to be read (FIONREAD)."""
    return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0])


def flood(sock: socket.socket) -> None:
    """Send until the peer takes no more of it."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while True:
            sock.send(b"x" * 65536)


@contextlib.contextmanager
def running(
    serve: Callable[..., None],
    sockets: Sequence[socketops.Bound] | None = None,
    *,
    reply: socketops.Reply | socketops.Room | None = None,
    fails: bool = False,
    **options: Any,
) -> Iterator[Running]:
    """Run a serving function until the block ends, and raise what it raised, unless that is what the test is about."""
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(bound) for bound in (listen() if sockets is None else sockets)]
        server = Running(opened, stack.enter_context(socketops.Stop()))

        def work() -> None:
            try:
                serve(
                    opened,
                    reply=reply or socketops.make_reply("ack"),
                    stop=server.stop,
                    emit=options.pop("emit", server.emit),
                    **options,
                )
            except BaseException as exc:
                server.failure = exc
                server.stop.set("error")

        thread = threading.Thread(target=work, name="server")
        thread.start()
        try:
            yield server
        finally:
            server.stop.set("the test")
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "the server did not end"
    if server.failure is not None and not fails:
        raise server.failure
