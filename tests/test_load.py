"""Load: what is counted, what is timed from when, how a run ends, and what the report says of it."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netlab.endpoint import Endpoint, Transport
from netlab.errors import AnswerNo, ClosedWithoutReply, ConnectError, NetlabError, ReceiveError, TimedOut
from netlab.render.jsonlines import to_json
from netlab.render.load_text import LINES
from netlab.render.text import View
from netlab.reports import LoadReport
from netlab.socketops import Connection, Expect, Load, Plan, Stop, Until, connect
from tests import peers
from tests.programs import Netlab, StartProgram

ECHO = Expect("echo")


def run(
    target: Endpoint | peers.Peer,
    plan: Plan,
    *messages: bytes,
    until: Until | None = None,
    expect: Expect | None = ECHO,
    stop: Stop | None = None,
) -> tuple[LoadReport, NetlabError | None]:
    endpoint = Endpoint.parse(target.endpoint) if isinstance(target, peers.Peer) else target
    with Connection(connect(endpoint, timeout=5), endpoint) as connection:
        with Load(connection, messages or (b"hello",), plan, until=until, expect=expect) as load:
            load.run(stop=stop)
        return load.report(), load.failure()


@contextmanager
def message_echo(kind: socket.SocketKind, path: str = "") -> Iterator[Endpoint]:
    """Answer each message of UDP, or of a unix socket that keeps messages apart."""
    family = socket.AF_UNIX if path else socket.AF_INET
    with socket.socket(family, kind) as server:
        server.bind(path or ("127.0.0.1", 0))
        server.settimeout(5)
        if kind == socket.SOCK_SEQPACKET:
            server.listen()
            target = Endpoint(Transport.UNIX_SEQPACKET, path=path)
        elif path:
            target = Endpoint(Transport.UNIX_DGRAM, path=path)
        else:
            target = Endpoint.of(*server.getsockname(), transport=Transport.UDP)

        def answer() -> None:
            if kind == socket.SOCK_SEQPACKET:
                with server.accept()[0] as client:
                    while message := client.recv(100):
                        client.send(message)
                return
            while True:
                message, sender = server.recvfrom(100)
                if message == b"end":
                    return
                server.sendto(message, sender)

        thread = threading.Thread(target=answer)
        thread.start()
        yield target
        if kind == socket.SOCK_DGRAM:
            with connect(target, timeout=1) as end:
                end.send(b"end")
        thread.join(5)
        assert not thread.is_alive()


# What is counted


def test_every_exchange_is_counted_and_checked() -> None:
    with peers.echo_server() as peer:
        report, failure = run(peer, Plan(count=200, jobs=7), b"hello", b"you")
        assert len(peer.received) == report.bytes_out == report.bytes_in
    assert failure is None
    assert (report.exchanges, report.connections, report.failed, report.reconnects) == (200, 7, 0, 0)
    assert (report.unfinished, report.checked, report.ended_by) == (0, "echo", None)
    assert report.histogram is not None
    assert sum(count for _, _, count in report.histogram) == 200
    times = report.statistics
    assert list(times) == ["min_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us", "mean_us", "sd_us"]
    assert 0 < times["min_us"] <= times["p50_us"] <= times["p999_us"] <= times["max_us"]


def test_no_more_connections_than_exchanges() -> None:
    with peers.echo_server() as peer:
        report, _ = run(peer, Plan(count=2, jobs=50))
    assert (report.exchanges, report.connections) == (2, 2)


def test_replies_that_differ_are_failures_and_no_times() -> None:
    with peers.echo_server(spoil=b"b") as peer:
        report, failure = run(peer, Plan(count=12), b"a", b"b", b"c")
    assert (report.exchanges, report.failures) == (8, {"failed_unexpected": 4})
    assert report.histogram is not None
    assert sum(count for _, _, count in report.histogram) == 8
    assert isinstance(failure, AnswerNo)
    assert failure.cause == "4 of 12 exchanges failed"
    assert failure.facts[0].startswith("4 unexpected, first: expect ")
    assert failure.facts[0].endswith('another reply came: "B"')


@pytest.mark.parametrize(
    ("expect", "failed"),
    [(None, 0), (Expect("text", "ell"), 0), (Expect("regex", "^h.*o$"), 0), (Expect("text", "x"), 5)],
)
def test_what_is_expected_may_be_anything(expect: Expect | None, failed: int) -> None:
    with peers.echo_server() as peer:
        report, _ = run(peer, Plan(count=5), expect=expect)
    assert (report.exchanges, report.failed) == (5 - failed, failed)


def test_a_reply_in_pieces_is_whole_by_its_rule() -> None:
    def answer_in_pieces(listener: socket.socket) -> None:
        pause = threading.Event()
        with listener.accept()[0] as client:
            while client.recv(100):
                client.sendall(b"on")
                pause.wait(0.02)
                client.sendall(b"e\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_in_pieces, args=(listener,))
        thread.start()
        report, failure = run(Endpoint.of(*listener.getsockname()), Plan(count=3), until=Until("line"), expect=None)
        thread.join()
    assert (report.exchanges, report.bytes_in, failure) == (3, 12, None)
    assert report.statistics["min_us"] >= 20_000, "to the last byte"


def test_an_echo_larger_than_any_buffer_comes_back_whole() -> None:
    message = bytes(range(256)) * 24_000
    with peers.echo_server() as peer:
        report, failure = run(peer, Plan(count=2), message)
    assert (report.exchanges, failure) == (2, None)
    assert report.bytes_in == 2 * len(message)


def test_a_connection_for_each_exchange() -> None:
    with peers.echo_server() as peer:
        report, _ = run(peer, Plan(count=20, jobs=4, reconnect=True))
    assert (report.exchanges, report.failed, report.reconnects) == (20, 0, 16)


def test_half_close_after_each_message() -> None:
    def answer_at_eof(listener: socket.socket) -> None:
        for _ in range(3):
            with listener.accept()[0] as client:
                client.sendall(b"".join(iter(lambda: client.recv(100), b"")))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        thread = threading.Thread(target=answer_at_eof, args=(listener,))
        thread.start()
        target = Endpoint.of(*listener.getsockname())
        report, failure = run(target, Plan(count=3, reconnect=True, half_close=True), until=Until("close"))
        thread.join()
    assert (report.exchanges, failure) == (3, None)


@pytest.mark.parametrize(
    ("kind", "named"), [(socket.SOCK_DGRAM, False), (socket.SOCK_DGRAM, True), (socket.SOCK_SEQPACKET, True)]
)
def test_messages_that_keep_their_borders(kind: socket.SocketKind, named: bool, tmp_path: Path) -> None:
    with message_echo(kind, str(tmp_path / "s") if named else "") as target:
        report, failure = run(target, Plan(count=50))
    assert (report.exchanges, failure) == (50, None)


def test_where_no_reply_is_awaited_the_kernel_acknowledges() -> None:
    with peers.mute_server() as peer:
        report, failure = run(peer, Plan(count=1000, jobs=3), until=Until("none"), expect=None)
        peer.wait_received(b"hello" * 300)
    assert (report.exchanges, report.bytes_out, failure) == (1000, 5000, None)
    assert (report.statistics, report.histogram) == ({}, None)


# How it fails


def test_failures_of_one_kind_have_their_own_status() -> None:
    plan = Plan(count=3, jobs=2, timeout=0.05)
    with peers.mute_server() as peer:
        report, failure = run(peer, plan)
        assert (report.failures, type(failure)) == ({"failed_timeout": 3}, TimedOut)
        assert str(failure) == f"receive {peer.endpoint}: no reply within 50 ms"
    with peers.closing_server(5) as peer:
        report, failure = run(peer, plan)
        assert (report.failures, type(failure)) == ({"failed_closed": 3}, ClosedWithoutReply)
    with peers.resetting_server(5) as peer:
        report, failure = run(peer, plan)
        assert (report.failures, type(failure)) == ({"failed_reset": 3}, ReceiveError)
    assert failure is not None
    assert failure.facts == ("3 of 3 exchanges failed",)


def test_a_server_that_goes_away_is_refused_and_not_hammered() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_once_and_go() -> None:
            with listener.accept()[0] as client:
                client.sendall(client.recv(100))
                listener.close()

        thread = threading.Thread(target=answer_once_and_go)
        thread.start()
        target = Endpoint.of(*listener.getsockname())
        started = time.monotonic()
        report, failure = run(target, Plan(count=4, reconnect=True))
        thread.join()
    assert (report.exchanges, report.failures) == (1, {"failed_refused": 3})
    assert isinstance(failure, AnswerNo)
    assert time.monotonic() - started > 0.2, "100 ms between two tries"


def test_a_refused_datagram_is_refused() -> None:
    with peers.refusing_udp() as peer:
        report, failure = run(peer, Plan(count=2))
    assert (report.failures, type(failure)) == ({"failed_refused": 2}, ConnectError)


def test_a_lost_datagram_does_not_spoil_the_next_exchange() -> None:
    with peers.mute_udp() as peer:

        def answer_late() -> None:
            _, first = peer.socket.recvfrom(100)
            _, second = peer.socket.recvfrom(100)
            assert first != second, "a late reply to the first must not be taken for the second's"
            peer.socket.sendto(b"hello", first)
            peer.socket.sendto(b"hello", second)

        thread = threading.Thread(target=answer_late)
        thread.start()
        report, _ = run(peer, Plan(count=2, timeout=0.1))
        thread.join()
    assert (report.exchanges, report.failures) == (1, {"failed_timeout": 1})


# How it ends, and what is timed


def test_duration_ends_it_in_good_order() -> None:
    with peers.echo_server() as peer:
        report, failure = run(peer, Plan(duration=0.1))
    assert (report.ended_by, failure) == ("--duration", None)
    assert report.exchanges > 0
    assert 0.1e6 <= report.duration_us < 1e6


def test_a_deadline_is_a_failure() -> None:
    with peers.echo_server() as peer:
        report, failure = run(peer, Plan(count=5, interval=0.1, deadline=time.monotonic() + 0.15))
    assert (report.ended_by, report.failed, type(failure)) == ("--deadline", 0, TimedOut)


def test_a_stop_ends_it_with_the_figures_so_far() -> None:
    with peers.late_server(60) as peer, Stop() as stop:
        threading.Timer(0.05, stop.set, ("SIGINT",)).start()
        report, failure = run(peer, Plan(jobs=2), stop=stop)
    assert (report.exchanges, report.unfinished, report.ended_by, failure) == (0, 2, "SIGINT", None)


def test_interval_paces_each_connection() -> None:
    with peers.echo_server() as peer:
        report, _ = run(peer, Plan(count=4, jobs=2, interval=0.1))
    assert 0.1e6 <= report.duration_us < 0.3e6, "two at once, and two after 100 ms"
    assert report.statistics["max_us"] < 0.09e6, "the pause is no part of a reply's time"


def test_a_closed_loop_hides_a_stall_and_the_open_loop_does_not() -> None:
    with peers.echo_server(stall=0.2) as peer:
        closed, _ = run(peer, Plan(count=40))
        opened, _ = run(peer, Plan(count=40, rate=100))
    slow = [sum(count for low, _, count in report.histogram or () if low >= 50_000) for report in (closed, opened)]
    assert slow[0] == 1, "one message was sent into the stall, and waited"
    assert slow[1] >= 14, "at 100 a second 20 were due in it, and had to wait for its end"
    assert opened.duration_us >= 0.39e6


def test_a_rate_is_kept_over_all_connections() -> None:
    with peers.echo_server() as peer:
        report, _ = run(peer, Plan(count=60, jobs=3, rate=300))
    assert 0.19e6 < report.duration_us < 0.5e6
    assert report.asked_per_s == 300


# The report


def test_the_report_as_text() -> None:
    report = LoadReport(
        target=Endpoint.parse(":9999"),
        exchanges=100_000,
        connections=50,
        exchanges_per_s=51_813.0,
        failed=2,
        failures={"failed_timeout": 2},
        bytes_out=500_000,
        bytes_in=499_990,
        duration_us=1.93e6,
        checked="echo",
        statistics={
            "min_us": 31.0,
            "p50_us": 912.0,
            "p999_us": 3900.0,
            "max_us": 8120.0,
            "mean_us": 962.0,
            "sd_us": 310.0,
        },
        histogram=((31.0, 50.0, 3), (50.0, 8120.0, 99_997)),
    )
    assert LINES[LoadReport](View(), report) == [
        "100,000 exchanges on 50 connections in 1.93 s: 51,813/s, 2 failed, 0 reconnects",
        "failed: 2 timeout",
        "out 500,000 B, in 499,990 B",
        "",
        "time         min      p50    p99.9      max     mean       sd",
        "rtt        31 us   912 us  3.90 ms  8.12 ms   962 us   310 us",
        "",
        "   31 us - 50 us            3    0.00 %  #",
        "   50 us - 8.12 ms     99,997  100.00 %  ######################################",
    ]
    line = json.loads(to_json(report))
    assert line["event"] == "summary"
    assert (line["failed_timeout"], line["p999_us"], line["histogram"][0]) == (2, 3900, [31, 50, 3])


def test_the_report_says_from_when_times_count() -> None:
    front = {"target": Endpoint.parse(":9999"), "exchanges": 1, "connections": 1, "exchanges_per_s": 1.0, "failed": 0}
    statistics = {"min_us": 31.0}
    asked = LoadReport(**front, statistics=statistics, asked_per_s=1000.0)  # type: ignore[arg-type]
    assert "asked for 1,000/s; times count from when each message was due" in LINES[LoadReport](View(), asked)
    anew = LoadReport(**front, statistics=statistics, reconnecting=True)  # type: ignore[arg-type]
    assert "times include connecting" in LINES[LoadReport](View(), anew)


# The command


def test_send_repeats_and_reports_on_stdout(netlab: Netlab) -> None:
    with peers.echo_server() as peer:
        done = netlab("send", peer.endpoint, "-c", "60", "-j", "3", "--expect-echo", "hello")
    assert (done.returncode, done.stderr) == (0, b"")
    first, second, *_ = done.stdout.decode().splitlines()
    assert first.startswith("60 exchanges on 3 connections in ")
    assert second == "out 300 B, in 300 B, every reply equal to its message"


def test_one_is_enough_to_be_a_load_if_it_is_asked_for(netlab: Netlab) -> None:
    with peers.echo_server() as peer:
        done = netlab("send", peer.endpoint, "-c", "1", "--json", "hello")
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["connected", "summary"]


def test_failures_decide_the_status(netlab: Netlab) -> None:
    with peers.echo_server(spoil=b"b") as peer:
        done = netlab("send", peer.endpoint, "-c", "2", "--expect-echo", "a", "b")
    assert done.returncode == 1
    assert done.stdout.startswith(b"1 exchange on 1 connection in ")
    assert b"1 of 2 exchanges failed" in done.stderr


def test_ctrl_c_shows_the_figures_and_ends_by_the_signal(start_netlab: StartProgram) -> None:
    with peers.echo_server() as peer:
        client = start_netlab("send", peer.endpoint, "-c", "0", "-j", "2", "hello")
        peer.wait_received(b"hello" * 50)
        done = client.stop(signal.SIGINT)
    assert done.returncode == -signal.SIGINT
    assert b"\nended by SIGINT" in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["-c", "2", "-f", "x"], "repeat a MESSAGE"),
        (["-c", "2", "--until", "quiet", "x"], "no silence ends a reply"),
        (["--rate", "5", "-i", "1s", "x"], "exclude each other"),
        (["-j", "2", "-N", "x"], "needs --reconnect"),
        (["-j", "2", "-s", ":5000", "x"], "-s with a port is for one connection"),
        (["-c", "2", "-x", "x"], "-o and -x are for replies"),
        (["-j", "9999999", "x"], "is too many"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(netlab_here: Netlab, args: list[str], says: str) -> None:
    done = netlab_here("send", ":9", *args)
    assert done.returncode == 2
    assert says in done.stderr.decode().splitlines()[-1]
