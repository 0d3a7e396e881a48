"""Carrying out by blocking calls what only faults ask for, and a server that accepts nobody."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Container, Iterator, Sequence

from netlab.errors import LocalError
from netlab.records import Emit, FaultReport, Record
from netlab.socketops.opening import Bound
from netlab.socketops.queues import accept_queue, unacknowledged
from netlab.socketops.serving.actions import HalfClose, Pause, Reset, Stall, Strike
from netlab.socketops.serving.clients import EOF, Client, Clients, Ending, failed_call
from netlab.socketops.serving.entrance import SEND_TIMEOUT, shut_down, time_limit
from netlab.socketops.serving.replies import Action
from netlab.socketops.stop import Stop, poller

__all__ = ["ARRIVAL", "Misbehaviour", "full_queues", "serve_nobody"]

ARRIVAL = 0.005
"""Seconds between looks whether what was sent has arrived; arbitrary."""
_UNANSWERED = 0.2
"""Seconds after which a connect to ourselves goes without an answer; on loopback that takes less than one in 1000."""
_MOST_OWN = 64
"""Connections of our own until a queue has to be full; Linux needs one."""


class Misbehaviour:
    """Does in a client's own thread what a fault asks for.

    Args:
      stop: ends every wait.
      emit: takes a FaultReport for each strike; None where they are not wanted.
    """

    def __init__(self, stop: Stop, emit: Emit | None) -> None:
        self._stop = stop
        self._emit = emit

    def carry_out(self, client: Client, action: Action) -> Ending | None:
        """Do one thing that is neither bytes nor a close; return how that ended the conversation, if it did."""
        if isinstance(action, Strike):
            if self._emit is not None:
                report = FaultReport(peer=client.peer, conn=client.conn, fault=action.fault, effect=action.effect)
                self._emit(report)
        elif isinstance(action, Pause):
            return _pause(client, self._stop, action.seconds)
        elif isinstance(action, HalfClose):
            shut_down(client.sock, socket.SHUT_WR)
        elif isinstance(action, Reset):
            return _reset(client, self._stop)
        elif isinstance(action, Stall):
            return _stall(client, self._stop)
        return None


def serve_nobody(
    sockets: Sequence[Bound], *, stop: Stop, emit: Emit, watch: Container[type[Record]], duration: float = 0.0
) -> None:
    """Listen and never accept, until the stop is set; whoever connects is not answered.

    Args:
      sockets: listeners; they stay the caller's to close.
      stop: ends it.
      emit: takes the records: the Summary always, a FaultReport for each listener as ``watch`` says.
      watch: classes of records that are wanted.
      duration: seconds after which to end, 0 for never.

    Raises:
      LocalError: an accept queue cannot be filled.
    """
    clients = Clients(stop, emit, watch)
    with full_queues(sockets):
        if FaultReport in watch:
            for bound in sockets:
                emit(FaultReport(fault="no-accept", effect=f"the accept queue of {bound.endpoint} is full"))
        if not stop.wait(duration or None):
            stop.set("--duration")
    emit(clients.summary())


@contextlib.contextmanager
def full_queues(listeners: Sequence[Bound]) -> Iterator[None]:
    """Fill the accept queues of listeners by connections of our own, which end with the block.

    The kernel then drops a SYN without a word (listen(2), tcp(7)), and lets connect() to a unix socket fail with
    EAGAIN, or block (unix(7)).  A queue that is full already is left as it is.

    Raises:
      LocalError: a connection of our own failed, or the queue has no end.
    """
    with contextlib.ExitStack() as stack:
        for bound in listeners:
            told = accept_queue(bound.sock)
            bound.sock.listen(0)
            if bound.adopted:  # its owner goes on with it
                stack.callback(bound.sock.listen, told[1] if told else socket.SOMAXCONN)
            for _ in range(_MOST_OWN):
                try:
                    own = stack.enter_context(socket.socket(bound.sock.family, bound.sock.type))
                except OSError as exc:
                    raise LocalError.from_os(exc, "socket", bound.endpoint) from None
                if not _gets_in(own, bound):
                    own.close()  # a connect that goes on would get in as soon as there is room
                    break
            else:
                raise LocalError("fill", bound.endpoint, f"its accept queue takes {_MOST_OWN} connections and more")
        yield


def _gets_in(own: socket.socket, bound: Bound) -> bool:
    """Connect to a listener of ours; return whether its queue had room."""
    told = accept_queue(bound.sock)
    if told is not None and told[0] > told[1]:
        return False
    own.settimeout(_UNANSWERED)
    try:
        own.connect(bound.sock.getsockname())
    except (TimeoutError, BlockingIOError):  # TCP has dropped it; a unix socket's EAGAIN
        return False
    except OSError as exc:
        raise LocalError.from_os(exc, "connect", bound.endpoint) from None
    return True


def _hold(client: Client, stop: Stop, timeout: float | None) -> tuple[bool, int]:
    """Wait, without reading, for the stop or for the end of the connection.

    Only an end in both directions shows so, or a reset: a FIN stays behind what is unread.

    Returns:
      whether one of them came before the time-out (seconds, None for none), and the errno of the connection's end.
    """
    if not hasattr(select, "poll"):  # Windows
        return stop.wait(timeout), 0
    waiting = poller(client.sock)
    waiting.register(stop, select.POLLIN)
    waiting.register(client.sock, 0)  # POLLHUP and POLLERR come unasked
    if not waiting.poll(None if timeout is None else timeout * 1000):
        return False, 0
    return True, client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def _pause(client: Client, stop: Stop, seconds: float) -> Ending | None:
    until = time.monotonic() + seconds
    _, code = _hold(client, stop, seconds)
    if code:
        return _failed(code)
    stop.wait(max(until - time.monotonic(), 0))  # a unix peer that has closed may still have sent something
    return None


def _reset(client: Client, stop: Stop) -> Ending:
    until = time.monotonic() + (time_limit(client.sock, socket.SO_SNDTIMEO) or SEND_TIMEOUT)
    while unacknowledged(client.sock) and time.monotonic() < until:
        ended, code = _hold(client, stop, ARRIVAL)
        if code:
            return _failed(code)
        if ended:
            break
    return Ending("fault", resets=True)


def _stall(client: Client, stop: Stop) -> Ending:
    ended, code = _hold(client, stop, time_limit(client.sock, socket.SO_RCVTIMEO) or None)
    if code:
        return _failed(code)
    return EOF if ended else Ending("timeout", operation="receive")


def _failed(code: int) -> Ending:
    return failed_call(OSError(code, os.strerror(code)), "receive")
