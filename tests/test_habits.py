"""What people type who know other tools, and netlab's answer."""

from __future__ import annotations

import re

import pytest

from netlab.cli.habits import as_one_word
from tests.programs import Netlab
from tests.screen import Screen


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("probe -zv localhost 80", "To see whether a port is open: netlab probe localhost:80"),
        ("probe -n 10.0.0.1:80", "numeric hosts need no option"),
        ("probe -t :80", "TCP is what netlab speaks"),
        ("probe -Pn :80", "pings nobody"),
        ("serve-tcp -lk 9999", "serve- commands listen without it"),
        ("serve-tcp -k", "--once ends after one client"),
        ("serve-tcp -e /bin/sh", "runs no programs"),
        ("serve-tcp -c id", "runs no programs"),
        ("serve-tcp --keep-open", "keep serving"),
        ("serve-tcp --max-conns 3", "--max-clients"),
        ("send --listen :9", "chat --listen"),
        ("send --ssl example.com:443", "openssl s_client"),
        ("send --recv-only :9", "netlab send HOST:PORT ''"),
        ("send --send-only :9 x", "--until none"),
        ("chat -T 0x10 :9", "--set IP_TOS="),
    ],
)
def test_options_of_other_tools_get_netlabs_way(netlab_here: Netlab, line: str, says: str) -> None:
    done = netlab_here(*line.split())
    assert (done.returncode, done.stdout) == (2, b"")
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("Error: No such option '-")
    assert says in last


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("send localhost 8080 hello", "'localhost' has no port. Did you mean localhost:8080?"),
        ("probe -v example.com 443", "'example.com' has no port. Did you mean example.com:443?"),
        ("probe [::1] 443", "Did you mean [::1]:443?"),
        ("chat 127.0.0.1 23", "Host and port are one word: 127.0.0.1:23"),
        ("serve-tcp 0.0.0.0 23", "Host and port are one word: 0.0.0.0:23"),
        ("serve-tcp :1 :2", "Got unexpected extra argument (:2)"),
        ("send db hello", "'db' has no port. Did you mean db:5432?"),
    ],
)
def test_host_and_port_apart_are_put_together(netlab_here: Netlab, line: str, says: str) -> None:
    done = netlab_here(*line.split())
    assert done.returncode == 2
    assert says in done.stderr.decode().splitlines()[-1]


@pytest.mark.parametrize(
    ("words", "one"),
    [
        (["localhost", "80"], "localhost:80"),
        (["-v", "db-1.example", "5432", "x"], "db-1.example:5432"),
        (["[::1]", "80"], "[::1]:80"),
        (["localhost:80", "80"], ""),
        (["--timeout", "80"], ""),
        (["80", "81"], ""),
        (["unix:/tmp/s", "1"], ""),
        ([], ""),
    ],
)
def test_what_is_a_host_and_a_port(words: list[str], one: str) -> None:
    assert as_one_word(words) == one


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("porbe", "Did you mean netlab probe?"),
        ("sned 9999 hello", "Did you mean netlab send?"),
        ("serve 9999", "The servers are netlab serve-tcp"),
        ("probe localhost 80 -z", "netlab probe localhost:80"),
        ("prob", "Did you mean netlab probe?"),
        ("serve_tcp", "Did you mean netlab serve-tcp?"),
        ("xyzzy", "No such command 'xyzzy'."),
        ("nc -lk 80", "The servers are netlab serve-tcp"),
        ("ncat -zv db 80", "netlab probe db:80"),
        ("netcat db 80", "netlab chat db:80, or netlab send db:80 MESSAGE"),
        ("telnet db 80", "netlab chat db:80, or netlab send db:80 MESSAGE"),
        ("unix:/tmp/s", "netlab probe unix:/tmp/s?"),
        ("localhost 80", "Did you mean netlab chat localhost:80 or netlab probe localhost:80?"),
        ("--versoin", "Did you mean --version?"),
        ("--json send", "as in netlab probe --json HOST:PORT"),
        ("-v localhost 80", "as in netlab probe -v localhost:80"),
        ("-l 80", "netlab chat --listen takes one peer."),
        ("probe --prot 80", "Did you mean --port?"),
        ("send --timout 1", "Did you mean --timeout?"),
        ("send --josn", "Did you mean --json?"),
        ("probe --hea", "Did you mean --header-included?"),
        ("probe --xyzzy", "No such option '--xyzzy'."),
    ],
)
def test_what_is_nearly_right_gets_a_suggestion(netlab_here: Netlab, line: str, says: str) -> None:
    done = netlab_here(*line.split())
    assert done.returncode == 2
    last = done.stderr.decode().splitlines()[-1]
    assert says in last
    assert last.count("Did you mean") <= 1


@pytest.mark.parametrize(
    ("line", "variables", "named"),
    [
        ("probe", {"PROBE_TIMEOUT": "never"}, ["PROBE_TIMEOUT"]),
        ("probe", {"PROBE_PORT": "99999", "PROBE_TIMEOUT": "1"}, ["PROBE_PORT"]),
        ("probe", {"PROBE_HOST": "a b"}, ["PROBE_HOST"]),
        ("probe", {"PROBE_IPV4": "1", "PROBE_IPV6": "1"}, ["PROBE_IPV4", "PROBE_IPV6"]),
        ("probe -6", {"PROBE_IPV4": "1"}, ["PROBE_IPV4"]),
        ("probe db", {"PROBE_TIMEOUT": "1"}, []),
        ("probe", {"PROBE_FILE": "/nonexistent"}, ["PROBE_FILE"]),
        ("send :9 x", {"SEND_SOURCE": "::::"}, ["SEND_SOURCE"]),
        ("send :9", {"SEND_FILE": "/nonexistent"}, ["SEND_FILE"]),
        ("serve-tcp", {"SERVE_TCP_FAULT": "boom"}, ["SERVE_TCP_FAULT"]),
        ("serve-tcp :0", {"SERVE_TCP_READY_FD": "777"}, ["SERVE_TCP_READY_FD"]),
    ],
)
def test_an_error_names_the_variable_that_it_is_about(
    netlab_here: Netlab, monkeypatch: pytest.MonkeyPatch, line: str, variables: dict[str, str], named: list[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"NETLAB_{name}", value)
    done = netlab_here(*line.split())
    assert done.returncode == 2
    assert re.findall(r"NETLAB_(\w+)", done.stderr.decode()) == named


def test_a_long_error_breaks_between_words_on_a_terminal_alone(netlab_here: Netlab) -> None:
    words = ("serve-tcp", "--fault", "dleay=3")
    with Screen(*words) as screen:
        assert screen.wait() == 2
        assert "(did you mean\ndelay?); choose from delay" in screen.text
    assert b"(did you mean delay?); choose from delay" in netlab_here(*words).stderr


def test_an_argument_is_no_option_to_suggest(netlab_here: Netlab) -> None:
    assert netlab_here("chat", "--target", ":9").stderr.endswith(b"No such option '--target'.\n")
