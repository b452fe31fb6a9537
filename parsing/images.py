"""Read image files of any camera or editor; all pixels of the project come from this module."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from .errors import CsclError
from .resize import MOST_PIXELS

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue, in [0, 1], over ImageNet: the normalisation of most networks."""
NO_PICTURES = ("MPEG", "EPS")
"""Formats that Pillow lists, but decodes only with another program."""
PERCENTILES = (0.5, 99.5)
"""Percentiles of an image of more than 8 bits that become 0 and 255, so that a few bad pixels do not set the range."""
STRETCH = f"stretched per image from percentile {PERCENTILES[0]} to {PERCENTILES[1]}, integers of 0 to 255 kept"
"""The rule for images of more than 8 bits, as it is written into a cache of such images."""
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
"""The transposition that makes an image upright, by EXIF orientation."""
MIRRORED = frozenset({2, 4, 5, 7})
"""EXIF orientations that swap left and right."""


class UnreadableImageError(CsclError):
    """Raised for a file that is no image, is damaged, or is too large."""


@cache
def image_suffixes() -> frozenset[str]:
    """Return the endings, in lower case with their dot, of the formats that Pillow decodes on this machine.

    >>> ".tif" in image_suffixes(), ".h5" in image_suffixes()
    (True, False)
    """
    named = Image.registered_extensions()

    def decodes(kind: str) -> bool:
        factory = Image.OPEN[kind][0] if kind in Image.OPEN and kind not in NO_PICTURES else None
        stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
        return factory is not None and not stub

    return frozenset(suffix for suffix, kind in named.items() if decodes(kind))


def read_image(path: Path, content: bytes | None = None) -> NDArray[np.uint8]:
    """Return an image (H, W, 3), uint8 RGB, rotated by its EXIF orientation.

    Grey is repeated over the channels, CMYK is converted, and transparency is dropped. Integers of more than 8 bits and
    floating-point numbers are stretched between two percentiles of the image, see `STRETCH`, since thermal cameras use
    a narrow band of their range.

    Args:
        path: the file; named in errors.
        content: its bytes, if they have been read already (`read_content`).

    Raises:
        UnreadableImageError: if the file is missing, damaged, no image or too large; the message says which.
    """
    with _open_image(path, content) as image:
        if image.width * image.height > MOST_PIXELS:
            raise UnreadableImageError(f"{path}: {image.width} x {image.height} pixels are too many")
        image.load()  # metadata may lie behind the pixels
        turned_by = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        upright = image if turned_by is None else image.transpose(turned_by)
        if has_deep_mode(upright):
            return _eight_bits(np.asarray(upright))
        return np.array(upright if upright.mode == "RGB" else upright.convert("RGB"))


def read_content(path: Path) -> bytes:
    """Return the bytes of an image file, for `read_image`.

    Raises:
        UnreadableImageError: if it is not there or cannot be read.
    """
    with _name_errors(path):
        return path.read_bytes()


@contextmanager
def _open_image(path: Path, content: bytes | None = None) -> Iterator[Image.Image]:
    """Open an image, and raise every error of opening and decoding it as UnreadableImageError."""
    with _name_errors(path), warnings.catch_warnings():
        # Pillow warns of large images, for which `read_image` has its own limit, and of odd metadata and palettes.
        warnings.simplefilter("ignore")
        # From an open file: by name, Pillow maps an uncompressed TIFF into memory with the sides of the turned one.
        with open(path, "rb") if content is None else io.BytesIO(content) as file, Image.open(file) as image:
            yield image


@contextmanager
def _name_errors(path: Path) -> Iterator[None]:
    """Raise every error as UnreadableImageError with the name of the file."""
    try:
        yield
    except UnreadableImageError:
        raise
    except FileNotFoundError:
        raise UnreadableImageError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        raise UnreadableImageError(f"{path}: cannot identify image file {str(path)!r}") from None
    except Exception as error:  # Pillow's decoders raise almost anything on a damaged file
        raise UnreadableImageError(f"{path}: {error or type(error).__name__}") from error


def is_readable(path: Path) -> bool:
    """Return whether `read_image` reads a file; all of it is decoded."""
    try:
        read_image(path)
    except UnreadableImageError:
        return False
    return True


def is_deep(path: Path) -> bool:
    """Return whether a file has more than 8 bits per value, so that `read_image` stretches it. Pixels are not read.

    Raises:
        UnreadableImageError: as in `read_image`.
    """
    with _open_image(path) as image:
        return has_deep_mode(image)


def has_deep_mode(image: Image.Image) -> bool:
    """Return whether an image of Pillow has more than 8 bits per value."""
    return image.mode.startswith(("I", "F"))


def orientation(path: Path) -> tuple[tuple[int, int], int]:
    """Return ((height, width), n): the stored size of an image file, and its EXIF orientation, 1 to 8.

    Orientation 1 leaves the image unchanged. Pixels are not read.

    Raises:
        UnreadableImageError: as in `read_image`.
    """
    with _open_image(path) as image:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
        stored = (image.height, image.width)
        if isinstance(image, TiffImagePlugin.TiffImageFile):  # opened with the sides that it has once it is turned
            stored = (image.tag_v2[TiffImagePlugin.IMAGELENGTH], image.tag_v2[TiffImagePlugin.IMAGEWIDTH])
        return stored, turn if turn in TURNS else 1


def upright_size(stored: tuple[int, int], turn: int) -> tuple[int, int]:
    """Return (height, width) of an image of stored size (height, width) after EXIF orientation `turn`."""
    return stored[::-1] if turn >= 5 else stored


def turn_array(array: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Return an array (H, W) of stored pixels after EXIF orientation `turn`."""
    method = TURNS[turn]
    return array if method is None else np.array(Image.fromarray(array).transpose(method))


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return values (H, W) of any range as grey in RGB (H, W, 3), scaled by the rule `STRETCH`."""
    numbers = np.asarray(values, np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return np.zeros((*numbers.shape, 3), np.uint8)
    if values.dtype.kind in "iu" and finite.min() >= 0 and finite.max() <= 255:
        scaled = numbers
    else:
        low, high = np.percentile(finite, PERCENTILES)
        scaled = (numbers - low) * (255 / ((high - low) or 1.0))
    grey = np.nan_to_num(scaled, nan=0.0).clip(0, 255).round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)
