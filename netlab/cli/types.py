"""Click's view of netlab's values: each type validates one word and names itself in the help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["CPU", "DURATION", "ENCODING", "MODE", "PORT", "SETTING", "SIZE", "TRACE_FILE", "Parsed"]


class Parsed(click.ParamType[Any]):
    """A word that ``load()`` returns the parser of; what the parser refuses with ValueError is a usage error.

    The parser is fetched when the first word comes, so that ``--help`` need not import it.
    """

    def __init__(self, name: str, load: Callable[[], Callable[[str], Any]]) -> None:
        self.name = name
        self._load = load

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._load()(value)
        except ValueError as exc:
            self.fail(str(exc), param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return self.name.upper()


def _duration() -> Callable[[str], float]:
    from netlab.values import parse_duration

    return parse_duration


def _size() -> Callable[[str], int]:
    from netlab.values import parse_size

    return parse_size


def _setting() -> Callable[[str], Any]:
    from netlab.socketops.sockopts import parse_setting

    return parse_setting


def _encoding() -> Callable[[str], str]:
    from netlab.render.decode import check_encoding

    return check_encoding


def _trace_file() -> Callable[[str], str]:
    from netlab.render.picture.tracefile import check_name

    return check_name


def _mode(text: str) -> int:
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise ValueError(f"{text!a} is no mode; write octal digits, such as 0600 or 0666")
    return mode


def _cpu(text: str) -> str | int:
    if text in ("auto", "none"):
        return text
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise ValueError(f"{text!a} is no CPU; write auto, none, or its number")
    return int(text)


CPU = Parsed("auto|none|n", lambda: _cpu)
MODE = Parsed("octal", lambda: _mode)
DURATION = Parsed("duration", _duration)
SIZE = Parsed("size", _size)
SETTING = Parsed("name=value", _setting)
ENCODING = Parsed("encoding", _encoding)
TRACE_FILE = Parsed("file", _trace_file)


class _Port(click.ParamType[str]):
    """A port as it was typed; the endpoint grammar judges it, for it knows whether 0 or a service name will do."""

    name = "port"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        return "PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)


PORT = _Port()
