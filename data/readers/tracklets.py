"""What video data sets have in common: their protocols rank tracklets, not images."""

from collections.abc import Iterable
from pathlib import Path

from parsing.errors import InputError

from .listing import list_folder

UNTESTED = (
    "its published protocols rank tracklets, not images: masks and training only, `cscl evaluate` and `cscl score` "
    "have no protocol for it"
)


def refuse_protocols(name: str) -> InputError:
    """Return the error for a protocol of images of a data set whose own one ranks tracklets."""
    return InputError(f"{name}: {UNTESTED}")


def absent_files(root: Path, names: Iterable[str]) -> list[str]:
    """Return those of the names that are no image files below `root`; each folder is listed once."""
    present: dict[str, frozenset[str]] = {}
    absent = []
    for name in names:
        folder, _, file = name.rpartition("/")
        if folder not in present:
            present[folder] = frozenset(list_folder(f"{root}/{folder}").images)
        if file not in present[folder]:
            absent.append(name)
    return absent
