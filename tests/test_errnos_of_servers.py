"""Servers that cannot open, or whose accept fails as the man page lists it, once or for good.

Never a traceback, a hang, a spin, or a client lost without a word.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
from pathlib import Path

import pytest

from netlab.errors import errno_name
from tests import peers
from tests.errnos import (
    BIND,
    GETADDRINFO,
    LISTEN,
    SERVERS,
    SOCKET,
    SPIN,
    Trials,
    client,
    fault,
    is_served,
    numbers,
    serving,
)  # fmt: skip
from tests.injection import Nursery, until
from tests.servers import read_line

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone has what this needs")

ACCEPT_GOES_ON = numbers(
    "ECONNABORTED EINTR EAGAIN EPERM ENETDOWN EPROTO ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH "
    "EMFILE ENFILE ENOBUFS ENOMEM ENOSR ESOCKTNOSUPPORT EPROTONOSUPPORT ETIMEDOUT"
)
ACCEPT_ENDS = numbers("EBADF EINVAL ENOTSOCK EFAULT")


def end(sock: socket.socket) -> None:
    """Read the echo that one client waits for, and leave."""
    assert read_line(sock) == b"hello\n"
    sock.close()


@pytest.mark.parametrize("model", SERVERS)
def test_accept_that_fails_and_a_server_that_goes_on(nursery: Nursery, model: str) -> None:
    wrong = {}
    with serving(nursery, *SERVERS[model], "--reply", "echo") as server:
        for code in ACCEPT_GOES_ON:
            for first in (1, 2) if code in (errno.ECONNABORTED, errno.EMFILE) else (1,):
                nursery.plan.arm("accept", code, first=first)
                # Up to eight threads are in accept already, past the fault.
                while not nursery.plan.injected:
                    if not is_served(server):
                        wrong[fault(code)] = "a client was not served"
                nursery.plan.disarm()
                if not is_served(server) or nursery.plan.called > SPIN:
                    wrong[fault(code)] = f"{nursery.plan.called} calls"
    assert not wrong
    assert server.stderr.count(b"warning") <= 2, "one for each episode, and not for each call"


@pytest.mark.parametrize("model", SERVERS)
@pytest.mark.parametrize(("code", "number"), [(errno.EMFILE, 3), (errno.ECONNABORTED, 13)])
def test_accept_that_fails_for_as_long_as_it_lasts_is_no_spin(
    nursery: Nursery, model: str, code: int, number: int
) -> None:
    """A client that is lost is no shortage, and costs no pause, but ten of them in a row are one."""
    with serving(nursery, *SERVERS[model], "--reply", "echo") as server, contextlib.ExitStack() as stack:
        nursery.plan.arm("accept", code, times=0)
        waiting = [stack.enter_context(client(server)) for _ in range(5)]  # as many as --backlog lets wait
        for sock in waiting:
            sock.sendall(b"hello\n")

        def is_short() -> bool:
            for sock in select.select(waiting, [], [], 0.01)[0]:  # of the accept that was under way
                end(sock)
                waiting.remove(sock)
            return nursery.plan.injected >= number

        until(is_short, f"{number} calls that fail")
        server.wait_for(errno_name(code), stderr=True)
        assert nursery.plan.called < 60
        nursery.plan.disarm()
        assert waiting
        for sock in waiting:
            end(sock)
    assert server.stderr.count(b"warning") == 1


@pytest.mark.parametrize("model", SERVERS)
def test_accept_of_what_is_no_listener_any_more(nursery: Nursery, model: str) -> None:
    for code in ACCEPT_ENDS:
        nursery.plan.arm("accept", code, times=0)
        server = nursery.start(*SERVERS[model], "-p", "0")
        with contextlib.suppress(ConnectionError), client(server):
            server.process.wait(5)
        done = server.wait()
        nursery.plan.disarm()
        assert done.returncode == 45, done
        assert f"({errno_name(code)})".encode() in done.stderr
        assert f"accept 127.0.0.1:{server.port}".encode() in done.stderr


@pytest.mark.parametrize("args", [*SERVERS.values(), ("serve-udp",), ("chat", "--listen")])
def test_opening_a_server(nursery: Nursery, args: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    all_of_them = args == SERVERS["iterative"]
    for option, where in {"-p": "0", "-U": str(path)}.items():
        trials = Trials(nursery, *args, option, where)
        trials.expect(45, "socket", SOCKET if all_of_them else numbers("EMFILE"), once=False)
        bind = set(BIND if all_of_them else numbers("EACCES ENOMEM")) - {errno.EADDRINUSE}
        trials.expect(45, "bind", bind, always=False)
        if args != ("serve-udp",):
            trials.expect(45, "listen", LISTEN if all_of_them else numbers("EADDRINUSE"), always=False)
        assert not trials.wrong
        assert not path.exists()
    trials = Trials(nursery, *args, "-p", "9")
    trials.expect(45, "bind", numbers("EADDRINUSE"), always=False)
    assert not trials.wrong


@pytest.mark.usefixtures("require_ipv6")
@pytest.mark.parametrize("args", [*SERVERS.values(), ("serve-udp",)])
def test_opening_a_servers_second_address(nursery: Nursery, args: tuple[str, ...]) -> None:
    trials = Trials(nursery, *args, "two.test:0")
    trials.expect(45, "socket", numbers("EMFILE EAFNOSUPPORT"), first=(2,), always=False)
    trials.expect(45, "bind", numbers("EACCES ENOMEM EADDRNOTAVAIL"), first=(2,), always=False)
    # The second takes the first one's port: where that is in use, another is tried, and at last none.
    trials.expect(45, "bind", numbers("EADDRINUSE"), first=(2,), once=False)
    if args != ("serve-udp",):
        trials.expect(45, "listen", numbers("EOPNOTSUPP"), first=(2,), always=False)
        trials.expect(45, "listen", numbers("EADDRINUSE"), first=(2,), once=False)
    assert not trials.wrong
    nursery.plan.arm("bind", errno.EADDRINUSE, first=2)
    server = nursery.start(*args, "two.test:0")
    assert server.ready(1).rpartition(":")[2] == server.ready(2).rpartition(":")[2]
    assert nursery.plan.injected == 1
    assert server.stop().returncode == 0


@pytest.mark.parametrize("args", [*SERVERS.values(), ("serve-udp",), ("chat", "--listen")])
def test_getaddrinfo_of_a_server(nursery: Nursery, args: tuple[str, ...]) -> None:
    for name, status in {"EAI_NONAME": 6, "EAI_AGAIN": 6, "EAI_FAIL": 6, "EAI_SYSTEM": 45}.items():
        nursery.plan.arm("getaddrinfo", GETADDRINFO[name], times=0, system=errno.EMFILE)
        done, _ = nursery.run(*args, "netlab.test:0")
        nursery.plan.disarm()
        assert (done.returncode, done.stdout) == (status, b""), done
        assert b"netlab.test" in done.stderr


def test_chat_that_accepts_none(nursery: Nursery) -> None:
    for code in (*ACCEPT_ENDS, *numbers("EMFILE EPERM EPROTO")):
        nursery.plan.arm("accept", code)
        program = nursery.start("chat", "--listen", "-p", "0")
        program.wait_for(r"listening on ", stderr=True)
        port = int(program.wait_for(r"127\.0\.0\.1:(\d+)", stderr=True)[1])
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=5):
            program.process.wait(5)
        done = program.wait()
        nursery.plan.disarm()
        assert done.returncode == 45, done
        assert errno_name(code).encode() in done.stderr


@pytest.mark.parametrize("call", ["recvfrom", "connect"])
def test_chat_that_cannot_answer_a_datagram(nursery: Nursery, call: str) -> None:
    for code in numbers("ENOMEM EPERM EHOSTUNREACH"):
        nursery.plan.arm(call, code)
        program = nursery.start("chat", "--listen", "-u", "-p", "0")
        port = int(program.wait_for(r"127\.0\.0\.1:(\d+)", stderr=True)[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"hello", ("127.0.0.1", port))
            done = program.wait()
        nursery.plan.disarm()
        assert done.returncode == 45, done
        assert f"accept udp://127.0.0.1:{port}".encode() in done.stderr
        assert errno_name(code).encode() in done.stderr


def test_chat_whose_peer_is_gone_before_it_is_accepted(nursery: Nursery) -> None:
    program = nursery.start("chat", "--listen", "-p", "0")
    port = int(program.wait_for(r"127\.0\.0\.1:(\d+)", stderr=True)[1])
    program.send_signal(signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, peers.RESET_ON_CLOSE)
    program.send_signal(signal.SIGCONT)
    assert program.wait().returncode in (55, 56)
