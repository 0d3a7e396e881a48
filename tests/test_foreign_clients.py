"""Foreign clients against netlab's servers, and against chat --listen: what they send arrives, and comes back, whole.

One netlab server of a kind serves all clients; each client sends its payloads over one connection.  `CLIENTS` has a
cell for each client and way: how it is started, or why there is none.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netlab.endpoint import Endpoint
from tests import foreign_python
from tests.foreign import WAYS, Cannot, Payload, Tool, Way, exchange, run_tool
from tests.programs import NETLAB, Program, StartProgram

BASH = "exec 3<>/dev/{}/{{host}}/{{port}}; cat <&3 & cat >&3; kill $! || :"
"""Carry both ways; bash has no half-close, so that the end of the input ends both."""

PERL = r"""
use strict; use warnings;
use IO::Select; use IO::Socket::IP; use IO::Socket::UNIX; use Socket;
my ($way, $place, $other) = @ARGV;
my $datagrams = $way =~ /udp|dgram/;
my $type = $datagrams ? SOCK_DGRAM : $way eq 'seqpacket' ? SOCK_SEQPACKET : SOCK_STREAM;
my $sock = $way =~ /tcp|udp/
    ? IO::Socket::IP->new(PeerHost => $place, PeerPort => $other, Type => $type)
    : IO::Socket::UNIX->new(Peer => $place, Type => $type, $datagrams ? (Local => $other) : ());
die "no socket: $@ $!\n" unless $sock;
my $wait = IO::Select->new($sock, \*STDIN);
while (1) {
    for my $source ($wait->can_read) {
        sysread($source, my $data, 65536) // die "read: $!\n";
        if (length $data) { syswrite($source == $sock ? \*STDOUT : $sock, $data) == length $data or die "write: $!\n" }
        elsif ($source == $sock) { exit 0 }
        else { $wait->remove(\*STDIN); $datagrams ? send($sock, '', 0) : shutdown($sock, 1) }
    }
}
"""


def perl(*words: str) -> Tool:
    return Tool(("perl", "-e", PERL, *words))


def telnet(*words: str) -> Tool:
    cannot: dict[Payload, str] = {"large": "7.88 may wait for more input while what came waits for it"}
    return Tool(("curl", "-sSN", *words), stays="waits for the peer to close", cannot=cannot)


def only(ways: dict[Way, Tool], **reasons: str) -> dict[Way, Tool | Cannot]:
    """Fill a client's row: what it can, and for all other ways the reason given for them, or for the rest."""
    rest = reasons.pop("rest", "")
    row: dict[Way, Tool | Cannot] = {way: Cannot(reasons.get(way, rest)) for way in WAYS if way not in ways}
    return row | ways


NO_EMPTY: dict[Payload, str] = {"empty": "sends nothing where its input has nothing"}
NO_SEQPACKET = "has no option for this type of socket"

CLIENTS: dict[str, dict[Way, Tool | Cannot]] = {
    "ncat": only(
        {
            "tcp4": Tool(("ncat", "{host}", "{port}")),
            "tcp6": Tool(("ncat", "{host}", "{port}")),
            "udp4": Tool(("ncat", "-u", "{host}", "{port}"), cannot=NO_EMPTY),
            "udp6": Tool(("ncat", "-u", "{host}", "{port}"), cannot=NO_EMPTY),
            "stream": Tool(("ncat", "-U", "{path}")),
            "dgram": Tool(("ncat", "-U", "-u", "{path}"), cannot=NO_EMPTY),
        },
        seqpacket=NO_SEQPACKET,
    ),
    # shut-null: the end of the input is an empty datagram; null-eof: and so is the peer's.
    "socat": {
        "tcp4": Tool(("socat", "-", "TCP4:{host}:{port}")),
        "tcp6": Tool(("socat", "-", "TCP6:[{host}]:{port}")),
        "udp4": Tool(("socat", "-b", "65507", "-", "UDP4:{host}:{port},shut-null,null-eof")),
        "udp6": Tool(("socat", "-b", "65507", "-", "UDP6:[{host}]:{port},shut-null,null-eof")),
        "stream": Tool(("socat", "-", "UNIX-CONNECT:{path}")),
        "seqpacket": Tool(("socat", "-", "UNIX-CONNECT:{path},type=5")),
        "dgram": Tool(("socat", "-b", "65507", "-", "UNIX-SENDTO:{path},bind={scratch},shut-null,null-eof")),
    },
    "nc.openbsd": only(
        {
            "tcp4": Tool(("nc.openbsd", "-N", "{host}", "{port}")),
            "tcp6": Tool(("nc.openbsd", "-N", "{host}", "{port}")),
            "udp4": Tool(("nc.openbsd", "-u", "-q", "0", "{host}", "{port}"), cannot=NO_EMPTY),
            "udp6": Tool(("nc.openbsd", "-u", "-q", "0", "{host}", "{port}"), cannot=NO_EMPTY),
            "stream": Tool(("nc.openbsd", "-N", "-U", "{path}")),
            "dgram": Tool(("nc.openbsd", "-U", "-u", "-q", "0", "-s", "{scratch}", "{path}"), cannot=NO_EMPTY),
        },
        seqpacket=NO_SEQPACKET,
    ),
    "nc.traditional": only(
        {
            "tcp4": Tool(("nc.traditional", "-q", "5", "{host}", "{port}")),
            "udp4": Tool(("nc.traditional", "-u", "-q", "0", "{host}", "{port}"), cannot=NO_EMPTY),
        },
        tcp6="has no IPv6",
        udp6="has no IPv6",
        rest="has no unix sockets",
    ),
    "bash": only(
        {
            "tcp4": Tool(("bash", "-c", BASH.format("tcp"))),
            "tcp6": Tool(("bash", "-c", BASH.format("tcp"))),
            "udp4": Tool(("bash", "-c", BASH.format("udp")), cannot=NO_EMPTY),
            "udp6": Tool(("bash", "-c", BASH.format("udp")), cannot=NO_EMPTY),
        },
        rest="has /dev/tcp and /dev/udp alone",
    ),
    "curl": only(
        {
            "tcp4": telnet("telnet://{host}:{port}"),
            "tcp6": telnet("telnet://[{host}]:{port}"),
            "stream": telnet("--unix-socket", "{path}", "telnet://any"),
        },
        seqpacket="takes stream sockets alone",
        rest="has none but TFTP's and QUIC's datagrams",
    ),
    "perl": {
        "tcp4": perl("tcp", "{host}", "{port}"),
        "tcp6": perl("tcp", "{host}", "{port}"),
        "udp4": perl("udp", "{host}", "{port}"),
        "udp6": perl("udp", "{host}", "{port}"),
        "stream": perl("stream", "{path}"),
        "seqpacket": perl("seqpacket", "{path}"),
        "dgram": perl("dgram", "{path}", "{scratch}"),
    },
    "socket": {way: Tool(()) for way in WAYS},
    "asyncio": only(
        {way: Tool(()) for way in ("tcp4", "tcp6", "stream")}
        | {way: Tool((), cannot={"empty": "sends none before Python 3.14"}) for way in ("udp4", "udp6", "dgram")},
        seqpacket="its streams and protocols refuse this type of socket",
    ),
}
IN_PROCESS = {"socket": foreign_python.socket_client, "asyncio": foreign_python.asyncio_client}

SERVERS: dict[str, tuple[Way, tuple[str, ...]]] = {
    "serve-tcp": ("tcp4", ("serve-tcp", "--reply", "echo")),
    "serve-tcp-concurrent": ("tcp4", ("serve-tcp", "--concurrent", "--reply", "echo")),
    "serve-threaded": ("tcp4", ("serve-threaded", "--reply", "echo")),
    "serve-tcp-6": ("tcp6", ("serve-tcp", "-6", "--reply", "echo")),
    "serve-threaded-6": ("tcp6", ("serve-threaded", "-6", "--reply", "echo")),
    "serve-tcp-unix": ("stream", ("serve-tcp", "--concurrent", "--reply", "echo", "-U")),
    "serve-tcp-seqpacket": ("seqpacket", ("serve-tcp", "--concurrent", "--type", "seqpacket", "--reply", "echo", "-U")),
    "serve-threaded-seqpacket": ("seqpacket", ("serve-threaded", "--type", "seqpacket", "--reply", "echo", "-U")),
    "serve-udp": ("udp4", ("serve-udp", "--reply", "echo")),
    "serve-udp-6": ("udp6", ("serve-udp", "-6", "--reply", "echo")),
    "serve-udp-unix": ("dgram", ("serve-udp", "--reply", "echo", "-U")),
    "acknowledging": ("tcp4", ("serve-threaded",)),
}
CELLS = [
    pytest.param(client, server, id=f"{client}-{server}")
    for server, (way, _) in SERVERS.items()
    for client, row in CLIENTS.items()
    if server != "acknowledging" and isinstance(row[way], Tool)
]

CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
"""What no log may hold: C0 (but the newlines between its lines), DEL, C1."""
BINARY = bytes(range(256))
UTF8 = "é你𝄞"
LARGE = (BINARY + b"\n") * 4096

Server = Callable[[str], Program]
Client = Callable[[str, Way, str], "contextlib.AbstractContextManager[socket.socket]"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One netlab server of each kind, started when the first client wants it."""
    running: dict[str, Program] = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> Program:
            if name not in running:
                argv = SERVERS[name][1]
                where = (str(tmp_path_factory.mktemp(name) / "s"),) if argv[-1] == "-U" else ("-p", "0")
                running[name] = Program([*NETLAB, *argv, *where], stdin=subprocess.DEVNULL)
                stack.callback(running[name].reap)
                running[name].ready()
            return running[name]

        yield start


@pytest.fixture
def client(tmp_path: Path, request: pytest.FixtureRequest, require_tool: Callable[[str], str]) -> Client:
    """Start a client towards an endpoint; what stands for its terminal is the test's."""
    numbers = iter(range(10))

    def start(name: str, way: Way, target: str) -> contextlib.AbstractContextManager[socket.socket]:
        if way.endswith("6"):
            request.getfixturevalue("require_ipv6")
        endpoint, scratch = Endpoint.parse(target), str(tmp_path / f"client{next(numbers)}")
        if name in IN_PROCESS:
            return IN_PROCESS[name](endpoint, scratch)
        tool = CLIENTS[name][way]
        assert isinstance(tool, Tool)
        require_tool(tool.argv[0])
        places = {"host": endpoint.host, "port": str(endpoint.port), "path": endpoint.path, "scratch": scratch}
        return run_tool(tool, places, {"TMPDIR": str(tmp_path)})

    return start


def test_every_cell_is_a_case_or_has_a_reason() -> None:
    for name, row in CLIENTS.items():
        assert set(row) == set(WAYS), name
        for way, cell in row.items():
            reasons = [cell.reason] if isinstance(cell, Cannot) else [*cell.cannot.values()]
            assert all(reasons), f"{name} over {way} lacks a reason"
    assert {way for way, _ in SERVERS.values()} == set(WAYS)


@pytest.mark.parametrize(("name", "kind"), [cell for cell in CELLS if "udp" not in str(cell.id)])
def test_all_that_a_client_sends_comes_back(name: str, kind: str, server: Server, client: Client) -> None:
    program, (way, _) = server(kind), SERVERS[kind]
    tool, start = CLIENTS[name][way], len(program.stdout)
    assert isinstance(tool, Tool)
    hello, large = f"hello from {name}", b"" if "large" in tool.cannot else LARGE
    with client(name, way, program.endpoint) as peer:
        assert exchange(peer, f"{hello}\n".encode()) == f"{hello}\n".encode()
        number = int(program.wait_for(rf"^#(\d+) < {hello}\\n\n")[1])
        for byte in UTF8.encode():  # a chunk each: a character is shown when its last byte has come
            assert exchange(peer, bytes((byte,))) == bytes((byte,))
        for data in (BINARY, large):
            assert exchange(peer, data) == data
    closed = program.wait_for(rf"^#{number} closed: peer sent EOF after .*, in ([\d,]+) B, out ([\d,]+) B\n")
    sizes = [int(size.replace(",", "")) for size in closed.groups()]
    sent = f"{hello}\n".encode() + UTF8.encode() + BINARY + large
    expected = len(sent) + (sent.count(b"\xff") if name == "curl" else 0)  # telnet doubles it (RFC 854: IAC)
    assert sizes == [expected, expected]
    with client(name, way, program.endpoint):
        program.wait_for(rf"^#{number + 1} .* connected.*\n")
    program.wait_for(rf"^#{number + 1} closed: peer sent EOF after .*, in 0 B, out 0 B\n")
    log = program.stdout[start:]
    shown = re.findall(rf"^#{number} < (.*)\n", log.decode(), re.MULTILINE)
    assert UTF8 in "".join(text for text in shown if text != "(1 B, part of a character)")
    assert not CONTROL.search(log)


@pytest.mark.parametrize(("name", "kind"), [cell for cell in CELLS if "udp" in str(cell.id)])
def test_all_datagrams_come_back(name: str, kind: str, server: Server, client: Client) -> None:
    program, (way, _) = server(kind), SERVERS[kind]
    tool, start = CLIENTS[name][way], len(program.stdout)
    assert isinstance(tool, Tool)
    hello = f"{UTF8} from {name}\n".encode()
    with client(name, way, program.endpoint) as peer:
        for data in (hello, hello[:1], hello[1:], BINARY, LARGE[: tool.largest]):
            assert exchange(peer, data) == data
        sender = program.wait_for(rf"^(\S+) < {UTF8} from {name}\\n\n")[1]
    if "empty" not in tool.cannot:
        program.wait_for(rf"^{re.escape(sender)} < \(empty datagram\)\n")
    log = program.stdout[start:]
    assert not CONTROL.search(log)


@pytest.mark.parametrize("name", [name for name in CLIENTS if name not in IN_PROCESS])
def test_the_exit_word_ends_a_clients_conversation(name: str, server: Server, client: Client) -> None:
    program = server("acknowledging")
    with client(name, "tcp4", program.endpoint) as peer:
        said = f"this is {name}\n".encode()
        assert exchange(peer, said, size=18) == b"received %d bytes\n" % len(said)
        assert exchange(peer, b"exit\n", size=17) == b"received 5 bytes\n"
        number = int(program.wait_for(rf"^#(\d+) < this is {name}\\n\n")[1])
        program.wait_for(rf"^#{number} closed: exit after ")
        if name in ("socat", "perl"):  # the others wait for the end of their input, too
            assert peer.recv(1) == b"", "it ends because the server has closed"


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, "tcp4") for name in CLIENTS if name not in IN_PROCESS),
        *[("nc.openbsd", "stream"), ("socat", "seqpacket"), ("nc.traditional", "udp4")],
        *[("ncat", "udp6"), ("socat", "dgram")],
    ],
)
def test_chat_that_listens_talks_to_a_client(
    name: str, way: Way, client: Client, start_netlab: StartProgram, tmp_path: Path
) -> None:
    unix = ("-U", str(tmp_path / "s"), "--type", way)
    udp = ("-u",) if way.startswith("udp") else ()
    place = ("-p", "0", *udp, *(("-6",) if way.endswith("6") else ())) if way[:3] in ("tcp", "udp") else unix
    chat = start_netlab("chat", "--listen", *place)
    target = chat.wait_for(r"^listening on (.+)\n", stderr=True)[1]
    with client(name, way, target) as peer:
        peer.sendall(f"{UTF8} from {name}\n".encode())
        chat.wait_for(rf"^{UTF8} from {name}\n")
        chat.write(f"{UTF8} to {name}\n")
        heard = f"{UTF8} to {name}\n".encode()
        assert exchange(peer, b"", size=len(heard)) == heard
        peer.sendall(BINARY)
        chat.wait_for(re.escape(BINARY[-1:].decode(errors="replace")))
    chat.close_stdin()
    done = chat.wait()
    assert done.returncode == 0, done.stderr
