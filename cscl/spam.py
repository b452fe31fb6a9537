"""SPAM, the Semantic-guided Part Alignment Module (SPAM of docs/method.md): pooling under semantic masks."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .neck import BNNeck
from .pooling import masked_average, resize_distribution

IGNORED = 255
"""The label of pixels that no class claims."""


class PartFeatures(NamedTuple):
    """What SPAM finds.

    logits: (B, Q+1, H, W), before the softmax; attention: P, their softmax; guide: G, what was pooled under.
    foreground: f_fg (B, C); pooled: f_q (B, Q, C); projected: f_q after its linear layer (B, Q, D).
    foreground_necked, necked, foreground_logits, part_logits: after the BNNeck and its classifier, (B, C),
    (B, Q, D), (B, identities), (B, Q, identities).
    visibility: v_q (B, Q) in [0, 1].
    """

    logits: Tensor
    attention: Tensor
    guide: Tensor
    foreground: Tensor
    pooled: Tensor
    projected: Tensor
    foreground_necked: Tensor
    necked: Tensor
    foreground_logits: Tensor
    part_logits: Tensor
    visibility: Tensor


class SPAM(nn.Module):
    """Q aligned part features and the foreground's from F (B, C, H, W).

    tau: the share of the map's cells (in (0, 1]) that a part must cover to be fully visible.
    """

    def __init__(self, channels: int, parts: int, identities: int, part_dim: int, tau: float) -> None:
        super().__init__()
        self.tau = tau
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Conv2d(channels, parts + 1, 1)
        self.project = nn.ModuleList(nn.Linear(channels, part_dim, bias=False) for _ in range(parts))
        self.necks = nn.ModuleList(BNNeck(part_dim, identities) for _ in range(parts))
        self.foreground_neck = BNNeck(channels, identities)

    def forward(self, features: Tensor, masks: Tensor | None = None, alpha: Tensor | None = None) -> PartFeatures:
        """Pool under G = (1-alpha) P + alpha M.

        masks: M (B, Q+1, h, w), a distribution over classes at each cell, of any size.
        alpha: (B,) in [0, 1]; None pools under the network's own parsing.
        """
        logits = self.head(self.norm(features))
        attention = logits.float().softmax(1)
        guide = attention
        if alpha is not None:
            if masks is None:
                raise ValueError("alpha is given without masks; give the cached masks it guides with, or alpha=None")
            a = alpha.float().view(-1, 1, 1, 1)
            size = (features.shape[2], features.shape[3])
            guide = (1 - a) * attention + a * resize_distribution(masks, size)
        # The background's place becomes the foreground's: 1 - G_0.
        pooled = masked_average(features, torch.cat([1 - guide[:, :1], guide[:, 1:]], 1))
        foreground, parts = pooled[:, 0], pooled[:, 1:]
        projected = torch.stack([linear(parts[:, q]) for q, linear in enumerate(self.project)], 1)
        necked = [neck(projected[:, q]) for q, neck in enumerate(self.necks)]
        foreground_necked, foreground_logits = self.foreground_neck(foreground)
        return PartFeatures(
            logits=logits,
            attention=attention,
            guide=guide,
            foreground=foreground,
            pooled=parts,
            projected=projected,
            foreground_necked=foreground_necked,
            necked=torch.stack([n.feature for n in necked], 1),
            foreground_logits=foreground_logits,
            part_logits=torch.stack([n.logits for n in necked], 1),
            visibility=(guide[:, 1:].mean((2, 3)) / self.tau).clamp(max=1),
        )


def alpha_schedule(progress: float) -> float:
    """alpha(t), how far the cached masks guide: linear from 1 at the start to 0 at half of training.

    progress: the share of training that is done, in [0, 1].

    >>> alpha_schedule(0.0), alpha_schedule(0.25), alpha_schedule(0.8)
    (1.0, 0.5, 0.0)
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress {progress} is not in [0, 1]; give the share of training that is done")
    return max(0.0, 1.0 - 2.0 * progress)


def mask_distribution(part_labels: Tensor, parts: int, size: tuple[int, int]) -> Tensor:
    """M: part labels (B, h, w), 0..parts or 255, resized by area to a distribution (B, parts+1, *size).

    Ignored pixels count for no class: a cell is the distribution of its labelled pixels, one without any is
    background, so that nothing is pooled there.
    """
    if part_labels.ndim != 3 or part_labels.is_floating_point():
        raise ValueError(f"part labels are {part_labels.dtype}, {tuple(part_labels.shape)}; give integers (B, h, w)")
    classes = torch.arange(parts + 1, device=part_labels.device).view(1, -1, 1, 1)
    one_hot = part_labels[:, None] == classes
    unknown = ~one_hot.any(1) & (part_labels != IGNORED)
    if bool(unknown.any()):
        raise ValueError(
            f"part labels hold {int(part_labels[unknown][0])}, which is neither in 0..{parts} nor {IGNORED}; "
            "regroup the labels into this part scheme first"
        )
    share = F.interpolate(one_hot.float(), size=size, mode="area")
    labelled = share.sum(1, keepdim=True)
    distribution = share / labelled.clamp(min=torch.finfo(share.dtype).tiny)
    background = (classes == 0).to(share.dtype)
    return torch.where(labelled > 0, distribution, background)
