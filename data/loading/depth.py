"""Whether the images of a data set have more than 8 bits; importing this loads no torch."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from parsing.images import UnreadableImageError, is_deep

from ..records import DataSet, Record

JPEG = (".jpg", ".jpeg")


def has_deep_images(data_set: DataSet) -> bool:
    """Return whether a data set has images of more than 8 bits.

    The first readable image of each camera and ending decides: a camera writes one kind of file, so the headers of all
    images need not be read. Where cameras are unknown they are, but for JPEG files, which have 8 bits.
    """
    alike: dict[tuple[str, int, str, str], list[Record]] = {}
    for image in data_set.images:
        ending = PurePosixPath(image.name).suffix.lower()
        one = "" if image.camera or ending in JPEG else image.name
        alike.setdefault((image.modality, image.camera, ending, one), []).append(image)
    return any(_first_is_deep(data_set.root, images) for images in alike.values())


def _first_is_deep(root: Path, images: Iterable[Record]) -> bool:
    for image in images:
        try:
            return is_deep(root / image.name)
        except UnreadableImageError:
            continue
    return False
