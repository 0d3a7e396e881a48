"""Datagrams in batches: each whole, back to its own sender, and none lost by what happens to another."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack

import pytest

from netlab import socketops
from netlab.records import Summary, WarningReport
from netlab.socketops.serving import batches
from tests.servers import bind, running
from tests.test_serve_udp import ask, forge, peer

if sys.platform != "linux":
    pytest.skip("recvmmsg is Linux's", allow_module_level=True)

serve = socketops.serve_datagrams


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_batch_is_what_recvfrom_would_have_given(address: str) -> None:
    with peer(address) as server, peer(address) as one, peer(address) as other:
        batch = batches.batch_for(server, socket.MSG_DONTWAIT)
        assert batch is not None
        sent = [(one, b""), (other, b"a" * 65507), (one, b"\x00\xff")]
        for sock, data in sent:
            sock.sendto(data, server.getsockname())
        assert batch.receive() == 3
        assert batch.sizes(3) == [0, 65507, 2]
        assert batch.ports(3) == [socket.htons(sock.getsockname()[1]) for sock, _ in sent]
        came = [batch.datagram(at) for at in range(3)]
        assert [(bytes(data), *rest) for data, *rest in came] == [(data, sock.getsockname(), []) for sock, data in sent]
        with pytest.raises(BlockingIOError):
            batch.receive()


def test_a_part_of_a_batch_is_sent_back_and_room_is_there_again() -> None:
    with peer() as server, peer() as sock:
        batch = batches.batch_for(server, 0)
        assert batch is not None
        for data in (b"one", b"two two", b"three"):  # loopback delivers within sendto
            sock.sendto(data, server.getsockname())
        assert batch.receive() == 3
        assert batch.send(1, 3) == 2
        assert [sock.recv(100) for _ in range(2)] == [b"two two", b"three"]
        for _ in range(40):
            sock.sendto(b"a larger one than those before", server.getsockname())
        assert [batch.receive(), batch.receive()] == [32, 8]
        assert bytes(batch.datagram(7)[0]) == b"a larger one than those before"


def test_shutdown_ends_the_wait() -> None:
    with peer() as server, peer() as sock:
        server.setblocking(True)
        batch = batches.batch_for(server, 0)
        assert batch is not None
        with pytest.raises(OSError, match="not connected"):  # which wakes a reader nevertheless
            server.shutdown(socket.SHUT_RD)
        assert batch.receive() == 0
        sock.sendto(b"hello", server.getsockname())
        assert batch.receive() == 1
        data, address, _ = batch.datagram(0)
        assert (bytes(data), address) == (b"hello", sock.getsockname())


def test_what_gets_no_answer_takes_none_from_the_others() -> None:
    [bound] = sockets = bind()
    with peer() as one, peer() as other:
        # All are there before the server is, so that they come in one batch.
        for sock, data, source in ((one, b"1", 0), (other, b"22", bound.endpoint.port), (one, b"333", 0)):
            sock.sendto(data, bound.endpoint.to_sockaddr())
            forge(source, bound.endpoint.port, b"four")
        with running(serve, sockets, reply=socketops.make_reply("echo"), watch=()) as server:
            assert [one.recv(100), other.recv(100), one.recv(100)] == [b"1", b"22", b"333"]
            assert ask(one, server, b"hello") == b"hello"
            server.stop.set("SIGTERM")
            summary = server.wait(Summary)
        assert (summary.datagrams_in, summary.bytes_in) == (7, 23)
        assert (summary.datagrams_out, summary.bytes_out) == (4, 11)
        assert [warning.message for warning in server.of(WarningReport)] == [
            "reply to udp://127.0.0.1:0: invalid argument (EINVAL)"
        ]


def test_each_of_a_batch_is_answered_from_where_it_was_sent_to() -> None:
    places = [f"127.0.0.{last}" for last in (2, 3, 2, 4)]
    # SO_TIMESTAMP brings a control message that must not go back.
    [bound] = sockets = bind("udp://0.0.0.0:0", settings=[socketops.parse_setting("SO_TIMESTAMP=1")])
    with ExitStack() as stack:
        peers = [stack.enter_context(peer()) for _ in places]
        server = stack.enter_context(running(serve, sockets, reply=socketops.make_reply("echo"), watch=()))
        for _ in range(20):
            for sock, place in zip(peers, places, strict=True):
                sock.sendto(place.encode(), (place, bound.endpoint.port))
        for sock, place in zip(peers, places, strict=True):
            for _ in range(20):
                assert sock.recvfrom(100) == (place.encode(), (place, bound.endpoint.port))
        forge(0, bound.endpoint.port, b"no port to reply to")
        forge(bound.endpoint.port, bound.endpoint.port, b"our own")
        assert ask(peers[0], server, b"hello") == b"hello"
        assert [warning.message for warning in server.of(WarningReport)] == [
            "reply to udp://127.0.0.1:0: invalid argument (EINVAL)"
        ]


def test_without_the_calls_datagrams_are_answered_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "byteorder", "big")
    with peer() as server:
        assert batches.batch_for(server, 0) is None
    with running(serve, bind(), reply=socketops.make_reply("echo"), watch=()) as running_server, peer() as sock:
        assert ask(sock, running_server, b"hello") == b"hello"
