"""What a socket option's bytes mean: to a machine, to people, and how people write them.

All of it is pure but for the names of network interfaces, which are this host's.
"""

from __future__ import annotations

import re
import socket
import struct
import sys

from netlab.errors import errno_name
from netlab.socketops.optiontable import Kind, SocketOption
from netlab.values import format_bytes, format_setting, parse_duration, parse_size

__all__ = ["RESET_ON_CLOSE", "SIZES", "TIMEVAL", "UNITS", "Decoded", "decode", "encode"]

Decoded = tuple[int | str, str]
"""A value for machines and the same for people."""

TIMEVAL = struct.Struct("@ll")
"""struct timeval, of SO_RCVTIMEO and SO_SNDTIMEO: seconds and microseconds."""
_LINGER = struct.Struct("@HH" if sys.platform == "win32" else "@ii")
RESET_ON_CLOSE = _LINGER.pack(1, 0)
"""SO_LINGER: on, 0 seconds; then close drops what is unsent and sends RST (socket(7))."""
_UCRED = struct.Struct("@iII")
_NO_LIMIT = 2**64 - 1
_INT_MAX = 2**31 - 1

# The words of SK_MEMINFO_* (linux/sock_diag.h), in their order.
_MEMINFO = ("rmem", "rcvbuf", "wmem", "sndbuf", "fwd", "wmem_queued", "optmem", "backlog", "drops")

SIZES = {
    Kind.RATE: 8,
    Kind.COOKIE: 8,
    Kind.LINGER: _LINGER.size,
    Kind.TIMEVAL: TIMEVAL.size,
    Kind.TEXT: 256,
    Kind.UCRED: _UCRED.size,
    Kind.GROUPS: 1024,
    Kind.MEMINFO: 4 * len(_MEMINFO),
    Kind.OPAQUE: 256,
}
"""Bytes to ask getsockopt for where it is more than an int; 1024 is Python's limit."""

UNITS = {
    Kind.BYTES: "B",
    Kind.SECONDS: "s",
    Kind.MILLISECONDS: "ms",
    Kind.MICROSECONDS: "us",
    Kind.RATE: "B/s",
    Kind.LINGER: "s",
    Kind.TIMEVAL: "us",
}
_TICKS_PER_SECOND = {Kind.SECONDS: 1, Kind.MILLISECONDS: 1000, Kind.MICROSECONDS: 1_000_000}
_FLAG_WORDS = {"1": 1, "on": 1, "yes": 1, "true": 1, "0": 0, "off": 0, "no": 0, "false": 0}
_LONGEST_TEXT = 15
"""IFNAMSIZ, TCP_CA_NAME_MAX and TCP_ULP_NAME_MAX are 16 with the NUL at the end."""


def decode(option: SocketOption, raw: bytes) -> Decoded:
    """Return an option's value for machines and for people."""
    match option.kind:
        case Kind.TEXT:
            text = raw.partition(b"\0")[0].decode("ascii", "backslashreplace")
            return text, text or "none"
        case Kind.LINGER:
            on, seconds = _LINGER.unpack(raw)
            return (seconds, f"on, {seconds} s") if on else ("off", "off")
        case Kind.TIMEVAL:
            seconds, micros = TIMEVAL.unpack(raw)
            total = seconds * 1_000_000 + micros
            return total, format_setting(total / 1e6) if total else "off"
        case Kind.ADDRESS:
            address = socket.inet_ntoa(raw)
            return address, address
        case Kind.UCRED:
            pid, uid, gid = _UCRED.unpack(raw)
            # unix(7): nobody connected yet, pid 0 and ids of -1.
            return f"pid={pid} uid={uid} gid={gid}", f"pid {pid}, uid {uid}, gid {gid}" if pid else "none"
        case Kind.GROUPS:
            groups = ", ".join(str(number) for (number,) in struct.iter_unpack("@I", raw))
            return groups, groups or "none"
        case Kind.MEMINFO:
            numbers = [number for (number,) in struct.iter_unpack("@I", raw)]
            words = " ".join(f"{name}={number}" for name, number in zip(_MEMINFO, numbers, strict=False))
            return words, f"{numbers[-1]:,} drops"
        case Kind.OPAQUE:
            return raw.hex(), format_bytes(len(raw))
        case Kind.INTERFACE_BE:
            index = int.from_bytes(raw, "big")
            return index, str(index)
    return _decode_number(option, raw)


def _decode_number(option: SocketOption, raw: bytes) -> Decoded:
    number = int.from_bytes(raw, sys.byteorder, signed=True)
    unsigned = int.from_bytes(raw, sys.byteorder)
    match option.kind:
        case Kind.FLAG:  # BSD answers with the bit that it keeps the flag in
            return int(number != 0), str(int(number != 0))
        case Kind.NAMED:
            return number, option.names.get(number, str(number))
        case Kind.BYTES:
            return unsigned, format_bytes(unsigned)
        case Kind.BITS | Kind.COOKIE:
            return unsigned, f"{unsigned:#x}" if unsigned else "0"
        case Kind.RATE:
            return unsigned, "unlimited" if number == -1 else f"{format_bytes(unsigned)}/s"
        case Kind.ERRNO:
            return number, errno_name(number) if number else "0"
        case Kind.PORTS:
            ports = f"{unsigned & 0xFFFF}-{unsigned >> 16}" if unsigned else "off"
            return ports, ports
    unit = UNITS.get(option.kind)
    return number, f"{number} {unit}" if unit else str(number)


def encode(option: SocketOption, text: str) -> bytes:
    """Return what setsockopt takes for a text; ValueError says what is wrong with it, without the option's name."""
    match option.kind:
        case Kind.TEXT:
            if not (text.isascii() and text.isprintable() and len(text) <= _LONGEST_TEXT):
                raise ValueError(f"{text!r} is no name; one has at most {_LONGEST_TEXT} printable ASCII characters")
            return text.encode() + b"\0"
        case Kind.LINGER:
            off = text.lower() == "off"
            return _LINGER.pack(0, 0) if off else _LINGER.pack(1, _ticks(text, "s", 1))
        case Kind.TIMEVAL:
            seconds = 0.0 if text.lower() == "off" else parse_duration(text)
            return TIMEVAL.pack(*divmod(round(seconds * 1e6), 1_000_000))
        case Kind.ADDRESS:
            try:
                return socket.inet_pton(socket.AF_INET, text)
            except OSError:
                raise ValueError(f"{text!r} is no IPv4 address") from None
        case Kind.RATE:
            no_limit = text.lower() in ("off", "unlimited")
            return struct.pack("=Q", _NO_LIMIT if no_limit else parse_size(text.removesuffix("/s")))
        case Kind.INTERFACE_BE:
            return struct.pack("!I", _interface(text))
    number = _encode_number(option, text)
    return struct.pack("=i" if number < 0 else "=I", number)


def _encode_number(option: SocketOption, text: str) -> int:
    match option.kind:
        case Kind.FLAG:
            if text.lower() not in _FLAG_WORDS:
                raise ValueError(f"{text!r} is neither on nor off")
            return _FLAG_WORDS[text.lower()]
        case Kind.NAMED:
            numbers = {name: number for number, name in option.names.items()}
            if text.lower() not in numbers:
                raise ValueError(f"{text!r} is none of {', '.join(numbers)}")
            return numbers[text.lower()]
        case Kind.BYTES:
            size = parse_size(text)
            if size > _INT_MAX:
                raise ValueError(f"{format_bytes(size)} is too large; {format_bytes(_INT_MAX)} is the most")
            return size
        case Kind.SECONDS | Kind.MILLISECONDS | Kind.MICROSECONDS:
            return _ticks(text, UNITS[option.kind], _TICKS_PER_SECOND[option.kind])
        case Kind.INTERFACE:
            return _interface(text)
        case Kind.PORTS:
            return _ports(text)
    return _integer(text)


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?(0[xX][0-9A-Fa-f]{1,8}|[0-9]{1,10})", text):
        raise ValueError(f"{text!r} is no whole number")
    number = int(text, 16 if "x" in text.lower() else 10)
    if not -(2**31) <= number < 2**32:
        raise ValueError(f"{text} does not fit into 32 bits")
    return number


def _ticks(text: str, unit: str, per_second: int) -> int:
    """Return a duration in the option's own unit, which a bare number is in already."""
    if re.fullmatch(r"-?[0-9.]+", text):
        if "." in text:
            raise ValueError(f"{text} has no unit; without one it is whole {unit}")
        ticks = _integer(text)
    else:
        exact = parse_duration(text) * per_second
        ticks = round(exact)
        if abs(exact - ticks) > 1e-6:
            raise ValueError(f"{text} is no whole number of {unit}")
    if ticks > _INT_MAX:
        raise ValueError(f"{text} is too long; {_INT_MAX} {unit} is the most")
    return ticks


def _interface(text: str) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text):
        return int(text)
    try:
        return socket.if_nametoindex(text)
    except OSError:
        raise ValueError(f"there is no network interface {text!r}") from None


def _ports(text: str) -> int:
    if text.lower() in ("off", "0"):
        return 0
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text)
    low, high = (int(port) for port in match.groups()) if match else (0, 0)
    if not 0 < low <= high < 65536:
        raise ValueError(f"{text!r} is no range of ports, such as 40000-40999, and not off")
    return high << 16 | low
