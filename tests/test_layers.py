"""The layer rules of the project, read from its own source: who may import what, what each layer never does, how long.

Every rule is tried on a line that breaks it, too, so that a rule that has gone blind is seen.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from netlab import socketops
from tests.programs import ROOT, clean_environment

PACKAGE = ROOT / "netlab"

BASE = frozenset({"netlab.errors", "netlab.values", "netlab.endpoint"})
MAY_IMPORT = {
    "netlab": frozenset[str](),
    "netlab.errors": frozenset[str](),
    "netlab.values": frozenset[str](),
    "netlab.parts": frozenset[str](),
    "netlab.endpoint": frozenset({"netlab.parts"}),
    "netlab.explain": BASE,
    "netlab.recordtype": frozenset[str](),
    "netlab.records": frozenset({"netlab.endpoint", "netlab.recordtype"}),
    "netlab.reports": frozenset({"netlab.endpoint", "netlab.records"}),
    "netlab.socketops": BASE | {"netlab.records", "netlab.reports", "netlab.explain"},
    "netlab.render": BASE | {"netlab.records", "netlab.reports", "netlab.explain", "click"},
    "netlab.reference": BASE
    | {"netlab", "netlab.records", "netlab.reports", "netlab.explain", "netlab.socketops", "netlab.render", "click"},
    "netlab.cli": BASE
    | {"netlab", "netlab.records", "netlab.explain", "netlab.socketops", "netlab.render", "netlab.reference"}
    | {"click", "prompt_toolkit"},
}
"""What each layer may import beyond itself and the standard library; a package stands for all that is in it."""

_SOCKETOPS = "netlab.socketops."
PARTS = {
    "tracing": frozenset[str](),
    "talking": frozenset[str](),
    "probing": frozenset({"talking"}),
    "serving": frozenset[str](),
    "faultlab": frozenset({"serving"}),
}
"""Which folders of socketops each of them may import beyond itself; the files outside them import none."""
LATER = {"serving": frozenset({"faultlab"})}
"""Likewise, but in a function's body or for the type checker only."""

CLI_TOP = BASE | {"netlab", "netlab.cli", "click"}
"""What cli may import where it costs every start; all else belongs in the command bodies."""

NEVER_IMPORT = {
    "netlab.socketops": {"logging", "signal", "resource"},
    "netlab.render": {"socket", "_socket"},
    "netlab.explain": {"socket", "_socket"},
}
NEVER_USE = {"netlab.socketops": {"sys.stdout", "sys.stderr", "sys.stdin", "os.environ", "os.environb", "os.getenv"}}
JSON_FLAGS = {"json", "as_json"}
OF_CLICK = {"netlab.render": {"style", "progressbar"}}
MUTABLE_CALLS = {"list", "dict", "set", "bytearray", "deque", "defaultdict", "Counter", "OrderedDict", "Event", "Queue"}

NOT_AT_START = {
    "argparse", "asyncio", "email", "http", "importlib.metadata", "logging", "netlab.records", "netlab.render",
    "netlab.socketops", "prompt_toolkit", "ssl", "urllib.request",
}  # fmt: skip

FILE_LINES = 400
FUNCTION_LINES = 50


@dataclass(frozen=True)
class Import:
    """One imported module, or one name of it (``name``), wherever in the file it stands."""

    module: str
    name: str | None
    line: int
    at_start: bool


class Imports(ast.NodeVisitor):
    """Collect a module's imports; those in a function or under TYPE_CHECKING do not run at start."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.found: list[Import] = []
        self.at_start = True

    def _later(self, nodes: list[ast.stmt]) -> None:
        before, self.at_start = self.at_start, False
        for node in nodes:
            self.visit(node)
        self.at_start = before

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._later(node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._later(node.body)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            self._later(node.body)
            for other in node.orelse:
                self.visit(other)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found += [Import(alias.name, None, node.lineno, self.at_start) for alias in node.names]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        parents = self.package.split(".")
        base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
        module = ".".join(part for part in (base, node.module) if part)
        self.found += [Import(module, alias.name, node.lineno, self.at_start) for alias in node.names]


def layer_of(module: str) -> str:
    """``netlab.render.safe`` is in ``netlab.render``."""
    return ".".join(module.split(".")[:2])


def subject(found: Import) -> str:
    """What an import counts as: its layer in netlab, else its distribution's top module."""
    if found.module == "netlab" and found.name is not None:
        inside = f"netlab.{found.name}"
        return inside if inside in MAY_IMPORT else "netlab"
    return layer_of(found.module) if found.module.startswith("netlab.") else found.module.split(".")[0]


def check_imports(module: str, tree: ast.Module, package: str) -> Iterator[str]:
    if module.endswith("__main__"):
        return
    layer = layer_of(module)
    if layer not in MAY_IMPORT:
        yield f"{module} is in no layer: name it in MAY_IMPORT"
        return
    collected = Imports(package)
    collected.visit(tree)
    for found in collected.found:
        target = subject(found)
        if target in sys.stdlib_module_names:
            if target in NEVER_IMPORT.get(layer, ()):
                yield f"line {found.line}: {layer} never imports {target}"
        elif target not in MAY_IMPORT[layer] | {layer}:
            yield f"line {found.line}: {layer} may not import {target}"
        elif layer == "netlab.cli" and found.at_start and target not in CLI_TOP:
            yield f"line {found.line}: {target} belongs in the command body, not at the top"
        whole = found.module == "click" and found.name is None  # its uses are looked at in check_uses
        if target == "click" and layer in OF_CLICK and not whole and found.name not in OF_CLICK[layer]:
            yield f"line {found.line}: of click {layer} uses only {sorted(OF_CLICK[layer])}"


def part_of(module: str) -> str:
    """``netlab.socketops.serving.talk`` is in ``serving``; what is in no folder is in an empty one."""
    name = module.removeprefix(_SOCKETOPS).split(".")[0] if module.startswith(_SOCKETOPS) else ""
    return name if name in PARTS else ""


def check_parts(module: str, tree: ast.Module, package: str) -> Iterator[str]:
    if not module.startswith(_SOCKETOPS):  # the facade names them all
        return
    part = part_of(module)
    collected = Imports(package)
    collected.visit(tree)
    for found in collected.found:
        home = socketops._HOME.get(found.name or "") if found.module == "netlab.socketops" else None
        target = part_of(f"{found.module}.{home or found.name}")
        may = {"", part} | PARTS.get(part, set()) | (set() if found.at_start else LATER.get(part, set()))
        if target not in may:
            yield f"line {found.line}: {part or 'socketops itself'} may not import {target}"


def check_uses(module: str, tree: ast.Module) -> Iterator[str]:
    layer = layer_of(module)
    never = NEVER_USE.get(layer, set())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            yield f"line {node.lineno}: print; only render shows"
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if text in never:
                yield f"line {node.lineno}: {layer} never uses {text}"
            if layer in OF_CLICK and ast.unparse(node.value) == "click" and node.attr not in OF_CLICK[layer]:
                yield f"line {node.lineno}: of click {layer} uses only {sorted(OF_CLICK[layer])}"
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in never:
                    yield f"line {node.lineno}: {layer} never uses {node.module}.{alias.name}"
        if isinstance(node, ast.If | ast.IfExp) and layer != "netlab.render" and JSON_FLAGS & names_in(node.test):
            yield f"line {node.lineno}: `if json:` outside render"


def names_in(node: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def is_mutable(value: ast.expr | None) -> bool:
    if isinstance(value, ast.Call):
        return ast.unparse(value.func).rpartition(".")[2] in MUTABLE_CALLS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def check_state(module: str, tree: ast.Module) -> Iterator[str]:
    """No module-level state in socketops: a table in capitals is a constant, all else that can change is state."""
    if layer_of(module) != "netlab.socketops":
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield f"line {node.lineno}: global"
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and is_mutable(statement.value):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for name in map(ast.unparse, targets):
                if name != "__all__" and name != name.upper():
                    yield f"line {statement.lineno}: {name} is module-level state"


def check_length(source: str, tree: ast.Module) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines >= FILE_LINES:
        yield f"{lines} lines, {FILE_LINES} is too long for a file"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = span(node)
            if ast.get_docstring(node) is not None:
                length -= span(node.body[0])
            if length >= FUNCTION_LINES:
                yield f"line {node.lineno}: {node.name} has {length} lines, {FUNCTION_LINES} is too long for a function"


def span(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """Return all that a module does against the rules, a line each."""
    tree = ast.parse(source)
    package = module if is_package else module.rpartition(".")[0]
    found = (
        *check_imports(module, tree, package),
        *check_parts(module, tree, package),
        *check_uses(module, tree),
        *check_state(module, tree),
        *check_length(source, tree),
    )
    return list(dict.fromkeys(found))  # one import of many names is one violation


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=module_name)
def test_module_keeps_to_its_layer(path: Path) -> None:
    found = violations(module_name(path), path.read_text("utf-8"), is_package=path.name == "__init__.py")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("netlab.socketops.opening", "import click"),
        ("netlab.socketops.opening", "def f() -> None:\n    from click import echo"),
        ("netlab.socketops.opening", "from netlab import render"),
        ("netlab.socketops.opening", "from netlab.cli import main"),
        ("netlab.socketops.opening", "from ..render import safe"),
        ("netlab.socketops.opening", "import logging.handlers"),
        ("netlab.socketops.opening", "from signal import SIGTERM"),
        ("netlab.socketops.opening", "import resource"),
        ("netlab.socketops.opening", "print('opened')"),
        ("netlab.socketops.opening", "import sys\nsys.stdout.write('opened')"),
        ("netlab.socketops.opening", "from sys import stdout"),
        ("netlab.socketops.opening", "import os\nhome = os.environ['HOME']"),
        ("netlab.socketops.opening", "from os import getenv"),
        ("netlab.socketops.opening", "opened = []"),
        ("netlab.socketops.opening", "_seen: dict[str, int] = {}"),
        ("netlab.socketops.opening", "import threading\nstopping = threading.Event()"),
        ("netlab.socketops.opening", "def f() -> None:\n    global count\n    count = 1"),
        ("netlab.socketops.opening", "from netlab.socketops.serving.talk import Talk"),
        ("netlab.socketops.opening", "from netlab.socketops import serving"),
        ("netlab.socketops.opening", "from netlab.socketops import serve_threaded"),
        ("netlab.socketops.opening", "def f() -> None:\n    from .probing import evidence"),
        ("netlab.socketops.serving.talk", "from netlab.socketops.faultlab.faults import Faults"),
        ("netlab.socketops.serving.talk", "def f() -> None:\n    import netlab.socketops.talking.load"),
        ("netlab.socketops.talking.load", "from ..probing import evidence"),
        ("netlab.render.text", "import socket"),
        ("netlab.render.text", "def f() -> None:\n    from socket import AF_INET"),
        ("netlab.render.text", "from click import echo"),
        ("netlab.render.text", "import click\nclick.secho('open')"),
        ("netlab.render.text", "import click.termui"),
        ("netlab.render.text", "from netlab.socketops import stop"),
        ("netlab.explain", "import socket"),
        ("netlab.explain", "import click"),
        ("netlab.explain", "import netlab.records"),
        ("netlab.errors", "import netlab.endpoint"),
        ("netlab.values", "from netlab.errors import UsageError"),
        ("netlab.records", "from netlab.errors import NetlabError"),
        ("netlab.reference.man", "from netlab.cli import main"),
        ("netlab.cli.probe", "from netlab import socketops"),
        ("netlab.cli.probe", "import netlab.records"),
        ("netlab.cli.probe", "import prompt_toolkit"),
        ("netlab.cli.probe", "import requests"),
        ("netlab.cli.probe", "def probe(json: bool) -> None:\n    if json:\n        pass"),
        ("netlab.attic", "import os"),
        ("netlab.endpoint", "\n" * FILE_LINES),
        ("netlab.endpoint", "def f() -> None:\n" + "    pass\n" * FUNCTION_LINES),
    ],
)
def test_each_rule_sees_what_breaks_it(module: str, line: str) -> None:
    assert violations(module, line)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("netlab.socketops.opening", "import socket, sys, os\nfrom netlab.records import Emit\nTABLE = {1: 2}"),
        ("netlab.socketops.opening", "from netlab import explain\n__all__ = ['f']"),
        ("netlab.socketops", "from .opening import listen"),
        ("netlab.socketops", "from .serving.talk import Talk"),
        ("netlab.socketops.serving.talk", "def f() -> None:\n    from netlab.socketops.faultlab import faults"),
        ("netlab.socketops.faultlab.faults", "from netlab.socketops.serving.replies import Reply"),
        ("netlab.socketops.probing.loopback", "from netlab.socketops import talking, opening"),
        ("netlab.explain.icmp", "from netlab.explain import errnos"),
        ("netlab.render.text", "import click\nclick.style('open')"),
        ("netlab.cli.probe", "import click\ndef probe() -> None:\n    from netlab import socketops"),
        ("netlab.cli.probe", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from netlab import records"),
        ("netlab.__main__", "from netlab.cli import main"),
        ("netlab.endpoint", 'def f() -> None:\n    """Say.\n' + "\n" * FUNCTION_LINES + '    """'),
    ],
)
def test_what_is_allowed_is_not_refused(module: str, line: str) -> None:
    assert violations(module, line, is_package=module == "netlab.socketops") == []


def test_start_loads_no_heavy_module() -> None:
    # Each command is imported when it is asked for, as --help does.
    script = (
        "import sys, click; before = set(sys.modules); from netlab.cli import cli; ctx = click.Context(cli); "
        "[cli.get_command(ctx, name) for name in cli.list_commands(ctx)]; print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=clean_environment(), capture_output=True, text=True, check=False, timeout=10
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert {"netlab.cli", "netlab.cli.probe", "netlab.cli.serve_udp"} <= loaded
    assert not NOT_AT_START & loaded


def test_every_folder_of_socketops_has_its_rule() -> None:
    assert {path.parent.name for path in (PACKAGE / "socketops").glob("*/__init__.py")} == set(PARTS)


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=module_name)
def test_tests_never_sleep(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func).rpartition(".")[2] != "sleep", f"line {node.lineno}: wait for an event"


def test_lazy_facade_is_what_the_type_checker_sees() -> None:
    """The facade of socketops names its files twice: for the checker, and for the import on first use."""
    tree = ast.parse((PACKAGE / "socketops" / "__init__.py").read_text())
    [checked] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module.removeprefix("netlab.socketops.")
        for node in checked.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    assert seen == socketops._HOME
    assert sorted(seen) == sorted(socketops.__all__) == dir(socketops)
    for name in socketops.__all__:
        assert getattr(socketops, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        socketops.no_such_name  # noqa: B018 - the look-up is what is tried
