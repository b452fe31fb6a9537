"""Whether the images of a data set have more than 8 bits; importing this loads no torch."""

from collections.abc import Iterable
from pathlib import Path

from parsing.images import UnreadableImageError, is_deep

from ..records import DataSet, Record


def has_deep_images(data_set: DataSet) -> bool:
    """Return whether a data set has images of more than 8 bits: the first readable image of each camera decides.

    A camera writes one kind of file, so the headers of all images need not be read.
    """
    cameras: dict[tuple[str, int], list[Record]] = {}
    for image in data_set.images:
        cameras.setdefault((image.modality, image.camera), []).append(image)
    return any(_first_is_deep(data_set.root, images) for images in cameras.values())


def _first_is_deep(root: Path, images: Iterable[Record]) -> bool:
    for image in images:
        try:
            return is_deep(root / image.name)
        except UnreadableImageError:
            continue
    return False
