"""Clients whose socket calls fail as their man pages list it, at the first call or a later one, once or for good.

Never a traceback, a hang, a spin, or a byte lost without a word: whatever the system says, a client ends with the
status of whoever is to blame, and names the errno.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import peers
from tests.errnos import (
    BIND,
    CONNECT,
    CPU,
    FEW_RECV,
    FEW_SEND,
    GETADDRINFO,
    HARMLESS,
    LISTEN,
    RECV,
    SEND,
    SOCKET,
    Trials,
    numbers,
)  # fmt: skip
from tests.injection import SHORT, Nursery

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone has what this needs")


@pytest.fixture(scope="module")
def udp_echo() -> Iterator[str]:
    """Give the endpoint of a UDP echo."""
    with peers.mute_udp() as peer:
        peer.socket.settimeout(None)

        def answer() -> None:
            while (came := peer.socket.recvfrom(65536))[1] != peer.socket.getsockname():
                peer.socket.sendto(*came)

        thread = threading.Thread(target=answer)
        thread.start()
        yield peer.endpoint
        peer.socket.sendto(b"end", peer.socket.getsockname())
        thread.join(5)


@pytest.mark.parametrize("args", [("send", "", "one"), ("chat", ""), ("probe", ""), ("probe", "--loopback")])
def test_socket_and_connect_of_a_tcp_client(nursery: Nursery, echo: peers.Peer, args: tuple[str, ...]) -> None:
    trials = Trials(nursery, *(word or echo.endpoint for word in args))
    trials.expect(45, "socket", SOCKET, once=False)  # Python tries EINVAL again without SOCK_CLOEXEC
    for status, codes in CONNECT.items():
        trials.expect(status, "connect", codes, always=False)
    assert not trials.wrong


@pytest.mark.parametrize("args", [("send", "", "one", "-w", "1"), ("probe", "", "-w", "1")])
def test_socket_and_connect_of_a_udp_client(nursery: Nursery, udp_echo: str, args: tuple[str, ...]) -> None:
    trials = Trials(nursery, *(word or udp_echo for word in args))
    trials.expect(45, "socket", SOCKET, once=False)
    for status in (7, 45):
        trials.expect(status, "connect", CONNECT[status], always=False)
    assert not trials.wrong


def test_bind_of_a_client(nursery: Nursery, echo: peers.Peer) -> None:
    trials = Trials(nursery, "send", echo.endpoint, "one", "-s", "127.0.0.1")
    trials.expect(45, "bind", BIND)
    assert not trials.wrong


@pytest.mark.parametrize("command", ["send", "probe", "chat"])
def test_getaddrinfo(nursery: Nursery, command: str) -> None:
    wrong = {}
    for name, code in GETADDRINFO.items():
        if name in ("EAI_OVERFLOW", "EAI_MAX"):
            continue
        nursery.plan.arm("getaddrinfo", code, times=0, system=errno.EMFILE)
        done, cpu = nursery.run(command, "netlab.test:9")
        told = (done.stdout + done.stderr).decode()
        status = 45 if name == "EAI_SYSTEM" else 6
        if done.returncode != status or "netlab.test" not in told or ("EMFILE" in told) != (status == 45) or cpu > CPU:
            wrong[name] = (done, cpu)
    nursery.plan.disarm()
    assert not wrong


def test_what_fails_once_is_tried_again_within_wait(nursery: Nursery, echo: peers.Peer) -> None:
    name = f"localhost:{echo.port}"
    for call, code, target in (
        ("getaddrinfo", socket.EAI_AGAIN, name),
        ("connect", errno.ECONNREFUSED, name),
        ("connect", errno.EHOSTUNREACH, echo.endpoint),
    ):
        nursery.plan.arm(call, code)
        done, _ = nursery.run("send", target, "one", "--wait", "2s", "--until", "3")
        assert (nursery.plan.injected, done.returncode, done.stdout) == (1, 0, b"one"), done
    # Names are resolved side by side, so that either may be the second.
    nursery.plan.arm("getaddrinfo", socket.EAI_FAIL, first=2)
    done, _ = nursery.run("probe", name, "localhost:1", "-v")
    assert (nursery.plan.injected, done.returncode) == (1, 1)
    assert len(re.findall(rb"^unresolved +localhost:", done.stdout, re.MULTILINE)) == 1
    assert len(re.findall(rb"^(open|refused) +localhost:", done.stdout, re.MULTILINE)) == 1


def test_connect_to_a_path(nursery: Nursery, tmp_path: Path) -> None:
    with peers.echo_server(address=str(tmp_path / "socket")) as peer:
        for command in (("send", peer.endpoint, "one"), ("probe", peer.endpoint), ("chat", peer.endpoint)):
            trials = Trials(nursery, *command, "-w", "100ms")
            trials.expect(7, "connect", numbers("EACCES EPERM ECONNREFUSED ENOENT"), always=False)
            trials.expect(28, "connect", numbers("EAGAIN"), once=False)
            trials.expect(45, "connect", numbers("EPROTOTYPE ENOTSOCK EFAULT"), always=False)
            assert not trials.wrong


def test_recv_and_send_of_an_exchange(nursery: Nursery, echo: peers.Peer) -> None:
    """Of three messages the second fails: the first reply is out, and what failed is told with what passed."""
    trials = Trials(nursery, "send", echo.endpoint, "one", "two", "six", "--until", "3")
    for status, codes in ((56, RECV), (28, (errno.ETIMEDOUT,))):
        trials.expect(status, "recv", codes)
        trials.expect(status, "recv", codes[:2], first=(3,))
    for status, codes in ((55, SEND), (28, (errno.ETIMEDOUT,))):
        trials.expect(status, "send", codes[-2:], stdout=b"")
        trials.expect(status, "send", codes, first=(2,), stdout=b"one")
    for call in ("recv", "send"):
        trials.expect(0, call, [*HARMLESS, SHORT], first=(1, 2), always=False, stdout=b"onetwosix")
        trials.expect(0, call, [SHORT], once=False, stdout=b"onetwosix")
    assert not trials.wrong


def test_recv_and_send_of_datagrams(nursery: Nursery, udp_echo: str) -> None:
    """An error that recv tells once is another datagram's where the reply is there all the same (udp(7))."""
    trials = Trials(nursery, "send", udp_echo, "one", "two", "-w", "1")
    refused = numbers("ECONNREFUSED EINVAL EHOSTUNREACH")
    for status, codes in ((56, set(RECV) - set(refused)), (7, refused)):
        trials.expect(status, "recv", tuple(codes), first=(1, 2), once=False)
        trials.expect(0, "recv", tuple(codes), first=(1, 2), always=False, stdout=b"onetwo")
    trials.expect(28, "recv", (errno.ETIMEDOUT,), first=(1, 2))
    for status, codes in ((55, set(SEND) - {errno.EACCES, errno.EINVAL}), (7, numbers("EACCES EINVAL"))):
        trials.expect(status, "send", tuple(codes), first=(1, 2), always=False)
    for call in ("recv", "send"):
        trials.expect(0, call, HARMLESS, first=(1, 2), always=False, stdout=b"onetwo")
    assert not trials.wrong


def test_recv_and_send_of_a_file(nursery: Nursery, echo: peers.Peer, tmp_path: Path) -> None:
    data = b"line\n" * 20
    (tmp_path / "file").write_bytes(data)
    trials = Trials(nursery, "send", echo.endpoint, "-f", str(tmp_path / "file"))
    trials.expect(55, "send", FEW_SEND, stdout=b"")
    trials.expect((55, 56), "recv", FEW_RECV)  # by whether all was sent before
    for call in ("recv", "send"):
        trials.expect(0, call, [*HARMLESS, SHORT], always=False, stdout=data)
        trials.expect(0, call, [SHORT], once=False, stdout=data)
    assert not trials.wrong


def test_splice_of_a_pipe(nursery: Nursery, echo: peers.Peer) -> None:
    data = b"line\n" * 20
    trials = Trials(nursery, "send", echo.endpoint, stdin=data)
    trials.expect(55, "splice", numbers("EBADF EINVAL ENOMEM ESPIPE ECONNRESET EPIPE"))
    trials.expect(0, "splice", [errno.EAGAIN, SHORT], first=(1, 2), always=False, stdout=data)
    trials.expect(0, "splice", [SHORT], once=False, stdout=data)
    assert not trials.wrong


def test_recv_and_send_of_a_chat(nursery: Nursery, echo: peers.Peer) -> None:
    data = b"line\n" * 3
    trials = Trials(nursery, "chat", echo.endpoint, stdin=data)
    trials.expect(56, "recv", FEW_RECV)
    trials.expect(55, "send", FEW_SEND, first=(1, 3))
    for call in ("recv", "send"):
        trials.expect(0, call, [*HARMLESS, SHORT], always=False, stdout=data)
        trials.expect(0, call, [SHORT], once=False, stdout=data)
    assert not trials.wrong


def test_a_chat_says_what_was_not_sent(nursery: Nursery, echo: peers.Peer) -> None:
    nursery.plan.arm("send", errno.ENOBUFS, first=2, times=0)
    program = nursery.start("chat", echo.endpoint, stdin=subprocess.PIPE)
    program.write("one\n")
    program.wait_for("one\n")
    program.write("two\nthree\n")
    program.close_stdin()
    done = program.wait()
    nursery.plan.disarm()
    assert (done.returncode, done.stdout) == (55, b"one\n")
    assert b"not sent: two\n" in done.stderr
    assert b"not sent: three\n" in done.stderr


def test_a_chat_gives_up_what_is_too_large_for_a_message(nursery: Nursery, udp_echo: str) -> None:
    nursery.plan.arm("send", errno.EMSGSIZE)
    program = nursery.start("chat", udp_echo, stdin=subprocess.PIPE)
    program.write("first\nsecond\n")
    program.wait_for("second\n")
    program.close_stdin()
    done = program.wait()
    assert (done.returncode, done.stdout) == (55, b"second\n")
    assert b"not sent: 6 B in one message: message too long" in done.stderr


def test_load_counts_what_fails(nursery: Nursery, echo: peers.Peer) -> None:
    args = ("send", echo.endpoint, "-c", "20", "-j", "4", "hello")
    trials = Trials(nursery, *args)
    trials.expect((55, 56), "send", FEW_SEND, once=False)
    trials.expect(56, "recv", FEW_RECV, once=False)
    trials.expect(1, "send", FEW_SEND, first=(3,), always=False)
    trials.expect(1, "recv", FEW_RECV, first=(3,), always=False)
    trials.expect(1, "connect", numbers("EADDRNOTAVAIL EPERM"), first=(2,), always=False)
    trials.expect(1, "socket", numbers("EMFILE ENOMEM"), first=(2,))
    trials.expect(0, "send", [*HARMLESS, SHORT], first=(1, 7), always=False)
    trials.expect(0, "recv", [*HARMLESS, SHORT], first=(1, 7), always=False)
    assert not trials.wrong


def test_room_that_poll_promises_and_send_does_not_find(nursery: Nursery, echo: peers.Peer) -> None:
    """As it is where all of TCP's memory is taken (tcp(7), tcp_mem): poll looks at the socket's own queue alone."""
    for args in (("send", echo.endpoint, "hello"), ("send", echo.endpoint, "-f", __file__)):
        nursery.plan.arm("send", errno.EAGAIN, times=0)
        done, cpu = nursery.run(*args, "-w", "200ms")
        nursery.plan.disarm()
        assert done.returncode == 28
        assert b"the peer took nothing more within 200 ms" in done.stderr
        assert nursery.plan.called < 50
        assert cpu < CPU


def test_recvmsg_and_send_of_probe(nursery: Nursery, udp_echo: str) -> None:
    trials = Trials(nursery, "probe", udp_echo, "-w", "200ms")
    trials.expect((7, 28, 45), "send", set(SEND) - {errno.ENOBUFS}, always=False)
    trials.expect((7, 28, 45), "recvmsg", RECV, always=False)
    trials.expect((7, 28, 45), "recvmsg", FEW_RECV, first=(2, 3), always=False)
    trials.expect(0, "recvmsg", HARMLESS, first=(1, 2, 3), always=False)
    trials.expect(0, "send", [*HARMLESS, errno.ENOBUFS], always=False)
    assert not trials.wrong


def test_an_icmp_probe(nursery: Nursery) -> None:
    trials = Trials(nursery, "probe", "icmp:127.0.0.1", "-s", "127.0.0.1", "-w", "200ms")
    trials.expect(45, "socket", numbers("EMFILE ENOBUFS"), once=False)
    trials.expect(45, "bind", numbers("EADDRNOTAVAIL EACCES"))
    trials.expect((7, 45), "send", numbers("EPERM ENETUNREACH ENOMEM"), once=False)
    assert not trials.wrong


def test_probe_of_many_targets(nursery: Nursery, echo: peers.Peer) -> None:
    trials = Trials(nursery, "probe", echo.endpoint, "127.0.0.1:1-20", "-v", "-w", "200ms")
    trials.expect(1, "connect", numbers("EPERM ENETUNREACH EADDRNOTAVAIL ENOTSOCK"), first=(1, 2), always=False)
    # The first socket asks whether an address is this host's, the next ones scan: what they cannot, others do.
    trials.expect((0, 1), "socket", numbers("EMFILE ENOBUFS"), first=(1, 2, 3), once=False, named=False)
    assert not trials.wrong


@pytest.mark.parametrize("options", [(), ("-u", "-w", "50ms")])
def test_probe_loopback(nursery: Nursery, options: tuple[str, ...]) -> None:
    """Both ends are netlab's own, and any of them may fail."""
    trials = Trials(nursery, "probe", "--loopback", *options)
    failed = (7, 28, 45, 52, 55, 56)
    trials.expect(45, "bind", BIND)
    if options:
        trials.expect(45, "recvfrom", numbers("ENOMEM ECONNREFUSED"))
        trials.expect(45, "sendto", numbers("ENOBUFS EPERM"))
    else:
        trials.expect(45, "listen", LISTEN)
        trials.expect(45, "accept", numbers("ECONNABORTED EMFILE ENFILE ENOMEM EPERM EPROTO"))
        trials.expect(failed, "recv", numbers("ENOMEM ECONNRESET EHOSTUNREACH"), first=(1, 3), once=False)
        trials.expect(failed, "send", numbers("ENOBUFS EPIPE EPERM"), first=(1, 2), always=False)
    assert not trials.wrong
