"""One PNG of labels as it is stored: its numbers, the colours that they have, and which pixel has which."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..errors import InputError
from .palettes import Colour
from .pictures import open_picture

LOSSY = ("JPEG", "MPO", "JPEG2000")
"""Formats that store other values than they were given; lossy WebP and AVIF are RGB, with too many colours."""
MOST_COLOURS = 256
_SCALED = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies grey samples of 2 and 4 bits by."""


class Key(NamedTuple):
    """The value of a pixel: a number, with its colour if there is a palette; or a colour alone.

    shared: two numbers in the picture have one colour.
    """

    number: int | None
    colour: Colour | None
    shared: bool = False


@dataclass(frozen=True, eq=False)
class LabelPng:
    """pixels (H, W): which of `keys` each is. keys: those that occur."""

    pixels: NDArray[np.intp]
    keys: tuple[Key, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_label_png(path: Path) -> LabelPng:
    """Read a grey PNG of 1 to 16 bits, one with a palette, or RGB; upright by its own EXIF orientation.

    Raises:
        MissingError: if there is no such file.
        InputError: if it is no label map: a JPEG, another mode, see-through pixels, too many colours.
    """
    with open_picture(path, "mask") as image:
        lossy = image.format in LOSSY or str(image.info.get("compression")).endswith("jpeg")
        raw = image.tile[0][3] if image.tile else None
        upright = ImageOps.exif_transpose(image)
        mode, values, palette = upright.mode, np.array(upright), _palette(upright)
    if lossy:
        raise InputError(f"{path} is stored as JPEG, which changes numbers and colours; save label maps as PNG")
    if mode in ("LA", "RGBA"):
        if (values[..., -1] != 255).any():
            raise InputError(f"{path} has see-through pixels, which are of no class; save it without transparency")
        values, mode = (values[..., 0], "L") if mode == "LA" else (values[..., :3], "RGB")
    if mode == "RGB":
        return _of_colours(path, values)
    if mode not in ("1", "L", "P", "I") and not mode.startswith("I;16"):
        raise InputError(f"{path} is of mode {mode}; give palette or grey PNGs whose values are class numbers")
    if isinstance(raw, str) and mode == "L":
        values = values // _SCALED.get(raw, 1)
    numbers, pixels = _distinct(values)
    if palette is None:
        return LabelPng(pixels, tuple(Key(n, None) for n in numbers.tolist()))
    colours = [_colour(palette[n]) for n in numbers]
    shared = len(set(colours)) < len(colours)
    return LabelPng(pixels, tuple(Key(n, c, shared) for n, c in zip(numbers.tolist(), colours, strict=True)))


def _palette(image: Image.Image) -> NDArray[np.uint8] | None:
    """Return RGB (256, 3) of a picture with a palette; black for numbers without a colour."""
    if image.mode != "P":
        return None
    said = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)[:256]
    return np.concatenate([said, np.zeros((256 - len(said), 3), np.uint8)])


def _colour(rgb: NDArray[np.uint8]) -> Colour:
    red, green, blue = (int(v) for v in rgb)
    return red, green, blue


def _of_colours(path: Path, values: NDArray[np.uint8]) -> LabelPng:
    packed = values.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)
    found, pixels = np.unique(packed, return_inverse=True)
    if len(found) > MOST_COLOURS:
        raise InputError(f"{path} has {len(found)} colours: a picture, or a mask that was smoothed or saved as JPEG")
    keys = tuple(Key(None, (c >> 16, c >> 8 & 255, c & 255)) for c in found.tolist())
    return LabelPng(pixels.reshape(values.shape[:2]), keys)


def _distinct(values: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return the values that occur, and the index of the value of each pixel."""
    if values.dtype not in (np.uint8, np.bool_):
        found, pixels = np.unique(values, return_inverse=True)
        return found.astype(np.int64), pixels.reshape(values.shape)
    small = values.astype(np.uint8)
    occurs = np.bincount(small.ravel(), minlength=256) > 0
    return np.flatnonzero(occurs), (np.cumsum(occurs) - 1)[small]
