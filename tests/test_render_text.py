"""What servers and errors look like, line by line, and which stream each line goes to."""

from __future__ import annotations

import errno
import json
import os
import pty
import threading
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netlab.endpoint import Endpoint, Transport
from netlab.errors import ConnectError, LocalError, NetlabError, OutputError, ResolveError, StdoutClosed, TimedOut
from netlab.records import (
    Closed,
    Connected,
    FaultReport,
    Listening,
    Received,
    Record,
    Sent,
    Serving,
    Summary,
    Waiting,
    WarningReport,
)
from netlab.render import Renderer, Writer, hexdump, renderer, want_color
from netlab.render.text import LINES, View

PEER = Endpoint.parse("127.0.0.1:38146")
UDP = Endpoint.parse("udp://127.0.0.1:4444")
SOCKET = Endpoint.parse("unix:/tmp/s")
WIDTH = 80


class Shown:
    """A renderer on two real pipes, and what came out of them."""

    def __init__(self, **options: object) -> None:
        self._ends = [os.pipe(), os.pipe()]
        stdout, stderr = (Writer(end[1]) for end in self._ends)
        chosen: dict[str, object] = {
            "json": False,
            "quiet": False,
            "verbose": False,
            "color": False,
            "encoding": "utf-8",
            "charset": "utf-8",
        }
        self.render: Renderer = renderer(stdout=stdout, stderr=stderr, **chosen | options)  # type: ignore[arg-type]

    def __call__(self, *records: Record | NetlabError) -> tuple[list[str], list[str]]:
        """Show records and errors; return the lines of stdout and of stderr since the last call."""
        for record in records:
            if isinstance(record, NetlabError):
                self.render.error(record)
            else:
                self.render(record)
        return self._came(0), self._came(1)

    def _came(self, number: int) -> list[str]:
        os.set_blocking(self._ends[number][0], False)
        try:
            data = os.read(self._ends[number][0], 65536)
        except BlockingIOError:
            return []
        assert data.endswith(b"\n")
        return data.decode().split("\n")[:-1]

    def close(self) -> None:
        for reader, writer in self._ends:
            os.close(reader)
            os.close(writer)


@pytest.fixture
def shown(request: pytest.FixtureRequest) -> Iterator[Shown]:
    made = Shown(**getattr(request, "param", {}))
    yield made
    made.close()


def option(**options: object) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("shown", [options], indirect=True, ids=["-".join(options)])


def closed(**more: object) -> Closed:
    facts: dict[str, object] = {"peer": PEER, "bytes_in": 5, "bytes_out": 17, "duration_us": 1_200_000.0, "conn": 2}
    return Closed(**facts | more)  # type: ignore[arg-type]


def test_a_server_from_its_ready_line_to_its_summary(shown: Shown) -> None:
    out, err = shown(
        Listening(endpoint=Endpoint.parse("127.0.0.1:9999"), fileno=3),
        Serving(model="a thread for each client", reply="ack", exit_word="exit", reach="only this host"),
        Connected(peer=PEER, conn=1, clients=1, max_clients=1000),
        Received(peer=PEER, data=b"hello", conn=1),
        Sent(peer=PEER, data=b"received 5 bytes\n", conn=1),
        Connected(peer=PEER, conn=2, clients=2, max_clients=1000),
        Received(peer=PEER, data="你好".encode(), conn=1),
        Received(peer=PEER, data=b"exit\n", conn=2),
        closed(reason="exit"),
        closed(reason="eof", conn=1, bytes_in=11, bytes_out=34),
        Summary(ended_by="SIGINT", duration_us=14_000_000.0, clients=2, most_clients=2, bytes_in=16, bytes_out=51),
    )
    assert out == [
        "listening on 127.0.0.1:9999",
        "model: a thread for each client; reply: ack; exit word: exit; only this host",
        "#1 127.0.0.1:38146 connected (1 of 1000)",
        "#1 < hello",
        "#2 127.0.0.1:38146 connected (2 of 1000)",
        "#1 < 你好",
        r"#2 < exit\n",
        "#2 closed: exit after 1.20 s, in 5 B, out 17 B",
        "#1 closed: peer sent EOF after 1.20 s, in 11 B, out 34 B",
        "stopped by SIGINT after 14.0 s: 2 clients, 2 at once, in 16 B, out 51 B",
    ]
    assert all(len(line) <= WIDTH for line in out)
    assert err == []


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (Listening(endpoint=UDP, fileno=3), "listening on udp://127.0.0.1:4444"),
        (Listening(endpoint=SOCKET, fileno=3), "listening on unix:/tmp/s"),
        (Listening(endpoint=Endpoint(Transport.UNIX, path="/a\\b"), fileno=3), "listening on unix:/a\\b"),
        (
            Serving(model="m", reply="echo", exit_word=None, reach="only this host"),
            "model: m; reply: echo; only this host",
        ),
        (Serving(model="m", reply="r", exit_word="a\n\\", reach="x"), r"model: m; reply: r; exit word: a\n\\; x"),
        (Connected(peer=PEER, conn=1), "#1 127.0.0.1:38146 connected"),
        (Connected(peer=PEER, conn=2, waited_us=6.1e6), "#2 127.0.0.1:38146 connected (waited 6.10 s)"),
        (
            Connected(peer=None, conn=1, clients=1, max_clients=9, pid=42, uid=1000, gid=1000),
            "#1 unix client connected (1 of 9, pid 42, uid 1000)",
        ),
        (Connected(peer=PEER, local=UDP), "connected to 127.0.0.1:38146 from 127.0.0.1:4444"),
        (Waiting(endpoint=PEER, queued=1, backlog=5), "accept queue 1 of 5"),
        (Received(peer=UDP, data=b"hello"), "127.0.0.1:4444 < hello"),
        (Received(peer=UDP, data=b""), "127.0.0.1:4444 < (empty datagram)"),
        (Received(peer=None, data=b"x"), "unnamed < x"),
        (Received(peer=SOCKET, data=b"", conn=1), "#1 < (empty message)"),
        (
            Received(peer=UDP, data=b"a" * 65535, size=70_000),
            "127.0.0.1:4444 < " + "a" * 64 + "...(cut: 70,000 B, shown 65,535 B)",
        ),
        (Received(peer=PEER, data=b"a" * 5000, conn=1), "#1 < " + "a" * 64 + "...(5,000 B)"),
        (Received(peer=PEER, data=b"\x1b[2J\r\n#2 closed", conn=1), r"#1 < \x1b[2J\r\n#2 closed"),
        (FaultReport(fault="delay", effect="waits 300 ms", peer=PEER, conn=1), "#1 fault delay: waits 300 ms"),
        (FaultReport(fault="drop", effect="lost", peer=UDP), "127.0.0.1:4444 fault drop: lost"),
        (FaultReport(fault="no-accept", effect="full"), "fault no-accept: full"),
        (closed(reason="eof", conn=None), "closed: peer sent EOF after 1.20 s, out 17 B, in 5 B"),
        (
            Summary(ended_by="SIGTERM", duration_us=2e6, datagrams_in=1, datagrams_out=0, bytes_in=5, dropped=47),
            "stopped by SIGTERM after 2.00 s: 1 datagram in, 0 out, in 5 B, out 0 B, 47 dropped by the kernel",
        ),
        (
            Summary(ended_by="--once", duration_us=2e6, clients=1),
            "stopped by --once after 2.00 s: 1 client, in 0 B, out 0 B",
        ),
    ],
)
def test_one_record_one_line(shown: Shown, record: Record, line: str) -> None:
    assert shown(record) == ([line], [])


@pytest.mark.parametrize(("seed", "line"), [(None, "faults: delay=1s, stall"), (7, "faults: delay=1s, stall (seed 7)")])
def test_what_goes_wrong_on_purpose_has_a_line_of_its_own(shown: Shown, seed: int | None, line: str) -> None:
    out, _ = shown(Serving(model="m", reply="ack", exit_word=None, reach="x", faults=("delay=1s", "stall"), seed=seed))
    assert out == ["model: m; reply: ack; x", line]


def test_the_cpu_has_a_line_of_its_own_so_that_none_is_too_wide(shown: Shown) -> None:
    model, word = "a thread for each client", "exit"
    out, _ = shown(Serving(model=model, reply="ack", exit_word=word, reach="only this host", cpu=127))
    assert out == [
        "model: a thread for each client; reply: ack; exit word: exit; only this host",
        "cpu: 127, for all threads",
    ]
    assert all(len(line) <= WIDTH for line in out)


@pytest.mark.parametrize(
    ("reason", "name", "text"),
    [
        ("eof", None, "peer sent EOF"),
        ("reset", "ECONNRESET", "peer reset the connection (ECONNRESET)"),
        ("timeout", None, "idle time-out"),
        ("limit", None, "limit reached"),
        ("exit", None, "exit"),
        ("stopped", None, "stopped"),
        ("full", None, "server is full"),
        ("fault", None, "fault"),
        ("error", "EHOSTUNREACH", "error (EHOSTUNREACH)"),
    ],
)
def test_close_reasons(shown: Shown, reason: str, name: str | None, text: str) -> None:
    out, _ = shown(closed(reason=reason, errno_name=name))
    assert out == [f"#2 closed: {text} after 1.20 s, in 5 B, out 17 B"]


def test_a_peer_cannot_forge_a_line_by_its_unix_path(shown: Shown) -> None:
    path = "/tmp/a\n#1 < forged\x1b[2J"
    out, _ = shown(Received(peer=Endpoint(Transport.UNIX_DGRAM, path=path), data=b"x"))
    assert out == [r"unix-dgram:/tmp/a\n#1 < forged\x1b[2J < x"]


def test_a_character_over_two_chunks_is_shown_whole_on_its_own_connection(shown: Shown) -> None:
    out, _ = shown(
        Received(peer=PEER, data=b"\xe4\xb8", conn=1),
        Received(peer=PEER, data=b"\xad", conn=2),
        Received(peer=PEER, data=b"\xad!", conn=1),
        Received(peer=PEER, data=b"a\xe4", conn=1),
        closed(reason="eof", conn=1),
        Received(peer=PEER, data=b"\xb8\xad", conn=1),
    )
    assert out[:4] == ["#1 < (2 B, part of a character)", r"#2 < \xad", "#1 < 中!", "#1 < a"]
    assert out[4:] == [r"#1 < \xe4", "#1 closed: peer sent EOF after 1.20 s, in 5 B, out 17 B", r"#1 < \xb8\xad"]


def test_a_datagram_is_decoded_by_itself(shown: Shown) -> None:
    out, _ = shown(Received(peer=UDP, data=b"\xe4\xb8"), Received(peer=UDP, data=b"\xad"))
    assert out == [r"127.0.0.1:4444 < \xe4\xb8", r"127.0.0.1:4444 < \xad"]


@option(encoding="gbk")
def test_the_peers_encoding(shown: Shown) -> None:
    assert shown(Received(peer=PEER, data="你好".encode("gbk") + b"\xff!", conn=1))[0] == [r"#1 < 你好\xff!"]


@option(charset="ascii")
def test_what_the_locale_lacks_is_escaped(shown: Shown) -> None:
    assert shown(Received(peer=PEER, data="你é".encode(), conn=1))[0] == [r"#1 < \u4f60\u00e9"]


@option(verbose=True)
def test_verbose_shows_what_was_sent(shown: Shown) -> None:
    out, _ = shown(
        Sent(peer=PEER, data=b"received 5 bytes\n", conn=1),
        Sent(peer=PEER, data=b"x" * 100, conn=1, calls=3),
        Sent(peer=UDP, data=b"ok"),
    )
    assert out == [r"#1 > received 5 bytes\n", "#1 > " + "x" * 64 + "...(100 B) (3 calls)", "127.0.0.1:4444 > ok"]


@option(hexdump=True)
def test_hexdump_counts_on_in_each_connection(shown: Shown) -> None:
    out, _ = shown(
        Received(peer=PEER, data=b"hello\n", conn=1),
        Received(peer=PEER, data=b"\x1b", conn=1),
        Received(peer=UDP, data=b"u" * 17),
    )
    assert out == [
        "#1 < 6 B",
        "00000000  68 65 6c 6c 6f 0a                                 |hello.|",
        "#1 < 1 B",
        "00000006  1b                                                |.|",
        "127.0.0.1:4444 < 17 B",
        "00000000  75 75 75 75 75 75 75 75  75 75 75 75 75 75 75 75  |uuuuuuuuuuuuuuuu|",
        "00000010  75                                                |u|",
    ]


def test_hexdump_of_every_byte_fits_a_terminal() -> None:
    lines = hexdump(bytes(range(256)), 0xFFFFFF00)
    assert (len(lines), {len(line) for line in lines}) == (16, {78})
    assert lines[2] == "ffffff20  20 21 22 23 24 25 26 27  28 29 2a 2b 2c 2d 2e 2f  | !\"#$%&'()*+,-./|"
    assert hexdump(b"") == []


def test_warnings_go_to_stderr(shown: Shown) -> None:
    out, err = shown(WarningReport(message="out of descriptors\x1b"))
    assert (out, err) == ([], [r"netlab: warning: out of descriptors\x1b"])


@option(quiet=True)
def test_quiet_leaves_the_ready_line_and_errors(shown: Shown) -> None:
    out, err = shown(
        Listening(endpoint=PEER, fileno=3),
        Connected(peer=PEER, conn=1),
        WarningReport(message="w"),
        LocalError("adopt", "descriptor 3", "no socket"),
    )
    assert (out, err) == (["listening on 127.0.0.1:38146"], ["netlab: adopt descriptor 3: no socket"])


@option(payload_on_stdout=True)
def test_records_make_way_for_payload(shown: Shown) -> None:
    assert shown(Connected(peer=PEER, conn=1)) == ([], ["#1 127.0.0.1:38146 connected"])


@option(json=True, payload_on_stdout=True)
def test_json_has_all_records_and_the_error_on_stdout_in_order(shown: Shown) -> None:
    out, err = shown(
        Listening(endpoint=PEER, fileno=3),
        Sent(peer=PEER, data=b"x", conn=1),
        WarningReport(message="w"),
        ConnectError("connect", PEER, errno=errno.ECONNREFUSED, means="m"),
    )
    lines = [json.loads(line) for line in out]
    assert [line["event"] for line in lines] == ["listening", "sent", "warning", "error"]
    assert all(list(line)[:2] == ["event", "time"] for line in lines)
    message = "connect 127.0.0.1:38146: connection refused (ECONNREFUSED)"
    error = lines[3]
    assert (error["message"], error["status"], error["errno"]) == (message, 7, errno.ECONNREFUSED)
    assert (error["operation"], error["where"], error["errno_name"]) == ("connect", str(PEER), "ECONNREFUSED")
    assert err == [f"netlab: {message}", "  means  m"]


@option(json=True, charset="gbk")
def test_json_is_ascii_for_a_terminal_that_takes_no_utf8(shown: Shown) -> None:
    assert r'"text":"\u4f60"' in shown(Received(peer=PEER, data="你".encode(), conn=1))[0][0]


@option(color=True)
def test_colour_marks_directions_and_verdicts_and_nothing_else(shown: Shown) -> None:
    out, err = shown(Received(peer=PEER, data=b"<\x1b", conn=1), WarningReport(message="w"), TimedOut("receive"))
    assert out == ["#1 \x1b[32m<\x1b[0m <" + r"\x1b"]
    assert err == ["\x1b[35mnetlab: warning:\x1b[0m w", "\x1b[31mnetlab:\x1b[0m receive: failed"]


def test_colour_left_open_looks_at_each_stream() -> None:
    master, terminal = pty.openpty()
    reader, pipe = os.pipe()
    try:
        show = renderer(
            json=False,
            quiet=False,
            verbose=False,
            color=None,
            encoding="utf-8",
            stdout=Writer(terminal),
            stderr=Writer(pipe),
        )
        show(Received(peer=PEER, data=b"x", conn=1))
        show(WarningReport(message="w"))
        assert os.read(master, 1000) == b"#1 \x1b[32m<\x1b[0m x\r\n"
        show(FaultReport(fault="delay", effect="waits 1 s", peer=PEER, conn=1))
        assert os.read(master, 1000) == b"#1 \x1b[35mfault delay\x1b[0m: waits 1 s\r\n"
        assert os.read(reader, 1000) == b"netlab: warning: w\n"
    finally:
        for fd in (master, terminal, reader, pipe):
            os.close(fd)


@pytest.mark.parametrize(
    ("option", "env", "terminal", "wanted"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"CLICOLOR_FORCE": "1", "TERM": "dumb"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, False, False),
        ("auto", {"FORCE_COLOR": ""}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("always", {"NO_COLOR": "1", "TERM": "dumb"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_colour_is_decided_by_option_then_environment_then_terminal(
    option: str, env: Mapping[str, str], terminal: bool, wanted: bool
) -> None:
    assert want_color(option, env, terminal) is wanted


def test_an_error_says_facts_meaning_causes_and_what_to_try(shown: Shown) -> None:
    error = TimedOut(
        "receive",
        "127.0.0.1:9999",
        "no reply within 5 s",
        facts=("sent 4 B, peer sent 0 B in 5.00 s, still connected",),
        means="the peer's kernel acknowledged all 4 B; its program has not answered",
        likely=("it waits for the end of a line", "it is stuck " * 10),
        next_steps=(
            ("--eol lf, --eol crlf", "it may be waiting for the end of a line"),
            ("--until none", "if no answer is expected"),
            ("netlab probe 127.0.0.1:9999 --options --tcp-info", "what the kernel knows"),
        ),
    )
    out, err = shown(error)
    assert out == []
    assert err == [
        "netlab: receive 127.0.0.1:9999: no reply within 5 s",
        "  sent 4 B, peer sent 0 B in 5.00 s, still connected",
        "  means  the peer's kernel acknowledged all 4 B; its program has not answered",
        "  likely 1. it waits for the end of a line",
        "         2. it is stuck it is stuck it is stuck it is stuck it is stuck it is",
        "            stuck it is stuck it is stuck it is stuck it is stuck",
        "  try    --eol lf, --eol crlf   it may be waiting for the end of a line",
        "         --until none           if no answer is expected",
        "         netlab probe 127.0.0.1:9999 --options --tcp-info",
        "           what the kernel knows",
    ]


@pytest.mark.parametrize(
    ("error", "beginning"),
    [
        (ConnectError("connect", PEER, errno=errno.ECONNREFUSED), "the host is up; nothing listens"),
        (LocalError("bind", Endpoint.parse("127.0.0.1:80"), errno=errno.EADDRINUSE), ""),
        (LocalError("listen", Endpoint(Transport.TCP, "::1"), errno=errno.EADDRNOTAVAIL), ""),
        (NetlabError("receive", PEER, errno=errno.ECONNRESET), ""),
        (ResolveError("nonesuch.invalid", "name or service not known", gai_errno=-2), ""),
    ],
    ids=["connect", "bind", "listen-port-0", "receive", "resolve"],
)
def test_an_error_without_a_meaning_of_its_own_is_explained(shown: Shown, error: NetlabError, beginning: str) -> None:
    _, err = shown(error)
    labels = [line.split()[0] for line in err if line[2:3].strip()]
    assert labels == ["netlab:", "means", "likely", "try"]
    assert f"  means  {beginning}" in "\n".join(err)
    assert all(len(line) <= WIDTH for line in err)


@pytest.mark.parametrize(
    "error",
    [
        ConnectError("connect", PEER, errno=errno.ECONNREFUSED, means="own words"),
        OutputError("write", "standard output", errno=errno.ENOSPC),
        LocalError("adopt", "descriptor 3", errno=errno.ENOTSOCK),
        ResolveError("db", "no answer within 5 s"),
        NetlabError("receive", "no endpoint", errno=errno.ECONNRESET),
    ],
)
def test_nothing_is_explained_that_is_not_known(shown: Shown, error: NetlabError) -> None:
    _, err = shown(error)
    assert err == [f"netlab: {error}", *(["  means  own words"] if error.means else [])]


def test_a_closed_stdout_is_no_error_to_tell_of(shown: Shown) -> None:
    assert shown(StdoutClosed()) == ([], [])


@option(json=True)
def test_an_error_that_cannot_be_told_is_not_raised(shown: Shown) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        show = renderer(
            json=True,
            quiet=False,
            verbose=False,
            color=False,
            encoding="utf-8",
            stdout=Writer(full),
            stderr=Writer(full),
        )
        show.error(TimedOut("receive", PEER, "no reply"))
        with pytest.raises(OutputError):
            show(Listening(endpoint=PEER, fileno=3))
    finally:
        os.close(full)


def test_dropped_lines_are_a_line_of_json_under_json() -> None:
    reader, fd = os.pipe()
    try:
        stdout = Writer(fd, drop_after=0.01)
        show = renderer(
            json=True, quiet=False, verbose=False, color=False, encoding="utf-8", stdout=stdout, stderr=Writer(2)
        )
        while not stdout.dropped:
            show(Received(peer=PEER, data=b"x" * 1000, conn=1))
        os.set_blocking(reader, False)
        os.read(reader, 1_000_000)
        show.close()
        note = json.loads(os.read(reader, 1000))
    finally:
        os.close(reader)
        os.close(fd)
    assert (note["event"], note["message"]) == ("warning", "1 log line dropped: standard output was not read")


def test_an_unknown_encoding_is_refused_before_anything_is_shown() -> None:
    with pytest.raises(ValueError, match="no encoding 'nonesuch'"):
        renderer(
            json=False,
            quiet=False,
            verbose=False,
            color=False,
            encoding="nonesuch",
            stdout=Writer(1),
            stderr=Writer(2),
        )


def test_many_threads_may_show_at_once(shown: Shown) -> None:
    def talk(conn: int) -> None:
        for byte in "中".encode() * 20:
            shown.render(Received(peer=PEER, data=bytes([byte]), conn=conn))

    threads = [threading.Thread(target=talk, args=(conn,)) for conn in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out, _ = shown()
    for conn in range(8):
        mine = [line for line in out if line.startswith(f"#{conn} ")]
        part = f"#{conn} < (1 B, part of a character)"
        assert mine == [part, part, f"#{conn} < 中"] * 20


ASCII = st.text(st.characters(codec="ascii"), max_size=70).map(str.encode)


@given(st.lists(st.binary(max_size=70) | ASCII, max_size=5))
@example([b"x" * 64, b"x" * 63 + b"\n", b"x" * 62 + b"\n", b"x" * 65, b"x" * 64 + b"\xe4", b"\xb8\xad", b"\\", b"\n"])
def test_plain_chunks_are_shown_as_all_others_are(chunks: list[bytes]) -> None:
    quick, slow = View(), View()
    for number, chunk in enumerate(chunks):
        record = Received(peer=PEER, conn=1 + number % 2, data=chunk)
        plain = quick.plain_line(record)
        shown = [plain.decode().removesuffix("\n")] if plain is not None else LINES[Received](quick, record)
        assert shown == LINES[Received](slow, record)


def test_plain_chunks_are_shown_quickly() -> None:
    view = View()
    LINES[Received](view, Received(peer=PEER, conn=1, data=b"first"))
    assert view.plain_line(Received(peer=PEER, conn=1, data=b"hello\n")) == b"#1 < hello\\n\n"
    assert view.plain_line(Received(peer=PEER, conn=1, data=b"x" * 5000)) == b"#1 < " + b"x" * 64 + b"...(5,000 B)\n"
    assert view.plain_line(Received(peer=PEER, conn=2, data=b"hello")) is None  # what it is like is not known yet
