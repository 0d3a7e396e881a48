"""Socket calls that fail as their man pages list it, tried on whole commands."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Collection, Iterator, Sequence

from netlab.errors import errno_name
from tests.injection import SHORT, Forked, Nursery
from tests.programs import Program
from tests.servers import read_line

__all__ = [
    "BIND", "CONNECT", "CPU", "FEW_RECV", "FEW_SEND", "GETADDRINFO", "HARMLESS", "LISTEN", "RECV", "SEND", "SERVERS",
    "SOCKET", "SPIN", "Trials", "client", "fault", "is_served", "numbers", "serving",
]  # fmt: skip


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
                for times in ([1] if once else []) + ([0] if always and not (once and index) else []):
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


SERVERS = {
    "iterative": ("serve-tcp",),
    "concurrent": ("serve-tcp", "--concurrent"),
    "threaded": ("serve-threaded", "--cpu", "none"),
}


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


def is_served(program: Program) -> bool:
    with client(program) as sock:
        sock.sendall(b"hello\n")
        return read_line(sock) == b"hello\n"
