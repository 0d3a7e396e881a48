"""Records of servers and connections as lines of text, and what every such module shares.

A module that shows other records has a table of its own like `LINES`: the record's class, and a function from a View
and such a record to lines without newlines.  `netlab.render` puts the tables together.  A line holds one event; what a
peer sent stands at its end, escaped, so that nothing that it sends looks like another line of ours.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from click import style

from netlab.endpoint import Endpoint
from netlab.records import (
    Closed,
    Connected,
    FaultReport,
    Listening,
    Received,
    Record,
    Sent,
    Serving,
    Summary,
    Waiting,
    WarningReport,
)
from netlab.render.decode import StreamDecoder
from netlab.render.hexdump import hexdump
from netlab.render.safe import PREVIEW, defuse, escape
from netlab.values import format_bytes, format_count, format_elapsed

__all__ = ["LINES", "Lines", "View", "shown_endpoint"]

_REASONS = {
    "eof": "peer sent EOF",
    "reset": "peer reset the connection",
    "timeout": "idle time-out",
    "limit": "limit reached",
    "full": "server is full",
}
"""Close reasons that do not say it all by their own word, as exit, stopped, fault and error do."""

_IN, _OUT = "<", ">"
# What `netlab.render.safe` leaves as it is, less what is not ASCII.
_PLAIN = bytes(range(ord(" "), ord("~") + 1)).replace(b"\\", b"")
_PLAIN_FRONT = re.compile(rb"[ -\[\]-~]{0,%d}" % PREVIEW)
_DIRECTION_COLORS = {_IN: "green", _OUT: "cyan"}


@dataclass(slots=True)
class _Direction:
    """What came one way over one connection: characters that are not whole yet, and bytes so far."""

    decoder: StreamDecoder
    offset: int = 0


@dataclass(slots=True)
class View:
    """How records are shown on one stream.

    Attributes:
      verbose: show what was sent, too.
      hexdump: show payload as hex.
      color: colour verdicts and directions.
      encoding: the peers'.
      diagram: a picture of the calls follows.
    """

    verbose: bool = False
    hexdump: bool = False
    color: bool = False
    encoding: str = "utf-8"
    diagram: bool = False
    _directions: dict[tuple[int | None, str], _Direction] = field(default_factory=dict)
    _plain_fronts: dict[int | None, bytes] = field(default_factory=dict)

    def plain_line(self, record: Received) -> bytes | None:
        """Return the line of a chunk whose preview is printable ASCII; None where `LINES` has to make it.

        Most chunks are that, and so cost a tenth.  A connection is known here while all its characters are whole.
        """
        data, size = record.data, len(record.data)
        front = self._plain_fronts.get(record.conn)
        if front is None or record.size is not None:
            return None
        if 0 < size <= PREVIEW:
            odd = data.translate(None, _PLAIN)  # half the cost of a search for a pattern
            if not odd:
                return front + data + b"\n"
            return front + data[:-1] + b"\\n\n" if odd == b"\n" == data[-1:] and size < PREVIEW else None
        plain = _PLAIN_FRONT.match(data)
        # An escape takes two columns at least, so that none fits after all columns but one.
        if plain is not None and plain.end() >= PREVIEW - 1 and data.isascii():
            return front + data[: plain.end()] + _tail(size)
        return None

    def paint(self, text: str, color: str) -> str:
        """Colour netlab's own words; what a peer sent never needs it."""
        return style(text, fg=color) if self.color else text

    def payload(self, front: str, arrow: str, record: Received | Sent, size: str = "") -> list[str]:
        """Show a record's bytes after ``front`` and the arrow; ``size`` is said in place of their number, and always.

        A datagram is decoded by itself, a stream with what came before on the same connection.
        """
        data, whole = record.data, _is_datagram(record)
        direction = self._direction(None if whole else (record.conn, arrow))
        front = f"{front} {self.paint(arrow, _DIRECTION_COLORS[arrow])}"
        if not data:
            return [f"{front} (empty {'datagram' if whole else 'message'})"]
        if self.hexdump:
            lines = hexdump(data, direction.offset)
            direction.offset += len(data)
            return [f"{front} {size or format_bytes(len(data))}", *lines]
        shown = direction.decoder.preview(data, whole, size=size)
        if arrow == _IN and not whole and self.encoding == "utf-8":
            self._plain_fronts.pop(record.conn, None)
            if not direction.decoder.pending:
                self._plain_fronts[record.conn] = f"{front} ".encode()
        return [f"{front} {shown or f'({format_bytes(len(data))}, part of a character)'}"]

    def forget(self, front: str, conn: int | None) -> list[str]:
        """Show what is left of a character that never became whole; drop all that is known of a connection."""
        left = []
        self._plain_fronts.pop(conn, None)
        for arrow in (_IN, _OUT):
            direction = self._directions.pop((conn, arrow), None)
            rest = direction.decoder.decode(b"", final=True) if direction else ""
            if rest:
                left.append(f"{front} {self.paint(arrow, _DIRECTION_COLORS[arrow])} {rest}")
        return left

    def _direction(self, key: tuple[int | None, str] | None) -> _Direction:
        if key is None:
            return _Direction(StreamDecoder(self.encoding))
        if key not in self._directions:
            self._directions[key] = _Direction(StreamDecoder(self.encoding))
        return self._directions[key]


Lines = Callable[[View, Any], list[str]]
"""Shows one class of records; no lines where the view leaves it out."""


def shown_endpoint(endpoint: Endpoint | None, unnamed: str = "unnamed") -> str:
    """Return an endpoint as it stands inside a line: without ``udp://``, and safe, as a peer picks its unix path."""
    return unnamed if endpoint is None else defuse(str(endpoint).removeprefix("udp://"))


@functools.lru_cache(maxsize=256)
def _tail(size: int) -> bytes:
    return f"...({format_bytes(size)})\n".encode()


def _is_datagram(record: Received | Sent) -> bool:
    return record.conn is None and (record.peer is None or record.peer.transport.is_datagram)


def _front(record: Received | Sent | FaultReport | Closed) -> str:
    return shown_endpoint(record.peer) if record.conn is None else f"#{record.conn}"


def _listening(_view: View, record: Listening) -> list[str]:
    return [f"listening on {defuse(str(record.endpoint))}"]


def _serving(_view: View, record: Serving) -> list[str]:
    parts = [f"model: {record.model}", f"reply: {record.reply}"]
    if record.exit_word is not None:
        parts.append(f"exit word: {escape(record.exit_word)}")
    parts.append(record.reach)
    lines = ["; ".join(parts)]
    if record.cpu is not None:
        lines.append(f"cpu: {record.cpu}, for all threads")
    if record.faults:
        seed = "" if record.seed is None else f" (seed {record.seed})"
        lines.append(f"faults: {', '.join(record.faults)}{seed}")
    return [defuse(line) for line in lines]


def _connected(_view: View, record: Connected) -> list[str]:
    known = []
    if record.max_clients is not None:
        known.append(f"{record.clients} of {record.max_clients}")
    if record.waited_us is not None:
        known.append(f"waited {format_elapsed(record.waited_us / 1e6)}")
    if record.pid is not None:
        known.append(f"pid {record.pid}, uid {record.uid}")
    tail = f" ({', '.join(known)})" if known else ""
    if record.conn is not None:
        return [f"#{record.conn} {shown_endpoint(record.peer, 'unix client')} connected{tail}"]
    source = "" if record.local is None else f" from {shown_endpoint(record.local)}"
    return [f"connected to {shown_endpoint(record.peer)}{source}{tail}"]


def _waiting(_view: View, record: Waiting) -> list[str]:
    return [f"accept queue {record.queued} of {record.backlog}"]


def _received(view: View, record: Received) -> list[str]:
    size, got = record.size, len(record.data)
    cut = "" if size is None or size <= got else f"cut: {format_bytes(size)}, shown {format_bytes(got)}"
    silence = f" (no reply: {record.unanswered})" if record.unanswered else ""
    return view.payload(_front(record) + silence, _IN, record, cut)


def _sent(view: View, record: Sent) -> list[str]:
    if not view.verbose:
        return []
    first, *rest = view.payload(_front(record), _OUT, record)
    return [f"{first} ({record.calls} calls)" if record.calls > 1 else first, *rest]


def _fault(view: View, record: FaultReport) -> list[str]:
    front = "" if record.conn is None and record.peer is None else f"{_front(record)} "
    return [f"{front}{view.paint(f'fault {record.fault}', 'magenta')}: {defuse(record.effect)}"]


def _closed(view: View, record: Closed) -> list[str]:
    left = view.forget(_front(record), record.conn)
    why = _REASONS.get(record.reason, record.reason) + (f" ({record.errno_name})" if record.errno_name else "")
    if record.reason == "timeout" and record.operation == "send":
        why = "peer does not read"
    elif record.reason == "timeout" and record.conn is None:
        why = "time-out"
    came, went = f"in {format_bytes(record.bytes_in)}", f"out {format_bytes(record.bytes_out)}"
    # A server tells first what came, a client what it sent.
    front, first, second = ("", went, came) if record.conn is None else (f"#{record.conn} ", came, went)
    return [*left, f"{front}closed: {why} after {format_elapsed(record.duration_us / 1e6)}, {first}, {second}"]


def _warning(view: View, record: WarningReport) -> list[str]:
    return [f"{view.paint('netlab: warning:', 'magenta')} {defuse(record.message)}"]


def _summary(_view: View, record: Summary) -> list[str]:
    parts = []
    if record.clients is not None:
        parts.append(f"{format_count(record.clients)} client{'s' * (record.clients != 1)}")
    if record.most_clients is not None:
        parts.append(f"{format_count(record.most_clients)} at once")
    if record.datagrams_in is not None:
        parts.append(f"{format_count(record.datagrams_in)} datagram{'s' * (record.datagrams_in != 1)} in")
    if record.datagrams_out is not None:
        parts.append(f"{format_count(record.datagrams_out)} out")
    parts += [f"in {format_bytes(record.bytes_in)}", f"out {format_bytes(record.bytes_out)}"]
    if record.dropped:
        parts.append(f"{format_count(record.dropped)} dropped by the kernel")
    return [f"stopped by {record.ended_by} after {format_elapsed(record.duration_us / 1e6)}: {', '.join(parts)}"]


LINES: Mapping[type[Record], Lines] = {
    Listening: _listening,
    Serving: _serving,
    Connected: _connected,
    Waiting: _waiting,
    Received: _received,
    Sent: _sent,
    FaultReport: _fault,
    Closed: _closed,
    WarningReport: _warning,
    Summary: _summary,
}
