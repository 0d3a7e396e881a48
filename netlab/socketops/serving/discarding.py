"""Discarding a TCP stream without copying it out of the kernel, and without being woken for each of its segments.

Linux only: with MSG_TRUNC recv drops what is in the queue (tcp(7)), and while a stream comes fast, SO_RCVLOWAT lets the
kernel wake us for half a MiB only (socket(7)).  Nobody waits for what lies in the queue until then.  Together they take
a fifth of the CPU seconds that a recv into a buffer takes (measured on loopback).
"""

from __future__ import annotations

import contextlib
import mmap
import socket
import struct
from collections.abc import Iterator

from netlab.socketops.optionvalues import TIMEVAL
from netlab.socketops.serving.clients import EOF, Client, Ending, failed_call

__all__ = ["BLOCK", "MUCH", "PAUSE", "UNTOUCHED", "discard"]

UNTOUCHED = 64 * 1024 * 1024
"""Bytes of address space to discard into: the kernel drops them in its queue, and no page is ever touched."""
MUCH = 64 * 1024
"""Bytes at once by which a stream shows that it comes fast: as many as most programs send at once."""
BLOCK = 512 * 1024
"""Bytes to be woken for; a MiB saves some more, and half of it costs twice as much (measured on loopback)."""
PAUSE = 0.1
"""Seconds without so many bytes after which a stream has stopped coming fast."""


def discard(client: Client, sink: mmap.mmap) -> Ending:
    """Drop what a client sends, until the end.

    Args:
      client: its socket is a blocking one; what comes is counted there.
      sink: `UNTOUCHED` bytes, which may be shared, as nothing is written.
    """
    while True:
        ending = _discard_chunks(client, sink) or _discard_blocks(client, sink)
        if ending is not None:
            return ending


def _discard_chunks(client: Client, sink: mmap.mmap) -> Ending | None:
    """Discard as it comes; None once it comes fast."""
    recv_into, came = client.sock.recv_into, 0
    try:
        while True:
            try:
                got = recv_into(sink, UNTOUCHED, socket.MSG_TRUNC)
            except OSError as exc:
                return failed_call(exc, "receive")
            if not got:
                return EOF
            came += got
            if got >= MUCH:
                return None
    finally:
        client.bytes_in += came


def _discard_blocks(client: Client, sink: mmap.mmap) -> Ending | None:
    """Discard by the block; None once there is a pause, or an end that the next recv will tell."""
    sock, recv_into, came = client.sock, client.sock.recv_into, 0
    # The idle time-out counts from the pause, so it must not have begun with the block that never became whole.
    pause, block = TIMEVAL.pack(0, round(PAUSE * 1e6)), struct.pack("@i", BLOCK)
    with _option(sock, socket.SO_RCVTIMEO, pause), _option(sock, socket.SO_RCVLOWAT, block):
        try:
            while True:
                try:
                    got = recv_into(sink, UNTOUCHED, socket.MSG_TRUNC)
                except BlockingIOError:
                    return None
                except OSError as exc:
                    return failed_call(exc, "receive")
                came += got
                if got < BLOCK:
                    return None
        finally:
            client.bytes_in += came


@contextlib.contextmanager
def _option(sock: socket.socket, name: int, value: bytes) -> Iterator[None]:
    """Set an option of SOL_SOCKET, for a while."""
    before = sock.getsockopt(socket.SOL_SOCKET, name, len(value))
    sock.setsockopt(socket.SOL_SOCKET, name, value)
    try:
        yield
    finally:
        sock.setsockopt(socket.SOL_SOCKET, name, before)
