"""What people type who know other tools, and netlab's answer."""

from __future__ import annotations

import pytest

from netlab.cli.habits import as_one_word
from tests.programs import Netlab


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("probe -zv localhost 80", "netlab probe HOST:PORT"),
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


def test_an_option_that_is_nearly_right_gets_clicks_own_suggestion(netlab_here: Netlab) -> None:
    assert b"'--timeout'" in netlab_here("send", "--timout", "1").stderr
    assert b"Did you mean 'probe'?" in netlab_here("prob").stderr
