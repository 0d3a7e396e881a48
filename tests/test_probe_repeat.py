"""probe again and again: a line each, honest counts, and figures that are right whatever ends the run."""

from __future__ import annotations

import itertools
import json
import math
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.endpoint import Endpoint
from netlab.records import Probe, Record, Reply
from netlab.render.repeat_text import repeated_lines, repetition_lines
from netlab.render.text import View
from netlab.reports import ProbeSummary, Repeated, Repetition
from netlab.socketops import Method, Repeating
from netlab.socketops.stats import Samples
from tests import peers
from tests.programs import Netlab, StartProgram

QUICK = Method(timeout=0.1)
PLAIN = View()


def repeat(
    target: str, count: int | None, interval: float, method: Method = QUICK, **options: Any
) -> tuple[Repetition, list[Repeated]]:
    shown: list[Record] = []
    ok = options.pop("ok", ())
    repeating = Repeating(Endpoint.parse(target), method, ok=ok, emit=shown.append)
    repeating.run(count=count, interval=interval, **options)
    return repeating.report(), [record for record in shown if isinstance(record, Repeated)]


def test_every_attempt_is_told_and_counted() -> None:
    with peers.mute_server() as peer:
        report, shown = repeat(peer.endpoint, 4, 0.001)
    assert [one.probe.number for one in shown] == [1, 2, 3, 4]
    assert all(one.probe.verdict == "open" and one.probe.rtt_us for one in shown)
    summary = report.summary
    assert (summary.attempts, summary.verdicts, summary.status) == (4, {"open": 4}, 0)
    figures = summary.statistics
    times = sorted(one.probe.handshake_us or 0 for one in shown)
    assert figures["min_us"] == pytest.approx(times[0], abs=0.001)
    assert figures["max_us"] == pytest.approx(times[-1], abs=0.001)
    assert figures["p50_us"] == pytest.approx(times[1], abs=0.001)
    assert figures["kernel_min_us"] == min(one.probe.rtt_us or 0 for one in shown)
    assert summary.histogram is not None
    assert sum(count for _, _, count in summary.histogram) == 4


def test_without_a_pause_only_the_figures_are_shown() -> None:
    with peers.mute_server() as peer:
        report, shown = repeat(peer.endpoint, 50, 0)
    assert shown == []
    assert report.summary.verdicts == {"open": 50}
    assert {"min_us", "p50_us", "p90_us", "p99_us", "max_us", "mean_us", "sd_us"} <= set(report.summary.statistics)


def test_what_fails_in_between_is_counted_once() -> None:
    """A server that goes away after some connections: the fast way must not try a lost one again."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        target = Endpoint.of("127.0.0.1", listener.getsockname()[1])
        repeating = Repeating(target, QUICK, emit=lambda record: None)
        repeating.run(count=5, interval=0)
        listener.close()
        repeating.run(count=3, interval=0)
    summary = repeating.report().summary
    assert (summary.attempts, summary.verdicts) == (8, {"open": 5, "refused": 3})
    assert summary.status == 0


def test_none_that_is_open_is_explained() -> None:
    with peers.refusing_port() as peer:
        report, shown = repeat(peer.endpoint, 3, 0.001)
    assert [one.probe.verdict for one in shown] == ["refused"] * 3
    assert (report.summary.status, report.summary.statistics) == (7, {})
    assert report.failure is not None
    assert report.next_steps
    assert repetition_lines(PLAIN, report) == ["3 attempts, 0 open, 3 refused, 100 % failed"]


def test_ok_if_holds_here_too() -> None:
    with peers.refusing_port() as peer:
        assert repeat(peer.endpoint, 2, 0.001, ok=("refused",))[0].summary.status == 0
        assert repeat(peer.endpoint, 2, 0.001, ok=("timeout",))[0].summary.status == 1


def test_all_lost_still_has_a_summary() -> None:
    with peers.mute_udp() as peer:
        report, shown = repeat(peer.endpoint, 2, 0.001)
        assert [peer.socket.recv(99) for _ in range(2)] == [b"netlab probe\n"] * 2
    assert [one.probe.tries for one in shown] == [1, 1]
    assert report.summary.status == 28
    assert repetition_lines(PLAIN, report) == ["2 sent, 0 answered, 100 % lost"]


@pytest.fixture
def udp_echo() -> Iterator[str]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)

        def serve() -> None:
            while True:
                data, peer = sock.recvfrom(100)
                if data == b"end":
                    return
                sock.sendto(data, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        port = sock.getsockname()[1]
        yield f"udp://127.0.0.1:{port}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"end", ("127.0.0.1", port))
        thread.join()


def test_answers_over_udp_are_timed(udp_echo: str) -> None:
    report, shown = repeat(udp_echo, 3, 0.001)
    assert [one.reply.bytes_in for one in shown if one.reply] == [13, 13, 13]
    assert repeated_lines(PLAIN, shown[0])[0].startswith(f"open         {udp_echo}  answer 1   13 B  ")
    assert re.match(r"3 sent, 3 answered, 0 % lost    min [\d.]+ [mu]s  p50 ", repetition_lines(PLAIN, report)[0])


def test_the_interval_and_the_duration_hold() -> None:
    with peers.mute_server() as peer:
        started = time.monotonic()
        report, _ = repeat(peer.endpoint, 4, 0.05)
        assert time.monotonic() - started >= 0.15
        started = time.monotonic()
        endless, _ = repeat(peer.endpoint, None, 0.04, duration=0.2)
        assert 0.2 <= time.monotonic() - started < 1.0
    assert report.summary.attempts == 4
    assert 2 <= endless.summary.attempts <= 6


def test_the_address_that_is_open_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    real, lookups = socket.getaddrinfo, []

    def look_up(host: str, *rest: Any) -> Any:
        lookups.append(host)
        hosts = ("::1", "127.0.0.1") if host == "two.test" else (host,)
        return [entry for one in hosts for entry in real(one, *rest)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with peers.mute_server() as peer:
        report, shown = repeat(f"two.test:{peer.port}", 3, 0.001)
    assert [str(one.probe.endpoint) for one in shown] == [f"127.0.0.1:{peer.port}"] * 3
    assert report.summary.verdicts == {"open": 3}
    assert lookups.count("two.test") == 1


def clients_in_time_wait(port: int) -> set[str]:
    states = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {local for _, local, remote, state, *_ in states if remote.endswith(f":{port:04X}") and state == "06"}


def test_hasty_connections_leave_no_port_waiting() -> None:
    with peers.mute_server() as peer:
        before = clients_in_time_wait(peer.port)  # of those who used this port a minute ago
        repeat(peer.endpoint, 20, 0)
        assert clients_in_time_wait(peer.port) <= before


def json_lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_text_and_json_on_the_command_line(netlab_here: Netlab) -> None:
    with peers.mute_server() as peer:
        text = netlab_here("probe", peer.endpoint, "-c", "3", "-i", "5ms")
        as_json = netlab_here("probe", peer.endpoint, "-c", "3", "-i", "5ms", "--json")
        table = netlab_here("probe", peer.endpoint, "-c", "40", "-i", "0")
    lines = text.stdout.decode().splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [["open", peer.endpoint, str(n)] for n in (1, 2, 3)]
    assert lines[3].startswith("3 attempts, 3 open, 0 % failed    min ")
    events = json_lines(as_json)
    assert [event["event"] for event in events] == ["probe"] * 3 + ["summary"]
    assert events[3]["min_us"] <= events[3]["p50_us"] <= events[3]["max_us"]
    assert (text.returncode, as_json.returncode) == (0, 0)
    shown = table.stdout.decode()
    first, empty, head, here = shown.splitlines()[:4]
    assert (first, empty) == ("40 attempts, 40 open, 0 % failed", "")
    assert head == "time         min      p50      p90      p99      max     mean       sd"
    assert here.startswith("here  ")
    assert "\nkernel " in shown
    assert re.search(r"^ +\d.* us - .* \d+ +\d+\.\d\d %  #", shown, re.MULTILINE)


def test_ctrl_c_prints_the_summary(start_netlab: StartProgram) -> None:
    with peers.mute_server() as peer:
        program = start_netlab("probe", peer.endpoint, "-i", "20ms")
        program.wait_for(r"^open +\S+ +3 ")
        done = program.stop(signal.SIGINT)
    assert done.returncode == -signal.SIGINT
    assert re.search(rb"^\d+ attempts, \d+ open, 0 % failed, ended by SIGINT    min ", done.stdout, re.MULTILINE)


def test_ctrl_c_does_not_wait_for_a_silent_peer(start_netlab: StartProgram) -> None:
    with peers.mute_udp() as peer:
        program = start_netlab("probe", peer.endpoint, "-i", "1s", "-w", "60s")
        peer.socket.recv(100)
        started = time.monotonic()
        done = program.stop(signal.SIGINT)
        assert time.monotonic() - started < 5
    assert done.returncode == -signal.SIGINT
    assert done.stdout == b"1 sent, 0 answered, 0 % lost, 1 under way, ended by SIGINT\n"


def test_lines_are_those_that_ping_users_know() -> None:
    target = Endpoint.parse("icmp:127.0.0.1")
    probe = Probe(target=target, endpoint=target, verdict="open", errno=0, duration_us=42.0, number=1)
    reply = Reply(endpoint=target, sequence=1, bytes_in=64, rtt_us=42.0, ttl=64)
    assert repeated_lines(PLAIN, Repeated(probe=probe, reply=reply)) == [
        "open         icmp:127.0.0.1  reply 1   64 B  ttl 64   0.042 ms"
    ]
    figures = {
        "min_us": 38.0,
        "p50_us": 40.0,
        "p90_us": 42.0,
        "p99_us": 42.0,
        "max_us": 42.0,
        "mean_us": 40,
        "sd_us": 2,
    }
    summary = ProbeSummary(
        target=target, attempts=3, verdicts={"open": 3}, duration_us=4e5, status=0, statistics=figures
    )
    assert repetition_lines(PLAIN, Repetition(summary=summary)) == [
        "3 sent, 3 answered, 0 % lost    min 38 us  p50 40 us  p90 42 us  max 42 us  sd 2 us"
    ]


@given(st.lists(st.floats(1e-7, 5e3), min_size=1, max_size=300))
def test_figures_agree_with_their_definitions(times: list[float]) -> None:
    samples = Samples()
    for seconds in times:
        samples.add(seconds)
    ordered = sorted(times)
    assert (samples.count, samples.min, samples.max) == (len(times), ordered[0], ordered[-1])
    mean = math.fsum(times) / len(times)
    assert samples.mean == pytest.approx(mean)
    deviation = math.sqrt(math.fsum((one - mean) ** 2 for one in times) / len(times))
    assert samples.deviation == pytest.approx(deviation, rel=1e-6, abs=1e-9)
    for percent, value in zip((50, 90, 99), samples.percentiles([50, 90, 99]), strict=True):
        below = sum(one <= value for one in times)
        assert value in times
        assert below >= percent / 100 * len(times) - 1e-9
        assert sum(one < value for one in times) < percent / 100 * len(times) + 1e-9
    rows = samples.histogram()
    assert sum(count for _, _, count in rows) == len(times)
    assert (rows[0][0], rows[-1][1]) == (ordered[0], ordered[-1])
    assert all(one[1] == two[0] for one, two in itertools.pairwise(rows))


def test_nothing_measured_has_no_figures() -> None:
    samples = Samples()
    assert (samples.percentiles([50]), samples.histogram(), samples.deviation) == ([], [], 0.0)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netlab.socketops.stats._KEPT", 100)
    samples = Samples()
    for number in range(10_000):
        samples.add(number / 1e4)
    assert len(samples._kept) == 100
    assert samples.count == 10_000
    assert 0.2 < samples.percentiles([50])[0] < 0.8
    assert sum(count for _, _, count in samples.histogram()) == 10_000
