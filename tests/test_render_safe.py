"""Escaping: nothing invisible passes, everything can be read back, ordinary writing stays as it is."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.render.safe import cut, defuse, escape, escape_decoded, escape_multiline, preview, printable_for

ANY_TEXT = st.text(st.characters(exclude_categories=()))
DANGEROUS = (
    "\x00\x07\x08\x1b\x7f\x80\x9b\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\ufeff\U000e0041"
)
SEEN = {*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD, *range(0x13430, 0x13440)}
"""Format characters that can be seen, for example Arabic number signs, or that arrange Egyptian signs."""
NAMES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\"}


def unescape(text: str) -> str:
    def read(match: re.Match[str]) -> str:
        return NAMES.get(match[1]) or chr(int(match[1][1:], 16))

    return re.sub(r"\\([nrt\\]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})", read, text)


@given(ANY_TEXT)
def test_all_escapes_can_be_read_back(text: str) -> None:
    assert unescape(escape(text)) == text
    assert unescape(escape_multiline(text)) == text


@given(ANY_TEXT)
def test_a_line_stays_a_line(text: str) -> None:
    assert len(escape(text).splitlines()) <= 1
    assert not set(DANGEROUS) & set(escape(text) + escape_multiline(text) + defuse(text))


def test_every_control_format_and_separator_character_is_escaped() -> None:
    passed = {
        code
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and escape(chr(code)) == chr(code)
    }
    assert passed <= SEEN


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\n\r\t\\", r"\n\r\t\\"),
        ("\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
        ("\x9b2J\x7f", r"\x9b2J\x7f"),
        ("a\u202eb\u2066", r"a\u202eb\u2066"),
        ("x\n#2 closed: exit", r"x\n#2 closed: exit"),
        ("\U000e0068\ud800", r"\U000e0068\ud800"),
        ("你好 é 😀", "你好 é 😀"),
    ],
)
def test_notation(text: str, shown: str) -> None:
    assert escape(text) == shown


@pytest.mark.parametrize(
    "text",
    ["👨\u200d👩\u200d👧", "❤\ufe0f\u200d🔥", "1\ufe0f\u20e3", "می\u200cخواهم", "葛\U000e0100"],
    ids=["family", "burning-heart", "keycap", "persian", "ideographic-variation"],
)
def test_invisible_characters_pass_where_ordinary_writing_uses_them(text: str) -> None:
    assert escape(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("pass\u200dword", r"pass\u200dword"),
        ("\u200c", r"\u200c"),
        ("中\u200d\u200c\u200d", "中\u200d" + r"\u200c\u200d"),
        ("中\ufe0f\ufe01", "中\ufe0f" + r"\ufe01"),
        ("\n\ufe0f", r"\n\ufe0f"),
    ],
)
def test_invisible_characters_that_hide_something_are_escaped(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_multiline_lets_newline_and_tab_pass_and_nothing_else() -> None:
    assert escape_multiline("a\tb\nc\rd\\\x1b") == "a\tb\nc" + r"\rd\\\x1b"


def test_decoded_text_keeps_a_wrong_byte_apart_from_a_control_character() -> None:
    assert escape_decoded("\udc9b") == r"\x9b"
    assert escape_decoded("\x9b") == r"\u009b"
    assert escape_decoded("\udc9b\n", multiline=True) == r"\x9b" + "\n"


def test_defuse_leaves_backslashes_so_that_a_path_can_be_pasted() -> None:
    assert defuse("unix:/tmp/a\\b\n\x1b") == "unix:/tmp/a\\b\\n\\x1b"


@given(ANY_TEXT, st.integers(1, 80))
def test_preview_shows_a_beginning_and_the_size(text: str, limit: int) -> None:
    shown = preview(text, limit)
    if len(escape(text)) <= limit:
        assert shown == escape(text)
        return
    head, _, size = shown.rpartition("...(")
    assert size == f"{len(text.encode('utf-8', 'surrogatepass')):,} B)"
    assert len(head) <= limit
    assert text.startswith(unescape(head))
    assert len(head) + 10 > limit  # no escape is longer


def test_preview_never_cuts_an_escape() -> None:
    assert preview("abc\u202e" + "d" * 20, limit=8) == "abc...(26 B)"
    assert preview("ab\u202e", limit=8) == r"ab\u202e"
    assert preview("a" * 5000) == "a" * 64 + "...(5,000 B)"


@given(ANY_TEXT, st.integers(0, 40))
def test_cut_is_a_beginning(text: str, limit: int) -> None:
    shown = cut(escape(text), limit)
    assert len(shown) <= limit
    assert text.startswith(unescape(shown))


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "é你😀"),
        ("ascii", r"\u00e9\u4f60\U0001f600"),
        ("latin-1", r"é\u4f60\U0001f600"),
        ("gbk", "é你" + r"\U0001f600"),
    ],
)
def test_what_the_locale_lacks_is_escaped(encoding: str, shown: str) -> None:
    assert printable_for(encoding)("é你😀") == shown
    assert printable_for(encoding)("plain") == "plain"
