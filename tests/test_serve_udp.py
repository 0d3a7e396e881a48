"""netlab serve-udp: one socket, many peers, and no use to whoever forges an address."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab import socketops
from netlab.endpoint import Endpoint
from netlab.errors import LocalError, OutputError
from netlab.records import Received, Record, Sent, Summary, WarningReport
from netlab.socketops.serving import pktinfo
from netlab.socketops.serving.replies import ReplyName
from tests.peers import refusing_udp
from tests.programs import Netlab, Program, StartProgram
from tests.servers import Running, bind, running

serve = socketops.serve_datagrams
pktinfo_option = 8  # IP_PKTINFO of linux/in.h, which Python does not have


@contextlib.contextmanager
def peer(address: str = "127.0.0.1") -> Iterator[socket.socket]:
    """A bound datagram socket, every wait on which has a bound."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.bind((address, 0))
        yield sock


def ask(sock: socket.socket, server: Running | Program, data: bytes, number: int = 0) -> bytes:
    """Send a datagram to the number-th socket of the server, and return the answer."""
    place = server.sockets[number].endpoint.to_sockaddr() if isinstance(server, Running) else (server.host, server.port)
    sock.sendto(data, place)
    return sock.recv(65536)


def ack(**options: object) -> socketops.Reply:
    return socketops.make_reply("ack", datagrams=True, **options)  # type: ignore[arg-type]


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def forge(source: int, target: int, data: bytes) -> None:
    """Send one datagram on loopback that claims to come from another port."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except PermissionError:
        pytest.skip("no raw sockets here (CAP_NET_RAW)")
    with raw:
        local = socket.inet_aton("127.0.0.1")
        udp = struct.pack("!HHHH", source, target, 8 + len(data), 0) + data
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, socket.IPPROTO_UDP, 0, local, local)
        raw.sendto(ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + udp, ("127.0.0.1", 0))


@pytest.mark.parametrize("name", ["ack", "echo"])
@pytest.mark.parametrize("watch", [(), {Received, Sent}], ids=["plain", "watched"])
def test_each_datagram_is_answered_by_itself(name: ReplyName, watch: set[type[Record]]) -> None:
    reply = socketops.make_reply(name, datagrams=True)
    with running(serve, bind(), reply=reply, watch=watch) as server, peer() as first, peer() as second:
        for sock in (first, second, first):
            expected = {"ack": b"received 5 bytes\n", "echo": b"hello"}[name]
            assert ask(sock, server, b"hello") == expected
        server.stop.set("SIGTERM")
        summary = server.wait(Summary)
        assert (summary.datagrams_in, summary.datagrams_out, summary.bytes_in) == (3, 3, 15)
        assert len(server.of(Received)) == (3 if watch else 0)


def test_many_peers_each_get_their_own_answer() -> None:
    with (
        running(serve, bind(), reply=socketops.make_reply("echo"), watch=()) as server,
        contextlib.ExitStack() as stack,
    ):
        peers = [stack.enter_context(peer()) for _ in range(200)]
        for number, sock in enumerate(peers):
            sock.sendto(b"%d" % number, server.endpoint.to_sockaddr())
        assert [sock.recv(100) for sock in peers] == [b"%d" % number for number in range(200)]


def test_empty_and_largest_datagrams_are_whole() -> None:
    with running(serve, bind(), reply=socketops.make_reply("echo")) as server, peer() as sock:
        for data in (b"", os.urandom(65_507), b"\xff\0"):
            assert ask(sock, server, data) == data
        received = server.of(Received)
        assert [(len(record.data), record.size) for record in received] == [(0, None), (65_507, None), (2, None)]
        assert received[0].peer == Endpoint.of(*sock.getsockname(), transport=server.endpoint.transport)


def test_ipv6_and_ipv4_on_one_socket_and_on_two() -> None:
    for sockets in (bind("udp://[::]:0"), [*bind(), *bind("udp://[::1]:0")]):
        with running(serve, sockets, reply=ack()):
            port = sockets[-1].endpoint.port
            with peer("::1") as six:
                six.sendto(b"hello", ("::1", port))
                assert six.recv(100) == b"received 5 bytes\n"
            with peer() as four:
                four.sendto(b"hello", ("127.0.0.1", sockets[0].endpoint.port))
                assert four.recv(100) == b"received 5 bytes\n"


ANYWHERE = pytest.mark.parametrize("anywhere", ["udp://0.0.0.0:0", "udp://[::]:0"])
"""All addresses of IPv4, and those of both families by one socket."""


@ANYWHERE
@pytest.mark.parametrize("name", ["ack", "echo"])
@pytest.mark.parametrize("watch", [(), {Received, Sent}], ids=["plain", "watched"])
def test_the_answer_comes_from_the_address_that_was_asked(
    anywhere: str, name: ReplyName, watch: set[type[Record]]
) -> None:
    expected = {"ack": b"received 5 bytes\n", "echo": b"hello"}[name]
    with running(serve, bind(anywhere), reply=socketops.make_reply(name, datagrams=True), watch=watch) as server:
        for host in ("127.0.0.2", "127.0.0.1", "127.0.0.3"):
            with peer() as sock:
                sock.connect((host, server.endpoint.port))  # from here on the kernel takes nobody else's datagrams
                sock.send(b"hello")
                assert sock.recv(100) == expected
        if anywhere == "udp://[::]:0":
            with peer("::1") as sock:
                sock.connect(("::1", server.endpoint.port))
                sock.send(b"hello")
                assert sock.recv(100) == expected


@ANYWHERE
@pytest.mark.parametrize("watch", [(), {Received}], ids=["plain", "watched"])
def test_a_broadcast_is_answered_from_an_address_of_this_host(anywhere: str, watch: set[type[Record]]) -> None:
    with running(serve, bind(anywhere), reply=socketops.make_reply("echo"), watch=watch) as server, peer() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.sendto(b"hello", ("127.255.255.255", server.endpoint.port))
        assert sock.recvfrom(100) == (b"hello", ("127.0.0.1", server.endpoint.port))


@pytest.mark.parametrize(
    ("came", "back"),
    [
        ((0, 8, b"\2\0\0\0" + bytes((127, 0, 0, 2)) * 2), [(0, 8, bytes((0, 0, 0, 0, 127, 0, 0, 2, 0, 0, 0, 0)))]),
        # Before the option was set: what the header says, unless that is a group.
        ((0, 8, bytes((0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2))), [(0, 8, bytes((0, 0, 0, 0, 10, 0, 0, 2, 0, 0, 0, 0)))]),
        ((0, 8, bytes((0, 0, 0, 0, 0, 0, 0, 0, 224, 0, 0, 1))), []),
        ((0, 8, bytes(3)), []),
        ((41, 50, b"\xfd" + bytes(15) + b"\2\0\0\0"), [(41, 50, b"\xfd" + bytes(19))]),
        ((41, 50, b"\xfe\x80" + bytes(14) + b"\2\0\0\0"), [(41, 50, b"\xfe\x80" + bytes(14) + b"\2\0\0\0")]),
        ((41, 50, b"\xff\x02" + bytes(14) + b"\2\0\0\0"), []),
        ((1, 29, bytes(16)), []),
    ],
)
def test_what_of_a_control_message_goes_back(came: tuple[int, int, bytes], back: list[tuple[int, int, bytes]]) -> None:
    assert pktinfo.control_back([came]) == back


@pytest.mark.parametrize("name", ["ack", "echo"])
def test_what_came_before_an_adopted_socket_was_served_is_answered_from_there_too(name: ReplyName) -> None:
    option = (socket.IPPROTO_IP, pktinfo_option)
    with peer("0.0.0.0") as shared, peer() as sock:
        shared.settimeout(None)
        sock.connect(("127.0.0.2", shared.getsockname()[1]))
        sock.send(b"first")  # what a parent has started the server for
        adopted = socketops.adopt(socket.socket(fileno=os.dup(shared.fileno())))
        with running(serve, [adopted], reply=socketops.make_reply(name, datagrams=True), watch=()) as server:
            for data in (b"first", b"again"):
                assert sock.recv(100) == {"ack": b"received 5 bytes\n", "echo": data}[name]
                assert shared.getsockopt(*option) == 1
                sock.send(b"again")
            server.stop.set("SIGTERM")
        assert shared.getsockopt(*option) == 0


def test_an_owner_who_wants_to_know_the_destination_still_does_afterwards() -> None:
    with peer("0.0.0.0") as shared:
        shared.settimeout(None)
        shared.setsockopt(socket.IPPROTO_IP, pktinfo_option, 1)
        with running(serve, [socketops.adopt(shared.dup())], reply=ack()):
            pass
        assert shared.getsockopt(socket.IPPROTO_IP, pktinfo_option) == 1


def test_a_socket_on_one_address_is_not_asked_where_datagrams_were_sent_to() -> None:
    with running(serve, bind(), reply=ack()) as server, peer() as sock:
        assert ask(sock, server, b"hello") == b"received 5 bytes\n"
        assert server.sockets[0].sock.getsockopt(socket.IPPROTO_IP, pktinfo_option) == 0


@pytest.mark.parametrize(("size", "limit"), [(1, 64), (64, 64), (100, 100)])
def test_reply_is_no_larger_than_what_came_or_64_bytes(size: int, limit: int) -> None:
    with running(serve, bind(), reply=ack(ack_text="x" * 500)) as server, peer() as sock:
        assert ask(sock, server, b"a" * size) == b"x" * limit
        [warning] = server.of(WarningReport)
        assert warning.message.startswith("replies are cut to 64 bytes")


def test_generate_answers_with_no_more_either() -> None:
    with running(serve, bind(), reply=socketops.make_reply("generate")) as server, peer() as sock:
        assert ask(sock, server, b"a") == bytes(range(0x20, 0x60))


def test_own_port_is_not_answered() -> None:
    with running(serve, bind(), reply=ack()) as server, peer() as sock:
        forge(server.endpoint.port, server.endpoint.port, b"hello")
        silent = server.wait(Received)
        assert silent.unanswered == f"it comes from port {server.endpoint.port} as our own replies do"
        assert ask(sock, server, b"hello") == b"received 5 bytes\n"
        server.stop.set("SIGTERM")
        assert server.wait(Summary).datagrams_out == 1


def test_acknowledgement_is_not_answered() -> None:
    with running(serve, bind(), reply=ack()) as server, peer() as sock:
        sock.sendto(b"received 5 bytes\n", server.endpoint.to_sockaddr())
        assert ask(sock, server, b"hello") == b"received 5 bytes\n"
        assert server.of(Received)[0].unanswered == "it is an acknowledgement itself"
        assert server.of(Received)[1].unanswered is None


@pytest.mark.parametrize("watch", [(), {Received}], ids=["plain", "watched"])
@pytest.mark.parametrize("names", [("ack", "ack"), ("echo", "echo"), ("ack", "echo"), ("generate", "echo")])
def test_forged_datagram_starts_no_endless_talk(names: tuple[ReplyName, ReplyName], watch: set[type[Record]]) -> None:
    one, other = (socketops.make_reply(name, ack_text=f"{name} {{n}}", datagrams=True) for name in names)
    with running(serve, bind(), reply=one, watch=watch) as first:
        with running(serve, bind(), reply=other, watch=watch) as second, peer() as sock:
            for server in (first, second):  # both serve, with their filters in place
                ask(sock, server, b"x")
            forge(first.endpoint.port, second.endpoint.port, b"hello")
            for server in (first, second, first, second):  # a peer's own round trip comes after all that was before it
                ask(sock, server, b"x")
        second.wait(Summary)
    assert first.wait(Summary).datagrams_in == 3  # those of the peer: the reply to the forged one was dropped
    assert second.wait(Summary).datagrams_in == 4


@pytest.mark.parametrize("watch", [(), {Received}], ids=["plain", "watched"])
def test_a_forged_datagram_that_was_there_before_the_servers_starts_no_endless_talk(watch: set[type[Record]]) -> None:
    [first], [second] = bind(), bind()
    forge(first.endpoint.port, second.endpoint.port, b"hello")  # no filter is in place yet
    echo = socketops.make_reply("echo")
    with running(serve, [second], reply=echo, watch=watch) as answering, peer() as sock:
        assert ask(sock, answering, b"x") == b"x"  # it has answered, and that reply waits for the first
        with running(serve, [first], reply=echo, watch=watch) as other:
            for server in (other, answering, other):
                assert ask(sock, server, b"x") == b"x"
        assert other.wait(Summary).datagrams_in == 3  # the reply came before its filter, and is answered
    assert answering.wait(Summary).datagrams_in == 3  # but that answer has the mark


@pytest.mark.parametrize("watch", [(), {Received, Sent}], ids=["plain", "watched"])
@pytest.mark.parametrize("recverr", [0, 1])
def test_peer_that_is_gone_costs_no_other_its_datagram(recverr: int, watch: set[type[Record]]) -> None:
    # With IP_RECVERR the ICMP error of one peer fails the next call, whatever that is for.
    sockets = bind(settings=[socketops.parse_setting(f"IP_RECVERR={recverr}")])
    with running(serve, sockets, reply=socketops.make_reply("echo"), watch=watch) as server:
        with peer() as alive, refusing_udp() as gone:
            for number in range(5):
                gone.socket.sendto(b"hello", server.endpoint.to_sockaddr())
                assert ask(alive, server, b"%d" % number) == b"%d" % number
        assert not server.of(WarningReport)


def test_reply_that_cannot_be_sent_is_told_once() -> None:
    with running(serve, bind(), reply=ack()) as server, peer() as sock:
        for _ in range(3):
            forge(0, server.endpoint.port, b"hello")  # no port to reply to
        assert ask(sock, server, b"hello") == b"received 5 bytes\n"
        [warning] = server.of(WarningReport)
        assert warning.message == "reply to udp://127.0.0.1:0: invalid argument (EINVAL)"


def test_one_kind_of_warning_hides_no_other() -> None:
    with running(serve, bind(), reply=ack(ack_text="x" * 500)) as server, peer() as sock:
        ask(sock, server, b"hello")
        forge(0, server.endpoint.port, b"hello")
        ask(sock, server, b"hello")
        assert [warning.message.split()[0] for warning in server.of(WarningReport)] == ["replies", "reply"]


def test_queue_overflow_is_counted_and_told() -> None:
    sockets = bind(settings=[socketops.parse_setting("SO_RCVBUF=4k")])
    busy, go_on = threading.Event(), threading.Event()

    def emit(record: Record) -> None:
        server.emit(record)
        if isinstance(record, Received) and not busy.is_set():
            busy.set()
            assert go_on.wait(5)

    with running(serve, sockets, reply=socketops.make_reply("discard"), emit=emit) as server, peer() as sock:
        for _ in range(100):  # loopback delivers, or drops, within sendto
            sock.sendto(b"x" * 100, server.endpoint.to_sockaddr())
            assert busy.wait(5)
        go_on.set()
        server.stop.set("SIGTERM")
    summary = server.wait(Summary)
    assert summary.dropped
    assert server.of(WarningReport)[0].message.startswith(f"{summary.dropped} datagrams dropped by the kernel")
    assert (summary.datagrams_in or 0) + summary.dropped <= 100


def test_exit_word_is_only_shown() -> None:
    with running(serve, bind(), reply=ack()) as server, peer() as sock:
        assert ask(sock, server, b"exit") == b"received 4 bytes\n"
        assert ask(sock, server, b"hello") == b"received 5 bytes\n"
        assert [record.data for record in server.of(Received)] == [b"exit", b"hello"]


def test_stop_on_exit_stops_the_server() -> None:
    with running(serve, bind(), reply=ack(stop_on_exit=True)) as server, peer() as sock:
        assert ask(sock, server, b"exit\n") == b"received 5 bytes\n"
        assert server.wait(Summary).ended_by == "exit word"


@pytest.mark.parametrize("name", ["ack", "echo", "discard"])
def test_once_ends_after_one_answered_datagram(name: ReplyName) -> None:
    reply = socketops.make_reply(name, datagrams=True)
    with running(serve, bind(), reply=reply, once=True, watch=()) as server, peer() as sock:
        sock.sendto(b"hello", server.endpoint.to_sockaddr())
        assert server.wait(Summary).ended_by == "--once"


def test_once_does_not_count_what_is_not_answered() -> None:
    with running(serve, bind(), reply=ack(), once=True) as server, peer() as sock:
        sock.sendto(b"received 5 bytes\n", server.endpoint.to_sockaddr())
        assert ask(sock, server, b"hello") == b"received 5 bytes\n"
        assert server.wait(Summary).datagrams_in == 2


def test_duration_ends_it() -> None:
    with running(serve, bind(), reply=ack(), duration=0.05) as server:
        assert server.wait(Summary).ended_by == "--duration"


@pytest.mark.parametrize("name", ["echo", "discard"])
def test_stop_ends_it_under_a_flood(name: ReplyName) -> None:
    with running(serve, bind(), reply=socketops.make_reply(name), watch=()) as server, peer() as sock:
        sent = 0
        while not server.of(Summary):
            sock.sendto(b"x", server.endpoint.to_sockaddr())
            sent += 1
            if sent == 1000:
                server.stop.set("SIGTERM")
        assert sent >= 1000


def test_unix_peer_with_a_name_is_answered_and_one_without_is_not(tmp_path: Path) -> None:
    with running(serve, bind(f"unix-dgram:{tmp_path}/s"), reply=ack()) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unnamed:
            unnamed.sendto(b"hello", f"{tmp_path}/s")
            silent = server.wait(Received)
            assert (silent.peer, silent.unanswered) == (None, "its sender has no name to reply to")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named:
            named.settimeout(5)
            named.bind("")  # an abstract name of the kernel's choice
            named.sendto(b"hello", f"{tmp_path}/s")
            assert named.recv(100) == b"received 5 bytes\n"


def test_unix_peer_that_does_not_read_holds_up_nobody(tmp_path: Path) -> None:
    with running(serve, bind(f"unix-dgram:{tmp_path}/s"), reply=ack()) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mute:
            mute.settimeout(5)
            mute.bind("")
            limit = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
            for _ in range(limit + 2):
                mute.sendto(b"hello", f"{tmp_path}/s")
            assert "EAGAIN" in server.wait(WarningReport).message


def test_cut_datagram_tells_its_size(tmp_path: Path) -> None:
    with running(serve, bind(f"unix-dgram:{tmp_path}/s"), reply=ack()) as server:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_SNDBUFFORCE", 32), 1 << 20)
            sock.sendto(b"x" * 300_000, f"{tmp_path}/s")
            received = server.wait(Received)
            assert (len(received.data), received.size) == (256 * 1024, 300_000)


def test_adopted_socket_is_left_as_it_was() -> None:
    with peer() as shared:
        shared.settimeout(None)
        before = shared.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)
        adopted = socketops.adopt(socket.socket(fileno=os.dup(shared.fileno())))
        with running(serve, [adopted], reply=ack()) as server, peer() as sock:
            assert ask(sock, server, b"hello") == b"received 5 bytes\n"
            server.stop.set("SIGTERM")
            server.wait(Summary)
            sock.sendto(b"for the owner", shared.getsockname())
            assert shared.recv(100) == b"for the owner"
        assert os.get_blocking(shared.fileno())
        assert shared.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == before


@pytest.mark.parametrize("kind", [Received, Sent])
def test_failing_emit_ends_it_and_is_raised_once(kind: type[Record]) -> None:
    def emit(record: Record) -> None:
        if isinstance(record, kind):
            raise OutputError("write", "log", errno=errno.ENOSPC)

    with running(serve, bind(), reply=ack(), emit=emit, fails=True) as server, peer() as sock:
        sock.sendto(b"hello", server.endpoint.to_sockaddr())
        assert server.stop.wait(5)
    assert isinstance(server.failure, OutputError)


def test_socket_that_cannot_be_read_is_an_error() -> None:
    class Broken(socket.socket):
        def recvfrom_into(self, *_: object) -> tuple[int, object]:
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))

    with running(serve, bind(socket_class=Broken), reply=ack(), fails=True) as server:
        assert server.stop.wait(5)
    assert isinstance(server.failure, LocalError)
    assert "ENOTSOCK" in str(server.failure)


def test_log(start_server: StartProgram) -> None:
    server = start_server("serve-udp")
    assert server.endpoint == f"udp://127.0.0.1:{server.port}"
    with peer() as sock:
        assert ask(sock, server, "你好".encode()) == b"received 6 bytes\n"
        assert ask(sock, server, b"") == b"received 0 bytes\n"
        assert ask(sock, server, b"\x1b[2J\xff") == b"received 5 bytes\n"
        sock.sendto(b"received 5 bytes\n", ("127.0.0.1", server.port))
        assert ask(sock, server, b"exit") == b"received 4 bytes\n"
        port = sock.getsockname()[1]
    done = server.stop(signal.SIGINT)
    assert (done.returncode, done.stderr) == (0, b"")
    _, model, *lines, summary = done.stdout.decode().splitlines()
    assert model == "model: one socket, many peers; reply: ack; only this host"
    assert lines == [
        f"127.0.0.1:{port} < 你好",
        f"127.0.0.1:{port} < (empty datagram)",
        rf"127.0.0.1:{port} < \x1b[2J\xff",
        rf"127.0.0.1:{port} (no reply: it is an acknowledgement itself) < received 5 bytes\n",
        f"127.0.0.1:{port} < exit",
    ]
    assert re.fullmatch(r"stopped by SIGINT after .*: 5 datagrams in, 4 out, in 32 B, out 68 B", summary)


def test_json_lines(start_server: StartProgram) -> None:
    server = start_server("serve-udp", "--json", "--once")
    with peer() as sock:
        assert ask(sock, server, b"\xff") == b"received 1 bytes\n"
    lines = [json.loads(line) for line in server.wait().stdout.splitlines()]
    assert [line["event"] for line in lines] == ["listening", "serving", "received", "sent", "summary"]
    assert (lines[2]["base64"], lines[2]["size"]) == ("/w==", 1)
    assert (lines[4]["datagrams_in"], lines[4]["datagrams_out"], lines[4]["dropped"]) == (1, 1, 0)


def test_output_file_for_each_sender(start_server: StartProgram, tmp_path: Path) -> None:
    server = start_server("serve-udp", "-q", "-o", f"{tmp_path}/%n")
    with peer() as first, peer() as second:
        for sock, data in ((first, b"a"), (second, b"b"), (first, b"c")):
            ask(sock, server, data)
    server.stop()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"1": b"ac", "2": b"b"}


def test_port_in_use(start_server: StartProgram, netlab: Netlab) -> None:
    server = start_server("serve-udp")
    done = netlab("serve-udp", "-p", str(server.port))
    assert done.returncode == 45
    assert f"netlab: bind udp://127.0.0.1:{server.port}: address already in use" in done.stderr.decode()


def test_stream_endpoint_is_a_usage_error(netlab: Netlab) -> None:
    done = netlab("serve-udp", "tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert b"use serve-tcp or serve-threaded" in done.stderr
