"""Bytes as ``hexdump -C`` shows them, for -x."""

from __future__ import annotations

__all__ = ["hexdump"]


def hexdump(data: bytes, offset: int = 0) -> list[str]:
    """Return lines of 16 bytes: offset, hex, and what is printable ASCII; 78 columns up to an offset of 4 GiB.

    Args:
      data: may be empty, which gives no lines.
      offset: of the first byte, as it is shown.

    >>> print(*hexdump(b"hello\\n"), sep="\\n")
    00000000  68 65 6c 6c 6f 0a                                 |hello.|
    """
    return [_line(data[start : start + 16], offset + start) for start in range(0, len(data), 16)]


def _line(row: bytes, offset: int) -> str:
    text = "".join(chr(byte) if 0x20 <= byte <= 0x7E else "." for byte in row)
    return f"{offset:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{text}|"
