"""--reply broadcast: a chat room on serve-threaded and on serve-tcp --concurrent."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from netlab import socketops
from netlab.records import Closed, Connected, Summary, WarningReport
from tests.programs import Netlab, StartProgram
from tests.servers import Running, listen, read_line, read_to_end, running

Serve = Callable[..., None]


@pytest.fixture(params=[socketops.serve_threaded, socketops.serve_concurrently], ids=["threaded", "concurrent"])
def serve(request: pytest.FixtureRequest) -> Serve:
    function: Serve = request.param
    return function


def enter(server: Running) -> socket.socket:
    """Connect, and wait until the room knows it: numbers are in the order of coming."""
    before = len(server.of(Connected))
    client = server.connect()
    server.wait(Connected, before + 1)
    # Connected comes before the room is entered; its own thread answers the exit word of nobody else.
    return client


def hear(speaker: socket.socket, listener: socket.socket, text: bytes) -> bytes:
    """Say a line until the listener, who may still be on its way in, hears it."""
    listener.settimeout(0.05)
    for _ in range(100):
        speaker.send(text + b"\n")
        try:
            line = read_line(listener)
        except TimeoutError:
            continue
        listener.settimeout(5)
        return line
    raise AssertionError(f"{text!r} was not heard")


def drain(client: socket.socket) -> None:
    client.setblocking(False)
    try:
        while client.recv(65536):
            pass
    except BlockingIOError:
        client.settimeout(5)


def test_lines_go_to_all_others_with_the_senders_number(serve: Serve) -> None:
    with running(serve, reply=socketops.Room()) as server:
        with enter(server) as first, enter(server) as second, enter(server) as third:
            assert hear(first, second, b"ready") == hear(first, third, b"ready") == b"#1 ready\n"
            drain(second)
            third.send(b"one\r\ntwo\n\nhal")
            assert [read_line(first) for _ in range(3)] == [b"#3 one\n", b"#3 two\n", b"#3 \n"]
            third.send("f 你好\n".encode())
            assert read_line(first) == "#3 half 你好\n".encode()
            second.send(b"bye\n")
            assert read_line(first) == b"#2 bye\n"
            first.setblocking(False)
            with pytest.raises(BlockingIOError):  # nobody hears itself
                first.recv(1)


def test_no_member_moves_anothers_terminal_or_forges_its_lines(serve: Serve) -> None:
    with running(serve, reply=socketops.Room()) as server, enter(server) as first, enter(server) as second:
        assert hear(first, second, b"x") == b"#1 x\n"
        second.send(b"a\r#1 forged\x1b[2J\x7f\ttab\r\n")
        assert read_line(first) == b"#2 a\\x0d#1 forged\\x1b[2J\\x7f\ttab\n"


def test_exit_word_is_acknowledged_and_ends_that_member_only(serve: Serve) -> None:
    with running(serve, reply=socketops.Room()) as server, enter(server) as first, enter(server) as second:
        assert hear(second, first, b"x") == b"#2 x\n"
        second.send(b"last\nexit\n")
        assert read_to_end(second) == b"received 5 bytes\n"
        closed = server.wait(Closed)
        assert (closed.conn, closed.reason, closed.bytes_out) == (2, "exit", 17)
        with enter(server) as third:
            assert hear(third, first, b"still here") in (b"#2 x\n", b"#2 last\n", b"#3 still here\n")


def test_exit_needs_no_newline_and_stops_the_server_where_asked(serve: Serve) -> None:
    with running(serve, reply=socketops.Room(stop_on_exit=True)) as server, enter(server) as client:
        client.send(b"exit")
        assert read_to_end(client) == b"received 5 bytes\n"
        assert server.wait(Summary).ended_by == "exit word"


def test_last_line_without_an_end_is_heard(serve: Serve) -> None:
    with running(serve, reply=socketops.Room()) as server, enter(server) as first, enter(server) as second:
        assert hear(second, first, b"x") == b"#2 x\n"
        second.send(b"so long")
        second.close()
        while (line := read_line(first)) == b"#2 x\n":
            pass
        assert line == b"#2 so long\n"


def test_slow_member_holds_up_nobody_and_is_dropped_with_a_word(serve: Serve) -> None:
    sockets = listen(settings=[socketops.parse_setting("SO_SNDBUF=4k")])
    with running(serve, sockets, reply=socketops.Room(), watch={Connected, Closed}) as server:
        with enter(server) as speaker, enter(server) as slow, enter(server) as quick:
            assert hear(speaker, quick, b"ready") == hear(speaker, slow, b"ready") == b"#1 ready\n"
            lines = quick.makefile("rb")
            line, said = b"x" * 60_000 + b"\n", 0
            while not server.of(WarningReport):
                speaker.sendall(line)
                said += 1
                while (heard := lines.readline()) == b"#1 ready\n":
                    pass
                assert heard == b"#1 " + line
            assert "#2 does not read" in server.wait(WarningReport).message
            heard = read_to_end(slow)
            assert heard.endswith(b"netlab: you do not read what the others say, so you are out\n")
            assert heard.count(b"#1 x") < said
            closed = server.wait(Closed)
            assert (closed.conn, closed.reason) == (2, "limit")
            speaker.sendall(b"after\n")
            assert lines.readline() == b"#1 after\n"


def test_member_that_resets_disturbs_nobody(serve: Serve) -> None:
    with running(serve, reply=socketops.Room()) as server, enter(server) as first, enter(server) as second:
        with enter(server) as third:
            assert hear(first, third, b"x") == b"#1 x\n"
            third.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.wait(Closed)
        drain(second)
        assert hear(first, second, b"still here") in (b"#1 x\n", b"#1 still here\n")


def test_records_are_lines_of_their_own(serve: Serve, tmp_path: Path) -> None:
    sockets = listen(f"unix-seqpacket:{tmp_path}/s")
    with running(serve, sockets, reply=socketops.Room()) as server, enter(server) as first, enter(server) as second:
        first.settimeout(0.05)
        for _ in range(100):
            second.send(b"hello")
            try:
                assert first.recv(100) == b"#2 hello\n"
            except TimeoutError:
                continue
            break


@pytest.mark.parametrize(
    "command", [("serve-threaded",), ("serve-tcp", "--concurrent")], ids=["threaded", "concurrent"]
)
def test_two_chats_are_a_conversation(
    start_server: StartProgram, start_netlab: StartProgram, command: tuple[str, ...]
) -> None:
    server = start_server(*command, "--reply", "broadcast")
    first = start_netlab("chat", server.endpoint)
    server.wait_for("^#1 .* connected")
    second = start_netlab("chat", server.endpoint)
    server.wait_for("^#2 .* connected")
    second.write("hello\n")
    first.wait_for("^#2 hello\n")
    first.write("hello yourself\n")
    second.wait_for("^#1 hello yourself\n")
    first.write("exit\n")
    assert first.wait().returncode == 0
    server.wait_for("^#1 closed: exit")
    second.close_stdin()
    assert second.wait().returncode == 0
    server.wait_for("^#2 closed: peer sent EOF")
    assert server.stop().returncode == 0


@pytest.mark.parametrize("command", ["serve-tcp"])
def test_servers_without_a_room_say_where_there_is_one(netlab_here: Netlab, command: str) -> None:
    done = netlab_here(command, "--reply", "broadcast")
    assert done.returncode == 2
    assert b"serve-threaded and serve-tcp --concurrent" in done.stderr


def test_member_that_is_gone_before_its_exit_is_answered_ends_nothing_else(serve: Serve) -> None:
    with running(serve, reply=socketops.Room()) as server, enter(server) as stays:
        for number in range(2, 12):
            leaver = enter(server)
            leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            leaver.send(b"unfinished\nexit\n")
            leaver.close()
            server.wait(Closed, number - 1)
        drain(stays)
        with enter(server) as other:
            assert hear(other, stays, b"hello").endswith(b"\n")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32-le"])
def test_encodings_whose_lines_cannot_be_told_apart_are_refused(encoding: str) -> None:
    with pytest.raises(ValueError, match=f"{encoding} does not allow"):
        socketops.Room(encoding=encoding)
