"""Segmentations of COCO as masks and back, by pycocotools: run lengths by column, compressed or not, and polygons."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .resize import Size

IGNORED_CATEGORY = "ignored"
"""Name of the category of pixels that no class claims."""
_LONGEST = 10_000_000
"""Most pixels along the sides of an object's polygons: pycocotools walks along them in steps of a fifth of a pixel."""


def need_pycocotools(what: str) -> Any:
    """Return pycocotools' functions for masks; InputError says how to install it."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise InputError(f'{what} needs pycocotools: pip install "cscl[coco]"') from error
    return mask


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return `segmentation`, `area` and `bbox` (left, top, width, height) of a mask (H, W)."""
    tools = need_pycocotools("COCO")
    found = tools.encode(np.asfortranarray(mask, np.uint8))
    return {
        "segmentation": {"size": list(mask.shape), "counts": found["counts"].decode("ascii")},
        "area": int(tools.area(found)),
        "bbox": tools.toBbox(found).tolist(),
    }


def decode_segmentation(segmentation: object, size: Size) -> NDArray[np.bool_]:
    """Return the mask (H, W) of a segmentation: run lengths, compressed or a list, or polygons of one object.

    Args:
        segmentation: as the JSON has it.
        size: (height, width) of the image.

    Raises:
        ValueError: if it is none of these, or does not fit the size.
    """
    tools = need_pycocotools("COCO")
    if isinstance(segmentation, list):
        polygons = [_polygon(corners, size) for corners in segmentation]
        sides = sum(np.abs(p - np.roll(p, 1, 0)).max(1).sum() for p in polygons)
        if not polygons or sides > _LONGEST:
            raise ValueError(f"{len(polygons)} polygons with sides of {sides:.0f} pixels in all")
        polygons = [corners.ravel().tolist() for corners in polygons]
        return np.asarray(tools.decode(tools.merge(tools.frPyObjects(polygons, *size))), bool)
    if not isinstance(segmentation, Mapping) or segmentation.get("size") != list(size):
        raise ValueError(f"a segmentation is polygons, or run lengths of size {list(size)}")
    counts = segmentation.get("counts")
    if isinstance(counts, list):
        if not all(type(count) is int and count >= 0 for count in counts) or sum(counts) != size[0] * size[1]:
            raise ValueError(f"counts are the lengths of runs, {size[0] * size[1]} pixels in all")
        found = tools.frPyObjects({"size": list(size), "counts": counts}, *size)
    elif isinstance(counts, str) and counts.isascii():
        found = {"size": list(size), "counts": counts.encode("ascii")}
    else:
        raise ValueError("counts are a text or a list of numbers")
    return np.asarray(tools.decode(found), bool)


def _polygon(corners: object, size: Size) -> NDArray[np.float64]:
    """Return the corners (N, 2), x and y, within the image."""
    if not isinstance(corners, list) or len(corners) < 6 or len(corners) % 2:
        raise ValueError("a polygon is a list of x, y, x, y, x, y ... of at least three corners")
    if not all(type(v) in (int, float) for v in corners):
        raise ValueError("a polygon's corners are numbers")
    found = np.array(corners, np.float64).reshape(-1, 2)
    if not np.isfinite(found).all():
        raise ValueError("a polygon's corners are finite numbers")
    return found.clip(0, (size[1], size[0]))
