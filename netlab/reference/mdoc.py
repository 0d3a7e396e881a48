"""The bit of mdoc(7) that man pages need: text and arguments escaped, lists, literal displays.

What a renderer would read as its own is escaped: a backslash, a line that begins with a control character, words that
are names of macros, and the hyphens of options, which would else come out as typographical ones that no shell knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = ["argument", "literal", "option_name", "paragraph", "tagged"]

_OPTION = re.compile(r"(?<![\w-])--?[A-Za-z0-9][\w-]*")
_SEARCHED = re.compile(r"(?<!\S)(?=\[default:|\w+_\w|[a-z]+packet\b)")
"""Before words that one searches for, and that are therefore not to be hyphenated: keys, values, defaults."""
_MACRO = re.compile(r"[A-Z][a-z0-9]|[%A-Z][A-Za-z]|[A-Z][a-z]{2}")
"""Words that may name a macro of mdoc(7): two letters, %T, and a few of three."""


def paragraph(text: str, *, width: int = 110) -> str:
    """Return prose as lines of mdoc, each sentence on a line of its own; ``words`` become literal ones."""
    plain = _escape(re.sub(r"``([^`]*)``", r"\1", " ".join(text.split())))
    plain = _SEARCHED.sub(r"\%", plain)
    plain = _OPTION.sub(lambda found: found[0].replace("-", r"\-"), plain)
    return "\n".join(line for sentence in re.split(r"(?<=[.:;]) +", plain) for line in _lines(sentence, width))


def argument(text: str) -> str:
    """Return a text as arguments of a macro: no word of it is a macro, and blanks stay."""
    words = [rf"\&{word}" if _MACRO.fullmatch(word) else word for word in _escape(text).split()]
    return " ".join(word.replace("-", r"\-").replace('"', r"\(dq") for word in words)


def option_name(name: str) -> str:
    """Return ``--host`` as the macro that shows it: ``Fl \\-host``."""
    return "Fl " + name[1:].replace("-", r"\-")


def literal(text: str) -> str:
    """Return lines that stay as they are, to be copied into a shell."""
    lines = (_guard(_escape(line).replace("-", r"\-").replace("'", r"\(aq")) for line in text.splitlines())
    return "\n".join([".Bd -literal -offset indent", *lines, ".Ed"])


def tagged(items: Iterable[tuple[str, str]], width: str = "Ds") -> str:
    """Return a list of tags (arguments of .It) and texts (mdoc)."""

    def rows() -> Iterator[str]:
        yield f".Bl -tag -width {width}"
        for tag, text in items:
            yield f".It {tag}"
            if text:
                yield text
        yield ".El"

    return "\n".join(rows())


def _lines(sentence: str, width: int) -> Iterator[str]:
    import textwrap

    for line in textwrap.wrap(sentence, width, break_long_words=False, break_on_hyphens=False):
        yield _guard(line)


def _guard(line: str) -> str:
    """Keep a line of text from being taken for a macro."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


def _escape(text: str) -> str:
    special = {"\\": r"\e", "~": r"\(ti", "^": r"\(ha", "`": r"\(ga"}
    return "".join(special.get(char, char) for char in text)
