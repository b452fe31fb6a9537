"""From scores on a network's grid to labels at the masks' size, in one step."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..resize import Size


@lru_cache(maxsize=32)
def enlarging(old: int, between: int, new: int) -> Tensor:
    """Return the matrix (old, new) that enlarges one side to `between`, corners aligned, and resizes that to `new`.

    The two bilinear steps are what networks of segmentation-models-pytorch do at their end, and what follows.
    """
    steps = F.interpolate(torch.eye(old)[None, None], (between, old), mode="bilinear", align_corners=True)
    return F.interpolate(steps, (new, old), mode="bilinear", align_corners=False)[0, 0].mT.contiguous()


@dataclass(frozen=True)
class Reach:
    """Of one side that `enlarging` enlarges: which new pixels are made of which old ones.

    Attributes:
        new_start, new_stop: of each old pixel, the range of new pixels that it is a part of; all of them if of none.
        old_start, old_stop: of each new pixel, the range of old pixels that it is made of.
    """

    new_start: list[int]
    new_stop: list[int]
    old_start: list[int]
    old_stop: list[int]

    def box(self, used: NDArray[np.bool_]) -> tuple[slice, slice]:
        """Return the new pixels that these old ones are a part of, and all the old ones that those are made of."""
        (numbers,) = used.nonzero()
        new = slice(self.new_start[numbers[0]], self.new_stop[numbers[-1]])
        return new, slice(self.old_start[new.start], self.old_stop[new.stop - 1])


@lru_cache(maxsize=32)
def find_reach(old: int, between: int, new: int) -> Reach:
    """Return where the matrix of `enlarging` is above 0."""
    used = enlarging(old, between, new).numpy() > 0
    sides = [(u.argmax(1), u.shape[1] - u[:, ::-1].argmax(1)) for u in (used, used.T)]
    return Reach(*(side.tolist() for both in sides for side in both))


def label_enlarged(scores: Tensor, between: Size, size: Size) -> NDArray[np.uint8]:
    """Return the class with the highest score in each pixel, (*size) uint8, after `enlarging` both sides.

    The same as of the whole enlarged scores, the first of equals, but for rounding. A new pixel is a mean of old ones,
    so that a class is enlarged only in the box around where it scores above the first class, the background.

    Args:
        scores: (C, h, w), float32, on the network's grid, on a CPU; at most 256 classes.
        between: (height, width) of the step between.
        size: (height, width) of the labels.
    """
    sides = tuple(zip(scores.shape[1:], between, size, strict=True))
    rows, columns = (enlarging(*side) for side in sides)
    tall, wide = (find_reach(*side) for side in sides)
    top: NDArray[np.float32] = (rows.mT @ scores[0] @ columns).numpy()
    classes = np.zeros(size, np.uint8)
    values = scores.numpy()
    ahead = values[1:] > values[0]
    for number, where in enumerate(ahead, start=1):
        if not where.any():
            continue
        (new_rows, old_rows), (new_columns, old_columns) = tall.box(where.any(1)), wide.box(where.any(0))
        piece = scores[number, old_rows, old_columns]
        these = (rows[old_rows, new_rows].mT @ piece @ columns[old_columns, new_columns]).numpy()
        best, labels = top[new_rows, new_columns], classes[new_rows, new_columns]
        put_winners(best, labels=labels, these=these, number=number)
    return classes


def find_most_likely(scores: Tensor) -> NDArray[np.uint8]:
    """Return the class with the highest score (C, H, W) in each pixel, the first of equals: (H, W).

    As `find_winners`, on a CPU, where numpy has less to do per operation than torch.
    """
    values: NDArray[np.float32] = scores.numpy()
    top, classes = values[0].copy(), np.zeros(values.shape[1:], np.uint8)
    for number, these in enumerate(values[1:], start=1):
        put_winners(top, labels=classes, these=these, number=number)
    return classes


def put_winners(best: NDArray[np.float32], labels: NDArray[np.uint8], these: NDArray[np.float32], number: int) -> None:
    """Put class `number` where its scores `these` are above the best of the classes before, all (H, W), in place."""
    higher = (these > best).view(np.uint8)
    higher *= np.uint8(number)
    np.maximum(labels, higher, out=labels)  # later classes have higher numbers
    np.maximum(best, these, out=best)
