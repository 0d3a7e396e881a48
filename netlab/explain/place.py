"""What the texts and commands of an explanation may say about an endpoint."""

from __future__ import annotations

import os
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint

__all__ = ["in_shell", "kinds_of", "values_of"]

_UNIX = ("unix", "unix-dgram", "unix-seqpacket")
_CAPTURES = {"tcp": "tcp port {}", "udp": "udp port {}", "icmp": "'icmp or icmp6'"}


def kinds_of(endpoint: Endpoint) -> list[str]:
    """Return the words that a row's key may begin with, the narrowest first."""
    transport = str(endpoint.transport)
    if endpoint.transport.is_unix:
        narrow = ["abstract"] if endpoint.path.startswith("@") else []
        return [*narrow, transport, "unix", "any"]
    narrow = [f"{transport}-local"] if _is_here(endpoint) else []
    return [*narrow, transport, "inet", "any"]


def values_of(endpoint: Endpoint) -> dict[str, str]:
    """Return the values by name; which there are depends on the endpoint."""
    values = {
        "at": in_shell(str(endpoint)),
        "server": "serve-udp" if endpoint.transport.is_datagram else "serve-threaded",
        "protocol": endpoint.transport.upper(),
    }
    if endpoint.transport.is_unix:
        return values | _unix_values(endpoint, values)
    values |= _address_values(endpoint)
    if endpoint.transport != "icmp":
        values |= _port_values(endpoint, values)
    return values


def in_shell(text: str) -> str:
    r"""Quote a text for the shell; what does not print as bash, zsh and ksh write it, ``$'\x1b'``.

    A unix path may be a peer's own and hold anything, and these commands are shown on a terminal.
    """
    if text.isprintable():
        return quote(text)
    plain = (chr(byte) if 32 <= byte < 127 and byte not in b"\\'" else f"\\x{byte:02x}" for byte in os.fsencode(text))
    return f"$'{''.join(plain)}'"


def _is_here(endpoint: Endpoint) -> bool:
    """Whether it is this host for certain, be it by the wildcard address."""
    return endpoint.is_loopback or endpoint.host in ("0.0.0.0", "::")


def _unix_values(endpoint: Endpoint, values: dict[str, str]) -> dict[str, str]:
    # A pattern, because ss shows a path as the server gave it, relative or not, and takes no blanks in it.
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-@") else "*" for c in endpoint.path.rpartition("/")[2])
    others = [in_shell(f"{other}:{endpoint.path}") for other in _UNIX if other != endpoint.transport]
    found = {
        "on": "",
        "here": "here",
        "scheme": str(endpoint.transport),
        "serve": f"{values['server']} {values['at']}",
        "listeners": f"-lx src '*{name}'",
        "holder": f"-lxp src '*{name}'",
        "peers": f"-xp src '*{name}'",
        "type_a": others[0],
        "type_b": others[1],
    }
    if endpoint.path.startswith("@"):
        return found
    path = f"./{endpoint.path}" if endpoint.path.startswith("-") else endpoint.path
    directory, slash, name = path.rpartition("/")
    directory = in_shell(directory or slash or ".")
    return found | {"path": in_shell(path), "directory": directory, "near": in_shell(f"{endpoint.transport}:{name}")}


def _address_values(endpoint: Endpoint) -> dict[str, str]:
    """Return what hangs on the host: family, route, and from where it is seen."""
    here = _is_here(endpoint)
    bracketed = f"[{endpoint.host}]" if endpoint.is_ipv6 else endpoint.host
    values = {
        "on": "" if here else "on the server: ",
        "here": "here" if here else "there",
        "host": quote(endpoint.host),
        "capture": _CAPTURES[endpoint.transport].format(endpoint.port),
        "family": "IPv4 or IPv6",
        "other": "one of IPv4 and IPv6",
    }
    if not here:
        values |= {"icmp": quote(f"icmp:{bracketed}"), "ports": quote(f"{bracketed}:22,80,443")}
    if not endpoint.is_numeric:
        return values | {"name": values["host"]}
    families = ("IPv6", "IPv4") if endpoint.is_ipv6 else ("IPv4", "IPv6")
    values |= dict(zip(("family", "other"), families, strict=True))
    address, _, scope = endpoint.host.partition("%")
    values |= {} if here else {"address": address}
    route = f"{address} oif {scope}" if scope else address
    return values | {"route": route, "routes": "-6" if endpoint.is_ipv6 else "-4"}


def _port_values(endpoint: Endpoint, values: dict[str, str]) -> dict[str, str]:
    """Return what hangs on the port: the sockets that have it, and servers that could."""
    host, port, server = endpoint.host, endpoint.port, values["server"]
    tcp = endpoint.transport == "tcp"
    found = {
        "port": str(port),
        "listeners": f"{'-ltn' if tcp else '-lun'} 'sport = :{port}'",
        "holder": f"{'-ltnp' if tcp else '-lunp'} 'sport = :{port}'",
        "all": f"{'-tan' if tcp else '-uan'} 'sport = :{port}'",
        "peers": f"{'-tino' if tcp else '-uan'} 'dport = :{port}'",
        "free": _serve(server, host, 0),
    }
    if port < 1024:
        found["high"] = _serve(server, host, port + 8000)
    if not endpoint.is_loopback:
        found["local"] = _serve(server, "::1" if endpoint.is_ipv6 else "127.0.0.1", port)
    if not _is_here(endpoint):
        return found
    twins = {"127.0.0.1": "[::1]", "::1": "127.0.0.1"}
    if host in twins:
        found["twin"] = quote(f"{'' if tcp else 'udp://'}{twins[host]}:{port}")
    # Connecting to a wildcard address reaches loopback, so a server there is enough.
    return found | {"serve": _serve(server, {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)}


def _serve(server: str, host: str, port: int) -> str:
    return f"{server} -p {port}" if host == "127.0.0.1" else f"{server} -H {quote(host)} -p {port}"
