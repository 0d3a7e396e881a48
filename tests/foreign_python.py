"""Python's own two ways to sockets as peers: the socket module, and asyncio's streams and datagram protocols.

As with a foreign program the test holds one end of a socket pair; here a thread carries what passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import cast

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from tests.foreign import BOUND, LARGEST_DATAGRAM, echo_back, joined

__all__ = ["asyncio_client", "asyncio_server", "socket_client", "socket_server"]

_CHUNK = 65536
_KINDS = {
    Transport.UDP: socket.SOCK_DGRAM,
    Transport.UNIX_DGRAM: socket.SOCK_DGRAM,
    Transport.UNIX_SEQPACKET: socket.SOCK_SEQPACKET,
}


def _socket(endpoint: Endpoint) -> socket.socket:
    if endpoint.transport.is_unix:
        family = socket.AF_UNIX
    else:
        family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    return socket.socket(family, _KINDS.get(endpoint.transport, socket.SOCK_STREAM))


@contextlib.contextmanager
def _client(carry: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """Give one end of a pair whose other end a thread carries; at the end nothing more may come."""
    ours, theirs = socket.socketpair()
    ours.settimeout(BOUND)
    with ours, joined(lambda: carry(theirs)):
        yield ours
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(_CHUNK) == b""


def _end_sending(endpoint: Endpoint, sock: socket.socket) -> None:
    if endpoint.transport.is_datagram:
        sock.send(b"")
    else:
        sock.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def socket_client(endpoint: Endpoint, scratch: str) -> Iterator[socket.socket]:
    """A plain socket; the end of the input is a half-close or an empty datagram, and so is the peer's."""

    def carry(theirs: socket.socket) -> None:
        with theirs, _socket(endpoint) as sock:
            sock.settimeout(BOUND)
            if endpoint.transport is Transport.UNIX_DGRAM:
                sock.bind(scratch)
            sock.connect(endpoint.to_sockaddr())
            sources = [theirs, sock]
            while True:
                ready, _, _ = select.select(sources, [], [], BOUND)
                if theirs in ready:
                    if chunk := theirs.recv(_CHUNK):
                        sock.sendall(chunk)
                    else:
                        _end_sending(endpoint, sock)
                        sources.remove(theirs)
                if sock in ready:
                    if not (chunk := sock.recv(_CHUNK)):
                        return
                    theirs.sendall(chunk)

    with _client(carry) as ours:
        yield ours


@contextlib.contextmanager
def socket_server(endpoint: Endpoint) -> Iterator[Endpoint]:
    """An echo server of one client, or of datagrams."""
    with _socket(endpoint) as sock:
        sock.bind(endpoint.to_sockaddr())
        place = from_sockaddr(endpoint.transport, sock.getsockname())
        assert place is not None

        def answer_datagrams() -> None:
            while True:
                data, peer = sock.recvfrom(_CHUNK)
                if peer is None:  # woken by shutdown
                    return
                sock.sendto(data, peer)

        def serve_one() -> None:
            try:
                connection, _ = sock.accept()
            except OSError:  # EINVAL: woken, for who connected has gone
                return
            with connection:
                echo_back(connection)

        def wake() -> None:
            with contextlib.suppress(OSError):  # ENOTCONN, which the kernel says, and wakes all the same
                sock.shutdown(socket.SHUT_RD)

        if endpoint.transport.has_connections:
            sock.listen()
        with joined(serve_one if endpoint.transport.has_connections else answer_datagrams, wake):
            yield place


@contextlib.contextmanager
def asyncio_client(endpoint: Endpoint, scratch: str) -> Iterator[socket.socket]:
    """asyncio's streams, or its datagram protocol; the latter ends at the end of the input."""
    relay = _relay_datagrams if endpoint.transport.is_datagram else _relay_stream
    with _client(lambda theirs: asyncio.run(relay(theirs, endpoint, scratch))) as ours:
        yield ours


async def _relay_stream(theirs: socket.socket, endpoint: Endpoint, scratch: str) -> None:
    here_in, here_out = await asyncio.open_connection(sock=theirs)
    if endpoint.transport.is_unix:
        there_in, there_out = await asyncio.open_unix_connection(endpoint.path)
    else:
        there_in, there_out = await asyncio.open_connection(endpoint.host, endpoint.port)
    await asyncio.gather(_carry(here_in, there_out), _carry(there_in, here_out))
    for writer in (here_out, there_out):
        writer.close()
        await writer.wait_closed()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()


class _Datagrams(asyncio.DatagramProtocol):
    """Writes what comes to a stream, or sends it back where there is none."""

    def __init__(self, writer: asyncio.StreamWriter | None) -> None:
        self._writer = writer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # and no subclass of it before Python 3.12

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._writer:
            self._writer.write(data)
        else:
            self._transport.sendto(data, addr)


async def _relay_datagrams(theirs: socket.socket, endpoint: Endpoint, scratch: str) -> None:
    reader, writer = await asyncio.open_connection(sock=theirs, limit=LARGEST_DATAGRAM)
    loop = asyncio.get_running_loop()
    with _socket(endpoint) as sock:
        sock.setblocking(False)
        if endpoint.transport.is_unix:
            sock.bind(scratch)
        sock.connect(endpoint.to_sockaddr())
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(writer), sock=sock)
        while chunk := await reader.read(_CHUNK):
            transport.sendto(chunk)
        transport.close()
        writer.close()
        await writer.wait_closed()


@contextlib.contextmanager
def asyncio_server(endpoint: Endpoint) -> Iterator[Endpoint]:
    """An echo server of asyncio's, of one client or of datagrams."""
    ready = threading.Event()
    places: list[Endpoint] = []
    ends: list[Callable[[], object]] = []

    async def serve() -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        with _socket(endpoint) as sock:
            sock.setblocking(False)
            sock.bind(endpoint.to_sockaddr())
            place = from_sockaddr(endpoint.transport, sock.getsockname())
            assert place is not None
            places.append(place)
            ends.append(lambda: loop.call_soon_threadsafe(end.set))
            await _serve_on(sock, endpoint, ready, end)

    with joined(lambda: asyncio.run(serve()), lambda: ends[0]()):
        assert ready.wait(BOUND)
        yield places[0]


async def _serve_on(sock: socket.socket, endpoint: Endpoint, ready: threading.Event, end: asyncio.Event) -> None:
    loop, served = asyncio.get_running_loop(), asyncio.Event()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # a client that has gone
            await _carry(reader, writer)
        writer.close()
        served.set()

    if endpoint.transport.is_datagram:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(None), sock=sock)
        ready.set()
        await end.wait()
        transport.close()
        return
    start: Callable[..., Coroutine[object, object, asyncio.Server]]
    start = asyncio.start_unix_server if endpoint.transport.is_unix else asyncio.start_server
    async with await start(echo, sock=sock):
        ready.set()
        await end.wait()
        await asyncio.wait_for(served.wait(), BOUND)
