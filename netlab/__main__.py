"""``python -m netlab`` and the ``netlab`` script."""

from __future__ import annotations

from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run netlab; Ctrl-C while it is still being imported ends it quietly, too."""
    try:
        from netlab.cli import main as cli_main
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    cli_main()


if __name__ == "__main__":
    main()
