"""probe and send across a router: what it drops, rejects, loses, cuts short, and what it does in mid-transfer.

One network serves all tests; what happens to a packet depends on its destination, so that no test undoes another's
rules.  Routes and firewalls of the client's own host are in test_probe_netns.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.netns import Host, Network, network
from tests.programs import NETLAB, Program, clean_environment

REJECTS = {
    21: ("net-unreachable", 0, "unreachable", "ENETUNREACH"),
    22: ("host-unreachable", 1, "unreachable", "EHOSTUNREACH"),
    23: ("prot-unreachable", 2, "unreachable", "ENOPROTOOPT"),
    24: ("port-unreachable", 3, "refused", "ECONNREFUSED"),
    25: ("net-prohibited", 9, "unreachable", "ENETUNREACH"),
    26: ("host-prohibited", 10, "unreachable", "EHOSTUNREACH"),
    27: ("admin-prohibited", 13, "unreachable", "EHOSTUNREACH"),
}
"""The last byte of the address that is rejected; nft's word, ICMP's code, probe's verdict and errno."""
REJECTS_6 = {
    21: ("no-route", 0, "unreachable", "ENETUNREACH"),
    22: ("admin-prohibited", 1, "denied", "EACCES"),
    23: ("addr-unreachable", 3, "unreachable", "EHOSTUNREACH"),
    24: ("port-unreachable", 4, "refused", "ECONNREFUSED"),
    25: ("policy-fail", 5, "denied", "EACCES"),
    26: ("reject-route", 6, "denied", "EACCES"),
}

FIREWALL = """
table inet filter {
    set cut { type ipv4_addr; }
    set torn { type ipv4_addr; }
    chain forward {
        type filter hook forward priority 0
        ip daddr @cut drop
        ip saddr @cut drop
        ip daddr @torn meta l4proto tcp reject with tcp reset
        ip daddr 10.7.2.20 drop
        ip6 daddr fd07:2::20 drop
        ip daddr 10.7.2.28 meta l4proto tcp reject with tcp reset
        ip daddr 10.7.2.60 numgen inc mod 4 == 2 drop
        ip saddr 10.7.2.60 numgen inc mod 4 == 2 drop
        ip daddr 10.7.2.61 tcp flags & (syn | ack) == syn numgen inc mod 2 == 0 drop
        %s
    }
    chain output {
        type filter hook output priority 0
        ip daddr 10.7.1.12 icmp type destination-unreachable drop
    }
}
"""
ROUTES = """
ip route add unreachable 10.7.2.40/32
ip route add prohibit 10.7.2.41/32
ip route add blackhole 10.7.2.42/32
ip -6 route add unreachable fd07:2::40/128
ip -6 route add prohibit fd07:2::41/128
ip -6 route add blackhole fd07:2::42/128
ip route add 10.7.2.70/32 dev east mtu lock 1300
ip route add 10.7.2.71/32 dev east mtu lock 1300
ip route add 10.7.2.72/32 dev east mtu lock 1300
ip -6 route add fd07:2::70/128 dev east mtu lock 1300
"""
SERVED = ("10.7.2.2", *(f"10.7.2.{last}" for last in (60, 61, 70, 71, 72, 80, 81, 82)))
"""Addresses of the far host: a good one; with loss; with loss of the first SYN; behind small MTUs; to be cut off."""

Servers = Callable[..., Program]


@pytest.fixture(scope="module")
def net(require_netns: tuple[str, ...]) -> Iterator[Network]:
    for tool in ("nft", "nsenter"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    rejects = [f"ip daddr 10.7.2.{last} reject with icmp type {row[0]}" for last, row in REJECTS.items()]
    rejects += [f"ip6 daddr fd07:2::{last} reject with icmpv6 type {row[0]}" for last, row in REJECTS_6.items()]
    with network(require_netns) as made:
        made.shell("middle", f"nft -f - <<'END'\n{FIREWALL % chr(10).join(rejects)}\nEND\n{ROUTES}")
        made.shell("near", "for last in 11 12 13 14 15 16 17 18; do ip addr add 10.7.1.$last/24 dev near; done")
        extra = [f"ip addr add {address}/24 dev far" for address in SERVED[1:]]
        made.shell("far", "\n".join([*extra, "ip addr add fd07:2::70/64 dev far nodad"]))
        yield made


@pytest.fixture(scope="module")
def servers(net: Network) -> Iterator[Servers]:
    """Start a netlab server on a host, once for all tests; its words are its name."""
    running: dict[tuple[str, ...], Program] = {}
    with ExitStack() as stack:

        def start(*args: str, host: Host = "far") -> Program:
            if args not in running:
                running[args] = Program([*net.words(host), *NETLAB, *args], stdin=subprocess.DEVNULL)
                stack.callback(running[args].reap)
                running[args].ready()
            return running[args]

        yield start


def told(done: subprocess.CompletedProcess[bytes]) -> tuple[int, str]:
    """Return the status and the first line of stderr."""
    return done.returncode, done.stderr.decode().partition("\n")[0]


# Packets that vanish, and such as are refused on the way


@pytest.mark.slow
def test_what_is_dropped_is_a_timeout(net: Network) -> None:
    targets = ["10.7.2.20:7", "udp://10.7.2.20:7", "icmp:10.7.2.20", "[fd07:2::20]:7", "udp://[fd07:2::20]:7"]
    verdicts = [probe["verdict"] for probe in net.probes(*targets, "10.7.2.42:7", "[fd07:2::42]:7", timeout=0.2)]
    assert verdicts == ["timeout", "no-answer", "no-answer", "timeout", "no-answer", "timeout", "timeout"]
    done = net.netlab("send", "10.7.2.20:7", "hello", "-w", "300ms")
    assert told(done) == (28, "netlab: connect 10.7.2.20:7: no answer within 300 ms")
    assert b"a firewall drops them" in done.stderr
    done = net.netlab("send", "udp://10.7.2.20:7", "hello", "-w", "300ms")
    assert told(done) == (28, "netlab: receive udp://10.7.2.20:7: no reply within 300 ms")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("prefix", "table", "kind"), [("10.7.2.{}", REJECTS, 3), ("[fd07:2::{}]", REJECTS_6, 1)], ids=["IPv4", "IPv6"]
)
def test_a_routers_icmp_is_told_by_type_code_and_sender(
    net: Network, transport: str, prefix: str, table: dict[int, tuple[str, int, str, str]], kind: int
) -> None:
    found = net.probes(*(f"{transport}://{prefix.format(last)}:7" for last in table))
    for probe, (_, code, verdict, name) in zip(found, table.values(), strict=True):
        expected = "closed" if (verdict, transport) == ("refused", "udp") else verdict
        assert (probe["verdict"], probe["errno_name"]) == (expected, name)
        assert (probe["icmp_type"], probe["icmp_code"]) == (kind, code)
        assert probe["icmp_sender"] == ("10.7.1.2" if kind == 3 else "fd07:1::2")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("10.7.2.21:7", "connect 10.7.2.21:7: network is unreachable (ENETUNREACH)"),
        ("10.7.2.24:7", "connect 10.7.2.24:7: connection refused (ECONNREFUSED)"),
        ("10.7.2.27:7", "connect 10.7.2.27:7: no route to host (EHOSTUNREACH)"),
        ("10.7.2.28:7", "connect 10.7.2.28:7: connection refused (ECONNREFUSED)"),
        ("[fd07:2::22]:7", "connect [fd07:2::22]:7: permission denied (EACCES)"),
        ("udp://10.7.2.21:7", "receive udp://10.7.2.21:7: network is unreachable (ENETUNREACH)"),
        ("udp://10.7.2.22:7", "receive udp://10.7.2.22:7: no route to host (EHOSTUNREACH)"),
        ("udp://10.7.2.24:7", "receive udp://10.7.2.24:7: connection refused (ECONNREFUSED)"),
        ("udp://10.7.2.27:7", "receive udp://10.7.2.27:7: no route to host (EHOSTUNREACH)"),
        ("udp://[fd07:2::21]:7", "receive udp://[fd07:2::21]:7: network is unreachable (ENETUNREACH)"),
        ("udp://[fd07:2::23]:7", "receive udp://[fd07:2::23]:7: no route to host (EHOSTUNREACH)"),
        ("udp://[fd07:2::41]:7", "receive udp://[fd07:2::41]:7: permission denied (EACCES)"),
    ],
)
def test_send_names_what_a_router_refuses(net: Network, target: str, message: str) -> None:
    assert told(net.netlab("send", target, "hello", "-w", "2s")) == (7, f"netlab: {message}")


@pytest.mark.parametrize(
    ("target", "message", "says"),
    [
        ("10.7.2.21", "ICMP 3/0 network unreachable", "10.7.1.2 has no route to that network"),
        ("10.7.2.22", "ICMP 3/1 host unreachable", "10.7.1.2 gets no ARP or ND answer"),
        ("10.7.2.24", "ICMP 3/3 port unreachable", "not the host itself says so, but 10.7.1.2"),
        ("10.7.2.27", "ICMP 3/13 administratively prohibited", "filter on 10.7.1.2 rejects it on purpose"),
        ("[fd07:2::25]", "ICMPv6 1/5 source address failed policy", "fd07:1::2 lets nothing from this source"),
    ],
)
def test_send_and_probe_say_alike_which_icmp_it_was_and_what_it_means(
    net: Network, target: str, message: str, says: str
) -> None:
    sent, probed = net.netlab("send", f"udp://{target}:7", "hello"), net.netlab("probe", f"udp://{target}:7")
    assert sent.returncode == probed.returncode == 7
    sender = "fd07:1::2" if "[" in target else "10.7.1.2"
    for text in (sent.stderr.decode(), (probed.stdout + probed.stderr).decode()):
        text = " ".join(text.split())
        assert f"{message} from {sender}" in text
        assert says in text
        assert "ip neigh" not in text  # whom this host's own neighbours are does not matter


def test_a_load_tells_what_is_unreachable_from_what_is_silent(net: Network) -> None:
    done = net.netlab("send", "udp://10.7.2.22:7", "hello", "-c", "2", "-j", "2", "--expect", "hello")
    assert told(done) == (7, "netlab: receive udp://10.7.2.22:7: no route to host (EHOSTUNREACH)")


def test_routes_of_a_router(net: Network) -> None:
    # Each from an address of its own: a router sends one such error a second to each (ip_error in net/ipv4/route.c).
    seen = []
    for last, target in enumerate(["10.7.2.40:7", "udp://10.7.2.40:7", "10.7.2.41:7", "udp://10.7.2.41:7"], start=13):
        (probe,) = net.probes(target, source=f"10.7.1.{last}:0")
        seen.append((probe["verdict"], probe["icmp_code"], probe["icmp_sender"]))
    assert seen == [*[("unreachable", 1, "10.7.1.2")] * 2, *[("unreachable", 13, "10.7.1.2")] * 2]
    for last, target in ((17, "10.7.2.40:7"), (18, "10.7.2.41:7")):
        status, message = told(net.netlab("send", target, "hello", "-s", f"10.7.1.{last}", "-w", "2s"))
        assert (status, message) == (7, f"netlab: connect {target}: no route to host (EHOSTUNREACH)")
    found = net.probes("[fd07:2::40]:7", "udp://[fd07:2::40]:7", "[fd07:2::41]:7", "udp://[fd07:2::41]:7")
    seen = [(probe["verdict"], probe["icmp_code"], probe["icmp_sender"]) for probe in found]
    assert seen == [*[("unreachable", 0, "fd07:1::2")] * 2, *[("denied", 1, "fd07:1::2")] * 2]


def test_an_address_that_nobody_has(net: Network) -> None:
    near, near_6, far = net.probes("10.7.1.99:7", "[fd07:1::99]:7", "udp://[fd07:2::99]:7", timeout=3)
    for probe in (near, near_6):
        assert (probe["verdict"], probe["errno_name"]) == ("unreachable", "EHOSTUNREACH")
        assert any("no ARP or ND answer" in cause for cause in probe["likely"]), probe
    done = net.netlab("send", "udp://10.7.1.99:7", "hello")
    assert told(done) == (7, "netlab: receive udp://10.7.1.99:7: no route to host (EHOSTUNREACH)")
    assert b"ip neigh show to 10.7.1.99" in done.stderr  # here it is a neighbour of this host
    assert (far["verdict"], far["icmp_code"], far["icmp_sender"]) == ("unreachable", 3, "fd07:1::2")


def test_send_names_the_routes_of_this_host(net: Network) -> None:
    kinds = {"unreachable": "EHOSTUNREACH", "prohibit": "EACCES", "blackhole": "EINVAL", "throw": "ENETUNREACH"}
    net.shell("near", "\n".join(f"ip route add {kind} 10.8.0.{n}/32" for n, kind in enumerate(kinds, start=1)))
    targets = [(f"10.8.0.{number}:7", name) for number, name in enumerate(kinds.values(), start=1)]
    for target, name in [*targets, ("udp://10.8.0.2:7", "EACCES")]:
        status, message = told(net.netlab("send", target, "hello"))
        assert status == 7
        assert message.startswith(f"netlab: connect {target}: ")
        assert message.endswith(f"({name})")


# Loss


@pytest.mark.slow
def test_a_lost_syn_is_sent_again_and_told(net: Network, servers: Servers) -> None:
    servers("serve-threaded", "-H", "0.0.0.0", "-p", "7", "--reply", "echo")
    (probe,) = net.probes("10.7.2.61:7", timeout=5)
    assert (probe["verdict"], probe["syn_retransmits"]) == ("open", 1)
    assert probe["duration_us"] > 900_000


@pytest.mark.slow
def test_nothing_is_lost_where_every_fourth_packet_is(net: Network, servers: Servers) -> None:
    servers("serve-threaded", "-H", "0.0.0.0", "-p", "7", "--reply", "echo")
    data = bytes(range(256)) * 256
    done = net.netlab("send", "10.7.2.60:7", data=data)
    assert (done.returncode, done.stdout == data) == (0, True), done.stderr


# A path that disappears


def cut(net: Network, kind: str, address: str) -> None:
    net.shell("middle", f"nft add element inet filter {kind} '{{ {address} }}'")


@pytest.mark.slow
def test_a_path_that_disappears_in_mid_transfer_is_told_from_a_peer_that_does_not_read(
    net: Network, servers: Servers
) -> None:
    server = servers("serve-tcp", "-H", "10.7.2.80", "-p", "9", "--reply", "discard")
    argv = [*net.words("near"), *NETLAB, "send", "10.7.2.80:9", "-f", "/dev/zero", "-w", "1200ms"]
    sending = Program(argv, stdin=subprocess.DEVNULL)
    server.wait_for("^#1 < ")
    cut(net, "cut", "10.7.2.80")
    done = sending.wait()
    assert told(done) == (28, "netlab: send 10.7.2.80:9: the peer took nothing more within 1.2 s")
    text = " ".join(done.stderr.decode().split())
    found = re.search(r"sent ([\d,]+) B, .* means the peer's kernel acknowledged ([\d,]+) B of ([\d,]+) B", text)
    assert found, text
    sent, acknowledged, again = (int(number.replace(",", "")) for number in found.groups())
    assert 0 < acknowledged < sent == again
    assert "packets are lost on the way there or back" in text


def test_a_path_that_resets_in_mid_transfer(net: Network, servers: Servers) -> None:
    server = servers("serve-tcp", "-H", "10.7.2.81", "-p", "9", "--reply", "discard")
    argv = [*net.words("near"), *NETLAB, "send", "10.7.2.81:9", "-f", "/dev/zero", "-w", "5s"]
    sending = Program(argv, stdin=subprocess.DEVNULL)
    server.wait_for("^#1 < ")
    cut(net, "torn", "10.7.2.81")
    assert told(sending.wait()) == (55, "netlab: send 10.7.2.81:9: connection reset by peer (ECONNRESET)")


@pytest.mark.slow
def test_a_path_that_disappears_before_a_message_and_before_the_end_of_a_chat(net: Network, servers: Servers) -> None:
    servers("serve-threaded", "-H", "10.7.2.82", "-p", "8", "--reply", "echo")
    chat = Program([*net.words("near"), *NETLAB, "chat", "10.7.2.82:8", "-w", "300ms"])
    send = Program([*net.words("near"), *NETLAB, "send", "10.7.2.82:8", "-w", "300ms", "--until", "close"])
    for program in (chat, send):
        program.write("one\n")
        program.wait_for("^one\n")
    cut(net, "cut", "10.7.2.82")
    for program in (chat, send):
        program.write("two\n")
        program.close_stdin()
    done = chat.wait()
    assert done.returncode == 28
    assert b"the peer did not close within 300 ms" in done.stderr
    assert b"the peer's kernel has not acknowledged the last 4 B" in done.stderr
    done = send.wait()
    assert told(done) == (28, "netlab: receive 10.7.2.82:8: the reply was not whole within 300 ms")


# MTU


def test_a_datagram_larger_than_the_paths_mtu_is_refused_once_and_then_goes_in_fragments(
    net: Network, servers: Servers
) -> None:
    message = "x" * 1400
    for address in ("10.7.2.70", "[fd07:2::70]"):
        server = servers("serve-udp", f"udp://{address}:7", "--reply", "echo")
        target = f"udp://{address}:7"
        done = net.netlab("send", target, message, "-w", "2s")
        assert told(done) == (56, f"netlab: receive {target}: message too long (EMSGSIZE)")
        says = " ".join(done.stderr.decode().split())
        name, router = "ICMP 3/4 fragmentation needed", "10.7.1.2"
        if "[" in address:
            name, router = "ICMPv6 2/0 packet too big", "fd07:1::2"
        assert f"{name} from {router}, next-hop MTU 1,300 B" in says
        assert "the datagram is lost; the next one there goes in fragments" in says
        assert f"a link behind {router} takes smaller packets only" in says
        assert b"x" not in server.stdout.partition(b"host\n")[2]
        done = net.netlab("send", target, message, "-w", "2s")
        assert (done.returncode, done.stdout) == (0, message.encode()), done.stderr


def test_tcp_finds_the_paths_mtu_by_itself(net: Network, servers: Servers) -> None:
    servers("serve-threaded", "-H", "0.0.0.0", "-p", "7", "--reply", "echo")
    data = bytes(range(256)) * 512
    done = net.netlab("send", "10.7.2.71:7", data=data)
    assert (done.returncode, done.stdout == data) == (0, True), done.stderr


@pytest.mark.slow
def test_a_black_hole_for_large_packets(net: Network, servers: Servers) -> None:
    """The router's ICMP errors to 10.7.1.12 are lost: the handshake succeeds, and data never arrives."""
    servers("serve-threaded", "-H", "0.0.0.0", "-p", "7", "--reply", "echo")
    done = net.netlab("send", "10.7.2.72:7", "x" * 4000, "-s", "10.7.1.12", "-w", "600ms")
    assert told(done) == (28, "netlab: receive 10.7.2.72:7: no reply within 600 ms")
    text = b" ".join(done.stderr.split())
    assert b"the peer's kernel acknowledged only 0 B of 4,000 B: its buffer is full, or packets are lost" in text


# A server on all addresses

ANSWERS = pytest.mark.parametrize("args", [["--reply", "echo"], ["--reply", "ack"], ["--fault", "delay=1ms"]])
"""In batches, one by one, and late."""


@ANSWERS
def test_a_udp_server_answers_from_the_address_that_was_asked(net: Network, servers: Servers, args: list[str]) -> None:
    server = servers("serve-udp", "udp://[::]:0", "-q", *args)
    for host in ("10.7.2.70", "[fd07:2::2]", "[fd07:2::70]"):  # one of the last two is what the host would choose
        done = net.netlab("send", f"udp://{host}:{server.port}", "hello", "-w", "2s")
        assert (done.returncode, bool(done.stdout)) == (0, True), (host, done.stderr)


@ANSWERS
def test_a_udp_server_answers_from_a_link_local_address(net: Network, servers: Servers, args: list[str]) -> None:
    server = servers("serve-udp", "udp://[::]:0", "-q", *args, "-6", host="middle")
    for source in ([], ["-s", "fd07:1::1"]):  # to which no interface can be told from the address
        done = net.netlab("send", f"udp://[fe80::2%near]:{server.port}", "hello", "-w", "2s", *source)
        assert (done.returncode, bool(done.stdout)) == (0, True), done.stderr


# Scope, and two addresses


def test_a_link_local_address_needs_its_scope(net: Network, servers: Servers) -> None:
    server = servers("serve-threaded", "[fe80::2%west]:7", "--reply", "echo", host="middle")
    assert server.endpoint == "[fe80::2%west]:7"
    done = net.netlab("send", "[fe80::2%near]:7", "hello")
    assert (done.returncode, done.stdout) == (0, b"hello")
    (probe,) = net.probes("[fe80::2%near]:7")
    assert (probe["verdict"], probe["peer"]) == ("open", "[fe80::2%near]:7")
    status, message = told(net.netlab("send", "[fe80::2]:7", "hello"))
    assert (status, message) == (7, "netlab: connect [fe80::2]:7: invalid argument (EINVAL)")
    status, message = told(net.netlab("send", "[fe80::2%wrong]:7", "hello"))
    assert status == 6
    assert "no such interface" in message


@pytest.mark.slow
def test_a_name_with_a_dead_ipv6_falls_back_in_time(net: Network, servers: Servers, tmp_path: Path) -> None:
    servers("serve-threaded", "-H", "0.0.0.0", "-p", "7", "--reply", "echo")
    hosts = tmp_path / "hosts"
    hosts.write_text("fd07:2::20 two.test\n10.7.2.2 two.test\n")
    script = f"mount --bind '{hosts}' /etc/hosts && exec \"$@\""
    argv = [*net.words("near"), "unshare", "--mount", "sh", "-c", script, "sh", *NETLAB]
    started = time.monotonic()
    send, probe = (
        subprocess.run([*argv, *words], env=clean_environment(), capture_output=True, timeout=10, check=False)
        for words in (["send", "two.test:7", "hello"], ["probe", "two.test:7", "-w", "500ms"])
    )
    assert time.monotonic() - started < 3
    assert (send.returncode, send.stdout) == (0, b"hello"), send.stderr
    assert probe.returncode == 0
    shown = " ".join(probe.stdout.decode().split())
    assert "two.test:7 1 of 2 addresses open" in shown
    assert "timeout [fd07:2::20]:7" in shown
    assert "open 10.7.2.2:7" in shown
