"""Socket calls that fail as their man pages list it, at the first call or a later one, once or for good.

Never a traceback, a hang, a spin, or a byte lost without a word: whatever the system says, a client ends with the
status of whoever is to blame and names the errno, and a server goes on serving.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pytest

from netlab.errors import errno_name
from tests import peers
from tests.injection import SHORT, Forked, Nursery, until
from tests.programs import NETLAB, Program, StartProgram
from tests.servers import read_line, read_to_end

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux alone has what this needs")


def numbers(names: str) -> tuple[int, ...]:
    return tuple(getattr(errno, name) for name in names.split())


# The ERRORS of the man pages, and of tcp(7), udp(7), unix(7) and ip(7) what can come over such a call.  EAGAIN and
# EINTR are tried once, for the kernel does not repeat them without a wait; EINPROGRESS is no failure.
SOCKET = numbers("EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS ENOMEM EPROTONOSUPPORT")
BIND = numbers(
    "EACCES EADDRINUSE EBADF EINVAL ENOTSOCK EADDRNOTAVAIL EFAULT ELOOP ENAMETOOLONG ENOENT ENOMEM ENOTDIR EROFS EPERM"
)
LISTEN = numbers("EADDRINUSE EBADF ENOTSOCK EOPNOTSUPP")
CONNECT = {
    7: numbers("EACCES EPERM ECONNREFUSED ENETUNREACH EHOSTUNREACH"),
    28: numbers("ETIMEDOUT EALREADY"),
    45: numbers("EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EBADF EFAULT EINTR EISCONN ENOTSOCK EPROTOTYPE"),
}
RECV = numbers("EBADF ECONNREFUSED EFAULT EINVAL ENOMEM ENOTCONN ENOTSOCK ECONNRESET EHOSTUNREACH")
SEND = numbers(
    "EACCES EBADF ECONNRESET EDESTADDRREQ EFAULT EINVAL EISCONN EMSGSIZE ENOBUFS ENOMEM ENOTCONN ENOTSOCK EOPNOTSUPP "
    "EPIPE"
)
# The whole lists are for one command of a kind, these for the others.
FEW_RECV, FEW_SEND = numbers("ECONNRESET ENOMEM EHOSTUNREACH"), numbers("EPIPE ECONNRESET ENOBUFS")
HARMLESS = numbers("EAGAIN EINTR")
GETADDRINFO = {name: getattr(socket, name) for name in dir(socket) if name.startswith("EAI_")}

SPIN = 400
"""Calls that no command of these tests needs."""
CPU = 0.5
"""Seconds of processor time, of which one takes some 10 ms."""


def fault(code: int) -> str:
    return "a short count" if code == SHORT else errno_name(code)


class Trials:
    """Runs of one command, each with another fault, and what was wrong with them."""

    def __init__(self, nursery: Nursery, *args: str, stdin: bytes = b"") -> None:
        self._nursery = nursery
        self._args = args
        self._input = stdin
        self.wrong: list[str] = []

    def expect(
        self,
        status: int | Sequence[int],
        call: str,
        codes: Collection[int],
        *,
        first: Sequence[int] = (1,),
        once: bool = True,
        always: bool = True,
        named: bool = True,
        stdout: bytes | None = None,
    ) -> None:
        """Run the command with each fault; its status has to be this one, or one of these.

        Args:
          call: which one fails.
          codes: how.
          first: the first call that fails.
          once, always: whether that one alone, or all from then on; where both, the latter with the first fault only.
          named: whether the errno has to be told, where the status is not 0.
          stdout: what it has to be.
        """
        allowed = (status,) if isinstance(status, int) else status
        for index, code in enumerate(codes):
            for number in first:
                for times in [1] * once + [0] * (always and not (once and index)):
                    if found := self._run(allowed, call, code, number, times, stdout, named=named):
                        how = "once" if times else "always"
                        self.wrong.append(f"{call} {fault(code)} from call {number}, {how}: {found}")

    def _run(
        self,
        allowed: Sequence[int],
        call: str,
        code: int,
        first: int,
        times: int,
        stdout: bytes | None,
        *,
        named: bool,
    ) -> str:
        plan = self._nursery.plan
        plan.arm(call, code, first=first, times=times)
        reader, writer = os.pipe()
        os.write(writer, self._input)
        os.close(writer)
        try:
            done, cpu = self._nursery.run(*self._args, stdin=reader)
        except AssertionError as exc:
            return str(exc)
        finally:
            os.close(reader)
            plan.disarm()
        if not plan.injected:
            return "it was never called"
        if done.returncode not in allowed:
            return f"status {done.returncode} instead of {allowed}: {done.stderr!r}"
        if named and done.returncode and errno_name(code) not in (done.stdout + done.stderr).decode():
            return f"{errno_name(code)} is not named: {done.stdout!r} {done.stderr!r}"
        if plan.called > SPIN or cpu > CPU:
            return f"it was called {plan.called} times, in {cpu} s"
        if stdout is not None and done.stdout != stdout:
            return f"standard output is {done.stdout!r}"
        return ""


@pytest.fixture(scope="module")
def echo() -> Iterator[peers.Peer]:
    with peers.echo_server() as peer:
        yield peer


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


# Clients


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
    trials = Trials(nursery, "send", udp_echo, "one", "two", "-w", "1")
    refused = numbers("ECONNREFUSED EINVAL EHOSTUNREACH")
    for status, codes in ((56, set(RECV) - set(refused)), (7, refused), (28, (errno.ETIMEDOUT,))):
        trials.expect(status, "recv", tuple(codes), first=(2,), always=False)
    for status, codes in ((55, set(SEND) - {errno.EACCES, errno.EINVAL}), (7, numbers("EACCES EINVAL"))):
        trials.expect(status, "send", tuple(codes), first=(2,), always=False)
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


# Servers

SERVERS = {
    "iterative": ("serve-tcp",),
    "concurrent": ("serve-tcp", "--concurrent"),
    "threaded": ("serve-threaded", "--cpu", "none"),
}
ACCEPT_GOES_ON = numbers(
    "ECONNABORTED EINTR EAGAIN EPERM ENETDOWN EPROTO ENOPROTOOPT EHOSTDOWN ENONET EHOSTUNREACH EOPNOTSUPP ENETUNREACH "
    "EMFILE ENFILE ENOBUFS ENOMEM ENOSR ESOCKTNOSUPPORT EPROTONOSUPPORT ETIMEDOUT"
)
ACCEPT_ENDS = numbers("EBADF EINVAL ENOTSOCK EFAULT")


@contextlib.contextmanager
def serving(nursery: Nursery, *args: str) -> Iterator[Program]:
    """Run a server; at its end it has ended in good order, and has used little processor time."""
    nursery.plan.disarm()
    program = nursery.start(*args, "-p", "0")
    try:
        program.ready()
        yield program
        nursery.plan.disarm()
        done = program.stop()
        assert done.returncode == 0, done.stderr
        assert isinstance(program.process, Forked)
        assert program.process.cpu < 2 * CPU
    finally:
        nursery.plan.disarm()
        program.process.kill()
        program.wait()


@contextlib.contextmanager
def client(program: Program) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", program.port), timeout=5) as sock:
        yield sock


def end(sock: socket.socket) -> None:
    """Read the echo that one client waits for, and leave."""
    assert read_line(sock) == b"hello\n"
    sock.close()


def descriptors(program: Program) -> int:
    return len(os.listdir(f"/proc/{program.process.pid}/fd"))


def wait_for_descriptors(program: Program, number: int) -> None:
    until(lambda: descriptors(program) <= number, f"a server with {number} descriptors")


def is_served(program: Program) -> bool:
    with client(program) as sock:
        sock.sendall(b"hello\n")
        return read_line(sock) == b"hello\n"


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
        nursery.plan.arm(call, errno.EPERM, first=10**6)
        assert is_echoed()
        assert is_echoed()  # in the first one the server was waiting already
        if nursery.plan.called:
            return call
    raise AssertionError(f"it uses none of {calls}")


@pytest.mark.parametrize("options", [(), ("-q",)])
def test_receiving_and_sending_of_serve_udp(nursery: Nursery, options: tuple[str, ...]) -> None:
    wrong = {}
    with serving(nursery, "serve-udp", "--reply", "echo", *options) as server, udp_client(server) as is_echoed:
        receive = call_in_use(nursery, ("recvfrom", "recvmmsg"), is_echoed)
        for code in (*numbers("ECONNREFUSED ENOMEM EHOSTUNREACH ECONNRESET"), *HARMLESS):
            nursery.plan.arm(receive, code)
            while not nursery.plan.injected:  # the server waits in the call already
                if not is_echoed():
                    wrong[f"{receive} {fault(code)}"] = "no echo"
        send = call_in_use(nursery, ("sendto", "sendmmsg"), is_echoed)
        for code in SEND:
            nursery.plan.arm(send, code)
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"lost", ("127.0.0.1", server.port))
                nursery.plan.wait_injected()
            if not is_echoed():
                wrong[f"{send} {fault(code)}"] = "no echo"
    assert not wrong
    assert options or b"warning" in server.stderr, "a reply that was lost is told"


def test_serve_udp_ends_where_its_socket_is_none_any_more(nursery: Nursery) -> None:
    for code in numbers("EBADF ENOTSOCK EFAULT"):
        nursery.plan.arm("recvfrom", code, times=0)
        done, _ = nursery.run("serve-udp", "-p", "0")
        nursery.plan.disarm()
        assert done.returncode == 45, done
        assert errno_name(code).encode() in done.stderr


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


def test_chat_whose_peer_is_gone_before_it_is_accepted(nursery: Nursery) -> None:
    program = nursery.start("chat", "--listen", "-p", "0")
    port = int(program.wait_for(r"127\.0\.0\.1:(\d+)", stderr=True)[1])
    program.send_signal(signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, peers.RESET_ON_CLOSE)
    program.send_signal(signal.SIGCONT)
    assert program.wait().returncode in (55, 56)


# Where a preload cannot reach, the whole program under strace


def traced(strace: str, tmp_path: Path, call: str, code: str, when: str, *args: str) -> tuple[str, ...]:
    """Return the words that run netlab with a system call that fails, or skip where nobody may trace."""
    inject = (
        "-f",
        "-qq",
        "-o",
        str(tmp_path / "trace"),
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:error={code}:when={when}",
    )
    tried = subprocess.run([strace, *inject, "true"], capture_output=True, check=False, timeout=10)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.decode(errors='replace').strip()}")
    return (strace, *inject, *NETLAB, *args)


@pytest.mark.slow
def test_a_wait_that_the_kernel_refuses(
    require_tool: Callable[[str], str], start_program: StartProgram, echo: peers.Peer, tmp_path: Path
) -> None:
    strace = require_tool("strace")
    done = start_program(*traced(strace, tmp_path, "poll", "ENOMEM", "2+", "send", echo.endpoint, "hello")).wait()
    assert done.returncode == 45, done
    assert done.stderr.startswith(b"netlab: send: cannot allocate memory (ENOMEM)\n")


@pytest.mark.slow
def test_accept_that_the_kernel_fails(
    require_tool: Callable[[str], str], start_program: StartProgram, tmp_path: Path
) -> None:
    command = traced(require_tool("strace"), tmp_path, "accept4", "ENFILE", "1..3", "serve-tcp", "-p", "0", "--once")
    server = start_program(*command)
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as sock:
        sock.sendall(b"hello")
        assert read_line(sock) == b"received 5 bytes\n"
    done = server.wait()
    assert done.returncode == 0
    assert b"(ENFILE)" in done.stderr
    assert (tmp_path / "trace").read_text().count("ENFILE") == 3
