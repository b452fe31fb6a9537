"""Whether images are those that a cache was made from, by their sizes."""

from collections.abc import Iterable
from pathlib import Path

from .cache.reader import MaskCache
from .images import orientation


def find_other_image(names: Iterable[str], root: Path, cache: MaskCache) -> str | None:
    """Return the name of the first image whose size differs from the size that the cache recorded; None if all agree.

    Data sets share image names, so that a matching name does not mean that the cache belongs to these images.

    Args:
        names: images to check; those that are missing in the cache or below `root`, or whose size the cache does not
            know, are skipped.
        root: folder of the images.
        cache: to check against.
    """
    for name in names:
        if name in cache and (root / name).is_file():
            parsed = cache.source_size[cache.number(name)].tolist()
            if min(parsed) > 0 and sorted(orientation(root / name)[0]) != sorted(parsed):  # EXIF may swap sides
                return name
    return None
