"""Whether the servers stay as they are: ``python -m tests.benchmarks endurance [--minutes 10]``.

All servers run from start to end and take the same mixed loads in turn.  Whenever the clients of a load have gone, each
server's memory, descriptors and threads are looked at; the last quarter of the looks is compared with the second, for
the first is warming up.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.measuring import PAUSE, Bench, Failed, memory, raise_limits

__all__ = ["endure"]

ONE = (("rr", 1, 64), ("crr", 1, 64), ("bulk", 1, 65536), ("sink", 1, 65536), ("idle", 1, 64))
MANY = (("rr", 50, 64), ("crr", 50, 64), ("bulk", 4, 65536), ("sink", 4, 65536), ("idle", 300, 64), ("rr", 300, 1000))
PEERS = (("udprr", 1, 64), ("udprr", 50, 1000), ("udpsink", 1, 64))
SERVERS = {
    "serve-tcp": ("serve-tcp --backlog 4096", ONE),
    "serve-tcp --concurrent": ("serve-tcp --concurrent --max-clients 0", MANY),
    "serve-threaded": ("serve-threaded --max-clients 0", MANY),
    "serve-threaded --quiet": ("serve-threaded --quiet --max-clients 0", MANY),
    "serve-udp": ("serve-udp", PEERS),
    "serve-udp --quiet": ("serve-udp --quiet", PEERS),
}
"""By name: the command, and the loads (mode, clients, size).  A sink does not read its echo, and so ends in a reset."""
GROWTH = 4096
"""kB that a server may grow between the two quarters and be called flat: the allocator takes memory in steps, the later
the rarer.  A leak of 10 bytes for each connection would come to more."""
SETTLED = 0.3
"""Seconds after which what was closed is gone, and threads with it."""

Look = tuple[int, int, int]
"""kB of memory, descriptors, threads."""


def endure(argv: Sequence[str]) -> None:
    """Run the loads and print what became of each server; the status is 1 if one is not flat."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each load")
    options = parser.parse_args(argv)
    raise_limits()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        bench = Bench(Path(folder), seconds=options.seconds, size=0, python="")
        if bench.lack:
            raise SystemExit(bench.lack)
        servers = {}
        for name, (words, _) in SERVERS.items():
            command = f"sh -c 'exec {{netlab}} {words} --reply echo -p {{port}} >/dev/null'"
            servers[name] = stack.enter_context(bench.server(command))
        looks, failures = take_looks(bench, servers, time.monotonic() + options.minutes * 60)
        if not show(looks, failures):
            raise SystemExit(1)


def take_looks(
    bench: Bench, servers: dict[str, tuple[int, int]], end: float
) -> tuple[dict[str, list[Look]], list[str]]:
    """Give each server its loads, over and over, and look at it after each round."""
    looks: dict[str, list[Look]] = {name: [] for name in servers}
    failures = []
    while time.monotonic() < end:
        for name, (pid, port) in servers.items():
            for mode, clients, size in SERVERS[name][1]:
                try:
                    bench.run(f"{{load}} {mode} {port} {clients} {bench.seconds} {size}")
                except Failed as exc:
                    failures.append(f"{name}, {mode} {clients}: {exc}")
            PAUSE.wait(SETTLED)
            looks[name].append(look(pid))
    return looks, failures


def look(pid: int) -> Look:
    return memory(pid), len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def show(looks: dict[str, list[Look]], failures: Sequence[str]) -> bool:
    """Print a table; return whether all is flat and nothing failed."""
    print("| server | rounds | memory, kB | descriptors | threads | |")
    print("|---|---:|---:|---:|---:|---|")
    are_flat = True
    for name, all_looks in looks.items():
        quarter = max(len(all_looks) // 4, 1)
        early, late = (
            [statistics.median(column) for column in zip(*part, strict=True)]
            for part in (all_looks[quarter : 2 * quarter] or all_looks[:quarter], all_looks[-quarter:])
        )
        is_flat = late[0] - early[0] <= GROWTH and late[1:] == early[1:]
        are_flat = are_flat and is_flat
        cells = " | ".join(f"{before:.0f} to {after:.0f}" for before, after in zip(early, late, strict=True))
        print(f"| {name} | {len(all_looks)} | {cells} | {'flat' if is_flat else 'NOT FLAT'} |")
    for failure in dict.fromkeys(failures):
        print(f"failed: {failure}")
    return are_flat and not failures
