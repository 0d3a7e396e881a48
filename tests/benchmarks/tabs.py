"""What a TAB costs in a shell that a user types into: from the key until the shell has completed the line."""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from netlab.reference.completion import FILES
from tests.benchmarks.measuring import Bench, Failed, Program, Sample
from tests.programs import ROOT
from tests.shells import Shell

__all__ = ["LINES", "completing"]

LINES = {
    "tab-command": ("command, ms", "netlab prob", "netlab probe "),
    "tab-host": ("host, ms", "netlab probe localh", "netlab probe localhost:"),
    "tab-port": ("port, ms", "netlab probe localhost:99", "netlab probe localhost:9999 "),
}
"""By the name of a case: its heading, what is typed, and what becomes of it."""
TURNS = 10


def completing(_: Bench, program: Program, case: str) -> Sample:
    """Return milliseconds of a TAB in the shell that the program names: the first, and the median of those after it."""
    shell = program.command
    if shutil.which(shell) is None:
        raise Failed(f"{shell} is not installed")
    env = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    _heading, typed, wanted = LINES[case]
    with (
        tempfile.TemporaryDirectory() as home,
        Shell(shell, Path(home), f"source {ROOT / 'completions' / FILES[shell]}", env) as user,
    ):
        first, *others = [_tab(user, typed, wanted) for _ in range(1 + TURNS)]
    return {"value": statistics.median(others) * 1e3, "first_ms": first * 1e3}


def _tab(shell: Shell, typed: str, wanted: str) -> float:
    shell.press("\x15\x0b" + typed + "\x07")  # Ctrl-U, Ctrl-K, the line; Ctrl-G reports
    done = shell.press("\t\x07")
    if done.line != wanted:
        raise Failed(f"{typed!r} became {done.line!r}")
    return done.seconds
