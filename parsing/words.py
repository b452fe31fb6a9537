"""Parts of messages: lists of names cut to a readable length, paths as a shell takes them."""

import os
import shlex
from collections.abc import Sequence


def list_briefly(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` of `names`, and how many more there are.

    >>> list_briefly(["anna", "ben", "cora"], 2)
    'anna, ben and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def quote_path(path: str | os.PathLike[str]) -> str:
    """Return `path` as an argument of a suggested command, which can be pasted into a shell.

    >>> quote_path("my data/masks.h5")
    "'my data/masks.h5'"
    """
    return shlex.quote(os.fspath(path))
