"""Explanations: every errno in words, and the errnos that real sockets give."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from netlab.endpoint import Endpoint, Transport, from_sockaddr
from netlab.explain import (
    VERDICT_STATUS,
    Explanation,
    explain_bind,
    explain_connect,
    explain_icmp,
    explain_rejected,
    explain_resolve,
    explain_self_connect,
    explain_stream,
    explain_timeout,
    gai_name,
    verdict_of_connect,
)
from netlab.explain.connecting import CONNECT
from netlab.explain.icmp import CAUSES, REJECTED
from netlab.explain.place import in_shell
from netlab.explain.resolving import RESOLVE
from netlab.explain.sockets import BIND, STREAM
from netlab.explain.steps import STEPS
from tests.peers import refusing_port, refusing_udp, silent_listener

ENDPOINTS = [
    Endpoint.parse(text)
    for text in (
        "127.0.0.1:9998",
        "[::1]:9998",
        "localhost:80",
        "db.example.org:5432",
        "192.0.2.1:80",
        "[2001:db8::1]:443",
        "[fe80::1%eth0]:22",
        "udp://127.0.0.1:514",
        "udp://[2001:db8::1]:53",
        "udp://log.example.org:514",
        "icmp:127.0.0.1",
        "icmp:[::1]",
        "icmp:db.example.org",
        "unix:/run/my app/s.sock",
        "unix:s.sock",
        "unix:-s",
        "unix:@lab",
        "unix-dgram:/run/log",
        "unix-dgram:@lab",
        "unix-seqpacket:/run/q",
    )
]
INET = [endpoint for endpoint in ENDPOINTS if not endpoint.transport.is_unix]
UNIX = [endpoint for endpoint in ENDPOINTS if endpoint.transport.is_unix]
PSEUDO = {"open", "self", "timeout"}

# The table "connect: errno -> meaning -> causes", with what the meaning must say.
CONNECT_CASES = [
    ("127.0.0.1:9998", "ECONNREFUSED", "nothing listens"),
    ("udp://127.0.0.1:9", "ECONNREFUSED", "port unreachable"),
    ("unix:/run/s", "ECONNREFUSED", "socket file"),
    ("unix:@lab", "ECONNREFUSED", "abstract"),
    ("192.0.2.1:80", "ETIMEDOUT", "vanish"),
    ("192.0.2.1:80", "EAGAIN", "vanish"),
    ("192.0.2.1:80", "EINPROGRESS", "vanish"),
    ("192.0.2.1:80", "EALREADY", "vanish"),
    ("unix:/run/s", "EAGAIN", "backlog"),
    ("unix-dgram:/run/s", "EAGAIN", "receive queue"),
    ("192.0.2.1:80", "EHOSTUNREACH", "no way to the host"),
    ("192.0.2.1:80", "EHOSTDOWN", "no way to the host"),
    ("192.0.2.1:80", "ENETUNREACH", "default route"),
    ("192.0.2.1:80", "EACCES", "prohibit route"),
    ("udp://192.0.2.255:9", "EACCES", "SO_BROADCAST"),
    ("icmp:192.0.2.1", "EACCES", "ping_group_range"),
    ("unix:/run/s", "EACCES", "mode"),
    ("udp://192.0.2.1:9", "EPERM", "OUTPUT"),
    ("icmp:192.0.2.1", "EPERM", "CAP_NET_RAW"),
    ("unix-dgram:/run/s", "EPERM", "connected to another"),
    ("192.0.2.1:80", "EINVAL", "blackhole"),
    ("192.0.2.1:80", "EADDRNOTAVAIL", "TIME_WAIT"),
    ("unix:/run/s", "ENOENT", "no file"),
    ("unix:/run/s", "ENOTDIR", "is a file"),
    ("unix:/run/s", "EPROTOTYPE", "another type"),
    ("unix:/run/s", "ENAMETOOLONG", "107"),
    ("192.0.2.1:80", "EMFILE", "RLIMIT_NOFILE"),
    ("192.0.2.1:80", "ENFILE", "fs.file-max"),
    ("192.0.2.1:80", "ENOBUFS", "buffer space"),
    ("192.0.2.1:80", "ENOMEM", "memory"),
    ("[2001:db8::1]:80", "EAFNOSUPPORT", "address family"),
    ("192.0.2.1:80", "ESOCKTNOSUPPORT", "seqpacket"),
    ("192.0.2.1:80", "EPROTONOSUPPORT", "seqpacket"),
    ("192.0.2.1:80", "EISCONN", "connected already"),
    ("192.0.2.1:80", "ENOTCONN", "not connected"),
    ("192.0.2.1:80", "ECONNRESET", "reset before"),
    ("udp://192.0.2.1:9", "EMSGSIZE", "65,507"),
    ("192.0.2.1:80", "ENOPROTOOPT", "protocol unreachable"),
]
BIND_CASES = [
    ("127.0.0.1:9999", "EADDRINUSE", "another socket"),
    ("udp://127.0.0.1:9999", "EADDRINUSE", "another socket"),
    ("unix:/run/s", "EADDRINUSE", "exists"),
    ("unix:@lab", "EADDRINUSE", "abstract name"),
    ("127.0.0.1:80", "EACCES", "CAP_NET_BIND_SERVICE"),
    ("unix:/run/s", "EACCES", "directory"),
    ("192.0.2.1:80", "EADDRNOTAVAIL", "not one of this host"),
    ("unix:/run/s", "ENOENT", "directory"),
    ("unix:/run/s", "ENOTDIR", "is a file"),
    ("unix:/run/s", "EROFS", "read-only"),
    ("127.0.0.1:80", "EPERM", "capability"),
    ("[fe80::1]:80", "EINVAL", "interface"),
    ("127.0.0.1:80", "EMFILE", "RLIMIT_NOFILE"),
]
STREAM_CASES = [
    ("127.0.0.1:9999", "ECONNRESET", "reset"),
    ("127.0.0.1:9999", "EPIPE", "closed or reset"),
    ("127.0.0.1:9999", "ETIMEDOUT", "keepalive"),
    ("127.0.0.1:9999", "EHOSTUNREACH", "during the conversation"),
    ("127.0.0.1:9999", "EAGAIN", "does not read"),
    ("udp://127.0.0.1:9999", "EMSGSIZE", "65,527"),
    ("unix-dgram:/run/s", "EMSGSIZE", "SO_SNDBUF"),
    ("udp://127.0.0.1:9999", "ENOBUFS", "buffer space"),
    ("udp://127.0.0.1:9999", "EDESTADDRREQ", "target"),
    ("127.0.0.1:9999", "ENOTCONN", "not connected"),
    ("udp://127.0.0.1:9999", "ECONNREFUSED", "port unreachable"),
]


def everything(told: Explanation) -> str:
    return " ".join((told.what, told.means, *told.likely, *(part for step in told.next_steps for part in step)))


def commands(told: Explanation) -> list[str]:
    return [command for command, _ in told.next_steps]


def all_told(endpoint: Endpoint) -> Iterator[Explanation]:
    """Every explanation that the endpoint can have, and that of an errno which no table knows."""
    names = {key.split()[1] for key in (*CONNECT, *BIND, *STREAM)} - PSEUDO
    for number in (*(getattr(errno, name) for name in names), errno.EXDEV):
        for explain in (explain_connect, explain_bind, explain_stream):
            yield explain(number, endpoint)
    yield from (explain_timeout(endpoint), explain_self_connect(endpoint))


@pytest.mark.parametrize(("text", "name", "said"), CONNECT_CASES)
def test_connect(text: str, name: str, said: str) -> None:
    assert said in everything(explain_connect(getattr(errno, name), Endpoint.parse(text)))


@pytest.mark.parametrize(("text", "name", "said"), BIND_CASES)
def test_bind(text: str, name: str, said: str) -> None:
    assert said in everything(explain_bind(getattr(errno, name), Endpoint.parse(text)))


@pytest.mark.parametrize(("text", "name", "said"), STREAM_CASES)
def test_stream(text: str, name: str, said: str) -> None:
    assert said in everything(explain_stream(getattr(errno, name), Endpoint.parse(text)))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
def test_every_explanation_is_whole(endpoint: Endpoint) -> None:
    for told in all_told(endpoint):
        assert told.what
        assert told.means
        assert told.likely
        assert told.next_steps
        assert all(told.likely)
        assert everything(told).isascii()
        assert "{" not in everything(told)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
def test_commands_are_one_line_of_shell(endpoint: Endpoint) -> None:
    for told in all_told(endpoint):
        for command, why in told.next_steps:
            assert why
            assert "\n" not in command
            assert shlex.split(command.removeprefix("on the server: "))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=str)
def test_netlab_commands_name_the_endpoint(endpoint: Endpoint) -> None:
    found = [command for told in all_told(endpoint) for command in commands(told) if command.startswith("netlab ")]
    assert found
    for command in found:
        words = shlex.split(command)
        assert words[1] in {"probe", "chat", "send", "serve-threaded", "serve-udp"}
        if words[1] in {"chat", "send"} or "--wait" in words or "--trace" in words:
            assert words[2] == str(endpoint)
        elif words[1] == "probe" and not endpoint.transport.is_unix and "," not in words[2]:
            assert Endpoint.parse(words[2]).port in {endpoint.port, 0}
        elif words[1].startswith("serve") and endpoint.transport.is_unix:
            assert words[2] in {str(endpoint), f"{endpoint.transport}:$XDG_RUNTIME_DIR/netlab.sock"}


def test_suggested_endpoints_parse() -> None:
    for endpoint in ENDPOINTS:
        for told in all_told(endpoint):
            for command in commands(told):
                words = shlex.split(command)
                if words[:2] == ["netlab", "probe"] and "," not in words[2]:
                    assert str(Endpoint.parse(words[2])) == words[2]


@pytest.mark.parametrize("table", [CONNECT, BIND, STREAM], ids=["connect", "bind", "stream"])
def test_keys_are_errnos_and_steps_exist(table: dict[str, tuple[str, str, str, str]]) -> None:
    kinds = {*Transport, *(f"{transport}-local" for transport in Transport), "inet", "abstract", "any"}
    for key, (_, _, _, steps) in table.items():
        kind, name = key.split()
        assert kind in kinds
        assert name in PSEUDO or hasattr(errno, name), name
        assert set(steps.split()) <= STEPS.keys()


def test_every_step_is_used_and_can_be_filled_in() -> None:
    rows = [*CONNECT.values(), *BIND.values(), *STREAM.values(), *RESOLVE.values(), *REJECTED.values()]
    used = {step for row in rows for step in row[3].split()} | {"manual", "trace"}
    assert used == STEPS.keys()


@pytest.mark.parametrize(("family", "kind", "code"), CAUSES)
def test_every_cause_of_an_icmp_error_can_be_filled_in(family: Literal[4, 6], kind: int, code: int) -> None:
    assert f"{CAUSES[family, kind, code]} router" in REJECTED
    for text in ("192.0.2.1:80", "udp://[2001:db8::1]:80", "icmp:192.0.2.1", "udp://[fe80::1%eth0]:80"):
        endpoint = Endpoint.parse(text)
        for sender in ("", "198.51.100.1", "192.0.2.1", "fe80::1", "192.0.2.9"):
            told = explain_rejected(
                errno.EHOSTUNREACH, endpoint, family=family, kind=kind, code=code, sender=sender, local="192.0.2.9"
            )
            assert told.means
            assert told.likely
            assert told.next_steps
            assert not any("{" in part for part in (*told.likely, *sum(told.next_steps, ())))


@pytest.mark.parametrize(
    ("sender", "cause", "step"),
    [
        ("198.51.100.1", "filter on 198.51.100.1", "tracepath -n 192.0.2.1"),
        ("", "filter on a router", "tracepath -n 192.0.2.1"),
        ("192.0.2.1", "a firewall on the host itself", "on the server: nft list ruleset"),
        ("192.0.2.9", "a firewall rule of this host", "nft list ruleset"),
    ],
)
def test_who_sent_an_icmp_error_decides_what_to_try(sender: str, cause: str, step: str) -> None:
    for text in ("tcp://192.0.2.1:80", "udp://192.0.2.1:80"):
        told = explain_rejected(
            errno.EHOSTUNREACH, Endpoint.parse(text), family=4, kind=3, code=13, sender=sender, local="192.0.2.9"
        )
        assert cause in told.likely[0]
        assert step in commands(told)


def test_a_refusal_is_the_hosts_own_only_if_the_host_says_so() -> None:
    def told(text: str, sender: str) -> Explanation:
        where = Endpoint.parse(text)
        return explain_rejected(errno.ECONNREFUSED, where, family=4, kind=3, code=3, sender=sender, local="192.0.2.9")

    asked = Endpoint.parse("udp://192.0.2.1:7")
    assert told("udp://192.0.2.1:7", "192.0.2.1") == explain_connect(errno.ECONNREFUSED, asked)
    assert told("udp://192.0.2.1:7", "198.51.100.1").means.startswith("a firewall rejects")
    assert told("192.0.2.1:7", "192.0.2.1").means.startswith("a firewall rejects")
    assert told("127.0.0.1:7", "127.0.0.1").likely == ("a firewall rule of this host rejects it on purpose",)
    unknown = explain_rejected(errno.EPROTO, Endpoint.parse("192.0.2.1:7"), family=4, kind=12, code=1)
    assert unknown.means == "the IP header lacks an option"


def test_lines_fit() -> None:
    """Most sentences fit the 66 columns beside a label; none needs more than two lines."""
    for row in (*CONNECT.values(), *BIND.values(), *STREAM.values(), *RESOLVE.values(), *REJECTED.values()):
        assert len(row[0]) <= 72
        assert len(row[1]) <= 72
        assert all(len(cause) <= 100 for cause in row[2].split("; "))


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("127.0.0.1:9998", "netlab serve-threaded -p 9998"),
        ("[::1]:9998", "netlab serve-threaded -H ::1 -p 9998"),
        ("localhost:9998", "netlab serve-threaded -H localhost -p 9998"),
        ("0.0.0.0:9998", "netlab serve-threaded -p 9998"),
        ("udp://127.0.0.1:9998", "netlab serve-udp -p 9998"),
    ],
)
def test_refused_on_this_host_says_first_how_to_start_a_server(text: str, server: str) -> None:
    assert commands(explain_connect(errno.ECONNREFUSED, Endpoint.parse(text)))[0] == server


def test_refused_on_loopback_asks_the_other_family() -> None:
    assert "netlab probe '[::1]:9998'" in commands(explain_connect(errno.ECONNREFUSED, ENDPOINTS[0]))
    assert "netlab probe 127.0.0.1:9998" in commands(explain_connect(errno.ECONNREFUSED, ENDPOINTS[1]))


def test_refused_far_away_is_looked_at_on_the_server() -> None:
    found = commands(explain_connect(errno.ECONNREFUSED, Endpoint.parse("db:5432")))
    assert found[0] == "on the server: ss -ltn 'sport = :5432'"
    assert not any("serve-" in command for command in found)


def test_address_in_use_says_who_has_it_and_how_to_get_a_free_one() -> None:
    tcp = commands(explain_bind(errno.EADDRINUSE, Endpoint.parse("127.0.0.1:9999")))
    assert "ss -ltnp 'sport = :9999'" in tcp
    assert "netlab serve-threaded -p 0" in tcp
    assert "ss -lunp 'sport = :9999'" in commands(
        explain_bind(errno.EADDRINUSE, Endpoint.parse("udp://127.0.0.1:9999"))
    )
    assert "ss -lxp src '*s.sock'" in commands(explain_bind(errno.EADDRINUSE, Endpoint.parse("unix:/run/s.sock")))


def test_low_port_says_which_port_is_free_to_all() -> None:
    assert "netlab serve-threaded -p 8080" in commands(explain_bind(errno.EACCES, Endpoint.parse("127.0.0.1:80")))
    assert not any("-p 9080" in word for word in commands(explain_bind(errno.EACCES, Endpoint.parse("127.0.0.1:1080"))))


def test_time_out_here_is_about_the_queue_and_far_away_about_the_way() -> None:
    here, there = (explain_timeout(Endpoint.parse(text)) for text in ("127.0.0.1:80", "192.0.2.1:80"))
    assert "accept queue" in here.likely[0]
    assert commands(there)[:3] == [
        "netlab probe icmp:192.0.2.1",
        "netlab probe 192.0.2.1:22,80,443",
        "ip route get 192.0.2.1",
    ]


@pytest.mark.parametrize("text", ["udp://192.0.2.1:514", "icmp:192.0.2.1"])
def test_silence_is_undecidable(text: str) -> None:
    assert "undecidable" in explain_timeout(Endpoint.parse(text)).means


def test_route_to_a_scoped_address_names_the_interface() -> None:
    told = explain_connect(errno.EHOSTUNREACH, Endpoint.parse("[fe80::1%eth0]:22"))
    assert "ip route get fe80::1 oif eth0" in commands(told)


def test_unknown_errno_is_said_to_be_unknown() -> None:
    assert "EXDEV" in explain_connect(errno.EXDEV, ENDPOINTS[0]).what
    assert "no explanation" in explain_stream(4095, ENDPOINTS[0]).means


# What real sockets say.


def connect(address: object, family: socket.AddressFamily, kind: socket.SocketKind) -> int:
    with socket.socket(family, kind) as sock:
        sock.settimeout(5)
        return sock.connect_ex(address)  # type: ignore[arg-type]


def connect_unix(path: str | Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    return connect(str(path), socket.AF_UNIX, kind)


@contextlib.contextmanager
def unix_socket(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, kind) as sock:
        sock.bind(str(path))
        yield sock


def told_of(code: int, endpoint: Endpoint) -> tuple[str, str]:
    return verdict_of_connect(code, endpoint.transport), explain_connect(code, endpoint).what


def test_refusing_port() -> None:
    with refusing_port() as peer:
        code = connect((peer.host, peer.port), socket.AF_INET, socket.SOCK_STREAM)
        told = told_of(code, Endpoint.parse(peer.endpoint))
    assert told == ("refused", "the host answered RST (or a firewall did for it)")


def test_closed_udp_port() -> None:
    with refusing_udp() as peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect((peer.host, peer.port))
        sock.send(b"x")
        with pytest.raises(ConnectionRefusedError) as caught:
            sock.recv(1)
        assert caught.value.errno is not None
        told = told_of(caught.value.errno, Endpoint.parse(peer.endpoint))
    assert told == ("closed", "ICMP port unreachable came back")


def test_stale_path(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with unix_socket(path) as listener:
        listener.listen()
    told = told_of(connect_unix(path), Endpoint.parse(f"unix:{path}"))
    assert told == ("refused", "the path is there, but nothing listens behind it")


def test_path_of_a_regular_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("no socket")
    told = explain_connect(connect_unix(path), Endpoint.parse(f"unix:{path}"))
    assert any("regular file" in cause for cause in told.likely)


def test_abstract_name_without_server() -> None:
    code = connect(b"\0netlab-test-nobody", socket.AF_UNIX, socket.SOCK_STREAM)
    told = told_of(code, Endpoint.parse("unix:@netlab-test-nobody"))
    assert told == ("refused", "no socket that listens has this abstract name")


def test_missing_path(tmp_path: Path) -> None:
    path = tmp_path / "nobody"
    assert told_of(connect_unix(path), Endpoint.parse(f"unix:{path}")) == ("missing", "no file has this path")


def test_file_in_place_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "s"
    verdict, what = told_of(connect_unix(path), Endpoint.parse(f"unix:{path}"))
    assert verdict == "missing"
    assert "where a directory should be" in what


def test_wrong_type(tmp_path: Path) -> None:
    path = tmp_path / "d"
    with unix_socket(path, socket.SOCK_DGRAM):
        code = connect_unix(path)
    endpoint = Endpoint.parse(f"unix:{path}")
    assert told_of(code, endpoint) == ("error", "a socket is there, but of another type")
    assert f"netlab probe unix-dgram:{path}" in commands(explain_connect(code, endpoint))


def test_full_backlog(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with silent_listener(path), socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        code = sock.connect_ex(path)
    told = told_of(code, Endpoint.parse(f"unix:{path}"))
    assert told == ("busy", "the backlog is full: clients wait, and nobody accepts them")


def test_datagram_socket_of_another(tmp_path: Path) -> None:
    path, other = tmp_path / "d", tmp_path / "other"
    with unix_socket(path, socket.SOCK_DGRAM) as server, unix_socket(other, socket.SOCK_DGRAM):
        server.connect(str(other))
        code = connect_unix(path, socket.SOCK_DGRAM)
    verdict, what = told_of(code, Endpoint.parse(f"unix-dgram:{path}"))
    assert verdict == "denied"
    assert "connected to another" in what


def test_address_in_use() -> None:
    with refusing_port() as peer, socket.socket() as sock, pytest.raises(OSError, match="in use") as caught:
        sock.bind((peer.host, peer.port))
    assert caught.value.errno is not None
    told = explain_bind(caught.value.errno, Endpoint.parse(peer.endpoint))
    assert told.what == "another socket has this address and port"
    assert f"ss -ltnp 'sport = :{peer.port}'" in commands(told)


def test_address_of_another_host() -> None:
    with socket.socket() as sock, pytest.raises(OSError, match="assign") as caught:
        sock.bind(("192.0.2.77", 0))
    assert caught.value.errno is not None
    told = explain_bind(caught.value.errno, Endpoint.parse("192.0.2.77:9999"))
    assert told.what == "the address is not one of this host"


def test_datagram_over_the_limit() -> None:
    with refusing_udp() as peer, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        with pytest.raises(OSError, match="too long") as caught:
            sock.sendto(bytes(65_508), (peer.host, peer.port))
        assert caught.value.errno is not None
        assert "65,507 B" in explain_stream(caught.value.errno, Endpoint.parse(peer.endpoint)).means


@contextlib.contextmanager
def without_root() -> Iterator[None]:
    """Root passes every mode, so be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except OSError as exc:
        pytest.skip(f"root cannot become another user here: {exc}")
    try:
        yield
    finally:
        os.seteuid(0)


def test_no_right_to_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with unix_socket(path) as listener:
        listener.listen()
        path.chmod(0)
        with without_root():
            code = connect_unix(path)
    verdict, what = told_of(code, Endpoint.parse(f"unix:{path}"))
    assert verdict == "denied"
    assert what.startswith("no right to write to the socket")


def test_listener_is_found_by_the_suggested_command(tmp_path: Path) -> None:
    """ss takes no blanks in a path, and shows it as the server gave it: the pattern must find it all the same."""
    if shutil.which("ss") is None:
        pytest.skip("ss is not installed (apt install iproute2)")
    path = tmp_path / "my {s}.sock"
    with unix_socket(path) as listener:
        listener.listen()
        command = commands(explain_connect(errno.ECONNREFUSED, Endpoint.parse(f"unix:{path}")))[1]
        shown = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True, timeout=10).stdout
    assert command.startswith("ss -lx src ")
    assert str(path) in shown


def test_what_a_peer_names_itself_is_escaped() -> None:
    peer = from_sockaddr(Transport.UNIX_DGRAM, "/tmp/\x1b[2J'")
    assert peer is not None
    assert all(command.isprintable() for told in all_told(peer) for command in commands(told))


@pytest.mark.parametrize("text", ["/tmp/\x1b[2J", "it's\n\\new", "caf\xe9\t"])
def test_what_does_not_print_reaches_bash_unchanged(text: str) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = f"printf %s {in_shell(text)}"
    assert script.isprintable()
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, timeout=10)
    assert done.stdout == os.fsencode(text)


# Verdicts


@pytest.mark.parametrize(
    ("name", "transport", "verdict"),
    [
        ("ECONNREFUSED", "tcp", "refused"),
        ("ECONNREFUSED", "unix", "refused"),
        ("ECONNREFUSED", "udp", "closed"),
        ("ECONNREFUSED", "icmp", "closed"),
        ("EHOSTUNREACH", "tcp", "unreachable"),
        ("ENETUNREACH", "udp", "unreachable"),
        ("EINVAL", "tcp", "unreachable"),
        ("EINVAL", "unix", "error"),
        ("EACCES", "unix", "denied"),
        ("EPERM", "udp", "denied"),
        ("ENOENT", "unix-seqpacket", "missing"),
        ("ENOTDIR", "unix", "missing"),
        ("ETIMEDOUT", "tcp", "timeout"),
        ("EAGAIN", "tcp", "timeout"),
        ("EINPROGRESS", "tcp", "timeout"),
        ("EAGAIN", "udp", "no-answer"),
        ("ETIMEDOUT", "icmp", "no-answer"),
        ("EAGAIN", "unix-dgram", "busy"),
        ("EADDRNOTAVAIL", "tcp", "error"),
        ("EMFILE", "tcp", "error"),
        ("EPROTOTYPE", "unix", "error"),
        ("EXDEV", "tcp", "error"),
    ],
)
def test_verdict(name: str, transport: str, verdict: str) -> None:
    assert verdict_of_connect(getattr(errno, name), transport) == verdict


@pytest.mark.parametrize("transport", Transport)
def test_zero_is_open_and_every_verdict_has_a_status(transport: Transport) -> None:
    assert verdict_of_connect(0, transport) == "open"
    assert {verdict_of_connect(number, transport) for number in range(200)} <= VERDICT_STATUS.keys()


def test_statuses() -> None:
    by_status: dict[int, set[str]] = {}
    for verdict, status in VERDICT_STATUS.items():
        by_status.setdefault(status, set()).add(verdict)
    assert by_status == {
        0: {"open"},
        6: {"unresolved"},
        7: {"refused", "closed", "unreachable", "denied", "missing"},
        28: {"timeout", "no-answer", "busy"},
        45: {"error"},
    }


# Names


def test_gai_names_are_those_of_this_system() -> None:
    for name in ("EAI_NONAME", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA", "EAI_ADDRFAMILY", "EAI_SERVICE", "EAI_MEMORY"):
        if hasattr(socket, name) and socket.EAI_NONAME < 0:
            assert gai_name(getattr(socket, name)) == name
    assert gai_name(4095) == "EAI_4095"


@pytest.mark.parametrize("number", range(-13, 1))
def test_every_resolver_error_is_explained(number: int) -> None:
    told = explain_resolve(number, "db")
    assert told.what
    assert told.means
    assert told.likely
    assert told.next_steps
    assert everything(told).isascii()


def test_address_of_the_other_family() -> None:
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo("127.0.0.1", 80, socket.AF_INET6)
    assert caught.value.errno is not None
    assert "-4 or -6 asks for the other" in explain_resolve(caught.value.errno, "127.0.0.1").means


def test_lookups_name_the_host() -> None:
    for number in (-2, -3, -5, -9):
        assert any("db.example.org" in command for command in commands(explain_resolve(number, "db.example.org")))


# ICMP


@pytest.mark.parametrize(
    ("family", "type_", "code", "name"),
    [
        (4, 3, 0, "network unreachable"),
        (4, 3, 1, "host unreachable"),
        (4, 3, 3, "port unreachable"),
        (4, 3, 4, "fragmentation needed"),
        (4, 3, 10, "host prohibited"),
        (4, 3, 13, "administratively prohibited"),
        (4, 3, 15, "precedence cutoff"),
        (4, 3, 16, "destination unreachable, code 16"),
        (4, 5, 1, "redirect for host"),
        (4, 11, 0, "TTL exceeded in transit"),
        (4, 11, 9, "time exceeded, code 9"),
        (4, 77, 0, "type 77"),
        (4, 77, 5, "type 77, code 5"),
        (6, 1, 0, "no route to destination"),
        (6, 1, 3, "address unreachable"),
        (6, 1, 4, "port unreachable"),
        (6, 1, 6, "reject route"),
        (6, 2, 0, "packet too big"),
        (6, 3, 0, "hop limit exceeded in transit"),
        (6, 3, 3, "time exceeded, code 3"),
        (6, 11, 0, "type 11"),
    ],
)
def test_icmp(family: Literal[4, 6], type_: int, code: int, name: str) -> None:
    found, meaning = explain_icmp(family, type_, code)
    assert found == name
    assert meaning


@pytest.mark.parametrize(("family", "type_", "codes"), [(4, 3, 16), (6, 1, 9)])
def test_unreachable_codes_are_all_told_apart(family: Literal[4, 6], type_: int, codes: int) -> None:
    assert len({explain_icmp(family, type_, code)[0] for code in range(codes)}) == codes
    assert "unknown" in explain_icmp(family, type_, codes)[1]
