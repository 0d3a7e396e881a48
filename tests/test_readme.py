"""The READMEs: what they show is what comes, their commands exist, and their table of statuses is the real one.

A block after ``<!-- session: NAME -->`` is held against a real run of the session of that name, numbers masked: each
of its lines must have come.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netlab import errors
from netlab.cli import cli
from netlab.reference.readme import RECORDING
from netlab.reference.tree import read_tree
from netlab.render.tracefile import read_trace
from tests import peers
from tests.programs import ROOT, Program, StartProgram, clean_environment, run_netlab
from tests.screen import Screen

READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
TUTORIAL = ROOT / "tests/tutorial"
TREE = {command.name: command for command in read_tree(cli)}

FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"\bnetlab ((?:serve-\w+|send|chat|probe)\b[^|>)]*)")
STATUS_ROW = re.compile(r"^\| (\d+)(?:(?:, |\u3001)(\d+))? \|", re.MULTILINE)
SESSION = re.compile(r"<!-- session: (?P<name>[\w -]+) -->\n```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, *kinds: str) -> list[str]:
    """The bodies of a README's fenced blocks of these kinds."""
    return [found["body"] for found in FENCE.finditer(path.read_text("utf-8")) if found["kind"] in kinds]


def sessions() -> list[tuple[str, str, str]]:
    return [
        (path.name, found["name"], found["body"]) for path in READMES for found in SESSION.finditer(path.read_text())
    ]


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers, their units of time, how far columns are apart."""
    masked = re.sub(r"\d[\d,.]*( (us|ms|s)\b)?", "#", line)
    return " ".join(masked.split())


def output(*args: str) -> str:
    done = run_netlab(*args)
    return done.stdout.decode() + done.stderr.decode()


class Sessions:
    """Real runs of what the READMEs show; each returns all that was written."""

    def __init__(self, start_server: StartProgram, start_program: StartProgram, start_netlab: StartProgram) -> None:
        self.start_server = start_server
        self.start_program = start_program
        self.start_netlab = start_netlab

    def client_of(self, server: Program, script: str = "tcp_client.py") -> Program:
        return self.start_program(sys.executable, str(TUTORIAL / script), "127.0.0.1", str(server.port))

    def say(self, client: Program, text: str) -> None:
        client.write(f"{text}\n")
        if text != "exit":
            client.wait_for("服务器回复")

    def ended(self, server: Program, clients: int) -> str:
        server.wait_for("closed", count=clients)
        return server.stop(signal.SIGINT).stdout.decode()

    def serve_tcp(self) -> str:
        server = self.start_server("serve-tcp")
        client = self.client_of(server)
        for text in ("你好，世界", "exit"):
            self.say(client, text)
        client.wait()
        return self.ended(server, 1)

    def tutorial_client(self) -> str:
        server = self.start_server("serve-tcp")
        client = self.client_of(server)
        for text in ("你好，世界", "exit"):
            self.say(client, text)
        shown = client.wait().stdout.decode()
        self.ended(server, 1)
        # On a terminal what is typed stands after each prompt, and ends its line.
        return shown.replace("消息: 服务器", "消息: 你好，世界\n服务器").replace("消息: 连接", "消息: exit\n连接")

    def queue(self) -> str:
        server = self.start_server("serve-tcp")
        first = self.client_of(server)
        self.say(first, "我是第一个")
        second = self.client_of(server)
        second.wait_for("已连接")
        second.write("我是第二个\n")
        server.wait_for("accept queue 1 of 5")
        for client in (first, second):
            client.write("exit\n")
            client.wait()
        return self.ended(server, 2)

    def threads(self) -> str:
        server = self.start_server("serve-threaded")
        first, second = self.client_of(server), self.client_of(server)
        for client, text in ((first, "我是第一个"), (second, "我是第二个"), (first, "exit"), (second, "exit")):
            self.say(client, text)
        for client in (first, second):
            client.wait()
        return self.ended(server, 2)

    def udp(self) -> str:
        server = self.start_server("serve-udp")
        client = self.client_of(server, "udp_client.py")
        for text in ("你好", "exit"):
            self.say(client, text)
        client.wait()
        server.wait_for("< exit")
        return server.stop().stdout.decode()

    def chat(self) -> str:
        server = self.start_program(sys.executable, str(TUTORIAL / "tcp_server.py"), "127.0.0.1", "0")
        port = server.wait_for(r"监听 127\.0\.0\.1:(\d+)")[1]
        with Screen("chat", f":{port}", "--eol", "none") as screen:
            screen.wait_for("> ")
            screen.press("你好，世界\n")
            screen.wait_for("服务器已收到消息\n.*> ")
            screen.press("exit\n")
            screen.wait()
        server.wait()
        return screen.text.replace("\r", "\n")

    def hello(self) -> str:
        return self._hello()[0]

    def hello_chat(self) -> str:
        return self._hello()[1]

    def _hello(self) -> tuple[str, str]:
        server = self.start_server("serve-tcp")
        with Screen("chat", server.endpoint) as screen:
            screen.wait_for("> ")
            screen.press("hello\n")
            screen.wait_for("received 6 bytes\n.*> ")
            screen.press("exit\n")
            screen.wait()
        return self.ended(server, 1), screen.text.replace("\r", "\n")

    def load(self) -> str:
        server = self.start_server("serve-threaded", "--reply", "echo", "--quiet")
        return output("send", server.endpoint, "-c", "2000", "-j", "10", "--expect-echo", "hello")

    def refused(self) -> str:
        with peers.refusing_port() as peer:
            return output("probe", peer.endpoint)

    def closed(self) -> str:
        with peers.refusing_udp() as peer:
            return output("probe", peer.endpoint)

    def no_reply(self) -> str:
        server = self.start_server("serve-tcp", "--reply", "discard")
        return output("send", server.endpoint, "PING", "-w", "500ms")

    def json(self) -> str:
        return output("send", self.start_server("serve-tcp").endpoint, "你好", "--json")

    def wait(self) -> str:
        with peers.refusing_port() as peer:
            probe = self.start_netlab("probe", peer.endpoint, "--wait", "30s", "--trace")
            probe.wait_for("ECONNREFUSED", count=3, stderr=True)
            peer.socket.listen()
            return probe.wait().stdout.decode()


@pytest.fixture
def real(start_server: StartProgram, start_program: StartProgram, start_netlab: StartProgram) -> Sessions:
    """The sessions, with the fixtures that end what they start."""
    return Sessions(start_server, start_program, start_netlab)


@pytest.mark.parametrize(("readme", "name", "body"), sessions(), ids=lambda text: text.split("\n")[0][:30])
def test_what_is_shown_is_what_comes(readme: str, name: str, body: str, real: Sessions) -> None:
    run: Callable[[], str] = getattr(real, name.replace(" ", "_").replace("-", "_"))
    came = {shape(line) for line in run().splitlines()}
    for line in body.splitlines():
        if not line.startswith("$ "):
            assert shape(line) in came, f"{readme}, {name}: {line}"


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_commands_and_options_exist(readme: Path) -> None:
    lines = [line for body in blocks(readme, "", "console", "bash", "sh") for line in body.splitlines()]
    commands = [
        found[1] for line in lines for found in re.finditer(r"\bnetlab ((?:serve-\w+|send|chat|probe)\b[^|>)]*)", line)
    ]
    assert commands
    for text in commands:
        name, *words = shlex.split(text, comments=True)
        known = {spelling for option in TREE[name].options for spelling in option.names}
        for word in words:
            if re.match(r"--?[A-Za-z]", word):
                assert word.partition("=")[0] in known, text


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_every_command_and_every_status_is_told(readme: Path) -> None:
    text = readme.read_text("utf-8")
    for name in TREE:
        assert f"netlab {name}" in text or name == "netlab"
    listed = {
        int(number)
        for row in re.findall(r"^\| ([\d, \u3001]+) \|", text, re.MULTILINE)
        for number in re.findall(r"\d+", row)
    }
    statuses = {kind.status for kind in errors.NetlabError.__subclasses__()} | {0, errors.BUG, errors.INTERRUPTED}
    assert listed == statuses


def test_what_is_quoted_of_the_tutorial_is_its_own() -> None:
    own = {line.strip() for path in TUTORIAL.glob("*.py") for line in path.read_text("utf-8").splitlines()}
    quoted = [line.strip() for body in blocks(READMES[1], "python") for line in body.splitlines()]
    assert len(quoted) > 20
    assert [line for line in quoted if line not in own] == []


def test_the_smoke_test_of_the_readmes_passes(bin_with_netlab: str) -> None:
    scripts = [body for path in READMES for body in blocks(path, "bash") if "--ready-fd" in body or "exec 3<" in body]
    assert len(scripts) == len(READMES)
    assert len(set(scripts)) == 1
    done = subprocess.run(
        ["bash", "-c", scripts[0]], env=clean_environment({"PATH": bin_with_netlab}),
        capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "ping", "")


def test_the_recorded_calls_are_those_of_a_real_run(tmp_path: Path) -> None:
    """But for the order and number of waits, which differ from run to run."""

    def kinds(path: Path) -> set[tuple[str, str]]:
        calls = read_trace(str(path))
        return {(call.lane, call.call) for call in calls if call.call != "poll"}

    live = tmp_path / "live.jsonl"
    assert run_netlab("probe", "--loopback", "--trace-file", str(live)).returncode == 0
    again = f"netlab probe --loopback --trace-file {RECORDING.relative_to(ROOT)}"
    assert kinds(live) == kinds(RECORDING), f"record it anew: {again}"
