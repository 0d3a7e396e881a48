"""The decoder: whole characters over chunk borders, wrong bytes as escapes, and no bytes that make it raise."""

from __future__ import annotations

import encodings
import pkgutil
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.render.decode import StreamDecoder, check_encoding
from netlab.render.safe import INVISIBLE

TOKEN = re.compile(r"\\([nrt\\]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})|.", re.DOTALL)
NAMES = {"n": b"\n", "r": b"\r", "t": b"\t", "\\": b"\\"}
MAY_PASS = re.compile("[\u200c\u200d\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")


def text_encodings() -> list[str]:
    found = set()
    for module in pkgutil.iter_modules(encodings.__path__):
        try:
            found.add(check_encoding(module.name))
        except ValueError:
            continue
    return sorted(found)


def bytes_of(shown: str) -> bytes:
    """Read back what was sent, byte for byte, from what was shown of UTF-8."""
    parts = []
    for token in TOKEN.finditer(shown):
        name = token[1]
        if name is None:
            parts.append(token[0].encode())
        elif name[0] == "x":
            parts.append(bytes.fromhex(name[1:]))
        else:
            parts.append(NAMES[name] if name in NAMES else chr(int(name[1:], 16)).encode())
    return b"".join(parts)


@given(st.lists(st.binary(max_size=6) | st.text(max_size=3).map(str.encode)))
def test_the_very_bytes_can_be_read_back(chunks: list[bytes]) -> None:
    decoder = StreamDecoder()
    shown = "".join(decoder.decode(chunk) for chunk in chunks) + decoder.decode(b"", final=True)
    assert bytes_of(shown) == b"".join(chunks)


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "gb18030", "big5", "euc_jp", "utf-16", "utf-32"])
def test_characters_split_anywhere_are_shown_whole(encoding: str) -> None:
    text = "a中文b字"
    data = text.encode(encoding)
    for at in range(len(data) + 1):
        decoder = StreamDecoder(encoding)
        assert decoder.decode(data[:at]) + decoder.decode(data[at:]) + decoder.decode(b"", final=True) == text
    decoder = StreamDecoder(encoding)
    assert "".join(decoder.decode(bytes([byte])) for byte in data) == text


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"\xff\xfe\x80", r"\xff\xfe\x80"),
        (b"a\0b", r"a\x00b"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"\xc0\xaf", r"\xc0\xaf"),
        (b"\xe4b", r"\xe4b"),
        (b"\x9b", r"\x9b"),
        ("\x9b".encode(), r"\u009b"),
        ("\u202e\ufeff".encode(), r"\u202e\ufeff"),
        (b"\\x9b", r"\\x9b"),
    ],
)
def test_wrong_bytes_look_different_from_all_that_is_text(data: bytes, shown: str) -> None:
    assert StreamDecoder().decode(data, final=True) == shown


def test_a_wrong_byte_below_0x80_is_an_escape_too() -> None:
    assert StreamDecoder("utf-16-le").decode(b"A\0B", final=True) == r"A\x42"
    assert StreamDecoder("gbk").decode(b"\x81\x20\xd6\xd0", final=True) == r"\x81 中"


def test_what_is_left_at_the_end_is_shown_and_another_stream_may_follow() -> None:
    decoder = StreamDecoder()
    assert decoder.decode(b"a\xe4\xb8") == "a"
    assert decoder.decode(b"", final=True) == r"\xe4\xb8"
    assert decoder.decode(b"\xad") == r"\xad"


@settings(max_examples=400)
@given(
    st.sampled_from(text_encodings()),
    st.lists(st.binary(max_size=12) | st.text("\x1b$()BJA~{}+-\x0e\x0f", max_size=12).map(str.encode)),
)
def test_no_bytes_make_any_encoding_raise_or_pass_a_control(encoding: str, chunks: list[bytes]) -> None:
    decoder = StreamDecoder(encoding)
    shown = "".join(decoder.decode(chunk) for chunk in chunks) + decoder.decode(b"", final=True)
    assert not INVISIBLE.search(MAY_PASS.sub("", shown))


@pytest.mark.parametrize("encoding", [name for name in text_encodings() if name.startswith("iso2022")])
def test_an_endless_escape_sequence_is_shown(encoding: str) -> None:
    decoder = StreamDecoder(encoding)
    shown = "".join(decoder.decode(b"\x1b$(" * 3) for _ in range(4)) + decoder.decode(b"", final=True)
    assert shown.count("x1b") == 12


def test_a_stream_that_its_codec_gives_up_on_loses_no_byte() -> None:
    decoder = StreamDecoder("utf-16")
    assert decoder.decode(b"ab") + decoder.decode(b"cd", final=True) == r"\x61\x62\x63\x64"


def test_multiline_lets_newline_and_tab_pass() -> None:
    assert StreamDecoder(multiline=True).decode(b"a\tb\n\r\xff") == "a\tb\n" + r"\r\xff"


def test_preview_decodes_all_but_shows_the_beginning_and_the_size() -> None:
    decoder = StreamDecoder()
    assert decoder.preview(b"a" * 5000) == "a" * 64 + "...(5,000 B)"
    assert decoder.preview(b"a" * 100 + b"\xe4\xb8") == "a" * 64 + "...(102 B)"
    assert decoder.preview(b"\xad") == "中"
    assert decoder.preview(b"\x1b" * 17) == r"\x1b" * 16 + "...(17 B)"
    assert decoder.preview(b"hello", size="cut: 9 B") == "hello...(cut: 9 B)"
    assert decoder.preview(b"abc", limit=3) == "abc"


@pytest.mark.parametrize(("name", "known"), [("UTF8", "utf-8"), ("GBK", "gbk"), ("latin-1", "iso8859-1")])
def test_encodings_have_one_name(name: str, known: str) -> None:
    assert check_encoding(name) == known


@pytest.mark.parametrize("name", ["hex", "rot13", "base64", "zlib", "idna", "punycode", "utf-7", "unicode_escape"])
def test_what_does_not_decode_a_stream_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"^'{name}' .*; write utf-8, gbk, latin-1"):
        check_encoding(name)


@pytest.mark.parametrize("name", ["", "nonesuch", "a\0b", "utf-8\x1b[2J", "\ud800", "é"])
def test_unknown_encodings_are_refused_in_one_safe_line(name: str) -> None:
    with pytest.raises(ValueError, match=r"^there is no encoding [ -~é]*$"):
        check_encoding(name)
