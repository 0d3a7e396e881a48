"""netlab send as a user meets it: replies, streams, statuses, and the traps that other tools spring."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.cli.messages import encode_message
from tests import peers
from tests.programs import NETLAB, Netlab, StartProgram, clean_environment
from tests.screen import Screen

EVERY_BYTE = bytes(range(256))


@contextmanager
def udp_peer(*replies: bytes) -> Iterator[str]:
    """Answer the first datagram with each reply in turn; gives the endpoint."""
    with peers.mute_udp() as peer:

        def answer() -> None:
            _, sender = peer.socket.recvfrom(65536)
            for reply in replies:
                peer.socket.sendto(reply, sender)

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield peer.endpoint
        finally:
            thread.join(10)
            assert not thread.is_alive()


@contextmanager
def generator() -> Iterator[str]:
    """Send for ever, to one client; gives the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def generate() -> None:
            with listener.accept()[0] as client:
                try:
                    while True:
                        client.sendall(b"x" * 65536)
                except ConnectionError:
                    return

        thread = threading.Thread(target=generate)
        thread.start()
        host, port = listener.getsockname()
        yield f"{host}:{port}"
        thread.join(10)
        assert not thread.is_alive()


# Where and what


def test_a_message_and_its_reply(netlab: Netlab) -> None:
    with peers.reply_server(b"pong\n") as peer:
        done = netlab("send", peer.endpoint, "ping")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"pong\n", b"")
    assert peer.received == b"ping"


def test_each_message_is_an_exchange(netlab: Netlab) -> None:
    with peers.reply_server(b"one", b"two") as peer:
        done = netlab("send", peer.endpoint, "a", "b")
    assert done.stdout == b"onetwo"


@pytest.mark.parametrize("form", ["-p {port} hello", ":{port} hello", "{port} hello", "hello -H 127.0.0.1 -p {port}"])
def test_ways_to_say_where(netlab_here: Netlab, form: str) -> None:
    with peers.reply_server(b"ok") as peer:
        done = netlab_here("send", *form.format(port=peer.port).split())
    assert (done.returncode, peer.received) == (0, b"hello")


def test_a_place_in_the_environment_does_not_make_target_a_message(netlab: Netlab) -> None:
    with peers.reply_server(b"ok") as peer:
        done = netlab("send", peer.endpoint, "hello", env={"NETLAB_SEND_PORT": "1"})
    assert (done.returncode, peer.received) == (0, b"hello")


def test_an_empty_message_reads_a_banner(netlab: Netlab) -> None:
    with peers.reply_server(greeting=b"220 ready\r\n") as peer:
        done = netlab("send", peer.endpoint, "", "--until", "line")
    assert (done.returncode, done.stdout, peer.received) == (0, b"220 ready\r\n", b"")


def test_exit_ends_the_conversation_with_our_server(netlab: Netlab, start_server: StartProgram) -> None:
    server = start_server("serve-tcp")
    done = netlab("send", server.endpoint, "exit")
    assert (done.returncode, done.stdout) == (0, b"received 4 bytes\n")


@pytest.mark.parametrize(
    ("options", "arrives"),
    [
        (["--eol", "lf", "hi"], b"hi\n"),
        (["-C", "hi"], b"hi\r\n"),
        (["--hex", "68:69 0a"], b"hi\n"),
        (["-e", r"a\tb\x00\\"], b"a\tb\x00\\"),
        (["--encoding", "gbk", "你好"], "你好".encode("gbk")),
        (["--", "-x"], b"-x"),
    ],
)
def test_what_is_sent(netlab_here: Netlab, options: list[str], arrives: bytes) -> None:
    with peers.reply_server(b"ok") as peer:
        assert netlab_here("send", "-p", str(peer.port), "-H", peer.host, *options).returncode == 0
    assert peer.received == arrives


@given(st.binary())
def test_hex_says_any_bytes(data: bytes) -> None:
    for text in (data.hex(), data.hex(" "), data.hex(":").upper()):
        assert encode_message(text, encoding="utf-8", hexadecimal=True) == data


@given(st.binary())
def test_escapes_say_any_bytes(data: bytes) -> None:
    text = "".join(rf"\x{byte:02x}" for byte in data)
    assert encode_message(text, encoding="utf-8", escapes=True) == data


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("abc", {"hexadecimal": True}, "half a byte"),
        ("zz", {"hexadecimal": True}, "'z' in 'zz' is no hex digit"),
        (r"\q", {"escapes": True}, r"\q is no escape"),
        ("\\", {"escapes": True}, "is no escape"),
        (r"\x4", {"escapes": True}, r"\x is no escape"),
        ("€", {"encoding": "latin-1"}, "latin-1 has no character for '\\u20ac'"),
    ],
)
def test_messages_that_cannot_be(text: str, options: dict[str, bool], says: str) -> None:
    with pytest.raises(ValueError) as caught:
        encode_message(text, **{"encoding": "utf-8", **options})  # type: ignore[arg-type]
    assert says in str(caught.value)


# Streams


def test_a_pipe_is_a_stream_and_a_reply_past_half_close_is_not_lost(netlab: Netlab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def count_to_eof_then_answer() -> None:
            with listener.accept()[0] as client:
                size = sum(len(chunk) for chunk in iter(lambda: client.recv(65536), b""))
                client.sendall(f"{size} bytes".encode())

        thread = threading.Thread(target=count_to_eof_then_answer)
        thread.start()
        done = netlab("send", f":{listener.getsockname()[1]}", input=bytes(3_000_000))
        thread.join()
    assert (done.returncode, done.stdout) == (0, b"3000000 bytes")


def test_a_file_goes_and_every_byte_comes_back_as_it_came(netlab: Netlab, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(EVERY_BYTE)
    with peers.reply_server(EVERY_BYTE) as peer:
        done = netlab("send", peer.endpoint, "-f", str(tmp_path / "data"), "--until", "256")
    assert (done.returncode, done.stdout, peer.received) == (0, EVERY_BYTE, EVERY_BYTE)


def test_a_file_to_a_sink_ends_with_0(netlab: Netlab, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"GET\n")
    with peers.closing_server(5) as peer:
        done = netlab("send", peer.endpoint, "-C", "-f", str(tmp_path / "data"))
    assert (done.returncode, peer.received) == (0, b"GET\r\n")


def test_an_input_to_a_datagram_socket_is_one_message(netlab: Netlab) -> None:
    with udp_peer(b"ok") as target:
        done = netlab("send", target, input=bytes(5000))
    assert (done.returncode, done.stdout) == (0, b"ok")


# Statuses


@pytest.mark.parametrize(
    ("status", "reply", "args"),
    [
        (0, "pong", ["ping"]),
        (0, "pong", ["--expect", "on", "ping"]),
        (0, "pong", ["--expect-regex", "^p.ng$", "ping"]),
        (0, "ping", ["--expect-echo", "ping"]),
        (1, "pong", ["--expect-echo", "ping"]),
        (1, "pong", ["--expect", "ping", "-w", "50ms", "ping"]),
        (1, "pong", ["--expect", "ping", "--until", "first", "ping"]),
    ],
)
def test_what_is_expected_decides(netlab_here: Netlab, status: int, reply: str, args: list[str]) -> None:
    with peers.reply_server(reply.encode()) as peer:
        done = netlab_here("send", "-p", str(peer.port), *args)
        as_json = netlab_here("send", "-p", str(peer.port), "--json", *args)
    assert done.returncode == as_json.returncode == status
    assert done.stdout == reply.encode()
    last = json.loads(as_json.stdout.splitlines()[-1])
    assert (last["event"], last.get("status", 0)) == ("error" if status else "reply", status)


def test_one_line_is_a_smoke_test(netlab: Netlab) -> None:
    """0, 1, 7 and 28: what a script needs to know, without a sleep before it."""

    def smoke(port: int) -> int:
        return netlab("send", "-p", str(port), "--wait", "50ms", "-w", "100ms", "--expect", "pong", "ping").returncode

    with peers.reply_server(b"pong\n") as peer:
        assert smoke(peer.port) == 0
    with peers.reply_server(b"ping\n") as peer:
        assert smoke(peer.port) == 1
    with peers.refusing_port() as peer:
        assert smoke(peer.port) == 7
    with peers.mute_server() as peer:
        assert smoke(peer.port) == 28


def test_wait_bridges_the_start_of_a_server(start_netlab: StartProgram) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        client = start_netlab("send", "-p", str(server.getsockname()[1]), "--wait", "5s", "--expect", "pong", "ping")
        threading.Event().wait(0.3)  # by now it was refused, or is still starting
        server.listen()
        server.settimeout(5)
        with server.accept()[0] as connection:
            connection.sendall(b"pong")
            assert client.wait().returncode == 0


def test_source_address_and_port(netlab: Netlab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_server(("127.0.0.2", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        came: list[tuple[str, int]] = []

        def answer() -> None:
            for _ in range(3):
                with listener.accept()[0] as client:
                    came.append(client.getpeername())
                    client.recv(100)
                    client.sendall(b"ok")

        thread = threading.Thread(target=answer)
        thread.start()
        target = f":{listener.getsockname()[1]}"
        assert netlab("send", target, "-s", f"127.0.0.2:{port}", "x").returncode == 0
        assert netlab("send", target, "-s", "127.0.0.3", "x").returncode == 0
        assert netlab("send", target, "-s", "localhost", "x").returncode == 0
        thread.join()
    assert came[0] == ("127.0.0.2", port)
    assert [host for host, _ in came[1:]] == ["127.0.0.3", "127.0.0.1"]


@contextmanager
def failing_peer(kind: str) -> Iterator[list[str]]:
    """Give the arguments that meet each failure."""
    if kind == "unresolved":
        yield ["-6", "127.0.0.1:9", "x"]
    elif kind == "not ours":
        with peers.mute_server() as peer:
            yield ["-s", "192.0.2.1", peer.endpoint, "x"]
    elif kind == "refused datagram":
        with peers.refusing_udp() as peer:
            yield [peer.endpoint, "x"]
    elif kind == "endless":
        with generator() as target:
            yield [target, "--deadline", "200ms", "x"]
    else:
        serve = {
            "refused": peers.refusing_port(),
            "busy": peers.silent_listener(),
            "mute": peers.mute_server(),
            "closed": peers.closing_server(1),
            "reset": peers.resetting_server(1),
        }[kind]
        with serve as peer:
            yield ["-w", "100ms", peer.endpoint, "x"]


@pytest.mark.parametrize(
    ("kind", "status", "says"),
    [
        ("unresolved", 6, "resolve 127.0.0.1"),
        ("refused", 7, "connection refused (ECONNREFUSED)"),
        ("refused datagram", 7, "connection refused (ECONNREFUSED)"),
        ("busy", 28, "no answer within 100 ms"),
        ("mute", 28, "no reply within 100 ms"),
        ("endless", 28, "the reply was not whole before the deadline"),
        ("not ours", 45, "(EADDRNOTAVAIL)"),
        ("closed", 52, "closed without a reply"),
        ("reset", 56, "connection reset by peer (ECONNRESET)"),
    ],
)
def test_each_failure_has_its_status_and_says_why(netlab_here: Netlab, kind: str, status: int, says: str) -> None:
    with failing_peer(kind) as args:
        done = netlab_here("send", *args)
    assert done.returncode == status
    assert says in done.stderr.decode().splitlines()[0]


def test_a_failure_under_json_has_the_same_status_and_text(netlab: Netlab) -> None:
    with peers.mute_server() as peer:
        done = netlab("send", "--json", "-w", "50ms", peer.endpoint, "x")
    assert done.returncode == 28
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["connected", "sent", "error"]
    assert done.stderr.decode().splitlines()[0] == f"netlab: {events[-1]['message']}"


def test_a_stream_that_the_peer_resets_is_55(netlab: Netlab) -> None:
    with peers.resetting_server(1) as peer:
        done = netlab("send", peer.endpoint, "-f", "/dev/zero")
    assert done.returncode == 55
    assert done.stderr.startswith(f"netlab: send {peer.endpoint}: ".encode())


def test_a_mute_server_is_told_as_in_the_manual(netlab: Netlab) -> None:
    with peers.mute_server() as peer:
        done = netlab("send", peer.endpoint, "PING", "-w", "100ms")
    first, facts, *rest = done.stderr.decode().splitlines()
    assert first == f"netlab: receive {peer.endpoint}: no reply within 100 ms"
    assert facts.startswith("  sent 4 B, peer sent 0 B in 1")
    assert facts.endswith(" ms, still connected")
    assert rest == [
        "  means  the peer's kernel acknowledged all 4 B; its program has not answered",
        "  try    --eol lf, --eol crlf   it may be waiting for the end of a line",
        "         --until none           if no answer is expected",
        "         -w 30s                 to wait longer",
    ]


def test_none_awaits_nothing(netlab: Netlab) -> None:
    with peers.mute_server() as peer:
        done = netlab("send", peer.endpoint, "--until", "none", "<13>log")
        peer.wait_received(b"<13>log")
    assert (done.returncode, done.stdout) == (0, b"")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "Where to?"),
        ([":9", "--until", "junk", "x"], "'junk' is no end of a reply"),
        ([":9", "--expect-regex", "(", "x"], "no regular expression"),
        ([":9", "--expect", "a", "--expect-echo", "x"], "exclude each other"),
        ([":9", "--expect", "a", "--until", "none", "x"], "awaits no reply"),
        ([":9", "--hex", "-e", "00"], "exclude each other"),
        ([":9", "--hex", "0"], "half a byte"),
        ([":9", "-e", r"\q"], r"\q is no escape"),
        ([":9", "-f", "x", "x"], "exclude each other"),
        ([":9", "--hex"], "--hex is for a MESSAGE"),
        (["-u", ":9", "-N", "x"], "datagrams have no end"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(netlab_here: Netlab, args: list[str], says: str) -> None:
    done = netlab_here("send", *args)
    assert done.returncode == 2
    assert says in done.stderr.decode().splitlines()[-1]


@pytest.mark.parametrize("path", ["missing", "."])
def test_a_file_that_cannot_be_sent_is_a_usage_error(netlab: Netlab, path: str, tmp_path: Path) -> None:
    done = netlab("send", ":9", "-f", path, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"netlab: open {path}: ".encode())


def test_ctrl_c_ends_it_by_the_signal(start_netlab: StartProgram) -> None:
    with peers.mute_server() as peer:
        client = start_netlab("send", peer.endpoint, "hello")
        peer.wait_received(b"hello")
        done = client.stop(signal.SIGINT)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


# Output


def test_a_closed_stdout_ends_it_quietly_with_sigpipe() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with peers.reply_server(b"pong") as peer:
            done = subprocess.run(
                [*NETLAB, "send", peer.endpoint, "ping"],
                stdout=writing,
                stderr=subprocess.PIPE,
                env=clean_environment(),
                timeout=10,
                check=False,
            )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize("option", [False, True])
def test_a_full_disk_is_23(option: bool) -> None:
    if not (os.path.exists("/dev/full") and stat.S_ISCHR(os.stat("/dev/full").st_mode)):
        pytest.skip("there is no /dev/full")
    with peers.reply_server(b"pong") as peer, open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*NETLAB, "send", peer.endpoint, "ping", *(["-o", "/dev/full"] if option else [])],
            stdout=subprocess.DEVNULL if option else full,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            timeout=10,
            check=False,
        )
    assert done.returncode == 23
    assert b"no space left on device (ENOSPC)" in done.stderr


def test_an_output_file_gets_the_bytes_and_stdout_none(netlab: Netlab, tmp_path: Path) -> None:
    with peers.reply_server(EVERY_BYTE) as peer:
        done = netlab("send", peer.endpoint, "-o", str(tmp_path / "reply"), "x")
    assert (done.returncode, done.stdout) == (0, b"")
    assert (tmp_path / "reply").read_bytes() == EVERY_BYTE


def test_an_output_file_that_cannot_be_opened_is_23_before_anything_is_sent(netlab: Netlab, tmp_path: Path) -> None:
    with peers.reply_server(b"ok") as peer:
        done = netlab("send", peer.endpoint, "-o", str(tmp_path), "x")
    assert (done.returncode, peer.received) == (23, b"")


def test_verbose_says_what_went_and_which_rule_ended_the_reply(netlab: Netlab) -> None:
    with peers.reply_server(b"pong\n") as peer:
        done = netlab("send", "-v", peer.endpoint, "ping", "--until", "line")
    assert done.stdout == b"pong\n"
    connected, sent, reply = done.stderr.decode().splitlines()
    assert connected.startswith(f"connected to {peer.endpoint} from 127.0.0.1:")
    assert sent == f"{peer.endpoint} > ping"
    assert reply.startswith("reply: 5 B, first after ")
    assert reply.endswith(" by line")


def test_hexdump_shows_the_reply_in_hex(netlab: Netlab) -> None:
    with peers.reply_server(b"pong\n") as peer:
        done = netlab("send", "-x", peer.endpoint, "ping")
    assert done.stdout.startswith(b"00000000  70 6f 6e 67 0a ")


def test_a_terminal_gets_safe_text_and_its_last_line_ended() -> None:
    hostile = b"\x1b[2J\x1b]52;c;aGk=\x07caf\xc3\xa9 \xff\r\nline two"
    with peers.reply_server(hostile) as peer, Screen("send", peer.endpoint, "x") as screen:
        assert screen.wait() == 0
        assert screen.text == "\\x1b[2J\\x1b]52;c;aGk=\\x07café \\xff\nline two\n"


def test_nothing_to_send_on_a_terminal_is_a_usage_error() -> None:
    with Screen("send", ":9") as screen:
        assert screen.wait() == 2
        assert "Nothing to send: give a MESSAGE, -f FILE or a pipe." in screen.text


# Datagrams and unix sockets


def test_a_datagram_of_60000_bytes_comes_whole(netlab: Netlab) -> None:
    with udp_peer(bytes(60_000)) as target:
        done = netlab("send", target, "x")
    assert (done.returncode, len(done.stdout)) == (0, 60_000)


@pytest.mark.parametrize("kind", ["stream", "seqpacket", "dgram"])
def test_unix_sockets_of_each_type(netlab: Netlab, tmp_path: Path, kind: str) -> None:
    types = {"stream": socket.SOCK_STREAM, "seqpacket": socket.SOCK_SEQPACKET, "dgram": socket.SOCK_DGRAM}
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, types[kind]) as server:
        server.bind(path)
        server.settimeout(10)

        def answer() -> None:
            if kind == "dgram":
                message, sender = server.recvfrom(100)
                server.sendto(message + b" to you", sender)
                return
            with server.accept()[0] as client:
                client.send(client.recv(100) + b" to you")
                client.recv(100)

        if kind != "dgram":
            server.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        done = netlab("send", "-U", path, "--type", kind, "hello")
        thread.join()
    assert (done.returncode, done.stdout) == (0, b"hello to you")


def test_a_path_without_a_server_is_7(netlab: Netlab, tmp_path: Path) -> None:
    assert netlab("send", "-U", str(tmp_path / "none"), "x").returncode == 7


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_stream_keeps_its_memory_flat(start_netlab: StartProgram) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = start_netlab("send", f":{listener.getsockname()[1]}", "-f", "/dev/zero")
        with listener.accept()[0] as peer:
            sizes = []
            for _ in range(2):
                left = 64 * 1024 * 1024
                while left > 0:
                    left -= len(peer.recv(1 << 20))
                status = Path(f"/proc/{client.process.pid}/status").read_text()
                sizes.append(int(status.partition("VmRSS:")[2].split()[0]))
        assert client.wait().returncode == 55
    assert sizes[1] - sizes[0] < 4096, "kB more after another 64 MiB"
