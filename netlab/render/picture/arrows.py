"""Arrows between the lanes of a picture, derived from calls: which call makes the kernel send what, by RFC 9293.

An arrow leaves with the call that caused it.  Where the other end was not traced, it comes in with the call that saw
it.  What no call shows is left out: acknowledgements of data, segments that were sent again.
"""

from __future__ import annotations

from dataclasses import dataclass

from netlab.records import Call
from netlab.render.calls import RECEIVING, SENDING, bytes_moved
from netlab.render.picture.merging import Pairs, SocketId, socket_id
from netlab.render.picture.notes import error_of
from netlab.values import format_bytes

__all__ = ["Arrow", "Arrows", "Borders", "is_data"]

_SYN_LEFT = frozenset({None, "EINPROGRESS", "ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH"})
"""Outcomes of connect() after which a SYN is known to have left; others, such as EADDRNOTAVAIL, are this host's no."""
_SENDS_FIN = frozenset({"ESTABLISHED", "CLOSE_WAIT", "SYN_RECV"})
"""States in which shutdown and close send FIN (RFC 9293, figure 5)."""
_RESETS = frozenset({"ECONNRESET", "EPIPE"})
_UNIX_CONNECTIONS = frozenset({"unix", "unix-seqpacket"})
_NEED_CONNECTION = SENDING | RECEIVING | {"connect"}
"""Calls that succeed on a unix connection alone, which has no states of its own to ask for."""


@dataclass(frozen=True, slots=True)
class Arrow:
    """Something that crosses from one side to the other; ``outward`` from the lane of its step."""

    label: str
    outward: bool


_HANDSHAKE = (Arrow("SYN, ACK", False), Arrow("ACK", True))


class Arrows:
    """Derives arrows from calls that are told in the order of time, each at its beginning and at its end."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._connecting: set[SocketId] = set()
        self._connected: set[SocketId] = set()
        self._ended: set[SocketId] = set()  # FIN or RST has left
        self._saw_end: set[SocketId] = set()
        self._throws_away: set[SocketId] = set()
        self._states: dict[SocketId, str | None] = {}

    def at_start(self, call: Call) -> list[Arrow]:
        """Return what leaves as the call begins."""
        socket, tcp = socket_id(call), call.transport == "tcp"
        if call.call == "connect":
            return [Arrow("SYN", True)] if tcp and call.errno_name in _SYN_LEFT else []
        if call.call in SENDING:
            moved = bytes_moved(call)
            # An empty datagram is a datagram; nothing on a stream is nothing.
            whole = call.transport not in ("tcp", "unix")
            return [Arrow(format_bytes(moved), True)] if moved or (moved == 0 and whole) else []
        if call.call == "setsockopt" and call.args == "SO_LINGER, on, 0 s":
            self._throws_away.add(socket)
        if call.call == "close" or (call.call == "shutdown" and call.errno is None and call.args != "SHUT_RD"):
            return self._end(call, socket)
        return []

    def at_end(self, call: Call) -> list[Arrow]:
        """Return what the call saw coming, and what the kernel has answered by then."""
        socket = socket_id(call)
        if call.call != "accept":
            self._states[socket] = call.state_name
        if call.transport in _UNIX_CONNECTIONS and call.result is not None and call.call in _NEED_CONNECTION:
            self._connected.add(socket)
        if call.call == "connect":
            return self._connect(call, socket)
        if socket in self._connecting:
            return self._handshake(call, socket)
        if call.call == "accept" and call.result is not None:
            return [] if self._pairs.accepts(call) else _arrival(call)
        if self._pairs.other(call) is not None:
            return self._last_ack(call, socket)
        return self._came(call, socket)

    def _end(self, call: Call, socket: SocketId) -> list[Arrow]:
        """Return what a close, or the end of the sending side, makes the kernel send: RST, FIN, or on unix an EOF."""
        before = call.state_name if call.call == "close" else self._states.get(socket, "ESTABLISHED")
        throws_away = call.unread or socket in self._throws_away
        label = ""
        if call.transport != "tcp":
            label = "EOF" if socket in self._connected - self._ended else ""
        elif call.call == "close" and throws_away and before not in ("CLOSE", "LISTEN", None):
            label = "RST"
        elif before in _SENDS_FIN and socket not in self._ended:
            label = "FIN"
        if label:
            self._ended.add(socket)
        return [Arrow(label, True)] if label else []

    def _connect(self, call: Call, socket: SocketId) -> list[Arrow]:
        if call.transport != "tcp":
            connected = call.errno is None and call.transport in _UNIX_CONNECTIONS
            return [Arrow("connect", True)] if connected else []
        if call.errno_name == "EINPROGRESS":
            self._connecting.add(socket)
            return self._handshake(call, socket)
        if call.errno is None:
            return list(_HANDSHAKE)
        return [Arrow("RST, ACK", False)] if call.errno_name == "ECONNREFUSED" else []

    def _handshake(self, call: Call, socket: SocketId) -> list[Arrow]:
        """Look whether a pending connect is decided by now."""
        if call.state_name not in ("SYN_SENT", "CLOSE", None):
            self._connecting.discard(socket)
            return list(_HANDSHAKE)
        if error_of(call):
            self._connecting.discard(socket)
            return [Arrow("RST, ACK", False)] if "ECONNREFUSED" in (call.result or "") else []
        return []

    def _came(self, call: Call, socket: SocketId) -> list[Arrow]:
        """Return what came from an end that was not traced."""
        if call.errno_name in _RESETS and call.transport == "tcp" and socket not in self._ended:
            self._ended.add(socket)
            return [Arrow("RST", False)]
        if call.errno_name == "ECONNREFUSED" and call.transport == "udp":
            return [Arrow("ICMP", False)]
        moved = bytes_moved(call)
        if call.call not in RECEIVING or moved is None or "MSG_PEEK" in call.args:
            return []
        if moved or (call.transport != "tcp" and call.transport not in _UNIX_CONNECTIONS):
            return [Arrow(format_bytes(moved), False)]
        if socket in self._saw_end:
            return []
        came = Arrow("FIN" if call.transport == "tcp" else "EOF", False)
        return [came, *self._last_ack(call, socket)]

    def _last_ack(self, call: Call, socket: SocketId) -> list[Arrow]:
        """Return the answer to the peer's FIN that ends a connection whose own FIN has left before."""
        if call.call not in RECEIVING or bytes_moved(call) != 0 or socket in self._saw_end:
            return []
        self._saw_end.add(socket)
        return [Arrow("ACK", True)] if call.transport == "tcp" and socket in self._ended else []


class Borders:
    """Where the sends of a stream ended, to tell whether a recv took parts of several."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._sent: dict[SocketId, int] = {}
        self._borders: dict[SocketId, list[int]] = {}
        self._taken: dict[SocketId, int] = {}

    def crossed(self, call: Call) -> bool:
        """Note a call, and tell whether it received across a border; both ends have to be traced."""
        moved = bytes_moved(call)
        other = self._pairs.other(call)
        if not moved or other is None or call.transport not in ("tcp", "unix") or "MSG_PEEK" in call.args:
            return False
        if call.call in SENDING:
            sender = socket_id(call)
            self._sent[sender] = self._sent.get(sender, 0) + moved
            self._borders.setdefault(sender, []).append(self._sent[sender])
            return False
        before = self._taken.get(other, 0)
        self._taken[other] = after = before + moved
        ahead = [border for border in self._borders.get(other, []) if border > before]
        self._borders[other] = ahead
        return bool(ahead) and ahead[0] < after


def is_data(label: str) -> bool:
    """Tell an arrow that carries payload, whose label is its size, from one that TCP sends by itself."""
    return label.endswith(" B")


def _arrival(call: Call) -> list[Arrow]:
    """Return what brought a client whose own calls were not traced."""
    if call.transport == "tcp":
        return [Arrow("SYN", False), Arrow("SYN, ACK", True), Arrow("ACK", False)]
    return [Arrow("connect", False)]
