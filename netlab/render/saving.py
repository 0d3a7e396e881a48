"""Keeping what clients send: the bytes as they are, in one file or in one for each client."""

from __future__ import annotations

import errno
import threading
from contextlib import ExitStack
from types import TracebackType

from netlab.endpoint import Endpoint
from netlab.errors import OutputError
from netlab.records import Closed, Connected, Received, Record, WarningReport
from netlab.render import Renderer
from netlab.render.output import Writer, open_output

__all__ = ["Saver"]

MOST_PEERS = 1000
"""Senders of datagrams that get a file of their own: an address can be forged, and each file costs a descriptor."""


class Saver:
    """Passes records on, and writes what was received to files; safe in any thread.

    Args:
      path: ``%n`` in it stands for the client's number (of datagrams: the sender's, in the order of their coming), and
          makes a file for each; without it all share one.
      show: takes the records.

    Raises:
      OutputError: the file cannot be opened; or at the end, that some client's could not, for want of descriptors.
    """

    def __init__(self, path: str, show: Renderer) -> None:
        self._path = path
        self._show = show
        self._lock = threading.Lock()
        self._files: dict[int | Endpoint | None, Writer | None] = {}
        self._shared = None if "%n" in path else open_output(path)
        self._is_full = False
        self._unsaved: OutputError | None = None

    def wants(self, kind: type[Record]) -> bool:
        """Tell whether records of this class are needed."""
        return kind in (Connected, Received, Closed) or self._show.wants(kind)

    def __call__(self, record: Record) -> None:
        """Save what there is to save, then show the record.

        Raises:
          OutputError: a file cannot be opened or written.
          StdoutClosed: nobody reads standard output any more.
        """
        if isinstance(record, Received):
            file = self._shared or self._file_of(record.peer if record.conn is None else record.conn)
            if file is not None:
                file.write(record.data)
        elif self._shared is None and isinstance(record, Connected):
            self._file_of(record.conn)  # a client that sends nothing leaves an empty file
        elif self._shared is None and isinstance(record, Closed):
            with self._lock:
                file = self._files.pop(record.conn, None)
            if file is not None:
                file.close()
        self._show(record)

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        with ExitStack() as stack:
            for file in (*self._files.values(), self._shared):
                if file is not None:
                    stack.callback(file.close)
        if self._unsaved is not None and exc is None:
            raise self._unsaved  # a script that saves looks at the status

    def _file_of(self, client: int | Endpoint | None) -> Writer | None:
        with self._lock:
            if client not in self._files:
                if isinstance(client, Endpoint | None) and len(self._files) >= MOST_PEERS:
                    if not self._is_full:
                        self._show(WarningReport(message=f"only the first {MOST_PEERS} senders' datagrams are saved"))
                    self._is_full = True
                    return None
                number = len(self._files) + 1 if isinstance(client, Endpoint | None) else client
                self._files[client] = self._open(str(number))
            return self._files[client]

    def _open(self, number: str) -> Writer | None:
        """Open a client's file; None where there is no descriptor left, for no client may end the others' server."""
        try:
            return open_output(self._path.replace("%n", number))
        except OutputError as exc:
            if exc.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._unsaved = self._unsaved or exc
            self._show(WarningReport(message=f"what client {number} sends is not saved: {exc}"))
            return None
