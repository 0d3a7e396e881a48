"""JSON lines: every line parses back, keys and their order hold, and nothing invisible reaches a terminal."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.endpoint import Endpoint, Transport
from netlab.records import (
    Closed,
    Connected,
    ErrorReport,
    FaultReport,
    Listening,
    Received,
    Record,
    Reply,
    Serving,
    Summary,
    TcpInfo,
    Waiting,
    WarningReport,
)
from netlab.render.jsonlines import to_json
from netlab.render.safe import INVISIBLE

PEER = Endpoint.parse("127.0.0.1:53412")
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def line(record: Record, **options: bool) -> dict[str, Any]:
    text = to_json(record, **options)
    assert "\n" not in text
    parsed = json.loads(text)
    assert isinstance(parsed, dict)
    return parsed


def test_the_line_of_the_contract() -> None:
    record = Closed(
        time=1795405000.123456, conn=3, peer=PEER, reason="eof", bytes_in=10, bytes_out=18, duration_us=1203.0
    )
    assert to_json(record) == (
        '{"event":"closed","time":1795405000.123456,"peer":"127.0.0.1:53412","reason":"eof",'
        '"bytes_in":10,"bytes_out":18,"duration_us":1203,"conn":3}'
    )


@given(st.binary())
def test_payload_is_whole_as_text_or_base64(data: bytes) -> None:
    parsed = line(Received(peer=PEER, data=data, conn=1))
    assert parsed["size"] == len(data)
    assert ("text" in parsed) != ("base64" in parsed)
    found = parsed["text"].encode() if "text" in parsed else base64.b64decode(parsed["base64"], validate=True)
    assert found == data


@given(ANY_TEXT)
def test_every_line_parses_back_and_shows_nothing_invisible(text: str) -> None:
    record = WarningReport(message=text)
    # In UTF-16, as JSON escapes: it has one name for two surrogates and for the character that they make.
    assert line(record)["message"].encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")
    assert not INVISIBLE.search(to_json(record))
    to_json(record).encode("utf-8")
    assert to_json(record, ascii_only=True).isascii()
    assert line(record, ascii_only=True) == line(record)


def test_chinese_stays_readable_unless_only_ascii_is_wanted() -> None:
    record = Received(peer=PEER, data="你好\u202e\x9b\x1b".encode())
    assert '"text":"你好\\u202e\\u009b\\u001b"' in to_json(record)
    assert '"text":"\\u4f60\\u597d\\u202e\\u009b\\u001b"' in to_json(record, ascii_only=True)


def test_a_cut_datagram_has_its_true_size() -> None:
    parsed = line(Received(peer=PEER, data=b"abc", size=70_000))
    assert (parsed["text"], parsed["size"]) == ("abc", 70_000)


def test_tcp_info_lies_flat_and_is_for_machines() -> None:
    record = TcpInfo(
        state=1,
        state_name="ESTABLISHED",
        fields={"state": 9, "rtt": 27, "snd_ssthresh": 2**31 - 1},
        shown={"state": "9", "rtt": "27 us", "snd_ssthresh": "unlimited"},
        unread=0,
    )
    parsed = line(record)
    assert list(parsed) == ["event", "time", "state", "state_name", "rtt", "snd_ssthresh", "unread"]
    assert (parsed["state"], parsed["rtt"], parsed["snd_ssthresh"]) == (1, 27, 2**31 - 1)


@pytest.mark.parametrize(("value", "shown"), [(1.23456789, 1.235), (2.0, 2), (1e-9, 0)])
def test_microseconds_have_three_decimals_at_most(value: float, shown: float) -> None:
    parsed = line(Reply(endpoint=PEER, sequence=1, bytes_in=0, rtt_us=value, time=1.23456789))
    assert (parsed["rtt_us"], parsed["time"]) == (shown, 1.234568)
    assert type(parsed["rtt_us"]) is type(shown)


def test_what_does_not_apply_is_left_out() -> None:
    assert set(line(Received(peer=None, data=b"x"))) == {"event", "time", "text", "size"}
    assert set(line(Reply(endpoint=PEER, sequence=1, bytes_in=0, rtt_us=float("nan")))) == {
        *("event", "time", "endpoint", "sequence", "bytes_in")
    }


def test_endpoints_are_their_text_and_cannot_break_the_line() -> None:
    path = "/tmp/a\n\udcff\u202e"
    parsed = line(Listening(endpoint=Endpoint(Transport.UNIX, path=path), fileno=3))
    assert parsed["endpoint"] == f"unix:{path}"


@pytest.mark.parametrize(
    ("record", "keys"),
    [
        (Listening(endpoint=PEER, fileno=3, backlog=5), "endpoint fileno backlog"),
        (
            Serving(model="m", reply="ack", exit_word="exit", reach="r", cpu=0, faults=("drop=10%",), seed=7),
            "model reply exit_word reach cpu faults seed",
        ),
        (
            Connected(peer=PEER, local=PEER, conn=1, clients=1, max_clients=9, waited_us=1.0, pid=1, uid=2, gid=3),
            "peer local conn clients max_clients waited_us pid uid gid",
        ),
        (Waiting(endpoint=PEER, queued=1, backlog=5), "endpoint queued backlog"),
        (FaultReport(fault="delay", effect="waits 300 ms", peer=PEER, conn=1), "fault effect peer conn"),
        (
            Closed(
                peer=PEER, reason="reset", bytes_in=1, bytes_out=2, duration_us=3.0, conn=4, errno=104, errno_name="E"
            ),
            "peer reason bytes_in bytes_out duration_us conn errno errno_name",
        ),
        (
            Summary(
                ended_by="SIGINT",
                duration_us=1.0,
                clients=1,
                most_clients=1,
                datagrams_in=1,
                datagrams_out=1,
                dropped=1,
            ),
            "ended_by duration_us clients most_clients bytes_in bytes_out datagrams_in datagrams_out dropped",
        ),
        (
            ErrorReport(message="m", status=7, operation="connect", where="w", errno=111, errno_name="ECONNREFUSED"),
            "message status operation where errno errno_name",
        ),
    ],
    ids=lambda value: value.event if isinstance(value, Record) else "",
)
def test_keys_are_api(record: Record, keys: str) -> None:
    assert list(line(record)) == ["event", "time", *keys.split()]
