"""Poolings: generalised mean (GeM) over a map and averages under masks (z_fg, f_q of docs/method.md)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GeM(nn.Module):
    """Generalised-mean pooling (Radenovic et al., TPAMI 2019) with a learned exponent, 3 at the start.

    (B, C, H, W) -> (B, C), float32. Values below `eps` count as `eps`. The exponent does not go below 1,
    where GeM is average pooling: lower ones explode and mean nothing for features.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.eps = eps

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            p = self.p.float().clamp(min=1)
            return features.float().clamp(min=self.eps).pow(p).mean((2, 3)).pow(1 / p)


def masked_average(features: Tensor, masks: Tensor, eps: float = 1e-6) -> Tensor:
    """Average of features (B, C, H, W) under each of K soft masks (B, K, H, W): (B, K, C), float32.

    sum_hw mask * features / (sum_hw mask + eps), so the average under an empty mask is 0.
    """
    with torch.autocast(features.device.type, enabled=False):
        weights = masks.float().flatten(2)
        sums = weights @ features.float().flatten(2).transpose(1, 2)
        return sums / (weights.sum(2, keepdim=True) + eps)


def resize_distribution(distribution: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, K, h, w) by area to (B, K, *size), float32; cells that add up to 1 keep doing so."""
    if distribution.shape[-2:] == torch.Size(size):
        return distribution.float()
    return F.interpolate(distribution.float(), size=size, mode="area")
