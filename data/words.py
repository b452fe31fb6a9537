"""Names of files and people in a line of text."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from parsing.words import listed


def is_text(name: str) -> bool:
    """Whether a file name is UTF-8; the file system's other bytes come as lone surrogates."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def printable(name: str) -> str:
    """`name`, with bytes that are no UTF-8 written out."""
    return name if is_text(name) else ascii(name)


def endings(others: Sequence[str]) -> str:
    """What `Listing.others` are, by ending, most first: `2 .heic, 1 .txt; the first is visible/a.heic`."""
    counted = Counter(PurePosixPath(name).suffix.lower() or "without an ending" for name in others)
    return listed([f"{n} {suffix}" for suffix, n in counted.most_common()]) + f"; the first is {others[0]}"
