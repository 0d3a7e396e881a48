"""netlab serve-tcp: one client at a time, and the command around it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
from pathlib import Path

import pytest

from netlab import socketops
from netlab.records import Connected, Waiting
from tests.programs import NETLAB, Netlab, StartProgram
from tests.servers import listen, read_line, read_to_end, running


def connect(port: int, host: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection((host, port), timeout=5)


def test_second_client_waits_in_the_queue_and_is_told_of() -> None:
    with running(socketops.serve_iteratively, listen(backlog=5)) as server, server.connect() as first:
        first.send(b"x")
        read_line(first)
        with server.connect() as second:
            waiting = server.wait(Waiting)
            assert (waiting.queued, waiting.backlog, waiting.endpoint) == (1, 5, server.endpoint)
            second.send(b"hello")
            first.close()
            assert read_line(second) == b"received 5 bytes\n"
        assert server.of(Connected)[0].waited_us is None
        waited = server.of(Connected)[1].waited_us
        assert waited is not None
        assert 0 < waited < 5e6


def test_queue_is_told_of_only_as_it_grows() -> None:
    with running(socketops.serve_iteratively, listen(backlog=5)) as server, server.connect() as first:
        first.send(b"x")
        read_line(first)
        with server.connect() as second:
            server.wait(Waiting)
            with server.connect():
                assert server.wait(Waiting, 2).queued == 2
                first.close()
                second.send(b"x")
                read_line(second)
        server.wait(Connected, 3)
        assert len(server.of(Waiting)) == 2


def test_log_is_the_one_of_the_manual(start_server: StartProgram) -> None:
    server = start_server("serve-tcp")
    with connect(server.port) as client:
        for chunk in (b"hello", "你好".encode()[:4], "你好".encode()[4:], b"\x1b[2J\n"):
            client.send(chunk)
            read_line(client)
    server.wait_for(r"^#1 closed.*\n")
    done = server.stop(signal.SIGINT)
    assert (done.returncode, done.stderr) == (0, b"")
    ready, model, connected, *chunks, closed, summary = done.stdout.decode().splitlines()
    assert ready == f"listening on 127.0.0.1:{server.port}"
    assert model == "model: one client at a time; reply: ack; exit word: exit; only this host"
    assert re.fullmatch(r"#1 127\.0\.0\.1:\d+ connected", connected)
    assert chunks == ["#1 < hello", "#1 < 你", "#1 < 好", r"#1 < \x1b[2J\n"]
    assert re.fullmatch(r"#1 closed: peer sent EOF after [\d.]+ m?s, in 16 B, out 68 B", closed)
    assert re.fullmatch(r"stopped by SIGINT after [\d.]+ m?s: 1 client, 1 at once, in 16 B, out 68 B", summary)


def test_waiting_client_stands_in_the_log(start_server: StartProgram) -> None:
    server = start_server("serve-tcp")
    with connect(server.port) as first:
        first.send(b"x")
        read_line(first)
        with connect(server.port):
            server.wait_for(r"^accept queue 1 of 5\n")
            first.close()
            server.wait_for(r"^#2 127\.0\.0\.1:\d+ connected \(waited [\d.]+ m?s\)\n")


def test_quiet_says_the_ready_line_and_no_more(start_server: StartProgram) -> None:
    server = start_server("serve-tcp", "--quiet", "--reply", "echo", "--once")
    with connect(server.port) as client:
        client.send(b"hello")
        assert client.recv(5) == b"hello"
    done = server.wait()
    assert (done.returncode, done.stdout.decode(), done.stderr) == (0, f"listening on {server.endpoint}\n", b"")


def test_json_lines(start_server: StartProgram) -> None:
    server = start_server("serve-tcp", "--json", "--once")
    with connect(server.port) as client:
        client.send(b"exit\n")
        assert read_to_end(client) == b"received 5 bytes\n"
    lines = [json.loads(line) for line in server.wait().stdout.splitlines()]
    events = [line["event"] for line in lines]
    assert events == ["listening", "serving", "connected", "received", "sent", "closed", "summary"]
    assert lines[0]["endpoint"] == server.endpoint
    assert lines[3] | {"time": 0} == {
        "event": "received",
        "time": 0,
        "peer": lines[2]["peer"],
        "text": "exit\n",
        "size": 5,
        "conn": 1,
    }
    assert (lines[5]["reason"], lines[5]["bytes_in"], lines[5]["bytes_out"]) == ("exit", 5, 17)
    assert lines[6]["ended_by"] == "--once"


def test_encoding_eol_and_words_are_the_users(start_server: StartProgram) -> None:
    words = ("--encoding", "gbk", "--ack-text", "收到 {n} 字节", "--eol", "none", "--exit-word", "再见")
    server = start_server("serve-tcp", *words)
    with connect(server.port) as client:
        client.send("你好".encode("gbk"))
        assert client.recv(100) == "收到 4 字节".encode("gbk")
        client.send("再见\r\n".encode("gbk"))
        assert read_to_end(client) == "收到 6 字节".encode("gbk")
    server.wait_for("^#1 < 你好\n")
    server.wait_for("^#1 closed: exit")


def test_stop_on_exit(start_server: StartProgram) -> None:
    server = start_server("serve-tcp", "--stop-on-exit")
    with connect(server.port) as client:
        client.send(b"exit")
        assert read_to_end(client) == b"received 4 bytes\n"
    done = server.wait()
    assert done.returncode == 0
    assert b"stopped by exit word after" in done.stdout


def test_duration(start_server: StartProgram) -> None:
    done = start_server("serve-tcp", "--duration", "50ms").wait()
    assert done.returncode == 0
    assert b"stopped by --duration after" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_shows_every_client_the_end(start_server: StartProgram, number: signal.Signals) -> None:
    server = start_server("serve-tcp")
    with connect(server.port) as client:
        client.send(b"hello")
        read_line(client)
        done = server.stop(number, timeout=1.5)
        assert read_to_end(client) == b""
    assert done.returncode == 0
    assert f"stopped by {number.name} after" in done.stdout.decode()


def test_port_in_use_says_so_and_who_may_have_it(start_server: StartProgram, netlab: Netlab) -> None:
    server = start_server("serve-tcp")
    done = netlab("serve-tcp", "-p", str(server.port))
    assert (done.returncode, done.stdout) == (45, b"")
    first, *rest = done.stderr.decode().splitlines()
    assert first == f"netlab: bind 127.0.0.1:{server.port}: address already in use (EADDRINUSE)"
    assert any(f"sport = :{server.port}" in line and line.lstrip().startswith(("try", "ss")) for line in rest)


def test_restart_on_the_same_port_at_once(start_server: StartProgram) -> None:
    first = start_server("serve-tcp")
    with connect(first.port) as client:  # the server closes first, so that TIME_WAIT is on its side
        client.send(b"exit")
        read_to_end(client)
    first.stop()
    assert start_server("serve-tcp", "-p", str(first.port)).port == first.port


def test_name_with_two_addresses_listens_on_both_with_one_port(
    start_program: StartProgram, require_netns: tuple[str, ...], tmp_path: Path
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n::1 localhost\n")
    in_own_mounts = (
        *require_netns[:-1],
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" /etc/hosts && exec "$@"',
        str(hosts),
    )
    server = start_program(*in_own_mounts, *NETLAB, "serve-tcp", "--host", "localhost", "-p", "0", naive=False)
    assert {server.ready(1), server.ready(2)} == {f"127.0.0.1:{server.port}", f"[::1]:{server.port}"}
    for host in ("127.0.0.1", "::1"):
        with connect(server.port, host) as client:
            client.send(b"hello")
            assert read_line(client) == b"received 5 bytes\n"


def test_all_addresses_of_both_families_on_one_socket(start_server: StartProgram) -> None:
    server = start_server("serve-tcp", "--host", "::")
    assert server.ready() == f"[::]:{server.port}"
    server.wait_for("; every host that reaches any address of this one\n")
    for number, host in enumerate(("127.0.0.1", "::1"), start=1):
        with connect(server.port, host) as client:
            client.send(b"hello")
            assert read_line(client) == b"received 5 bytes\n"
        shown = f"[{host}]" if ":" in host else host
        server.wait_for(f"^#{number} {re.escape(shown)}:")


def test_ipv6_alone_leaves_ipv4_out(start_server: StartProgram) -> None:
    server = start_server("serve-tcp", "--host", "::", "-6")
    with pytest.raises(ConnectionRefusedError):
        connect(server.port)
    connect(server.port, "::1").close()


def test_unix_path_is_made_0600_and_removed(start_server: StartProgram, tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = start_server("serve-tcp", "-U", str(path))
    assert server.endpoint == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.send(b"hello")
        assert read_line(client) == b"received 5 bytes\n"
    server.wait_for(rf"^#1 unix client connected \(pid {os.getpid()}, uid {os.getuid()}\)\n")
    server.stop()
    assert not path.exists()


def test_stale_path_is_taken_over_and_a_live_one_never(
    start_server: StartProgram, netlab: Netlab, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    server = start_server("serve-tcp", f"unix:{path}", "--mode", "0660")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    done = netlab("serve-tcp", f"unix:{path}")
    assert done.returncode == 45
    assert f"netlab: bind unix:{path}: address already in use (EADDRINUSE)" in done.stderr.decode()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.send(b"hello")
        assert read_line(client) == b"received 5 bytes\n"
    server.stop()


def test_file_that_is_no_socket_is_not_touched(netlab: Netlab, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    done = netlab("serve-tcp", f"unix:{path}")
    assert done.returncode == 45
    assert "is not a socket" in done.stderr.decode()
    assert path.read_text() == "data"


def test_seqpacket_over_the_command_line(start_server: StartProgram, tmp_path: Path) -> None:
    server = start_server("serve-tcp", "-U", f"{tmp_path}/s", "--type", "seqpacket", "-v")
    assert server.endpoint == f"unix-seqpacket:{tmp_path}/s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(f"{tmp_path}/s")
        client.send(b"")
        assert client.recv(100) == b"received 0 bytes\n"
    server.wait_for(r"^#1 < \(empty message\)\n")
    server.wait_for(r"^#1 > received 0 bytes\\n\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--mode", "0999"), "'0999' is no mode; write octal digits"),
        (("--mode", "1777"), "'1777' is no mode"),
        (("--mode", "0666"), "--mode is for the file of a unix socket"),
        (("--mode", "0666", "-U", "@name"), "--mode is for the file of a unix socket"),
        (("-o", "-"), "-o - would put what clients send into the log"),
        (("--reply", "echo", "--ack-text", "x"), "--ack-text is for --reply ack and broadcast, not for echo"),
        (("--reply", "discard", "--exit-word", "bye"), "--exit-word is for --reply ack and broadcast"),
        (("--reply", "echo", "--eol", "crlf"), "--eol is for --reply ack and broadcast"),
        (("--reply", "generate", "-C"), "-C is for --reply ack and broadcast"),
        (("--stop-on-exit", "--exit-word", ""), "--stop-on-exit needs an exit word"),
        (("--stop-on-exit", "--reply", "generate"), "--stop-on-exit has no effect with generate"),
        (("--ready-fd", "one"), "'one' is not a valid integer."),
        (("--ready-fd", str(2**31)), "is not in the range"),
        (("--backlog", str(2**31)), "is not in the range"),
        (("-o", ""), "-o '' names no file"),
        (("icmp:127.0.0.1",), "icmp: cannot be served, the kernel answers it: netlab probe icmp:127.0.0.1"),
        (("--backlog", "-1"), "-1"),
        (("--reply", "nothing"), "'nothing'"),
        (("--encoding", "ascii", "--ack-text", "收到"), "ascii has no character"),
        (("-U", "/tmp/s", "-p", "1"), "-U and -p exclude each other"),
        (("-4", "-6"), "-4 and -6 exclude each other"),
        (("--type", "seqpacket"), "--type seqpacket is for unix sockets"),
        (("udp://127.0.0.1:1",), "use serve-udp"),
        (("-p", "65536"), "port 65536 is out of range"),
    ],
)
def test_bad_options_are_usage_errors(netlab_here: Netlab, args: tuple[str, ...], says: str) -> None:
    done = netlab_here("serve-tcp", *args)
    assert (done.returncode, done.stdout) == (2, b"")
    assert says in done.stderr.decode()


def test_variables_that_have_no_effect_here_are_no_errors(netlab: Netlab) -> None:
    idle = {"MODE": "0666", "ACK_TEXT": "x", "EXIT_WORD": "bye", "EOL": "crlf"}
    env = {f"NETLAB_SERVE_TCP_{name}": value for name, value in idle.items()}
    done = netlab("serve-tcp", "-p", "0", "--reply", "echo", "--duration", "10ms", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
