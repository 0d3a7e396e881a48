"""Peers that netlab did not make: other people's programs, as clients and as servers.

Law: whatever a peer is, the test holds one end of a stream socket pair.  What it writes there goes to netlab through
the peer, what it reads there came from netlab; its end is the peer's end of input.  Every wait has a bound.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from netlab.endpoint import Endpoint
from tests.programs import clean_environment

__all__ = [
    "HOSTS",
    "LARGEST_DATAGRAM",
    "WAYS",
    "Cannot",
    "Payload",
    "Tool",
    "Way",
    "echo_back",
    "endpoint_at",
    "exchange",
    "joined",
    "port_of",
    "reserved_udp_port",
    "run_tool",
    "started",
]

Way = Literal["tcp4", "tcp6", "udp4", "udp6", "stream", "seqpacket", "dgram"]
"""A transport and its family; the last three are AF_UNIX."""
WAYS: tuple[Way, ...] = ("tcp4", "tcp6", "udp4", "udp6", "stream", "seqpacket", "dgram")
HOSTS: Mapping[Way, str] = {"tcp4": "127.0.0.1", "udp4": "127.0.0.1", "tcp6": "::1", "udp6": "::1"}
SCHEMES: Mapping[Way, str] = {"stream": "unix:", "seqpacket": "unix-seqpacket:", "dgram": "unix-dgram:"}

Payload = Literal["text", "utf8", "binary", "empty", "large"]

LARGEST_DATAGRAM = 65_507
"""Bytes: what an IPv4 packet of 65,535 has room for behind its two headers."""

BOUND = 10.0
"""Seconds after which a wait has failed."""
_WINDOW = 1 << 17
"""Bytes on their way through a peer at most: one that reads and writes in turn can then never block on both."""


@dataclass(frozen=True)
class Cannot:
    """Why a peer has no such cell."""

    reason: str


@dataclass(frozen=True)
class Tool:
    """How a program is started; its words may hold {host}, {port}, {path} and {scratch}, a path that is free.

    Attributes:
      argv: its name first.
      stays: why a client does not end at the end of its input.
      ready: what a server writes to stderr once peers can come.
      echoes: whether a server answers by itself; else the test does, through standard input and output.
      largest: bytes of a datagram that it takes whole.
      cannot: payloads that it cannot carry, each with the reason.
    """

    argv: tuple[str, ...]
    stays: str = ""
    ready: str = ""
    echoes: bool = True
    largest: int = LARGEST_DATAGRAM
    cannot: Mapping[Payload, str] = field(default_factory=dict)


def exchange(sock: socket.socket, data: bytes, *, size: int | None = None) -> bytes:
    """Write data, read meanwhile, and return what came, as soon as it is `size` bytes (those of data)."""
    size = len(data) if size is None else size
    sock.setblocking(False)
    came, rest = bytearray(), memoryview(data)
    while len(came) < size:
        may_write = bool(rest) and len(data) - len(rest) - len(came) < _WINDOW
        readable, writable, _ = select.select([sock], [sock] if may_write else [], [], BOUND)
        assert readable or writable, f"{len(came):,} of {size:,} B came back, {len(rest):,} B are unsent"
        if readable:
            chunk = sock.recv(1 << 18)
            assert chunk, f"the end came after {len(came):,} of {size:,} B"
            came += chunk
        if writable:
            rest = rest[sock.send(rest[:LARGEST_DATAGRAM]) :]
    sock.settimeout(BOUND)
    return bytes(came)


def echo_back(sock: socket.socket) -> None:
    """Send back whatever comes, until the end; holds all that the peer does not take, so that neither can block."""
    held, is_open = bytearray(), True
    sock.setblocking(False)
    with contextlib.suppress(ConnectionError):
        while is_open or held:
            readable, writable, _ = select.select([sock] if is_open else [], [sock] if held else [], [])
            if readable:
                chunk = sock.recv(1 << 18)
                held += chunk
                is_open = bool(chunk)
            if writable:
                del held[: sock.send(held)]
        sock.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def joined(work: Callable[[], None], wake: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Run something in a thread; at the end wake it, wait for it, and raise what it raised."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=run, name=f"foreign {work}")
    thread.start()
    try:
        yield
    finally:
        wake()
        thread.join(BOUND)
        assert not thread.is_alive(), f"{work} does not end"
    for failure in failures:
        raise failure


@contextlib.contextmanager
def run_tool(tool: Tool, places: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[socket.socket]:
    """Run a client; gives what stands for its terminal."""
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile() as stderr:
        with ours, _running(tool, places, environment, theirs, stderr.fileno()) as process:
            ours.settimeout(BOUND)
            try:
                yield ours
                if not tool.stays:
                    _end(process, ours)
            except BaseException as exc:
                stderr.seek(0)
                exc.add_note(f"{process.args!r} wrote {stderr.read().decode(errors='backslashreplace')!r}")
                raise


def _end(process: subprocess.Popen[bytes], ours: socket.socket) -> None:
    """End a client's input and await the client's end, with nothing more to show and in good order."""
    with contextlib.suppress(OSError):  # ENOTCONN: it has ended by itself
        ours.shutdown(socket.SHUT_WR)
    rest = b"".join(iter(lambda: ours.recv(65536), b""))
    assert rest == b"", f"{len(rest)} B came that nobody asked for: {rest[:64]!r}"
    assert process.wait(BOUND) == 0


@contextlib.contextmanager
def started(tool: Tool, places: Mapping[str, str], environment: Mapping[str, str]) -> Iterator[int]:
    """Run a server until the block ends, and echo for it if it cannot; gives its process once it is ready."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    with ours, open(reading, "rb", buffering=0) as stderr:
        with _running(tool, places, environment, theirs, writing) as process:
            os.close(writing)
            said = b""
            while tool.ready.encode() not in said:
                readable, _, _ = select.select([stderr], [], [], BOUND)
                assert readable, f"{process.args!r} is not ready, but says {said!r}"
                chunk = stderr.read(4096)
                assert chunk, f"{process.args!r} has ended, and said {said!r}"
                said += chunk
            with contextlib.nullcontext() if tool.echoes else joined(lambda: echo_back(ours), lambda: _kill(process)):
                yield process.pid


@contextlib.contextmanager
def _running(
    tool: Tool, places: Mapping[str, str], environment: Mapping[str, str], theirs: socket.socket, stderr: int
) -> Iterator[subprocess.Popen[bytes]]:
    with theirs:
        process = subprocess.Popen(
            [_filled(word, places) for word in tool.argv],
            stdin=theirs.fileno(),
            stdout=theirs.fileno(),
            stderr=stderr,
            env=clean_environment(environment),
            start_new_session=True,  # so that its children can be ended with it
        )
    try:
        yield process
    finally:
        _kill(process)
        process.wait(BOUND)


def _filled(word: str, places: Mapping[str, str]) -> str:
    for name, value in places.items():  # not str.format: a script has braces of its own
        word = word.replace(f"{{{name}}}", value)
    return word


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def port_of(pid: int) -> int:
    """Return the port to which a process has bound a socket, as the kernel's tables say (proc(5))."""
    found = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in found:
                return int(fields[1].rpartition(":")[2], 16)
    raise AssertionError(f"process {pid} has bound no port")


@contextlib.contextmanager
def reserved_udp_port(host: str) -> Iterator[int]:
    """A UDP port that nobody gets by chance, for a tool that cannot ask for a free one; SO_REUSEADDR lets it in."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((host, 0))
        yield holder.getsockname()[1]


def endpoint_at(way: Way, port: int, path: str) -> Endpoint:
    """Return where a peer is."""
    if way in SCHEMES:
        return Endpoint.parse(SCHEMES[way] + path)
    shown = f"[{HOSTS[way]}]" if way.endswith("6") else HOSTS[way]
    return Endpoint.parse(f"{way[:3]}://{shown}:{port}", listening=True)
