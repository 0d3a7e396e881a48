"""The fault lab in serve-udp: replies that are late, lost, changed, sent twice or from elsewhere."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab import socketops
from netlab.records import FaultReport, Received, Sent, Summary, WarningReport
from netlab.socketops.faultlab import faultydatagrams, faultyreply
from tests.servers import Running, bind, running
from tests.test_serve_udp import ack, ask, forge, peer

serve = socketops.serve_datagrams
echo = socketops.make_reply("echo")


def faults(*texts: str, seed: int = 1) -> socketops.Faults:
    return socketops.Faults([socketops.parse_fault(text, datagrams=True) for text in texts], seed=seed)


def flood(sock: socket.socket, server: Running, number: int) -> None:
    for _ in range(number):
        sock.sendto(b"x" * 1000, server.endpoint.to_sockaddr())


@contextlib.contextmanager
def peer_beyond_loopback(server: Running) -> Iterator[socket.socket]:
    """A socket of this host whose address is none of loopback's, connected to a server on all of its addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        with contextlib.suppress(OSError):
            sock.connect(("192.0.2.1", 9))  # sends nothing, and shows what the host calls itself
        host = sock.getsockname()[0]
    if host.startswith(("0.", "127.")):
        pytest.skip("this host has no address but loopback's")
    with peer(host) as sock:
        sock.connect((host, server.endpoint.port))
        yield sock


def test_a_reply_is_late_by_as_much_as_was_asked() -> None:
    with running(serve, bind(), reply=ack(), faults=faults("delay=50ms")) as server, peer() as sock:
        before = time.monotonic()
        assert ask(sock, server, b"hello") == b"received 5 bytes\n"
        assert time.monotonic() - before >= 0.05
        [report] = server.of(FaultReport)
        assert (report.fault, report.effect, report.conn) == ("delay", "waits 50 ms", None)
        assert report.peer is not None
        assert report.peer.port == sock.getsockname()[1]


def test_late_replies_are_waited_for_side_by_side() -> None:
    with (
        contextlib.ExitStack() as stack,
        running(serve, bind(), reply=echo, faults=faults("delay=300ms")) as server,
    ):
        peers = [stack.enter_context(peer()) for _ in range(5)]
        for number, sock in enumerate(peers):
            sock.sendto(b"%d" % number, server.endpoint.to_sockaddr())
        assert [sock.recv(100) for sock in peers] == [b"%d" % number for number in range(5)]
        server.wait(Sent, 5)
        told = [record.event for record in server.records if isinstance(record, (FaultReport, Sent))]
        assert told == ["fault"] * 5 + ["sent"] * 5
        assert [record.data for record in server.of(Sent)] == [b"0", b"1", b"2", b"3", b"4"]


def test_the_stop_sends_at_once_what_is_late() -> None:
    with running(serve, bind(), reply=ack(), faults=faults("delay=1h")) as server, peer() as sock:
        sock.sendto(b"hello", server.endpoint.to_sockaddr())
        server.wait(FaultReport)
        server.stop.set("SIGTERM")
        assert sock.recv(100) == b"received 5 bytes\n"
        assert server.wait(Summary).datagrams_out == 1


def test_the_exit_word_stops_the_server_once_its_reply_has_gone() -> None:
    reply = ack(stop_on_exit=True)
    with running(serve, bind(), reply=reply, faults=faults("delay=50ms")) as server, peer() as sock:
        before = time.monotonic()
        assert ask(sock, server, b"exit") == b"received 4 bytes\n"
        assert server.wait(Summary).ended_by == "exit word"
        assert time.monotonic() - before >= 0.05


def test_more_late_replies_than_there_is_room_for_are_left_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faultydatagrams, "_MOST_LATE", 1)
    sockets = bind(settings=[socketops.parse_setting("SO_RCVBUF=8k")])
    with running(serve, sockets, reply=echo, faults=faults("delay=1h")) as server, peer() as sock:
        flood(sock, server, 5000)
        server.wait(FaultReport)
        server.stop.set("SIGTERM")
        summary = server.wait(Summary)
        # One round of reading, and what it kept is answered in the end.
        assert summary.datagrams_in == summary.datagrams_out
        assert summary.datagrams_in is not None
        assert summary.datagrams_in <= 256
        assert any("dropped by the kernel" in warning.message for warning in server.of(WarningReport))


def test_reading_goes_on_once_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faultydatagrams, "_MOST_LATE", 1)
    with running(serve, bind(), reply=echo, faults=faults("delay=1ms")) as server, peer() as sock:
        for number in range(100):
            sock.sendto(b"%d" % number, server.endpoint.to_sockaddr())
        assert [sock.recv(100) for _ in range(100)] == [b"%d" % number for number in range(100)]


def test_a_reply_that_is_held_back_is_overtaken_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faultyreply, "REORDER", 0.3)
    with running(serve, bind(), reply=echo, faults=faults("reorder=100%")) as server, peer() as sock:
        for data in (b"1", b"2", b"3", b"4"):
            sock.sendto(data, server.endpoint.to_sockaddr())
        assert [sock.recv(100) for _ in range(4)] == [b"2", b"4", b"1", b"3"]


def test_a_duplicate_on_loopback() -> None:
    with running(serve, bind(), reply=echo, faults=faults("duplicate=100%")) as server, peer() as sock:
        data = b"x" * 100
        assert ask(sock, server, data) == data
        assert sock.recv(1000) == data
        server.stop.set("SIGTERM")
        assert server.wait(Summary).datagrams_out == 2
        assert not server.of(WarningReport)


def test_a_duplicate_beyond_loopback_only_if_both_are_no_more_than_what_came() -> None:
    sockets = bind("udp://0.0.0.0:0")
    with running(serve, sockets, reply=ack(), faults=faults("duplicate=100%")) as server:
        with peer_beyond_loopback(server) as sock:
            for size, copies in ((36, 2), (35, 1), (5, 1)):
                sock.send(b"x" * size)
                for _ in range(copies):
                    assert sock.recv(100) == b"received %d bytes\n" % size
            server.stop.set("SIGTERM")
            summary = server.wait(Summary)
            assert (summary.datagrams_in, summary.datagrams_out) == (3, 4)
            [warning] = server.of(WarningReport)
            assert warning.message == "beyond loopback a reply is sent twice only if that is no more than what came"


def test_no_fault_makes_a_reply_larger_than_what_came_or_64_bytes() -> None:
    reply = ack(ack_text="x" * 500)
    with running(serve, bind(), reply=reply, faults=faults("garbage", "delay=1ms")) as server, peer() as sock:
        assert len(ask(sock, server, b"hello")) == 64
        assert len(ask(sock, server, b"x" * 100)) == 100
        [warning] = server.of(WarningReport)
        assert warning.message.startswith("replies are cut to 64 bytes")


@pytest.mark.parametrize(
    "chosen", [["delay=10ms"], ["duplicate=100%"], ["reorder=100%"], ["delay=1ms", "corrupt=100%"]]
)
def test_a_faulty_reply_comes_from_the_address_that_was_asked_too(chosen: list[str]) -> None:
    with running(serve, bind("udp://0.0.0.0:0"), reply=echo, faults=faults(*chosen)) as server, peer() as sock:
        sock.connect(("127.0.0.2", server.endpoint.port))
        for data in (b"one", b"two"):
            sock.send(data)
        assert [len(sock.recv(100)) for _ in range(2)] == [3, 3]


def test_only_the_port_is_wrong_of_a_reply_from_the_wrong_port() -> None:
    with running(serve, bind("udp://0.0.0.0:0"), reply=ack(), faults=faults("wrong-port")) as server, peer() as sock:
        sock.sendto(b"hello", ("127.0.0.2", server.endpoint.port))
        data, (host, port) = sock.recvfrom(100)
        assert (data, host) == (b"received 5 bytes\n", "127.0.0.2")
        assert port != server.endpoint.port


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_wrong_port_answers_from_another_socket_of_the_same_address(host: str) -> None:
    sockets = bind(f"udp://[{host}]:0" if ":" in host else f"udp://{host}:0")
    with running(serve, sockets, reply=ack(), faults=faults("wrong-port")) as server, peer(host) as sock:
        place = server.endpoint.to_sockaddr()
        sock.sendto(b"hello", place)
        data, source = sock.recvfrom(100)
        assert (data, source[0]) == (b"received 5 bytes\n", host)
        assert source[1] != server.endpoint.port
        sock.connect(place)
        sock.setblocking(False)
        sock.send(b"hello")
        server.wait(Sent, 2)  # on loopback it has arrived by then, or never will
        with pytest.raises(BlockingIOError):
            sock.recv(100)
    with peer(host) as later:  # the other socket has gone with the server
        later.connect(source)
        later.send(b"hello")
        with pytest.raises(ConnectionRefusedError):
            later.recv(1)


def test_another_servers_answer_from_the_wrong_port_is_not_answered() -> None:
    with (
        running(serve, bind(), reply=echo, faults=faults("wrong-port")) as first,
        running(serve, bind(), reply=echo) as second,
        peer() as sock,
    ):
        for server in (first, second):  # only who serves knows the mark
            assert ask(sock, server, b"hello") == b"hello"
        forge(second.endpoint.port, first.endpoint.port, b"forged")
        first.wait(Sent, 2)
        assert ask(sock, second, b"hello") == b"hello"  # what came before has been read by then
        assert [record.data for record in second.of(Received)] == [b"hello"] * 2


def test_a_reply_is_cut() -> None:
    with running(serve, bind(), reply=echo, faults=faults("truncate=20B")) as server, peer() as sock:
        assert ask(sock, server, bytes(range(100))) == bytes(range(20))
        assert ask(sock, server, b"short") == b"short"


def test_every_byte_is_spoilt() -> None:
    with running(serve, bind(), reply=echo, faults=faults("corrupt=100%")) as server, peer() as sock:
        came = ask(sock, server, bytes(1000))
        assert len(came) == 1000
        assert all(byte.bit_count() == 1 for byte in came)


def test_the_same_seed_loses_the_same_replies() -> None:
    stories = []
    for seed in (1, 1, 2):
        with running(serve, bind(), reply=echo, faults=faults("drop=50%", seed=seed)) as server, peer() as sock:
            for number in range(40):
                sock.sendto(b"%d" % number, server.endpoint.to_sockaddr())
            server.wait(Received, 40)
        stories.append([record.data for record in server.of(Sent)])
        assert len(stories[-1]) + len(server.of(FaultReport)) == 40
    assert stories[0] == stories[1] != stories[2]


def test_a_lost_reply_is_no_answer_for_once() -> None:
    seed = next(seed for seed in range(99) if _loses_only_the_first(faults("drop=50%", seed=seed)))
    with (
        running(serve, bind(), reply=echo, faults=faults("drop=50%", seed=seed), once=True) as server,
        peer() as sock,
    ):
        sock.sendto(b"lost", server.endpoint.to_sockaddr())
        server.wait(FaultReport)
        assert ask(sock, server, b"hello") == b"hello"
        summary = server.wait(Summary)
        assert (summary.ended_by, summary.datagrams_in, summary.datagrams_out) == ("--once", 2, 1)


def _loses_only_the_first(chance: socketops.Faults) -> bool:
    reply = chance.for_datagrams(echo)
    first, second = (list(reply.answer(memoryview(data))) for data in (b"lost", b"hello"))
    return b"lost" not in first and b"hello" in second


def test_unix_datagrams(tmp_path: Path) -> None:
    sockets = bind(f"unix-dgram:{tmp_path}/s")
    with running(serve, sockets, reply=ack(), faults=faults("delay=1ms", "duplicate=100%")) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.bind(str(tmp_path / "c"))
            sock.sendto(b"hello", str(tmp_path / "s"))
            assert [sock.recv(100), sock.recv(100)] == [b"received 5 bytes\n"] * 2
        server.wait(Sent, 2)


def test_a_peer_without_a_name_meets_no_fault(tmp_path: Path) -> None:
    sockets = bind(f"unix-dgram:{tmp_path}/s")
    with running(serve, sockets, reply=ack(), faults=faults("delay=1ms")) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"hello", str(tmp_path / "s"))
            assert server.wait(Received).unanswered == "its sender has no name to reply to"
        server.stop.set("SIGTERM")
        assert server.wait(Summary).datagrams_out == 0
        assert not server.of(FaultReport)
