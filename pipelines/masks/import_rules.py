"""Convert the masks of an import to labels of the cache: classes, upright, without padding, at one size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parsing.images import MIRRORED, turn_array
from parsing.importers.label_values import Reading
from parsing.importers.placing import Fit, image_box
from parsing.labels import IGNORED, LabelSet
from parsing.resize import Box, resize_labels

from .import_survey import Seen


@dataclass(frozen=True)
class Rules:
    """The rules by which every mask becomes labels of the cache's size."""

    labels: LabelSet
    reading: Reading
    size: tuple[int, int]
    fit: Fit
    as_stored: bool

    def labels_of(self, seen: Seen) -> tuple[NDArray[np.uint8], bool]:
        """Return classes (H, W), and whether a part of a person lay in the padding that was cut off."""
        found, corner = self.reading.of(seen.source.read()), (0, 0)
        if self.as_stored and seen.turn > 1:
            found, corner = turn_array(found, seen.turn), _turn_corner(seen.turn)
            if seen.turn in MIRRORED:
                swap = np.arange(256, dtype=np.uint8)
                swap[: len(self.labels)] = self.labels.flipped
                found = swap[found]
        box = image_box(seen.mask, seen.upright, self.fit, corner)
        return resize_labels(found, self.size, box), box is not None and _exceeds_box(found, box)


def _turn_corner(turn: int) -> tuple[int, int]:
    """Return the corner, as `image_box` takes it, to which EXIF orientation `turn` brings the one at the top left."""
    row, column = np.argwhere(turn_array(np.array([[1, 0], [0, 0]], np.uint8), turn))[0].tolist()
    return row, column


def _exceeds_box(labels: NDArray[np.uint8], box: Box) -> bool:
    """Return whether a person extends more than a pixel beyond the box."""
    top, left, height, width = box
    outside = np.ones(labels.shape, bool)
    outside[max(0, int(top) - 1) : int(top + height) + 2, max(0, int(left) - 1) : int(left + width) + 2] = False
    return bool(((labels > 0) & (labels != IGNORED) & outside).any())
