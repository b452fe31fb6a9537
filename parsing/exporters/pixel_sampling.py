"""`pixel-sampling`: six soft channels as .npy, for shuxjweb/pixel_sampling."""

from pathlib import PurePosixPath

import numpy as np

from ..cache.reader import MaskCache
from ..labels import LABEL_SETS
from ..schemes import PART_SCHEMES, PartScheme
from .base import Exporter, FileOptions, note_missing_parts, npy

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

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        super().__init__(cache, options)
        _SCHEME.table(cache.labels)  # refused before any file

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        parts = self.maps(number, _SCHEME)
        channels = [(1 - parts.sum(0)).clip(0), *parts]
        total = sum(channels[1:], start=channels[0])
        shares = np.empty((*total.shape, len(channels)), np.float32)
        for index, channel in enumerate(channels):
            np.divide(channel, total, out=shares[..., index])
        return npy(shares)

    def notes(self) -> list[str]:
        return [*super().notes(), *note_missing_parts(self.cache, _SCHEME)]
