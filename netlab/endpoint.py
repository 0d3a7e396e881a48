"""Where a socket is: the one grammar for endpoints, and the way to the kernel's sockaddr and back.

A text is validated here and never resolved.  ``str(endpoint)`` is the one canonical text, and parsing it gives the
same endpoint again.  Message texts are safe for a terminal: whatever they quote is escaped.
"""

from __future__ import annotations

import enum
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from netlab.parts import (
    SCOPE,
    EndpointError,
    canonical_ipv6,
    is_port_list,
    parse_host,
    parse_icmp_host,
    parse_path,
    parse_port,
    parse_ports,
    service_port,
    shown,
    unbracket,
)

__all__ = [
    "Endpoint",
    "EndpointError",
    "SockAddr",
    "Transport",
    "from_sockaddr",
    "parse_ports",
    "parse_targets",
    "split_targets",
]

SockAddr = tuple[str, int] | tuple[str, int, int, int] | str | bytes
"""What `socket.socket.connect` takes: IPv4, IPv6 with flow and scope, a unix path, an abstract name."""

_DEFAULT_PORT = 9999
# What a host without a port, or a URL, most likely means; for all others /etc/services is asked.
_USUAL_PORTS = {
    "db": 5432,
    "dns": 53,
    "http": 80,
    "https": 443,
    "mail": 25,
    "mariadb": 3306,
    "mongo": 27017,
    "pg": 5432,
    "postgres": 5432,
    "rabbitmq": 5672,
    "redis": 6379,
    "web": 80,
    "ws": 80,
    "wss": 443,
    "www": 80,
}


class Transport(enum.StrEnum):
    """What carries the bytes; the value is the word in front of an endpoint's colon."""

    TCP = "tcp"
    UDP = "udp"
    UNIX = "unix"
    UNIX_DGRAM = "unix-dgram"
    UNIX_SEQPACKET = "unix-seqpacket"
    ICMP = "icmp"

    @property
    def is_unix(self) -> bool:
        return self in (Transport.UNIX, Transport.UNIX_DGRAM, Transport.UNIX_SEQPACKET)

    @property
    def is_stream(self) -> bool:
        """Whether it is a byte stream, without message boundaries."""
        return self in (Transport.TCP, Transport.UNIX)

    @property
    def is_datagram(self) -> bool:
        return self in (Transport.UDP, Transport.UNIX_DGRAM)

    @property
    def has_connections(self) -> bool:
        return self in (Transport.TCP, Transport.UNIX, Transport.UNIX_SEQPACKET)


_WORDS = frozenset(Transport)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place for a socket.

    Attributes:
      transport: what carries the bytes.
      host: a name, an IPv4 address or a compressed IPv6 address (``%scope`` where it has one, never brackets);
          empty for unix.
      port: 0 to 65535; 0 lets the kernel choose, and stands where there are no ports.
      path: unix only; ``@`` in front marks an abstract name.  Comes from the kernel too: escape it before showing it.
    """

    transport: Transport
    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        transport: Transport = Transport.TCP,
        loopback: str = "127.0.0.1",
        listening: bool = False,
        default_port: int | None = None,
    ) -> Endpoint:
        """Read one endpoint.

        Args:
          text: ``HOST:PORT``, ``[IPV6%SCOPE]:PORT``, ``:PORT``, a bare port, ``unix:PATH``, ``unix:@NAME``,
              ``unix-dgram:``, ``unix-seqpacket:``, ``icmp:HOST``; ``tcp:`` and ``udp:`` may stand in front, and ``//``
              after each of these words.  PORT is a number or a name in /etc/services.
          transport: what a text without such a word means.  For a unix transport that text is a path.
          loopback: the host of ``:PORT`` and of a bare port.
          listening: whether port 0, the kernel's choice, makes sense.
          default_port: the port of a host alone (an IPv6 address may then lack its brackets); None refuses it.

        Raises:
          EndpointError: the text is no endpoint.
        """
        kind, rest = _split_transport(text, transport)
        if kind.is_unix:
            return cls(kind, path=parse_path(rest))
        if kind is Transport.ICMP:
            return cls(kind, parse_icmp_host(rest))
        host, port = _split_port(rest)
        host = parse_host(host) if host else loopback
        if port:
            return cls(kind, host, parse_port(port, kind, listening=listening))
        if default_port is None:
            raise _no_port(text, rest, host, kind)
        return cls(kind, host, default_port)

    @classmethod
    def of(
        cls, host: str, port: int | str = 0, *, transport: Transport = Transport.TCP, listening: bool = False
    ) -> Endpoint:
        """Build an endpoint from a host (an IPv6 address with or without brackets) and a port, checked as in `parse`.

        Raises:
          EndpointError: one of the two is wrong, or the transport has no hosts.
        """
        if transport.is_unix:
            raise EndpointError(f"{transport} has a path, not a host and a port: {transport}:/tmp/s")
        if transport is Transport.ICMP:
            return cls(transport, parse_icmp_host(host))
        checked = parse_host(unbracket(host))
        return cls(transport, checked, parse_port(str(port), transport, listening=listening))

    def __str__(self) -> str:
        kind = self.transport
        if kind.is_unix:
            # `unix:` loses one // after it, so a path that begins with // gets another.
            return f"{kind}://{self.path}" if self.path.startswith("//") else f"{kind}:{self.path}"
        host = f"[{self.host}]" if self.is_ipv6 else self.host
        if kind is Transport.ICMP:
            return f"{kind}:{host}"
        # A host that is called `unix` would else be read as the transport.
        front = f"{kind}://" if kind is not Transport.TCP or host.lower() in _WORDS else ""
        return f"{front}{host}:{self.port}"

    @property
    def is_ipv6(self) -> bool:
        """Whether the host is an IPv6 address."""
        return ":" in self.host

    @property
    def is_numeric(self) -> bool:
        """Whether the host is an address and no name."""
        # No name consists of digits and dots alone: `parse_host` refuses those.
        return self.is_ipv6 or bool(self.host and not self.host.strip("0123456789."))

    @property
    def is_wildcard(self) -> bool:
        """Whether the host stands for every address of its family (ip(7), INADDR_ANY; ipv6(7), in6addr_any)."""
        return self.host in ("0.0.0.0", "::")

    @property
    def is_loopback(self) -> bool:
        """Whether it cannot be reached from another host: 127/8, ::1, localhost (RFC 6761) and all of unix."""
        if self.transport.is_unix:
            return True
        host = self.host.lower().rstrip(".")
        if self.is_numeric:
            return host.startswith(("127.", "::ffff:127.")) or host.partition("%")[0] == "::1"
        return host == "localhost" or host.endswith(".localhost")

    def to_sockaddr(self) -> SockAddr:
        """Return what connect and bind take.

        Raises:
          EndpointError: the host is a name, which `resolve` has to turn into addresses first; or its scope is no
              interface of this host.
        """
        if self.transport.is_unix:
            return b"\0" + os.fsencode(self.path[1:]) if self.path.startswith("@") else self.path
        if not self.is_numeric:
            raise EndpointError(f"{shown(self.host)} is a name and no address; it has to be resolved first")
        if not self.is_ipv6:
            return (self.host, self.port)
        address, _, scope = self.host.partition("%")
        return (address, self.port, 0, _scope_id(scope))


def from_sockaddr(transport: Transport, sockaddr: object) -> Endpoint | None:
    """Turn an address as Python's socket calls return it into an endpoint.

    An IPv4 address that IPv6 wraps (``::ffff:1.2.3.4``, RFC 4291 section 2.5.5.2) is given as IPv4; the flow label is
    dropped.  None stands for no address: an unnamed unix socket, a recvfrom that shutdown woke.
    """
    if not sockaddr:
        return None
    if isinstance(sockaddr, bytes):
        name = os.fsdecode(sockaddr)
        return Endpoint(transport, path="@" + name[1:] if name.startswith("\0") else _plain_path(name))
    if isinstance(sockaddr, str):
        return Endpoint(transport, path=_plain_path(sockaddr))
    if not isinstance(sockaddr, tuple):
        raise TypeError(f"no address of a socket: {sockaddr!r}")
    host, port, *rest = sockaddr
    host = host.removeprefix("::ffff:") if "." in host else host
    if len(rest) == 2 and rest[1] and "%" not in host:
        host = f"{host}%{_scope_name(rest[1])}"
    return Endpoint(transport, host, 0 if transport is Transport.ICMP else port)


def split_targets(
    text: str,
    *,
    transport: Transport = Transport.TCP,
    loopback: str = "127.0.0.1",
    ports: tuple[int, ...] | None = None,
) -> tuple[Endpoint, tuple[int, ...]]:
    """Read an endpoint that may have a list of ports, ``HOST:80,443,8000-8010``.

    Args:
      text: as in `Endpoint.parse`, but for the list.
      transport: as in `Endpoint.parse`.
      loopback: as in `Endpoint.parse`.
      ports: the ports of a host alone, as `parse_ports` returns them; None refuses a host alone.

    Returns:
      the endpoint with its first port, and all its ports: none where there are no ports, for unix and icmp.

    Raises:
      EndpointError: the text is no such endpoint, a range is reversed, or an item is empty.
    """
    kind, rest = _split_transport(text, transport)
    if kind.is_unix or kind is Transport.ICMP:
        return Endpoint.parse(text, transport=transport), ()
    host, port = _split_port(rest)
    host = parse_host(host) if host else loopback
    if port:
        ports = parse_ports(port, transport=kind)
    elif ports is None:
        raise _no_port(text, rest, host, kind)
    return Endpoint(kind, host, ports[0]), ports


def parse_targets(
    text: str,
    *,
    transport: Transport = Transport.TCP,
    loopback: str = "127.0.0.1",
    ports: tuple[int, ...] | None = None,
) -> Iterator[Endpoint]:
    """Read as `split_targets`, and give one endpoint a port; the text is checked at once, they are made one by one."""
    first, numbers = split_targets(text, transport=transport, loopback=loopback, ports=ports)
    if not numbers:
        return iter((first,))
    return (Endpoint(first.transport, first.host, number) for number in numbers)


def _split_transport(text: str, default: Transport) -> tuple[Transport, str]:
    word, colon, rest = text.partition(":")
    if colon and word.lower() in _WORDS:
        return Transport(word.lower()), rest.removeprefix("//")
    if "://" in text and not default.is_unix:
        raise _is_url(word, rest)
    return default, text


def _split_port(text: str) -> tuple[str, str]:
    """Split off the port; an empty host stands for loopback, an empty port for none."""
    if not text:
        raise EndpointError("an endpoint is missing: write HOST:PORT, such as 127.0.0.1:9999, or unix:PATH")
    if text == ":":
        raise EndpointError("':' has no port; write :PORT, such as :9999")
    if is_port_list(text):
        return "", text
    if text.startswith("["):
        inside, bracket, port = text.partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise EndpointError(f"{shown(text)} is no endpoint; an IPv6 address is written as [::1]:9999")
        return unbracket(inside + bracket), port[1:]
    if text.count(":") > 1:
        if not canonical_ipv6(text):
            raise EndpointError(f"{shown(text)} has too many colons; write HOST:PORT, or [::1]:9999 for IPv6")
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _no_port(text: str, rest: str, host: str, kind: Transport) -> EndpointError:
    """Say that a port is missing, and which it could be; the host has been checked, so the text is safe to repeat."""
    if ":" not in host or "[" in rest:
        guess = f"{text.removesuffix(':')}:{_usual_port(host, kind)}"
        return EndpointError(f"{shown(text)} has no port. Did you mean {guess}?")
    front = text.removesuffix(rest)
    guess = f"{front}[{rest}]:{_DEFAULT_PORT}"
    address, _, port = rest.rpartition(":")
    if port.isdecimal() and canonical_ipv6(address):
        guess = f"{front}[{address}]:{port} or {guess}"
    return EndpointError(f"{shown(text)} has no port; IPv6 addresses have brackets. Did you mean {guess}?")


def _usual_port(name: str, kind: Transport) -> int:
    found = re.match(r"[A-Za-z]+", name)
    word = found[0].lower() if found else ""
    return _USUAL_PORTS.get(word) or service_port(word, kind) or _DEFAULT_PORT


def _is_url(scheme: str, rest: str) -> EndpointError:
    """Say that netlab takes no URL; user and password, which one may hold, are not repeated."""
    place = re.split(r"[/?#]", rest.removeprefix("//"), maxsplit=1)[0].rpartition("@")[2]
    says = f"netlab speaks TCP, not {shown(scheme)}"
    try:
        usual = _usual_port(scheme, Transport.TCP)
        return EndpointError(f"{says}. Did you mean {Endpoint.parse(place, default_port=usual)}?")
    except EndpointError:
        return EndpointError(f"{says}; write HOST:PORT, such as 127.0.0.1:9999")


def _plain_path(path: str) -> str:
    """Keep a file whose name begins with @ apart from an abstract name."""
    return f"./{path}" if path.startswith("@") else path


def _scope_id(scope: str) -> int:
    import socket

    try:
        number = int(scope or 0) if not scope.strip("0123456789") else socket.if_nametoindex(scope)
    except OSError:
        number = -1
    if not 0 <= number < 2**32:
        raise EndpointError(f"the scope {shown(scope)} is no interface of this host; see: ip link")
    return number


def _scope_name(index: int) -> str:
    """Return the interface's name, or its number where it has none that the grammar can hold."""
    import socket

    try:
        name = socket.if_indextoname(index)
    except OSError:
        return str(index)
    return name if SCOPE.fullmatch(name) else str(index)
