"""Socket options on real sockets: every row reads or says why not, settings are checked, set and read back."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlab.errors import LocalError
from netlab.records import Option
from netlab.socketops import optiontable
from netlab.socketops.optiontable import LEVELS, OPTIONS, Kind
from netlab.socketops.optionvalues import decode, encode
from netlab.socketops.sockopts import apply_settings, find_option, parse_setting, read_options, socket_kind
from tests.peers import refusing_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the options and their defaults are Linux's")

KINDS = ["tcp4", "tcp6", "udp4", "udp6", "unix stream", "unix dgram", "unix seqpacket", "raw4", "raw6"]
# What a kernel may say instead of a value.
ABSENT = {"ENOPROTOOPT", "ENOTSUP", "ENOTCONN", "ENODATA", "EINVAL"}
HEADERS = ("asm-generic/socket.h", "linux/tcp.h", "linux/udp.h", "linux/in.h", "linux/in6.h")
UNIX_TYPES = {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM, "seqpacket": socket.SOCK_SEQPACKET}


@contextlib.contextmanager
def connected(kind: str) -> Iterator[socket.socket]:
    """A connected socket of this kind; raw ones are only opened."""
    with contextlib.ExitStack() as stack:
        if kind.startswith("unix"):
            one, other = socket.socketpair(socket.AF_UNIX, UNIX_TYPES[kind.partition(" ")[2]])
            stack.enter_context(other)
            yield stack.enter_context(one)
            return
        family, host = (socket.AF_INET6, "::1") if kind.endswith("6") else (socket.AF_INET, "127.0.0.1")
        if kind.startswith("raw"):
            try:
                raw = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            except PermissionError:
                pytest.skip("raw sockets need CAP_NET_RAW")
            yield stack.enter_context(raw)
            return
        type_ = socket.SOCK_STREAM if kind.startswith("tcp") else socket.SOCK_DGRAM
        peer = stack.enter_context(socket.socket(family, type_))
        peer.bind((host, 0))
        if type_ == socket.SOCK_STREAM:
            peer.listen()
        client = stack.enter_context(socket.socket(family, type_))
        client.connect(peer.getsockname())
        yield client


def fresh_like(sock: socket.socket) -> socket.socket:
    return socket.socket(sock.family, sock.type, sock.proto)


def option_named(options: list[Option], name: str) -> Option:
    (option,) = [option for option in options if option.name == name]
    return option


# The table


def test_rows_are_unique_short_and_consistent() -> None:
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)
    assert len({(option.level, option.number) for option in OPTIONS}) == len(OPTIONS)
    for option in OPTIONS:
        assert option.level in LEVELS
        assert len(option.meaning) <= 45, option.name
        assert option.meaning.isascii(), option.name
        assert option.sockets, option.name
        assert option.main <= option.sockets, option.name
        assert (option.kind is Kind.NAMED) == bool(option.names), option.name
    assert OPTIONS[-1].name == "SO_ERROR"


def test_numbers_are_those_of_the_kernel_headers() -> None:
    headers = [Path("/usr/include", name) for name in HEADERS]
    missing = [str(header) for header in headers if not header.exists()]
    if missing:
        pytest.skip(f"{missing[0]} is not installed (apt install linux-libc-dev)")
    text = "\n".join(header.read_text() for header in headers)
    defined = {name: int(number) for name, number in re.findall(r"^#define\s+(\w+)\s+(\d+)\b", text, re.MULTILINE)}
    compared = {option.name: option.number for option in OPTIONS if option.name in defined}
    assert compared == {name: defined[name] for name in compared}
    assert len(compared) > 90


def test_without_linux_constants_rows_are_absent_and_all_modules_import() -> None:
    script = """
import fcntl, socket, struct, sys, termios, re, enum, dataclasses, difflib
sys.platform = "win32"
sys.modules["fcntl"] = sys.modules["termios"] = None
for name in ("SO_DOMAIN", "SO_PEERCRED", "TCP_CONGESTION", "TCP_INFO", "IP_TRANSPARENT", "AF_UNIX"):
    delattr(socket, name)
import importlib
for name in ("sockopts", "tcpinfo", "queues"):
    importlib.import_module(f"netlab.socketops.{name}")
from netlab.socketops import queues, sockopts, tcpinfo
names = {option.name for option in sockopts.OPTIONS}
assert {"SO_RCVBUF", "TCP_NODELAY", "IPV6_V6ONLY"} <= names, names
absent = {"SO_DOMAIN", "SO_PEERCRED", "TCP_CONGESTION", "SO_COOKIE", "SO_RCVTIMEO", "TCP_RTO_MAX_MS", "ICMP_FILTER"}
assert not names & absent, names
with socket.socket() as sock:
    assert (queues.unread(sock), queues.accept_queue(sock), tcpinfo.read_tcp_info(sock)) == (None, None, None)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=15)


# Reading


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_this_kind_reads_or_says_why_not(kind: str) -> None:
    with connected(kind) as sock, fresh_like(sock) as fresh:
        options = read_options(sock, everything=True, fresh=fresh)
        assert socket_kind(sock) == kind.partition(" ")[0]
    word = kind.partition(" ")[0]
    assert {option.name for option in options} == {row.name for row in OPTIONS if word in row.sockets}
    for option in options:
        if option.errno_name is None:
            assert option.value is not None, option
        else:
            assert option.errno_name in ABSENT, option
            assert option.value is None, option
            assert option.shown == option.errno_name, option
        assert option.shown.isprintable(), option
    read = [option for option in options if option.errno_name is None]
    assert len(read) > len(options) * 0.8
    levels = [level for level, _ in itertools.groupby(options, key=lambda option: option.level)]
    assert levels == [level for level in LEVELS if level in levels], "each level once, in order"


@pytest.mark.parametrize("kind", KINDS)
def test_the_few_that_matter_are_a_part_of_all(kind: str) -> None:
    with connected(kind) as sock:
        few = [option.name for option in read_options(sock, everything=False, fresh=None)]
        all_of_them = [option.name for option in read_options(sock, everything=True, fresh=None)]
    assert few == [name for name in all_of_them if name in few]
    assert {"SO_TYPE", "SO_RCVBUF", "SO_SNDBUF"} <= set(few)
    assert "SO_ERROR" not in few


@pytest.mark.parametrize("kind", KINDS)
def test_reading_everything_leaks_no_descriptor(kind: str) -> None:
    with connected(kind) as sock, fresh_like(sock) as fresh:
        before = os.listdir("/proc/self/fd")
        read_options(sock, everything=True, fresh=fresh)
        assert os.listdir("/proc/self/fd") == before


class SpySocket(socket.socket):
    """Notes which options are asked for."""

    def __init__(self, *args: int) -> None:
        super().__init__(*args)
        self.asked: list[tuple[int, int]] = []

    def getsockopt(self, level: int, number: int, size: int = 0) -> bytes:  # type: ignore[override]
        self.asked.append((level, number))
        return super().getsockopt(level, number, size)


def test_so_error_is_read_once_and_last_and_peerpidfd_never() -> None:
    with SpySocket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        read_options(sock, everything=True, fresh=None)
        so_error = (socket.SOL_SOCKET, socket.SO_ERROR)
        assert sock.asked[-1] == so_error
        assert sock.asked.count(so_error) == 1
        assert (socket.SOL_SOCKET, 77) not in sock.asked


def test_only_reading_everything_takes_a_pending_error() -> None:
    with refusing_port() as peer, socket.socket() as sock:
        sock.setblocking(False)
        assert sock.connect_ex((peer.host, peer.port)) == errno.EINPROGRESS
        assert select.select([], [sock], [], 5)[1]
        read_options(sock, everything=False, fresh=None)
        read = option_named(read_options(sock, everything=True, fresh=None), "SO_ERROR")
        assert (read.value, read.shown) == (errno.ECONNREFUSED, "ECONNREFUSED")
        again = option_named(read_options(sock, everything=True, fresh=None), "SO_ERROR")
        assert (again.value, again.shown) == (0, "0")


def test_values_are_what_the_system_says() -> None:
    sysctl = Path("/proc/sys/net/ipv4")
    with connected("tcp4") as sock:
        shown = {option.name: option.shown for option in read_options(sock, everything=True, fresh=None)}
        buffer = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert shown["SO_TYPE"] == "SOCK_STREAM"
    assert shown["SO_DOMAIN"] == "AF_INET"
    assert shown["SO_PROTOCOL"] == "IPPROTO_TCP"
    assert shown["SO_LINGER"] == "off"
    assert shown["SO_RCVTIMEO"] == "off"
    assert shown["SO_RCVBUF"] == f"{buffer:,} B"
    assert shown["SO_MAX_PACING_RATE"] == "unlimited"
    assert shown["TCP_KEEPIDLE"] == f"{(sysctl / 'tcp_keepalive_time').read_text().strip()} s"
    assert shown["TCP_CONGESTION"] == (sysctl / "tcp_congestion_control").read_text().strip()
    assert shown["IP_TTL"] == (sysctl / "ip_default_ttl").read_text().strip()
    mtu = int(Path("/sys/class/net/lo/mtu").read_text())
    assert shown["IP_MTU"] == f"{min(mtu, 65535):,} B", "IPv4's length field has 16 bits"
    assert shown["TCP_NODELAY"] == "0"


def test_peer_credentials_and_datagrams_dropped() -> None:
    with connected("unix stream") as sock:
        credentials = option_named(read_options(sock, everything=False, fresh=None), "SO_PEERCRED")
    assert credentials.value == f"pid={os.getpid()} uid={os.geteuid()} gid={os.getegid()}"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, connected("udp4") as sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)  # the kernel's least: a few datagrams
        receiver.bind(("127.0.0.1", 0))
        for _ in range(50):
            sender.sendto(bytes(500), receiver.getsockname())
        memory = option_named(read_options(receiver, everything=False, fresh=None), "SO_MEMINFO")
        receiver.setblocking(False)
        came = 0
        with contextlib.suppress(BlockingIOError):
            while receiver.recv(500):
                came += 1
    assert 0 < came < 50
    assert memory.shown == f"{50 - came} drops"
    assert str(memory.value).endswith(f" drops={50 - came}")


def test_default_means_as_a_new_socket_has_it() -> None:
    with connected("tcp4") as sock, fresh_like(sock) as fresh:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        compared = {option.name: option.is_default for option in read_options(sock, everything=True, fresh=fresh)}
        alone = {option.is_default for option in read_options(sock, everything=True, fresh=None)}
    assert compared["TCP_NODELAY"] is False
    assert compared["TCP_KEEPIDLE"] is True
    assert compared["SO_COOKIE"] is False
    assert compared["IP_MTU"] is None, "a new socket has no path yet"
    assert alone == {None}


def test_a_number_has_its_unit_and_a_word_has_none() -> None:
    with connected("tcp4") as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 1, 500_000))
        read = {option.name: (option.value, option.unit) for option in read_options(sock, everything=True, fresh=None)}
    assert read["SO_SNDLOWAT"] == (1, "B")
    assert read["TCP_USER_TIMEOUT"] == (0, "ms")
    assert read["SO_RCVTIMEO"] == (1_500_000, "us")
    assert read["SO_LINGER"] == ("off", None)
    assert read["TCP_NODELAY"] == (0, None)


# Settings


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("TCP_NODELAY=on", "tcp4", "1"),
        ("tcp_nodelay=0", "tcp4", "0"),
        ("SO_KEEPALIVE=yes", "tcp6", "1"),
        ("SO_RCVBUF=4096", "tcp4", "8,192 B (asked 4,096 B)"),
        ("SO_RCVBUF=64k", "udp4", "131,072 B (asked 65,536 B)"),
        ("SO_RCVLOWAT=2", "tcp4", "2 B"),
        ("TCP_KEEPIDLE=30s", "tcp4", "30 s"),
        ("TCP_KEEPIDLE=2m", "tcp4", "120 s"),
        ("TCP_KEEPINTVL=7", "tcp4", "7 s"),
        ("TCP_USER_TIMEOUT=700ms", "tcp4", "700 ms"),
        ("TCP_USER_TIMEOUT=1.5s", "tcp4", "1500 ms"),
        ("TCP_USER_TIMEOUT=700", "tcp4", "700 ms"),
        ("TCP_LINGER2=-1", "tcp4", "-1 s"),
        ("TCP_CONGESTION=reno", "tcp4", "reno"),
        ("SO_LINGER=5s", "tcp4", "on, 5 s"),
        ("SO_LINGER=0", "tcp4", "on, 0 s"),
        ("SO_LINGER=off", "tcp4", "off"),
        ("SO_RCVTIMEO=300ms", "udp6", "300 ms"),
        ("SO_RCVTIMEO=2", "unix stream", "2 s"),
        ("SO_SNDTIMEO=off", "unix dgram", "off"),
        ("SO_MAX_PACING_RATE=1MB/s", "tcp4", "1,000,000 B/s"),
        ("SO_MAX_PACING_RATE=unlimited", "tcp4", "unlimited"),
        ("SO_BINDTODEVICE=lo", "udp4", "lo"),
        ("SO_BINDTOIFINDEX=lo", "udp4", str(socket.if_nametoindex("lo"))),
        ("SO_PRIORITY=6", "tcp4", "6"),
        ("SO_PASSCRED=true", "unix seqpacket", "1"),
        ("SO_PEEK_OFF=3", "unix dgram", "3"),
        ("IP_TTL=5", "udp4", "5"),
        ("IP_TTL=5", "tcp6", "5"),
        ("IP_TOS=0x10", "tcp4", "0x10"),
        ("IP_MTU_DISCOVER=do", "udp4", "do"),
        ("IPV6_MTU_DISCOVER=DONT", "udp6", "dont"),
        ("IPV6_UNICAST_HOPS=3", "tcp6", "3"),
        ("IP_LOCAL_PORT_RANGE=40000-60999", "tcp4", "40000-60999"),
        ("IP_LOCAL_PORT_RANGE=off", "tcp4", "off"),
        ("IP_MULTICAST_IF=127.0.0.1", "udp4", "127.0.0.1"),
        ("IP_UNICAST_IF=lo", "udp4", str(socket.if_nametoindex("lo"))),
        ("IPV6_MULTICAST_IF=lo", "udp6", str(socket.if_nametoindex("lo"))),
        ("UDP_SEGMENT=1200", "udp4", "1,200 B"),
        ("ICMP_FILTER=0xfffffffe", "raw4", "0xfffffffe"),
    ],
)
def test_a_setting_is_set_and_read_back(text: str, kind: str, shown: str) -> None:
    setting = parse_setting(text)
    with connected(kind) as model, fresh_like(model) as sock:
        try:
            (option,) = apply_settings(sock, [setting])
        except LocalError as exc:
            if exc.errno != errno.ENOPROTOOPT:
                raise
            pytest.skip(f"this kernel has no {setting.option.name}")
        assert option.shown == shown
        again = option_named(read_options(sock, everything=True, fresh=None), setting.option.name)
    assert (option.name, option.value, option.meaning) == (again.name, again.value, again.meaning)


def test_settings_are_set_in_order_and_each_is_told() -> None:
    with socket.socket() as sock:
        told = apply_settings(sock, [parse_setting(text) for text in ("SO_RCVBUF=8k", "TCP_NODELAY=1", "IP_TTL=9")])
        assert [option.name for option in told] == ["SO_RCVBUF", "TCP_NODELAY", "IP_TTL"]
        assert sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL) == 9
        assert apply_settings(sock, []) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SO_KEEPALIV=1", "unknown socket option 'SO_KEEPALIV'. Did you mean SO_KEEPALIVE?"),
        ("nodelay=1", "unknown socket option 'nodelay'. Did you mean TCP_NODELAY?"),
        ("xyzzy=1", "unknown socket option 'xyzzy'"),
        ("=1", "unknown socket option ''"),
        ("TCP_NODELAY", "TCP_NODELAY has no value: write TCP_NODELAY=VALUE"),
        ("SO_TYPE=1", "SO_TYPE can be read, but not set"),
        ("SO_ERROR", "SO_ERROR can be read, but not set"),
        ("TCP_NODELAY=maybe", "TCP_NODELAY: 'maybe' is neither on nor off"),
        ("TCP_NODELAY=2", "TCP_NODELAY: '2' is neither on nor off"),
        ("TCP_NODELAY=", "TCP_NODELAY: '' is neither on nor off"),
        ("SO_RCVBUF=3G", "SO_RCVBUF: 3,221,225,472 B is too large; 2,147,483,647 B is the most"),
        ("TCP_KEEPIDLE=500ms", "TCP_KEEPIDLE: 500ms is no whole number of s"),
        ("TCP_USER_TIMEOUT=1.5", "TCP_USER_TIMEOUT: 1.5 has no unit; without one it is whole ms"),
        ("TCP_USER_TIMEOUT=3000000000", "TCP_USER_TIMEOUT: 3000000000 is too long; 2147483647 ms is the most"),
        (
            "TCP_CONGESTION=cub\tic",
            "TCP_CONGESTION: 'cub\\tic' is no name; one has at most 15 printable ASCII characters",
        ),
        (
            "SO_BINDTODEVICE=sixteenletters00",
            "SO_BINDTODEVICE: 'sixteenletters00' is no name; one has at most 15 printable ASCII characters",
        ),
        ("SO_BINDTOIFINDEX=nonesuch0", "SO_BINDTOIFINDEX: there is no network interface 'nonesuch0'"),
        ("IP_TTL=many", "IP_TTL: 'many' is no whole number"),
        ("IP_TTL=4294967296", "IP_TTL: 4294967296 does not fit into 32 bits"),
        (
            "IP_MTU_DISCOVER=maybe",
            "IP_MTU_DISCOVER: 'maybe' is none of dont, want, do, probe, interface, omit",
        ),
        (
            "IP_LOCAL_PORT_RANGE=9-1",
            "IP_LOCAL_PORT_RANGE: '9-1' is no range of ports, such as 40000-40999, and not off",
        ),
        ("IP_MULTICAST_IF=::1", "IP_MULTICAST_IF: '::1' is no IPv4 address"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_setting(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["SO_RCVBUF=lots", "SO_RCVTIMEO=soon", "SO_LINGER=on", "TCP_KEEPIDLE=5x"])
def test_a_wrong_size_or_duration_is_told_by_option_and_value(text: str) -> None:
    name, _, value = text.partition("=")
    with pytest.raises(ValueError, match=rf"^{name}: .*'{value}'.*$"):
        parse_setting(text)


@given(st.sampled_from(OPTIONS), st.text(max_size=20))
def test_any_text_is_a_setting_or_a_value_error_of_one_line(option: optiontable.SocketOption, value: str) -> None:
    message = ""
    try:
        assert parse_setting(f"{option.name}={value}").option is option
    except ValueError as exc:
        message = str(exc)
    assert not message or (message.startswith(option.name) and message.isprintable())


SHOWN_AS_WRITTEN = [
    row for row in OPTIONS if row.settable and row.kind not in (Kind.TEXT, Kind.LINGER, Kind.NAMED, Kind.PORTS)
]


@given(st.sampled_from(SHOWN_AS_WRITTEN), st.integers(0, 2**20))
def test_what_is_shown_can_be_written_back(option: optiontable.SocketOption, number: int) -> None:
    if option.kind is Kind.FLAG:
        number &= 1
    raw = {
        Kind.TIMEVAL: struct.pack("@ll", number, number % 1_000_000),
        Kind.RATE: struct.pack("=Q", number),
        Kind.INTERFACE_BE: struct.pack("!I", number),
    }.get(option.kind, struct.pack("=I", number))
    assert encode(option, decode(option, raw)[1]) == raw


# Refusals


def test_an_option_of_another_kind_of_socket_is_refused_with_its_meaning() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(LocalError) as caught:
        apply_settings(sock, [parse_setting("TCP_NODELAY=on")])
    assert str(caught.value) == "setsockopt TCP_NODELAY=on: protocol not available (ENOPROTOOPT)"
    assert caught.value.means == "this kind of socket does not have it, or this kernel does not"


def test_an_unknown_congestion_control_says_where_the_known_are() -> None:
    with socket.socket() as sock, pytest.raises(LocalError) as caught:
        apply_settings(sock, [parse_setting("TCP_CONGESTION=nonesuch")])
    assert caught.value.errno == errno.ENOENT
    assert any("tcp_available_congestion_control" in command for command, _ in caught.value.next_steps)


@pytest.mark.parametrize(
    ("texts", "means"),
    [
        (["SO_MARK=1"], "setting it needs CAP_NET_ADMIN, which root has"),
        (["SO_PRIORITY=7"], "setting it needs CAP_NET_ADMIN, which root has"),
        (["IP_TRANSPARENT=on"], "setting it needs CAP_NET_ADMIN, which root has"),
        (["SO_DEBUG=on"], "setting it needs CAP_NET_ADMIN, which root has"),
        (["SO_BINDTODEVICE=lo", "SO_BINDTODEVICE="], "changing it needs CAP_NET_RAW, which root has"),
    ],
)
def test_without_the_capability_it_says_which(texts: list[str], means: str) -> None:
    script = f"""
import os, socket
from netlab.errors import LocalError
from netlab.socketops.sockopts import apply_settings, parse_setting
if os.geteuid() == 0:
    os.setgroups([])
    os.setresuid(65534, 65534, 65534)
with socket.socket() as sock:
    try:
        apply_settings(sock, [parse_setting(text) for text in {texts!r}])
    except LocalError as exc:
        print(f"{{exc}}; {{exc.means}}")
"""
    ran = subprocess.run([sys.executable, "-c", script], check=True, timeout=15, capture_output=True, text=True)
    assert ran.stdout.startswith(f"setsockopt {texts[-1]}: ")
    assert ran.stdout.endswith(f"; {means}\n")


def test_a_closed_socket_reads_as_bad_descriptor() -> None:
    sock = socket.socket()
    sock.close()
    assert {option.errno_name for option in read_options(sock, everything=False, fresh=None)} <= {"EBADF"}
    with pytest.raises(LocalError, match="EBADF"):
        apply_settings(sock, [parse_setting("TCP_NODELAY=on")])


def test_find_option_takes_any_case() -> None:
    finders: list[Callable[[str], str]] = [str.upper, str.lower, str.title]
    assert {find_option(change("SO_KEEPALIVE")).name for change in finders} == {"SO_KEEPALIVE"}
