"""Echo many datagrams in two calls: recvmmsg(2) and sendmmsg(2), which the socket module does not have.

From Python a datagram costs, beside its two calls, nearly as much again for its address, which becomes text in a tuple
and then bytes again.  Here the kernel fills a batch, and takes it back with the addresses where it has put them.
Control messages are few different ones, so that each is made fit for its way back once.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import mmap
import os
import socket
import struct
import sys
from typing import Any

from netlab.socketops.serving.pktinfo import CONTROL_ROOM, Control, control_back

__all__ = ["Batch", "batch_for"]

_MOST = 32
"""Datagrams of a batch: more than a busy server finds waiting; arbitrary."""
_LARGEST = 1 << 16
"""Bytes of room for a datagram: more than any UDP has, but for jumbograms (RFC 2675), which Linux does not send."""
_STEP = _LARGEST + 64
"""Bytes from one datagram's room to the next: at steps of a power of two they would share few lines of the cache."""
_NAME = 32
"""Bytes of room for an address; sockaddr_in6 takes 28."""
_WAIT_FOR_ONE = 0x10000
"""MSG_WAITFORONE of linux/socket.h: wait for the first datagram and take what else is there."""

# struct mmsghdr and struct iovec where pointers have 64 bits, in words of 64 bits.
_NAME_PLACE, _NAME_SIZE, _PIECES, _PIECE_COUNT, _CONTROL, _CONTROL_SIZE, _CAME, _HEADER = 0, 1, 2, 3, 4, 5, 7, 8
_PIECE = 2
_NOT_HERE = (errno.ENOSYS, errno.EPERM, errno.EACCES)
"""What a kernel without these calls says, or a filter that does not know them (seccomp(2))."""
_CONTROL_HEADER = struct.Struct("=Qii")
"""struct cmsghdr; the data follows, and fills up words of 64 bits."""
_DIFFERENT = 256
"""Control messages whose way back is remembered: addresses of a host; arbitrary."""


def batch_for(sock: socket.socket, flags: int, *, has_control: bool = False) -> Batch | None:
    """Return a batch for a UDP socket; None where the system has not these calls, or not these structures.

    Args:
      sock: stays the caller's to close.
      flags: for receiving; with MSG_DONTWAIT nothing is waited for.
      has_control: whether control messages tell where datagrams were sent to, which is where they are answered from.
    """
    if sys.platform != "linux" or sys.byteorder != "little" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    try:
        return Batch(sock, flags, has_control=has_control)
    except (AttributeError, OSError):  # the C library has not got them, or the kernel
        return None


class Batch:
    """Some datagrams of one UDP socket, and the addresses that they came from; see `batch_for`."""

    def __init__(self, sock: socket.socket, flags: int, *, has_control: bool) -> None:
        self._family = sock.family
        # Kept, for what points into them would not keep them; pages that no datagram has touched cost nothing.
        sizes = (_STEP, _NAME, CONTROL_ROOM, 8 * _HEADER, 8 * _PIECE)
        self._buffers = [mmap.mmap(-1, _MOST * each) for each in sizes]
        places = (ctypes.addressof(ctypes.c_char.from_buffer(each)) for each in self._buffers)
        room, names, controls, headers, pieces = places
        self._data, self._names, self._controls = (memoryview(each) for each in self._buffers[:3])
        header, piece = (memoryview(each).cast("Q") for each in self._buffers[3:])
        for at in range(_MOST):
            piece[_PIECE * at] = room + _STEP * at
            header[_HEADER * at + _NAME_PLACE] = names + _NAME * at
            header[_HEADER * at + _PIECES] = pieces + 8 * _PIECE * at
            header[_HEADER * at + _PIECE_COUNT] = 1
            if has_control:
                header[_HEADER * at + _CONTROL] = controls + CONTROL_ROOM * at
        self._ports = self._names.cast("H")[1 :: _NAME // 2]
        self._name_sizes, self._came, self._room = header[_NAME_SIZE::_HEADER], header[_CAME::_HEADER], piece[1::_PIECE]
        self._whole_names = memoryview(struct.pack("Q", _NAME) * _MOST).cast("Q")
        self._whole_room = memoryview(struct.pack("Q", _LARGEST) * _MOST).cast("Q")
        self._name_sizes[:], self._room[:] = self._whole_names, self._whole_room
        self._has_control, self._control_sizes = has_control, header[_CONTROL_SIZE::_HEADER]
        self._whole_control = memoryview(struct.pack("Q", CONTROL_ROOM) * _MOST).cast("Q")
        self._back = functools.lru_cache(_DIFFERENT)(_back)
        library = ctypes.CDLL(None, use_errno=True)
        self._receive, self._send = library.recvmmsg, library.sendmmsg
        # Made once: numbers would be turned into these objects at each call.
        self._fileno, self._headers = ctypes.c_int(sock.fileno()), headers
        self._place = ctypes.c_void_p(headers)
        self._how_many = ctypes.c_uint(0)
        self._receiving = (self._fileno, self._place, self._how_many, ctypes.c_int(flags | _WAIT_FOR_ONE), None)
        for call, last in ((self._receive, (0, None)), (self._send, (0,))):
            if call(self._fileno, self._place, self._how_many, *last) < 0 and ctypes.get_errno() in _NOT_HERE:
                raise _error()

    def receive(self) -> int:
        """Wait for a datagram, if that is wanted, and take it and what else is there.

        Returns:
          The number of datagrams; 0 where shutdown has ended the wait.

        Raises:
          OSError: as recvmmsg(2) says; no datagram is lost by it.
        """
        self._how_many.value = _MOST
        if self._has_control:
            self._control_sizes[:] = self._whole_control
        number: int = self._receive(*self._receiving)
        if number < 0:
            raise _error()
        if not self._name_sizes[0]:
            self._name_sizes[:] = self._whole_names
            return 0
        if self._has_control:
            self._turn_back(number)
        return number

    def send(self, start: int, end: int) -> int:
        """Send a part of what was received back to where it came from.

        Returns:
          How many were sent, at least one; the next may have met an error.

        Raises:
          OSError: the first could not be sent.
        """
        self._room[start:end] = self._came[start:end]
        self._how_many.value = end - start
        place = ctypes.c_void_p(self._headers + 8 * _HEADER * start) if start else self._place
        sent: int = self._send(self._fileno, place, self._how_many, 0)
        self._room[start:end] = self._whole_room[start:end]
        if sent < 0:
            raise _error()
        return sent

    def sizes(self, number: int) -> list[int]:
        """Return the sizes of the first so many datagrams in bytes."""
        return self._came[:number].tolist()

    def ports(self, number: int) -> list[int]:
        """Return the ports that they came from, in network byte order."""
        return self._ports[:number].tolist()

    def datagram(self, at: int) -> tuple[memoryview, Any, Control]:
        """Return one datagram, its sender's address, and what goes with an answer, as socket.sendmsg takes them."""
        start = CONTROL_ROOM * at
        control = _messages(bytes(self._controls[start : start + self._control_sizes[at]]))
        size, name = self._came[at], self._names[_NAME * at : _NAME * (at + 1)]
        data = self._data[_STEP * at : _STEP * at + size]
        port, flow = struct.unpack_from("!2xHI", name)
        if self._family == socket.AF_INET:
            return data, (socket.inet_ntop(socket.AF_INET, name[4:8]), port), control
        (scope,) = struct.unpack_from("=I", name, 24)
        return data, (socket.inet_ntop(socket.AF_INET6, name[8:24]), port, flow, scope), control

    def _turn_back(self, number: int) -> None:
        """Make what told of the way here tell the way back."""
        controls, sizes, back = self._controls, self._control_sizes, self._back
        for at, size in enumerate(sizes[:number].tolist()):
            start = CONTROL_ROOM * at
            message = back(controls[start : start + size].tobytes())
            sizes[at] = len(message)
            controls[start : start + len(message)] = message


def _back(came: bytes) -> bytes:
    """Return the control messages of an answer as sendmsg(2) takes them, from those that came."""
    messages = (
        _CONTROL_HEADER.pack(_CONTROL_HEADER.size + len(data), level, kind) + data + bytes(-len(data) % 8)
        for level, kind, data in control_back(_messages(came))
    )
    return b"".join(messages)


def _messages(control: bytes) -> Control:
    """Read what recvmsg(2) has left in a buffer for control messages."""
    messages, start = [], 0
    while start + _CONTROL_HEADER.size <= len(control):
        size, level, kind = _CONTROL_HEADER.unpack_from(control, start)
        messages.append((level, kind, control[start + _CONTROL_HEADER.size : start + size]))
        start += max(size + -size % 8, _CONTROL_HEADER.size)
    return messages


def _error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
