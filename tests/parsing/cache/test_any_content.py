"""A cache of any content, under a seal that fits: read, or refused with one error of ours; nothing is written."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.caches import edit
from support.properties import TRIED, names

from parsing import MaskCache
from parsing.cache.damage import inspect_cache
from parsing.cache.provenance import fingerprint
from parsing.errors import CsclError
from pipelines.masks.counts import count_masks
from pipelines.masks.info import info

from ..conftest import write

json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.sampled_from([0, 1, -1, 2, 4, 16, 255, 256, 65536, 2**31, 2**40, 1e300]),
        st.floats(),
        names,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
stored_values = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
    st.binary(min_size=1, max_size=20),
    st.sampled_from([np.zeros(3), np.zeros((2, 2), "S3"), np.array("x", "S1"), h5py.Empty("f4"), np.zeros(0)]),
    json_values.map(lambda value: json.dumps(value)),
)
arrays = st.builds(
    lambda shape, kind, fill: np.full(shape, fill).astype(kind),
    st.sampled_from([(), (0,), (1,), (4,), (5,), (6,), (5, 1), (5, 2), (2, 5), (0, 16, 8), (5, 16, 8), (3, 16, 8),
                     (3, 8), (3, 16, 1), (3, 1, 8), (3, 16, 9), (2, 20, 4, 2)]),
    st.sampled_from(["u1", "i4", "i8", "u8", "f4", "f8", "c16", "S5", "?"]),
    st.sampled_from([0, 1, 2, 3, 5, 255]),
)  # fmt: skip
columns = ("names", "status", "confidence", "source_size", "identity", "camera", "modality", "shard", "row",
           "shards/path", "shards/count", "shards/sha256", "labels", "probs")  # fmt: skip


def put(file: h5py.File, name: str, value: Any) -> None:
    """Replace a data set, or remove it for None, or put a group in its place."""
    if name in file:
        del file[name]
    if isinstance(value, str):
        file.create_group(name)
    elif isinstance(value, list):
        file.create_dataset(name, data=value, dtype=h5py.string_dtype("utf-8"))
    elif value is not None:
        file.create_dataset(name, data=value)


texts = st.lists(names.map(lambda n: n.replace("\0", "").encode("utf-8", "replace").decode()), min_size=5, max_size=5)
replacements = st.tuples(st.sampled_from(columns), st.one_of(st.none(), st.just("group"), arrays, texts))


def change_made_by(file: h5py.File, key: str, value: Any) -> None:
    """Change what the cache says it was made by, with a fingerprint that fits."""
    made_by = json.loads(file.attrs["made_by"])
    if key.startswith("labels."):
        made_by["labels"][key.partition(".")[2]] = value
    else:
        made_by[key] = value
    text, digest = fingerprint(made_by)
    file.attrs["made_by"], file.attrs["fingerprint"] = text, digest


def use(index: Path) -> None:
    """Everything that is done with a cache."""
    inspect_cache(index)
    cache = MaskCache(index)
    repr(cache)
    cache.labels.flipped  # noqa: B018
    for name in cache.names:
        assert cache[name].shape == cache.size
        assert cache.parts(name, "body").shape == (1, *cache.size)
    if cache.made_by["probs"]:
        cache.probs(slice(None))
    assert cache.preload().dtype == np.uint8
    cache.has_mask.sum()
    info(cache).lines()
    count_masks(cache)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("any") / "good"
    write(folder / "c", (3, 2), probs=True)
    use(folder / "c" / "masks.h5")
    return folder


def read_changed(good: Path, file: str, change: Callable[[h5py.File], None]) -> None:
    """Use a copy of the cache with one of its files changed; it is read, or refused with an error of ours."""
    place = good.parent / "changed"
    shutil.copytree(good, place, dirs_exist_ok=True)
    try:
        with edit(place / "c" / file) as opened:
            change(opened)
    except (ValueError, TypeError, UnicodeEncodeError, OSError):
        return  # HDF5 itself does not store it
    before = sorted(good.parent.rglob("*"))
    said = "read"
    with suppress(CsclError):
        try:
            use(place / "c" / "masks.h5")
        except CsclError as error:
            said = str(error)
            raise
    assert said
    assert "\n" not in said
    assert sorted(good.parent.rglob("*")) == before


FEWER = settings(TRIED, max_examples=40)
FILES = st.sampled_from(["masks.h5", "masks.shards/00000.h5"])


@FEWER
@given(FILES, st.sampled_from(["format_version", "fingerprint", "made_by", "data_set", "root", "licence", "pattern"]),
       stored_values)  # fmt: skip
@example("masks.h5", "format_version", b"\n")
@example("masks.shards/00000.h5", "fingerprint", np.array([]))
def test_any_attribute(good: Path, file: str, key: str, value: Any) -> None:
    read_changed(good, file, lambda opened: opened.attrs.__setitem__(key, value))


@FEWER
@given(
    st.sampled_from(["parser", "weights", "preprocessing", "labels", "labels.name", "labels.classes", "labels.swaps",
                     "size", "flip", "probs", "deep_images"]),
    json_values,
)  # fmt: skip
def test_any_provenance(good: Path, key: str, value: Any) -> None:
    read_changed(good, "masks.h5", lambda opened: change_made_by(opened, key, value))


@FEWER
@given(FILES, replacements)
def test_any_data_set(good: Path, file: str, replacement: tuple[str, Any]) -> None:
    read_changed(good, file, lambda opened: put(opened, *replacement))
