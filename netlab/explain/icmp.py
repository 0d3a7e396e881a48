"""ICMP errors by type and code (RFC 792, 1122, 1812; RFC 4443 and the IANA registries).

Who sent one matters as much as what it says: the host that was asked, a router on the way, or this very host.
"""

from __future__ import annotations

from typing import Literal

from netlab.explain.steps import Row

__all__ = ["CAUSES", "REJECTED", "explain_icmp"]

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

CAUSES: dict[tuple[int, int, int], str] = {
    # IP version, type, code.
    (4, 3, 0): "no-route",
    (4, 3, 1): "no-host",
    (4, 3, 3): "filter",
    (4, 3, 4): "mtu",
    (4, 3, 6): "no-route",
    (4, 3, 7): "no-host",
    (4, 3, 9): "filter",
    (4, 3, 10): "filter",
    (4, 3, 11): "no-route",
    (4, 3, 12): "no-host",
    (4, 3, 13): "filter",
    (4, 11, 0): "loop",
    (6, 1, 0): "no-route",
    (6, 1, 1): "filter",
    (6, 1, 3): "no-host",
    (6, 1, 4): "filter",
    (6, 1, 5): "source",
    (6, 1, 6): "filter",
    (6, 2, 0): "mtu",
    (6, 3, 0): "loop",
}
"""What is behind an error, where its code tells more than the errno that it becomes; a row of REJECTED."""

REJECTED: dict[str, Row] = {
    "no-route router": (
        "",
        "",
        "{sender} has no route to that network, or its link there is down; a routing change, or a cut link somewhere; "
        "the address is mistyped",
        "path route name",
    ),
    "no-host router": (
        "",
        "",
        "the host is off, or nobody has the address: {sender} gets no ARP or ND answer; the address is mistyped; "
        "{sender} has an unreachable route there (ip route)",
        "path name wait",
    ),
    "no-host own": (
        "",
        "",
        "the host is off, or nobody has the address (no ARP or ND answer); the address is mistyped; a firewall rule of "
        "this host rejects it",
        "neighbour name route",
    ),
    "filter router": (
        "",
        "",
        "a firewall or filter on {sender} rejects it on purpose; {sender} has a prohibit route there (ip route)",
        "ports path route",
    ),
    "filter host": (
        "",
        "",
        "a firewall on the host itself rejects it on purpose",
        "ports firewall-there",
    ),
    "filter own": (
        "",
        "",
        "a firewall rule of this host rejects it on purpose",
        "firewall route",
    ),
    "source router": (
        "",
        "",
        "{sender} lets nothing from this source address through (ingress filter); a wrong --source",
        "route addresses",
    ),
    "loop router": (
        "",
        "",
        "a routing loop, in which {sender} is; a TTL too small for the way (--set IP_TTL, IPV6_UNICAST_HOPS)",
        "path route",
    ),
    "mtu router": (
        "",
        "the datagram is lost; the next one there goes in fragments",
        "a link behind {sender} takes smaller packets only (tunnel, VPN, PPPoE); fragments were forbidden on the way "
        "(IP_MTU_DISCOVER: want and do)",
        "path route",
    ),
}
"""Keyed by the cause and who says so: this host (own), the one that was asked (host), or another (router), which stands
for the others, too, where they have no row.  What they mean is mostly the code's own meaning."""


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
