"""Completion scripts for bash, zsh and fish, made from the commands.

The scripts answer a TAB by themselves: no Python starts, and what the line holds is judged by the shell that will read
it.  What the three have in common, the words to offer, stands here; how each reads its line is in ``shell/``, as
scripts with places (``@OPTIONS@``) for what comes from the commands.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from netlab.reference.tree import Command, Option

__all__ = ["FILES", "SHELLS", "completion_script"]

SHELLS = ("bash", "zsh", "fish")

FILES = {"bash": "netlab.bash", "zsh": "_netlab", "fish": "netlab.fish"}
"""The name of each shell's script in ``completions/``."""

TCP_SERVICES = ("ftp", "ssh", "smtp", "domain", "http", "imap2", "ldap", "https", "mysql", "postgresql")
UDP_SERVICES = ("domain", "ntp", "snmp", "syslog")
"""Well-known names in Debian's /etc/services that one is likely to look for."""

SCHEMES = ("udp:", "icmp:", "unix:")


def completion_script(shell: str, tree: Sequence[Command]) -> str:
    """Return the script that teaches ``shell`` (one of SHELLS) the commands in ``tree``."""
    places = {"bash": _bash, "fish": _fish, "zsh": _zsh}[shell](tree)
    template = Path(__file__).with_name("shell") / FILES[shell]
    text = template.read_text("utf-8")
    for place, value in (_common(tree) | places).items():
        text = text.replace(f"@{place}@", value)
    return text


def _common(tree: Sequence[Command]) -> dict[str, str]:
    from netlab.socketops.optiontable import OPTIONS, Kind

    settable = [option for option in OPTIONS if option.settable]
    return {
        "NAMES": " ".join(command.name for command in tree[1:]),
        "VALUES": " ".join(_names_with_value(tree)),
        "SCHEMES": " ".join(SCHEMES),
        "TCP_SERVICES": " ".join(TCP_SERVICES),
        "UDP_SERVICES": " ".join(UDP_SERVICES),
        "SETTINGS": " ".join(f"{option.name}=" for option in settable),
        "SETTING_NAMES": " ".join(option.name for option in settable),
        "FLAGS": " ".join(option.name for option in settable if option.kind is Kind.FLAG),
    }


def _names_with_value(tree: Sequence[Command]) -> list[str]:
    """Return the spellings of options that take a value, for a script that skips it; all commands must agree."""
    found: dict[str, bool] = {}
    for command in tree:
        for option in command.options:
            for name in option.names:
                if found.setdefault(name, not option.is_flag) is option.is_flag:
                    raise ValueError(f"{name} takes a value in one command and none in another")
    return [name for name, takes in found.items() if takes]


def _bash(tree: Sequence[Command]) -> dict[str, str]:
    return {
        "COMMANDS": "\n".join(f"        {_bash_command(command, tree)}" for command in tree),
        "OPTIONS": "\n".join(
            f"        {row}) kind={shlex.quote(kind)} ;;" for kind, row in _bash_options(tree).items()
        ),
    }


def _bash_command(command: Command, tree: Sequence[Command]) -> str:
    name = "''" if command is tree[0] else command.name
    options = " ".join(name for option in command.options for name in option.names)
    arguments = " ".join(argument.kind + "+" * argument.repeatable for argument in command.arguments)
    return f"{name})\n            options='{options}'\n            arguments='{arguments}'\n            ;;"


def _bash_options(tree: Sequence[Command]) -> dict[str, str]:
    """Return the pattern of ``COMMAND,OPTION`` for each kind of value: ``*`` where all commands agree."""
    found: dict[str, dict[str, list[str]]] = {}
    for command in tree:
        name = "" if command is tree[0] else command.name
        for option in command.options:
            for spelling in () if option.kind in ("flag", "text") else option.names:
                found.setdefault(spelling, {}).setdefault(_kind(option), []).append(name)
    rows: dict[str, list[str]] = {}
    for spelling, kinds in found.items():
        for kind, names in kinds.items():
            places = ["*"] if len(kinds) == 1 else names
            rows.setdefault(kind, []).extend(f"{place},{spelling}" for place in places)
    return {kind: " | ".join(patterns) for kind, patterns in rows.items()}


def _kind(option: Option) -> str:
    return f"{option.kind} {' '.join(option.words)}" if option.words else option.kind


_FISH_VALUES = {
    "file": " -r -F",
    "host": " -x -a '(__netlab_hosts; echo ::1)'",
    "port": " -x -a '(__netlab_list (__netlab_ports))'",
    "setting": " -x -a '(__netlab_settings)'",
    "flag": "",
    "text": " -x",
}


def _fish(tree: Sequence[Command]) -> dict[str, str]:
    group, *commands = tree
    lines = [f"-n __netlab_at -a {command.name} -d {_fish_quoted(command.summary)}" for command in commands]
    for command in tree:
        at = "-n __netlab_at" if command is group else f"-n '__netlab_at {command.name}'"
        lines += [f"{at} {_fish_option(option)}" for option in command.options]
        for argument in command.arguments:
            if argument.kind in ("target", "listen"):
                when = at if argument.repeatable else f"-n '__netlab_first {command.name}'"
                lines.append(f"{when} -a '(__netlab_endpoints {argument.kind})'")
    return {"COMPLETIONS": "\n".join(f"complete -c netlab {line}" for line in lines)}


def _fish_option(option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    words = " ".join(option.words)
    match option.kind:
        case "words":
            value = f" -x -a '{words}'"
        case "list":
            value = f" -x -a '(__netlab_list {words})'"
        case "fault":
            value = f" -x -a '(__netlab_faults {words})'"
        case kind:
            value = _FISH_VALUES[kind]
    return f"{names}{value} -d {_fish_quoted(option.summary)}"


def _fish_quoted(text: str) -> str:
    """Quote a text for fish, where a backslash counts between single quotes, too."""
    return "'" + text.replace("\\", r"\\").replace("'", r"\'") + "'"


_ZSH_VALUES = {
    "file": "_files",
    "host": "_hosts",
    "port": " _netlab_port target",
    "setting": "_netlab_setting",
    "text": " ",
}


def _zsh(tree: Sequence[Command]) -> dict[str, str]:
    group, *commands = tree
    return {
        "GROUP": "\n".join(f"        {_zsh_option(option, group)} \\" for option in group.options),
        "COMMANDS": "\n".join(_zsh_command(command) for command in commands),
        "SUMMARIES": "\n".join(f"        {shlex.quote(f'{command.name}:{command.summary}')}" for command in commands),
    }


def _zsh_command(command: Command) -> str:
    """Return a branch of a case: what _arguments needs to know about the command."""
    specs = [_zsh_option(option, command) for option in command.options]
    for number, argument in enumerate(command.arguments, 1):
        action = f" _netlab_endpoint {argument.kind}" if argument.kind in ("target", "listen") else " "
        specs.append(shlex.quote(f"{'*' if argument.repeatable else number}:{argument.metavar.lower()}:{action}"))
    body = "".join(f" \\\n                    {spec}" for spec in specs)
    return f"            {command.name})\n                _arguments -s -S{body} && ret=0\n                ;;"


def _zsh_option(option: Option, command: Command) -> str:
    """Return the specification of one option for _arguments (zshcompsys(1))."""
    text = re.sub(r"([\[\]:\\])", r"\\\1", option.summary)
    value, names = "", list(option.names)
    if not option.is_flag:
        value = f":{re.sub('[^a-z|]+', ' ', str(option.metavar).lower()).strip()}:{_zsh_action(option)}"
        names = [f"{name}=" if name.startswith("--") else f"{name}+" for name in names]
    # -H, -p and -U stand for a single endpoint, which is argument 1 then.
    single = command.arguments and command.arguments[0].kind != "command" and not command.arguments[0].repeatable
    excluded = [*option.names, "1"] if single and {"-H", "-p", "-U"} & set(option.names) else option.names
    front = "*" if option.repeatable else f"({' '.join(excluded)})"
    if len(names) == 1:
        return shlex.quote(f"{front}{names[0]}[{text}]{value}")
    return f"'{front}'{{{','.join(names)}}}{shlex.quote(f'[{text}]{value}')}"


def _zsh_action(option: Option) -> str:
    # _arguments evaluates the words, in which a bracket would be a pattern, and takes a bare colon for its own.
    words = " ".join(map(shlex.quote, option.words)).replace(":", r"\:")
    match option.kind:
        case "words":
            return f"({words})"
        case "list":
            return f"_values -s , item {words}"
        case "fault":
            return f" _netlab_fault {words}"
        case kind:
            return _ZSH_VALUES[kind]
