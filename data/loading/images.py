"""Images as tensors at the size of the network's input."""

import hashlib
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from parsing.images import read_content, read_image


def load_image(path: Path, size: tuple[int, int]) -> Tensor:
    """Return one image (3, H, W) uint8 stretched to `size` (height, width).

    Raises:
        UnreadableImageError: if it cannot be read; the message names it.
    """
    return load_image_with_hash(path, size)[0]


def load_image_with_hash(path: Path, size: tuple[int, int]) -> tuple[Tensor, str]:
    """Return one image as `load_image` does, and the SHA-256 of its file, which is read once."""
    content = read_content(path)
    height, width = size
    resized = Image.fromarray(read_image(path, content)).resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)
    return pixels, hashlib.sha256(content).hexdigest()
