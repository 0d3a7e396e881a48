"""How a connection attempt can end, in words: rows keyed by ``"KIND ERRNO"``, the errno by name.

``open``, ``self`` and ``timeout`` stand for success, a self-connect and our own clock.
"""

from __future__ import annotations

from netlab.explain.steps import Row

__all__ = ["CONNECT"]

_VANISHED = "a firewall drops them (DROP rule, cloud security group); the host is down, or the address is not in use"
CONNECT: dict[str, Row] = {
    "tcp open": ("the handshake completed, so a program listens here", "a connection stands", "", "chat options"),
    "udp open": ("an answer came", "a program reads this port and answers", "", "chat options"),
    "icmp open": ("an echo reply came", "the host is up and answers pings", "", "ports route"),
    "unix open": ("the kernel connected the two sockets", "a program has this socket open", "", "chat options"),
    "tcp self": (
        "own and peer address are equal: the connection reached itself",
        "no server: the kernel gave this client the very port it calls",
        "no server has the port, and it lies in the range for clients",
        "serve port-range listeners",
    ),
    "tcp ECONNREFUSED": (
        "the host answered RST (or a firewall did for it)",
        "the host is up; nothing listens on this port, or a firewall rejects",
        "the server is not running, or died; it listens on another port; it listens on another address, or only on "
        "{other}",
        "serve listeners twin wait",
    ),
    "udp ECONNREFUSED": (
        "ICMP port unreachable came back",
        "the host is up; no program has this UDP port, or a firewall rejects",
        "the server is not running, or died; it has another port; it is bound to another address, or only on {other}",
        "serve listeners twin wait",
    ),
    "unix ECONNREFUSED": (
        "the path is there, but nothing listens behind it",
        "the server that made this file is gone, or never called listen()",
        "the server died and left its socket file behind; it has bound the path, but not called listen(); the path is "
        "a regular file or a directory, not a socket",
        "file listeners serve wait",
    ),
    "unix-dgram ECONNREFUSED": (
        "the path is there, but no socket is bound to it",
        "the server that made this file is gone, or it was never a socket",
        "the server died and left its socket file behind; the path is a regular file or a directory, not a socket",
        "file listeners serve wait",
    ),
    "abstract ECONNREFUSED": (
        "no socket that listens has this abstract name",
        "abstract names live with their socket: there is no server now",
        "the server is not running, or died; the name differs, if only by a NUL byte at its end; the server is in "
        "another network namespace (container)",
        "listeners serve wait",
    ),
    "any ECONNRESET": (
        "the connection was accepted and reset before it could be used",
        "something listens there, but turned this client away",
        "a proxy or port forwarder has no server behind it; the server refuses this client (address list, limit); "
        "the server crashed, or closed at once",
        "listeners wait trace",
    ),
    "tcp ETIMEDOUT": (
        "no answer to any SYN until the kernel gave up",
        "packets vanish on the way there or back",
        _VANISHED + "; the server's accept queue is full",
        "icmp ports route name queue",
    ),
    "tcp timeout": (
        "neither SYN-ACK nor RST nor ICMP within the time",
        "packets vanish on the way there or back",
        _VANISHED + "; the server's accept queue is full",
        "icmp ports route name queue",
    ),
    "tcp-local timeout": (
        "neither SYN-ACK nor RST nor ICMP within the time",
        "on this host no packet is lost: it was dropped for a reason",
        "the server's accept queue is full: it is busy, stuck or stopped; a local firewall rule drops the packets",
        "queue firewall patient",
    ),
    "udp timeout": (
        "no reply and no ICMP error within the time",
        "undecidable: open and silent, filtered and lost look the same",
        "the server does not answer such a request; a firewall drops the request, the reply or the ICMP error; the "
        "host is down, or the address is not in use",
        "payload arrive silence",
    ),
    "icmp timeout": (
        "no echo reply and no ICMP error within the time",
        "undecidable: a silent host, a filter and a loss look the same",
        "a firewall drops pings; the host is set to ignore pings; the host is down, or the address is not in use",
        "ports route arrive",
    ),
    "unix timeout": (
        "the backlog is full: clients wait, and nobody accepts them",
        "the server is alive but busy",
        "it serves one client at a time, and has one; it is stuck or stopped (Ctrl-Z); its backlog is too short",
        "queue wait",
    ),
    "unix-dgram timeout": (
        "the receive queue is full: datagrams wait, and nobody reads them",
        "the server is alive but busy",
        "it is stuck or stopped (Ctrl-Z); more is sent than it can read",
        "queue queue-length wait",
    ),
    "inet EHOSTUNREACH": (
        "a router, or this host's own table, knows no way to the host",
        "the last link to the host is down, or somebody forbids the way",
        "the host is off, or nobody has the address (no ARP or ND answer); a firewall rejects: ICMP 3/13; an "
        "unreachable route here or on a router, or a routing loop",
        "route name neighbour icmp",
    ),
    "inet ENETUNREACH": (
        "this host or a router knows no way to that network",
        "packets cannot even leave in that direction",
        "no default route; this host or its network has no {family}; the interface is down",
        "route routes addresses",
    ),
    "inet ENOPROTOOPT": (
        "ICMP protocol unreachable came back",
        "the host is up but does not speak this protocol",
        "a firewall rejects with ICMP 3/2; the host is an embedded device without {protocol}",
        "icmp route name",
    ),
    "tcp EACCES": (
        "the network or this host's policy forbids the connection",
        "a rule said no; no program on the other side was asked",
        "a prohibit route (ip route, ip rule); a router rejects: ICMPv6 1/1, 1/5 or 1/6; a sandbox or security "
        "module (SELinux, AppArmor) forbids it",
        "route rules",
    ),
    "udp EACCES": (
        "the network or this host's policy forbids the datagram",
        "a rule said no; no program on the other side was asked",
        "a broadcast address without SO_BROADCAST; a prohibit route (ip route, ip rule); a sandbox or security "
        "module (SELinux, AppArmor) forbids it",
        "broadcast route rules",
    ),
    "icmp EACCES": (
        "this host does not let this user ping the address",
        "ping sockets are for the groups in net.ipv4.ping_group_range",
        "none of this user's groups is in ping_group_range; a prohibit route (ip route, ip rule)",
        "ping-group ping-allow route",
    ),
    "unix EACCES": (
        "no right to write to the socket, or to pass through a directory",
        "file permissions forbid it; the server was not asked",
        "the socket's mode keeps this user out; a directory on the way lacks the x right; another user runs the server",
        "rights user",
    ),
    "inet EPERM": (
        "this host did not let the packet out",
        "a local rule forbids it; nothing reached the network",
        "a local firewall rule (OUTPUT drop or reject); an eBPF program, a sandbox or a security module; an option "
        "that needs a capability",
        "firewall route",
    ),
    "tcp EPERM": (
        "this host did not permit the connection",
        "a local rule forbids it; nothing reached the network",
        "an eBPF program on connect() (container network); a sandbox or security module; an option that needs a "
        "capability",
        "rules trace",
    ),
    "icmp EPERM": (
        "this host did not let this user send a ping",
        "a raw socket needs CAP_NET_RAW, a ping socket a group that may",
        "none of this user's groups is in ping_group_range; a local firewall rule (OUTPUT drop or reject)",
        "ping-group ping-allow firewall",
    ),
    "unix-dgram EPERM": (
        "the socket there is connected to another one",
        "a connected datagram socket takes datagrams from its peer only",
        "the server called connect() and talks to one client; the path is that of a client, not of a server",
        "listeners trace",
    ),
    "inet EINVAL": (
        "this host's own routing table swallows the packet",
        "a blackhole route, or an address that nothing can be sent to",
        "a blackhole route; a link-local address (fe80::) without its %interface; UDP to port 0",
        "route blackholes addresses",
    ),
    "inet EADDRNOTAVAIL": (
        "this host has no address or port left to send from",
        "nothing was sent: the connection would have no local end",
        "all source ports to this target are in use or in TIME_WAIT; the --source address is not one of this host; "
        "IPv6 is off, even on loopback; a connection of these two addresses stands already",
        "addresses socket-counts port-range",
    ),
    "unix ENOENT": (
        "no file has this path",
        "the server has not made its socket, or made it elsewhere",
        "the server is not running, or removed its file at its end; the path is wrong, or relative to another "
        "directory; the server sees another file system (container)",
        "directory listeners serve wait",
    ),
    "unix ENOTDIR": (
        "a part of the path is a file where a directory should be",
        "no socket can have this path",
        "the path is mistyped; a file lies where the directory was",
        "rights",
    ),
    "unix EPROTOTYPE": (
        "a socket is there, but of another type",
        "client and server disagree: stream, dgram or seqpacket",
        "the server's type is one of the other two: --type",
        "types type-a type-b",
    ),
    "unix ENAMETOOLONG": (
        "the path is longer than 107 bytes, all that a socket address holds",
        "the kernel was not asked: the path does not fit into sun_path",
        "the socket lies deep in a directory tree (build, test, container)",
        "nearer runtime",
    ),
    "any EMFILE": (
        "this process has no free file descriptor",
        "each socket is a descriptor, and RLIMIT_NOFILE is reached",
        "more connections at once than the limit allows; a low limit; descriptors that leak",
        "descriptors descriptors-more",
    ),
    "any ENFILE": (
        "this whole host has no free file descriptor",
        "the sum over all processes has reached fs.file-max",
        "a process on this host leaks descriptors; a low fs.file-max",
        "system-files socket-counts",
    ),
    "any ENOBUFS": (
        "the kernel has no buffer space for it now",
        "this host is out of socket memory, or a device queue is full",
        "more is sent than the interface takes; sockets hold too much unread data; a memory limit (cgroup)",
        "memory free-memory",
    ),
    "any ENOMEM": (
        "the kernel has no memory for it",
        "this host, or its cgroup, is out of memory",
        "a memory limit (cgroup, container); sockets hold too much unread data",
        "memory free-memory",
    ),
    "any EAFNOSUPPORT": (
        "this kernel has no such address family, or the two do not match",
        "this host cannot make or use such a socket",
        "IPv6 is switched off (ipv6.disable=1); --source is of another family than the target; a sandbox allows "
        "only some families",
        "ipv6 addresses",
    ),
    "any ESOCKTNOSUPPORT": (
        "the kernel knows no such pair of address family and type",
        "such a socket cannot exist on this host",
        "seqpacket on IPv4 or IPv6: only unix sockets have it; the kernel is built without this protocol",
        "trace manual",
    ),
    "any ENODEV": (
        "this host has no such interface",
        "the address names an interface that does not exist",
        "a mistyped %interface or SO_BINDTODEVICE; it was removed or renamed",
        "links addresses",
    ),
    "any EISCONN": (
        "the socket is connected already",
        "the calls came in the wrong order",
        "connect() twice on one socket; sendto() with an address on a connected socket",
        "trace manual",
    ),
}
