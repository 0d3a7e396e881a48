"""What a call on a socket was about, from its arguments and what it returned: one function for each shape of call.

Each takes the arguments by position, and what the method returned, None where it failed.  What they return is `Seen`.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "Seen",
    "see_accept",
    "see_plain",
    "see_recv",
    "see_recv_into",
    "see_recvfrom",
    "see_recvfrom_into",
    "see_recvmsg",
    "see_recvmsg_into",
    "see_send",
    "see_sendmsg",
    "see_sendto",
]

Seen = tuple[tuple[Any, ...], Any, Any, int | None, Any]
"""Arguments and result as `calltext` takes them, the payload (a buffer) and its size, the address that was named.

The arguments of a call with payload are (size, flags, address), None for what it has not.
"""


def _at(args: tuple[Any, ...], place: int) -> Any:
    return args[place] if len(args) > place else 0


def _size_of(payload: Any) -> int:
    return len(payload) if type(payload) in (bytes, bytearray) else memoryview(payload).nbytes


def see_plain(args: tuple[Any, ...], result: Any) -> Seen:
    return args, result, None, None, None


def see_accept(args: tuple[Any, ...], result: Any) -> Seen:
    return (args, result[0].fileno(), None, None, result[1]) if result else (args, None, None, None, None)


def see_send(args: tuple[Any, ...], result: Any) -> Seen:
    size = _size_of(args[0])
    # sendall returns nothing: it took all.
    return (None, _at(args, 1), None), size if result is None else result, args[0], size, None


def see_sendto(args: tuple[Any, ...], result: Any) -> Seen:
    flags = args[1] if len(args) > 2 else 0
    return (None, flags, args[-1]), result, args[0], _size_of(args[0]), args[-1]


def see_sendmsg(args: tuple[Any, ...], result: Any) -> Seen:
    buffers = args[0]
    address = args[3] if len(args) > 3 else None
    return (None, _at(args, 2), address), result, buffers[0] if buffers else b"", sum(map(_size_of, buffers)), address


def see_recv(args: tuple[Any, ...], result: Any) -> Seen:
    return (args[0], _at(args, 1), None), None, result, None if result is None else len(result), None


def see_recv_into(args: tuple[Any, ...], result: Any) -> Seen:
    return (_at(args, 1) or _size_of(args[0]), _at(args, 2), None), None, args[0], result, None


def see_recvfrom(args: tuple[Any, ...], result: Any) -> Seen:
    data, address = result or (None, None)
    return (args[0], _at(args, 1), None), None, data, None if data is None else len(data), address


def see_recvfrom_into(args: tuple[Any, ...], result: Any) -> Seen:
    size, address = result or (None, None)
    return (_at(args, 1) or _size_of(args[0]), _at(args, 2), None), None, args[0], size, address


def see_recvmsg(args: tuple[Any, ...], result: Any) -> Seen:
    data, _, _, address = result or (None, None, None, None)
    return (args[0], _at(args, 2), None), None, data, None if data is None else len(data), address


def see_recvmsg_into(args: tuple[Any, ...], result: Any) -> Seen:
    size, _, _, address = result or (None, None, None, None)
    room = sum(map(_size_of, args[0]))
    return (room, _at(args, 2), None), None, args[0][0] if args[0] else b"", size, address
