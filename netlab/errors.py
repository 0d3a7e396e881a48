"""What can go wrong, as classes; each carries the exit status that a script sees.

The numbers are curl's where curl has one.  The question that picks the class is whose fault it was: the caller's
(UsageError), this host's (LocalError), the network's or the peer's (the rest).  A message names the operation, the
endpoint and the cause: ``connect 127.0.0.1:9: connection refused (ECONNREFUSED)``.
"""

from __future__ import annotations

import errno as errno_module
import os
from typing import ClassVar

__all__ = [
    "BUG",
    "INTERRUPTED",
    "STDOUT_CLOSED",
    "AnswerNo",
    "ClosedWithoutReply",
    "ConnectError",
    "LocalError",
    "NetlabError",
    "OutputError",
    "ReceiveError",
    "ResolveError",
    "SendError",
    "StdoutClosed",
    "TimedOut",
    "UsageError",
    "errno_name",
]

BUG = 70
"""Exit status for a bug in netlab (EX_SOFTWARE of sysexits.h), which is shown with its traceback."""
INTERRUPTED = 130
"""Exit status of a client that Ctrl-C ended: 128 + SIGINT, as shells report it."""
STDOUT_CLOSED = 141
"""Exit status when nobody reads stdout any more: 128 + SIGPIPE, as shells report it."""


def errno_name(number: int) -> str:
    """Return the symbolic name of an errno, such as ``ECONNREFUSED``; ``E<number>`` where it has none."""
    return errno_module.errorcode.get(number, f"E{number}")


class NetlabError(Exception):
    """Base of everything that netlab raises on purpose.

    Args:
      operation: the verb that failed: connect, receive, listen ...
      where: the endpoint as text, or whatever else the operation was about.
      cause: what happened, in lower case and without a full stop.
      errno: the kernel's number, where it gave one.
      facts: lines of evidence: what was sent, what came, how long it took.
      means: what the cause says about the two sides; empty to let `explain` tell it from the errno.
      likely: likely causes in order.
      next_steps: commands or options to try, each with a few words on why.
    """

    status: ClassVar[int] = BUG

    def __init__(
        self,
        operation: str,
        where: object = "",
        cause: str = "",
        *,
        errno: int | None = None,
        facts: tuple[str, ...] = (),
        means: str = "",
        likely: tuple[str, ...] = (),
        next_steps: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.operation = operation
        self.where = str(where)
        self.errno = errno
        self.cause = cause or (os.strerror(errno).lower() if errno is not None else "failed")
        self.facts = facts
        self.means = means
        self.likely = likely
        self.next_steps = next_steps
        super().__init__(str(self))

    @property
    def errno_name(self) -> str | None:
        return None if self.errno is None else errno_name(self.errno)

    def __str__(self) -> str:
        subject = f"{self.operation} {self.where}" if self.where else self.operation
        name = f" ({self.errno_name})" if self.errno is not None else ""
        return f"{subject}: {self.cause}{name}"

    @classmethod
    def from_os(cls, exc: OSError, operation: str, where: object = "") -> NetlabError:
        """Wrap an OSError of one system call, keeping its errno and its text."""
        if exc.errno is None:  # Python's own refusals, such as "AF_UNIX path too long"
            return cls(operation, where, str(exc))
        return cls(operation, where, (exc.strerror or os.strerror(exc.errno)).lower(), errno=exc.errno)


class AnswerNo(NetlabError):
    """The question was answered, and the answer is no: --expect, --ok-if, some of several targets."""

    status = 1


class UsageError(NetlabError):
    """Usage: an unknown option, a value that is none, options that exclude each other, a file that cannot be read."""

    status = 2


class ResolveError(NetlabError):
    """The name has no address.  ``gai_errno`` is getaddrinfo's own number (EAI_*), never an errno."""

    status = 6

    def __init__(
        self,
        where: object,
        cause: str,
        *,
        gai_errno: int | None = None,
        means: str = "",
        likely: tuple[str, ...] = (),
        next_steps: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.gai_errno = gai_errno
        super().__init__("resolve", where, cause, means=means, likely=likely, next_steps=next_steps)


class ConnectError(NetlabError):
    """No connection: refused, unreachable, denied, or no such path."""

    status = 7


class OutputError(NetlabError):
    """Output could not be written: full disk, bad file."""

    status = 23


class TimedOut(NetlabError):
    """No answer in time, or the peer was still sending when time ran out."""

    status = 28


class LocalError(NetlabError):
    """This host would not: address in use or not ours, not permitted, no descriptors."""

    status = 45


class ClosedWithoutReply(NetlabError):
    """The peer closed in good order without a reply where one was awaited, or in the middle of it."""

    status = 52


class SendError(NetlabError):
    """Sending failed: reset, broken pipe."""

    status = 55


class ReceiveError(NetlabError):
    """Receiving failed: the peer reset the connection."""

    status = 56


class StdoutClosed(NetlabError):
    """Nobody reads stdout any more (``| head -1``): the end is quiet."""

    status = STDOUT_CLOSED

    def __init__(self) -> None:
        super().__init__("write", "standard output", errno=errno_module.EPIPE)
