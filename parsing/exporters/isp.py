"""`isp`: classes of lip as grey PNGs, the reference that CASIA-IVA-Lab/ISP-reID scores its parsing against."""

from pathlib import PurePosixPath

import numpy as np

from ..cache.reader import MaskCache
from ..errors import InputError
from ..labels import IGNORED, label_set
from ..schemes import PART_SCHEMES
from .base import Exporter, FileOptions, png

_AS_LIP = {
    "head": "face", "upper": "upper-clothes", "arms": "left-arm", "lower": "pants", "legs": "left-leg",
    "feet": "left-shoe",
}  # fmt: skip


class IspExporter(Exporter):
    """`cv2.imread(..., IMREAD_GRAYSCALE)` of every file in `SPLIT_parsing_pgt`, which must hold nothing else.

    It looks at the foreground, head (hat, hair, sunglasses, face), legs (socks, pants, legs) and shoes alone, so
    that another label set is written with one class of lip for each of the six parts of `reid6`.
    """

    name = "isp"
    reader = "CASIA-IVA-Lab/ISP-reID (engine/miou.py)"
    path = "{1}_parsing_pgt/{stem}.png"
    full_path = "{dir}_parsing_pgt/{stem}.png"

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        super().__init__(cache, options)
        self._table = np.arange(256, dtype=np.uint8)
        self._table[IGNORED] = 0
        if cache.labels.name not in ("lip", "cihp"):  # cihp differs in one class, which is foreground in both
            lip, groups = label_set("lip"), PART_SCHEMES["reid6"].groups
            if cache.labels.name not in groups:
                raise InputError(
                    f"isp: no part of label set {cache.labels.name!r} is known; there are {', '.join(groups)}, and "
                    "--to png and array write the classes of any label set"
                )
            self._table[:] = 0
            for part, classes in groups[cache.labels.name].items():
                self._table[[cache.labels.index(c) for c in classes]] = lip.index(_AS_LIP[part])

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        return png(self._table[self.labels(number)], palette=False)

    def notes(self) -> list[str]:
        if self.cache.labels.name in ("lip", "cihp"):
            return super().notes()
        return [*super().notes(), f"label set {self.cache.labels.name} in classes of lip: one for each part of reid6"]
