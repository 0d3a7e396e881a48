r"""Bytes of a connection as text that can be shown: one incremental decoder for each direction of a connection.

What comes out is safe to show (see `netlab.render.safe`), and three things can be told apart in it:

- ``\x00`` to ``\x7f``: that control character, or that byte where it is wrong in a multi-byte encoding;
- ``\x80`` to ``\xff``: a byte that is no text in the connection's encoding;
- ``\u0080`` and above: a character that is escaped because it is invisible or a control.
"""

from __future__ import annotations

import codecs

from netlab.render.safe import PREVIEW, cut, escape_decoded

__all__ = ["StreamDecoder", "check_encoding"]

# Python calls these text encodings, but they are notations inside text, raise whatever the error handler says, or
# produce the lone surrogates that mark a wrong byte here.
_NOTATIONS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})

_ERRORS = "netlab.wrong-bytes"


def _mark_wrong_bytes(error: UnicodeError) -> tuple[str, int]:
    """Decode each wrong byte to U+DC00 + byte, as surrogateescape does, which gives up below 0x80 (gbk, utf-16)."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _marked(error.object[error.start : error.end]), error.end


def _marked(data: bytes) -> str:
    return "".join(chr(0xDC00 + byte) for byte in data)


codecs.register_error(_ERRORS, _mark_wrong_bytes)


def check_encoding(name: str) -> str:
    """Return Python's own name of a text encoding.

    Raises:
      ValueError: there is no such encoding, or it does not turn a stream of bytes into text (hex, rot13, idna).

    >>> check_encoding("UTF8"), check_encoding("latin-1")
    ('utf-8', 'iso8859-1')
    """
    hint = "write utf-8, gbk, latin-1 or another text encoding of Python's"
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):  # ValueError: NUL or a lone surrogate in the name
        raise ValueError(f"there is no encoding {name!r}; {hint}") from None
    try:
        "a".encode(name, "ignore")
    except LookupError:  # the public way to learn that a codec is bytes to bytes, or text to text
        raise ValueError(f"{name!r} does not turn bytes into text; {hint}") from None
    except UnicodeError:
        pass
    if found.name in _NOTATIONS or found.incrementaldecoder is None:
        raise ValueError(f"{name!r} is no encoding of a byte stream; {hint}")
    return found.name


class StreamDecoder:
    r"""Decodes what one side sends, chunk by chunk, whatever it is.

    Args:
      encoding: any name that `check_encoding` takes.
      multiline: newline and TAB pass, for a terminal that shows whole replies; else they are escaped, for a log line.

    Raises:
      ValueError: as `check_encoding`.

    >>> decoder = StreamDecoder()
    >>> [decoder.decode(chunk) for chunk in (b"\xe4\xb8", b"\xad\n\xff")] == ["", "\u4e2d\\n\\xff"]
    True
    """

    def __init__(self, encoding: str = "utf-8", *, multiline: bool = False) -> None:
        name = check_encoding(encoding)
        # For UTF-8 surrogateescape marks the same, in C: a stream of random bytes costs a tenth.
        self._decoder = codecs.getincrementaldecoder(name)("surrogateescape" if name == "utf-8" else _ERRORS)
        self._multiline = multiline

    def decode(self, data: bytes, final: bool = False) -> str:
        """Return all of ``data`` as safe text.

        A character that is not whole yet is kept for the next call; ``final`` shows what is left of it as escapes,
        and makes the decoder ready for another stream.
        """
        return escape_decoded(self._feed(data, final), multiline=self._multiline)

    def preview(self, data: bytes, final: bool = False, *, limit: int = PREVIEW, size: str = "") -> str:
        """Return the first ``limit`` characters of ``data`` as safe text; what is longer ends in ``...(5,000 B)``.

        Args:
          data: as in `decode`: all of it is decoded, only what is shown is escaped.
          final: as in `decode`.
          limit: characters, escapes counted as they are shown.
          size: said in place of the number of bytes, and always.
        """
        text = self._feed(data, final)
        shown = escape_decoded(text[: limit + 1], multiline=self._multiline)
        if len(shown) <= limit and not size:
            return shown
        return f"{cut(shown, limit)}...({size or f'{len(data):,} B'})"

    @property
    def pending(self) -> bytes:
        """The start of a character that is not whole yet."""
        return self._decoder.getstate()[0]

    def _feed(self, data: bytes, final: bool) -> str:
        pending = self.pending
        try:
            text = self._decoder.decode(data, final)
        except UnicodeError:
            # No wrong byte, but what the codec gives up on: UTF-16 without a BOM, an endless ISO 2022 escape.
            text = _marked(pending + data)
            self._decoder.reset()
        if final:
            self._decoder.reset()
        return text
