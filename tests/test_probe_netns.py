"""probe against routes and firewalls, in a network namespace of its own: each errno and each ICMP code in its place."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.netns import PROBES, run
from tests.programs import clean_environment


def probes(words: tuple[str, ...], setup: str, *targets: str) -> list[dict[str, Any]]:
    """Probe targets in a namespace after ``setup``, which skips where the kernel or a tool refuses it."""
    printed = run([*words, "sh", "-ec", f'{setup}\nexec "$@"', "sh", sys.executable, "-c", PROBES, "0.1", "", *targets])
    return [json.loads(line) for line in printed.splitlines()]


def seen(probe: dict[str, Any]) -> tuple[str, str | None]:
    return probe["verdict"], probe.get("errno_name")


ROUTES = {
    "unreachable": ("unreachable", "EHOSTUNREACH"),
    "prohibit": ("denied", "EACCES"),
    "blackhole": ("unreachable", "EINVAL"),
    "throw": ("unreachable", "ENETUNREACH"),
}


@pytest.mark.parametrize("scheme", ["tcp://127.0.0.{}:80", "udp://127.0.0.{}:80", "icmp:127.0.0.{}"])
def test_routes_of_this_host(require_netns: tuple[str, ...], require_tool: Any, scheme: str) -> None:
    require_tool("ip")
    setup = "ip link set lo up\n" + "\n".join(
        f"ip route replace {kind} 127.0.0.{number}/32 table local" for number, kind in enumerate(ROUTES, start=10)
    )
    found = probes(require_netns, setup, *(scheme.format(number) for number, _ in enumerate(ROUTES, start=10)))
    assert [seen(probe) for probe in found] == list(ROUTES.values())
    for probe in found:
        assert probe["nothing_sent"] is True
        assert "this host's own routing" in probe["evidence"]
        assert "icmp_type" not in probe
        assert "on this host" in probe["likely"][0]


def test_no_route_and_no_loopback(require_netns: tuple[str, ...]) -> None:
    found = probes(require_netns, ":", "127.0.0.1:80", "192.0.2.1:80", "[::1]:80", "udp://127.0.0.1:80")
    assert [seen(probe) for probe in found] == [
        ("unreachable", "ENETUNREACH"),
        ("unreachable", "ENETUNREACH"),
        ("error", "EADDRNOTAVAIL"),
        ("unreachable", "ENETUNREACH"),
    ]


REJECTS = {
    "net-unreachable": (0, "unreachable", "ENETUNREACH", "network unreachable"),
    "host-unreachable": (1, "unreachable", "EHOSTUNREACH", "host unreachable"),
    "prot-unreachable": (2, "unreachable", "ENOPROTOOPT", "protocol unreachable"),
    "net-prohibited": (9, "unreachable", "ENETUNREACH", "network prohibited"),
    "host-prohibited": (10, "unreachable", "EHOSTUNREACH", "host prohibited"),
    "admin-prohibited": (13, "unreachable", "EHOSTUNREACH", "administratively prohibited"),
}


def firewall(family: str, hook: str, rules: list[str]) -> str:
    lines = [f"nft add table {family} t", f"nft add chain {family} t c '{{ type filter hook {hook} priority 0; }}'"]
    return "\n".join(["ip link set lo up", *lines, *(f"nft add rule {family} t c {rule}" for rule in rules)])


@pytest.mark.parametrize("scheme", ["tcp://127.0.0.{}:80", "udp://127.0.0.{}:80", "icmp:127.0.0.{}"])
def test_icmp_errors_are_told_by_type_code_and_sender(
    require_netns: tuple[str, ...], require_tool: Any, scheme: str
) -> None:
    require_tool("nft")
    rules = [f"ip daddr 127.0.0.{n} reject with icmp type {kind}" for n, kind in enumerate(REJECTS, start=20)]
    targets = [scheme.format(number) for number, _ in enumerate(REJECTS, start=20)]
    found = probes(require_netns, firewall("ip", "input", rules), *targets)
    for number, (probe, (code, verdict, name, words)) in enumerate(zip(found, REJECTS.values(), strict=True), start=20):
        assert seen(probe) == (verdict, name)
        assert (probe["icmp_type"], probe["icmp_code"]) == (3, code)
        assert probe["icmp_sender"] == f"127.0.0.{number}"
        assert f"ICMP 3/{code} {words} from 127.0.0.{number}" in probe["evidence"]


REJECTS_6 = {
    "no-route": (0, "unreachable", "ENETUNREACH"),
    "admin-prohibited": (1, "denied", "EACCES"),
    "addr-unreachable": (3, "unreachable", "EHOSTUNREACH"),
    "port-unreachable": (4, "refused", "ECONNREFUSED"),
    "policy-fail": (5, "denied", "EACCES"),
    "reject-route": (6, "denied", "EACCES"),
}


@pytest.mark.parametrize("scheme", ["tcp://[::1]:{}", "udp://[::1]:{}"])
def test_icmpv6_errors_too(require_netns: tuple[str, ...], require_tool: Any, scheme: str) -> None:
    require_tool("nft")
    protocol = scheme[:3]
    rules = [f"{protocol} dport {n} reject with icmpv6 type {kind}" for n, kind in enumerate(REJECTS_6, start=20)]
    targets = [scheme.format(number) for number, _ in enumerate(REJECTS_6, start=20)]
    found = probes(require_netns, firewall("ip6", "input", rules), *targets)
    for probe, (code, verdict, name) in zip(found, REJECTS_6.values(), strict=True):
        expected = "closed" if (verdict, protocol) == ("refused", "udp") else verdict
        assert seen(probe) == (expected, name)
        assert (probe["icmp_type"], probe["icmp_code"], probe["icmp_sender"]) == (1, code, "::1")
        assert f"ICMPv6 1/{code} " in probe["evidence"]


def test_a_firewalls_reject_is_told_from_the_hosts_own_rst(require_netns: tuple[str, ...], require_tool: Any) -> None:
    require_tool("nft")
    setup = firewall(
        "ip", "input", ["tcp dport 81 reject with icmp type port-unreachable", "tcp dport 82 reject with tcp reset"]
    )
    closed, rejected, reset = probes(require_netns, setup, "127.0.0.1:80", "127.0.0.1:81", "127.0.0.1:82")
    assert [seen(probe) for probe in (closed, rejected, reset)] == [("refused", "ECONNREFUSED")] * 3
    assert "answered RST" in closed["evidence"]
    assert "ICMP 3/3 port unreachable from 127.0.0.1" in rejected["evidence"]
    assert "answered RST" in reset["evidence"]
    assert "rejects" in rejected["likely"][0]
    assert "the server is not running" in closed["likely"][0]


def test_dropped_on_the_way_in_and_on_the_way_out(require_netns: tuple[str, ...], require_tool: Any) -> None:
    require_tool("nft")
    silent, mute = probes(
        require_netns, firewall("ip", "input", ["ip daddr 127.0.0.40 drop"]), "127.0.0.40:80", "udp://127.0.0.40:80"
    )
    assert (seen(silent), seen(mute)) == (("timeout", None), ("no-answer", None))
    # An OUTPUT rule refuses UDP's send at once, and lets TCP's connect wait in vain.
    tcp, udp, icmp = probes(
        require_netns,
        firewall("ip", "output", ["ip daddr 127.0.0.41 drop"]),
        "127.0.0.41:80",
        "udp://127.0.0.41:80",
        "icmp:127.0.0.41",
    )
    assert seen(tcp) == ("timeout", None)
    assert (seen(udp), seen(icmp)) == (("denied", "EPERM"), ("denied", "EPERM"))
    assert "send 1 EPERM (send() raises PermissionError): " in udp["evidence"]


def test_broadcast_without_its_option_is_denied(require_netns: tuple[str, ...]) -> None:
    (probe,) = probes(require_netns, "ip link set lo up", "udp://127.255.255.255:9")
    assert seen(probe) == ("denied", "EACCES")


def test_used_up_source_ports_are_this_hosts_fault(require_netns: tuple[str, ...]) -> None:
    setup = "ip link set lo up\necho 40000 40001 > /proc/sys/net/ipv4/ip_local_port_range"
    holder = (
        "import socket, sys; server = socket.create_server(('127.0.0.1', 7)); "
        "kept = [socket.create_connection(server.getsockname()) for _ in range(2)]; "
    )
    done = subprocess.run(
        [
            *require_netns,
            "sh",
            "-ec",
            f'{setup}\nexec "$@"',
            "sh",
            sys.executable,
            "-c",
            holder + PROBES,
            "0.1",
            "",
            "127.0.0.1:7",
        ],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    probe = json.loads(done.stdout)
    assert seen(probe) == ("error", "EADDRNOTAVAIL")
    assert "no address or port left" in probe["evidence"]
