"""A network of three hosts in namespaces of its own: a near one, a router in the middle, a far one.

    near  10.7.1.1  fd07:1::1  ----  10.7.1.2  fd07:1::2  middle  10.7.2.1  fd07:2::1  ----  10.7.2.2  fd07:2::2  far

Nothing of it outlives the test, and nothing outside is touched.  It needs no root, but a kernel that gives an ordinary
user namespaces (user_namespaces(7)).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import pytest

from tests.programs import NETLAB, clean_environment

__all__ = ["PROBES", "Host", "Network", "network", "run"]

Host = Literal["near", "middle", "far"]

PROBES = """
import json, sys
from netlab.endpoint import Endpoint
from netlab.render.jsonlines import to_json
from netlab.socketops import Method, diagnose
timeout, source, *targets = sys.argv[1:]
local = Endpoint.parse(source, listening=True) if source else None
for target in targets:
    found = diagnose(Endpoint.parse(target), Method(timeout=float(timeout), source=local))
    print(json.dumps(json.loads(to_json(found.best)) | {"means": found.means, "likely": found.likely}))
"""
"""Prints what `netlab probe --json` would, for many targets in one process."""

_HOLD = """
exec 3<&0 # sh gives /dev/null to what runs in the background
unshare --net sh -c 'echo $$; exec cat' <&3 &
unshare --net sh -c 'echo $$; exec cat' <&3 &
echo near $$
exec cat
"""
"""Three processes, each of which keeps a namespace until its input ends."""

_SETUP = """
ip -batch - <<END
link set lo up
link add near type veth peer name west netns $middle
addr add 10.7.1.1/24 dev near
addr add fd07:1::1/64 dev near nodad
addr add fe80::1/64 dev near nodad
link set near up
route add 10.7.2.0/24 via 10.7.1.2
route add fd07:2::/64 via fd07:1::2
END
nsenter --net=/proc/$middle/ns/net sh -ec '
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
echo 0 > /proc/sys/net/ipv6/icmp/ratelimit
ip -batch - <<END
link set lo up
link add east type veth peer name far netns $far
addr add 10.7.1.2/24 dev west
addr add 10.7.2.1/24 dev east
addr add fd07:1::2/64 dev west nodad
addr add fd07:2::1/64 dev east nodad
addr add fe80::2/64 dev west nodad
link set west up
link set east up
END
'
nsenter --net=/proc/$far/ns/net ip -batch - <<END
link set lo up
addr add 10.7.2.2/24 dev far
addr add fd07:2::2/64 dev far nodad
link set far up
route add default via 10.7.2.1
route add default via fd07:2::1
END
for link in $near/near $middle/west $middle/east $far/far; do
    nsenter --net=/proc/${link%/*}/ns/net sh -ec '
        for family in ipv4 ipv6; do # an address that nobody has is given up after 150 ms
            echo 50 > /proc/sys/net/$family/neigh/$1/retrans_time_ms
        done
        until ip link show $1 | grep -q "state UP"; do :; done
    ' sh ${link#*/}
done
"""

LACKING = ("not permitted", "not supported", "No such file or directory", "Unknown device type")
"""What ip and nft say where a right or a kernel module is missing."""


def run(words: Sequence[str], variables: Mapping[str, str] | None = None, *, lacking: Sequence[str] = LACKING) -> str:
    """Run a program in a namespace and return what it prints; skip where it says that something is missing."""
    done = subprocess.run(
        words, env=clean_environment(variables or {}), capture_output=True, text=True, timeout=15, check=False
    )
    if done.returncode and any(reason in done.stderr for reason in LACKING):
        pytest.skip(f"the kernel does not let this network be made: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


class Network:
    """Three hosts, each the network namespace of a process."""

    def __init__(self, pids: dict[Host, int]) -> None:
        self._pids = pids

    def words(self, host: Host) -> tuple[str, ...]:
        """Return the words that run a command on a host."""
        return ("nsenter", "--preserve-credentials", "--user", "--net", "--target", str(self._pids[host]))

    def shell(self, host: Host, script: str) -> str:
        """Run a shell script on a host and return what it prints; skip where the kernel does not let it."""
        pids: dict[str, str] = {name: str(pid) for name, pid in self._pids.items()}
        return run([*self.words(host), "sh", "-ec", script], pids)

    def probes(self, *targets: str, timeout: float = 1.0, source: str = "") -> list[dict[str, Any]]:
        """Probe targets from the near host, in one process: what `netlab probe --json` says of each, and why."""
        printed = run([*self.words("near"), sys.executable, "-c", PROBES, str(timeout), source, *targets], lacking=())
        return [json.loads(line) for line in printed.splitlines()]

    def netlab(self, *args: str, data: bytes = b"", host: Host = "near") -> subprocess.CompletedProcess[bytes]:
        """Run netlab on a host to its end."""
        return subprocess.run(
            [*self.words(host), *NETLAB, *args],
            input=data,
            env=clean_environment(),
            capture_output=True,
            timeout=15,
            check=False,
        )


@contextlib.contextmanager
def network(words: tuple[str, ...]) -> Iterator[Network]:
    """Make the three hosts; `words` run a command in a network namespace of its own."""
    with subprocess.Popen(
        [*words, "sh", "-ec", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_environment(), text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            said = [holder.stdout.readline().split() for _ in range(3)]
            near = next(int(line[1]) for line in said if line[0] == "near")
            middle, far = (int(line[0]) for line in said if line[0] != "near")
            made = Network({"near": near, "middle": middle, "far": far})
            made.shell("near", _SETUP)
            yield made
        finally:
            holder.stdin.close()
            holder.wait(10)
