"""The IPv4 header (RFC 791 section 3.1), built and taken apart, and the checksum that it shares with ICMP."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

__all__ = ["IpHeader", "build_header", "internet_checksum", "parse_header"]

_FIXED = struct.Struct("!BBHHHBBH4s4s")
SIZE = _FIXED.size
_DONT_FRAGMENT = 0x4000


class IpHeader(NamedTuple):
    """An IPv4 header without options; ``total_length`` and ``checksum`` are filled in by `build_header`."""

    source: str
    destination: str
    identification: int
    protocol: int
    ttl: int = 64
    tos: int = 0
    flags_and_offset: int = _DONT_FRAGMENT
    header_size: int = SIZE
    total_length: int = 0
    checksum: int = 0


def build_header(header: IpHeader, payload: bytes) -> bytes:
    """Return the 20 bytes of ``header`` in front of ``payload``, with total length and checksum."""
    whole = header._replace(total_length=SIZE + len(payload), checksum=0)
    return _pack(whole._replace(checksum=internet_checksum(_pack(whole))))


def parse_header(packet: bytes) -> IpHeader:
    """Take an IPv4 packet's header apart; ``header_size`` counts its options too.

    A packet that is too short for one counts as header alone.
    """
    if len(packet) < SIZE:
        return IpHeader("", "", 0, 0, header_size=len(packet))
    first, tos, length, identification, fragment, ttl, protocol, checksum, *ends = _FIXED.unpack_from(packet)
    source, destination = map(socket.inet_ntoa, ends)
    return IpHeader(
        source, destination, identification, protocol, ttl, tos, fragment, (first & 0x0F) * 4, length, checksum
    )


def internet_checksum(data: bytes) -> int:
    """Return the checksum of RFC 1071: the complement of the one's complement sum of all 16-bit words.

    >>> hex(internet_checksum(bytes.fromhex("0001f203f4f5f6f7")))
    '0x220d'
    """
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _pack(header: IpHeader) -> bytes:
    version_and_words = 4 << 4 | SIZE // 4
    return _FIXED.pack(
        version_and_words,
        header.tos,
        header.total_length,
        header.identification,
        header.flags_and_offset,
        header.ttl,
        header.protocol,
        header.checksum,
        socket.inet_aton(header.source),
        socket.inet_aton(header.destination),
    )
