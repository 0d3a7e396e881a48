"""Where a command goes: -H, -p, -U, --type, -u, -4, -6 and the endpoint word, made into one Endpoint.

The rules of all six commands stand here once; `netlab.endpoint` judges each word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint, Transport
    from netlab.socketops import Family

__all__ = [
    "DEFAULT_PORT",
    "check_type",
    "client_endpoint",
    "family",
    "names_place",
    "server_endpoint",
    "source_endpoint",
    "transport",
]

DEFAULT_PORT = "9999"
_PLACE_OPTIONS = {"host": "-H", "port": "-p", "unix": "-U"}


def names_place(ctx: click.Context) -> list[str]:
    """Return which of -H, -p and -U stand on the command line itself, not only in the environment."""
    typed = click.core.ParameterSource.COMMANDLINE
    return [flag for name, flag in _PLACE_OPTIONS.items() if ctx.get_parameter_source(name) is typed]


def family(ctx: click.Context) -> Family:
    """Return 4, 6 or None as -4 and -6 say."""
    if ctx.params["ipv4"] and ctx.params["ipv6"]:
        raise click.UsageError("-4 and -6 exclude each other.", ctx)
    return 4 if ctx.params["ipv4"] else 6 if ctx.params["ipv6"] else None


def transport(ctx: click.Context, *, datagram: bool = False) -> Transport:
    """Return what a word without a scheme means: tcp or udp, or the unix socket that --type names."""
    from netlab.endpoint import Transport

    kind = ctx.params.get("type", "stream")
    datagram = datagram or ctx.params.get("udp", False)
    if ctx.params["unix"] is not None:
        if datagram and kind != "seqpacket":
            return Transport.UNIX_DGRAM
        return {"stream": Transport.UNIX, "dgram": Transport.UNIX_DGRAM, "seqpacket": Transport.UNIX_SEQPACKET}[kind]
    return Transport.UDP if datagram else Transport.TCP


def server_endpoint(ctx: click.Context, word: str | None, *, datagram: bool = False) -> Endpoint:
    """Return the endpoint a server listens on: its argument, or -H, -p and -U."""
    found = _endpoint(ctx, word, listening=True, datagram=datagram)
    if found.transport == "icmp":
        raise click.UsageError(f"icmp: cannot be served, the kernel answers it: netlab probe {found}", ctx)
    if found.transport.is_datagram != datagram:
        other = "serve-udp" if found.transport.is_datagram else "serve-tcp or serve-threaded"
        raise click.UsageError(f"{ctx.info_name} cannot serve {found}: use {other}.", ctx)
    return found


def client_endpoint(ctx: click.Context, word: str | None, *, listening: bool = False) -> Endpoint:
    """Return the endpoint a client goes to, or waits at: TARGET, or -H, -p and -U, or 127.0.0.1:9999."""
    return _endpoint(ctx, word, listening=listening, datagram=False)


def source_endpoint(ctx: click.Context, target: Endpoint) -> Endpoint | None:
    """Return the local endpoint that -s names for a connection to ``target``: HOST, HOST:PORT, :PORT, or a path.

    Raises:
      ResolveError, TimedOut: its name has no address of the target's family, or none in time.
    """
    from netlab.endpoint import Endpoint

    text = ctx.params.get("source")
    if not text:
        return None
    anywhere = "::" if ctx.params["ipv6"] or target.is_ipv6 else "0.0.0.0"
    try:
        if target.transport.is_unix:
            return Endpoint.parse(text, transport=target.transport)
        found = Endpoint.parse(text, transport=target.transport, loopback=anywhere, listening=True, default_port=0)
    except ValueError as exc:
        raise click.BadParameter(str(exc), ctx, param_hint="'-s'") from None
    if found.is_numeric:
        return found
    from netlab import socketops

    of_target: Family = (6 if target.is_ipv6 else 4) if target.is_numeric else None
    return socketops.resolve(found, family=of_target or family(ctx))[0]


def _endpoint(ctx: click.Context, word: str | None, *, listening: bool, datagram: bool) -> Endpoint:
    from netlab.endpoint import Endpoint

    chosen, given = ctx.params, names_place(ctx)
    if "-U" in given and len(given) > 1:
        raise click.UsageError(f"-U and {given[0] if given[0] != '-U' else given[1]} exclude each other.", ctx)
    if word is not None and given:
        raise click.UsageError(f"{word} and {given[0]} both say where; give one of them.", ctx)
    loopback = "::1" if family(ctx) == 6 else "127.0.0.1"
    kind = transport(ctx, datagram=datagram)
    try:
        if word is not None:
            found = Endpoint.parse(word, transport=kind, loopback=loopback, listening=listening)
        elif chosen["unix"] is not None:
            found = Endpoint.parse(chosen["unix"], transport=kind)
        else:
            # An empty word is a shell variable that was not set, and no wish for the default.
            host = loopback if chosen["host"] is None else chosen["host"]
            port = DEFAULT_PORT if chosen["port"] is None else chosen["port"]
            found = Endpoint.of(host, port, transport=kind, listening=listening)
    except ValueError as exc:
        raise click.UsageError(str(exc), ctx) from None
    return check_type(ctx, found)


def check_type(ctx: click.Context, found: Endpoint) -> Endpoint:
    """Apply --type to an endpoint that came as a word, and refuse kinds that do not exist."""
    import dataclasses

    from netlab.endpoint import Transport

    kind = ctx.params.get("type", "stream")
    if kind == "stream":
        return found
    if found.transport is Transport.UNIX:
        return dataclasses.replace(found, transport=Transport(f"unix-{kind}"))
    if not found.transport.is_unix:
        instead = "For UDP use -u." if kind == "dgram" else "TCP is a stream, UDP keeps borders of messages."
        raise click.UsageError(f"--type {kind} is for unix sockets: there is no such socket on INET. {instead}", ctx)
    if found.transport != f"unix-{kind}":
        raise click.UsageError(f"{found} and --type {kind} contradict each other.", ctx)
    return found
