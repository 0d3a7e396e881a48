"""The clients of one stream server: numbered, counted, shown, and within reach of a stop."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time
from collections.abc import Container
from typing import NamedTuple

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from netlab.errors import errno_name
from netlab.records import Closed, Connected, Emit, FaultReport, Received, Record, Sent, Summary, Waiting
from netlab.socketops.opening import Bound
from netlab.socketops.optionvalues import RESET_ON_CLOSE
from netlab.socketops.serving.entrance import shut_down
from netlab.socketops.stop import Stop

__all__ = ["CLIENT_RECORDS", "EOF", "GRACE", "UNFINISHED", "Client", "Clients", "Ending", "failed_call"]

CLIENT_RECORDS: frozenset[type[Record]] = frozenset({Connected, Waiting, Received, Sent, FaultReport, Closed})
"""What a server can tell of its clients; each is only made where it is wanted."""

GRACE = 1.0
"""Seconds that running replies get once the stop is set."""

_UCRED = struct.Struct("iII")
"""struct ucred of unix(7): pid, uid, gid."""

_RESETS = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN})
_ORDERLY = frozenset({"eof", "reset"})
"""Close reasons after which nothing can be left to read."""
_SCRAP = 64 * 1024
_DRAINED = 64 if hasattr(socket, "MSG_DONTWAIT") else 0
"""Reads before a close that leaves something unread after all; arbitrary, 4 MiB."""
_MSG_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)


class Ending(NamedTuple):
    """How a conversation ended: a close reason (see `netlab.records.Closed`), and which call met what errno.

    With ``resets`` it ends by RST, and not by FIN.
    """

    reason: str
    errno: int | None = None
    operation: str | None = None
    stops_server: bool = False
    resets: bool = False


EOF = Ending("eof")
UNFINISHED = Ending("error")
"""How a conversation ends that nobody has ended: by an exception that is no error of its socket."""


class Client:
    """One accepted connection while it lasts; ``peer`` is None where nobody wants to know, and on unnamed sockets."""

    __slots__ = ("bytes_in", "bytes_out", "conn", "ending", "peer", "sock", "started", "transport")

    def __init__(
        self, sock: socket.socket, conn: int, transport: Transport, peer: Endpoint | None, started: float
    ) -> None:
        self.sock = sock
        self.conn = conn
        self.transport = transport
        self.peer = peer
        self.started = started
        self.bytes_in = 0
        self.bytes_out = 0
        self.ending = UNFINISHED


class Clients:
    """Who is being served now, and the totals of all who were.

    Args:
      stop: what ends the server.
      emit: takes Connected and Closed, in the thread that serves the client.
      watch: which classes of records are wanted; what is not costs nothing.
      limit: how many may be served at once, None for no limit.
    """

    def __init__(self, stop: Stop, emit: Emit, watch: Container[type[Record]], *, limit: int | None = None) -> None:
        self._stop = stop
        self._emit = emit
        self._limit = limit
        self._tells_connected = Connected in watch
        self._tells_closed = Closed in watch
        self._tells = any(kind in watch for kind in CLIENT_RECORDS)
        # For bytes that nobody wants, from any thread; made now, so that clients can be ended when memory has run out.
        self._scrap = bytearray(_SCRAP)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._present: set[Client] = set()
        self._ending: int | None = None
        self._count = 0
        self._most = 0
        self._bytes_in = 0
        self._bytes_out = 0
        self._started = time.perf_counter()

    def admit(
        self, sock: socket.socket, address: object, bound: Bound, *, waited: float | None = None
    ) -> Client | None:
        """Take in an accepted connection, or say that the server is full and close it.

        Args:
          sock: the connection, from now on this object's to close.
          address: its peer as accept returned it.
          bound: the listener it came to.
          waited: seconds it is known to have been in the accept queue.

        Returns:
          the client, for `dismiss`; None where there was no room.
        """
        with self._lock:
            client = self._number(sock, address, bound)
            present = len(self._present)
            has_room = self._limit is None or present < self._limit
            if has_room:
                self._present.add(client)
                if present >= self._most:  # max() would cost more than all the rest here
                    self._most = present + 1
                if self._ending is not None:  # the stop came between accept and here
                    shut_down(sock, self._ending)
        if not has_room:
            self._refuse(client, f"server is full: {present} of {self._limit} clients\n")
            return None
        if self._tells_connected:
            try:
                self._tell_connected(client, bound, present + 1, waited)
            except BaseException:
                self.dismiss(client, UNFINISHED)
                raise
        return client

    def turn_away(self, sock: socket.socket, address: object, bound: Bound, why: str) -> None:
        """Tell an accepted connection why it cannot be served, and close it."""
        with self._lock:
            client = self._number(sock, address, bound)
        self._refuse(client, why)

    def dismiss(self, client: Client, ending: Ending) -> None:
        """Close a client's connection and count what went over it."""
        with self._lock:
            self._present.discard(client)
            self._bytes_in += client.bytes_in
            self._bytes_out += client.bytes_out
            if self._ending is not None and not self._present:
                self._changed.notify_all()
        if ending.resets:
            _reset_on_close(client.sock)
        elif ending.reason not in _ORDERLY:
            _drain(client.sock, self._scrap)
        _close(client.sock)
        if self._tells_closed:
            self._emit(
                Closed(
                    peer=client.peer,
                    conn=client.conn,
                    reason=ending.reason,
                    operation=ending.operation,
                    errno=ending.errno,
                    errno_name=None if ending.errno is None else errno_name(ending.errno),
                    bytes_in=client.bytes_in,
                    bytes_out=client.bytes_out,
                    duration_us=(time.perf_counter() - client.started) * 1e6,
                )
            )

    def end_all(self) -> None:
        """Let every client see the end: what has come is still answered, for `GRACE` seconds at most.

        Call it once the stop is set.  A reader is woken by SHUT_RD, which leaves what has come to be read; who does
        not end by that, because it blocks in send or its client never pauses, gets SHUT_RDWR.
        """
        self._shut_all(socket.SHUT_RD)
        if not self._wait_until_empty():
            self._shut_all(socket.SHUT_RDWR)
            self._wait_until_empty()

    def summary(self) -> Summary:
        """Return the totals so far."""
        with self._lock:
            return Summary(
                ended_by=self._stop.reason,
                duration_us=(time.perf_counter() - self._started) * 1e6,
                clients=self._count,
                most_clients=self._most,
                bytes_in=self._bytes_in,
                bytes_out=self._bytes_out,
            )

    def __len__(self) -> int:
        return len(self._present)

    def _number(self, sock: socket.socket, address: object, bound: Bound) -> Client:
        self._count += 1
        kind = bound.endpoint.transport
        if not self._tells:
            return Client(sock, self._count, kind, None, 0.0)
        return Client(sock, self._count, kind, from_sockaddr(kind, address), time.perf_counter())

    def _shut_all(self, how: int) -> None:
        with self._changed:
            # Under the lock: no descriptor is closed, and none of its numbers used again, in between.
            self._ending = how
            for client in self._present:
                shut_down(client.sock, how)

    def _wait_until_empty(self) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._present, GRACE)

    def _tell_connected(self, client: Client, bound: Bound, present: int, waited: float | None) -> None:
        pid, uid, gid = _credentials(client.sock)
        self._emit(
            Connected(
                peer=client.peer,
                local=bound.endpoint,
                conn=client.conn,
                clients=None if self._limit is None else present,
                max_clients=self._limit,
                waited_us=None if waited is None else waited * 1e6,
                pid=pid,
                uid=uid,
                gid=gid,
            )
        )

    def _refuse(self, client: Client, why: str) -> None:
        with contextlib.suppress(OSError):  # gone already: it need not be told
            # A fresh socket has room for a line, so this does not block.
            client.bytes_out = client.sock.send(why.encode("ascii"))
        self.dismiss(client, Ending("full"))


def failed_call(exc: OSError, operation: str) -> Ending:
    """Turn an error of recv or send into the end of the conversation that it is."""
    if isinstance(exc, BlockingIOError):  # SO_RCVTIMEO or SO_SNDTIMEO ran out: our own limit, no word of the peer
        return Ending("timeout", operation=operation)
    if exc.errno in _RESETS:
        return Ending("reset", exc.errno, operation)
    reason = "timeout" if exc.errno == errno.ETIMEDOUT else "error"
    return Ending(reason, exc.errno, operation)


def _drain(sock: socket.socket, scrap: bytearray) -> None:
    """End what we send, and read what has come, so that the close that follows is no reset.

    A close with bytes unread resets the connection (RFC 2525 section 2.17), which may take the last reply with it.
    """
    shut_down(sock, socket.SHUT_WR)
    try:
        for _ in range(_DRAINED):
            if not sock.recv_into(scrap, 0, _MSG_DONTWAIT):
                return
    except OSError:  # EAGAIN: there is no more; or it is over anyway
        return


def _reset_on_close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):  # over already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def _close(sock: socket.socket) -> None:
    try:
        sock.close()
    except OSError:  # close(2) may report ECONNRESET, and closes all the same
        return


def _credentials(sock: socket.socket) -> tuple[int, int, int] | tuple[None, None, None]:
    """Return pid, uid and gid of a unix peer as it was when it connected (SO_PEERCRED); None elsewhere."""
    if not hasattr(socket, "SO_PEERCRED") or sock.family != socket.AF_UNIX:
        return None, None, None
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return pid, uid, gid
