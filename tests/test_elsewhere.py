"""netlab where names of Linux are missing: it imports, the basics work, and what is not there is said to be missing.

The names are hidden on this system (`tests.elsewhere`); macOS and Windows themselves are not at hand.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.programs import Program, StartProgram, clean_environment

PLATFORMS = ["darwin", "win32"]


def elsewhere(platform: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "tests.elsewhere", platform, *args]
    done = subprocess.run(command, capture_output=True, text=True, env=clean_environment(), check=False, timeout=10)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_first_look_works(platform: str) -> None:
    done = elsewhere(platform, "probe", "--loopback")
    assert done.returncode == 0
    assert done.stdout.startswith("open ")
    assert 'received 17 B "received 5 bytes\\n"' in done.stdout
    assert "SO_RCVBUF" in done.stdout
    assert "tcp_info" not in done.stdout


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_refusal_has_its_status(platform: str) -> None:
    done = elsewhere(platform, "probe", "127.0.0.1:9", "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout.splitlines()[0])["errno_name"] == "ECONNREFUSED"


@pytest.mark.parametrize("command", ["serve-tcp", "serve-threaded", "serve-udp"])
def test_servers_answer(start_program: StartProgram, command: str) -> None:
    """On darwin alone: what win32 gives SO_RCVTIMEO this kernel does not take."""
    server: Program = start_program(
        *(sys.executable, "-W", "error", "-m", "tests.elsewhere", "darwin", command, "-p", "0", "--once"), naive=False
    )
    done = elsewhere("win32", "send", server.ready(), "hello")
    assert (done.returncode, done.stdout) == (0, "received 5 bytes\n")
    assert server.wait().returncode == 0


def test_unix_sockets_are_said_to_be_missing() -> None:
    done = elsewhere("win32", "serve-tcp", "-U", "never-made")
    assert done.returncode in (2, 45)
    assert "unix" in done.stderr
