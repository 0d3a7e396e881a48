"""One socket call as text: ``connect(fd 5, 127.0.0.1:42601) = 115 EINPROGRESS``.

A call may come from another program's file, and holds what peers sent: whatever is returned here is safe to show.
"""

from __future__ import annotations

from netlab.endpoint import Endpoint
from netlab.records import Call
from netlab.render.decode import StreamDecoder
from netlab.render.safe import cut, defuse
from netlab.values import format_bytes

__all__ = [
    "RECEIVING",
    "SENDING",
    "bytes_moved",
    "call_text",
    "equals",
    "payload_text",
    "place_text",
    "result_text",
    "state_text",
]

SENDING = frozenset({"send", "sendall", "sendto", "sendmsg"})
RECEIVING = frozenset({"recv", "recvfrom", "recvmsg"})
_SILENT = frozenset({"bind", "listen", "setsockopt", "shutdown", "close"})
"""Calls whose 0 says nothing."""
_NAMES_PEER = frozenset({"accept", "recvfrom", "recvmsg"})


def bytes_moved(call: Call) -> int | None:
    """Return how many bytes of payload a call gave to the kernel, or took from it; None for other calls and failures.

    0 is an empty datagram, or the end of a stream.
    """
    if call.result is None:
        return None
    if call.call in SENDING:
        return int(call.result) if call.result.isdecimal() and len(call.result) < 20 else None
    return call.size if call.call in RECEIVING else None


def place_text(endpoint: Endpoint) -> str:
    """Return an endpoint without the word for its transport."""
    return defuse(endpoint.path or str(endpoint).removeprefix("udp://"))


def payload_text(call: Call, limit: int, encoding: str = "utf-8") -> str:
    """Return the payload in quotes, ``limit`` characters of it at most; its size alone for a limit of 0."""
    size = call.size or 0
    if not limit or call.data is None:
        return format_bytes(size)
    decoder = StreamDecoder(encoding)
    shown = decoder.decode(call.data, final=size <= len(call.data)).replace('"', '\\"')
    if len(shown) <= limit and size <= len(call.data):
        return f'"{shown}"'
    return f'"{cut(shown, limit)}"...'


def call_text(call: Call, *, fd: bool = True, args: bool = True, limit: int = 0, encoding: str = "utf-8") -> str:
    """Return the call and its arguments.

    Args:
      fd: name the descriptor.
      args: name the arguments, too.
      limit: characters of a sent payload, 0 for its size alone.
    """
    parts = [f"fd {call.fd}"] if fd and call.call != "socket" else []
    if call.call in SENDING:
        parts.append(payload_text(call, limit, encoding))
    if call.args and args:
        parts.append(call.args)
    return defuse(f"{call.call}({', '.join(parts)})")


def result_text(call: Call, *, limit: int = 0, encoding: str = "utf-8", peer: bool = False) -> str:
    """Return what came of the call: ``fd 6``, ``115 EINPROGRESS``, ``5 B "hello"``.

    Args:
      limit: characters of a received payload, 0 for its size alone.
      peer: name the address that accept and recvfrom learn, too.
    """
    if call.errno is not None:
        return defuse(f"{call.errno} {call.errno_name}")
    result = call.result or ""
    if limit and call.call in RECEIVING and call.data:
        result += f" {payload_text(call, limit, encoding)}"
    if peer and call.call in _NAMES_PEER and call.peer is not None and result:
        result += f" from {place_text(call.peer)}"
    return defuse(result)


def state_text(call: Call) -> str:
    """Return TCP's state by its own word (RFC 9293) where the kernel's differs: CLOSED; empty where there is none."""
    return "CLOSED" if call.state_name == "CLOSE" else defuse(call.state_name or "")


def equals(call: Call, limit: int = 0) -> str:
    """Return ``= result`` for a picture; empty where a 0 says nothing."""
    result = result_text(call, limit=limit)
    return "" if result == "0" and call.call in _SILENT else f"= {result}"
