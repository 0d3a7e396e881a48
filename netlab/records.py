"""What happened, as frozen facts: everything that netlab shows is one of these.

Long operations push records to an ``emit`` callable, short ones return one; `netlab.render` alone turns them into
text or JSON lines.  Field names are JSON keys, so they carry their unit and are only ever added to.  ``None`` means
"does not apply" and is left out of JSON.  ``time`` is in Unix seconds, taken where the thing happened.
"""

from __future__ import annotations

from dataclasses import field

from netlab.endpoint import Endpoint
from netlab.recordtype import Emit, Record, record

__all__ = [
    "Call",
    "Closed",
    "Connected",
    "ConnectionInfo",
    "Emit",
    "ErrorReport",
    "Exchange",
    "FaultReport",
    "Listening",
    "Note",
    "Option",
    "Probe",
    "Received",
    "Record",
    "Reply",
    "Sent",
    "Serving",
    "Summary",
    "TcpInfo",
    "Waiting",
    "WarningReport",
    "record",
]


@record
class Listening(Record):
    """A listener (or a bound datagram socket) is ready; ``endpoint`` is what the kernel really bound."""

    event = "listening"
    endpoint: Endpoint
    fileno: int
    backlog: int | None = None


@record
class Serving(Record):
    """How the server will serve, said once, after the last listening event.

    ``reach`` says from how far it can be reached: ``only this host``, ``any host that reaches ADDRESS`` ...
    ``faults`` are those it was asked for, and ``seed`` makes their chances come out the same again.
    """

    event = "serving"
    model: str
    reply: str
    exit_word: str | None
    reach: str
    cpu: int | None = None
    faults: tuple[str, ...] | None = None
    seed: int | None = None


@record
class Connected(Record):
    """A connection stands.  On a server ``conn`` counts clients from 1; a client's own connection has none.

    ``clients`` of ``max_clients`` are being served now (None where there is no such limit); ``waited_us`` is the time
    this client is known to have spent in the accept queue; pid, uid and gid are SO_PEERCRED's (unix(7)).  fileno,
    blocking and timeout (seconds) are the socket's, where it is shown as an object.
    """

    event = "connected"
    peer: Endpoint | None
    local: Endpoint | None = None
    conn: int | None = None
    clients: int | None = None
    max_clients: int | None = None
    waited_us: float | None = None
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    fileno: int | None = None
    blocking: bool | None = None
    timeout: float | None = None


@record
class Waiting(Record):
    """``queued`` finished connections wait in the accept queue of a listener whose backlog is ``backlog``."""

    event = "waiting"
    endpoint: Endpoint
    queued: int
    backlog: int


@record
class Received(Record):
    """One chunk as recv returned it, or one datagram.

    ``size`` is the datagram's true length where ``data`` was cut (MSG_TRUNC); None when it is ``len(data)``.
    ``unanswered`` says why a datagram gets no reply, where one would be due.
    """

    event = "received"
    peer: Endpoint | None
    data: bytes
    conn: int | None = None
    size: int | None = None
    unanswered: str | None = None


@record
class Sent(Record):
    """One message as it was given to the kernel, whole; ``calls`` is how many send calls that took."""

    event = "sent"
    peer: Endpoint | None
    data: bytes
    conn: int | None = None
    calls: int = 1


@record
class Closed(Record):
    """A connection ended.  ``reason``: eof, reset, timeout, limit, exit, stopped, full, fault, error.

    ``operation`` is the call that met the end, ``send`` or ``receive``, where it was no orderly one.
    """

    event = "closed"
    peer: Endpoint | None
    reason: str
    bytes_in: int
    bytes_out: int
    duration_us: float
    conn: int | None = None
    errno: int | None = None
    errno_name: str | None = None
    operation: str | None = None


@record
class FaultReport(Record):
    """A fault that was asked for strikes: its name, and what it does to this reply or connection."""

    event = "fault"
    fault: str
    effect: str
    peer: Endpoint | None = None
    conn: int | None = None


@record
class Exchange(Record):
    """One message and its reply: sizes, the time from the message's last byte to the reply's first, the ending rule.

    ``ended_by`` names the rule of --until (or expect) that said the reply was whole.
    """

    event = "reply"
    peer: Endpoint | None
    bytes_out: int
    bytes_in: int
    rtt_us: float | None
    duration_us: float
    ended_by: str


@record
class ConnectionInfo(Record):
    """A connection as it is now: both ends, what passed, what waits in its queues, and the options asked for most.

    ``rtt_us`` is the kernel's smoothed round-trip time, ``reply_us`` the time from the last message that was answered
    to the first chunk after it.
    """

    event = "info"
    local: Endpoint | None
    peer: Endpoint | None
    state: str | None
    fileno: int
    bytes_out: int
    bytes_in: int
    unread: int | None = None
    unacknowledged: int | None = None
    rtt_us: float | None = None
    reply_us: float | None = None
    nodelay: int | None = None
    keepalive: int | None = None


@record
class Note(Record):
    """netlab's own words to whoever sits at the terminal: how to go on, what a command of chat's answers."""

    event = "note"
    message: str


@record
class Probe(Record):
    """What one connection attempt met.

    ``verdict``: open, refused, closed, unreachable, denied, missing, timeout, no-answer, busy, unresolved, error.
    ``target`` is what was asked for, ``endpoint`` the address tried; ``handshake_us`` runs from connect() to its end
    as this process saw it, ``rtt_us`` is the kernel's own (TCP_INFO).  ``evidence`` is a short line for people.
    ``fileno``, ``blocking`` and ``timeout`` (seconds) are Python's view of the socket, ``timeout`` 0 when non-blocking.
    ``number`` counts the attempts of a run; ``tries`` the datagrams, echo requests or connects of this one, and
    ``syn_sent_us`` says when each SYN left.  ``icmp_*`` tell the ICMP error that decided it, pid, uid and gid are
    SO_PEERCRED's (unix(7)), and ``gai_errno`` is getaddrinfo's own number where the name did not resolve.
    ``nothing_sent`` says that this host's own routing decided, before any packet left.
    ``history`` and ``waited_us`` tell of the attempts before it (``refused x14 -> open``), ``service`` names the port.
    """

    event = "probe"
    target: Endpoint
    endpoint: Endpoint | None
    verdict: str
    errno: int | None = None
    errno_name: str | None = None
    duration_us: float = 0.0
    handshake_us: float | None = None
    resolve_us: float | None = None
    rtt_us: float | None = None
    syn_retransmits: int | None = None
    local: Endpoint | None = None
    peer: Endpoint | None = None
    fileno: int | None = None
    blocking: bool | None = None
    timeout: float | None = None
    evidence: str = ""
    number: int | None = None
    tries: int | None = None
    syn_sent_us: tuple[float, ...] | None = None
    self_connect: bool | None = None
    nothing_sent: bool | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_sender: str | None = None
    pid: int | None = None
    uid: int | None = None
    gid: int | None = None
    gai_errno: int | None = None
    history: str | None = None
    waited_us: float | None = None
    service: str | None = None


@record
class Reply(Record):
    """An answer to one probe: an ICMP echo reply, or a UDP answer."""

    event = "reply"
    endpoint: Endpoint
    sequence: int
    bytes_in: int
    rtt_us: float
    ttl: int | None = None
    data: bytes | None = None


@record
class Option(Record):
    """One socket option as read; ``value`` is for machines, ``shown`` for people (``131,072 B``, ``SOCK_STREAM``).

    ``is_default`` is None where a new socket could not be asked.  ``errno_name`` says why it could not be read.
    ``side`` is client or server where both ends are shown.
    """

    event = "option"
    level: str
    name: str
    value: int | str | None
    shown: str
    meaning: str
    unit: str | None = None
    is_default: bool | None = None
    errno_name: str | None = None
    side: str | None = None


@record
class TcpInfo(Record):
    """The kernel's TCP_INFO (tcp(7)), decoded: ``fields`` maps the kernel's own names to numbers in its units.

    ``shown`` has the same fields as people read them: ``27 us``, ``unlimited``.  ``unread`` and ``unacknowledged`` are
    SIOCINQ and SIOCOUTQ in bytes: received but not read, sent but not acknowledged.
    """

    event = "tcp_info"
    state: int
    state_name: str
    fields: dict[str, int]
    shown: dict[str, str] = field(default_factory=dict)
    unread: int | None = None
    unacknowledged: int | None = None
    side: str | None = None


@record
class Call(Record):
    """One call on a socket of this program, as it ended; ``time`` and ``mono_us`` (CLOCK_MONOTONIC) are its start.

    ``lane`` is client or server.  ``socket`` counts the sockets of the process ``pid`` from 1, because descriptors are
    used again.  ``args`` has neither the descriptor nor the payload.  Of ``result`` and ``errno`` one is None.

    ``waited_us`` is the part of ``duration_us`` that waited for the peer; ``pending_us`` passed before the call, since
    this socket had said EINPROGRESS or EAGAIN.  ``data`` is the start of the payload, ``size`` its true length.

    ``state_name`` is TCP's state by the kernel after the call: for accept, that of the new connection; for close, which
    takes the socket away, what it was before.  ``unread`` is set by close alone: bytes that nobody had read, for which
    the kernel sends RST instead of FIN.
    ``peer_pid`` is SO_PEERCRED's, on unix sockets, where a client mostly has no name.
    """

    event = "call"
    mono_us: float
    duration_us: float
    lane: str
    thread: str
    pid: int
    socket: int
    transport: str
    call: str
    args: str
    fd: int
    result: str | None = None
    errno: int | None = None
    errno_name: str | None = None
    waited_us: float | None = None
    pending_us: float | None = None
    data: bytes | None = None
    size: int | None = None
    state_name: str | None = None
    unread: int | None = None
    local: Endpoint | None = None
    peer: Endpoint | None = None
    peer_pid: int | None = None


@record
class WarningReport(Record):
    """Something a user should know although the work goes on."""

    event = "warning"
    message: str


@record
class Summary(Record):
    """How a run went, at its end.  ``ended_by`` says what ended it: SIGINT, --once, --duration ..."""

    event = "summary"
    ended_by: str
    duration_us: float
    clients: int | None = None
    most_clients: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    datagrams_in: int | None = None
    datagrams_out: int | None = None
    dropped: int | None = None


@record
class ErrorReport(Record):
    """A failure as it ends the run: the same text as on stderr, the same status as the process."""

    event = "error"
    message: str
    status: int
    operation: str
    where: str
    errno: int | None = None
    errno_name: str | None = None
