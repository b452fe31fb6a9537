"""Reading one image file, whatever camera or editor wrote it."""

import warnings
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps

from .errors import CsclError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of red, green and blue, in [0, 1]: the input of most networks that were trained on photographs."""
MOST_PIXELS = 100_000_000
NO_PICTURES = ("MPEG", "EPS")
"""Formats that Pillow names but does not decode by itself."""
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation."""
MIRRORED = frozenset({2, 4, 5, 7})
"""The orientations that swap left and right."""


class UnreadableImageError(CsclError):
    """A file that is no image, is truncated, or is too large to be a picture of a person."""


@cache
def image_suffixes() -> frozenset[str]:
    """Endings, in lower case with their dot, of the formats that Pillow decodes here; stubs such as `.h5` are none.

    >>> ".tif" in image_suffixes(), ".h5" in image_suffixes()
    (True, False)
    """
    named = Image.registered_extensions()

    def decodes(kind: str) -> bool:
        factory = Image.OPEN[kind][0] if kind in Image.OPEN and kind not in NO_PICTURES else None
        stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return factory is not None and not stub

    return frozenset(suffix for suffix, kind in named.items() if decodes(kind))


def read_image(path: Path) -> NDArray[np.uint8]:
    """The image (H, W, 3) uint8 in RGB, upright by its EXIF orientation; UnreadableImageError says what is wrong.

    Grey is repeated over the channels, 16 bits are reduced to 8 by the image's own maximum, CMYK is converted,
    transparent pixels lose their transparency.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures (the limit below is stricter), odd metadata, palettes
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise UnreadableImageError(f"{path}: {image.width} x {image.height} pixels are too many")
                upright = ImageOps.exif_transpose(image)
                if upright.mode.startswith(("I", "F")):
                    return _eight_bits(np.asarray(upright))
                return np.array(upright.convert("RGB"))
    except UnreadableImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError(f"{path}: no such file") from None
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise UnreadableImageError(f"{path}: {error or type(error).__name__}") from error


def orientation(path: Path) -> tuple[tuple[int, int], int]:
    """((height, width), n): the size of an image file as it is stored, and how EXIF turns it, 1 (not at all) to 8.

    Reads no pixels; UnreadableImageError as `read_image`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                turn = image.getexif().get(ExifTags.Base.Orientation, 1)
                return (image.height, image.width), turn if turn in TURNS else 1
    except FileNotFoundError:
        raise UnreadableImageError(f"{path}: no such file") from None
    except Exception as error:  # as in read_image
        raise UnreadableImageError(f"{path}: {error or type(error).__name__}") from error


def turned(array: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """An array (H, W) of stored pixels, made upright as EXIF orientation `turn` says."""
    method = TURNS[turn]
    return array if method is None else np.array(Image.fromarray(array).transpose(method))


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    scaled = np.asarray(values, np.float64)
    scale = 255 / max(float(scaled.max(initial=0)), 255.0)
    return np.repeat((scaled * scale).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
