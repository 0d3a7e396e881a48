"""Real programs under test: started as a user starts them, read through pipes, always reaped.

Law: nothing here waits without a bound, and nothing sleeps; a wait is for bytes or for the program's end.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["NETLAB", "ROOT", "SERVER_PORT", "Netlab", "Program", "StartProgram", "clean_environment", "run_netlab"]

ROOT = Path(__file__).resolve().parent.parent
"""The project's top directory."""

NETLAB = (sys.executable, "-W", "error", "-m", "netlab")
"""netlab as the tests run it: a socket left open, or any other warning, shows on stderr and fails the test."""

SERVER_PORT = ("-p", "--port", "-U", "--unix")
"""Options that say where a server listens; without one of them `start_server` takes a free port."""

_READY = re.compile(r'^listening on (.+)\n|^\{"event": ?"listening".*?"endpoint": ?"([^"]+)".*\n', re.MULTILINE)
_UGLY = ("Traceback (most recent call last)", "Exception ignored in", "ResourceWarning", "Fatal Python error")
_KEPT = ("PATH", "HOME", "TMPDIR", "USER", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_CONFIG")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which nothing of the developer's own changes what netlab does."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # PYTHONPATH: this tree, in whatever directory the program runs, and whether or not it is installed.
    return kept | {"LC_ALL": "C.UTF-8", "COLUMNS": "80", "PYTHONPATH": str(ROOT)} | dict(extra or {})


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _assert_no_bug(stderr: bytes) -> None:
    text = stderr.decode(errors="backslashreplace")
    assert not any(sign in text for sign in _UGLY), f"netlab left a traceback or a warning:\n{text}"


def run_netlab(
    *args: str,
    input: str | bytes | None = None,  # noqa: A002 - subprocess.run's own name
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 10,
) -> subprocess.CompletedProcess[bytes]:
    """Run one netlab command to its end, standard input empty unless given.

    Args:
      args: what stands after ``netlab`` on the command line.
      input: what standard input gives, through a pipe; None is /dev/null.
      env: added to `clean_environment`.
      cwd: directory to run in.
      timeout: seconds until the program is killed and the test fails.

    Raises:
      AssertionError: it did not end in time, or left a traceback or a ResourceWarning on stderr.
    """
    try:
        done = subprocess.run(
            [*NETLAB, *args],
            stdin=subprocess.DEVNULL if input is None else None,
            input=None if input is None else _as_bytes(input),
            env=clean_environment(env),
            cwd=cwd,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise AssertionError(
            f"netlab {' '.join(args)} did not end within {timeout} s\nstdout: {late.stdout!r}\nstderr: {late.stderr!r}"
        ) from None
    _assert_no_bug(done.stderr)
    return done


class _Transcript:
    """What a program has written to one pipe so far; a thread reads, so that no program blocks on a full pipe."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._data = bytearray()
        self._ended = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := os.read(self._pipe.fileno(), 65536):
            with self._changed:
                self._data += chunk
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def data(self) -> bytes:
        with self._changed:
            return bytes(self._data)

    @property
    def text(self) -> str:
        return self.data.decode(errors="replace")

    def wait_for(self, pattern: re.Pattern[str], count: int, timeout: float) -> re.Match[str] | None:
        """Return the count-th match; None where the time or the output ended before it."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                ended = self._ended
                matches = list(pattern.finditer(self._data.decode(errors="replace")))
                if len(matches) >= count:
                    return matches[count - 1]
                if ended or not self._changed.wait(max(0.0, deadline - time.monotonic())):
                    return None

    def close(self) -> None:
        # A grandchild that holds the pipe would keep the reader for ever; that is a finding, not a thing to wait for.
        self._thread.join(5)
        assert not self._thread.is_alive(), "something still holds the program's output open"
        self._pipe.close()


class Program:
    """One running program, its output read as it comes.

    Args:
      argv: what to run.
      env: added to `clean_environment`.
      cwd: directory to run in.
      stdin: PIPE, DEVNULL or a descriptor.
      pass_fds: descriptors that the program inherits.
      naive: its tracebacks are its own affair (a program that is not netlab).
      popen: makes the process.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: int = subprocess.PIPE,
        pass_fds: Sequence[int] = (),
        naive: bool = False,
        popen: Callable[..., Any] = subprocess.Popen,
    ) -> None:
        self._naive = naive
        self.process: subprocess.Popen[bytes] = popen(
            list(argv),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=clean_environment(env),
            cwd=cwd,
            pass_fds=pass_fds,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._out = _Transcript(self.process.stdout)
        self._err = _Transcript(self.process.stderr)

    @property
    def stdout(self) -> bytes:
        """All of standard output so far."""
        return self._out.data

    @property
    def stderr(self) -> bytes:
        """All of standard error so far."""
        return self._err.data

    @property
    def lines(self) -> list[str]:
        """The lines of standard output so far; the last may be unfinished."""
        return self._out.text.splitlines()

    @property
    def endpoint(self) -> str:
        """What the first ready line announces, as `netlab send` takes it; waits for that line."""
        return self.ready()

    @property
    def host(self) -> str:
        """The host of `endpoint`, without scheme and brackets."""
        return self.endpoint.removeprefix("udp://").rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port of `endpoint`."""
        return int(self.endpoint.rpartition(":")[2])

    def ready(self, number: int = 1, *, timeout: float = 10) -> str:
        """Wait for the number-th ready line (one a socket) and return its endpoint."""
        match = self.wait_for(_READY, count=number, timeout=timeout)
        return match[1] or match[2]

    def wait_for(
        self, pattern: str | re.Pattern[str], *, count: int = 1, timeout: float = 10, stderr: bool = False
    ) -> re.Match[str]:
        r"""Wait until the output so far holds the pattern `count` times, and return that match.

        ``^`` and ``$`` are the ends of lines.  The output may end in mid-line: where the rest of a line matters, let
        the pattern end in ``\n``.

        Raises:
          AssertionError: the program ended, or the time did, before it came; with all that was written.
        """
        compiled = re.compile(pattern, re.MULTILINE) if isinstance(pattern, str) else pattern
        match = (self._err if stderr else self._out).wait_for(compiled, count, timeout)
        assert match is not None, (
            f"{compiled.pattern!r} did not come {count} times within {timeout} s; status {self.process.poll()}\n"
            f"stdout:\n{self._out.text}\nstderr:\n{self._err.text}"
        )
        return match

    def write(self, data: str | bytes) -> None:
        """Write to its standard input, at once."""
        assert self.process.stdin is not None
        self.process.stdin.write(_as_bytes(data))
        self.process.stdin.flush()

    def close_stdin(self) -> None:
        """End its standard input."""
        if self.process.stdin is not None:
            # Unwritten bytes to a program that has ended are no concern of the one that ends its input.
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = 10) -> subprocess.CompletedProcess[bytes]:
        """Wait for its end and return status and whole output.

        Raises:
          AssertionError: it did not end in time (it is killed then), or netlab left a traceback.
        """
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(
                f"{self.process.args!r} did not end within {timeout} s\nstdout:\n{self._out.text}\n"
                f"stderr:\n{self._err.text}"
            ) from None
        finally:
            if self.process.poll() is not None:
                self._release()
        if not self._naive:
            _assert_no_bug(self.stderr)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, self.stdout, self.stderr)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 5) -> subprocess.CompletedProcess[bytes]:
        """Signal it, wait for its end, and return status and whole output."""
        self.send_signal(number)
        return self.wait(timeout)

    def reap(self) -> None:
        """Let nothing of it stay: stop it if it still runs, release its pipes, and check what it left on stderr."""
        if self.process.poll() is None and self._naive:
            self.process.kill()
        if self.process.poll() is None:
            self.stop()
        else:
            self.wait()

    def _release(self) -> None:
        self.close_stdin()
        self._out.close()
        self._err.close()


Netlab = Callable[..., "subprocess.CompletedProcess[bytes]"]
"""Type of the ``netlab`` fixture: `run_netlab`."""

StartProgram = Callable[..., Program]
"""Type of the fixtures that start a program: ``start_server``, ``start_netlab``, ``start_program``."""
