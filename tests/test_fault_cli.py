"""--fault and --seed on the command line: what is refused, listed and logged, and that chance repeats itself."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest

from netlab import cli
from netlab.socketops.faultlab.faulttable import KINDS, kinds
from tests.programs import ROOT, Program, StartProgram
from tests.servers import read_to_end

STREAM_SERVERS = (["serve-tcp"], ["serve-tcp", "--concurrent"], ["serve-threaded"])
SERVERS = (*STREAM_SERVERS, ["serve-udp"])


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run a command of netlab in this process: its exit status, stdout and stderr."""
    status = cli.run(words)
    return status, *capfd.readouterr()


def names(server: list[str]) -> list[str]:
    return [kind.name for kind in kinds(datagrams=server == ["serve-udp"])]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("serve-tcp --fault dealy=300ms", "did you mean delay?"),
        ("serve-tcp --fault nonsense", "choose from delay, rate, dribble"),
        ("serve-tcp --fault ''", "choose from delay"),
        ("serve-udp --fault nonsense", "choose from delay, no-reply, drop, duplicate"),
        ("serve-udp --fault stall", "choose from delay, no-reply, drop, duplicate"),
        ("serve-threaded --fault duplicate=10%", "choose from delay, rate, dribble"),
        ("serve-tcp --fault delay", "delay=DURATION[~JITTER], such as delay=300ms"),
        ("serve-tcp --fault delay=soon", "delay=DURATION[~JITTER], such as delay=300ms"),
        ("serve-tcp --fault drop=150%", "more than 0% and at most 100%"),
        ("serve-tcp --fault dribble=1B", "dribble=SIZE/DURATION, such as dribble=1B/10ms"),
        ("serve-tcp --fault stall=1", "stall takes no value"),
        ("serve-tcp --fault drop=1% --fault drop=2%", "drop is given twice"),
        ("serve-threaded --reply broadcast --fault delay=1s", "broadcast: clients hear each other there"),
        ("serve-tcp --reply discard --fault drop=1%", "choose another reply"),
        ("serve-tcp unix:nowhere/s --fault reset-after=5B", "a unix socket has no reset"),
        ("serve-udp unix-dgram:nowhere/s --fault wrong-port", "a unix socket has no port"),
        ("serve-tcp --fault DEALY=1s", "did you mean delay?"),
        ("serve-tcp --fault drop=10", "a percent sign"),
        ("serve-tcp --fault no-accept --backlog 3", "--backlog has no effect with no-accept"),
        ("serve-tcp --seed 7", "--seed is for --fault"),
        ("serve-tcp --fault garbage --seed -1", "-1 is not in the range"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_opened(
    words: str, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status, out, err = run(capfd, *(word.strip("'") for word in words.split()))
    assert (status, out) == (2, "")
    assert says in err
    assert err.startswith(f"Usage: netlab {words.split()[0]} ")
    assert len(err.splitlines()[-1]) < 320


def test_a_variable_with_a_bad_fault_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NETLAB_SERVE_TCP_FAULT", "delay=1s nonsense")
    status, _, err = run(capfd, "serve-tcp", "-p", "0")
    assert status == 2
    assert "(from NETLAB_SERVE_TCP_FAULT)" in err


@pytest.mark.parametrize("server", SERVERS, ids=" ".join)
def test_the_list_tells_of_each_fault(server: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capfd, *server, "--fault", "list")
    assert (status, err) == (0, "")
    assert out.isascii()
    assert all(line == line.rstrip() and len(line) <= 80 for line in out.splitlines())
    assert [re.split("=|$", line)[0] for line in out.splitlines() if re.match("[a-z]", line)] == names(server)
    flat = " ".join(out.split())
    for kind in kinds(datagrams=server == ["serve-udp"]):
        assert f" server {kind.does} client {kind.sees} try netlab {' '.join(server)} --fault {kind.sample}" in flat
    assert flat.count(" netlab send ") == flat.count(" exit status ") == len(names(server))
    assert flat.count(" netlab send -u ") == (len(names(server)) if server == ["serve-udp"] else 0)


def test_the_list_as_json_lines(capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capfd, "serve-udp", "--fault", "list", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [line["fault"] for line in lines] == names(["serve-udp"])
    for line in lines:
        assert list(line) == ["event", "time", "fault", "usage", "does", "sees", "server", "client", "status"]
        assert line["event"] == "fault_kind"


def test_the_list_needs_no_port_and_no_leave_to_speak(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        status, out, _ = run(capfd, "serve-tcp", "-q", "-p", port, "--fault", "delay=1s", "--fault", "list")
    assert status == 0
    assert out.startswith("delay=")


@pytest.mark.parametrize("server", ["serve-tcp", "serve-threaded", "serve-udp"])
def test_help_and_man_page_name_each_fault(server: str, capfd: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capfd, server, "--help")
    assert status == 0
    about = " ".join(out.partition("--fault NAME[=VALUE]")[2].partition("--seed")[0].split()).replace("- ", "-")
    assert f"NAME is one of {', '.join(names([server]))}." in about
    page = (ROOT / "man" / f"netlab-{server}.1").read_text("utf-8").replace(r"\-", "-").replace(r"\(ti", "~")
    section = page.partition(".Sh FAULTS\n")[2].partition("\n.Sh ")[0]
    for kind in kinds(datagrams=server == "serve-udp"):
        assert f".It Cm {kind.usage}\n" in section


@pytest.mark.parametrize("page", ["netlab-send.1", "netlab-chat.1", "netlab-probe.1"])
def test_a_client_has_no_faults(page: str) -> None:
    assert "FAULT" not in (ROOT / "man" / page).read_text("utf-8")


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readmes_name_each_fault(readme: str) -> None:
    text = (ROOT / readme).read_text("utf-8")
    for kind in KINDS:
        assert f"`{kind.name}" in text


def faults_line(server: Program) -> str:
    return str(server.wait_for(r"^faults: (.*)\n")[1])


def test_the_log_says_what_goes_wrong(start_server: StartProgram) -> None:
    server = start_server("serve-threaded", "--fault", "drop=10%", "--fault", "delay=300ms", "--seed", "7")
    assert faults_line(server) == "delay=300ms, drop=10% (seed 7)"


def test_json_says_so_too(start_server: StartProgram) -> None:
    server = start_server("serve-tcp", "--fault", "close-after=5B", "--json")
    server.wait_for('"serving".*\n')
    with socket.create_connection((server.host, server.port), timeout=5) as client:
        client.send(b"hello")
        assert read_to_end(client) == b"recei"
    events = [json.loads(line) for line in server.stop().stdout.splitlines()]
    [serving] = [event for event in events if event["event"] == "serving"]
    assert serving["faults"] == ["close-after=5B"]
    assert "seed" not in serving  # nothing is left to chance
    [fault] = [event for event in events if event["event"] == "fault"]
    assert (fault["fault"], fault["conn"]) == ("close-after", 1)


def garbage(server: Program) -> bytes:
    with socket.create_connection((server.host, server.port), timeout=5) as client:
        client.send(b"exit\n")
        return read_to_end(client)


def test_the_seed_that_was_chosen_makes_the_same_go_wrong_again(start_server: StartProgram) -> None:
    first = start_server("serve-tcp", "--fault", "garbage")
    seed = re.fullmatch(r"garbage \(seed (\d+)\)", faults_line(first))
    assert seed is not None
    again = start_server("serve-threaded", "--fault", "garbage", "--seed", seed[1])
    other = start_server("serve-threaded", "--fault", "garbage", "--seed", str(int(seed[1]) + 1))
    came = garbage(first)
    assert garbage(again) == came
    assert garbage(other) != came


@pytest.mark.parametrize("where", [[], ["unix:s"]], ids=["tcp", "unix"])
def test_a_server_that_accepts_nobody_is_ready_when_its_queue_is_full(
    where: list[str], start_server: StartProgram, tmp_path: Path
) -> None:
    server = start_server("serve-tcp", *where, "--fault", "no-accept", cwd=tmp_path)
    with socket.socket(socket.AF_UNIX if where else socket.AF_INET) as client:
        client.settimeout(0.05)
        address = str(tmp_path / "s") if where else (server.host, server.port)
        with pytest.raises(BlockingIOError if where else TimeoutError):
            client.connect(address)
    done = server.stop()
    assert done.returncode == 0
    assert b": 0 clients, " in done.stdout
