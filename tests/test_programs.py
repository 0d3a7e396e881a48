"""The harness itself: it sees a traceback, an unclosed socket and a hang, and leaves nothing running."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.programs import NETLAB, Program

PYTHON = NETLAB[:-2]
"""The interpreter with the options that netlab is tested under."""

READY = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("listening on 127.0.0.1:1", flush=True)
print("listening on udp://[::1]:2", flush=True)
signal.sigwait([signal.SIGTERM])
"""


@pytest.fixture
def script() -> Iterator[list[Program]]:
    """Programs to reap, whatever becomes of the test."""
    programs: list[Program] = []
    yield programs
    for program in programs:
        program.process.kill()
        program.process.wait()


def start(programs: list[Program], code: str) -> Program:
    program = Program([*PYTHON, "-c", code])
    programs.append(program)
    return program


def test_ready_lines_are_read(script: list[Program]) -> None:
    program = start(script, READY)
    assert program.ready(2) == "udp://[::1]:2"
    assert (program.endpoint, program.host, program.port) == ("127.0.0.1:1", "127.0.0.1", 1)
    done = program.stop(signal.SIGTERM)
    assert (done.returncode, done.stderr) == (0, b"")
    assert program.lines == ["listening on 127.0.0.1:1", "listening on udp://[::1]:2"]


def test_json_ready_line_is_read(script: list[Program]) -> None:
    program = start(script, """print('{"event":"listening","time":1.5,"endpoint":"unix:/tmp/s","fileno":3}')""")
    assert program.endpoint == "unix:/tmp/s"
    program.wait()


@pytest.mark.parametrize("code", ["1 / 0", "import socket; socket.socket()", "open('/dev/null')"])
def test_traceback_or_leak_fails_the_test(script: list[Program], code: str) -> None:
    with pytest.raises(AssertionError, match="traceback or a warning"):
        start(script, code).wait()


def test_hang_is_killed_and_told(script: list[Program]) -> None:
    program = start(script, "print('before', flush=True)\ninput()")
    program.wait_for("before")
    with pytest.raises(AssertionError, match=r"did not end within 0\.1 s\nstdout:\nbefore"):
        program.wait(0.1)
    assert program.process.returncode == -signal.SIGKILL


def test_wait_for_counts_and_fails_at_the_end_of_output(script: list[Program]) -> None:
    program = start(script, "print(input()); print(input())")
    program.write("你好\n你好\n")
    program.wait_for("你好\n", count=2)
    with pytest.raises(AssertionError, match="did not come 3 times"):
        program.wait_for("你好", count=3)
    assert program.wait().returncode == 0
