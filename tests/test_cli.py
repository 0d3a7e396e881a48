"""The command line as a whole: bad input, habits of other tools, variables, help, and how the process ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests import peers
from tests.programs import NETLAB, Netlab, StartProgram, clean_environment

COMMANDS = ("serve-tcp", "serve-threaded", "serve-udp", "send", "chat", "probe")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_sections_and_an_example(netlab_here: Netlab, command: str) -> None:
    for flag in ("--help", "-h"):
        done = netlab_here(command, flag)
        text = done.stdout.decode()
        assert done.returncode == 0
        assert text.startswith(f"Usage: netlab {command}")
        assert "\nWhere:\n" in text
        assert "\nOutput:\n" in text
        assert f"netlab {command}" in text.split("\n", 1)[1]
        assert max(map(len, text.splitlines())) <= 80
        assert text.isascii()
        assert not re.search(r"\w-$|\[default:[^]]*$", text, re.MULTILINE), "what is searched for is broken in two"


def test_bare_netlab_shows_the_way_in(netlab_here: Netlab) -> None:
    done = netlab_here()
    assert done.returncode == 2
    assert done.stderr.decode().rstrip().endswith("First: netlab probe --loopback")


def test_the_group_has_six_commands(netlab_here: Netlab) -> None:
    text = netlab_here("--help").stdout.decode()
    listed = [line.split()[0] for line in text.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()]
    assert sorted(listed) == sorted(COMMANDS)


def test_version(netlab: Netlab) -> None:
    assert netlab("--version").stdout == b"netlab 0.1.0\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["send", ":0", "hello"], "port 0 cannot be connected to"),
        (["probe", ":65536"], "port 65536 is out of range"),
        (["send", "-p", "-1", "hello"], "port -1 is out of range"),
        (["serve-tcp", "-p", "65536"], "port 65536 is out of range"),
        (["send", ":http2x", "hello"], "'http2x' is no tcp port"),
        (["send", "-H", "", "hello"], "the host is empty"),
        (["serve-tcp", "-H", ""], "the host is empty"),
        (["probe", "-H", ""], "an endpoint is missing"),
        (["send", "-p", "", "hello"], "'' is no tcp port"),
        (["probe", "-p", ""], "the port list '' has an empty item"),
        (["probe", "db"], "'db' has no port. Did you mean db:5432?"),
        (["send", "http://db/x", "hello"], "netlab speaks TCP, not 'http'. Did you mean db:80?"),
        (["send", "-U", "x" * 108, "hello"], "has 108 bytes; 107 is the most"),
        (["send", "--type", "seqpacket", ":9", "hello"], "--type seqpacket is for unix sockets"),
        (["serve-tcp", "-U", "/tmp/x", "-p", "1"], "-U and -p exclude each other"),
        (["probe", "-4", "-6", ":1"], "-4 and -6 exclude each other"),
        (["send", "-h", "db"], "-h is help; did you mean -H db?"),
        (["probe", "-z", ":1"], "netlab probe HOST:PORT"),
        (["serve-tcp", "-k"], "netlab's servers keep serving"),
        (["probe", "--timout", "1"], "--timeout"),
        (["send", "-w", "5parsecs", ":1", "x"], "us, ms, s, m"),
        (["send", "--set", "SO_KEEPALIV=1", ":1", "x"], "Did you mean SO_KEEPALIVE?"),
        (["send", "--hex", ":1", "xyz"], "hex"),
        (["serve-udp", "127.0.0.1:0", "-p", "0"], "both say where"),
        (["serve-tcp", "udp://127.0.0.1:0"], "serve-udp"),
        (["chat", "--encoding", "klingon"], "klingon"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(netlab_here: Netlab, args: list[str], says: str) -> None:
    done = netlab_here(*args)
    assert done.returncode == 2
    assert done.stdout == b""
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("Error: ")
    assert says in last


def test_an_unknown_name_is_status_6(netlab: Netlab) -> None:
    done = netlab("send", "no-such-host.invalid:80", "hello")
    assert done.returncode == 6
    assert done.stderr.decode().startswith("netlab: resolve no-such-host.invalid: ")


@pytest.mark.parametrize("command", ["serve-tcp", "serve-threaded", "serve-udp"])
def test_a_port_in_use_says_how_to_find_its_holder(netlab: Netlab, start_server: StartProgram, command: str) -> None:
    server = start_server(command)
    done = netlab(command, "-p", str(server.port))
    text = done.stderr.decode()
    assert done.returncode == 45
    assert text.startswith(f"netlab: bind {server.endpoint}: address already in use (EADDRINUSE)\n")
    assert f"ss -l{'un' if command == 'serve-udp' else 'tn'}p 'sport = :{server.port}'" in text


@pytest.mark.parametrize("command", ["serve-tcp", "serve-threaded", "serve-udp"])
def test_c_is_crlf_on_servers_too(netlab: Netlab, start_server: StartProgram, command: str) -> None:
    server = start_server(command, "-C")
    assert netlab("send", str(server.endpoint), "hello").stdout == b"received 5 bytes\r\n"


def test_variables_give_defaults_and_are_named_when_wrong(netlab: Netlab) -> None:
    with peers.reply_server(b"pong\n") as peer:
        done = netlab("send", "-p", str(peer.port), "ping", env={"NETLAB_SEND_UNTIL": "line"})
        assert (done.returncode, done.stdout) == (0, b"pong\n")
    done = netlab("send", ":1", "ping", env={"NETLAB_SEND_TIMEOUT": "soon"})
    assert done.returncode == 2
    assert "NETLAB_SEND_TIMEOUT" in done.stderr.decode()


def test_a_place_from_the_environment_does_not_change_what_words_mean(netlab: Netlab) -> None:
    with peers.reply_server(b"pong\n") as peer:
        done = netlab("send", peer.endpoint, "ping", env={"NETLAB_SEND_PORT": "1"})
        assert (done.returncode, done.stdout) == (0, b"pong\n")


@pytest.mark.parametrize("command", ["send", "probe"])
def test_ctrl_c_ends_a_client_by_the_signal(start_netlab: StartProgram, command: str) -> None:
    with peers.mute_server() as peer, peers.silent_listener() as silent:
        target = {"send": [peer.endpoint, "hello"], "probe": [silent.endpoint]}[command]
        program = start_netlab(command, *target, "-w", "60s")
        if command == "send":
            peer.wait_received(b"hello")
        else:
            # No byte tells that a probe waits: the kernel does, by its SYN in the table of connections.
            wait_for_syn(silent.port)
        assert program.stop(signal.SIGINT).returncode == -signal.SIGINT


def wait_for_syn(port: int) -> None:
    """Wait until somebody's connect to ``port`` is pending: state 02 in /proc/net/tcp (proc(5))."""
    pattern = f":{port:04X} 02 "
    for _ in range(100_000):
        if pattern in Path("/proc/net/tcp").read_text():
            return
    raise AssertionError(f"no SYN to port {port} was sent")


@pytest.mark.parametrize("args", [["--help"], ["send", "--help"]])
def test_help_into_a_closed_pipe_ends_by_sigpipe(args: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*NETLAB, *args], stdout=writer, stderr=subprocess.PIPE, env=clean_environment(), check=False, timeout=10
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


def test_importing_the_command_line_stays_light() -> None:
    code = "import sys, netlab.cli; print(*sorted(m for m in sys.modules if m.startswith('netlab.')))"
    done = subprocess.run(
        [NETLAB[0], "-c", code], capture_output=True, text=True, env=clean_environment(), check=True, timeout=10
    )
    loaded = {module.split(".")[1] for module in done.stdout.split()}
    assert loaded <= {"cli", "errors"}


def test_a_usage_error_that_nobody_can_read_is_one_all_the_same() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *NETLAB, "send", "--bogus"],
        env=clean_environment(), capture_output=True, check=False, timeout=10,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, b"")
