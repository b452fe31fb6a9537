"""Pictures of one colour, and the pixels of pictures that sheets were drawn into."""

from pathlib import Path

import numpy as np
from PIL import Image

Colour = tuple[int, int, int] | np.ndarray
BLUE = (10, 20, 240)


def plain(colour: Colour = BLUE, height: int = 16, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def pixels(path: Path) -> np.ndarray:
    """Every second pixel, so that a unit of the sheet is one pixel."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)[::2, ::2]


def where(picture: np.ndarray, colour: Colour) -> np.ndarray:
    """(N, 2) rows and columns of this exact colour."""
    return np.argwhere((picture == colour).all(axis=-1))
