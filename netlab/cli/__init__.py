"""The command line: a Click group of six commands, each a thin wrapper over `netlab.socketops`.

Nothing but Click and the command that runs is imported before it runs: start-up is part of the product.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import click

from netlab import __version__

__all__ = ["cli", "main", "run"]


class Group(click.Group):
    """A group that knows its commands by name, in order, and imports each when it is asked for it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.commands:
            return None
        name = cmd_name.replace("-", "_")
        found: click.Command = getattr(import_module(f"netlab.cli.{name}"), name)
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            from netlab.cli.habits import advice_for_group, did_you_mean

            near = did_you_mean(exc.option_name, ["--version", "--completion", "--help"])
            instead = near or advice_for_group(exc.option_name, args)
            raise click.UsageError(f"{exc.message} {instead}", ctx) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as exc:
            from netlab.cli.habits import advice_for_command

            instead = advice_for_command(args, list(self.commands))
            raise click.UsageError(f"{exc.message} {instead}".rstrip(), ctx) from None


def _print_completion(ctx: click.Context, param: click.Parameter, shell: str | None) -> None:
    if shell is None or ctx.resilient_parsing:
        return
    from netlab.reference.completion import completion_script
    from netlab.reference.tree import read_tree

    click.echo(completion_script(shell, read_tree(cli)), nl=False)
    ctx.exit()


@click.group(
    cls=Group,
    commands=[click.Command(name) for name in ("serve-tcp", "serve-threaded", "serve-udp", "send", "chat", "probe")],
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "NETLAB", "max_content_width": 80},
    epilog="First: netlab probe --loopback",
)
@click.version_option(__version__, prog_name="netlab", message="%(prog)s %(version)s", allow_from_autoenv=False)
@click.option(
    "--completion",
    type=click.Choice(["bash", "zsh", "fish"]),
    is_eager=True,
    expose_value=False,
    allow_from_autoenv=False,
    callback=_print_completion,
    help="Print a completion script; its first lines say where it goes.",
)
def cli() -> None:
    """A command-line laboratory for sockets: serve, send, chat, probe, and see what a connection does."""


def run(args: Sequence[str]) -> int:
    """Run one command line and return its exit status; only a bug in netlab raises.

    This stands in for Click's standalone mode, which would end an EPIPE silently with 1 and Ctrl-C with "Aborted!".
    """
    try:
        with cli.make_context("netlab", list(args)) as ctx:
            cli.invoke(ctx)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.ClickException as exc:
        _show(exc)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as exc:
        # Only Click's own printing of help comes here: commands turn their errors into statuses themselves.
        if exc.errno == errno.EPIPE:
            return 141
        if exc.errno in (errno.ENOSPC, errno.EIO):
            click.echo(f"netlab: write standard output: {exc.strerror}", err=True)
            return 23
        raise
    return 0


def _show(exc: click.ClickException) -> None:
    """Show an error of the command line; the words that it quotes may be a stranger's, such as a file's name."""
    import io
    import textwrap

    from netlab.render.safe import defuse

    shown = io.StringIO()
    exc.show(shown)
    lines = [defuse(line) for line in shown.getvalue().split("\n")]
    if sys.stderr is not None and sys.stderr.isatty():  # which would break a long line in the middle of a word
        width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        lines = [
            part
            for line in lines
            for part in textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
        ]
    with contextlib.suppress(OSError):  # nobody is left to tell
        click.echo("\n".join(lines), err=True, nl=False)


def main() -> NoReturn:
    """Run the process's own command line and end the process with its status.

    Ctrl-C and a closed stdout end it by the real signal, so that a shell sees 130 and 141 and its loops stop.
    """
    from netlab.cli.signals import die_by

    _open_standard_descriptors()
    try:
        status = run(sys.argv[1:])
    except Exception:
        import traceback

        traceback.print_exc()
        click.echo("netlab: this is a bug in netlab; the lines above say where.", err=True)
        os._exit(70)
    if status in (130, 141):
        die_by(status - 128)
    # Not sys.exit(): a daemon thread that blocks in the resolver must not hold up the end, nor must the collector.
    _flush_all()
    os._exit(status)


def _open_standard_descriptors() -> None:
    """Open /dev/null for each of 0, 1 and 2 that is closed: a socket that got such a number would get our output.

    Not for writing on 1: what cannot be shown has to be an error, as it is without this.
    """
    for fd, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # the lowest free number, which is this one


def _flush_all() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # closed before we started
            with contextlib.suppress(OSError):  # said already, or nobody is left to tell
                stream.flush()
