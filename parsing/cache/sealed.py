"""HDF5 files that are written whole or not at all, under a seal that shows any later damage."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import h5py
from h5py import h5f, h5fd, h5g, h5p

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
    memory = io.BytesIO()
    with _create_in(memory) as made:
        fill(made)
    content = memory.getvalue()[SEAL_SIZE:]
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


def create_group(file: h5py.File, name: str) -> h5py.Group:
    """Create a group without the time of its creation, so that equal content has equal bytes."""
    creation = h5p.create(h5p.GROUP_CREATE)
    creation.set_obj_track_times(False)
    return h5py.Group(h5g.create(file.id, name.encode(), gcpl=creation))


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

    Nobody writes into a file of `write_whole`, so that none is needed. HDF5 keeps no chunks: each is one image, read
    whole, and HDF5 2.0 would keep 8 MiB of them per shard in every worker of a DataLoader.
    """
    try:
        return h5py.File(path, "r", rdcc_nbytes=0)
    except OSError as error:
        if "lock" not in str(error):
            raise
        return h5py.File(path, "r", rdcc_nbytes=0, locking=False)


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
            f"{path} is damaged: it was changed since it was written; `cscl masks verify` says what else is, and what "
            "mends it"
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


def _create_in(memory: io.BytesIO) -> h5py.File:
    """Create an empty HDF5 file without times; once it is closed, `memory` has its bytes.

    The image that HDF5's own driver for memory gives of an open file is none: HDF5 1.14 leaves a wrong checksum in it.
    """
    creation = h5p.create(h5p.FILE_CREATE)
    creation.set_userblock(SEAL_SIZE)
    creation.set_obj_track_times(False)
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_libver_bounds(h5f.LIBVER_V110, h5f.LIBVER_V110)
    access.set_fileobj_driver(h5fd.fileobj_driver, memory)
    return h5py.File(h5f.create(b"in memory", h5f.ACC_EXCL, fcpl=creation, fapl=access))


def _seal(digest: str) -> bytes:
    return (BEGINNING + digest.encode() + b"\n").ljust(SEAL_SIZE, b"\0")
