"""Conversations of servers whose recv or send fails as the man pages list it, whatever the reply.

The client whose call fails sees an end, the log names the errno, and the next client is served.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from netlab.errors import errno_name
from tests.errnos import (
    FEW_RECV,
    FEW_SEND,
    HARMLESS,
    RECV,
    SEND,
    SERVERS,
    client,
    fault,
    is_served,
    numbers,
    serving,
)  # fmt: skip
from tests.injection import MANY, SHORT, Nursery, until
from tests.programs import Program
from tests.servers import read_line, read_to_end

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone has what this needs")


def descriptors(program: Program) -> int:
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


def wait_for_descriptors(program: Program, number: int) -> None:
    until(lambda: descriptors(program) <= number, f"a server with {number} descriptors")


@pytest.mark.parametrize("model", SERVERS)
@pytest.mark.parametrize("watched", [True, False])
def test_recv_and_send_of_a_stream_server(nursery: Nursery, model: str, watched: bool) -> None:
    """The client whose call fails sees an end, the log says why, and the next client is served."""
    wrong = {}
    with serving(nursery, *SERVERS[model], "--reply", "echo", *(() if watched else ("-q",))) as server:
        told = 0
        faults = [("recv", code) for code in (*RECV, errno.ETIMEDOUT)] + [("send", code) for code in SEND]
        for call, code in faults:
            for first in (1, 2):
                with client(server) as sock:
                    sock.sendall(b"ready\n")
                    heard = read_line(sock)
                    at_rest = descriptors(server) - 1
                    nursery.plan.arm(call, code, first=first)
                    with contextlib.suppress(ConnectionError):
                        while not nursery.plan.injected:
                            sock.sendall(b"hello\n")
                            if not (chunk := sock.recv(100)):
                                break
                            heard += chunk
                        heard += read_to_end(sock)
                    nursery.plan.disarm()
                # What it does to its last client would count as done to the next.
                wait_for_descriptors(server, at_rest)
                if not re.fullmatch(rb"ready\n(hello\n){0,9}", heard) or nursery.plan.injected != 1:
                    wrong[f"{call} {fault(code)}"] = f"{heard!r}, {nursery.plan.injected} failed"
                if watched:
                    told += 1
                    line = server.wait_for(r"^#\d+ closed: .*\n", count=told)[0]
                    named = errno_name(code) in line or "reset" in line or "timeout" in line or "took nothing" in line
                    if not named:
                        wrong[f"{call} {fault(code)}"] = line
        for call in ("recv", "send"):
            for code in (errno.EINTR, SHORT):
                nursery.plan.arm(call, code)
                if not is_served(server):
                    wrong[f"{call} {fault(code)}"] = "not all came back"
                nursery.plan.disarm()
    assert not wrong


@pytest.mark.parametrize("model", SERVERS)
def test_recv_of_a_server_that_discards(nursery: Nursery, model: str) -> None:
    with serving(nursery, *SERVERS[model], "--reply", "discard", "-q") as server:
        for code in (*FEW_RECV, *HARMLESS):
            with client(server) as sock:
                nursery.plan.arm("recv", code)
                with contextlib.suppress(ConnectionError):
                    while not nursery.plan.injected:
                        sock.sendall(b"x" * 1000)
                    with contextlib.suppress(OSError):  # ENOTCONN: reset already
                        sock.shutdown(socket.SHUT_WR)
                    assert read_to_end(sock) == b""
            assert nursery.plan.injected == 1, fault(code)
        with client(server) as sock:
            sock.sendall(b"x" * 1000)
            sock.shutdown(socket.SHUT_WR)
            assert read_to_end(sock) == b""


@pytest.mark.parametrize("model", ["concurrent", "threaded"])
def test_recv_and_send_in_a_room(nursery: Nursery, model: str) -> None:
    """Of three members one speaks: who speaks is lost where a recv fails, who hears first where a send does."""
    with serving(nursery, *SERVERS[model], "--reply", "broadcast") as server:
        for number, (call, code) in enumerate(
            [("recv", code) for code in FEW_RECV] + [("send", code) for code in FEW_SEND]
        ):
            with contextlib.ExitStack() as stack:
                members = []
                for member in (1, 2, 3):  # two that come at once may be numbered the other way round
                    members.append(stack.enter_context(client(server)))
                    server.wait_for(r"connected", count=3 * number + member)
                first, second, third = members
                nursery.plan.arm(call, code)
                with contextlib.suppress(ConnectionError):
                    while not nursery.plan.injected:
                        third.sendall(b"lost\n")
                lost, stays, speaks = (third, first, second) if call == "recv" else (first, second, third)
                with contextlib.suppress(ConnectionError):
                    assert re.fullmatch(rb"(#\d+ lost\n)*", read_to_end(lost))
                speaks.sendall(b"again\n")
                while (line := read_line(stays)) != b"#%d again\n" % (3 * number + (2 if call == "recv" else 3)):
                    assert line == b"#%d lost\n" % (3 * number + 3)
            server.wait_for(r"^#\d+ closed: ", count=3 * number + 3)
            assert nursery.plan.injected == 1
            assert errno_name(code) in server.stdout.decode()


@pytest.mark.parametrize("model", SERVERS)
def test_recvmsg_and_send_of_records(nursery: Nursery, model: str, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    server = nursery.start(*SERVERS[model], "--reply", "echo", "--type", "seqpacket", "-U", path)
    server.ready()
    faults = [("recvmsg", code) for code in FEW_RECV] + [("send", code) for code in FEW_SEND]
    for number, (call, code) in enumerate(faults, start=1):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.settimeout(5)
            sock.connect(path)
            nursery.plan.arm(call, code, first=2)
            heard = b""
            with contextlib.suppress(ConnectionError):
                while not nursery.plan.injected:
                    sock.send(b"hello")
                    heard += sock.recv(100)
                heard += sock.recv(100)
        assert re.fullmatch(rb"(hello)+", heard)
        line = server.wait_for(r"^#\d+ closed: .*\n", count=number)[0]
        assert errno_name(code) in line or "reset" in line
    nursery.plan.disarm()
    done = server.stop()
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("model", SERVERS)
def test_send_of_a_server_with_faults_of_its_own(nursery: Nursery, model: str) -> None:
    with serving(nursery, *SERVERS[model], "--reply", "echo", "--fault", "dribble=2B/1ms") as server:
        for number, code in enumerate(FEW_SEND, start=1):
            with client(server) as sock:
                nursery.plan.arm("send", code, first=2)
                sock.sendall(b"hello\n")
                with contextlib.suppress(ConnectionError):
                    assert read_to_end(sock) == b"he"
            line = server.wait_for(r"^#\d+ closed: .*\n", count=number)[0]
            assert errno_name(code) in line or "reset" in line
            assert "out 2 B" in line
        assert is_served(server)


@contextlib.contextmanager
def udp_client(server: Program) -> Iterator[Callable[[], bool]]:
    """Give a function that has one datagram echoed."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("127.0.0.1", server.port))

        def is_echoed() -> bool:
            sock.send(b"hello")
            return sock.recv(100) == b"hello"

        yield is_echoed


def call_in_use(nursery: Nursery, calls: Sequence[str], is_echoed: Callable[[], bool]) -> str:
    """Return which of some calls a server makes for a datagram."""
    for call in calls:
        nursery.plan.arm(call, errno.EPERM, first=MANY)
        assert is_echoed()
        assert is_echoed()  # in the first one the server was waiting already
        if nursery.plan.called:
            return call
    raise AssertionError(f"it uses none of {calls}")


@pytest.mark.parametrize("options", [(), ("-q",)])
def test_receiving_of_serve_udp(nursery: Nursery, options: tuple[str, ...]) -> None:
    wrong = {}
    with serving(nursery, "serve-udp", "--reply", "echo", *options) as server, udp_client(server) as is_echoed:
        receive = call_in_use(nursery, ("recvfrom", "recvmmsg"), is_echoed)
        for code in (*numbers("ECONNREFUSED ENOMEM EHOSTUNREACH ECONNRESET"), *HARMLESS):
            nursery.plan.arm(receive, code)
            while not nursery.plan.injected:  # the server waits in the call already
                if not is_echoed():
                    wrong[f"{receive} {fault(code)}"] = "no echo"
    assert not wrong
    assert options or re.search(r"warning.*receive .*\(ECONNREFUSED\)", server.stderr.decode())


@pytest.mark.parametrize("options", [(), ("-q",)])
def test_sending_of_serve_udp(nursery: Nursery, options: tuple[str, ...]) -> None:
    """A reply that fails is lost, and told where there is a log; the next is not."""
    wrong = {}
    with serving(nursery, "serve-udp", "--reply", "echo", *options) as server, udp_client(server) as is_echoed:
        send = call_in_use(nursery, ("sendto", "sendmmsg"), is_echoed)
        for code in SEND:
            nursery.plan.arm(send, code)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"lost", ("127.0.0.1", server.port))
                nursery.plan.wait_injected()
            if not is_echoed():
                wrong[f"{send} {fault(code)}"] = "no echo"
    assert not wrong
    told = re.findall(r"warning.*reply to .*\((E[A-Z]+)\)", server.stderr.decode())
    assert options or told == [errno_name(SEND[0])]


def test_receiving_of_a_serve_udp_that_discards(nursery: Nursery) -> None:
    with serving(nursery, "serve-udp", "--reply", "discard", "-q") as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for code in (*FEW_RECV, *HARMLESS):
                nursery.plan.arm("recv", code)
                while not nursery.plan.injected:
                    sock.sendto(b"x", ("127.0.0.1", server.port))
                before = nursery.plan.called
                while nursery.plan.called == before:  # it goes on receiving
                    sock.sendto(b"x", ("127.0.0.1", server.port))


def test_serve_udp_ends_where_its_socket_is_none_any_more(nursery: Nursery) -> None:
    for code in numbers("EBADF ENOTSOCK EFAULT"):
        nursery.plan.arm("recvfrom", code, times=0)
        done, _ = nursery.run("serve-udp", "-p", "0")
        nursery.plan.disarm()
        assert done.returncode == 45, done
        assert errno_name(code).encode() in done.stderr
