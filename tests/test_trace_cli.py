"""--trace, --diagram, --trace-file and --trace-peer as a user meets them, on all six commands."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.peers import mute_server, refusing_port, reply_server, silent_listener
from tests.programs import Netlab, Program, StartProgram

COMMANDS = ("serve-tcp", "serve-threaded", "serve-udp", "send", "chat", "probe")
LINE = re.compile(
    r"\d\d:\d\d:\d\d\.\d{6} (client  |server  |[\w ]{8,}) (\w+)\((.*)\) = (.*?)  ([\d.]+ (?:us|ms|s)\b.*)"
)


def traced(stderr: bytes) -> list[re.Match[str]]:
    """The trace's lines on stderr, each matched by `LINE`."""
    found = [LINE.fullmatch(line) for line in stderr.decode().splitlines()]
    return [line for line in found if line]


def calls_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_four_options(command: str, netlab_here: Netlab) -> None:
    text = netlab_here(command, "--help").stdout.decode()
    section = text.partition("\nTrace:\n")[2]
    assert re.findall(r"^  (--[a-z-]+)", section, re.MULTILINE) == [
        "--trace",
        "--diagram",
        "--trace-file",
        "--trace-peer",
    ]


@pytest.mark.parametrize(
    ("args", "labels"),
    [
        ((), ("- SYN -", "- SYN, ACK -", "- 5 B -", "- 17 B -", "- FIN -", "127.0.0.1:")),
        (("-6",), ("- SYN -", "- FIN -", "[::1]:")),
        (("-u",), ("- 5 B -", "- 17 B -", "sendto(")),
        (("--type", "stream", "-U", "@netlab-trace-cli"), ("- connect -", "- 5 B -", "- EOF -")),
        (("--type", "seqpacket"), ("- connect -", "- 5 B -", "- EOF -")),
        (("--type", "dgram"), ("- 5 B -", "- 17 B -")),
    ],
)
def test_the_first_picture(
    args: tuple[str, ...], labels: tuple[str, ...], netlab_here: Netlab, require_ipv6: None
) -> None:
    done = netlab_here("probe", "--loopback", "--diagram", *args)
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert text.lstrip().startswith("CLIENT  MainThread")
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 80
    for label in labels:
        assert label in text
    assert 'send("hello") = 5' in text
    assert '"received 5 b"...' in text
    assert "the arrows are drawn from them" in text.replace("\n", " ")


def test_the_first_picture_is_the_textbook_s(netlab: Netlab) -> None:
    lines = netlab("probe", "--loopback", "--diagram").stdout.decode().splitlines()
    steps = ("bind(", "listen(5)", "connect(", "send(", "sendall(", "shutdown(SHUT_WR)", "close(fd")
    places = [next(number for number, line in enumerate(lines) if step in line) for step in steps]
    assert places == sorted(places)
    assert any("SERVER  listener" in line for line in lines)
    assert sum("EINPROGRESS" in line for line in lines) >= 1


def test_a_wider_terminal_gets_a_wider_picture(netlab: Netlab) -> None:
    lines = netlab("probe", "--loopback", "--diagram", env={"COLUMNS": "120"}).stdout.decode().splitlines()
    assert any("socket(AF_INET, SOCK_STREAM) = fd" in line for line in lines)
    assert 100 < max(map(len, lines)) <= 120


def test_verbose_and_json_keep_the_report(netlab: Netlab) -> None:
    assert netlab("probe", "--loopback", "--diagram", "-v").stdout.startswith(b"open  ")
    done = netlab("probe", "--loopback", "--diagram", "--json")
    assert {json.loads(line)["event"] for line in done.stdout.splitlines()} >= {"probe", "summary"}
    assert b"CLIENT  MainThread" in done.stderr


def test_trace_writes_a_line_a_call_to_stderr(netlab: Netlab) -> None:
    with reply_server(b"pong\n") as peer:
        done = netlab("send", peer.endpoint, "ping", "--trace", "-v")
    assert (done.returncode, done.stdout) == (0, b"pong\n")
    lines = {line[2]: line for line in traced(done.stderr)}
    assert lines["connect"][3].endswith(peer.endpoint)
    assert lines["connect"][4] == "115 EINPROGRESS"
    assert lines["connect"][5].endswith("  ESTABLISHED")
    assert lines["send"][3].endswith('"ping"')
    assert list(lines)[-1] == "close"


def test_without_v_no_payload_is_shown(netlab: Netlab) -> None:
    with reply_server(b"pong\n") as peer:
        done = netlab("send", peer.endpoint, "ping", "--trace", "-q")
    (sent,) = (line for line in traced(done.stderr) if line[2] == "send")
    assert sent[3].endswith(", 4 B")
    assert b"ping" not in done.stderr
    assert b"pong" not in done.stderr


def test_trace_as_json_is_on_stdout_among_the_other_events(netlab: Netlab) -> None:
    with reply_server(b"\xff\n") as peer:
        done = netlab("send", peer.endpoint, "ping", "--trace", "--json")
    assert done.stderr == b""
    calls = [event for event in map(json.loads, done.stdout.splitlines()) if event["event"] == "call"]
    (sent,) = (call for call in calls if call["call"] == "send")
    assert (sent["text"], sent["size"], sent["result"], sent["peer"]) == ("ping", 4, "4", peer.endpoint)
    assert {"mono_us", "duration_us", "lane", "thread", "fd", "socket", "pid", "state_name"} <= sent.keys()
    assert any(call.get("base64") == "/wo=" for call in calls)
    assert list(sent)[:2] == ["event", "time"]


def test_what_a_peer_sends_is_escaped_in_the_trace_and_the_picture(netlab: Netlab) -> None:
    with reply_server(b"\x1b]0;owned\x07\n") as peer:
        done = netlab("send", peer.endpoint, "x", "--trace", "--diagram", "-v", "-o", "/dev/null")
    assert b"\x1b" not in done.stderr + done.stdout
    assert rb"\x1b]0;owned\x07\n" in done.stderr


def test_in_a_pipe_the_picture_is_beside_the_payload(netlab: Netlab) -> None:
    with reply_server(b"pong\n") as peer:
        done = netlab("send", peer.endpoint, "ping", "--diagram")
    assert done.stdout == b"pong\n"
    assert b"SERVER  (not traced)" in done.stderr
    assert b"<---- 5 B ----" in done.stderr


def test_a_failure_is_drawn_and_keeps_its_status(netlab: Netlab) -> None:
    with refusing_port() as peer:
        done = netlab("send", peer.endpoint, "x", "--diagram", "--trace")
    assert done.returncode == 7
    text = done.stderr.decode()
    assert "<-- RST, ACK -" in text
    assert text.index("RST, ACK") < text.index("netlab: connect")


def test_a_silent_peer_is_drawn_without_an_answer(netlab: Netlab) -> None:
    with silent_listener() as peer:
        done = netlab("probe", peer.endpoint, "-w", "300ms", "--diagram")
    assert done.returncode == 28
    text = done.stdout.decode()
    assert text.startswith("timeout ")
    assert "---- SYN ---->" in text
    assert "SYN, ACK" not in text
    assert "poll() x " in text
    assert "SYN_SENT" in text


def test_ctrl_c_draws_what_was(start_netlab: StartProgram) -> None:
    with mute_server() as peer:
        program = start_netlab("send", peer.endpoint, "x", "-w", "1m", "--diagram", "--trace")
        program.wait_for(r"send\(fd \d+, 1 B\) = 1", stderr=True)
        peer.wait_received(b"x")
        done = program.stop(signal.SIGINT)
    assert done.returncode in (-signal.SIGINT, 130)
    assert b"---- 1 B ---->" in done.stderr


@pytest.mark.parametrize("suffix", ["jsonl", "txt", "mmd", "svg"])
def test_trace_files(suffix: str, netlab_here: Netlab, tmp_path: Path) -> None:
    path = tmp_path / f"trace.{suffix}"
    done = netlab_here("probe", "--loopback", "--trace-file", str(path))
    assert done.returncode == 0
    assert done.stdout.startswith(b"open  ")
    starts = {"jsonl": '{"event":"call"', "txt": "        ", "mmd": "sequenceDiagram", "svg": "<svg "}
    assert path.read_text().startswith(starts[suffix])
    assert "listen" in path.read_text()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--trace-file", "trace.png"), ".jsonl, .txt, .mmd, .svg"),
        (("--trace-file", "/nowhere/trace.svg"), "there is no directory"),
        (("--trace-peer", "other.jsonl"), "--trace-peer needs --diagram or --trace-file"),
        (("--trace", "--trace-peer", "other.jsonl"), "--trace-peer needs --diagram or --trace-file"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    args: tuple[str, ...], says: str, netlab_here: Netlab
) -> None:
    done = netlab_here("probe", "--loopback", *args)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.decode().split())
    assert done.stdout == b""


def test_a_file_that_cannot_be_written(netlab: Netlab, tmp_path: Path) -> None:
    (tmp_path / "taken.svg").mkdir()
    with reply_server(b"pong\n") as peer:
        done = netlab("send", peer.endpoint, "ping", "--trace-file", str(tmp_path / "taken.svg"))
    assert done.returncode == 23
    assert done.stdout == b"pong\n"
    assert b"netlab: write" in done.stderr


def test_the_first_failure_decides_the_status(netlab: Netlab, tmp_path: Path) -> None:
    (tmp_path / "taken.svg").mkdir()
    with refusing_port() as peer:
        done = netlab("send", peer.endpoint, "x", "--trace-file", str(tmp_path / "taken.svg"))
    assert done.returncode == 7
    assert b"netlab: write" in done.stderr
    assert b"netlab: connect" in done.stderr


def test_a_status_that_is_no_failure_still_says_that_the_file_failed(netlab: Netlab, tmp_path: Path) -> None:
    (tmp_path / "taken.svg").mkdir()
    assert netlab("probe", "--loopback", "--trace-file", str(tmp_path / "taken.svg")).returncode == 23


def test_nothing_is_drawn_of_nothing(netlab: Netlab, tmp_path: Path) -> None:
    path = tmp_path / "trace.svg"
    done = netlab("send", "name.invalid:1", "x", "--diagram", "--trace-file", str(path))
    assert done.returncode == 6
    assert b"no socket call was made" in done.stderr
    assert not path.exists()


@pytest.mark.parametrize(
    ("serve", "send", "labels"),
    [
        (("serve-tcp",), (), ("- SYN -", "- 5 B -", "- 17 B -", "- FIN -")),
        (("serve-threaded",), ("-N",), ("- SYN -", "- 5 B -", "- 17 B -", "- FIN -")),
        (("serve-udp",), (), ("- 5 B -", "- 17 B -")),
        (("serve-tcp", "-U", "@netlab-trace-merge"), (), ("- connect -", "- 5 B -", "- 17 B -", "- EOF -")),
    ],
)
def test_two_programs_make_one_picture(
    serve: tuple[str, ...], send: tuple[str, ...], labels: tuple[str, ...], start_server: StartProgram,
    netlab_here: Netlab, tmp_path: Path,
) -> None:  # fmt: skip
    path = str(tmp_path / "server.jsonl")
    server: Program = start_server(*serve, "--once", "--quiet", "--trace-file", path)
    done = netlab_here("send", server.endpoint, "hello", *send, "--diagram", "--trace-peer", path)
    assert server.wait().returncode == 0
    text = done.stderr.decode()
    assert done.returncode == 0, text
    assert "not traced" not in text
    assert re.search(r"CLIENT  MainThread +SERVER  (MainThread|thread 1)", text)
    for label in labels:
        assert label in text
    assert [text.count(label) for label in ("- 5 B -", "- 17 B -")] == [1, 1]
    assert '= 5 B "hello"' in text
    assert re.search(r"(poll|recv)\(", text)


def test_the_merged_calls_can_be_written_again(start_server: StartProgram, netlab: Netlab, tmp_path: Path) -> None:
    theirs, both = tmp_path / "server.jsonl", tmp_path / "both.jsonl"
    server: Program = start_server("serve-tcp", "--once", "--quiet", "--trace-file", str(theirs))
    netlab("send", server.endpoint, "hello", "--trace-peer", str(theirs), "--trace-file", str(both))
    server.wait()
    calls = calls_of(both)
    assert {call["lane"] for call in calls} == {"client", "server"}
    assert len({call["pid"] for call in calls}) == 2
    assert [call["mono_us"] for call in calls] == sorted(call["mono_us"] for call in calls)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a tenth of the usual time for the other program's trace."""
    monkeypatch.setattr("netlab.cli.tracing._PEER_PATIENCE", 0.2)


def test_a_peer_s_trace_that_never_comes(netlab_here: Netlab, impatient: None, tmp_path: Path) -> None:
    with reply_server(b"pong\n") as peer:
        done = netlab_here("send", peer.endpoint, "ping", "--diagram", "--trace-peer", str(tmp_path / "missing.jsonl"))
    assert done.returncode == 2
    assert b"no such file" in done.stderr
    assert done.stdout == b"pong\n"


def test_a_trace_of_something_else(netlab_here: Netlab, impatient: None, tmp_path: Path) -> None:
    path = str(tmp_path / "other.jsonl")
    netlab_here("probe", "--loopback", "--trace-file", path)
    with reply_server(b"pong\n") as peer:
        done = netlab_here("send", peer.endpoint, "ping", "--diagram", "--trace-peer", path)
    assert done.returncode == 2
    assert b"none of its sockets talked to one of this program's" in done.stderr


def test_a_threaded_server_draws_its_clients_side_by_side(
    start_server: StartProgram, start_netlab: StartProgram
) -> None:
    server = start_server("serve-threaded", "--diagram")
    clients = [start_netlab("chat", server.endpoint) for _ in range(2)]
    for number, client in enumerate(clients, start=1):
        client.write("hello\n")
        server.wait_for(r"#\d < hello", count=number)
    for client in clients:
        client.close_stdin()
        client.wait()
    text = server.stop().stdout.decode()
    picture = text[text.index("SERVER  thread") :]
    assert picture.startswith("SERVER  thread 1")
    assert picture.count('6 B "hello\\n"') == 2
    assert "SERVER  thread 2" in picture.partition("\n")[0]


def test_chat_and_its_listening_side(start_netlab: StartProgram, tmp_path: Path) -> None:
    path = tmp_path / "listener.jsonl"
    listener = start_netlab("chat", "--listen", "127.0.0.1:0", "--trace-file", str(path))
    endpoint = listener.wait_for(r"^listening on (.+)\n", stderr=True)[1]
    client = start_netlab("chat", endpoint, "--diagram", "--trace-peer", str(path))
    client.write("hi\n")
    listener.wait_for("hi")
    client.close_stdin()
    listener.close_stdin()
    assert listener.wait().returncode == 0
    done = client.wait()
    assert done.returncode == 0, done.stderr
    assert {call["lane"] for call in calls_of(path)} == {"server"}
    assert b"---- 3 B ---->" in done.stderr


def test_listeners_that_were_handed_over_are_traced_too(tmp_path: Path, start_program: StartProgram) -> None:
    path = tmp_path / "adopted.jsonl"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
            "os.execv(sys.executable, [sys.executable, '-m', 'netlab', *sys.argv[2:]])"
        )
        fd = str(listener.fileno())
        words = ("serve-tcp", "--once", "--trace-file", str(path))
        server = start_program(sys.executable, "-c", script, fd, *words, pass_fds=(listener.fileno(),))
        server.ready()
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"received 5 bytes\n"
        server.wait()
    assert [call["call"] for call in calls_of(path) if call["call"] in ("accept", "recv", "send")][:3] == [
        "accept", "recv", "send",
    ]  # fmt: skip


def test_a_stream_is_not_spliced_past_the_trace(netlab: Netlab, tmp_path: Path) -> None:
    path = tmp_path / "stream.jsonl"
    with reply_server() as peer:
        netlab("send", peer.endpoint, "--trace-file", str(path), "--until", "none", input=b"x" * 100_000)
        peer.wait_received(b"x" * 100_000)
    assert sum(int(call["result"]) for call in calls_of(path) if call["call"] == "send" and "result" in call) == 100_000
