"""What serve-tcp, with and without --concurrent, and serve-threaded have in common, on real loopback sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netlab import socketops
from netlab.errors import LocalError, OutputError
from netlab.records import Closed, Connected, Received, Record, Sent, Summary, WarningReport
from netlab.socketops.serving.replies import ReplyName
from tests.peers import RESET_ON_CLOSE
from tests.servers import connect, flood, listen, read_line, read_to_end, running

Serve = Callable[..., None]


SERVERS: dict[str, Serve] = {
    "tcp": socketops.serve_iteratively,
    "concurrent": socketops.serve_concurrently,
    "threaded": socketops.serve_threaded,
}


@pytest.fixture(params=list(SERVERS.values()), ids=list(SERVERS))
def serve(request: pytest.FixtureRequest) -> Serve:
    function: Serve = request.param
    return function


def setting(text: str) -> list[socketops.Setting]:
    return [socketops.parse_setting(text)]


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    sock.close()


def test_each_chunk_is_acknowledged_and_shown(serve: Serve) -> None:
    with running(serve) as server, server.connect() as client:
        for chunk in (b"hello", b"\xff\x00\n", "收到".encode()):
            client.send(chunk)
            assert read_line(client) == b"received %d bytes\n" % len(chunk)
        client.close()
        closed = server.wait(Closed)
        assert [record.data for record in server.of(Received)] == [b"hello", b"\xff\x00\n", "收到".encode()]
        assert server.of(Sent)[0].data == b"received 5 bytes\n"
        assert (closed.reason, closed.conn, closed.bytes_in, closed.bytes_out) == ("eof", 1, 14, 51)


def test_clients_that_came_before_the_server_served_have_its_limits(serve: Serve) -> None:
    """The port is open while the server still gets ready, and what it sets then comes too late for them."""
    with contextlib.ExitStack() as stack:
        sockets = listen()
        clients = [stack.enter_context(connect(sockets[0].endpoint)) for _ in range(3)]
        with running(serve, sockets, idle_timeout=0.05) as server:
            clients.append(server.connect())
            for client in clients:
                assert read_to_end(client) == b""
                client.close()
            server.wait(Closed, 4)
        assert {closed.reason for closed in server.of(Closed)} == {"timeout"}


def test_one_byte_at_a_time(serve: Serve) -> None:
    with running(serve) as server, server.connect() as client:
        for byte in b"hello":
            client.send(bytes([byte]))
            assert read_line(client) == b"received 1 bytes\n"


def test_half_close_gets_every_reply_when_data_and_fin_come_together(serve: Serve) -> None:
    with running(serve, reply=socketops.make_reply("echo")) as server:
        for number in range(10):
            with server.connect() as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
                client.send(b"message %d\n" % number)
                client.shutdown(socket.SHUT_WR)
                assert read_to_end(client) == b"message %d\n" % number


def test_clean_closes_leave_a_record_each(serve: Serve) -> None:
    with running(serve) as server:
        for _ in range(20):
            with server.connect() as client:
                client.send(b"x")
                read_line(client)
        server.wait(Closed, 20)
        assert {record.reason for record in server.of(Closed)} == {"eof"}
        assert not server.of(WarningReport)


def test_exit_word_ends_that_conversation_only(serve: Serve) -> None:
    with running(serve) as server:
        with server.connect() as client:
            client.send(b"exit\r\n")
            assert read_to_end(client) == b"received 6 bytes\n"
        assert server.wait(Closed).reason == "exit"
        with server.connect() as client:
            client.send(b"hello")
            assert read_line(client) == b"received 5 bytes\n"


def test_what_follows_the_exit_word_does_not_turn_the_end_into_a_reset(serve: Serve) -> None:
    reply = socketops.make_reply("ack", ack_text="bye", eol="")
    with running(serve, reply=reply) as server, server.connect() as client:
        client.send(b"exit")
        assert client.recv(3, socket.MSG_WAITALL) == b"bye"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(b"more")
        assert read_to_end(client) == b""


def test_stop_on_exit_stops_the_server(serve: Serve) -> None:
    with running(serve, reply=socketops.make_reply("ack", stop_on_exit=True)) as server:
        with server.connect() as client:
            client.send(b"exit")
            assert read_to_end(client) == b"received 4 bytes\n"
        assert server.wait(Summary).ended_by == "exit word"


def test_reset_is_a_record_and_the_server_lives(serve: Serve) -> None:
    with running(serve) as server:
        for number in range(1, 6):
            client = server.connect()
            client.send(b"x")
            read_line(client)
            reset(client)
            closed = server.wait(Closed, number)
            assert (closed.reason, closed.errno, closed.operation) == ("reset", errno.ECONNRESET, "receive")
        with server.connect() as client:
            client.send(b"hello")
            assert read_line(client) == b"received 5 bytes\n"


def test_reset_in_mid_reply_is_the_same(serve: Serve) -> None:
    with running(serve, reply=socketops.make_reply("generate")) as server:
        client = server.connect()
        client.recv(100)
        reset(client)
        closed = server.wait(Closed)
        assert (closed.reason, closed.operation) == ("reset", "send")
        assert closed.errno in (errno.ECONNRESET, errno.EPIPE)
        assert closed.errno_name == errno.errorcode[closed.errno]


@pytest.mark.parametrize("name", ["echo", "ack"])
def test_client_that_never_reads_is_closed(serve: Serve, name: ReplyName) -> None:
    # The limit of 10 s is a socket option like any other, so it can be made short.
    sockets = listen(settings=setting("SO_SNDTIMEO=100ms") + setting("SO_SNDBUF=4k"))
    reply = socketops.make_reply(name, ack_text="x" * 65536)
    with running(serve, sockets, reply=reply, watch={Closed}) as server, server.connect() as client:
        flood(client)
        closed = server.wait(Closed)
        assert (closed.reason, closed.operation, closed.errno) == ("timeout", "send", None)


def test_silent_client_is_closed(serve: Serve) -> None:
    with running(serve, idle_timeout=0.05) as server, server.connect() as client:
        assert read_to_end(client) == b""
        closed = server.wait(Closed)
        assert (closed.reason, closed.operation) == ("timeout", "receive")


def test_client_that_talks_is_not_idle(serve: Serve) -> None:
    with running(serve, idle_timeout=0.5) as server, server.connect() as client:
        for _ in range(3):
            client.send(b"x")
            read_line(client)
        assert not server.of(Closed)


def test_stop_shows_every_client_the_end(serve: Serve) -> None:
    with running(serve) as server, server.connect() as client:
        client.send(b"hello")
        read_line(client)
        server.stop.set("SIGTERM")
        assert read_to_end(client) == b""
        summary = server.wait(Summary)
        assert server.of(Closed)[0].reason == "stopped"
        assert (summary.ended_by, summary.clients, summary.most_clients) == ("SIGTERM", 1, 1)
        assert (summary.bytes_in, summary.bytes_out) == (5, 17)


def test_stop_before_the_first_client(serve: Serve) -> None:
    with running(serve) as server:
        server.stop.set("SIGINT")
        assert server.wait(Summary).clients == 0


def test_stop_does_not_wait_for_a_client_that_never_reads(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("clients", "concurrent", "threaded"):
        monkeypatch.setattr(f"netlab.socketops.serving.{module}.GRACE", 0.1)
    with running(serve, reply=socketops.make_reply("echo"), watch={Closed}) as server, server.connect() as client:
        client.settimeout(0.3)
        flood(client)
        server.stop.set("SIGTERM")
        assert server.wait(Closed).reason == "stopped"


def test_generate_ends_at_a_stop(serve: Serve) -> None:
    with running(serve, reply=socketops.make_reply("generate"), watch=()) as server, server.connect() as client:
        assert client.recv(4) == b' !"#'
        server.stop.set("SIGTERM")
        assert read_to_end(client)
        assert server.wait(Summary).bytes_out > 4


def test_once_ends_after_one_client(serve: Serve) -> None:
    with running(serve, once=True) as server:
        with server.connect() as client:
            client.send(b"x")
            read_line(client)
        assert server.wait(Summary).ended_by == "--once"


def test_duration_ends_it(serve: Serve) -> None:
    with running(serve, duration=0.05) as server, server.connect() as client:
        assert read_to_end(client) == b""
        assert server.wait(Summary).ended_by == "--duration"


@pytest.mark.parametrize("kind", [Connected, Received, Sent, Closed])
def test_failing_emit_stops_the_server_and_is_raised_once(serve: Serve, kind: type[Record]) -> None:
    def emit(record: Record) -> None:
        if isinstance(record, kind):
            raise OutputError("write", "log", errno=errno.ENOSPC)

    with running(serve, emit=emit, fails=True) as server, server.connect() as client:
        with contextlib.suppress(OSError):  # the server may be gone already
            client.send(b"hello")
            client.shutdown(socket.SHUT_WR)
            read_to_end(client)
        assert server.stop.wait(5)
    assert isinstance(server.failure, OutputError)


def test_unwatched_records_are_not_made(serve: Serve) -> None:
    with running(serve, watch=()) as server:
        with server.connect() as client:
            client.send(b"hello")
            assert read_line(client) == b"received 5 bytes\n"
        server.stop.set("SIGTERM")
        assert server.wait(Summary).bytes_in == 5
        assert server.records == server.of(Summary)


@pytest.mark.parametrize("watch", [{Closed}, {Closed, Received, Sent}], ids=["plain", "watched"])
def test_echo_returns_a_large_stream_whole(serve: Serve, watch: set[type[Record]]) -> None:
    sent = os.urandom(3_000_000)
    with running(serve, reply=socketops.make_reply("echo"), watch=watch) as server, server.connect() as client:

        def send() -> None:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = read_to_end(client)
        sender.join()
        closed = server.wait(Closed)
        assert received == sent
        assert (closed.bytes_in, closed.bytes_out) == (len(sent), len(sent))


@pytest.mark.parametrize("watch", [{Closed}, {Closed, Received}], ids=["plain", "watched"])
@pytest.mark.parametrize("where", ["127.0.0.1:0", "unix:{}/s"], ids=["inet", "unix"])
def test_discard_counts_what_it_swallows(serve: Serve, where: str, watch: set[type[Record]], tmp_path: Path) -> None:
    reply = socketops.make_reply("discard")
    with running(serve, listen(where.format(tmp_path)), reply=reply, watch=watch) as server:
        with server.connect() as client:
            client.sendall(b"x" * 3_000_000)
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(client) == b""
        assert server.wait(Closed).bytes_in == 3_000_000


def test_bytes_that_are_no_text_do_not_matter(serve: Serve) -> None:
    with running(serve) as server, server.connect() as client:
        for chunk in (b"\xff\xfe\x80", b"a\0b", b"\xed\xa0\x80", b"\xc0\xaf", b"\x1b]52;c;x\x07"):
            client.send(chunk)
            assert read_line(client) == b"received %d bytes\n" % len(chunk)


def test_unix_client_is_known_by_its_process(serve: Serve, tmp_path: Path) -> None:
    with running(serve, listen(f"unix:{tmp_path}/s")) as server, server.connect() as client:
        client.send(b"hello")
        assert read_line(client) == b"received 5 bytes\n"
        connected = server.wait(Connected)
        assert connected.peer is None
        assert (connected.pid, connected.uid, connected.gid) == (os.getpid(), os.getuid(), os.getgid())


def test_empty_record_is_no_end(serve: Serve, tmp_path: Path) -> None:
    with running(serve, listen(f"unix-seqpacket:{tmp_path}/s")) as server, server.connect() as client:
        for record in (b"ab", b"", b"cd", b""):
            client.send(record)
        client.shutdown(socket.SHUT_WR)
        sizes = [client.recv(100) for _ in range(4)]
        assert sizes == [b"received %d bytes\n" % size for size in (2, 0, 2, 0)]
        assert client.recv(100) == b""
        assert [record.data for record in server.of(Received)] == [b"ab", b"", b"cd", b""]
        assert server.wait(Closed).reason == "eof"


def test_records_keep_their_borders_under_echo(serve: Serve, tmp_path: Path) -> None:
    with (
        running(serve, listen(f"unix-seqpacket:{tmp_path}/s"), reply=socketops.make_reply("echo"), watch=()) as server,
        server.connect() as client,
    ):
        for record in (b"a" * 100_000, b"", b"b"):
            client.send(record)
            assert client.recv(200_000) == record


def test_cut_record_tells_its_size(serve: Serve, tmp_path: Path) -> None:
    with running(serve, listen(f"unix-seqpacket:{tmp_path}/s")) as server, server.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_SNDBUFFORCE", 32), 1 << 20)
        client.send(b"x" * 300_000)
        received = server.wait(Received)
        assert (len(received.data), received.size) == (256 * 1024, 300_000)


def test_adopted_listener_is_left_as_it_was(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as shared:
        adopted = socketops.adopt(socket.socket(fileno=os.dup(shared.fileno())))
        with running(serve, [adopted]) as server:
            with server.connect() as client:
                client.send(b"hello")
                assert read_line(client) == b"received 5 bytes\n"
            server.stop.set("SIGTERM")
            server.wait(Summary)
        assert os.get_blocking(shared.fileno())
        with socket.create_connection(shared.getsockname(), timeout=5):
            accepted, _ = shared.accept()
            accepted.close()


def test_several_listeners_are_all_served(serve: Serve) -> None:
    with running(serve, [*listen(), *listen(), *listen("[::1]:0")]) as server:
        for number in (2, 0, 1):
            with server.connect(number) as client:
                client.send(b"hello")
                assert read_line(client) == b"received 5 bytes\n"
        assert server.wait(Closed, 3).reason == "eof"


class FailingListener(socket.socket):
    """A listener whose accept first says what accept(2) can say."""

    failures: tuple[int, ...] = ()

    def accept(self) -> tuple[socket.socket, Any]:
        if self.failures:
            code, *rest = self.failures
            self.failures = tuple(rest)
            raise OSError(code, os.strerror(code))
        return super().accept()


@pytest.mark.parametrize("code", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPROTO"])
def test_shortage_in_accept_is_survived_and_told_once(serve: Serve, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("entrance", "concurrent"):
        monkeypatch.setattr(f"netlab.socketops.serving.{module}.PAUSE", 0.02)
    [bound] = listen(socket_class=FailingListener)
    bound.sock.failures = (getattr(errno, code),) * 2  # type: ignore[attr-defined]
    with running(serve, [bound]) as server, server.connect() as client:
        client.send(b"hello")
        assert read_line(client) == b"received 5 bytes\n"
        [warning] = server.of(WarningReport)
        assert code in warning.message


@pytest.mark.parametrize("code", ["ECONNABORTED", "EPERM", "ENETUNREACH", "EHOSTUNREACH", "EOPNOTSUPP", "EAGAIN"])
def test_lost_client_in_accept_is_passed_over(serve: Serve, code: str) -> None:
    [bound] = listen(socket_class=FailingListener)
    bound.sock.failures = (getattr(errno, code),) * 3  # type: ignore[attr-defined]
    with running(serve, [bound]) as server, server.connect() as client:
        client.send(b"hello")
        assert read_line(client) == b"received 5 bytes\n"
        assert not server.of(WarningReport)


def test_listener_that_is_none_any_more_is_an_error(serve: Serve) -> None:
    with running(serve, fails=True) as server:
        server.sockets[0].sock.shutdown(socket.SHUT_RD)
        assert server.stop.wait(5)
    assert isinstance(server.failure, LocalError)
    assert str(server.failure).startswith(f"accept {server.endpoint}: invalid argument")
