"""The fault lab's table as a report: what ``--fault list`` shows."""

from __future__ import annotations

from netlab.reports import FaultKind, FaultList
from netlab.socketops.faultlab.faulttable import Kind, kinds

__all__ = ["client_words", "list_faults"]


def list_faults(command: str, *, datagrams: bool) -> FaultList:
    """Return what a server can do wrong on purpose, each with two command lines to try.

    Args:
      command: the server's, ``serve-tcp --concurrent``.
      datagrams: it has no connections.
    """
    return FaultList(kinds=tuple(_shown(kind, command, datagrams) for kind in kinds(datagrams=datagrams)))


def _shown(kind: Kind, command: str, datagrams: bool) -> FaultKind:
    return FaultKind(
        fault=kind.name,
        usage=kind.usage,
        does=kind.does,
        sees=kind.sees,
        server=" ".join(("netlab", command, "--fault", kind.sample, *kind.server.split())),
        client=f"netlab {client_words(kind, datagrams=datagrams)}",
        status=kind.status,
    )


def client_words(kind: Kind, *, datagrams: bool) -> str:
    """Return the words after ``netlab`` that show a fault of a server on the usual port."""
    return kind.client.replace("send ", "send -u ", 1) if datagrams and kind.streams else kind.client
