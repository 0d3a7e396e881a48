"""The socket options that netlab knows: rows, not code.  `optionvalues` knows what each kind means.

Sources: socket(7), tcp(7), ip(7), ipv6(7), udp(7), unix(7), raw(7) and the kernel's uapi headers.  A number is Linux's
and is used where Python lacks the name; on another system a row without a constant of its own is absent.

Left out on purpose: SO_PEERPIDFD opens a descriptor when read, TCP_SAVED_SYN is emptied by reading, IP_PROTOCOL
answers with the port, TCP_INFO has a module of its own (`tcpinfo`).  SO_ERROR clears itself: it is the last row.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["LEVELS", "OPTIONS", "Kind", "SocketOption"]


class Kind(Enum):
    """What an option holds: how `optionvalues` reads, writes and shows it."""

    FLAG = "flag"
    INT = "int"
    BITS = "bits"
    NAMED = "named"
    BYTES = "bytes"
    SECONDS = "seconds"
    MILLISECONDS = "milliseconds"
    MICROSECONDS = "microseconds"
    RATE = "bytes per second"
    COOKIE = "cookie"
    LINGER = "linger"
    TIMEVAL = "timeval"
    TEXT = "text"
    ADDRESS = "address"
    INTERFACE = "interface"
    INTERFACE_BE = "interface, big endian"
    PORTS = "ports"
    UCRED = "ucred"
    GROUPS = "groups"
    MEMINFO = "meminfo"
    OPAQUE = "opaque"
    ERRNO = "errno"


class SocketOption(NamedTuple):
    """One option of getsockopt(2) and setsockopt(2).

    ``sockets`` names the kinds of socket that have it (`sockopts.socket_kind`), ``main`` those where it belongs to
    the few that matter.  ``names`` maps the numbers of a `Kind.NAMED` option to words.
    """

    name: str
    number: int
    kind: Kind
    meaning: str
    sockets: frozenset[str]
    main: frozenset[str]
    settable: bool
    names: Mapping[int, str]

    @property
    def level(self) -> str:
        """The level's name, such as ``IPPROTO_TCP``."""
        return _LEVEL_OF_PREFIX[self.name.partition("_")[0]]


LEVELS: Mapping[str, int] = MappingProxyType(
    {
        "SOL_SOCKET": socket.SOL_SOCKET,
        "IPPROTO_TCP": socket.IPPROTO_TCP,
        "IPPROTO_UDP": socket.IPPROTO_UDP,
        "IPPROTO_IP": socket.IPPROTO_IP,
        "IPPROTO_IPV6": socket.IPPROTO_IPV6,
        "SOL_RAW": 255,
    }
)
"""Number of each level, in the order in which levels are shown."""

_LEVEL_OF_PREFIX = {
    "SO": "SOL_SOCKET",
    "TCP": "IPPROTO_TCP",
    "UDP": "IPPROTO_UDP",
    "IP": "IPPROTO_IP",
    "IPV6": "IPPROTO_IPV6",
    "ICMP": "SOL_RAW",
}

# MIPS, SPARC, Alpha and PA-RISC number the options of SOL_SOCKET their own way, and it is 0xffff there.
_LINUX = sys.platform == "linux"
_LINUX_SOCKET = _LINUX and socket.SOL_SOCKET == 1

_NONE: frozenset[str] = frozenset()
_TCP = frozenset({"tcp4", "tcp6"})
_UDP = frozenset({"udp4", "udp6"})
_V4 = frozenset({"tcp4", "udp4", "ping4", "raw4"})
_V6 = frozenset({"tcp6", "udp6", "ping6", "raw6"})
_RAW4 = frozenset({"raw4"})
_UNIX = frozenset({"unix"})
_INET = _V4 | _V6
_ANY = _INET | _UNIX
_DATAGRAM = _INET - _TCP

_NO_NAMES: Mapping[int, str] = MappingProxyType({})
_TYPES = {int(kind): kind.name for kind in socket.SocketKind if not kind.name.endswith(("CLOEXEC", "NONBLOCK"))}
_DOMAINS = {int(family): family.name for family in socket.AddressFamily}
_PROTOCOLS = {
    number: f"IPPROTO_{name}"
    for number, name in ((1, "ICMP"), (6, "TCP"), (17, "UDP"), (58, "ICMPV6"), (136, "UDPLITE"), (255, "RAW"))
}
_PATH_MTU = {0: "dont", 1: "want", 2: "do", 3: "probe", 4: "interface", 5: "omit"}


def _row(
    name: str,
    number: int,
    kind: Kind,
    sockets: frozenset[str],
    meaning: str,
    *,
    main: frozenset[str] = _NONE,
    settable: bool = True,
    names: Mapping[int, str] = _NO_NAMES,
) -> SocketOption | None:
    """Make one row; None where this platform lacks the option."""
    known = _LINUX_SOCKET if name.startswith("SO_") else _LINUX
    actual = getattr(socket, name, number if known else None)
    if kind is Kind.TIMEVAL and sys.platform == "win32":  # milliseconds there, no struct timeval
        actual = None
    return None if actual is None else SocketOption(name, actual, kind, meaning, sockets, main, settable, names)


_K = Kind
_SOCKET_ROWS = (
    _row("SO_TYPE", 3, _K.NAMED, _ANY, "byte stream, datagrams or raw", main=_ANY, settable=False, names=_TYPES),
    _row("SO_DOMAIN", 39, _K.NAMED, _ANY, "address family", settable=False, names=_DOMAINS),
    _row("SO_PROTOCOL", 38, _K.NAMED, _ANY, "protocol below the socket", settable=False, names=_PROTOCOLS),
    _row("SO_ACCEPTCONN", 30, _K.FLAG, _TCP | _UNIX, "1: this is a listener", settable=False),
    _row("SO_REUSEADDR", 2, _K.FLAG, _ANY, "1: bind() ignores connections in TIME_WAIT", main=_TCP),
    _row("SO_REUSEPORT", 15, _K.FLAG, _INET, "1: several sockets share one port"),
    _row("SO_KEEPALIVE", 9, _K.FLAG, _ANY, "1: ask an idle peer whether it still lives", main=_TCP),
    _row("SO_BROADCAST", 6, _K.FLAG, _DATAGRAM, "1: may send to a broadcast address", main=frozenset({"udp4"})),
    _row("SO_DONTROUTE", 5, _K.FLAG, _INET, "1: only to hosts on this link"),
    _row("SO_OOBINLINE", 10, _K.FLAG, _TCP | _UNIX, "1: urgent data stays in the stream"),
    _row("SO_LINGER", 13, _K.LINGER, _ANY, "off: close() returns, data still goes out", main=_TCP),
    _row("SO_RCVBUF", 8, _K.BYTES, _ANY, "receive buffer, as the kernel counts", main=_ANY),
    _row("SO_SNDBUF", 7, _K.BYTES, _ANY, "send buffer, as the kernel counts", main=_ANY),
    _row("SO_RCVLOWAT", 18, _K.BYTES, _ANY, "recv and poll wait for this much"),
    _row("SO_SNDLOWAT", 19, _K.BYTES, _ANY, "always 1 on Linux", settable=False),
    _row("SO_RCVTIMEO", 20, _K.TIMEVAL, _ANY, "longest wait of recv and accept"),
    _row("SO_SNDTIMEO", 21, _K.TIMEVAL, _ANY, "longest wait of send and connect"),
    _row("SO_PRIORITY", 12, _K.INT, _ANY, "queueing priority of what is sent"),
    _row("SO_MARK", 36, _K.BITS, _INET, "firewall mark of what is sent"),
    _row("SO_RCVMARK", 75, _K.FLAG, _INET, "1: recvmsg tells the firewall mark"),
    _row("SO_BINDTODEVICE", 25, _K.TEXT, _INET, "only this network interface, by name"),
    _row("SO_BINDTOIFINDEX", 62, _K.INTERFACE, _INET, "only this network interface, by index"),
    _row("SO_INCOMING_CPU", 49, _K.INT, _ANY, "CPU that handled the last packet in"),
    _row("SO_INCOMING_NAPI_ID", 56, _K.INT, _INET, "network card queue of the last packet in", settable=False),
    _row("SO_COOKIE", 57, _K.COOKIE, _ANY, "the kernel's own number (ss: sk)", settable=False),
    _row("SO_NETNS_COOKIE", 71, _K.COOKIE, _ANY, "number of the network namespace", settable=False),
    _row("SO_MEMINFO", 55, _K.MEMINFO, _ANY, "drops: datagrams lost, buffer full", main=_UDP, settable=False),
    _row("SO_MAX_PACING_RATE", 47, _K.RATE, _INET, "never send faster than this"),
    _row("SO_BUSY_POLL", 46, _K.MICROSECONDS, _ANY, "spin this long for a packet before sleeping"),
    _row("SO_PREFER_BUSY_POLL", 69, _K.FLAG, _ANY, "1: busy polling before interrupts"),
    _row("SO_ZEROCOPY", 60, _K.FLAG, _TCP | _UDP, "1: send may use MSG_ZEROCOPY"),
    _row("SO_RXQ_OVFL", 40, _K.FLAG, _DATAGRAM | _UNIX, "1: recvmsg tells how many were dropped"),
    _row("SO_TIMESTAMP", 29, _K.FLAG, _ANY, "1: recvmsg tells the arrival time in us"),
    _row("SO_TIMESTAMPNS", 35, _K.FLAG, _ANY, "1: recvmsg tells the arrival time in ns"),
    _row("SO_TIMESTAMPING", 37, _K.BITS, _ANY, "which time stamps are made and told"),
    _row("SO_PEEK_OFF", 42, _K.INT, _TCP | _UDP | _UNIX, "where MSG_PEEK starts; -1: at the front"),
    _row("SO_BUF_LOCK", 72, _K.BITS, _ANY, "buffers not tuned: 1 SNDBUF, 2 RCVBUF"),
    _row("SO_TXREHASH", 74, _K.FLAG, _TCP, "1: try another path after time-outs"),
    _row("SO_DEBUG", 1, _K.FLAG, _ANY, "1: the kernel records debugging facts"),
    _row("SO_PASSCRED", 16, _K.FLAG, _UNIX, "1: recvmsg tells pid, uid and gid", main=_UNIX),
    _row("SO_PEERCRED", 17, _K.UCRED, _UNIX, "who connected, or listened", main=_UNIX, settable=False),
    _row("SO_PEERGROUPS", 59, _K.GROUPS, _UNIX, "the peer's other group ids", settable=False),
    _row("SO_PEERSEC", 31, _K.TEXT, _UNIX, "the peer's security label", settable=False),
    _row("SO_PASSSEC", 34, _K.FLAG, _UNIX, "1: recvmsg tells the security label"),
)
_TCP_ROWS = (
    _row("TCP_NODELAY", 1, _K.FLAG, _TCP, "0: small writes may wait for an ACK (Nagle)", main=_TCP),
    _row("TCP_MAXSEG", 2, _K.BYTES, _TCP, "largest segment now", main=_TCP),
    _row("TCP_CORK", 3, _K.FLAG, _TCP, "1: hold back what does not fill a segment"),
    _row("TCP_KEEPIDLE", 4, _K.SECONDS, _TCP, "first keepalive after this silence", main=_TCP),
    _row("TCP_KEEPINTVL", 5, _K.SECONDS, _TCP, "between two keepalives"),
    _row("TCP_KEEPCNT", 6, _K.INT, _TCP, "unanswered keepalives that end it"),
    _row("TCP_SYNCNT", 7, _K.INT, _TCP, "connect() sends SYN again this often"),
    _row("TCP_LINGER2", 8, _K.SECONDS, _TCP, "FIN_WAIT2 after close() lasts this long"),
    _row("TCP_DEFER_ACCEPT", 9, _K.SECONDS, _TCP, "accept() waits this long for first bytes"),
    _row("TCP_WINDOW_CLAMP", 10, _K.BYTES, _TCP, "largest window that is offered"),
    _row("TCP_QUICKACK", 12, _K.FLAG, _TCP, "1: acknowledge at once, for now"),
    _row("TCP_CONGESTION", 13, _K.TEXT, _TCP, "congestion control", main=_TCP),
    _row("TCP_CC_INFO", 26, _K.OPAQUE, _TCP, "the congestion control's own state", settable=False),
    _row("TCP_USER_TIMEOUT", 18, _K.MILLISECONDS, _TCP, "give up on unacknowledged data; 0: default", main=_TCP),
    _row("TCP_FASTOPEN", 23, _K.INT, _TCP, "listener: how many may connect with data"),
    _row("TCP_FASTOPEN_CONNECT", 30, _K.FLAG, _TCP, "1: connect() waits for data for the SYN"),
    _row("TCP_FASTOPEN_NO_COOKIE", 34, _K.FLAG, _TCP, "1: fast open without a cookie"),
    _row("TCP_NOTSENT_LOWAT", 25, _K.BYTES, _TCP, "writable below this much unsent; 0: default"),
    _row("TCP_THIN_LINEAR_TIMEOUTS", 16, _K.FLAG, _TCP, "1: thin streams resend without backing off"),
    _row("TCP_SAVE_SYN", 27, _K.INT, _TCP, "listener, 1: keep each client's SYN header"),
    _row("TCP_ULP", 31, _K.TEXT, _TCP, "upper layer in the kernel, such as tls"),
    _row("TCP_INQ", 36, _K.FLAG, _TCP, "1: recvmsg tells how much is left to read"),
    _row("TCP_TX_DELAY", 37, _K.MICROSECONDS, _TCP, "every segment is held back this long"),
    _row("TCP_IS_MPTCP", 43, _K.FLAG, _TCP, "1: multipath TCP", settable=False),
    _row("TCP_RTO_MAX_MS", 44, _K.MILLISECONDS, _TCP, "longest wait before sending again"),
    _row("TCP_RTO_MIN_US", 45, _K.MICROSECONDS, _TCP, "shortest wait before sending again"),
    _row("TCP_DELACK_MAX_US", 46, _K.MICROSECONDS, _TCP, "longest delay of an ACK"),
)
_UDP_ROWS = (
    _row("UDP_CORK", 1, _K.FLAG, _UDP, "1: collect writes into one datagram"),
    _row("UDP_SEGMENT", 103, _K.BYTES, _UDP, "split what is sent into these; 0: not"),
    _row("UDP_GRO", 104, _K.FLAG, _UDP, "1: recvmsg may join datagrams of a flow"),
    _row("UDP_NO_CHECK6_TX", 101, _K.FLAG, frozenset({"udp6"}), "1: send without a checksum"),
    _row("UDP_NO_CHECK6_RX", 102, _K.FLAG, frozenset({"udp6"}), "1: take datagrams without a checksum"),
)
# An AF_INET6 socket with IPv4-mapped addresses sends IPv4: what governs that is readable and settable there too.
_IP_ROWS = (
    _row("IP_TOS", 1, _K.BITS, _INET, "DSCP and ECN bits of what is sent"),
    _row("IP_TTL", 2, _K.INT, _INET, "routers a packet may pass", main=_V4),
    _row("IP_MTU_DISCOVER", 10, _K.NAMED, _V4, "want, do: sent with DF (do not fragment)", names=_PATH_MTU),
    _row("IP_MTU", 14, _K.BYTES, _INET, "largest packet on this path", main=_V4, settable=False),
    _row("IP_RECVERR", 11, _K.FLAG, _V4, "1: ICMP errors go to the error queue", main=frozenset({"udp4"})),
    _row("IP_RECVTTL", 12, _K.FLAG, _V4, "1: recvmsg tells the TTL"),
    _row("IP_RECVTOS", 13, _K.FLAG, _V4, "1: recvmsg tells the TOS byte"),
    _row("IP_PKTINFO", 8, _K.FLAG, _V4, "1: recvmsg tells interface and address"),
    _row("IP_RECVORIGDSTADDR", 20, _K.FLAG, _V4, "1: recvmsg tells the first destination"),
    _row("IP_RECVFRAGSIZE", 25, _K.FLAG, _V4, "1: recvmsg tells the largest fragment"),
    _row("IP_FREEBIND", 15, _K.FLAG, _V4, "1: may bind to an address not here yet"),
    _row("IP_TRANSPARENT", 19, _K.FLAG, _V4, "1: may act for other hosts' addresses"),
    _row("IP_MINTTL", 21, _K.INT, _V4, "drop what comes with a smaller TTL"),
    _row("IP_BIND_ADDRESS_NO_PORT", 24, _K.FLAG, _V4, "1: bind() leaves the port to connect()"),
    _row("IP_LOCAL_PORT_RANGE", 51, _K.PORTS, _V4, "local ports to choose from"),
    _row("IP_UNICAST_IF", 50, _K.INTERFACE_BE, _V4, "interface for what is sent; 0: the route's"),
    _row("IP_MULTICAST_IF", 32, _K.ADDRESS, _V4, "interface for multicast, by its address"),
    _row("IP_MULTICAST_TTL", 33, _K.INT, _V4, "routers a multicast packet may pass"),
    _row("IP_MULTICAST_LOOP", 34, _K.FLAG, _V4, "1: this host hears its own multicast"),
    _row("IP_MULTICAST_ALL", 49, _K.FLAG, _V4, "1: groups joined by other sockets too"),
    _row("IP_HDRINCL", 3, _K.FLAG, _RAW4, "1: we write the IP header", main=_RAW4),
)
_IPV6_ROWS = (
    _row("IPV6_V6ONLY", 26, _K.FLAG, _V6, "0: a listener on :: takes IPv4 too", main=frozenset({"tcp6", "udp6"})),
    _row("IPV6_UNICAST_HOPS", 16, _K.INT, _V6, "routers a packet may pass", main=_V6),
    _row("IPV6_TCLASS", 67, _K.BITS, _V6, "DSCP and ECN bits of what is sent"),
    _row("IPV6_MTU", 24, _K.BYTES, _V6, "largest packet on this path", main=_V6),
    _row("IPV6_MTU_DISCOVER", 23, _K.NAMED, _V6, "do: too big fails, is not fragmented", names=_PATH_MTU),
    _row("IPV6_DONTFRAG", 62, _K.FLAG, _V6, "1: never fragment here"),
    _row("IPV6_RECVERR", 25, _K.FLAG, _V6, "1: ICMP errors go to the error queue", main=frozenset({"udp6"})),
    _row("IPV6_RECVPKTINFO", 49, _K.FLAG, _V6, "1: recvmsg tells interface and address"),
    _row("IPV6_RECVHOPLIMIT", 51, _K.FLAG, _V6, "1: recvmsg tells the hop limit"),
    _row("IPV6_RECVTCLASS", 66, _K.FLAG, _V6, "1: recvmsg tells the traffic class"),
    _row("IPV6_MINHOPCOUNT", 73, _K.INT, _V6, "drop what comes with a smaller hop limit"),
    _row("IPV6_AUTOFLOWLABEL", 70, _K.FLAG, _V6, "1: the kernel makes up flow labels"),
    _row("IPV6_ADDR_PREFERENCES", 72, _K.BITS, _V6, "which own address to prefer (RFC 5014)"),
    _row("IPV6_FREEBIND", 78, _K.FLAG, _V6, "1: may bind to an address not here yet"),
    _row("IPV6_TRANSPARENT", 75, _K.FLAG, _V6, "1: may act for other hosts' addresses"),
    _row("IPV6_UNICAST_IF", 76, _K.INTERFACE_BE, _V6, "interface for what is sent; 0: the route's"),
    _row("IPV6_MULTICAST_IF", 17, _K.INTERFACE, _V6, "interface for multicast"),
    _row("IPV6_MULTICAST_HOPS", 18, _K.INT, _V6, "routers a multicast packet may pass"),
    _row("IPV6_MULTICAST_LOOP", 19, _K.FLAG, _V6, "1: this host hears its own multicast"),
    _row("IPV6_MULTICAST_ALL", 29, _K.FLAG, _V6, "1: groups joined by other sockets too"),
)
_LAST_ROWS = (
    _row("ICMP_FILTER", 1, _K.BITS, _RAW4, "ICMP types that are not passed on, as bits", main=_RAW4),
    _row("SO_ERROR", 4, _K.ERRNO, _ANY, "error that waited; reading has cleared it", settable=False),
)

OPTIONS: tuple[SocketOption, ...] = tuple(
    row for row in _SOCKET_ROWS + _TCP_ROWS + _UDP_ROWS + _IP_ROWS + _IPV6_ROWS + _LAST_ROWS if row is not None
)
"""Every option, in the order in which they are read."""
