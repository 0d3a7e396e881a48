"""The lab's first lesson: a listener of our own in a thread, a probe of it, one message and its reply.

The calls come in the order of the textbook, so that a trace of them is the classic picture: socket, bind, listen,
accept on one side, socket, connect on the other; send and recv both ways; half-close, EOF, close.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Iterator

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from netlab.errors import ClosedWithoutReply, LocalError, ReceiveError, TimedOut
from netlab.records import Connected, Reply, Sent
from netlab.reports import Diagnosis, Loopback
from netlab.socketops.opening import Bound, bind, listen
from netlab.socketops.probing.attempts import Method
from netlab.socketops.probing.diagnosing import OptionSet, options_of, report, resolve_and_try
from netlab.socketops.probing.payloads import Payload
from netlab.socketops.stop import start_thread, wait_readable
from netlab.socketops.talking.connection import call_failure
from netlab.socketops.tcpinfo import read_tcp_info

__all__ = ["probe_loopback"]

MESSAGE = b"hello"
_BACKLOG = 5
_LARGEST = 65536
_LAST_WORD = 0.1
"""Seconds that a listener whose connection broke has to say why."""


def probe_loopback(
    at: Endpoint,
    method: Method,
    *,
    options: OptionSet = "main",
    tcp_info: bool = False,
) -> Loopback | Diagnosis:
    """Start a listener, probe it, exchange one message, and show both ends.

    Args:
      at: where the listener is bound; port 0 lets the kernel pick one, and a unix endpoint without a path gets one.
      method: how the client tries; its socket class is the listener's, too.
      options: which options of the client's socket to read.
      tcp_info: whether all of TCP_INFO is wanted to be shown.

    Returns:
      Loopback; where even that fails, because loopback is down, say, the diagnosis of the attempt.

    Raises:
      LocalError: this host lets nobody listen there, or failed the listener later.
      TimedOut: the listener got no message, or its reply did not come.
      SendError, ReceiveError, ClosedWithoutReply: the exchange failed.
    """
    started, transport = time.perf_counter(), at.transport
    with _listener(at, method) as bound, _serving(bound) as served, contextlib.ExitStack() as sockets:
        target = bound.endpoint
        timeout = method.limit(transport)
        (tried,) = resolve_and_try(target, dataclasses.replace(method, payload=Payload(MESSAGE)), sockets)
        if tried.probe.verdict != "open" or tried.sock is None:
            _raise_failure(served, target)
            return report(target, [tried], method, time.perf_counter() - started)
        sent = Sent(peer=target, data=MESSAGE)
        # An accepted connection is seen before the message, a datagram's sender by it.
        server = _take(served, target, timeout) if transport.has_connections else None
        reply = tried.reply or _exchange(tried.sock, served, target, timeout)
        server = server or _take(served, target, timeout)
        found = Loopback(
            client=tried.probe,
            server=server,
            sent=sent,
            reply=reply,
            settings=tuple(tried.taken),
            options=options_of(tried.sock, options),
            all_options=options == "all",
            tcp_info=read_tcp_info(tried.sock) if transport is Transport.TCP else None,
            all_fields=tcp_info,
            summary=report(target, [tried], method, time.perf_counter() - started).summary,
        )
        if transport.has_connections:
            _half_close(tried.sock, target, timeout)
        return found


def _exchange(sock: socket.socket, served: _Served, target: Endpoint, timeout: float) -> Reply:
    started = time.perf_counter()
    try:
        sock.send(MESSAGE)
    except OSError as exc:
        raise call_failure(exc, "send", target) from None
    try:
        data = _receive(sock, target, timeout)
        rtt = time.perf_counter() - started
        if not data:
            raise ClosedWithoutReply("receive", target, "netlab's own listener closed without a reply")
    except (ClosedWithoutReply, ReceiveError):
        _raise_failure(served, target, patience=_LAST_WORD)
        raise
    return Reply(endpoint=target, sequence=1, bytes_in=len(data), rtt_us=rtt * 1e6, data=data)


def _receive(sock: socket.socket, target: Endpoint, timeout: float) -> bytes:
    if not wait_readable(sock, timeout):
        raise TimedOut("receive", target, "no reply from netlab's own listener")
    try:
        return sock.recv(_LARGEST)
    except OSError as exc:
        raise call_failure(exc, "receive", target) from None


def _half_close(sock: socket.socket, target: Endpoint, timeout: float) -> None:
    """End our side and wait for the end of the other: both see an EOF, and nobody a reset."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError as exc:
        raise call_failure(exc, "send", target) from None
    _receive(sock, target, timeout)


@contextlib.contextmanager
def _listener(at: Endpoint, method: Method) -> Iterator[Bound]:
    with contextlib.ExitStack() as stack:
        if at.transport.is_unix and not at.path:
            at = dataclasses.replace(at, path=_own_path(stack))
        if at.transport.is_datagram:
            (bound,) = bind(at, socket_class=method.socket_class)
        else:
            (bound,) = listen(at, backlog=_BACKLOG, socket_class=method.socket_class)
        yield stack.enter_context(bound)


def _own_path(stack: contextlib.ExitStack) -> str:
    """Return a path that nobody else has; abstract, and so without a file, where that exists (unix(7))."""
    if sys.platform == "linux":
        return f"@netlab-{os.urandom(4).hex()}"
    import tempfile

    return stack.enter_context(tempfile.TemporaryDirectory(prefix="netlab-")) + "/socket"


_Served = queue.SimpleQueue[Connected | OSError]


@contextlib.contextmanager
def _serving(bound: Bound) -> Iterator[_Served]:
    """Serve one client in a thread, which tells what it saw, and ends with the block."""
    served: _Served = queue.SimpleQueue()
    serve = _answer_datagram if bound.endpoint.transport.is_datagram else _answer_connection

    def run() -> None:
        try:
            serve(bound, served)
        except OSError as exc:  # shut down below, or reset by a client that gave up
            served.put(exc)

    thread = threading.Thread(target=run, name="listener", daemon=True)
    start_thread(thread)
    try:
        yield served
    finally:
        # Wakes accept() and recvfrom(), which close() does not; UDP says ENOTCONN to it, and wakes all the same.
        with contextlib.suppress(OSError):
            bound.sock.shutdown(socket.SHUT_RDWR)
        thread.join()


def _answer_connection(bound: Bound, served: _Served) -> None:
    connection, _ = bound.sock.accept()
    with connection:
        served.put(_end(connection, bound, connection.getpeername()))
        while data := connection.recv(_LARGEST):
            connection.sendall(b"received %d bytes\n" % len(data))


def _answer_datagram(bound: Bound, served: _Served) -> None:
    data, name = bound.sock.recvfrom(_LARGEST)
    if name:
        served.put(_end(bound.sock, bound, name))
        bound.sock.sendto(b"received %d bytes\n" % len(data), name)


def _end(sock: socket.socket, bound: Bound, peer: object) -> Connected:
    transport = bound.endpoint.transport
    return Connected(
        conn=1,
        peer=from_sockaddr(transport, peer),
        local=from_sockaddr(transport, sock.getsockname()),
        fileno=sock.fileno(),
        blocking=sock.getblocking(),
        timeout=sock.gettimeout(),
    )


def _take(served: _Served, target: Endpoint, timeout: float) -> Connected:
    try:
        end = served.get(timeout=timeout)
    except queue.Empty:
        raise TimedOut("accept", target, "netlab's own listener saw no client") from None
    if isinstance(end, OSError):
        raise LocalError.from_os(end, "accept", target)
    return end


def _raise_failure(served: _Served, target: Endpoint, *, patience: float = 0.0) -> None:
    """Raise what ended the listener's thread, if that was an error: it tells more than what the client met."""
    with contextlib.suppress(queue.Empty):
        while True:
            end = served.get(timeout=patience)
            if isinstance(end, OSError):
                raise LocalError.from_os(end, "answer", target)
