"""Faults in the servers that block, serve-tcp and serve-threaded, and resets in all, as their clients meet them."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netlab import socketops
from netlab.errors import TimedOut
from netlab.records import Closed, Connected, FaultReport, Received, Record, Sent, Summary
from tests.servers import Running, flood, listen, read_line, read_to_end, running

Serve = Callable[..., None]
RESET_ON_CLOSE = struct.pack("ii", 1, 0)
BOTH = pytest.mark.parametrize(
    "serve", [socketops.serve_iteratively, socketops.serve_threaded], ids=["iterative", "threaded"]
)

ALL = pytest.mark.parametrize(
    "serve",
    [socketops.serve_iteratively, socketops.serve_concurrently, socketops.serve_threaded],
    ids=["iterative", "concurrent", "threaded"],
)


def faults(*texts: str, seed: int = 1) -> socketops.Faults:
    return socketops.Faults([socketops.parse_fault(text) for text in texts], seed=seed)


@contextlib.contextmanager
def misbehaving(serve: Serve, *texts: str, reply: str = "ack", **options: Any) -> Iterator[Running]:
    """A server with these faults."""
    made = socketops.make_reply(reply)  # type: ignore[arg-type]
    with running(serve, reply=made, faults=faults(*texts), **options) as server:
        yield server


def reset(sock: socket.socket) -> None:
    """End a connection by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


def wait_strike(server: Running, number: int = 1) -> tuple[str, str, int | None]:
    report = server.wait(FaultReport, number)
    return report.fault, report.effect, report.conn


@BOTH
def test_delay_is_told_and_waited_for(serve: Serve) -> None:
    with misbehaving(serve, "delay=50ms") as server, server.connect() as client:
        started = time.monotonic()
        client.sendall(b"hello")
        assert read_line(client) == b"received 5 bytes\n"
        assert time.monotonic() - started >= 0.05
        assert wait_strike(server) == ("delay", "waits 50 ms", 1)
        assert server.of(FaultReport)[0].peer == server.of(Connected)[0].peer


def delays_and_replies(server: Running) -> list[str]:
    """In which order five clients who come at once are delayed and answered."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(5)]
        for client in clients:
            client.sendall(b"hello")
        for client in clients:
            assert read_line(client) == b"received 5 bytes\n"
            client.close()
    server.wait(Closed, 5)
    return [record.event for record in server.records if isinstance(record, (FaultReport, Sent))]


def test_one_thread_delays_its_clients_one_after_the_other() -> None:
    with misbehaving(socketops.serve_iteratively, "delay=30ms") as server:
        started = time.monotonic()
        assert delays_and_replies(server) == ["fault", "sent"] * 5
        assert time.monotonic() - started >= 0.15


def test_threads_delay_all_clients_at_once() -> None:
    with misbehaving(socketops.serve_threaded, "delay=300ms") as server:
        assert delays_and_replies(server) == ["fault"] * 5 + ["sent"] * 5


@BOTH
def test_a_stop_ends_a_delay_at_once(serve: Serve) -> None:
    with misbehaving(serve, "delay=1h") as server, server.connect() as client:
        client.sendall(b"hello")
        wait_strike(server)
        server.stop.set("the test")
        assert read_to_end(client) == b"received 5 bytes\n"
        assert server.wait(Closed).reason == "stopped"


@BOTH
def test_who_resets_during_a_delay_is_not_waited_for(serve: Serve) -> None:
    with misbehaving(serve, "delay=1h") as server:
        client = server.connect()
        client.sendall(b"hello")
        wait_strike(server)
        reset(client)
        closed = server.wait(Closed)
        assert (closed.reason, closed.errno, closed.operation) == ("reset", errno.ECONNRESET, "receive")
        with server.connect():
            server.wait(Connected, 2)


def test_a_unix_client_that_has_gone_is_noticed_at_the_end_of_the_delay(tmp_path: Path) -> None:
    with misbehaving(socketops.serve_iteratively, "delay=50ms", sockets=listen(f"unix:{tmp_path}/s")) as server:
        with server.connect() as client:
            client.sendall(b"hello")
            wait_strike(server)
        closed = server.wait(Closed)
        assert (closed.reason, closed.operation) == ("reset", "send")


@BOTH
def test_close_after_so_many_bytes(serve: Serve) -> None:
    with misbehaving(serve, "close-after=5B") as server, server.connect() as client:
        client.sendall(b"hello")
        assert read_to_end(client) == b"recei"
        closed = server.wait(Closed)
        assert (closed.reason, closed.errno, closed.bytes_in, closed.bytes_out) == ("fault", None, 5, 5)
        assert wait_strike(server) == ("close-after", "FIN after 5 B", 1)


@BOTH
def test_reset_after_so_many_bytes(serve: Serve) -> None:
    with misbehaving(serve, "reset-after=5B") as server, server.connect() as client:
        client.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"recei"
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert server.wait(Closed).reason == "fault"


@ALL
def test_a_reset_waits_until_all_before_it_has_arrived(serve: Serve) -> None:
    with misbehaving(serve, "reset-after=300000", reply="generate") as server, server.connect() as client:
        assert wait_strike(server) == ("reset-after", "RST after 300,000 B", 1)
        came = bytearray()
        while len(came) < 300_000:
            came += client.recv(65536)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert server.wait(Closed).reason == "fault"


@ALL
def test_a_reset_does_not_wait_for_ever_for_who_does_not_read(serve: Serve) -> None:
    sockets = listen(settings=[socketops.parse_setting("SO_SNDTIMEO=100ms")])
    with misbehaving(serve, "reset-after=300000", reply="generate", sockets=sockets) as server:
        with server.connect() as client:
            assert server.wait(Closed).reason == "fault"
            with pytest.raises(ConnectionResetError):
                read_to_end(client)


@ALL
def test_a_reset_that_waits_ends_with_the_stop(serve: Serve) -> None:
    with misbehaving(serve, "reset-after=300000", reply="generate") as server, server.connect():
        wait_strike(server)
        server.stop.set("the test")
        assert server.wait(Closed).reason == "stopped"


@ALL
def test_a_client_that_resets_first_is_not_waited_for(serve: Serve) -> None:
    with misbehaving(serve, "reset-after=300000", reply="generate") as server:
        client = server.connect()
        wait_strike(server)
        reset(client)
        assert server.wait(Closed).reason == "reset"


@BOTH
def test_the_bytes_are_counted_over_the_whole_connection(serve: Serve) -> None:
    with misbehaving(serve, "close-after=20B") as server, server.connect() as client:
        client.sendall(b"hello")
        assert read_line(client) == b"received 5 bytes\n"
        client.sendall(b"hello")
        assert read_to_end(client) == b"rec"


@BOTH
def test_half_close_goes_on_reading(serve: Serve) -> None:
    with misbehaving(serve, "half-close") as server:
        with server.connect() as client:
            assert client.recv(1) == b""
            client.sendall(b"hello")
            assert server.wait(Received).data == b"hello"
        closed = server.wait(Closed)
        assert (closed.reason, closed.bytes_in, closed.bytes_out) == ("eof", 5, 0)


@BOTH
def test_stall_never_reads(serve: Serve) -> None:
    with misbehaving(serve, "stall") as server:
        client = server.connect()
        client.settimeout(0.1)
        flood(client)
        reset(client)
        closed = server.wait(Closed)
        assert (closed.reason, closed.errno, closed.bytes_in) == ("reset", errno.ECONNRESET, 0)
        assert not server.of(Received)


@BOTH
def test_stall_ends_with_the_idle_time_out(serve: Serve) -> None:
    with misbehaving(serve, "stall", idle_timeout=0.05) as server, server.connect() as client:
        assert client.recv(1) == b""
        closed = server.wait(Closed)
        assert (closed.reason, closed.operation) == ("timeout", "receive")


@BOTH
def test_stall_ends_with_the_stop(serve: Serve) -> None:
    with misbehaving(serve, "stall") as server, server.connect() as client:
        client.sendall(b"hello")
        wait_strike(server)
        server.stop.set("the test")
        assert client.recv(1) == b""
        assert server.wait(Closed).reason == "stopped"


def test_a_unix_client_of_a_stalled_server_may_leave(tmp_path: Path) -> None:
    with misbehaving(socketops.serve_iteratively, "stall", sockets=listen(f"unix:{tmp_path}/s")) as server:
        with server.connect() as client:
            client.sendall(b"hello")
            wait_strike(server)
        assert server.wait(Closed).reason == "eof"


@BOTH
def test_each_third_connection_is_reset(serve: Serve) -> None:
    with misbehaving(serve, "refuse-every=3") as server:
        for number in range(1, 7):
            with server.connect() as client:
                if number % 3:
                    client.sendall(b"hello")
                    assert read_line(client) == b"received 5 bytes\n"
                else:
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
            server.wait(Closed, number)
        assert [closed.reason for closed in server.of(Closed)] == ["eof", "eof", "fault"] * 2


@BOTH
def test_no_reply(serve: Serve) -> None:
    with misbehaving(serve, "no-reply") as server, server.connect() as client:
        client.sendall(b"hello")
        assert wait_strike(server) == ("no-reply", "17 B not sent", 1)
        client.sendall(b"exit")
        assert read_to_end(client) == b""
        assert server.wait(Closed).reason == "exit"


@BOTH
def test_corrupt_flips_bits(serve: Serve) -> None:
    with misbehaving(serve, "corrupt=100%", reply="echo") as server, server.connect() as client:
        client.sendall(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert [(a ^ b).bit_count() for a, b in zip(read_to_end(client), b"hello", strict=True)] == [1] * 5


@BOTH
def test_garbage_repeats_for_each_connection(serve: Serve) -> None:
    def replies() -> list[bytes]:
        with misbehaving(serve, "garbage") as server:
            got = []
            for _ in range(3):
                with server.connect() as client:
                    client.sendall(b"hello")
                    client.shutdown(socket.SHUT_WR)
                    got.append(read_to_end(client))
            return got

    first = replies()
    assert [len(reply) for reply in first] == [17] * 3
    assert len({b"received 5 bytes\n", *first}) == 4
    assert replies() == first


@BOTH
def test_split_utf8_sends_parts_of_characters(serve: Serve) -> None:
    data = "\N{SNOWMAN}\N{PILE OF POO}!".encode()
    with misbehaving(serve, "split-utf8", reply="echo") as server, server.connect() as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == data
        parts = [sent.data for sent in server.of(Sent)]
        assert len(parts) == 3
        assert b"".join(parts) == data
        assert parts[0] in (data[:1], data[:2])


@BOTH
def test_dribble_and_rate(serve: Serve) -> None:
    with misbehaving(serve, "dribble=5B/1ms", "rate=200") as server, server.connect() as client:
        started = time.monotonic()
        client.sendall(b"hello")
        assert read_line(client) == b"received 5 bytes\n"
        assert time.monotonic() - started >= 0.07
        server.wait(Sent, 4)
        assert [len(sent.data) for sent in server.of(Sent)] == [5, 5, 5, 2]
        told = {(report.fault, report.effect) for report in server.of(FaultReport)}
        assert told == {("dribble", "5 B every 1 ms"), ("rate", "200 B a second")}


def test_each_piece_of_a_dribble_is_a_record_of_its_own(tmp_path: Path) -> None:
    sockets = listen(f"unix-seqpacket:{tmp_path}/s")
    with misbehaving(socketops.serve_threaded, "dribble=9B/1ms", sockets=sockets) as server:
        with server.connect() as client:
            client.sendall(b"hello")
            assert [client.recv(100), client.recv(100)] == [b"received ", b"5 bytes\n"]


def test_drop_is_the_same_in_both_servers() -> None:
    def kept(serve: Serve) -> list[bytes]:
        with misbehaving(serve, "drop=50%", reply="echo") as server:
            got = []
            for conn in range(3):
                with server.connect() as client:
                    for number in range(10):
                        client.sendall(b"%d" % number)
                        server.wait(Received, 10 * conn + number + 1)
                    client.shutdown(socket.SHUT_WR)
                    got.append(read_to_end(client))
            return got

    one, other = kept(socketops.serve_iteratively), kept(socketops.serve_threaded)
    assert one == other
    assert len(set(one)) == 3


@BOTH
def test_generate_is_cut(serve: Serve) -> None:
    with misbehaving(serve, "close-after=100000", reply="generate") as server, server.connect() as client:
        assert len(read_to_end(client)) == 100_000
        assert server.wait(Closed).reason == "fault"


@BOTH
def test_nothing_is_made_that_nobody_watches(serve: Serve) -> None:
    with misbehaving(serve, "corrupt=100%", reply="echo", watch=set()) as server:
        with server.connect() as client:
            client.sendall(b"hello")
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(client) not in (b"", b"hello")
        server.stop.set("the test")
        assert server.wait(Summary).bytes_in == 5
        assert [record.event for record in server.records] == ["summary"]


# A server that accepts nobody.


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@BOTH
def test_no_accept_lets_connects_time_out(serve: Serve) -> None:
    before = descriptors()
    with misbehaving(serve, "no-accept") as server:
        assert server.wait(FaultReport).effect == f"the accept queue of {server.endpoint} is full"
        with pytest.raises(TimedOut):
            socketops.connect(server.endpoint, timeout=0.05)
        assert not server.of(Connected)
    assert server.wait(Summary).ended_by == "the test"
    assert descriptors() == before


@pytest.mark.parametrize("scheme", ["unix", "unix-seqpacket"])
def test_no_accept_on_a_unix_socket(tmp_path: Path, scheme: str) -> None:
    with misbehaving(socketops.serve_threaded, "no-accept", sockets=listen(f"{scheme}:{tmp_path}/s")) as server:
        server.wait(FaultReport)
        with socket.socket(socket.AF_UNIX, server.sockets[0].sock.type) as client:
            client.setblocking(False)
            assert client.connect_ex(f"{tmp_path}/s") == errno.EAGAIN


def test_no_accept_ends_after_its_duration() -> None:
    with misbehaving(socketops.serve_iteratively, "no-accept", duration=0.05) as server:
        assert server.wait(Summary).ended_by == "--duration"


def test_queues_that_were_filled_before_are_left_as_they_are() -> None:
    with misbehaving_after_full_queues() as (server, records):
        server.wait(FaultReport)
        with pytest.raises(TimedOut):
            socketops.connect(server.endpoint, timeout=0.05)
        assert socketops.accept_queue(server.sockets[0].sock) == (1, 0)
        assert not [record for record in records if isinstance(record, Connected)]


@contextlib.contextmanager
def misbehaving_after_full_queues() -> Iterator[tuple[Running, list[Record]]]:
    sockets = listen(backlog=50)
    with socketops.full_queues(sockets), misbehaving(socketops.serve_iteratively, "no-accept", sockets=sockets) as made:
        yield made, made.records


def test_an_adopted_listener_gets_its_backlog_back() -> None:
    with listen(backlog=50)[0] as bound:
        lent = socketops.Bound(bound.sock, bound.endpoint, adopted=True)
        with socketops.full_queues([lent]):
            assert socketops.accept_queue(bound.sock) == (1, 0)
        told = socketops.accept_queue(bound.sock)
        assert told is not None
        assert told[1] == 50


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_a_queue_of_all_addresses_is_filled(host: str) -> None:
    with listen(f"{host}:0")[0] as bound, socketops.full_queues([bound]):
        assert socketops.accept_queue(bound.sock) == (1, 0)
