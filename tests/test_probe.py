"""probe over TCP: every verdict on real sockets, its evidence, and the status that a script sees."""

from __future__ import annotations

import errno
import json
import re
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from netlab import socketops
from netlab.endpoint import Endpoint
from netlab.records import Probe
from netlab.reports import Diagnosis
from netlab.socketops import Method, diagnose
from tests import peers
from tests.programs import Netlab

QUICK = Method(timeout=0.2)


def probe(target: str, method: Method = QUICK, **options: Any) -> Diagnosis:
    return diagnose(Endpoint.parse(target), method, **options)


def json_lines(done: subprocess.CompletedProcess[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_an_open_port_tells_names_times_and_socket() -> None:
    with peers.mute_server() as peer:
        found = probe(peer.endpoint)
    best = found.best
    assert (best.verdict, best.errno, found.summary.status) == ("open", 0, 0)
    assert best.evidence == "connect_ex 0: the handshake completed, so a program listens here"
    assert best.handshake_us is not None
    assert best.handshake_us == best.duration_us > 0
    assert best.rtt_us is not None
    assert 0 < best.rtt_us <= best.handshake_us + 1
    assert str(best.peer) == peer.endpoint
    assert best.local is not None
    assert best.local.host == "127.0.0.1"
    assert (best.blocking, best.timeout, best.syn_retransmits) == (False, 0.0, 0)
    assert best.fileno is not None
    assert found.failure is None


def test_a_refused_port_tells_errno_exception_and_what_to_do() -> None:
    with peers.refusing_port() as peer:
        found = probe(peer.endpoint)
    best = found.best
    assert (best.verdict, best.errno, best.errno_name) == ("refused", errno.ECONNREFUSED, "ECONNREFUSED")
    assert found.summary.status == 7
    assert best.evidence.startswith("connect_ex 111 ECONNREFUSED (connect() raises ConnectionRefusedError): ")
    assert "nothing listens" in found.means
    assert found.likely
    assert any("netlab serve-" in command for command, _ in found.next_steps)
    assert found.failure is not None
    assert found.failure.message == f"connect {peer.endpoint}: connection refused (ECONNREFUSED)"
    assert (found.failure.status, found.failure.errno) == (7, errno.ECONNREFUSED)


def test_silence_is_a_timeout_of_ours_and_never_eagain() -> None:
    with peers.silent_listener() as peer:
        found = probe(peer.endpoint)
    best = found.best
    assert (best.verdict, best.errno, found.summary.status) == ("timeout", None, 28)
    assert "EAGAIN" not in best.evidence
    assert "115 EINPROGRESS" in best.evidence
    assert "SYN sent at 0.0 s" in best.evidence
    assert 200_000 <= best.duration_us < 1_000_000
    assert best.syn_sent_us == (0.0,)


@pytest.mark.slow
def test_syn_retransmits_are_seen_while_it_waits() -> None:
    with peers.silent_listener() as peer:
        best = probe(peer.endpoint, Method(timeout=1.3)).best
    assert best.syn_retransmits == 1
    assert best.syn_sent_us is not None
    assert 990_000 < best.syn_sent_us[1] < 1_400_000  # it is looked for now and then, and a busy host looks late
    assert re.search(r"SYN sent at 0\.0 1\.\d s", best.evidence)


@pytest.mark.slow
def test_when_the_kernel_gives_up_first_it_says_so() -> None:
    with peers.silent_listener() as peer:
        setting = socketops.parse_setting("TCP_USER_TIMEOUT=700ms")
        best = probe(peer.endpoint, Method(timeout=10, settings=(setting,))).best
    assert (best.verdict, best.errno_name) == ("timeout", "ETIMEDOUT")
    assert best.evidence.startswith("connect_ex 110 ETIMEDOUT (connect() raises TimeoutError): ")


def test_the_evidence_names_when_the_kernel_would_give_up() -> None:
    with peers.silent_listener() as peer:
        setting = socketops.parse_setting("TCP_USER_TIMEOUT=3000")
        best = probe(peer.endpoint, Method(timeout=0.05, settings=(setting,))).best
    assert "would give up after about 3 s: ETIMEDOUT" in best.evidence


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_a_self_connect_is_refused_with_a_note() -> None:
    own = Endpoint.of("127.0.0.1", free_port())
    found = diagnose(own, Method(timeout=0.2, source=own))
    assert (found.best.verdict, found.best.errno, found.summary.status) == ("refused", 0, 7)
    assert found.best.self_connect is True
    assert found.best.local == found.best.peer == own
    assert "reached itself" in found.best.evidence
    assert "connect_ex 0" in found.best.evidence
    assert "our own socket" in found.note


def test_a_name_without_address_is_unresolved() -> None:
    found = probe("no-such-name.invalid:80")
    assert (found.best.verdict, found.summary.status, found.best.endpoint) == ("unresolved", 6, None)
    assert "getaddrinfo -" in found.best.evidence
    assert "EAI_" in found.best.evidence
    assert found.best.errno is None
    assert found.best.gai_errno is not None
    assert found.best.gai_errno < 0
    assert found.failure is not None
    assert found.failure.status == 6


def test_a_literal_of_the_other_family_is_unresolved() -> None:
    found = probe("127.0.0.1:80", Method(family=6))
    assert (found.best.verdict, found.summary.status) == ("unresolved", 6)


def two_addresses(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let every name have these addresses; what this host's own hosts file says is not the test's to choose."""
    real = socket.getaddrinfo

    def look_up(host: str, *rest: Any) -> Any:
        if host != "two.test":
            return real(host, *rest)
        return [entry for address in addresses for entry in real(address, *rest)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_every_address_of_a_name_is_tried_and_the_best_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    two_addresses(monkeypatch, "::1", "127.0.0.1")
    with peers.mute_server() as peer:
        found = probe(f"two.test:{peer.port}")
    assert [(str(one.endpoint), one.verdict) for one in found.attempts] == [
        (f"[::1]:{peer.port}", "refused"),
        (f"127.0.0.1:{peer.port}", "open"),
    ]
    assert found.best is found.attempts[1]
    assert found.summary.status == 0
    assert found.summary.verdicts == {"open": 1, "refused": 1}
    assert found.note.startswith("IPv6 is refused: clients that do not fall back will fail.")
    assert all(one.resolve_us is not None and one.resolve_us > 0 for one in found.attempts)


def test_a_timeout_outranks_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    two_addresses(monkeypatch, "::1", "127.0.0.1")
    with peers.silent_listener() as peer:
        found = probe(f"two.test:{peer.port}")
    assert [one.verdict for one in found.attempts] == ["refused", "timeout"]
    assert (found.best.verdict, found.summary.status) == ("timeout", 28)


def test_a_source_that_is_not_ours_is_an_error_of_this_host() -> None:
    with peers.mute_server() as peer:
        found = probe(peer.endpoint, Method(source=Endpoint.of("192.0.2.77", 0, listening=True)))
    assert (found.best.verdict, found.summary.status) == ("error", 45)
    assert found.best.errno == errno.EADDRNOTAVAIL
    assert found.best.evidence.startswith("bind 192.0.2.77:0: ")
    assert found.likely


def test_settings_are_shown_as_the_kernel_took_them() -> None:
    with peers.mute_server() as peer:
        found = probe(peer.endpoint, Method(settings=(socketops.parse_setting("SO_RCVBUF=4096"),)))
    (taken,) = found.settings
    assert (taken.name, taken.value, taken.shown) == ("SO_RCVBUF", 8192, "8,192 B (asked 4,096 B)")


def test_the_socket_has_no_option_that_a_program_would_not_have() -> None:
    with peers.mute_server() as peer:
        found = probe(peer.endpoint, options="all")
    changed = {option.name for option in found.options if option.is_default is False}
    assert "IP_RECVERR" not in changed
    assert "IP_RECVERR" in {option.name for option in found.options}


def test_options_and_tcp_info_are_those_of_the_connection() -> None:
    with peers.mute_server() as peer:
        found = probe(peer.endpoint, options="main", tcp_info=True)
    names = [option.name for option in found.options]
    assert {"SO_TYPE", "TCP_NODELAY", "IP_TTL"} <= set(names)
    assert found.tcp_info is not None
    assert found.tcp_info.state_name == "ESTABLISHED"
    assert [part.event for part in found.parts()][:2] == ["probe", "option"]


@pytest.mark.parametrize(
    ("ok", "status"), [((), 7), (("open",), 1), (("refused",), 0), (("refused", "timeout"), 0), (("timeout",), 1)]
)
def test_ok_if_says_which_verdicts_are_a_yes(ok: tuple[str, ...], status: int) -> None:
    with peers.refusing_port() as peer:
        found = probe(peer.endpoint, ok=ok)
    assert found.summary.status == status
    assert (found.failure is None) == (status == 0)


def test_status_and_failure_are_equal_with_and_without_json(netlab_here: Netlab) -> None:
    with peers.mute_server() as server, peers.refusing_port() as closed, peers.silent_listener() as silent:
        cases = [(server.endpoint, 0), (closed.endpoint, 7), (silent.endpoint, 28), ("no-such-name.invalid:1", 6)]
        for target, status in cases:
            text = netlab_here("probe", target, "-w", "100ms")
            as_json = netlab_here("probe", target, "-w", "100ms", "--json")
            assert (text.returncode, as_json.returncode) == (status, status)
            lines = json_lines(as_json)
            assert [line["event"] for line in lines] == ["probe", "summary"] + ["error"] * bool(status)
            assert text.stdout.split()[0].decode() == lines[0]["verdict"] == lines[1]["verdict"]
            assert lines[1]["status"] == status
            assert text.stderr == as_json.stderr
            if status:
                assert lines[2]["status"] == status


def test_quiet_says_it_by_the_status_alone(netlab: Netlab) -> None:
    with peers.refusing_port() as peer:
        done = netlab("probe", peer.endpoint, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"", b"")


def test_without_a_target_it_is_port_9999_here(netlab: Netlab) -> None:
    done = netlab("probe", "--json", "-w", "200ms")
    assert json_lines(done)[0]["target"] == "127.0.0.1:9999"


def test_refused_on_this_host_says_how_to_start_a_server(netlab: Netlab) -> None:
    with peers.refusing_port() as peer:
        done = netlab("probe", "-p", str(peer.port))
    assert done.returncode == 7
    assert f"netlab serve-threaded -p {peer.port}".encode() in done.stderr


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_the_default_host_follows_the_family(netlab_here: Netlab, family: str) -> None:
    host = {"-4": "127.0.0.1", "-6": "::1"}[family]
    with peers.mute_server((host, 0)) as peer:
        done = netlab_here("probe", family, "-p", str(peer.port), "--json")
    assert done.returncode == 0
    assert json_lines(done)[0]["target"] == peer.endpoint


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["127.0.0.1:0"], "port 0"),
        (["127.0.0.1:65536"], "out of range"),
        (["db"], "has no port"),
        (["http://db/"], "netlab speaks TCP"),
        (["127.0.0.1:1", "-4", "-6"], "exclude each other"),
        (["127.0.0.1:1", "-H", "db"], "both say where"),
        (["-U", "/tmp/x", "-p", "1"], "exclude each other"),
        (["--type", "seqpacket", "127.0.0.1:1"], "unix sockets"),
        (["127.0.0.1:1", "--payload", "x"], "--payload is for UDP"),
        (["-u", "127.0.0.1:1", "--payload", "hex:0"], "is no hex"),
        (["-u", "127.0.0.1:1", "--payload", "proto:gopher"], "has no request"),
        (["-u", "127.0.0.1:1", "--payload", "@/no/such/file"], "No such file"),
        (["127.0.0.1:1", "--header-included"], "icmp:"),
        (["127.0.0.1:1,2", "--options"], "one target"),
        (["127.0.0.1:1", "--ok-if", "closd"], "is no verdict"),
        (["127.0.0.1:1", "--set", "TCP_NODELY=1"], "Did you mean TCP_NODELAY"),
        (["--loopback", "127.0.0.1:1"], "a place of its own"),
        (["--loopback", "-u", "--type", "seqpacket"], "contradict"),
        (["-f", "/no/such/file"], "No such file"),
        (["127.0.0.1:1", "--wait", "1s", "-c", "2"], "exclude each other"),
        (["127.0.0.1:1,2", "-c", "2"], "one target"),
        (["-h", "db"], "-H db"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(netlab_here: Netlab, args: list[str], says: str) -> None:
    done = netlab_here("probe", *args)
    assert done.returncode == 2
    assert done.stdout == b""
    assert says in done.stderr.decode()


def test_a_setting_that_the_kernel_refuses_is_an_error_of_this_host() -> None:
    with peers.mute_server() as peer:
        found = probe(peer.endpoint, Method(settings=(socketops.parse_setting("TCP_CONGESTION=nosuch"),)))
    assert (found.best.verdict, found.summary.status) == ("error", 45)
    assert "setsockopt TCP_CONGESTION=nosuch" in found.best.evidence


def test_a_deadline_bounds_the_attempt(netlab: Netlab) -> None:
    with peers.silent_listener() as peer:
        done = netlab("probe", peer.endpoint, "--deadline", "200ms", "--json")
    assert done.returncode == 28
    assert json_lines(done)[0]["duration_us"] < 1_000_000


def test_no_descriptor_leaks() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with peers.refusing_port() as peer:
        probe(peer.endpoint)
        probe("no-such-name.invalid:1")
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == {path.name for path in before}


def test_probe_is_a_record_of_its_own() -> None:
    with peers.refusing_port() as peer:
        parts = probe(peer.endpoint).parts()
    assert isinstance(parts[0], Probe)
    assert [part.event for part in parts] == ["probe", "summary", "error"]
