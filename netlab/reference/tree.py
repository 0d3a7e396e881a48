"""The Click commands as plain facts: what every generator reads instead of Click itself.

Each command gets the Context that a run would give it (``Context(command)`` alone would not apply the settings of its
parents), so that ``-h`` and the names of the variables are the real ones.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

import click

from netlab.explain import VERDICT_STATUS
from netlab.socketops.faultlab.faulttable import Kind, kinds
from netlab.socketops.probing.payloads import PROTOCOLS

__all__ = ["Argument", "Command", "Option", "read_tree"]

_KINDS = {
    "HOST": "host",
    "PORT": "port",
    "NAME=VALUE": "setting",
    "PATH": "file",
    "FILE": "file",
    "TARGET": "target",
    "ENDPOINT": "listen",
}
"""Metavar -> what a shell looks up for such a value."""

_WORDS = {
    "[HOST][:PORT]": ("127.0.0.1", "[::1]"),
    "ENCODING": ("utf-8", "gbk", "gb18030", "big5", "shift_jis", "euc-kr", "latin-1", "cp1252", "ascii"),
    "RULE": ("none", "first", "line", "quiet", "close"),
    "VERDICTS": tuple(VERDICT_STATUS),
    "PAYLOAD": tuple(f"proto:{name}" for name in PROTOCOLS),
    "auto|none|N": ("auto", "none"),
}
"""Metavar -> words that such a value can be, where its type is no Choice."""

_SERVER_WORDS = {"HOST": ("127.0.0.1", "localhost", "0.0.0.0", "::1", "::"), "PORT": ("9999", "0")}
"""The same for a server, which looks for no peer, but for an address of its own and a port that is free."""

_OF_PARTS = {"VERDICTS": "list", "NAME[=VALUE]": "fault"}
"""Metavars of what is completed a part at a time: several words with commas between them, a name and its value."""

_ARGUMENT = re.compile(r"([A-Z]+)\]?(\.\.\.)?")


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    ``names`` has all spellings, short ones first; ``metavar`` is None for a flag.  ``kind`` says what a shell offers
    for the value: ``words`` (those in ``words``), ``list`` (the same, with commas), ``fault`` (names, and behind ``=``
    the rest), ``host``, ``port``, ``setting``, ``file``, or ``text`` for nothing; it is ``flag`` where there is no
    value.  ``variable`` is the environment variable that gives its default.
    """

    names: tuple[str, ...]
    metavar: str | None
    kind: str
    words: tuple[str, ...]
    section: str
    help: str
    repeatable: bool
    variable: str | None

    @property
    def name(self) -> str:
        """The first long spelling, or else the first."""
        return next((name for name in self.names if name.startswith("--")), self.names[0])

    @property
    def summary(self) -> str:
        """The first sentence of the help, without its full stop."""
        return re.split(r"  \[|\.(?: |$)|; ", self.help, maxsplit=1)[0]

    @property
    def is_flag(self) -> bool:
        return self.metavar is None


@dataclass(frozen=True, slots=True)
class Argument:
    """One positional argument; ``kind``: ``target`` (a client's), ``listen`` (a server's), ``command`` or ``text``."""

    metavar: str
    kind: str
    repeatable: bool


@dataclass(frozen=True, slots=True)
class Command:
    """One command, or the group, whose name is ``netlab`` and whose only argument is a command.

    ``description`` has the help's paragraphs without the ``examples``, ``help`` all of ``--help``; ``faults`` are those
    of a server.
    """

    name: str
    summary: str
    description: tuple[str, ...]
    examples: tuple[str, ...]
    help: str
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]
    faults: tuple[Kind, ...]


def _contexts(group: click.Group) -> Iterator[tuple[click.Command, click.Context]]:
    """Give the group and each of its commands with the Context it would run in."""
    settings = dict(group.context_settings) | {"terminal_width": 80, "color": False}
    root = group.context_class(group, info_name="netlab", **settings)
    yield group, root
    for name in group.list_commands(root):
        command = group.get_command(root, name)
        if command is not None and not command.hidden:
            yield command, command.context_class(command, info_name=name, parent=root, **command.context_settings)


def read_tree(group: click.Group) -> tuple[Command, ...]:
    """Return the group as the first, and its visible commands as the others."""
    return tuple(_command(command, ctx) for command, ctx in _contexts(group))


def _command(command: click.Command, ctx: click.Context) -> Command:
    params = command.get_params(ctx)
    paragraphs = _paragraphs(command.help)
    arguments = tuple(word for param in params if isinstance(param, click.Argument) for word in _arguments(param, ctx))
    if isinstance(command, click.Group):
        arguments = (Argument("COMMAND", "command", False),)
    return Command(
        name=str(ctx.info_name),
        summary=command.get_short_help_str(limit=200).rstrip("."),
        description=tuple(part for part in paragraphs if not _is_example(part)),
        examples=tuple(line.strip() for part in filter(_is_example, paragraphs) for line in part.split("\n")[1:]),
        help=command.get_help(ctx),
        options=tuple(_option(param, ctx) for param in params if isinstance(param, click.Option) and not param.hidden),
        arguments=arguments,
        faults=tuple(kind for param in params for kind in _faults(param)),
    )


def _option(param: click.Option, ctx: click.Context) -> Option:
    record = param.get_help_record(ctx)
    metavar = None if param.is_flag or param.count else param.make_metavar(ctx)
    words = _words(param, ctx.command, metavar or "")
    named = ctx.auto_envvar_prefix is not None and param.allow_from_autoenv and "--help" not in param.opts
    return Option(
        names=tuple(sorted((*param.opts, *param.secondary_opts), key=lambda name: name.startswith("--"))),
        metavar=metavar,
        kind="flag" if metavar is None else _kind(words, metavar),
        words=words,
        section=getattr(param, "section", "Output"),
        help=record[1] if record else "",
        repeatable=param.multiple or param.count,
        variable=f"{ctx.auto_envvar_prefix}_{str(param.name).upper()}" if named else None,
    )


def _kind(words: tuple[str, ...], metavar: str) -> str:
    if words:
        return _OF_PARTS.get(metavar, "words")
    return _KINDS.get(metavar, "text")


def _arguments(param: click.Argument, ctx: click.Context) -> Iterator[Argument]:
    """Give each word of an argument: ``[TARGET] [MESSAGE]...`` is one to Click, and two to its users."""
    words = _ARGUMENT.findall(param.make_metavar(ctx))
    for word, dots in words:
        yield Argument(word, _kind((), word), bool(dots))


def _words(param: click.Option, command: click.Command, metavar: str) -> tuple[str, ...]:
    """Return the words that can be a value: a Choice's, or those for its metavar."""
    if isinstance(param.type, click.Choice):
        return tuple(str(choice) for choice in param.type.choices)
    if faults := _faults(param):
        return (*(kind.sample for kind in faults), "list")
    serves = getattr(command, "serves", False)
    return (_WORDS | _SERVER_WORDS if serves else _WORDS).get(metavar, ())


def _faults(param: click.Parameter) -> list[Kind]:
    """Return what can stand after --fault; nothing for any other option."""
    datagrams = getattr(param.type, "datagrams", None)
    return [] if datagrams is None else kinds(datagrams=datagrams)


def _paragraphs(text: str | None) -> tuple[str, ...]:
    """Split a docstring; a paragraph that Click is not to rewrap keeps its lines and loses its mark."""
    clean = inspect.cleandoc(text or "").replace("\b\n", "")
    return tuple(part for part in clean.split("\n\n") if part.strip())


def _is_example(paragraph: str) -> bool:
    return paragraph.startswith("Example")
