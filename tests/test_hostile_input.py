"""Bytes that nobody has checked, decoded: ICMP errors, echo replies, headers; and every record as a line of JSON."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import socket
import struct
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab import records, reports
from netlab.endpoint import Endpoint, Transport
from netlab.records import Record
from netlab.render.jsonlines import to_json
from netlab.socketops.errqueue import IcmpError, read_error
from netlab.socketops.probing.asking import Ancillary, Answer
from netlab.socketops.probing.icmp import echo_question
from netlab.socketops.probing.ipheader import build_header, internet_checksum, parse_header

pytestmark = pytest.mark.skipif(not hasattr(socket, "MSG_ERRQUEUE"), reason="Linux alone has an error queue")

FEW = settings(max_examples=60, deadline=None)
FAMILIES = {socket.AF_INET: (socket.IPPROTO_IP, 11), socket.AF_INET6: (socket.IPPROTO_IPV6, 25)}


class Queue(socket.socket):
    """A socket with an error queue that holds what a test has put there."""

    data = b""
    ancillary: Ancillary = []  # noqa: RUF012 - set anew by each test

    def recvmsg(self, *_: int) -> tuple[bytes, Ancillary, int, Any]:
        return self.data, self.ancillary, 0, None


def spelt(address: Any) -> str:
    """Return an address as the C library spells it, which is not ipaddress's way where IPv4 is mapped into IPv6."""
    return socket.inet_ntop(socket.AF_INET6 if address.version == 6 else socket.AF_INET, address.packed)


# The error queue


@FEW
@given(
    family=st.sampled_from([*FAMILIES]),
    level=st.sampled_from([*FAMILIES.values(), (1, 2)]),
    raw=st.binary(max_size=60),
    data=st.binary(max_size=60),
)
def test_any_bytes_of_the_error_queue_are_an_error_or_none(
    family: int, level: tuple[int, int], raw: bytes, data: bytes
) -> None:
    with Queue(family, socket.SOCK_DGRAM) as sock:
        sock.data, sock.ancillary = data, [(*level, raw)]
        found = read_error(sock)
    if level != FAMILIES[socket.AddressFamily(family)] or len(raw) < 16:
        assert found is None
        return
    assert isinstance(found, IcmpError)
    assert (found.errno, found.type, found.code) == (struct.unpack("=I", raw[:4])[0], raw[5], raw[6])
    assert found.version in (0, 4, 6)
    assert found.data == data
    if found.sender:
        socket.inet_pton(socket.AF_INET6 if ":" in found.sender else socket.AF_INET, found.sender)


@FEW
@given(st.integers(0, 2**32 - 1), st.sampled_from([(2, 4), (3, 6), (1, 0)]), st.ip_addresses(), st.binary(max_size=9))
def test_an_error_of_the_kernels_make_is_read_whole(
    code: int, origin: tuple[int, int], sender: Any, data: bytes
) -> None:
    name = struct.pack("=HHI", socket.AF_INET6, 0, 0) + sender.packed + b"\0" * 4
    if sender.version == 4:
        name = struct.pack("=HH", socket.AF_INET, 0) + sender.packed + b"\0" * 8
    with Queue(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.data = data
        sock.ancillary = [(*FAMILIES[socket.AF_INET], struct.pack("=IBBBBII", code, origin[0], 3, 9, 0, 0, 0) + name)]
        assert read_error(sock) == IcmpError(code, origin[1], 3, 9, spelt(sender), data)


# Echo replies and headers


@pytest.fixture(params=["icmp:127.0.0.1", "icmp:[::1]"])
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    return Endpoint.parse(request.param)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_RAW])
def test_any_bytes_are_an_echo_reply_or_somebody_elses(endpoint: Endpoint, kind: int) -> None:
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    protocol = 0 if kind == socket.SOCK_DGRAM else socket.IPPROTO_ICMP
    try:
        sock = socket.socket(family, kind, protocol)
    except PermissionError:
        pytest.skip("no right to a raw socket")
    with sock:
        question = echo_question(endpoint, sock)
        question.make(1)
        check_answers(question.read, question.owns)


def check_answers(read: Callable[[bytes, Ancillary], Answer | None], owns: Callable[[bytes], bool]) -> None:
    control = st.tuples(st.integers(0, 60), st.integers(0, 60), st.binary(max_size=8))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=80), st.lists(control, max_size=3))
    def check(data: bytes, ancillary: Ancillary) -> None:
        answer = read(data, ancillary)
        assert answer is None or (answer.data in data and answer.number in (None, 1))
        assert owns(data) in (True, False)

    check()


@FEW
@given(st.binary(max_size=80))
def test_any_bytes_have_a_header_that_fits(packet: bytes) -> None:
    header = parse_header(packet)
    assert 0 <= header.header_size <= 60
    if len(packet) >= 20:
        assert socket.inet_aton(header.source) == packet[12:16]
        assert socket.inet_aton(header.destination) == packet[16:20]


@FEW
@given(st.ip_addresses(v=4), st.ip_addresses(v=4), st.integers(0, 65535), st.integers(0, 255), st.binary(max_size=40))
def test_a_header_that_was_built_is_read_back(
    source: Any, destination: Any, identification: int, ttl: int, payload: bytes
) -> None:
    made = parse_header(b"\x45" + b"\0" * 19)._replace(
        source=str(source), destination=str(destination), identification=identification, ttl=ttl
    )
    packet = build_header(made, payload) + payload
    read = parse_header(packet)
    assert (read.source, read.destination, read.ttl) == (str(source), str(destination), ttl)
    assert read.identification == identification
    assert read.total_length == len(packet)
    assert internet_checksum(packet[:20]) == 0, "as its receiver checks it (RFC 1071)"


# Records as JSON

ANY_TEXT = st.text(st.characters(codec=None), max_size=12) | st.sampled_from(
    ["\x1b[2J", "\u202e", "\ud83d\udca9", "\n"]
)
PATHS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    "@".__ne__
)
ENDPOINTS = st.builds(lambda path: Endpoint(Transport.UNIX, path=path), PATHS) | st.builds(
    lambda ip, port: Endpoint(Transport.TCP, spelt(ip), port), st.ip_addresses(), st.integers(1, 65535)
)
KINDS: dict[str, type[Record]] = {
    kind.__name__: kind
    for module in (records, reports)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Record) and kind.event
}


def values(hint: str) -> st.SearchStrategy[Any]:
    """Return values of a field's type, None among them where it may be."""
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "Endpoint": ENDPOINTS,
        "bytes": st.binary(max_size=20),
        "bool": st.booleans(),
        "dict[str, float]": st.dictionaries(ANY_TEXT, st.floats(), max_size=3),
        "dict[str, int]": st.dictionaries(ANY_TEXT, st.integers(0, 2**64), max_size=3),
        "dict[str, str]": st.dictionaries(ANY_TEXT, ANY_TEXT, max_size=3),
        "float": st.floats(),
        "int": st.integers(-(2**63), 2**64),
        "str": ANY_TEXT,
        "tuple[float, ...]": st.lists(st.floats(), max_size=3).map(tuple),
        "tuple[str, ...]": st.lists(ANY_TEXT, max_size=3).map(tuple),
        "tuple[tuple[float, float, int], ...]": st.just(((0.5, 1.5, 2),)),
        "None": st.none(),
    }
    return st.one_of([kinds[part.strip()] for part in hint.split("|")])


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_record_is_one_line_that_parses_back(kind: type[Record]) -> None:
    made = st.fixed_dictionaries({field.name: values(str(field.type)) for field in dataclasses.fields(kind)})

    @settings(max_examples=25, deadline=None)
    @given(made, st.booleans())
    def check(fields: dict[str, Any], ascii_only: bool) -> None:
        line = to_json(kind(**fields), ascii_only=ascii_only)
        assert len(line.splitlines()) == 1
        assert all(unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp") for char in line)
        assert not set(line) & set("\u202e\u2066\u200b\ufeff")
        parsed = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert next(iter(parsed)) == "event"
        for name, value in fields.items():
            if not isinstance(value, dict):
                check_field(parsed, name, value)
        told = {name for name, value in fields.items() if not isinstance(value, dict)} | {"event", "text", "base64"}
        in_order = (fields[field.name] for field in dataclasses.fields(kind))
        for flat in (value for value in in_order if isinstance(value, dict)):
            for name, value in flat.items():
                if joined(name) not in told:
                    check_field(parsed, joined(name), value)
            told |= {joined(name) for name in flat}  # of two equal keys the first holds

    check()


def joined(text: str) -> str:
    """Return text with each pair of surrogates as the character that it makes: JSON has one name for both."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def check_field(parsed: dict[str, Any], name: str, value: Any) -> None:
    if isinstance(value, bytes):
        found = parsed["text"].encode() if "text" in parsed else base64.b64decode(parsed["base64"], validate=True)
        assert found == value
    elif isinstance(value, Endpoint):
        assert Endpoint.parse(parsed[name], listening=True) == value
    elif isinstance(value, str):
        assert joined(parsed[name]) == joined(value)
    elif isinstance(value, bool) or (isinstance(value, int) and name != "size"):
        assert parsed[name] == value
    elif isinstance(value, float) and math.isfinite(value):
        assert parsed[name] == pytest.approx(value, abs=1e-3)
    elif value is None:
        assert name not in parsed or name == "size"
