"""What probe goes to: all words are targets, -f brings more, and -p is the port list of those without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from netlab.cli.where import DEFAULT_PORT, check_type, family, names_place, transport

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint
    from netlab.socketops import Group

__all__ = ["loopback_endpoint", "target_groups"]


def target_groups(ctx: click.Context, words: tuple[str, ...]) -> list[Group]:
    """Return what to probe, a group a word; 127.0.0.1:9999 where nothing says where."""
    chosen, given = ctx.params, names_place(ctx)
    if chosen["file"]:
        words += tuple(_lines_of(ctx, chosen["file"]))
        if not words:
            raise click.UsageError(f"{chosen['file']} holds no target.", ctx)
    if "-U" in given and len(given) > 1:
        raise click.UsageError(f"-U and {next(flag for flag in given if flag != '-U')} exclude each other.", ctx)
    placed = [flag for flag in given if flag != "-p"]
    if words and placed:
        raise click.UsageError(f"{words[0]} and {placed[0]} both say where; give one of them.", ctx)
    if not words:
        return [_group(ctx, _default_word(ctx), DEFAULT_PORT if chosen["port"] is None else chosen["port"])]
    return [_group(ctx, word, chosen["port"]) for word in words]


def loopback_endpoint(ctx: click.Context, words: tuple[str, ...]) -> Endpoint:
    """Return where --loopback listens: a port or a path of its own, of the kind that -u, -6, --type or -U names."""
    from netlab.endpoint import Endpoint, Transport

    chosen = ctx.params
    where = [*words, *(flag for flag in names_place(ctx) if flag != "-U"), *(["-f"] if chosen["file"] else [])]
    if where:
        raise click.UsageError(f"--loopback has a place of its own; it takes no {where[0]}.", ctx)
    if chosen["type"] == "stream" or chosen["unix"] is not None:
        kind = transport(ctx)
    elif chosen["udp"] and chosen["type"] == "seqpacket":
        raise click.UsageError("-u and --type seqpacket contradict each other.", ctx)
    else:
        kind = Transport(f"unix-{chosen['type']}")
    if not kind.is_unix:
        return Endpoint(kind, _loopback(ctx))
    try:
        return Endpoint.parse(chosen["unix"], transport=kind) if chosen["unix"] else Endpoint(kind)
    except ValueError as exc:
        raise click.UsageError(str(exc), ctx) from None


def _default_word(ctx: click.Context) -> str:
    """Return -U or -H as a word; loopback where neither is given."""
    chosen = ctx.params
    if chosen["unix"] is not None:
        return str(chosen["unix"])
    host = _loopback(ctx) if chosen["host"] is None else chosen["host"]
    return f"[{host}]" if ":" in host and not host.startswith("[") else str(host)


def _group(ctx: click.Context, word: str, ports: str | None) -> Group:
    from netlab.endpoint import parse_ports, split_targets

    kind = transport(ctx)
    try:
        numbers = parse_ports(ports, transport=kind) if ports is not None and not kind.is_unix else None
        endpoint, found = split_targets(word, transport=kind, loopback=_loopback(ctx), ports=numbers)
    except ValueError as exc:
        raise click.UsageError(str(exc), ctx) from None
    return check_type(ctx, endpoint), found


def _loopback(ctx: click.Context) -> str:
    return "::1" if family(ctx) == 6 else "127.0.0.1"


def _lines_of(ctx: click.Context, path: str) -> Iterator[str]:
    """Read targets one a line; blank lines and what follows a # are skipped."""
    try:
        with click.open_file(path, encoding="utf-8") as file:
            for line in file:
                word = line.partition("#")[0].strip()
                if word:
                    yield word
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "is no text in UTF-8"
        raise click.UsageError(f"{path}: {reason}", ctx) from None
