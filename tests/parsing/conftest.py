"""Fixture of the cache's tests: caches of a few random masks, written without a parser."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from parsing.cache.index import build_index, shard_folder
from parsing.cache.reader import fingerprint
from parsing.cache.shard import FORMAT_VERSION, Columns, write_shard
from parsing.labels import label_set

WriteCache = Callable[..., Path]
SIZE = (16, 8)


def made_by(probs: bool = False, **changed: object) -> dict[str, object]:
    labels = label_set("lip")
    return {
        "parser": "drawn",
        "weights": "0" * 64,
        "preprocessing": {},
        "labels": {"name": labels.name, "classes": labels.classes, "swaps": labels.swaps},
        "size": SIZE,
        "flip": True,
        "probs": probs,
    } | changed


def columns(start: int, count: int) -> Columns:
    number = np.arange(start, start + count)
    return Columns(
        np.array([f"cam{n % 6 + 1}/0001/é{n:04d}.jpg" for n in number], dtype=object),
        np.zeros(count, np.uint8),
        (number / 100).astype(np.float32),
        np.stack([number + 100, number + 50], 1).astype(np.int32),
        (number // 2).astype(np.int32),
        (number % 6 + 1).astype(np.int32),
        (number % 2).astype(np.uint8),
    )


def drawn_labels(start: int, count: int) -> np.ndarray:
    """Masks (count, 16, 8) in which every image differs from every other."""
    return np.stack(
        [np.random.default_rng(n).integers(0, 20, SIZE, dtype=np.uint8) for n in range(start, start + count)]
    )


def write(folder: Path, counts: tuple[int, ...] = (3, 2), probs: bool = False, **changed: object) -> Path:
    """A cache `masks.h5` in `folder` with a shard of each count; image n is drawn from default_rng(n)."""
    text, digest = fingerprint(made_by(probs, **changed))
    attributes = {
        "format_version": FORMAT_VERSION,
        "fingerprint": digest,
        "made_by": text,
        "data_set": "sysu",
        "root": "../images",
        "licence": "none",
    }
    index = folder / "masks.h5"
    shard_folder(index).mkdir(parents=True, exist_ok=True)
    paths, start = [], 0
    for number, count in enumerate(counts):
        path = shard_folder(index) / f"{number:05d}.h5"
        small = np.random.default_rng(start).integers(0, 255, (count, 20, 4, 2), dtype=np.uint8) if probs else None
        write_shard(path, drawn_labels(start, count), columns(start, count), attributes, small)
        paths.append(path)
        start += count
    build_index(index, paths)
    return index


@pytest.fixture
def write_cache() -> WriteCache:
    return write


@pytest.fixture
def drawn() -> Callable[[int, int], np.ndarray]:
    """`drawn(start, count)` are the masks that `write_cache` writes."""
    return drawn_labels
