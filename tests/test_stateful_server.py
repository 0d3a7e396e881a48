"""Stream servers against a model: clients come, say pieces, read, half-close, reset and leave, in any order.

Whatever they do, no byte is lost or made up, every connection is closed once and told once, the counters add up, and
descriptors and threads are in the end what they were.
"""

from __future__ import annotations

import contextlib
import os
import socket
import uuid
from collections.abc import Callable
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, precondition, rule

from netlab import socketops
from netlab.endpoint import Endpoint, from_sockaddr
from netlab.records import Closed, Connected, Received, Sent, Summary
from tests import peers
from tests.injection import until
from tests.servers import TIMEOUT, Running, listen, read_to_end, running

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="no /proc to count threads in")

MOST = 6
"""Clients at the same time."""

BOUNDED = settings(
    max_examples=50,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


class Caller:
    """A client, and what it has said and heard."""

    def __init__(self, endpoint: Endpoint) -> None:
        family = socket.AF_UNIX if endpoint.transport.is_unix else socket.AF_INET
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT)
        if endpoint.transport.is_unix:
            self.sock.bind("")  # a name that the kernel picks (unix(7)), so that the server can tell it from others
        self.sock.connect(endpoint.to_sockaddr())
        self.name = from_sockaddr(endpoint.transport, self.sock.getsockname())
        self.said = bytearray()
        self.heard = bytearray()
        self.has_ended = False
        self.is_gone = False

    def hear(self) -> None:
        """Read the echo of all that was said."""
        while len(self.heard) < len(self.said):
            chunk = self.sock.recv(65536)
            assert chunk, f"the end came after {len(self.heard)} of {len(self.said)} bytes"
            self.heard += chunk
        assert self.heard == self.said

    def finish(self) -> None:
        """End in good order, and hear the rest."""
        if not self.has_ended:
            self.sock.shutdown(socket.SHUT_WR)
        self.heard += read_to_end(self.sock)
        self.sock.close()
        assert self.heard == self.said, "bytes were lost or made up"


class EchoServer(RuleBasedStateMachine):
    """A server that echoes, and its clients."""

    serve: ClassVar[Callable[..., None]]
    at_once: ClassVar[int] = MOST
    """Clients that are sure to be served at the same time."""

    callers = Bundle("callers")

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        self._server: Running | None = None
        self._all: list[Caller] = []
        self._descriptors, self._threads = descriptors(), threads()

    @initialize(is_unix=st.booleans(), is_watched=st.booleans())
    def start(self, is_unix: bool, is_watched: bool) -> None:
        where = f"unix:@{uuid.uuid4()}" if is_unix else "127.0.0.1:0"
        watch = socketops.CLIENT_RECORDS if is_watched else {Connected, Closed}
        opened = running(type(self).serve, listen(where), reply=socketops.make_reply("echo"), watch=watch)
        self._server = self._stack.enter_context(opened)
        self._is_watched = is_watched

    @precondition(lambda self: sum(not caller.is_gone for caller in self._all) < MOST)
    @rule(target=callers)
    def come(self) -> Caller:
        assert self._server is not None
        caller = Caller(self._server.endpoint)
        self._all.append(caller)
        return caller

    @rule(caller=callers, piece=st.binary(min_size=1, max_size=8) | st.integers(1, 8000).map(lambda size: b"x" * size))
    def say(self, caller: Caller, piece: bytes) -> None:
        if not caller.has_ended:
            caller.sock.sendall(piece)
            caller.said += piece

    @rule(caller=callers)
    def hear(self, caller: Caller) -> None:
        present = [other for other in self._all if not other.is_gone]
        if caller in present[: self.at_once]:
            caller.hear()

    @rule(caller=callers)
    def half_close(self, caller: Caller) -> None:
        if not caller.has_ended:
            caller.sock.shutdown(socket.SHUT_WR)
            caller.has_ended = True

    @rule(caller=consumes(callers))
    def reset(self, caller: Caller) -> None:
        caller.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, peers.RESET_ON_CLOSE)
        self.leave(caller)

    @rule(caller=consumes(callers))
    def leave(self, caller: Caller) -> None:
        """Go without reading the rest, which resets the connection where there is one."""
        caller.sock.close()
        caller.is_gone = True

    def teardown(self) -> None:
        with self._stack:
            for caller in self._all:
                self._stack.callback(caller.sock.close)
            if self._server is not None:
                self._check(self._server)
        until(lambda: threads() <= self._threads, "threads that have ended")
        assert descriptors() <= self._descriptors

    def _check(self, server: Running) -> None:
        for caller in self._all:
            if not caller.is_gone:
                caller.finish()
        if self._all:
            server.wait(Closed, len(self._all))
        server.stop.set("the test")
        summary = server.wait(Summary)
        connected, closed = server.of(Connected), server.of(Closed)
        assert sorted(record.conn or 0 for record in connected) == list(range(1, len(self._all) + 1))
        assert sorted(record.conn or 0 for record in closed) == list(range(1, len(self._all) + 1))
        by_name = {record.peer: record for record in closed}
        for caller in self._all:
            self._check_client(server, caller, by_name[caller.name])
        assert summary.clients == len(self._all)
        assert (summary.most_clients or 0) <= len(self._all)
        assert summary.bytes_in == sum(record.bytes_in for record in closed)
        assert summary.bytes_out == sum(record.bytes_out for record in closed)

    def _check_client(self, server: Running, caller: Caller, closed: Closed) -> None:
        if caller.is_gone:
            assert closed.reason in ("eof", "reset")
            assert len(caller.heard) <= closed.bytes_out <= closed.bytes_in <= len(caller.said)
        else:
            assert (closed.reason, closed.errno) == ("eof", None)
            assert closed.bytes_in == closed.bytes_out == len(caller.said)
        if self._is_watched:
            came = b"".join(record.data for record in server.of(Received) if record.conn == closed.conn)
            went = b"".join(record.data for record in server.of(Sent) if record.conn == closed.conn)
            assert came == caller.said[: closed.bytes_in]
            assert went == caller.said[: len(went)]
            # Of a reply that failed, what went before it is counted, but the reply is not told as sent.
            assert len(went) == closed.bytes_out if not caller.is_gone else len(went) <= closed.bytes_out


class Iterative(EchoServer):
    """serve-tcp: who comes while another is served waits."""

    serve = staticmethod(socketops.serve_iteratively)
    at_once = 1


class Concurrent(EchoServer):
    """serve-tcp --concurrent."""

    serve = staticmethod(socketops.serve_concurrently)


class Threaded(EchoServer):
    """serve-threaded."""

    serve = staticmethod(socketops.serve_threaded)


TestIterative = Iterative.TestCase
TestConcurrent = Concurrent.TestCase
TestThreaded = Threaded.TestCase
TestIterative.settings = TestConcurrent.settings = TestThreaded.settings = BOUNDED


def test_the_model_would_notice_a_byte_that_is_lost() -> None:
    with running(socketops.serve_threaded, reply=socketops.make_reply("discard")) as server:
        caller = Caller(server.endpoint)
        caller.sock.sendall(b"x")
        caller.said += b"x"
        with pytest.raises(AssertionError, match="lost or made up"):
            caller.finish()
