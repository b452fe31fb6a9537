"""Where in a mask its image lies: all over it, or inside the padding that a letterbox has put around it."""

from typing import Literal

from ..resize import Box, Size

Fit = Literal["same", "stretch", "letterbox", "corner"]
"""same: both have one aspect. stretch: the image was stretched to the mask. letterbox: it was padded evenly on two
sides; corner: to the right or below."""
TOLERANCE = 1.05
"""Aspects that differ by less are taken to be the same: at most 2.5 % of a side out of place."""


def same_aspect(mask: Size, image: Size) -> bool:
    """Return whether two (height, width) are one shape, but for rounding to whole pixels."""
    one, other = mask[0] * image[1], mask[1] * image[0]
    return max(one, other) < TOLERANCE * min(one, other) or (
        abs(mask[1] - image[1] * mask[0] / image[0]) <= 1 or abs(mask[0] - image[0] * mask[1] / image[1]) <= 1
    )


def image_box(mask: Size, image: Size, fit: Fit, corner: tuple[int, int] = (0, 0)) -> Box | None:
    """Return the part of a mask of this size that shows the image; None for all of it.

    Args:
        mask, image: (height, width) of both, upright.
        fit: how the image lies in the mask.
        corner: (0 for top, 1 for bottom; 0 for left, 1 for right) of the mask in which the image lies under `corner`.
    """
    if fit not in ("letterbox", "corner"):
        return None
    scale = min(mask[0] / image[0], mask[1] / image[1])
    height, width = image[0] * scale, image[1] * scale
    if fit == "corner":
        return corner[0] * (mask[0] - height), corner[1] * (mask[1] - width), height, width
    return (mask[0] - height) / 2, (mask[1] - width) / 2, height, width
