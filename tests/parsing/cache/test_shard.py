"""Shards and the index: what is written is read, the same bytes every time, and nothing half-written is believed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from support.caches import edit

from parsing.cache.index import build_index, shard_folder
from parsing.cache.provenance import FORMAT_VERSION
from parsing.cache.shard import Columns, StoredFile, read_columns, read_stored, rename_people, write_shard
from parsing.errors import CacheError, CsclError
from parsing.files import file_hash

WriteCache = Callable[..., Path]


def few(count: int = 3) -> Columns:
    return Columns(
        np.array([f"ä/{n}.jpg" for n in range(count)], dtype=object),
        status=np.arange(count, dtype=np.uint8) % 3,
        confidence=np.linspace(0, 1, count, dtype=np.float32),
        source_size=np.arange(2 * count, dtype=np.int32).reshape(count, 2),
        identity=np.arange(count, dtype=np.int32) - 1,
        camera=np.arange(count, dtype=np.int32),
        modality=np.arange(count, dtype=np.uint8) % 2,
    )


ATTRIBUTES = {
    "format_version": FORMAT_VERSION,
    "fingerprint": "f",
    "made_by": "{}",
    "data_set": "sysu",
    "root": "..",
    "licence": "none",
}


def stored(path: Path) -> StoredFile:
    """The whole shard that must be there."""
    found = read_stored(path)
    assert found is not None
    return found


LABELS = np.random.default_rng(0).integers(0, 20, (3, 16, 8), dtype=np.uint8)
PROBS = np.random.default_rng(1).integers(0, 255, (3, 5, 4, 2), dtype=np.uint8)


def test_a_shard_holds_what_was_written_in_chunks_of_one_image(tmp_path: Path) -> None:
    path = tmp_path / "00000.h5"
    write_shard(path, LABELS, few(), ATTRIBUTES, PROBS)
    columns, attributes = read_columns(path)
    assert attributes == ATTRIBUTES
    for field, values in few().__dict__.items():
        assert np.array_equal(getattr(columns, field), values)
        assert getattr(columns, field).dtype == values.dtype
    with h5py.File(path, "r") as file:
        assert np.array_equal(file["labels"][:], LABELS)
        assert np.array_equal(file["probs"][:], PROBS)
        assert file["labels"].chunks == (1, 16, 8)
        assert (file["labels"].compression, file["labels"].compression_opts, file["labels"].fletcher32) == (
            "gzip",
            3,
            True,
        )
    assert [p.name for p in tmp_path.iterdir()] == ["00000.h5"]


def test_shards_and_index_have_the_same_bytes_whenever_they_are_written(
    write_cache: WriteCache, tmp_path: Path
) -> None:
    first = write_cache(tmp_path / "one", (3, 2), probs=True)
    time.sleep(1.1)  # HDF5 keeps times in whole seconds
    again = write_cache(tmp_path / "two", (3, 2), probs=True)
    assert {p.name: file_hash(p) for p in [first, *shard_folder(first).iterdir()]} == {
        p.name: file_hash(p) for p in [again, *shard_folder(again).iterdir()]
    }


def test_a_shard_that_fails_while_written_leaves_the_old_one_in_place(tmp_path: Path) -> None:
    path = tmp_path / "00000.h5"
    write_shard(path, LABELS, few(), ATTRIBUTES)
    before = file_hash(path)
    with pytest.raises(TypeError):  # in the middle of writing
        write_shard(path, LABELS, few(), ATTRIBUTES | {"licence": object()})
    assert file_hash(path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["00000.h5"]


def test_a_shard_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(CsclError, match=r"none/00000\.h5 could not be written"):
        write_shard(tmp_path / "none" / "00000.h5", LABELS, few(), ATTRIBUTES)


def test_a_shard_fits_its_own_names_and_attributes_alone(tmp_path: Path) -> None:
    path = tmp_path / "00000.h5"
    write_shard(path, LABELS, few(), ATTRIBUTES)
    names = [f"ä/{n}.jpg" for n in range(3)]
    assert stored(path).fits(names, ATTRIBUTES)
    assert stored(path).sha256 == file_hash(path)
    assert not stored(path).fits(names[::-1], ATTRIBUTES)
    assert not stored(path).fits(names[:2], ATTRIBUTES)
    assert not stored(path).fits(names, ATTRIBUTES | {"fingerprint": "g"})
    assert read_stored(tmp_path / "none.h5") is None
    whole = path.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert read_stored(path) is None


def test_what_is_no_shard_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("masks\n")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["labels"] = LABELS
    write_shard(tmp_path / "future.h5", LABELS, few(), ATTRIBUTES | {"format_version": FORMAT_VERSION + 1})
    write_shard(tmp_path / "bare.h5", LABELS, few(), {k: v for k, v in ATTRIBUTES.items() if k != "made_by"})
    write_shard(tmp_path / "odd.h5", LABELS, few(), ATTRIBUTES)
    with edit(tmp_path / "odd.h5") as file:
        del file["camera"]
        file["camera"] = np.zeros(7, np.int32)
    for name in ("text", "foreign", "bare", "odd"):
        with pytest.raises(CacheError, match=rf"{name}\.h5 is damaged or no mask cache"):
            read_columns(tmp_path / f"{name}.h5")
    with pytest.raises(CacheError, match=rf"format {FORMAT_VERSION + 1}.*reads {FORMAT_VERSION}.*--overwrite"):
        read_columns(tmp_path / "future.h5")


def test_the_index_holds_the_columns_of_all_shards_and_their_hashes(write_cache: WriteCache, tmp_path: Path) -> None:
    index = write_cache(tmp_path, (3, 1, 2))
    shards = sorted(shard_folder(index).iterdir())
    with h5py.File(index, "r") as file:
        assert file["shards/path"].asstr()[:].tolist() == [f"masks.shards/{p.name}" for p in shards]
        assert file["shards/count"][:].tolist() == [3, 1, 2]
        assert file["shards/sha256"].asstr()[:].tolist() == [file_hash(p) for p in shards]
        assert file["shard"][:].tolist() == [0, 0, 0, 1, 2, 2]
        assert file["row"][:].tolist() == [0, 1, 2, 0, 0, 1]
    columns, attributes = read_columns(index)
    read = [read_columns(p) for p in shards]
    assert np.array_equal(columns.names, np.concatenate([c.names for c, _ in read]))
    assert np.array_equal(columns.source_size, np.concatenate([c.source_size for c, _ in read]))
    assert attributes == read[0][1]


READER = """
import sys, h5py
with h5py.File(sys.argv[1], "r") as file:
    print([int(m.sum()) for m in file["labels"]], [int(p.sum()) for p in file["probs"]])
"""


def test_plain_h5py_reads_every_mask_from_any_folder_and_after_a_move(
    write_cache: WriteCache, drawn: Callable[[int, int], np.ndarray], tmp_path: Path
) -> None:
    index = write_cache(tmp_path / "made", (3, 2), probs=True)
    with h5py.File(index, "r") as file:
        assert np.array_equal(file["labels"][:], drawn(0, 5))
        sums = [int(p.sum()) for p in file["probs"]]
    moved = tmp_path / "moved" / "further"
    moved.parent.mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    wanted = f"{[int(m.sum()) for m in drawn(0, 5)]} {sums}"

    def read(path: str | Path, cwd: Path) -> str:
        command = [sys.executable, "-c", READER, str(path)]
        return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout.strip()

    assert read(index, elsewhere) == wanted
    index.parent.rename(moved)
    assert read(moved / "masks.h5", elsewhere) == wanted
    assert read(os.path.relpath(moved / "masks.h5", elsewhere), elsewhere) == wanted


def test_shards_of_different_caches_make_no_index(write_cache: WriteCache, tmp_path: Path) -> None:
    one, other = write_cache(tmp_path / "one"), write_cache(tmp_path / "two", flip=False)
    mixed = [stored(shard_folder(one) / "00000.h5"), stored(shard_folder(other) / "00001.h5")]
    with pytest.raises(CacheError, match=r"00001\.h5 belongs to another cache"):
        build_index(tmp_path / "mixed.h5", mixed)
    with pytest.raises(CacheError, match="no shard"):
        build_index(tmp_path / "mixed.h5", [])
    assert not (tmp_path / "mixed.h5").exists()


def test_people_of_a_whole_shard_are_renamed_and_its_masks_stay(tmp_path: Path) -> None:
    path, columns, labels = tmp_path / "00000.h5", few(), np.full((3, 8, 4), 2, np.uint8)
    write_shard(path, labels, columns, ATTRIBUTES)
    people: dict[str, np.ndarray] = {
        "identity": columns.identity + 1,
        "camera": columns.camera,
        "modality": columns.modality,
    }
    now: dict[str, Any] = {**ATTRIBUTES, "pattern": "{identity}/*"}
    renamed = rename_people(stored(path), people, now)
    assert renamed is not None
    assert renamed.sha256 == file_hash(path)
    found, said = read_columns(path)
    assert found.identity.tolist() == (columns.identity + 1).tolist()
    assert found.confidence.tolist() == columns.confidence.tolist()
    assert said["pattern"] == "{identity}/*"
    assert stored(path).fits(columns.names.tolist(), now)
    with h5py.File(path) as file:
        assert np.array_equal(file["labels"][:], labels)
    before = path.read_bytes()
    assert rename_people(renamed, people, now) is None
    assert rename_people(renamed, people, {**now, "fingerprint": "b"}) is None
    assert path.read_bytes() == before
