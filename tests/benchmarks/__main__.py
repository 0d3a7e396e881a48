"""How fast netlab is beside others: ``python -m tests.benchmarks [CASE ...]``, on Linux.

Each case is one question, put to several programs in turn, each started afresh, in several rounds.  Shown are medians,
and in brackets how many times the first row's they are: only ratios within one column count, and what differs by less
than a tenth is a tie.  The load generator, and the servers that are the limit of what is possible, are built from C.
``endurance`` instead of a case loads the servers for ten minutes, and says whether they stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.cases import MORE, TABLES
from tests.benchmarks.endurance import endure
from tests.benchmarks.measuring import Bench, Case, Failed, Program, Sample, raise_limits
from tests.benchmarks.tables import PEERS, machine, table

CASES = {case.name: case for shape in (*TABLES, *MORE) for case in shape.cases}


def main(argv: Sequence[str] | None = None) -> None:
    """Run the cases that are asked for, and print what came out."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["endurance"]:
        endure(words[1:])
        return
    options = arguments(words)
    raise_limits()
    facts = machine(options.python)
    with tempfile.TemporaryDirectory(dir=fast_folder(options.size)) as folder:
        bench = Bench(Path(folder), seconds=options.seconds, size=options.size << 20, python=options.python)
        cases = [CASES[name] for name in options.cases]
        notes = absences(cases, facts, bench)
        cases = [case for case in cases if not (bench.lack and case.needs_c)]
        found: dict[str, dict[str, list[Sample]]] = {case.name: {} for case in cases}
        for number in range(options.rounds):
            for case in cases:
                progress(f"round {number + 1} of {options.rounds}: {case.name}")
                notes += take_turns(bench, case, facts, found[case.name])
        progress("")
    notes = list(dict.fromkeys(notes))
    show(found, facts, options.rounds, notes)
    if options.json:
        said = {"machine": facts, "rounds": options.rounds, "notes": notes, "cases": found}
        options.json.write_text(json.dumps(said, indent=1) + "\n")


FULL = {"rounds": 5, "seconds": 0.3, "size": 1024, "cases": list(CASES)}
QUICK = {"rounds": 1, "seconds": 0.3, "size": 256, "cases": [case.name for shape in TABLES for case in shape.cases]}


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", choices=[[], *CASES], help=f"of {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="one minute instead of ten: what the README quotes, once")
    parser.add_argument("--rounds", type=int, help="5 (--quick: 1)")
    parser.add_argument("--seconds", type=float, help="of each load: 0.3")
    parser.add_argument("--size", type=int, help="MiB of the file that is sent: 1024 (--quick: 256)")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the Python peers, for uvloop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    options = parser.parse_args(argv)
    if options.json and not os.access(options.json.parent, os.W_OK):  # better now than after ten minutes
        parser.error(f"no file can be made in {options.json.parent}")
    usual = QUICK if options.quick else FULL
    for name, value in usual.items():
        if not getattr(options, name):
            setattr(options, name, value)
    return options


def progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:40}\r", end="", file=sys.stderr, flush=True)


def fast_folder(size: int) -> str | None:
    """Return a folder in memory, where there is room for the file."""
    memory = "/dev/shm"
    if not os.path.isdir(memory):
        return None
    room = os.statvfs(memory)
    return memory if room.f_bavail * room.f_frsize > size << 21 else None


def absences(cases: Sequence[Case], facts: dict[str, str], bench: Bench) -> list[str]:
    """Say what cannot be measured here."""
    notes = [f"not installed: {name}" for name in PEERS if not facts[name]]
    unmeasured = [case.name for case in cases if case.needs_c]
    if bench.lack and unmeasured:
        notes.append(f"{bench.lack}: no {', '.join(unmeasured)}")
    return notes


def take_turns(bench: Bench, case: Case, facts: dict[str, str], found: dict[str, list[Sample]]) -> list[str]:
    """Take one sample of each program, in any order: each may suffer from the one before; return what failed."""
    notes = []
    for row, program in random.sample(list(case.programs.items()), len(case.programs)):
        if not all(facts[name] for name in PEERS if is_of(program, name)):
            continue
        samples = found.setdefault(row, [])
        try:
            started = time.monotonic()
            samples.append(case.measure(bench, program) | {"took_s": time.monotonic() - started})
        except Failed as exc:
            notes.append(f"failed: {case.name}, {row}: {exc}")
    return notes


def is_of(program: Program, peer: str) -> bool:
    """Tell whether a program needs a peer."""
    words = program.command.split()
    return words[0] == peer or (words[0] == "{peer}" and words[1].startswith(peer))


def show(found: dict[str, dict[str, list[Sample]]], facts: dict[str, str], rounds: int, notes: Sequence[str]) -> None:
    """Print the tables: first, between two marks, what the README quotes."""
    versions = ", ".join(f"{name} {version}" for name, version in facts.items() if version and name != "cores")
    medians = f"Medians of {rounds} round{'s' * (rounds > 1)}; in brackets: times the first row."
    print("<!-- benchmarks -->", textwrap.fill(f"{facts['cores']} cores; {versions}.  {medians}", 100), sep="\n")
    for shapes, end in ((TABLES, "<!-- end -->"), (MORE, "")):
        for text in filter(None, (table(found, shape) for shape in shapes)):
            print(f"\n{text}")
        if end:
            print(end)
    load = Path("/proc/loadavg").read_text().split()[0]
    print("\n" + "\n".join([*notes, f"load average at the end: {load}"]))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that nothing stays behind
    main()
