"""Every example of every --help is run: against peers on loopback in place of the hosts and ports that it names."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from netlab.cli import cli
from netlab.errors import LocalError
from netlab.reference.tree import read_tree
from tests.programs import Netlab, Program, StartProgram, clean_environment

EXAMPLES = {command.name: command.examples for command in read_tree(cli)[1:]}
SERVERS = [line for name, lines in EXAMPLES.items() if name.startswith("serve") for line in lines]
CLIENTS = [line for name, lines in EXAMPLES.items() if not name.startswith("serve") for line in lines]

ANY_PORT = {f"NETLAB_{name}_PORT": "0" for name in ("SERVE_TCP", "SERVE_THREADED", "SERVE_UDP")}


@dataclass(frozen=True)
class Peer:
    """What an example of a client meets, and what is to come of it.

    ``server`` is a server's command line, ``place`` what of the example gives way to its endpoint.
    """

    server: str = "serve-threaded"
    place: str = ""
    stdin: bytes = b""
    says: bytes = b""


PEERS = {
    "netlab send :9999 hello": Peer(place=":9999", says=b"received 5 bytes\n"),
    r"netlab send -e example.com:80 'HEAD / HTTP/1.0\r\n\r\n'": Peer(
        "serve-tcp --reply echo", "example.com:80", says=b"HEAD / HTTP/1.0\r\n\r\n"
    ),
    "netlab send -p 9999 --wait 5s --expect pong ping": Peer("serve-tcp --ack-text pong", "9999", says=b"pong\n"),
    "tar c . | netlab send backup:9999": Peer("serve-tcp -o upload.tar", "backup:9999"),
    "netlab send :9999 -c 10000 -j 50 hello": Peer(place=":9999", says=b"10,000 exchanges on 50 connections in "),
    "netlab chat": Peer(stdin=b"hello\n", says=b"received 6 bytes\n"),
    "netlab chat -C mail.example.com:smtp": Peer(
        "serve-tcp --reply echo", "mail.example.com:smtp", b"QUIT\n", b"QUIT\r\n"
    ),
    "netlab chat --listen :9999": Peer("", ":9999"),
    "netlab probe --loopback": Peer(says=b"ESTABLISHED"),
    "netlab probe example.com:443": Peer(place="example.com:443", says=b"open "),
    "netlab probe db:5432 --wait 30s": Peer(place="db:5432", says=b"open "),
    "netlab probe -u 192.0.2.1:53": Peer("serve-udp", "192.0.2.1:53", says=b"open "),
    "netlab probe icmp:192.0.2.1": Peer("", "192.0.2.1", says=b"open "),
}


def test_every_example_has_its_test() -> None:
    assert set(PEERS) == set(CLIENTS)
    assert all(line.startswith("netlab serve-") for line in SERVERS)
    assert all(EXAMPLES.values())


@pytest.mark.parametrize("line", SERVERS)
def test_example_of_a_server(line: str, start_netlab: StartProgram, netlab_here: Netlab, tmp_path: Path) -> None:
    here = re.sub(r"(?<=:)(7|9999)\b", "0", line.replace("/tmp/s", f"{tmp_path}/s"))
    here = re.sub(r"(?<=-p )\d+", "0", here)
    server = start_netlab(*shlex.split(here)[1:], env=ANY_PORT, cwd=tmp_path)
    endpoint = server.ready().replace("[::]", "[::1]")
    if "--reply discard" in line:
        done = netlab_here("send", endpoint, "hello", "--until", "none")
        server.wait_for("68 65 6c 6c 6f")
    elif "--reply broadcast" in line:  # whoever is alone in the room hears nothing
        done = netlab_here("send", endpoint, "hello", "--until", "none")
        server.wait_for("hello")
    else:
        done = netlab_here("send", endpoint, "hello", "--expect", "hello" if "echo" in line else "received 5 bytes")
    assert (done.returncode, done.stderr) == (0, b"")
    if "--once" in line:
        assert server.wait().returncode == 0
        assert (tmp_path / "upload.bin").read_bytes() == b"hello"
    else:
        assert server.stop().returncode == 0


@pytest.mark.parametrize("line", CLIENTS)
def test_example_of_a_client(
    line: str, start_server: StartProgram, start_netlab: StartProgram, bin_with_netlab: str, tmp_path: Path
) -> None:
    peer = PEERS[line]
    if "--listen" in line:
        check_listening(start_netlab(*shlex.split(line.replace(peer.place, ":0"))[1:]))
        return
    (tmp_path / "client").mkdir()
    server = start_server(*shlex.split(peer.server), cwd=tmp_path) if peer.server else None
    at = "127.0.0.1" if server is None else str(server.port) if peer.place == "9999" else server.endpoint
    env = {"PATH": bin_with_netlab, "NETLAB_CHAT_PORT": str(server.port) if server else "1"}
    done = subprocess.run(
        ["sh", "-c", line.replace(peer.place, at.removeprefix("udp://")) if peer.place else line],
        input=peer.stdin, cwd=tmp_path / "client", env=clean_environment(env),
        capture_output=True, check=False, timeout=10,
    )  # fmt: skip
    if "icmp:" in line and done.returncode == LocalError.status:
        pytest.skip(f"this user may not ping: {done.stderr.decode()}")
    assert done.returncode == 0, done.stderr.decode()
    assert peer.says in done.stdout
    if "upload.tar" in peer.server and server is not None:
        server.wait_for("closed: peer sent EOF")
        listed = subprocess.run(["tar", "tf", tmp_path / "upload.tar"], capture_output=True, check=True, timeout=10)
        assert listed.stdout == b"./\n"


def check_listening(chat: Program) -> None:
    """Let a client talk to a chat that listens."""
    endpoint = chat.wait_for(r"^listening on (\S+)\n", stderr=not chat.lines)[1]
    client = subprocess.Popen(
        [sys.executable, "-m", "netlab", "send", endpoint, "hello", "--until", "none"],
        env=clean_environment(), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    chat.wait_for("hello")
    assert client.wait(10) == 0
    chat.close_stdin()
    assert chat.wait().returncode == 0
