"""What is compared with what: tables, their columns (the cases), and the programs in their rows."""

from __future__ import annotations

import json
from functools import partial

from tests.benchmarks.measuring import Bench, Case, Program, Sample, Table
from tests.benchmarks.tabs import LINES, completing
from tests.benchmarks.tracing import CLASSES, call_cost

__all__ = ["MORE", "TABLES"]

SAME_CORE = "taskset -c 0"
"""Where there is one client: else the figure is the scheduler's, who puts the two on one core or on two."""
C = "C, a thread a client"
THREADED = "serve-threaded"
LOOP = "serve-tcp --concurrent"
ONE = "serve-tcp"
NCAT = "ncat -k -e cat"
SOCAT = "socat fork PIPE"


def programs(**commands: str) -> dict[str, Program]:
    return {name: Program(command) for name, command in commands.items()}


def served(options: str) -> dict[str, Program]:
    """Return netlab's stream servers."""
    return {
        THREADED: Program(f"{{netlab}} serve-threaded --max-clients 0 -p {{port}} {options}"),
        LOOP: Program(f"{{netlab}} serve-tcp --concurrent --max-clients 0 -p {{port}} {options}"),
    }


ONE_CLIENT = {("rr", 1), ("crr", 1)}


ECHOES = {C: Program("{limits} echo {port}")} | served("--reply echo --quiet")
IN_PYTHON = programs(
    socketserver="{peer} socketserver {port}", asyncio="{peer} asyncio {port}", uvloop="{peer} uvloop {port}"
)
ITERATIVE = {ONE: Program("{netlab} serve-tcp --backlog 4096 -p {port} --reply echo --quiet")}
TOOLS = {
    NCAT: Program("ncat -l -k -e /bin/cat 127.0.0.1 {port}"),
    SOCAT: Program("socat TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096,nodelay PIPE"),
}
MANY = ECHOES | IN_PYTHON
ALL = ECHOES | ITERATIVE | IN_PYTHON | TOOLS
ENDURING = {row: program for row, program in MANY.items() if row not in ("socketserver", "asyncio")}
SINKS = {C: Program("{limits} recv {port}"), "C, MSG_TRUNC": Program("{limits} trunc {port}")} | served(
    "--reply discard --quiet"
)
LOGS = {name: Program(program.command, answer="received 60 bytes\n") for name, program in served("").items()} | {
    "textbook threads": Program("{peer} textbook {port}", answer="Message received")
}
DATAGRAMS = {
    "C, recvfrom and sendto": Program("{limits} udp-echo {port}"),
    "serve-udp": Program("{netlab} serve-udp -p {port} --reply echo --quiet"),
} | {name: Program(f"{{peer}} {name}-udp {{port}}") for name in IN_PYTHON}
DISCARDS = {
    "C, recvfrom and sendto": Program("{limits} udp-recv {port}"),
    "serve-udp": Program("{netlab} serve-udp -p {port} --reply discard --quiet"),
} | {name: Program(f"{{peer}} {name}-udp-discard {{port}}") for name in IN_PYTHON}


def rate(bench: Bench, program: Program, mode: str, clients: int, size: int = 64) -> Sample:
    sample = bench.load(program, mode, clients, size, prefix=SAME_CORE if (mode, clients) in ONE_CLIENT else "")
    return sample | {"value": sample["rate"] / (1e9 if mode in ("bulk", "sink") else 1)}


def spent(bench: Bench, program: Program) -> Sample:
    """Return the milliseconds of processor time that a server spends on each GB of a stream that it throws away."""
    sample = rate(bench, program, mode="sink", clients=1, size=1 << 18)
    return sample | {"value": 1e3 * sample["cpu_s"] / (sample["value"] * bench.seconds)}


def held(bench: Bench, program: Program, clients: int, key: str, scale: float = 1) -> Sample:
    sample = bench.hold(program, clients)
    return sample | {"value": sample[key] * scale}


STREAMS = Table(
    "Stream servers",
    "Echoes of 64 bytes a second, to 1 client on the same core, to 50 and 500; connections a second with one echo "
    "each, 50 at a time; a stream echoed in pieces of 64 KiB; memory for each of 1,000 idle clients.",
    (
        Case("echo-1", "1, /s", ALL, partial(rate, mode="rr", clients=1)),
        Case("echo-50", "50, /s", MANY | TOOLS, partial(rate, mode="rr", clients=50)),
        Case("echo-500", "500, /s", MANY, partial(rate, mode="rr", clients=500)),
        Case("connect-50", "connect, /s", MANY | TOOLS, partial(rate, mode="crr", clients=50)),
        Case("bulk-1", "bulk, GB/s", MANY | {SOCAT: TOOLS[SOCAT]}, partial(rate, mode="bulk", clients=1, size=65536)),
        Case("idle-1000", "idle, kB", MANY, partial(held, clients=1000, key="kB")),
    ),
)
MORE_STREAMS = Table(
    "Stream servers, more",
    "Connections a second of 1 client on the same core; time until 500 clients are connected; four echoed streams; a "
    "stream that is thrown away, and the processor time that it takes; memory for each of 10,000 idle clients.",
    (
        Case("connect-1", "connect 1, /s", ECHOES | ITERATIVE | IN_PYTHON, partial(rate, mode="crr", clients=1)),
        Case("burst-500", "500, ms", MANY, partial(held, clients=500, key="open_s", scale=1e3)),
        Case("bulk-4", "bulk 4, GB/s", MANY, partial(rate, mode="bulk", clients=4, size=65536)),
        Case("discard", "discard, GB/s", SINKS, partial(rate, mode="sink", clients=1, size=1 << 18)),
        Case("discard-cpu", "discard, ms/GB", SINKS, spent),
        Case("idle-10000", "idle, kB", ENDURING, partial(held, clients=10_000, key="kB")),
    ),
)
LOG = Table(
    "Servers with a log",
    "The default: an acknowledgement, and a line for each message, here to a file; 1 client on the same core, and 50.",
    (
        Case("log-1", "1, /s", LOGS, partial(rate, mode="rr", clients=1, size=60)),
        Case("log-50", "50, /s", LOGS, partial(rate, mode="rr", clients=50, size=60)),
    ),
)
UDP = Table(
    "Datagram servers",
    "Echoes of 64 bytes a second, to 1 peer with 16 under way, and to 50; datagrams received a second.",
    (
        Case("udp-1", "1, /s", DATAGRAMS, partial(rate, mode="udprr", clients=1)),
        Case("udp-50", "50, /s", DATAGRAMS, partial(rate, mode="udprr", clients=50)),
        Case("udp-discard", "discard, /s", DISCARDS, partial(rate, mode="udpsink", clients=1)),
    ),
)


def sending(bench: Bench, program: Program, stdin: str) -> Sample:
    size = bench.file().stat().st_size
    return {"value": size / bench.take(program, server="{limits} recv {port}", stdin=stdin) / 1e9}


def asking(bench: Bench, program: Program) -> Sample:
    take = partial(bench.take, program, server="{limits} echo {port}", stdin="printf hello")
    return {"value": bench.often(take) * 1e3}


def running(bench: Bench, program: Program) -> Sample:
    return {"value": bench.often(lambda: bench.run(program.command, status=program.status)[0]) * 1e3}


def scanning(bench: Bench, program: Program) -> Sample:
    with bench.server("{peer} textbook {port}"):  # so that a port is open
        return {"value": bench.run(program.command, status=program.status)[0]}


FILES = {
    "netlab": Program("{netlab} send :{port} -f {file}"),
    "ncat": Program("ncat --send-only 127.0.0.1 {port}"),
    "nc": Program("nc -N 127.0.0.1 {port}"),
    "socat": Program("socat -u -b 262144 OPEN:{file} TCP:127.0.0.1:{port}"),
    "iperf3": Program("iperf3 -c 127.0.0.1 -p {port} -F {file}", server="iperf3 -s -p {port}"),
}
PIPES = programs(
    netlab="{netlab} send :{port}",
    ncat="ncat --send-only 127.0.0.1 {port}",
    nc="nc -N 127.0.0.1 {port}",
    socat="socat -u -b 262144 - TCP:127.0.0.1:{port}",
)
QUESTIONS = programs(
    netlab="{netlab} send --expect hello :{port} hello",
    ncat="ncat 127.0.0.1 {port}",
    nc="nc -N 127.0.0.1 {port}",
    socat="socat - TCP:127.0.0.1:{port}",
)
SCANS = {
    "netlab": Program("{netlab} probe 127.0.0.1:1-65535", status=1),  # not all are open
    "nc": Program("nc -z -n 127.0.0.1 1-65535"),
    "nmap": Program("nmap -sT -p- -T5 -n -Pn 127.0.0.1"),
}
STARTS = programs(
    netlab="{netlab} --help", ncat="ncat --help", nc="nc -h", socat="socat -h", iperf3="iperf3 --help",
    nmap="nmap --help",
) | {"import click": Program("{python} -c 'import click'")}  # fmt: skip
CLIENTS = Table(
    "Whole programs",
    "A file, and a pipe, sent to a server that throws it away; a question and its answer; a scan of this host's ports; "
    "help.  Start and end of the program are included.",
    (
        Case("file", "file, GB/s", FILES, partial(sending, stdin="file")),
        Case("pipe", "pipe, GB/s", PIPES, partial(sending, stdin="cat {file}")),
        Case("one-shot", "ask, ms", QUESTIONS, asking),
        Case("scan", "scan, s", SCANS, scanning, needs_c=False),
        Case("start-up", "--help, ms", STARTS, running, needs_c=False),
    ),
)
CALLS = {row: Program(row) for row in CLASSES}
TRACE = Table(
    "Calls",
    "Time of one send or recv of 5 bytes.",
    tuple(
        Case(f"trace-{family}", heading, CALLS, partial(call_cost, family=family), needs_c=False)
        for family, heading in (("unix", "unix, ns"), ("tcp", "TCP, ns"))
    ),
)

SHELLS = programs(bash="bash", zsh="zsh", fish="fish")
TABS = Table(
    "Completion",
    "A TAB in an interactive shell, until the line is complete: a command, a host, a port of this host.",
    tuple(
        Case(name, heading, SHELLS, partial(completing, case=name), needs_c=False)
        for name, (heading, *_) in LINES.items()
    ),
)

EXCHANGERS = programs(C="{limits} echo {port}", **{"netlab send": "{limits} echo {port}"})


def exchanging(bench: Bench, program: Program, words: str, mode: str, clients: int) -> Sample:
    """Return what a client brings about at C's echo server, all on one core."""
    if program is EXCHANGERS["C"]:
        sample = bench.load(program, mode, clients, 64, prefix=SAME_CORE)
        return sample | {"value": sample["rate"]}
    with bench.server(program.command, SAME_CORE) as (_, port):
        words = (
            f"{SAME_CORE} {{netlab}} send :{port} {words} --duration {bench.seconds}s --expect-echo --json {'x' * 64}"
        )
        said = json.loads(bench.run(words)[1].splitlines()[-1])
    return {"value": said["exchanges_per_s"]}


GENERATORS = Table(
    "Load generators",
    "Echoes of 64 bytes a second that a client gets out of C's server: 1 connection, 50, and one for each echo.",
    tuple(
        Case(name, heading, EXCHANGERS, partial(exchanging, words=words, mode=mode, clients=clients))
        for name, heading, words, mode, clients in (
            ("exchange-1", "1, /s", "", "rr", 1),
            ("exchange-50", "50, /s", "-j 50", "rr", 50),
            ("reconnect", "connect, /s", "--reconnect", "crr", 1),
        )
    ),
)

TABLES = (STREAMS, UDP, CLIENTS, TRACE, TABS)
"""What the README quotes."""
MORE = (MORE_STREAMS, LOG, GENERATORS)
"""What it does not."""
