"""What lies at the place of a new cache: whole shards are kept, damage of any kind is none of another cache's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from parsing.cache.damage import inspect_cache
from parsing.cache.existing import make_room
from parsing.cache.index import shard_folder
from parsing.cache.sealed import SEAL_SIZE
from parsing.cache.shard import read_columns
from parsing.errors import CacheError

WriteCache = Callable[..., Path]


@pytest.fixture
def index(write_cache: WriteCache, tmp_path: Path) -> Path:
    """Two shards of 3 and 2 masks."""
    return write_cache(tmp_path / "data")


def test_whole_shards_are_kept_and_the_rest_is_said(index: Path, write_cache: WriteCache, tmp_path: Path) -> None:
    columns, attributes = read_columns(index)
    names = columns.names.tolist()
    assert list(make_room(index, attributes=attributes, names=names, overwrite=False).whole) == ["00000.h5", "00001.h5"]
    with pytest.raises(CacheError, match="already holds 5 images, this run would leave some of them out"):
        make_room(index, attributes=attributes, names=names[1:], overwrite=False)
    other = read_columns(write_cache(tmp_path / "other", flip=False))[1]
    with pytest.raises(CacheError, match=r"made from another parser or options \(flip True, now False\)"):
        make_room(index, attributes=other, names=names, overwrite=False)
    assert make_room(index, attributes=other, names=names, overwrite=True).whole == {}


def test_nothing_goes_before_the_room_is_cleared(index: Path) -> None:
    columns, attributes = read_columns(index)
    names = columns.names.tolist()
    make_room(index, attributes=attributes, names=names, overwrite=False).clear()
    every = make_room(index, attributes=attributes, names=names, overwrite=True)
    grown = make_room(index, attributes=attributes, names=["a.jpg", *names], overwrite=False)
    assert inspect_cache(index).damage == ()
    grown.clear()  # its rows would be looked up in shards of other images
    assert not index.exists()
    assert len(list(shard_folder(index).iterdir())) == 2
    every.clear()
    assert list(shard_folder(index).iterdir()) == []


@pytest.mark.parametrize("seed", range(40))
def test_fifty_random_bytes_anywhere_are_damage_that_is_parsed_again(index: Path, seed: int) -> None:
    columns, attributes = read_columns(index)
    names = columns.names.tolist()
    random = np.random.default_rng(seed)
    path = index if seed % 4 == 0 else shard_folder(index) / "00001.h5"
    content = bytearray(path.read_bytes())
    start = int(random.integers(SEAL_SIZE, len(content) - 50))
    if seed % 2:  # where a file keeps what it says of itself
        start = content.index(b'"parser"') - int(random.integers(0, 40))
    content[start : start + 50] = random.bytes(50)
    path.write_bytes(content)
    assert list(make_room(index, attributes=attributes, names=names, overwrite=False).whole) == ["00000.h5"] + [
        "00001.h5"
    ] * (path == index)
    assert [damage.path for damage in inspect_cache(index).damage] == [path]
