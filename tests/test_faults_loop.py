"""The fault lab in the event loop: every wait is one client's own, and the loop never sleeps nor spins."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netlab import socketops
from netlab.records import Closed, FaultReport, Received, Record, Sent, Summary
from netlab.socketops.serving.timers import Timers
from tests.servers import Running, flood, listen, read_line, read_to_end, running
from tests.test_stream_servers import SERVERS, reset, setting

serve = socketops.serve_concurrently


def faults(*texts: str, seed: int = 1) -> socketops.Faults:
    return socketops.Faults([socketops.parse_fault(text) for text in texts], seed=seed)


def ask(client: socket.socket, data: bytes = b"hello") -> bytes:
    """Send a message, and return the acknowledgement."""
    client.send(data)
    return read_line(client)


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read so many bytes, in however many pieces they come."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"the end came after {data!r}"
        data += piece
    return data


def order(server: Running, *kinds: type[Record]) -> list[tuple[str, int | None]]:
    """The events of some classes, and whose they were, as they came."""
    return [(record.event, getattr(record, "conn", None)) for record in server.records if isinstance(record, kinds)]


def test_a_reply_is_late_by_as_much_as_was_asked() -> None:
    with running(serve, faults=faults("delay=50ms")) as server, server.connect() as client:
        for _ in range(2):
            before = time.monotonic()
            assert ask(client) == b"received 5 bytes\n"
            assert time.monotonic() - before >= 0.05
        assert [record.effect for record in server.of(FaultReport)] == ["waits 50 ms"] * 2


def test_late_replies_are_waited_for_side_by_side() -> None:
    with contextlib.ExitStack() as stack, running(serve, faults=faults("delay=300ms")) as server:
        clients = [stack.enter_context(server.connect()) for _ in range(5)]
        for client in clients:
            client.send(b"hello")
        for client in clients:
            assert read_line(client) == b"received 5 bytes\n"
        server.wait(Sent, 5)
        # One after the other would alternate: the second strikes when the first one's reply has gone.
        assert [event for event, _ in order(server, FaultReport, Sent)] == ["fault"] * 5 + ["sent"] * 5


def test_a_client_whose_reply_is_late_is_not_read_meanwhile() -> None:
    with running(serve, faults=faults("delay=1h")) as server, server.connect() as client:
        client.settimeout(0.2)
        client.send(b"hello")
        server.wait(FaultReport)
        flood(client)
        assert len(server.of(Received)) == 1


def test_the_stop_ends_waits_at_once_and_every_reply_still_goes_out() -> None:
    with running(serve, faults=faults("delay=1h")) as server, server.connect() as first, server.connect() as second:
        for client in (first, second):
            client.send(b"hello")
        server.wait(FaultReport, 2)
        server.stop.set("SIGTERM")
        for client in (first, second):
            assert read_to_end(client) == b"received 5 bytes\n"
        assert server.wait(Summary).ended_by == "SIGTERM"
        assert [record.reason for record in server.of(Closed)] == ["stopped"] * 2


def test_a_reset_is_noticed_while_its_reply_waits() -> None:
    with running(serve, faults=faults("delay=1h")) as server:
        client = server.connect()
        client.send(b"hello")
        server.wait(FaultReport)
        reset(client)
        closed = server.wait(Closed)
        assert (closed.reason, closed.errno_name, closed.bytes_out) == ("reset", "ECONNRESET", 0)


def test_what_came_before_a_fin_is_answered_late_all_the_same() -> None:
    with running(serve, faults=faults("delay=50ms")) as server, server.connect() as client:
        client.send(b"hello")
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b"received 5 bytes\n"
        assert server.wait(Closed).reason == "eof"


@pytest.mark.parametrize("text", ["unix:{}/s", "unix-seqpacket:{}/s"])
def test_a_unix_client_that_is_gone_costs_nothing_until_its_reply_is_due(tmp_path: Path, text: str) -> None:
    with running(serve, listen(text.format(tmp_path)), faults=faults("delay=300ms")) as server:
        with server.connect() as gone:
            gone.send(b"hello")
            server.wait(FaultReport)
        before = time.process_time()
        with server.connect() as other:
            other.send(b"hello")
            assert other.recv(100) == b"received 5 bytes\n"
        assert time.process_time() - before < 0.15
        assert server.wait(Closed).conn == 1


def test_a_pause_is_not_the_clients_silence() -> None:
    with running(serve, idle_timeout=0.1, faults=faults("delay=300ms")) as server, server.connect() as client:
        assert ask(client) == b"received 5 bytes\n"
        assert read_to_end(client) == b""
        closed = server.wait(Closed)
        assert (closed.reason, closed.operation) == ("timeout", "receive")


def test_a_client_that_takes_nothing_is_given_up_after_pauses_as_well() -> None:
    sockets = listen(settings=setting("SO_SNDTIMEO=200ms") + setting("SO_SNDBUF=4k"))
    reply = socketops.make_reply("generate")
    with running(serve, sockets, reply=reply, faults=faults("delay=10ms")) as server, server.connect():
        closed = server.wait(Closed)
        assert (closed.reason, closed.operation) == ("timeout", "send")


def test_dribbled_replies_are_whole_and_come_before_the_next_chunk_is_read() -> None:
    with running(serve, faults=faults("dribble=1B/5ms")) as server, server.connect() as client:
        before = time.monotonic()
        client.send(b"hello")
        server.wait(Sent)
        client.send(b"again!")
        assert read_line(client) == b"received 5 bytes\n"
        assert time.monotonic() - before >= 16 * 0.005
        assert read_line(client) == b"received 6 bytes\n"
        server.wait(Sent, 34)
        assert [len(record.data) for record in server.of(Sent)] == [1] * 34
        events = [event for event, _ in order(server, Received, Sent)]
        assert events == (["received"] + ["sent"] * 17) * 2


def test_a_large_reply_is_dribbled_whole_through_a_full_send_buffer() -> None:
    pattern = bytes(range(256)) * 256
    sockets = listen(settings=setting("SO_SNDBUF=4k") + setting("SO_RCVBUF=256k"))
    reply = socketops.make_reply("echo")
    with running(serve, sockets, reply=reply, watch=(), faults=faults("dribble=16k/1ms")) as server:
        with server.connect() as client:
            client.sendall(pattern)
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(client) == pattern


def test_rate_is_each_clients_own_and_the_stop_ends_what_never_ends() -> None:
    reply = socketops.make_reply("generate")
    with running(serve, reply=reply, faults=faults("rate=1000B")) as server:
        before = time.monotonic()
        with server.connect() as first, server.connect() as second:
            for client in (first, second):
                read_exactly(client, 200)
            assert time.monotonic() - before >= 0.15  # 50 bytes at once, then each 50 ms
        with server.connect() as third:
            assert third.recv(1)
            server.stop.set("SIGTERM")
            read_to_end(third)


def test_characters_are_cut() -> None:
    text = "中文 and 字".encode()
    with running(serve, reply=socketops.make_reply("echo"), faults=faults("split-utf8")) as server:
        with server.connect() as client:
            client.send(text)
            assert read_exactly(client, len(text)) == text
        server.wait(Closed)
        pieces = [record.data for record in server.of(Sent)]
        assert b"".join(pieces) == text
        assert len(pieces) == 4
        for piece in pieces:
            with pytest.raises(UnicodeDecodeError):
                piece.decode()


def test_stall_reads_nothing_until_the_stop() -> None:
    with running(serve, faults=faults("stall")) as server, server.connect() as client:
        client.settimeout(0.2)
        flood(client)
        server.stop.set("SIGTERM")
        closed = server.wait(Closed)
        assert (closed.reason, closed.bytes_in, closed.bytes_out) == ("stopped", 0, 0)


def test_stall_ends_with_the_idle_time_out_and_until_then_a_fin_costs_nothing() -> None:
    with running(serve, faults=faults("stall"), idle_timeout=0.3) as server, server.connect() as client:
        before = time.process_time()
        client.send(b"hello")
        client.shutdown(socket.SHUT_WR)
        closed = server.wait(Closed)
        assert (closed.reason, closed.bytes_in) == ("timeout", 0)
        assert time.process_time() - before < 0.15


def test_stall_ends_with_a_reset() -> None:
    with running(serve, faults=faults("stall")) as server:
        client = server.connect()
        server.wait(FaultReport)
        reset(client)
        assert server.wait(Closed).reason == "reset"


def test_stall_ends_with_its_unix_client(tmp_path: Path) -> None:
    with running(serve, listen(f"unix:{tmp_path}/s"), faults=faults("stall")) as server:
        with server.connect():
            server.wait(FaultReport)
        assert server.wait(Closed).reason == "eof"


def test_stall_ends_once_both_ways_have_ended() -> None:
    with running(serve, faults=faults("half-close", "stall")) as server, server.connect() as client:
        assert client.recv(1) == b""
        client.send(b"hello")
        client.shutdown(socket.SHUT_WR)
        closed = server.wait(Closed)
        assert (closed.reason, closed.bytes_in) == ("eof", 0)


def test_half_close_sends_fin_and_goes_on_reading() -> None:
    with running(serve, faults=faults("half-close")) as server, server.connect() as client:
        assert client.recv(1) == b""
        for number, text in enumerate((b"hello", b"again"), 1):
            client.send(text)
            assert server.wait(Received, number).data == text
        client.close()
        closed = server.wait(Closed)
        assert (closed.reason, closed.bytes_in, closed.bytes_out) == ("eof", 10, 0)


def test_close_after() -> None:
    with running(serve, faults=faults("close-after=5B")) as server, server.connect() as client:
        client.send(b"hello")
        assert read_to_end(client) == b"recei"
        closed = server.wait(Closed)
        assert (closed.reason, closed.bytes_out, closed.errno) == ("fault", 5, None)


def test_reset_after() -> None:
    with running(serve, faults=faults("reset-after=5B")) as server, server.connect() as client:
        client.send(b"hello")
        assert client.recv(100) == b"recei"
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        closed = server.wait(Closed)
        assert (closed.reason, closed.bytes_out, closed.errno) == ("fault", 5, None)


def test_refuse_every_resets_each_nth_and_serves_the_others() -> None:
    with running(serve, faults=faults("refuse-every=2")) as server:
        for conn in range(1, 5):
            with server.connect() as client:
                if conn % 2:
                    assert ask(client) == b"received 5 bytes\n"
                else:
                    with pytest.raises(ConnectionResetError):
                        client.recv(1)
        server.wait(Closed, 4)
        assert sorted((record.conn, record.reason) for record in server.of(Closed)) == [
            (1, "eof"), (2, "fault"), (3, "eof"), (4, "fault"),
        ]  # fmt: skip


def test_no_accept_answers_nobody() -> None:
    with running(serve, faults=faults("no-accept")) as server:
        server.wait(FaultReport)
        with socket.socket() as client:
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.connect(server.endpoint.to_sockaddr())


def test_once_ends_after_a_client_that_was_reset() -> None:
    with running(serve, faults=faults("refuse-every=1"), once=True) as server, server.connect() as client:
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert server.wait(Summary).clients == 1


def test_clients_that_leave_take_their_timers_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers()
    monkeypatch.setattr("netlab.socketops.serving.concurrent.Timers", lambda: timers)
    with running(serve, faults=faults("delay=1h")) as server:
        for number in range(1, 6):
            client = server.connect()
            client.send(b"hello")
            server.wait(FaultReport, number)
            reset(client)
            server.wait(Closed, number)
            assert len(timers) == 0


@pytest.mark.parametrize(
    "texts",
    [
        ("delay=1ms~1ms",),
        ("dribble=3B/1ms",),
        ("rate=100k",),
        ("split-utf8",),
        ("corrupt=20%",),
        ("garbage",),
        ("drop=50%",),
        ("no-reply",),
        ("half-close",),
        ("close-after=20B",),
        ("reset-after=20B",),
        ("refuse-every=1",),
        ("corrupt=10%", "split-utf8", "dribble=5B/1ms", "delay=1ms", "close-after=60B"),
    ],
    ids=",".join,
)
def test_the_same_goes_wrong_in_every_stream_server(texts: tuple[str, ...]) -> None:
    assert len({tuple(_story(server, texts)) for server in SERVERS.values()}) == 1


def _story(serve: Callable[..., None], texts: tuple[str, ...]) -> Iterator[object]:
    """What one client of a server meets, which says the same thing a few times and then no more."""
    reply = socketops.make_reply("echo")
    with running(serve, reply=reply, faults=faults(*texts)) as server, server.connect() as client:
        with contextlib.suppress(OSError):  # it may end at any of these
            for number in range(1, 5):
                client.send("中文 and 字\n".encode())
                # Each chunk is to be read by itself, unless the conversation ends before.
                server.wait_until(lambda: len(server.of(Received)) >= number or bool(server.of(Closed)))  # noqa: B023
            client.shutdown(socket.SHUT_WR)
        came = b""
        with contextlib.suppress(ConnectionError):
            while chunk := client.recv(65536):
                came += chunk
        yield came
        closed = server.wait(Closed)
        yield from ((record.fault, record.effect) for record in server.of(FaultReport))
        yield from (record.data for record in server.of(Sent))
        yield closed.reason, closed.bytes_out
