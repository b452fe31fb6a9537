"""`sgiel`: the body's shape as grey pictures named as the images, for jiawei151/SGIEL_VIReID."""

import io
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ..cache.reader import MaskCache
from ..errors import InputError
from ..schemes import PartScheme
from .base import Exporter, FileOptions

_OPTIONS: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}
"""Save options of the formats whose defaults lose details."""


class SgielExporter(Exporter):
    """Probability of the person, the sum over all classes but background and bag, times 255 in three channels.

    `pre_process_sysu.py` lists the folders of images and shapes side by side and compares the names, ending
    included; `RegDBData` opens the shape under the image's own name. Both resize what they read.
    """

    name = "sgiel"
    reader = "jiawei151/SGIEL_VIReID (pre_process_sysu.py, RegDBData)"
    path = "{dir}/{stem}{suffix}"
    soft = True

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        super().__init__(cache, options)
        body = tuple(c for c in cache.labels.classes[1:] if c != "bag")
        self._body = PartScheme("shape", ("person",), {cache.labels.name: {"person": body}})

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        kind = Image.registered_extensions().get(target.suffix.lower())
        person = self.maps(number, self._body)[0]
        grey = Image.fromarray((person * 255).round().astype(np.uint8))
        file = io.BytesIO()
        try:
            Image.merge("RGB", [grey] * 3).save(file, kind or "none", **_OPTIONS.get(str(kind), {}))
        except (KeyError, OSError) as error:  # no writer, or one for other modes alone
            raise InputError(
                f"{target}: Pillow writes no {target.suffix or 'file without an ending'}; give an ending that it "
                "writes, as --path '{dir}/{stem}.png'"
            ) from error
        return file.getvalue()
