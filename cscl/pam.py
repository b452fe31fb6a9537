"""PAM, the Parsing-aligned Attention Module (PAM of docs/method.md), and two published forms beside it."""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import PamGate
from .pooling import masked_average

PAM_GATES: tuple[str, ...] = get_args(PamGate)


class ChannelGate(nn.Module):
    """m = sigmoid(W2 relu(W1 z)): descriptor z (B, inputs) -> (B, channels) in (0, 1), reduction 16."""

    def __init__(self, inputs: int, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.w1 = nn.Linear(inputs, inner)
        self.w2 = nn.Linear(inner, channels)

    def forward(self, descriptor: Tensor) -> Tensor:
        gate: Tensor = self.w2(self.w1(descriptor).relu()).sigmoid()
        return gate


G_BOUNDS = (0.0, 1.0)
"""Of g: 0 leaves the features as they are, 1 replaces them."""


class PAM(nn.Module):
    """Keep and light up the channels that carry the person; take the modality's style from the others.

        parsing  z = [z_fg ; z_bg],     Y = m * (1 - A_0) * X + (1 - m) * S(X)
        se       z = average of X,      Y as above
        mam      z = average of X,      Y = m * X + (1 - m) * S(X)       (MPANet, Wu et al., CVPR 2021)

    S(X) is the instance norm of X, put back to the mean and deviation that each channel has over all images (those
    of the parsing head's batch norm), so that it has lost the style of its image and kept the scale of X.

    X (B, C, H, W) -> X' = X + g (Y - X) in X's shape, and the parsing logits (B, Q+1, H, W), None for `mam`,
    which has no parsing head. g starts at 0, so PAM starts as the identity; `CSCL.bound_scalars` keeps it in G_BOUNDS.
    rectified: the backbone's stages end in a ReLU, and so does PAM.
    """

    def __init__(self, channels: int, parts: int, gate: str = "parsing", rectified: bool = True) -> None:
        super().__init__()
        if gate not in PAM_GATES:
            raise ValueError(f"no PAM gate {gate!r}; choose one of {', '.join(PAM_GATES)}")
        self.head = None if gate == "mam" else nn.Conv2d(channels, parts + 1, 1)
        self.norm = nn.BatchNorm2d(channels, affine=self.head is not None)  # without a head it only follows the scale
        self.contrast = gate == "parsing"
        self.rectified = rectified
        self.gate = ChannelGate(2 * channels if self.contrast else channels, channels)
        self.g = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        normed = self.norm(x)
        logits = None if self.head is None else self.head(normed)
        person = None if logits is None else 1 - logits.float().softmax(1)[:, :1]
        if self.contrast and person is not None:
            descriptor = masked_average(x, torch.cat([person, 1 - person], 1)).flatten(1)
        else:
            descriptor = x.float().mean((2, 3))
        m = self.gate(descriptor)[:, :, None, None]
        lit = x if person is None else person.to(x.dtype) * x
        y = m * lit + (1 - m) * self._restyled(x)
        x = x + self.g * (y - x)
        return (x.relu() if self.rectified else x), logits

    def _restyled(self, x: Tensor) -> Tensor:
        """S(X)."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        if mean is None or variance is None:
            raise ValueError("PAM's norm needs running statistics")
        # clones: the norm changes them in place when the next piece of a batch comes
        deviation, mean = variance.clamp(min=self.norm.eps).sqrt().to(x.dtype), mean.clone().to(x.dtype)
        return F.instance_norm(x, weight=deviation, bias=mean)
