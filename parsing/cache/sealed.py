"""HDF5 files that are written whole or not at all, under a seal that shows any later damage."""

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path

import h5py

from ..errors import CacheError, CsclError
from ..files import write_file

SEAL_SIZE = 512
"""Bytes before the HDF5 content, in what HDF5 calls its user block: text with the SHA-256 of the content."""
BEGINNING = b"cscl sha256 "
BLOCK = 1 << 20
"""Bytes that are read and hashed at a time."""


def write_whole(path: Path, fill: Callable[[h5py.File], None]) -> str:
    """Create the HDF5 file `path` by `fill(file)`, in memory first, and return the SHA-256 of the file.

    Two writers of one file do not meet; a writer that is killed leaves the old `path` and a temporary file.

    Raises:
        CsclError: if the disk is full or the place cannot be written to.
    """
    # in memory first: HDF5 itself cannot let go of a file that a full disk did not take
    with h5py.File(
        secrets.token_hex(8), "w", driver="core", backing_store=False, libver=("v110", "v110"), userblock_size=SEAL_SIZE
    ) as made:
        fill(made)
        made.flush()
        content = made.id.get_file_image()
    seal = _seal(hashlib.sha256(content).hexdigest())
    try:
        write_file(path, seal, content)
    except OSError as error:
        raise CsclError(
            f"{path} could not be written: {error.strerror or error}; once that is mended, the same command goes on"
        ) from error
    whole = hashlib.sha256(seal)
    whole.update(content)
    return whole.hexdigest()


def sealed_hash(path: Path) -> str | None:
    """Return the SHA-256 of the file `path`; None unless it is there and every byte is as it was written."""
    content = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            seal = file.read(SEAL_SIZE)
            whole = hashlib.sha256(seal)
            while block := file.read(BLOCK):
                content.update(block)
                whole.update(block)
    except OSError:  # not there, or on a part of a disk that cannot be read any more
        return None
    return whole.hexdigest() if seal == _seal(content.hexdigest()) else None


def open_stored(path: Path) -> h5py.File:
    """Open a file to read; without the locks of HDF5 if those fail, as on file systems that have none.

    Nobody writes into a file of `write_whole`, so that none is needed.
    """
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if "lock" not in str(error):
            raise
        return h5py.File(path, "r", locking=False)


def open_sealed(path: Path, digest: str | None = None) -> h5py.File:
    """Open a file to read after `check_seal`."""
    check_seal(path, digest)
    return open_stored(path)


def check_seal(path: Path, digest: str | None = None) -> None:
    """Check that a file of `write_whole` is as it was written: on damaged files HDF5 can hang or crash.

    Args:
        path: the file.
        digest: the SHA-256 that it should have; None for any.

    Raises:
        CacheError: if it is damaged, or another file than that one.
    """
    if not is_ours(path):
        return
    found = sealed_hash(path)
    if found is None:
        raise CacheError(
            f"{path} is damaged: it was changed since it was written; the command that made the cache mends it, "
            "`cscl masks verify` says what else is damaged"
        )
    if digest is not None and found != digest:
        raise CacheError(
            f"{path} is not the file that the index describes: it was written again since, by a run that has not ended "
            "or after the cache was opened"
        )


def is_ours(path: Path) -> bool:
    """Return whether a file that may be damaged begins as those of `write_whole` do."""
    with open(path, "rb") as file:
        return file.read(len(BEGINNING)) == BEGINNING


def _seal(digest: str) -> bytes:
    return (BEGINNING + digest.encode() + b"\n").ljust(SEAL_SIZE, b"\0")
