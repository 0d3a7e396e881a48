"""The endpoint grammar: one canonical text for each endpoint, one clear line for each mistake."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.endpoint import Endpoint, EndpointError, Transport, from_sockaddr, parse_ports, parse_targets

LINUX = sys.platform.startswith("linux")

labels = st.from_regex(r"[a-z0-9_][a-z0-9_-]{0,20}", fullmatch=True)
names = st.one_of(
    st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: name.strip("0123456789.") != ""),
    st.sampled_from([*Transport, "UNIX", "db", "example.com.", "Bücher.example", "例え.jp"]),
)
scopes = st.one_of(st.just(""), st.from_regex(r"%[A-Za-z0-9_.-]{1,15}", fullmatch=True))
ipv6 = st.tuples(
    st.ip_addresses(v=6).map(lambda ip: socket.inet_ntop(socket.AF_INET6, ip.packed)),
    scopes,
).map("".join)
hosts = st.one_of(names, st.ip_addresses(v=4).map(str), ipv6)
paths = st.one_of(
    st.binary(min_size=1, max_size=103).filter(lambda raw: b"\0" not in raw and raw != b"@").map(os.fsdecode),
    st.from_regex(r"(//|@|/|\./@|@//)[a-z:/]{1,50}", fullmatch=True),
)
endpoints = st.one_of(
    st.builds(Endpoint, st.sampled_from([Transport.TCP, Transport.UDP]), hosts, st.integers(0, 65535)),
    st.builds(Endpoint, st.just(Transport.ICMP), hosts),
    st.builds(Endpoint, st.sampled_from([kind for kind in Transport if kind.is_unix]), path=paths),
)


def refusal(text: str, *, transport: Transport = Transport.TCP, listening: bool = False) -> str:
    with pytest.raises(EndpointError) as caught:
        Endpoint.parse(text, transport=transport, listening=listening)
    return str(caught.value)


@given(endpoints)
def test_canonical_text_reads_back(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint), listening=True) == endpoint


@given(endpoints, st.sampled_from([Transport.TCP, Transport.UDP]))
def test_canonical_text_of_all_but_tcp_ignores_the_default(endpoint: Endpoint, default: Transport) -> None:
    read = Endpoint.parse(str(endpoint), transport=default, listening=True)
    plain_tcp = endpoint.transport is Transport.TCP and "://" not in str(endpoint)
    assert read.transport is (default if plain_tcp else endpoint.transport)


@given(st.text())
def test_any_text_is_an_endpoint_or_one_safe_line(text: str) -> None:
    message = ""
    try:
        endpoint = Endpoint.parse(text, listening=True)
    except EndpointError as error:
        message = str(error)
    else:
        assert Endpoint.parse(str(endpoint), listening=True) == endpoint
    assert message.isprintable()
    assert len(message) < 800


@given(st.text(alphabet="0189afx.:[]%-,/@*ucdpnitm\u202e\x1b ", max_size=24))
def test_texts_that_are_nearly_endpoints(text: str) -> None:
    message = ""
    try:
        targets = list(islice(parse_targets(text, ports=(1, 2)), 3))
    except EndpointError as error:
        message = str(error)
    else:
        assert targets
        assert all(Endpoint.parse(str(target)) == target for target in targets)
    assert message.isprintable()


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("localhost:80", "localhost:80"),
        ("127.0.0.1:0080", "127.0.0.1:80"),
        (":9999", "127.0.0.1:9999"),
        ("9999", "127.0.0.1:9999"),
        ("[::1]:80", "[::1]:80"),
        ("[FE80:0:0::1%eth0]:80", "[fe80::1%eth0]:80"),
        ("[::ffff:7f00:1]:80", "[::ffff:127.0.0.1]:80"),
        ("tcp://127.0.0.1:80", "127.0.0.1:80"),
        ("tcp:127.0.0.1:80", "127.0.0.1:80"),
        ("UDP://127.0.0.1:53", "udp://127.0.0.1:53"),
        ("udp::53", "udp://127.0.0.1:53"),
        ("udp:53", "udp://127.0.0.1:53"),
        ("unix:/tmp/s", "unix:/tmp/s"),
        ("unix:///tmp/s", "unix:/tmp/s"),
        ("unix://tmp/s", "unix:tmp/s"),
        ("unix:@name", "unix:@name"),
        ("unix://@name", "unix:@name"),
        ("unix:/a:1", "unix:/a:1"),
        ("unix-dgram:/p", "unix-dgram:/p"),
        ("unix-seqpacket://@x", "unix-seqpacket:@x"),
        ("icmp:127.0.0.1", "icmp:127.0.0.1"),
        ("icmp:::1", "icmp:[::1]"),
        ("icmp:[::1]", "icmp:[::1]"),
        ("icmp://fe80::1%2", "icmp:[fe80::1%2]"),
        ("tcp://unix:80", "tcp://unix:80"),
        ("Bücher.example:80", "Bücher.example:80"),
        ("my_db-1.internal.:80", "my_db-1.internal.:80"),
    ],
)
def test_spellings(text: str, canonical: str) -> None:
    assert str(Endpoint.parse(text)) == canonical


def test_transport_is_what_a_text_without_a_word_means() -> None:
    assert Endpoint.parse(":53", transport=Transport.UDP) == Endpoint(Transport.UDP, "127.0.0.1", 53)
    assert Endpoint.parse("tcp://db:1", transport=Transport.UDP).transport is Transport.TCP
    assert Endpoint.parse("::1", transport=Transport.ICMP) == Endpoint(Transport.ICMP, "::1")
    assert Endpoint.parse("a://b", transport=Transport.UNIX_DGRAM) == Endpoint(Transport.UNIX_DGRAM, path="a://b")


def test_loopback_is_the_host_of_a_port_alone() -> None:
    assert str(Endpoint.parse(":80", loopback="::1")) == "[::1]:80"
    assert str(Endpoint.parse("80", loopback="::1")) == "[::1]:80"


def test_services() -> None:
    try:
        http, ssh, tftp = (socket.getservbyname(*of) for of in [("http", "tcp"), ("ssh", "tcp"), ("tftp", "udp")])
    except OSError:
        pytest.skip("/etc/services is not installed, or lacks http, ssh or tftp")
    assert Endpoint.parse(":http").port == http
    assert Endpoint.parse("localhost:ssh").port == ssh
    assert Endpoint.parse("udp://:tftp").port == tftp
    assert refusal(":tftp").startswith("'tftp' is no tcp port")
    assert parse_ports("http,ssh") == (http, ssh)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an endpoint is missing: write HOST:PORT, such as 127.0.0.1:9999, or unix:PATH"),
        (":", "':' has no port; write :PORT, such as :9999"),
        ("db", "'db' has no port. Did you mean db:5432?"),
        ("db:", "'db:' has no port. Did you mean db:5432?"),
        ("db2.example.com", "'db2.example.com' has no port. Did you mean db2.example.com:5432?"),
        ("tcp://db", "'tcp://db' has no port. Did you mean tcp://db:5432?"),
        ("thing", "'thing' has no port. Did you mean thing:9999?"),
        ("10.0.0.1", "'10.0.0.1' has no port. Did you mean 10.0.0.1:9999?"),
        ("[::1]", "'[::1]' has no port. Did you mean [::1]:9999?"),
        ("::1", "'::1' has no port; IPv6 addresses have brackets. Did you mean [::1]:9999?"),
        ("::1:80", "'::1:80' has no port; IPv6 addresses have brackets. Did you mean [::1]:80 or [::1:80]:9999?"),
        ("udp:FE80::a", "'udp:FE80::a' has no port; IPv6 addresses have brackets. Did you mean udp:[FE80::a]:9999?"),
        ("[::1", "'[::1' is no endpoint; an IPv6 address is written as [::1]:9999"),
        ("[::1]80", "'[::1]80' is no endpoint; an IPv6 address is written as [::1]:9999"),
        ("[db]:80", "'[db]' has no IPv6 address between its brackets; other hosts have no brackets"),
        ("[::1%a b]:80", "'[::1%a b]' has no IPv6 address between its brackets; other hosts have no brackets"),
        ("a:b:c", "'a:b:c' has too many colons; write HOST:PORT, or [::1]:9999 for IPv6"),
        (":0", "port 0 cannot be connected to; a client needs 1 to 65535"),
        (":65536", "port 65536 is out of range; ports are 1 to 65535"),
        (":-1", "port -1 is out of range; ports are 1 to 65535"),
        (":" + "9" * 5000, "port 99999999999999999999 is out of range; ports are 1 to 65535"),
        (":http2x", "'http2x' is no tcp port; write a number from 1 to 65535 or a name in /etc/services"),
        (":8_0", "'8_0' is no tcp port; write a number from 1 to 65535 or a name in /etc/services"),
        (":٨٠", "'٨٠' is no tcp port; write a number from 1 to 65535 or a name in /etc/services"),
        ("db:80,443", "'80,443' is a list of ports; only probe takes one, here stands one port"),
        ("80-90", "'80-90' is a list of ports; only probe takes one, here stands one port"),
        ("256.1.1.1:80", "'256.1.1.1' is no IPv4 address, which has four numbers from 0 to 255, such as 127.0.0.1"),
        ("127.1:80", "'127.1' is no IPv4 address, which has four numbers from 0 to 255, such as 127.0.0.1"),
        ("１.1.1.1:80", "'１.1.1.1' is no IPv4 address, which has four numbers from 0 to 255, such as 127.0.0.1"),
        ("a b:1", "the host 'a b' has white space in it; a host has none"),
        (" db:1", "the host ' db' has white space in it; a host has none"),
        ("a\u202eb:1", "the host 'a\\u202eb' has a character that does not print; a host has none"),
        ("a\x1b[1m:1", "the host 'a\\x1b[1m' has a character that does not print; a host has none"),
        ("a\ud800:1", "the host 'a\\ud800' has a character that does not print; a host has none"),
        ("*:80", "'*' is no host; all addresses are 0.0.0.0 for IPv4 and [::] for IPv6"),
        ("/tmp/s", "'/tmp/s' is no host, which has no '/' and no '@'. Did you mean unix:/tmp/s?"),
        ("@name", "'@name' is no host, which has no '/' and no '@'. Did you mean unix:@name?"),
        ("me@db:22", "'me@db' is no host, which has no '/' and no '@'. Did you mean db?"),
        (
            "localhost\uff1a80",
            "'localhost\uff1a80' has a full-width colon (U+FF1A); write HOST:PORT with the ASCII one",
        ),
        ("http://db:81/x?y", "netlab speaks TCP, not 'http'. Did you mean db:81?"),
        ("https://me:secret@db/x", "netlab speaks TCP, not 'https'. Did you mean db:443?"),
        ("wss://[::1]/", "netlab speaks TCP, not 'wss'. Did you mean [::1]:443?"),
        ("http://", "netlab speaks TCP, not 'http'; write HOST:PORT, such as 127.0.0.1:9999"),
        ("\x1b://a b", "netlab speaks TCP, not '\\x1b'; write HOST:PORT, such as 127.0.0.1:9999"),
        ("unix:", "the unix path is empty; write unix:PATH, or unix:@NAME for an abstract name"),
        ("unix:@", "the unix path is empty; write unix:PATH, or unix:@NAME for an abstract name"),
        ("unix:a\0b", "the unix path 'a\\x00b' has a NUL in it, which ends a path"),
        ("unix:\ud800", "the unix path '\\ud800' cannot be encoded for the file system"),
        ("icmp:", "the host is empty; write a name or an address, such as 127.0.0.1"),
        ("icmp:db:1", "'db:1' is no host; ICMP has no ports, write icmp:HOST, such as icmp:127.0.0.1"),
    ],
)
def test_refusals(text: str, message: str) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize("host", ["a..b", "-x", "x" * 64, "a,b", "a\\b", "é" * 60, "."])
def test_names_that_no_resolver_could_find(host: str) -> None:
    assert "the host" in refusal(f"{host}:80")


def test_a_name_ends_at_253_characters() -> None:
    longest = ".".join(["x" * 49] * 5) + ".abc"
    assert len(longest) == 253
    assert Endpoint.parse(f"{longest}:80").host == longest
    assert "has 254 characters; 253 is the most" in refusal(f"{longest}d:80")


@pytest.mark.skipif(not LINUX, reason="other kernels have a shorter sun_path")
def test_the_longest_unix_paths_are_the_kernels(tmp_path: Path) -> None:
    front = f"{tmp_path}/"
    if len(front) > 100:
        pytest.skip(f"the temporary directory's path is too long: {tmp_path}")
    for path in (front + "x" * (107 - len(front)), "@netlab-" + "x" * 100):
        endpoint = Endpoint.parse(f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(endpoint.to_sockaddr())
            assert from_sockaddr(Transport.UNIX, sock.getsockname()) == endpoint
        assert "has 108 bytes; 107 is the most (sun_path, unix(7))" in refusal(f"unix:{path}x")


def test_port_0_is_for_listening() -> None:
    assert Endpoint.parse(":0", listening=True).port == 0
    assert "out of range" in refusal(":65536", listening=True)


def test_default_port_is_for_a_host_alone() -> None:
    assert str(Endpoint.parse("10.0.0.1", default_port=0)) == "10.0.0.1:0"
    assert str(Endpoint.parse("::1", default_port=5)) == "[::1]:5"
    assert str(Endpoint.parse("[::1]", default_port=5)) == "[::1]:5"
    assert str(Endpoint.parse("db:80", default_port=5)) == "db:80"


def test_of_takes_host_and_port_apart() -> None:
    assert Endpoint.of("::1", 9999) == Endpoint.of("[::1]", "9999") == Endpoint(Transport.TCP, "::1", 9999)
    assert Endpoint.of("db", 0, listening=True).port == 0
    assert Endpoint.of("::1", transport=Transport.ICMP) == Endpoint(Transport.ICMP, "::1")
    assert Endpoint.of("localhost", 53, transport=Transport.UDP) == Endpoint(Transport.UDP, "localhost", 53)


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("db:80", 80, "'db:80' is no host; a host is written without a port"),
        ("", 80, "the host is empty; write a name or an address, such as 127.0.0.1"),
        ("db", 0, "port 0 cannot be connected to; a client needs 1 to 65535"),
        ("db", "80,81", "'80,81' is a list of ports; only probe takes one, here stands one port"),
        ("http://db", 80, "'http://db' is no host; a host is written without a port"),
    ],
)
def test_of_refuses_what_parse_refuses(host: str, port: int | str, message: str) -> None:
    with pytest.raises(EndpointError) as caught:
        Endpoint.of(host, port)
    assert str(caught.value) == message


def test_of_has_no_unix() -> None:
    with pytest.raises(EndpointError, match="unix has a path"):
        Endpoint.of("db", 80, transport=Transport.UNIX)


def test_targets_with_port_lists() -> None:
    def shown(text: str, ports: tuple[int, ...] | None = None) -> list[str]:
        return [str(target) for target in parse_targets(text, ports=ports)]

    assert shown("db:80,443,80,8000-8002,8001") == ["db:80", "db:443", "db:8000", "db:8001", "db:8002"]
    assert shown(":80,81") == shown("80-81") == ["127.0.0.1:80", "127.0.0.1:81"]
    assert shown("udp://[::1]:5-6") == ["udp://[::1]:5", "udp://[::1]:6"]
    assert shown("db", (1, 2)) == ["db:1", "db:2"]
    assert shown("::1", (1,)) == shown("[::1]", (1,)) == ["[::1]:1"]
    assert shown("db:80", (1, 2)) == ["db:80"]
    assert shown("unix:/a,b", (1, 2)) == ["unix:/a,b"]
    assert shown("icmp:db", (1, 2)) == ["icmp:db"]


def test_targets_are_checked_at_once_and_made_one_by_one() -> None:
    targets = parse_targets("db:1-65535")
    assert next(targets).port == 1
    assert sum(1 for _ in targets) == 65534
    for text in ("db", "db:1,", "db:0", "db:9-8"):
        with pytest.raises(EndpointError):
            parse_targets(text)


@given(st.lists(st.tuples(st.integers(1, 65535), st.integers(0, 50)), min_size=1, max_size=8))
def test_port_lists_hold_each_port_once(spans: list[tuple[int, int]]) -> None:
    ranges = [range(first, min(first + more, 65535) + 1) for first, more in spans]
    text = ",".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in ranges)
    ports = parse_ports(text)
    assert set(ports) == {port for r in ranges for port in r}
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the port list '' has an empty item; write it like 80,443,8000-8010"),
        ("80,,81", "the port list '80,,81' has an empty item; write it like 80,443,8000-8010"),
        ("80-", "the port range '80-' lacks an end; write it like 8000-8010"),
        ("-1", "the port range '-1' lacks a start; write it like 8000-8010"),
        ("90-80", "the port range '90-80' is reversed. Did you mean 80-90?"),
        ("0-5", "port 0 cannot be connected to; a client needs 1 to 65535"),
        ("1-70000", "port 70000 is out of range; ports are 1 to 65535"),
        ("80, 81", "' 81' is no tcp port; write a number from 1 to 65535 or a name in /etc/services"),
    ],
)
def test_port_lists_refuse(text: str, message: str) -> None:
    with pytest.raises(EndpointError) as caught:
        parse_ports(text)
    assert str(caught.value) == message


def test_what_a_transport_is() -> None:
    def those(attribute: str) -> set[str]:
        return {str(kind) for kind in Transport if getattr(kind, attribute)}

    assert those("is_unix") == {"unix", "unix-dgram", "unix-seqpacket"}
    assert those("is_stream") == {"tcp", "unix"}
    assert those("is_datagram") == {"udp", "unix-dgram"}
    assert those("has_connections") == {"tcp", "unix", "unix-seqpacket"}


@pytest.mark.parametrize(
    ("text", "ipv6", "numeric", "loopback"),
    [
        ("127.0.0.1:1", False, True, True),
        ("127.9.9.9:1", False, True, True),
        ("0.0.0.0:1", False, True, False),
        ("[::1]:1", True, True, True),
        ("[::1%lo]:1", True, True, True),
        ("[::ffff:127.0.0.1]:1", True, True, True),
        ("[::]:1", True, True, False),
        ("LocalHost:1", False, False, True),
        ("a.localhost.:1", False, False, True),
        ("localhost.example:1", False, False, False),
        ("127.example:1", False, False, False),
        ("unix:/s", False, False, True),
    ],
)
def test_what_a_host_is(text: str, ipv6: bool, numeric: bool, loopback: bool) -> None:
    endpoint = Endpoint.parse(text)
    assert (endpoint.is_ipv6, endpoint.is_numeric, endpoint.is_loopback) == (ipv6, numeric, loopback)


@given(ip=st.one_of(st.ip_addresses(v=4).map(str), ipv6.filter(lambda ip: "%" not in ip)), port=st.integers(0, 65535))
def test_sockaddr_and_back(ip: str, port: int) -> None:
    endpoint = Endpoint(Transport.UDP, ip, port)
    back = from_sockaddr(Transport.UDP, endpoint.to_sockaddr())
    mapped = ip.startswith("::ffff:") and "." in ip
    assert back == Endpoint(Transport.UDP, ip.removeprefix("::ffff:") if mapped else ip, port)


def test_sockaddrs_of_real_sockets(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = from_sockaddr(Transport.TCP, server.getsockname())
        assert endpoint is not None
        with socket.create_connection(server.getsockname()) as client:
            assert from_sockaddr(Transport.TCP, client.getpeername()) == endpoint
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        assert from_sockaddr(Transport.UNIX_DGRAM, sock.getsockname()) is None
        endpoint = Endpoint.parse(f"unix-dgram:{tmp_path}/s")
        sock.bind(endpoint.to_sockaddr())
        assert from_sockaddr(Transport.UNIX_DGRAM, sock.getsockname()) == endpoint


@pytest.mark.skipif(not LINUX, reason="abstract names are Linux's")
def test_an_autobound_abstract_name() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(b"")  # unix(7): the kernel picks a name of five hex digits
        endpoint = from_sockaddr(Transport.UNIX, sock.getsockname())
        assert endpoint is not None
        assert endpoint.path.startswith("@")
        assert endpoint.to_sockaddr() == sock.getsockname()


def test_dual_stack_peers_are_shown_as_ipv4() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this host has no dual-stack IPv6")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        with socket.create_connection(("127.0.0.1", server.getsockname()[1])) as client:
            conn, peer = server.accept()
            with conn:
                assert from_sockaddr(Transport.TCP, peer) == from_sockaddr(Transport.TCP, client.getsockname())


def test_scopes() -> None:
    index, name = socket.if_nameindex()[0]
    endpoint = from_sockaddr(Transport.UDP, ("fe80::1", 53, 7, index))
    assert endpoint == Endpoint(Transport.UDP, f"fe80::1%{name}", 53)
    assert endpoint.to_sockaddr() == ("fe80::1", 53, 0, index)
    assert Endpoint(Transport.UDP, "fe80::1%12", 53).to_sockaddr() == ("fe80::1", 53, 0, 12)
    unknown = from_sockaddr(Transport.UDP, ("fe80::1", 53, 0, 2**31 - 1))
    assert unknown == Endpoint(Transport.UDP, f"fe80::1%{2**31 - 1}", 53)


@pytest.mark.parametrize("scope", ["nosuch-netlab", "99999999999999"])
def test_a_scope_that_this_host_lacks(scope: str) -> None:
    with pytest.raises(EndpointError, match="is no interface of this host"):
        Endpoint.parse(f"[fe80::1%{scope}]:80").to_sockaddr()


def test_a_name_has_no_sockaddr() -> None:
    with pytest.raises(EndpointError, match="has to be resolved first"):
        Endpoint.parse("localhost:80").to_sockaddr()


@pytest.mark.parametrize(
    ("sockaddr", "path"),
    [
        ("/tmp/s", "/tmp/s"),
        (b"/tmp/s", "/tmp/s"),
        (b"\0name", "@name"),
        (b"\0\xff", "@\udcff"),
        ("@file", "./@file"),
    ],
)
def test_unix_sockaddrs(sockaddr: object, path: str) -> None:
    assert from_sockaddr(Transport.UNIX, sockaddr) == Endpoint(Transport.UNIX, path=path)


@pytest.mark.parametrize("nothing", [None, "", b""])
def test_no_sockaddr_is_no_endpoint(nothing: object) -> None:
    assert from_sockaddr(Transport.UNIX, nothing) is None


def test_icmp_has_no_port() -> None:
    assert from_sockaddr(Transport.ICMP, ("127.0.0.1", 8)) == Endpoint(Transport.ICMP, "127.0.0.1")


def test_the_grammar_is_cheap_to_import() -> None:
    code = "import sys, netlab.endpoint; print(*{'socket', 'ipaddress', 'selectors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, timeout=10)
    assert done.stdout.strip() == ""
