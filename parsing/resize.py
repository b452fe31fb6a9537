"""Resizing maps and labels with numpy alone: soft maps bilinear or by area, labels by nearest neighbour."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""(height, width) in pixels."""
MOST_PIXELS = 100_000_000
"""Images and masks of more pixels are refused."""


def resize_maps(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize soft maps (..., h, w) to (..., *size): bilinear if a side grows, the mean of the area if it shrinks.

    No matrix product is used: in several threads or processes at once, the threads of numpy's matrix library wait for
    each other, and a map takes ten times as long (`benchmarks/soft_masks.py`).
    """
    old = maps.shape[-2:]
    rows_first = size[0] * old[1] <= old[0] * size[1]  # the smaller of the two maps between
    for axis in (-2, -1) if rows_first else (-1, -2):
        maps = _resize_side(maps, axis, size[axis])
    return maps


def _resize_side(maps: NDArray[np.float32], axis: int, new: int) -> NDArray[np.float32]:
    """Resize one side, -2 or -1: a weighted sum of a few of the old rows or columns for each new one."""
    if maps.shape[axis] == new:
        return maps
    taken, weights = _taps(maps.shape[axis], new)
    across = weights if axis == -1 else weights[..., None]
    resized: NDArray[np.float32] = maps.take(taken[0], axis)
    resized *= across[0]
    for numbers, weight in zip(taken[1:], across[1:], strict=True):
        part = maps.take(numbers, axis)
        part *= weight
        resized += part
    return resized


Box = tuple[float, float, float, float]
"""Top, left, height and width of a part of an image, in pixels."""


def resize_labels(labels: NDArray[np.uint8], size: tuple[int, int], box: Box | None = None) -> NDArray[np.uint8]:
    """Resize labels (..., h, w), or the part of them in `box`, to (..., *size).

    Each pixel is the one nearest to its centre, so that no class is made up.
    """
    top, left, height, width = box or (0, 0, *labels.shape[-2:])
    rows, columns = (
        (start + (np.arange(new) + 0.5) * old / new).astype(np.int64).clip(0, last - 1)
        for new, start, old, last in zip(size, (top, left), (height, width), labels.shape[-2:], strict=True)
    )
    return labels[..., rows[:, None], columns]


@lru_cache(maxsize=32)
def _taps(old: int, new: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which K old pixels each new one is made of (K, new), and their weights (K, new), which sum to 1."""
    if new >= old:  # pixel centres are at half numbers, beyond the outermost the map is constant
        at = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)
        low = at.astype(np.int64)
        taken = np.stack([low, np.minimum(low + 1, old - 1)])
        weights = np.stack([1 - (at - low), at - low]).astype(np.float32)
    else:
        # in whole numbers, 1/new of an old pixel each: rounding would add pixels that an area only touches
        start, end = np.arange(new) * old, np.arange(1, new + 1) * old
        taken = start // new + np.arange(np.max(-(-end // new) - start // new))[:, None]
        covered = np.minimum(end, (taken + 1) * new) - np.maximum(start, taken * new)
        weights = (covered.clip(0) / old).astype(np.float32)
        taken = np.minimum(taken, old - 1)
    taken.flags.writeable = weights.flags.writeable = False
    return taken, weights
