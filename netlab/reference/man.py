"""Man pages in mdoc(7): the frame and the hand-written parts are in ``manual/``, all that the code knows comes from it.

Options, arguments and variables come from the commands, statuses from `netlab.errors`, JSON keys from
`netlab.records` and `netlab.reports`, the errnos from `netlab.explain`, the faults from `netlab.socketops`.  Nothing
depends on the day or the machine.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from netlab import __version__, errors, records, reports
from netlab.explain.connecting import CONNECT
from netlab.explain.resolving import RESOLVE
from netlab.explain.sockets import BIND, STREAM
from netlab.explain.steps import Row
from netlab.reference.mdoc import argument, literal, option_name, paragraph, tagged
from netlab.reference.tree import Command, Option

__all__ = ["man_pages"]

DATE = "November 23, 2026"
"""Of the hand-written text.  A page that bore the day of its making would differ tomorrow."""

_SERVER_STATUSES = (0, 2, 6, 23, 45, 70, 130, 141)
_STATUSES = {
    "serve-tcp": _SERVER_STATUSES,
    "serve-threaded": _SERVER_STATUSES,
    "serve-udp": _SERVER_STATUSES,
    "send": (0, 1, 2, 6, 7, 23, 28, 45, 52, 55, 56, 70, 130, 141),
    "chat": (0, 2, 6, 7, 23, 28, 45, 55, 56, 70, 130, 141),
    "probe": (0, 1, 2, 6, 7, 23, 28, 45, 70, 130, 141),
}
_EVENTS = {
    "serve-tcp": "listening serving connected waiting received sent fault closed call warning summary fault_kind error",
    "serve-threaded": (
        "listening serving connected waiting received sent fault closed call warning summary fault_kind error"
    ),
    "serve-udp": "listening serving received sent fault call warning summary fault_kind error",
    "send": "connected sent received reply option summary call warning error",
    "chat": "listening connected sent received closed option info note call warning error",
    "probe": "probe connected sent reply option tcp_info summary call warning error",
}
_OTHER_STATUSES = {
    0: "What was asked for was done; a server was told to stop.",
    errors.BUG: "A bug in netlab; the traceback says where.",
    errors.INTERRUPTED: "Ctrl-C in a client, or a second one in a server: death by SIGINT, as shells report it.",
}


_FAULTS = (
    "A client can be tested against each of these, with ``--fault``. "
    "It can be given several times, in any order: they combine, but for what can never strike beside "
    "stall, half-close, no-reply or no-accept. "
    "What is left to chance depends on ``--seed``, and on the number of the connection or the order of the datagrams: "
    "the same requests meet the same faults again. Without ``--seed`` the server says which number it has chosen. "
    "``--fault list`` shows, too, a command to try for each."
)


def man_pages(tree: Sequence[Command]) -> dict[str, str]:
    """Return the text of each page by its file name, such as ``netlab-send.1``."""
    return {f"{page_name(command, tree)}.1": _page(command, tree) for command in tree}


def page_name(command: Command, tree: Sequence[Command]) -> str:
    return command.name if command is tree[0] else f"{tree[0].name}-{command.name}"


def _page(command: Command, tree: Sequence[Command]) -> str:
    manual = Path(__file__).with_name("manual")
    places = {
        "HEAD": _head(command, tree),
        "OPTIONS": _options(command),
        "EXAMPLES": literal("\n".join(command.examples)),
        "STATUSES": _statuses(_STATUSES.get(command.name)),
        "SEEALSO": _see_also(command, tree),
    }
    if command is tree[0]:
        template = "netlab.1"
        places |= {"COMMANDS": _commands(tree), "EVENTS": _events(), "ERRNOS": _errnos()}
    else:
        template = "command.1"
        places |= {
            "DESCRIPTION": "\n.Pp\n".join(paragraph(text) for text in command.description),
            "MORE": (manual / f"{command.name}.mdoc").read_text("utf-8").rstrip("\n"),
            "EVENTS": " ,\n".join(f".Cm {event}" for event in _EVENTS[command.name].split()) + " .",
            "VARIABLES": _variables(command),
            "FAULTS": _faults(command),
        }
    text = (manual / template).read_text("utf-8")
    for place, value in places.items():
        text = text.replace(f"@{place}@", value)
    return text


def _head(command: Command, tree: Sequence[Command]) -> str:
    name = page_name(command, tree)
    lines = [
        '.\\" Made by python -m netlab.reference from the commands and netlab/reference/manual; do not edit.',
        f".Dd {DATE}",
        f".Dt {name.upper()} 1",
        f".Os netlab {__version__}",
        ".Sh NAME",
        f".Nm {argument(name)}",
        f".Nd {command.summary[0].lower() + command.summary[1:]}",
        ".Sh SYNOPSIS",
        ".Nm netlab",
    ]
    if command is tree[0]:
        return "\n".join([*lines, ".Op Ar option ...", ".Ar command", ".Op Ar argument ..."])
    lines += [f".Cm {argument(command.name)}", ".Op Ar option ..."]
    return "\n".join([*lines, *(f".Op Ar {a.metavar.lower()}{' ...' * a.repeatable}" for a in command.arguments)])


def _commands(tree: Sequence[Command]) -> str:
    return tagged((f".Xr {argument(page_name(c, tree))} 1"[1:], paragraph(c.summary + ".")) for c in tree[1:])


def _options(command: Command) -> str:
    """Return the options by section, each section under a heading of its own."""
    sections: dict[str, list[Option]] = {}
    for option in sorted(command.options, key=lambda option: command.help.find(f"\n{option.section}:\n")):
        sections.setdefault(option.section, []).append(option)
    if len(sections) == 1:
        return _option_list(command.options)
    return "\n".join(f".Ss {name}\n{_option_list(options)}" for name, options in sections.items())


def _option_list(options: Sequence[Option]) -> str:
    return tagged((_option_tag(option), paragraph(option.help)) for option in options)


def _option_tag(option: Option) -> str:
    value = "" if option.metavar is None else f" Ar {_value(option.metavar)}"
    return " , ".join(f"{option_name(name)}{value}" for name in option.names)


def _value(metavar: str) -> str:
    """Return what stands for a value, as arguments of .Ar: choices are words with | between them."""
    if metavar.startswith("[") and "|" in metavar:
        return " | ".join(argument(word) for word in metavar.strip("[]").split("|"))
    return argument(metavar)


def _variables(command: Command) -> str:
    rows = [(f"Ev {option.variable}", f".{option_name(option.name)}") for option in command.options if option.variable]
    return tagged(rows, max((str(option.variable) for option in command.options), key=len) + " -compact")


def _faults(command: Command) -> str:
    """Return the section on what a server can do wrong on purpose; nothing for a client."""
    if not command.faults:
        return ""
    rows = (
        (
            f"Cm {argument(kind.usage)}",
            "\n".join(map(paragraph, (f"The server {kind.does}.", f"A client sees {kind.sees}."))),
        )
        for kind in command.faults
    )
    return f".Sh FAULTS\n{paragraph(_FAULTS)}\n{tagged(rows)}\n"


def _statuses(wanted: Sequence[int] | None) -> str:
    """Return the statuses in ``wanted``, or all: an exception's first sentence, and its number."""
    found = dict(_OTHER_STATUSES)
    for kind in errors.NetlabError.__subclasses__():
        found[kind.status] = (inspect.getdoc(kind) or "").split("\n\n")[0].partition(".  ")[0].rstrip(".") + "."
    return tagged(((str(n), paragraph(found[n])) for n in sorted(found) if wanted is None or n in wanted), "141")


def _see_also(command: Command, tree: Sequence[Command]) -> str:
    names = sorted(page_name(other, tree) for other in tree if other is not command)
    end = " ," if command is tree[0] else ""
    return " ,\n".join(f".Xr {argument(name)} 1" for name in names) + end


def _events() -> str:
    """Return each kind of JSON line: what it tells, and its keys."""
    kinds = sorted(_record_types(), key=lambda kind: kind.event)
    return tagged((f"Cm {kind.event}", f"{_doc(kind)}\n.br\nKeys:\n{_keys(kind)}") for kind in kinds)


def _record_types() -> Iterator[type[records.Record]]:
    for module in (records, reports):
        for kind in vars(module).values():
            if _is_record(kind, module):
                yield kind


def _is_record(kind: object, module: ModuleType) -> bool:
    return (
        isinstance(kind, type)
        and issubclass(kind, records.Record)
        and kind.__module__ == module.__name__
        and bool(kind.event)
    )


def _doc(kind: type[records.Record]) -> str:
    text = re.sub(r"\bNone\b", "absent", inspect.getdoc(kind) or "")
    return "\n".join(paragraph(part) for part in text.split("\n\n"))


def _keys(kind: type[records.Record]) -> str:
    names = [field.name for field in dataclasses.fields(kind) if field.name != "time"]
    return " ,\n".join(f".Cm {argument(name)}" for name in names) + " ."


_INET = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP"}
_KINDS = {"any": "any socket"} | _INET
"""What a row of `netlab.explain` is about, where its own word is not for readers."""
_VALUES = {
    "other": "the other of IPv4 and IPv6",
    "family": "IPv6",
    "protocol": "this protocol",
    "number": "of another number",
    "error": "this",
}
"""What a row of `netlab.explain` says of an endpoint, where there is none."""


def _errnos() -> str:
    tables = {"Connecting": CONNECT, "Listening": BIND, "Sending and receiving": STREAM}
    parts = [f".Ss {title}\n{_errno_table(table)}" for title, table in tables.items()]
    names = {f"any {name}": row for name, row in RESOLVE.items() if name}
    return "\n".join([*parts, f".Ss Resolving names\n{_errno_table(names)}"])


def _errno_table(table: Mapping[str, Row]) -> str:
    return tagged(_errno_row(key, row, table) for key, row in table.items() if re.search(r"[A-Z_]+$|timeout$", key))


def _errno_row(key: str, row: Row, table: Mapping[str, Row]) -> tuple[str, str]:
    kind, name = key.split()
    # A row of all of INET gives way to those of its transports.
    rest = ", ".join(shown for transport, shown in _INET.items() if f"{transport} {name}" not in table)
    where = rest if kind == "inet" else _KINDS.get(kind, kind)
    what, means, likely, _ = (part.format_map(_VALUES) for part in row)
    text = f"{what[0].upper()}{what[1:]}: {means}."
    causes = f"Likely: {likely}." if likely else ""
    tag = f"Er {name}" if name.isupper() or "_" in name else "time-out"
    return f"{tag} Pq {argument(where)}", "\n".join(filter(None, (paragraph(text), paragraph(causes))))
