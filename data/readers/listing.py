"""What the readers share: listing image files, reading id and index lists, and saying what a folder lacks."""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from parsing.errors import InputError, MissingError
from parsing.images import image_suffixes
from parsing.modality import MODALITIES

from ..records import DataSet
from ..words import is_text, printable

SIGNS = {
    "sysu": ("cam1", "cam3"),
    "regdb": ("Visible", "Thermal"),
    "llcm": ("test_vis", "test_nir"),
    "folder": MODALITIES,
}
"""Folders that together give a data set away."""

CAMERA = r"(?:[cd]|cam(?:era)?[_\- ]?)([0-9]{1,4})"
"""What reads as a camera: c1, cam1, cam_1, camera3, D1, whatever the case."""
CAMERA_ENDS = r"(?=s[0-9]|[_\-. ]|$)"
"""Where a camera in a file name ends: c1_, and c1s1 of Market-1501."""

_CAMERA_FOLDER = re.compile(CAMERA, re.IGNORECASE)
_CAMERA_IN_FILE = re.compile(f"(?:^|[_\\-. ]){CAMERA}{CAMERA_ENDS}", re.IGNORECASE)
_IDENTITY = re.compile("[0-9]{4}")
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


class IndexLine(NamedTuple):
    """One line of an index list: the image, the list's label, and the number of the folder that holds it."""

    name: str
    label: int
    identity: int


class Listing(NamedTuple):
    """Files by what they are: images, and what Pillow does not open; hidden and system files are neither."""

    images: list[str]
    others: list[str]


def list_folder(folder: str) -> Listing:
    """Sorted names of the files directly in `folder`; none where there is no such folder."""
    found = Listing([], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                _sort_in(entry, entry.name, found)
    except (FileNotFoundError, NotADirectoryError):
        return found
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from error
    return _checked(found, folder)


def strays(root: Path, folder: str) -> tuple[str, ...]:
    """Sorted names below `root` of what lies in `root/folder` and is no folder of an identity, four digits."""
    try:
        with os.scandir(root / folder) as entries:
            names = [e.name for e in entries if not (_IDENTITY.fullmatch(e.name) and e.is_dir())]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(f"{folder}/{printable(name)}" for name in sorted(names) if not _is_hidden(name))


def list_below(root: Path, folder: str) -> Listing:
    """Sorted names below `root` of the files at any depth of `root/folder`; links are followed once."""
    found, waiting, seen = Listing([], []), [folder], set()
    while waiting:
        below = waiting.pop()
        try:
            status = os.stat(root / below)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(root / below) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not _sort_in(entry, f"{below}/{entry.name}", found):
                        waiting.append(f"{below}/{entry.name}")
        except OSError as error:
            raise InputError(f"cannot list {root / below}: {error.strerror}") from error
    return _checked(found, str(root))


def _sort_in(entry: os.DirEntry[str], name: str, found: Listing) -> bool:
    """Put a file where it belongs, as `name`; False for a folder that is to be looked into."""
    if entry.name.startswith("."):
        return True
    if entry.is_dir():
        return False
    if is_image(entry.name):
        found.images.append(name)
    elif not _is_hidden(entry.name):
        found.others.append(name)
    return True


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FILES


def _checked(found: Listing, where: str) -> Listing:
    if not is_text("".join(name for names in found for name in names)):
        wrong = [name for names in found for name in names if not is_text(name)]
        more = f" and {len(wrong) - 1} more" if wrong[1:] else ""
        raise InputError(
            f"in {printable(where)} the file name {min(wrong)!a}{more} is not UTF-8; rename it, "
            "as `convmv -r -f gbk -t utf8 --notest FOLDER` does for Chinese names"
        )
    for names in found:
        names.sort()
    return found


def is_image(file: str) -> bool:
    """Whether a file name is that of an image which Pillow opens; hidden files (`._0001.jpg`) are not."""
    return file[:1] != "." and os.path.splitext(file)[1].lower() in image_suffixes()


def camera_of(name: str) -> int:
    """Camera in a path: a folder that reads as one (`CAMERA`), else a part of the file name; 0 where there is none.

    >>> camera_of("vis/0351/0351_c06_s200656_f4830_vis.jpg")
    6
    """
    cameras = cameras_of(name)
    return cameras[0] if cameras else 0


def cameras_of(name: str) -> list[int]:
    """Every camera that a path names: its folders from the last to the first, then the first in the file name."""
    path = PurePosixPath(name)
    found = [_CAMERA_FOLDER.fullmatch(folder) for folder in reversed(path.parts[:-1])]
    found.append(_CAMERA_IN_FILE.search(path.stem))
    return [int(match[1]) for match in found if match]


def is_camera(folder: str) -> bool:
    """Whether a folder's name reads as a camera's."""
    return _CAMERA_FOLDER.fullmatch(folder) is not None


def read_words(path: Path) -> list[str]:
    """Words of a list separated by commas or lines, in the list's order."""
    return [word.strip() for line in _lines(path) for word in line.split(",") if word.strip()]


def read_ids(path: Path) -> list[int]:
    """Identity numbers of a comma-separated list, sorted, each once."""
    ids = set()
    for word in read_words(path):
        if not (word.isascii() and word.isdigit()):
            raise InputError(f"{path}: {word!r} is not an identity; expected numbers with commas, such as 1,2,5")
        ids.add(int(word))
    return sorted(ids)


def read_index(root: Path, lists: Iterable[str]) -> list[list[IndexLine]]:
    """Lines `path label` of index lists that share their labels; no name leaves the data set's folder.

    Labels are numbered anew in every split, so the identity is the number of the folder that holds the image;
    InputError where the two contradict each other. A line that a list repeats counts once.
    """
    result: list[list[IndexLine]] = []
    label_of: dict[int, int] = {}
    identity_of: dict[int, int] = {}
    for list_name in lists:
        lines: dict[str, IndexLine] = {}
        for number, text in enumerate(_lines(root / list_name), start=1):
            if not text.strip():
                continue
            where = f"{root / list_name}, line {number}"
            path, label_text = ["", *text.rsplit(maxsplit=1)][-2:]
            if not (path.strip() and label_text.isascii() and label_text.isdigit()):
                raise InputError(f"{where}: expected 'path label', got {text.strip()!r}")
            name, label = name_inside(path.strip(), where), int(label_text)
            folder = PurePosixPath(name).parent.name
            if not (folder.isascii() and folder.isdigit()):
                raise InputError(f"{where}: expected the image in a folder named by its identity, got {name!r}")
            identity = int(folder)
            if label_of.setdefault(identity, label) != label or identity_of.setdefault(label, identity) != identity:
                raise InputError(
                    f"{where}: label {label} and folder {folder} contradict an earlier line; "
                    "one label must stand for one folder number in both modalities"
                )
            lines[name] = IndexLine(name, label, identity)
        if not lines:
            raise InputError(f"{root / list_name} is empty; expected lines 'path label'")
        result.append(list(lines.values()))
    return result


def name_inside(name: str, where: str) -> str:
    """`name` without `.` parts; InputError where it is absolute, climbs with `..` or has backslashes."""
    windows = PureWindowsPath(name)
    path = PurePosixPath(name)
    if path.is_absolute() or windows.drive or windows.root or "\\" in name or ".." in path.parts or "\0" in name:
        raise InputError(f"{where}: {name!r} must be a path below the data set's folder, with forward slashes")
    return str(path)


def looks_like(root: Path) -> str | None:
    """Name of the data set whose folders lie in `root`, if any."""
    present = {entry.name for entry in os.scandir(root)}
    return next((name for name, signs in SIGNS.items() if present.issuperset(signs)), None)


def require(data_set: type[DataSet], root: Path) -> None:
    """Raise InputError with the expected tree unless `root` is there and holds the data set's parts."""
    name = data_set.name
    if not is_text(str(root)):
        raise InputError(f"{name}: the folder's name {str(root)!a} is not UTF-8; rename it")
    expected = f"Expected:\n{data_set.tree}"
    if not root.exists():
        raise MissingError(f"{name}: there is no folder {root}. {expected}")
    if not root.is_dir():
        raise InputError(f"{name}: {root} is a file, not a folder. {expected}")
    absent = [part for part in data_set.parts if not (root / part).exists()]
    if not absent:
        return
    other = looks_like(root)
    if other not in (None, name):
        raise InputError(f"{name}: {root} looks like {other}; use --dataset {other} or another --root. {expected}")
    if not any(os.scandir(root)):
        raise MissingError(f"{name}: {root} is empty. {expected}")
    inner = next((entry for entry in sorted(root.iterdir()) if entry.is_dir() and looks_like(entry) == name), None)
    if inner is not None:
        raise MissingError(f"{name}: {root} holds the data set in {inner.name}; use --root {inner}")
    raise MissingError(f"{name}: {root} has no {', '.join(absent)}. {expected}")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise MissingError(f"there is no list {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the list {path}: {error}") from error
