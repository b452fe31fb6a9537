"""From scores on a network's grid to labels at the masks' size, in one step."""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .confidence import find_winners


@lru_cache(maxsize=32)
def enlarging(old: int, between: int, new: int) -> Tensor:
    """Return the matrix (old, new) that enlarges one side to `between`, corners aligned, and resizes that to `new`.

    The two bilinear steps are what networks of segmentation-models-pytorch do at their end, and what follows.
    """
    steps = F.interpolate(torch.eye(old)[None, None], (between, old), mode="bilinear", align_corners=True)
    return F.interpolate(steps, (new, old), mode="bilinear", align_corners=False)[0, 0].mT.contiguous()


def find_most_likely(scores: Tensor) -> Tensor:
    """Return the class with the highest score (C, H, W) in each pixel, the first of equals, as (H, W) uint8.

    As `find_winners`. On a CPU numpy has less to do per operation than torch, and one image at a time stays in
    the cache.
    """
    if scores.device.type != "cpu":
        return find_winners(scores[None])[1][0]
    values: NDArray[np.float32] = scores.numpy()
    top, classes = values[0].copy(), np.zeros(values.shape[1:], np.uint8)
    higher = np.empty(values.shape[1:], np.bool_)
    number = higher.view(np.uint8)
    for index, these in enumerate(values[1:], start=1):
        np.greater(these, top, out=higher)
        number *= np.uint8(index)
        np.maximum(classes, number, out=classes)  # later classes have higher numbers
        np.maximum(top, these, out=top)
    return torch.from_numpy(classes)
