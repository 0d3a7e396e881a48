"""Opening listeners and bound sockets: what is bound, what is taken over, what is left alone."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import pytest

from netlab import socketops
from netlab.endpoint import Endpoint
from netlab.errors import LocalError, ResolveError, UsageError
from netlab.socketops import opening


def any_port(host: str = "127.0.0.1") -> Endpoint:
    return Endpoint.of(host, 0, listening=True)


def opened(bounds: list[socketops.Bound], stack: ExitStack) -> list[socketops.Bound]:
    for bound in bounds:
        stack.enter_context(bound)
    return bounds


def test_port_0_tells_the_real_port() -> None:
    with socketops.listen(any_port())[0] as bound:
        assert bound.endpoint.port == bound.sock.getsockname()[1] != 0
        assert bound.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def test_a_name_listens_on_all_its_addresses_with_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    # What "localhost" means differs from host to host, so the name's addresses are given here.
    both = [any_port("::1"), any_port("127.0.0.1")]
    monkeypatch.setattr(opening, "resolve", lambda *args, **options: both)
    with ExitStack() as stack:
        bounds = opened(socketops.listen(any_port("both")), stack)
        assert [bound.endpoint.host for bound in bounds] == ["::1", "127.0.0.1"]
        assert len({bound.endpoint.port for bound in bounds}) == 1


def test_family_must_fit_the_address() -> None:
    with pytest.raises(ResolveError):
        socketops.listen(any_port("127.0.0.1"), family=6)


@pytest.mark.parametrize(("family", "also_ipv4"), [(None, True), (6, False)])
def test_all_addresses_of_ipv6_take_ipv4_unless_told(family: socketops.Family, also_ipv4: bool) -> None:
    with socketops.listen(any_port("::"), family=family)[0] as bound, socket.socket() as client:
        client.settimeout(2)
        assert (client.connect_ex(("127.0.0.1", bound.endpoint.port)) == 0) is also_ipv4


def test_backlog_is_as_asked() -> None:
    with socketops.listen(any_port(), backlog=5)[0] as bound:
        assert bound.backlog == 5
        assert socketops.accept_queue(bound.sock) == (0, 5)


def test_a_taken_port_is_this_hosts_refusal() -> None:
    with socketops.listen(any_port())[0] as bound, pytest.raises(LocalError) as caught:
        socketops.listen(bound.endpoint)
    assert caught.value.errno == errno.EADDRINUSE
    assert str(caught.value) == f"bind {bound.endpoint}: address already in use (EADDRINUSE)"


def test_a_restart_does_not_wait_for_time_wait() -> None:
    with socketops.listen(any_port())[0] as first:
        with socket.create_connection(first.sock.getsockname()) as client:
            connection, _ = first.sock.accept()
            connection.close()  # the server closes first: its side goes to TIME_WAIT
            assert client.recv(1) == b""
    with socketops.listen(first.endpoint)[0] as second:
        assert second.endpoint == first.endpoint


def test_a_second_udp_server_cannot_share_the_port() -> None:
    endpoint = Endpoint.parse("udp://127.0.0.1:0", listening=True)
    with socketops.bind(endpoint)[0] as bound, pytest.raises(LocalError):
        socketops.bind(bound.endpoint)


def test_options_are_set_before_listening() -> None:
    settings = [socketops.parse_setting("SO_REUSEPORT=1")]
    with socketops.listen(any_port(), settings=settings)[0] as first:
        with socketops.listen(first.endpoint, settings=settings)[0] as second:
            assert second.endpoint == first.endpoint


def test_stream_and_datagram_are_not_mixed_up() -> None:
    with pytest.raises(UsageError):
        socketops.listen(Endpoint.parse("udp://127.0.0.1:0", listening=True))
    with pytest.raises(UsageError):
        socketops.bind(any_port())


@pytest.mark.parametrize("kind", ["unix", "unix-seqpacket"])
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_unix_path_has_its_mode_and_goes_with_us(tmp_path: Path, kind: str, mode: int) -> None:
    path = tmp_path / "s"
    with socketops.listen(Endpoint.parse(f"{kind}:{path}"), mode=mode)[0]:
        status = path.lstat()
        assert stat.S_ISSOCK(status.st_mode)
        assert stat.S_IMODE(status.st_mode) == mode
    assert not path.exists()


def test_abstract_name_leaves_no_file() -> None:
    with socketops.listen(Endpoint.parse(f"unix:@netlab-test-{os.getpid()}"))[0] as bound:
        assert bound.path_identity is None


def test_a_stale_path_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with socketops.listen(Endpoint.parse(f"unix:{path}"))[0], socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_live_path_is_never_taken(tmp_path: Path, kind: socket.SocketKind) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, kind) as alive:
        alive.bind(str(path))
        if kind != socket.SOCK_DGRAM:
            alive.listen(0)
        inode = path.lstat().st_ino
        with pytest.raises(LocalError) as caught:
            socketops.listen(Endpoint.parse(f"unix:{path}"))
        assert caught.value.errno == errno.EADDRINUSE
        assert path.lstat().st_ino == inode


def test_ordinary_files_and_links_are_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("target", "link", "dangling"):
        with pytest.raises(LocalError):
            socketops.listen(Endpoint.parse(f"unix:{tmp_path}/{name}"))
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dangling", "link", "target"]


def test_only_our_own_inode_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socketops.listen(Endpoint.parse(f"unix:{path}"))[0]:
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.exists()


def test_a_failed_listen_leaves_nothing_behind(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(LocalError) as caught:
        socketops.listen(Endpoint.parse(f"unix:{tmp_path}/no/such/directory"))
    assert caught.value.errno == errno.ENOENT
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("hosts", "family", "words"),
    [
        (["127.0.0.1", "::1"], None, "only this host"),
        (["0.0.0.0"], None, "every host that reaches any IPv4 address of this one"),
        (["::"], None, "every host that reaches any address of this one"),
        (["::"], 6, "every host that reaches any IPv6 address of this one"),
        (["::1", "::"], 6, "every host that reaches any IPv6 address of this one"),
    ],
)
def test_reach_says_how_far(hosts: list[str], family: Literal[6] | None, words: str) -> None:
    with ExitStack() as stack:
        sockets = [bound for host in hosts for bound in opened(socketops.listen(any_port(host), family=family), stack)]
        assert socketops.reach(sockets) == words


def test_reach_names_the_addresses_beyond_this_host() -> None:
    with socket.socket() as sock:
        sockets = [socketops.Bound(sock, Endpoint.of(host, 1)) for host in ("127.0.0.1", "192.0.2.7")]
        assert socketops.reach(sockets) == "every host that reaches 127.0.0.1 or 192.0.2.7"


def test_adopted_sockets_keep_their_kind(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as inherited:
        inherited.bind(str(tmp_path / "s"))
        inherited.listen()
        bound = socketops.adopt(inherited)
        assert str(bound.endpoint) == f"unix-seqpacket:{tmp_path}/s"
        assert bound.adopted
    assert (tmp_path / "s").exists()
