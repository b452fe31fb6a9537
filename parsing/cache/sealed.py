"""HDF5 files that are written whole or not at all, under a seal that shows any later damage."""

import hashlib
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import h5py

from ..errors import CsclError

SEAL_SIZE = 512
"""Bytes before the HDF5 content, in what HDF5 calls its user block: text with the SHA-256 of the content."""
BEGINNING = b"cscl sha256 "
TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.part")
"""What follows a file's name while it is written."""


def write_whole(path: Path, fill: Callable[[h5py.File], None]) -> None:
    """Create the HDF5 file `path` by `fill(file)`: made in memory, written under a temporary name, synced, renamed.

    Two writers of one file do not meet, and a writer that is killed leaves a temporary file and the old `path`.
    CsclError where the disk is full or the place cannot be written to.
    """
    # in memory first: HDF5 itself cannot let go of a file that a full disk did not take
    with h5py.File(
        secrets.token_hex(8), "w", driver="core", backing_store=False, libver=("v110", "v110"), userblock_size=SEAL_SIZE
    ) as made:
        fill(made)
        made.flush()
        content = made.id.get_file_image()
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with open(temporary, "xb") as file:
                file.write(_seal(hashlib.sha256(content).hexdigest()))
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise CsclError(
            f"{path} could not be written: {error.strerror or error}; once that is mended, the same command goes on"
        ) from error


def is_sealed(path: Path) -> bool:
    """Whether `path` is there and every byte is as it was written."""
    try:
        with open(path, "rb") as file:
            return file.read(SEAL_SIZE) == _seal(hashlib.file_digest(file, "sha256").hexdigest())
    except OSError:  # not there, or on a part of a disk that cannot be read any more
        return False


def was_ours(path: Path) -> bool:
    """Whether a file that may be damaged begins as those of `write_whole` do."""
    with open(path, "rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


def leftovers(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """Temporary files in `folder` that killed writers of files called `name` left behind."""
    found = ((path, TEMPORARY.search(path.name)) for path in folder.iterdir())
    return sorted(
        path for path, end in found if end and end.end() == len(path.name) and name.fullmatch(path.name[: end.start()])
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _seal(digest: str) -> bytes:
    return (BEGINNING + digest.encode() + b"\n").ljust(SEAL_SIZE, b"\0")
