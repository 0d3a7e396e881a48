"""probe with many targets: what is listed, what is counted, in which order, how fast, and never a false open."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlab.endpoint import Endpoint, split_targets
from netlab.records import Probe, Record
from netlab.reports import Survey
from netlab.socketops import Group, Method, Stop, survey
from netlab.socketops.probing.scanning import Place, is_local, scan_here, scan_window
from netlab.socketops.probing.surveying import _by_turns
from tests import peers
from tests.programs import Netlab, clean_environment

QUICK = Method(timeout=0.15)
SCANNED = "127.66.7.1"
"""Where ranges are scanned.  Other tests run at the same time and count their clients: a scan has to keep to an address
that is none of theirs, and to ports below those that the kernel gives for port 0."""


def groups(*words: str) -> list[Group]:
    return [split_targets(word) for word in words]


def run(*words: str, method: Method = QUICK, **options: Any) -> tuple[Survey, list[Probe]]:
    """Survey targets; return the report, and the targets that were shown."""
    shown: list[Record] = []
    report = survey(groups(*words), method, emit=shown.append, **options)
    return report, [record for record in shown if isinstance(record, Probe)]


def told(probes: list[Probe]) -> list[tuple[str, str]]:
    return [(str(probe.target), probe.verdict) for probe in probes]


@contextlib.contextmanager
def listeners(count: int) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(peers.mute_server()).port for _ in range(count)]


@contextlib.contextmanager
def listeners_to_scan(count: int) -> Iterator[list[int]]:
    """Listen some hundred ports apart on `SCANNED`."""
    with contextlib.ExitStack() as stack:
        ports: list[int] = []
        for port in range(20_000, 30_000):
            if len(ports) < count and port >= 20_000 + 500 * len(ports):
                with contextlib.suppress(OSError):  # somebody listens there on all addresses
                    ports.append(stack.enter_context(peers.mute_server((SCANNED, port))).port)
        yield ports


@contextlib.contextmanager
def closed_ports(count: int) -> Iterator[list[int]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(peers.refusing_port()).port for _ in range(count)]


def test_few_are_a_line_each_in_the_order_they_were_named(tmp_path: Path) -> None:
    with (
        listeners(1) as (port,),
        closed_ports(1) as (shut,),
        peers.silent_listener() as silent,
        peers.mute_udp() as mute,
    ):
        words = [
            silent.endpoint,
            f"unix:{tmp_path}/none",
            mute.endpoint,
            f"127.0.0.1:{shut},{port}",
            "no-name.invalid:1",
        ]
        report, shown = run(*words)
    assert told(shown) == [
        (silent.endpoint, "timeout"),
        (f"unix:{tmp_path}/none", "missing"),
        (mute.endpoint, "no-answer"),
        (f"127.0.0.1:{shut}", "refused"),
        (f"127.0.0.1:{port}", "open"),
        ("no-name.invalid:1", "unresolved"),
    ]
    assert report.summary.attempts == 6
    assert report.summary.verdicts == dict.fromkeys(
        ("open", "timeout", "no-answer", "refused", "missing", "unresolved"), 1
    )
    assert report.summary.status == 1
    assert report.failure is not None
    assert report.failure.message == "probe: 5 of 6 targets are not open"


def test_hosts_and_ports_over_udp_are_not_mixed_up() -> None:
    with peers.refusing_udp() as one, peers.mute_udp() as two, peers.mute_udp("::1") as three:
        report, shown = run(
            f"udp://127.0.0.1:{one.port},{two.port}", f"udp://127.0.0.2:{two.port}", f"udp://[::1]:{three.port}"
        )
    assert told(shown) == [
        (f"udp://127.0.0.1:{one.port}", "closed"),
        (f"udp://127.0.0.1:{two.port}", "no-answer"),
        (f"udp://127.0.0.2:{two.port}", "closed"),
        (f"udp://[::1]:{three.port}", "no-answer"),
    ]
    assert all(probe.endpoint == probe.target for probe in shown)
    assert report.summary.verdicts == {"no-answer": 2, "closed": 2}


def test_of_many_only_what_is_a_yes_is_shown() -> None:
    with listeners_to_scan(2) as (low, _):
        report, shown = run(f"{SCANNED}:{low - 30}-{low + 30}")
        assert (f"{SCANNED}:{low}", "open") in told(shown)
        assert all(probe.verdict == "open" for probe in shown)
        assert report.summary.attempts == sum(report.summary.verdicts.values()) == 61
        everything, listed = run(f"{SCANNED}:{low - 30}-{low + 30}", everything=True)
    assert len(listed) == everything.summary.attempts == 61


def test_an_open_port_tells_its_service_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with listeners(1) as (port,), closed_ports(1) as (shut,):
        monkeypatch.setattr(socket, "getservbyport", lambda number, protocol: "lab" if number == port else "other")
        _, (probe, other) = run(f"127.0.0.1:{port},{shut}")
    assert (probe.service, probe.errno) == ("lab", 0)
    assert probe.handshake_us is not None
    assert probe.handshake_us > 0
    assert other.errno_name == "ECONNREFUSED"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 1),
        ({"one_is_enough": True}, 0),
        ({"ok": ("open", "refused")}, 0),
        ({"ok": ("timeout",)}, 1),
        ({"ok": ("timeout",), "one_is_enough": True}, 1),
    ],
)
def test_all_have_to_be_a_yes_or_one(options: dict[str, Any], status: int) -> None:
    with listeners(1) as open_ports, closed_ports(1) as shut:
        report, _ = run(f"127.0.0.1:{open_ports[0]},{shut[0]}", **options)
    assert report.summary.status == status
    assert (report.failure is None) == (status == 0)


@pytest.mark.parametrize("rate", [None, 0], ids=["one socket", "window"])
def test_both_ways_find_the_same(rate: float | None) -> None:
    with listeners_to_scan(3) as ports:
        span = f"{SCANNED}:{min(ports) - 50}-{max(ports) + 50}"
        report, shown = run(span, rate=rate)
        found = {probe.target.port for probe in shown}
    assert set(ports) <= found
    assert report.summary.attempts == max(ports) - min(ports) + 101


def test_every_address_of_a_name_counts_and_the_best_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def look_up(host: str, *rest: Any) -> Any:
        hosts = ("::1", "127.0.0.1") if host == "two.test" else (host,)
        return [entry for one in hosts for entry in real(one, *rest)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with listeners(1) as (port,), closed_ports(1) as (shut,):
        report, shown = run(f"two.test:{port},{shut}", f"127.0.0.1:{port}")
    assert told(shown) == [
        (f"two.test:{port}", "open"),
        (f"two.test:{shut}", "refused"),
        (f"127.0.0.1:{port}", "open"),
    ]
    assert str(shown[0].endpoint) == f"127.0.0.1:{port}"
    assert report.summary.attempts == 3


def test_a_silent_port_holds_up_no_other() -> None:
    with peers.silent_listener() as silent, listeners(1) as (port,):
        started = time.monotonic()
        report, shown = run(f"127.0.0.1:{silent.port},{port}", method=Method(timeout=0.3))
        assert time.monotonic() - started < 1.0
    assert {verdict for _, verdict in told(shown)} == {"timeout", "open"}
    assert report.summary.verdicts == {"open": 1, "timeout": 1}


def test_silent_ports_wait_side_by_side() -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(peers.silent_listener()).port for _ in range(12)]
        word = "127.0.0.1:" + ",".join(map(str, silent))
        report, shown = run(word, method=Method(timeout=0.25))
        one_by_one, _ = run(word, method=Method(timeout=0.04), jobs=1, rate=0)
    assert report.summary.verdicts == {"timeout": 12}
    assert report.summary.duration_us < 1_000_000
    assert all(probe.errno is None and probe.duration_us >= 250_000 for probe in shown)
    assert one_by_one.summary.duration_us >= 12 * 40_000


def test_the_rate_is_kept() -> None:
    with closed_ports(1) as (port,):
        report, _ = run(*[f"127.0.0.1:{port}"] * 15, rate=50)
    assert report.summary.duration_us >= 200_000  # 15 at 50 a second, less the burst at the beginning
    assert report.summary.attempts == 15


def test_a_deadline_ends_the_run_and_counts_what_is_left() -> None:
    with peers.silent_listener() as silent:
        words = [f"127.0.0.1:{silent.port}"] * 30
        started = time.monotonic()
        report, _ = run(*words, method=Method(timeout=5, deadline=started + 0.2), jobs=3, rate=0)
        assert time.monotonic() - started < 1.0
    summary = report.summary
    assert (summary.verdicts, summary.not_tried, summary.ended_by) == ({"timeout": 3}, 27, "--deadline")
    assert summary.status == 1


def test_a_stop_ends_the_run() -> None:
    with peers.silent_listener() as silent, Stop() as stop:
        timer = threading.Timer(0.1, stop.set, ["SIGINT"])
        timer.start()
        report, _ = run(silent.endpoint, silent.endpoint, method=Method(timeout=30), stop=stop)
        timer.join()
    assert (report.summary.ended_by, report.summary.not_tried) == ("SIGINT", 2)


def test_progress_is_told_to_the_end() -> None:
    seen: list[int] = []
    run("127.0.0.1:1-500", progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 500


def test_hosts_take_turns() -> None:
    assert "".join(_by_turns([iter("aaa"), iter("b"), iter("cc")])) == "abcaca"


def test_what_is_local() -> None:
    assert is_local(Endpoint.parse("127.1.2.3:1"))
    assert is_local(Endpoint.parse("[::1]:1"))
    assert not is_local(Endpoint.parse("192.0.2.200:1"))


def test_too_many_slow_ports_are_left_for_the_window() -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(peers.silent_listener()).port for _ in range(6)]
        ports, slow = iter(silent), list[int]()
        outcomes = list(scan_here(0, Endpoint.parse("127.0.0.1:1"), ports, slow=slow, bulk=False))
    assert outcomes == []
    assert slow == silent[:4]
    assert list(ports) == silent[4:]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_self_connect_is_no_open_port() -> None:
    """Every attempt comes from the port it goes to, so that TCP's simultaneous open is certain."""

    class Mirror(socket.socket):
        def connect_ex(self, address: Any) -> int:
            self.bind(address)
            return super().connect_ex(address)

    places = iter([Place(0, Endpoint.parse("127.0.0.1:1"), ("127.0.0.1", 1), free_port(), False)])
    (outcome,) = scan_window(places, Method(timeout=1, socket_class=Mirror), jobs=1, rate=1)
    assert (outcome.code, outcome.is_self) == (0, True)
    report, (probe,) = run(f"127.0.0.1:{free_port()}", method=Method(timeout=1, socket_class=Mirror))
    assert (probe.verdict, probe.self_connect) == ("refused", True)
    assert report.summary.verdicts == {"refused": 1}


def in_namespace(words: tuple[str, ...], script: str, *, shell: str = "") -> str:
    """Run Python in a namespace whose ports are all its own."""
    done = subprocess.run(
        [*words, "sh", "-ec", f'ip link set lo up; {shell}\nexec "$@"', "sh", sys.executable, "-c", script],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SCAN = """
import socket
from netlab.endpoint import split_targets
from netlab.socketops import Method, survey
kept = [socket.create_server(("127.0.0.1", port)) for port in {open_ports}]
shown = []
report = survey([split_targets("127.0.0.1:{ports}")], Method(timeout={timeout}), jobs={jobs}, emit=shown.append)
print([probe.target.port for probe in shown], report.summary.verdicts, report.summary.duration_us < {limit})
"""

DROP = """
nft add table ip t
nft add chain ip t c '{ type filter hook input priority 0; }'
nft add rule ip t c tcp flags syn drop
"""


@pytest.mark.slow
def test_all_ports_of_a_host_and_never_a_false_open(require_netns: tuple[str, ...]) -> None:
    script = SCAN.format(open_ports=[22, 40000, 65535], ports="1-65535", timeout=1, jobs=512, limit=10_000_000)
    assert in_namespace(require_netns, script).strip() == "[22, 40000, 65535] {'open': 3, 'refused': 65532} True"


@pytest.mark.slow
def test_thousands_of_silent_ports_take_one_timeout(require_netns: tuple[str, ...], require_tool: Any) -> None:
    require_tool("nft")
    script = SCAN.format(open_ports=[], ports="1-4000", timeout=0.5, jobs=4000, limit=2_000_000)
    assert in_namespace(require_netns, script, shell=DROP).strip() == "[] {'timeout': 4000} True"


@pytest.mark.slow
def test_where_descriptors_run_out_fewer_are_tried_at_a_time(require_netns: tuple[str, ...], require_tool: Any) -> None:
    require_tool("nft")
    script = SCAN.format(open_ports=[], ports="1-150", timeout=0.1, jobs=4000, limit=5_000_000)
    output = in_namespace(require_netns, script, shell=f"{DROP}\nulimit -n 40")
    assert output.strip() == "[] {'timeout': 150} True"


def json_lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_lists_of_ports_and_files_of_targets(netlab: Netlab, tmp_path: Path) -> None:
    with listeners(2) as (one, two), closed_ports(1) as (shut,):
        file = tmp_path / "targets"
        file.write_text(f"# the lab\n127.0.0.1:{one}   # first\n\n127.0.0.1:{two},{shut}\n")
        by_file = netlab("probe", "-f", str(file), "--json")
        by_pipe = netlab("probe", "-f", "-", input=file.read_text())
        by_option = netlab("probe", "-p", f"{one},{two}", "127.0.0.1", "127.0.0.2", "--any")
    assert by_file.returncode == 1
    targets = [line["target"] for line in json_lines(by_file) if line["event"] == "probe"]
    assert targets == [f"127.0.0.1:{one}", f"127.0.0.1:{two}", f"127.0.0.1:{shut}"]
    assert [line["event"] for line in json_lines(by_file)][3:] == ["summary", "error"]
    assert by_pipe.returncode == 1
    assert by_pipe.stdout.decode().splitlines()[-1].endswith(": 2 open, 1 refused")
    assert by_option.returncode == 0
    assert [line.split()[:2] for line in by_option.stdout.decode().splitlines()[:4]] == [
        ["open", f"127.0.0.1:{one}"],
        ["open", f"127.0.0.1:{two}"],
        ["refused", f"127.0.0.2:{one}"],
        ["refused", f"127.0.0.2:{two}"],
    ]


def test_text_and_json_say_the_same_by_status_and_stderr(netlab_here: Netlab) -> None:
    with listeners(1) as (port,), closed_ports(1) as (shut,):
        word = f"127.0.0.1:{port},{shut}"
        for args in ([], ["--any"], ["--ok-if", "open,refused"], ["--ok-if", "timeout"]):
            text, as_json = netlab_here("probe", word, *args), netlab_here("probe", word, *args, "--json")
            assert text.returncode == as_json.returncode
            assert text.stderr == as_json.stderr
            verdicts = [line["verdict"] for line in json_lines(as_json) if line["event"] == "probe"]
            assert [line.split()[0] for line in text.stdout.decode().splitlines()[:2]] == verdicts


def test_no_bar_but_on_a_terminal(netlab: Netlab) -> None:
    done = netlab("probe", "127.0.0.1:1-300", "--any")
    assert b"\r" not in done.stdout + done.stderr
    assert b"#" not in done.stderr


@pytest.mark.slow
def test_progress_is_on_a_terminals_stderr_and_leaves_no_trace() -> None:
    ours, theirs = os.openpty()
    try:
        with peers.silent_listener() as silent:
            done = subprocess.run(
                [sys.executable, "-m", "netlab", "probe", "-w", "700ms", *[silent.endpoint] * 25],
                env=clean_environment({"TERM": "xterm"}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=theirs,
                timeout=10,
                check=False,
            )
        drawn = os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1
    assert b"0 of 25 targets" in drawn
    assert drawn.rpartition(b"netlab:")[0].endswith(b" \r")
    assert b"of 25" not in done.stdout
