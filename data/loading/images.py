"""Images as tensors at the size of the network's input."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from parsing.images import read_image


def load_image(path: Path, size: tuple[int, int]) -> Tensor:
    """Return one image (3, H, W) uint8 stretched to `size` (height, width).

    Raises:
        UnreadableImageError: if it cannot be read; the message names it.
    """
    height, width = size
    resized = Image.fromarray(read_image(path)).resize((width, height), Image.Resampling.BILINEAR)
    return torch.frombuffer(bytearray(resized.tobytes()), dtype=torch.uint8).view(height, width, 3).permute(2, 0, 1)
