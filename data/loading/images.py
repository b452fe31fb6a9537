"""Images as tensors at the size of the network's input."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from parsing.images import read_content, read_image


def load_image(path: Path, size: tuple[int, int]) -> Tensor:
    """Return one image (3, H, W) uint8 stretched to `size` (height, width).

    Raises:
        UnreadableImageError: if it cannot be read; the message names it.
    """
    return _resize(read_image(path), size)


def load_image_with_hash(path: Path, size: tuple[int, int]) -> tuple[Tensor, str]:
    """Return one image as `load_image` does, and the SHA-256 of its file, which is read once."""
    content = read_content(path)
    return _resize(read_image(path, content), size), hashlib.sha256(content).hexdigest()


def _resize(image: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """Return an image (H, W, 3) as (3, *size) uint8."""
    height, width = size
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)
