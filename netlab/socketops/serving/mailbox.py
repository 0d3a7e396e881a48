"""What a member of a room gets where each client has a thread: at once where that goes, else by a thread that waits.

The others' threads call `Mailbox.put` and never wait.  Only while a member does not keep up, a second thread of its own
blocks in send for it; most members never have one.
"""

from __future__ import annotations

import _thread
import collections
import socket
import threading

from netlab.records import Emit, Sent, WarningReport
from netlab.socketops.serving.clients import Client, Ending, failed_call
from netlab.socketops.serving.entrance import shut_down
from netlab.socketops.serving.room import QUEUE, TOO_SLOW, Room, too_slow

__all__ = ["Mailbox"]

_AT_ONCE = getattr(socket, "MSG_DONTWAIT", None)
"""Where it is missing, whatever is sent waits for the second thread."""


class Mailbox:
    """An `Outbox` of a blocking socket.

    Args:
      client: whose it is; its ``bytes_out`` is counted here.
      room: whose newline ends the last word.
      emit: takes a warning.
      sent: takes what was given to the kernel, or will be; None where that is not wanted.

    Attributes:
      ending: how the conversation has ended, if it has; then the client's own thread is woken from recv.
    """

    def __init__(self, client: Client, room: Room, *, emit: Emit, sent: Emit | None) -> None:
        self.ending: Ending | None = None
        self._client = client
        self._newline = room.newline
        self._emit = emit
        self._sent = sent
        self._changed = threading.Condition()
        self._queue: collections.deque[bytes] = collections.deque()
        self._queued = 0
        self._is_writing = False
        self._is_leaving = False
        self._is_too_slow = False

    def put(self, line: bytes) -> bool:
        warning = None
        with self._changed:
            if self._is_leaving:
                return False
            if self._queued + len(line) > QUEUE:
                line, warning = too_slow(self._client.conn, self._newline)
                self._is_leaving = self._is_too_slow = True
            rest = line if self._is_writing else self._send_now(line)
            if rest:
                self._keep(rest)
        if self._sent is not None:
            self._sent(Sent(peer=self._client.peer, conn=self._client.conn, data=line))
        if warning is not None:
            self._emit(WarningReport(message=warning))
        return warning is None

    def close(self) -> None:
        """Wait until all that was said has gone out, or can't; the send time-out bounds that."""
        with self._changed:
            self._is_leaving = True
            self._changed.wait_for(lambda: not self._is_writing)

    def _send_now(self, line: bytes) -> bytes:
        """Send what goes without waiting, and return the rest."""
        if _AT_ONCE is None:
            return line
        try:
            sent = self._client.sock.send(line, _AT_ONCE)
        except BlockingIOError:
            return line
        except OSError as exc:
            self._end(failed_call(exc, "send"))
            return b""
        self._client.bytes_out += sent
        return line[sent:]

    def _keep(self, rest: bytes) -> None:
        self._queue.append(rest)
        self._queued += len(rest)
        if self._is_writing:
            return
        self._is_writing = True
        try:
            _thread.start_new_thread(self._write, ())
        except RuntimeError:  # this host gives no more threads
            self._is_writing = False
            self._end(Ending("error", operation="send"))

    def _write(self) -> None:
        """Send what is kept, and wait for the client to take it."""
        while True:
            with self._changed:
                if not self._queue:
                    if self._is_too_slow:
                        self._end(Ending(TOO_SLOW.reason))
                    self._is_writing = False
                    self._changed.notify_all()
                    return
                line = self._queue[0]
            try:
                sent = self._client.sock.send(line)
            except OSError as exc:
                with self._changed:
                    self._end(failed_call(exc, "send"))
                continue
            with self._changed:
                self._client.bytes_out += sent
                self._queued -= sent
                if sent < len(line):
                    self._queue[0] = line[sent:]
                else:
                    self._queue.popleft()

    def _end(self, ending: Ending) -> None:
        """Note the end, and wake the client's thread; the lock keeps its socket open."""
        self.ending = self.ending or ending
        self._is_leaving = True
        self._queue.clear()
        self._queued = 0
        shut_down(self._client.sock, socket.SHUT_RDWR)
