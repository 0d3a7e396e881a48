"""Reports: records that people see as one picture, and machines as the records in it, a line each.

``parts()`` gives those lines, in the order in which they are worth reading; `netlab.render` draws the picture.
"""

from __future__ import annotations

from dataclasses import field

from netlab.endpoint import Endpoint
from netlab.records import Connected, ErrorReport, Option, Probe, Record, Reply, Sent, TcpInfo, record

__all__ = [
    "Diagnosis",
    "FaultKind",
    "FaultList",
    "LoadReport",
    "Loopback",
    "ProbeSummary",
    "Repeated",
    "Repetition",
    "SentHeader",
    "Survey",
]


@record
class SentHeader(Record):
    """The IPv4 header that netlab itself wrote (raw(7), IP_HDRINCL), field by field (RFC 791 section 3.1).

    ``header_bytes`` and ``total_bytes`` are lengths; ``data`` is the packet, header and all.
    """

    event = "sent"
    source: str
    destination: str
    header_bytes: int
    total_bytes: int
    tos: int
    identification: int
    flags_and_offset: int
    ttl: int
    protocol: int
    checksum: int
    data: bytes


@record
class ProbeSummary(Record):
    """How probing went, at its end.

    ``verdicts`` counts the attempts by verdict.  ``verdict`` is that of the one target, where there is one.  Of
    several attempts at it the times are ``statistics`` (min_us, p50_us, kernel_min_us ...), and ``histogram`` has
    rows of lower bound, upper bound (both in us) and how many.  ``ended_by`` says what ended it before all was done,
    and ``not_tried`` how many targets were left.
    """

    event = "summary"
    attempts: int
    verdicts: dict[str, int]
    duration_us: float
    status: int
    target: Endpoint | None = None
    verdict: str | None = None
    ended_by: str | None = None
    not_tried: int | None = None
    statistics: dict[str, float] = field(default_factory=dict)
    histogram: tuple[tuple[float, float, int], ...] | None = None


@record
class Diagnosis(Record):
    """What one target came to: an attempt at each of its addresses, and what the best of them says.

    ``best`` is one of ``attempts``.  Options and TCP_INFO are its socket's, ``settings`` what the kernel made of those
    asked for.  ``likely`` and ``next_steps`` (command, why) are as in `netlab.explain`; ``failure`` is None where the
    answer is yes.
    """

    target: Endpoint
    attempts: tuple[Probe, ...]
    best: Probe
    summary: ProbeSummary
    replies: tuple[Reply, ...] = ()
    header: SentHeader | None = None
    settings: tuple[Option, ...] = ()
    options: tuple[Option, ...] = ()
    all_options: bool = False
    tcp_info: TcpInfo | None = None
    note: str = ""
    means: str = ""
    likely: tuple[str, ...] = ()
    next_steps: tuple[tuple[str, str], ...] = ()
    failure: ErrorReport | None = None

    def parts(self) -> tuple[Record, ...]:
        found = (self.header, *self.attempts, *self.replies, *self.settings, *self.options, self.tcp_info)
        return tuple(part for part in (*found, self.summary, self.failure) if part is not None)


@record
class Survey(Record):
    """How probing many targets went; ``failure`` is None where the answer is yes."""

    summary: ProbeSummary
    failure: ErrorReport | None = None

    def parts(self) -> tuple[Record, ...]:
        return (self.summary,) if self.failure is None else (self.summary, self.failure)


@record
class Repeated(Record):
    """One of many attempts at one target, and its answer where it has one of its own."""

    probe: Probe
    reply: Reply | None = None

    def parts(self) -> tuple[Record, ...]:
        return (self.probe,) if self.reply is None else (self.probe, self.reply)


@record
class Repetition(Record):
    """How many attempts at one target went; the reasons are those of the best that was not a yes."""

    summary: ProbeSummary
    means: str = ""
    likely: tuple[str, ...] = ()
    next_steps: tuple[tuple[str, str], ...] = ()
    failure: ErrorReport | None = None

    def parts(self) -> tuple[Record, ...]:
        return (self.summary,) if self.failure is None else (self.summary, self.failure)


@record
class Loopback(Record):
    """netlab probing a listener of its own, and one message and its reply: both ends of one conversation."""

    client: Probe
    server: Connected
    sent: Sent
    reply: Reply
    settings: tuple[Option, ...]
    options: tuple[Option, ...]
    all_options: bool
    tcp_info: TcpInfo | None
    all_fields: bool
    summary: ProbeSummary

    def parts(self) -> tuple[Record, ...]:
        found = (self.client, self.server, self.sent, self.reply, *self.settings, *self.options, self.tcp_info)
        return tuple(part for part in (*found, self.summary) if part is not None)


@record
class LoadReport(Record):
    """How a run of many exchanges went.

    ``exchanges`` have a whole reply (or, where none is awaited, a message that was sent), ``unfinished`` had none yet
    at the end, and ``failures`` counts the failed ones by kind: failed_timeout, failed_reset, failed_closed (without a
    reply), failed_unexpected (another reply), failed_refused ...  ``statistics`` are of the replies' times (min_us,
    p50_us, p90_us, p99_us, p999_us, max_us, mean_us, sd_us): from sending a message, or, with ``asked_per_s``, from
    when it was due; with ``reconnecting`` they include connecting.  ``histogram`` has rows of lower bound, upper bound
    (both in us) and how many.  ``checked`` names what every reply was held against: echo, text, regex.
    ``ended_by`` says what ended it before the count was reached.
    """

    event = "summary"
    target: Endpoint
    exchanges: int
    connections: int
    exchanges_per_s: float
    failed: int
    failures: dict[str, int] = field(default_factory=dict)
    unfinished: int = 0
    reconnects: int = 0
    bytes_out: int = 0
    bytes_in: int = 0
    duration_us: float = 0.0
    asked_per_s: float | None = None
    checked: str | None = None
    reconnecting: bool = False
    ended_by: str | None = None
    statistics: dict[str, float] = field(default_factory=dict)
    histogram: tuple[tuple[float, float, int], ...] | None = None


@record
class FaultKind(Record):
    """A fault that a server can be asked for with --fault.

    ``usage`` is how it is written, ``does`` what the server does, ``sees`` what a client sees.  ``server`` and
    ``client`` are two command lines that show it, and ``status`` is the exit status of the client's.
    """

    event = "fault_kind"
    fault: str
    usage: str
    does: str
    sees: str
    server: str
    client: str
    status: int


@record
class FaultList(Record):
    """All the faults that one kind of server can do."""

    kinds: tuple[FaultKind, ...]

    def parts(self) -> tuple[Record, ...]:
        return self.kinds
