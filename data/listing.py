"""What the readers share: listing image files, reading id and index lists, and saying what a folder lacks."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from parsing.errors import InputError, MissingError

from .records import DataSet

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
SIGNS = {
    "sysu": ("cam1", "cam3"),
    "regdb": ("Visible", "Thermal"),
    "llcm": ("test_vis", "test_nir"),
    "folder": ("visible", "infrared"),
}
"""Folders that together give a data set away."""

_CAMERA_FOLDER = re.compile(r"c(?:am)?(\d+)", re.IGNORECASE)
_CAMERA_IN_FILE = re.compile(r"(?:^|[_\-. ])c(?:am)?(\d+)(?=s\d|[_\-. ]|$)", re.IGNORECASE)


class IndexLine(NamedTuple):
    """One line of an index list: the image, the list's label, and the number of the folder that holds it."""

    name: str
    label: int
    identity: int


def is_image(file: str) -> bool:
    """Whether a file name is that of an image; hidden files (`._0001.jpg`) are not."""
    return file[:1] != "." and file.lower().endswith(IMAGE_SUFFIXES)


def image_files(folder: str) -> list[str]:
    """Sorted names of the images directly in `folder`; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if is_image(entry.name) and not entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"cannot list {folder}: {error.strerror}") from error


def images_below(root: Path, folder: str) -> Iterator[str]:
    """Names below `root` of the images at any depth of `root/folder`, unsorted; links are followed once."""
    waiting, seen = [folder], set()
    while waiting:
        below = waiting.pop()
        try:
            status = os.stat(root / below)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(root / below) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append(f"{below}/{entry.name}")
                    elif is_image(entry.name):
                        yield f"{below}/{entry.name}"
        except OSError as error:
            raise InputError(f"cannot list {root / below}: {error.strerror}") from error


def camera_of(name: str) -> int:
    """Camera in a path: a folder `cam3` or `c3`, else a part of the file name, `_c3_` or `_c3s1_`, else 0.

    >>> camera_of("vis/0351/0351_c06_s200656_f4830_vis.jpg")
    6
    """
    path = PurePosixPath(name)
    for folder in reversed(path.parts[:-1]):
        if match := _CAMERA_FOLDER.fullmatch(folder):
            return int(match[1])
    match = _CAMERA_IN_FILE.search(path.stem)
    return int(match[1]) if match else 0


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
    InputError where the two contradict each other.
    """
    result: list[list[IndexLine]] = []
    label_of: dict[int, int] = {}
    identity_of: dict[int, int] = {}
    for list_name in lists:
        lines: list[IndexLine] = []
        result.append(lines)
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
            lines.append(IndexLine(name, label, identity))
        if not lines:
            raise InputError(f"{root / list_name} is empty; expected lines 'path label'")
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
