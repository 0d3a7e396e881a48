"""A mark on a UDP server's replies, by which another netlab server knows them and lets them lie.

One datagram with a forged source makes two servers that answer everything talk for ever (CVE-2024-2169), and an echo
cannot be told from a request by what it says.  So replies leave with a hop limit that no system starts with (they use
32, 64, 128 and 255), and the kernel drops what comes with it before a server sees it: a socket filter, which needs no
privilege (socket(7), SO_ATTACH_FILTER) and costs nothing per datagram here.
"""

from __future__ import annotations

import array
import socket
import struct
import sys

__all__ = ["mark_replies"]

_MARK = 200
_FARTHEST = 63
"""Hops after which the mark is lost; routes on the internet are shorter, and 255 does not come down to 200 on them."""

_SO_ATTACH_FILTER = getattr(socket, "SO_ATTACH_FILTER", 26)
_NETWORK_HEADER = 0xFFF00000
"""SKF_NET_OFF of linux/filter.h: offsets from here count from the IP header."""
_LOAD_BYTE, _SHIFT_RIGHT, _IF_EQUAL, _IF_AT_LEAST, _SKIP, _RETURN = 0x30, 0x74, 0x15, 0x35, 0x05, 0x06
_PROGRAM = (
    # Each jump skips so many instructions: if true, if not.
    (_LOAD_BYTE, 0, 0, _NETWORK_HEADER),
    (_SHIFT_RIGHT, 0, 0, 4),
    (_IF_EQUAL, 0, 2, 4),  # the IP version
    (_LOAD_BYTE, 0, 0, _NETWORK_HEADER + 8),  # IPv4: time to live (RFC 791)
    (_SKIP, 0, 0, 1),
    (_LOAD_BYTE, 0, 0, _NETWORK_HEADER + 7),  # IPv6: hop limit (RFC 8200)
    (_IF_AT_LEAST, 0, 1, _MARK - _FARTHEST),
    (_IF_AT_LEAST, 0, 1, _MARK + 1),
    (_RETURN, 0, 0, 0xFFFFFFFF),  # keep all of it
    (_RETURN, 0, 0, 0),  # drop it
)


def mark_replies(sock: socket.socket) -> bool:
    """Mark what this UDP socket sends, and drop what comes with the mark; return whether it was done.

    It is not done elsewhere than on Linux, nor where somebody has set the hop limit to a value of their own.
    """
    if sys.platform != "linux" or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    limits = [(socket.IPPROTO_IP, socket.IP_TTL)]
    if sock.family == socket.AF_INET6:  # which may serve IPv4, too
        limits.append((socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS))
    with socket.socket(sock.family, socket.SOCK_DGRAM) as fresh:
        if any(sock.getsockopt(*limit) != fresh.getsockopt(*limit) for limit in limits):
            return False
    program = array.array("B", b"".join(struct.pack("=HBBI", *instruction) for instruction in _PROGRAM))
    address, _ = program.buffer_info()
    # struct sock_fprog: the number of instructions, and where they are; the kernel copies them.
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_PROGRAM), address))
    for limit in limits:
        sock.setsockopt(*limit, _MARK)
    return True
