"""`pixel-sampling`: six soft channels as .npy, for shuxjweb/pixel_sampling."""

from pathlib import PurePosixPath

import numpy as np

from ..labels import LABEL_SETS
from ..schemes import PART_SCHEMES, PartScheme
from .base import Exporter, note_missing_parts, npy

_SCHEME = PartScheme(
    "pixel-sampling",
    ("head", "upper", "lower", "arms and bag", "legs and shoes"),
    {
        name: {
            **{part: parts[part] for part in ("head", "upper", "lower")},
            "arms and bag": parts["arms"] + (("bag",) if "bag" in LABEL_SETS[name].classes else ()),
            "legs and shoes": parts["legs"] + parts["feet"],
        }
        for name, parts in PART_SCHEMES["reid6"].groups.items()
    },
    partial=True,
)


class PixelSamplingExporter(Exporter):
    """float32 (256, 128, 6): background first, each pixel sums to 1.

    `ImageDatasetGcnMask` moves the channels to the front and resizes to bilinear; its arg max 2 is the upper
    garment and 3 the lower one, whose pixels are exchanged between people.
    """

    name = "pixel-sampling"
    reader = "shuxjweb/pixel_sampling (prcc_gcn, celeba_msk)"
    path = "mask_6/{dir}/{stem}.npy"
    default_size = (256, 128)
    soft = True

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        parts = self.maps(number, _SCHEME)
        background = (1 - parts.sum(0, keepdims=True)).clip(0)
        channels = np.concatenate([background, parts])
        return npy((channels / channels.sum(0)).transpose(1, 2, 0))

    def notes(self) -> list[str]:
        return [*super().notes(), *note_missing_parts(self.cache, _SCHEME)]
