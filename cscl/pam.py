"""PAM, the Parsing-aligned Attention Module (PAM of docs/method.md), and two published alternatives to its gate."""

from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import PamGate
from .pooling import masked_average

PAM_GATES: tuple[str, ...] = get_args(PamGate)


class ChannelGate(nn.Module):
    """m = sigmoid(W2 relu(W1 z)): descriptor z (B, inputs) -> channel weights m (B, channels) in (0, 1).

    Args:
        inputs: length of z.
        channels: length of m.
        reduction: `channels` per hidden unit.
    """

    def __init__(self, inputs: int, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.w1 = nn.Linear(inputs, inner)
        self.w2 = nn.Linear(inner, channels)

    def forward(self, descriptor: Tensor) -> Tensor:
        gate: Tensor = self.w2(self.w1(descriptor).relu()).sigmoid()
        return gate


G_BOUNDS = (0.0, 1.0)
"""Bounds of PAM's g: at 0 the output is X, at 1 it is Y."""


class PAM(nn.Module):
    """Emphasise the channels that describe the person, and remove the image's style from the others.

        parsing  z = [z_fg ; z_bg],     Y = m * (1 - A_0) * X + (1 - m) * S(X)
        se       z = average of X,      Y as above
        mam      z = average of X,      Y = m * X + (1 - m) * S(X)       (MPANet, Wu et al., CVPR 2021)

    A_0 is the background's share in the module's own parsing. S(X) is the instance norm of X, rescaled to the mean and
    deviation of each channel over the data set (the running statistics of the parsing head's batch norm): it has lost
    the style of its image and kept the scale of X.

    The output is X' = X + g (Y - X). g starts at 0, so that PAM starts as the identity; `CSCL.bound_scalars` keeps it
    in G_BOUNDS.

    Args:
        channels: C.
        parts: Q.
        gate: one of the three forms above.
        rectified: whether the backbone's stages end in a ReLU; PAM's output then passes one too.

    Raises:
        ValueError: if the gate is unknown.
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
        """Return X' and parsing logits (B, Q+1, H, W) of X (B, C, H, W); no logits (None) for `mam`."""
        normed = self.norm(x)
        logits = None if self.head is None else self.head(normed)
        person = None if logits is None else 1 - logits.float().softmax(1)[:, :1]
        if self.contrast and person is not None:
            descriptor = masked_average(x, torch.cat([person, 1 - person], 1)).flatten(1)
        else:
            descriptor = x.float().mean((2, 3))
        m = self.gate(descriptor)[:, :, None, None]
        emphasised = x if person is None else person.to(x.dtype) * x
        y = m * emphasised + (1 - m) * self._replace_style(x)
        x = x + self.g * (y - x)
        return (x.relu() if self.rectified else x), logits

    def _replace_style(self, x: Tensor) -> Tensor:
        """Return S(X)."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        if mean is None or variance is None:
            raise ValueError("PAM's norm needs running statistics")
        # Clone: the norm updates its statistics in place on its next forward pass, and backward needs these values.
        deviation, mean = variance.clamp(min=self.norm.eps).sqrt().to(x.dtype), mean.clone().to(x.dtype)
        return F.instance_norm(x, weight=deviation, bias=mean)
