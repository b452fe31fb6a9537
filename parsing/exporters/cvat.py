"""`cvat`: PASCAL VOC's segmentation masks with `labelmap.txt`, which CVAT imports as `Segmentation mask 1.1`."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from ..errors import InputError
from ..importers.labelmap import NAME, labelmap_text
from ..labels import IGNORED
from .base import Exporter, png

_FOLDER = "SegmentationClass"


class CvatExporter(Exporter):
    """Palette PNGs as large as the images; ignored pixels are background. `cscl masks import` reads them back."""

    name = "cvat"
    reader = "CVAT, as Segmentation mask 1.1 (zip the folder)"
    path = _FOLDER + "/{dir}/{stem}.png"
    default_size = "source"

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        labels = self.labels(number)
        return png(np.where(labels == IGNORED, 0, labels).astype(np.uint8), palette=True)

    def beside(self, targets: Sequence[PurePosixPath]) -> dict[PurePosixPath, bytes]:
        """Return the label map, and the list of the masks by which CVAT finds them."""
        outside = [target for target in targets if target.parts[0] != _FOLDER]
        if outside:
            raise InputError(f"--path: cvat files lie below {_FOLDER}/, not as {outside[0]}")
        names = "".join(f"{target.relative_to(_FOLDER).with_suffix('')}\n" for target in targets)
        return {
            PurePosixPath(NAME): labelmap_text(self.cache.labels).encode(),
            PurePosixPath("ImageSets/Segmentation/default.txt"): names.encode(),
        }
