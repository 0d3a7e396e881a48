"""Signals at awkward times: while a name is resolved, a connection is made, a send waits, or a program is stopped."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from tests import peers
from tests.injection import HANG, MANY, Nursery, until
from tests.programs import Program
from tests.servers import read_line, waiting

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone has what this needs")


@pytest.mark.parametrize("command", ["send", "probe", "chat", "serve-tcp", "serve-threaded", "serve-udp"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
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


def is_stuck(sock: socket.socket) -> bool:
    """Tell whether nothing more has come for 50 ms, and something has."""
    before = waiting(sock.fileno())
    threading.Event().wait(0.05)
    return 0 < before == waiting(sock.fileno())


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


@pytest.mark.parametrize(
    "args",
    [
        ("chat", "{mute}"), ("send", "{mute}"), ("send", "{mute}", "x", "-w", "9"), ("probe", "{mute}", "-i", "9"),
        ("serve-tcp",), ("serve-tcp", "--concurrent"), ("serve-threaded",), ("serve-udp",), ("chat", "--listen"),
    ],
)  # fmt: skip
def test_hang_up_ends_it_at_once(nursery: Nursery, args: tuple[str, ...]) -> None:
    with peers.mute_server() as peer:
        where = () if "{mute}" in args else ("-p", "0")
        program = nursery.start(
            *(word.format(mute=peer.endpoint) for word in args), *where, "--json", stdin=subprocess.PIPE
        )
        program.wait_for('"event":"(connected|listening|probe)"')
        assert program.stop(signal.SIGHUP, timeout=1).returncode == -signal.SIGHUP
