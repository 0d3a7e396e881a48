"""The commands that an explanation may suggest.

`netlab.explain.place` fills in an endpoint's values, quoted for the shell.  A step is left out where an endpoint
lacks a value that it names: ``{serve}`` and ``{twin}`` exist on this host only, ``{path}`` in the file system only.
"""

from __future__ import annotations

__all__ = ["STEPS", "Row"]

Row = tuple[str, str, str, str]
"""what; means; likely causes, split at "; "; names of STEPS, split at blanks."""

STEPS: dict[str, tuple[str, str]] = {
    "serve": ("netlab {serve}", "start a server there"),
    "listeners": ("{on}ss {listeners}", "what listens {here}"),
    "queue": ("{on}ss {listeners}", "Recv-Q waiting, Send-Q the backlog"),
    "types": ("ss {listeners}", "u_str stream, u_dgr dgram, u_seq seqpacket"),
    "holder": ("ss {holder}", "who has it"),
    "all": ("ss {all}", "clients on this port too"),
    "peers": ("ss {peers}", "queues, timers and lost segments now"),
    "twin": ("netlab probe {twin}", "the same port on {other}"),
    "wait": ("netlab probe {at} --wait 30s", "try until it answers"),
    "trace": ("netlab probe {at} --trace", "each call and its result"),
    "patient": ("netlab probe {at} -w 30s", "wait longer for an answer"),
    "chat": ("netlab chat {at}", "talk to it"),
    "options": ("netlab probe {at} --options", "its socket options"),
    "icmp": ("netlab probe {icmp}", "is the host there at all"),
    "ports": ("netlab probe {ports}", "does any port answer"),
    "payload": ("netlab probe {at} --payload @request.bin", "a request that it must answer"),
    "silence": ("netlab probe {at} --ok-if open,no-answer", "in a script: accept silence"),
    "arrive": ("{on}tcpdump -ni any {capture}", "does it arrive"),
    "capture": ("tcpdump -ni any {capture}", "what goes over the wire"),
    "type-a": ("netlab probe {type_a}", "the same path, another type"),
    "type-b": ("netlab probe {type_b}", "and the third"),
    "route": ("ip route get {route}", "which way packets leave"),
    "name": ("getent ahosts {name}", "the addresses of the name"),
    "routes": ("ip {routes} route", "is there a default route"),
    "blackholes": ("ip route show table all type blackhole", "blackhole routes, if any"),
    "rules": ("ip rule", "routing policy"),
    "neighbour": ("ip neigh show to {address}", "FAILED: no machine has this address"),
    "addresses": ("ip address", "the addresses of this host"),
    "links": ("ip -brief link", "the interfaces of this host"),
    "path": ("tracepath -n {address}", "the routers on the way, and the MTU"),
    "firewall": ("nft list ruleset", "as root: the local firewall rules"),
    "firewall-there": ("{on}nft list ruleset", "as root: its firewall rules"),
    "broadcast": ("netlab send {at} --set SO_BROADCAST=1 hello", "if it is a broadcast address"),
    "ping-group": ("sysctl net.ipv4.ping_group_range", "the groups that may ping"),
    "ping-allow": ("sysctl -w net.ipv4.ping_group_range='0 2147483647'", "as root: let every group ping"),
    "port-range": ("sysctl net.ipv4.ip_local_port_range", "the ports that clients are given"),
    "low-ports": ("sysctl net.ipv4.ip_unprivileged_port_start", "the first port open to all users"),
    "low-allow": ("sysctl -w net.ipv4.ip_unprivileged_port_start={port}", "as root: open it to all users"),
    "high": ("netlab {high}", "a port that needs no privilege"),
    "free": ("netlab {free}", "any free port"),
    "local": ("netlab {local}", "a server on loopback instead"),
    "socket-counts": ("ss -s", "how many sockets, how many in TIME-WAIT"),
    "file": ("ls -l {path}", "a socket's line starts with s"),
    "directory": ("ls -la {directory}", "what is in the directory, who may write"),
    "rights": ("namei -l {path}", "the rights on each part of the path"),
    "make": ("mkdir -p {directory}", "if the directory is missing"),
    "runtime": ('netlab {server} "{scheme}:$XDG_RUNTIME_DIR/netlab.sock"', "a directory of your own"),
    "nearer": ("cd {directory} && netlab probe {near}", "a shorter path to the same file"),
    "user": ("id", "who you are, and in which groups"),
    "mount": ("findmnt -T {directory}", "which file system, mounted how"),
    "queue-length": ("sysctl net.unix.max_dgram_qlen", "datagrams that may wait in a queue"),
    "descriptors": ("ulimit -n", "open files that this shell allows"),
    "descriptors-more": ('ulimit -n "$(ulimit -Hn)"', "raise it to the hard limit"),
    "system-files": ("cat /proc/sys/fs/file-nr", "open files, unused, limit of the host"),
    "buffer": ("sysctl net.core.wmem_default net.core.wmem_max", "SO_SNDBUF: as it is, and at most"),
    "memory": ("cat /proc/net/sockstat", "memory that sockets hold, in pages"),
    "free-memory": ("free -m", "memory of this host, in MiB"),
    "ipv6": ("cat /proc/net/if_inet6", "empty or missing: no IPv6 here"),
    "manual": ("man 3 errno", "what errnos mean in general"),
    "lookup": ("getent ahosts {host}", "what this host's resolver says"),
    "lookup-4": ("getent ahostsv4 {host}", "its IPv4 addresses"),
    "lookup-6": ("getent ahostsv6 {host}", "its IPv6 addresses"),
    "resolved": ("resolvectl query {host}", "where systemd-resolved is used"),
    "servers": ("cat /etc/resolv.conf", "which DNS servers are asked"),
    "switch": ("cat /etc/nsswitch.conf", "where names are looked up"),
    "services": ("getent services", "the service names known here"),
}
"""Name -> command, why."""
