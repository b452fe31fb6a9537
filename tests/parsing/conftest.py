"""Fixture of the cache's tests: caches of a few random masks, written without a parser."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from parsing import CacheWriter
from parsing.modality import MODALITIES

WriteCache = Callable[..., Path]
SIZE = (16, 8)


def drawn_labels(start: int, count: int) -> np.ndarray:
    """Masks (count, 16, 8) in which every image differs from every other."""
    return np.stack(
        [np.random.default_rng(n).integers(0, 20, SIZE, dtype=np.uint8) for n in range(start, start + count)]
    )


def write(folder: Path, counts: tuple[int, ...] = (3, 2), probs: bool = False, **changed: Any) -> Path:
    """A cache `masks.h5` in `folder` with a shard of each count; image n is drawn from default_rng(n)."""
    index, start = folder / "masks.h5", 0
    options: dict[str, Any] = {"labels": "lip", "size": SIZE, "parser": "drawn", "weights": "0" * 64, "flip": True}
    options |= {"data_set": "sysu", "root": folder.parent / "images", "licence": "none", "probs": probs} | changed
    with CacheWriter(index, overwrite=True, **options) as cache:
        for count in counts:
            small = np.random.default_rng(start).integers(0, 255, (count, 20, 4, 2), dtype=np.uint8)
            for n, labels, chances in zip(range(start, start + count), drawn_labels(start, count), small, strict=True):
                cache.add(
                    f"cam{n % 6 + 1}/0001/é{n:04d}.jpg",
                    labels,
                    identity=n // 2,
                    camera=n % 6 + 1,
                    modality=MODALITIES[n % 2],
                    confidence=n / 100,
                    source_size=(n + 100, n + 50),
                    probs=chances if probs else None,
                )
            cache.cut_shard()
            start += count
    return index


@pytest.fixture
def write_cache() -> WriteCache:
    return write


@pytest.fixture
def drawn() -> Callable[[int, int], np.ndarray]:
    """`drawn(start, count)` are the masks that `write_cache` writes."""
    return drawn_labels
