"""What a process can meet: limits that are reached, signals at awkward times, full disks, closed terminals, stalls.

Never a traceback, a hang, a spin, or a byte lost without a word.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import peers
from tests.injection import HANG, Forked, Nursery, until
from tests.programs import Program, clean_environment
from tests.servers import read_line, read_to_end
from tests.terminal import Terminal

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone has what this needs")

NOBODY = 54321
"""A user that runs nothing else: RLIMIT_NPROC counts all of a user's threads, and does not hold for root."""
MANY = 10**6
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


@pytest.fixture(scope="module")
def echo() -> Iterator[peers.Peer]:
    with peers.echo_server() as peer:
        yield peer


def words(command: str, echo: peers.Peer) -> list[str]:
    return [word.format(tcp=echo.endpoint, port=echo.port, file=__file__) for word in COMMANDS[command]]


@contextlib.contextmanager
def told(nursery: Nursery, *args: str, stdout: int, stderr: int | None = None) -> Iterator[tuple[Forked, int]]:
    """Run a command whose standard output is the test's own; give its process, and where its standard error is read."""
    reader, writer = os.pipe()
    with open(os.devnull, "rb") as nothing:
        streams = [nothing.fileno(), stdout, writer if stderr is None else stderr]
        process = nursery.fork(["netlab", *args], streams, env=clean_environment())
    os.close(writer)
    try:
        yield process, reader
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def read_all(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, 65536), b""))


# Limits


@pytest.mark.parametrize("command", COMMANDS)
def test_few_descriptors(nursery: Nursery, echo: peers.Peer, command: str) -> None:
    wrong = {}
    usual = nursery.run(*words(command, echo))[0].returncode
    for limit in (5, 7, 10):  # with 4 the resolver cannot read its files, and says that there is no such name
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


# Signals


@pytest.mark.parametrize("command", ["send", "probe", "chat"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_name_is_resolved(nursery: Nursery, command: str, number: signal.Signals) -> None:
    nursery.plan.arm("getaddrinfo", HANG)
    program = nursery.start(command, "netlab.test:9")
    nursery.plan.wait_injected()
    done = program.stop(number, timeout=1)
    nursery.plan.disarm()
    assert (done.returncode, done.stderr) == (-number, b"")


def test_a_resolver_that_never_answers_is_28(nursery: Nursery) -> None:
    for command, words in (("send", ("x",)), ("probe", ()), ("chat", ())):
        nursery.plan.arm("getaddrinfo", HANG, times=0)
        done, _ = nursery.run(command, "netlab.test:9", *words, "-w", "50ms")
        nursery.plan.disarm()
        assert done.returncode == (6 if command == "probe" else 28), done
        assert b"no answer from the resolver within 0.05 s" in done.stderr + done.stdout


@pytest.mark.parametrize(
    "command", [("send", "x"), ("probe",), ("chat",), ("probe", "127.0.0.1:1"), ("send", "x", "-c", "9", "-j", "3")]
)
def test_ctrl_c_while_connecting(nursery: Nursery, command: tuple[str, ...]) -> None:
    with peers.silent_listener() as peer:
        nursery.plan.arm("connect", errno.EPERM, first=MANY)
        program = nursery.start(command[0], peer.endpoint, *command[1:])
        until(lambda: nursery.plan.called, "a connect")
        done = program.stop(signal.SIGINT, timeout=1)
        nursery.plan.disarm()
    assert done.returncode in (-signal.SIGINT, 130), done


@pytest.mark.parametrize("stream", ["/dev/zero", "pipe"])
def test_ctrl_c_in_a_send_that_waits(nursery: Nursery, stream: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = f"127.0.0.1:{listener.getsockname()[1]}"
        program = nursery.start("send", target, *(() if stream == "pipe" else ("-f", stream)), stdin=subprocess.PIPE)
        with listener.accept()[0] as peer:
            if stream == "pipe":
                feeder = threading.Thread(target=feed, args=(program,))
                feeder.start()
            until(lambda: is_stuck(peer), "queues that are full")
            done = program.stop(signal.SIGINT, timeout=1)
            if stream == "pipe":
                feeder.join(5)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def feed(program: Program) -> None:
    with contextlib.suppress(OSError, ValueError):  # ValueError: our end is closed by now
        while True:
            program.write(b"x" * 65536)


def waiting(descriptor: int) -> int:
    """Return how many bytes wait to be read."""
    return int(struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, b"\0" * 4))[0])


def is_stuck(sock: socket.socket) -> bool:
    """Tell whether nothing more has come for 50 ms, and something has."""
    before = waiting(sock.fileno())
    threading.Event().wait(0.05)
    return 0 < before == waiting(sock.fileno())


@contextlib.contextmanager
def flooding() -> Iterator[str]:
    """A peer that sends numbered lines for ever; gives its endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def flood() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as client:
                number = 0
                while True:
                    client.sendall(b"".join(b"%09d\n" % line for line in range(number, number + 5000)))
                    number += 5000

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RD)
            thread.join(5)
            assert not thread.is_alive()


STALLED = {
    "send": ("send", "{flood}", "x", "--until", "2000000"),
    "send -x": ("send", "{flood}", "x", "-x", "--until", "2000000"),
    "chat": ("chat", "{flood}"),
}


@pytest.mark.parametrize("command", STALLED)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_nobody_reads_standard_output(nursery: Nursery, command: str, number: signal.Signals) -> None:
    reader, writer = os.pipe()
    with flooding() as endpoint:
        args = [word.format(flood=endpoint) for word in STALLED[command]]
        with told(nursery, *args, stdout=writer) as (process, errors):
            os.close(writer)
            until(lambda: waiting(reader) > 60_000, "a full pipe")
            process.send_signal(number)
            assert process.wait(1) == -number
            assert re.fullmatch(rb"(connected to .*\n)?", read_all(errors))
            assert process.cpu < 1
    os.close(reader)


def test_what_a_reader_takes_late_is_all_there(nursery: Nursery) -> None:
    reader, writer = os.pipe()
    with flooding() as endpoint:
        with told(nursery, "send", endpoint, "x", "--until", "2000000", stdout=writer) as (
            process,
            errors,
        ):
            os.close(writer)
            until(lambda: waiting(reader) > 60_000, "a full pipe")
            data = read_all(reader)
            assert process.wait(5) == 0, read_all(errors)
    os.close(reader)
    assert data == b"".join(b"%09d\n" % line for line in range(200_000))


def test_probe_waits_for_whoever_reads(nursery: Nursery) -> None:
    reader, writer = os.pipe()
    with told(nursery, "probe", "127.0.0.1:1-3000", "-v", stdout=writer) as (process, _):
        os.close(writer)
        until(lambda: waiting(reader) > 60_000, "a full pipe")
        process.send_signal(signal.SIGINT)
        read_all(reader)
        assert process.wait(5) in (1, 130, -signal.SIGINT)
    os.close(reader)


@pytest.mark.parametrize("model", [("serve-tcp",), ("serve-tcp", "--concurrent"), ("serve-threaded",)])
def test_a_server_that_was_stopped_goes_on(nursery: Nursery, model: tuple[str, ...]) -> None:
    server = nursery.start(*model, "-p", "0", "--reply", "echo")
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as first:
        first.sendall(b"one\n")
        assert read_line(first) == b"one\n"
        server.send_signal(signal.SIGSTOP)
        until(lambda: state_of(server) == "T", "a stopped process")
        first.sendall(b"two\n")
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as second:
            second.sendall(b"three\n")
            server.send_signal(signal.SIGPIPE)
            server.send_signal(signal.SIGCONT)
            assert read_line(first) == b"two\n"
            first.close()
            assert read_line(second) == b"three\n"
    done = server.stop()
    assert (done.returncode, done.stderr) == (0, b"")


def state_of(program: Program) -> str:
    return Path(f"/proc/{program.process.pid}/stat").read_text().rpartition(") ")[2][0]


def test_a_client_that_was_stopped_finds_the_reply_that_came_meanwhile(nursery: Nursery) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        program = nursery.start("send", f"127.0.0.1:{listener.getsockname()[1]}", "ping", "--until", "4", "-w", "150ms")
        with listener.accept()[0] as peer:
            assert peer.recv(100) == b"ping"
            program.send_signal(signal.SIGSTOP)
            until(lambda: state_of(program) == "T", "a stopped process")
            peer.sendall(b"pong")
            threading.Event().wait(0.2)  # longer than -w
            program.send_signal(signal.SIGCONT)
            done = program.wait()
    assert (done.returncode, done.stdout) == (0, b"pong"), done


def test_hang_up_ends_a_chat_and_a_server_at_once(nursery: Nursery) -> None:
    with peers.mute_server() as peer:
        for args in (("chat", peer.endpoint), ("serve-threaded", "-p", "0")):
            program = nursery.start(*args, stdin=subprocess.PIPE)
            program.wait_for("connected|listening", stderr=args[0] == "chat")
            assert program.stop(signal.SIGHUP, timeout=1).returncode == -signal.SIGHUP


# Full disks

FULL = {
    "send": ("send", "{tcp}", "one"),
    "send --json": ("send", "{tcp}", "one", "--json"),
    "load": ("send", "{tcp}", "-c", "2", "one"),
    "chat": ("chat", "{tcp}", "--json"),
    "probe": ("probe", "{tcp}"),
    "probe many": ("probe", "{tcp}", "127.0.0.1:1"),
    "probe -c": ("probe", "{tcp}", "-c", "2", "-i", "0.01"),
    "loopback": ("probe", "--loopback"),
    "serve-tcp": ("serve-tcp", "-p", "0"),
    "serve-udp": ("serve-udp", "-p", "0", "--json"),
    "help": ("--help",),
}


@pytest.fixture
def full() -> Iterator[int]:
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("command", FULL)
def test_standard_output_on_a_full_disk(nursery: Nursery, echo: peers.Peer, full: int, command: str) -> None:
    args = [word.format(tcp=echo.endpoint) for word in FULL[command]]
    with told(nursery, *args, stdout=full) as (process, errors):
        status, said = process.wait(5), read_all(errors).decode()
    assert status == 23, said
    assert re.search("no space left on device", said, re.IGNORECASE)
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "args",
    [
        ("send", "{tcp}", "one", "--trace"),
        ("send", "127.0.0.1:1", "x"),
        ("chat", "{tcp}"),
        ("serve-tcp", "-p", "0", "--trace", "--duration", "20ms"),
        ("--nonsense",),
    ],
)
def test_standard_error_on_a_full_disk(nursery: Nursery, echo: peers.Peer, full: int, args: tuple[str, ...]) -> None:
    words = [word.format(tcp=echo.endpoint) for word in args]
    reader, writer = os.pipe()
    with told(nursery, *words, stdout=writer, stderr=full) as (process, _):
        os.close(writer)
        status = process.wait(5)
    os.close(reader)
    assert status in (0, 2, 7, 23), "and not a bug's 70"


@pytest.mark.parametrize("option", ["--output", "--trace-file"])
def test_a_file_that_may_not_grow(nursery: Nursery, tmp_path: Path, option: str) -> None:
    """As on a small disk: RLIMIT_FSIZE gives EFBIG, for Python ignores SIGXFSZ."""
    with flooding() as endpoint:
        args = ("send", endpoint, "x", "--until", "2000000", option, str(tmp_path / "file.jsonl"))
        limit = 4096 if option == "--trace-file" else 100_000
        done, _ = nursery.run(*args, limits={"FSIZE": limit})
    assert done.returncode == 23, done
    assert f"write {tmp_path}/file.jsonl: file too large (EFBIG)".encode() in done.stderr


@pytest.mark.parametrize("model", [("serve-tcp",), ("serve-tcp", "--concurrent"), ("serve-threaded",)])
def test_a_servers_file_on_a_small_disk(nursery: Nursery, tmp_path: Path, model: tuple[str, ...]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "netlab", str(disk)], capture_output=True, check=False, timeout=10
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be made here: {mounted.stderr.decode(errors='replace').strip()}")
    try:
        server = nursery.start(*model, "-p", "0", "--reply", "discard", "-o", str(disk / "file"))
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(b"x" * 200_000)
                assert read_to_end(client) == b""
        done = server.wait()
        assert done.returncode == 23, done
        assert f"write {disk}/file: no space left on device (ENOSPC)".encode() in done.stderr
        assert (disk / "file").stat().st_size == 65536, "what there was room for is there"
    finally:
        subprocess.run(["umount", str(disk)], check=True, timeout=10)


# Closed terminals; of a session without signals, as after nohup


@pytest.mark.parametrize("model", [("serve-tcp",), ("serve-tcp", "--concurrent"), ("serve-threaded",)])
def test_a_stream_servers_terminal_is_closed(nursery: Nursery, model: tuple[str, ...]) -> None:
    with Terminal(nursery, *model, "-p", "0") as terminal:
        port = int(terminal.wait_for(r"listening.*127\.0\.0\.1:(\d+)\D")[1])
        terminal.hang_up()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            read_to_end(client)
        assert terminal.process.wait(2) == 23
        assert terminal.process.cpu < 0.5


def test_serve_udps_terminal_is_closed(nursery: Nursery) -> None:
    with Terminal(nursery, "serve-udp", "-p", "0") as terminal:
        port = int(terminal.wait_for(r"listening.*127\.0\.0\.1:(\d+)\D")[1])
        terminal.hang_up()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"hello", ("127.0.0.1", port))
        assert terminal.process.wait(2) == 23


@pytest.mark.parametrize("args", [("send", "ping"), ("send", "-f", "-"), ("chat",), ("probe", "-i", "20ms")])
def test_a_clients_terminal_is_closed(nursery: Nursery, args: tuple[str, ...]) -> None:
    come = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_late() -> None:
            with listener.accept()[0] as peer:
                come.wait(5)
                with contextlib.suppress(OSError):
                    peer.sendall(b"pong\n")
                    read_to_end(peer)

        thread = threading.Thread(target=answer_late)
        thread.start()
        words = (args[0], f"127.0.0.1:{listener.getsockname()[1]}", *args[1:])
        nursery.plan.arm("connect", errno.EPERM, first=MANY)
        with Terminal(nursery, *words) as terminal:
            until(lambda: nursery.plan.called, "a connect")
            terminal.hang_up()
            come.set()
            status = terminal.process.wait(8)
        nursery.plan.disarm()
        thread.join(5)
    assert status in (0, 23, 55, 56), "and not a bug's 70"
