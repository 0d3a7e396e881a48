"""What a socket on hand can meet, in words: bind and listen, and a conversation.  Keys as in `connecting`."""

from __future__ import annotations

from netlab.explain.steps import Row

__all__ = ["BIND", "STREAM"]

BIND: dict[str, Row] = {
    "inet EADDRINUSE": (
        "another socket has this address and port",
        "two sockets cannot share a port unless both set SO_REUSEPORT",
        "a server (an earlier netlab?) has it; a client was given this port; a socket on all addresses (0.0.0.0 or ::) "
        "has it; an old connection is still in TIME_WAIT",
        "holder all free",
    ),
    "udp EADDRINUSE": (
        "another socket has this address and port",
        "two sockets cannot share a port unless both set SO_REUSEPORT",
        "a server (an earlier netlab?) has it; a client was given this port; a socket on all addresses (0.0.0.0 or ::) "
        "has it",
        "holder all free",
    ),
    "unix EADDRINUSE": (
        "the path exists already",
        "bind makes a new file and takes no path that is there",
        "another server listens there; a file that is no socket, or a link, has this path",
        "holder file",
    ),
    "abstract EADDRINUSE": (
        "another socket has this abstract name",
        "the name is free again as soon as that socket is closed",
        "a server (an earlier netlab?) has it",
        "holder",
    ),
    "inet EACCES": (
        "this user may not have the port",
        "low ports need CAP_NET_BIND_SERVICE (root has it)",
        "the port is below net.ipv4.ip_unprivileged_port_start (1024); a security module (SELinux, AppArmor) "
        "forbids it",
        "low-ports high low-allow",
    ),
    "icmp EACCES": (
        "this host does not let this user open a ping socket",
        "ping sockets are for the groups in net.ipv4.ping_group_range",
        "none of this user's groups is in ping_group_range",
        "ping-group ping-allow",
    ),
    "unix EACCES": (
        "no right to make the socket file there",
        "binding a path writes to its directory",
        "the directory belongs to another user; a directory on the way lacks the x right",
        "rights runtime",
    ),
    "any EPERM": (
        "this host does not permit the call",
        "it needs a capability, or a security rule forbids it",
        "an option of --set that needs CAP_NET_ADMIN or CAP_NET_RAW; a sandbox or security module (SELinux, AppArmor); "
        "on unix: a file system that holds no sockets",
        "user mount",
    ),
    "inet EADDRNOTAVAIL": (
        "the address is not one of this host",
        "bind takes only addresses that this host has",
        "the address is mistyped, or another host's (NAT, cloud); the interface is down, or has no address yet; "
        "IPv6 is off",
        "addresses local",
    ),
    "unix ENOENT": (
        "the directory of the path does not exist",
        "bind makes the socket file, but no directory",
        "the path is mistyped, or relative to another directory; the directory is made at boot, but not yet (/run)",
        "rights make runtime",
    ),
    "unix ENOTDIR": (
        "a part of the path is a file where a directory should be",
        "no socket can be made there",
        "the path is mistyped; a file lies where the directory should be",
        "rights runtime",
    ),
    "unix EROFS": (
        "the file system is mounted read-only",
        "no socket file can be made there",
        "a container or a service unit with a read-only root; a disk error made it read-only",
        "mount runtime",
    ),
    "inet EINVAL": (
        "the socket cannot have this address",
        "the address does not fit the socket, or it has one already",
        "a link-local address (fe80::) without its %interface; bind() twice on one socket",
        "addresses manual",
    ),
    "any EOPNOTSUPP": (
        "this type of socket cannot listen",
        "listen() is for stream and seqpacket sockets",
        "a datagram socket was given (LISTEN_FDS); the file system holds no sockets",
        "manual mount",
    ),
}
"""bind(2) and listen(2) on this host."""

STREAM: dict[str, Row] = {
    "any ECONNRESET": (
        "the peer reset the connection",
        "the peer ended it at once; bytes on their way are lost",
        "the peer closed with bytes of ours unread; its program crashed or was killed; it closed with SO_LINGER 0; a "
        "firewall or load balancer forgot the connection",
        "peers capture",
    ),
    "any EPIPE": (
        "the connection no longer takes data",
        "the peer has closed or reset it; what is sent now reaches nobody",
        "the peer closed first, and sending went on; the peer's program ended; this side called shutdown(SHUT_WR)",
        "peers capture",
    ),
    "any ETIMEDOUT": (
        "the peer's kernel stopped answering, and this one gave up",
        "no acknowledgement came for data or keepalives",
        "the peer's host lost power or network; a firewall or NAT forgot the connection; TCP_USER_TIMEOUT or keepalive "
        "is shorter than the outage",
        "icmp route peers",
    ),
    "any timeout": (
        "nothing came, or nothing could be sent, within the time",
        "the connection stands, but the other side does not take part",
        "the peer's program works, waits or is stuck; it does not read, so both kernels' buffers are full; it "
        "waits for the end of a line (--eol)",
        "peers capture",
    ),
    "inet EHOSTUNREACH": (
        "the way to the peer broke during the conversation",
        "a router, or this host, says that the peer cannot be reached",
        "the peer's host went off; a route or VPN went away; a firewall rule was added",
        "route neighbour peers",
    ),
    "inet ENETUNREACH": (
        "the way to the peer's network broke during the conversation",
        "this host or a router has no route there any more",
        "the interface went down; a route or VPN went away",
        "route routes addresses",
    ),
    "any ENETRESET": (
        "keepalive found the connection broken",
        "the kernel dropped the connection",
        "the peer's host restarted",
        "peers capture",
    ),
    "any ECONNABORTED": (
        "the connection was ended before it could be used",
        "this side's kernel or a client gave it up",
        "a client that left while it waited in the accept queue",
        "peers capture",
    ),
    "inet EMSGSIZE": (
        "the datagram is too big, and nothing was sent",
        "UDP carries 65,507 B over IPv4 and 65,527 B over IPv6 at most",
        "more bytes than that limit; more than the path's MTU where fragments are forbidden (IP_MTU_DISCOVER); a "
        "router with a smaller MTU has just said so: the next try goes in fragments",
        "route capture",
    ),
    "unix EMSGSIZE": (
        "the message is too big, and nothing was sent",
        "a unix message must fit into the send buffer (SO_SNDBUF) whole",
        "more bytes than SO_SNDBUF, less the kernel's own share, allows",
        "buffer options",
    ),
    "any EDESTADDRREQ": (
        "the datagram has no address to go to",
        "an unconnected datagram socket needs a target for each send",
        "send() without connect(); connect() failed before",
        "trace manual",
    ),
    "any ENOTCONN": (
        "the socket is not connected",
        "there is no connection to use or to end",
        "the peer reset it a moment before; no connect() came before; a datagram socket, or a listener",
        "trace peers",
    ),
}
"""send(2), recv(2) and shutdown(2) on a socket that was connected, or sends datagrams."""
