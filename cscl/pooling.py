"""Pooling of feature maps: generalised mean (GeM), and averages under masks (z_fg and f_q of docs/method.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GEM_BOUNDS = (1.0, 6.0)
"""Bounds of GeM's exponent: 1 is average pooling, 6 is already close to max pooling."""


class GeM(nn.Module):
    """Generalised-mean pooling (Radenovic et al., TPAMI 2019) with an exponent of 3, learned or fixed.

    (B, C, H, W) -> (B, C), float32: (mean of x^p + eps)^(1/p), as in AGW's code; negative values count as 0.

    `CSCL.bound_scalars` puts a learned exponent back into GEM_BOUNDS after every step. A clamp in `forward` would have
    gradient 0 outside the bounds, and an exponent that got there would stay there.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-12, learned: bool = True) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p), requires_grad=learned)
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            p = self.p.float()
            return (features.float().clamp(min=0).pow(p).mean((2, 3)) + self.eps).pow(1 / p)


def masked_average(features: Tensor, masks: Tensor, eps: float = 1e-6) -> Tensor:
    """Return the averages (B, K, C), float32, of features (B, C, H, W) under each of K soft masks (B, K, H, W).

    sum_hw mask * features / (sum_hw mask + eps), so that the average under an empty mask is 0.
    """
    return weighted_sum(features, normalised_weights(masks, eps))


def weighted_sum(features: Tensor, weights: Tensor) -> Tensor:
    """Return sum_hw weights * features, (B, K, C) float32, of features (B, C, H, W) and K weights (B, K, H, W)."""
    with torch.autocast(features.device.type, enabled=False):
        return weights.float().flatten(2) @ features.float().flatten(2).transpose(1, 2)


def normalised_weights(masks: Tensor, eps: float = 1e-6) -> Tensor:
    """Return mask / (sum_hw mask + eps), float32, of soft masks (B, K, H, W): cells add up to 1, or 0 if all are 0."""
    masks = masks.float()
    return masks / (masks.sum((2, 3), keepdim=True) + eps)


def resize_distribution(distribution: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (B, K, h, w) resized by area to (B, K, *size), float32; the K values of a cell still add up to 1."""
    if distribution.shape[-2:] == torch.Size(size):
        return distribution.float()
    return F.interpolate(distribution.float(), size=size, mode="area")
