"""What is made from the commands: that the files are what would be made now, and the facts that they are made of."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from netlab.cli import cli
from netlab.cli.command import Command
from netlab.cli.options import option, output_options, where_options
from netlab.reference import tree
from netlab.reference.completion import SHELLS, completion_script
from netlab.reference.files import COMMAND, drifted, generated_files
from netlab.reference.readme import refresh
from netlab.reference.tree import read_tree
from tests.programs import ROOT, clean_environment
from tests.shells import Shell

TREE = read_tree(cli)
OWN_WORDS = {"DURATION", "SIZE", "N", "TEXT", "WORD", "REGEX", "OCTAL", "FD", "RATE"}
"""Metavars of what only the user knows."""

[PROBE] = [command for command in TREE if command.name == "probe"]


def test_generated_files_are_what_would_be_made_now() -> None:
    found = [str(path.relative_to(ROOT)) for path, _ in drifted(ROOT, cli)]
    assert not found, f"{', '.join(found)}: not what the commands say now.  To write them anew: {COMMAND}"


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    """A copy of the source tree, to be changed; its generated files are new."""
    for name in ("netlab", "man", "completions"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    run(tmp_path)
    return tmp_path


def run(place: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "netlab.reference", *args],
        env=clean_environment({"PYTHONPATH": str(place)}), cwd=place,
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip


def test_check_names_what_differs_and_the_command(source_tree: Path) -> None:
    (source_tree / "man/netlab-send.1").write_text("older\n")
    (source_tree / "completions/netlab.fish").unlink()
    checked = run(source_tree, "--check")
    assert checked.returncode == 1
    assert checked.stdout.splitlines() == ["differs: completions/netlab.fish", "differs: man/netlab-send.1"]
    assert COMMAND in checked.stderr
    assert not (source_tree / "completions/netlab.fish").exists()
    written = run(source_tree)
    assert (written.returncode, written.stdout.count("written: ")) == (0, 2)
    again = run(source_tree, "--check")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_a_changed_option_is_seen(source_tree: Path) -> None:
    options = source_tree / "netlab/cli/options.py"
    options.write_text(options.read_text().replace('"--hexdump"', '"--hexadecimal", "hexdump"'))
    changed = {line.removeprefix("differs: ") for line in run(source_tree, "--check").stdout.splitlines()}
    assert {"completions/netlab.bash", "completions/_netlab", "completions/netlab.fish"} < changed
    assert {"man/netlab-send.1", "man/netlab-chat.1", "man/netlab-serve-tcp.1"} < changed


def test_no_place_is_left_open() -> None:
    for path, text in generated_files(ROOT, cli):
        if path.suffix != ".md":
            assert not re.search(r"@[A-Z_]+@", text), path


def test_nothing_depends_on_the_width_of_the_terminal(source_tree: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "netlab.reference", "--check"],
        env=clean_environment({"PYTHONPATH": str(source_tree), "COLUMNS": "40", "LC_ALL": "C", "FORCE_COLOR": "1"}),
        cwd=source_tree, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_the_tree_has_what_a_run_would_have() -> None:
    assert [command.name for command in TREE] == ["netlab", *cli.commands]
    by_name = {name: found for found in PROBE.options for name in found.names}
    assert by_name["-H"].variable == "NETLAB_PROBE_HOST"
    assert by_name["-h"].variable is None
    assert by_name["--ok-if"].kind == "list"
    assert by_name["-q"].is_flag
    assert by_name["--set"].repeatable
    assert [(argument.metavar, argument.kind, argument.repeatable) for argument in PROBE.arguments] == [
        ("TARGET", "target", True)
    ]


@pytest.mark.parametrize("command", TREE[1:], ids=lambda command: command.name)
def test_help_says_what_a_command_does_in_two_lines(command: tree.Command) -> None:
    lines = command.help.splitlines()
    assert lines[0].startswith(f"Usage: netlab {command.name} ")
    about = lines[2 : lines.index("", 2)]
    assert 1 <= len(about) <= 2
    assert max(map(len, lines)) <= 80


def group_with(*names: str, **attrs: Any) -> click.Group:
    """A group of two commands that share their options but one, which ``other`` has as given."""

    @click.group()
    def group() -> None:
        """Do."""

    @group.command("one", cls=Command)
    @where_options("stream")
    @output_options("Less.")
    def one() -> None:
        """Do one."""

    @group.command("other", cls=Command)
    @option(*names, section="What", **attrs)
    def other() -> None:
        """Do the other."""

    return group


def test_completion_knows_every_kind_of_value() -> None:
    for command in TREE:
        for found in command.options:
            assert found.kind != "text" or found.metavar in OWN_WORDS, (
                f"{command.name} {found.name} {found.metavar}: if netlab.reference.tree can offer nothing for such a "
                "value, name it in OWN_WORDS"
            )


def test_an_option_with_a_value_here_and_none_there_is_refused() -> None:
    found = read_tree(group_with("--json", metavar="TEXT"))
    with pytest.raises(ValueError, match="--json takes a value in one command and none in another"):
        completion_script("bash", found)


@pytest.mark.parametrize("name", SHELLS)
def test_help_texts_are_quoted_for_the_shell(name: str, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    require_tool(name)
    odd = """It's $(touch pwned) `touch pwned`: [a] \\ "b" {c,d} %e"""
    script = tmp_path / "script"
    script.write_text(completion_script(name, read_tree(group_with("--odd", metavar="TEXT", help=f"{odd}."))))
    with Shell(name, tmp_path, f"source {script}") as shell:
        assert shell.complete("netlab other --od").line.rstrip(" =") == "netlab other --odd"
        shown = shell.complete("netlab other --").shown
    assert name == "bash" or odd in shown
    assert not (tmp_path / "pwned").exists()


README = """\
before
<!-- netlab probe --help -->
older
<!-- end -->
between `<!-- no block -->`
<!-- netlab --version -->
```console
$ netlab --version
netlab 7.77.777
```
<!-- end -->
after
"""


def test_a_block_of_help_is_made_anew() -> None:
    text = refresh(README, TREE)
    assert f"<!-- netlab probe --help -->\n```console\n$ netlab probe --help\n{PROBE.help}\n```\n<!-- end -->\n" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert refresh(text, TREE) == text


def test_other_numbers_are_no_reason_to_change_a_block() -> None:
    assert "netlab 7.77.777\n" in refresh(README, TREE)
    assert "netlab 0.1.0\n" in refresh(README.replace("netlab 7.77.777", "nothing"), TREE)


def test_a_block_of_no_command_is_refused() -> None:
    with pytest.raises(ValueError, match="netlab has no command cook"):
        refresh("<!-- netlab cook --help -->\n<!-- end -->", TREE)
