"""The index of a mask cache: one file over all shards, made from them and from nothing else."""

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import CacheError
from .sealed import file_hash, leftovers, write_whole
from .shard import Columns, read_columns

SHARD_NAME = re.compile(r"\d{5}\.h5")
"""How shards are called; what else lies in their folder is not ours."""


def shard_folder(index: Path) -> Path:
    """The folder of shards beside an index: `sysu_masks.h5` -> `sysu_masks.shards`."""
    return index.with_suffix(".shards")


def shards_of(index: Path) -> list[Path]:
    """The files in the folder of shards that are called as shards are."""
    return sorted(path for path in shard_folder(index).glob("*.h5") if SHARD_NAME.fullmatch(path.name))


def orphans(index: Path) -> list[Path]:
    """Temporary files that killed runs left beside the index and in the folder of shards."""
    folder = shard_folder(index)
    beside = leftovers(index.parent, re.compile(re.escape(index.name)))
    return beside + (leftovers(folder, SHARD_NAME) if folder.is_dir() else [])


def build_index(index: Path, shards: list[Path]) -> None:
    """Write `index` over `shards` (in order), with a virtual `labels` so that plain h5py reads every mask."""
    read = [read_columns(path) for path in shards]
    if not read:
        raise CacheError(f"{index}: there is no shard to index")
    attributes: dict[str, Any] = read[0][1]
    for path, (_, found) in zip(shards, read, strict=True):
        if found != attributes:
            raise CacheError(f"{path} belongs to another cache than {shards[0]}")
    counts = np.array([len(columns) for columns, _ in read])
    columns = Columns.joined([c for c, _ in read])

    def fill(file: h5py.File) -> None:
        file.attrs.update(attributes)
        columns.write(file)
        text = h5py.string_dtype("utf-8")
        relative = [f"{shard_folder(index).name}/{path.name}" for path in shards]
        file.create_dataset("shards/path", data=relative, dtype=text, track_times=False)
        file.create_dataset("shards/count", data=counts, track_times=False)
        file.create_dataset("shards/sha256", data=[file_hash(p) for p in shards], dtype=text, track_times=False)
        file.create_dataset("shard", data=np.repeat(np.arange(len(shards)), counts), track_times=False)
        file.create_dataset("row", data=np.concatenate([np.arange(n) for n in counts]), track_times=False)
        for name in ("labels", "probs"):
            with h5py.File(shards[0], "r") as first:
                if name not in first:
                    continue
                shape = first[name].shape[1:]
            _create_virtual(file, name, relative, counts.tolist(), shape)

    write_whole(index, fill)


def _create_virtual(file: h5py.File, name: str, paths: list[str], counts: list[int], shape: tuple[int, ...]) -> None:
    """The rows of data set `name` (n, *shape) in all `paths`, as one; without the times that h5py's own would keep."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.VIRTUAL)
    layout.set_obj_track_times(False)
    whole = h5py.h5s.create_simple((sum(counts), *shape))
    start = 0
    for path, count in zip(paths, counts, strict=True):
        whole.select_hyperslab((start, *(0 for _ in shape)), (count, *shape))
        layout.set_virtual(whole, path.encode(), name.encode(), h5py.h5s.create_simple((count, *shape)))
        start += count
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.STD_U8LE, h5py.h5s.create_simple((start, *shape)), layout)
