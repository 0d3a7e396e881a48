"""The terminal of chat: a prompt, lines, and netlab's own commands."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from netlab.cli.typed import TypedLines

if TYPE_CHECKING:
    from netlab.render.payload import PayloadRenderer
    from netlab.socketops import Relay

__all__ = ["COMMANDS", "SlashCommand", "carry_out", "complete", "talk"]

_LARGEST_FILE = 64 << 20
"""Bytes of a file that are taken into memory to be sent between two lines; `netlab send -f` sends files of any size."""


class SlashCommand(NamedTuple):
    """What a line that begins with / does; ``run`` takes the words after its name."""

    run: Callable[[str, Relay, PayloadRenderer], None]
    help: str
    argument: str = ""


def _say(show: PayloadRenderer, message: str) -> None:
    from netlab.records import Note

    show(Note(message=message))


def _info(_words: str, relay: Relay, show: PayloadRenderer) -> None:
    show(relay.info())


def _file(path: str, relay: Relay, show: PayloadRenderer) -> None:
    from netlab.values import format_bytes

    try:
        with open(os.path.expanduser(path), "rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        _say(show, f"{path}: {str(getattr(exc, 'strerror', None) or exc).lower()}")
        return
    if len(data) > _LARGEST_FILE:
        _say(show, f"{path}: larger than {format_bytes(_LARGEST_FILE)}; netlab send -f sends such files")
        return
    relay.send(data)
    _say(show, f"{path}: {format_bytes(len(data))}" + (", being sent" if relay.has_backlog else ""))


def _hex(digits: str, relay: Relay, show: PayloadRenderer) -> None:
    from netlab.cli.messages import encode_message

    try:
        relay.send(encode_message(digits, encoding="utf-8", hexadecimal=True))
    except ValueError as exc:
        _say(show, str(exc))


def _hexdump(_words: str, _relay: Relay, show: PayloadRenderer) -> None:
    _say(show, "received bytes are shown in hex" if show.toggle_hexdump() else "received bytes are shown as text")


def _close(_words: str, relay: Relay, _show: PayloadRenderer) -> None:
    relay.end()


def _quit(_words: str, relay: Relay, _show: PayloadRenderer) -> None:
    relay.quit()


def _help(_words: str, _relay: Relay, show: PayloadRenderer) -> None:
    rows = [(f"/{name} {command.argument}", command.help) for name, command in COMMANDS.items()]
    rows.append(("//...", "send a line that begins with /"))
    _say(show, "\n".join(f"{name:<12} {what}" for name, what in rows))


COMMANDS = {
    "info": SlashCommand(_info, "addresses, queues, TCP state and options now"),
    "file": SlashCommand(_file, "send a file as it is", "PATH"),
    "hex": SlashCommand(_hex, "send bytes, such as 48 65:6c6c6f", "BYTES"),
    "hexdump": SlashCommand(_hexdump, "show what is received in hex, or no longer"),
    "close": SlashCommand(_close, "half-close, and show what still comes"),
    "quit": SlashCommand(_quit, "leave at once"),
    "help": SlashCommand(_help, "this list"),
}
"""Name -> command."""


def carry_out(line: str, relay: Relay, show: PayloadRenderer) -> None:
    """Do what one typed line says: a command, or words for the peer; an empty line is nothing."""
    if line.startswith("//"):
        relay.say(line[1:])
    elif not line.startswith("/"):
        if line:
            relay.say(line)
    else:
        name, _, words = line[1:].strip().partition(" ")
        command = COMMANDS.get(name)
        if command is None:
            _say(show, f"there is no command /{name}; /help lists them, and //{name} is sent as /{name}")
        elif bool(command.argument) != bool(words.strip()):
            _say(show, f"write /{name} {command.argument}".rstrip())
        else:
            command.run(words.strip(), relay, show)


def complete(text: str) -> list[str]:
    """Return the commands that a beginning of a line may become; those with an argument end in a blank.

    >>> complete("/he"), complete("/fi"), complete("//"), complete("/hex 0")
    (['/hex ', '/hexdump', '/help'], ['/file '], [], [])
    """
    names = (f"/{name} " if command.argument else f"/{name}" for name, command in COMMANDS.items())
    return [name for name in names if text.startswith("/") and name.startswith(text) and name != text]


def talk(relay: Relay, show: PayloadRenderer, *, eol: str, exit_word: str) -> None:
    """Hold a conversation on a terminal: prompt, take a line, carry it out.

    prompt_toolkit edits the lines; where it is missing, or the terminal cannot move its cursor, the kernel does.

    Raises:
      KeyboardInterrupt: Ctrl-C.
      NetlabError: as `Relay.run` and `Relay.ending`.
    """
    ends = {"none": "lines are sent without an end", "lf": r"lines end in \n", "crlf": r"lines end in \r\n"}[eol]
    words = f"{exit_word} or Ctrl-D" if exit_word else "Ctrl-D"
    _say(show, f"{ends} (--eol); {words} ends, Ctrl-C aborts, /help")
    if show.prompts and _can_edit():
        from netlab.cli.editing import edit_and_relay

        edit_and_relay(relay, show, carry_out=carry_out, complete=complete)
    else:
        _talk_plainly(relay, show)


def _can_edit() -> bool:
    # Not on Windows: its event loop has no add_reader.
    if os.name != "posix" or os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        return False
    try:
        import prompt_toolkit  # noqa: F401
    except ImportError:
        return False
    return True


def _talk_plainly(relay: Relay, show: PayloadRenderer) -> None:
    def take(line: str) -> None:
        show.answered()
        carry_out(line, relay, show)
        if relay.is_open:
            show.ask()

    typed = TypedLines(on_end=lambda: show.answered(by_newline=False))
    show.ask()
    with relay.ending(typed.rest):
        relay.run(typed, take)
