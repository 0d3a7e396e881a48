"""The parts of an endpoint: host, port and unix path, each checked and made canonical.

`netlab.endpoint` puts them together; nothing else should import this.  Nothing is resolved here but the names in
/etc/services.  Message texts are safe for a terminal: whatever they quote is escaped.
"""

from __future__ import annotations

import os
import re
import sys

__all__ = [
    "SCOPE",
    "EndpointError",
    "canonical_ipv6",
    "is_port_list",
    "parse_host",
    "parse_icmp_host",
    "parse_path",
    "parse_port",
    "parse_ports",
    "service_port",
    "shown",
    "unbracket",
]

# unix(7): sun_path has 108 bytes on Linux (104 on the BSDs and macOS), one of them the NUL after a path or before an
# abstract name.
_PATH_MAX = 107 if sys.platform.startswith("linux") else 103

_NUMBER = re.compile(r"-?[0-9]+")
_PORT_LIST = re.compile(r"[0-9,-]*[0-9][0-9,-]*")
_RANGE = re.compile(r"([0-9]*)-([0-9]*)")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+*-]*")
# RFC 1123, and the underscore that container names use.  A hyphen in front would be an option in a pasted command.
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}")
SCOPE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
"""An interface's name (IFNAMSIZ is 16, with its NUL) or number."""


class EndpointError(ValueError):
    """A text that is no endpoint; the message is one line that says what is wrong and what would be right."""


def shown(text: str) -> str:
    """Quote a text for a message: shortened, with all that does not print (C0, C1, bidi controls) escaped."""
    return repr(text if len(text) <= 64 else text[:60] + "...")


def parse_host(text: str) -> str:
    """Return a host in its canonical form: IPv6 compressed, IPv4 addresses and names as they are."""
    if not text:
        raise EndpointError("the host is empty; write a name or an address, such as 127.0.0.1")
    if any(c.isspace() for c in text):
        raise EndpointError(f"the host {shown(text)} has white space in it; a host has none")
    if not text.isprintable():
        raise EndpointError(f"the host {shown(text)} has a character that does not print; a host has none")
    if ":" in text:
        address = canonical_ipv6(text)
        if not address:
            raise EndpointError(f"{shown(text)} is no host; a host is written without a port")
        return address
    if "*" in text:
        raise EndpointError(f"{shown(text)} is no host; all addresses are 0.0.0.0 for IPv4 and [::] for IPv6")
    if "/" in text or "@" in text:
        alone = text.rpartition("@")[2].partition("/")[0]
        guess = f"unix:{text}" if not alone or text[0] in ".@" else alone
        raise EndpointError(f"{shown(text)} is no host, which has no '/' and no '@'. Did you mean {guess}?")
    _check_name(text)
    return text


def _check_name(text: str) -> None:
    """Refuse what no resolver could find, so that the message can say why."""
    if len(text) > 253:
        raise EndpointError(f"the host {shown(text)} has {len(text)} characters; 253 is the most")
    if "\uff1a" in text:
        raise EndpointError(f"{shown(text)} has a full-width colon (U+FF1A); write HOST:PORT with the ASCII one")
    try:
        # Python's socket calls encode names with this codec too, so what fails here cannot be looked up.
        name = text if text.isascii() else text.encode("idna").decode("ascii")
    except UnicodeError:
        raise EndpointError(f"the host {shown(text)} is no internationalised name (RFC 3490)") from None
    if name.strip(".") and not name.strip("0123456789."):
        import socket

        try:
            socket.inet_pton(socket.AF_INET, text)
        except OSError:
            raise EndpointError(
                f"{shown(text)} is no IPv4 address, which has four numbers from 0 to 255, such as 127.0.0.1"
            ) from None
    for label in name.removesuffix(".").split("."):
        if not _LABEL.fullmatch(label):
            raise EndpointError(
                f"the host {shown(text)} is no name: between its dots stand 1 to 63 letters, digits, '-' and '_'"
            )


def parse_icmp_host(text: str) -> str:
    """Return a host where no port can follow it, so that an IPv6 address needs no brackets."""
    host = unbracket(text)
    if ":" in host and not canonical_ipv6(host):
        raise EndpointError(f"{shown(text)} is no host; ICMP has no ports, write icmp:HOST, such as icmp:127.0.0.1")
    return parse_host(host)


def unbracket(host: str) -> str:
    """Take the brackets off an IPv6 address; return a host without brackets as it is."""
    if not (host.startswith("[") and host.endswith("]")):
        return host
    if not canonical_ipv6(host[1:-1]):
        raise EndpointError(f"{shown(host)} has no IPv6 address between its brackets; other hosts have no brackets")
    return host[1:-1]


def canonical_ipv6(text: str) -> str | None:
    """Return an IPv6 address as the kernel's callers write it, with its scope; None if it is none."""
    import socket

    address, percent, scope = text.partition("%")
    if percent and not SCOPE.fullmatch(scope):
        return None
    try:
        # Not ipaddress: it is slower to import, and writes ::ffff:1.2.3.4 otherwise than getpeername does.
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, address)) + percent + scope
    except (OSError, ValueError):  # ValueError: NUL, a lone surrogate
        return None


def is_port_list(text: str) -> bool:
    """Whether it can only be a port or a list of ports: digits, commas and hyphens."""
    return bool(_PORT_LIST.fullmatch(text))


def parse_port(text: str, transport: str, *, listening: bool = False) -> int:
    """Return one port, given as a number or as a name in /etc/services; 0 only for listening."""
    if _NUMBER.fullmatch(text):
        # int() refuses thousands of digits with a message of its own.
        number = int(text) if len(text.lstrip("0")) <= 5 else 65536
        if not 0 <= number <= 65535:
            raise EndpointError(f"port {text[:20]} is out of range; ports are 1 to 65535")
        if number == 0 and not listening:
            raise EndpointError("port 0 cannot be connected to; a client needs 1 to 65535")
        return number
    if is_port_list(text):
        raise EndpointError(f"{shown(text)} is a list of ports; only probe takes one, here stands one port")
    number = service_port(text, transport)
    if not number:
        raise EndpointError(
            f"{shown(text)} is no {transport} port; write a number from 1 to 65535 or a name in /etc/services"
        )
    return number


def service_port(name: str, transport: str) -> int:
    """Return the port of a service (services(5)), 0 where there is none."""
    import socket

    if not _SERVICE.fullmatch(name):
        return 0
    try:
        return socket.getservbyname(name, transport)
    except OSError:
        return 0


def parse_ports(text: str, *, transport: str = "tcp") -> tuple[int, ...]:
    """Read a list of ports such as ``22,http,8000-8010``: 1 to 65535, each once, in the order of the list.

    Raises:
      EndpointError: an item is no port, a range is reversed, or an item is empty.
    """
    ports: dict[int, None] = {}
    for item in text.split(","):
        if not item:
            raise EndpointError(f"the port list {shown(text)} has an empty item; write it like 80,443,8000-8010")
        span = _RANGE.fullmatch(item)
        if not span:
            ports[parse_port(item, transport)] = None
            continue
        if not span[1] or not span[2]:
            missing = "an end" if span[1] else "a start"
            raise EndpointError(f"the port range {shown(item)} lacks {missing}; write it like 8000-8010")
        first, last = (parse_port(end, transport) for end in span.groups())
        if first > last:
            raise EndpointError(f"the port range {shown(item)} is reversed. Did you mean {last}-{first}?")
        ports.update(dict.fromkeys(range(first, last + 1)))
    return tuple(ports)


def parse_path(text: str) -> str:
    """Return a unix path, or an abstract name with @ in front, that fits into sun_path (unix(7))."""
    if text in ("", "@"):
        raise EndpointError("the unix path is empty; write unix:PATH, or unix:@NAME for an abstract name")
    if "\0" in text:
        raise EndpointError(f"the unix path {shown(text)} has a NUL in it, which ends a path")
    try:
        size = len(os.fsencode(text.removeprefix("@")))
    except UnicodeEncodeError:
        raise EndpointError(f"the unix path {shown(text)} cannot be encoded for the file system") from None
    if size > _PATH_MAX:
        what = "abstract name" if text.startswith("@") else "unix path"
        raise EndpointError(f"the {what} {shown(text)} has {size} bytes; {_PATH_MAX} is the most (sun_path, unix(7))")
    return text
