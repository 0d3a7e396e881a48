"""--fault and --seed: what a server is to do wrong, from the command line to `netlab.socketops.Faults`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from netlab.cli.command import Command, Option, open_renderer
from netlab.cli.types import Parsed

if TYPE_CHECKING:
    from netlab.endpoint import Endpoint
    from netlab.socketops import Faults

__all__ = ["FaultName", "FaultOption", "check_faults", "chosen_faults", "described"]

_LIST = "list"
"""Stands in place of a fault, and asks which there are."""


class FaultOption(Option):
    """--fault, whose help names the faults that there are: it is asked for them when somebody wants to read it."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        from netlab.socketops.faultlab.faulttable import kinds

        record = super().get_help_record(ctx)
        names = ", ".join(kind.name for kind in kinds(datagrams=cast(FaultName, self.type).datagrams))
        return record and (record[0], record[1].replace("NAMES", names))


class FaultName(Parsed):
    """A fault as it is written after --fault; ``datagrams`` says which ones this server can do."""

    def __init__(self, *, datagrams: bool) -> None:
        super().__init__("name[=value]", self._parser)
        self.datagrams = datagrams

    def _parser(self) -> Callable[[str], Any]:
        from netlab.socketops.faultlab.faults import parse_fault

        return lambda text: _LIST if text == _LIST else parse_fault(text, datagrams=self.datagrams)


def chosen_faults(ctx: click.Context, *, datagrams: bool) -> Faults | None:
    """Return what --fault and --seed ask for, None where all is to go well; ``--fault list`` ends the command here.

    Raises:
      UsageError: a fault is given twice, or a seed without one.
    """
    chosen = ctx.params
    if _LIST in chosen["fault"]:
        _show_list(ctx, datagrams=datagrams)
    if not chosen["fault"]:
        if ctx.get_parameter_source("seed") is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--seed is for --fault: nothing else here is left to chance.", ctx)
        return None
    from netlab import socketops

    try:
        faults = socketops.Faults(chosen["fault"], seed=chosen["seed"])
    except ValueError as exc:
        raise _refusal(ctx, str(exc)) from None
    if faults.never_accepts:
        if ctx.get_parameter_source("backlog") is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--backlog has no effect with no-accept, which listens with 0.", ctx)
        chosen["backlog"] = 0  # the shortest queue there is, for it is to be full
    return faults


def check_faults(ctx: click.Context, faults: Faults | None, endpoints: Sequence[Endpoint]) -> None:
    """Refuse what this server cannot do wrong at these endpoints.

    Raises:
      UsageError: there is such a fault.
    """
    if faults is None:
        return
    from netlab import socketops

    is_unix = any(endpoint.transport.is_unix for endpoint in endpoints)
    datagrams = endpoints[0].transport.is_datagram
    why_not = socketops.unable(faults.faults, reply=ctx.params["reply"], unix=is_unix, datagrams=datagrams)
    if why_not is not None:
        raise _refusal(ctx, why_not)


def described(ctx: click.Context, faults: Faults | None) -> dict[str, Any]:
    """Return what `netlab.records.Serving` says of them; a seed only where it makes a difference, or was asked for."""
    if faults is None:
        return {}
    matters = faults.uses_chance or ctx.params["seed"] is not None
    return {"faults": tuple(map(str, faults.faults)), "seed": faults.seed if matters else None}


def _refusal(ctx: click.Context, why: str) -> click.UsageError:
    return click.BadParameter(why, ctx, param_hint="'--fault'")


def _show_list(ctx: click.Context, *, datagrams: bool) -> NoReturn:
    from netlab.socketops.faultlab.faultlist import list_faults

    command = f"{ctx.info_name} --concurrent" if ctx.params.get("concurrent") else str(ctx.info_name)
    ctx.params["quiet"] = False  # that is about a server's log, and here is none
    show = open_renderer(ctx, cast(Command, ctx.command))
    show(list_faults(command, datagrams=datagrams))
    show.close()
    ctx.exit()
