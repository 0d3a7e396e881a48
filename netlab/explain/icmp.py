"""ICMP errors by type and code (RFC 792, 1122, 1812; RFC 4443 and the IANA registries)."""

from __future__ import annotations

from typing import Literal

__all__ = ["explain_icmp"]

_Meaning = tuple[str, str]

_TYPES: dict[tuple[int, int], _Meaning] = {
    (4, 3): ("destination unreachable", "the packet could not be delivered"),
    (4, 4): ("source quench", "please send slower (deprecated, RFC 6633)"),
    (4, 5): ("redirect", "a router knows a better first hop; the packet was passed on"),
    (4, 11): ("time exceeded", "the packet did not arrive in time"),
    (4, 12): ("parameter problem", "something in the IP header is wrong"),
    (6, 1): ("destination unreachable", "the packet could not be delivered"),
    (6, 2): ("packet too big", "the next link takes only smaller packets (path MTU)"),
    (6, 3): ("time exceeded", "the packet did not arrive in time"),
    (6, 4): ("parameter problem", "something in the IPv6 header is wrong"),
}

_CODES: dict[tuple[int, int], tuple[_Meaning, ...]] = {
    (4, 3): (
        ("network unreachable", "a router has no route to that network"),
        ("host unreachable", "the last router gets no answer from the host (ARP)"),
        ("protocol unreachable", "the host is up but does not speak this protocol"),
        ("port unreachable", "the host is up; no program has this port"),
        ("fragmentation needed", "too big for a link, and fragments are forbidden (path MTU)"),
        ("source route failed", "the route that the sender prescribed does not work"),
        ("destination network unknown", "a router knows no such network"),
        ("destination host unknown", "a router knows no such host"),
        ("source host isolated", "the sender's host is cut off (obsolete)"),
        ("network prohibited", "an administrator forbids that network"),
        ("host prohibited", "an administrator forbids that host"),
        ("network unreachable for TOS", "no route for this type of service"),
        ("host unreachable for TOS", "no way to the host for this type of service"),
        ("administratively prohibited", "a firewall or router filter rejects it"),
        ("host precedence violation", "the precedence is not allowed to that host"),
        ("precedence cutoff", "the precedence is below the network's minimum"),
    ),
    (4, 5): (
        ("redirect for network", "another router is nearer to that network"),
        ("redirect for host", "another router is nearer to that host"),
        ("redirect for TOS and network", "another router is nearer for this type of service"),
        ("redirect for TOS and host", "another router is nearer for this type of service"),
    ),
    (4, 11): (
        ("TTL exceeded in transit", "too many routers on the way, or a routing loop"),
        ("fragment reassembly time exceeded", "a fragment was lost on the way"),
    ),
    (4, 12): (
        ("bad header field", "a field of the IP header is wrong"),
        ("required option missing", "the IP header lacks an option"),
        ("bad length", "the length in the IP header is wrong"),
    ),
    (6, 1): (
        ("no route to destination", "a router has no route to that network"),
        ("administratively prohibited", "a firewall or router filter rejects it"),
        ("beyond scope of source address", "a link-local source cannot reach so far"),
        ("address unreachable", "the last router gets no answer from the host (ND)"),
        ("port unreachable", "the host is up; no program has this port"),
        ("source address failed policy", "a filter does not let this source address in or out"),
        ("reject route", "a router's table rejects that destination"),
        ("error in source routing header", "the route that the sender prescribed does not work"),
        ("headers too long", "a router cannot read so many headers (RFC 8883)"),
    ),
    (6, 3): (
        ("hop limit exceeded in transit", "too many routers on the way, or a routing loop"),
        ("fragment reassembly time exceeded", "a fragment was lost on the way"),
    ),
    (6, 4): (
        ("bad header field", "a field of the IPv6 header is wrong"),
        ("unknown next header", "the host does not speak the protocol in the packet"),
        ("unknown IPv6 option", "the host does not know an option in the packet"),
    ),
}


def explain_icmp(family: Literal[4, 6], type: int, code: int) -> tuple[str, str]:  # noqa: A002 (the RFCs' own word)
    """Return the name and the meaning of an ICMP (4) or ICMPv6 (6) error.

    Numbers that no table knows are said to be unknown, never guessed.

    >>> explain_icmp(4, 3, 3)
    ('port unreachable', 'the host is up; no program has this port')
    """
    codes = _CODES.get((family, type), ())
    if 0 <= code < len(codes):
        return codes[code]
    name, meaning = _TYPES.get((family, type), (f"type {type}", "netlab does not know this ICMP message"))
    return (name, meaning) if code == 0 else (f"{name}, code {code}", f"{meaning}; its code is unknown to netlab")
