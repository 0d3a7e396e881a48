"""probe --wait: until it answers, with a deadline that holds, and one line a change."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlab.endpoint import Endpoint, split_targets
from netlab.records import Probe, Record
from netlab.reports import Diagnosis
from netlab.socketops import Method, survey_until, wait_until
from tests import peers
from tests.programs import Netlab, StartProgram


@contextlib.contextmanager
def starting_later(after: threading.Event) -> Iterator[str]:
    """A port that refuses until ``after`` is set, and then has a listener."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))

        def listen() -> None:
            after.wait(10)
            sock.listen()

        thread = threading.Thread(target=listen)
        thread.start()
        yield f"127.0.0.1:{sock.getsockname()[1]}"
        after.set()
        thread.join()


def wait(target: str, seconds: float, **options: Any) -> tuple[Diagnosis, list[Probe]]:
    shown: list[Record] = []
    method = options.pop("method", Method(timeout=1))
    found = wait_until(Endpoint.parse(target), method, wait=seconds, emit=shown.append, **options)
    return found, [record for record in shown if isinstance(record, Probe)]


def test_a_server_that_comes_up_is_found() -> None:
    up = threading.Event()
    timer = threading.Timer(0.15, up.set)
    with starting_later(up) as target:
        timer.start()
        found, shown = wait(target, 10)
        timer.join()
    assert (found.best.verdict, found.summary.status) == ("open", 0)
    assert found.best.history is not None
    assert re.fullmatch(r"refused( x\d+)? -> open", found.best.history)
    assert found.best.waited_us is not None
    assert 100_000 < found.best.waited_us < 5_000_000
    assert shown == []


def test_open_at_once_is_an_ordinary_page() -> None:
    with peers.mute_server() as peer:
        found, _ = wait(peer.endpoint, 10)
    assert (found.best.history, found.best.waited_us) == (None, None)


def test_the_deadline_holds_and_the_last_attempt_decides() -> None:
    with peers.refusing_port() as peer:
        started = time.monotonic()
        found, shown = wait(peer.endpoint, 0.4)
        took = time.monotonic() - started
    assert 0.3 <= took < 0.7
    assert (found.best.verdict, found.summary.status) == ("refused", 7)
    assert re.fullmatch(r"refused x\d", found.best.history or "")
    assert shown == []


def test_an_attempt_does_not_outlast_the_deadline() -> None:
    with peers.silent_listener() as peer:
        started = time.monotonic()
        found, _ = wait(peer.endpoint, 0.3, method=Method(timeout=60))
        assert time.monotonic() - started < 1
    assert (found.best.verdict, found.summary.status) == ("timeout", 28)


def test_each_change_is_told_as_it_comes(tmp_path: Path) -> None:
    """Missing, then stale, then live: two changes, the last of which is the end."""
    path = tmp_path / "s"
    stages = iter(["bind", "listen"])
    server = socket.socket(socket.AF_UNIX)
    seen: list[str] = []

    def next_stage() -> None:
        if next(stages) == "bind":
            server.bind(str(path))
        else:
            server.listen()

    def take(record: Record) -> None:
        assert isinstance(record, Probe)
        seen.append(record.history or "")
        next_stage()

    with server:
        threading.Timer(0.1, next_stage).start()
        found = wait_until(Endpoint.parse(f"unix:{path}"), Method(), wait=10, emit=take)
    assert found.best.verdict == "open"
    assert len(seen) == 1
    assert re.fullmatch(r"missing( x\d+)? -> refused", seen[0])
    assert re.fullmatch(r"missing( x\d+)? -> refused( x\d+)? -> open", found.best.history or "")


def test_it_can_wait_until_a_server_is_gone() -> None:
    with peers.mute_server() as peer:
        gone = threading.Timer(0.1, peer.stop)
        gone.start()
        found, _ = wait(peer.endpoint, 10, ok=("refused",))
        gone.join()
    assert (found.best.verdict, found.summary.status) == ("refused", 0)
    assert (found.best.history or "").endswith("-> refused")


def test_many_are_waited_for_until_all_are_there() -> None:
    up = threading.Event()
    shown: list[Record] = []

    def take(record: Record) -> None:
        shown.append(record)
        up.set()

    with peers.mute_server() as peer, starting_later(up) as late:
        words = [late, peer.endpoint]
        report = survey_until([split_targets(word) for word in words], Method(timeout=1), wait=10, emit=take)
    assert [str(one.target) for one in shown if isinstance(one, Probe)] == [peer.endpoint, late]
    assert (report.summary.verdicts, report.summary.status) == ({"open": 2}, 0)


@pytest.mark.parametrize(("one_is_enough", "status"), [(False, 1), (True, 0)])
def test_of_many_one_may_do(one_is_enough: bool, status: int) -> None:
    shown: list[Record] = []
    with peers.mute_server() as peer, peers.refusing_port() as shut:
        report = survey_until(
            [split_targets(peer.endpoint), split_targets(shut.endpoint)],
            Method(timeout=1),
            wait=0.3,
            one_is_enough=one_is_enough,
            emit=shown.append,
        )
    assert report.summary.verdicts == {"open": 1, "refused": 1}
    assert report.summary.status == status
    assert len(shown) == 2


def test_on_the_command_line(netlab_here: Netlab, start_netlab: StartProgram) -> None:
    up = threading.Event()
    with starting_later(up) as target:
        program = start_netlab("probe", target, "--wait", "10s", "--json")
        threading.Timer(0.5, up.set).start()
        done = program.wait()
        assert done.returncode == 0
        probe, summary = (json.loads(line) for line in done.stdout.splitlines())
        assert (probe["verdict"], summary["verdict"], summary["status"]) == ("open", "open", 0)
        text = netlab_here("probe", target, "--wait", "1s")
    assert text.returncode == 0
    with peers.refusing_port() as shut:
        refused = netlab_here("probe", shut.endpoint, "--wait", "200ms")
    assert refused.returncode == 7
    assert re.match(rb"refused      127\.0\.0\.1:\d+   after 0\.\d s: refused x\d", refused.stdout)
    assert refused.stderr.startswith(b"means ")
