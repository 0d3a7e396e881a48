"""Turns records into what a user sees: text or JSON lines, on the right stream, safe for a terminal.

``renderer(...)`` gives one object for a whole run.  It is the ``emit`` of every operation, from any thread.
Everything that a peer sent is escaped here and nowhere else; operations hand over bytes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from netlab.errors import NetlabError, StdoutClosed
from netlab.records import Call, ErrorReport, Listening, Received, Record, Sent, WarningReport
from netlab.render.client_text import LINES as CLIENT_LINES
from netlab.render.decode import StreamDecoder, check_encoding
from netlab.render.failure import failure_lines
from netlab.render.hexdump import hexdump
from netlab.render.output import Writer, open_output
from netlab.render.safe import defuse, escape, escape_multiline, preview, printable_for
from netlab.render.text import LINES, Lines, View
from netlab.render.timeline import LINES as TIMELINE

if TYPE_CHECKING:
    from netlab.render.progress import Progress

__all__ = [
    "Renderer",
    "StreamDecoder",
    "Writer",
    "check_encoding",
    "defuse",
    "escape",
    "escape_multiline",
    "hexdump",
    "open_output",
    "preview",
    "renderer",
    "want_color",
]

_LINES: Mapping[type[Record], Lines] = {**LINES, **CLIENT_LINES, **TIMELINE}
"""All tables of the modules that show records: add yours here."""
_ASCII_AND_MORE = frozenset({"utf-8", "ascii", "iso8859-1", "gbk", "gb18030"})
"""Charsets in which a line of ASCII is what it is."""
_WHEN_QUIET = (Listening, ErrorReport, Call)


def want_color(option: str, env: Mapping[str, str], isatty: bool) -> bool:
    """Decide on colour: --color, then NO_COLOR, then FORCE_COLOR or CLICOLOR_FORCE, then TERM, then the stream.

    Args:
      option: ``auto``, ``always`` or ``never``.
      env: the environment; see no-color.org and force-color.org.
      isatty: whether the stream is a terminal.
    """
    if option != "auto":
        return option == "always"
    if env.get("NO_COLOR"):
        return False
    if any(env.get(name, "") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")):
        return True
    return isatty and env.get("TERM") != "dumb"


def _lines_of(kind: type[Record]) -> Lines:
    """Return what shows such records; what shows reports is imported when one comes."""
    if kind in _LINES:
        return _LINES[kind]
    from netlab.render.fault_text import LINES as FAULT_LINES
    from netlab.render.load_text import LINES as LOAD_LINES
    from netlab.render.probe_text import PROBE_LINES

    return LOAD_LINES.get(kind) or FAULT_LINES.get(kind) or PROBE_LINES[kind]


def _advice_of(kind: type[Record]) -> Lines:
    """Return what says on stderr why the answer is no."""
    from netlab.render.probe_text import ADVICE

    return ADVICE.get(kind, lambda view, record: [])


class Renderer:
    """Shows records and errors; made by `renderer`.  Calling it with a record is safe in any thread."""

    def __init__(
        self,
        stdout: Writer,
        stderr: Writer,
        *,
        records: Writer,
        views: tuple[View, View],
        json: bool,
        quiet: bool,
        when_quiet: tuple[type[Record], ...],
        charset: str,
    ) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._records = records
        self._view, self._stderr_view = views
        self._json = json
        self._quiet = quiet
        self._when_quiet = when_quiet
        self._charset = charset
        self._printable = printable_for(charset)
        self._takes_plain_lines = not json and charset in _ASCII_AND_MORE
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        if json:
            stdout.note = lambda message: self._json_line(WarningReport(message=message))

    def wants(self, kind: type[Record]) -> bool:
        """Tell whether records of this class are ever shown; those that are not need not be made."""
        if self._quiet:
            return issubclass(kind, self._when_quiet)
        return kind is not Sent or self._json or self._view.verbose

    def __call__(self, record: Record) -> None:
        """Show one record.

        Raises:
          StdoutClosed: nobody reads standard output any more.
          OutputError: it could not be written.
        """
        if self._quiet and not isinstance(record, self._when_quiet):
            return
        if self._takes_plain_lines and type(record) is Received and self._bar is None:
            # Needs no lock: a connection's chunks come from one thread, and the Writer keeps its lines in order.
            line = self._view.plain_line(record)
            if line is not None:
                self._records.write_soon(line)
                return
        # One lock over making and writing: a connection's decoder sees its chunks in the order of the lines.
        with self._lock:
            if self._bar is not None:
                self._bar.hide()
            if self._json:
                for part in record.parts():
                    self._stdout.write(self._json_line(part))
            elif isinstance(record, WarningReport | Call):
                self._write(self._stderr, _LINES[type(record)](self._stderr_view, record))
            else:
                # A report is what was asked for, also where other records stand beside a reply.
                writer = self._records if type(record) in _LINES else self._stdout
                self._write(writer, _lines_of(type(record))(self._view, record))
            if type(record) not in _LINES:
                self._write(self._stderr, _advice_of(type(record))(self._stderr_view, record))

    @contextmanager
    def progress(self, total: int | None, unit: str = "targets") -> Iterator[Callable[[int], None] | None]:
        """Show on standard error how far the block is, where that is a terminal and nobody asked for quiet.

        Args:
          total: how much there is to do, where that is known.
          unit: what is counted; ``B`` for bytes.

        Yields:
          what takes how much is done by now; None where nothing would be shown.
        """
        if self._quiet or not self._stderr.is_terminal:
            yield None
            return
        from netlab.render.progress import Progress

        self._bar = bar = Progress(total, self._stderr, unit)
        try:
            yield bar.update
        finally:
            with self._lock:
                bar.close()
                self._bar = None

    def clear_progress(self) -> None:
        """Make room for a line that is not written here."""
        with self._lock:
            if self._bar is not None:
                self._bar.hide()

    def draw(self, picture: list[str]) -> None:
        """Show the lines of a picture, which was asked for, so that quiet does not matter; never among JSON lines.

        Raises:
          StdoutClosed, OutputError: as when called with a record.
        """
        with self._lock:
            self._write(self._stderr if self._json else self._records, picture)

    def error(self, error: NetlabError) -> None:
        """Say why a run failed: the text on stderr, and under --json one more line on stdout.

        Never raises: what cannot be said is lost, and the exit status still tells.
        """
        if isinstance(error, StdoutClosed):
            return
        with suppress(NetlabError):
            self._write(self._stderr, failure_lines(error, self._stderr_view))
        if self._json:
            report = ErrorReport(
                message=str(error),
                status=error.status,
                operation=error.operation,
                where=error.where,
                errno=error.errno,
                errno_name=error.errno_name,
            )
            with suppress(NetlabError):
                self._stdout.write(self._json_line(report))

    def close(self) -> None:
        """Write what is still owed, and close what the writers opened; an error may still come after it.

        What is missing from standard output until the end is said on standard error.
        """
        try:
            self._stdout.close()
            if self._stdout.missing:
                warning = WarningReport(message=self._stdout.missing)
                # Not by the writer that waits: standard error may be the same pipe.
                with suppress(NetlabError), Writer(self._stderr.fd, drop_after=0.0) as last:
                    self._write(last, _LINES[WarningReport](self._stderr_view, warning))
        finally:
            self._stderr.close()

    def _write(self, writer: Writer, lines: list[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        writer.write(self._printable(text).encode(self._charset))

    def _json_line(self, record: Record) -> bytes:
        from netlab.render.jsonlines import to_json

        return to_json(record, ascii_only=self._charset != "utf-8").encode() + b"\n"


def renderer(
    *,
    json: bool,
    quiet: bool,
    verbose: bool,
    color: bool | None,
    encoding: str,
    stdout: Writer,
    stderr: Writer,
    payload_on_stdout: bool = False,
    hexdump: bool = False,
    diagram: bool = False,
    charset: str | None = None,
) -> Renderer:
    """Make the one object that shows everything of a run.

    Args:
      json: all records are JSON lines on stdout, an error too.
      quiet: only ready lines, errors, and a client's payload.
      verbose: also what was sent.
      color: None looks at each stream whether it is a terminal; see `want_color`.
      encoding: the peers' (`check_encoding`).
      stdout: where records go; a server's should have ``drop_after``.
      stderr: where warnings and errors go.
      payload_on_stdout: stdout carries received bytes, so that records go to stderr, unless ``json``.
      hexdump: show payload as hex.
      diagram: a picture of the calls follows, so that what it shows need not be told as well.
      charset: what terminal and log take; None is the locale's, as Python has found it for sys.stdout.

    Raises:
      ValueError: there is no such encoding, or it is none of text.
    """
    records = stderr if payload_on_stdout else stdout

    def view(writer: Writer) -> View:
        return View(
            verbose=verbose,
            hexdump=hexdump,
            color=writer.is_terminal if color is None else color,
            encoding=check_encoding(encoding),
            diagram=diagram,
        )

    return Renderer(
        stdout,
        stderr,
        records=records,
        views=(view(records), view(stderr)),
        json=json,
        quiet=quiet,
        when_quiet=(*_WHEN_QUIET, Received) if payload_on_stdout else _WHEN_QUIET,
        charset=check_encoding(charset or getattr(sys.stdout, "encoding", None) or "utf-8"),
    )
