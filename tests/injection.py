"""Faults of the system on demand: socket calls that fail as their man pages list it, and limits of the process.

Calls fail in `injection.c`, a preload that is compiled once.  Commands run in forks of one process that has imported
netlab already: one costs some 10 ms so, and hundreds of faults can be tried.  They are started by hand of
`tests.programs.Program`, and are whole commands: arguments, standard streams, signals, exit status.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import mmap
import os
import pkgutil
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pytest

from tests.programs import Program, clean_environment

__all__ = ["HANG", "MANY", "SHORT", "Nursery", "Plan", "build_preload", "until"]

CALLS = ("accept", "bind", "connect", "getaddrinfo", "listen", "recv", "recvfrom", "recvmmsg", "recvmsg", "send",
         "sendmmsg", "sendto", "socket", "splice")  # fmt: skip
SHORT = 0
"""In place of an errno: the call moves one byte, or message, only."""
HANG = -1000
"""In place of an errno: the call never returns."""
MANY = 10**6
"""As the first call that fails: none does, and calls are counted."""

_PLAN = struct.Struct("@iiiiiii")
_HIGH = 500
"""A descriptor that no test uses; what a fork is given is moved there before it is put in its place."""


def until(condition: Callable[[], object], what: str, timeout: float = 5) -> None:
    """Wait for something that no event tells."""
    deadline = time.monotonic() + timeout
    never = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"within {timeout} s not: {what}"
        never.wait(0.002)


def build_preload(folder: Path) -> Path:
    """Compile the preload, or skip and say what is missing."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no cc (apt install gcc): socket calls cannot be made to fail")
    library = folder / "injection.so"
    source = Path(__file__).with_suffix(".c")
    done = subprocess.run(
        [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return library


class Plan:
    """Which call of a program fails, how, and how often it has; shared with the program through a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(_PLAN.size))
        with path.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), _PLAN.size)

    def arm(self, call: str, error: int, *, first: int = 1, times: int = 1, system: int = 0) -> None:
        """Let a call fail from now on.

        Args:
          call: one of `CALLS`.
          error: its errno, or `SHORT` or `HANG`; of getaddrinfo what it returns.
          first: the first call that fails, counted from now.
          times: how many fail, 0 for all.
          system: the errno beside EAI_SYSTEM.
        """
        self.disarm()
        _PLAN.pack_into(self._page, 0, 0, error, system, first, times, 0, 0)
        struct.pack_into("@i", self._page, 0, CALLS.index(call) + 1)

    def disarm(self) -> None:
        """Let every call be what it is; the counters stay."""
        struct.pack_into("@i", self._page, 0, 0)

    @property
    def called(self) -> int:
        """How often the call was made since it was armed."""
        return int(_PLAN.unpack_from(self._page)[5])

    @property
    def injected(self) -> int:
        """How often it has failed."""
        return int(_PLAN.unpack_from(self._page)[6])

    def wait_injected(self, number: int = 1) -> None:
        """Wait until it has failed so often."""
        until(lambda: self.injected >= number, f"{number} calls that failed")

    def close(self) -> None:
        self._page.close()


class Forked:
    """A fork that runs a command: what `Program` uses of subprocess.Popen."""

    def __init__(self, args: Sequence[str], pid: int, report: socket.socket, pipes: Sequence[IO[bytes] | None]) -> None:
        self.args = args
        self.pid = pid
        self.stdin, self.stdout, self.stderr = pipes
        self.returncode: int | None = None
        self.cpu = 0.0
        """Seconds of processor time that it took, known at its end."""
        self._report = report

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self._report.settimeout(10 if timeout is None else max(timeout, 0.0001))
            try:
                ended = json.loads(self._report.recv(1000))
            except TimeoutError:
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0) from None
            self._report.close()
            self.returncode, self.cpu = os.waitstatus_to_exitcode(ended["status"]), ended["cpu"]
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that forks, and the plan that its forks follow.

    Args:
      folder: for the preload and the plan.
    """

    def __init__(self, folder: Path) -> None:
        self.library = build_preload(folder)
        self.plan = Plan(folder / "plan")
        self._started: list[Program] = []
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.environment = {"LD_PRELOAD": str(self.library), "NETLAB_TEST_PLAN": str(self.plan.path)}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.injection", str(theirs.fileno())],
                env=clean_environment(self.environment),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.plan.close()
        self._ours.close()
        self._process.wait(10)

    def start(
        self, *args: str, limits: Mapping[str, int] | None = None, uid: int = 0, stdin: int = subprocess.DEVNULL
    ) -> Program:
        """Start a netlab command; options that are not here are as in `tests.programs.Program`.

        Args:
          args: what stands after ``netlab`` on the command line.
          limits: of the process, such as NOFILE, set when all is imported.
          uid: the user it runs as, 0 for this one.
          stdin: PIPE, DEVNULL or a descriptor.
        """

        def popen(argv: Sequence[str], *, env: Mapping[str, str], stdin: int, **_: Any) -> Forked:
            with contextlib.ExitStack() as stack:
                ours, theirs = _pipes(stack, stdin)
                return self.fork(argv, theirs, env=env, limits=limits, uid=uid, pipes=ours)

        program = Program(["netlab", *args], stdin=stdin, popen=popen)
        self._started.append(program)
        return program

    def run(self, *args: str, **options: Any) -> tuple[subprocess.CompletedProcess[bytes], float]:
        """Run a command to its end; return that, and the processor time it took."""
        program = self.start(*args, **options)
        done = program.wait()
        assert isinstance(program.process, Forked)
        return done, program.process.cpu

    def tidy(self) -> None:
        """Let nothing of one test stay for the next."""
        self.plan.disarm()
        while self._started:
            program = self._started.pop()
            program.process.kill()
            program.wait()

    def fork(
        self,
        argv: Sequence[str],
        streams: Sequence[int],
        *,
        env: Mapping[str, str],
        limits: Mapping[str, int] | None = None,
        uid: int = 0,
        pipes: Sequence[IO[bytes] | None] = (None, None, None),
    ) -> Forked:
        """Run a command on three descriptors, which stay the caller's to close; ``pipes`` are the other ends."""
        report, reporter = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with reporter:
            request = {"argv": list(argv), "env": dict(env), "limits": dict(limits or {}), "uid": uid}
            socket.send_fds(self._ours, [json.dumps(request).encode()], [reporter.fileno(), *streams])
            pid = json.loads(report.recv(100))["pid"]
        return Forked(argv, pid, report, pipes)


def _pipes(stack: contextlib.ExitStack, stdin: int) -> tuple[list[IO[bytes] | None], list[int]]:
    """Return our ends and the program's of its standard streams, the program's to be closed with the stack."""
    ours: list[IO[bytes] | None] = [None]
    theirs: list[int] = [stdin]
    if stdin == subprocess.PIPE:
        theirs[0], writer = os.pipe()
        ours[0] = os.fdopen(writer, "wb", buffering=0)
        stack.callback(os.close, theirs[0])
    elif stdin == subprocess.DEVNULL:
        theirs[0] = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, theirs[0])
    for _ in range(2):
        reader, writer = os.pipe()
        ours.append(os.fdopen(reader, "rb", buffering=0))
        stack.callback(os.close, writer)
        theirs.append(writer)
    return ours, theirs


def _serve(control: socket.socket) -> None:
    """Fork for each request, tell each fork's end, and end with the tests."""
    poll = select.poll()
    poll.register(control, select.POLLIN)
    children: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == control.fileno():
                message, given, _, _ = socket.recv_fds(control, 100_000, 8)
                if not message:
                    for pid, _ in children.values():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(pid, signal.SIGKILL)
                    return
                reporter = socket.socket(fileno=given[0])
                pid = os.fork()
                if not pid:
                    _be_netlab(json.loads(message), given[1:])
                for descriptor in given[1:]:
                    os.close(descriptor)
                pidfd = os.pidfd_open(pid)
                children[pidfd] = (pid, reporter)
                poll.register(pidfd, select.POLLIN)
                reporter.send(json.dumps({"pid": pid}).encode())
            else:
                pid, reporter = children.pop(fd)
                poll.unregister(fd)
                os.close(fd)
                _, status, usage = os.wait4(pid, 0)
                with reporter, contextlib.suppress(OSError):  # nobody asks any more
                    reporter.send(json.dumps({"status": status, "cpu": usage.ru_utime + usage.ru_stime}).encode())


def _be_netlab(request: dict[str, Any], streams: Sequence[int]) -> None:
    """Become a netlab command; never returns."""
    try:
        for number, descriptor in enumerate(streams):
            os.dup2(descriptor, _HIGH + number)
        os.closerange(0, _HIGH)
        for number in range(len(streams)):
            os.dup2(_HIGH + number, number)
        os.closerange(_HIGH, _HIGH + len(streams))
        os.environ.clear()
        os.environ.update(request["env"])
        if request["uid"]:
            os.setgroups([])
            os.setresgid(*[request["uid"]] * 3)
            os.setresuid(*[request["uid"]] * 3)
        sys.argv = request["argv"]
        from netlab.cli import main

        for name, value in request["limits"].items():
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
        main()
    finally:
        os._exit(99)


_LATE = (
    "click._textwrap", "concurrent.futures.thread", "encodings.ascii", "encodings.idna", "encodings.latin_1",
    "encodings.unicode_escape", "fcntl", "termios", "textwrap", "traceback",
)  # fmt: skip
"""What is imported when it is needed: a fork that may open no file, or that is another user, has to have it."""


def _import_all() -> None:
    import netlab

    for module in pkgutil.walk_packages(netlab.__path__, "netlab."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in _LATE:
        importlib.import_module(name)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _import_all()
    gc.freeze()  # or each fork would copy every page that the collector touches
    with socket.socket(fileno=int(sys.argv[1])) as tests:
        _serve(tests)
