"""Connecting: outcomes as errors with the right status, the race over addresses, source and options."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from pathlib import Path

import pytest

from netlab import socketops
from netlab.endpoint import Endpoint
from netlab.errors import ConnectError, LocalError, ResolveError, TimedOut
from netlab.socketops import connecting
from tests import peers


def endpoint_of(peer: peers.Peer) -> Endpoint:
    return Endpoint.parse(peer.endpoint)


def test_connects_and_gives_a_blocking_socket() -> None:
    with peers.mute_server() as peer, socketops.connect(endpoint_of(peer), timeout=2) as sock:
        assert sock.getpeername() == (peer.host, peer.port)
        assert sock.gettimeout() is None


def test_refused_is_status_7() -> None:
    with peers.refusing_port() as peer, pytest.raises(ConnectError) as caught:
        socketops.connect(endpoint_of(peer), timeout=2)
    assert caught.value.errno == errno.ECONNREFUSED
    assert str(caught.value) == f"connect {peer.endpoint}: connection refused (ECONNREFUSED)"
    assert caught.value.status == 7


def test_silence_is_a_time_out_and_never_eagain() -> None:
    with peers.silent_listener() as peer, pytest.raises(TimedOut) as caught:
        socketops.connect(endpoint_of(peer), timeout=0.05)
    assert caught.value.errno is None
    assert "no answer within 50 ms" in str(caught.value)


def test_full_unix_backlog_waits_for_room(tmp_path: Path) -> None:
    with peers.silent_listener(str(tmp_path / "s")) as peer:
        room = threading.Timer(0.05, lambda: peer.socket.accept()[0].close())
        room.start()
        with socketops.connect(endpoint_of(peer), timeout=5) as sock:
            assert sock.family == socket.AF_UNIX
        room.join()


def test_full_unix_backlog_times_out(tmp_path: Path) -> None:
    with peers.silent_listener(str(tmp_path / "s")) as peer, pytest.raises(TimedOut) as caught:
        socketops.connect(endpoint_of(peer), timeout=0.05)
    assert caught.value.errno == errno.EAGAIN


def test_missing_unix_path(tmp_path: Path) -> None:
    with pytest.raises(ConnectError) as caught:
        socketops.connect(Endpoint.parse(f"unix:{tmp_path}/none"), timeout=1)
    assert caught.value.errno == errno.ENOENT


def test_stale_unix_path_is_refused(tmp_path: Path) -> None:
    with peers.refusing_port(str(tmp_path / "s")) as peer:
        pass
    with pytest.raises(ConnectError) as caught:
        socketops.connect(endpoint_of(peer), timeout=1)
    assert caught.value.errno == errno.ECONNREFUSED


def test_unknown_name_is_status_6() -> None:
    with pytest.raises(ResolveError) as caught:
        socketops.connect(Endpoint.parse("no-such-host.invalid:80"), timeout=5)
    assert caught.value.status == 6
    assert "no-such-host.invalid" in str(caught.value)


def test_a_refused_address_gives_way_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    with peers.mute_server() as peer:
        both = [Endpoint.of(host, peer.port) for host in ("::1", "127.0.0.1")]
        monkeypatch.setattr(connecting, "addresses_to_try", lambda *args, **options: both)
        with socketops.connect(Endpoint.of("both", peer.port), timeout=2) as sock:
            assert sock.getpeername()[0] == "127.0.0.1"


def test_a_silent_address_costs_only_the_attempt_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    with peers.silent_listener() as dead, peers.mute_server() as alive:
        both = [endpoint_of(dead), endpoint_of(alive)]
        monkeypatch.setattr(connecting, "addresses_to_try", lambda *args, **options: both)
        started = time.monotonic()
        with socketops.connect(Endpoint.parse("two-addresses:1"), timeout=5) as sock:
            assert sock.getpeername()[1] == alive.port
        assert connecting.ATTEMPT_DELAY <= time.monotonic() - started < 2


def test_families_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Endpoint.of(host, 1) for host in ("::1", "::2", "127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(connecting, "resolve", lambda *args, **options: found)
    order = connecting.addresses_to_try(Endpoint.parse("many:1"), family=None, source=None, timeout=1)
    assert [address.host for address in order] == ["::1", "127.0.0.1", "::2", "127.0.0.2"]


def test_a_source_keeps_to_its_family(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Endpoint.of(host, 1) for host in ("::1", "127.0.0.1")]
    monkeypatch.setattr(connecting, "resolve", lambda *args, **options: found)
    source = Endpoint.of("127.0.0.1", 0, listening=True)
    order = connecting.addresses_to_try(Endpoint.parse("both:1"), family=None, source=source, timeout=1)
    assert [address.host for address in order] == ["127.0.0.1"]


def test_source_address_and_port_are_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with peers.mute_server() as peer:
        source = Endpoint.of("127.0.0.2", port)
        with socketops.connect(endpoint_of(peer), timeout=2, source=source) as sock:
            assert sock.getsockname() == ("127.0.0.2", port)


def test_a_source_of_any_host_is_of_the_targets_family() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        target = Endpoint.of("::1", server.getsockname()[1])
        with connecting.connect(target, timeout=5, source=Endpoint.of("0.0.0.0", 0, listening=True)) as client:
            assert client.getsockname()[0] == "::1"
        with pytest.raises(LocalError, match="it is of another family than"):
            connecting.connect(target, timeout=5, source=Endpoint.of("127.0.0.1", 0, listening=True))


def test_a_source_that_is_not_ours_is_status_45() -> None:
    with peers.mute_server() as peer, pytest.raises(LocalError) as caught:
        socketops.connect(endpoint_of(peer), timeout=2, source=Endpoint.of("192.0.2.1", 0, listening=True))
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_options_are_set_before_connecting() -> None:
    settings = [socketops.parse_setting("TCP_NODELAY=on")]
    with peers.mute_server() as peer, socketops.connect(endpoint_of(peer), timeout=2, settings=settings) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_wait_connects_once_the_server_listens() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        late = threading.Timer(0.15, listener.listen)
        late.start()
        with socketops.connect(Endpoint.of("127.0.0.1", listener.getsockname()[1]), timeout=2, wait=5) as sock:
            assert sock.getpeername() == listener.getsockname()
        late.join()


def test_wait_ends_with_the_last_outcome() -> None:
    with peers.refusing_port() as peer, pytest.raises(ConnectError):
        socketops.connect(endpoint_of(peer), timeout=2, wait=0.05)


def test_a_self_connect_is_refused() -> None:
    """A socket bound to the very port that it connects to meets its own SYN."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        own = Endpoint.of(*sock.getsockname())
    with pytest.raises(ConnectError) as caught:
        socketops.connect(own, timeout=1, source=own)
    assert "itself" in str(caught.value)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_udp_is_connected(family: socket.AddressFamily) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    with peers.mute_udp(host) as peer, socketops.connect(Endpoint.parse(peer.endpoint), timeout=1) as sock:
        sock.send(b"hello")
        assert peer.socket.recv(100) == b"hello"


def test_a_unix_datagram_client_can_be_answered(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(tmp_path / "d"))
        with socketops.connect(Endpoint.parse(f"unix-dgram:{tmp_path}/d"), timeout=1) as sock:
            sock.send(b"hello")
            _, sender = server.recvfrom(100)
            server.sendto(b"reply", sender)
            assert sock.recv(100) == b"reply"


def test_failures_leave_no_descriptor_open() -> None:
    before = os.listdir("/proc/self/fd")
    with peers.refusing_port() as peer:
        for _ in range(5):
            with pytest.raises(ConnectError):
                socketops.connect(endpoint_of(peer), timeout=1)
    assert len(os.listdir("/proc/self/fd")) == len(before)
