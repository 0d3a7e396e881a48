"""TCP_INFO against ss, field by field, and the queues of real sockets."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netlab.errors import LocalError
from netlab.socketops import tcpinfo
from netlab.socketops.queues import accept_queue, unacknowledged, unread
from netlab.socketops.tcpinfo import decode_tcp_info, read_rtt, read_syn_retransmits, read_tcp_info, show_field
from tests.peers import silent_listener

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="TCP_INFO is Linux's")

# Name: how ss shows it, and its unit there as a divisor.  Taken from what iproute2's tcp_stats_print writes.
SS_NUMBERS = {
    "rto": ("rto", 1000),
    "ato": ("ato", 1000),
    "snd_mss": ("mss", 1),
    "pmtu": ("pmtu", 1),
    "rcv_mss": ("rcvmss", 1),
    "advmss": ("advmss", 1),
    "snd_cwnd": ("cwnd", 1),
    "bytes_sent": ("bytes_sent", 1),
    "bytes_acked": ("bytes_acked", 1),
    "bytes_received": ("bytes_received", 1),
    "segs_out": ("segs_out", 1),
    "segs_in": ("segs_in", 1),
    "data_segs_out": ("data_segs_out", 1),
    "data_segs_in": ("data_segs_in", 1),
    "delivered": ("delivered", 1),
    "rcv_space": ("rcv_space", 1),
    "rcv_ssthresh": ("rcv_ssthresh", 1),
    "min_rtt": ("minrtt", 1000),
    "snd_wnd": ("snd_wnd", 1),
    "last_data_sent": ("lastsnd", 1),
    "last_data_recv": ("lastrcv", 1),
    "last_ack_recv": ("lastack", 1),
}
CHANGING = {"last_data_sent", "last_data_recv", "last_ack_recv"}


@contextlib.contextmanager
def connection(host: str = "127.0.0.1") -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a TCP connection on loopback: client, server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener, socket.socket(family) as client:
        listener.bind((host, 0))
        listener.listen()
        client.settimeout(5)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            server.settimeout(5)
            yield client, server


def exchange(client: socket.socket, server: socket.socket) -> None:
    client.sendall(b"hello")
    assert server.recv(5, socket.MSG_WAITALL) == b"hello"
    server.sendall(b"received 5 bytes\n")
    assert client.recv(17, socket.MSG_WAITALL) == b"received 5 bytes\n"


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what the kernel does on its own and tells nobody about."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 5 s"
        select.select([], [], [], 0.001)


def info_of(sock: socket.socket) -> dict[str, int]:
    info = read_tcp_info(sock)
    assert info is not None
    return info.fields


# Decoding


def test_the_fields_cover_the_struct_without_gap_or_overlap() -> None:
    sizes = {"=B": 1, "=H": 2, "=I": 4, "=Q": 8}
    covered = [byte for _, offset, code, _ in tcpinfo._FIELDS for byte in range(offset, offset + sizes[code])]
    bit_fields = [6, 7]
    assert sorted(covered + bit_fields) == list(range(280))
    assert all(offset % sizes[code] == 0 for _, offset, code, _ in tcpinfo._FIELDS), "native alignment"
    assert tcpinfo.FIELD_UNITS.keys() <= {name for name, *_ in tcpinfo._FIELDS}


@pytest.mark.parametrize(
    ("size", "last"),
    [(104, "total_retrans"), (232, "snd_wnd"), (240, "rehash"), (248, "total_rto_time"), (280, "accecn")],
)
def test_each_kernels_length_ends_at_its_last_field(size: int, last: str) -> None:
    names = [name for name, *_ in tcpinfo._FIELDS]
    fields = decode_tcp_info(bytes(size))
    assert last in fields
    assert set(names[names.index(last) + 1 :]).isdisjoint(fields)


@given(st.binary(max_size=400))
@example(b"")
@example(bytes(7))
@example(bytes([255]) * 280)
def test_any_bytes_decode_to_numbers_that_fit(raw: bytes) -> None:
    fields = decode_tcp_info(raw)
    assert all(0 <= value < 2**64 for value in fields.values())
    assert ("state" in fields) == bool(raw)
    shorter = decode_tcp_info(raw[:-1])
    assert shorter.items() <= fields.items()
    assert all(show_field(name, value).isprintable() for name, value in fields.items())


@pytest.mark.skipif(sys.byteorder == "big", reason="the bytes are written as a little-endian machine lays them out")
def test_the_bit_fields_are_taken_apart() -> None:
    fields = decode_tcp_info(bytes([1, 0, 0, 0, 0, 7, 0xA7, 0b101]))
    assert (fields["snd_wscale"], fields["rcv_wscale"]) == (7, 10)
    assert (fields["delivery_rate_app_limited"], fields["fastopen_client_fail"]) == (1, 2)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("rtt", 27, "27 us"),
        ("rto", 204000, "204 ms"),
        ("rttvar", 0, "0 us"),
        ("min_rtt", 2**32 - 1, "unknown"),
        ("snd_ssthresh", 2**31 - 1, "unlimited"),
        ("snd_ssthresh", 10, "10"),
        ("max_pacing_rate", 2**64 - 1, "unlimited"),
        ("pacing_rate", 1250000, "1,250,000 B/s"),
        ("snd_mss", 32768, "32,768 B"),
        ("last_data_sent", 1200, "1,200 ms"),
        ("options", 0x27, "ts sack wscale syn_data"),
        ("options", 0, "none"),
        ("state", 1, "ESTABLISHED"),
        ("state", 99, "99"),
        ("ca_state", 4, "Loss"),
    ],
)
def test_fields_are_shown_with_unit_or_word(name: str, value: int, shown: str) -> None:
    assert show_field(name, value) == shown


# Reading


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_equals_what_ss_shows_field_by_field(host: str, require_tool: Callable[[str], str]) -> None:
    ss = require_tool("ss")
    with connection(host) as (client, server):
        exchange(client, server)
        port = client.getsockname()[1]
        before = info_of(client)
        shown = subprocess.run(
            [ss, "-tieHnO", f"sport = :{port}"], capture_output=True, text=True, check=True, timeout=10
        ).stdout
        after = info_of(client)
    words: dict[str, str] = dict(re.findall(r" (\w+):([0-9.]+)(?= |$)", shown))
    compared = set()
    for field, (name, divisor) in SS_NUMBERS.items():
        if name not in words:  # ss leaves out what is 0, and an old one what it does not know
            continue
        compared.add(field)
        theirs = float(words[name])
        assert before[field] / divisor <= theirs <= after[field] / divisor, f"{field}: {shown}"
        assert field in CHANGING or before[field] == after[field], f"{field} changed while ss ran"
    assert compared >= {"rto", "snd_mss", "snd_cwnd", "bytes_sent", "bytes_acked", "segs_out", "segs_in"}, shown
    rtt, rttvar = re.findall(r" rtt:([0-9.]+)/([0-9.]+)", shown)[0]
    assert (before["rtt"], before["rttvar"]) == (round(float(rtt) * 1000), round(float(rttvar) * 1000))
    assert f" wscale:{before['snd_wscale']},{before['rcv_wscale']} " in shown
    assert (" app_limited " in shown) == bool(before["delivery_rate_app_limited"])
    rates = re.findall(r"(pacing_rate|delivery_rate) ([0-9]+)bps", shown)
    assert {name: int(bits) for name, bits in rates} == {name: before[name] * 8 for name, _ in rates}
    flags = show_field("options", before["options"]).split()
    assert {flag for flag in ("ts", "sack") if f" {flag} " in shown} == set(flags) & {"ts", "sack"}


def test_it_counts_what_was_exchanged() -> None:
    with connection() as (client, server):
        exchange(client, server)
        wait_for(lambda: unacknowledged(server) == 0)
        info = read_tcp_info(client)
        assert info is not None
        assert (info.state, info.state_name) == (1, "ESTABLISHED")
        assert info.fields["bytes_acked"] == 5 + 1, "the payload and SYN"
        assert info.fields["bytes_received"] == 17
        assert info.shown["bytes_received"] == "17 B"
        assert info.shown.keys() == info.fields.keys()
        assert (info.unread, info.unacknowledged) == (0, 0)


def test_the_states_of_a_half_close() -> None:
    with connection() as (client, server):
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        wait_for(lambda: read_state(client) == "FIN_WAIT2")
        assert read_state(server) == "CLOSE_WAIT"
        server.close()
        assert client.recv(1) == b""
        wait_for(lambda: read_state(client) == "CLOSE")


def read_state(sock: socket.socket) -> str:
    info = read_tcp_info(sock)
    assert info is not None
    return info.state_name


def test_rtt_is_that_of_the_handshake_and_nothing_before_it() -> None:
    with connection() as (client, server):
        rtt = read_rtt(client)
        assert rtt is not None
        assert 0 < rtt < 1_000_000
        assert read_syn_retransmits(client) == 0
        assert read_syn_retransmits(server) == 0
    with socket.socket() as unconnected:
        assert read_rtt(unconnected) is None


@pytest.mark.slow
def test_syn_retransmits_are_seen_while_connect_is_pending() -> None:
    with silent_listener() as peer, socket.socket() as client:
        client.setblocking(False)
        client.connect_ex((peer.host, peer.port))
        assert read_syn_retransmits(client) == 0
        assert read_state(client) == "SYN_SENT"
        wait_for(lambda: read_syn_retransmits(client) == 1)
        assert info_of(client)["retransmits"] == 1
        assert read_rtt(client) is None


UNIX_TYPES = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]


def test_what_is_not_tcp_has_none() -> None:
    pairs = [socket.socketpair(socket.AF_UNIX, type_) for type_ in UNIX_TYPES]
    others = [socket.socket(family, socket.SOCK_DGRAM) for family in (socket.AF_INET, socket.AF_INET6)]
    for sock in others + [sock for pair in pairs for sock in pair]:
        with sock:
            assert read_tcp_info(sock) is None
            assert read_rtt(sock) is None
            assert read_syn_retransmits(sock) == 0
            assert accept_queue(sock) is None


def test_a_closed_socket_is_an_error_of_ours() -> None:
    sock = socket.socket()
    sock.close()
    for ask in (read_tcp_info, read_rtt, read_syn_retransmits, accept_queue, unread, unacknowledged):
        with pytest.raises(LocalError, match="EBADF"):
            ask(sock)


# Queues


def test_unread_is_what_waits_to_be_received() -> None:
    with connection() as (client, server):
        server.sendall(b"12345")
        client.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL)
        assert unread(client) == 5
        client.recv(2)
        assert unread(client) == 3


def test_unread_of_datagrams_is_the_next_one() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(("127.0.0.1", 0))
        receiver.sendto(b"123", receiver.getsockname())
        receiver.sendto(b"1234567", receiver.getsockname())
        receiver.recv(1, socket.MSG_PEEK)
        assert unread(receiver) == 3
        assert unacknowledged(receiver) == 0


@pytest.mark.parametrize("type_", UNIX_TYPES)
def test_unix_queues_are_told_too(type_: socket.SocketKind) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, type_)
    with one, other:
        one.send(b"1234")
        assert unread(other) == 4
        waiting = unacknowledged(one)
        assert waiting is not None
        assert waiting > 0
        other.recv(4)
        assert (unread(other), unacknowledged(one)) == (0, 0)


def test_a_peer_that_does_not_read_leaves_bytes_unacknowledged() -> None:
    with connection() as (client, server):
        client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += client.send(bytes(1 << 16))
        wait_for(lambda: (unread(server) or 0) + (unacknowledged(client) or 0) == sent)
        assert unacknowledged(client)
        assert info_of(client)["notsent_bytes"] <= (unacknowledged(client) or 0)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_accept_queue_and_backlog_of_a_listener(family: int, host: str) -> None:
    with socket.socket(family) as listener, socket.socket(family) as one, socket.socket(family) as other:
        assert accept_queue(listener) is None, "not listening yet"
        listener.bind((host, 0))
        listener.listen(5)
        assert accept_queue(listener) == (0, 5)
        for client in (one, other):
            client.settimeout(5)
            client.connect(listener.getsockname())
        wait_for(lambda: accept_queue(listener) == (2, 5))
        listener.accept()[0].close()
        assert accept_queue(listener) == (1, 5)
        assert unread(listener) is None
        assert accept_queue(one) is None
        assert read_state(listener) == "LISTEN"


def test_a_unix_listener_does_not_tell_its_queue() -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("")  # Linux takes a free abstract name
        listener.listen(1)
        assert accept_queue(listener) is None
        assert unread(listener) is None
