"""What --trace costs a call: a pair of connected sockets in one thread, so that no call ever waits.

"plain" is socket.socket as such; "off" is what openers make without --trace, which has to be the same; "on" is the
traced class.
"""

from __future__ import annotations

import socket
import time

from netlab.endpoint import Endpoint
from netlab.socketops import Trace, connect, listen, traced_socket_class
from tests.benchmarks.measuring import Bench, Program, Sample

__all__ = ["CLASSES", "call_cost"]

CALLS = 20_000
TURNS = 5
CLASSES = ("plain socket", "--trace off", "--trace on")


def call_cost(_: Bench, program: Program, family: str) -> Sample:
    """Return nanoseconds of a send or recv_into, for one of `CLASSES`; the best of a few turns."""
    client, server = _pair(program.command, family)
    with client, server:
        if program.command == "--trace off":
            assert type(client) is socket.socket, "without --trace openers must make plain sockets"
        return {"value": min(_turn(client, server) for _ in range(TURNS))}


def _pair(kind: str, family: str) -> tuple[socket.socket, socket.socket]:
    """Return two ends of a connection, as the openers make them for ``off`` and ``on``."""
    if kind == "plain socket":
        return _plain_pair(family)
    options = {"socket_class": traced_socket_class(Trace())} if kind == "--trace on" else {}
    where = "127.0.0.1:0" if family == "tcp" else "unix:@netlab-call-cost"
    (bound,) = listen(Endpoint.parse(where, listening=True), **options)  # type: ignore[arg-type]
    with bound:
        client = connect(bound.endpoint, timeout=5, **options)  # type: ignore[arg-type]
        return client, bound.sock.accept()[0]


def _plain_pair(family: str) -> tuple[socket.socket, socket.socket]:
    if family != "tcp":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server = listener.accept()[0]
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, server


def _turn(client: socket.socket, server: socket.socket) -> float:
    for sock in (client, server):
        sock.setblocking(True)
    send, recv_into, buffer = client.send, server.recv_into, bytearray(4096)
    started = time.perf_counter_ns()
    for _ in range(CALLS):
        send(b"hello")
        recv_into(buffer)
    return (time.perf_counter_ns() - started) / CALLS / 2
