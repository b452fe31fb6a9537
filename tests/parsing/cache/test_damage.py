"""What is wrong with a cache's files is found and said: lost, cut off, overwritten, swapped, left behind."""

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from parsing.cache.damage import Damage, inspect_cache
from parsing.cache.index import shard_folder
from parsing.cache.provenance import FORMAT_VERSION
from parsing.cache.sealed import SEAL_SIZE, write_whole
from parsing.cache.shard import read_columns, write_shard
from parsing.errors import CacheError, MissingError

WriteCache = Callable[..., Path]


@pytest.fixture
def index(write_cache: WriteCache, tmp_path: Path) -> Path:
    """Three shards of 3, 2 and 1 masks."""
    return write_cache(tmp_path / "data", (3, 2, 1))


def shard(index: Path, number: int) -> Path:
    return shard_folder(index) / f"{number:05d}.h5"


def found(index: Path) -> list[Damage]:
    return list(inspect_cache(index).damage)


def test_nothing_is_wrong_with_a_cache_as_it_was_written(index: Path) -> None:
    counted: list[int] = []
    inspection = inspect_cache(index, counted.append)
    assert inspection.damage == ()
    assert [len(c) for c in inspection.whole.values()] == [3, 2, 1]
    assert inspection.expected is not None
    assert list(inspection.expected) == ["00000.h5", "00001.h5", "00002.h5"]
    assert counted == [1, 1, 1]


def test_a_lost_shard_is_named_with_its_masks(index: Path) -> None:
    shard(index, 1).unlink()
    assert found(index) == [Damage(shard(index, 1), kind="shard", what="is missing with 2 masks", masks=2)]
    index.unlink()
    missing, gap = found(index)
    assert (missing.path, missing.kind) == (index, "index")
    assert gap == Damage(shard(index, 1), "shard", "is missing")


@pytest.mark.parametrize("size", [0, 5, SEAL_SIZE, 3000, -1])
def test_a_shard_that_was_cut_off_is_damaged(index: Path, size: int) -> None:
    path = shard(index, 0)
    os.truncate(path, size if size >= 0 else path.stat().st_size - 1)
    (damage,) = found(index)
    assert (damage.path, damage.kind, damage.masks) == (path, "shard", 3)
    assert damage.what.startswith(("was changed since it was written", "is damaged or no mask cache"))


def test_noise_in_one_mask_is_damage_of_its_shard(index: Path) -> None:
    with h5py.File(shard(index, 0), "r") as file:
        chunk = file["labels"].id.get_chunk_info(1)
    with open(shard(index, 0), "r+b") as raw:
        raw.seek(chunk.byte_offset)
        raw.write(np.random.default_rng(0).bytes(chunk.size))
    (damage,) = found(index)
    assert (damage.what, damage.masks) == ("was changed since it was written", 3)


def test_a_single_changed_bit_anywhere_is_seen(index: Path) -> None:
    path = shard(index, 2)
    whole = path.read_bytes()
    for place in np.random.default_rng(1).integers(0, len(whole), 40):
        changed = bytearray(whole)
        changed[place] ^= 4
        path.write_bytes(changed)
        assert [d.path for d in found(index)] == [path]
    path.write_bytes(whole)
    assert found(index) == []


def test_a_damaged_or_lost_index_is_said_and_the_shards_are_still_known(index: Path) -> None:
    whole = index.read_bytes()
    for content in (b"", whole[:2000], whole[:-1], bytes(len(whole))):
        index.write_bytes(content)
        inspection = inspect_cache(index)
        assert [(d.path, d.kind) for d in inspection.damage] == [(index, "index")]
        assert (inspection.expected, list(inspection.whole)) == (None, ["00000.h5", "00001.h5", "00002.h5"])
        assert inspection.attributes is not None


def test_a_shard_of_another_cache_and_one_newer_than_the_index_are_told_apart(
    index: Path, write_cache: WriteCache, tmp_path: Path
) -> None:
    other = write_cache(tmp_path / "other", (3,), flip=False)
    mine = shard(index, 0).read_bytes()
    shard(other, 0).replace(shard(index, 0))
    (damage,) = found(index)
    assert (damage.kind, damage.what) == ("shard", "belongs to another cache")
    shard(index, 0).write_bytes(shard(index, 1).read_bytes())
    (damage,) = found(index)
    assert (damage.kind, damage.what) == ("shard", "holds other images than the index says")
    columns, attributes = read_columns(shard(index, 1))
    shard(index, 0).write_bytes(mine)
    write_shard(shard(index, 1), np.zeros((2, 16, 8), np.uint8), columns, attributes)
    assert found(index) == [Damage(index, "index", "was made of another 00001.h5 than is there")]


def test_leftovers_and_shards_beyond_the_index_are_listed(index: Path) -> None:
    shard(index, 7).write_bytes(shard(index, 0).read_bytes())
    temporary = [index.with_name("masks.h5.0123abcd.part"), shard_folder(index) / "00001.h5.89abcdef.part"]
    for path in temporary:
        path.touch()
    assert [(d.path, d.kind) for d in found(index)] == [
        (shard(index, 7), "unfinished"),
        *((path, "leftover") for path in temporary),
    ]


def test_no_cache_and_one_of_another_format_are_refused(index: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no mask cache"):
        inspect_cache(tmp_path / "none.h5")

    def future(file: h5py.File) -> None:
        file.attrs["format_version"] = FORMAT_VERSION + 1

    write_whole(index, future)
    with pytest.raises(CacheError, match=f"format {FORMAT_VERSION + 1}"):
        inspect_cache(index)


def test_an_index_that_was_renamed_names_another_folder_to_plain_h5py(index: Path) -> None:
    new = index.with_name("renamed.h5")
    index.rename(new)
    shard_folder(index).rename(shard_folder(new))
    (damage,) = found(new)
    assert (damage.path, damage.kind) == (new, "index")
    assert (
        damage.what == f"was renamed: in it plain h5py reads what lies in {shard_folder(index).name}, if anything does"
    )
