"""Text from outside, made visible: nothing that a peer sends may move a terminal or forge a log line.

Escaped is whatever a reader can't see for what it is:

- controls (C0, DEL, C1): they move the cursor, recolour, retitle, and write the clipboard (ECMA-48, OSC 52);
- line and paragraph separators, which some log viewers take for a newline;
- everything that Unicode calls Default_Ignorable_Code_Point (DerivedCoreProperties.txt): bidirectional marks,
  overrides and isolates, zero-width characters, BOM, tags, fillers; also interlinear annotation (U+FFF9 to U+FFFB);
- lone surrogates, which no encoding of a terminal has.

The notation is Python's: ``\\n``, ``\\xHH``, ``\\uHHHH``, ``\\UHHHHHHHH``, and a backslash is doubled, so that what was
sent can be read back.  Two kinds of invisible characters are part of ordinary writing and pass where they do that work:
joiners (Persian, Indic scripts, emoji) after a character that is not ASCII, and one variation selector after a
visible character.  A run of either hides data, and is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["cut", "defuse", "escape", "escape_decoded", "escape_multiline", "hex_escape", "preview", "printable_for"]

PREVIEW = 64
"""Characters of a peer's text in one log line; with `#1 < ` and the size it still fits 80 columns or nearly so."""

_JOINERS = "\u200c\u200d"
_SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
_ALWAYS = (
    "\x7f-\x9f\u2028\u2029\ud800-\udfff\ufff9-\ufffb"
    # Default_Ignorable_Code_Point, less joiners and variation selectors
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
)
_INVISIBLE = _ALWAYS + _JOINERS + _SELECTORS
# One class first, and what stands before it second: a search for a class is five times as fast as one for a branch.
_UNLESS_USED = rf"(?<![^\x00-\x7f{_JOINERS}][{_JOINERS}])(?<![^\x00-\x1f{_JOINERS}{_SELECTORS}][{_SELECTORS}])"
_LINE = rf"[\x00-\x1f\\{_INVISIBLE}]{_UNLESS_USED}"
_MULTILINE = rf"[\x00-\x08\x0b-\x1f\\{_INVISIBLE}]{_UNLESS_USED}"
_OWN = rf"[\x00-\x1f{_INVISIBLE}]{_UNLESS_USED}"
INVISIBLE = re.compile(rf"[\x00-\x1f{_INVISIBLE}]")
"""Every character that is ever escaped, whatever stands before it, but the backslash."""

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_TOKEN = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)|.", re.DOTALL)


def hex_escape(char: str) -> str:
    r"""Return the escape of one character: ``\xHH`` below U+0080, else ``\uHHHH`` or ``\UHHHHHHHH``."""
    code = ord(char)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _show(match: re.Match[str]) -> str:
    char = match[0]
    if "\x80" <= char <= "\x9f":
        return f"\\x{ord(char):02x}"
    return _NAMED.get(char) or hex_escape(char)


def _show_decoded(match: re.Match[str]) -> str:
    char = match[0]
    if "\udc00" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return _NAMED.get(char) or hex_escape(char)


def _replace(pattern: str, show: Callable[[re.Match[str]], str], text: str) -> str:
    """Replace what a pattern finds; none finds printable ASCII but the backslash, and most runs have nothing else."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return re.sub(pattern, show, text)


def escape(text: str) -> str:
    r"""Make one line of visible text of any text, reversibly.

    >>> print(escape("you \x1b[2J\u202egnp\n\\"))
    you \x1b[2J\u202egnp\n\\
    """
    return _replace(_LINE, _show, text)


def escape_multiline(text: str) -> str:
    """Escape for a terminal that shows whole replies: newline and TAB pass as they are, the rest as in `escape`."""
    return _replace(_MULTILINE, _show, text)


def escape_decoded(text: str, *, multiline: bool = False) -> str:
    r"""Escape text that was decoded with each wrong byte as U+DC00 + byte (see `netlab.render.decode`).

    Here a wrong byte is ``\xHH``, so a C1 control that came as a proper character is ``\u0080`` to ``\u009f``.
    """
    return _replace(_MULTILINE if multiline else _LINE, _show_decoded, text)


def defuse(text: str) -> str:
    """Escape all but the backslash: for netlab's own words, which may hold a path or a text that is escaped already.

    Not reversible.  A path with a backslash can still be pasted.
    """
    return _replace(_OWN, _show, text)


def cut(escaped: str, limit: int) -> str:
    """Return at most ``limit`` characters of escaped text, never half an escape."""
    if len(escaped) <= limit:
        return escaped
    end = 0
    for token in _TOKEN.finditer(escaped):
        if token.end() > limit:
            break
        end = token.end()
    return escaped[:end]


def preview(text: str, limit: int = PREVIEW) -> str:
    """Escape text for one log line; what is longer than ``limit`` characters ends with its whole size in UTF-8.

    >>> preview("a" * 5000, limit=8)
    'aaaaaaaa...(5,000 B)'
    """
    # Every character takes at least one column, so the rest need not be escaped to be cut off.
    escaped = escape(text[: limit + 1])
    if len(escaped) <= limit:
        return escaped
    return f"{cut(escaped, limit)}...({len(text.encode('utf-8', 'surrogatepass')):,} B)"


def printable_for(encoding: str) -> Callable[[str], str]:
    r"""Return a function that escapes what ``encoding``, the locale's, has no character for.

    As ``backslashreplace``, but for U+0080 to U+00FF: those are ``\u00HH``, because ``\xHH`` is a wrong byte.
    """

    def fits(char: str) -> bool:
        try:
            char.encode(encoding)
        except UnicodeEncodeError:
            return False
        return True

    def printable(text: str) -> str:
        if fits(text):
            return text
        return "".join(char if fits(char) else hex_escape(char) for char in text)

    return printable
