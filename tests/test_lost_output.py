"""Output that goes nowhere: nobody reads it, the disk is full, the terminal is closed.

Never a traceback, a hang, a spin, or a byte lost without a word.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import peers
from tests.injection import MANY, Forked, Nursery, until
from tests.programs import clean_environment
from tests.servers import read_to_end, waiting
from tests.terminal import Terminal

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone has what this needs")

SERVERS = (("serve-tcp",), ("serve-tcp", "--concurrent"), ("serve-threaded",))


@contextlib.contextmanager
def told(
    nursery: Nursery, *args: str, stdout: int, stderr: int | None = None, limits: Mapping[str, int] | None = None
) -> Iterator[tuple[Forked, int]]:
    """Run a command whose standard output is the test's own; give its process, and where its standard error is read."""
    reader, writer = os.pipe()
    with open(os.devnull, "rb") as nothing:
        streams = [nothing.fileno(), stdout, writer if stderr is None else stderr]
        process = nursery.fork(["netlab", *args], streams, env=clean_environment(), limits=limits)
    os.close(writer)
    try:
        yield process, reader
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def read_all(descriptor: int) -> bytes:
    return b"".join(iter(lambda: os.read(descriptor, 65536), b""))


# A reader that stalls

STALLED = {
    "send": ("send", "{flood}", "x", "--until", "2000000"),
    "send -x": ("send", "{flood}", "x", "-x", "--until", "2000000"),
    "chat": ("chat", "{flood}"),
}


@pytest.mark.parametrize("command", STALLED)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_nobody_reads_standard_output(nursery: Nursery, command: str, number: signal.Signals) -> None:
    reader, writer = os.pipe()
    with peers.flooding_server() as peer:
        args = [word.format(flood=peer.endpoint) for word in STALLED[command]]
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
    with peers.flooding_server() as peer:
        with told(nursery, "send", peer.endpoint, "x", "--until", "2000000", stdout=writer) as (process, errors):
            os.close(writer)
            until(lambda: waiting(reader) > 60_000, "a full pipe")
            data = read_all(reader)
            assert process.wait(5) == 0, read_all(errors)
    os.close(reader)
    assert data == peers.numbered_lines(0, 200_000)


def test_probe_waits_for_whoever_reads(nursery: Nursery) -> None:
    reader, writer = os.pipe()
    with told(nursery, "probe", "127.0.0.1:1-3000", "-v", stdout=writer) as (process, _):
        os.close(writer)
        until(lambda: waiting(reader) > 60_000, "a full pipe")
        process.send_signal(signal.SIGINT)
        read_all(reader)
        assert process.wait(5) in (1, 130, -signal.SIGINT)
    os.close(reader)


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
    ("args", "status"),
    [
        (("send", "{tcp}", "one", "--trace"), 23),
        (("send", "127.0.0.1:1", "x"), 7),
        (("chat", "{tcp}"), 23),
        (("serve-tcp", "-p", "0", "--trace", "--duration", "20ms"), 23),
        (("--nonsense",), 2),
    ],
)
def test_standard_error_on_a_full_disk(
    nursery: Nursery, echo: peers.Peer, full: int, args: tuple[str, ...], status: int
) -> None:
    """What cannot be told is an error of its own, but no failure that there was becomes another."""
    words = [word.format(tcp=echo.endpoint) for word in args]
    reader, writer = os.pipe()
    with told(nursery, *words, stdout=writer, stderr=full) as (process, _):
        os.close(writer)
        assert process.wait(5) == status
    os.close(reader)


@pytest.mark.parametrize("option", ["--output", "--trace-file"])
def test_a_file_that_may_not_grow(nursery: Nursery, tmp_path: Path, option: str) -> None:
    """As on a small disk: RLIMIT_FSIZE gives EFBIG, for Python ignores SIGXFSZ."""
    with peers.flooding_server() as peer:
        args = ("send", peer.endpoint, "x", "--until", "2000000", option, str(tmp_path / "file.jsonl"))
        limit = 4096 if option == "--trace-file" else 100_000
        done, _ = nursery.run(*args, limits={"FSIZE": limit})
    assert done.returncode == 23, done
    assert f"write {tmp_path}/file.jsonl: file too large (EFBIG)".encode() in done.stderr


@pytest.mark.parametrize("model", SERVERS)
def test_a_servers_log_that_may_not_grow(nursery: Nursery, tmp_path: Path, model: tuple[str, ...]) -> None:
    """A log in a file is written a little later than it is made: what fails then is told with the next line."""
    log = tmp_path / "log"
    with log.open("wb") as file:
        with told(nursery, *model, "-p", "0", stdout=file.fileno(), limits={"FSIZE": 4096}) as (process, errors):
            until(lambda: b"listening on " in log.read_bytes(), "a ready line")
            found = re.search(rb"^listening on 127.0.0.1:(\d+)\n", log.read_bytes(), re.MULTILINE)
            assert found
            with contextlib.suppress(ConnectionError):
                with socket.create_connection(("127.0.0.1", int(found[1])), timeout=5) as client:
                    while True:
                        client.sendall(b"hello\n" * 20)
                        if not client.recv(1000):
                            break
            assert process.wait(5) == 23
            assert b"write standard output: file too large (EFBIG)" in read_all(errors)
    assert log.stat().st_size == 4096, "what there was room for is there"


@pytest.mark.parametrize("model", SERVERS)
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


@pytest.mark.parametrize("model", SERVERS)
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
    assert status == 23
