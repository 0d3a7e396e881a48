"""The page that probe prints: what stands where, on which stream, how wide, and in which colour."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from netlab.endpoint import Endpoint
from netlab.records import Option, Probe, TcpInfo
from netlab.render.layout import headline, steps
from netlab.render.probe_text import ADVICE, PROBE_LINES
from netlab.render.socket_text import option_lines, tcp_info_lines
from netlab.render.text import View
from netlab.reports import Diagnosis, ProbeSummary, Survey
from tests import peers
from tests.programs import Netlab

PLAIN, COLOURED = View(), View(color=True)
TARGET = Endpoint.parse("two.test:9999")
HERE = Endpoint.parse("127.0.0.1:9999")


def diagnosis(*attempts: Probe, **more: object) -> Diagnosis:
    best = next((probe for probe in attempts if probe.verdict == "open"), attempts[0])
    summary = ProbeSummary(target=best.target, attempts=len(attempts), verdicts={}, duration_us=391.0, status=0)
    return Diagnosis(target=best.target, attempts=attempts, best=best, summary=summary, **more)  # type: ignore[arg-type]


OPEN = Probe(
    target=HERE,
    endpoint=HERE,
    verdict="open",
    errno=0,
    duration_us=212.0,
    handshake_us=212.0,
    rtt_us=27,
    syn_retransmits=0,
    local=Endpoint.parse("127.0.0.1:56998"),
    peer=HERE,
    fileno=5,
    blocking=False,
    timeout=0.0,
    evidence="connect_ex 0: the handshake completed, so a program listens here",
)
REFUSED = Probe(
    target=HERE, endpoint=HERE, verdict="refused", errno=111, errno_name="ECONNREFUSED", duration_us=48.0, evidence="no"
)


def test_an_open_port_is_the_model_page() -> None:
    found = diagnosis(OPEN, next_steps=(("netlab chat 127.0.0.1:9999", "talk to it"),))
    assert PROBE_LINES[Diagnosis](PLAIN, found) == [
        "open         127.0.0.1:9999                                           0.212 ms",
        "             connect_ex 0: the handshake completed, so a program listens here",
        "times        connect 0.212 ms here, 0.027 ms in the kernel (rtt); no SYN resent",
        "local        127.0.0.1:56998     getsockname()",
        "peer         127.0.0.1:9999      getpeername()",
        "socket       fileno 5, non-blocking, gettimeout() 0.0",
        "next         netlab chat 127.0.0.1:9999   talk to it",
    ]
    assert ADVICE[Diagnosis](PLAIN, found) == []


def test_two_addresses_are_a_line_each_below_the_best() -> None:
    six = replace(REFUSED, target=TARGET, endpoint=Endpoint.parse("[::1]:9999"))
    four = replace(OPEN, target=TARGET, duration_us=201.0, resolve_us=142.0)
    lines = PROBE_LINES[Diagnosis](PLAIN, diagnosis(six, four, note="IPv6 is refused."))
    assert lines[:4] == [
        "open         two.test:9999            1 of 2 addresses open           0.391 ms",
        "  refused    [::1]:9999               connect_ex 111 ECONNREFUSED     0.048 ms",
        "  open       127.0.0.1:9999           connect_ex 0                    0.201 ms",
        "times        name resolved in 0.142 ms; connect 0.212 ms here, 0.027 ms in the",
    ]
    assert "note         IPv6 is refused." in lines


def test_one_address_of_a_name_is_told() -> None:
    lines = PROBE_LINES[Diagnosis](PLAIN, diagnosis(replace(OPEN, target=TARGET)))
    assert lines[0] == "open         two.test:9999            127.0.0.1                       0.212 ms"


def test_waiting_is_one_line() -> None:
    probe = replace(OPEN, target=TARGET, history="refused x14 -> open", waited_us=4.2e6, duration_us=312.0)
    assert PROBE_LINES[Diagnosis](PLAIN, diagnosis(probe)) == [
        "open         two.test:9999  127.0.0.1   after 4.2 s: refused x14 -> open  0.312 ms"
    ]
    assert PROBE_LINES[Probe](PLAIN, replace(probe, target=HERE)) == [
        "open         127.0.0.1:9999   after 4.2 s: refused x14 -> open        0.312 ms"
    ]


def test_of_many_each_is_a_line() -> None:
    ssh = replace(OPEN, target=Endpoint.parse("10.0.0.1:22"), service="ssh", duration_us=310.0)
    assert PROBE_LINES[Probe](PLAIN, ssh) == ["open         10.0.0.1:22                0.310 ms  ssh"]
    assert PROBE_LINES[Probe](PLAIN, REFUSED)[0].endswith("0.048 ms  connect_ex 111 ECONNREFUSED")


def test_a_summary_counts() -> None:
    counts = {"open": 3, "refused": 1022, "timeout": 1023}
    summary = ProbeSummary(attempts=2048, verdicts=counts, duration_us=9.1e6, status=1)
    assert PROBE_LINES[Survey](PLAIN, Survey(summary=summary)) == [
        "2,048 attempts in 9.10 s: 3 open, 1,022 refused, 1,023 timeout"
    ]
    cut_short = replace(summary, not_tried=7, ended_by="--deadline")
    assert PROBE_LINES[Survey](PLAIN, Survey(summary=cut_short))[0].endswith("7 not tried (--deadline)")


def test_only_the_verdict_is_coloured() -> None:
    (line, *_) = PROBE_LINES[Diagnosis](COLOURED, diagnosis(OPEN))
    assert line.startswith("\x1b[32mopen\x1b[0m         127.0.0.1:9999 ")
    plain = re.sub(r"\x1b\[\d+m", "", line)
    assert plain == "open         127.0.0.1:9999                                           0.212 ms"
    assert len(re.findall(r"\x1b\[\d+m", line)) == 2
    for verdict, color in [("refused", "31"), ("timeout", "35"), ("no-answer", "35"), ("error", "31")]:
        assert PROBE_LINES[Probe](COLOURED, replace(REFUSED, verdict=verdict))[0].startswith(f"\x1b[{color}m{verdict}")


def test_a_long_place_pushes_the_figure_out_and_loses_nothing() -> None:
    line = headline(PLAIN, "missing", "unix:" + "x" * 90, "0.017 ms")
    assert line == f"missing      unix:{'x' * 90}  0.017 ms"


def test_steps_stand_beside_their_reasons_where_there_is_room() -> None:
    lines = steps("next", [("short", "why"), ("l" * 70, "a long one")])
    assert lines == ["next         short   why", f"{'':13}{'l' * 70}", f"{'':13}  a long one"]


def test_a_peers_names_are_made_safe() -> None:
    path = Endpoint.parse("unix:/tmp/\x1b[2Jx")
    probe = replace(OPEN, target=path, endpoint=path, peer=path, local=None, rtt_us=None, syn_retransmits=None)
    text = "\n".join(PROBE_LINES[Diagnosis](PLAIN, diagnosis(probe)))
    assert "\x1b" not in text
    assert r"unix:/tmp/\x1b[2Jx" in text
    assert "local        unnamed             getsockname()" in text


def test_options_line_up() -> None:
    rows = [
        Option(level="SOL_SOCKET", name="SO_TYPE", value=1, shown="SOCK_STREAM", meaning="a", is_default=True),
        Option(level="SOL_SOCKET", name="SO_SNDBUF", value=1, shown="3,939,840 B", meaning="b", is_default=False),
        Option(level="IPPROTO_IP", name="IP_LOCAL_PORT_RANGE_X", value=1, shown="32768-60999", meaning="c"),
    ]
    assert option_lines(rows, everything=True) == [
        "options             value      * = as a new socket has it",
        " SOL_SOCKET",
        "  SO_TYPE         SOCK_STREAM *  a",
        "  SO_SNDBUF       3,939,840 B    b",
        " IPPROTO_IP",
        "  IP_LOCAL_PORT_RANGE_X 32768-60999",
        "                                 c",
    ]
    assert option_lines(rows, everything=False)[-1].strip() == "all of them: --all-options"


def test_tcp_info_counts_the_syn_and_keeps_fields_whole() -> None:
    fields = {"state": 1, "rtt": 27, "bytes_acked": 6, "unheard_of": 4} | dict.fromkeys(("reordering", "reord_seen"), 7)
    info = TcpInfo(state=1, state_name="ESTABLISHED", fields=fields, shown={"rtt": "27 us", "bytes_acked": "6 B"})
    short = tcp_info_lines(info, everything=False)
    assert short == [
        "tcp_info     ESTABLISHED (1)",
        "  rtt 27 us",
        "  bytes_acked 6 B (5 + SYN)",
        "                                 all fields: --tcp-info",
    ]
    assert "  unheard_of 4" in tcp_info_lines(info, everything=True)


def assert_page(text: str) -> None:
    """Every page: plain ASCII, no line over 80 columns, no blank at a line's end."""
    assert text.isascii()
    for line in text.splitlines():
        assert len(line) <= 80, line
        assert line == line.rstrip()


def test_failures_go_to_stderr_and_facts_to_stdout(netlab: Netlab) -> None:
    with peers.refusing_port() as peer:
        done = netlab("probe", peer.endpoint)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert_page(out + err)
    assert out.startswith(f"refused      {peer.endpoint} ")
    assert len(out.splitlines()[0]) == 78
    assert [line.split()[0] for line in err.splitlines() if not line.startswith(" ")] == ["means", "likely", "next"]
    assert "likely       1. " in err


@pytest.mark.parametrize("args", [["--options"], ["--all-options"], ["--tcp-info"], ["--set", "SO_RCVBUF=4096"]])
def test_pages_of_one_socket_fit(netlab_here: Netlab, args: list[str]) -> None:
    with peers.mute_server() as peer:
        done = netlab_here("probe", peer.endpoint, *args)
    assert done.returncode == 0
    assert_page(done.stdout.decode())
    if args[0] == "--set":
        assert "set          SO_RCVBUF 8,192 B (asked 4,096 B)" in done.stdout.decode()


@pytest.mark.parametrize(
    "args", [[], ["-u"], ["-6"], ["--type", "seqpacket"], ["--type", "dgram"], ["-U", "PATH"], ["-u", "-6"]]
)
def test_loopback_needs_no_server_and_shows_both_ends(netlab_here: Netlab, tmp_path: Path, args: list[str]) -> None:
    if "-6" in args and not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    done = netlab_here("probe", "--loopback", *(str(tmp_path / "s") if arg == "PATH" else arg for arg in args))
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode()
    lines = text.splitlines()
    assert lines[0].startswith("open ")
    assert "netlab's own" in lines[0]
    assert 'sent 5 B "hello", received 17 B "received 5 bytes\\n" in ' in text
    assert re.search(r"^             client  +server$", text, re.MULTILINE)
    assert re.search(r"^local  .*getsockname\(\)$", text, re.MULTILINE)
    assert re.search(r"^peer  .*getpeername\(\)$", text, re.MULTILINE)
    assert re.search(r"^socket       fileno \d+  +fileno \d+$", text, re.MULTILINE)
    assert "             non-blocking, gettimeout() 0.0  blocking, gettimeout() None" in lines
    assert "  SO_TYPE " in text
    is_tcp = args in ([], ["-6"])
    assert ("tcp_info     ESTABLISHED (1)" in text) == is_tcp
    assert ("bytes_acked 6 B (5 + SYN), bytes_received 17 B" in text) == is_tcp
    six = " -6" if "-6" in args else ""
    assert re.search(rf"^next         netlab probe --loopback.*{six} --diagram", text, re.MULTILINE)
    assert_page(text.replace(str(tmp_path), "/tmp"))
    assert not (tmp_path / "s").exists()


def test_loopback_names_pair_up_in_json(netlab: Netlab) -> None:
    done = netlab("probe", "--loopback", "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    probe, server, sent, reply = lines[:4]
    assert (probe["local"], probe["peer"]) == (server["peer"], server["local"])
    assert (sent["text"], reply["text"]) == ("hello", "received 5 bytes\n")
    assert {line["event"] for line in lines[4:]} == {"option", "tcp_info", "summary"}
    assert lines[-1]["status"] == 0


def test_an_own_ip_header_is_shown(netlab: Netlab) -> None:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except PermissionError:
        pytest.skip("raw sockets need CAP_NET_RAW")
    text = netlab("probe", "icmp:127.0.0.1", "--header-included").stdout.decode()
    assert_page(text)
    assert "header       version 4, header length 20 B, TOS 0x00, total length 84 B" in text
    assert "             127.0.0.1 -> 127.0.0.1" in text
    assert re.search(r"^             45 00 00 54( [0-9a-f]{2}){16}$", text, re.MULTILINE)
