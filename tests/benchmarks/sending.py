"""How fast netlab send is beside others: run by hand, ``python -m tests.benchmarks.sending [--rounds N] [CASE ...]``.

``file`` and ``pipe`` send --size bytes to a C server that throws them away (sink.c), ``exchanges`` counts what comes
back from one that echoes, beside a C client (load.c).  All programs of a case take turns in every round, start-up and
the server's close included; figures are medians, and only ratios within one case count.  "x" is how many times as long
as netlab a sender takes, or netlab's share of the C client's rate; "cpu" is seconds of user and system time per GB in
the sender, and in the pipe's writer.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.programs import ROOT, clean_environment

HERE = Path(__file__).parent
NETLAB = f"{sys.executable} -m netlab"
SENDERS = {
    "file": {
        "netlab": f"exec {NETLAB} send :{{port}} -f {{file}}",
        "ncat": "exec ncat --send-only 127.0.0.1 {port} < {file}",
        "nc": "exec nc -N 127.0.0.1 {port} < {file}",
        "socat": "exec socat -u OPEN:{file} TCP:127.0.0.1:{port}",
        "socat -b 256k": "exec socat -u -b 262144 OPEN:{file} TCP:127.0.0.1:{port}",
        "iperf3": "exec iperf3 -c 127.0.0.1 -p {iperf} -F {file}",
    },
    "pipe": {
        "netlab": f"cat {{file}} | {NETLAB} send :{{port}}",
        "ncat": "cat {file} | ncat --send-only 127.0.0.1 {port}",
        "nc": "cat {file} | nc -N 127.0.0.1 {port}",
        "socat": "cat {file} | socat -u - TCP:127.0.0.1:{port}",
    },
}
PAUSE = threading.Event()
"""Never set: waiting for it is waiting."""
SAME_CORE = "taskset -c 0 "
MESSAGE = "x" * 64
CASES = ("file", "pipe", "exchanges", "exchanges-50", "reconnect")


def build(source: str, directory: Path) -> str:
    program = directory / source
    subprocess.run(["cc", "-O2", "-o", program, HERE / f"{source}.c"], check=True)
    return str(program)


@contextmanager
def serving(*argv: str) -> Iterator[int]:
    """Run a server that prints its port."""
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.kill()


@contextmanager
def iperf_server() -> Iterator[int]:
    """Run iperf3's server on a free port; 0 where there is none."""
    if shutil.which("iperf3") is None:
        yield 0
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["iperf3", "-s", "-p", str(port)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            PAUSE.wait(0.3)  # it does not say when it listens
            yield port
        finally:
            server.kill()


def run(command: str) -> tuple[float, float]:
    """Return the seconds that a command took, on the clock and on the CPU."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(["bash", "-c", command], stdout=subprocess.DEVNULL, cwd=ROOT, env=clean_environment(), check=True)
    elapsed, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return elapsed, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def streams(case: str, sink: str, mode: str, size: int, rounds: int) -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as file:
        for _ in range(size >> 20):
            file.write(os.urandom(1 << 20))
        file.flush()
        with serving(sink, mode) as port, iperf_server() as iperf:
            senders = {
                name: command.format(port=port, iperf=iperf, file=file.name)
                for name, command in SENDERS[case].items()
                if name == "netlab" or shutil.which(name.split()[0])
            }
            took: dict[str, list[tuple[float, float]]] = {name: [] for name in senders}
            for _ in range(rounds):
                for name, command in senders.items():
                    took[name].append(run(command))
    own = statistics.median(seconds for seconds, _ in took["netlab"])
    for name, times in took.items():
        seconds = statistics.median(elapsed for elapsed, _ in times)
        cpu = statistics.median(used for _, used in times) / size * 1e9
        print(f"{case:<6} {name:<14} {size / seconds / 1e9:6.2f} GB/s  x {seconds / own:5.2f}  cpu {cpu:.3f} s/GB")


def exchanges(case: str, sink: str, load: str, rounds: int) -> None:
    """Compare a second of netlab's exchanges with a second of the C client's, all on one core, and placed freely."""
    words = {"exchanges": "", "exchanges-50": "-j 50", "reconnect": "--reconnect"}[case]
    kind, connections = {"exchanges": ("rr", 1), "exchanges-50": ("rr", 50), "reconnect": ("crr", 1)}[case]
    for place in (SAME_CORE, ""):
        with serving(*place.split(), sink, "echo") as port:
            ours: list[float] = []
            theirs: list[float] = []
            for _ in range(rounds):
                found = output(f"{place}{load} {kind} {port} {connections} 1 64")
                theirs.append(json.loads(found)["rate"])
                found = output(f"{place}{NETLAB} send :{port} {words} --duration 1s --expect-echo --json {MESSAGE}")
                ours.append(json.loads(found.splitlines()[-1])["exchanges_per_s"])
        rates = statistics.median(ours), statistics.median(theirs)
        print(
            f"{case:<13} {'same core' if place else 'free':<10} netlab {rates[0]:>9,.0f}/s   C {rates[1]:>9,.0f}/s   "
            f"x {statistics.median(a / b for a, b in zip(ours, theirs, strict=True)):.2f}"
        )


def output(command: str) -> str:
    return subprocess.run(
        command.split(), stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment(), check=True
    ).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=2 << 30)
    parser.add_argument("--sink", choices=("recv", "trunc"), default="recv")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        sink, load = build("sink", Path(directory)), build("load", Path(directory))
        for case in chosen.cases or CASES:
            if case in SENDERS:
                streams(case, sink, chosen.sink, chosen.size, chosen.rounds)
            else:
                exchanges(case, sink, load, chosen.rounds)


if __name__ == "__main__":
    main()
