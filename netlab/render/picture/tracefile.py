"""--trace-file and --trace-peer: a trace as a file, in the form that its suffix names, and back.

``.jsonl`` holds the calls, one JSON object a line, and can be read again; ``.txt``, ``.mmd`` (Mermaid) and ``.svg`` are
pictures.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

from netlab.endpoint import Endpoint, Transport
from netlab.errors import OutputError, UsageError
from netlab.records import Call
from netlab.render.picture.lanes import SIDES
from netlab.render.picture.scene import Scene, build_scene

__all__ = ["SUFFIXES", "check_name", "read_trace", "suffix_of", "write_trace"]

_WIDE = 110
"""Columns of a diagram in a file, which no terminal bounds."""
_ERRNOS = 4096  # the kernel's MAX_ERRNO
_NEVER = 1e16
"""Microseconds in 300 years: more than any clock that a trace could hold."""


def _text(scene: Scene) -> list[str]:
    from netlab.render.picture.sequence import draw_sequence

    return draw_sequence(scene, width=_WIDE)


def _mermaid(scene: Scene) -> list[str]:
    from netlab.render.picture.mermaid import draw_mermaid

    return draw_mermaid(scene)


def _svg(scene: Scene) -> list[str]:
    from netlab.render.picture.svg import draw_svg

    return draw_svg(scene)


_PICTURES: Mapping[str, Callable[[Scene], list[str]]] = {".txt": _text, ".mmd": _mermaid, ".svg": _svg}
SUFFIXES = (".jsonl", *_PICTURES)


def suffix_of(path: str) -> str:
    """Return the suffix of a trace file's name.

    Raises:
      ValueError: it is none of `SUFFIXES`.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"the name has to end in one of {', '.join(SUFFIXES)}, which says what is written")
    return suffix


def check_name(path: str) -> str:
    """Return a trace file's name as it is.

    Raises:
      ValueError: as `suffix_of`; or its directory is none, which is better said before a run than after it.
    """
    suffix_of(path)
    if not os.path.isdir(os.path.dirname(path) or "."):
        raise ValueError(f"there is no directory {os.path.dirname(path)!r}")
    return path


def write_trace(path: str, calls: Sequence[Call], *, dropped: int = 0) -> None:
    """Write a trace; an ordinary file is replaced at once, so that no reader finds half of it.

    Raises:
      OutputError: it cannot be written.
    """
    suffix = suffix_of(path)
    if suffix == ".jsonl":
        from netlab.render.jsonlines import to_json

        lines = [to_json(call) for call in calls]
    else:
        lines = _PICTURES[suffix](build_scene(calls, dropped=dropped))
    data = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
    if os.path.exists(path) and not os.path.isfile(path):  # /dev/stdout, a FIFO
        _write(path, path, data)
        return
    target = os.path.realpath(path)
    draft = f"{target}.{os.getpid()}"
    _write(draft, path, data)
    try:
        os.replace(draft, target)
    except OSError as exc:
        raise OutputError.from_os(exc, "write", path) from None


def _write(draft: str, path: str, data: bytes) -> None:
    try:
        with open(draft, "wb") as file:
            file.write(data)
    except OSError as exc:
        raise OutputError.from_os(exc, "write", path) from None


def read_trace(path: str) -> list[Call]:
    """Read the calls of a ``.jsonl`` trace, or of any output of ``--json --trace``; other events are skipped.

    Raises:
      UsageError: it cannot be read, or a line is no JSON object.
    """
    try:
        with open(path, "rb") as file:
            return [call for number, line in enumerate(file, start=1) if (call := _call(path, number, line))]
    except OSError as exc:
        raise UsageError("read", path, (exc.strerror or "").lower(), errno=exc.errno) from None


def _call(path: str, number: int, line: bytes) -> Call | None:
    try:
        values = json.loads(line, parse_constant=_refuse)
        if not isinstance(values, dict):
            raise ValueError("no object")
        return _from_json(values) if values.get("event") == Call.event else None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UsageError("read", path, f"line {number} is no record of a call, as --trace-file writes them") from None


def _refuse(word: str) -> float:
    raise ValueError(word)


def _from_json(values: dict[str, Any]) -> Call:
    """Make a call of what `jsonlines.to_json` made of one.

    Raises:
      ValueError, TypeError, KeyError: it is none.
    """
    made: dict[str, Any] = {}
    for field in fields(Call):
        if field.name in values:
            made[field.name] = _READERS[str(field.type).partition(" ")[0]](values[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(field.name)
    if "text" in values:
        made["data"] = _string(values["text"]).encode()
    elif "base64" in values:
        made["data"] = base64.b64decode(_string(values["base64"]), validate=True)
    Transport(made["transport"])
    if not 0 <= made.get("errno", 0) < _ERRNOS:
        raise ValueError("no errno")
    if made["lane"] not in SIDES:
        raise ValueError("no side")
    return Call(**made)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    value.encode()  # a lone surrogate is no text
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(value)
    if not 0 <= value < _NEVER:
        raise ValueError(value)
    return float(value)


def _endpoint(value: object) -> Endpoint:
    return Endpoint.parse(_string(value), listening=True)


_READERS: Mapping[str, Callable[[object], object]] = {
    "str": _string,
    "int": _whole,
    "float": _number,
    "Endpoint": _endpoint,
}
"""By a field's type, as it is written in `Call`."""
