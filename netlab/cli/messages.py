r"""What send sends: words of the command line as bytes, a file, or standard input."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["EOLS", "encode_message", "input_size", "open_input", "read_message"]

EOLS = {"none": b"", "lf": b"\n", "crlf": b"\r\n"}

_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "\\": b"\\", "0": b"\0"}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|.?)", re.DOTALL)
_LARGEST_MESSAGE = 1 << 20
"""Bytes of an input that is sent as one message; no datagram socket takes as much without being asked to."""


def encode_message(text: str, *, encoding: str, hexadecimal: bool = False, escapes: bool = False) -> bytes:
    r"""Return the bytes that a MESSAGE stands for.

    Args:
      text: as typed; bytes that were no text in the locale (PEP 383) are themselves again under UTF-8.
      encoding: the peer's.
      hexadecimal: it is hex digits, with blanks or colons anywhere between two bytes.
      escapes: it has ``\r``, ``\n``, ``\t``, ``\\``, ``\0`` and ``\xHH``.

    Raises:
      ValueError: it is not what it should be, or has a character that the encoding lacks.

    >>> encode_message("68:69 0a", encoding="utf-8", hexadecimal=True)
    b'hi\n'
    >>> encode_message(r"PING\r\n\x00", encoding="utf-8", escapes=True)
    b'PING\r\n\x00'
    """
    if hexadecimal:
        return _from_hex(text)
    if not escapes:
        return _encode(text, encoding)
    parts, end = [], 0
    for found in _ESCAPE.finditer(text):
        parts += [_encode(text[end : found.start()], encoding), _escaped(found[1])]
        end = found.end()
    return b"".join([*parts, _encode(text[end:], encoding)])


def _encode(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    except UnicodeEncodeError as exc:
        raise ValueError(f"{encoding} has no character for {text[exc.start : exc.end]!a}") from None


def _escaped(code: str) -> bytes:
    if len(code) == 3:
        return bytes((int(code[1:], 16),))
    if code not in _ESCAPES:
        raise ValueError(rf"\{ascii(code)[1:-1]} is no escape; write \r \n \t \\ \0 or \xHH")
    return _ESCAPES[code]


def _from_hex(text: str) -> bytes:
    digits = text.replace(":", " ")
    wrong = re.search(r"[^0-9A-Fa-f\s]", digits)
    if wrong:
        raise ValueError(f"{wrong[0]!a} in {text[:64]!a} is no hex digit; write bytes such as 48656c6c6f or 0d:0a")
    try:
        return bytes.fromhex(digits)
    except ValueError:
        raise ValueError(f"{text[:64]!a} has half a byte in it; each byte is two hex digits") from None


@contextmanager
def open_input(path: str) -> Iterator[int]:
    """Give the descriptor of a file for reading; ``-`` is standard input, which is left open.

    Raises:
      UsageError: there is no such file, or it cannot be read.
    """
    if path == "-":
        yield 0
        return
    from netlab.errors import UsageError

    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except OSError as exc:
        raise UsageError.from_os(exc, "open", path) from None
    try:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise UsageError("open", path, "it is a directory")
        yield descriptor
    finally:
        os.close(descriptor)


def input_size(descriptor: int) -> int | None:
    """Return the bytes from here to the end of a regular file; None for anything else, whose end nobody knows."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return None
    return max(found.st_size - os.lseek(descriptor, 0, os.SEEK_CUR), 0)


def read_message(descriptor: int) -> bytes:
    """Read an input that is to be one message, whole.

    Raises:
      LocalError: it could not be read.
      UsageError: it is larger than any message.
    """
    from netlab.errors import LocalError, UsageError
    from netlab.values import format_bytes

    parts: list[bytes] = []
    size = 0
    while True:
        try:
            part = os.read(descriptor, _LARGEST_MESSAGE)
        except OSError as exc:
            raise LocalError.from_os(exc, "read", "the input") from None
        if not part:
            return b"".join(parts)
        parts.append(part)
        size += len(part)
        if size > _LARGEST_MESSAGE:
            raise UsageError("read", "the input", f"more than {format_bytes(_LARGEST_MESSAGE)}, too much for a message")
