"""Replies: what is answered to what, without a socket."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.socketops.serving.replies import Close, Reply, Silence, make_reply


def answer(reply: Reply, chunk: bytes) -> list[object]:
    return list(reply.answer(memoryview(bytearray(chunk))))


@given(st.binary(min_size=1))
def test_echo_returns_the_bytes(chunk: bytes) -> None:
    assert answer(make_reply("echo"), chunk) == [chunk]


def test_discard_returns_nothing() -> None:
    assert answer(make_reply("discard"), b"hello") == []


@given(st.integers(0, 300_000))
def test_ack_tells_the_number_of_bytes(size: int) -> None:
    assert answer(make_reply("ack"), b"a" * size) == [b"received %d bytes\n" % size]


@pytest.mark.parametrize(
    ("text", "eol", "encoding", "expected"),
    [
        ("ok", "", "utf-8", b"ok"),
        ("{n} of {n}", "\r\n", "utf-8", b"5 of 5\r\n"),
        ("100 % {n} {m} %d", "\n", "utf-8", b"100 % 5 {m} %d\n"),
        ("收到 {n}", "", "gbk", "收到 5".encode("gbk")),
        ("", "", "utf-8", b""),
    ],
)
def test_ack_text_is_the_users(text: str, eol: str, encoding: str, expected: bytes) -> None:
    assert answer(make_reply("ack", ack_text=text, eol=eol, encoding=encoding), b"hello") == [expected]


@pytest.mark.parametrize("option", ["ack_text", "exit_word"])
def test_text_that_the_encoding_lacks_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=r"ascii has no character '\\u6536'"):
        make_reply("ack", encoding="ascii", **{option: "收到"})  # type: ignore[arg-type]


@pytest.mark.parametrize("word", [b"exit", b"exit\n", b"exit\r\n", b"exit \t\r\n\n"])
def test_exit_word_is_acknowledged_and_ends(word: bytes) -> None:
    acknowledgement, end = answer(make_reply("ack"), word)
    assert acknowledgement == b"received %d bytes\n" % len(word)
    assert end == Close("exit", stops_server=False)


@pytest.mark.parametrize("chunk", [b"exi", b"exits", b" exit", b"exit exit", b"EXIT", b"", b"\n"])
def test_other_words_do_not_end(chunk: bytes) -> None:
    assert len(answer(make_reply("ack"), chunk)) == 1


def test_empty_exit_word_is_none() -> None:
    assert len(answer(make_reply("ack", exit_word=""), b"\n")) == 1


def test_exit_word_in_another_encoding() -> None:
    reply = make_reply("ack", exit_word="再见", encoding="gbk")
    assert answer(reply, "再见\n".encode("gbk"))[1] == Close("exit")


@pytest.mark.parametrize("name", ["echo", "discard"])
def test_exit_word_means_nothing_to_other_replies_unless_it_stops_the_server(name: str) -> None:
    assert Close("exit", stops_server=True) not in answer(make_reply(name), b"exit")  # type: ignore[arg-type]
    stopping = make_reply(name, stop_on_exit=True)  # type: ignore[arg-type]
    assert answer(stopping, b"exit\n")[-1] == Close("exit", stops_server=True)


def test_generate_sends_for_ever_the_lines_of_rfc_864() -> None:
    stream = b"".join(itertools.islice(make_reply("generate").opening(), 3))  # type: ignore[arg-type]
    lines = stream.split(b"\r\n")[:-1]
    assert {len(line) for line in lines} == {72}
    assert lines[0] == bytes(range(0x20, 0x68))
    assert all(after[:71] == before[1:] for before, after in itertools.pairwise(lines))


@pytest.mark.parametrize("name", ["ack", "echo", "discard"])
def test_other_replies_say_nothing_first(name: str) -> None:
    assert list(make_reply(name).opening()) == []  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [b"received 5 bytes\n", b"received 12 bytes", b"received 0 bytes\r\n", b"got 7!\n"])
def test_acknowledgements_are_not_acknowledged_over_udp(text: bytes) -> None:
    reply = make_reply("ack", ack_text="got {n}!", datagrams=True)
    assert [type(action) for action in answer(reply, text)] == [Silence]


@pytest.mark.parametrize("text", [b"", b"\n", b"received bytes\n", b"received 5 bytes\nx", b"a received 5 bytes\n"])
def test_what_is_no_acknowledgement_is_acknowledged(text: bytes) -> None:
    assert answer(make_reply("ack", datagrams=True), text) == [b"received %d bytes\n" % len(text)]


def test_acknowledgements_are_text_like_any_other_over_a_stream() -> None:
    assert answer(make_reply("ack"), b"received 5 bytes\n") == [b"received 17 bytes\n"]
