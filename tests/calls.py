"""Made-up calls for tests of pictures, and a whole conversation as it might have run."""

from __future__ import annotations

import errno
from typing import Any

from netlab.endpoint import Endpoint
from netlab.records import Call

__all__ = ["CLIENT", "SERVER", "conversation", "failed", "made"]

CLIENT = Endpoint.parse("127.0.0.1:56998")
SERVER = Endpoint.parse("127.0.0.1:42871")
_PID = 100


def made(at_us: float, lane: str, call: str, args: str = "", result: str | None = "0", **fields: Any) -> Call:
    """Return a call that began at ``at_us`` and took 2 us; ``waited_us`` makes it longer.

    Sockets have the names of the conversation unless ``named`` is False.
    """
    named = fields.pop("named", True)
    local, peer = (CLIENT, SERVER) if lane == "client" else (SERVER, CLIENT)
    waited = fields.get("waited_us")
    values: dict[str, Any] = {
        "time": 1795405000.0 + at_us / 1e6,
        "mono_us": 5e6 + at_us,
        "duration_us": 2.0 if waited is None else waited,
        "lane": lane,
        "thread": "MainThread",
        "pid": _PID,
        "socket": 1 if lane == "client" else 2,
        "transport": "tcp",
        "call": call,
        "args": args,
        "fd": 5 if lane == "client" else 6,
        "result": result,
        "local": local if named else None,
        "peer": peer if named else None,
    }
    if "data" in fields:
        fields.setdefault("size", len(fields["data"]))
    return Call(**values | fields)


def failed(at_us: float, lane: str, call: str, name: str, args: str = "", **fields: Any) -> Call:
    """Return a call that ended with an errno."""
    return made(at_us, lane, call, args, None, errno=getattr(errno, name), errno_name=name, **fields)


def conversation() -> list[Call]:
    """Return the calls of `probe --loopback`: a listener, one connection, one message, and the end from both sides."""
    listener: dict[str, Any] = {"socket": 1, "pid": 200, "fd": 3, "peer": None, "thread": "listener thread"}
    server: dict[str, Any] = {"socket": 2, "pid": 200, "thread": "listener thread"}
    reply = b"received 5 bytes\n"
    return [
        made(0, "server", "socket", "AF_INET, SOCK_STREAM", "fd 3", state_name="CLOSE", named=False, **listener),
        made(12, "server", "setsockopt", "SO_REUSEADDR, 1", state_name="CLOSE", named=False, **listener),
        made(21, "server", "bind", "127.0.0.1:0", state_name="CLOSE", **listener),
        made(34, "server", "listen", "5", state_name="LISTEN", **listener),
        made(41, "server", "getsockname", "", "127.0.0.1:42871", state_name="LISTEN", **listener),
        made(
            71, "server", "accept", "", "fd 6", state_name="ESTABLISHED", waited_us=118, **listener | {"peer": CLIENT}
        ),
        made(102, "client", "socket", "AF_INET, SOCK_STREAM", "fd 5", state_name="CLOSE", named=False),
        failed(121, "client", "connect", "EINPROGRESS", "127.0.0.1:42871", state_name="ESTABLISHED"),
        made(163, "client", "poll", "POLLOUT, 5000 ms", "writable", state_name="ESTABLISHED"),
        made(171, "client", "getsockopt", "SO_ERROR", state_name="ESTABLISHED"),
        made(198, "server", "recv", "65536", "5 B", data=b"hello", state_name="ESTABLISHED", waited_us=31, **server),
        made(214, "client", "send", "", "5", data=b"hello", state_name="ESTABLISHED"),
        made(227, "client", "recv", "65536", "17 B", data=reply, state_name="ESTABLISHED", waited_us=31),
        made(241, "server", "send", "", "17", data=reply, state_name="ESTABLISHED", **server),
        made(262, "server", "recv", "65536", "0 B, EOF", size=0, state_name="CLOSE_WAIT", waited_us=22, **server),
        made(270, "client", "shutdown", "SHUT_WR", state_name="FIN_WAIT1"),
        made(286, "client", "recv", "65536", "0 B, EOF", size=0, state_name="CLOSE", waited_us=16),
        made(290, "server", "close", state_name="CLOSE_WAIT", unread=0, **server),
        made(311, "client", "close", state_name="CLOSE", unread=0),
        made(316, "server", "close", state_name="LISTEN", **listener),
    ]
