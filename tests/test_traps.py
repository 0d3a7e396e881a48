"""The traps of today's netcats, each with a server that springs it: what netlab makes of them, as a script sees it.

ncat 7.93, socat 1.7.4 and OpenBSD's nc 1.219 fall into one or more of them: a late reply lost with status 0, a reply
after half-close lost, a wait without end, a reset with status 0, a UDP reply missed, the input of a loop eaten.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netlab.endpoint import Endpoint
from netlab.records import Received, Record
from netlab.socketops import Connection, connect, exchange
from tests import peers
from tests.programs import NETLAB, Netlab, clean_environment


@contextmanager
def listening(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """Serve one client; gives the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            with listener.accept()[0] as client:
                handle(client)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = listener.getsockname()
        yield f"{host}:{port}"
        thread.join(10)
        assert not thread.is_alive()


# A late reply


@pytest.mark.slow
def test_a_reply_after_1500_ms_is_not_lost(netlab: Netlab) -> None:
    with peers.late_server(1.5, b"late\n") as peer:
        done = netlab("send", peer.endpoint, "ping")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"late\n", b"")


@pytest.mark.slow
def test_a_reply_1500_ms_after_the_end_of_a_stream_is_not_lost(netlab: Netlab) -> None:
    def count_and_think(client: socket.socket) -> None:
        size = sum(len(chunk) for chunk in iter(lambda: client.recv(65536), b""))
        threading.Event().wait(1.5)
        client.sendall(b"%d\n" % size)

    with listening(count_and_think) as target:
        done = netlab("send", target, input=b"x" * 70_000)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"70000\n", b"")


# A reply after half-close


@pytest.mark.parametrize("as_stream", [False, True])
def test_a_reply_after_half_close_is_not_lost(netlab: Netlab, as_stream: bool) -> None:
    def answer_at_eof(client: socket.socket) -> None:
        client.sendall(b"".join(iter(lambda: client.recv(100), b"")).upper())

    with listening(answer_at_eof) as target:
        done = netlab("send", target, input="ping") if as_stream else netlab("send", target, "-N", "ping")
    assert (done.returncode, done.stdout) == (0, b"PING")


def test_no_half_close_before_the_reply_where_a_server_takes_it_for_the_end(netlab: Netlab) -> None:
    """As ``ncat -l -e cat`` does when message and FIN come together."""

    def leave_at_fin(client: socket.socket) -> None:
        message = client.recv(100)
        client.setblocking(False)
        try:
            has_left = client.recv(1) == b""
        except BlockingIOError:
            has_left = False
        if not has_left:
            client.setblocking(True)
            client.sendall(message)

    with listening(leave_at_fin) as target:
        done = netlab("send", target, "ping", "--until", "4")
    assert (done.returncode, done.stdout) == (0, b"ping")


# A wait without end


def test_a_server_that_never_answers_is_28(netlab: Netlab) -> None:
    with peers.mute_server() as peer:
        done = netlab("send", peer.endpoint, "ping", "-w", "100ms")
    assert (done.returncode, done.stdout) == (28, b"")
    assert done.stderr.startswith(f"netlab: receive {peer.endpoint}: no reply within 100 ms\n".encode())


def test_a_server_that_answers_and_never_closes_ends_a_message_and_fails_a_stream(netlab: Netlab) -> None:
    with peers.reply_server(b"pong") as peer:
        done = netlab("send", peer.endpoint, "ping")
        assert (done.returncode, done.stdout) == (0, b"pong")

    def answer_and_stay(client: socket.socket) -> None:
        client.sendall(client.recv(100))
        stay.wait(10)

    stay = threading.Event()
    with listening(answer_and_stay) as target:
        done = netlab("send", target, "-w", "100ms", input="ping")
        stay.set()
    assert (done.returncode, done.stdout) == (28, b"ping"), "what came is shown"
    assert b"the reply was not whole within 100 ms" in done.stderr


def test_a_server_that_stops_reading_is_28(netlab: Netlab) -> None:
    def stay_mute(client: socket.socket) -> None:
        stay.wait(10)

    stay = threading.Event()
    with listening(stay_mute) as target:
        done = netlab("send", target, "-f", "/dev/zero", "-w", "100ms")
        stay.set()
    assert done.returncode == 28
    assert b"the peer took nothing more within 100 ms" in done.stderr


# A reset


@pytest.mark.parametrize("answer", [b"", b"half an ans"])
def test_a_reset_is_56_with_what_came_before_it(netlab_here: Netlab, answer: bytes) -> None:
    def answer_and_reset(client: socket.socket) -> None:
        client.recv(100)
        client.sendall(answer)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, peers.RESET_ON_CLOSE)

    with listening(answer_and_reset) as target:
        done = netlab_here("send", target, "ping")
    assert (done.returncode, done.stdout) == (56, answer)
    assert b"connection reset by peer (ECONNRESET)" in done.stderr
    assert f"sent 4 B, peer sent {len(answer)} B, broken after ".encode() in done.stderr


# UDP


def test_a_udp_reply_after_the_end_of_the_input_is_not_missed(netlab: Netlab) -> None:
    with peers.mute_udp() as peer:

        def answer_late() -> None:
            message, sender = peer.socket.recvfrom(100)
            threading.Event().wait(0.3)
            peer.socket.sendto(message, sender)

        thread = threading.Thread(target=answer_late)
        thread.start()
        done = netlab("send", peer.endpoint, input="ping")
        thread.join()
    assert (done.returncode, done.stdout) == (0, b"ping")


@pytest.mark.parametrize("truth", [False, True])
def test_a_udp_reply_from_a_strangers_address_is_none(netlab: Netlab, truth: bool) -> None:
    with peers.mute_udp() as peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:

        def answer_from_elsewhere() -> None:
            _, sender = peer.socket.recvfrom(100)
            stranger.sendto(b"forged", sender)
            if truth:
                peer.socket.sendto(b"true", sender)

        thread = threading.Thread(target=answer_from_elsewhere)
        thread.start()
        done = netlab("send", peer.endpoint, "ping", "-w", "200ms")
        thread.join()
    assert (done.returncode, done.stdout) == ((0, b"true") if truth else (28, b""))


# The input of a loop


def test_the_input_of_a_surrounding_loop_is_not_eaten() -> None:
    with peers.reply_server(b"ok\n") as peer:
        script = 'printf "1\\n2\\n" | while read -r line; do "$@" "$line"; done'
        done = subprocess.run(
            ["sh", "-c", script, "sh", *NETLAB, "send", peer.endpoint],
            env=clean_environment(),
            capture_output=True,
            timeout=10,
            check=False,
        )
    assert (done.stdout, done.stderr) == (b"ok\n" * 2, b"")
    assert peer.received == b"12"


# Pauses


def test_pauses_of_40_ms_on_loopback_do_not_end_a_reply() -> None:
    seen: list[Record] = []
    with peers.pausing_server(0.04, b"one ", b"two ", b"three") as peer:
        endpoint = Endpoint.parse(peer.endpoint)
        with Connection(connect(endpoint, timeout=5), endpoint) as connection:
            exchange(connection, b"go", emit=seen.append)
        if peer.longest_pause > 0.048:
            pytest.skip(f"this machine made a pause of {peer.longest_pause * 1000:.0f} ms of one of 40 ms")
    assert b"".join(record.data for record in seen if isinstance(record, Received)) == b"one two three"


SLOW_PATH = """
from tests import path, peers
from tests.programs import run_netlab

with peers.pausing_server(0.2, b"one ", b"two", address=(path.HERE, 0)) as peer:
    done = run_netlab("send", "-v", f"{path.DISTANT}:{peer.port}", "go")
print(peer.longest_pause, done.returncode, done.stdout, done.stderr.decode(), sep="\\n", end="")
"""


def on_path(words: tuple[str, ...], seconds: str, script: str, *, shell: str = ":") -> str:
    """Run a Python script on a path of `tests.path`, after some words of shell; return what it prints."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("there is no /dev/net/tun to make a path of")
    on_it = ["sh", "-c", f'{shell} && exec "$@"', "sh", sys.executable, "-c", script]
    done = subprocess.run(
        [*words, "--mount", sys.executable, "-m", "tests.path", seconds, *on_it],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_pauses_of_200_ms_on_a_path_of_60_ms_do_not_end_a_reply(
    require_netns: tuple[str, ...], require_tool: Callable[[str], str]
) -> None:
    require_tool("ip")
    paused, status, reply, *told = on_path(require_netns, "0.03", SLOW_PATH).splitlines()
    if float(paused) > 0.24:
        pytest.skip(f"this machine made a pause of {paused} s of one of 0.2 s")
    assert (status, reply) == ("0", "b'one two'")
    quiet = re.search(r" by quiet \((\d+) ms\)$", told[-1])
    assert quiet, told
    assert int(quiet[1]) >= 250


TWO_ADDRESSES = """
import time
from netlab import socketops
from netlab.endpoint import Endpoint
from tests import path, peers

with peers.mute_server((path.HERE, 0)) as peer:
    place = Endpoint.parse(f"two.test:{peer.port}")
    print([address.host for address in socketops.resolve(place)])
    started = time.monotonic()
    with socketops.connect(place, timeout=5) as sock:
        print(time.monotonic() - started)
        print(sock.getpeername()[0])
"""


@pytest.mark.slow
def test_a_dead_ipv6_costs_under_half_a_second(
    require_netns: tuple[str, ...], require_tool: Callable[[str], str], tmp_path: Path
) -> None:
    require_tool("ip")
    hosts = tmp_path / "hosts"
    hosts.write_text("2001:db8::2 two.test\n10.9.0.1 two.test\n")
    shell = f"mount --bind '{hosts}' /etc/hosts"
    order, seconds, peer = on_path(require_netns, "never", TWO_ADDRESSES, shell=shell).splitlines()
    assert order == "['2001:db8::2', '10.9.0.1']", "the dead one comes first"
    assert 0.25 <= float(seconds) < 0.5
    assert peer == "10.9.0.1"
