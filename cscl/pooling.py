"""Poolings: generalised mean (GeM) over a map and averages under masks (z_fg, f_q of docs/method.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GEM_BOUNDS = (1.0, 6.0)
"""Of GeM's exponent: 1 is average pooling, and from 6 on it is as good as the maximum."""


class GeM(nn.Module):
    """Generalised-mean pooling (Radenovic et al., TPAMI 2019) with an exponent of 3, learned or fixed.

    (B, C, H, W) -> (B, C), float32: (mean of x^p + eps)^(1/p), as AGW's code has it; negative values count as 0.
    A learned exponent is kept in GEM_BOUNDS by `CSCL.bound_scalars` after every step; a bound in here would take its
    gradient away beyond it.
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
    """Average of features (B, C, H, W) under each of K soft masks (B, K, H, W): (B, K, C), float32.

    sum_hw mask * features / (sum_hw mask + eps), so the average under an empty mask is 0.
    """
    return weighted_sum(features, normalised_weights(masks, eps))


def weighted_sum(features: Tensor, weights: Tensor) -> Tensor:
    """sum_hw weights * features: (B, C, H, W) under each of K weights (B, K, H, W): (B, K, C), float32."""
    with torch.autocast(features.device.type, enabled=False):
        return weights.float().flatten(2) @ features.float().flatten(2).transpose(1, 2)


def normalised_weights(masks: Tensor, eps: float = 1e-6) -> Tensor:
    """mask / (sum_hw mask + eps) for soft masks (B, K, H, W), float32: cells add up to 1, or to 0 if none is."""
    masks = masks.float()
    return masks / (masks.sum((2, 3), keepdim=True) + eps)


def resize_distribution(distribution: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, K, h, w) by area to (B, K, *size), float32; cells that add up to 1 keep doing so."""
    if distribution.shape[-2:] == torch.Size(size):
        return distribution.float()
    return F.interpolate(distribution.float(), size=size, mode="area")
