"""`cscl benchmark read`: masks from a cache, beside the same masks in PNG files."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parsing import CacheWriter, MaskCache

from .measure import Row, by_turns, compare_sides

SIZE = (288, 144)


def measure(count: int, runs: int) -> list[Row]:
    """Return one row: single masks in random order, from open files of a cache and from files of their own."""
    with TemporaryDirectory() as place:
        folder, masks = Path(place), [_mask(number) for number in range(count)]
        write_cache(folder / "masks.h5", masks)
        for number, mask in enumerate(masks):
            Image.fromarray(mask).save(folder / f"{number}.png")
        order = np.random.default_rng(0).permutation(count).tolist()
        cache = MaskCache(folder / "masks.h5")

        def from_cache() -> None:
            for number in order:
                cache[number]

        def from_png() -> None:
            for number in order:
                with Image.open(folder / f"{number}.png") as image:
                    np.asarray(image)

        seconds = by_turns({"ours": from_cache, "png": from_png}, runs)
        return [
            compare_sides(
                "single masks, random order",
                seconds=seconds,
                ours="ours",
                theirs="png",
                count=count,
                unit="masks per second",
                other="PNG files",
            )
        ]


def write_cache(path: Path, masks: list[NDArray[np.uint8]]) -> None:
    """Write a cache of these masks."""
    with CacheWriter(path, labels="person7", size=SIZE, parser="drawn") as cache:
        for number, mask in enumerate(masks):
            cache.add(f"cam1/{number % 97:04d}/{number:06d}.jpg", mask, identity=number % 97, camera=1)


def _mask(number: int) -> NDArray[np.uint8]:
    """Return a mask (288, 144) of stacked ellipses: about as many outlines as a person has."""
    rng, mask = np.random.default_rng(number), np.zeros(SIZE, np.uint8)
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    for part, (middle, height, width) in enumerate(((35, 28, 20), (105, 60, 38), (185, 60, 30), (262, 20, 26)), 1):
        dy, dx = rng.normal(0, 5, 2)
        mask[((rows - middle - dy) / height) ** 2 + ((columns - 72 - dx) / width) ** 2 < 1] = part
    return mask
