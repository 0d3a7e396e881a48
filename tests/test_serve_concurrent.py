"""netlab serve-tcp --concurrent: many clients of one thread, none of which holds up another."""

from __future__ import annotations

import contextlib
import re
import resource
import select
import selectors
import signal
import socket
import threading
from pathlib import Path

import pytest

from netlab import socketops
from netlab.records import Closed, Connected, Received, Sent, Summary
from tests.programs import Netlab, StartProgram
from tests.servers import connect, listen, read_to_end, running
from tests.test_serve_threaded import clients, count_descriptors, cpu_seconds, say_hello

CONCURRENT = ("serve-tcp", "--concurrent")


def test_clients_are_served_side_by_side_by_one_thread() -> None:
    before = threading.active_count()
    with running(socketops.serve_concurrently) as server, server.connect() as first, server.connect() as second:
        for client in (second, first, second):
            say_hello(client)
        assert threading.active_count() == before + 1
        assert [record.clients for record in server.of(Connected)] == [1, 2]


@pytest.mark.parametrize("watch", [(), {Received, Sent}], ids=["plain", "watched"])
def test_client_that_does_not_read_is_not_read_and_holds_up_nobody(watch: set[type]) -> None:
    pattern = bytes(range(256)) * 256
    with running(socketops.serve_concurrently, reply=socketops.make_reply("echo"), watch=watch) as server:
        with server.connect() as slow, server.connect() as other:
            slow.setblocking(False)
            went = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    went += slow.send(pattern[went % len(pattern) :])
            other.send(b"hello")
            assert other.recv(5, socket.MSG_WAITALL) == b"hello"
            slow.settimeout(5)
            came = bytearray()
            while len(came) < went:  # reading makes room, and every byte that was taken comes back in order
                came += slow.recv(1 << 20)
            assert came == (pattern * (went // len(pattern) + 1))[:went]


@pytest.fixture(params=[selectors.SelectSelector, getattr(selectors, "PollSelector", selectors.SelectSelector)])
def without_epoll(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that has no epoll, as all but Linux."""
    monkeypatch.delattr(select, "epoll", raising=False)
    monkeypatch.setattr(selectors, "DefaultSelector", request.param)


@pytest.mark.usefixtures("without_epoll")
def test_without_epoll_clients_are_served_all_the_same() -> None:
    with running(socketops.serve_concurrently, max_clients=2) as server:
        with server.connect() as first, server.connect() as second:
            for client in (second, first, second):
                say_hello(client)
            with server.connect() as third:
                assert read_to_end(third).startswith(b"server is full")
        server.wait(Closed, 3)
        with server.connect() as fourth:  # at the descriptor of one that has gone
            say_hello(fourth)
            server.stop.set("SIGTERM")
            assert read_to_end(fourth) == b""
        assert server.wait(Summary).clients == 4


@pytest.mark.usefixtures("without_epoll")
def test_without_epoll_a_client_that_does_not_read_holds_up_nobody() -> None:
    test_client_that_does_not_read_is_not_read_and_holds_up_nobody(set())
    test_generator_leaves_room_for_others()


@pytest.mark.usefixtures("without_epoll")
def test_without_epoll_idle_clients_are_closed_and_duration_ends_it() -> None:
    with running(socketops.serve_concurrently, idle_timeout=0.1, duration=0.4) as server, server.connect() as client:
        assert read_to_end(client) == b""
        assert server.wait(Closed).reason == "timeout"
        assert server.wait(Summary).ended_by == "--duration"


def test_generator_leaves_room_for_others() -> None:
    with running(socketops.serve_concurrently, reply=socketops.make_reply("generate"), watch={Closed}) as server:
        with server.connect() as first, server.connect() as second:
            for client in (first, second, first):
                assert client.recv(4, socket.MSG_WAITALL)


def test_idle_time_out_is_each_clients_own() -> None:
    with running(socketops.serve_concurrently, idle_timeout=0.2) as server:
        with server.connect() as silent, server.connect() as talker:
            while not server.of(Closed):
                say_hello(talker)
            assert read_to_end(silent) == b""
            closed = server.wait(Closed)
            assert (closed.conn, closed.reason, closed.operation) == (1, "timeout", "receive")
            assert closed.duration_us >= 0.2e6


def test_client_is_served_while_another_cannot_come_in(start_server: StartProgram) -> None:
    server = start_server(*CONCURRENT, "--reply", "echo")
    with clients(server, 2) as (first, second):
        for client in (first, second):
            client.send(b"x")
            assert client.recv(1) == b"x"
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (count_descriptors(server), 1000))
        with clients(server, 1) as (late,):
            late.send(b"late")
            server.wait_for(r"EMFILE", stderr=True)
            first.send(b"y")
            assert first.recv(1) == b"y"
            before = cpu_seconds(server)
            second.close()
            assert late.recv(4) == b"late"
            assert cpu_seconds(server) - before < 0.1
    done = server.stop()
    assert done.stderr.count(b"warning") == 1


def test_signal_with_five_hundred_live_clients(start_server: StartProgram) -> None:
    server = start_server(*CONCURRENT)
    with clients(server, 500) as all_of_them:
        say_hello(all_of_them[-1])
        done = server.stop(signal.SIGTERM, timeout=1.5)
        assert {read_to_end(client) for client in all_of_them} == {b""}
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b" closed: stopped") == 500
    assert re.search(rb"^stopped by SIGTERM .*: 500 clients, 500 at once, in 5 B, out 17 B$", done.stdout, re.MULTILINE)


def test_log_says_how_it_serves(start_server: StartProgram) -> None:
    server = start_server(*CONCURRENT, "--max-clients", "2")
    with clients(server, 1) as (client,):
        say_hello(client)
    server.wait_for("^#1 closed: peer sent EOF")
    text = server.stop().stdout.decode()
    assert "model: all clients in one thread; reply: ack; exit word: exit; only this host\n" in text
    assert re.search(r"^#1 127\.0\.0\.1:\d+ connected \(1 of 2\)\n", text, re.MULTILINE)


def test_max_clients_needs_it(netlab: Netlab) -> None:
    done = netlab("serve-tcp", "--max-clients", "3")
    assert done.returncode == 2
    assert b"--max-clients needs --concurrent" in done.stderr


def test_summary_counts_all(tmp_path: Path) -> None:
    sockets = [*listen(), *listen(f"unix:{tmp_path}/s")]
    with running(socketops.serve_concurrently, sockets, watch=()) as server:
        for bound in sockets:
            with connect(bound.endpoint) as client:
                say_hello(client)
        server.stop.set("SIGTERM")
        summary = server.wait(Summary)
    assert (summary.clients, summary.bytes_in, summary.bytes_out) == (2, 10, 34)
