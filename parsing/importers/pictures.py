"""Opening pictures that somebody else made."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile

from ..errors import InputError, MissingError
from ..resize import MOST_PIXELS


@contextmanager
def open_picture(path: Path, what: str) -> Iterator[ImageFile.ImageFile]:
    """Yield an open picture in any format of Pillow; the block decodes it.

    Args:
        path: of the file.
        what: it is called so in the error.

    Raises:
        MissingError: if there is no such file.
        InputError: if it cannot be read, in the block too, or has more than MOST_PIXELS.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures: the limit below is stricter
            with Image.open(path) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise ValueError(f"{image.width} x {image.height} pixels are too many")
                yield image
    except FileNotFoundError:
        raise MissingError(f"no mask {path}") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is no readable {what}: {error}") from error
