"""How fast netlab's servers are beside others: ``python -m tests.benchmarks.servers [--rounds N] [CASE ...]``.

Each case is one question.  All its servers run one after the other in every round, each started afresh, and the
figures are medians over the rounds: only ratios within one case count, and what differs by less than a tenth is a tie.
The load generator (load.c, built with cc) compares every byte that comes back.  ``same core`` keeps server and
generator on one CPU, which prices the software; elsewhere the scheduler is free.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.programs import ROOT, clean_environment

HERE = Path(__file__).parent
SECONDS = "0.4"
PAUSE = threading.Event()
"""Never set: waiting for it is waiting."""
NETLAB = (sys.executable, "-m", "netlab")
PEER = (sys.executable, "-m", "tests.benchmarks.peers")
THREADED = (*NETLAB, "serve-threaded", "--max-clients", "0", "-p")
LOOP = (*NETLAB, "serve-tcp", "--concurrent", "--max-clients", "0", "-p")
ITERATIVE = (*NETLAB, "serve-tcp", "--backlog", "4096", "-p")
UDP = (*NETLAB, "serve-udp", "-p")
ECHO = ("--reply", "echo", "--quiet")
PEERS: dict[str, tuple[str, ...]] = {"asyncio": (*PEER, "asyncio"), "socketserver": (*PEER, "socketserver")}
if importlib.util.find_spec("uvloop"):
    PEERS["uvloop"] = (*PEER, "uvloop")
ACKS = {"textbook": "Message received"}
"""What a server answers that is neither netlab's acknowledgement nor an echo."""


Servers = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
"""By name: the words of a command before the port, and those after it."""


@dataclass(frozen=True)
class Case:
    """One load, and the servers that take it."""

    load: tuple[str, ...]
    servers: Servers
    same_core: bool = False
    acks: bool = False


def echoes(*names: str) -> Servers:
    """Return servers that echo, by name."""
    known: Servers = {"threaded": (THREADED, ECHO), "concurrent": (LOOP, ECHO), "serve-tcp": (ITERATIVE, ECHO)}
    known |= {name: (words, ()) for name, words in PEERS.items()}
    return {name: known[name] for name in names if name in known}


MANY = ("threaded", "concurrent", "socketserver", "asyncio", "uvloop")
LOGS: Servers = {"threaded": (THREADED, ()), "concurrent": (LOOP, ()), "textbook": ((*PEER, "textbook"), ())}
DATAGRAMS: Servers = {"serve-udp": (UDP, ECHO), "socketserver": ((*PEER, "socketserver-udp"), ())}
SINKS: Servers = {
    name: (words, ("--reply", "discard", "--quiet")) for name, words in {"threaded": THREADED, "loop": LOOP}.items()
}
CASES = {
    "echo-1": Case(("rr", "1", SECONDS, "64"), echoes("serve-tcp", *MANY), same_core=True),
    "echo-50": Case(("rr", "50", SECONDS, "64"), echoes(*MANY)),
    "echo-500": Case(("rr", "500", SECONDS, "64"), echoes(*MANY)),
    "connect-1": Case(("crr", "1", SECONDS, "64"), echoes("serve-tcp", *MANY), same_core=True),
    "connect-50": Case(("crr", "50", SECONDS, "64"), echoes(*MANY)),
    "burst-500": Case(("idle", "500", "0.01", "64"), echoes(*MANY)),
    "idle-1000": Case(("idle", "1000", "0.2", "64"), echoes(*MANY)),
    "idle-10000": Case(("idle", "10000", "0.2", "64"), echoes("threaded", "concurrent", "uvloop")),
    "log-1": Case(("rr", "1", SECONDS, "60"), LOGS, same_core=True, acks=True),
    "log-50": Case(("rr", "50", SECONDS, "60"), LOGS, acks=True),
    "bulk-1": Case(("bulk", "1", SECONDS, "65536"), echoes(*MANY)),
    "bulk-4": Case(("bulk", "4", SECONDS, "65536"), echoes(*MANY)),
    "sink-1": Case(("sink", "1", SECONDS, "262144"), SINKS),
    "udp-1": Case(("udprr", "1", SECONDS, "64"), DATAGRAMS),
    "udp-50": Case(("udprr", "50", SECONDS, "64"), DATAGRAMS),
}


def build(folder: Path) -> str:
    """Compile the load generator."""
    program = folder / "load"
    subprocess.run(["cc", "-O2", "-o", program, HERE / "load.c"], check=True)
    return str(program)


def free_port() -> int:
    """Return a port below the ephemeral ones, with which the generator's own connections could collide."""
    for port in range(20_000, 32_000):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    sys.exit("no port is free")


@contextmanager
def server(words: tuple[tuple[str, ...], tuple[str, ...]], log: Path, prefix: list[str]) -> Iterator[tuple[int, int]]:
    """Run a server; yield its process and its port once it takes connections."""
    port = free_port()
    argv = [*prefix, *words[0], str(port), *words[1]]
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=ROOT, env=environment())
    try:
        while not is_bound(port):
            if process.poll() is not None:
                sys.exit(f"{' '.join(argv)} has ended: {log.read_text()}")
            PAUSE.wait(0.02)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


def is_bound(port: int) -> bool:
    """Tell whether a socket has the port, without a connection of our own."""
    tables = "".join(Path(f"/proc/net/{name}").read_text() for name in ("tcp", "udp"))
    return f":{port:04X} 00000000:0000" in tables


def environment() -> dict[str, str]:
    return clean_environment({"PYTHONPATH": str(ROOT)})


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Return kB of memory that are the process's own."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def measure(program: str, case: Case, name: str, log: Path) -> dict[str, float]:
    """Put one load on one server; return its figures."""
    prefix = ["taskset", "-c", "0"] if case.same_core else []
    mode, *rest = case.load
    with server(case.servers[name], log, prefix) as (pid, port):
        argv = [*prefix, program, mode, str(port), *rest]
        if case.acks:
            argv.append(ACKS.get(name, f"received {rest[-1]} bytes\n"))
        before, rss = cpu_seconds(pid), memory(pid)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout is not None
            figures: dict[str, Any] = {}
            for line in load.stdout:
                figures |= json.loads(line)
                if "held" in figures and "kB_each" not in figures:
                    figures["kB_each"] = (memory(pid) - rss) / figures["held"]
                    idle_from = cpu_seconds(pid)
                    PAUSE.wait(float(rest[1]) / 2)
                    figures["idle_cpu_s"] = cpu_seconds(pid) - idle_from
        if not figures.get("ok"):
            return {}
        figures["cpu_s"] = cpu_seconds(pid) - before
        return {key: float(value) for key, value in figures.items()}


def report(title: str, case: Case, found: dict[str, list[dict[str, float]]]) -> None:
    """Print medians and ratios to each case's first server."""
    is_idle = case.load[0] == "idle"
    keys = ["open_s", "kB_each", "idle_cpu_s"] if is_idle else ["rate", "cpu_s"]
    print(f"\n{title}: load {' '.join(case.load)}{', same core' if case.same_core else ''}")
    first: float | None = None
    for name, rounds in found.items():
        if not rounds:
            print(f"  {name:14} failed")
            continue
        medians = {key: statistics.median(figures[key] for figures in rounds) for key in keys}
        first = first or medians[keys[0]]
        shown = "  ".join(f"{key} {medians[key]:>14,.3f}" for key in keys)
        print(f"  {name:14} {shown}  x{medians[keys[0]] / first:.2f} of {next(iter(found))}  ({len(rounds)} rounds)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = build(folder)
        for title in options.cases or CASES:
            case = CASES[title]
            found: dict[str, list[dict[str, float]]] = {server: [] for server in case.servers}
            for _ in range(options.rounds):
                for server_name, rounds in found.items():
                    figures = measure(program, case, server_name, folder / "log")
                    rounds += [figures] if figures else []
            report(title, case, found)
    print(f"\nload average {Path('/proc/loadavg').read_text().split()[0]}, {os.cpu_count()} CPUs")


if __name__ == "__main__":
    main()
