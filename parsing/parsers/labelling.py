"""The masks of a batch of images: what a cache stores of a parser's answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..resize import Size
from .base import Parser
from .confidence import confidence, find_winners

COARSE, LEAST = 4, 16
"""The confidence is computed at this part of the masks' size, if their shorter side then has so many pixels."""


@dataclass(frozen=True)
class Masks:
    """Masks of B images.

    Attributes:
        labels: (B, H, W) uint8 classes.
        confidence: (B) in [0, 1].
        probs: (B, C, h, w) uint8 class probabilities in 1/255, if asked for.
    """

    labels: NDArray[np.uint8]
    confidence: NDArray[np.float32]
    probs: NDArray[np.uint8] | None = None


def stack_images(images: Sequence[Tensor]) -> Tensor:
    """Return prepared images (3, H, W) as one batch (B, 3, H, W), in memory channels last as image files are."""
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


@torch.inference_mode()
def label_images(
    parser: Parser,
    batch: Tensor,
    sources: Sequence[Size],
    size: Size,
    flip: bool = True,
    probs: Size | None = None,
) -> Masks:
    """Return the masks of prepared images.

    Args:
        parser: which parser.
        batch: (B, 3, *input_size), of `parser.prepare`.
        sources: (height, width) of the images as they were.
        size: (height, width) of the masks.
        flip: average the logits with those of the mirrored images.
        probs: (height, width) of probabilities to return too.
    """
    logits, agreement = parser.average(batch, flip)
    trust = rate_masks(parser, logits=logits, agreement=agreement, sources=sources, size=size)
    if probs is not None:
        scores = parser.enlarge(logits, sources, size)
        labels = find_winners(scores)[1].cpu()
        small = F.interpolate(scores.softmax(1), probs, mode="area")
        return Masks(labels.numpy(), trust, (small * 255).round().to(torch.uint8).cpu().numpy())
    return Masks(parser.label_pixels(logits, sources, size), trust)


def rate_masks(
    parser: Parser, logits: Tensor, agreement: Tensor, sources: Sequence[Size], size: Size
) -> NDArray[np.float32]:
    """Return the confidence (B) in [0, 1] of masks of `size`, computed on smaller ones.

    Args:
        parser: which parser.
        logits: (B, C, h, w), of `parser.average`.
        agreement: (B), flip agreement, likewise.
        sources: (height, width) of the images as they were.
        size: (height, width) of the masks.
    """
    step = max(1, min(COARSE, min(size) // LEAST))
    coarse = parser.enlarge(logits, sources, (size[0] // step, size[1] // step)).softmax(1)
    trust: NDArray[np.float32] = confidence(coarse, *find_winners(coarse), agreement, parser.labels).numpy()
    return trust
