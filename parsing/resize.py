"""Resizing maps and labels with numpy alone: soft maps bilinear or by area, labels by nearest neighbour."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Size = tuple[int, int]
"""(height, width) in pixels."""
MOST_PIXELS = 100_000_000
"""Images and masks of more pixels are refused."""


def resize_maps(maps: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Resize soft maps (..., h, w) to (..., *size): bilinear if a side grows, the mean of the area if it shrinks."""
    height, width = size
    rows, columns = _weights(maps.shape[-2], height), _weights(maps.shape[-1], width)
    resized: NDArray[np.float32] = np.matmul(np.matmul(rows, maps), columns.T)
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
def _weights(old: int, new: int) -> NDArray[np.float32]:
    """Return the matrix (new, old), rows sum to 1, that resizes one side of a map."""
    weights = np.zeros((new, old), np.float32)
    rows = np.arange(new)
    if new >= old:  # pixel centres are at half numbers, beyond the outermost the map is constant
        at = ((rows + 0.5) * old / new - 0.5).clip(0, old - 1)
        low = at.astype(np.int64)
        np.add.at(weights, (rows, low), 1 - (at - low))
        np.add.at(weights, (rows, np.minimum(low + 1, old - 1)), at - low)
    else:
        edges = np.arange(new + 1) * old / new
        columns = np.arange(old)
        covered = np.minimum(edges[1:, None], columns + 1) - np.maximum(edges[:-1, None], columns)
        weights[:] = covered.clip(0) * new / old
    weights.flags.writeable = False
    return weights
