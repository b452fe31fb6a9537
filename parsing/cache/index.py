"""The index of a mask cache: one file over all shards, made from them and from nothing else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..errors import CacheError
from ..files import find_leftovers
from ..labels import IGNORED
from .sealed import create_group, open_stored, write_whole
from .shard import Columns, StoredFile
from .stored import TEXT, read_stored_array

SHARD_NAME = re.compile(r"\d{5}\.h5")
"""The names of shards; other files in their folder are not ours."""


def shard_name(number: int) -> str:
    """Return the file name of the shard of this number, from 0."""
    return f"{number:05d}.h5"


def shard_folder(index: Path) -> Path:
    """Return the folder of shards beside an index: `sysu_masks.h5` -> `sysu_masks.shards`."""
    return index.with_suffix(".shards")


def follow_link(index: Path) -> Path:
    """Return the file that `index` links to, if the shards lie beside that one and not beside the link, or `index`."""
    if index.is_symlink() and not shard_folder(index).is_dir():
        target = index.resolve()
        return target if shard_folder(target).is_dir() else index
    return index


def list_shards(index: Path) -> list[Path]:
    """Return the files in the folder of shards that are named as shards are, sorted."""
    return sorted(path for path in shard_folder(index).glob("*.h5") if SHARD_NAME.fullmatch(path.name))


def find_orphans(index: Path) -> list[Path]:
    """Return the temporary files that killed runs left beside the index and in the folder of shards."""
    folder = shard_folder(index)
    beside = find_leftovers(index.parent, re.compile(re.escape(index.name)))
    return beside + (find_leftovers(folder, SHARD_NAME) if folder.is_dir() else [])


@dataclass(frozen=True)
class ShardTable:
    """What an index says of its shards, and where the mask of each of its N images lies.

    Attributes:
        folders: where plain h5py looks for the shards; one name, that of the folder when the index was written.
        names, hashes: file name and SHA-256 of each shard, in order.
        counts: (S) masks in each.
        shard, row: (N), the number of the shard and the row in it.
    """

    folders: frozenset[str]
    names: list[str]
    hashes: list[str]
    counts: NDArray[np.int64]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]

    @property
    def starts(self) -> NDArray[np.int64]:
        """(S + 1) first image of each shard, and N."""
        return np.concatenate([[0], np.cumsum(self.counts)])

    def describe_lost_folder(self, index: Path) -> str:
        """Return what to do if the folder of the shards is not there, as one line."""
        folder, was = shard_folder(index), " or ".join(sorted(self.folders))
        return (
            f"{folder} is not there: the masks of {index} lie in this folder, and both are moved, copied and renamed "
            f"together; put it there{'' if was == folder.name else f' ({was} was its name)'}"
        )


def read_shard_table(index: Path, images: int) -> ShardTable:
    """Read what an index of so many images says of its shards.

    Raises:
        CacheError: if it is no index of a mask cache, or its rows do not fit its shards.
    """
    try:
        with open_stored(index) as file:
            paths = read_stored_array(file, path="shards/path", kind=TEXT, shape=(None,))
            table = ShardTable(
                frozenset(str(Path(path).parent) for path in paths),
                names=[Path(path).name for path in paths],  # never leaves our folder
                hashes=read_stored_array(file, path="shards/sha256", kind=TEXT, shape=(len(paths),)).tolist(),
                counts=read_stored_array(file, path="shards/count", kind="i", shape=(len(paths),)).astype(np.int64),
                shard=read_stored_array(file, path="shard", kind="i", shape=(images,)).astype(np.int64),
                row=read_stored_array(file, path="row", kind="i", shape=(images,)).astype(np.int64),
            )
        sound = len(set(table.names)) == len(paths) and min(table.counts) > 0 and sum(table.counts.tolist()) == images
        expected = (np.repeat(np.arange(len(paths)), table.counts), np.arange(images)) if sound else None
        if (
            expected is None
            or not np.array_equal(table.shard, expected[0])
            or not np.array_equal(table.row, expected[1] - table.starts[:-1][table.shard])
        ):
            raise ValueError("its rows do not fit its shards")
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CacheError(f"{index} is no index of a mask cache: {error.args[0] if error.args else error!r}") from error
    return table


def build_index(index: Path, shards: Sequence[StoredFile]) -> None:
    """Write `index` over `shards` (in order), with a virtual `labels` so that plain h5py reads every mask.

    Raises:
        CacheError: if there is no shard, or the shards are of different caches.
        CsclError: if the disk is full or the place cannot be written to.
    """
    if not shards:
        raise CacheError(f"{index}: there is no shard to index")
    first = shards[0]
    for shard in shards:
        if shard.attributes != first.attributes:
            raise CacheError(f"{shard.path} belongs to another cache than {first.path}")
    counts = np.array([len(shard) for shard in shards])
    columns = Columns.joined([shard.columns for shard in shards])

    def fill(file: h5py.File) -> None:
        file.attrs.update(sorted(first.attributes.items()))  # one order, whether read or just written: same bytes
        columns.write(file)
        text = h5py.string_dtype("utf-8")
        relative = [f"{shard_folder(index).name}/{shard.path.name}" for shard in shards]
        listed = create_group(file, "shards")
        listed.create_dataset("path", data=relative, dtype=text, track_times=False)
        listed.create_dataset("count", data=counts, track_times=False)
        listed.create_dataset("sha256", data=[s.sha256 for s in shards], dtype=text, track_times=False)
        file.create_dataset("shard", data=np.repeat(np.arange(len(shards)), counts), track_times=False)
        file.create_dataset("row", data=np.concatenate([np.arange(n) for n in counts]), track_times=False)
        with open_stored(first.path) as stored:
            shapes = {name: stored[name].shape[1:] for name in ("labels", "probs") if name in stored}
        for name, shape in shapes.items():
            _create_virtual(file, name=name, paths=relative, counts=counts.tolist(), shape=shape)

    write_whole(index, fill)


def finish_cache(index: Path, shards: Sequence[StoredFile]) -> None:
    """Write the index over `shards`, then remove the shards and temporary files that earlier runs left beside them.

    Raises:
        CacheError, CsclError: as `build_index`.
    """
    build_index(index, shards)
    kept = {shard.path.name for shard in shards}
    for stale in (*(path for path in list_shards(index) if path.name not in kept), *find_orphans(index)):
        stale.unlink(missing_ok=True)


def _create_virtual(file: h5py.File, name: str, paths: list[str], counts: list[int], shape: tuple[int, ...]) -> None:
    """Join the rows of data set `name` (n, *shape) in all `paths`; without the times that h5py's call would keep."""
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.VIRTUAL)
    layout.set_obj_track_times(False)
    if name == "labels":  # what plain h5py reads of a shard that is not there must not look like background
        layout.set_fill_value(np.array(IGNORED, np.uint8))
    whole = h5py.h5s.create_simple((sum(counts), *shape))
    start = 0
    for path, count in zip(paths, counts, strict=True):
        whole.select_hyperslab((start, *(0 for _ in shape)), (count, *shape))
        escaped = path.replace("%", "%%")  # HDF5 takes these names for printf's
        layout.set_virtual(whole, escaped.encode(), name.encode(), h5py.h5s.create_simple((count, *shape)))
        start += count
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.STD_U8LE, h5py.h5s.create_simple((start, *shape)), layout)
