"""Run the command `cscl` as `python -m cscl`, for launchers that take a module instead of a command."""

import os
import sys
from pathlib import Path


def _prefer_own_packages() -> None:
    """Remove the working directory from the import path.

    `python -m` puts it first, and a package `data/` of another project there would hide ours.
    """
    home = str(Path(__file__).resolve().parents[1])
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    if home not in sys.path:
        sys.path.insert(0, home)


if __name__ == "__main__":
    _prefer_own_packages()
    from cli import main

    main(prog_name="cscl")
