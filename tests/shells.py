"""Real interactive shells on a terminal of their own: what is typed, what a TAB makes of it, what is listed.

A key that the tests bind (Ctrl-G) makes the shell write its edit buffer to a pipe: a test waits for that and reads the
very line, not what a terminal makes of the shell's redrawing.  zsh redraws only when no key is waiting, or asked to.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tests.programs import clean_environment

__all__ = ["SETUP", "Completed", "Shell"]

SETUP = {
    "bash": (
        ("bash", "--noprofile", "--rcfile", "{setup}", "-i"),
        r"""
        PS1='$ ' HISTFILE=
        bind 'set enable-bracketed-paste off'
        bind 'set completion-query-items 0'
        bind 'set completion-display-width 0'
        bind 'set page-completions off'
        bind 'set bell-style none'
        bind 'set show-all-if-ambiguous on'
        report() { printf '%s\0' "$READLINE_LINE" >&$REPORT; printf '\e]reported\a' >/dev/tty; }
        bind -x '"\C-g": report'
        """,
    ),
    "zsh": (
        ("zsh", "-i"),
        r"""
        PS1='$ ' LISTMAX=10000
        unset zle_bracketed_paste
        unsetopt BEEP
        autoload -Uz compinit && compinit -u -D
        report() { zle -R; print -rn -- "$BUFFER"$'\0' >&$REPORT; print -n '\e]reported\a' >/dev/tty }
        zle -N report
        bindkey '^G' report
        """,
    ),
    "fish": (
        ("fish", "--no-config", "--init-command", "source {setup}", "--interactive"),
        r"""
        set fish_greeting
        function fish_prompt; echo -n '$ '; end
        function report
            printf '%s\0' (commandline | string collect) >&REPORT
            printf '\e]reported\a' >/dev/tty
        end
        bind \cg report
        """,
    ),
}
"""How to start each shell so that it does the same everywhere, and its own start-up file."""

_REPORTED = b"\x1b]reported\x07"
"""Written to the terminal after each report, so that all before it has been read when this comes."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?>=]*[A-Za-z]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>])")
"""What a shell sends to move, in the place of blanks: CSI and OSC sequences, character sets, keypad modes."""

_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True)
class Completed:
    """What came of some keys: the edit buffer, what was written to the terminal meanwhile, and how long it took."""

    line: str
    shown: str
    seconds: float

    @property
    def words(self) -> set[str]:
        """What was listed: words without what a shell adds to show a file's type, or shortens in front."""
        return {word.rstrip("*/:=").rpartition(sep)[2] for word in self.shown.split() for sep in ":=/ "}


class Shell:
    """An interactive shell on a terminal of 50 lines and 100 columns.

    Args:
      name: bash, zsh or fish.
      folder: where its start-up file is written; its home, too.
      script: lines that it runs after its own set-up.
      env: added to `tests.programs.clean_environment`.
    """

    def __init__(self, name: str, folder: Path, script: str = "", env: Mapping[str, str] | None = None) -> None:
        self.name = name
        argv, setup = SETUP[name]
        self._master, slave = pty.openpty()
        self._report, report = os.pipe()
        termios.tcsetwinsize(slave, (50, 100))
        start = folder / ".zshrc"
        start.write_text(f"{setup}\n{script}\n".replace(">&REPORT", f">&{report}"))
        own = {"TERM": "xterm", "HOME": str(folder), "ZDOTDIR": str(folder), "REPORT": str(report)}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _TAKE_TERMINAL, *(word.format(setup=start) for word in argv)],
            stdin=slave, stdout=slave, stderr=slave, cwd=folder, env=clean_environment(own | dict(env or {})),
            pass_fds=(report,), start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        os.close(report)
        self.press("\x07")

    def press(self, keys: str, timeout: float = 10) -> Completed:
        """Press ``keys``, the last of them Ctrl-G, and wait until the shell reports its edit buffer."""
        started = time.perf_counter()
        os.write(self._master, keys.encode())
        shown, line = bytearray(), bytearray()
        poll = select.poll()
        for descriptor in (self._master, self._report):
            poll.register(descriptor, select.POLLIN)
        while not (line.endswith(b"\0") and _REPORTED in shown):
            ready = [found for found, _ in poll.poll(max(started + timeout - time.perf_counter(), 0) * 1000)]
            assert ready, f"no report within {timeout} s after {keys!r}; on the terminal:\n{shown.decode()}"
            if self._master in ready:
                shown += os.read(self._master, 65536)
            elif chunk := os.read(self._report, 65536):
                line += chunk
            else:
                raise AssertionError(f"the shell ended after {keys!r}; on the terminal:\n{shown.decode()}")
        text = _ESCAPE.sub(" ", _COLOUR.sub("", shown.decode(errors="backslashreplace")))
        return Completed(line[:-1].decode(), text.replace("\r", " "), time.perf_counter() - started)

    def complete(self, line: str, tabs: int = 1) -> Completed:
        """Type ``line`` into an empty edit buffer and press TAB."""
        self.press("\x15\x0b\x07")  # Ctrl-U, Ctrl-K
        return self.press(line + "\t" * tabs + "\x07")

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        os.close(self._master)  # SIGHUP for the shell and what it started
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            os.close(self._report)
