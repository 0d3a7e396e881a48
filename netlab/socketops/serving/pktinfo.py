"""The address that a datagram was sent to, and answering from there: IP_PKTINFO (ip(7)), IPV6_PKTINFO (RFC 3542).

A socket on all addresses answers from whichever the route back prefers.  Where that is not the one that was asked, a
connected client sees silence: its kernel takes datagrams of its peer's address only (udp(7)).
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from collections.abc import Iterable, Iterator

from netlab.socketops.opening import Bound

__all__ = ["CONTROL_ROOM", "Control", "control_back", "destinations_told", "tells_destination"]

Control = list[tuple[int, int, bytes]]
"""Control messages as recvmsg gives them and sendmsg takes them: level, type, data."""

CONTROL_ROOM = 256
"""Bytes of room for a datagram's control messages: these take 72 at most, but --set may ask for others, too."""

_WILDCARDS = frozenset({"0.0.0.0", "::", "::ffff:0.0.0.0"})
_LEVEL_4, _PKTINFO_4 = socket.IPPROTO_IP, 8  # Python has no IP_PKTINFO; linux/in.h
_LEVEL_6, _PKTINFO_6 = socket.IPPROTO_IPV6, getattr(socket, "IPV6_PKTINFO", 50)
_ASK_4 = (_LEVEL_4, _PKTINFO_4)
_ASK_6 = (_LEVEL_6, getattr(socket, "IPV6_RECVPKTINFO", 49))

_INFO_4 = struct.Struct("@i4s4s")
"""struct in_pktinfo: the interface, this host's address that was meant, the destination in the IP header."""
_INFO_6 = struct.Struct("@16si")
"""struct in6_pktinfo: the destination, the interface."""


@contextlib.contextmanager
def destinations_told(sockets: Iterable[Bound]) -> Iterator[None]:
    """Let the UDP sockets among these that are bound to all addresses tell where each datagram was sent to.

    Afterwards adopted ones are as they were, for they are their owner's, too.  Nothing is done elsewhere than on Linux,
    nor where the kernel will not.
    """
    with contextlib.ExitStack() as stack:
        for bound in sockets:
            for option in _wanted(bound):
                if not _is_set(bound.sock, option):
                    _set(bound.sock, option, 1)
                    if bound.adopted:
                        stack.callback(_set, bound.sock, option, 0)
        yield


def tells_destination(bound: Bound) -> bool:
    """Tell whether answers have to be sent from where recvmsg says, and it does say so."""
    wanted = _wanted(bound)
    return bool(wanted) and all(_is_set(bound.sock, option) for option in wanted)


def control_back(came: Iterable[tuple[int, int, bytes]]) -> Control:
    """Return what sendmsg takes to answer from the address that a datagram was sent to.

    Args:
      came: its control messages.

    Returns:
      one message; none where the datagram went to a group of IPv6, so that this host's routes choose, as the kernel
      itself has chosen for one of IPv4.  The interface is left to the routes, too, but for link-local addresses, which
      mean nothing without theirs.
    """
    found = {(level, kind): data for level, kind, data in came}
    if len(info := found.get((_LEVEL_4, _PKTINFO_4), b"")) == _INFO_4.size:
        # First, for a socket of both families tells of IPv4 in both ways, and only this one knows of broadcasts.
        _, meant, named = _INFO_4.unpack(info)
        # What came before the option was set has the header's address alone.
        address = meant if any(meant) else named
        if address[0] < 224:  # no group, and not 255.255.255.255
            return [(_LEVEL_4, _PKTINFO_4, _INFO_4.pack(0, address, bytes(4)))]
    elif len(info := found.get((_LEVEL_6, _PKTINFO_6), b"")) == _INFO_6.size:
        address, interface = _INFO_6.unpack(info)
        if address[0] != 0xFF:
            link_local = address[0] == 0xFE and address[1] & 0xC0 == 0x80
            return [(_LEVEL_6, _PKTINFO_6, _INFO_6.pack(address, interface if link_local else 0))]
    return []


def _wanted(bound: Bound) -> list[tuple[int, int]]:
    """Return the options that a socket needs for it."""
    endpoint, sock = bound.endpoint, bound.sock
    if sys.platform != "linux" or endpoint.transport != "udp" or endpoint.host not in _WILDCARDS:
        return []
    if sock.family == socket.AF_INET:
        return [_ASK_4]
    return [_ASK_6] if sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) else [_ASK_6, _ASK_4]


def _is_set(sock: socket.socket, option: tuple[int, int]) -> bool:
    try:
        return bool(sock.getsockopt(*option))
    except OSError:
        return False


def _set(sock: socket.socket, option: tuple[int, int], value: int) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(*option, value)
