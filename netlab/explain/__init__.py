"""What an errno, a getaddrinfo error or an ICMP code means, what likely caused it, and what to try next.

All of it is data: tables keyed by ``"KIND ERRNO"``, and functions that fill in an endpoint's values.  Errnos stand
here by name, because their numbers differ between systems and some exist only on Linux.  KIND is a transport
(``tcp``, ``unix-dgram``), or a wider word: ``inet``, ``unix``, ``abstract``, ``any``; the narrowest row wins.  A row
names its next steps; `steps` has their commands, `place` the values of an endpoint.

Sources: connect(2), bind(2), ip(7), tcp(7), udp(7), unix(7), getaddrinfo(3), RFC 792, RFC 1812, RFC 4443.  Which
ICMP message becomes which errno is the kernel's icmp_err_convert (net/ipv4/icmp.c) and tab_unreach (net/ipv6/icmp.c).
"""

from __future__ import annotations

from errno import errorcode
from typing import TYPE_CHECKING, Literal, NamedTuple

from netlab.explain.connecting import CONNECT
from netlab.explain.icmp import CAUSES, REJECTED, explain_icmp
from netlab.explain.place import in_shell, kinds_of, values_of
from netlab.explain.resolving import RESOLVE, gai_name
from netlab.explain.sockets import BIND, STREAM
from netlab.explain.steps import STEPS, Row

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint

__all__ = [
    "VERDICT_STATUS",
    "Explanation",
    "explain_bind",
    "explain_connect",
    "explain_icmp",
    "explain_rejected",
    "explain_resolve",
    "explain_self_connect",
    "explain_stream",
    "explain_timeout",
    "gai_name",
    "verdict_of_connect",
]


class Explanation(NamedTuple):
    """One outcome in words.

    ``what`` is what was seen (``the host answered RST``), ``means`` what that says about the two sides,
    ``likely`` the likely causes in order (none where nothing is wrong), ``next_steps`` pairs of a shell command and a
    few words on why.  A command that must run elsewhere starts with ``on the server: ``.
    """

    what: str
    means: str
    likely: tuple[str, ...]
    next_steps: tuple[tuple[str, str], ...]


VERDICT_STATUS: dict[str, int] = {
    "open": 0,
    "refused": 7,
    "closed": 7,
    "unreachable": 7,
    "denied": 7,
    "missing": 7,
    "timeout": 28,
    "no-answer": 28,
    "busy": 28,
    "unresolved": 6,
    "error": 45,
}
"""The exit status of each verdict of a probe."""

_UNREACHABLE = ["EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENONET", "ENETDOWN", "ENOPROTOOPT", "EINVAL"]
_PENDING = ["ETIMEDOUT", "EAGAIN", "EWOULDBLOCK", "EINPROGRESS", "EALREADY"]
_EITHER = {"ECONNREFUSED": "refused", "ECONNRESET": "refused", "EACCES": "denied", "EPERM": "denied"}
_INET = _EITHER | dict.fromkeys(_UNREACHABLE, "unreachable")
_SILENT = _INET | {"ECONNREFUSED": "closed"} | dict.fromkeys(_PENDING, "no-answer")
_VERDICTS = {
    "tcp": _INET | dict.fromkeys(_PENDING, "timeout"),
    "udp": _SILENT,
    "icmp": _SILENT,
    "unix": _EITHER | dict.fromkeys(_PENDING, "busy") | {"ENOENT": "missing", "ENOTDIR": "missing"},
}


def verdict_of_connect(errno: int, transport: str) -> str:
    """Return the one-word verdict on a connection attempt.

    Args:
      errno: how the attempt ended; 0 where the handshake completed or an answer came, EAGAIN or EINPROGRESS where it
          was still pending when the time ran out.  What kept a socket from being made at all is this host's refusal,
          a LocalError, and no question for this function.
      transport: ``tcp``, ``udp``, ``icmp``, ``unix``, ``unix-dgram`` or ``unix-seqpacket``.

    Returns:
      A key of VERDICT_STATUS; ``error`` for what this host would not do.

    >>> verdict_of_connect(0, "tcp")
    'open'
    """
    return "open" if errno == 0 else _VERDICTS[transport.partition("-")[0]].get(_name(errno), "error")


def explain_connect(errno: int, endpoint: Endpoint) -> Explanation:
    """Explain how a connection attempt ended: a handshake, a datagram to be sent, a ping.

    Args:
      errno: 0 where it is open; EAGAIN and EINPROGRESS mean that it was pending when the time ran out.
      endpoint: what was connected to, better the address tried than the name.
    """
    return _explain("open" if errno == 0 else _name(errno), endpoint, (CONNECT, STREAM))


def explain_self_connect(endpoint: Endpoint) -> Explanation:
    """Explain a TCP connection whose own address is its peer's (RFC 9293 section 3.5, simultaneous open)."""
    return _explain("self", endpoint, (CONNECT,))


def explain_timeout(endpoint: Endpoint) -> Explanation:
    """Explain that netlab's own time ran out before the attempt was decided."""
    return _explain("timeout", endpoint, (CONNECT,))


def explain_bind(errno: int, endpoint: Endpoint) -> Explanation:
    """Explain why bind() or listen() would not take the endpoint of this host."""
    return _explain(_name(errno), endpoint, (BIND, CONNECT, STREAM))


def explain_stream(errno: int, endpoint: Endpoint) -> Explanation:
    """Explain an error in a conversation with the peer ``endpoint``; EAGAIN means that the time ran out."""
    return _explain(_name(errno), endpoint, (STREAM, CONNECT))


def explain_rejected(
    errno: int, endpoint: Endpoint, *, family: Literal[4, 6], kind: int, code: int, sender: str = "", local: str = ""
) -> Explanation:
    """Explain an ICMP error, by what it says and who says so.

    Args:
      errno: what the kernel makes of it.
      endpoint: what was asked, by the address that was tried.
      family: 4 for ICMP, 6 for ICMPv6.
      kind: its type.
      code: its code.
      sender: the address that it came from, where that is known.
      local: the address of this host that had asked.
    """
    told = explain_connect(errno, endpoint)
    who = "own" if endpoint.is_loopback or sender == local else "host" if sender == _address(endpoint) else "router"
    means = explain_icmp(family, kind, code)[1]
    if _name(errno) == "ECONNREFUSED":
        if endpoint.transport == "tcp":
            means = "a firewall rejects: the host itself would have answered RST"
        elif who == "router" and sender:
            means = f"a firewall rejects: not the host itself says so, but {sender}"
        else:
            return told
    cause = CAUSES.get((family, kind, code))
    if cause is None:
        return told._replace(means=means)
    row = REJECTED.get(f"{cause} {who}") or REJECTED[f"{cause} router"]
    found = _fill(row, values_of(endpoint) | {"sender": sender or "a router"})
    return found._replace(what=told.what, means=found.means or means)


def explain_resolve(gai_errno: int, host: str) -> Explanation:
    """Explain why getaddrinfo found no address for ``host``; ``gai_errno`` is its number (EAI_*), no errno."""
    name = gai_name(gai_errno)
    return _fill(RESOLVE.get(name, RESOLVE[""]), {"host": in_shell(host), "error": name})


_ALIASES = {
    "EAGAIN": "timeout",
    "EWOULDBLOCK": "timeout",
    "EINPROGRESS": "timeout",
    "EALREADY": "timeout",
    "EHOSTDOWN": "EHOSTUNREACH",
    "ENONET": "EHOSTUNREACH",
    "ENETDOWN": "ENETUNREACH",
    "ENOTSUP": "EOPNOTSUPP",
    "EPROTONOSUPPORT": "ESOCKTNOSUPPORT",
    "ESHUTDOWN": "EPIPE",
}

_UNKNOWN: Row = (
    "the system call failed with {error}",
    "netlab has no explanation for this error of this call",
    "an unusual socket option; a sandbox, container or security module; a kernel without this feature",
    "trace manual",
)


def _name(errno: int) -> str:
    # Windows has names of its own for the errors of sockets.
    return errorcode.get(errno, f"errno {errno}").removeprefix("WSA")


def _address(endpoint: Endpoint) -> str:
    return endpoint.host.partition("%")[0]


def _explain(name: str, endpoint: Endpoint, tables: tuple[dict[str, Row], ...]) -> Explanation:
    """Fill in the narrowest row of the first table that has one."""
    known = _ALIASES.get(name, name)
    keys = [f"{kind} {known}" for kind in kinds_of(endpoint)]
    row = next((table[key] for table in tables for key in keys if key in table), _UNKNOWN)
    return _fill(row, values_of(endpoint) | {"error": name})


def _fill(row: Row, values: dict[str, str]) -> Explanation:
    what, means, likely, steps = row
    causes = tuple(cause for cause in likely.format_map(values).split("; ") if cause)
    filled = (_step(*STEPS[step], values) for step in steps.split())
    next_steps = tuple(step for step in filled if step) or (STEPS["manual"],)
    return Explanation(what.format_map(values), means.format_map(values), causes, next_steps)


def _step(command: str, why: str, values: dict[str, str]) -> tuple[str, str] | None:
    """Fill in a step; None where the endpoint lacks a value that it names."""
    try:
        return command.format_map(values), why.format_map(values)
    except KeyError:
        return None
