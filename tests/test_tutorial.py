"""The tutorial that netlab grew out of: its five programs, naive as they are, against netlab, in Chinese.

What the naive servers do when a client leaves without a word (they answer EOF for ever, and die) is theirs: the tests
end each conversation with ``exit``, or end the server.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from tests.programs import Netlab, Program, StartProgram

TUTORIAL = Path(__file__).resolve().parent / "tutorial"
STARTED = r"服务器已启动，监听 (127\.0\.0\.1):(\d+)\n"
ACKNOWLEDGED = "服务器已收到消息"


def tutorial_server(start_program: StartProgram, script: str) -> tuple[Program, str]:
    """Start one of the tutorial's servers on a free port; return it and its HOST:PORT."""
    program = start_program(sys.executable, str(TUTORIAL / script), "127.0.0.1", "0")
    host, port = program.wait_for(STARTED).groups()
    return program, f"{host}:{port}"


def tutorial_client(start_program: StartProgram, script: str, server: Program) -> Program:
    """Start one of the tutorial's clients against a netlab server."""
    return start_program(sys.executable, str(TUTORIAL / script), server.host, str(server.port))


def say(client: Program, message: str, *, count: int = 1) -> None:
    """Type a message and wait for the server's acknowledgement of it, the count-th with this text."""
    client.write(f"{message}\n")
    client.wait_for(f"服务器回复: received {len(message.encode())} bytes\n", count=count)


def leave(client: Program) -> None:
    """Type exit and wait for the client's end."""
    client.write("exit\n")
    done = client.wait()
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().endswith("连接已关闭\n")


@pytest.mark.parametrize("command", ["serve-tcp", "serve-threaded"])
def test_tcp_client_talks_to_our_stream_servers(
    start_server: StartProgram, start_program: StartProgram, command: str
) -> None:
    server = start_server(command)
    client = tutorial_client(start_program, "tcp_client.py", server)
    server.wait_for(r"^#1 127\.0\.0\.1:\d+ connected")
    say(client, "你好，世界")
    client.write("\n")
    client.wait_for("消息不能为空")
    say(client, "再见")
    leave(client)
    server.wait_for(r"^#1 closed")
    done = server.stop()
    assert done.returncode == 0
    log = done.stdout.decode().splitlines()
    shown = [line for line in log if line.startswith("#1 < ")]
    assert shown == ["#1 < 你好，世界", "#1 < 再见", "#1 < exit"]


def test_second_client_of_serve_tcp_waits(start_server: StartProgram, start_program: StartProgram) -> None:
    server = start_server("serve-tcp")
    first = tutorial_client(start_program, "tcp_client.py", server)
    say(first, "我是第一个")
    second = tutorial_client(start_program, "tcp_client.py", server)
    second.wait_for("已连接到服务器")  # by the kernel: the server has not accepted it
    second.write("我是第二个\n")
    server.wait_for(r"^accept queue 1 of 5")
    assert "服务器回复" not in second.stdout.decode()
    leave(first)
    second.wait_for("服务器回复: received 15 bytes\n")
    leave(second)
    server.wait_for(r"^#2 closed")
    log = server.stop().stdout.decode()
    assert log.index("#1 closed") < log.index("#2 127.0.0.1:") < log.index("#2 < 我是第二个")


def test_serve_threaded_serves_two_clients_at_once(start_server: StartProgram, start_program: StartProgram) -> None:
    server = start_server("serve-threaded")
    first = tutorial_client(start_program, "tcp_client.py", server)
    say(first, "甲")
    second = tutorial_client(start_program, "tcp_client.py", server)
    say(second, "乙乙")
    say(first, "丙", count=2)
    leave(second)
    say(first, "丁", count=3)
    leave(first)
    server.wait_for(r"^#1 closed")
    log = server.stop().stdout.decode()
    assert [line for line in log.splitlines() if " < " in line and "exit" not in line] == [
        "#1 < 甲",
        "#2 < 乙乙",
        "#1 < 丙",
        "#1 < 丁",
    ]


def test_udp_client_talks_to_serve_udp(start_server: StartProgram, start_program: StartProgram) -> None:
    server = start_server("serve-udp")
    client = tutorial_client(start_program, "udp_client.py", server)
    say(client, "你好")
    client.write("\n")
    client.wait_for("消息不能为空")
    say(client, "再见", count=2)
    leave(client)
    # On UDP nobody's conversation ends: the word is only shown.
    server.wait_for(r" < exit\n")
    done = server.stop()
    assert done.returncode == 0
    shown = [line.partition(" < ")[2] for line in done.stdout.decode().splitlines() if " < " in line]
    assert shown == ["你好", "再见", "exit"]


def test_stop_on_exit_ends_our_server_as_the_tutorials_ends(
    start_server: StartProgram, start_program: StartProgram
) -> None:
    server = start_server("serve-tcp", "--stop-on-exit")
    client = tutorial_client(start_program, "tcp_client.py", server)
    say(client, "你好")
    leave(client)
    assert server.wait().returncode == 0


@pytest.mark.parametrize("script", ["tcp_server.py", "threaded_server.py"])
def test_send_talks_to_the_stream_servers(netlab: Netlab, start_program: StartProgram, script: str) -> None:
    server, target = tutorial_server(start_program, script)
    done = netlab("send", target, "你好，世界")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == ACKNOWLEDGED
    server.wait_for(r"收到来自 \('127\.0\.0\.1', \d+\) 的消息: 你好，世界\n")


def test_send_gives_each_message_its_own_exchange(netlab: Netlab, start_program: StartProgram) -> None:
    server, target = tutorial_server(start_program, "tcp_server.py")
    done = netlab("send", target, "你好", "世界")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == 2 * ACKNOWLEDGED
    # Two messages that were sent at once would be one to recv().
    server.wait_for(r"的消息: 你好\n")
    server.wait_for(r"的消息: 世界\n")


def test_send_expects_the_chinese_acknowledgement(netlab: Netlab, start_program: StartProgram) -> None:
    _, target = tutorial_server(start_program, "threaded_server.py")
    assert netlab("send", target, "你好", "--expect", ACKNOWLEDGED).returncode == 0


def test_send_talks_to_the_udp_server(netlab: Netlab, start_program: StartProgram) -> None:
    server, target = tutorial_server(start_program, "udp_server.py")
    done = netlab("send", "-u", target, "你好", "世界")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode() == 2 * ACKNOWLEDGED
    server.wait_for(r"的消息: 世界\n")


@pytest.mark.parametrize(("script", "udp"), [("tcp_server.py", []), ("udp_server.py", ["-u"])])
def test_exit_ends_the_tutorials_servers(
    netlab: Netlab, start_program: StartProgram, script: str, udp: list[str]
) -> None:
    server, target = tutorial_server(start_program, script)
    done = netlab("send", *udp, target, "exit", "--until", "none")
    assert done.returncode == 0, done.stderr.decode()
    ended = server.wait()
    assert ended.returncode == 0, ended.stderr.decode()
    assert "要求退出" in ended.stdout.decode()


@pytest.mark.parametrize("script", ["tcp_server.py", "threaded_server.py"])
def test_chat_talks_to_the_stream_servers(start_netlab: StartProgram, start_program: StartProgram, script: str) -> None:
    server, target = tutorial_server(start_program, script)
    chat = start_netlab("chat", target, "--eol", "none")
    for count, message in enumerate(["你好，世界", "一二三", "再见"], start=1):
        chat.write(f"{message}\n")
        chat.wait_for(ACKNOWLEDGED, count=count)
        server.wait_for(f"的消息: {message}\n")
    chat.write("exit\n")
    done = chat.wait()
    assert done.returncode == 0, done.stderr.decode()
    server.wait_for("要求退出|已断开")


HASTY = """
from netlab.socketops.talking import relay
relay.LINGER = 0.2
from netlab.__main__ import main
main()
"""
"""netlab, but that it waits less for what still comes at the end: UDP has no EOF, and 5 s are a long time here."""


def test_chat_talks_to_the_udp_server(start_program: StartProgram) -> None:
    server, target = tutorial_server(start_program, "udp_server.py")
    chat = start_program(sys.executable, "-W", "error", "-c", HASTY, "chat", "-u", target, "--eol", "none", naive=False)
    for count, message in enumerate(["你好", "再见"], start=1):
        chat.write(f"{message}\n")
        chat.wait_for(ACKNOWLEDGED, count=count)
    chat.write("exit\n")
    assert server.wait().returncode == 0
    done = chat.wait()
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("command", ["serve-tcp", "serve-threaded", "serve-udp"])
def test_servers_read_gbk(start_server: StartProgram, command: str) -> None:
    server = start_server(command, "--encoding", "gbk")
    kind = socket.SOCK_DGRAM if command == "serve-udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(5)
        client.connect((server.host, server.port))
        client.sendall("你好".encode("gbk"))
        assert client.recv(1024) == b"received 4 bytes\n"
    server.wait_for(r" < 你好\n")


def test_send_and_server_speak_gbk(netlab: Netlab, start_server: StartProgram) -> None:
    server = start_server("serve-tcp", "--encoding", "gbk")
    done = netlab("send", server.endpoint, "你好", "--encoding", "gbk")
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"received 4 bytes\n"
    server.wait_for(r"^#1 < 你好\n")


def test_a_character_split_over_two_chunks_is_shown_whole(start_server: StartProgram) -> None:
    server = start_server("serve-tcp")
    first, second = "你".encode()[:2], "你".encode()[2:]
    with socket.create_connection((server.host, server.port), timeout=5) as client:
        client.sendall(first)
        assert client.recv(1024) == b"received 2 bytes\n"
        client.sendall(second)
        assert client.recv(1024) == b"received 1 bytes\n"
    server.wait_for(r"^#1 closed")
    log = server.stdout.decode()
    assert "你" in log
    assert "\\x" not in log
