"""What a process runs out of: descriptors and threads.  Never a traceback, a hang, a spin, or a loss without a word."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

from tests import peers
from tests.injection import Nursery
from tests.servers import read_line

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone has what this needs")

NOBODY = 54321
"""A user that runs nothing else: RLIMIT_NPROC counts all of a user's threads, and does not hold for root."""
COMMANDS = {
    "send": ("send", "{tcp}", "one"),
    "file": ("send", "{tcp}", "-f", "{file}"),
    "load": ("send", "{tcp}", "-c", "20", "-j", "4", "one"),
    "name": ("send", "localhost:{port}", "one"),
    "chat": ("chat", "{tcp}"),
    "probe": ("probe", "{tcp}", "--all-options"),
    "probe many": ("probe", "{tcp}", "127.0.0.1:1-40"),
    "probe names": ("probe", "localhost:{port}", "localhost:1"),
    "probe icmp": ("probe", "icmp:127.0.0.1", "-w", "200ms"),
    "loopback": ("probe", "--loopback"),
    "loopback udp": ("probe", "--loopback", "-u", "-w", "200ms"),
    "trace": ("send", "{tcp}", "one", "--trace", "--diagram"),
    "iterative": ("serve-tcp", "-p", "0", "--duration", "20ms"),
    "two sockets": ("serve-tcp", "localhost:0", "--duration", "20ms"),
    "concurrent": ("serve-tcp", "--concurrent", "-p", "0", "--duration", "20ms"),
    "threaded": ("serve-threaded", "-p", "0", "--duration", "20ms"),
    "udp": ("serve-udp", "-p", "0", "--duration", "20ms"),
}


def words(command: str, echo: peers.Peer) -> list[str]:
    return [word.format(tcp=echo.endpoint, port=echo.port, file=__file__) for word in COMMANDS[command]]


@pytest.mark.parametrize("command", COMMANDS)
def test_few_descriptors(nursery: Nursery, echo: peers.Peer, command: str) -> None:
    wrong = {}
    usual = nursery.run(*words(command, echo))[0].returncode
    for limit in (6, 8, 10):  # with fewer the resolver cannot read its files, and says that there is no such name
        done, cpu = nursery.run(*words(command, echo), limits={"NOFILE": limit})
        said = (done.stdout + done.stderr).decode()
        is_told = (done.returncode == 45 and "EMFILE" in said) or (done.returncode == 2 and "ulimit -n" in said)
        if not (is_told or done.returncode == usual) or cpu > 0.5:
            wrong[limit] = (done, cpu)
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to be another user")
@pytest.mark.parametrize("command", [*COMMANDS])
def test_no_threads(nursery: Nursery, echo: peers.Peer, command: str) -> None:
    if command in ("file", "probe icmp"):
        pytest.skip("it has no threads, and another user may not do it")
    for limit in (1, 2):
        done, _ = nursery.run(*words(command, echo), limits={"NPROC": limit}, uid=NOBODY)
        if done.returncode == 45:
            assert b"this host gives no more threads" in done.stderr
        else:
            assert done.returncode in (0, 1), done


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="needs root, to be another user")
def test_a_server_that_runs_out_of_threads_serves_on(nursery: Nursery) -> None:
    server = nursery.start("serve-threaded", "-p", "0", "--cpu", "none", limits={"NPROC": 5}, uid=NOBODY)
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=5)) for _ in range(6)
        ]
        for client in clients:
            client.sendall(b"hello")
        heard = [read_line(client) for client in clients]
        assert set(heard) == {b"received 5 bytes\n", b"server is out of threads\n"}
        served = [client for client, line in zip(clients, heard, strict=True) if line.startswith(b"received")]
        for client in served:
            client.sendall(b"hello")
            assert read_line(client) == b"received 5 bytes\n"
        served[0].close()
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as late:
            late.sendall(b"hello")
            read_line(late)
    done = server.stop()
    assert done.returncode == 0
    assert done.stderr.count(b"this host gives no more threads") == 1


def test_a_server_without_a_descriptor_for_a_clients_file_serves_on_and_tells(nursery: Nursery, tmp_path: Path) -> None:
    server = nursery.start("serve-udp", "-p", "0", "-o", str(tmp_path / "%n"), limits={"NOFILE": 20})
    for _ in range(20):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", server.port))
            client.send(b"hello")
            assert client.recv(100) == b"received 5 bytes\n"
    done = server.stop()
    saved = len(list(tmp_path.iterdir()))
    assert 0 < saved < 20
    assert done.stderr.count(b"sends is not saved: open ") == 20 - saved
    assert done.returncode == 23, "a script that saves looks at the status"
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"hello"}


@pytest.mark.parametrize(
    "args",
    [("send", "{tcp}", "-c", "1000", "-j", "500", "x"), ("probe", "127.0.0.1:1-600", "-j", "500", "--rate", "0")],
)
def test_five_hundred_jobs_without_the_descriptors_for_them(
    nursery: Nursery, echo: peers.Peer, args: tuple[str, ...]
) -> None:
    done, cpu = nursery.run(*(word.format(tcp=echo.endpoint) for word in args), limits={"NOFILE": 40})
    assert done.returncode in (1, 2, 45), done
    assert b"EMFILE" in done.stdout + done.stderr or b"ulimit -n" in done.stderr or b"600" in done.stdout
    assert cpu < 2
