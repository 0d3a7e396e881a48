"""Terminal safety, on real pseudo-terminals: what a peer sends, and what a hostile name holds, is shown, never obeyed.

The judge here does not use `netlab.render.safe`: it knows Unicode's categories alone.
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests import peers
from tests.injection import Nursery
from tests.screen import Screen
from tests.servers import read_to_end
from tests.terminal import Terminal, assert_harmless

CORPUS = {
    "clear": b"\x1b[2J\x1b[H",
    "colour": b"\x1b[31;5mred",
    "cursor report": b"\x1b[6n",
    "device attributes": b"\x1b[c\x05",
    "title": b"\x1b]0;title\x07",
    "clipboard": b"\x1b]52;c;ZXZpbA==\x07",
    "link": b"\x1b]8;;http://evil/\x1b\\here",
    "DCS": b'\x1bP$q"p\x1b\\',
    "APC and PM": b"\x1b_Ga=d\x1b\\\x1b^x\x1b\\",
    "reset": b"\x1bc",
    "C1 bytes": b"\x9b2J\x90q\x9c\x85next",
    "C1 characters": "\u009b2J\u0090q\u009c\u0085next".encode(),
    "shifts": b"\x0e\x0f\x1b(0lqk",
    "forged line": b"x\r#7 closed: peer sent EOF",
    "rubout": b"good\b\b\b\bevil\x7f",
    "bidi": "\u202egnp.exe\u202c\u2066a\u2069\u200f".encode(),
    "separators": "a\u2028b\u2029c".encode(),
    "invisible": "pay\u200bpal\ufeff\u00ad\U000e0041".encode(),
    "overlong": b"\xc0\x9b[2J\xe0\x80\x9b[2J\xc1\xbf",
    "surrogates": b"\xed\xa0\x9b\xed\xb0\x80",
    "too large": b"\xf4\x90\x80\x80\xff\xfe",
    "NUL": b"a\x00b",
}
SHOWN = (
    r"\x1b[2J",
    r"\x1b]52;c;ZXZpbA==\x07",
    r"\x9b2J",
    r"\u009b2J",
    r"\u202egnp.exe",
    r"\xc0\x9b[2J",
    r"\xed\xa0\x9b",
)
"""What has to be seen of it, escaped; so that silence is no way to be safe."""

HOSTILE = "\x1b]52;c;ZXZpbA==\x07\u202e\x9b2J\udc9b\r\n\x1b[31mx"
"""A name, as a script may get it from somebody else; U+DC9B is the byte 9B of a name that is no UTF-8."""


def assert_shown(text: str, fragments: Sequence[str] = SHOWN) -> None:
    missing = [fragment for fragment in fragments if fragment not in text]
    assert not missing, f"{missing} is not to be seen in:\n{text}"


@pytest.mark.parametrize("name", CORPUS)
def test_the_judge_finds_each_of_the_corpus(name: str) -> None:
    with pytest.raises((AssertionError, UnicodeDecodeError)):
        assert_harmless(b"#1 < " + CORPUS[name] + b"\r\n")


# The servers' logs

LOGS = {
    "text": (),
    "hexdump": ("--hexdump",),
    "trace": ("--trace", "--diagram"),
    "latin-1": ("--encoding", "latin-1"),
    "json": ("--json",),
}


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize(
    "model", ["serve-tcp", "serve-tcp --concurrent", "serve-threaded", "serve-threaded --reply broadcast"]
)
def test_the_log_of_a_stream_server(nursery: Nursery, model: str, log: str) -> None:
    with Terminal(nursery, *model.split(), "-p", "0", *LOGS[log]) as terminal:
        port = int(terminal.wait_for(r"listening.*127\.0\.0\.1:(\d+)\D")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            for data in CORPUS.values():
                client.sendall(data + b"\n")
            client.shutdown(socket.SHUT_WR)
            read_to_end(client)
        terminal.wait_for(r"closed")
        terminal.process.send_signal(signal.SIGTERM)
        text = terminal.end(0)
    if log == "text":
        assert_shown(text, SHOWN[:1])


@pytest.mark.parametrize("model", ["serve-tcp", "serve-tcp --concurrent", "serve-threaded"])
def test_each_of_the_corpus_is_shown_in_the_log(nursery: Nursery, model: str) -> None:
    with Terminal(nursery, *model.split(), "-p", "0", "--exit-word", "") as terminal:
        port = int(terminal.wait_for(r"listening.*127\.0\.0\.1:(\d+)\D")[1])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            for data in CORPUS.values():  # a chunk each, as each is answered before the next
                client.sendall(data)
                client.recv(100)
        terminal.wait_for("closed")
        terminal.process.send_signal(signal.SIGTERM)
        text = terminal.end(0)
    assert_shown(text)
    assert not re.search(r"^#7 ", text, re.MULTILINE), "a line was forged"


@pytest.mark.parametrize("log", LOGS)
def test_the_log_of_serve_udp(nursery: Nursery, log: str) -> None:
    with Terminal(nursery, "serve-udp", "-p", "0", *LOGS[log]) as terminal:
        port = int(terminal.wait_for(r"listening.*127\.0\.0\.1:(\d+)\D")[1])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.connect(("127.0.0.1", port))
            for data in CORPUS.values():
                client.send(data)
                client.recv(100)
        terminal.process.send_signal(signal.SIGTERM)
        text = terminal.end(0)
    if log == "text":
        assert_shown(text)


def test_the_name_of_a_unix_peer(nursery: Nursery, tmp_path: Path) -> None:
    for kind, model in ((socket.SOCK_STREAM, "serve-tcp"), (socket.SOCK_DGRAM, "serve-udp")):
        with Terminal(nursery, model, "-U", f"{tmp_path}/s") as terminal, socket.socket(socket.AF_UNIX, kind) as client:
            terminal.wait_for(r"listening on .*/s")
            client.settimeout(5)
            client.bind(b"\0" + HOSTILE.encode("utf-8", "surrogateescape"))
            client.connect(f"{tmp_path}/s")
            client.send(b"hello")
            client.recv(100)
            terminal.wait_for("hello")
            terminal.process.send_signal(signal.SIGTERM)
            assert r"\x1b]52;c;" in terminal.end(0)


# The clients


@contextlib.contextmanager
def udp_peer(*replies: bytes) -> Iterator[str]:
    """Answer every datagram with all the replies; gives the endpoint."""
    with peers.mute_udp() as peer:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    _, sender = peer.socket.recvfrom(65536)
                    for reply in replies if sender != peer.socket.getsockname() else ():
                        peer.socket.sendto(reply, sender)
                    if not replies or sender == peer.socket.getsockname():
                        return

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield peer.endpoint
        finally:
            peer.socket.sendto(b"end", peer.socket.getsockname())
            thread.join(5)


REPLY = b"\n".join(CORPUS.values())
SENDS = {
    "plain": ((), 0),
    "verbose": (("-v",), 0),
    "hexdump": (("-x",), 0),
    "json": (("--json",), 0),
    "trace": (("--trace", "--diagram"), 0),
    "latin-1": (("--encoding", "latin-1"), 0),
    "not expected": (("--expect", "\x1b]0;other\x07"), 1),
    "not echoed": (("--expect-echo",), 1),
}


@pytest.mark.parametrize("how", SENDS)
def test_the_reply_that_send_shows(nursery: Nursery, how: str) -> None:
    options, status = SENDS[how]
    with peers.reply_server(REPLY) as peer:
        with Terminal(nursery, "send", *options, peer.endpoint, "\x1b[2Jhello", "--until", str(len(REPLY))) as terminal:
            text = terminal.end(status)
    if how in ("plain", "verbose"):
        assert_shown(text)


def test_the_datagram_that_send_shows(nursery: Nursery) -> None:
    with udp_peer(REPLY) as endpoint, Terminal(nursery, "send", endpoint, "hello") as terminal:
        assert_shown(terminal.end(0))


def test_load_whose_replies_are_wrong(nursery: Nursery) -> None:
    with peers.reply_server(REPLY) as peer:
        with Terminal(nursery, "send", peer.endpoint, "-c", "3", "--expect", "zzz", "hello", "-w", "100ms") as terminal:
            assert "3 of 3 exchanges failed" in terminal.end(1)


@pytest.mark.parametrize("options", [(), ("-x",), ("--trace",)])
def test_what_comes_in_a_plain_chat(nursery: Nursery, options: tuple[str, ...]) -> None:
    with (
        peers.reply_server(REPLY, b"\nthe end\n") as peer,
        Terminal(nursery, "chat", *options, peer.endpoint) as terminal,
    ):
        terminal.wait_for("> ")
        terminal.press(b"one\n")
        terminal.wait_for(r"a\.b\|" if "-x" in options else r"a\\x00b")
        terminal.press(b"two\n")
        terminal.wait_for(r"the end" if "-x" not in options else "74 68 65 20 65 6e 64")
        terminal.press(b"\x04")
        text = terminal.end(0)
    if not options:
        assert_shown(text)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_comes_in_a_chat_that_listens(nursery: Nursery, options: tuple[str, ...], tmp_path: Path) -> None:
    with Terminal(nursery, "chat", "--listen", "-U", f"{tmp_path}/s", *options) as terminal:
        terminal.wait_for(r"listening|/s\W")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.bind(b"\0" + HOSTILE.encode("utf-8", "surrogateescape"))
            client.connect(f"{tmp_path}/s")
            client.sendall(REPLY + b"\n")
            terminal.wait_for(r"xf4|base64")  # near the end of the corpus
            if not options:
                terminal.press(b"/info\n")
                terminal.wait_for(r"peer .*52;c;")
            client.shutdown(socket.SHUT_WR)
            text = terminal.end(0)
    assert_shown(text, SHOWN if not options else SHOWN[:0])


def test_what_comes_in_a_chat_with_line_editing() -> None:
    """What a sequence of its own would do is known to the screen, and any other fails the test there."""
    with (
        peers.reply_server(REPLY, b"\nthe end\n") as peer,
        Screen("chat", peer.endpoint, env={"TERM": "xterm"}) as screen,
    ):
        screen.wait_to_see(">")
        screen.press("one\n")
        screen.wait_to_see(r"\\xff\\xfe")
        screen.press("two\n")
        screen.wait_to_see("the end")
        screen.press("\x04")
        assert screen.wait() == 0
        assert_shown(screen.display.replace("\n", ""))


@pytest.mark.parametrize("options", [(), ("-v",), ("--json",), ("--trace", "--diagram"), ("-c", "2", "-i", "0.01")])
def test_the_answer_that_probe_shows(nursery: Nursery, options: tuple[str, ...]) -> None:
    with (
        udp_peer(REPLY) as endpoint,
        Terminal(nursery, "probe", endpoint, "--payload", "\x1b[2J", *options) as terminal,
    ):
        text = terminal.end(0)
    assert_shown(text, SHOWN[:1] if options in ((), ("-v",)) else ())


def test_targets_of_a_file(nursery: Nursery, tmp_path: Path) -> None:
    targets = tmp_path / "targets"
    for name in (HOSTILE.replace("\n", "").replace("\udc9b", ""), "a\u202eb", "\udc9b"):
        targets.write_bytes(f"127.0.0.1:1\n{name}:80\n".encode("utf-8", "surrogateescape"))
        with Terminal(nursery, "probe", "-f", str(targets)) as terminal:
            text = terminal.end(2)
        assert_shown(text, [r"\u202e"] if "\u202e" in name else ["is no text in UTF-8"])


def test_trace_of_a_peer(nursery: Nursery, tmp_path: Path) -> None:
    """Its file comes from another program, so any text may stand where a call or its arguments should."""
    trace = Path(f"{tmp_path}/{HOSTILE}.jsonl")
    hostile = {"thread": "\x9b31m", "call": "recv\x1b[2J\u202e", "args": "\x1b]0;title\x07", "result": "4 B\r\n"}
    hostile |= {"state_name": "\x1b[3J"}
    usual = {"event": "call", "lane": "server", "pid": 1, "socket": 1, "transport": "tcp", "fd": 3, "duration_us": 1.0}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        here = f"127.0.0.1:{listener.getsockname()[1]}"
        with Terminal(nursery, "send", here, "ping", "--diagram", "--trace-peer", str(trace)) as terminal:
            with listener.accept()[0] as client:
                assert client.recv(100) == b"ping"
                now = {"time": time.time(), "mono_us": time.monotonic() * 1e6}
                names = {"local": here, "peer": f"127.0.0.1:{client.getpeername()[1]}"}
                trace.write_text(json.dumps(usual | hostile | now | names) + "\n")
                client.sendall(b"pong")
            assert_shown(terminal.end(0), [r"recv\x1b[2J\u202e", r"\x1b]0;"])


# Words of the command line, which are not always the user's own


def message(command: str) -> tuple[str, ...]:
    """Return what send has to be given before it looks at some of its options."""
    return (":1", "x") if command == "send" else ()


COMMANDS = ("serve-tcp", "serve-threaded", "serve-udp", "send", "chat", "probe")
WORDS: dict[str, Callable[[str], tuple[str, ...]]] = {
    "endpoint": lambda command: (HOSTILE,),
    "host": lambda command: (f"{HOSTILE}:9",),
    "host without controls": lambda command: ("a\u202eb\udc9b:9",),
    "option": lambda command: (f"--{HOSTILE}",),
    "short option": lambda command: (f"-{HOSTILE}",),
    "choice": lambda command: ("--color", HOSTILE),
    "duration": lambda command: ("--duration" if command.startswith("serve") else "-w", HOSTILE),
    "setting": lambda command: ("--set", HOSTILE),
    "setting's value": lambda command: ("--set", f"SO_RCVBUF={HOSTILE}"),
    "path": lambda command: ("-U", f"/nowhere/{HOSTILE}"),
    "trace file": lambda command: ("--trace-file", f"/nowhere/{HOSTILE}/x.jsonl", *message(command)),
    "file": lambda command: ("-f" if command in ("send", "probe") else "-o", f"/nowhere/{HOSTILE}"),
    "too many words": lambda command: ("127.0.0.1:9", HOSTILE, HOSTILE),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_words(nursery: Nursery, command: str) -> None:
    is_server = command.startswith("serve")
    limit = ("--duration" if is_server else "-w", "1ms")  # first: of an option that is given twice the last holds
    port = {f"NETLAB_{command.upper().replace('-', '_')}_PORT": "0" if is_server else "1"}
    failures = {}
    for what, make in WORDS.items():
        with Terminal(nursery, command, *limit, *make(command), env=port) as one:
            try:
                text = one.end()
            except (AssertionError, UnicodeDecodeError) as exc:
                failures[what] = str(exc)
            else:
                if not re.search(r"\\x1b|\\u202e", text) and (command, what) != ("send", "too many words"):
                    failures[what] = f"it is not shown: {text}"
    assert not failures


@pytest.mark.parametrize(
    "args",
    [
        ("serve-tcp", "--duration", "20ms"), ("serve-threaded", "--duration", "20ms"),
        ("serve-udp", "--duration", "20ms"), ("serve-tcp", "-v", "--exit-word", "\x1b[2J\u202e", "--duration", "20ms"),
        ("send", "hello", "-v", "--trace", "--diagram"), ("send", "hello", "--json"),
        ("probe", "-v", "--all-options", "--trace"), ("probe", "-c", "2", "-i", "1ms"),
    ],
)  # fmt: skip
def test_a_path_that_is_in_use(nursery: Nursery, args: tuple[str, ...], tmp_path: Path) -> None:
    path = f"{tmp_path}/{HOSTILE}"
    serves = args[0].startswith("serve")
    with contextlib.nullcontext() if serves else peers.echo_server(address=path):
        with Terminal(nursery, args[0], "-U", path, *args[1:]) as terminal:
            assert_shown(terminal.end(0), [r"\u202e"])


@pytest.mark.parametrize("command", COMMANDS)
def test_hostile_environment(nursery: Nursery, command: str) -> None:
    prefix = f"NETLAB_{command.upper().replace('-', '_')}"
    for name in ("PORT", "SET", "COLOR"):
        with Terminal(nursery, command, env={f"{prefix}_{name}": HOSTILE.replace("\0", "")}) as terminal:
            terminal.end(2)


def test_hostile_command(nursery: Nursery) -> None:
    for words in ([HOSTILE], [f"--{HOSTILE}"], ["--completion", HOSTILE]):
        with Terminal(nursery, *words) as terminal:
            terminal.end(2)
