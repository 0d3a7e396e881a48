"""getaddrinfo's own errors (EAI_*), in words.  They are no errnos, and negative on Linux."""

from __future__ import annotations

from netlab.explain.steps import Row

__all__ = ["RESOLVE", "gai_name"]

_LINUX = {
    -1: "EAI_BADFLAGS",
    -2: "EAI_NONAME",
    -3: "EAI_AGAIN",
    -4: "EAI_FAIL",
    -5: "EAI_NODATA",
    -6: "EAI_FAMILY",
    -7: "EAI_SOCKTYPE",
    -8: "EAI_SERVICE",
    -9: "EAI_ADDRFAMILY",
    -10: "EAI_MEMORY",
    -11: "EAI_SYSTEM",
    -12: "EAI_OVERFLOW",
    -105: "EAI_IDN_ENCODE",
}


def gai_name(number: int) -> str:
    """Return the name of a getaddrinfo error on Linux (netdb.h of glibc and musl); ``EAI_<number>`` for others.

    >>> gai_name(-2)
    'EAI_NONAME'
    """
    return _LINUX.get(number, f"EAI_{number}")


RESOLVE: dict[str, Row] = {
    "EAI_NONAME": (
        "no such host name",
        "hosts file and DNS answered: they do not know the name",
        "a typing error; a name without its domain (db for db.example.org); the name is known only inside a VPN or a "
        "container network",
        "lookup resolved servers",
    ),
    "EAI_AGAIN": (
        "no answer from the name service for now",
        "temporary: no DNS server answers, so the name may well exist",
        "no network, or the DNS server is down; a firewall drops port 53; /etc/resolv.conf names the wrong server",
        "servers resolved lookup",
    ),
    "EAI_NODATA": (
        "the name exists, but has no address of this kind",
        "DNS knows the name, and no A or AAAA record that was asked for",
        "the name is for other records (mail, text); it has only the family that -4 or -6 leaves out",
        "lookup-4 lookup-6 resolved",
    ),
    "EAI_ADDRFAMILY": (
        "the host has no address of the family that was asked for",
        "the address is of one family, -4 or -6 asks for the other",
        "-6 with an IPv4 address, or -4 with an IPv6 address; the host has only the other family",
        "lookup-4 lookup-6",
    ),
    "EAI_SERVICE": (
        "no such service name for this transport",
        "/etc/services does not know the word in the port's place",
        "a typing error; the name is known for TCP or for UDP only: write the number",
        "services",
    ),
    "EAI_FAIL": (
        "the name service failed for good",
        "a DNS server answered that it cannot answer (refused, broken)",
        "the DNS server does not serve this client or this name; a broken zone or DNSSEC signature",
        "resolved servers lookup",
    ),
    "EAI_IDN_ENCODE": (
        "the name cannot be written in DNS letters",
        "an internationalised name is broken (RFC 5891)",
        "a character that host names cannot have",
        "lookup",
    ),
    "": (
        "the name service failed ({error})",
        "getaddrinfo itself could not do its work",
        "/etc/nsswitch.conf or a module that it names is broken; this host lacks memory, descriptors or permission",
        "lookup switch servers",
    ),
}
