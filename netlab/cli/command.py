"""netlab's own Click classes: options in sections, habits of other tools answered, and one handler of errors.

Click ends silently with status 1 at an EPIPE that leaves a command, and turns Ctrl-C into "Aborted!" with 1; so a
command's errors are handled here, before Click sees them, and `netlab.cli.main` replaces its standalone mode.
"""

from __future__ import annotations

import errno
import itertools
import re
from typing import TYPE_CHECKING, Any

import click

from netlab.cli.habits import advice, as_one_word, did_you_mean

if TYPE_CHECKING:
    from netlab.render import Renderer
    from netlab.render.payload import PayloadRenderer

__all__ = ["SECTIONS", "Command", "Option", "open_renderer"]

SECTIONS = ("Where", "What", "When", "Output", "Trace")
"""Headings of the option lists in --help, in order."""

_RUN_OUT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What any call that opens something may say: this host, or a limit of this process, gives no more."""

_WORDS = "netlab.words"
"""Where a Context keeps the words of its command line, for errors that are about how they were written."""


_WHOLE = re.compile(r"\[default: [^]]*\]|\w-\w")
"""Where a line of --help is not to break: what one searches for, and names that have a dash."""

_UNBREAKABLE = str.maketrans(" -", "\u00a0\u2011")
_AS_WRITTEN = str.maketrans("\u00a0\u2011", " -")


class Option(click.Option):
    """An option that knows its section in --help, and names its variable where a value from there is wrong.

    ``rare`` ones stand behind the others of their section.
    """

    def __init__(self, *args: Any, section: str = "What", rare: bool = False, **attrs: Any) -> None:
        self.section = section
        self.rare = rare
        super().__init__(*args, **attrs)
        if isinstance(self.type, click.IntRange | click.FloatRange):
            # Click says "not a valid integer range" of a word that should be one number.
            self.type.name = "integer" if isinstance(self.type, click.IntRange) else "number"

    def make_metavar(self, ctx: click.Context) -> str:
        name = super().make_metavar(ctx)
        return "N" if name in ("INTEGER", "FLOAT", "NUMBER") else name

    def get_help_extra(self, ctx: click.Context) -> Any:
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)  # "x>=0" tells nobody anything
        return extra


class Command(click.Command):
    """A command whose options are listed by section and whose failures end here.

    ``serves``: whether it is a server, whose log lines may be dropped rather than hold up its clients.
    ``converses``: whether it is a client whose stdout carries what the peer sends; ``terse`` if nothing else is shown
    unless -v asks for it.
    """

    def __init__(
        self, *args: Any, serves: bool = False, converses: bool = False, terse: bool = False, **attrs: Any
    ) -> None:
        self.serves = serves
        self.converses = converses
        self.terse = terse
        super().__init__(*args, **attrs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for word, following in itertools.pairwise(args):
            if word == "--":
                break
            if word == "-h" and not following.startswith("-"):
                raise click.UsageError(f"-h is help; did you mean -H {following}?", ctx)
        ctx.meta[_WORDS] = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
            names = [name for option in options for name in (*option.opts, *option.secondary_opts)]
            instead = advice(exc.option_name, ctx.meta[_WORDS]) or did_you_mean(exc.option_name, names)
            raise click.UsageError(f"{exc.message} {instead}".rstrip(), ctx) from None
        except click.UsageError as exc:
            raise _explained(exc, ctx) from None

    def get_help(self, ctx: click.Context) -> str:
        return super().get_help(ctx).translate(_AS_WRITTEN)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        listed: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS}
        # The option of help is Click's own, and goes last.
        for param in sorted(self.get_params(ctx), key=lambda param: getattr(param, "rare", 2)):
            row = param.get_help_record(ctx)
            if row is not None and isinstance(param, click.Option):
                text = _WHOLE.sub(lambda found: found[0].translate(_UNBREAKABLE), row[1])
                listed[param.section if isinstance(param, Option) else "Output"].append((row[0], text))
        for section, rows in listed.items():
            if rows:
                with formatter.section(section):
                    formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        from netlab.cli.tracing import tracing
        from netlab.errors import LocalError, NetlabError, StdoutClosed

        ctx.obj = out = open_renderer(ctx, self)
        try:
            try:
                with tracing(ctx, out, serves=self.serves):
                    return super().invoke(ctx)
            finally:
                out.close()
        except click.UsageError as exc:
            raise _explained(exc, ctx) from None
        except StdoutClosed as exc:
            raise click.exceptions.Exit(exc.status) from None
        except NetlabError as exc:
            exc.facts += tuple(f"as {variable} says" for variable in _variables(str(exc), ctx, but=_overridden(ctx)))
            out.error(exc)
            raise click.exceptions.Exit(exc.status) from None
        except OSError as exc:
            if exc.errno not in _RUN_OUT:
                raise
            error = LocalError.from_os(exc, str(ctx.info_name))
            out.error(error)
            raise click.exceptions.Exit(error.status) from None


def _explained(exc: click.UsageError, ctx: click.Context) -> click.UsageError:
    """Say in an error that HOST PORT, two words, are one, and which variables have brought what it is about."""
    pair, says = as_one_word(ctx.meta[_WORDS]), exc.message
    if pair and says.startswith("Got unexpected extra arg"):
        exc = click.UsageError(f"{says}. Host and port are one word: {pair}", ctx)
    elif pair and " has no port. Did you mean " in says:
        exc = click.UsageError(f"{says.partition(' Did you mean ')[0]} Did you mean {pair}?", ctx)
    variables = _variables(exc.format_message(), ctx, getattr(exc, "param", None))
    return click.UsageError(f"{exc.format_message()} (from {', '.join(variables)})", ctx) if variables else exc


def _overridden(ctx: click.Context) -> tuple[str, ...]:
    """Return the options whose variables say where, though the command line said it."""
    typed = any(
        ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE for name in ("host", "port", "unix")
    )
    if typed or not any(ctx.params.get(name) for name in ("endpoint", "target", "targets", "words")):
        return ()
    return ("host", "unix") if "targets" in ctx.params else ("host", "port", "unix")  # a target may have no port


def _variables(
    says: str, ctx: click.Context, wrong: click.Parameter | None = None, but: tuple[str, ...] = ()
) -> list[str]:
    """Return the variables that an error is about: of the ``wrong`` option, or of those that it names or quotes."""
    found = []
    for param in ctx.command.params:
        is_set = ctx.get_parameter_source(str(param.name)) is click.core.ParameterSource.ENVIRONMENT
        if not is_set or param.name in but:
            continue
        words, value = [*param.opts, *param.secondary_opts], str(param.resolve_envvar_value(ctx))
        # A digit stands in many a message by chance.
        if len(value) > 1 or str(param.name) in says:
            words.append(value)
        if param is wrong or any(re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", says) for word in words):
            found.append(f"{ctx.auto_envvar_prefix}_{str(param.name).upper()}")
    return found


def open_renderer(ctx: click.Context, command: Command) -> Renderer | PayloadRenderer:
    """Make the renderer that a command's output options ask for."""
    import os

    from netlab.render import Writer, renderer, want_color

    chosen = ctx.params
    # Nobody who reads too little may stop a server, not even one that has a warning.
    stdout, stderr = (Writer(fd, drop_after=1.0 if command.serves else None) for fd in (1, 2))
    on, off = (want_color(chosen.get("color", "auto"), os.environ, terminal) for terminal in (True, False))
    show = renderer(
        json=chosen.get("json", False),
        quiet=chosen.get("quiet", False),
        verbose=chosen.get("verbose", False),
        color=on if on == off else None,
        encoding=chosen.get("encoding") or "utf-8",
        stdout=stdout,
        stderr=stderr,
        payload_on_stdout=command.converses and not stdout.is_terminal,
        hexdump=chosen.get("hexdump", False),
        diagram=chosen["diagram"],
    )
    if not command.converses:
        return show
    from netlab.render.payload import PayloadRenderer

    return PayloadRenderer(
        show,
        stdout,
        encoding=chosen["encoding"],
        hexdump=chosen["hexdump"],
        json=chosen["json"],
        terse=command.terse and not chosen["verbose"],
        erase="\r  \r" if os.environ.get("TERM", "dumb") == "dumb" else "\r\x1b[K",
    )
