"""One sample of one case: a program is started afresh, put to the test, and ended.

A sample is a dict of figures; ``value`` is the one that the tables show.  Linux only: it looks into /proc.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import resource
import select
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.programs import ROOT, clean_environment

__all__ = ["PAUSE", "Bench", "Case", "Failed", "Program", "Sample", "Table", "memory", "raise_limits"]

HERE = Path(__file__).parent
BOUND = 30.0
"""Seconds after which a program is given up."""
STARTS = 5
"""Runs of a short command that make one sample."""
PAUSE = threading.Event()
"""Never set: waiting for it is waiting."""

Sample = dict[str, float]


class Failed(Exception):
    """A program did not do what it should have."""


@dataclass(frozen=True)
class Program:
    """A command line with ``{port}``, ``{file}`` and `Bench.names` in it.

    Attributes:
      command: what is measured.
      server: what it talks to, where that is not the case's own.
      answer: what it sends back, where that is no echo.
      status: with which it ends when all is well.
    """

    command: str
    server: str = ""
    answer: str = ""
    status: int = 0


@dataclass(frozen=True)
class Case:
    """One column of a table: one question to several programs.

    Attributes:
      name: as it is written on the command line.
      heading: what is measured, and its unit.
      programs: by the name of their row.
      measure: takes one sample.
      needs_c: whether the load, or what is talked to, is written in C.
    """

    name: str
    heading: str
    programs: dict[str, Program]
    measure: Callable[[Bench, Program], Sample]
    needs_c: bool = True


@dataclass(frozen=True)
class Table:
    """Cases that have their rows in common; the first row is what the others are compared with.

    Attributes:
      title: of the column of names.
      caption: what the other columns are.
      cases: the columns.
    """

    title: str
    caption: str
    cases: tuple[Case, ...]

    @property
    def rows(self) -> list[str]:
        """The names of all programs, in their order."""
        return list(dict.fromkeys(row for case in self.cases for row in case.programs))


class Bench:
    """What all samples share.

    Args:
      folder: for what is built and written; removed by the caller.
      seconds: how long each load lasts.
      size: bytes of the file that is sent.
      python: interpreter of the Python peers.
    """

    def __init__(self, folder: Path, *, seconds: float, size: int, python: str) -> None:
        self.seconds = seconds
        self._size = size
        self._folder = folder
        self.names = {
            "netlab": shlex.join([sys.executable, "-m", "netlab"]),
            "python": shlex.quote(sys.executable),
            "peer": shlex.join([python, str(HERE / "peers.py")]),
            "limits": shlex.quote(str(folder / "limits")),
            "load": shlex.quote(str(folder / "load")),
            "file": shlex.quote(str(folder / "file")),
        }
        self.lack = self._build()
        """Why the load generator cannot be built, empty where it is."""

    def file(self) -> Path:
        """Return the file to be sent, written once."""
        path = self._folder / "file"
        if not path.exists():
            piece = os.urandom(1 << 20)
            with path.open("wb") as file:
                for _ in range(self._size >> 20):
                    file.write(piece)
        return path

    def _build(self) -> str:
        compiler = next(filter(shutil.which, ("cc", "gcc", "clang")), None)
        if compiler is None:
            return "no C compiler (cc, gcc or clang) to build the load generator"
        for name in ("limits", "load"):
            argv = [compiler, "-O2", "-pthread", "-o", str(self._folder / name), str(HERE / f"{name}.c")]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{compiler} cannot build the load generator ({done.stderr.partition(chr(10))[0]})"
        return ""

    @contextlib.contextmanager
    def server(self, command: str, prefix: str = "") -> Iterator[tuple[int, int]]:
        """Run a server; yield its process and its port once it has that."""
        port = _free_port()
        log = self._folder / "log"
        with self.start(f"{prefix} {command}", port=port, out=log) as process:
            end = time.monotonic() + BOUND
            while not _drops(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise Failed(f"no server: {log.read_text(errors='replace').strip()[-200:]}")
                PAUSE.wait(0.01)
            yield process.pid, port

    @contextlib.contextmanager
    def start(
        self, command: str, *, port: int = 0, out: Path | int = subprocess.DEVNULL, stdin: int = subprocess.DEVNULL
    ) -> Iterator[subprocess.Popen[str]]:
        """Run a program, and end it and all that it has started."""
        argv = shlex.split(command.format(port=port, **self.names))
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(out.open("wb")) if isinstance(out, Path) else out
            options = {"cwd": ROOT, "env": clean_environment(), "start_new_session": True, "text": True}
            process: subprocess.Popen[str] = stack.enter_context(
                subprocess.Popen(argv, stdin=stdin, stdout=target, stderr=subprocess.STDOUT, **options)  # type: ignore[call-overload]
            )
            try:
                yield process
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                    _ends(process.pid)
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def run(
        self, command: str, *, port: int = 0, stdin: int = subprocess.DEVNULL, status: int = 0
    ) -> tuple[float, str]:
        """Run a program to its end; return the seconds that it took, and what it said."""
        log = self._folder / "out"
        started = time.perf_counter()
        with self.start(command, port=port, out=log, stdin=stdin) as process:
            if not _ends(process.pid):
                raise Failed(f"not done after {BOUND:.0f} s")
            elapsed = time.perf_counter() - started
        said = log.read_text(errors="replace")
        if process.returncode != status:
            raise Failed(f"status {process.returncode}: {said.strip()[-200:]}")
        return elapsed, said

    def load(self, program: Program, mode: str, clients: int, size: int, *, prefix: str = "") -> Sample:
        """Put the C generator's load on a server; ``prefix`` runs both."""
        with self.server(program.command, prefix) as (pid, port):
            words = f"{prefix} {{load}} {mode} {port} {clients} {self.seconds} {size} {shlex.quote(program.answer)}"
            before = _cpu_seconds(pid)
            sample = _figures(self.run(words.removesuffix("''"))[1])
            sample["cpu_s"] = _cpu_seconds(pid) - before
            if mode == "udpsink":
                sample["dropped"] = float(_drops(port)[0])
                sample["rate"] = (sample["ops"] - sample["dropped"]) / self.seconds
        return sample

    def hold(self, program: Program, clients: int) -> Sample:
        """Have so many clients stay silent; return the memory of each, and what the server did meanwhile."""
        with self.server(program.command) as (pid, port):
            before = memory(pid)
            words = f"{{load}} idle {port} {clients} {self.seconds} 64"
            with self.start(words, out=subprocess.PIPE) as generator:
                assert generator.stdout is not None
                sample = _figures(generator.stdout.readline())
                sample["kB"] = (memory(pid) - before) / clients
                cpu = _cpu_seconds(pid)
                PAUSE.wait(self.seconds / 2)
                sample["idle_cpu_s"] = _cpu_seconds(pid) - cpu
                return sample | _figures(generator.stdout.read())

    def take(self, program: Program, *, server: str, stdin: str = "") -> float:
        """Return the seconds of a whole program that talks to a server; ``stdin`` is its input, or makes it."""
        with contextlib.ExitStack() as stack:
            port = stack.enter_context(self.server(program.server or server))[1]
            source = subprocess.DEVNULL
            if stdin == "file":
                source = stack.enter_context(self.file().open("rb")).fileno()
            elif stdin:
                writer = stack.enter_context(self.start(stdin, out=subprocess.PIPE))
                assert writer.stdout is not None
                source = writer.stdout.fileno()
            return self.run(program.command, port=port, stdin=source)[0]

    def often(self, take: Callable[[], float]) -> float:
        """Return the median of a few runs."""
        return statistics.median(take() for _ in range(STARTS))


def _ends(pid: int) -> bool:
    """Wait for a child's end, at once when it comes: Popen.wait with a limit looks only now and then."""
    pidfd = os.pidfd_open(pid)
    try:
        return bool(select.select([pidfd], [], [], BOUND)[0])
    finally:
        os.close(pidfd)


def _figures(said: str) -> Sample:
    lines = [json.loads(line) for line in said.splitlines()]
    if not lines or not lines[-1].get("ok", True):
        raise Failed(str(lines[-1]["why"] if lines else "no answer"))
    return {key: float(value) for key, value in lines[-1].items()}


def _free_port() -> int:
    """Return a port below the ephemeral ones, with which the generator's own connections could collide."""
    for port in random.sample(range(20_000, 32_000), 1000):  # somebody else may be looking for one, too
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise Failed("no port is free")


def _drops(port: int) -> list[int]:
    """Return for each unconnected socket at a port the last number of its line, for UDP what it has dropped."""
    tables = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "tcp6", "udp", "udp6"))
    lines = re.findall(rf"^ *\d+: [0-9A-F]+:{port:04X} 0+:0000 .*?(\d+) *$", tables, re.MULTILINE)
    return [int(number) for number in lines]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Return the kB that a process has in memory."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def raise_limits() -> None:
    """Let what is started from here have as many descriptors as it may."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
