"""What is special about a client that sends much at once: larger buffers, and blocks that are discarded unseen."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import pytest

from netlab import socketops
from netlab.endpoint import Transport
from netlab.records import Closed, Connected, Summary
from netlab.socketops.serving.clients import Client, Ending
from netlab.socketops.serving.conversation import SHORT
from netlab.socketops.serving.discarding import BLOCK
from netlab.socketops.serving.discardingtalk import DiscardingTalk
from netlab.socketops.serving.talk import Loop, Service, Talk
from tests.peers import RESET_ON_CLOSE, alongside
from tests.servers import Running, flood, read_to_end, running

Serve = Callable[..., None]
MUCH = 8 * 1024 * 1024
"""Bytes that fill every buffer on the way."""


@pytest.fixture(
    params=[socketops.serve_iteratively, socketops.serve_threaded, socketops.serve_concurrently],
    ids=["tcp", "threaded", "concurrent"],
)
def serve(request: pytest.FixtureRequest) -> Serve:
    function: Serve = request.param
    return function


@contextlib.contextmanager
def unwatched(serve: Serve, name: socketops.ReplyName, idle_timeout: float = 300.0) -> Iterator[Running]:
    """Run a server that shows no chunk, so that the quickest way is taken."""
    reply = socketops.make_reply(name)
    with running(serve, reply=reply, watch={Connected, Closed}, idle_timeout=idle_timeout) as server:
        yield server


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        assert chunk, f"the end came after {len(data)} bytes"
        data += chunk
    return bytes(data)


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


def test_echo_of_any_sizes_is_what_was_sent(serve: Serve) -> None:
    chance = random.Random(1)
    pieces = [chance.randbytes(chance.choice((1, 3, 1000, 2048, 2049, 65536, 300_000))) for _ in range(60)]

    def send() -> None:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)

    with unwatched(serve, "echo") as server, server.connect() as client:
        with alongside(send):
            assert read_to_end(client) == b"".join(pieces)
        closed = server.wait(Closed)
    size = sum(map(len, pieces))
    assert (closed.reason, closed.bytes_in, closed.bytes_out) == ("eof", size, size)


@pytest.mark.parametrize("size", [SHORT - 1, SHORT, SHORT + 1])
def test_what_fills_the_first_read_is_echoed_at_once_and_so_is_what_follows(serve: Serve, size: int) -> None:
    with unwatched(serve, "echo") as server, server.connect() as client:
        for message in (b"short", b"x" * size, b"y" * 100_000, b"short again"):
            client.sendall(message)
            assert read_exactly(client, len(message)) == message
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b""
        closed = server.wait(Closed)
    assert (closed.reason, closed.bytes_in, closed.bytes_out) == ("eof", size + 100_016, size + 100_016)


def test_small_messages_are_echoed_at_once_after_large_ones(serve: Serve) -> None:
    large = random.Random(2).randbytes(MUCH)
    with unwatched(serve, "echo") as server, server.connect() as client:
        with alongside(lambda: client.sendall(large)):
            assert read_exactly(client, len(large)) == large
        for byte in b"one by one":
            client.send(bytes([byte]))
            assert client.recv(10) == bytes([byte])


def test_echo_waits_for_a_slow_reader_and_loses_nothing(serve: Serve) -> None:
    pattern = random.Random(3).randbytes(1_000_003)
    size = 0
    with unwatched(serve, "echo") as server, server.connect() as client:
        client.settimeout(0.1)
        with contextlib.suppress(TimeoutError):  # all buffers are full, and the server blocks in send
            while True:
                size += client.send(pattern[size % len(pattern) :])
        client.settimeout(5)
        client.shutdown(socket.SHUT_WR)
        received = read_exactly(client, size)
        assert client.recv(1) == b""
    assert received == (pattern * (size // len(pattern) + 1))[:size]


@pytest.mark.parametrize("name", ["echo", "discard"])
def test_reset_in_the_middle_ends_that_client_alone(serve: Serve, name: socketops.ReplyName) -> None:
    with unwatched(serve, name) as server:
        client = server.connect()
        client.sendall(b"x" * 1_000_000)
        reset(client)
        assert server.wait(Closed).reason == "reset"
        with server.connect() as other:
            other.send(b"hello")
            other.shutdown(socket.SHUT_WR)
            assert read_to_end(other) == (b"hello" if name == "echo" else b"")


@pytest.mark.parametrize("name", [pytest.param("echo", marks=pytest.mark.slow), "discard"])
def test_stop_in_the_middle_ends_it(serve: Serve, name: socketops.ReplyName) -> None:
    with unwatched(serve, name) as server, server.connect() as client:
        client.sendall(b"x" * 1_000_000)
        server.wait(Connected)
        with alongside(lambda: flood(client)):
            server.stop.set("SIGTERM")
            summary = server.wait(Summary)
    assert summary.ended_by == "SIGTERM"
    assert summary.bytes_in > 0


def test_discard_counts_every_byte_of_blocks_and_of_what_follows(serve: Serve) -> None:
    with unwatched(serve, "discard") as server, server.connect() as client:
        client.sendall(b"x" * MUCH)
        for _ in range(10):
            client.send(b"y")
        client.sendall(b"x" * (MUCH + 1))
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b""
        closed = server.wait(Closed)
    assert (closed.reason, closed.bytes_in) == ("eof", 2 * MUCH + 11)


@pytest.mark.slow
def test_idle_timeout_counts_from_the_last_byte_of_a_stream(serve: Serve) -> None:
    with unwatched(serve, "discard", idle_timeout=1.0) as server, server.connect() as client:
        client.sendall(b"x" * (MUCH + 1))
        assert read_to_end(client) == b""
        closed = server.wait(Closed)
    assert (closed.reason, closed.bytes_in) == ("timeout", MUCH + 1)
    assert closed.duration_us < 1_800_000


@pytest.mark.slow
def test_a_stream_that_becomes_slow_is_not_taken_for_silent(serve: Serve) -> None:
    with unwatched(serve, "discard", idle_timeout=1.2) as server, server.connect() as client:
        client.sendall(b"x" * MUCH)
        client.settimeout(0.2)
        for _ in range(7):
            client.send(b"y")
            with pytest.raises(TimeoutError):  # while the end of the connection is not there
                client.recv(1)
        client.settimeout(5)
        assert read_to_end(client) == b""
        closed = server.wait(Closed)
    assert (closed.reason, closed.bytes_in) == ("timeout", MUCH + 7)


def test_many_streams_at_once_are_discarded_to_the_last_byte(serve: Serve) -> None:
    with unwatched(serve, "discard") as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(8)]

        def send(client: socket.socket) -> None:
            client.sendall(b"x" * MUCH)
            client.shutdown(socket.SHUT_WR)

        for client in clients:
            stack.enter_context(alongside(partial(send, client)))
        for client in clients:
            assert read_to_end(client) == b""
        counts = [server.wait(Closed, number).bytes_in for number in range(1, 9)]
    assert counts == [MUCH] * 8


class Reminders:
    """What a talk asks of its loop, kept for the test to do."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []
        self.endings: list[Ending] = []

    def remind(self, _moment: float, action: Callable[[], None]) -> tuple[float, int, Callable[[], None]]:
        self.due.append(action)
        return (0.0, 0, action)

    def dismiss(self, _talk: Talk, ending: Ending) -> None:
        self.endings.append(ending)


@pytest.mark.skipif(sys.platform != "linux", reason="MSG_TRUNC drops bytes on Linux only")
def test_bytes_that_wait_for_their_block_are_no_silence() -> None:
    loop, size = Reminders(), 1_000_000
    ours, theirs = socket_pair()
    with ours, theirs, socketops.Stop() as stop:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 7)
        service = Service(
            socketops.make_reply("discard"), stop, received=None, sent=None, struck=None, warn=print, faults=None
        )
        talk = DiscardingTalk(cast(Loop, loop), Client(ours, 1, Transport.TCP, None, 0.0), service, 10.0)
        with alongside(lambda: theirs.sendall(bytes(size))):
            while talk.came < size:
                select.select([ours], [], [], 0.05)  # the last bytes are no whole block
                talk.read()
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == BLOCK
        theirs.send(b"slow")
        for moment in (1.0, 100.0):
            talk.look(moment, idle_timeout=1.0)
        while loop.due:
            loop.due.pop()()
        assert talk.came == size + 4
        assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 7
        assert loop.endings == []
        for moment in (200.0, 300.0):
            talk.look(moment, idle_timeout=1.0)
        assert [ending.reason for ending in loop.endings] == ["timeout"]


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Connect two TCP sockets; the first one never waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours = listener.accept()[0]
    ours.setblocking(False)
    return ours, theirs
