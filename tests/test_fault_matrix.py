"""The fault lab: each fault in each server that can do it, as a foreign client sees it and as netlab's own tell it.

What is tried comes from the table: a fault without a row of its own here fails.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest

from netlab import cli, socketops
from netlab.explain import VERDICT_STATUS
from netlab.socketops.faultlab.faultlist import client_words
from netlab.socketops.faultlab.faulttable import KINDS, Kind, kinds
from netlab.socketops.serving.replies import ReplyName
from tests.programs import StartProgram, clean_environment
from tests.servers import Running, bind, flood, listen, read_to_end, running

SERVERS: dict[str, Callable[..., None]] = {
    "serve-tcp": socketops.serve_iteratively,
    "serve-tcp --concurrent": socketops.serve_concurrently,
    "serve-threaded": socketops.serve_threaded,
    "serve-udp": socketops.serve_datagrams,
}
PAIRS = [
    pytest.param(server, kind, id=f"{server}-{kind.name}")
    for server in SERVERS
    for kind in kinds(datagrams=server == "serve-udp")
]

MESSAGE = b"hello!"
LAST_WORDS = b"exit\r\n"
"""A message of the same size after which a well-behaved server says goodbye."""
At = tuple[str, int]
REPLY = b"received 6 bytes\n"
"""What comes for either where all goes well."""
CHINESE = "收到了 6 个字节\n".encode()
SHORT = 0.05
"""Seconds that a client waits for what is not to come."""


@contextlib.contextmanager
def misbehaving(
    server: str, fault: str, *, reply: str = "ack", ack: str = "received {n} bytes", seed: int = 1
) -> Iterator[Running]:
    """Run a server in this process that does this one thing wrong."""
    datagrams = server == "serve-udp"
    faults = socketops.Faults([socketops.parse_fault(fault, datagrams=datagrams)], seed=seed)
    what: Any = socketops.make_reply(cast(ReplyName, reply), ack_text=ack, datagrams=datagrams)
    sockets = bind() if datagrams else listen()
    with contextlib.ExitStack() as stack:
        if faults.never_accepts:
            stack.enter_context(socketops.full_queues(sockets))
        yield stack.enter_context(running(SERVERS[server], sockets, reply=what, faults=faults))


@contextlib.contextmanager
def calling(at: At) -> Iterator[socket.socket]:
    """Be a client that has connected and sent a message; every wait has a bound."""
    with socket.create_connection(at, timeout=5) as sock:
        sock.send(MESSAGE)
        yield sock


@contextlib.contextmanager
def asking(at: At, *messages: bytes) -> Iterator[socket.socket]:
    """Be a client that has sent datagrams from a socket that is not connected."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        for message in messages:
            sock.sendto(message, at)
        yield sock


def hears_nothing(sock: socket.socket, seconds: float = SHORT) -> None:
    sock.settimeout(seconds)
    with pytest.raises(TimeoutError):
        sock.recv(100)
    sock.settimeout(5)


def chunks(sock: socket.socket, size: int) -> list[bytes]:
    """Read so many bytes, each chunk as recv returned it."""
    found: list[bytes] = []
    while sum(map(len, found)) < size:
        found.append(sock.recv(65536))
        assert found[-1], f"the end came after {found}"
    return found


def datagrams(sock: socket.socket, seconds: float = 0.2) -> list[bytes]:
    """Read datagrams until none has come for so long."""
    found: list[bytes] = []
    sock.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(sock.recv(65536))
    return found


def differs(came: bytes, wanted: bytes) -> None:
    assert len(came) == len(wanted)
    assert came != wanted


@contextlib.contextmanager
def at_least(seconds: float) -> Iterator[None]:
    """Be a block that takes so long; at the most would be up to how busy the machine is."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started >= seconds


def late(at: At) -> None:
    with at_least(0.1), calling(at) as sock:
        assert b"".join(chunks(sock, len(REPLY))) == REPLY


def in_pieces(at: At) -> None:
    with at_least(0.1), calling(at) as sock:
        came = chunks(sock, len(REPLY))
        assert b"".join(came) == REPLY
        assert len(came) > 1


def cut_characters(at: At) -> None:
    with calling(at) as sock:
        came = chunks(sock, len(CHINESE))
    assert b"".join(came) == CHINESE
    with pytest.raises(UnicodeDecodeError):
        [chunk.decode() for chunk in came]


def cut_short(at: At) -> None:
    with calling(at) as sock:
        assert read_to_end(sock) == REPLY[:5]


def cut_short_by_reset(at: At) -> None:
    with calling(at) as sock:
        assert sock.recv(5, socket.MSG_WAITALL) == REPLY[:5]
        with pytest.raises(ConnectionResetError):
            sock.recv(100)


def ended_but_listening(at: At) -> None:
    with calling(at) as sock:
        assert sock.recv(100) == b""
        for _ in range(3):
            sock.send(MESSAGE)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0


def takes_no_more(at: At) -> None:
    with calling(at) as sock:
        sock.settimeout(SHORT)
        flood(sock)
        hears_nothing(sock)


def no_connection(at: At) -> None:
    with socket.socket() as sock:
        sock.settimeout(SHORT)
        with pytest.raises(TimeoutError):
            sock.connect(at)


def every_second_is_reset(at: At) -> None:
    for _ in range(2):
        with calling(at) as sock:
            assert sock.recv(100) == REPLY
        with socket.create_connection(at, timeout=5) as sock, pytest.raises(ConnectionResetError):
            sock.recv(100)


def silence(at: At) -> None:
    with calling(at) as sock:
        hears_nothing(sock)


def some_are_lost(at: At) -> None:
    came = 0
    with socket.create_connection(at, timeout=SHORT) as sock:
        for _ in range(8):
            sock.send(MESSAGE)
            with contextlib.suppress(TimeoutError):
                came += len(sock.recv(100))
        with contextlib.suppress(TimeoutError):
            came += len(sock.recv(100))
    assert 0 < came // len(REPLY) < 8


def other_bytes(at: At) -> None:
    with calling(at) as sock:
        differs(b"".join(chunks(sock, len(REPLY))), REPLY)


def datagram_late(at: At) -> None:
    with at_least(0.1), asking(at, MESSAGE) as sock:
        assert sock.recv(100) == REPLY


def datagram_silence(at: At) -> None:
    with asking(at, MESSAGE) as sock:
        hears_nothing(sock)


def some_datagrams_are_lost(at: At) -> None:
    with asking(at, *[MESSAGE] * 20) as sock:
        assert 0 < len(datagrams(sock)) < 20


def twice(at: At) -> None:
    with asking(at, *[MESSAGE] * 20) as sock:
        assert 20 < len(datagrams(sock)) < 40


def in_another_order(at: At) -> None:
    sent = [b"x" * size for size in range(1, 21)]
    with asking(at, *sent) as sock:
        came = datagrams(sock)
    wanted = [b"received %d bytes\n" % size for size in range(1, 21)]
    assert sorted(came) == sorted(wanted)
    assert came != wanted


def shorter_datagram(at: At) -> None:
    with asking(at, MESSAGE) as sock:
        assert sock.recv(100) == REPLY[:5]


def other_datagram(at: At) -> None:
    with asking(at, MESSAGE) as sock:
        differs(sock.recv(100), REPLY)


def stranger(at: At) -> None:
    with asking(at, MESSAGE) as sock:
        came, address = sock.recvfrom(100)
    assert came == REPLY
    assert (address[0], address[1] != at[1]) == (at[0], True)


@dataclass(frozen=True)
class Told:
    """What a foreign program makes of it: its status, its stdout (or what that is not), how long it took at least."""

    status: int = 0
    out: bytes = REPLY
    seconds: float = 0.0
    other: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """How one fault is seen by foreign clients, and by probe.

    ``fault`` is what they meet, ncat and curl ``certain`` instead, if it is not empty; the server's first client is the
    one that is asked.  ``ack`` is the server's acknowledgement.
    """

    fault: str
    python: Callable[[At], None] | None = None
    ncat: Told = Told()
    curl: Told = Told()
    udp: Callable[[At], None] | None = None
    udp_ncat: bytes | None = REPLY
    probe: str = "open"
    udp_probe: str = "open"
    certain: str = ""
    ack: str = "received {n} bytes"


LONG_TEXT = "\n".join(map(str, range(1, 1001)))
"""$(seq 1000) of a shell."""
SAYS = {
    "delay": "no reply within 100 ms",
    "rate": "ABCDEFGH",
    "dribble": "received 5 bytes",
    "split-utf8": "the message is not what came back",
    "close-after": "closed before the reply was whole",
    "reset-after": "connection reset by peer (ECONNRESET)",
    "half-close": "closed without a reply",
    "stall": "no reply within 200 ms",
    "no-accept": "accept queue is full",
    "refuse-every": "failed: 1 reset",
    "no-reply": "no reply within 200 ms",
    "drop": "timeout",
    "duplicate": "abcdeefghhij",
    "reorder": "timeout",
    "truncate": "did not come within",
    "corrupt": "expect",
    "garbage": "did not come within",
    "wrong-port": "no reply within 200 ms",
}
"""What netlab's send says of each, with the command line of the table."""
HURRIED = ("-m", "0.05")
IDLE = ("-i", "100ms")
ROWS = {
    "delay": Row(
        "delay=100ms", late, Told(seconds=0.1), Told(28, b"", options=HURRIED), udp=datagram_late, udp_probe="no-answer"
    ),
    "rate": Row("rate=100", in_pieces, Told(seconds=0.1), Told(seconds=0.1)),
    "dribble": Row("dribble=1B/10ms", in_pieces, Told(seconds=0.16), Told(seconds=0.16)),
    "split-utf8": Row("split-utf8", cut_characters, Told(0, CHINESE), Told(0, CHINESE), ack="收到了 {n} 个字节"),
    "close-after": Row("close-after=5B", cut_short, Told(0, REPLY[:5]), Told(0, REPLY[:5])),
    "reset-after": Row("reset-after=5B", cut_short_by_reset, Told(1, REPLY[:5]), Told(56, REPLY[:5])),
    "half-close": Row("half-close", ended_but_listening, Told(0, b""), Told(0, b"")),
    "stall": Row("stall", takes_no_more, Told(1, b"", options=IDLE), Told(28, b"", options=HURRIED)),
    "no-accept": Row(
        "no-accept",
        no_connection,
        Told(1, b"", options=("-w", "100ms")),
        Told(28, b"", options=HURRIED),
        probe="timeout",
    ),
    "refuse-every": Row("refuse-every=2", every_second_is_reset, Told(1, b""), Told(56, b""), certain="refuse-every=1"),
    "no-reply": Row(
        "no-reply", silence, Told(0, b""), Told(0, b""), udp=datagram_silence, udp_ncat=b"", udp_probe="no-answer"
    ),
    "drop": Row(
        "drop=50%",
        some_are_lost,
        Told(0, b""),
        Told(0, b""),
        udp=some_datagrams_are_lost,
        udp_ncat=b"",
        certain="drop=100%",
    ),
    "duplicate": Row("duplicate=50%", udp=twice, udp_ncat=2 * REPLY, certain="duplicate=100%"),
    "reorder": Row("reorder=50%", udp=in_another_order),
    "truncate": Row("truncate=5B", udp=shorter_datagram, udp_ncat=REPLY[:5]),
    "corrupt": Row("corrupt=50%", other_bytes, Told(other=True), Told(other=True), udp=other_datagram, udp_ncat=None),
    "garbage": Row("garbage", other_bytes, Told(other=True), Told(other=True), udp=other_datagram, udp_ncat=None),
    "wrong-port": Row("wrong-port", udp=stranger, udp_ncat=b"", udp_probe="no-answer"),
}


def run(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Run a command of netlab in this process: its exit status, and all that it has written."""
    status = cli.run(words)
    return status, "".join(capfd.readouterr())


def place(server: Running) -> At:
    return server.endpoint.host, server.endpoint.port


def test_every_fault_has_a_row() -> None:
    assert list(ROWS) == [kind.name for kind in KINDS]
    for kind in KINDS:
        row = ROWS[kind.name]
        assert (row.python is not None, row.udp is not None) == (kind.streams, kind.datagrams)


@pytest.mark.parametrize(("server", "kind"), PAIRS)
def test_a_python_socket_sees_it(server: str, kind: Kind) -> None:
    row = ROWS[kind.name]
    see = row.udp if server == "serve-udp" else row.python
    assert see is not None
    with misbehaving(server, row.fault, ack=row.ack) as running_server:
        see(place(running_server))


@pytest.mark.parametrize(("server", "kind"), PAIRS)
def test_send_ends_as_the_table_says(server: str, kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    """The table's two command lines, as somebody who tries them types them, but for the port."""
    given = iter(kind.server.split())
    options = {name: next(given) for name in given}
    words = shlex.split(client_words(kind, datagrams=server == "serve-udp").replace("$(seq 1000)", LONG_TEXT))
    with misbehaving(
        server, kind.sample, reply=options.pop("--reply", "ack"), seed=int(options.pop("--seed", 1))
    ) as running_server:
        assert not options, "an option that this test does not know"
        port = str(running_server.endpoint.port)
        status, written = run(capfd, *(port if word == "9999" else word for word in words))
    assert status == kind.status, written
    assert SAYS[kind.name] in written


@pytest.mark.parametrize(("server", "kind"), PAIRS)
def test_probe_tells_what_it_is(server: str, kind: Kind, capfd: pytest.CaptureFixture[str]) -> None:
    row = ROWS[kind.name]
    verdict = row.udp_probe if server == "serve-udp" else row.probe
    with misbehaving(server, row.fault) as running_server:
        status, written = run(
            capfd, "probe", str(running_server.endpoint), "-w", "5s" if verdict == "open" else f"{SHORT}s"
        )
    assert written.split()[0] == verdict
    assert status == VERDICT_STATUS[verdict]


@pytest.mark.parametrize("kind", kinds(datagrams=False), ids=lambda kind: kind.name)
@pytest.mark.parametrize(("tool", "server"), [("ncat", "serve-tcp"), ("curl", "serve-tcp --concurrent")])
def test_a_foreign_tool_sees_it(tool: str, server: str, kind: Kind, require_tool: Callable[[str], str]) -> None:
    row = ROWS[kind.name]
    told = row.curl if tool == "curl" else row.ncat
    with misbehaving(server, row.certain or row.fault, ack=row.ack) as running_server:
        host, port = place(running_server)
        target = ["-s", f"telnet://{host}:{port}"] if tool == "curl" else [host, str(port)]
        started = time.monotonic()
        done = subprocess.run(
            [require_tool(tool), *told.options, *target], input=LAST_WORDS,
            env=clean_environment(), capture_output=True, check=False, timeout=5,
        )  # fmt: skip
    assert time.monotonic() - started >= told.seconds
    assert done.returncode == told.status, done.stderr
    if told.other:
        differs(done.stdout, told.out)
    else:
        assert done.stdout == told.out


@pytest.mark.parametrize("kind", kinds(datagrams=True), ids=lambda kind: kind.name)
def test_ncat_sees_it_in_datagrams(kind: Kind, start_program: StartProgram, require_tool: Callable[[str], str]) -> None:
    row = ROWS[kind.name]
    with misbehaving("serve-udp", row.certain or row.fault) as running_server:
        host, port = place(running_server)
        # Its input stays open: it would end with that.
        ncat = start_program(require_tool("ncat"), "-u", "-i", "150ms", host, str(port))
        ncat.write(LAST_WORDS)
        came = ncat.wait().stdout
    if row.udp_ncat is None:
        differs(came, REPLY)
    else:
        assert came == row.udp_ncat


def test_two_faults_combine() -> None:
    faults = [socketops.parse_fault(text) for text in ("close-after=5B", "delay=100ms")]
    with (
        running(socketops.serve_concurrently, faults=socketops.Faults(faults)) as server,
        at_least(0.1),
        calling(place(server)) as sock,
    ):
        assert read_to_end(sock) == REPLY[:5]
