"""Which files of the source tree are generated, and what they should hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from netlab.reference.completion import FILES, completion_script
from netlab.reference.man import man_pages
from netlab.reference.readme import refresh
from netlab.reference.tree import read_tree

__all__ = ["COMMAND", "drifted", "generated_files"]

COMMAND = "python -m netlab.reference"
"""What writes them all anew."""


def generated_files(root: Path, group: click.Group) -> Iterator[tuple[Path, str]]:
    """Give each generated file of the source tree at ``root`` with its text."""
    tree = read_tree(group)
    for shell, name in FILES.items():
        yield root / "completions" / name, completion_script(shell, tree)
    for name, text in man_pages(tree).items():
        yield root / "man" / name, text
    for name in ("README.md", "README.zh-CN.md"):
        path = root / name
        if path.exists():
            yield path, refresh(path.read_text("utf-8"), tree)


def drifted(root: Path, group: click.Group) -> list[tuple[Path, str]]:
    """Return the generated files that are missing or hold something else, with what they should hold."""
    return [
        (path, text)
        for path, text in generated_files(root, group)
        if not path.exists() or path.read_text("utf-8") != text
    ]
