"""The man pages: clean to two readers of mdoc, complete against the commands, and right when they are shown."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from collections.abc import Callable
from typing import TypeVar

import pytest

from netlab import __version__, errors, records, reports
from netlab.cli import cli
from netlab.cli.terminal import COMMANDS
from netlab.explain import VERDICT_STATUS
from netlab.explain.connecting import CONNECT
from netlab.explain.sockets import BIND, STREAM
from netlab.reference.man import man_pages
from netlab.reference.tree import Command, read_tree
from tests.programs import ROOT, Netlab, StartProgram, clean_environment, run_netlab

T = TypeVar("T")
TREE = read_tree(cli)
PAGES = sorted(man_pages(TREE))


def source(command: Command) -> str:
    """The text of a command's page without the escapes that only a reader of mdoc needs."""
    name = "netlab" if command is TREE[0] else f"netlab-{command.name}"
    return (ROOT / "man" / f"{name}.1").read_text("utf-8").replace(r"\-", "-").replace(r"\&", "").replace(r"\%", "")


def shown(page: str, *, tool: str) -> str:
    """A page as a reader sees it in 100 columns."""
    argv = ["man", "--local-file"] if tool == "man" else ["mandoc", "-Tutf8", "-Owidth=100"]
    done = subprocess.run(
        [*argv, str(ROOT / "man" / page)],
        env=clean_environment({"MANWIDTH": "100", "MAN_KEEP_FORMATTING": ""}),
        capture_output=True, text=True, check=True, timeout=10,
    )  # fmt: skip
    return re.sub(r".\x08", "", done.stdout)


@pytest.mark.parametrize("page", PAGES)
def test_mandoc_finds_nothing(page: str, require_tool: Callable[[str], str]) -> None:
    done = subprocess.run(
        [require_tool("mandoc"), "-Tlint", "-Wwarning", str(ROOT / "man" / page)],
        env=clean_environment(), capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    # Whether a page that is referred to is installed here is no matter of ours.
    found = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if "outdated mandoc.db" not in line]
    assert (done.returncode, found) == (0, [])


@pytest.mark.parametrize("page", PAGES)
def test_man_finds_nothing(page: str, require_tool: Callable[[str], str]) -> None:
    done = subprocess.run(
        [require_tool("man"), "--warnings", "--local-file", "-Tutf8", "--ditroff", str(ROOT / "man" / page)],
        env=clean_environment({"MANWIDTH": "80"}), capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", TREE, ids=lambda command: command.name)
def test_every_option_and_its_variable_are_in_the_page(command: Command) -> None:
    text = source(command)
    for option in command.options:
        for name in option.names:
            value = "" if option.metavar is None else " Ar "
            assert re.search(rf"^\.It .*\bFl {re.escape(name[1:])}{value}", text, re.MULTILINE), name
        if option.variable:
            assert f".It Ev {option.variable}\n" in text


def test_every_command_has_a_page_and_a_place_in_the_first() -> None:
    assert {path.name for path in (ROOT / "man").iterdir()} == set(PAGES)
    for command in TREE[1:]:
        assert f".It Xr netlab-{command.name} 1\n" in source(TREE[0])


def subclasses(kind: type[T]) -> list[type[T]]:
    return [found for direct in kind.__subclasses__() for found in (direct, *subclasses(direct))]


def test_every_status_is_in_the_first_page() -> None:
    statuses = {kind.status for kind in subclasses(errors.NetlabError)} | {0, errors.BUG, errors.INTERRUPTED}
    listed = source(TREE[0]).partition(".Sh EXIT STATUS")[2].partition(".Sh")[0]
    assert [int(number) for number in re.findall(r"^\.It (\d+)$", listed, re.MULTILINE)] == sorted(statuses)


def test_every_key_of_every_record_is_in_the_first_page() -> None:
    listed = source(TREE[0]).partition(".Sh JSON KEYS")[2].partition(".Sh")[0]
    for kind in subclasses(records.Record):
        if kind.__module__ not in (records.__name__, reports.__name__) or not kind.event:
            continue
        entries = [part for part in listed.split("\n.It Cm ") if part.startswith(f"{kind.event}\n")]
        names = {field.name for field in dataclasses.fields(kind)} - {"time"}
        assert any(names <= set(re.findall(r"^\.Cm (\S+)", entry, re.MULTILINE)) for entry in entries), kind


def test_every_verdict_and_errno_that_netlab_explains_is_there() -> None:
    [probe] = [command for command in TREE if command.name == "probe"]
    for verdict in VERDICT_STATUS:
        assert f".It Cm {verdict}\n" in source(probe)
    first = source(TREE[0])
    for key in [*CONNECT, *BIND, *STREAM]:
        name = key.split()[1]
        if name.isupper():
            assert f".It Er {name} " in first


def test_the_page_of_chat_knows_its_slash_commands() -> None:
    [chat] = [command for command in TREE if command.name == "chat"]
    assert {f"/{name.split()[0]}" for name in COMMANDS} <= set(
        re.findall(r"^\.It Ic (/\w+)", source(chat), re.MULTILINE)
    )


@pytest.mark.parametrize("tool", ["man", "mandoc"])
@pytest.mark.parametrize("command", TREE[1:], ids=lambda command: command.name)
def test_examples_can_be_copied_from_what_is_shown(
    command: Command, tool: str, require_tool: Callable[[str], str]
) -> None:
    require_tool(tool)
    lines = [line.strip() for line in shown(f"netlab-{command.name}.1", tool=tool).splitlines()]
    assert command.examples
    for example in command.examples:
        assert example in lines


@pytest.mark.parametrize("tool", ["man", "mandoc"])
def test_options_can_be_copied_from_what_is_shown(tool: str, require_tool: Callable[[str], str]) -> None:
    require_tool(tool)
    for command in TREE:
        page = "netlab.1" if command is TREE[0] else f"netlab-{command.name}.1"
        text = shown(page, tool=tool)
        for option in command.options:
            assert all(name in text for name in option.names)


def test_the_version_is_in_every_page() -> None:
    for command in TREE:
        assert f"\n.Os netlab {__version__}\n" in source(command)


def events(lines: bytes) -> set[str]:
    return {json.loads(line)["event"] for line in lines.splitlines()}


@pytest.mark.slow
def test_the_events_of_a_real_run_are_in_the_pages(start_server: StartProgram, netlab_here: Netlab) -> None:
    came: dict[str, set[str]] = {}
    for name in ("serve-tcp", "serve-threaded", "serve-udp"):
        server = start_server(name, "--json")
        runs = {
            "send": [
                ["hello", "--set", "SO_KEEPALIVE=1"],
                ["hello", "-c", "3"],
                ["hello", "--expect", "no", "-w", "0.1"],
            ],
            "chat": [["--set", "SO_KEEPALIVE=1"]],
            "probe": [[], ["--options", "--tcp-info"], ["-c", "2", "-i", "1ms"]],
        }
        for client, options in runs.items():
            for words in options:
                if client == "chat":
                    done = run_netlab(client, server.endpoint, *words, "--json", input="hello\n")
                else:
                    done = netlab_here(client, server.endpoint, *words, "--json")
                came.setdefault(client, set()).update(events(done.stdout))
        came[name] = events(server.stop().stdout)
    came["probe"] |= events(netlab_here("probe", "--loopback", "--json").stdout)
    for command in TREE[1:]:
        listed = source(command).partition(".Sh JSON KEYS")[2].partition(".Sh")[0]
        assert came[command.name] <= set(re.findall(r"^\.Cm (\w+)", listed, re.MULTILINE)), command.name
