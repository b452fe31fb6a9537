"""PAM, the Parsing-aligned Attention Module (PAM of docs/method.md), and two published forms beside it."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pooling import masked_average

PamGate = Literal["parsing", "se", "mam"]
PAM_GATES: tuple[str, ...] = get_args(PamGate)


class ChannelGate(nn.Module):
    """m = sigmoid(W2 relu(W1 z)): descriptor z (B, inputs) -> (B, channels) in (0, 1), reduction 16."""

    def __init__(self, inputs: int, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.w1 = nn.Linear(inputs, inner)
        self.w2 = nn.Linear(inner, channels)

    def forward(self, descriptor: Tensor) -> Tensor:
        return self.w2(self.w1(descriptor).relu()).sigmoid()


class PAM(nn.Module):
    """Keep and light up the channels that carry the person; take the modality's style from the others.

        parsing  z = [z_fg ; z_bg],     Y = m * (1 - A_0) * X + (1 - m) * IN(X)
        se       z = average of X,      Y as above
        mam      z = average of X,      Y = m * X + (1 - m) * IN(X)      (MPANet, Wu et al., CVPR 2021)

    X (B, C, H, W) -> X' = X + g (Y - X) in X's shape, and the parsing logits (B, Q+1, H, W), None for `mam`,
    which has no parsing head. g starts at 0, so PAM starts as the identity.
    """

    def __init__(self, channels: int, parts: int, gate: str = "parsing") -> None:
        super().__init__()
        if gate not in PAM_GATES:
            raise ValueError(f"no PAM gate {gate!r}; choose one of {', '.join(PAM_GATES)}")
        self.head = None if gate == "mam" else nn.Conv2d(channels, parts + 1, 1)
        self.contrast = gate == "parsing"
        self.gate = ChannelGate(2 * channels if self.contrast else channels, channels)
        self.g = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        logits = None if self.head is None else self.head(x)
        person = None if logits is None else 1 - logits.float().softmax(1)[:, :1]
        if self.contrast and person is not None:
            descriptor = masked_average(x, torch.cat([person, 1 - person], 1)).flatten(1)
        else:
            descriptor = x.float().mean((2, 3))
        m = self.gate(descriptor)[:, :, None, None]
        lit = x if person is None else person.to(x.dtype) * x
        y = m * lit + (1 - m) * F.instance_norm(x)
        return x + self.g * (y - x), logits
