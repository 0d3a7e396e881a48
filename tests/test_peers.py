"""The peers that other tests lean on meet a plain socket as they say."""

from __future__ import annotations

import errno
import select
import socket
import time
from pathlib import Path

import pytest

from tests import peers


def connect(peer: peers.Peer) -> socket.socket:
    return socket.create_connection((peer.host, peer.port), timeout=5)


def test_silent_listener_answers_no_syn() -> None:
    with peers.silent_listener() as peer, socket.socket() as client:
        client.setblocking(False)
        assert client.connect_ex((peer.host, peer.port)) == errno.EINPROGRESS
        # An answer, of whatever kind, takes microseconds on loopback.
        assert select.select([], [client], [], 0.2) == ([], [], [])


def test_silent_unix_listener_is_busy(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with peers.silent_listener(path) as peer, socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        assert client.connect_ex(path) == errno.EAGAIN
        assert peer.endpoint == f"unix:{path}"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_refusing_port_refuses_and_is_not_free(host: str, request: pytest.FixtureRequest) -> None:
    if host == "::1":
        request.getfixturevalue("require_ipv6")
    with peers.refusing_port((host, 0)) as peer:
        with pytest.raises(ConnectionRefusedError):
            connect(peer)
        with socket.socket(peer.socket.family) as other, pytest.raises(OSError, match="in use"):
            other.bind((host, peer.port))
    assert peer.endpoint == (f"[::1]:{peer.port}" if host == "::1" else f"127.0.0.1:{peer.port}")


def test_mute_server_reads_and_stays() -> None:
    with peers.mute_server() as peer, connect(peer) as client:
        client.sendall(b"hello")
        peer.wait_received(b"hello")
        client.shutdown(socket.SHUT_WR)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_resetting_server_resets() -> None:
    with peers.resetting_server() as peer, connect(peer) as client:
        client.sendall(b"hello")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.parametrize("size", [0, 5])
def test_closing_server_closes_in_good_order(size: int) -> None:
    with peers.closing_server(size) as peer, connect(peer) as client:
        client.sendall(b"hello"[:size])
        assert client.recv(1) == b""


def test_late_server_is_late_and_does_not_hold_up_the_end() -> None:
    with peers.late_server(0.1) as peer, connect(peer) as client:
        started = time.monotonic()
        client.sendall(b"hello")
        assert client.recv(16) == b"late\n"
        assert time.monotonic() - started >= 0.1
    with peers.late_server(60) as peer, connect(peer) as client:
        client.sendall(b"hello")
        peer.wait_received(b"hello")


def test_reply_server_greets_and_answers_chunk_by_chunk() -> None:
    with peers.reply_server(b"one", b"two", greeting=b"hi") as peer, connect(peer) as client:
        assert client.recv(16) == b"hi"
        for reply in (b"one", b"two"):
            client.sendall(b"?")
            assert client.recv(16) == reply
        client.shutdown(socket.SHUT_WR)
        assert client.recv(16) == b""
        assert peer.received == b"??"


def test_refusing_udp_answers_icmp_and_mute_udp_does_not() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        with peers.refusing_udp() as refusing:
            client.connect((refusing.host, refusing.port))
            client.send(b"hello")
            with pytest.raises(ConnectionRefusedError):
                client.recv(1)
        with peers.mute_udp() as mute:
            client.sendto(b"hello", (mute.host, mute.port))
            assert mute.socket.recv(16) == b"hello"
            client.settimeout(0.05)
            with pytest.raises(TimeoutError):
                client.recv(1)


def test_wait_received_fails_when_nothing_comes() -> None:
    with peers.mute_server() as peer, pytest.raises(AssertionError, match="did not come"):
        peer.wait_received(b"hello", timeout=0.01)
