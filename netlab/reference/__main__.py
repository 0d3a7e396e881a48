"""``python -m netlab.reference`` writes the files that are made from the commands; ``--check`` says which differ."""

from __future__ import annotations

from pathlib import Path

import click

from netlab.cli import cli
from netlab.reference.files import COMMAND, drifted


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--check", is_flag=True, help="Write nothing; name the files that differ, with status 1.")
@click.pass_context
def main(ctx: click.Context, check: bool) -> None:
    """Write completion scripts, man pages and the READMEs' blocks anew, from the commands themselves."""
    root = Path(__file__).resolve().parents[2]
    if not (root / "pyproject.toml").is_file():
        raise click.ClickException(f"{root} is no source tree of netlab.")
    found = drifted(root, cli)
    for path, text in found:
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
        click.echo(f"{'differs' if check else 'written'}: {path.relative_to(root)}")
    if found and check:
        click.echo(f"To write them anew: {COMMAND}", err=True)
        ctx.exit(1)


if __name__ == "__main__":
    main(prog_name=COMMAND)
