"""Files that are written whole or not at all: aside under a temporary name, then renamed to the name that they keep."""

import hashlib
import os
import re
import secrets
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.part")
"""What follows the name of a file while it is written; different in each process, so that two writers do not meet."""

_BLOCK = 4096
"""Bytes that a file system stores or leaves out together."""


@contextmanager
def replacing(path: Path, folder: Path | None = None) -> Iterator[Path]:
    """Yield a temporary path to write to; it replaces `path` if the block ends without an error, else it is removed.

    A process that is killed leaves the old `path` and the temporary file, which `find_leftovers` finds.

    Args:
        path: the file to make or to replace.
        folder: where the temporary file lies, on the file system of `path`; None for beside it.

    Raises:
        OSError: if `path` cannot be replaced; it names `path`.
    """
    if folder is None:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    else:  # whose owner clears it, so that the name need not say of what file it is: the longest allowed has no room
        temporary = folder / f"{secrets.token_hex(8)}.part"
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:  # the user knows the file that was to be written; a full disk names none
        if error.errno is not None and error.filename in (None, str(temporary)) and error.filename2 is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_file(path: Path, *content: bytes, folder: Path | None = None, sync: bool = True, holes: bool = False) -> None:
    """Write the bytes of `content`, one after the other, as the file `path`, by way of `replacing`.

    Args:
        path: the file to make or to replace.
        content: its bytes, in pieces.
        folder: as for `replacing`.
        sync: wait until the disk has the bytes, so that a power cut leaves no empty file under the new name. False
            is faster, and enough if the file can be made again.
        holes: skip blocks of zeros, which take no place on most file systems and are read as zeros all the same.

    Raises:
        OSError: if the disk is full or the place cannot be written to; `path` is then as it was.
    """
    with replacing(path, folder) as temporary, open(temporary, "xb") as file:
        for piece in content:
            if holes:
                _write_with_holes(file, piece)
            else:
                file.write(piece)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def _write_with_holes(file: BinaryIO, content: bytes) -> None:
    """Write bytes at the end of a file, without those blocks that are zeros."""
    for start in range(0, len(content), _BLOCK):
        block = content[start : start + _BLOCK]
        if block.count(0) < len(block):
            file.write(block)
        else:
            file.seek(len(block), os.SEEK_CUR)
    file.truncate(file.tell())


def probe_folder(folder: Path, name: str) -> None:
    """Create a file in `folder` and remove it, under the temporary name of a file called `name`.

    Raises:
        OSError: if the folder cannot be written to.
    """
    probe = folder / f"{name}.{secrets.token_hex(4)}.part"
    probe.touch(exist_ok=False)
    probe.unlink()


def find_leftovers(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Return the temporary files in `folder` that killed writers of files called `name` left behind, sorted."""
    found = ((path, TEMPORARY.search(path.name)) for path in folder.iterdir())
    return sorted(
        path for path, end in found if end and end.end() == len(path.name) and name.fullmatch(path.name[: end.start()])
    )


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the SHA-256 of each of these files below `folder`, by name; they are read in threads."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(file_hash, (folder / name for name in names)), strict=True))


def parse_toml(text: str) -> dict[str, Any]:
    """Return what a TOML text says.

    Raises:
        ValueError: if it is no TOML, also if it is nested without end, for which the standard library's parser has no
            error of its own.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
