"""SGIEL's pictures of a body's shape: how likely each pixel is of the person, as grey from 0 to 255."""

from pathlib import Path

import numpy as np
from PIL import ImageOps

from ..errors import InputError
from ..images import has_deep_mode
from ..labels import LabelSet
from .label_png import Key, LabelPng
from .pictures import open_picture

PERSON = 128
"""From this grey value on a pixel is of the person: a probability of a half."""
_SLACK = 12
"""How far the channels of a grey picture may differ: JPEG stores colours coarsely."""


def read_shape_picture(path: Path, labels: LabelSet) -> LabelPng:
    """Return person and background of a picture in any format of Pillow; upright by its own EXIF orientation.

    Args:
        path: a picture, grey or with three equal channels, as `--to sgiel` and SGIEL's authors write it.
        labels: background and one class, such as label set `person`.

    Raises:
        MissingError: if there is no such file.
        InputError: if it cannot be read, has colours or more than 8 bits, or the label set has more classes.
    """
    if len(labels) != 2:
        raise InputError(
            f"{path}: such a picture shows a person and no parts, and label set {labels.name} has "
            f"{len(labels) - 1} classes; give --labels person"
        )
    with open_picture(path, "picture") as image:
        deep = has_deep_mode(image)
        values = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    if deep:
        raise InputError(f"{path} has more than 8 bits, whose half is not known; save it as grey from 0 to 255")
    if int(np.max(np.ptp(values.astype(np.int16), axis=2))) > _SLACK:
        raise InputError(f"{path} has colours: a photograph, not the picture of a shape")
    found, pixels = np.unique(values[..., 0] >= PERSON, return_inverse=True)
    return LabelPng(pixels.reshape(values.shape[:2]), tuple(Key(int(n), None) for n in found))
