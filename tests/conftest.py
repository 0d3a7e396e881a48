"""Fixtures: netlab as a real program, foreign tools, namespaces.  Peers are in `tests.peers`."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import peers
from tests.injection import Nursery
from tests.programs import NETLAB, ROOT, SERVER_PORT, Netlab, Program, StartProgram, run_netlab

collect_ignore = ["tutorial"]  # scripts, not modules: nothing in them is a doctest

PACKAGES = {
    "ip": "iproute2",
    "ss": "iproute2",
    "nft": "nftables",
    "man": "man-db",
    "nc.openbsd": "netcat-openbsd",
    "nc.traditional": "netcat-traditional",
    "unshare": "util-linux",
}
"""Debian's package of a tool, where it does not bear the tool's name."""


def pytest_configure() -> None:
    # A suite that a script started with & has SIGINT ignored, and so would have every program that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Debian keeps ip and nft there, and an ordinary user's PATH leaves it out.
    os.environ["PATH"] += f"{os.pathsep}/usr/sbin{os.pathsep}/sbin"


@pytest.fixture
def netlab() -> Netlab:
    """Run one netlab command to its end: see `tests.programs.run_netlab`."""
    return run_netlab


@pytest.fixture
def netlab_here(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Netlab]:
    """Run a netlab command in this process: ``netlab_here(*args)``, for what it says of its words and options.

    A tenth of the time of `netlab`, and the same but for how a process starts and ends, and for standard input.
    """
    for name in os.environ:
        if name.startswith("NETLAB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    limits, stack, interval = (
        resource.getrlimit(resource.RLIMIT_NOFILE), threading.stack_size(), sys.getswitchinterval()
    )  # fmt: skip

    def run_here(*args: str) -> subprocess.CompletedProcess[bytes]:
        from netlab.cli import run

        capfdbinary.readouterr()
        status = run(args)
        return subprocess.CompletedProcess(args, status, *capfdbinary.readouterr())

    yield run_here
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    threading.stack_size(stack)
    sys.setswitchinterval(interval)


@pytest.fixture
def start_program() -> Iterator[StartProgram]:
    """Start any program: ``start_program(*argv, **options)``, options as in `tests.programs.Program`."""
    with contextlib.ExitStack() as stack:

        def start(*argv: str, naive: bool = True, **options: object) -> Program:
            program = Program(argv, naive=naive, **options)  # type: ignore[arg-type]
            stack.callback(program.reap)
            return program

        yield start


@pytest.fixture
def start_netlab(start_program: StartProgram) -> StartProgram:
    """Start a netlab command that the test talks to while it runs, standard input a pipe."""

    def start(*args: str, **options: object) -> Program:
        return start_program(*NETLAB, *args, naive=False, **options)

    return start


@pytest.fixture
def start_server(start_netlab: StartProgram) -> StartProgram:
    """Start ``netlab serve-...``, and return when its first ready line is out.

    A free port is taken unless -p, -U or an endpoint right after the command says where to listen.
    """

    def start(*args: str, **options: object) -> Program:
        placed = any(arg.startswith(SERVER_PORT) for arg in args) or (len(args) > 1 and not args[1].startswith("-"))
        program = start_netlab(*args, *(() if placed else ("--port", "0")), **{"stdin": subprocess.DEVNULL} | options)
        program.ready()
        return program

    return start


@pytest.fixture
def require_tool() -> Callable[[str], str]:
    """Return a foreign tool's path, or skip and say its name: ``require_tool("ncat")``."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{name} is not installed (apt install {PACKAGES.get(name, name)})")
        return path

    return find


@pytest.fixture
def bin_with_netlab(tmp_path: Path) -> str:
    """A PATH on which ``netlab`` is the one under test."""
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "netlab"
    script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -X dev -W error -m netlab "$@"\n')
    script.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture(scope="session")
def require_ipv6() -> None:
    """Skip where this host has no IPv6 loopback."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError as exc:
        pytest.skip(f"no IPv6 loopback here: {exc}")


@pytest.fixture(scope="session")
def require_netns() -> tuple[str, ...]:
    """Return the words that run a command in a network namespace of its own, or skip where that is not allowed."""
    words = ("unshare", "--user", "--map-root-user", "--net")
    for tool in (words[0], "ip"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (apt install {PACKAGES[tool]})")
    tried = subprocess.run([*words, "true"], capture_output=True, check=False, timeout=10)
    if tried.returncode:
        pytest.skip(f"no network namespace here: {tried.stderr.decode(errors='backslashreplace').strip()}")
    return words


@pytest.fixture(scope="module")
def echo() -> Iterator[peers.Peer]:
    """A TCP echo server, for all tests of a module."""
    with peers.echo_server() as peer:
        yield peer


@pytest.fixture(scope="session")
def nursery_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """The process of `nursery`, for all tests."""
    with Nursery(tmp_path_factory.mktemp("nursery")) as made:
        yield made


@pytest.fixture
def nursery(nursery_process: Nursery) -> Iterator[Nursery]:
    """Start netlab commands in forks of one process, with faults of the system: see `tests.injection`."""
    yield nursery_process
    nursery_process.tidy()
