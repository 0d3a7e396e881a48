"""probe icmp: by a ping socket, by a raw one, with an IP header of our own, and without the right to either."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from netlab.endpoint import Endpoint
from netlab.errors import LocalError
from netlab.socketops import Method, diagnose
from netlab.socketops.probing.icmp import echo_question, open_echo_socket
from netlab.socketops.probing.ipheader import IpHeader, build_header, internet_checksum, parse_header
from tests.programs import NETLAB, Netlab, clean_environment

V4, V6 = Endpoint.parse("icmp:127.0.0.1"), Endpoint.parse("icmp:::1")


@pytest.fixture
def raw_rights() -> None:
    """Skip where raw sockets are not allowed; in a network namespace of its own anybody may have them."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except PermissionError:
        pytest.skip("raw sockets need CAP_NET_RAW (try: unshare --user --map-root-user --net)")


def in_namespace(words: Sequence[str], before: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run netlab in a network namespace of its own, after some shell commands there."""
    script = f'ip link set lo up; {before}; exec "$@"'
    return subprocess.run(
        [*words, "sh", "-c", script, "sh", *NETLAB, *args],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


def lines_of(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.usefixtures("raw_rights")
@pytest.mark.parametrize("target", [V4, V6], ids=str)
def test_a_host_that_answers_is_open(target: Endpoint) -> None:
    found = diagnose(target, Method())
    assert (found.best.verdict, found.summary.status, found.best.tries) == ("open", 0, 1)
    (reply,) = found.replies
    assert (reply.bytes_in, reply.sequence, reply.ttl) == (64, 1, 64)
    assert reply.data is None
    assert "an echo reply of 64 B came, ttl 64" in found.best.evidence


@pytest.mark.parametrize("target", [V4, V6], ids=str)
def test_a_ping_socket_needs_no_root(require_netns: tuple[str, ...], target: Endpoint) -> None:
    allow = "echo 0 0 > /proc/sys/net/ipv4/ping_group_range"
    done = in_namespace(require_netns, allow, "probe", str(target), "--json")
    assert done.returncode == 0, done.stderr
    probe, reply, _ = lines_of(done)
    assert probe["evidence"].endswith("ping socket")
    assert (reply["bytes_in"], reply["ttl"]) == (64, 64)


@pytest.mark.parametrize("target", [V4, V6], ids=str)
def test_without_it_a_raw_socket_serves(require_netns: tuple[str, ...], target: Endpoint) -> None:
    forbid = "echo 1 0 > /proc/sys/net/ipv4/ping_group_range"
    done = in_namespace(require_netns, forbid, "probe", str(target), "--json")
    assert done.returncode == 0, done.stderr
    assert lines_of(done)[0]["evidence"].endswith("raw socket")


def test_with_neither_right_it_says_which_is_missing(require_netns: tuple[str, ...]) -> None:
    # A user that is not mapped has no capability after exec (user_namespaces(7)).
    words = [word for word in require_netns if word != "--map-root-user"]
    done = subprocess.run(
        [*words, *NETLAB, "probe", "icmp:127.0.0.1"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 45
    said = " ".join(done.stdout.split())
    assert said.startswith("error icmp:127.0.0.1")
    assert re.search(r"ping socket: EACCES, no group of this user is in net.ipv4.ping_group_range \(\d+ \d+\)", said)
    assert "raw socket: EPERM, it needs CAP_NET_RAW" in said
    assert "sysctl -w net.ipv4.ping_group_range='0 2147483647'" in done.stderr


def test_a_host_that_drops_pings_is_no_answer(require_netns: tuple[str, ...]) -> None:
    done = in_namespace(
        require_netns,
        "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all; echo 0 0 > /proc/sys/net/ipv4/ping_group_range",
        "probe",
        "icmp:127.0.0.1",
        "-w",
        "300ms",
        "--json",
    )
    assert done.returncode == 28
    assert lines_of(done)[0]["verdict"] == "no-answer"
    assert lines_of(done)[0]["evidence"] == "sent 3 x 64 B (ICMP echo request): no reply, no ICMP error"


@contextlib.contextmanager
def listening_raw() -> Iterator[socket.socket]:
    """A raw socket that hears every ICMP packet of loopback, IP header and all."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(5)
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.mark.usefixtures("raw_rights")
def test_the_header_that_we_build_is_the_one_on_the_wire() -> None:
    with listening_raw() as wire:
        found = diagnose(V4, Method(header_included=True))
        header = found.header
        assert header is not None
        packets = iter(lambda: wire.recv(2048), b"")
        packet = next(
            one for one in packets if one[20] == 8 and parse_header(one).identification == header.identification
        )
    assert found.best.verdict == "open"
    assert packet == header.data
    assert (header.source, header.destination, header.protocol) == ("127.0.0.1", "127.0.0.1", 1)
    assert (header.header_bytes, header.total_bytes, header.ttl) == (20, 84, 64)
    assert internet_checksum(packet[:20]) == 0


@pytest.mark.usefixtures("raw_rights")
def test_options_of_the_socket_are_in_our_header(netlab: Netlab) -> None:
    done = netlab("probe", "icmp:127.0.0.1", "--header-included", "--set", "IP_TTL=7", "--set", "IP_TOS=16", "--json")
    assert done.returncode == 0
    sent = json.loads(done.stdout.splitlines()[0])
    assert (sent["event"], sent["ttl"], sent["tos"]) == ("sent", 7, 16)
    assert (sent["identification"] > 0, sent["total_bytes"]) == (True, 84)


def test_an_ipv6_header_is_the_kernels_alone(netlab: Netlab) -> None:
    done = netlab("probe", "icmp:::1", "--header-included")
    assert done.returncode == 2
    assert b"IPv4" in done.stderr
    with pytest.raises(LocalError, match="kernel's alone"):
        open_echo_socket(V6, header_included=True)


@pytest.mark.usefixtures("raw_rights")
def test_somebody_elses_replies_are_not_ours() -> None:
    with contextlib.ExitStack() as stack:
        pair = [stack.enter_context(open_echo_socket(V4, header_included=True)) for _ in range(2)]
        for sock in pair:
            sock.connect(("127.0.0.1", 0))
        mine, other = (echo_question(V4, sock) for sock in pair)
        other.send()
        reply = build_header(parse_header(other.sent), b"") + b"\0" + other.sent[21:]
        answer = other.read(reply, [])
        assert answer is not None
        assert answer.number == 1
        assert mine.read(reply, []) is None
        assert mine.read(reply[:24], []) is None
        assert mine.read(b"", []) is None
        # A reply to what was not sent yet is nobody's.
        ahead = reply[:26] + struct.pack("!H", 2) + reply[28:]
        assert other.read(ahead, []) is None


def test_headers_survive_a_round_trip() -> None:
    header = IpHeader("10.0.0.1", "10.0.0.2", 4711, 1, ttl=3, tos=0x10)
    packet = build_header(header, b"12345678") + b"12345678"
    found = parse_header(packet)
    assert (found.source, found.destination, found.identification, found.ttl, found.tos) == (
        "10.0.0.1",
        "10.0.0.2",
        4711,
        3,
        0x10,
    )
    assert (found.total_length, found.header_size, found.flags_and_offset) == (28, 20, 0x4000)
    assert internet_checksum(packet[:20]) == 0
    assert struct.unpack_from("!H", packet, 10)[0] == found.checksum


@pytest.mark.usefixtures("raw_rights")
def test_a_late_reply_is_timed_from_its_own_request() -> None:
    with open_echo_socket(V4) as sock:
        sock.connect(("127.0.0.1", 0))
        question = echo_question(V4, sock, first=7)
        question.sent_at = [1.0, 2.0, 3.0]
        question.ended = 3.5
        header = (
            build_header(IpHeader("127.0.0.1", "127.0.0.1", 1, 1), bytes(64)) if sock.type == socket.SOCK_RAW else b""
        )
        request = question.make(2)
        question.answer = question.read(header + b"\0" + request[1:], [])
    assert question.answer is not None
    assert question.answer.number == 2
    assert question.rtt == 1.5
