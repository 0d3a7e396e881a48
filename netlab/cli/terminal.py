"""The terminal of chat: a prompt, lines, and netlab's own commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from netlab.cli.typed import TypedLines

if TYPE_CHECKING:
    from netlab.render.payload import PayloadRenderer
    from netlab.socketops import Relay

__all__ = ["COMMANDS", "SlashCommand", "carry_out", "talk"]


class SlashCommand(NamedTuple):
    """What a line that begins with / does."""

    run: Callable[[Relay, PayloadRenderer], None]
    help: str


def _info(relay: Relay, show: PayloadRenderer) -> None:
    show(relay.info())


def _close(relay: Relay, show: PayloadRenderer) -> None:
    relay.end()


def _quit(relay: Relay, show: PayloadRenderer) -> None:
    relay.quit()


def _help(relay: Relay, show: PayloadRenderer) -> None:
    from netlab.records import Note

    rows = [(f"/{name}", command.help) for name, command in COMMANDS.items()]
    show(
        Note(message="\n".join(f"{name:<8} {what}" for name, what in [*rows, ("//", "send a line that begins with /")]))
    )


COMMANDS = {
    "info": SlashCommand(_info, "addresses, queues, TCP state and options now"),
    "close": SlashCommand(_close, "half-close, and show what still comes"),
    "quit": SlashCommand(_quit, "leave at once"),
    "help": SlashCommand(_help, "this list"),
}
"""Name -> command."""


def carry_out(line: str, relay: Relay, show: PayloadRenderer) -> None:
    """Do what one typed line says: a command, or words for the peer; an empty line is nothing."""
    from netlab.records import Note

    if line.startswith("/") and not line.startswith("//"):
        name = line[1:].strip()
        if name in COMMANDS:
            COMMANDS[name].run(relay, show)
        else:
            show(Note(message=f"there is no command {line}; /help lists them, and //{name} is sent as /{name}"))
    elif line:
        relay.say(line.removeprefix("/") if line.startswith("//") else line)


def talk(relay: Relay, show: PayloadRenderer, *, eol: str, exit_word: str) -> None:
    """Hold a conversation on a terminal: prompt, take a line, carry it out."""
    from netlab.records import Note

    def take(line: str) -> None:
        show.answered()
        carry_out(line, relay, show)
        if relay.is_open:
            show.ask()

    ends = {"none": "lines are sent without an end", "lf": r"lines end in \n", "crlf": r"lines end in \r\n"}[eol]
    words = f"{exit_word} or Ctrl-D" if exit_word else "Ctrl-D"
    show(Note(message=f"{ends} (--eol); {words} ends, Ctrl-C aborts, /help"))
    show.ask()
    relay.run(TypedLines(on_end=lambda: show.answered(by_newline=False)), take)
