"""``python -m netlab`` and the ``netlab`` script."""

from __future__ import annotations

import gc
from typing import NoReturn

__all__ = ["main"]

_OBJECTS = 20_000
"""Objects between two collections.  CPython's 700 make thirty of a start, a twentieth of its time for nothing."""


def main() -> NoReturn:
    """Run netlab; Ctrl-C while it is still being imported ends it quietly, too."""
    gc.set_threshold(_OBJECTS)
    try:
        from netlab.cli import main as cli_main
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    cli_main()


if __name__ == "__main__":
    main()
