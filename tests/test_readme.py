"""The READMEs: what they show is what comes, their commands exist, and their table of statuses is the real one.

A block after ``<!-- session: NAME -->`` is held against a real run of the session of that name, numbers masked: each
of its lines must have come.
"""

from __future__ import annotations

import re
import shlex
import shutil
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
from netlab.render.picture.tracefile import read_trace
from tests import peers
from tests.programs import ROOT, Program, StartProgram, clean_environment, run_netlab
from tests.screen import Screen

READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
TUTORIAL = ROOT / "tests/tutorial"
TREE = {command.name: command for command in read_tree(cli)}

DELAY = 0.1
"""Seconds that a slow server takes for a reply; the READMEs have 0.3, which is easier to see and longer to wait for."""

FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(netlab [^`\n]+)`")
COMMAND = re.compile(r"\bnetlab ((?:serve-\w+|send|chat|probe)\b[^|>)]*)")
BLOCK = re.compile(r"<!-- (netlab [^\n]*|benchmarks) -->")
TOOLS = re.compile(r"^\| \| netlab \|.*\n(?:\|.*\n)+", re.MULTILINE)
SESSION = re.compile(r"<!-- session: (?P<name>[\w -]+) -->\n```console\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path: Path, *kinds: str) -> list[str]:
    """The bodies of a README's fenced blocks of these kinds."""
    return [found["body"] for found in FENCE.finditer(path.read_text("utf-8")) if found["kind"] in kinds]


def sessions() -> dict[str, list[tuple[str, str]]]:
    """Each session's name, with the READMEs that show it and what they show."""
    found: dict[str, list[tuple[str, str]]] = {}
    for path in READMES:
        for session in SESSION.finditer(path.read_text("utf-8")):
            found.setdefault(session["name"], []).append((path.name, session["body"]))
    return found


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

    def chat_listens(self) -> str:
        return self._two_people()[0]

    def chat_comes(self) -> str:
        return self._two_people()[1]

    def _two_people(self) -> tuple[str, str]:
        with Screen("chat", "--listen", ":0") as one:
            endpoint = one.wait_for(r"listening on (\S+)\n")[1]
            with Screen("chat", endpoint) as other:
                other.wait_for("> ")
                other.press("are you there?\n")
                one.wait_for("are you there\\?\n.*> ")
                one.press("yes\n")
                other.wait_for("yes\n.*> ")
                other.press("exit\n")
                other.wait()
            one.wait()
        return one.text.replace("\r", "\n"), other.text.replace("\r", "\n")

    def trace(self) -> str:
        return output("send", self.start_server("serve-tcp").endpoint, "hello", "--trace")

    def jq(self) -> str:
        if shutil.which("jq") is None:
            pytest.skip("jq is not installed (apt install jq)")
        server = self.start_server("serve-tcp")
        with peers.refusing_port() as peer:
            ports = f"127.0.0.1:{server.port},{peer.port}"
            found = run_netlab("probe", ports, "--json").stdout
        [script] = {line for path in READMES for line in re.findall(r"\| jq -r '(.*)'", path.read_text("utf-8"))}
        done = subprocess.run(["jq", "-r", script], input=found, capture_output=True, check=True, timeout=10)
        assert done.stdout.decode().splitlines() == [server.endpoint]
        return done.stdout.decode()

    def fault_server(self) -> str:
        server = self.start_server(*shlex.split("serve-tcp --fault delay=300ms --fault drop=10% --seed 1"))
        output("send", server.endpoint, "-w", "100ms", "hello")
        return self.ended(server, 1)

    def fault_late(self) -> str:
        server = self.start_server(*shlex.split("serve-tcp --fault delay=300ms"))
        return output("send", server.endpoint, "-w", "100ms", "hello")

    def fault_curl(self) -> str:
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed (apt install curl)")
        server = self.start_server(*shlex.split("serve-threaded --fault reset-after=5B"))
        client = self.start_program("curl", "-sS", f"telnet://{server.endpoint}")
        client.write("hello\n")
        client.close_stdin()
        done = client.wait()
        assert done.returncode == 56
        return (done.stdout + done.stderr).decode()

    def fault_list(self) -> str:
        return output("serve-tcp", "--fault", "list")

    def one_after_the_other(self) -> str:
        seconds, text = self._five_clients("serve-tcp")
        assert seconds >= 5 * DELAY
        return text

    def all_at_once(self) -> str:
        for server in ("serve-threaded", "serve-tcp --concurrent"):
            seconds, text = self._five_clients(server)
            assert DELAY <= seconds < 5 * DELAY
        return text

    def _five_clients(self, server: str) -> tuple[float, str]:
        """Let five clients ask a slow server at once: how long that took, and the report."""
        slow = self.start_server(*server.split(), "--fault", f"delay={DELAY}s")
        text = output("send", slow.endpoint, "-c", "5", "-j", "5", "--reconnect", "hello")
        took = re.search(r" in ([\d.]+) (ms|s): ", text)
        assert took is not None
        return float(took[1]) / (1000 if took[2] == "ms" else 1), text

    def load(self) -> str:
        server = self.start_server("serve-threaded", "--reply", "echo", "--quiet")
        return output("send", server.endpoint, "-c", "2000", "-j", "10", "--expect-echo", "hello")

    def refused(self) -> str:
        with peers.refusing_port() as peer:
            return output("probe", peer.endpoint)

    def closed(self) -> str:
        with peers.refusing_udp() as peer:
            return output("probe", peer.endpoint)

    def ping(self) -> str:
        text = output("probe", "icmp:127.0.0.1", "-c", "3", "-i", "1ms")
        if "ping_group_range" in text:
            pytest.skip(f"this user may not ping: {text}")
        return text

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


@pytest.mark.parametrize(("name", "shown"), sessions().items(), ids=sessions())
def test_what_is_shown_is_what_comes(name: str, shown: list[tuple[str, str]], real: Sessions) -> None:
    run: Callable[[], str] = getattr(real, name.replace(" ", "_").replace("-", "_"))
    came = {shape(line) for line in run().splitlines()}
    for readme, body in shown:
        for line in body.splitlines():
            if not line.startswith("$ "):
                assert shape(line) in came, f"{readme}, {name}: {line}"


def test_both_readmes_have_the_same() -> None:
    """In Chinese there is all that is in English, and the tutorial's programs, too."""
    english, chinese = (path.read_text("utf-8") for path in READMES)
    for kind in (SESSION, BLOCK):
        assert {found[1] for found in kind.finditer(english)} <= {found[1] for found in kind.finditer(chinese)}
    [ours], [theirs] = TOOLS.findall(english), TOOLS.findall(chinese)
    assert [cells(row) for row in ours.splitlines()] == [cells(row) for row in theirs.splitlines()]
    english_tour = english.partition("## A tour in ten tasks\n")[2].partition("\n## ")[0]
    chinese_tour = chinese.partition("## 十个任务，快速上手\n")[2].partition("\n## ")[0]
    assert english_tour.count("\n### ") == chinese_tour.count("\n### ") == 10


def cells(row: str) -> list[str]:
    """What a row of a table has in common with the same one in another language."""
    return [cell if cell in ("-", "28") else "no" if "**" in cell else "" for cell in row.split(" | ")]


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_commands_and_options_exist(readme: Path) -> None:
    lines = [line for body in blocks(readme, "", "console", "bash", "sh") for line in body.splitlines()]
    lines += INLINE.findall(readme.read_text("utf-8"))
    commands = [found[1] for line in lines for found in COMMAND.finditer(line)]
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


@pytest.mark.parametrize("readme", READMES, ids=lambda path: path.name)
def test_completion_is_installed_as_is_said(readme: Path, bin_with_netlab: str, tmp_path: Path) -> None:
    [script] = [body for body in blocks(readme, "") if "netlab --completion bash >" in body]
    done = subprocess.run(
        ["bash", "-ec", script], env=clean_environment({"PATH": bin_with_netlab, "HOME": str(tmp_path)}),
        capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for name, place in [
        ("netlab.bash", ".local/share/bash-completion/completions/netlab"),
        ("netlab.bash", ".netlab.bash"),
        ("_netlab", ".zsh/_netlab"),
        ("netlab.fish", ".config/fish/completions/netlab.fish"),
    ]:
        assert (tmp_path / place).read_bytes() == (ROOT / "completions" / name).read_bytes()
    assert (tmp_path / ".bashrc").read_text() == "source ~/.netlab.bash\n"


def test_the_recorded_calls_are_those_of_a_real_run(tmp_path: Path) -> None:
    """But for the order and number of waits, which differ from run to run."""

    def kinds(path: Path) -> set[tuple[str, str]]:
        calls = read_trace(str(path))
        return {(call.lane, call.call) for call in calls if call.call != "poll"}

    live = tmp_path / "live.jsonl"
    assert run_netlab("probe", "--loopback", "--trace-file", str(live)).returncode == 0
    again = f"netlab probe --loopback --trace-file {RECORDING.relative_to(ROOT)}"
    assert kinds(live) == kinds(RECORDING), f"record it anew: {again}"
