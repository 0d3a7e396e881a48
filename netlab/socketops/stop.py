"""Stopping: a flag that poll can see, and a thread that wakes whoever blocks in a socket call.

close() does not wake a thread that blocks in accept or recv, shutdown(SHUT_RD) does, and a blocked send needs
SHUT_RDWR (observed on Linux; shutdown(2) is silent).  So nothing here closes a socket: a `Watcher` runs the caller's
wake function once, and loops test ``is_set()`` after every wake, so that ``b""`` then means stopped and not EOF.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

from netlab.errors import LocalError

__all__ = ["Stop", "Watcher", "poller", "start_thread", "wait_readable"]


class Stop:
    """An event with a descriptor: set once, seen by ``is_set()``, ``wait()`` and poll alike.

    ``set()`` only sends one byte, so a signal handler may call it.  ``reason`` is the first caller's.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._set = False
        self.reason = ""

    def set(self, reason: str = "stopped") -> None:
        """Stop everything that watches; later calls change nothing."""
        if self._set:
            return
        self.reason = reason
        self._set = True
        try:
            self._sender.send(b"\0")
        except OSError:  # closed meanwhile: nobody waits any more
            return

    def is_set(self) -> bool:
        return self._set

    def fileno(self) -> int:
        return self._receiver.fileno()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until set, ``timeout`` seconds at most; return whether it is set."""
        return self._set or wait_readable(self._receiver, timeout)

    def close(self) -> None:
        self._receiver.close()
        self._sender.close()

    def __enter__(self) -> Stop:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Watcher:
    """A thread that waits for a Stop and then calls ``wake`` once.

    Args:
      stop: what to wait for.
      wake: shuts down the sockets that other threads block in; it must not block itself.
      duration: seconds after which the watcher itself sets the stop, 0 for never.
      tick: called every ``interval`` seconds until then, for instance to look at an accept queue.
      interval: seconds between ticks.

    Leaving the ``with`` block ends the thread whether or not the stop was set.  What ``tick`` or ``wake`` raises sets
    the stop, and is raised there, unless the block raised something itself.
    """

    def __init__(
        self,
        stop: Stop,
        wake: Callable[[], None],
        *,
        duration: float = 0.0,
        tick: Callable[[], None] | None = None,
        interval: float = 0.1,
    ) -> None:
        self._stop = stop
        self._wake = wake
        self._deadline = time.monotonic() + duration if duration else None
        self._tick = tick
        self._interval = interval
        self._end = Stop()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def _run(self) -> None:
        for step in (self._watch, self._wake_if_stopped):
            try:
                step()
            except BaseException as exc:
                self._failure = self._failure or exc
                self._stop.set("error")

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._stop, select.POLLIN)
        poll.register(self._end, select.POLLIN)
        while not (poll.poll(self._next_wait()) or self._stop.is_set()):
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._stop.set("--duration")
            elif self._tick is not None:
                self._tick()

    def _wake_if_stopped(self) -> None:
        if self._stop.is_set():
            self._wake()

    def _next_wait(self) -> float | None:
        waits = []
        if self._deadline is not None:
            waits.append(max(self._deadline - time.monotonic(), 0))
        if self._tick is not None:
            waits.append(self._interval)
        return min(waits) * 1000 if waits else None

    def __enter__(self) -> Watcher:
        try:
            start_thread(self._thread)
        except LocalError:
            self._end.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()
        self._end.close()
        if self._failure is not None and exc is None:
            raise self._failure


def start_thread(thread: threading.Thread) -> None:
    """Start a thread.

    Raises:
      LocalError: this host gives no more (EAGAIN of pthread_create(3)).
    """
    try:
        thread.start()
    except RuntimeError:
        raise LocalError("start", "a thread", "this host gives no more threads") from None


def wait_readable(sock: socket.socket | Stop, timeout: float | None) -> bool:
    """Wait until ``sock`` has something to read (or EOF, or an error); return whether it has.

    Args:
      timeout: seconds; None waits without end, so the caller needs another way out.
    """
    # poll(), not select(): select fails for descriptors above 1023 (select(2)).
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([sock], [], [], timeout)[0])
    poll = poller(sock)
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(None if timeout is None else max(timeout, 0) * 1000))


def poller(sock: socket.socket | Stop) -> select.poll:
    """Return a select.poll; where ``sock`` is traced, one whose waits show in the trace like calls of the socket."""
    make: Callable[[], select.poll] = getattr(sock, "poller", select.poll)
    return make()
