"""PAM, the Parsing-aligned Attention Module (PAM of docs/method.md), and two published alternatives to its gate."""

from typing import get_args

import torch
from torch import Tensor, nn

from .config import PamGate
from .parsing_head import HeadNorm, ParsingHead, find_moments
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
        self.head = None if gate == "mam" else ParsingHead(channels, parts + 1)
        self.norm = HeadNorm(channels, affine=self.head is not None)  # without a head it only follows the scale
        self.contrast = gate == "parsing"
        self.rectified = rectified
        self.gate = ChannelGate(2 * channels if self.contrast else channels, channels)
        self.g = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return X' and parsing logits (B, Q+1, H, W) of X (B, C, H, W); no logits (None) for `mam`."""
        moments = find_moments(x)
        folded = self.norm.fold([x], [moments])  # without a head too: it updates the running statistics
        logits = None if self.head is None else self.head([x], *folded)
        person = None if logits is None else 1 - logits.float().softmax(1)[:, :1]
        if self.contrast and person is not None:
            descriptor = masked_average(x, torch.cat([person, 1 - person], 1)).flatten(1)
        else:
            descriptor = moments[0]
        m, g = self.gate(descriptor).float(), self.g.float()
        scale, shift = self._find_style_replacement(*moments)
        # X' = t X + b with t = g m (1 - A_0) + (1 - g) + g (1 - m) scale and b = g (1 - m) shift. Backward keeps one
        # map of the size of X for it, t; for the terms one by one it keeps three.
        rest = 1 - g + g * (1 - m) * scale
        factor = (g * m + rest)[:, :, None, None] if person is None else _add_products(g * m, person, rest, x)
        x = torch.addcmul((g * (1 - m) * shift)[:, :, None, None].to(x.dtype), x, factor.to(x.dtype))
        return (x.relu() if self.rectified else x), logits

    def _find_style_replacement(self, own_mean: Tensor, own_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, C) each, float32, with S(X) = scale * X + shift, from mean and variance (B, C) of each image."""
        mean, variance = (self.norm.get_buffer(f"running_{name}") for name in ("mean", "var"))
        # The norm updates its statistics in place on its next forward pass, and backward needs these values: the
        # square root is a copy, the mean needs one.
        scale = variance.clamp(min=self.norm.eps).sqrt() * (own_variance + self.norm.eps).rsqrt()
        return scale, mean.clone() - scale * own_mean


def _add_products(slope: Tensor, person: Tensor, offset: Tensor, like: Tensor) -> Tensor:
    """Return slope * person + offset, (B, C, H, W) in the memory format of `like`.

    Args:
        slope: (B, C).
        person: (B, 1, H, W).
        offset: (B, C).
        like: (B, C, H, W).
    """
    cells = torch.cat([person, torch.ones_like(person)], 1).flatten(2)  # (B, 2, HW)
    channels = torch.stack([slope, offset], 2)  # (B, C, 2)
    if like.is_contiguous(memory_format=torch.channels_last):
        products = torch.bmm(cells.transpose(1, 2), channels.transpose(1, 2)).transpose(1, 2)
    else:
        products = torch.bmm(channels, cells)
    return products.view(like.shape)
