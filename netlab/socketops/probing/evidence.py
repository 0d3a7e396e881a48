"""What an attempt met, as a `Probe`: the verdict, the numbers behind it, and a sentence of evidence.

The sentence names the call, its errno by number and name, and the exception that Python's connect() would raise, so
that it can be found again in a manual, in strace and in a program.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from netlab.errors import LocalError, NetlabError, ResolveError, errno_name
from netlab.explain import (
    explain_connect,
    explain_resolve,
    explain_self_connect,
    gai_name,
    verdict_of_connect,
)
from netlab.records import Probe
from netlab.socketops.connecting import Attempt, is_self_connect
from netlab.socketops.errqueue import IcmpError, icmp_text
from netlab.socketops.probing.asking import Question
from netlab.socketops.tcpinfo import read_rtt, read_syn_retransmits
from netlab.values import format_bytes, format_elapsed

__all__ = ["met_by_asking", "met_by_connecting", "met_here", "not_resolved"]

_ROUTING = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.EINVAL})
"""What a route of this host says at once (ip-route(8)): unreachable, none or throw, prohibit, blackhole."""
_UCRED = struct.Struct("=iII")


def met_by_connecting(
    target: Endpoint,
    attempt: Attempt,
    *,
    tries: int,
    resent: Sequence[float],
    icmp: IcmpError | None,
    timeout: float,
) -> Probe:
    """Describe a connection attempt that is decided, or whose time ran out.

    Args:
      tries: calls of connect(), more than one where a unix backlog was full.
      resent: seconds after the start at which SYN was seen to be sent again.
      icmp: the message that decided it.
      timeout: seconds that the attempt had.
    """
    endpoint, code, sock = attempt.endpoint, attempt.errno, attempt.sock
    ended = time.perf_counter() if code is None else attempt.ended
    probe = _probe(target, endpoint, code, sock, ended - attempt.started, icmp)
    probe = replace(probe, tries=tries if tries > 1 else None)
    if code is None:
        return _undecided(probe, sock, resent, timeout)
    if code:
        return replace(
            probe,
            evidence=_refusal(attempt, icmp, tries, resent),
            nothing_sent=True if _is_own_routing(attempt) else None,
            syn_retransmits=len(resent) or None,
            syn_sent_us=_syn_times(resent) if resent else None,
        )
    if is_self_connect(attempt):
        says = f"connect_ex 0, but {explain_self_connect(endpoint).what}"
        return replace(probe, verdict="refused", self_connect=True, evidence=says)
    pid, uid, gid = _peer_credentials(sock)
    return replace(
        probe,
        handshake_us=attempt.duration * 1e6,
        rtt_us=read_rtt(sock),
        syn_retransmits=read_syn_retransmits(sock) if endpoint.transport is Transport.TCP else None,
        pid=pid,
        uid=uid,
        gid=gid,
        evidence=f"connect_ex 0: {explain_connect(0, endpoint).what}",
    )


def met_by_asking(target: Endpoint, question: Question, *, shown: str, timeout: float) -> Probe:
    """Describe a question over UDP or ICMP that was answered, refused, or met silence.

    Args:
      shown: what each datagram was, such as ``13 B ("netlab probe\\n")``.
      timeout: seconds that the question had.
    """
    endpoint = question.endpoint
    code = question.error if question.error is not None else 0 if question.answer else None
    sent = len(question.sent_at)
    times = f"{sent} x {shown}" if sent > 1 else shown
    if question.answer:
        says = f"sent {times}: {_answer(question)}"
    elif code is None:
        says = f"sent {times}: no reply, no ICMP error"
    elif question.icmp and question.icmp.version:
        says = f"{icmp_text(question.icmp)} ({errno_name(code)} {code})"
    else:
        says = (
            f"send {code} {errno_name(code)} (send() raises {_exception(code)}): {explain_connect(code, endpoint).what}"
        )
    duration = timeout if code is None else question.rtt
    probe = _probe(target, endpoint, code, question.sock, duration, question.icmp)
    return replace(probe, tries=sent, evidence=says)


def met_here(target: Endpoint, endpoint: Endpoint, refusal: LocalError) -> Probe:
    """Describe what this host would not do: no socket, no right, an option or a source address refused."""
    return Probe(
        target=target,
        endpoint=endpoint,
        verdict="error",
        errno=refusal.errno,
        errno_name=refusal.errno_name,
        evidence=". ".join((str(refusal), *refusal.facts)),
    )


def not_resolved(target: Endpoint, failure: NetlabError, duration: float) -> Probe:
    """Describe a name that has no address, or whose resolver did not answer in time."""
    number = failure.gai_errno if isinstance(failure, ResolveError) else None
    says = failure.cause
    if number is not None:
        says = f"getaddrinfo {number} {gai_name(number)} (raises socket.gaierror): {explain_resolve(number, '').what}"
    return Probe(
        target=target,
        endpoint=None,
        verdict="unresolved",
        duration_us=duration * 1e6,
        resolve_us=duration * 1e6,
        gai_errno=number,
        evidence=says,
    )


def _probe(
    target: Endpoint,
    endpoint: Endpoint,
    code: int | None,
    sock: socket.socket,
    duration: float,
    icmp: IcmpError | None,
) -> Probe:
    message = icmp if icmp and icmp.version else None
    return Probe(
        target=target,
        endpoint=endpoint,
        verdict=verdict_of_connect(errno.EINPROGRESS if code is None else code, endpoint.transport),
        errno=code,
        errno_name=errno_name(code) if code else None,
        duration_us=duration * 1e6,
        local=_name(endpoint.transport, sock.getsockname),
        peer=_name(endpoint.transport, sock.getpeername),
        fileno=sock.fileno(),
        blocking=sock.getblocking(),
        timeout=sock.gettimeout(),
        icmp_type=message.type if message else None,
        icmp_code=message.code if message else None,
        icmp_sender=message.sender if message else None,
    )


def _undecided(probe: Probe, sock: socket.socket, resent: Sequence[float], timeout: float) -> Probe:
    limit = _kernel_limit(sock)
    says = (
        f"connect_ex {errno.EINPROGRESS} EINPROGRESS: neither SYN-ACK nor RST nor ICMP came{_syn_text(resent)}; "
        f"netlab stopped after {format_elapsed(timeout)}"
    )
    if limit:
        says += f", the kernel alone would give up after about {limit} s: ETIMEDOUT"
    return replace(
        probe,
        evidence=says,
        syn_retransmits=len(resent),
        syn_sent_us=_syn_times(resent),
    )


def _syn_times(resent: Sequence[float]) -> tuple[float, ...]:
    return tuple(seconds * 1e6 for seconds in (0.0, *resent))


def _syn_text(resent: Sequence[float]) -> str:
    return f"; SYN sent at {' '.join(f'{seconds:.1f}' for seconds in (0.0, *resent))} s"


def _refusal(attempt: Attempt, icmp: IcmpError | None, tries: int, resent: Sequence[float]) -> str:
    code, endpoint = attempt.errno or 0, attempt.endpoint
    what = explain_connect(code, endpoint).what
    if code == errno.EAGAIN and endpoint.transport is Transport.UNIX_DGRAM:
        return f"connect_ex 0, but poll() does not say writable: {what}"
    if icmp and icmp.version:
        what = icmp_text(icmp)
    elif _is_own_routing(attempt):
        what = "this host's own routing decided so, nothing was sent"
    again = f", {tries} times in {format_elapsed(attempt.duration)}" if tries > 1 else ""
    syns = _syn_text(resent) if resent else ""
    return f"connect_ex {code} {errno_name(code)}{again} (connect() raises {_exception(code)}): {what}{syns}"


def _is_own_routing(attempt: Attempt) -> bool:
    return attempt.at_once and attempt.errno in _ROUTING and not attempt.endpoint.transport.is_unix


def _answer(question: Question) -> str:
    assert question.answer is not None
    if question.endpoint.transport is Transport.UDP:
        return f"an answer of {format_bytes(len(question.answer.data))} came"
    kind = "raw" if question.sock.type == socket.SOCK_RAW else "ping"
    ttl = "" if question.answer.ttl is None else f", ttl {question.answer.ttl}"
    return f"an echo reply of {format_bytes(len(question.answer.data))} came{ttl}; {kind} socket"


def _exception(code: int) -> str:
    """Return the name of the exception that Python raises for an errno (PEP 3151)."""
    return type(OSError(code, "")).__name__


def _kernel_limit(sock: socket.socket) -> int | None:
    """Return the seconds after which connect() would fail by itself (tcp(7), tcp_syn_retries), None if unknown.

    Each wait doubles from 1 s, but for the first tcp_syn_linear_timeouts (Linux 6.5) of them.
    """
    user_timeout = getattr(socket, "TCP_USER_TIMEOUT", None)
    syn_count = getattr(socket, "TCP_SYNCNT", None)
    if user_timeout is None or syn_count is None:
        return None
    milliseconds = sock.getsockopt(socket.IPPROTO_TCP, user_timeout)
    if milliseconds:
        return round(milliseconds / 1000)
    try:
        with open("/proc/sys/net/ipv4/tcp_syn_linear_timeouts", encoding="ascii") as file:
            linear = int(file.read())
    except (OSError, ValueError):
        linear = 0
    doublings = sock.getsockopt(socket.IPPROTO_TCP, syn_count)
    return linear + (2 << doublings) - 1


def _name(transport: Transport, call: Callable[[], object]) -> Endpoint | None:
    try:
        found = from_sockaddr(transport, call())
    except OSError:  # getpeername: ENOTCONN
        return None
    return None if found and found.is_wildcard else found


def _peer_credentials(sock: socket.socket) -> tuple[int, int, int] | tuple[None, None, None]:
    """Return pid, uid and gid of whoever called listen() (unix(7), SO_PEERCRED)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None or sock.family != getattr(socket, "AF_UNIX", None):
        return None, None, None
    pid, uid, gid = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _UCRED.size))
    return (pid, uid, gid) if pid else (None, None, None)
