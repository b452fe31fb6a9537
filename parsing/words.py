"""Parts of messages: lists of names cut to a readable length."""

from collections.abc import Sequence


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return the first `most` of `names`, and how many more there are.

    >>> listed(["anna", "ben", "cora"], 2)
    'anna, ben and 1 more'
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
