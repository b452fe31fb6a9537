"""Names of files and people in a line of text."""

from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

from parsing.words import list_briefly


def is_text(name: str) -> bool:
    """Return whether a file name is UTF-8; Python stands lone surrogates for other bytes of the file system."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def escape_name(name: str) -> str:
    """Return `name`, with bytes that are not UTF-8 escaped."""
    return name if is_text(name) else ascii(name)


def count_endings(others: Sequence[str]) -> str:
    """Return the counts of file names by ending, most first: `2 .heic, 1 .txt; the first is visible/a.heic`."""
    counted = Counter(PurePosixPath(name).suffix.lower() or "without an ending" for name in others)
    return list_briefly([f"{n} {suffix}" for suffix, n in counted.most_common()]) + f"; the first is {others[0]}"
