"""ICMP echo, as ping sends it: RFC 792 (v4), RFC 4443 section 4 (v6), icmp(7), raw(7).

A ping socket needs no root where net.ipv4.ping_group_range has a group of the user: the kernel picks the identifier
and hands over our own replies only.  A raw socket needs CAP_NET_RAW and sees everybody's.  The first is tried first.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Sequence

from netlab.endpoint import Endpoint
from netlab.errors import LocalError, errno_name
from netlab.socketops.connecting import SocketClass, bind_source
from netlab.socketops.probing.asking import Ancillary, Answer, Question
from netlab.socketops.probing.ipheader import IpHeader, build_header, internet_checksum, parse_header
from netlab.socketops.resolving import family_of
from netlab.socketops.sockopts import Setting, apply_settings

__all__ = ["ECHO_SIZE", "echo_question", "open_echo_socket"]

_ECHO = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence."""
ECHO_SIZE = 64
"""Bytes of a message, header and all, as ping has it."""
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}

_KINDS = (socket.SOCK_DGRAM, socket.SOCK_RAW)
_SOL_RAW, _ICMP_FILTER = 255, 1
_ICMP6_FILTER = 1
_IP_RECVTTL = 12 if sys.platform == "linux" else getattr(socket, "IP_RECVTTL", None)
_IP_TTL = socket.IP_TTL
_IPV6_RECVHOPLIMIT = getattr(socket, "IPV6_RECVHOPLIMIT", None)
_IPV6_HOPLIMIT = getattr(socket, "IPV6_HOPLIMIT", -1)

_RIGHTS = (
    ("sysctl -w net.ipv4.ping_group_range='0 2147483647'", "as root: let every group ping"),
    ("sudo netlab probe {at}", "as root: a raw socket"),
)


def open_echo_socket(
    endpoint: Endpoint,
    *,
    header_included: bool = False,
    source: Endpoint | None = None,
    settings: Sequence[Setting] = (),
    socket_class: SocketClass = socket.socket,
) -> socket.socket:
    """Open a non-blocking ping socket, else a raw one, for a numeric ``icmp:`` endpoint.

    Args:
      header_included: we write the IPv4 header (IP_HDRINCL), which only a raw socket lets us.
      source: local host to bind.

    Raises:
      LocalError: this user may open neither, and it says which right is missing; or an option or the source is refused.
    """
    family = family_of(endpoint)
    if header_included and family != socket.AF_INET:
        raise LocalError("socket", endpoint, "the header of an IPv6 packet is the kernel's alone; -4 for IPv4")
    sock = _open(endpoint, family, (socket.SOCK_RAW,) if header_included else _KINDS, socket_class)
    try:
        sock.setblocking(False)
        _set_up(sock)
        if header_included:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        apply_settings(sock, settings)
        if source is not None:
            bind_source(sock, source, endpoint)
    except BaseException:
        sock.close()
        raise
    return sock


def echo_question(endpoint: Endpoint, sock: socket.socket, *, first: int = 1) -> Question:
    """Return the question whether a host answers echo requests.

    Args:
      endpoint: the numeric host that ``sock`` is connected to.
      sock: of `open_echo_socket`.
      first: sequence number of the first request.
    """
    version = 4 if sock.family == socket.AF_INET else 6
    is_raw = sock.type == socket.SOCK_RAW
    identifier = _random_id()
    header = _own_header(sock, endpoint) if _writes_header(sock) else None

    def make(number: int) -> bytes:
        message = _echo(version, identifier, first + number - 1 & 0xFFFF)
        return build_header(header, message) + message if header else message

    def number_of(message: bytes, kind: int) -> int:
        """Return which of our requests a message is or answers, 0 for none."""
        if len(message) < _ECHO.size:
            return 0
        found, _, _, its_identifier, sequence = _ECHO.unpack_from(message)
        # A ping socket's identifier is the kernel's, which has sorted out the others already.
        is_ours = found == kind and (not is_raw or its_identifier == identifier)
        number = (sequence - first & 0xFFFF) + 1
        return number if is_ours and number <= len(question.sent_at) else 0

    def read(datagram: bytes, ancillary: Ancillary) -> Answer | None:
        message = datagram[parse_header(datagram).header_size :] if is_raw and version == 4 else datagram
        number = number_of(message, _REPLY[version])
        return Answer(message, _ttl(ancillary), number) if number else None

    def owns(quoted: bytes) -> bool:
        return bool(number_of(quoted[parse_header(quoted).header_size :] if header else quoted, _REQUEST[version]))

    question = Question(endpoint, sock, make=make, read=read, owns=owns)
    return question


def _open(
    endpoint: Endpoint, family: socket.AddressFamily, kinds: Sequence[socket.SocketKind], socket_class: SocketClass
) -> socket.socket:
    protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    refusals = []
    for kind in kinds:
        try:
            return socket_class(family, kind, protocol)
        except OSError as exc:
            refusals.append(exc)
    raise _no_right(endpoint, refusals)


def _writes_header(sock: socket.socket) -> bool:
    is_raw4 = sock.family == socket.AF_INET and sock.type == socket.SOCK_RAW
    return is_raw4 and bool(sock.getsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL))


def _own_header(sock: socket.socket, endpoint: Endpoint) -> IpHeader:
    return IpHeader(
        source=sock.getsockname()[0],
        destination=endpoint.host,
        identification=_random_id(),
        protocol=socket.IPPROTO_ICMP,
        ttl=sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL),
        tos=sock.getsockopt(socket.IPPROTO_IP, socket.IP_TOS),
    )


def _random_id() -> int:
    """Return 1 to 65535; a 0 would be the kernel's to fill in (raw(7))."""
    return int.from_bytes(os.urandom(4), "big") % 65535 + 1


def _echo(version: int, identifier: int, sequence: int) -> bytes:
    head, data = _ECHO.pack(_REQUEST[version], 0, 0, identifier, sequence), bytes(range(ECHO_SIZE - _ECHO.size))
    # ICMPv6's checksum covers the addresses too; the kernel computes it (RFC 3542 section 3.1).
    checksum = internet_checksum(head + data) if version == 4 else 0
    return _ECHO.pack(_REQUEST[version], 0, checksum, identifier, sequence) + data


def _set_up(sock: socket.socket) -> None:
    """Ask for the TTL of what comes, and, on a raw socket, for echo replies only."""
    if sock.family == socket.AF_INET:
        if _IP_RECVTTL is not None:
            sock.setsockopt(socket.IPPROTO_IP, _IP_RECVTTL, 1)
        if sock.type == socket.SOCK_RAW and sys.platform == "linux":
            sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", ~(1 << _REPLY[4]) & 0xFFFFFFFF))
        return
    if _IPV6_RECVHOPLIMIT is not None:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVHOPLIMIT, 1)
    if sock.type == socket.SOCK_RAW and sys.platform == "linux":
        # RFC 3542 section 3.2; on Linux a set bit blocks its type.
        words = [0xFFFFFFFF] * 8
        words[_REPLY[6] // 32] &= ~(1 << _REPLY[6] % 32) & 0xFFFFFFFF
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))


def _ttl(ancillary: Ancillary) -> int | None:
    wanted = {(int(socket.IPPROTO_IP), int(_IP_TTL)), (int(socket.IPPROTO_IPV6), int(_IPV6_HOPLIMIT))}
    for level, kind, raw in ancillary:
        if (level, kind) in wanted:
            return int.from_bytes(raw[:4], sys.byteorder)
    return None


def _no_right(endpoint: Endpoint, refusals: Sequence[OSError]) -> LocalError:
    """Say why neither socket could be had, and which right would give one."""
    last = refusals[-1]
    if last.errno not in (errno.EPERM, errno.EACCES):
        return LocalError("socket", endpoint, errno=last.errno)
    facts = [f"raw socket: {errno_name(last.errno)}, it needs CAP_NET_RAW, which root has"]
    if len(refusals) > 1:
        code = refusals[0].errno or 0
        facts.insert(0, f"ping socket: {errno_name(code)}, no group of this user is in {_ping_groups()}")
    return LocalError(
        "socket",
        endpoint,
        errno=last.errno,
        facts=tuple(facts),
        means="this user may send no ping of this kind from this host",
        next_steps=tuple((command.format(at=endpoint), why) for command, why in _RIGHTS[len(refusals) == 1 :]),
    )


def _ping_groups() -> str:
    name = "net.ipv4.ping_group_range"
    try:
        with open("/proc/sys/" + name.replace(".", "/"), encoding="ascii") as file:
            return f"{name} ({' '.join(file.read().split())})"
    except OSError:
        return name if os.path.exists("/proc/sys") else "the groups that may"
