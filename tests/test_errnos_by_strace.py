"""System calls that fail below the C library, where no preload reaches: whole programs under strace."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import peers
from tests.programs import NETLAB, StartProgram
from tests.servers import read_line

pytestmark = pytest.mark.slow


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


def test_a_wait_that_the_kernel_refuses(
    require_tool: Callable[[str], str], start_program: StartProgram, echo: peers.Peer, tmp_path: Path
) -> None:
    strace = require_tool("strace")
    done = start_program(*traced(strace, tmp_path, "poll", "ENOMEM", "2+", "send", echo.endpoint, "hello")).wait()
    assert done.returncode == 45, done
    assert done.stderr.startswith(b"netlab: send: cannot allocate memory (ENOMEM)\n")


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
