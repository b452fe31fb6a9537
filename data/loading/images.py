"""Decoded images of a data set in memory, so that training never waits for a decoder; their depth."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from parsing.images import UnreadableImageError, is_deep, read_image

from ..records import DataSet, Record


def load_images(root: Path, names: Sequence[str], size: tuple[int, int], desc: str = "read images") -> Tensor:
    """Return images (N, 3, H, W) uint8 in the order of `names`, stretched to `size` (height, width).

    Raises:
        UnreadableImageError: an image cannot be read; the message names it.
    """
    images = torch.empty((len(names), 3, *size), dtype=torch.uint8)

    def load(number: int) -> None:
        images[number] = load_image(root / names[number], size)

    with ThreadPoolExecutor() as pool:
        for _ in tqdm(pool.map(load, range(len(names))), total=len(names), unit="image", desc=desc):
            continue
    return images


def load_image(path: Path, size: tuple[int, int]) -> Tensor:
    """Return one image (3, H, W) uint8 stretched to `size` (height, width)."""
    height, width = size
    resized = Image.fromarray(read_image(path)).resize((width, height), Image.Resampling.BILINEAR)
    return torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)


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
