"""netlab serve-threaded, and with serve-tcp --concurrent: many clients at once, their bounds, what they leave."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from netlab import socketops
from netlab.errors import LocalError
from netlab.records import Closed, Connected, Summary
from tests.programs import NETLAB, Netlab, Program, StartProgram, clean_environment
from tests.servers import flood, read_line, read_to_end, running


@pytest.fixture(params=[("serve-threaded",), ("serve-tcp", "--concurrent")], ids=["threaded", "concurrent"])
def many(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Return the start of a command line of each server of many clients."""
    words: tuple[str, ...] = request.param
    return words


def connect(server: Program) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=5)


@contextlib.contextmanager
def clients(server: Program, number: int) -> Iterator[list[socket.socket]]:
    """Connect so many clients, and close them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(server)) for _ in range(number)]


def say_hello(client: socket.socket) -> None:
    client.send(b"hello")
    assert read_line(client) == b"received 5 bytes\n"


def count_descriptors(server: Program) -> int:
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def status_of(server: Program, name: str) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    match = re.search(rf"^{name}:\s+(\d+)", status, re.MULTILINE)
    assert match is not None
    return int(match[1])


def cpu_seconds(server: Program) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_clients_are_served_side_by_side() -> None:
    with running(socketops.serve_threaded) as server, server.connect() as first, server.connect() as second:
        for client in (second, first, second):
            say_hello(client)
        assert [record.clients for record in server.of(Connected)] == [1, 2]


@pytest.mark.parametrize("serve", [socketops.serve_threaded, socketops.serve_concurrently])
def test_client_too_many_is_told_and_closed(serve: Callable[..., None]) -> None:
    with running(serve, max_clients=1) as server:
        with server.connect() as first:
            say_hello(first)
            with server.connect() as second:
                second.send(b"hello")
                assert read_to_end(second) == b"server is full: 1 of 1 clients\n"
            closed = server.wait(Closed)
            assert (closed.reason, closed.conn, closed.bytes_out) == ("full", 2, 31)
            say_hello(first)
        server.wait(Closed, 2)
        with server.connect() as third:
            say_hello(third)


def test_threads_come_back_for_more() -> None:
    before = threading.active_count()
    with running(socketops.serve_threaded) as server:
        for _ in range(100):
            with server.connect() as client:
                say_hello(client)
        server.wait(Closed, 100)
    summary = server.wait(Summary)
    assert (summary.clients, summary.bytes_in, summary.bytes_out) == (100, 500, 1700)
    assert threading.active_count() == before


def test_affinity_is_the_servers_and_not_the_callers() -> None:
    cpu = min(os.sched_getaffinity(0))
    before = os.sched_getaffinity(0)
    seen: list[set[int]] = []

    def emit(_record: object) -> None:
        seen.append(os.sched_getaffinity(0))

    with running(socketops.serve_threaded, cpu=cpu, emit=emit, watch={Connected}) as server:
        with server.connect() as first, server.connect() as second:
            say_hello(first)
            say_hello(second)
        assert os.sched_getaffinity(0) == before
    assert seen[:2] == [{cpu}, {cpu}]


def test_cpu_that_is_not_ours_is_an_error() -> None:
    with running(socketops.serve_threaded, cpu=4095, fails=True) as server:
        assert server.stop.wait(5)
    assert isinstance(server.failure, LocalError)
    assert "CPU 4095" in str(server.failure)


def test_log_is_the_one_of_the_manual(start_server: StartProgram) -> None:
    server = start_server("serve-threaded", "--cpu", "none")
    with clients(server, 2) as (first, second):
        say_hello(first)
        second.send(b"exit\n")
        assert read_to_end(second) == b"received 5 bytes\n"
        server.wait_for(r"^#2 closed: exit after [\d.]+ m?s, in 5 B, out 17 B\n")
    server.wait_for("^#1 closed: peer sent EOF")
    done = server.stop()
    text = done.stdout.decode()
    assert "model: a thread for each client; reply: ack; exit word: exit; only this host\n" in text
    assert re.search(r"^#1 127\.0\.0\.1:\d+ connected \(1 of 1000\)\n", text, re.MULTILINE)
    assert re.search(r"^stopped by SIGTERM after .*: 2 clients, 2 at once, in 10 B, out 34 B\n", text, re.MULTILINE)


def test_burst_of_clients_waits_for_nobody(start_server: StartProgram) -> None:
    server = start_server("serve-threaded", "-q", "--reply", "echo")
    with clients(server, 100) as all_of_them:
        for client in all_of_them:
            client.send(b"x")
        for client in all_of_them:
            assert client.recv(1) == b"x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_with_live_clients_ends_cleanly(start_server: StartProgram, number: signal.Signals) -> None:
    server = start_server("serve-threaded", "--max-clients", "0")
    with clients(server, 100) as all_of_them:
        say_hello(all_of_them[-1])
        done = server.stop(number, timeout=1.5)
        assert {read_to_end(client) for client in all_of_them} == {b""}
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b" closed: stopped") == 100


@contextlib.contextmanager
def held_up(server: Program) -> Iterator[socket.socket]:
    """Keep the server in a send, for which a stop would wait a second; give a client that sees the stop at once."""
    with clients(server, 2) as (idle, mute):
        mute.settimeout(0.2)
        flood(mute)
        yield idle


def test_second_signal_ends_at_once(many: tuple[str, ...], start_server: StartProgram) -> None:
    server = start_server(*many, "-q", "--reply", "echo")
    with held_up(server) as idle:
        server.send_signal(signal.SIGTERM)
        assert read_to_end(idle) == b""
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.1)
        server.send_signal(signal.SIGTERM)
        assert server.wait().returncode == -signal.SIGTERM  # an end in good order would be 0


def test_another_signal_ends_at_once(start_server: StartProgram) -> None:
    server = start_server("serve-threaded", "-q", "--reply", "echo")
    with held_up(server) as idle:
        server.send_signal(signal.SIGTERM)
        assert read_to_end(idle) == b""
        server.send_signal(signal.SIGINT)
        assert server.wait().returncode == -signal.SIGINT


def test_two_signals_of_timeout_are_one_request(
    start_program: StartProgram, require_tool: Callable[[str], str]
) -> None:
    program = (require_tool("timeout"), "60", *NETLAB, "serve-threaded", "--port", "0", "--reply", "echo")
    server = start_program(*program, naive=False)
    server.ready()
    with held_up(server) as idle:
        server.send_signal(signal.SIGTERM)
        assert read_to_end(idle) == b""
    done = server.wait()
    assert done.returncode == 0
    assert b"stopped by SIGTERM" in done.stdout


SIGNALLED_TWICE = """
import os, signal
from netlab.cli.signals import stop_on_signals
with stop_on_signals() as stop:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
    assert stop.wait(5)
print(stop.reason)
"""


def test_the_same_signal_within_a_moment_is_one_request(start_program: StartProgram) -> None:
    done = start_program(sys.executable, "-W", "error", "-c", SIGNALLED_TWICE, naive=False).wait()
    assert (done.returncode, done.stdout) == (0, b"SIGTERM\n")


def test_out_of_descriptors_is_a_pause_and_one_warning(start_server: StartProgram) -> None:
    server = start_server("serve-threaded", "--reply", "echo", "--cpu", "none")
    limit = count_descriptors(server) + 8
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
    busy, started = cpu_seconds(server), time.monotonic()
    with clients(server, 16) as all_of_them:
        for client in all_of_them:
            client.send(b"x")
        server.wait_for("EMFILE", stderr=True)
        for client in all_of_them:  # those that wait are served as others leave
            assert client.recv(1) == b"x"
            client.close()
        assert cpu_seconds(server) - busy < 0.3 * (time.monotonic() - started) + 0.1
    assert server.stop().stderr.count(b"EMFILE") == 1


def test_threads_that_wait_for_the_interpreter_do_not_wake_all_the_time(netlab_here: Netlab) -> None:
    """At CPython's 5 ms a thousand of them, as when many clients leave at once, held up everybody for seconds."""
    assert netlab_here("serve-threaded", "-p", "0", "--duration", "1ms", "-q").returncode == 0
    assert sys.getswitchinterval() >= 0.05


def test_out_of_threads_is_told_and_survived(start_server: StartProgram) -> None:
    server = start_server("serve-threaded", "--cpu", "none")
    with clients(server, 2) as known:
        for client in known:
            say_hello(client)
        size = status_of(server, "VmSize") * 1024
        # No room for one more stack, and hardly any for anything else.
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (size + 100_000, resource.RLIM_INFINITY))
        with clients(server, 6) as more:
            for client in more:
                client.send(b"hello")
            answers = [read_to_end(client) if index else b"" for index, client in enumerate(more)]
            assert b"server is out of threads\n" in answers
        server.wait_for("no more threads", stderr=True)
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with clients(server, 3) as late:
            for client in late:
                say_hello(client)
        for client in known:
            say_hello(client)


def test_max_clients_over_the_command_line(start_server: StartProgram) -> None:
    server = start_server("serve-threaded", "--max-clients", "1")
    with clients(server, 1) as (first,):
        say_hello(first)
        with clients(server, 1) as (second,):
            assert read_to_end(second) == b"server is full: 1 of 1 clients\n"
        server.wait_for(r"^#2 .*full.*\n")


def test_three_hundred_connections_leave_nothing(start_server: StartProgram, many: tuple[str, ...]) -> None:
    server = start_server(*many, "-q")
    for _ in range(20):
        with clients(server, 1) as (client,):
            say_hello(client)
    descriptors, memory = count_descriptors(server), status_of(server, "VmRSS")
    for _ in range(60):
        with clients(server, 5) as five:
            for client in five:
                say_hello(client)
    with clients(server, 1) as (client,):  # its exit word is read after all that was before it
        client.send(b"exit")
        read_to_end(client)
    assert count_descriptors(server) <= descriptors + 5  # an idle thread has its next descriptor already
    assert status_of(server, "Threads") <= 12
    assert status_of(server, "VmRSS") - memory < 8 * 1024


def test_memory_is_bounded_whatever_comes(start_server: StartProgram, many: tuple[str, ...]) -> None:
    server = start_server(*many, "--ack-text", "", "--eol", "none")
    memory = status_of(server, "VmRSS")
    with clients(server, 1) as (client,):
        for _ in range(64):
            client.sendall(b"a" * (1 << 20))
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b""
    assert status_of(server, "VmHWM") - memory < 32 * 1024


@contextlib.contextmanager
def logging_to(
    stdout: int | IO[bytes], args: tuple[str, ...], stderr: int = subprocess.PIPE
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server whose standard output is the test's own affair."""
    argv = [*NETLAB, *args, "-p", "0"]
    with subprocess.Popen(argv, stdout=stdout, stderr=stderr, env=clean_environment()) as server:
        try:
            yield server
        finally:
            server.kill()


def test_closed_stdout_ends_it_quietly_with_its_next_line(many: tuple[str, ...]) -> None:
    with logging_to(subprocess.PIPE, many) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(b":")[2])
        server.stdout.close()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            read_to_end(client)
        assert server.wait(5) == -signal.SIGPIPE
        assert server.communicate()[1] == b""


def test_stdout_that_is_closed_after_the_ready_line_does_not_matter_to_a_quiet_server() -> None:
    with logging_to(subprocess.PIPE, ("serve-threaded", "--quiet")) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(b":")[2])
        server.stdout.close()
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            say_hello(client)
        server.terminate()
        assert server.wait(5) == 0


@pytest.mark.slow
def test_stalled_stdout_holds_up_nobody_for_long(many: tuple[str, ...]) -> None:
    with logging_to(subprocess.PIPE, many) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            for _ in range(1500):  # more lines than a pipe holds
                client.send(b"hello, " * 8)
                read_line(client)
        server.terminate()
        assert server.wait(5) == 0
        assert server.stderr is not None
        said = server.stderr.read()
        assert re.fullmatch(rb"netlab: warning: [0-9,]+ log lines dropped: standard output was not read\n", said)


@pytest.mark.slow
def test_a_warning_that_nobody_reads_holds_up_nobody_for_long(many: tuple[str, ...]) -> None:
    reader, full = os.pipe()
    with open(reader, "rb"), open(full, "wb", buffering=0) as stderr, contextlib.ExitStack() as stack:
        os.set_blocking(full, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(full, b"x")
        os.set_blocking(full, True)
        server = stack.enter_context(logging_to(subprocess.PIPE, many, stderr.fileno()))
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(b":")[2])
        limits = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)

        def call() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))

        first = call()
        say_hello(first)
        used = len(os.listdir(f"/proc/{server.pid}/fd"))
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (used, limits[1]))
        second = call()  # the warning is that there is no descriptor for it
        for _ in range(2):
            say_hello(first)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, limits)
        say_hello(second)
        server.terminate()
        assert server.wait(5) == 0


def test_full_disk_ends_it(many: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full, logging_to(full, many) as server:
        _, err = server.communicate(timeout=10)
    assert server.returncode == 23
    assert err.splitlines()[0] == b"netlab: write standard output: no space left on device (ENOSPC)"


def test_output_file_for_each_client(start_server: StartProgram, many: tuple[str, ...], tmp_path: Path) -> None:
    server = start_server(*many, "-q", "-o", f"{tmp_path}/client-%n")
    with clients(server, 2) as (first, second):
        first.send(b"\xff\0one")
        read_line(first)
        second.send(b"two")
        read_line(second)
        first.send(b" more")
        read_line(first)
    with clients(server, 1) as (silent,):
        silent.shutdown(socket.SHUT_WR)
        assert silent.recv(1) == b"", "the server has served it, and not only the kernel"
    server.stop()
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert kept == {"client-1": b"\xff\0one more", "client-2": b"two", "client-3": b""}


def test_output_in_one_file(start_server: StartProgram, tmp_path: Path) -> None:
    server = start_server("serve-threaded", "-o", str(tmp_path / "all"))
    for text in (b"one\n", b"two\n"):
        with clients(server, 1) as (client,):
            client.send(text)
            read_line(client)
    server.stop()
    assert (tmp_path / "all").read_bytes() == b"one\ntwo\n"
    assert b"#1 < one" in server.stdout


def test_output_that_cannot_be_written_ends_it(
    start_server: StartProgram, many: tuple[str, ...], netlab: Netlab
) -> None:
    assert netlab(*many, "-p", "0", "-o", "/nowhere/file").returncode == 23
    server = start_server(*many, "-o", "/dev/full")
    with clients(server, 1) as (client,):
        client.send(b"hello")
        assert read_to_end(client) == b""
    done = server.wait()
    assert done.returncode == 23
    assert b"netlab: write /dev/full: no space left on device (ENOSPC)" in done.stderr


@pytest.mark.slow
def test_five_hundred_silent_clients_hinder_nobody_and_no_stop(
    start_server: StartProgram, many: tuple[str, ...]
) -> None:
    server = start_server(*many, "-q")
    with clients(server, 500) as silent, clients(server, 1) as (talking,):
        say_hello(talking)
        done = server.stop(timeout=1.5)
        assert {read_to_end(client) for client in silent} == {b""}
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.slow
def test_five_hundred_talking_clients_hinder_no_stop(start_server: StartProgram) -> None:
    server = start_server("serve-threaded")
    over = threading.Event()

    def talk() -> None:
        with contextlib.suppress(ConnectionError):  # the server has ended it
            while not over.is_set():
                for client in all_of_them:
                    client.send(b"hello")

    with clients(server, 500) as all_of_them:
        for client in all_of_them:
            say_hello(client)
        talker = threading.Thread(target=talk)
        talker.start()
        try:
            done = server.stop(timeout=1.5)
        finally:
            over.set()
            talker.join()
        for client in all_of_them:
            with contextlib.suppress(ConnectionResetError):  # what came after the end is answered by that
                read_to_end(client)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b" closed: stopped") == 500
    assert re.search(rb"stopped by SIGTERM after .*: 500 clients, 500 at once, in ", done.stdout.splitlines()[-1])
