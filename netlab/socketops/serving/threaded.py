"""serve-threaded: a thread for each client, with a few more that wait in accept.

Leader and followers: an idle thread sits in accept(); whoever gets a client first sees to it that one more waits, and
then serves.  So a connection costs no thread start where threads have come free, which makes twice as many of them a
second, and the model stays what it says.

The threads can be kept on one CPU.  They share one interpreter lock, and handing it over between CPUs costs more than
the second CPU brings: 1.5 to 4 times the round trips on one, from 50 clients on (measured, CPython 3.11 on Linux).
"""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING, TypeVar

from netlab.errors import LocalError
from netlab.records import Emit, Record
from netlab.socketops.opening import Bound
from netlab.socketops.serving.clients import CLIENT_RECORDS, GRACE, Clients
from netlab.socketops.serving.conversation import Conversation
from netlab.socketops.serving.entrance import Entrance, Shortage
from netlab.socketops.serving.replies import Reply
from netlab.socketops.serving.room import Room
from netlab.socketops.stop import Stop

if TYPE_CHECKING:
    from netlab.socketops.faultlab.faults import Faults

__all__ = ["choose_cpu", "serve_threaded"]

_T = TypeVar("_T")

MOST_IDLE = 8
"""Threads that stay in accept when there is nothing to do; more gained nothing with 50 clients that come and go."""


def choose_cpu() -> int | None:
    """Return a CPU that this process may use, another for each process; None where it has no choice to make.

    By the process's number, so that two servers on one host rarely choose the same.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[os.getpid() % len(allowed)] if len(allowed) > 1 else None


def serve_threaded(
    sockets: Sequence[Bound],
    *,
    reply: Reply | Room,
    stop: Stop,
    emit: Emit,
    watch: Container[type[Record]] = CLIENT_RECORDS,
    faults: Faults | None = None,
    max_clients: int | None = 1000,
    idle_timeout: float = 300.0,
    cpu: int | None = None,
    once: bool = False,
    duration: float = 0.0,
) -> None:
    """Serve each client in a thread of its own, until the stop is set; the caller's thread only waits for that.

    With hundreds of clients, set sys.setswitchinterval to a tenth of a second: many threads that wait for the
    interpreter's lock else hold up the one that has it.

    Args:
      sockets: listeners; they stay the caller's to close.
      reply: what clients get; or the room that they share.
      stop: ends it: running replies have a second, every client sees the end of its connection.
      emit: takes the records, from any thread: warnings and the Summary always, those of clients as ``watch`` says.
      watch: classes of Connected, Received, Sent, FaultReport and Closed that are wanted; the others are never made.
      faults: what goes wrong on purpose; a room has none.
      max_clients: how many are served at once, None for no limit; one more is told so and closed.
      idle_timeout: seconds of silence after which a client is closed, 0 for never.
      cpu: the CPU on which the server's threads run, None for any; the caller's thread stays where it is.
      once: end after one client.
      duration: seconds after which to end, 0 for never.

    Raises:
      LocalError: a listener is no listener any more, the CPU is not ours to use, or no thread can be started.
      Exception: what ``emit`` raised, once.
    """
    if faults is not None and faults.never_accepts:
        from netlab.socketops.faultlab.misbehaving import serve_nobody

        serve_nobody(sockets, stop=stop, emit=emit, watch=watch, duration=duration)
        return
    shortage = Shortage(stop, emit)
    clients = Clients(stop, emit, watch, limit=1 if once else max_clients)
    conversation = Conversation(reply, stop, emit, watch, faults=faults, once=once)
    with contextlib.ExitStack() as stack:
        doors = [
            _Door(stack.enter_context(Entrance([bound], stop, shortage, idle_timeout=idle_timeout)))
            for bound in sockets
        ]
        server = _Server(doors, clients, conversation, shortage, stop, once=once)
        try:
            server.start(cpu)
            if not stop.wait(duration or None):
                stop.set("--duration")
        finally:
            stop.set("error")
            server.end()
    if server.failure is not None:
        raise server.failure
    emit(clients.summary())


class _Door:
    """A listener and how many threads wait in its accept, or are about to."""

    def __init__(self, entrance: Entrance) -> None:
        self.entrance = entrance
        self.idle = 0


class _Server:
    """The threads of one server; none of them outlives `end`, unless it blocks in ``emit``."""

    def __init__(
        self,
        doors: Sequence[_Door],
        clients: Clients,
        conversation: Conversation,
        shortage: Shortage,
        stop: Stop,
        *,
        once: bool,
    ) -> None:
        self._doors = doors
        self._clients = clients
        self._conversation = conversation
        self._shortage = shortage
        self._stop = stop
        self._once = once
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._threads = 0
        self.failure: BaseException | None = None

    def start(self, cpu: int | None) -> None:
        """Start the first thread, which starts the others: they inherit its CPU (sched_setaffinity(2))."""
        if not self._start_thread(self._open_doors, cpu):
            raise LocalError("start", "a thread", "this host gives no more threads")

    def end(self) -> None:
        """Let every client see the end, and every thread leave; call it once the stop is set."""
        for door in self._doors:
            door.entrance.wake()
        self._clients.end_all()
        with self._changed:
            self._changed.wait_for(lambda: not self._threads, GRACE)

    def _open_doors(self, cpu: int | None) -> None:
        if cpu is not None:
            _pin(cpu)
        first, *others = self._doors
        for door in others:
            if not self._add_thread(door):
                raise LocalError("start", "a thread", "this host gives no more threads")
        first.idle += 1
        self._attend(first)

    def _attend(self, door: _Door) -> None:
        """Accept and serve, one client after the other; this is all that a thread does."""
        while (arrival := door.entrance.accept()) is not None:
            with self._lock:
                door.idle -= 1
                alone = not door.idle and not self._once
            if alone and not self._add_thread(door):
                # Nobody would be left to accept if this thread served its client.
                self._clients.turn_away(*arrival, "server is out of threads\n")
                self._shortage.pause("this host gives no more threads")
            else:
                client = self._clients.admit(*arrival)
                if client is not None:
                    self._conversation.run(client, self._clients)
            with self._lock:
                if door.idle >= MOST_IDLE:
                    return
                door.idle += 1

    def _add_thread(self, door: _Door) -> bool:
        with self._lock:
            door.idle += 1
        if self._start_thread(self._attend, door):
            return True
        with self._lock:
            door.idle -= 1
        return False

    def _start_thread(self, work: Callable[[_T], None], subject: _T) -> bool:
        # Not threading.Thread: its start() waits until the new thread runs, which is most of the cost of a connection
        # in servers that start one for each.
        with self._lock:
            self._threads += 1
        try:
            _thread.start_new_thread(self._run, (work, subject))
        except RuntimeError:  # "can't start new thread": EAGAIN of pthread_create(3)
            with self._lock:
                self._threads -= 1
            return False
        return True

    def _run(self, work: Callable[[_T], None], subject: _T) -> None:
        try:
            work(subject)
        except BaseException as exc:
            with self._lock:
                self.failure = self.failure or exc
            self._stop.set("error")
        finally:
            with self._lock:
                self._threads -= 1
                if not self._threads:
                    self._changed.notify_all()


def _pin(cpu: int) -> None:
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as exc:
        allowed = ", ".join(str(number) for number in sorted(os.sched_getaffinity(0)))
        raise LocalError.from_os(exc, "run on", f"CPU {cpu} (this process may use {allowed})") from None
