"""Pictures of calls: the diagram as text, from calls that were made up and from calls that ran."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from netlab.endpoint import Endpoint
from netlab.records import Call
from netlab.render.picture.cells import text_width
from netlab.render.picture.merging import Pairs, merge, socket_id
from netlab.render.picture.scene import MOST_DRAWN, build_scene
from netlab.render.picture.sequence import draw_sequence
from netlab.socketops import Trace, connect, listen, traced_socket_class
from netlab.socketops.stop import wait_readable
from tests.calls import CLIENT, SERVER, conversation, failed, made
from tests.peers import refusing_port

PICTURE = """\
        CLIENT  MainThread                        SERVER  listener thread
    ms  127.0.0.1:56998                           127.0.0.1:42871

 0.000                                            socket() = fd 3         CLOSED
 0.012                                            setsockopt(SO_REUSEADDR, 1)
 0.021                                            bind(127.0.0.1:0)
 0.034                                            listen(5)               LISTEN
 0.041                                            getsockname() = port 42871
 0.071                                            accept(fd 3)
 0.102  socket() = fd 5                           :
          CLOSED                                  :
 0.121  connect(127.0.0.1:42871)   ---- SYN ----> :
          = 115 EINPROGRESS        <-- SYN, ACK - :
          ESTABLISHED (1)          ---- ACK ----> :
 0.163  poll() = writable                         :
 0.171  getsockopt(SO_ERROR) = 0                  : blocked 0.118
 0.189                                              = fd 6           ESTABLISHED
 0.198                                            recv(fd 6, 65536)
 0.214  send("hello") = 5          ---- 5 B ----> :
 0.227  recv(65536)                               : blocked 0.031
        :                                           = 5 B "hello"
 0.241  : blocked 0.031            <---- 17 B --- send(fd 6, "received"...) = 17
 0.262    = 17 B "received 5 b"...                recv(fd 6, 65536)
 0.270  shutdown(SHUT_WR)          ---- FIN ----> : blocked 0.022
          FIN_WAIT1                                 = 0 B, EOF        CLOSE_WAIT
 0.286  recv(65536)
 0.290  : blocked 0.016            <---- FIN ---- close(fd 6)
 0.302    = 0 B, EOF               ---- ACK ---->
          CLOSED (2)
 0.311  close(fd 5)
 0.316                                            close(fd 3)

20 calls in 0.318 ms; blocked: client 0.047 ms, server 0.171 ms (":" = waiting).
Calls, results and states are as they ran; the arrows are drawn from them.
(1) on loopback the handshake is over before connect() returns, so SYN_SENT is
    never seen; 115 EINPROGRESS: a non-blocking connect is asked for by poll().
(2) the kernel keeps TIME_WAIT apart from the socket, which is CLOSED once both
    sides have sent FIN.
"""


def draw(calls: Sequence[Call], width: int = 80, **options: Any) -> str:
    return "\n".join([*draw_sequence(build_scene(calls, **options), width=width), ""])


def row(picture: str, part: str) -> str:
    """Return the one line of a picture that holds this part."""
    (found,) = [line for line in picture.splitlines() if part in line]
    return found


def test_the_classic_picture() -> None:
    assert draw(conversation()) == PICTURE


@pytest.mark.parametrize("width", [80, 81, 100, 132, 200])
def test_every_width_is_kept(width: int) -> None:
    lines = draw(conversation(), width).splitlines()
    assert max(map(len, lines)) <= width
    assert draw(conversation(), width).isascii()


def test_below_80_columns_it_is_80_wide() -> None:
    assert draw(conversation(), 20) == draw(conversation(), 80)


def test_a_wide_picture_has_the_arguments_that_a_narrow_one_leaves_out() -> None:
    assert "socket(AF_INET, SOCK_STREAM) = fd 3" in draw(conversation(), 120)
    assert '"received 5 bytes\\n"' in draw(conversation(), 120)


def test_one_side_alone_draws_what_it_saw_of_the_other() -> None:
    client = draw([call for call in conversation() if call.lane == "client"])
    assert "SERVER  (not traced)" in client
    assert "127.0.0.1:42871" in client.splitlines()[1]
    assert "---- SYN ---->" in client
    assert "<---- 17 B ---" in row(client, ": blocked 0.031")
    assert "<---- FIN ----" in client
    assert client.count("---- FIN ---->") == 1
    server = draw([call for call in conversation() if call.lane == "server"])
    assert "CLIENT  (not traced)" in server
    assert [arrow for arrow in ("SYN ", "SYN, ACK", " ACK ", " 5 B ", " 17 B ", " FIN ") if arrow not in server] == []


def test_data_from_a_traced_peer_is_drawn_once() -> None:
    assert draw(conversation()).count(" 17 B -") == 1


def test_a_refused_connection() -> None:
    picture = draw([made(0, "client", "socket", "AF_INET, SOCK_STREAM", "fd 5", state_name="CLOSE", named=False),
        failed(9, "client", "connect", "ECONNREFUSED", "127.0.0.1:42871", state_name="CLOSE")])  # fmt: skip
    assert "---- SYN ---->" in picture
    assert "<-- RST, ACK -" in picture
    assert "(1) 111 ECONNREFUSED: the host answered RST (or" in picture


def test_a_refusal_that_poll_told() -> None:
    picture = draw([
        failed(0, "client", "connect", "EINPROGRESS", "127.0.0.1:42871", state_name="SYN_SENT"),
        made(5, "client", "poll", "POLLOUT, 5000 ms", "writable, error, hup", state_name="CLOSE", waited_us=900),
        made(920, "client", "getsockopt", "SO_ERROR", "111 ECONNREFUSED", state_name="CLOSE"),
    ])  # fmt: skip
    assert "SYN_SENT" in picture
    assert "SYN, ACK" not in picture
    assert "<-- RST, ACK -" in row(picture, "getsockopt(SO_ERROR)")
    assert "(1) 115 EINPROGRESS: a non-blocking connect goes on by itself" in picture
    assert "(2) 111 ECONNREFUSED" in picture


def test_a_handshake_that_took_a_while_is_drawn_where_it_was_seen() -> None:
    lines = draw([
        failed(0, "client", "connect", "EINPROGRESS", "127.0.0.1:42871", state_name="SYN_SENT"),
        made(5, "client", "poll", "POLLOUT, 5000 ms", "writable", state_name="ESTABLISHED", waited_us=30_000),
    ]).splitlines()  # fmt: skip
    syn, answer = (next(n for n, line in enumerate(lines) if label in line) for label in ("- SYN -", "SYN, ACK"))
    assert syn < answer
    assert ": blocked 30.000" in lines[answer]


def test_no_answer_draws_no_answer() -> None:
    looks = [made(at + 1, "client", "getsockopt", "TCP_INFO", "7 B") for at in range(10, 5000, 10)]
    polls = [
        made(at, "client", "poll", "POLLOUT, 20 ms", "timed out", state_name="SYN_SENT", waited_us=1)
        for at in range(10, 5000, 10)
    ]
    begin = failed(0, "client", "connect", "EINPROGRESS", "127.0.0.1:42871", state_name="SYN_SENT")
    picture = draw([begin, *polls[:200], *looks[:200]])
    assert "SYN, ACK" not in picture
    assert row(picture, "poll() x 200")
    assert len(picture.splitlines()) < 20


def test_close_with_bytes_unread_resets() -> None:
    picture = draw([
        made(0, "server", "close", state_name="ESTABLISHED", unread=5),
        failed(9, "client", "recv", "ECONNRESET", "9"),
    ])  # fmt: skip
    assert "<---- RST ----" in row(picture, "close(fd 6)")
    assert "closed with 5 B unread: then the kernel sends RST and not FIN (RFC 2525" in picture.replace("\n    ", " ")
    assert "ECONNRESET: the peer reset the connection" in picture


def test_close_with_linger_0_resets() -> None:
    picture = draw([
        made(0, "server", "setsockopt", "SO_LINGER, on, 0 s", state_name="ESTABLISHED"),
        made(3, "server", "close", state_name="ESTABLISHED", unread=0),
    ])  # fmt: skip
    assert "RST" in row(picture, "close(fd 6)")
    assert "SO_LINGER of 0 s" in picture


def test_a_reset_by_who_was_not_traced_comes_with_the_call_that_met_it() -> None:
    picture = draw([
        failed(0, "client", "recv", "ECONNRESET", "9", state_name="CLOSE"),
        failed(5, "client", "send", "EPIPE", data=b"x"),
    ])  # fmt: skip
    assert picture.count(" RST -") == 1


def test_a_listener_s_end_is_no_fin() -> None:
    picture = draw([
        made(0, "server", "listen", "5", state_name="LISTEN", peer=None),
        made(5, "server", "shutdown", "SHUT_RDWR", state_name="CLOSE", peer=None),
        made(9, "server", "close", state_name="CLOSE", peer=None),
    ])  # fmt: skip
    assert "FIN" not in picture


def test_udp_has_no_handshake_and_no_end() -> None:
    udp: dict[str, Any] = {"transport": "udp"}
    ends: dict[str, dict[str, Any]] = {
        "client": {"local": Endpoint.parse("udp://127.0.0.1:1"), "peer": Endpoint.parse("udp://127.0.0.1:2")},
        "server": {"local": Endpoint.parse("udp://0.0.0.0:2"), "peer": Endpoint.parse("udp://127.0.0.1:1")},
    }  # the server is bound to all addresses, and does not know which of them was meant
    picture = draw([
        made(0, "client", "connect", "127.0.0.1:2", **udp, **ends["client"]),
        made(2, "client", "send", "", "5", data=b"hello", **udp, **ends["client"]),
        made(4, "server", "recvfrom", "100", "5 B", data=b"hello", **udp, **ends["server"]),
        made(6, "server", "sendto", "127.0.0.1:1", "0", data=b"", **udp, **ends["server"]),
        failed(9, "client", "recv", "EAGAIN", "100", **udp, **ends["client"]),
        made(12, "client", "close", **udp, **ends["client"]),
    ])  # fmt: skip
    assert [picture.count(word) for word in ("SYN", "FIN", " 5 B -", " 0 B -")] == [0, 0, 1, 1]
    assert "(1) 11 EAGAIN: nothing is there yet" in picture


def test_unix_sockets_end_with_eof() -> None:
    path = Endpoint.parse("unix:/tmp/s")
    unix: dict[str, Any] = {"transport": "unix", "peer_pid": 100}
    picture = draw([
        made(0, "client", "connect", "/tmp/s", local=None, **unix | {"peer": path}),
        made(1, "server", "accept", "", "fd 6", peer=None, **unix | {"local": path, "socket": 9, "fd": 3}),
        made(2, "client", "send", "", "1", data=b"x", local=None, **unix | {"peer": path}),
        made(3, "server", "recv", "9", "1 B", data=b"x", peer=None, **unix | {"local": path}),
        made(4, "client", "shutdown", "SHUT_WR", local=None, **unix | {"peer": path}),
        made(5, "server", "recv", "9", "0 B, EOF", size=0, peer=None, **unix | {"local": path}),
        made(6, "client", "close", local=None, **unix | {"peer": path}),
    ])  # fmt: skip
    assert [picture.count(label) for label in ("- connect -", " 1 B -", " EOF -", "FIN")] == [1, 1, 1, 0]


def test_a_recv_that_takes_parts_of_several_sends_is_explained() -> None:
    calls = [
        made(0, "client", "send", "", "2", data=b"ab"),
        made(3, "client", "send", "", "2", data=b"cd"),
        made(6, "server", "recv", "9", "4 B", data=b"abcd"),
    ]
    assert '= 4 B "abcd" (1)' in draw(calls)
    assert "a stream has no borders between messages" in draw(calls)
    apart = [calls[0], made(2, "server", "recv", "9", "2 B", data=b"ab"), calls[1]]
    assert "borders" not in draw([*apart, made(6, "server", "recv", "9", "2 B", data=b"cd")])


def test_a_lane_with_two_connections_names_each() -> None:
    calls = [
        made(at, "client", "recv", "65536", "5 B", data=b"hello", socket=number, fd=number)
        for at, number in ((0, 4), (9, 11), (18, 4))
    ]
    picture = draw(calls)
    assert [picture.count(f"recv({fd}65536)") for fd in ("", "fd 4, ", "fd 11, ")] == [1, 1, 1]
    assert "\n\n\n" not in picture


def test_each_surprise_is_explained_once() -> None:
    picture = draw([failed(at, "client", "recv", "EAGAIN", "9") for at in range(5)])
    assert picture.count("= 11 EAGAIN (1)") == 5
    assert picture.count("nothing is there yet") == 1


def test_an_eagain_after_a_wait_is_a_time_limit() -> None:
    assert "SO_RCVTIMEO" in draw([failed(0, "server", "recv", "EAGAIN", "9", waited_us=5000)])


def test_calls_that_only_look_share_a_line() -> None:
    looks = [made(at, "client", "getsockopt", "SO_TYPE", "SOCK_STREAM") for at in range(9)]
    assert "(9 calls that only look)" in draw(looks)
    assert "9 calls in" in draw(looks)
    two = draw(looks[:2])
    assert two.count("getsockopt(SO_TYPE)") == 2
    assert "only look" not in two


def test_chinese_keeps_the_lanes_straight() -> None:
    picture = draw([
        made(0, "client", "send", "", "6", data="\u4f60\u597d".encode()),
        made(5, "server", "recv", "9", "6 B", data="\u4f60\u597d".encode()),
        made(9, "server", "send", "", "6", data="\u4f60\u597d".encode()),
    ])  # fmt: skip
    sent = row(picture, 'send("\u4f60\u597d") = 6  ')
    assert text_width(sent.partition("---- 6 B")[0]) == 35


HOSTILE = "\x1b]0;x\x07\r\n\u202e\x9b31m"


@pytest.mark.parametrize("width", [80, 132])
def test_nothing_foreign_reaches_the_terminal_as_it_is(width: int) -> None:
    nasty = made(
        0, "client", "send", HOSTILE, HOSTILE, data=HOSTILE.encode(), thread=HOSTILE, state_name=HOSTILE,
        local=Endpoint.parse("unix:/tmp/s"), peer=replace(Endpoint.parse("unix:/tmp/s"), path=HOSTILE),
    )  # fmt: skip
    error = failed(9, "server", "recv", "EAGAIN", HOSTILE)
    picture = draw([nasty, replace(error, errno_name=HOSTILE, call=HOSTILE)], width)
    assert all(line.isprintable() for line in picture.splitlines())
    assert "\u202e" not in picture


def test_a_threaded_server_has_a_lane_for_each_thread() -> None:
    calls = [made(0, "server", "socket", "AF_INET, SOCK_STREAM", "fd 3", thread="MainThread", socket=50, fd=3)]
    for number in range(6):
        peer = Endpoint.parse(f"127.0.0.1:{5000 + number}")
        own: dict[str, Any] = {"thread": f"thread {number}", "socket": 60 + number, "peer": peer}
        calls += [
            made(10 * number + 1, "server", "recv", "4096", "2 B", data=b"hi", waited_us=100, **own),
            made(10 * number + 200, "server", "send", "", "2", data=b"hi", **own),
        ]
    narrow, wide = draw(calls), draw(calls, 180)
    assert narrow.splitlines()[0].split() == ["SERVER", "thread", "0", "SERVER", "thread", "1", "SERVER", "thread", "2"]
    assert "Not drawn: 3 threads for which a wider terminal has room." in narrow
    assert "thread 5" in wide
    assert "wider terminal" not in wide
    assert max(map(len, narrow.splitlines())) <= 80
    assert "MainThread" not in wide
    assert "socket() = fd 3" in narrow
    assert "<-> 127.0.0.1:5000" in narrow


def test_a_thread_that_waited_for_nobody_is_left_out() -> None:
    own: dict[str, Any] = {"thread": "thread 2", "socket": 1, "fd": 3, "peer": None}
    calls = [*conversation(), failed(75, "server", "accept", "EINVAL", pid=200, waited_us=500, **own)]
    assert "thread 2" not in draw(calls)
    assert "Not drawn: 1 call" in draw(calls)


def test_long_runs_are_cut_at_their_beginning_and_say_so() -> None:
    calls = [made(at, "client", "send", "", "1", data=b"x") for at in range(MOST_DRAWN + 10)]
    picture = draw(calls, dropped=5)
    assert "Not drawn: 15 calls" in picture
    assert picture.count("send(") == MOST_DRAWN


def test_a_long_run_is_told_in_seconds() -> None:
    picture = draw([made(0, "client", "send", "", "1", data=b"x"), made(61.5e6, "client", "send", "", "1", data=b"y")])
    assert "     s  127.0.0.1" in picture
    assert row(picture, '"y"').startswith("61.500  ")


def test_pairs_are_found_by_both_names() -> None:
    calls = conversation()
    pairs = Pairs(calls)
    sent = next(call for call in calls if call.call == "send" and call.lane == "client")
    received = next(call for call in calls if call.call == "recv" and call.lane == "server")
    assert pairs.other(sent) == socket_id(received)
    assert pairs.other(received) == socket_id(sent)
    assert pairs.other(calls[0]) is None


def test_merging_takes_the_connection_its_listener_and_nothing_else() -> None:
    calls = conversation()
    ours = [call for call in calls if call.lane == "client"]
    theirs = [call for call in calls if call.lane == "server"]
    stranger = Endpoint.parse("127.0.0.1:1")
    accepted = made(50, "server", "accept", "", "fd 9", socket=1, pid=200, fd=3, peer=stranger)
    talk = made(60, "server", "recv", "9", "1 B", data=b"x", socket=7, pid=200, fd=9, peer=stranger)
    assert merge(ours, [*theirs, accepted, talk]) == calls
    assert merge(theirs, ours) == calls


def test_merging_makes_two_sides_of_two_programs_that_are_the_same() -> None:
    ours = [made(0, "server", "send", "", "1", data=b"x")]
    theirs = [made(5, "server", "recv", "9", "1 B", data=b"x", local=CLIENT, peer=SERVER, pid=7)]
    assert [call.lane for call in merge(ours, theirs)] == ["server", "client"]


def test_merging_refuses_a_trace_of_something_else() -> None:
    other = made(0, "server", "recv", "9", "1 B", data=b"x", peer=Endpoint.parse("127.0.0.1:1"))
    with pytest.raises(ValueError, match="none of its sockets talked"):
        merge([made(0, "client", "send", "", "1", data=b"x")], [other])


def test_unix_clients_without_names_are_paired_in_the_order_of_the_queue() -> None:
    path = Endpoint.parse("unix:/tmp/s")
    unix: dict[str, Any] = {"transport": "unix"}
    end: dict[str, Any] = {**unix, "local": path, "peer": None, "pid": 7}
    ours = [
        made(at, "client", "connect", "/tmp/s", socket=number, local=None, peer_pid=7, **unix | {"peer": path})
        for number, at in ((1, 10), (2, 20))
    ]
    theirs = [
        made(at, "server", "recv", "9", "0 B, EOF", socket=number, peer_pid=pid, **end)
        for number, at, pid in ((3, 50, 100), (2, 60, 999), (4, 40, 100))
    ]
    pairs = Pairs([*ours, *theirs])
    assert [pairs.other(call) for call in ours] == [(7, 3), (7, 4)]
    assert [call.socket for call in merge(ours, theirs)] == [1, 2, 4, 3]


def test_a_conversation_that_ran() -> None:
    trace = Trace()
    kind = traced_socket_class(trace)
    (bound,) = listen(Endpoint.parse("127.0.0.1:0", listening=True), backlog=5, socket_class=kind)

    def serve() -> None:
        server, _ = bound.sock.accept()
        with server:
            while data := server.recv(4096):
                server.sendall(data)

    with bound:
        thread = threading.Thread(target=serve, name="echo")
        thread.start()
        with connect(bound.endpoint, timeout=5, socket_class=kind) as client:
            client.send(b"hello")
            assert client.recv(4096) == b"hello"
            client.shutdown(socket.SHUT_WR)
            assert client.recv(4096) == b""
        thread.join()
    picture = draw(trace.calls())
    assert "SERVER  echo" in picture
    labels = ("- SYN -", "- SYN, ACK -", "- ACK -", "- 5 B -", "- FIN -")
    assert [picture.count(label) for label in labels] == [1, 1, 2, 2, 2]
    assert max(map(len, picture.splitlines())) <= 80
    assert f"{len(trace.calls())} calls in" in picture


def test_a_reset_that_ran() -> None:
    trace = Trace()
    kind = traced_socket_class(trace)
    (bound,) = listen(Endpoint.parse("127.0.0.1:0", listening=True), socket_class=kind)
    with bound, connect(bound.endpoint, timeout=5, socket_class=kind) as client:
        server, _ = bound.sock.accept()
        with server:
            client.send(b"never read")
            assert wait_readable(server, 5)
        with pytest.raises(ConnectionResetError):
            client.recv(9)
    assert "closed with 10 B unread" in draw(trace.calls())


def test_a_refusal_that_ran() -> None:
    trace = Trace()
    with refusing_port() as peer, traced_socket_class(trace)() as sock:
        with pytest.raises(ConnectionRefusedError):
            sock.connect((peer.host, peer.port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    picture = draw(trace.calls())
    assert "<-- RST, ACK -" in picture
    assert picture.count("RST") == 2 + picture.count("answered RST") - 1
