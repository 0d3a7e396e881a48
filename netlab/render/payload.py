"""What send and chat show: the peer's bytes on stdout, as they came or made safe, and everything else beside them.

Where stdout is no terminal it carries those bytes alone.  On a terminal they share it with netlab's own lines and with
what the user types, so each of these begins on a line of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from netlab.errors import NetlabError
from netlab.records import Closed, Connected, Exchange, Received, Record, Sent, WarningReport
from netlab.render import Renderer
from netlab.render.decode import StreamDecoder, check_encoding
from netlab.render.hexdump import hexdump
from netlab.render.output import Writer, open_output
from netlab.render.safe import printable_for
from netlab.values import format_bytes

__all__ = ["PROMPT", "PayloadRenderer"]

PROMPT: Final = "> "
_VERBOSE = (Connected, Sent, Exchange, Closed)
"""What a reply is shown without, unless it is asked for."""


class PayloadRenderer:
    """Shows a client's conversation; it is the ``emit`` of its operations, in one thread.

    Args:
      records: shows what is not payload, and all of it as JSON.
      stdout: where the payload goes.
      encoding: the peer's.
      hexdump: show payload as hex, wherever it goes.
      json: payload is a record like any other.
      terse: leave out what only tells how the conversation went.
      erase: what takes back the prompt that stands on the terminal's line.
      charset: what the terminal takes; None is the locale's.
    """

    def __init__(
        self,
        records: Renderer,
        stdout: Writer,
        *,
        encoding: str,
        hexdump: bool = False,
        json: bool = False,
        terse: bool = False,
        erase: str = "\r  \r",
        charset: str | None = None,
    ) -> None:
        self._records = records
        self._stdout = stdout
        self._encoding = encoding
        self._hexdump = hexdump
        self._json = json
        self._terse = terse
        self._erase = erase
        self._charset = check_encoding(charset or getattr(sys.stdout, "encoding", None) or "utf-8")
        self._printable = printable_for(self._charset)
        self._decoder = StreamDecoder(encoding, multiline=True)
        self._file: Writer | None = None
        self._carriage_return = b""  # held back: with a newline after it, it is the end of a line
        self._offset = 0
        self._prompted = False
        self._line_is_open = False

    def save_to(self, path: str) -> None:
        """Write the payload to a file, as it comes; a terminal shows it too, a pipe gets none of it.

        ``-`` is standard output, as everywhere: the payload goes there without this.

        Raises:
          OutputError: the file cannot be opened.
        """
        if path != "-":
            self._file = open_output(path)

    def __call__(self, record: Record) -> None:
        """Show one record.

        Raises:
          StdoutClosed: nobody reads standard output any more.
          OutputError: it, or the file, could not be written.
        """
        if isinstance(record, Received):
            self._receive(record)
        elif self._json or not (self._terse and isinstance(record, _VERBOSE)):
            self._beside(record)

    def draw(self, picture: list[str]) -> None:
        """Show the lines of a picture beside the payload."""
        self._end_line(final=True)
        self._records.draw(picture)

    @contextmanager
    def progress(self, total: int | None, unit: str) -> Iterator[Callable[[int], None] | None]:
        """Show how far the block is, as `Renderer.progress`, but not over a line of payload that has no end yet."""
        with self._records.progress(total, unit) as update:

            def tell(done: int) -> None:
                if update and not self._line_is_open:
                    update(done)

            yield tell if update else None

    @property
    def prompts(self) -> bool:
        """Whether a prompt has a place: on a terminal that is not given JSON."""
        return self._stdout.is_terminal and not self._json

    def toggle_hexdump(self) -> bool:
        """Show payload from here on as hex, or no longer so; return which."""
        self._end_line()
        self._hexdump = not self._hexdump
        return self._hexdump

    def end_line(self) -> None:
        """Leave the terminal at the beginning of a line, for somebody else to draw there."""
        self._end_line()

    def ask(self) -> None:
        """Show the prompt, on a line of its own."""
        if self.prompts:
            self._end_line()
            self._write(PROMPT)
            self._prompted = True

    def answered(self, *, by_newline: bool = True) -> None:
        """Take note that the user has ended the line with the prompt; without a newline, end it."""
        if self._prompted and not by_newline:
            self._write("\n")
        self._prompted = False

    def error(self, error: NetlabError) -> None:
        """Say why the run failed; never raises."""
        with suppress(NetlabError):  # where it cannot be written, that is what the error says
            self._end_line(final=True)
        self._records.error(error)

    def close(self) -> None:
        """End the last line and close the file."""
        try:
            self._end_line(final=True)
        finally:
            try:
                if self._file:
                    self._file.close()
            finally:
                self._records.close()

    def _receive(self, record: Received) -> None:
        if self._file:
            self._file.write(record.data)
        if self._json:
            self._records(record)
        elif self._hexdump:
            self._show("".join(f"{line}\n" for line in hexdump(record.data, self._offset)))
            self._offset += len(record.data)
        elif self._stdout.is_terminal:
            self._show(self._as_text(record))
        elif not self._file:
            self._stdout.write(record.data)
        if record.size is not None:
            cut = f"{format_bytes(record.size)} came as one message, and only {format_bytes(len(record.data))} fit"
            self._beside(WarningReport(message=cut))

    def _as_text(self, record: Received) -> str:
        if record.peer is not None and not record.peer.transport.is_stream:
            text = StreamDecoder(self._encoding, multiline=True).decode(record.data.replace(b"\r\n", b"\n"), final=True)
            return text if text.endswith("\n") else f"{text}\n"
        data = (self._carriage_return + record.data).replace(b"\r\n", b"\n")
        self._carriage_return = b"\r" if data.endswith(b"\r") else b""
        return self._decoder.decode(data.removesuffix(b"\r"))

    def _show(self, text: str) -> None:
        """Write payload that was made safe, around the prompt."""
        if not text:
            return
        prompted = self._prompted
        self._take_back_prompt()
        self._write(text)
        self._line_is_open = not text.endswith("\n")
        if prompted:
            self.ask()

    def _beside(self, record: Record) -> None:
        prompted, ends = self._prompted, isinstance(record, Closed)
        self._end_line(final=ends)
        self._records(record)
        if prompted and not ends:
            self.ask()

    def _end_line(self, *, final: bool = False) -> None:
        """Leave the terminal at the beginning of a line; at the end also show what never became a character."""
        self._take_back_prompt()
        rest = ""
        if final:
            rest = self._decoder.decode(self._carriage_return, final=True)
            self._carriage_return = b""
        if rest or self._line_is_open:
            self._write(f"{rest}\n")
        self._line_is_open = False

    def _take_back_prompt(self) -> None:
        if self._prompted:
            self._write(self._erase)
        self._prompted = False

    def _write(self, text: str) -> None:
        if text:
            self._records.clear_progress()
            self._stdout.write(self._printable(text).encode(self._charset))
