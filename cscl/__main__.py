"""`python -m cscl`: the same as the command `cscl`, for launchers that want a module."""

import os
import sys
from pathlib import Path


def _prefer_own_packages() -> None:
    """Take the working directory off the import path, which `-m` puts first: its `data/` may be somebody else's."""
    home = str(Path(__file__).resolve().parents[1])
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    if home not in sys.path:
        sys.path.insert(0, home)


if __name__ == "__main__":
    _prefer_own_packages()
    from cli import main

    main(prog_name="cscl")
