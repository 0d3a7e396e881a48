"""Messages and replies: the pure rules for a reply's end, then exchanges and streams over real sockets."""

from __future__ import annotations

import itertools
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.endpoint import Endpoint, Transport
from netlab.errors import (
    AnswerNo,
    ClosedWithoutReply,
    ConnectError,
    OutputError,
    ReceiveError,
    SendError,
    TimedOut,
)
from netlab.records import Received, Record, Sent
from netlab.socketops import Connection, Expect, Until, converse, exchange, stream, to_crlf
from netlab.socketops.talking.exchanging import wait_acknowledged
from netlab.socketops.talking.until import Awaited, quiet_after
from tests import peers
from tests.peers import Peer

SO_SNDBUFFORCE = 32
"""Of asm-generic/socket.h: the send buffer beyond net.core.wmem_max, for root."""
BIG = 6 * 1024 * 1024
"""Bytes that no pair of socket buffers holds."""


# The rules


def chunks_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut data at the places given, each modulo its length; no chunk is empty."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


cut_data = st.tuples(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))


@pytest.mark.parametrize("text", ["none", "first", "line", "quiet", "close", "quiet:300ms", "quiet:1.5s", "17", "64k"])
def test_rules_are_read_back_from_their_own_text(text: str) -> None:
    rule = Until.parse(text)
    assert Until.parse(str(rule)) == rule


@given(st.floats(min_value=1e-6, max_value=1e5))
def test_every_silence_is_read_back(seconds: float) -> None:
    rule = Until("quiet", seconds)
    quiet = Until.parse(str(rule)).quiet
    assert quiet is not None
    assert quiet == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "junk", "quiet:", "quiet:0", "quiet:x", "0", "-1", "1.5", "5parsecs", "QUIET"])
def test_junk_is_no_rule(text: str) -> None:
    with pytest.raises(ValueError):
        Until.parse(text)


@given(cut_data, st.integers(1, 70))
def test_size_is_met_by_the_chunk_that_reaches_it(cut: tuple[bytes, list[int]], size: int) -> None:
    awaited, total = Awaited(Until("size", size=size)), 0
    for chunk in chunks_of(*cut):
        assert not awaited.ended_by
        awaited.feed(chunk)
        total += len(chunk)
        assert bool(awaited.ended_by) == (total >= size)
        if awaited.ended_by:
            break
    assert awaited.received == total


@given(cut_data)
def test_line_is_met_by_the_chunk_with_the_newline(cut: tuple[bytes, list[int]]) -> None:
    awaited = Awaited(Until("line"))
    for chunk in chunks_of(*cut):
        awaited.feed(chunk)
        assert bool(awaited.ended_by) == (b"\n" in chunk)
        if awaited.ended_by:
            return


@given(cut_data)
def test_first_is_met_at_once_and_close_by_eof_alone(cut: tuple[bytes, list[int]]) -> None:
    first, close = Awaited(Until("first")), Awaited(Until("close"))
    for chunk in chunks_of(*cut):
        first.feed(chunk)
        assert first.ended_by == "first"
        close.feed(chunk)
        close.feed_silence(1e6)
        assert not close.ended_by
    close.feed_eof()
    assert close.ended_by == "close"


@given(st.floats(0, 10), st.floats(0.001, 10))
def test_quiet_needs_a_chunk_and_then_silence(silence: float, quiet: float) -> None:
    awaited = Awaited(Until("quiet", quiet))
    awaited.feed_silence(1e6)
    assert not awaited.ended_by, "silence before the first byte is no reply"
    awaited.feed(b"x")
    assert awaited.patience(silence) == quiet - silence
    awaited.feed_silence(silence)
    assert bool(awaited.ended_by) == (silence >= quiet)


def test_an_empty_datagram_is_a_reply() -> None:
    awaited = Awaited(Until("first"))
    awaited.feed(b"")
    assert awaited.ended_by == "first"


def test_quiet_lasts_four_round_trips_but_at_least_a_quarter_second_beyond_this_host() -> None:
    assert quiet_after(near=True, rtt=3.0) == 0.05
    assert quiet_after(near=False, rtt=None) == 0.25
    assert quiet_after(near=False, rtt=0.06) == 0.25
    assert quiet_after(near=False, rtt=0.3) == pytest.approx(1.2)


@given(cut_data, st.binary(min_size=1, max_size=4))
def test_expected_text_is_found_wherever_it_is_cut(cut: tuple[bytes, list[int]], wanted: bytes) -> None:
    text = wanted.decode("latin-1")
    awaited = Awaited(None, expect=Expect("text", text, "latin-1"))
    for chunk in chunks_of(*cut):
        awaited.feed(chunk)
    assert bool(awaited.found) == (wanted in cut[0])


@given(
    st.sampled_from(["a+b", "^é", "你$", "b\\nb"]),
    st.text("ab\né你", max_size=30),
    st.lists(st.integers(0, 90), max_size=8),
)
def test_a_pattern_is_found_wherever_it_is_cut(pattern: str, text: str, cuts: list[int]) -> None:
    awaited = Awaited(None, expect=Expect("regex", pattern))
    found = False
    so_far = b""
    for chunk in chunks_of(text.encode(), cuts):
        so_far += chunk
        if not found:
            awaited.feed(chunk)
            # What a chunk ends with may be half a character, which no pattern sees yet.
            found = bool(re.search(pattern, so_far.decode(errors="ignore")))
        assert bool(awaited.found) == found


def test_a_pattern_is_found_after_megabytes_and_its_start_stays_the_start() -> None:
    awaited = Awaited(None, expect=Expect("regex", "^needle"))
    anywhere = Awaited(None, expect=Expect("regex", "needle"))
    for chunk in [b"x" * 1_000_000, b"x" * 1_000_000, b"needle"]:
        awaited.feed(chunk)
        anywhere.feed(chunk)
    assert awaited.found is None
    assert anywhere.found is True


@given(cut_data, st.binary(max_size=60))
def test_echo_is_the_message_itself(cut: tuple[bytes, list[int]], message: bytes) -> None:
    awaited = Awaited(None, expect=Expect("echo"), message=message)
    for chunk in chunks_of(*cut):
        awaited.feed(chunk)
        if awaited.found is not None:
            break
    came = cut[0]
    if came[: len(message)] == message[: len(came)] and len(came) < len(message):
        assert awaited.found is None
    elif came:
        assert awaited.found in (came == message, came.startswith(message) and awaited.received == len(message))


@given(cut_data, st.binary(max_size=60).filter(bool))
def test_share_never_takes_what_is_the_next_replys(cut: tuple[bytes, list[int]], tail: bytes) -> None:
    waiting = cut[0] + tail
    for rule in (Until("line"), Until("size", size=7)):
        awaited, rest = Awaited(rule), waiting
        while rest and not awaited.ended_by:
            share = awaited.share(rest)
            assert 0 < share <= len(rest)
            awaited.feed(rest[:share])
            rest = rest[share:]
        if rule.rule == "line":
            assert waiting[: len(waiting) - len(rest)] == waiting.partition(b"\n")[0] + waiting.partition(b"\n")[1]
        else:
            assert len(waiting) - len(rest) == min(7, len(waiting))


@given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"b\n"]), max_size=12))
def test_crlf_is_the_same_however_the_input_is_cut(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    translate = to_crlf()
    done = b"".join(translate(memoryview(part)) for part in parts)
    assert done == to_crlf()(memoryview(whole))
    assert done == re.sub(rb"(?<!\r)\n", b"\r\n", whole)


# Exchanges


def connection_to(peer: Peer) -> Connection:
    return Connection(socket.create_connection((peer.host, peer.port), timeout=5), Endpoint.parse(peer.endpoint))


@contextmanager
def unix_pair(kind: socket.SocketKind, transport: Transport) -> Iterator[tuple[Connection, socket.socket]]:
    """Give both ends of a connection, the peer's as a plain socket: what it sends waits in the kernel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with Connection(ours, Endpoint(transport, path="@pair")) as connection, theirs:
        theirs.settimeout(5)
        yield connection, theirs


@contextmanager
def tcp_pair() -> Iterator[tuple[Connection, socket.socket]]:
    """Give both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        sock = socket.create_connection(listener.getsockname(), timeout=5)
        target = Endpoint.of(*listener.getsockname())
        with Connection(sock, target) as connection, listener.accept()[0] as theirs:
            theirs.settimeout(5)
            yield connection, theirs


@contextmanager
def udp_pair() -> Iterator[tuple[Connection, socket.socket]]:
    """Give a connected UDP socket and its peer, connected too."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind(("127.0.0.1", 0))
        theirs.settimeout(5)
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        target = Endpoint.of(*theirs.getsockname(), transport=Transport.UDP)
        sock.connect(theirs.getsockname())
        with Connection(sock, target) as connection:
            theirs.connect(sock.getsockname())
            yield connection, theirs


@contextmanager
def running(target: Callable[[], object]) -> Iterator[None]:
    """Run a peer's part in a thread; what it raises fails the test."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            target()
        except BaseException as exc:
            failures.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(10)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def payload(seen: list[Record]) -> bytes:
    return b"".join(record.data for record in seen if isinstance(record, Received))


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, peers.RESET_ON_CLOSE)
    sock.close()


def test_a_message_and_its_reply() -> None:
    seen: list[Record] = []
    with peers.reply_server(b"pong\n") as peer, connection_to(peer) as connection:
        done = exchange(connection, b"ping", emit=seen.append)
    assert payload(seen) == b"pong\n"
    assert [record.data for record in seen if isinstance(record, Sent)] == [b"ping"]
    assert (done.bytes_out, done.bytes_in, done.ended_by) == (4, 5, "quiet (50 ms)")
    assert done.rtt_us is not None
    assert 0 < done.rtt_us < done.duration_us


def test_a_late_reply_is_waited_for() -> None:
    seen: list[Record] = []
    with peers.late_server(0.2, b"late") as peer, connection_to(peer) as connection:
        exchange(connection, b"ping", emit=seen.append, timeout=5)
    assert payload(seen) == b"late"


def test_a_reply_after_half_close_is_not_lost() -> None:
    seen: list[Record] = []
    with tcp_pair() as (connection, theirs):

        def answer_at_eof() -> None:
            assert b"".join(iter(lambda: theirs.recv(100), b"")) == b"ping"
            theirs.sendall(b"pong")
            theirs.close()

        with running(answer_at_eof):
            exchange(connection, b"ping", emit=seen.append, half_close=True, until=Until("close"))
    assert payload(seen) == b"pong"


def test_a_reply_one_byte_at_a_time_is_whole() -> None:
    seen: list[Record] = []
    with tcp_pair() as (connection, theirs):
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pause = threading.Event()

        def drip() -> None:
            for byte in b"drip":
                theirs.send(bytes((byte,)))
                pause.wait(0.04)

        with running(drip):
            exchange(connection, b"x", emit=seen.append, until=Until("quiet", 0.5))
    assert payload(seen) == b"drip"


@pytest.mark.parametrize(
    ("until", "replies"), [("line", [b"one\n", b"two\n", b"th\n"]), ("3", [b"one", b"\ntw", b"o\nt"]), ("first", None)]
)
def test_what_belongs_to_the_next_reply_stays_for_it(until: str, replies: list[bytes] | None) -> None:
    with tcp_pair() as (connection, theirs):
        theirs.sendall(b"one\ntwo\nth\n")
        theirs.shutdown(socket.SHUT_WR)
        came = []
        for _ in replies or [b""]:
            seen: list[Record] = []
            exchange(connection, b"", emit=seen.append, until=Until.parse(until))
            came.append(payload(seen))
    assert came == (replies or [b"one\ntwo\nth\n"])


def test_an_empty_message_sends_nothing_and_reads() -> None:
    seen: list[Record] = []
    with peers.reply_server(greeting=b"220 hello\r\n") as peer, connection_to(peer) as connection:
        done = exchange(connection, b"", emit=seen.append, until=Until("line"))
    assert payload(seen) == b"220 hello\r\n"
    assert peer.received == b""
    assert done.rtt_us is None
    assert [type(record) for record in seen] == [Received]


def test_no_reply_says_how_far_the_message_got() -> None:
    with peers.mute_server() as peer, connection_to(peer) as connection, pytest.raises(TimedOut) as caught:
        exchange(connection, b"PING", emit=lambda record: None, timeout=0.1)
    error = caught.value
    assert str(error) == f"receive {peer.endpoint}: no reply within 100 ms"
    assert re.fullmatch(r"sent 4 B, peer sent 0 B in \d+ ms, still connected", error.facts[0])
    assert error.means == "the peer's kernel acknowledged all 4 B; its program has not answered"
    assert [step[0] for step in error.next_steps] == ["--eol lf, --eol crlf", "--until none", "-w 30s"]


def test_a_message_with_a_newline_gets_no_hint_at_one() -> None:
    with peers.mute_server() as peer, connection_to(peer) as connection, pytest.raises(TimedOut) as caught:
        exchange(connection, b"PING\n", emit=lambda record: None, timeout=0.01)
    assert [step[0] for step in caught.value.next_steps] == ["--until none", "-w 30s"]


@pytest.mark.parametrize("until", ["first", "quiet", "line", "close", "5"])
def test_eof_without_a_reply_is_an_error_under_every_rule(until: str) -> None:
    with (
        peers.closing_server(4) as peer,
        connection_to(peer) as connection,
        pytest.raises(ClosedWithoutReply) as caught,
    ):
        exchange(connection, b"ping", emit=lambda record: None, until=Until.parse(until))
    assert str(caught.value) == f"receive {peer.endpoint}: closed without a reply"
    assert re.fullmatch(r"sent 4 B, peer sent 0 B, then EOF after [\d.]+ ms", caught.value.facts[0])


@pytest.mark.parametrize(("until", "missing"), [("line", "no newline came"), ("5", "fewer bytes came than --until")])
def test_eof_before_the_end_that_was_asked_for_is_an_error(until: str, missing: str) -> None:
    seen: list[Record] = []
    with unix_pair(socket.SOCK_STREAM, Transport.UNIX) as (connection, theirs):
        theirs.sendall(b"bye")
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ClosedWithoutReply, match="closed before the reply was whole") as caught:
            exchange(connection, b"ping", emit=seen.append, until=Until.parse(until))
    assert payload(seen) == b"bye"
    assert caught.value.means.startswith(missing)
    assert re.fullmatch(r"sent 4 B, peer sent 3 B, then EOF after [\d.]+ (ms|us)", caught.value.facts[0])


def test_eof_ends_a_reply_that_has_no_other_end() -> None:
    for until in ("quiet", "close"):
        seen: list[Record] = []
        with unix_pair(socket.SOCK_STREAM, Transport.UNIX) as (connection, theirs):
            theirs.sendall(b"bye")
            theirs.shutdown(socket.SHUT_WR)
            done = exchange(connection, b"ping", emit=seen.append, until=Until.parse(until))
        assert payload(seen) == b"bye"
        assert done.ended_by == ("close" if until == "close" else "EOF")


def test_a_reset_is_an_error_and_what_came_before_it_is_shown() -> None:
    seen: list[Record] = []
    with tcp_pair() as (connection, theirs):

        def answer_and_reset() -> None:
            theirs.recv(100)
            theirs.sendall(b"half an ans")
            theirs.recv(100)
            reset(theirs)

        with running(answer_and_reset):
            exchange(connection, b"ping", emit=seen.append, until=Until("first"))
            with pytest.raises(ReceiveError) as caught:
                exchange(connection, b"more", emit=seen.append, until=Until("close"))
    assert payload(seen) == b"half an ans"
    assert caught.value.errno_name == "ECONNRESET"
    assert caught.value.facts[0].startswith("sent 4 B, peer sent 0 B, broken after ")


def test_an_answer_given_before_the_reset_is_shown_while_we_still_send() -> None:
    seen: list[Record] = []
    with tcp_pair() as (connection, theirs):
        theirs.sendall(b"413 too much")

        def refuse() -> None:
            theirs.recv(100)
            reset(theirs)

        with running(refuse), pytest.raises(SendError) as caught:
            exchange(connection, bytes(BIG), emit=seen.append)
    assert payload(seen) == b"413 too much"
    assert caught.value.status == 55
    assert "peer sent 12 B, broken after" in caught.value.facts[0]


def test_a_closed_unix_peer_is_a_send_error_after_its_last_words() -> None:
    seen: list[Record] = []
    with unix_pair(socket.SOCK_STREAM, Transport.UNIX) as (connection, theirs):
        theirs.sendall(b"last words")
        theirs.close()
        with pytest.raises(SendError) as caught:
            exchange(connection, b"ping", emit=seen.append)
    assert caught.value.errno_name == "EPIPE"
    assert payload(seen) == b"last words"


def test_no_deadlock_when_both_directions_are_full() -> None:
    came: list[int] = []
    with tcp_pair() as (connection, theirs):
        theirs.settimeout(10)

        def send_all_then_read_all() -> None:
            theirs.sendall(bytes(BIG))
            came.append(sum(len(chunk) for chunk in iter(lambda: theirs.recv(1 << 18), b"")))
            theirs.close()

        with running(send_all_then_read_all):
            done = exchange(
                connection, bytes(BIG), emit=lambda record: None, until=Until("close"), half_close=True, timeout=10
            )
    assert came == [BIG]
    assert (done.bytes_out, done.bytes_in) == (BIG, BIG)


def test_a_peer_that_does_not_read_is_told_from_one_that_does_not_answer() -> None:
    with tcp_pair() as (connection, _), pytest.raises(TimedOut) as caught:
        exchange(connection, bytes(2 * BIG), emit=lambda record: None, timeout=0.1)
    assert caught.value.operation == "send"
    assert caught.value.cause == "the peer took nothing more within 100 ms"
    assert "buffers are full" in caught.value.means


@contextmanager
def generator() -> Iterator[Connection]:
    """Connect to a peer that sends for ever."""
    with tcp_pair() as (connection, theirs), running(lambda: _send_until_broken(theirs)):
        try:
            yield connection
        finally:
            connection.sock.close()


def _send_until_broken(sock: socket.socket) -> None:
    try:
        while True:
            sock.sendall(bytes(1 << 16))
    except ConnectionError:
        pass


def test_a_peer_that_never_stops_sending_meets_the_timeout() -> None:
    with generator() as connection, pytest.raises(TimedOut) as caught:
        exchange(connection, b"go", emit=lambda record: None, timeout=0.1)
    assert caught.value.cause == "the reply was not whole within 100 ms"
    assert caught.value.means == "the peer never paused for long enough to end its reply"


def test_a_peer_that_never_stops_sending_meets_the_deadline() -> None:
    with generator() as connection, pytest.raises(TimedOut) as caught:
        exchange(connection, b"go", emit=lambda record: None, timeout=0, deadline=time.monotonic() + 0.1)
    assert caught.value.cause == "the reply was not whole before the deadline"
    assert caught.value.next_steps[-1] == ("--deadline 30s", "to wait longer")


def test_closing_on_a_peer_that_never_stops_sending_ends() -> None:
    with tcp_pair() as (connection, theirs), running(lambda: _send_until_broken(theirs)):
        connection.wait(5)
        connection.close()


# Expectations


def test_what_is_expected_ends_the_reply_at_once() -> None:
    with peers.reply_server(b"received 4 bytes\n") as peer, connection_to(peer) as connection:
        done = exchange(connection, b"ping", emit=lambda record: None, expect=Expect("text", "ed 4"), timeout=5)
    assert done.ended_by == "expect"
    assert done.duration_us < 4e6


def test_other_bytes_are_a_no_with_what_came() -> None:
    with peers.reply_server(b"received 4 bytes\n") as peer, connection_to(peer) as connection:
        with pytest.raises(AnswerNo) as caught:
            exchange(connection, b"ping", emit=lambda record: None, expect=Expect("text", "pong"), timeout=0.1)
    error = caught.value
    assert str(error) == f'expect {peer.endpoint}: "pong" did not come within 100 ms'
    assert re.fullmatch(r'sent 4 B, peer sent 17 B in \d+ ms: "received 4 bytes\\n"', error.facts[0])


def test_a_rule_ends_an_unexpected_reply_before_its_time() -> None:
    with peers.reply_server(b"no\n") as peer, connection_to(peer) as connection, pytest.raises(AnswerNo) as caught:
        exchange(
            connection, b"ping", emit=lambda record: None, until=Until("line"), expect=Expect("regex", "^p"), timeout=60
        )
    assert caught.value.cause == '"^p" is not in the reply'


def test_silence_where_something_is_expected_is_a_timeout_and_eof_is_eof() -> None:
    expect = Expect("text", "pong")
    with peers.mute_server() as peer, connection_to(peer) as connection, pytest.raises(TimedOut):
        exchange(connection, b"ping", emit=lambda record: None, expect=expect, timeout=0.05)
    with peers.closing_server(4) as peer, connection_to(peer) as connection, pytest.raises(ClosedWithoutReply):
        exchange(connection, b"ping", emit=lambda record: None, expect=expect)


def test_echo_is_yes_for_the_message_and_no_at_the_first_wrong_byte() -> None:
    expect = Expect("echo")
    with peers.reply_server(b"ping", b"pinG") as peer, connection_to(peer) as connection:
        assert exchange(connection, b"ping", emit=lambda record: None, expect=expect).ended_by == "expect"
        with pytest.raises(AnswerNo) as caught:
            exchange(connection, b"ping", emit=lambda record: None, expect=expect, timeout=60)
    assert caught.value.cause == "the message is not what came back"


def test_hostile_bytes_in_an_errors_facts_are_escaped() -> None:
    with peers.reply_server(b"\x1b[2J\xff\xe4\xbd\xa0\xe2\x80\xae") as peer, connection_to(peer) as connection:
        with pytest.raises(AnswerNo) as caught:
            exchange(connection, b"x", emit=lambda record: None, until=Until("first"), expect=Expect("text", "ok"))
    assert caught.value.facts[0].endswith(': "\\x1b[2J\\xff你\\u202e"')


# Messages that keep their borders


def test_a_datagram_of_60000_bytes_is_one_reply() -> None:
    seen: list[Record] = []
    with udp_pair() as (connection, theirs):
        theirs.send(bytes(60_000))
        done = exchange(connection, b"x", emit=seen.append)
    assert [len(record.data) for record in seen if isinstance(record, Received)] == [60_000]
    assert done.ended_by == "first"


def test_a_strangers_datagram_is_no_reply() -> None:
    seen: list[Record] = []
    with udp_pair() as (connection, theirs), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"forged", connection.sock.getsockname())
        theirs.send(b"true")
        exchange(connection, b"x", emit=seen.append)
    assert payload(seen) == b"true"


def test_an_empty_datagram_is_a_whole_reply_and_no_eof() -> None:
    with udp_pair() as (connection, theirs):
        theirs.send(b"")
        done = exchange(connection, b"x", emit=lambda record: None)
    assert (done.bytes_in, done.ended_by) == (0, "first")


def test_a_refused_datagram_is_a_connect_error() -> None:
    with peers.refusing_udp() as peer:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.connect((peer.host, peer.port))
        with Connection(sock, Endpoint.parse(peer.endpoint)) as connection, pytest.raises(ConnectError) as caught:
            exchange(connection, b"x", emit=lambda record: None)
    assert caught.value.errno_name == "ECONNREFUSED"


@pytest.mark.parametrize("until", ["first", "quiet:1s"])
def test_a_reply_that_came_is_not_lost_by_an_error_that_came_too(until: str) -> None:
    kind = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*kind) as theirs, socket.socket(*kind) as ours:
        theirs.bind(("127.0.0.1", 0))
        theirs.settimeout(5)
        ours.connect(theirs.getsockname())
        ours.send(b"ping")
        _, sender = theirs.recvfrom(100)
        theirs.sendto(b"pong", sender)
        target = Endpoint.of(*theirs.getsockname(), transport=Transport.UDP)
        theirs.close()
        ours.send(b"ping")  # on loopback its ICMP error is there when send returns
        seen: list[Record] = []
        with Connection(ours, target) as connection:
            if until == "first":
                done = exchange(connection, b"", emit=seen.append, until=Until.parse(until))
                assert (done.bytes_in, done.ended_by) == (4, "first")
            else:
                with pytest.raises(ConnectError) as caught:
                    exchange(connection, b"", emit=seen.append, until=Until.parse(until))
                assert "peer sent 4 B" in caught.value.facts[0]
    assert [record.data for record in seen if isinstance(record, Received)] == [b"pong"]


def test_an_error_is_told_once_and_leaves_the_connection_usable() -> None:
    with udp_pair() as (connection, theirs):
        place = theirs.getsockname()
        theirs.close()
        for _ in range(2):
            with pytest.raises(ConnectError) as caught:
                exchange(connection, b"ping", emit=lambda _: None)
            assert caught.value.facts[1] == "ICMP 3/3 port unreachable from 127.0.0.1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.bind(place)
            with pytest.raises(TimedOut):
                exchange(connection, b"ping", emit=lambda _: None, timeout=0.01)
            assert again.recv(100) == b"ping"


def test_a_lost_datagram_is_told_as_udp_tells_it() -> None:
    with udp_pair() as (connection, _), pytest.raises(TimedOut) as caught:
        exchange(connection, b"x", emit=lambda record: None, timeout=0.05)
    assert caught.value.means.startswith("UDP acknowledges nothing")
    assert "still connected" not in caught.value.facts[0]


def test_a_message_too_big_for_a_datagram_is_a_send_error() -> None:
    with udp_pair() as (connection, _), pytest.raises(SendError) as caught:
        exchange(connection, bytes(65_508), emit=lambda record: None)
    assert caught.value.errno_name == "EMSGSIZE"


def test_an_empty_record_is_not_the_end_of_a_seqpacket_connection() -> None:
    seen: list[Record] = []
    with unix_pair(socket.SOCK_SEQPACKET, Transport.UNIX_SEQPACKET) as (connection, theirs):
        for record in (b"ab", b"", b"cd"):
            theirs.send(record)
        converse(connection, [b"x", b"y", b"z"], emit=seen.append)
        assert [theirs.recv(9) for _ in range(3)] == [b"x", b"y", b"z"]
        theirs.close()
        with pytest.raises(ClosedWithoutReply):
            exchange(connection, b"", emit=seen.append)
    assert [record.data for record in seen if isinstance(record, Received)] == [b"ab", b"", b"cd"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make so large a buffer (SO_SNDBUFFORCE)")
def test_a_message_larger_than_any_buffer_is_shown_cut_with_its_size() -> None:
    seen: list[Record] = []
    with unix_pair(socket.SOCK_SEQPACKET, Transport.UNIX_SEQPACKET) as (connection, theirs):
        theirs.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUFFORCE if hasattr(socket, "SO_SNDBUFFORCE") else 32, 1 << 20
        )
        theirs.send(bytes(300_000))
        exchange(connection, b"", emit=seen.append)
    (received,) = (record for record in seen if isinstance(record, Received))
    assert (len(received.data), received.size) == (1 << 18, 300_000)


# No reply awaited


def test_none_awaits_no_reply_but_the_acknowledgement() -> None:
    with peers.mute_server() as peer:
        with connection_to(peer) as connection:
            converse(connection, [b"<13>log"], emit=lambda record: None, until=Until("none"))
            assert connection.unacknowledged() == 0
        peer.wait_received(b"<13>log")


def test_none_is_an_error_where_nobody_takes_it() -> None:
    with tcp_pair() as (connection, _):
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        while connection.send(bytes(1 << 16)):
            pass
        with pytest.raises(TimedOut) as caught:
            wait_acknowledged(connection, timeout=0.05)
    assert re.search(r"[\d,]+ B of [\d,]+ B not acknowledged within 50 ms", str(caught.value))


def test_none_is_an_error_where_the_peer_resets() -> None:
    with tcp_pair() as (connection, theirs):
        reset(theirs)
        connection.wait(5)
        with pytest.raises(SendError):
            wait_acknowledged(connection, timeout=5)


# Streams


@contextmanager
def pipe_with(data: bytes) -> Iterator[int]:
    """Give the reading end of a pipe that a thread fills and ends."""
    reading, writing = os.pipe()

    def fill() -> None:
        with open(writing, "wb") as out:
            out.write(data)

    with running(fill):
        try:
            yield reading
        finally:
            os.close(reading)


def test_a_pipe_is_sent_whole_and_the_reply_read_to_its_end() -> None:
    data = os.urandom(BIG)
    seen: list[Record] = []
    with tcp_pair() as (connection, theirs), pipe_with(data) as source:

        def echo() -> None:
            for chunk in iter(lambda: theirs.recv(1 << 16), b""):
                theirs.sendall(chunk)
            theirs.close()

        with running(echo):
            done = stream(connection, source, emit=seen.append)
    assert payload(seen) == data
    assert (done.bytes_out, done.bytes_in, done.ended_by) == (BIG, BIG, "close")


def test_no_deadlock_where_a_peer_sends_all_and_then_reads_all_of_a_pipe() -> None:
    came: list[int] = []
    with tcp_pair() as (connection, theirs), pipe_with(bytes(BIG)) as source:
        theirs.settimeout(10)

        def send_all_then_read_all() -> None:
            theirs.sendall(bytes(BIG))
            came.append(sum(len(chunk) for chunk in iter(lambda: theirs.recv(1 << 18), b"")))
            theirs.close()

        with running(send_all_then_read_all):
            done = stream(connection, source, emit=lambda record: None, timeout=10)
    assert came == [BIG]
    assert (done.bytes_out, done.bytes_in) == (BIG, BIG)


def test_a_pipe_is_spliced_unless_its_bytes_or_the_calls_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    spliced: list[int] = []

    def splice(pipe: int, sock: int, size: int, *, flags: int) -> int:
        spliced.append(size)
        return real_splice(pipe, sock, size, flags=flags)

    class Seen(socket.socket):
        pass

    real_splice = os.splice
    monkeypatch.setattr(os, "splice", splice)
    for translate, kind, expected in (
        (None, socket.socket, True),
        (to_crlf(), socket.socket, False),
        (None, Seen, False),
    ):
        spliced.clear()
        with peers.closing_server(2) as peer, pipe_with(b"a\n") as source:
            sock = kind(socket.AF_INET, socket.SOCK_STREAM)
            sock.connect((peer.host, peer.port))
            with Connection(sock, Endpoint.parse(peer.endpoint)) as connection:
                done = stream(connection, source, emit=lambda record: None, translate=translate)
        assert bool(spliced) is expected
        assert done.bytes_out == (3 if translate else 2)


def test_progress_is_told_of_pipes_and_files(tmp_path: Path) -> None:
    told: list[int] = []
    (tmp_path / "data").write_bytes(bytes(BIG))
    with peers.closing_server(BIG) as peer, connection_to(peer) as connection, open(tmp_path / "data", "rb") as file:
        stream(connection, file.fileno(), emit=lambda record: None, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == BIG
    told.clear()
    with peers.closing_server(BIG) as peer, connection_to(peer) as connection, pipe_with(bytes(BIG)) as source:
        stream(connection, source, emit=lambda record: None, progress=told.append)
    assert told[-1] == BIG


def test_a_file_is_sent_with_crlf_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "mail").write_bytes(b"HELO me\nQUIT\r\n")
    with peers.closing_server(16) as peer, connection_to(peer) as connection, open(tmp_path / "mail", "rb") as file:
        done = stream(connection, file.fileno(), emit=lambda record: None, translate=to_crlf())
        assert peer.received == b"HELO me\r\nQUIT\r\n"
    assert done.bytes_in == 0, "a sink that closes has done what a stream asks of it"


def test_a_stream_awaits_a_reply_where_a_rule_does() -> None:
    with peers.closing_server(3) as peer, connection_to(peer) as connection, pipe_with(b"abc") as source:
        with pytest.raises(ClosedWithoutReply):
            stream(connection, source, emit=lambda record: None, until=Until("first"))


def test_a_stream_without_half_close_meets_the_silence() -> None:
    with peers.mute_server() as peer, connection_to(peer) as connection, pipe_with(b"abc") as source:
        with pytest.raises(TimedOut) as caught:
            stream(connection, source, emit=lambda record: None, half_close=False, timeout=0.1)
        assert peer.received == b"abc"
    assert caught.value.cause == "no reply within 100 ms"


def test_the_silence_of_the_source_is_its_own_affair_but_not_beyond_the_deadline() -> None:
    reading, writing = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        peer = stack.enter_context(peers.mute_server())
        connection = stack.enter_context(connection_to(peer))
        with pytest.raises(TimedOut) as caught:
            stream(connection, reading, emit=lambda record: None, timeout=0.01, deadline=time.monotonic() + 0.15)
    assert caught.value.cause == "the input did not end before the deadline"


def test_a_source_that_always_has_something_meets_the_deadline() -> None:
    with tcp_pair() as (connection, theirs), open("/dev/zero", "rb") as zeros:

        def swallow() -> None:
            while theirs.recv(1 << 18):
                pass

        with running(swallow):
            with pytest.raises(TimedOut) as caught:
                stream(connection, zeros.fileno(), emit=lambda record: None, deadline=time.monotonic() + 0.1)
            connection.close()
    assert caught.value.cause.endswith("before the deadline")  # which of both sides was waited for is chance


def test_a_source_that_never_ends_does_not_outlast_a_peer_that_has_closed() -> None:
    reading, writing = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, reading)
        stack.callback(os.close, writing)
        connection, theirs = stack.enter_context(tcp_pair())
        theirs.close()
        with pytest.raises(TimedOut) as caught:
            stream(connection, reading, emit=lambda record: None, timeout=0.1)
    assert caught.value.cause == "the input did not end within 100 ms"


def test_a_peer_that_resets_a_stream_is_a_send_error_after_its_words() -> None:
    seen: list[Record] = []
    with tcp_pair() as (connection, theirs), open("/dev/zero", "rb") as zeros:
        theirs.sendall(b"enough")

        def refuse() -> None:
            theirs.recv(1 << 16)
            reset(theirs)

        with running(refuse), pytest.raises(SendError):
            stream(connection, zeros.fileno(), emit=seen.append)
    assert payload(seen) == b"enough"


def test_what_is_expected_ends_a_stream_that_would_go_on() -> None:
    with tcp_pair() as (connection, theirs), open("/dev/zero", "rb") as zeros:
        theirs.sendall(b"READY")

        def swallow() -> None:
            while theirs.recv(1 << 18):
                pass

        with running(swallow):
            done = stream(connection, zeros.fileno(), emit=lambda record: None, expect=Expect("text", "READY"))
            connection.close()
    assert done.ended_by == "expect"


def test_what_emit_raises_is_not_taken_for_the_peers_fault() -> None:
    def full(record: Record) -> None:
        raise OutputError("write", "standard output", "no space left on device")

    with peers.reply_server(b"pong") as peer, connection_to(peer) as connection, pytest.raises(OutputError):
        exchange(connection, b"ping", emit=full)
    with unix_pair(socket.SOCK_STREAM, Transport.UNIX) as (connection, theirs):
        theirs.sendall(b"last words")
        theirs.close()
        with pytest.raises(OutputError):
            exchange(connection, b"ping", emit=full)
