"""Decoded images of a data set in memory, so that training never waits for a decoder."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from parsing.images import read_image
from parsing.progress import Bar


def load_images(root: Path, names: Sequence[str], size: tuple[int, int], desc: str = "read images") -> Tensor:
    """Return images (N, 3, H, W) uint8 in the order of `names`, stretched to `size` (height, width).

    Raises:
        UnreadableImageError: an image cannot be read; the message names it.
    """
    images = torch.empty((len(names), 3, *size), dtype=torch.uint8)

    def load(number: int) -> None:
        images[number] = load_image(root / names[number], size)

    with ThreadPoolExecutor() as pool:
        for _ in Bar(pool.map(load, range(len(names))), total=len(names), unit="image", desc=desc):
            continue
    return images


def load_image(path: Path, size: tuple[int, int]) -> Tensor:
    """Return one image (3, H, W) uint8 stretched to `size` (height, width)."""
    height, width = size
    resized = Image.fromarray(read_image(path)).resize((width, height), Image.Resampling.BILINEAR)
    return torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)
