"""netlab's clients against foreign servers: send, a stream, chat and probe get back what they sent.

`SERVERS` has a cell for each server and way: how it is started, or why there is none.  A netcat without ``-e`` is
echoed for by the test, through its standard input and output.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netlab import socketops
from netlab.endpoint import Endpoint
from netlab.records import Received, Record
from tests import foreign_python
from tests.foreign import HOSTS, WAYS, Cannot, Payload, Tool, Way, endpoint_at, port_of, reserved_udp_port, started
from tests.programs import Netlab, StartProgram

PERL = r"""
use strict; use warnings;
use IO::Socket::IP; use IO::Socket::UNIX; use Socket;
my ($way, $place) = @ARGV;
my $datagrams = $way =~ /udp|dgram/;
my $type = $datagrams ? SOCK_DGRAM : $way eq 'seqpacket' ? SOCK_SEQPACKET : SOCK_STREAM;
my @listen = $datagrams ? () : (Listen => 5);
my $sock = $way =~ /tcp|udp/
    ? IO::Socket::IP->new(LocalHost => $place, LocalPort => 0, Type => $type, @listen)
    : IO::Socket::UNIX->new(Local => $place, Type => $type, @listen);
die "no socket: $@ $!\n" unless $sock;
print STDERR "ready\n";
if ($datagrams) {
    while (defined(my $peer = $sock->recv(my $data, 65536))) { $sock->send($data, 0, $peer) // die "send: $!\n" }
}
while (my $client = $sock->accept) {
    while (sysread($client, my $data, 65536)) {
        for (my $sent = 0; $sent < length $data;) {
            $sent += syswrite($client, $data, length($data) - $sent, $sent) // die "write: $!\n";
        }
    }
}
"""


def perl(*words: str) -> Tool:
    return Tool(("perl", "-e", PERL, *words), ready="ready\n")


def ncat(*words: str) -> Tool:
    return Tool(("ncat", "-v", "-l", *words), ready="Listening on", echoes=False)


def nc(*words: str, datagrams: bool = False) -> Tool:
    """OpenBSD's, whose buffer is 16 KiB, and which cannot run a program."""
    argv = ("nc.openbsd", "-n", "-v", "-l", *words)
    if datagrams:
        return Tool(argv, ready="Bound on", echoes=False, largest=16_384)
    return Tool(argv, ready="Listening on", echoes=False)


def socat(place: str, *, messages: bool = False) -> Tool:
    """Messages need a buffer as large as they are; in a stream the program behind must take what is sent to it."""
    behind = ("-b", "65536", place, "PIPE") if messages else (place, "EXEC:/bin/cat")
    return Tool(("socat", "-d", "-d", *behind), ready=" on ")


SERVERS: dict[str, dict[Way, Tool | Cannot]] = {
    "ncat": {
        "tcp4": ncat("127.0.0.1", "0"),
        "tcp6": ncat("::1", "0"),
        "udp4": ncat("-u", "127.0.0.1", "0"),
        "udp6": ncat("-u", "::1", "0"),
        "stream": ncat("-U", "{path}"),
        "seqpacket": Cannot("has no option for this type of socket"),
        "dgram": ncat("-U", "-u", "{path}"),
    },
    "ncat -e": {
        **dict.fromkeys(WAYS, Cannot("as ncat, above")),
        "tcp4": Tool(
            ("ncat", "-v", "-l", "127.0.0.1", "0", "-e", "/bin/cat"),
            ready="Listening on",
            cannot={"large": "it waits for its program to take what comes while that waits for it"},
        ),
    },
    "socat": {
        "tcp4": socat("TCP4-LISTEN:0,bind=127.0.0.1"),
        "tcp6": socat("TCP6-LISTEN:0,bind=[::1]"),
        "udp4": socat("UDP4-LISTEN:0,bind=127.0.0.1", messages=True),
        "udp6": socat("UDP6-LISTEN:0,bind=[::1]", messages=True),
        "stream": socat("UNIX-LISTEN:{path}"),
        "seqpacket": socat("UNIX-LISTEN:{path},type=5", messages=True),
        "dgram": socat("UNIX-RECVFROM:{path},fork", messages=True),
    },
    "nc.openbsd": {
        "tcp4": nc("127.0.0.1", "0"),
        "tcp6": nc("::1", "0"),
        "udp4": nc("-u", "127.0.0.1", "0", datagrams=True),
        "udp6": nc("-u", "::1", "0", datagrams=True),
        "stream": nc("-U", "{path}"),
        "seqpacket": Cannot("has no option for this type of socket"),
        "dgram": nc("-U", "-u", "{path}", datagrams=True),
    },
    "nc.traditional": {
        "tcp4": Tool(("nc.traditional", "-n", "-v", "-l", "-s", "{host}", "-e", "/bin/cat"), ready="listening on"),
        "tcp6": Cannot("has no IPv6"),
        "udp4": Tool(
            ("nc.traditional", "-n", "-v", "-l", "-u", "-s", "{host}", "-p", "{port}", "-e", "/bin/cat"),
            ready="listening on",
        ),
        "udp6": Cannot("has no IPv6"),
        "stream": Cannot("has no unix sockets"),
        "seqpacket": Cannot("has no unix sockets"),
        "dgram": Cannot("has no unix sockets"),
    },
    "perl": {
        "tcp4": perl("tcp", "127.0.0.1"),
        "tcp6": perl("tcp", "::1"),
        "udp4": perl("udp", "127.0.0.1"),
        "udp6": perl("udp", "::1"),
        "stream": perl("stream", "{path}"),
        "seqpacket": perl("seqpacket", "{path}"),
        "dgram": perl("dgram", "{path}"),
    },
    "bash": dict.fromkeys(WAYS, Cannot("cannot listen")),
    "curl": dict.fromkeys(WAYS, Cannot("cannot listen")),
    "socket": dict.fromkeys(WAYS, Tool(())),
    "asyncio": {
        **dict.fromkeys(WAYS, Tool(())),
        "seqpacket": Cannot("its streams and protocols refuse this type of socket"),
    },
}
IN_PROCESS = {"socket": foreign_python.socket_server, "asyncio": foreign_python.asyncio_server}
CELLS = [
    pytest.param(name, way, id=f"{name}-{way}")
    for name, row in SERVERS.items()
    for way, cell in row.items()
    if isinstance(cell, Tool)
]
STREAMS = [
    pytest.param(name, way, payload, id=f"{name}-{way}-{payload}")
    for name, row in SERVERS.items()
    for way in ("tcp4", "tcp6", "stream")
    for payload in ("empty", "large")
    if isinstance(cell := row[way], Tool) and payload not in cell.cannot
]
PAYLOADS: dict[Payload, bytes] = {
    "text": b"hello\n",
    "utf8": "你好".encode(),
    "binary": bytes(range(256)),
    "empty": b"",
    "large": bytes(range(256)) * 8192,
}

Serve = Callable[[str, Way], "contextlib.AbstractContextManager[Endpoint]"]


@pytest.fixture
def serve(tmp_path: Path, request: pytest.FixtureRequest, require_tool: Callable[[str], str]) -> Serve:
    """Start a server of its own for a test; gives its endpoint."""
    numbers = itertools.count()

    def start(name: str, way: Way) -> contextlib.AbstractContextManager[Endpoint]:
        if way.endswith("6"):
            request.getfixturevalue("require_ipv6")
        path = str(tmp_path / f"s{next(numbers)}")
        if name in IN_PROCESS:
            return IN_PROCESS[name](endpoint_at(way, 0, path))
        tool = SERVERS[name][way]
        assert isinstance(tool, Tool)
        require_tool(tool.argv[0])
        return run(tool, way, path)

    @contextlib.contextmanager
    def run(tool: Tool, way: Way, path: str) -> Iterator[Endpoint]:
        host = HOSTS.get(way, "")
        with contextlib.ExitStack() as stack:
            port = stack.enter_context(reserved_udp_port(host)) if "{port}" in tool.argv else 0
            places = {"host": host, "port": str(port), "path": path}
            pid = stack.enter_context(started(tool, places, {"TMPDIR": str(tmp_path)}))
            yield endpoint_at(way, port or (port_of(pid) if host else 0), path)

    return start


def test_every_cell_is_a_case_or_has_a_reason() -> None:
    for name, row in SERVERS.items():
        assert set(row) == set(WAYS), name
        assert all(cell.reason for cell in row.values() if isinstance(cell, Cannot)), name


@pytest.mark.parametrize(("name", "way"), CELLS)
def test_send_gets_each_message_back(name: str, way: Way, serve: Serve, netlab: Netlab) -> None:
    tool = SERVERS[name][way]
    assert isinstance(tool, Tool)
    split = PAYLOADS["utf8"]
    messages = [PAYLOADS["text"], split[:2], split[2:], PAYLOADS["binary"], b"\0"]
    if way not in ("tcp4", "tcp6", "stream"):
        messages.append(PAYLOADS["large"][: min(tool.largest, 60_000)])  # a word of the command line has 131,071 bytes
    with serve(name, way) as place:
        done = netlab("send", str(place), "--hex", "--expect-echo", *(message.hex() for message in messages))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"".join(messages), b"")


@pytest.mark.parametrize(("name", "way", "payload"), STREAMS)
def test_a_stream_comes_back_whole(name: str, way: Way, payload: Payload, serve: Serve) -> None:
    data = PAYLOADS[payload]
    seen: list[Record] = []
    with serve(name, way) as place, tempfile.TemporaryFile() as source:
        source.write(data)
        os.lseek(source.fileno(), 0, os.SEEK_SET)
        with socketops.Connection(socketops.connect(place, timeout=5), place) as connection:
            # By size, and no half-close before it: some netcats end at the end of their input, whatever is unsent.
            until = socketops.Until.parse(str(len(data))) if data else None
            done = socketops.stream(
                connection, source.fileno(), emit=seen.append, timeout=5, until=until, half_close=not data
            )
    assert b"".join(record.data for record in seen if isinstance(record, Received)) == data
    assert (done.bytes_out, done.bytes_in) == (len(data), len(data))


@pytest.mark.parametrize("name", [name for name in SERVERS if isinstance(SERVERS[name]["tcp4"], Tool)])
def test_send_sends_a_file_and_a_pipe(name: str, serve: Serve, netlab: Netlab, tmp_path: Path) -> None:
    tool = SERVERS[name]["tcp4"]
    assert isinstance(tool, Tool)
    data = PAYLOADS["binary" if "large" in tool.cannot else "large"]
    (tmp_path / "file").write_bytes(data)
    for options, given in ((("-f", str(tmp_path / "file")), None), ((), data)):
        with serve(name, "tcp4") as place:
            done = netlab("send", str(place), *options, "--until", str(len(data)), "--no-half-close", input=given)
        assert (done.returncode, done.stdout == data, done.stderr) == (0, True, b"")


@pytest.mark.parametrize(
    ("name", "way"),
    [
        *((name, "tcp4") for name in SERVERS if isinstance(SERVERS[name]["tcp4"], Tool)),
        *[("nc.openbsd", "stream"), ("socat", "seqpacket"), ("socat", "dgram"), ("ncat", "udp6"), ("socat", "tcp6")],
    ],
)
def test_chat_hears_its_lines_again(name: str, way: Way, serve: Serve, start_netlab: StartProgram) -> None:
    with serve(name, way) as place:
        chat = start_netlab("chat", str(place))
        for line in ("hello", "你好"):
            chat.write(f"{line}\n")
            chat.wait_for(f"^{line}\n")
        assert chat.stop(signal.SIGINT).returncode == -signal.SIGINT, "which a shell calls 130"


@pytest.mark.parametrize(("name", "way"), CELLS)
def test_probe_finds_it_open(name: str, way: Way, serve: Serve) -> None:
    with serve(name, way) as place:
        found = socketops.diagnose(place, socketops.Method(timeout=5))
    assert (found.best.verdict, found.summary.status) == ("open", 0)
