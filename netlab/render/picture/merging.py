"""Which sockets talk to each other: the two ends of a conversation, within one trace or over two programs' traces.

A connection on INET is known by its two names.  On unix sockets a client mostly has no name (unix(7)): there the
accept queue's order tells, for it is first in, first out, and SO_PEERCRED which process is at the other end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from netlab.endpoint import Endpoint
from netlab.records import Call

__all__ = ["Pairs", "SocketId", "merge", "socket_id"]

SocketId = tuple[int, int]
"""A process, and the number of a socket in it."""

_ANY_HOST = ("0.0.0.0", "::")


def socket_id(call: Call) -> SocketId:
    return call.pid, call.socket


class Pairs:
    """The other end of every call's socket, as far as its calls are here, too."""

    def __init__(self, calls: Iterable[Call]) -> None:
        calls = sorted(calls, key=lambda call: call.mono_us)
        self._ends: dict[tuple[Endpoint, Endpoint], SocketId] = {}
        self._unnamed: dict[SocketId, SocketId] = {}
        self._unnamed_at: set[Endpoint | None] = set()
        for call in calls:
            if call.local is not None and call.peer is not None and call.call != "accept":
                # Listeners and datagram sockets may be bound to all addresses: they do not know which one is meant.
                for local in (call.local, _anywhere(call.local)):
                    for peer in (call.peer, _anywhere(call.peer)):
                        self._ends.setdefault((local, peer), socket_id(call))
        for client, server in _unnamed_pairs(calls):
            self._unnamed |= {socket_id(client): socket_id(server), socket_id(server): socket_id(client)}
            self._unnamed_at.add(server.local)

    def other(self, call: Call) -> SocketId | None:
        """Return the socket at the other end of this call; None where it was not traced, or there is none."""
        if call.local is None or call.peer is None:
            return self._unnamed.get(socket_id(call))
        found = self._ends.get((call.peer, call.local))
        return found if found != socket_id(call) else None

    def accepts(self, call: Call) -> bool:
        """Tell whether the client that this accept brought was traced."""
        if call.peer is None:
            return call.local in self._unnamed_at
        return call.local is not None and (call.peer, call.local) in self._ends


def merge(calls: Sequence[Call], others: Sequence[Call]) -> list[Call]:
    """Put another program's calls among ours, by CLOCK_MONOTONIC: those on sockets that talked to one of ours.

    The listener that such a socket was accepted from comes with it.  Where both programs call themselves the same side,
    the other one becomes the other side.

    Raises:
      ValueError: none of its sockets talked to one of ours.
    """
    pairs = Pairs([*calls, *others])
    ours = {socket_id(call) for call in calls}
    theirs = {other for call in calls if (other := pairs.other(call)) is not None and other not in ours}
    if not theirs:
        raise ValueError("none of its sockets talked to one of this program's")
    names = {call.local for call in calls}
    ends = {_anywhere(call.local) for call in others if socket_id(call) in theirs and call.local is not None}
    listeners = {
        socket_id(call)
        for call in others
        if call.call in ("listen", "accept") and call.local is not None and _anywhere(call.local) in ends
    }
    kept = [
        call
        for call in others
        if socket_id(call) in theirs
        or (socket_id(call) in listeners and (call.call != "accept" or call.peer is None or call.peer in names))
    ]
    sides = {call.lane for call in calls}
    if sides == {call.lane for call in kept}:
        opposite = {"client": "server", "server": "client"}
        kept = [replace(call, lane=opposite.get(call.lane, call.lane)) for call in kept]
    return sorted([*calls, *kept], key=lambda call: call.mono_us)


def _anywhere(endpoint: Endpoint) -> Endpoint:
    """Return the endpoint of all addresses with the same port, by which a socket that is bound to them is found."""
    return replace(endpoint, host=_ANY_HOST[0]) if endpoint.host else endpoint


def _unnamed_pairs(calls: Sequence[Call]) -> Iterator[tuple[Call, Call]]:
    """Pair unix clients without a name, in the order in which they connected, with who was accepted in that order."""
    clients: dict[SocketId, Call] = {}
    servers: dict[SocketId, Call] = {}
    listeners = {socket_id(call) for call in calls if call.call in ("listen", "accept")}
    for call in calls:
        if not call.transport.startswith("unix") or socket_id(call) in listeners:
            continue
        if call.call == "connect" and call.result is not None and call.local is None and call.peer is not None:
            clients[socket_id(call)] = call
        elif call.local is not None and call.peer is None and socket_id(call) not in servers:
            servers[socket_id(call)] = call
    waiting = sorted(servers.values(), key=lambda call: (call.pid, call.socket))
    for client in clients.values():
        for server in waiting:
            fits = server.local == client.peer
            if fits and client.peer_pid in (None, server.pid) and server.peer_pid in (None, client.pid):
                waiting.remove(server)
                yield client, server
                break
