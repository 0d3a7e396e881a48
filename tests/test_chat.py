"""netlab chat in a pipe and on a terminal: what is said, what is shown, and how each conversation ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netlab.endpoint import Endpoint, Transport
from netlab.errors import ReceiveError, SendError, TimedOut
from netlab.records import Closed, Received, Record, Sent, WarningReport
from netlab.socketops import Connection, Relay
from tests import peers
from tests.programs import Netlab, StartProgram
from tests.screen import Screen


class Lines:
    """Lines that are all there from the start, as a pipe would give them; poll sees them through a real one."""

    def __init__(self, *lines: str, ends: bool = True, rest: str = "") -> None:
        self._reading, self._writing = os.pipe()
        os.write(self._writing, b"x")
        self._lines = list(lines)
        self._ends = ends
        self._rest = rest

    def fileno(self) -> int:
        return self._reading

    def read(self) -> tuple[list[str], bool]:
        if not self._ends:
            os.read(self._reading, 1)
        lines, self._lines = self._lines, []
        return lines, self._ends

    def rest(self) -> str:
        return self._rest

    def close(self) -> None:
        os.close(self._reading)
        os.close(self._writing)


@contextmanager
def typed(*lines: str, ends: bool = True, rest: str = "") -> Iterator[Lines]:
    source = Lines(*lines, ends=ends, rest=rest)
    try:
        yield source
    finally:
        source.close()


@contextmanager
def unix_pair() -> Iterator[tuple[Connection, socket.socket]]:
    ours, theirs = socket.socketpair()
    with Connection(ours, Endpoint(Transport.UNIX, path="@pair")) as connection, theirs:
        theirs.settimeout(5)
        yield connection, theirs


def hold(relay: Relay, lines: Lines) -> None:
    with relay.ending(lines.rest):
        relay.run(lines)


def said(seen: list[Record]) -> list[bytes]:
    return [record.data for record in seen if isinstance(record, Sent)]


def end_of(seen: list[Record]) -> str:
    assert isinstance(seen[-1], Closed)
    return seen[-1].reason


# The relay


def test_lines_go_out_with_their_ends_and_what_comes_is_shown() -> None:
    seen: list[Record] = []
    with unix_pair() as (connection, theirs), typed("one", "two") as lines:
        theirs.sendall(b"hello")
        theirs.shutdown(socket.SHUT_WR)
        relay = Relay(connection, emit=seen.append, eol=b"\r\n")
        relay.say("zero\r")
        theirs_got = theirs.recv(100)
        hold(relay, lines)
    assert theirs_got == b"zero\r\n"
    assert [record.data for record in seen if isinstance(record, Received)] == [b"hello"]
    assert end_of(seen) == "eof"


def test_the_exit_word_is_sent_and_nothing_after_it() -> None:
    seen: list[Record] = []
    with peers.closing_server(8) as peer:
        sock = socket.create_connection((peer.host, peer.port))
        with Connection(sock, Endpoint.parse(peer.endpoint)) as connection, typed("hi", " exit", "more") as lines:
            hold(Relay(connection, emit=seen.append), lines)
        assert peer.received == b"hi\n exit\n"
    assert said(seen) == [b"hi\n", b" exit\n"]
    assert end_of(seen) == "eof"


def test_what_still_comes_after_the_end_is_shown_for_a_while() -> None:
    seen: list[Record] = []
    with unix_pair() as (connection, theirs), typed() as lines:
        theirs.sendall(b"last")
        hold(Relay(connection, emit=seen.append, linger=0.1), lines)
        assert theirs.recv(10) == b"", "the end of the input is a half-close"
    assert isinstance(seen[0], Received)
    assert end_of(seen) == "timeout"


def test_in_a_pipe_a_peer_that_does_not_close_is_an_error() -> None:
    seen: list[Record] = []
    with unix_pair() as (connection, _), typed("hi") as lines, pytest.raises(TimedOut) as caught:
        hold(Relay(connection, emit=seen.append, linger=None, timeout=0.1), lines)
    assert caught.value.cause == "the peer did not close within 100 ms"
    assert end_of(seen) == "timeout"


def test_typed_text_that_was_not_sent_is_repeated() -> None:
    seen: list[Record] = []
    with unix_pair() as (connection, theirs), typed(ends=False, rest="see you at") as lines:
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(SendError) as caught:
            hold(Relay(connection, emit=seen.append), lines)
    assert caught.value.facts == ("not sent: see you at",)
    assert end_of(seen) == "eof"


def test_a_peer_that_takes_nothing_is_told_with_what_waits() -> None:
    seen: list[Record] = []
    with unix_pair() as (connection, _), typed("x" * 4_000_000) as lines, pytest.raises(TimedOut) as caught:
        hold(Relay(connection, emit=seen.append, linger=None, timeout=0.1), lines)
    assert caught.value.operation == "send"
    assert caught.value.facts[0].startswith("not sent: xxx")


def test_the_end_of_the_input_leaves_a_peer_that_takes_nothing() -> None:
    seen: list[Record] = []
    with unix_pair() as (connection, _), typed() as lines:
        relay = Relay(connection, emit=seen.append, linger=0.1)
        relay.say("x" * 900_000)
        with pytest.raises(SendError) as caught:
            hold(relay, lines)
    assert caught.value.cause == "not all was sent"
    assert end_of(seen) == "timeout"


def test_what_the_encoding_lacks_is_said_and_the_conversation_goes_on() -> None:
    seen: list[Record] = []
    with unix_pair() as (connection, theirs), typed("€", "好") as lines:
        theirs.shutdown(socket.SHUT_WR)
        relay = Relay(connection, emit=seen.append, encoding="gb2312")
        relay.say("€")
        relay.say("好")
        assert theirs.recv(10) == "好\n".encode("gb2312")
        with pytest.raises(SendError) as caught:
            hold(relay, lines)
    assert "not sent: gb2312 has no €" in [record.message for record in seen if isinstance(record, WarningReport)]
    assert caught.value.facts[0] == "not sent: €"


def test_a_reset_is_an_error() -> None:
    seen: list[Record] = []
    with peers.resetting_server(3) as peer:
        sock = socket.create_connection((peer.host, peer.port))
        with Connection(sock, Endpoint.parse(peer.endpoint)) as connection, typed("hi", ends=False) as lines:
            with pytest.raises(ReceiveError):
                hold(Relay(connection, emit=seen.append), lines)
    assert end_of(seen) == "reset"


# In a pipe


def test_a_conversation_in_a_pipe(start_netlab: StartProgram) -> None:
    with peers.reply_server(b"one\n", b"two") as peer:
        chat = start_netlab("chat", peer.endpoint)
        chat.write("hello\n")
        chat.wait_for("^one\n")
        chat.write("/help\n")
        chat.wait_for("two")
        chat.close_stdin()
        done = chat.wait()
    assert (done.returncode, done.stdout) == (0, b"one\ntwo")
    assert peer.received == b"hello\n/help\n", "in a pipe there are no commands"
    connected, closed = done.stderr.decode().splitlines()
    assert connected.startswith(f"connected to {peer.endpoint} from 127.0.0.1:")
    assert re.fullmatch(r"closed: peer sent EOF after [\d.]+ m?s, out 12 B, in 7 B", closed)


def test_a_last_line_without_its_end_is_a_line(netlab: Netlab) -> None:
    with peers.closing_server(6) as peer:
        assert netlab("chat", peer.endpoint, input="hello").returncode == 0
    assert peer.received == b"hello\n"


@pytest.mark.parametrize(("eol", "arrives"), [(["--eol", "none"], b"ab"), (["-C"], b"a\r\nb\r\n")])
def test_ends_of_lines(netlab: Netlab, eol: list[str], arrives: bytes) -> None:
    with peers.closing_server(len(arrives)) as peer:
        assert netlab("chat", peer.endpoint, *eol, input="a\nb\n").returncode == 0
    assert peer.received == arrives


def test_gbk_goes_out_and_comes_as_it_came(netlab: Netlab) -> None:
    with peers.reply_server("收到".encode("gbk")) as peer:
        done = netlab("chat", "--encoding", "gbk", peer.endpoint, input="你好\nexit\n")
    assert peer.received.startswith("你好\n".encode("gbk"))
    assert (done.returncode, done.stdout) == (0, "收到".encode("gbk"))


def test_input_after_the_peers_end_is_not_lost_silently(start_netlab: StartProgram) -> None:
    with peers.closing_server(3) as peer:
        chat = start_netlab("chat", peer.endpoint)
        chat.write("hi\nlate")
        done = chat.wait()
    assert done.returncode == 55
    assert done.stderr.decode().splitlines()[2:] == [
        f"netlab: send {peer.endpoint}: not all was sent",
        "  not sent: late",
    ]


def test_json_has_both_directions(netlab: Netlab) -> None:
    with peers.reply_server(b"pong\n") as peer:
        done = netlab("chat", "--json", peer.endpoint, input="ping\n")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["connected", "sent", "received", "closed"]
    assert [event.get("text") for event in events[1:3]] == ["ping\n", "pong\n"]


@pytest.mark.parametrize(("peer_kind", "status"), [("refused", 7), ("reset", 56)])
def test_statuses(start_netlab: StartProgram, peer_kind: str, status: int) -> None:
    serve = peers.refusing_port() if peer_kind == "refused" else peers.resetting_server(3)
    with serve as peer:
        chat = start_netlab("chat", peer.endpoint)
        if peer_kind == "reset":
            chat.write("hi\n")
        done = chat.wait()
    assert done.returncode == status


def test_a_server_that_is_not_there_is_offered(netlab: Netlab) -> None:
    with peers.refusing_port() as peer:
        done = netlab("chat", peer.endpoint)
    assert f"netlab serve-threaded -p {peer.port} " in done.stderr.decode()


@pytest.mark.parametrize("udp", [False, True])
def test_two_chats_talk_to_each_other(start_netlab: StartProgram, udp: bool) -> None:
    kind = ["-u"] if udp else []
    one = start_netlab("chat", "--listen", *kind, "127.0.0.1:0")
    target = one.wait_for(r"^listening on (\S+)\n", stderr=True)[1]
    two = start_netlab("chat", target)
    two.wait_for("^connected to", stderr=True)
    two.write("你好\n")
    one.wait_for("^你好\n")
    one.write("hello\n")
    two.wait_for("^hello\n")
    if udp:
        two.write("exit\n")
        one.wait_for("^exit\n")
        one.write("bye\n")
        two.wait_for("^bye\n")
    else:
        two.close_stdin()
        assert one.wait().returncode == 0
    assert two.wait().returncode == 0


def test_two_chats_in_a_room_are_a_conversation(start_server: StartProgram, start_netlab: StartProgram) -> None:
    room = start_server("serve-threaded", "--reply", "broadcast")
    one, two = (start_netlab("chat", room.endpoint) for _ in range(2))
    room.wait_for("^#2 .* connected", timeout=10)
    for _ in range(50):  # a member is in the room a moment after it is connected
        one.write("你好\n")
        if b"\n" in two.stdout:
            break
        threading.Event().wait(0.02)
    two.wait_for("^#[12] 你好\n")
    two.write("hello\n")
    one.wait_for("^#[12] hello\n")
    two.write("exit\n")
    assert two.wait().returncode == 0


def test_listen_accepts_one_and_no_more(start_netlab: StartProgram, netlab: Netlab) -> None:
    one = start_netlab("chat", "-l", "127.0.0.1:0")
    target = one.wait_for(r"^listening on (\S+)\n", stderr=True)[1]
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as first:
        one.wait_for("^connected to", stderr=True)
        assert netlab("chat", target).returncode == 7
        first.sendall(b"still here\n")
        one.wait_for("^still here\n")
    assert one.wait().returncode == 0


@pytest.mark.parametrize("kind", ["stream", "dgram", "seqpacket"])
def test_unix_sockets_of_each_type(start_netlab: StartProgram, tmp_path: Path, kind: str) -> None:
    path = ["-U", str(tmp_path / "s"), "--type", kind]
    one = start_netlab("chat", "-l", *path, "-w", "200ms")
    one.wait_for(r"^listening on ", stderr=True)
    two = start_netlab("chat", *path)
    two.wait_for("^connected to", stderr=True)
    two.write("hello\n")
    one.wait_for("^hello\n")
    one.write("hi\n")
    two.wait_for("^hi\n")
    one.close_stdin()
    two.close_stdin()
    assert two.wait().returncode == 0
    assert one.wait().returncode == 0
    assert not (tmp_path / "s").exists()


# On a terminal


def test_a_conversation_on_a_terminal() -> None:
    with peers.reply_server(b"received 6 bytes\n", b"no newline", b"bye\n") as peer:
        with Screen("chat", peer.endpoint) as screen:
            screen.wait_for(r"^lines end in \\n \(--eol\); exit or Ctrl-D ends, Ctrl-C aborts, /help\n> ")
            screen.press("hello\n")
            screen.wait_for("received 6 bytes\n> ")
            screen.press("\n")
            screen.press("你好\n")
            screen.wait_for("no newline\n> ")
            screen.press("exit\n")
            assert screen.wait() == 0
            assert screen.text.startswith(f"connected to {peer.endpoint} from 127.0.0.1:")
            assert re.search(r"closed: peer sent EOF after [\d.]+ m?s, out 18 B, in 31 B\n$", screen.text)
            assert termios.tcgetattr(screen.terminal) == screen.before
    assert peer.received == "hello\n你好\nexit\n".encode(), "an empty line asks again"


def test_the_terminals_commands() -> None:
    with peers.reply_server(b"ok\n", b"ok\n") as peer, Screen("chat", peer.endpoint) as screen:
        screen.wait_for("> ")
        screen.press("/help\n")
        screen.wait_for("^/info +addresses, queues.*\n(/.*\n)+//.*\n> ")
        screen.press("//slash\n")
        screen.wait_for("^ok\n> ")
        screen.press("/info\n")
        screen.wait_for(
            rf"^local 127.0.0.1:\d+   peer {peer.endpoint}   tcp ESTABLISHED   fileno \d+\n"
            r"sent 7 B, received 3 B   unread 0 B, unacknowledged 0 B\n"
            r"rtt [\d.]+ [mu]s \(kernel\), last reply [\d.]+ m?s   TCP_NODELAY 0   SO_KEEPALIVE 0\n> "
        )
        screen.press("/fly\n")
        screen.wait_for("^there is no command /fly; /help lists them")
        screen.press("/close\n")
        assert screen.wait() == 0
    assert peer.received == b"/slash\n"


def test_quit_leaves_at_once() -> None:
    with peers.mute_server() as peer, Screen("chat", peer.endpoint) as screen:
        screen.wait_for("> ")
        screen.press("/quit\n")
        assert screen.wait() == 0


def test_ctrl_d_half_closes_and_shows_what_still_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_at_eof() -> None:
            with listener.accept()[0] as client:
                while client.recv(100):
                    pass
                client.sendall(b"the last word")

        thread = threading.Thread(target=answer_at_eof)
        thread.start()
        with Screen("chat", f":{listener.getsockname()[1]}") as screen:
            screen.wait_for("> ")
            screen.press("hi\n")
            screen.wait_for("> ", count=2)
            screen.press("\x04")
            assert screen.wait() == 0
            assert "\nthe last word\nclosed: peer sent EOF" in screen.text
            assert termios.tcgetattr(screen.terminal) == screen.before
        thread.join()


def test_ctrl_c_is_130_and_leaves_the_terminal_as_it_was() -> None:
    with peers.mute_server() as peer, Screen("chat", peer.endpoint) as screen:
        screen.wait_for("> ")
        screen.press("half a li\x03")
        assert screen.wait() == -signal.SIGINT
        assert termios.tcgetattr(screen.terminal) == screen.before


def test_the_server_leaves_while_a_line_is_typed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, Screen("chat", f":{listener.getsockname()[1]}") as screen:
        with listener.accept()[0]:
            screen.wait_for("> ")
            screen.press("see you at")
            screen.wait_for("> see you at")
        assert screen.wait() == 55
        assert re.search(r"closed: peer sent EOF after .*\nnetlab: send .*: not all was sent\n", screen.text)
        assert screen.text.endswith("  not sent: see you at\n")
        assert termios.tcgetattr(screen.terminal) == screen.before


def test_a_closed_terminal_ends_it() -> None:
    with peers.mute_server() as peer, Screen("chat", peer.endpoint) as screen:
        screen.wait_for("> ")
        screen.hang_up()
        assert screen.process.wait(5) == -signal.SIGHUP


def test_hostile_bytes_never_reach_the_terminal() -> None:
    with peers.reply_server(b"\x1b]0;title\x07\x9b2J\xe2\x80\xaeevil\r\n\xe4\xbd") as peer:
        with Screen("chat", peer.endpoint) as screen:
            screen.wait_for("> ")
            screen.press("x\n")
            screen.wait_for(r"evil\n")
            screen.press("\x04")
            assert screen.wait() == 0
            assert "\\x1b]0;title\\x07\\x9b2J\\u202eevil\n" in screen.text
            assert "\\xe4\\xbd\n" in screen.text
            assert not re.search("[\x1b\x07\x9b\u202e]", screen.text)


def test_two_chats_with_gbk_on_a_terminal() -> None:
    with peers.reply_server("收到".encode("gbk")) as peer, Screen("chat", "--encoding", "gbk", peer.endpoint) as screen:
        screen.wait_for("> ")
        screen.press("你好\n")
        screen.wait_for("收到\n> ")
        screen.press("exit\n")
        assert screen.wait() == 0
    assert peer.received == "你好\nexit\n".encode("gbk")


def test_datagrams_are_lines_of_their_own_on_a_terminal() -> None:
    with peers.mute_udp() as peer, Screen("chat", peer.endpoint) as screen:
        screen.wait_for("> ")
        screen.press("hello\n")
        message, sender = peer.socket.recvfrom(100)
        assert message == b"hello\n"
        peer.socket.sendto(b"one", sender)
        peer.socket.sendto(b"two", sender)
        screen.wait_for("one\n")
        screen.wait_for("two\n> ")
        screen.press("\x04")
        assert screen.wait() == 0
