"""Count the person pixels of each mask and the pixels of each class, in one pass over the masks of a cache."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parsing.cache.reader import MaskCache
from parsing.labels import IGNORED
from parsing.modality import MODALITIES
from parsing.progress import Bar


@dataclass(frozen=True, eq=False)
class MaskCounts:
    """Counts over N masks of C classes and M modalities. Ignored pixels are not counted.

    Attributes:
        person: (N,), share of each mask that is not background, in [0, 1]; NaN without a mask.
        images: (M, C), number of masks that contain the class.
        pixels: (M, C), number of its pixels.
        masks: (M,), number of masks.
    """

    person: NDArray[np.float64]
    images: NDArray[np.int64]
    pixels: NDArray[np.int64]
    masks: NDArray[np.int64]

    def of_images(self) -> NDArray[np.float64]:
        """Return (M, C), the share of a modality's masks that contain a class; NaN for a modality without masks."""
        return _share(self.images, self.masks)

    def of_person(self) -> NDArray[np.float64]:
        """Return (M, C), the share of a class in the person pixels of a modality; NaN for background."""
        parts = self.pixels.astype(np.float64)
        parts[:, 0] = np.nan
        return _share(parts, self.pixels[:, 1:].sum(1))


def count_masks(cache: MaskCache) -> MaskCounts:
    """Read every mask once, in the order of the file."""
    classes = len(cache.labels)
    person = np.full(len(cache), np.nan)
    images, pixels = (np.zeros((len(MODALITIES), classes), np.int64) for _ in range(2))
    masks = np.zeros(len(MODALITIES), np.int64)
    numbers = np.flatnonzero(cache.has_mask).tolist()
    for number in Bar(numbers, unit="image", desc="count classes"):
        found = np.bincount(cache[number].ravel(), minlength=IGNORED + 1)
        known = found[:classes]
        person[number] = float(known[1:].sum()) / float(found.sum())
        modality = cache.modality[number]
        images[modality] += known > 0
        pixels[modality] += known
        masks[modality] += 1
    return MaskCounts(person, images=images, pixels=pixels, masks=masks)


def _share(part: NDArray[np.number], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = np.divide(
        part, whole[:, None], out=np.full(part.shape, np.nan), where=whole[:, None] > 0
    )
    return shares
