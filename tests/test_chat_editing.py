"""netlab chat on a terminal that can move its cursor: the line being typed stays whole, whatever comes meanwhile."""

from __future__ import annotations

import os
import re
import signal
import socket
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import peers
from tests.programs import ROOT
from tests.screen import Screen

XTERM = {"TERM": "xterm"}
UP, LEFT = "\x1b[A", "\x1b[D"


@contextmanager
def hand_peer() -> Iterator[tuple[str, list[socket.socket]]]:
    """A peer that the test plays by hand; gives its endpoint, and then its connection."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)
        accepting = threading.Thread(target=lambda: connections.append(listener.accept()[0]))
        accepting.start()
        try:
            yield f":{listener.getsockname()[1]}", connections
        finally:
            accepting.join()
            for connection in connections:
                connection.close()


def test_what_comes_stands_above_the_line_that_is_typed() -> None:
    with hand_peer() as (target, connections), Screen("chat", target, env=XTERM) as screen:
        screen.wait_to_see(r"/help\n>$")
        screen.press("half a li")
        screen.wait_to_see("^> half a li$")
        (peer,) = connections
        peer.sendall(b"first news\n")
        screen.wait_to_see("/help\nfirst news\n> half a li$")
        peer.sendall(b"no newline")
        screen.wait_to_see("first news\nno newline\n> half a li$")
        peer.sendall(b"\x1b[2J\x1b]52;c;aGk=\x07\x9b2J" + "\u202eevil 你好\r\n".encode())
        screen.wait_to_see(r"\\x1b\[2J\\x1b\]52;c;aGk=\\x07\\x9b2J\\u202eevil 你好\n> half a li$")
        long = "x" * 100
        screen.press("ne " + long)
        screen.wait_to_see(f"^> half a line x{{{80 - 14}}}\nx{{{100 - 66}}}$")
        peer.sendall(b"news while it wraps\n")
        screen.wait_to_see(r"你好\nnews while it wraps\n> half a line x+\nx+$")
        screen.press("\n")
        assert peer.recv(200) == f"half a line {long}\n".encode()
        peer.sendall(b"thanks\n")
        screen.wait_to_see(r"x\nthanks\n>$")
        screen.press("\x04")
        assert peer.recv(1) == b"", "Ctrl-D half-closes"
        peer.sendall(b"the last word")
        peer.close()
        assert screen.wait() == 0
        assert re.search(
            r">\nthe last word\nclosed: peer sent EOF after [\d.]+ m?s, out 113 B, in \d+ B\n$", screen.display
        )
        assert termios.tcgetattr(screen.terminal) == screen.before


def test_lines_are_edited_completed_and_remembered() -> None:
    with peers.echo_server() as peer, Screen("chat", peer.endpoint, env=XTERM) as screen:
        screen.wait_to_see(r"^>$")
        screen.press("hllo" + LEFT * 3 + "e\n")
        screen.wait_to_see("^> hello\nhello\n>$")
        screen.press(UP)
        screen.wait_to_see("^> hello$")
        screen.press("\x15/in\t")
        screen.wait_to_see("^> /info$")
        screen.press("\n")
        screen.wait_to_see(r"^sent 6 B, received 6 B   unread 0 B, unacknowledged 0 B\n")
        screen.press("\n")
        screen.wait_to_see("^>\n>$")  # between two prompts the terminal itself echoes what comes
        screen.press("\x1b[200~one\ntwo\x1b[201~")
        screen.wait_to_see("^> one\ntwo$")
        screen.press("\n")
        screen.wait_to_see("^one\ntwo\n>$")
        screen.press("你好\x7f\x7fexit\n")
        assert screen.wait() == 0
    assert peer.received == b"hello\none\ntwo\nexit\n", "what was pasted is lines; an empty line is nothing"


def test_bytes_files_and_hexdumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a whole path may fill more than a line
    (tmp_path / "some file").write_bytes(bytes(range(250, 256)) * 100_000)
    with peers.reply_server(b"\x00\x01\n", b"plain\n") as peer, Screen("chat", peer.endpoint, env=XTERM) as screen:
        screen.wait_to_see(r"^>$")
        screen.press("/hexdump\n")
        screen.wait_to_see("^received bytes are shown in hex\n>$")
        screen.press("/hex 00 01:ff\n")
        screen.wait_to_see(r"^00000000  00 01 0a +\|\.\.\.\|\n>$")
        screen.press("/hexdump\n")
        screen.wait_to_see("^received bytes are shown as text\n>$")
        screen.press("/file some\t\n")
        screen.wait_to_see("^> /file some file\n")
        screen.wait_to_see(r"some file: 600,000\s")
        screen.wait_to_see("^plain$")
        screen.press("/hex 0\n")
        screen.wait_to_see("half a byte")
        screen.press("/file\n")
        screen.wait_to_see("^write /file PATH\n")
        screen.press("/file none\n")
        screen.wait_to_see("none: no such file")
        screen.press("/quit\n")
        assert screen.wait() == 0
    assert peer.received == b"\x00\x01\xff" + bytes(range(250, 256)) * 100_000


def test_the_server_leaves_while_a_line_is_typed() -> None:
    with hand_peer() as (target, connections), Screen("chat", target, env=XTERM) as screen:
        screen.wait_to_see(r"^>$")
        screen.press("see you at")
        screen.wait_to_see("^> see you at$")
        left = time.monotonic()
        connections[0].close()
        assert screen.wait() == 55
        assert time.monotonic() - left < 1
        end = r"> see you at\nclosed: peer sent EOF .*\nnetlab: send .*: not all was sent\n  not sent: see you at\n$"
        assert re.search(end, screen.display)
        assert termios.tcgetattr(screen.terminal) == screen.before


def test_a_reset_while_a_line_is_typed_is_56() -> None:
    with hand_peer() as (target, connections), Screen("chat", target, env=XTERM) as screen:
        screen.wait_to_see(r"^>$")
        connections[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, peers.RESET_ON_CLOSE)
        connections[0].close()
        assert screen.wait() == 56
        assert "(ECONNRESET)" in screen.display
        assert termios.tcgetattr(screen.terminal) == screen.before


@pytest.mark.parametrize("how", ["\x03", signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_and_leave_the_terminal_as_it_was(how: str | signal.Signals) -> None:
    with peers.mute_server() as peer, Screen("chat", peer.endpoint, env=XTERM) as screen:
        screen.wait_to_see(r"^>$")
        screen.press("half")
        screen.wait_to_see("^> half$")
        if isinstance(how, str):
            screen.press(how)
        else:
            screen.process.send_signal(how)
        assert screen.wait() == -(signal.SIGINT if isinstance(how, str) else how)
        assert termios.tcgetattr(screen.terminal) == screen.before


def test_a_closed_terminal_ends_it() -> None:
    with peers.mute_server() as peer, Screen("chat", peer.endpoint, env=XTERM) as screen:
        screen.wait_to_see(r"^>$")
        screen.hang_up()
        assert screen.process.wait(1) == -signal.SIGHUP


def test_the_line_can_be_typed_while_a_flood_comes() -> None:
    with hand_peer() as (target, connections), Screen("chat", target, env=XTERM) as screen:
        screen.wait_to_see(r"^>$")
        stop = threading.Event()

        def flood() -> None:
            while not stop.is_set():
                connections[0].sendall(b"flood\n" * 50)
                stop.wait(0.002)

        thread = threading.Thread(target=flood)
        thread.start()
        screen.press("typed meanwhile")
        screen.wait_to_see("^> typed meanwhile$")
        stop.set()
        thread.join()
        screen.press("\n")
        assert connections[0].recv(100) == b"typed meanwhile\n"
        screen.press("/quit\n")
        assert screen.wait() == 0


def test_without_prompt_toolkit_the_kernel_edits(tmp_path: Path) -> None:
    (tmp_path / "prompt_toolkit.py").write_text("raise ImportError('not here')\n")
    without = {**XTERM, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    with peers.echo_server() as peer, Screen("chat", peer.endpoint, env=without) as screen:
        screen.wait_to_see(r"/help\n>$")
        screen.press("hello\n")
        screen.wait_to_see("^> hello\nhello\n>$")
        screen.press("exit\n")
        assert screen.wait() == 0


def test_gbk_on_a_terminal() -> None:
    with peers.reply_server("收到".encode("gbk")) as peer:
        with Screen("chat", "--encoding", "gbk", peer.endpoint, env=XTERM) as screen:
            screen.wait_to_see(r"^>$")
            screen.press("你好\n")
            screen.wait_to_see("^> 你好\n收到\n>$")
            screen.press("exit\n")
            assert screen.wait() == 0
    assert peer.received == "你好\nexit\n".encode("gbk")
