"""Markdown of what was found: medians, and in brackets how many times the first row's they are."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
import textwrap
from collections.abc import Mapping, Sequence

from tests.benchmarks.measuring import Sample, Table

__all__ = ["PEERS", "Found", "machine", "table"]

Found = Mapping[str, Mapping[str, Sequence[Sample]]]
"""Samples by case and row."""

PEERS = {
    "ncat": ("ncat", "--version"),
    "nc": ("nc", "-h"),
    "socat": ("socat", "-V"),
    "iperf3": ("iperf3", "--version"),
    "nmap": ("nmap", "--version"),
    "uvloop": ("{python}", "-c", "import uvloop; print('version', uvloop.__version__)"),
}
"""Programs that need not be there, and what makes them say their version."""


def table(found: Found, shape: Table) -> str:
    """Return a table of the cases that were run; empty if none was."""
    cases = [case for case in shape.cases if case.name in found]
    rows = [row for row in shape.rows if any(found[case.name].get(row) for case in cases)]
    if not rows:
        return ""
    cells = [[shape.title, *(case.heading for case in cases)]]
    for row in rows:
        columns = [found[case.name] for case in cases]
        cells.append([row, *(_cell(samples.get(row, ()), samples.get(rows[0], ())) for samples in columns)])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = "{:<" + str(widths[0]) + "}"
    shape_of_line = "| " + " | ".join([left, *(f"{{:>{width}}}" for width in widths[1:])]) + " |"
    lines = [shape_of_line.format(*line) for line in cells]
    lines.insert(1, "|" + "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])]) + "|")
    return "\n".join([*lines, "", textwrap.fill(shape.caption, 100)])


def _cell(samples: Sequence[Sample], reference: Sequence[Sample]) -> str:
    if not samples:
        return "-"
    value = median(samples)
    ratio = f" ({value / median(reference):.2f})" if reference and median(reference) else ""
    return _short(value) + ratio


def median(samples: Sequence[Sample]) -> float:
    """Return the median of the figures that are shown."""
    return statistics.median(sample["value"] for sample in samples)


def _short(value: float) -> str:
    """Return a figure with two or three digits that count."""
    for least, scale, unit, digits in (
        (1e6, 1e6, "M", 2), (1e4, 1e3, "k", 0), (100, 1, "", 0), (10, 1, "", 1), (0, 1, "", 2),
    ):  # fmt: skip
        if value >= least:
            return f"{value / scale:.{digits}f}{unit}"
    return f"{value:.2f}"


def machine(python: str) -> dict[str, str]:
    """Return what was measured on, and with which versions; empty for a peer that is not installed."""
    facts = {
        "Linux": ".".join(platform.release().split(".")[:2]),
        "cores": str(len(os.sched_getaffinity(0))),
        "Python": platform.python_version(),
    }
    return facts | {name: _version([word.format(python=python) for word in words]) for name, words in PEERS.items()}


def _version(argv: Sequence[str]) -> str:
    if shutil.which(argv[0]) is None:
        return ""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    pattern = r"(?:version|iperf|patchlevel|\[v)\D*(\d+\.[\w.+-]*\w)"
    number = re.search(pattern, done.stdout + done.stderr, re.IGNORECASE)
    if number:
        return number[1]
    return "" if done.returncode else "of an unknown version"
