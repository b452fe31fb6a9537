"""Listing the image files of a folder: the one rule for what is an image, what is left out and what is refused."""

import os
import re
from pathlib import Path
from typing import NamedTuple

from parsing.errors import InputError
from parsing.images import image_suffixes

from ..words import escape_name, is_text

_IDENTITY = re.compile("[0-9]{4}")
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


class Listing(NamedTuple):
    """File names: images, and files that Pillow does not open. Hidden and system files are in neither."""

    images: list[str]
    others: list[str]


def list_folder(folder: str) -> Listing:
    """Return sorted names of the files directly in `folder`; none if there is no such folder.

    Raises:
        InputError: the folder cannot be listed, or a file name is not UTF-8.
    """
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


def find_strays(root: Path, folder: str) -> tuple[str, ...]:
    """Return sorted names, relative to `root`, of entries of `root/folder` that are no folders named by four digits."""
    try:
        with os.scandir(root / folder) as entries:
            names = [e.name for e in entries if not (_IDENTITY.fullmatch(e.name) and e.is_dir())]
    except (FileNotFoundError, NotADirectoryError):
        return ()
    return tuple(f"{folder}/{escape_name(name)}" for name in sorted(names) if not _is_hidden(name))


def list_below(root: Path, folder: str) -> Listing:
    """Return sorted names, relative to `root`, of the files at any depth of `root/folder`.

    Each folder is listed once: under its own name if that lies here, else under the first link to it.

    Raises:
        InputError: a folder cannot be listed, or a name is not UTF-8.
    """
    found, waiting, links, seen = Listing([], []), [folder], list[str](), set()
    while waiting or links:
        below = waiting.pop() if waiting else links.pop(0)
        try:
            status = os.stat(root / below)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(root / below) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    if not _sort_in(entry, f"{below}/{entry.name}", found):
                        (links if entry.is_symlink() else waiting).append(f"{below}/{entry.name}")
        except OSError as error:
            raise InputError(f"cannot list {root / below}: {error.strerror}") from error
    return _checked(found, str(root))


def _sort_in(entry: os.DirEntry[str], name: str, found: Listing) -> bool:
    """Add a file to `found` as `name`; return False for a folder that must be listed itself."""
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
            f"in {escape_name(where)} the file name {min(wrong)!a}{more} is not UTF-8; rename it, "
            "as `convmv -r -f gbk -t utf8 --notest FOLDER` does for Chinese names"
        )
    for names in found:
        names.sort()
    return found


def is_image(file: str) -> bool:
    """Return whether Pillow opens files of this ending; False for hidden files (`._0001.jpg`)."""
    return file[:1] != "." and os.path.splitext(file)[1].lower() in image_suffixes()
