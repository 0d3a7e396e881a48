"""The traced socket: what it notes of each call, on real sockets, and that it behaves as a plain one."""

from __future__ import annotations

import _thread
import errno
import os
import select
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import pytest

from netlab.endpoint import Endpoint
from netlab.errors import OutputError
from netlab.records import Call, Record
from netlab.socketops import Trace, bind, connect, listen, traced_socket_class
from netlab.socketops.stop import poller, wait_readable
from tests.peers import closing_server, refusing_port, resetting_server

LOOPBACK = Endpoint.parse("127.0.0.1:0", listening=True)
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def said(calls: Sequence[Call]) -> list[str]:
    """Calls as short lines: ``send 5``, ``recv 5 B``, ``connect EINPROGRESS``."""
    return [f"{call.call} {call.errno_name or call.result}" for call in calls]


def only(calls: Sequence[Call], name: str) -> list[Call]:
    return [call for call in calls if call.call == name]


@pytest.fixture
def trace() -> Trace:
    return Trace()


@contextmanager
def connection(trace: Trace, endpoint: Endpoint = LOOPBACK) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give a traced client and the traced socket that was accepted from it, both blocking."""
    kind = traced_socket_class(trace)
    (bound,) = listen(endpoint, backlog=5, socket_class=kind)
    with bound, connect(bound.endpoint, timeout=5, socket_class=kind) as client:
        server, _ = bound.sock.accept()
        with server:
            yield client, server


def test_openers_make_plain_sockets_unless_told_otherwise() -> None:
    (bound,) = listen(LOOPBACK)
    with bound, connect(bound.endpoint, timeout=5) as client:
        assert type(bound.sock) is socket.socket
        assert type(client) is socket.socket
        assert type(poller(client)) is type(select.poll())


def test_a_conversation_is_noted_call_by_call(trace: Trace) -> None:
    with connection(trace) as (client, server):
        client.sendall(b"hello")
        assert server.recv(65536) == b"hello"
        server.send(b"received 5 bytes\n")
        client.recv(65536)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(65536) == b""
    calls = trace.calls()
    assert said(only(calls, "connect")) == ["connect EINPROGRESS"]
    assert said([call for call in calls if call.call in ("sendall", "send", "recv", "shutdown")]) == [
        "sendall 5", "recv 5 B", "send 17", "recv 17 B", "shutdown 0", "recv 0 B, EOF",
    ]  # fmt: skip
    assert only(calls, "close")[0].state_name == "CLOSE_WAIT"
    assert [call.mono_us for call in calls] == sorted(call.mono_us for call in calls)
    (listened,) = only(calls, "listen")
    (connected,) = only(calls, "connect")
    assert (listened.args, listened.state_name) == ("5", "LISTEN")
    assert connected.args == str(listened.local) == str(connected.peer)
    assert (connected.errno, connected.state_name) == (errno.EINPROGRESS, "ESTABLISHED")


def test_every_call_knows_its_socket_side_and_names(trace: Trace) -> None:
    with connection(trace) as (client, server):
        client.send(b"x")
        server.recv(1)
        fds = (client.fileno(), server.fileno())
    (accepted,) = only(trace.calls(), "accept")
    (sent,) = only(trace.calls(), "send")
    (received,) = only(trace.calls(), "recv")
    assert accepted.result == f"fd {fds[1]}"
    assert (sent.fd, received.fd) == fds
    assert (sent.lane, received.lane, accepted.lane) == ("client", "server", "server")
    assert len({sent.socket, received.socket, accepted.socket}) == 3
    assert (sent.local, sent.peer) == (received.peer, received.local)
    assert accepted.peer == sent.local
    assert all(call.lane == "server" for call in trace.calls() if call.socket == accepted.socket)
    assert {call.transport for call in trace.calls()} == {"tcp"}


def test_options_and_flags_have_names(trace: Trace) -> None:
    with connection(trace) as (client, server):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 7))
        client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)
        server.send(b"x")
        client.recv(9, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        client.shutdown(socket.SHUT_RDWR)
    calls = trace.calls()
    assert [call.args for call in only(calls, "setsockopt")][-2:] == ["TCP_NODELAY, 1", "SO_LINGER, on, 7 s"]
    assert only(calls, "getsockopt")[-1].args == "TCP_INFO"
    assert only(calls, "recv")[0].args in ("9, MSG_PEEK|MSG_DONTWAIT", "9, MSG_DONTWAIT|MSG_PEEK")
    assert only(calls, "shutdown")[0].args == "SHUT_RDWR"
    assert only(calls, "socket")[0].args == "AF_INET, SOCK_STREAM"


def test_an_option_without_a_name_is_its_number(trace: Trace) -> None:
    with traced_socket_class(trace)() as sock, pytest.raises(OSError):
        sock.getsockopt(socket.SOL_SOCKET, 9876)
    assert only(trace.calls(), "getsockopt")[0].args == "SOL_SOCKET 9876"


def test_a_pending_error_is_told_with_its_name(trace: Trace) -> None:
    with refusing_port() as peer, traced_socket_class(trace)() as sock:
        sock.setblocking(False)
        if sock.connect_ex((peer.host, peer.port)) == errno.EINPROGRESS:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
            assert only(trace.calls(), "getsockopt")[0].result == "111 ECONNREFUSED"
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
    assert only(trace.calls(), "getsockopt")[-1].result == "0"


def test_failures_are_noted_and_raised(trace: Trace) -> None:
    with refusing_port() as peer, traced_socket_class(trace)() as sock:
        with pytest.raises(ConnectionRefusedError):
            sock.connect((peer.host, peer.port))
        with pytest.raises(OSError):
            sock.getpeername()
    assert said(trace.calls())[1:3] == ["connect ECONNREFUSED", "getpeername ENOTCONN"]
    assert all(call.result is None for call in trace.calls() if call.errno is not None)


def test_what_is_no_call_is_not_noted(trace: Trace) -> None:
    with traced_socket_class(trace)() as sock:
        noted = len(trace.calls())
        for wrong in (lambda: sock.send(), lambda: sock.recv("x"), lambda: sock.connect(5)):  # type: ignore[call-arg,arg-type]
            with pytest.raises(TypeError):
                wrong()
        assert len(trace.calls()) == noted


def test_a_wait_for_the_peer_is_told_apart(trace: Trace) -> None:
    with connection(trace) as (client, server):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 20_000))
        with pytest.raises(BlockingIOError):
            server.recv(100)
        client.send(b"1")
        assert wait_readable(server, 5)
        server.recv(100)
    waited, ready = only(trace.calls(), "recv")
    assert waited.waited_us is not None
    assert 15_000 < waited.waited_us <= waited.duration_us
    assert (ready.waited_us, ready.pending_us) == (None, None)


def test_nothing_yet_is_pending_until_the_next_call(trace: Trace) -> None:
    with connection(trace) as (client, server):
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(10)
        server.send(b"x")
        assert wait_readable(server, 0) is False
        client.recv(10)
        client.setblocking(True)
    first, second = only(trace.calls(), "recv")
    assert first.errno_name == "EAGAIN"
    assert first.waited_us is None
    assert second.pending_us is not None
    assert second.pending_us == pytest.approx(second.mono_us - first.mono_us - first.duration_us, abs=0.01)


def test_flags_that_never_wait_are_no_wait(trace: Trace) -> None:
    with connection(trace) as (client, _):
        with pytest.raises(BlockingIOError):
            client.recv(10, socket.MSG_DONTWAIT)
    assert only(trace.calls(), "recv")[0].waited_us is None


def test_python_s_own_time_out_has_no_errno(trace: Trace) -> None:
    with connection(trace) as (client, _):
        client.settimeout(0.01)
        with pytest.raises(TimeoutError):
            client.recv(10)
    (call,) = only(trace.calls(), "recv")
    assert (call.errno, call.result) == (None, "timed out")


def test_a_name_that_does_not_resolve_is_no_errno(trace: Trace) -> None:
    with traced_socket_class(trace)() as sock, pytest.raises(socket.gaierror):
        sock.connect(("name.invalid", 1))
    (call,) = only(trace.calls(), "connect")
    assert call.errno is None
    assert call.result


@pytest.mark.parametrize(
    ("send", "receive", "names"),
    [
        (lambda s: s.send(b"hello"), lambda s: s.recv(100), ("send", "recv")),
        (lambda s: s.sendall(memoryview(b"hello")), lambda s: s.recv_into(bytearray(100)), ("sendall", "recv")),
        (lambda s: s.sendmsg([b"hel", b"lo"]), lambda s: s.recvmsg(100), ("sendmsg", "recvmsg")),
        (
            lambda s: s.sendmsg(iter([b"hello"])),
            lambda s: s.recvmsg_into(iter([bytearray(100)])),
            ("sendmsg", "recvmsg"),
        ),
        (lambda s: s.send(bytearray(b"hello")), lambda s: s.recvfrom(100), ("send", "recvfrom")),
        (lambda s: s.send(b"hello"), lambda s: s.recvfrom_into(bytearray(100), flags=0), ("send", "recvfrom")),
        (lambda s: s.send(b"hello"), lambda s: s.recv_into(memoryview(bytearray(100)), flags=0), ("send", "recv")),
    ],
)
def test_every_way_to_carry_bytes_is_noted(send: Any, receive: Any, names: tuple[str, str], trace: Trace) -> None:
    with connection(trace) as (client, server):
        send(client)
        receive(server)
    (sent,), (received,) = (only(trace.calls(), name) for name in names)
    assert (sent.result, sent.size, received.result, received.size) == ("5", 5, "5 B", 5)
    assert received.data == b"hello"
    assert sent.data is not None
    assert b"hello".startswith(sent.data)
    assert received.args == "100"


def test_only_the_start_of_a_payload_is_kept_and_whole_characters(trace: Trace) -> None:
    text = "x" + "\u4f60" * 100
    with connection(trace) as (client, server):
        client.send(text.encode())
        buffer = bytearray(1000)
        server.recv_into(buffer)
        buffer[:] = bytes(1000)
    for call in (*only(trace.calls(), "send"), *only(trace.calls(), "recv")):
        assert call.size == 301
        assert call.data == ("x" + "\u4f60" * 21).encode()


def test_discarded_bytes_are_not_shown_as_if_they_had_come(trace: Trace) -> None:
    with connection(trace) as (client, server):
        client.send(b"hello")
        assert server.recv_into(bytearray(b"garbage"), 5, socket.MSG_TRUNC) == 5
    (call,) = only(trace.calls(), "recv")
    assert (call.size, call.data) == (5, None)


def test_close_tells_what_was_left_unread(trace: Trace) -> None:
    with connection(trace) as (client, server):
        client.send(b"hello")
        assert wait_readable(server, 5)
        server.close()
        with pytest.raises(ConnectionResetError):
            client.recv(10)
    unread = [(call.state_name, call.unread) for call in only(trace.calls(), "close")]
    assert unread[0] == ("ESTABLISHED", 5)
    assert said(only(trace.calls(), "recv")) == ["recv ECONNRESET"]


def test_close_is_noted_once_and_when_the_descriptor_goes(trace: Trace) -> None:
    with connection(trace) as (client, server):
        stream = client.makefile("rb")
        client.close()
        assert not only(trace.calls(), "close")
        server.send(b"line\n")
        assert stream.readline() == b"line\n"
        stream.close()
        client.close()
        assert len(only(trace.calls(), "close")) == 1
    assert len(only(trace.calls(), "recv")) == 1


def test_detach_and_dup_keep_to_their_descriptors(trace: Trace) -> None:
    with connection(trace) as (client, server):
        with client.dup() as twin:
            assert twin.send(b"x") == 1
        assert server.recv(1) == b"x"
        fd = server.detach()
        noted = len(trace.calls())
        socket.close(fd)
        assert server.fileno() == -1
        assert len(trace.calls()) == noted
        assert fd not in trace.sockets


def test_datagrams_bear_the_address_of_each_peer(trace: Trace) -> None:
    kind = traced_socket_class(trace)
    (bound,) = bind(Endpoint.parse("udp://127.0.0.1:0", listening=True), socket_class=kind)
    with bound, kind(socket.AF_INET, socket.SOCK_DGRAM) as one, kind(socket.AF_INET, socket.SOCK_DGRAM) as other:
        for sock in (one, other):
            sock.sendto(b"", bound.endpoint.to_sockaddr())
            data, name = bound.sock.recvfrom(100)
            bound.sock.sendto(data + b"!", name)
            sock.recv(100)
        names = [sock.getsockname()[1] for sock in (one, other)]
    received = only(trace.calls(), "recvfrom")
    assert [call.peer and call.peer.port for call in received] == names
    assert [call.result for call in received] == ["0 B", "0 B"]
    sent = [call for call in only(trace.calls(), "sendto") if call.socket == received[0].socket]
    assert [call.args for call in sent] == [f"127.0.0.1:{port}" for port in names]
    assert all(call.state_name is None for call in trace.calls())
    assert {call.lane for call in trace.calls() if call.socket == received[0].socket} == {"server"}


def test_unix_sockets_tell_the_process_at_the_other_end(trace: Trace) -> None:
    with connection(trace, Endpoint.parse("unix:@netlab-test-tracing")) as (client, server):
        client.send(b"x")
        server.recv(1)
    (connected,) = only(trace.calls(), "connect")
    (received,) = only(trace.calls(), "recv")
    assert connected.args == "@netlab-test-tracing"
    assert (connected.local, str(connected.peer)) == (None, "unix:@netlab-test-tracing")
    assert received.peer_pid == received.pid == os.getpid()


def test_a_poll_shows_like_a_call_of_its_socket(trace: Trace) -> None:
    with connection(trace) as (client, server):
        assert not wait_readable(client, 0.01)
        server.send(b"x")
        assert wait_readable(client, 5)
        poll = poller(client)
        poll.register(server.fileno(), select.POLLIN)
        poll.register(client, select.POLLIN)
        poll.modify(client, select.POLLIN | select.POLLOUT)
        poll.unregister(server.fileno())
        assert poll.poll(None)
    connecting, late, ready, both = only(trace.calls(), "poll")[-4:]
    assert (connecting.args, connecting.result) == ("POLLOUT, 0 ms", "writable")
    assert (late.args, late.result) == ("POLLIN, 10 ms", "timed out")
    assert late.waited_us is not None
    assert late.waited_us >= 9_000
    assert (ready.result, ready.waited_us) == ("readable", None)
    assert (both.args, both.result) == ("POLLIN|POLLOUT, no limit", "readable, writable")


def test_a_poll_that_another_descriptor_ends_is_no_wait_for_the_peer(trace: Trace) -> None:
    near, far = socket.socketpair()
    with connection(trace) as (client, _), near, far:
        poll = poller(client)
        poll.register(client, select.POLLIN)
        poll.register(near, select.POLLIN)
        threading.Timer(0.02, far.send, (b"x",)).start()
        poll.poll(5000)
        call = only(trace.calls(), "poll")[-1]
        assert (call.result, call.waited_us) == (f"fd {near.fileno()} is ready", None)


def test_memory_is_bounded_and_what_was_dropped_is_counted() -> None:
    trace = Trace(keep=10)
    with connection(trace) as (client, server):
        for _ in range(50):
            client.send(b"x")
            server.recv(1)
    assert len(trace.calls()) == 10
    assert trace.dropped > 90
    assert trace.calls()[-1].call == "close"


def test_calls_are_told_as_they_end() -> None:
    seen: list[Record] = []
    trace = Trace(emit=seen.append)
    with connection(trace) as (client, server):
        client.send(b"x")
        server.recv(1)
    assert sorted(said(trace.calls())) == sorted(said([call for call in seen if isinstance(call, Call)]))


def test_who_is_told_cannot_break_a_call() -> None:
    def full(record: Record) -> None:
        raise OutputError("write", "standard error", errno=errno.ENOSPC)

    trace = Trace(emit=full)
    with connection(trace) as (client, server):
        assert client.send(b"x") == 1
        assert server.recv(1) == b"x"
    assert trace.failure is not None
    assert trace.failure.errno == errno.ENOSPC
    assert len(only(trace.calls(), "send")) == 1


def test_threads_without_a_thread_object_have_numbers(trace: Trace) -> None:
    done = threading.Event()
    with connection(trace) as (client, _):

        def work() -> None:
            client.send(b"x")
            done.set()

        before = threading.enumerate()
        _thread.start_new_thread(work, ())
        assert done.wait(5)
        assert set(threading.enumerate()) <= set(before)  # a thread of another test may end meanwhile
    assert only(trace.calls(), "send")[0].thread == "thread 1"


def test_many_threads_note_at_once(trace: Trace) -> None:
    with connection(trace) as (client, server):
        threads = [threading.Thread(target=lambda: [client.send(b"x") for _ in range(200)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        got = 0
        while got < 800:
            got += len(server.recv(100))
            trace.calls()
        for thread in threads:
            thread.join()
    assert len(only(trace.calls(), "send")) == 800
    assert trace.dropped == 0


def test_a_socket_that_cannot_be_made_is_noted(trace: Trace) -> None:
    with pytest.raises(OSError):
        traced_socket_class(trace)(socket.AF_INET, socket.SOCK_SEQPACKET)
    (call,) = trace.calls()
    assert (call.call, call.fd, call.errno_name) == ("socket", -1, "ESOCKTNOSUPPORT")


def test_a_reset_is_noted_where_it_is_met(trace: Trace) -> None:
    with resetting_server() as peer, traced_socket_class(trace)() as sock:
        sock.connect((peer.host, peer.port))
        sock.send(b"x")
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert said(only(trace.calls(), "recv")) == ["recv ECONNRESET"]


def test_eof_of_a_foreign_peer(trace: Trace) -> None:
    with closing_server(1) as peer, traced_socket_class(trace)() as sock:
        sock.connect((peer.host, peer.port))
        sock.send(b"x")
        assert sock.recv(1) == b""
    (call,) = only(trace.calls(), "recv")
    assert (call.result, call.size, call.data) == ("0 B, EOF", 0, None)
    assert call.state_name == "CLOSE_WAIT"


SILENT = {
    # No calls on the socket, or made of calls that are noted.
    "close", "detach", "dup", "family", "fileno", "get_inheritable", "getblocking", "gettimeout", "ioctl", "makefile",
    "poller", "proto", "send_fds", "sendfile", "sendmsg_afalg", "set_inheritable", "setblocking", "settimeout", "share",
    "timeout", "type", "accept",
}  # fmt: skip


def test_no_call_of_socket_goes_unseen() -> None:
    """A method that a later Python adds has to be noted, or named here."""
    kind = traced_socket_class(Trace())
    plain = {
        name
        for name in dir(socket.socket)
        if not name.startswith("_") and getattr(kind, name) is getattr(socket.socket, name)
    }
    assert plain <= SILENT


def test_a_traced_socket_is_a_socket(trace: Trace) -> None:
    kind = traced_socket_class(trace)
    assert issubclass(kind, socket.socket)
    with closing(kind()) as sock:
        assert not hasattr(sock, "__dict__")
        assert "fd=" in repr(sock)
