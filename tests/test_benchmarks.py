"""The benchmarks: that every case can be run, and that what comes out is a table.  No figure is judged here."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import CASES, main
from tests.benchmarks.cases import MORE, TABLES
from tests.benchmarks.measuring import Bench, Case
from tests.benchmarks.tables import table


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("PATH", "")  # no compiler, so that nothing is built
    return Bench(tmp_path, seconds=0.05, size=1 << 20, python="python")


def test_cases_have_names_of_their_own() -> None:
    assert sum(len(shape.cases) for shape in (*TABLES, *MORE)) == len(CASES)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_commands_of_a_case_are_whole(case: Case, bench: Bench) -> None:
    for program in case.programs.values():
        assert shlex.split(program.command.format(port=1, **bench.names))
        assert shlex.split(program.server.format(port=1, **bench.names)) or not program.server


@pytest.mark.parametrize("shape", [*TABLES, *MORE], ids=lambda shape: shape.title)
def test_each_column_has_a_figure_to_be_compared_with(shape: object) -> None:
    assert all(shape.rows[0] in case.programs for case in shape.cases)  # type: ignore[attr-defined]


def test_a_table_says_how_many_times_the_first_row_s_figure_another_is() -> None:
    shape = next(shape for shape in TABLES if shape.title == "Calls")
    found = {
        "trace-unix": {
            "plain socket": [{"value": 1.0}, {"value": 400.0}, {"value": 500.0}],
            "--trace on": [{"value": 1e4}],
        }
    }
    lines = table(found, shape).splitlines()
    assert lines[:4] == [
        "| Calls        |    unix, ns |",
        "|--------------|------------:|",
        "| plain socket |  400 (1.00) |",
        "| --trace on   | 10k (25.00) |",
    ]


def test_what_is_asked_wrongly_is_told_before_anything_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["start-up", "--json", "/nowhere/found.json"], "no file can be made in /nowhere"),
        (["no-such-case"], "invalid choice: 'no-such-case'"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(words)
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_a_case_runs_and_prints_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], require_tool: Callable[[str], str]
) -> None:
    require_tool("cc")
    require_tool("taskset")
    main(["echo-1", "--rounds", "1", "--seconds", "0.02", "--json", str(tmp_path / "found.json")])
    printed = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in printed.splitlines() if line.startswith("| ")]
    assert {"C, a thread a client", "serve-threaded", "serve-tcp --concurrent", "serve-tcp"} <= set(rows)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["cases"]["echo-1"]["serve-tcp"][0]["ops"] > 0


def test_what_cannot_be_measured_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "")
    main(["start-up", "echo-1", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "no C compiler (cc, gcc or clang) to build the load generator: no echo-1\n" in printed
    assert "not installed: ncat\n" in printed
    assert "| netlab" in printed


def test_a_compiler_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'ld: no such file' >&2; exit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    main(["start-up", "echo-1", "--rounds", "1"])
    assert "cc cannot build the load generator (ld: no such file): no echo-1\n" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="cc cannot build"):
        main(["endurance", "--minutes", "0"])
