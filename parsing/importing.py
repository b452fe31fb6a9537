"""Masks that somebody has as PNG files, read as labels of a label set."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .errors import InputError, MissingError
from .labels import IGNORED, LabelSet
from .resize import resize_labels


def read_label_png(path: Path, labels: LabelSet, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Classes (H, W) uint8 at `size` from a palette or grey PNG whose values are class numbers (255: ignored).

    Raises MissingError, and InputError for a file of colours or with a value that the label set does not have.
    """
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.array(image)
    except FileNotFoundError:
        raise MissingError(f"no mask {path}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no readable mask: {error}") from error
    if mode not in ("L", "P") or values.ndim != 2:
        raise InputError(f"{path} has colours (mode {mode}); give palette or grey PNGs whose values are class numbers")
    found = values.astype(np.uint8)
    wrong = found[(found >= len(labels)) & (found != IGNORED)]
    if wrong.size:
        raise InputError(
            f"{path} has the value {wrong[0]}, but label set {labels.name!r} has the classes 0 to {len(labels) - 1}; "
            "give another --labels"
        )
    return resize_labels(found, size)
