"""Names to addresses, within a deadline.

getaddrinfo(3) cannot be interrupted and may take many seconds where no DNS server answers, so a name is looked up in
a daemon thread that the caller stops waiting for.  Numeric hosts never start a thread.
"""

from __future__ import annotations

import dataclasses
import errno
import queue
import socket
import threading
from typing import Literal

from netlab.endpoint import Endpoint, from_sockaddr
from netlab.errors import LocalError, ResolveError, TimedOut
from netlab.explain import explain_resolve
from netlab.socketops.stop import start_thread

__all__ = ["Family", "family_of", "resolve"]

Family = Literal[4, 6] | None
"""IPv4 only, IPv6 only, or either."""

_FAMILIES: dict[Family, socket.AddressFamily] = {4: socket.AF_INET, 6: socket.AF_INET6, None: socket.AF_UNSPEC}


def family_of(endpoint: Endpoint) -> socket.AddressFamily:
    """Return the address family of a numeric or unix endpoint.

    Raises:
      LocalError: this system has no unix sockets.
    """
    if endpoint.transport.is_unix:
        if not hasattr(socket, "AF_UNIX"):
            raise LocalError("socket", endpoint, "this system, or its Python, has no unix sockets")
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET


def resolve(endpoint: Endpoint, *, family: Family = None, timeout: float = 5.0) -> list[Endpoint]:
    """Resolve an endpoint to numeric ones, in the order of RFC 6724 as getaddrinfo(3) gives it.

    Args:
      endpoint: any endpoint; unix endpoints come back as they are.
      family: 4 or 6 keeps the addresses of that family only.
      timeout: seconds to wait for the name; 0 waits as long as the resolver does.

    Returns:
      at least one endpoint, each with a numeric host, without duplicates.

    Raises:
      ResolveError: the name has no address (of that family).
      TimedOut: the resolver did not answer within ``timeout``.
      LocalError: this host could not ask, for want of descriptors or threads, say.
    """
    if endpoint.transport.is_unix:
        return [endpoint]
    if endpoint.is_numeric:
        return _lookup(endpoint, family, socket.AI_NUMERICHOST)
    answers: queue.SimpleQueue[list[Endpoint] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(_lookup(endpoint, family, 0))
        except Exception as exc:
            answers.put(exc)

    start_thread(threading.Thread(target=look_up, name=f"resolve {endpoint.host}", daemon=True))
    try:
        answer = answers.get(timeout=timeout or None)
    except queue.Empty:
        raise TimedOut(
            "resolve",
            endpoint.host,
            f"no answer from the resolver within {timeout:g} s",
            likely=("the DNS server in /etc/resolv.conf does not answer",),
            next_steps=(("cat /etc/resolv.conf", "which server is asked"),),
        ) from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _lookup(endpoint: Endpoint, family: Family, flags: int) -> list[Endpoint]:
    kind = socket.SOCK_DGRAM if endpoint.transport.is_datagram else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(endpoint.host, endpoint.port, _FAMILIES[family], kind, 0, flags)
    except socket.gaierror as exc:
        _check_descriptors(endpoint.host)
        if "%" in endpoint.host:
            raise ResolveError(
                endpoint.host,
                "this host has no such interface",
                means="what stands after % is the interface that the address is reached through",
                next_steps=(("ip -brief link", "which interfaces there are"),),
            ) from None
        told = explain_resolve(exc.errno or 0, endpoint.host)
        raise ResolveError(
            endpoint.host,
            told.what,
            gai_errno=exc.errno,
            means=told.means,
            likely=told.likely,
            next_steps=told.next_steps,
        ) from None
    except OSError as exc:  # EAI_SYSTEM
        raise LocalError.from_os(exc, "resolve", endpoint.host) from None
    except UnicodeError as exc:  # the idna codec: a label that is empty or over 63 bytes
        raise ResolveError(endpoint.host, f"not a host name ({exc})") from None
    hosts = (from_sockaddr(endpoint.transport, item[4]) for item in found)
    return list(dict.fromkeys(dataclasses.replace(endpoint, host=host.host) for host in hosts if host))


def _check_descriptors(host: str) -> None:
    """Tell a name that does not exist from a resolver that could not open its files, and says the same.

    Raises:
      LocalError: there are no descriptors left.
    """
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as exc:
        if exc.errno in (errno.EMFILE, errno.ENFILE):
            raise LocalError.from_os(exc, "resolve", host) from None
