"""Reading the lists that data sets come with: identities, names of people, and index lists of images."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from parsing.errors import InputError, MissingError


class IndexLine(NamedTuple):
    """One line of an index list: the image, the list's label, and the number of the folder that holds it."""

    name: str
    label: int
    identity: int


def read_words(path: Path) -> list[str]:
    """Return the words of a list, separated by commas or lines, in the list's order."""
    return [word.strip() for line in read_lines(path) for word in line.split(",") if word.strip()]


def read_ids(path: Path) -> list[int]:
    """Return the identity numbers of a comma-separated list, sorted, each once."""
    ids = set()
    for word in read_words(path):
        if not is_number(word):
            raise InputError(f"{path}: {word!r} is not an identity; expected numbers with commas, such as 1,2,5")
        ids.add(int(word))
    return sorted(ids)


def read_index(root: Path, lists: Iterable[str]) -> list[list[IndexLine]]:
    """Return the lines `path label` of index lists that share their labels; no name leaves the data set's folder.

    Labels are numbered anew in every split, so the identity is the number of the folder that holds the image;
    InputError if the two contradict each other. A line that a list repeats counts once.
    """
    result: list[list[IndexLine]] = []
    label_of: dict[int, int] = {}
    identity_of: dict[int, int] = {}
    for list_name in lists:
        lines: dict[str, IndexLine] = {}
        for number, text in enumerate(read_lines(root / list_name), start=1):
            if not text.strip():
                continue
            where = f"{root / list_name}, line {number}"
            path, label_text = ["", *text.rsplit(maxsplit=1)][-2:]
            if not (path.strip() and is_number(label_text)):
                raise InputError(f"{where}: expected 'path label', got {text.strip()!r}")
            name, label = name_inside(path.strip(), where), int(label_text)
            folder = PurePosixPath(name).parent.name
            if not is_number(folder):
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


def is_number(text: str) -> bool:
    """Return whether a text is a number from 0 of at most nine digits, as a cache can hold for identities."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def name_inside(name: str, where: str) -> str:
    """Return `name` without `.` parts; InputError if it is absolute, or has `..` or backslashes."""
    windows = PureWindowsPath(name)
    path = PurePosixPath(name)
    if path.is_absolute() or windows.drive or windows.root or "\\" in name or ".." in path.parts or "\0" in name:
        raise InputError(f"{where}: {name!r} must be a path below the data set's folder, with forward slashes")
    return str(path)


def read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise MissingError(f"there is no list {path}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the list {path} is not UTF-8 (UTF-16, perhaps); save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"cannot read the list {path}: {error}") from error
