"""Socket calls as a person writes them: ``setsockopt(SO_REUSEADDR, 1)``, names and not numbers.

The descriptor and the payload are left to whoever shows a call.  Addresses and option values come as they were given
to the call, or as the kernel returned them; nothing here is escaped.
"""

from __future__ import annotations

import enum
import math
import select
import socket
import struct
from typing import Any

from netlab.endpoint import Transport, from_sockaddr
from netlab.errors import errno_name
from netlab.socketops.optiontable import LEVELS, OPTIONS
from netlab.socketops.optionvalues import decode

__all__ = ["RECEIVING", "SENDING", "address_text", "arguments", "outcome"]

SENDING = frozenset({"send", "sendall", "sendto", "sendmsg"})
RECEIVING = frozenset({"recv", "recvfrom", "recvmsg"})
"""Calls with payload; their arguments come as (size, flags, address), None for what the call has not."""

_POLL_WORDS = {
    "POLLIN": "readable",
    "POLLPRI": "urgent",
    "POLLOUT": "writable",
    "POLLERR": "error",
    "POLLHUP": "hup",
    "POLLNVAL": "closed",
    "POLLRDHUP": "peer ended",
}
_POLL_BITS = {getattr(select, name): name for name in _POLL_WORDS if hasattr(select, name)}
_ENDS = {socket.SHUT_RD: "SHUT_RD", socket.SHUT_WR: "SHUT_WR", socket.SHUT_RDWR: "SHUT_RDWR"}
_BY_NUMBER = {(LEVELS[option.level], option.number): option for option in OPTIONS}
_LEVEL_NAMES = {number: name for name, number in LEVELS.items()}
# Options that have no row in the table: TCP_INFO has a module of its own, the others are no setting.
_OTHER_OPTIONS = {
    (getattr(socket, level), getattr(socket, name)): name
    for level, name in (("IPPROTO_TCP", "TCP_INFO"), ("SOL_SOCKET", "SO_PEERCRED"))
    if hasattr(socket, level) and hasattr(socket, name)
}


def arguments(call: str, args: tuple[Any, ...], transport: Transport) -> str:
    """Return the arguments of a call but for its descriptor and its payload."""
    if call in SENDING or call in RECEIVING:
        size, flags, address = args
        parts = [str(size)] if size is not None else []
        parts += [_flag_names(flags)] if flags else []
        parts += [address_text(address, transport)] if address is not None else []
        return ", ".join(parts)
    if call in ("bind", "connect"):
        return address_text(args[0], transport) or '""'
    if call == "socket":
        family, kind, proto = args
        parts = [_enum_name(socket.AddressFamily, family), _enum_name(socket.SocketKind, kind)]
        return ", ".join([*parts, str(proto)] if proto > 0 else parts)
    if call in ("setsockopt", "getsockopt"):
        name = _option_name(args[0], args[1])
        return f"{name}, {_option_value(args[0], args[1], args[2])}" if call == "setsockopt" else name
    if call == "poll":
        mask, limit = args
        return f"{_poll_names(mask)}, {'no limit' if limit is None or limit < 0 else f'{math.ceil(limit)} ms'}"
    if call == "shutdown":
        return _ENDS.get(args[0], str(args[0]))
    return ", ".join(str(arg) for arg in args)


def outcome(call: str, args: tuple[Any, ...], result: Any, transport: Transport) -> str:
    """Return what a call that succeeded gave back: ``fd 6``, ``5 B``, ``0 B, EOF``, ``0``."""
    if call in RECEIVING:
        return f"{result:,} B" if result or transport.is_datagram else "0 B, EOF"
    if call in ("socket", "accept"):
        return f"fd {result}"
    if call in ("getsockname", "getpeername"):
        return address_text(result, transport) or '""'
    if call == "getsockopt":
        return _option_value(args[0], args[1], result)
    if call == "poll":
        events, ready = result
        return _readiness(events) if events else "timed out" if ready is None else f"fd {ready} is ready"
    return "0" if result is None else str(result)


def address_text(sockaddr: object, transport: Transport) -> str:
    """Return an address without the word for its transport; empty for an unnamed unix socket."""
    try:
        endpoint = from_sockaddr(transport, sockaddr)
    except (TypeError, ValueError):  # a family that netlab has no endpoints for
        return repr(sockaddr)
    if endpoint is None:
        return ""
    return endpoint.path if transport.is_unix else str(endpoint).removeprefix("udp://")


def _flag_names(flags: int) -> str:
    known = [flag for flag in socket.MsgFlag if flag and flags & flag == flag]
    rest = flags & ~sum(known)
    return "|".join([*(str(flag.name) for flag in known), *([hex(rest)] if rest else [])])


def _poll_names(mask: int) -> str:
    return "|".join(name for bit, name in _POLL_BITS.items() if mask & bit) or "0"


def _readiness(events: int) -> str:
    return ", ".join(_POLL_WORDS[name] for bit, name in _POLL_BITS.items() if events & bit)


def _enum_name(names: type[enum.IntEnum], number: int) -> str:
    try:
        return names(number).name
    except ValueError:
        return str(int(number))


def _option_name(level: int, number: int) -> str:
    option = _BY_NUMBER.get((level, number))
    if option is not None:
        return option.name
    return _OTHER_OPTIONS.get((level, number)) or f"{_LEVEL_NAMES.get(level, level)} {number}"


def _option_value(level: int, number: int, value: Any) -> str:
    option = _BY_NUMBER.get((level, number))
    if isinstance(value, int) and option is not None and option.name == "SO_ERROR":
        return f"{value} {errno_name(value)}" if value else "0"
    if not isinstance(value, bytes | bytearray | memoryview):
        return str(value)
    raw = bytes(value)
    try:
        return decode(option, raw)[1] if option is not None else f"{len(raw):,} B"
    except (struct.error, ValueError, OSError):  # a length that is not the option's own
        return f"{len(raw):,} B"
