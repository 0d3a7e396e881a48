"""Records as JSON lines: one flat object a line, for jq and for tests.

Chinese and the like stay readable, but whatever `netlab.render.safe` calls invisible is written as ``\\uXXXX``: JSON
itself would let C1 controls, U+2028 and bidirectional overrides reach a terminal as they are (RFC 8259, section 7).
"""

from __future__ import annotations

import binascii
import json
import math
import re
from dataclasses import fields
from typing import Any

from netlab.endpoint import Endpoint
from netlab.records import Record
from netlab.render.safe import INVISIBLE

__all__ = ["to_json"]

# json.dumps would make one of these at every call.
_READABLE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_IN_ASCII = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def to_json(record: Record, *, ascii_only: bool = False) -> str:
    r"""Return a record as one line of JSON, without its newline.

    ``event`` and ``time`` come first, then the fields in their order.  What is None, or no finite number, is left out;
    an endpoint is its text; a dict (the kernel's TCP_INFO) lies flat among the rest, where of two equal keys the first
    holds.  ``data`` becomes ``text`` where it is UTF-8, else ``base64``, whole in both, and ``size`` its true length.

    Args:
      record: any record.
      ascii_only: for a terminal or log that does not take UTF-8.
    """
    if ascii_only:
        return _IN_ASCII.encode(_flat(record))
    # What is replaced stands in strings only, where JSON allows an escape for any character.
    return INVISIBLE.sub(_escape, _READABLE.encode(_flat(record)))


def _flat(record: Record) -> dict[str, Any]:
    flat: dict[str, Any] = {"event": record.event}
    for field in fields(record):  # `time` is the first, being the base's
        value = getattr(record, field.name)
        if isinstance(value, bytes):
            flat |= _payload(value)
        elif isinstance(value, dict):
            for name, inner in value.items():
                flat.setdefault(name, _plain(name, inner))
        elif value is not None:
            flat[field.name] = _plain(field.name, value)
    return {name: value for name, value in flat.items() if value is not None}


def _payload(data: bytes) -> dict[str, Any]:
    """``size`` is overwritten where the record has its own, of a datagram that was cut."""
    try:
        return {"text": data.decode(), "size": len(data)}
    except UnicodeDecodeError:
        return {"base64": binascii.b2a_base64(data, newline=False).decode("ascii"), "size": len(data)}


def _plain(name: str, value: Any) -> Any:
    """Turn a field's value into what JSON has; None for a number that it has not."""
    if isinstance(value, Endpoint):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = round(value, 3 if name.endswith("_us") else 6)
        return int(value) if value.is_integer() else value
    return value


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + ((code - 0x10000) >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
