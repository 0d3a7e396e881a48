"""Opening listeners and bound datagram sockets, apart from serving them, so that the real port can be said between.

Backlog: where none is asked for, the kernel's own limit (net.core.somaxconn, 4096 on Linux since 5.4) is used.  The
listen(5) of the textbooks drops the SYN of every client beyond the sixth in a burst, and each of them waits a second
for its retransmission: 50 connects take 8 s instead of 6 ms.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
from collections.abc import Sequence
from types import TracebackType

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from netlab.errors import LocalError, UsageError
from netlab.socketops.connecting import SocketClass
from netlab.socketops.resolving import Family, family_of, resolve
from netlab.socketops.sockopts import Setting, apply_settings
from netlab.socketops.unixpath import Identity, bind_path, remove_own

__all__ = ["Bound", "adopt", "bind", "listen", "reach"]

_SAME_PORT_TRIES = 16
"""How often a free port is asked for that is free on all addresses of a name; arbitrary."""


@dataclasses.dataclass(slots=True)
class Bound:
    """A listener, or a bound datagram socket, and what the kernel bound it to.

    ``adopted`` sockets came from a parent (LISTEN_FDS) and are shared with it: shutting one down would kill it for
    its owner, and its path is the owner's to remove.
    """

    sock: socket.socket
    endpoint: Endpoint
    backlog: int | None = None
    adopted: bool = False
    path_identity: Identity | None = None

    def close(self) -> None:
        """Close the socket and remove its path if it still is ours."""
        self.sock.close()
        if self.path_identity is not None:
            remove_own(self.endpoint, self.path_identity)

    def __enter__(self) -> Bound:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def listen(
    endpoint: Endpoint,
    *,
    backlog: int | None = None,
    family: Family = None,
    settings: Sequence[Setting] = (),
    mode: int = 0o600,
    socket_class: SocketClass = socket.socket,
) -> list[Bound]:
    """Open a listener on every address of ``endpoint``, all with the same port.

    Args:
      endpoint: tcp, unix or unix-seqpacket; port 0 lets the kernel choose one that is free on all addresses.
      backlog: connections that may wait to be accepted; Linux queues one more (listen(2)).  None: the kernel's limit.
      family: 4 or 6 to keep to one family.  ``::`` without it serves IPv4 too.
      settings: socket options, set before bind; accepted sockets inherit most.
      mode: permission bits of a unix socket file.

    Returns:
      one `Bound` an address, in the resolver's order; the caller closes them.

    Raises:
      LocalError: address in use, not ours, or not permitted.
      ResolveError: no such name.
    """
    if endpoint.transport.is_datagram:
        raise UsageError("listen", endpoint, "datagram sockets do not listen, they are only bound")
    most = socket.SOMAXCONN if backlog is None else backlog
    return _open_all(endpoint, most, family, settings, mode, socket_class)


def bind(
    endpoint: Endpoint,
    *,
    family: Family = None,
    settings: Sequence[Setting] = (),
    mode: int = 0o600,
    socket_class: SocketClass = socket.socket,
) -> list[Bound]:
    """Bind a datagram socket (udp, unix-dgram) on every address of ``endpoint``; otherwise like `listen`.

    SO_REUSEADDR is not set: on UDP it would let a second server take the first one's datagrams without a word.
    """
    if not endpoint.transport.is_datagram:
        raise UsageError("bind", endpoint, "a stream server listens")
    return _open_all(endpoint, None, family, settings, mode, socket_class)


def adopt(sock: socket.socket) -> Bound:
    """Wrap a listening or bound socket that a parent process opened (sd_listen_fds(3)).

    Raises:
      LocalError: it is not a socket that a server could use.
    """
    unix = getattr(socket, "AF_UNIX", None)
    kinds = {
        (socket.AF_INET, socket.SOCK_STREAM): Transport.TCP,
        (socket.AF_INET6, socket.SOCK_STREAM): Transport.TCP,
        (socket.AF_INET, socket.SOCK_DGRAM): Transport.UDP,
        (socket.AF_INET6, socket.SOCK_DGRAM): Transport.UDP,
        (unix, socket.SOCK_STREAM): Transport.UNIX,
        (unix, socket.SOCK_DGRAM): Transport.UNIX_DGRAM,
        (unix, socket.SOCK_SEQPACKET): Transport.UNIX_SEQPACKET,
    }
    transport = kinds.get((sock.family, sock.type))
    endpoint = from_sockaddr(transport, sock.getsockname()) if transport else None
    if endpoint is None:
        raise LocalError("adopt", f"descriptor {sock.fileno()}", "not a bound socket that netlab can serve")
    return Bound(sock, endpoint, adopted=True)


def reach(sockets: Sequence[Bound]) -> str:
    """Say from how far servers on these sockets can be reached."""
    inet = [bound for bound in sockets if not bound.endpoint.transport.is_unix]
    if all(bound.endpoint.is_loopback for bound in inet):
        return "only this host"
    wild = {version for bound in inet if bound.endpoint.is_wildcard for version in _versions(bound.sock)}
    if wild:
        kind = "any address" if len(wild) > 1 else f"any {wild.pop()} address"
        return f"every host that reaches {kind} of this one"
    return "every host that reaches " + " or ".join(dict.fromkeys(bound.endpoint.host for bound in inet))


def _versions(sock: socket.socket) -> tuple[str, ...]:
    """Return the versions of IP of which a socket on all addresses takes clients (ipv6(7), IPV6_V6ONLY)."""
    if sock.family == socket.AF_INET:
        return ("IPv4",)
    return ("IPv6",) if sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) else ("IPv4", "IPv6")


def _open_all(
    endpoint: Endpoint,
    backlog: int | None,
    family: Family,
    settings: Sequence[Setting],
    mode: int,
    socket_class: SocketClass,
) -> list[Bound]:
    addresses = resolve(endpoint, family=family)
    for tries_left in reversed(range(_SAME_PORT_TRIES)):
        opened: list[Bound] = []
        try:
            for address in addresses:
                wanted = address
                if endpoint.port == 0 and opened and not address.transport.is_unix:
                    wanted = dataclasses.replace(address, port=opened[0].endpoint.port)
                opened.append(_open(wanted, backlog, family, settings, mode, socket_class))
            return opened
        except BaseException as exc:
            for bound in opened:
                bound.close()
            taken = isinstance(exc, LocalError) and exc.errno == errno.EADDRINUSE
            if not (taken and endpoint.port == 0 and len(opened) > 0 and tries_left):
                raise
    raise AssertionError("unreachable: the last try returns or raises")


def _open(
    endpoint: Endpoint,
    backlog: int | None,
    family: Family,
    settings: Sequence[Setting],
    mode: int,
    socket_class: SocketClass,
) -> Bound:
    kind = {Transport.UNIX_SEQPACKET: socket.SOCK_SEQPACKET}.get(
        endpoint.transport, socket.SOCK_DGRAM if endpoint.transport.is_datagram else socket.SOCK_STREAM
    )
    try:
        sock = socket_class(family_of(endpoint), kind)
    except OSError as exc:
        raise LocalError.from_os(exc, "socket", endpoint) from None
    bound = Bound(sock, endpoint, backlog)
    try:
        if endpoint.transport.is_unix:
            apply_settings(sock, settings)
            bound.path_identity = bind_path(sock, endpoint, mode=mode)
        else:
            _set_inet_options(sock, endpoint, family)
            apply_settings(sock, settings)
            _bind_inet(sock, endpoint)
            bound.endpoint = from_sockaddr(endpoint.transport, sock.getsockname()) or endpoint
        if backlog is not None:
            _listen(sock, backlog, endpoint)
    except BaseException:
        bound.close()
        raise
    return bound


def _set_inet_options(sock: socket.socket, endpoint: Endpoint, family: Family) -> None:
    if sock.family == socket.AF_INET6:
        # Always on purpose: the system's default (net.ipv6.bindv6only) is not ours to guess.
        also_ipv4 = endpoint.host == "::" and family is None
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not also_ipv4))
    # A restart finds connections of the last run in TIME_WAIT; on Windows the same option would share the port.
    if sock.type == socket.SOCK_STREAM and os.name == "posix":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sock.type == socket.SOCK_STREAM:
        # What is accepted inherits it: a reply in two writes is not to wait for the first one's ACK (Nagle, tcp(7)).
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _bind_inet(sock: socket.socket, endpoint: Endpoint) -> None:
    try:
        sock.bind(endpoint.to_sockaddr())
    except OSError as exc:
        raise LocalError.from_os(exc, "bind", endpoint) from None


def _listen(sock: socket.socket, backlog: int, endpoint: Endpoint) -> None:
    # Two listeners can race for one port with SO_REUSEADDR: the second one's bind passes and its listen says no.
    try:
        sock.listen(backlog)
    except OSError as exc:
        raise LocalError.from_os(exc, "listen", endpoint) from None
