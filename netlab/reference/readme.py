"""Blocks of the READMEs that show what netlab prints: made anew from the commands, or by running them.

A block stands between ``<!-- netlab probe --help -->`` and ``<!-- end -->``.  Help comes from the command tree; a
``--diagram`` is drawn from calls that were recorded once, because the order of two threads' calls differs from run to
run; any other command line is run.  What differs between two runs of it (times, ports, descriptors) is no reason to
change a block: only its shape is, the output with all numbers masked.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from netlab.reference.tree import Command

__all__ = ["RECORDING", "refresh"]

_BLOCK = re.compile(r"<!-- (?P<line>netlab [^\n]*) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)
_RECORDED = ["probe", "--loopback", "--diagram"]
RECORDING = Path(__file__).with_name("loopback.jsonl")
"""The calls of ``netlab probe --loopback``."""
_RUN_FOR = 30
"""Seconds until a command of a README is given up; arbitrary, and far more than any should take."""


def refresh(text: str, tree: Sequence[Command]) -> str:
    """Return the text of a README with its blocks made anew.

    Raises:
      ValueError: a block names no command of netlab.
      subprocess.SubprocessError: a command of a block failed.
    """
    return _BLOCK.sub(lambda found: _block(found["line"], found["body"], tree), text)


def _block(line: str, before: str, tree: Sequence[Command]) -> str:
    words = shlex.split(line)[1:]
    if words[-1:] == ["--help"]:
        output = _help(words[:-1], tree)
    else:
        output = _drawn() if words == _RECORDED else _run(words)
    body = f"```console\n$ {line}\n{output.rstrip()}\n```\n"
    return f"<!-- {line} -->\n{before if _shape(before) == _shape(body) else body}<!-- end -->"


def _help(words: Sequence[str], tree: Sequence[Command]) -> str:
    name = words[0] if words else tree[0].name
    for command in tree:
        if command.name == name:
            return command.help
    raise ValueError(f"netlab has no command {name}")


def _drawn() -> str:
    """Draw the recorded calls, ``netlab probe --loopback --trace-file netlab/reference/loopback.jsonl``."""
    from netlab.render.picture.scene import build_scene
    from netlab.render.picture.sequence import draw_sequence
    from netlab.render.picture.tracefile import read_trace

    return "\n".join(draw_sequence(build_scene(read_trace(str(RECORDING))), width=80))


def _run(words: Sequence[str]) -> str:
    env = os.environ | {"COLUMNS": "80", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "netlab", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=env,
        check=True,
        timeout=_RUN_FOR,
    )
    return done.stdout + done.stderr


def _shape(text: str) -> str:
    """Return a text with its numbers masked and its blanks, which give way to longer numbers, made one."""
    return re.sub(r"[ -]{2,}", " ", re.sub(r"[0-9][0-9,.]*", "#", text))
