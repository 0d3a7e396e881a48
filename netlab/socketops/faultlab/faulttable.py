"""The fault lab's table: which faults there are, what their values look like, and what a client meets.

Everything that tells of faults is made from it: parsing, the list that ``--fault list`` prints, the help, the man page,
completion, and the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from netlab.values import parse_duration, parse_size

__all__ = ["KINDS", "Fault", "Kind", "kinds"]

_LONGEST = 24 * 86400.0
_CHANCE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) ?%")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One row of the table.

    Attributes:
      name: what stands after ``--fault``.
      value: how its value is written, in capitals; empty where there is none.
      example: such a value.
      read: turns the value into one or two numbers in seconds, bytes or parts of one; raises ValueError.
      does: what the server does.
      sees: what a client sees: what its calls return, or which errno they fail with.
      server: options of the server, beside --fault, with which `client` shows it; with ``--seed`` where chance rules.
      client: the words after ``netlab`` that show it, against a server on the usual port.
      status: the exit status of that.
      streams: serve-tcp, with and without --concurrent, and serve-threaded can do it.
      datagrams: serve-udp can.
      changes_replies: it strikes only where there is something to send.
      mutes: beside it nothing is ever sent.
      resets: it needs TCP, for a unix socket has no reset.
      needs_port: it needs UDP, for a unix socket has no port.
      uses_chance: what it does depends on ``--seed``.
    """

    name: str
    value: str = ""
    example: str = ""
    read: Callable[[str], tuple[float, float]] | None = None
    does: str
    sees: str
    server: str = ""
    client: str
    status: int
    streams: bool = True
    datagrams: bool = False
    changes_replies: bool = True
    mutes: bool = False
    resets: bool = False
    needs_port: bool = False
    uses_chance: bool = False

    @property
    def usage(self) -> str:
        """Its name, with its value as it is written: ``delay=DURATION[~JITTER]``."""
        return f"{self.name}={self.value}" if self.value else self.name

    @property
    def sample(self) -> str:
        """Its name, with a value: ``delay=300ms``."""
        return f"{self.name}={self.example}" if self.example else self.name


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault as it was asked for.

    Attributes:
      kind: its row in the table.
      text: as it was written, ``delay=300ms``.
      amount: seconds, bytes, bytes a second, a chance from 0 to 1, or a number of connections; 0 without a value.
      extra: delay's jitter or dribble's wait, in seconds.
    """

    kind: Kind
    text: str
    amount: float = 0.0
    extra: float = 0.0

    @property
    def name(self) -> str:
        return self.kind.name

    def __str__(self) -> str:
        return self.text


def kinds(*, datagrams: bool) -> list[Kind]:
    """Return the faults that a server of datagrams, or of streams, can do, in the table's order."""
    return [kind for kind in KINDS if (kind.datagrams if datagrams else kind.streams)]


def _delay(text: str) -> tuple[float, float]:
    mean, has_jitter, jitter = text.partition("~")
    seconds, spread = parse_duration(mean), parse_duration(jitter) if has_jitter else 0.0
    if not seconds + spread:
        raise ValueError("it has to be more than 0")
    if seconds + spread > _LONGEST:
        raise ValueError("that is too long; 24 days (576h) is the most")
    return seconds, spread


def _rate(text: str) -> tuple[float, float]:
    size = parse_size(text.removesuffix("/s"))
    if not size:
        raise ValueError("it has to be at least 1 B a second")
    return size, 0.0


def _dribble(text: str) -> tuple[float, float]:
    size, slash, wait = text.partition("/")
    if not slash:
        raise ValueError("a size, a slash and a duration are needed")
    pieces, seconds = parse_size(size), parse_duration(wait)
    if not pieces or not seconds:
        raise ValueError("both have to be more than 0")
    return pieces, seconds


def _size(text: str) -> tuple[float, float]:
    return parse_size(text), 0.0


def _chance(text: str) -> tuple[float, float]:
    found = _CHANCE.fullmatch(text)
    if found is None:
        raise ValueError("a number and a percent sign are needed")
    percent = float(found[1])
    if not 0 < percent <= 100:
        raise ValueError("it has to be more than 0% and at most 100%")
    return percent / 100, 0.0


def _every(text: str) -> tuple[float, float]:
    if not re.fullmatch("[0-9]{1,9}", text) or not int(text):
        raise ValueError("it has to be a whole number from 1")
    return int(text), 0.0


KINDS: tuple[Kind, ...] = (
    Kind(
        name="delay",
        value="DURATION[~JITTER]",
        example="300ms",
        read=_delay,
        does="waits before each reply; with a jitter, up to so much more or less",
        sees="the reply late; a client that waits less gives up: TimeoutError",
        client="send -w 100ms 9999 hello",
        status=28,
        datagrams=True,
    ),
    Kind(
        name="rate",
        value="SIZE",
        example="10k",
        read=_rate,
        does="sends at most so many bytes a second",
        sees="replies that come slowly, in pieces",
        server="--reply generate",
        client="send --until 2k 9999 ''",
        status=0,
    ),
    Kind(
        name="dribble",
        value="SIZE/DURATION",
        example="1B/10ms",
        read=_dribble,
        does="sends replies in pieces of that size, with that wait between them",
        sees="many short recv() where one was expected",
        client="send --until line 9999 hello",
        status=0,
    ),
    Kind(
        name="split-utf8",
        does="cuts replies inside their multi-byte characters, with a wait of 10 ms at each cut",
        sees="recv() that ends in the middle of a character: UnicodeDecodeError for the careless",
        server="--reply echo",
        client=r"send -e --until first --expect-echo 9999 '\xe4\xb8\xad'",
        status=1,
        uses_chance=True,
    ),
    Kind(
        name="close-after",
        value="SIZE",
        example="5B",
        read=_size,
        does="sends so many bytes in all, then closes (FIN)",
        sees="the start of a reply, then EOF: recv() returns b''",
        client="send --until line 9999 hello",
        status=52,
    ),
    Kind(
        name="reset-after",
        value="SIZE",
        example="5B",
        read=_size,
        does="sends so many bytes in all, then resets (RST)",
        sees="the start of a reply, then ECONNRESET",
        client="send --until line 9999 hello",
        status=56,
        resets=True,
    ),
    Kind(
        name="half-close",
        does="sends FIN at once, and goes on reading",
        sees="EOF in place of a reply, while send() still works",
        client="send 9999 hello",
        status=52,
        changes_replies=False,
        mutes=True,
    ),
    Kind(
        name="stall",
        does="accepts, and never reads",
        sees="no reply; send() blocks once the buffers are full",
        client="send -w 200ms 9999 hello",
        status=28,
        changes_replies=False,
        mutes=True,
    ),
    Kind(
        name="no-accept",
        does="never accepts, with a backlog of 0 and its accept queue filled by itself",
        sees="connect() that is not answered: ETIMEDOUT; on a unix socket EAGAIN",
        client="send -w 200ms 9999 hello",
        status=28,
        changes_replies=False,
    ),
    Kind(
        name="refuse-every",
        value="NUMBER",
        example="3",
        read=_every,
        does="resets one connection in so many, as soon as it stands",
        sees="a connection that stands, then ECONNRESET",
        client="send --reconnect -c 3 9999 hello",
        status=1,
        changes_replies=False,
        resets=True,
    ),
    Kind(
        name="no-reply",
        does="reads, and never replies",
        sees="silence: TimeoutError",
        client="send -w 200ms 9999 hello",
        status=28,
        datagrams=True,
        mutes=True,
    ),
    Kind(
        name="drop",
        value="PERCENT",
        example="10%",
        read=_chance,
        does="loses replies, with that chance",
        sees="no reply, now and then",
        server="--seed 3",
        client="send -c 10 -w 100ms 9999 hello",
        status=1,
        datagrams=True,
        uses_chance=True,
    ),
    Kind(
        name="duplicate",
        value="PERCENT",
        example="10%",
        read=_chance,
        does="sends replies twice, with that chance; beyond loopback only if both are no more than what came",
        sees="the same datagram again",
        server="--reply echo --seed 11",
        client="send -u --until quiet:20ms 9999 a b c d e f g h i j",
        status=0,
        streams=False,
        datagrams=True,
        uses_chance=True,
    ),
    Kind(
        name="reorder",
        value="PERCENT",
        example="10%",
        read=_chance,
        does="holds replies back for 50 ms, with that chance, so that later ones overtake them",
        sees="replies in another order than the requests",
        server="--seed 1",
        client="send -u -c 50 -w 20ms 9999 hello",
        status=1,
        streams=False,
        datagrams=True,
        uses_chance=True,
    ),
    Kind(
        name="truncate",
        value="SIZE",
        example="20B",
        read=_size,
        does="cuts replies to that size",
        sees="a shorter datagram than it should be",
        server="--reply echo",
        client="send -u -w 200ms --expect-echo 9999 'more than twenty bytes'",
        status=1,
        streams=False,
        datagrams=True,
    ),
    Kind(
        name="corrupt",
        value="PERCENT",
        example="1%",
        read=_chance,
        does="flips a bit of each byte it sends, with that chance",
        sees="bytes that are not what was sent",
        server="--reply echo",
        client='send --expect-echo 9999 "$(seq 1000)"',
        status=1,
        datagrams=True,
        uses_chance=True,
    ),
    Kind(
        name="garbage",
        does="sends random bytes in place of each reply, as many",
        sees="bytes that make no sense",
        client="send -w 200ms --expect received 9999 hello",
        status=1,
        datagrams=True,
        uses_chance=True,
    ),
    Kind(
        name="wrong-port",
        does="answers from another port than it was asked at",
        sees="a reply from a stranger, which a connected socket never gets",
        client="send -u -w 200ms 9999 hello",
        status=28,
        streams=False,
        datagrams=True,
        needs_port=True,
    ),
)
"""In the order in which ``--fault list`` prints them."""
