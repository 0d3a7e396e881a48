"""What a UDP probe sends: a request that a server of that port would answer, for silence proves nothing."""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["PROTOCOLS", "Payload", "parse_payload", "payload_for"]

_SHOWN = 40
"""Characters of a payload in a line of evidence."""


class Payload(NamedTuple):
    """The bytes of one datagram, and what they are in words, where they have a name."""

    data: bytes
    name: str = ""

    def __str__(self) -> str:
        r"""Say size and content in plain ASCII: ``13 B ("netlab probe\n")``, ``17 B (a DNS query)``."""
        name = self.name
        if not name and self.data and _is_text(self.data):
            text = self.data.decode("ascii").encode("unicode_escape").decode("ascii")
            name = f'"{text}"' if len(text) <= _SHOWN else f'"{text[:_SHOWN]}"...'
        return f"{len(self.data):,} B ({name})" if name else f"{len(self.data):,} B"


# RFC 1035 section 4: one question, recursion desired: the name servers of the root, which every server can tell.
_DNS = struct.pack("!6H", 0x6E6C, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack("!2H", 2, 1)
# RFC 5905 section 7.3: no leap warning, version 4, client; all else may be 0.
_NTP = bytes([0b00_100_011]) + bytes(47)
# RFC 8489 section 5: a binding request without attributes; the magic cookie, and 12 bytes to tell the answer by.
_STUN = struct.pack("!HHI", 1, 0, 0x2112A442) + b"netlab-probe"
# RFC 3416 in BER: version 2c, community "public", get-request 1 of sysDescr.0 (1.3.6.1.2.1.1.1.0).
_SNMP = bytes.fromhex("302602010104067075626c6963a01902016e020100020100300e300c06082b060102010101000500")

PROTOCOLS = {
    "dns": Payload(_DNS, "a DNS query"),
    "ntp": Payload(_NTP, "an NTP request"),
    "snmp": Payload(_SNMP, "an SNMP request"),
    "stun": Payload(_STUN, "a STUN request"),
}
"""Requests that any server of the protocol answers."""

_OF_PORT = {53: "dns", 123: "ntp"}
_DEFAULT = Payload(b"netlab probe\n")


def payload_for(port: int) -> Payload:
    """Return what to send to a port where the user named nothing; never empty."""
    return PROTOCOLS[_OF_PORT[port]] if port in _OF_PORT else _DEFAULT


def parse_payload(text: str) -> Payload:
    """Read ``proto:NAME``, ``hex:DIGITS``, or take the text itself as UTF-8.

    Raises:
      ValueError: no such protocol, or no hex digits; the message is one line.

    >>> parse_payload("hex:00 ff").data
    b'\\x00\\xff'
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "hex":
        try:
            return Payload(bytes.fromhex(rest))
        except ValueError:
            raise ValueError(f"{rest!r} is no hex; write pairs of digits, such as hex:00ff or 'hex:00 ff'") from None
    if colon and kind == "proto":
        if rest not in PROTOCOLS:
            raise ValueError(f"netlab has no request for {rest!r}; it has {', '.join(PROTOCOLS)}")
        return PROTOCOLS[rest]
    return Payload(text.encode("utf-8", "surrogateescape"))


def _is_text(data: bytes) -> bool:
    return all(0x20 <= byte < 0x7F or byte in b"\r\n\t" for byte in data)
