"""What --trace costs a call: run by hand, ``python -m tests.benchmarks.trace_cost``.

A pair of connected sockets in one thread, so that no call ever waits: one round is a send of 5 bytes and a recv_into.
"plain" is socket.socket as such; "off" is what openers make without --trace, which has to be the same; "on" is the
traced class.  Rounds of the three take turns, so that a noisy machine is noisy for all of them; the best round counts.
"""

from __future__ import annotations

import socket
import sys
import time
import tracemalloc

from netlab.endpoint import Endpoint
from netlab.socketops import Trace, connect, listen, traced_socket_class

ROUND = 20_000
ROUNDS = 15
CLASSES = ("plain", "off", "on")


def pair(kind: str, family: str, trace: Trace) -> tuple[socket.socket, socket.socket]:
    """Return two ends of a connection, as the openers make them for ``off`` and ``on``."""
    if kind == "plain":
        return plain_pair(family)
    options = {"socket_class": traced_socket_class(trace)} if kind == "on" else {}
    where = "127.0.0.1:0" if family == "tcp" else "unix:@netlab-trace-cost"
    (bound,) = listen(Endpoint.parse(where, listening=True), **options)  # type: ignore[arg-type]
    with bound:
        client = connect(bound.endpoint, timeout=5, **options)  # type: ignore[arg-type]
        return client, bound.sock.accept()[0]


def plain_pair(family: str) -> tuple[socket.socket, socket.socket]:
    if family != "tcp":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server = listener.accept()[0]
    for sock in (client, server):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, server


def measure(client: socket.socket, server: socket.socket) -> float:
    """Return nanoseconds for one send and one recv_into."""
    send, recv_into, buffer = client.send, server.recv_into, bytearray(4096)
    started = time.perf_counter_ns()
    for _ in range(ROUND):
        send(b"hello")
        recv_into(buffer)
    return (time.perf_counter_ns() - started) / ROUND


def costs(family: str, *, blocking: bool) -> dict[str, float]:
    """Return the best round of each class, in nanoseconds."""
    trace = Trace()
    pairs = {kind: pair(kind, family, trace) for kind in CLASSES}
    best = dict.fromkeys(CLASSES, float("inf"))
    try:
        for sock in (sock for both in pairs.values() for sock in both):
            sock.setblocking(blocking)
        for _ in range(ROUNDS):
            for kind, both in pairs.items():
                best[kind] = min(best[kind], measure(*both))
    finally:
        for sock in (sock for both in pairs.values() for sock in both):
            sock.close()
    assert type(pairs["off"][0]) is socket.socket, "without --trace openers must make plain sockets"
    return best


def memory() -> float:
    """Return the bytes that a kept call takes."""
    trace = Trace()
    client, server = pair("on", "unix", trace)
    tracemalloc.start()
    with client, server:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(2_000):
            client.send(b"x" * 64)
            server.recv(64)
        return (tracemalloc.get_traced_memory()[0] - before) / 4_000


def main() -> None:
    print(f"Python {sys.version.split()[0]}; best of {ROUNDS} rounds of {ROUND:,}; ns a call")
    print(f"{'':24}{'plain':>8}{'off':>8}{'off adds':>10}{'on':>8}{'on adds':>10}")
    for family in ("unix", "tcp"):
        for blocking in (True, False):
            best = {kind: total / 2 for kind, total in costs(family, blocking=blocking).items()}
            name = f"{family}, {'blocking' if blocking else 'non-blocking'}"
            print(
                f"{name:24}{best['plain']:8.0f}{best['off']:8.0f}{best['off'] - best['plain']:10.0f}"
                f"{best['on']:8.0f}{best['on'] - best['plain']:10.0f}"
            )
    print(f"memory: {memory():.0f} B a call that is kept")


if __name__ == "__main__":
    main()
