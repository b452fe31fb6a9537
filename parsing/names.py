"""Names of images: paths below a data set's folder with forward slashes, never taken as more than that."""

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath, PureWindowsPath

_SIGNS = ("..", "\\", ":", "\0", "//", "/.")


def leads_out(name: str) -> bool:
    """Return whether a name is no path below a folder, on any system: absolute, with `..`, of a drive, or empty.

    >>> leads_out("cam1/0001/0001.jpg"), leads_out("../secret.jpg")
    (False, True)
    """
    if name[:1] not in ("", ".", "/") and not any(sign in name for sign in _SIGNS):
        return False  # nearly all names, of which a cache may have many
    path, windows = PurePosixPath(name), PureWindowsPath(name)
    return bool(
        not path.parts or path.is_absolute() or windows.drive or windows.root or ".." in windows.parts or "\0" in name
    )


def find_name_fault(name: str) -> str:
    """Return why an image should not be called so; empty if it is a path below a folder that is written as usual.

    >>> find_name_fault("cam1//0001.jpg")
    "write it as 'cam1/0001.jpg'"
    """
    if leads_out(name) or "\\" in name:
        return "give the path of the image below its data set's folder, with forward slashes and without '..'"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "it is not UTF-8; rename the file"
    usual = str(PurePosixPath(name))
    return "" if name == usual else f"write it as {usual!r}"


def same_but_for_case(names: Iterable[str]) -> list[list[str]]:
    """Return the groups of different names that are one name on a file system that ignores case, such as NTFS or APFS.

    >>> same_but_for_case(["A.png", "b.png", "a.png"])
    [['A.png', 'a.png']]
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(unicodedata.normalize("NFC", name).casefold(), []).append(name)
    return [group for group in groups.values() if group[1:]]
