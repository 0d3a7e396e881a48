"""The kernel's TCP_INFO (tcp(7)): what TCP itself thinks of a connection.

Layout: struct tcp_info of linux/tcp.h.  It only ever grows at its end (232 bytes in Linux 6.1, 240 in 6.2, 248 in
6.7, 280 in 6.18), so what is there follows from how much the kernel returned.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Mapping
from types import MappingProxyType

from netlab.errors import LocalError
from netlab.records import TcpInfo
from netlab.socketops.queues import unacknowledged, unread
from netlab.values import format_bytes, format_count, format_time

__all__ = [
    "CA_STATE_NAMES",
    "FIELD_UNITS",
    "OPTION_FLAGS",
    "SENTINELS",
    "STATE_NAMES",
    "answers_no_more",
    "decode_tcp_info",
    "read_rtt",
    "read_syn_retransmits",
    "read_tcp_info",
    "show_field",
]

# Format of struct, the offset of the first, then the fields in a row, each with its unit after a colon if it has one.
_RUNS = (
    ("B", 0, "state ca_state retransmits probes backoff options"),
    ("I", 8, "rto:us ato:us snd_mss:B rcv_mss:B unacked sacked lost retrans fackets"),
    ("I", 44, "last_data_sent:ms last_ack_sent:ms last_data_recv:ms last_ack_recv:ms"),
    ("I", 60, "pmtu:B rcv_ssthresh:B rtt:us rttvar:us snd_ssthresh snd_cwnd advmss:B reordering"),
    ("I", 92, "rcv_rtt:us rcv_space:B total_retrans"),
    ("Q", 104, "pacing_rate:B/s max_pacing_rate:B/s bytes_acked:B bytes_received:B"),
    ("I", 136, "segs_out segs_in notsent_bytes:B min_rtt:us data_segs_in data_segs_out"),
    ("Q", 160, "delivery_rate:B/s busy_time:us rwnd_limited:us sndbuf_limited:us"),
    ("I", 192, "delivered delivered_ce"),
    ("Q", 200, "bytes_sent:B bytes_retrans:B"),
    ("I", 216, "dsack_dups reord_seen rcv_ooopack snd_wnd:B rcv_wnd:B rehash"),
    ("H", 240, "total_rto total_rto_recoveries"),
    ("I", 244, "total_rto_time:ms received_ce delivered_e1_bytes:B delivered_e0_bytes:B delivered_ce_bytes:B"),
    ("I", 264, "received_e1_bytes:B received_e0_bytes:B received_ce_bytes:B accecn"),
)

# name, byte, first bit as a little-endian compiler counts, bits.
_BIT_FIELDS = (
    ("snd_wscale", 6, 0, 4),
    ("rcv_wscale", 6, 4, 4),
    ("delivery_rate_app_limited", 7, 0, 1),
    ("fastopen_client_fail", 7, 1, 2),
)
_FULL_SIZE = 280
_RTT_OFFSET = 68


def _fields() -> tuple[tuple[str, int, str, str], ...]:
    """Spread the runs out: name, offset, format, unit."""
    fields = []
    for code, offset, run in _RUNS:
        for place, word in enumerate(run.split()):
            name, _, unit = word.partition(":")
            fields.append((name, offset + place * struct.calcsize(f"={code}"), f"={code}", unit))
    return tuple(fields)


_FIELDS = _fields()

FIELD_UNITS: Mapping[str, str] = MappingProxyType({name: unit for name, _, _, unit in _FIELDS if unit})
"""Unit of each field that has one: us, ms, B or B/s.  The others count segments or events, or are flags."""

SENTINELS: Mapping[tuple[str, int], str] = MappingProxyType(
    {
        ("min_rtt", 2**32 - 1): "unknown",
        ("snd_ssthresh", 2**31 - 1): "unlimited",
        ("pacing_rate", 2**64 - 1): "unlimited",
        ("max_pacing_rate", 2**64 - 1): "unlimited",
    }
)
"""Values that are no numbers, and the word for each."""

STATE_NAMES: Mapping[int, str] = MappingProxyType(
    {
        1: "ESTABLISHED",
        2: "SYN_SENT",
        3: "SYN_RECV",
        4: "FIN_WAIT1",
        5: "FIN_WAIT2",
        6: "TIME_WAIT",
        7: "CLOSE",
        8: "CLOSE_WAIT",
        9: "LAST_ACK",
        10: "LISTEN",
        11: "CLOSING",
    }
)
"""TCP's states as linux/tcp_states.h numbers them."""

CA_STATE_NAMES: Mapping[int, str] = MappingProxyType(
    {0: "Open", 1: "Disorder", 2: "CWR", 3: "Recovery", 4: "Loss"},
)
"""States of congestion avoidance (enum tcp_ca_state of linux/tcp.h)."""

OPTION_FLAGS: Mapping[int, str] = MappingProxyType(
    {1: "ts", 2: "sack", 4: "wscale", 8: "ecn", 16: "ecn_seen", 32: "syn_data", 64: "usec_ts", 128: "tfo_child"}
)
"""Bits of the field ``options`` (TCPI_OPT_* of linux/tcp.h)."""

_NOT_TCP = frozenset({errno.EOPNOTSUPP, errno.ENOPROTOOPT})


def decode_tcp_info(raw: bytes) -> dict[str, int]:
    """Decode a struct tcp_info of any length: the fields that are whole in it, under the kernel's names.

    >>> decode_tcp_info(bytes([10, 0, 2]))
    {'state': 10, 'ca_state': 0, 'retransmits': 2}
    """
    fields = {
        name: struct.unpack_from(code, raw, offset)[0]
        for name, offset, code, _ in _FIELDS
        if offset + struct.calcsize(code) <= len(raw)
    }
    for name, offset, first, bits in _BIT_FIELDS:
        if offset < len(raw):
            shift = first if sys.byteorder == "little" else 8 - first - bits
            fields[name] = raw[offset] >> shift & (1 << bits) - 1
    return fields


def read_tcp_info(sock: socket.socket) -> TcpInfo | None:
    """Read TCP_INFO and the two queues of a TCP socket in any state; None where it is not TCP, or not Linux.

    Raises:
      LocalError: the socket is closed.
    """
    fields = _read(sock, _FULL_SIZE)
    if "state" not in fields:
        return None
    return TcpInfo(
        state=fields["state"],
        state_name=_state_name(fields["state"]),
        fields=fields,
        shown={name: show_field(name, value) for name, value in fields.items()},
        unread=unread(sock),
        unacknowledged=unacknowledged(sock),
    )


def read_rtt(sock: socket.socket) -> int | None:
    """Return the kernel's smoothed round-trip time in us: right after connect that of the handshake.

    None where it is not TCP, or nothing was measured yet.
    """
    # Not decoded as a whole: who measures again and again has nothing else to do in between.
    return int.from_bytes(_raw(sock, 72)[_RTT_OFFSET:72], sys.byteorder) or None


def read_syn_retransmits(sock: socket.socket) -> int:
    """Return how often SYN was sent again, on a pending connect or right after it; 0 where it is not TCP.

    It counts all retransmissions: once data was sent, it is theirs too.
    """
    return _read(sock, 104).get("total_retrans", 0)


def answers_no_more(sock: socket.socket) -> bool:
    """Return whether the kernel sends again and again in vain; False where it is not TCP.

    The kernel of a peer that does not read goes on to answer, with a window of 0, each probe of that window (RFC 9293,
    3.8.6.1); one probe may be on its way.
    """
    found = _read(sock, 104)
    return found.get("retransmits", 0) > 0 or found.get("probes", 0) > 1


def show_field(name: str, value: int) -> str:
    """Return a field as people read it: ``27 us``, ``204 ms``, ``32,768 B``, ``unlimited``, ``ESTABLISHED``.

    >>> show_field("rto", 204000), show_field("min_rtt", 2**32 - 1), show_field("options", 7)
    ('204 ms', 'unknown', 'ts sack wscale')
    """
    word = SENTINELS.get((name, value))
    if word is not None:
        return word
    match name, FIELD_UNITS.get(name):
        case "state", _:
            return _state_name(value)
        case "ca_state", _:
            return CA_STATE_NAMES.get(value, str(value))
        case "options", _:
            return " ".join(flag for bit, flag in OPTION_FLAGS.items() if value & bit) or "none"
        case _, "us":
            return format_time(value / 1e6)
        case _, "ms":
            return f"{format_count(value)} ms"
        case _, "B":
            return format_bytes(value)
        case _, "B/s":
            return f"{format_bytes(value)}/s"
    return format_count(value)


def _state_name(state: int) -> str:
    return STATE_NAMES.get(state, str(state))


def _read(sock: socket.socket, size: int) -> dict[str, int]:
    return decode_tcp_info(_raw(sock, size))


def _raw(sock: socket.socket, size: int) -> bytes:
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return b""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
    except OSError as exc:
        if exc.errno in _NOT_TCP:
            return b""
        raise LocalError.from_os(exc, "getsockopt", "TCP_INFO") from exc
