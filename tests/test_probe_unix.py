"""probe over unix sockets: live, stale, missing, busy, of another type, and who is behind it."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from netlab.endpoint import Endpoint
from netlab.reports import Diagnosis
from netlab.socketops import Method, diagnose
from tests import peers
from tests.programs import Netlab

QUICK = Method(timeout=0.15)
KINDS = {"unix": socket.SOCK_STREAM, "unix-seqpacket": socket.SOCK_SEQPACKET, "unix-dgram": socket.SOCK_DGRAM}


def probe(target: str, **options: Any) -> Diagnosis:
    return diagnose(Endpoint.parse(target), QUICK, **options)


def bound(kind: str, path: str, *, listening: bool = True) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, KINDS[kind])
    sock.bind(b"\0" + path[1:].encode() if path.startswith("@") else path)
    if listening and kind != "unix-dgram":
        sock.listen(5)
    return sock


@pytest.fixture(params=["path", "abstract"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "s") if request.param == "path" else f"@netlab-test-{os.getpid()}-{tmp_path.name}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_live_socket_is_open(kind: str, place: str) -> None:
    with bound(kind, place):
        found = probe(f"{kind}:{place}")
    best = found.best
    assert (best.verdict, found.summary.status) == ("open", 0)
    assert str(best.peer) == f"{kind}:{place}"
    assert best.rtt_us is None
    assert found.tcp_info is None


@pytest.mark.parametrize("kind", ["unix", "unix-seqpacket"])
def test_a_connected_one_tells_who_listens(kind: str, place: str) -> None:
    with bound(kind, place):
        best = probe(f"{kind}:{place}").best
    assert (best.pid, best.uid, best.gid) == (os.getpid(), os.getuid(), os.getgid())


def test_a_datagram_client_has_a_name_to_be_answered_at(tmp_path: Path) -> None:
    with bound("unix-dgram", str(tmp_path / "s")):
        best = probe(f"unix-dgram:{tmp_path / 's'}").best
    assert best.local is not None
    assert best.local.path.startswith("@")
    assert best.pid is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_stale_path_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "stale"
    bound(kind, str(path)).close()
    assert stat.S_ISSOCK(path.stat().st_mode)
    found = probe(f"{kind}:{path}")
    assert (found.best.verdict, found.best.errno, found.summary.status) == ("refused", errno.ECONNREFUSED, 7)
    assert "left its socket file behind" in " ".join(found.likely)


def test_bound_but_not_listening_is_refused(tmp_path: Path) -> None:
    with bound("unix", str(tmp_path / "s"), listening=False):
        assert probe(f"unix:{tmp_path / 's'}").best.verdict == "refused"


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_is_no_socket_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / what
    path.mkdir() if what == "directory" else path.touch()
    found = probe(f"unix:{path}")
    assert (found.best.verdict, found.best.errno_name) == ("refused", "ECONNREFUSED")


def test_an_abstract_name_that_nobody_has_is_refused() -> None:
    found = probe(f"unix:@netlab-nobody-{os.getpid()}")
    assert (found.best.verdict, found.summary.status) == ("refused", 7)
    assert "abstract name" in found.best.evidence


def test_no_such_path_is_missing(tmp_path: Path) -> None:
    found = probe(f"unix:{tmp_path}/none")
    assert (found.best.verdict, found.best.errno, found.summary.status) == ("missing", errno.ENOENT, 7)
    assert "FileNotFoundError" in found.best.evidence
    (tmp_path / "file").touch()
    found = probe(f"unix:{tmp_path}/file/none")
    assert (found.best.verdict, found.best.errno, found.summary.status) == ("missing", errno.ENOTDIR, 7)


@pytest.mark.parametrize(
    ("asked", "there"), [("unix", "unix-dgram"), ("unix", "unix-seqpacket"), ("unix-dgram", "unix")]
)
def test_a_socket_of_another_type_is_told(asked: str, there: str, tmp_path: Path) -> None:
    with bound(there, str(tmp_path / "s")):
        found = probe(f"{asked}:{tmp_path / 's'}")
    assert (found.best.verdict, found.best.errno_name, found.summary.status) == ("error", "EPROTOTYPE", 45)
    assert any(there in command for command, _ in found.next_steps)


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Be nobody for a while, as root may write to any socket file."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_right_to_write_is_denied(tmp_path: Path) -> None:
    with bound("unix", str(tmp_path / "s")):
        (tmp_path / "s").chmod(0o400)
        with without_root():
            found = probe(f"unix:{tmp_path / 's'}")
    assert (found.best.verdict, found.best.errno, found.summary.status) == ("denied", errno.EACCES, 7)
    assert "PermissionError" in found.best.evidence


def test_a_full_backlog_is_busy_and_tried_again(tmp_path: Path) -> None:
    with peers.silent_listener(str(tmp_path / "s")) as peer:
        found = probe(peer.endpoint)
    best = found.best
    assert (best.verdict, best.errno, found.summary.status) == ("busy", errno.EAGAIN, 28)
    assert best.tries is not None
    assert best.tries >= 2
    assert best.duration_us >= 150_000
    assert f"connect_ex {errno.EAGAIN} EAGAIN, {best.tries} times in " in best.evidence


def test_room_in_the_backlog_is_found_within_the_timeout(tmp_path: Path) -> None:
    with peers.silent_listener(str(tmp_path / "s")) as peer:
        accepted: list[socket.socket] = []
        timer = threading.Timer(0.1, lambda: accepted.append(peer.socket.accept()[0]))
        timer.start()
        found = diagnose(Endpoint.parse(peer.endpoint), Method(timeout=5))
        timer.join()
        accepted[0].close()
    assert found.best.verdict == "open"
    assert found.best.tries is not None
    assert found.best.tries >= 2


def test_a_full_datagram_queue_is_busy(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with bound("unix-dgram", path), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
        filler.setblocking(False)
        filler.connect(path)
        with contextlib.suppress(BlockingIOError):
            while filler.send(b"x"):
                pass
        found = probe(f"unix-dgram:{path}")
    assert (found.best.verdict, found.summary.status) == ("busy", 28)
    assert "poll() does not say writable" in found.best.evidence


def test_types_and_statuses_on_the_command_line(netlab_here: Netlab, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with bound("unix-seqpacket", path):
        assert netlab_here("probe", "-U", path, "--type", "seqpacket").returncode == 0
        assert netlab_here("probe", f"unix-seqpacket:{path}", "--json").returncode == 0
        assert netlab_here("probe", "-U", path).returncode == 45
    stale = netlab_here("probe", f"unix-seqpacket:{path}")
    assert stale.returncode == 7
    assert stale.stdout.decode().startswith(f"refused      unix-seqpacket:{path}")
    too_long = netlab_here("probe", "unix:" + "x" * 108)
    assert too_long.returncode == 2
    assert b"107 is the most" in too_long.stderr


def test_an_odd_path_is_shown_safely(netlab: Netlab, tmp_path: Path) -> None:
    path = str(tmp_path / "\x1b]0;gotcha\x07")
    done = netlab("probe", f"unix:{path}")
    assert done.returncode == 7
    assert b"\x1b" not in done.stdout + done.stderr
    assert rb"\x1b]0;gotcha\x07" in done.stdout
