"""Segmentations of COCO as masks and back: lengths of runs down the columns, as text or as a list, and polygons.

numpy alone does it, so that no file can do harm: pycocotools 2.0.11 fills a mask whose runs are too short with whatever
lies in memory, and walks along polygons however long they are.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import first_line
from .resize import Size

IGNORED_CATEGORY = "ignored"
"""Name of the category of pixels that no class claims."""
_DIGITS = 7
"""Characters of a number in the text; more than a run of 2^32 pixels needs."""
_BLOCK = 1 << 22
"""Pairs of a polygon's side and a row that are looked at at once: a bound of the memory."""


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return `segmentation`, `area` and `bbox` (left, top, width, height) of a mask (H, W)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1) if len(rows) else (0, 0, 0, 0)
    return {
        "segmentation": {"size": list(mask.shape), "counts": _to_text(_runs(mask))},
        "area": int(mask.sum()),
        "bbox": [float(side) for side in box],
    }


def decode_segmentation(segmentation: object, size: Size) -> NDArray[np.bool_]:
    """Return the mask (H, W) of a segmentation: lengths of runs, as text or as a list, or polygons of one object.

    A pixel is in a polygon if its centre is.

    Args:
        segmentation: as the JSON has it.
        size: (height, width) of the image.

    Raises:
        ValueError: if it is none of these, or does not fit the size.
    """
    if isinstance(segmentation, list) and segmentation:
        filled: NDArray[np.bool_] = np.any([_fill(_corners(polygon), size) for polygon in segmentation], axis=0)
        return filled
    if not isinstance(segmentation, Mapping) or segmentation.get("size") != list(size):
        raise ValueError(f"a segmentation is polygons, or lengths of runs of the size {list(size)}")
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        runs = _from_text(counts)
    elif isinstance(counts, list) and all(type(count) is int for count in counts):
        try:
            runs = np.array(counts, np.int64)
        except OverflowError as error:
            raise ValueError(first_line(error)) from None
    else:
        raise ValueError("counts are a text or a list of whole numbers")
    pixels = size[0] * size[1]
    if (runs < 0).any() or (runs > pixels).any() or runs.sum() != pixels:
        raise ValueError(f"the runs are not of {pixels} pixels in all, which the size {list(size)} has")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size[::-1]).T


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the lengths of the runs of 0 and 1 in turn down the columns; the first is of 0 and may be empty."""
    flat = np.concatenate([[False], mask.ravel(order="F")])
    cuts = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(cuts, prepend=0, append=mask.size)


def _to_text(runs: NDArray[np.int64]) -> str:
    """Return runs as COCO's text: each less the one two before, in characters of five bits, the lowest first.

    A character is 48 plus its bits, plus 32 if another follows; bit 16 of the last is the sign.
    """
    rest = runs.copy()
    rest[3:] -= runs[1:-2]
    table = np.zeros((len(rest), _DIGITS), np.uint8)
    left = np.ones(len(rest), bool)
    for place in range(_DIGITS):
        bits, rest = rest & 31, rest >> 5
        more = rest != np.where(bits & 16, -1, 0)
        table[left, place] = (48 + bits + 32 * more)[left]
        left &= more
    return table[table > 0].tobytes().decode("ascii")


def _from_text(text: str) -> NDArray[np.int64]:
    """Return the runs of COCO's text; ValueError if it is none."""
    codes = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(np.int64) - 48
    if not len(codes) or np.min(codes) < 0 or np.max(codes) > 63 or codes[-1] & 32:
        raise ValueError("counts are no text of run lengths")
    last = np.flatnonzero(codes < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    digits = last - first + 1
    if digits.max() > _DIGITS:
        raise ValueError("counts are no text of run lengths")
    place = np.arange(len(codes)) - np.repeat(first, digits)
    runs: NDArray[np.int64] = np.add.reduceat((codes & 31) << 5 * place, first)
    runs -= np.where(codes[last] & 16, 1, 0) << 5 * digits
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def _corners(polygon: object) -> NDArray[np.float64]:
    """Return the corners (N, 2), x and y, of a list x, y, x, y ...; ValueError if it is none."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        raise ValueError("a polygon is a list x, y, x, y, x, y ... of at least three corners")
    if not all(type(v) in (int, float) and abs(v) < 1e9 for v in polygon):  # NaN is not below either
        raise ValueError("a polygon's corners are numbers")
    return np.array(polygon, np.float64).reshape(-1, 2)


def _fill(corners: NDArray[np.float64], size: Size) -> NDArray[np.bool_]:
    """Return the pixels (H, W) whose centre has an odd number of the polygon's sides to its left."""
    height, width = size
    middles = np.arange(height) + 0.5
    crossings = np.zeros((height, width + 1), np.int32)
    ends = np.roll(corners, -1, 0)
    step = max(1, _BLOCK // height)
    for start in range(0, len(corners), step):
        (x0, y0), (x1, y1) = corners[start : start + step].T, ends[start : start + step].T
        side, row = np.nonzero((y0[:, None] <= middles) != (y1[:, None] <= middles))
        x = x0[side] + (middles[row] - y0[side]) / (y1 - y0)[side] * (x1 - x0)[side]
        np.add.at(crossings, (row, np.ceil(x - 0.5).clip(0, width).astype(np.int64)), 1)
    inside: NDArray[np.bool_] = crossings[:, :width].cumsum(1) % 2 == 1
    return inside
