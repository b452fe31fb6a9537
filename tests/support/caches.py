"""Changing the files of a mask cache as another program would, with a seal that fits: damage is another matter."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from parsing.cache.sealed import BEGINNING, SEAL_SIZE, sealed_hash


@contextmanager
def edit(path: Path) -> Iterator[h5py.File]:
    """Open an index or a shard to change it, and seal it again; the index then has the shard's new hash."""
    with h5py.File(path, "r+") as file:
        yield file
    content = path.read_bytes()[SEAL_SIZE:]
    seal = BEGINNING + hashlib.sha256(content).hexdigest().encode() + b"\n"
    path.write_bytes(seal.ljust(SEAL_SIZE, b"\0") + content)
    index = path.parent.with_suffix(".h5")
    if path.parent.suffix == ".shards" and index.is_file():
        with edit(index) as file:
            hashes = file["shards/sha256"]
            for number, name in enumerate(file["shards/path"].asstr()[:]):
                if Path(name).name == path.name:
                    hashes[number] = str(sealed_hash(path))
