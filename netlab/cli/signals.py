"""Signals and limits of the process: what a server's command sets up around serving, and how a command dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from netlab.socketops import Stop

__all__ = ["die_by", "raise_descriptor_limit", "spare_descriptors", "stop_on_signals"]

_KEPT = 64
"""Descriptors that are not for connections: standard streams, epoll, the resolver's."""
_ONE_REQUEST = 0.05
"""Seconds in which a signal that comes again is the same request: timeout(1) signals its child, then the group of both.
A hand at Ctrl-C takes three times as long."""


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Give a Stop that SIGINT and SIGTERM set; a second request ends the process at once, as if unhandled.

    A thread of its own listens for them.  The kernel may give a signal to any thread, Python runs handlers in the main
    one alone, and that may block in a call that the signal did not interrupt: of 40 SIGTERM to a server whose threads
    were busy sending, 5 had no effect.  The descriptor of set_wakeup_fd is written in whatever thread it is.
    """
    import socket
    import threading

    from netlab.socketops import Stop
    from netlab.socketops.stop import start_thread

    received = 0

    def handle(number: int, _frame: FrameType | None) -> None:
        if received > 1:
            die_by(number)

    def listen() -> None:
        nonlocal received
        last, until = 0, 0.0
        while numbers := reader.recv(1):
            if numbers[0] == last and time.monotonic() < until:
                continue
            last, until = numbers[0], time.monotonic() + _ONE_REQUEST
            received += 1
            if not stop.is_set():
                stop.set(signal.Signals(numbers[0]).name)
            elif received == 2 and hasattr(signal, "pthread_kill"):
                # Only the main thread can end as if unhandled, so it is made to look.
                signal.pthread_kill(threading.main_thread().ident or 0, numbers[0])

    reader, writer = socket.socketpair()
    writer.setblocking(False)
    listener = threading.Thread(target=listen, name="signals", daemon=True)
    with reader, writer, Stop() as stop:
        start_thread(listener)
        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        wakeup = signal.set_wakeup_fd(writer.fileno())
        try:
            yield stop
        finally:
            signal.set_wakeup_fd(wakeup)
            for number, handler in before.items():
                signal.signal(number, handler)
            writer.shutdown(socket.SHUT_WR)
            listener.join()


def die_by(number: int) -> NoReturn:
    """End the process by a real signal: a shell then reports 128 + number, and its loops stop at Ctrl-C."""
    if os.name == "posix":
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(128 + number)


def spare_descriptors() -> int:
    """Raise the limit of descriptors; return how many there are for connections, 0 where the limit is very low."""
    return max(raise_descriptor_limit() - _KEPT, 0)


def raise_descriptor_limit() -> int:
    """Raise the soft limit of descriptors to the hard one (getrlimit(2)); return the limit that now holds."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 8192
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS reports an unlimited hard limit that it does not grant.
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 10_240)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        except (OSError, ValueError):
            return soft
    return hard
