"""How a parent learns that a server listens, and hands over sockets that already do: with real processes."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from netlab import cli
from netlab.cli import readiness
from tests.programs import NETLAB, Netlab, Program, StartProgram
from tests.servers import read_line

SERVERS = ("serve-tcp", "serve-threaded", "serve-udp")


def ask(kind: int, address: tuple[str, int]) -> bytes:
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(5)
        client.connect(address)
        client.send(b"hello")
        return client.recv(100)


@pytest.mark.parametrize("command", SERVERS)
def test_ready_fd_gets_the_endpoints(start_server: StartProgram, command: str) -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as ready:
        server = start_server(command, "-q", "--ready-fd", str(writing), pass_fds=(writing,))
        os.close(writing)
        assert ready.read().decode() == f"{server.endpoint}\n"


def test_ready_fd_that_is_not_open_is_a_usage_error(netlab: Netlab) -> None:
    done = netlab("serve-tcp", "-p", "0", "--ready-fd", "77")
    assert done.returncode == 2
    assert b"--ready-fd 77: bad file descriptor (EBADF)" in done.stderr
    assert done.stdout == b"", "nothing was ready"


def test_ready_fd_leaves_standard_output_open(netlab: Netlab) -> None:
    done = netlab("serve-tcp", "-p", "0", "--ready-fd", "1", "--duration", "10ms")
    assert done.returncode == 0, done.stderr
    assert b"stopped by --duration" in done.stdout


@pytest.mark.parametrize("where", ["{}/notify", "@netlab-test-{}"], ids=["path", "abstract"])
def test_notify_socket_hears_that_it_is_ready(start_server: StartProgram, where: str, tmp_path: Path) -> None:
    name = where.format(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind(name.replace("@", "\0"))
        start_server("serve-threaded", env={"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1\n"


def test_notify_socket_that_nobody_reads_is_said_before_any_client_comes(netlab: Netlab, tmp_path: Path) -> None:
    done = netlab("serve-tcp", "-p", "0", env={"NOTIFY_SOCKET": f"{tmp_path}/nobody"})
    assert done.returncode == 45
    assert f"notify {tmp_path}/nobody: no such file or directory (ENOENT)" in done.stderr.decode()
    assert done.stdout == b"", "nothing was ready"


def start_with_sockets(start: StartProgram, sockets: list[socket.socket], *args: str) -> Program:
    """Start netlab as systemd does: sockets from descriptor 3 on, LISTEN_PID its own process."""
    numbers = [sock.fileno() for sock in sockets]
    moves = " ".join(f"{place}<&{number}" for place, number in enumerate(numbers, start=3))
    script = f'exec env LISTEN_PID=$$ LISTEN_FDS={len(numbers)} "$@" {moves}'
    return start("bash", "-c", script, "bash", *NETLAB, *args, pass_fds=numbers, naive=False)


@pytest.mark.parametrize("command", ["serve-tcp", "serve-tcp --concurrent", "serve-threaded"])
def test_listeners_are_taken_from_the_parent_and_left_alive(start_program: StartProgram, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        for sock in (one, other):
            sock.settimeout(5)
        server = start_with_sockets(start_program, [one, other], *command.split())
        addresses = [one.getsockname(), other.getsockname()]
        assert [server.ready(1), server.ready(2)] == [f"127.0.0.1:{port}" for _, port in addresses]
        for address in addresses:
            assert ask(socket.SOCK_STREAM, address) == b"received 5 bytes\n"
        assert server.stop().returncode == 0
        # Another client, whom the parent serves itself.
        with socket.create_connection(addresses[0], timeout=5) as client:
            accepted, _ = one.accept()
            with accepted:
                accepted.send(b"still here\n")
                assert read_line(client) == b"still here\n"


def test_listeners_of_the_parent_misbehave_as_well(start_program: StartProgram, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        other.listen()
        server = start_with_sockets(start_program, [one, other], "serve-tcp", "--fault", "delay=50ms")
        server.ready(2)
        for listener in (one, other):
            with socket.socket(listener.family) as client:
                client.settimeout(5)
                client.connect(listener.getsockname())
                started = time.monotonic()
                client.send(b"hello")
                assert read_line(client) == b"received 5 bytes\n"
                assert time.monotonic() - started >= 0.05
        assert server.stop().stdout.count(b" fault delay: waits 50 ms\n") == 2


def test_a_listener_of_the_parent_answers_nobody_until_the_server_has_gone(start_program: StartProgram) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=3) as listener:
        listener.settimeout(5)
        server = start_with_sockets(start_program, [listener], "serve-threaded", "--fault", "no-accept")
        server.ready()
        with socket.socket() as early:
            early.settimeout(0.1)
            with pytest.raises(TimeoutError):
                early.connect(listener.getsockname())
        assert server.stop().returncode == 0
        listener.accept()[0].close()  # one of the server's own, which has filled the queue
        with socket.create_connection(listener.getsockname(), timeout=5) as late:
            accepted, address = listener.accept()
            with accepted:
                assert address == late.getsockname()


def test_bound_datagram_socket_is_taken_from_the_parent(start_program: StartProgram) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        server = start_with_sockets(start_program, [bound], "serve-udp")
        server.ready()
        assert ask(socket.SOCK_DGRAM, bound.getsockname()) == b"received 5 bytes\n"
        assert server.stop().returncode == 0


def test_socket_of_the_wrong_kind_is_refused(start_program: StartProgram) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = start_with_sockets(start_program, [listener], "serve-udp").wait()
    assert done.returncode == 45
    assert b"is not a datagram socket" in done.stderr


def test_socket_that_does_not_listen_is_refused_before_it_is_announced(start_program: StartProgram) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
        connection, _ = listener.accept()
        with connection:
            done = start_with_sockets(start_program, [connection], "serve-threaded").wait()
    assert (done.returncode, done.stdout) == (45, b"")
    assert b"adopt descriptor 3: 127.0.0.1:" in done.stderr
    assert b" does not listen\n" in done.stderr


@pytest.mark.parametrize("option", ["--backlog 3", "--set SO_RCVBUF=4096", "--type seqpacket", "-4", "--mode 0600"])
def test_what_is_for_opening_is_refused_where_the_parent_has_opened(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(readiness, "FIRST_INHERITED", os.dup(listener.fileno()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        assert cli.run(["serve-tcp", "--duration", "10ms", *option.split()]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert option.split()[0] in err.splitlines()[-1]


@pytest.mark.parametrize("where", [("-p", "0"), ("-H", "127.0.0.1"), ("-U", "/tmp/s"), ("127.0.0.1:0",)])
def test_sockets_of_the_parent_and_a_place_contradict_each_other(
    start_program: StartProgram, where: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = start_with_sockets(start_program, [listener], "serve-tcp", *where).wait()
    assert done.returncode == 2
    assert f"LISTEN_FDS has brought the sockets to serve, so {where[0]} cannot" in done.stderr.decode()


def test_sockets_for_another_process_are_not_taken(start_server: StartProgram) -> None:
    server = start_server("serve-tcp", env={"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert ask(socket.SOCK_STREAM, ("127.0.0.1", server.port)) == b"received 5 bytes\n"
