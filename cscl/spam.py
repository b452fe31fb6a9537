"""SPAM, the Semantic-guided Part Alignment Module (SPAM of docs/method.md): pooling under semantic masks."""

from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import STRIDE
from .config import PartPooling
from .neck import BNNeck
from .pooling import normalised_weights, resize_distribution, weighted_sum

IGNORED = 255
"""The part label of a pixel that says nothing."""
"""The label of pixels that no class claims."""
PART_POOLINGS: tuple[str, ...] = get_args(PartPooling)


class PartFeatures(NamedTuple):
    """What SPAM finds.

    logits: (B, Q+1, H, W), before the softmax, None where parts are not parsed; attention: P, their softmax.
    foreground: f_fg (B, C); pooled: f_q (B, Q, C); projected: f_q after its linear layer (B, Q, D).
    foreground_necked, necked, foreground_logits, part_logits: after the BNNeck and its classifier, (B, C),
    (B, Q, D), (B, identities), (B, Q, identities).
    visibility: v_q (B, Q) in [0, 1], without gradient; shown: the logits (B, Q) of the head that tells it, None if
    parts are not parsed.
    """

    logits: Tensor | None
    attention: Tensor
    foreground: Tensor
    pooled: Tensor
    projected: Tensor
    foreground_necked: Tensor
    necked: Tensor
    foreground_logits: Tensor
    part_logits: Tensor
    visibility: Tensor
    shown: Tensor | None


class SPAM(nn.Module):
    """Q aligned part features and the foreground's, pooled from F = X_4 (B, C_4, H, W) under P, parsed from [X_3 ; F].

    channels: (C_3, C_4); X_3 and F have one grid. tau: the share of the map (in (0, 1]) that a part must cover to be
    fully visible. pulled: let the other losses than the parsing and the division loss pull at P.
    pooling: `parsing`, or a control that needs no masks: `stripes`, Q bands of one height as in PCB (Sun et al.,
    ECCV 2018), or `global`, the whole map for every part: Q heads of the same size without parts.
    """

    def __init__(
        self,
        channels: tuple[int, int],
        parts: int,
        identities: int,
        part_dim: int,
        tau: float,
        pulled: bool = False,
        pooling: str = "parsing",
    ) -> None:
        super().__init__()
        if pooling not in PART_POOLINGS:
            raise ValueError(f"no part pooling {pooling!r}; choose one of {', '.join(PART_POOLINGS)}")
        self.parts, self.tau, self.pulled, self.pooling = parts, tau, pulled, pooling
        if pooling == "parsing":
            self.norm = nn.BatchNorm2d(sum(channels))
            self.head = nn.Conv2d(sum(channels), parts + 1, 1)
            self.shown = PartLogits(sum(channels) + 2, parts)
        self.project = nn.ModuleList(nn.Linear(channels[1], part_dim, bias=False) for _ in range(parts))
        self.necks = nn.ModuleList(BNNeck(part_dim, identities) for _ in range(parts))
        self.foreground_neck = BNNeck(channels[1], identities)

    def forward(
        self, earlier: Tensor, features: Tensor, masks: Tensor | None = None, alpha: Tensor | None = None
    ) -> PartFeatures:
        """Pool F under w = (1-alpha) P / |P| + alpha M / |M|, part by part: at alpha = 1 whatever P is.

        earlier: X_3 (B, C_3, H, W), features: F (B, C_4, H, W).
        masks: M (B, Q+1, h, w), a distribution over classes at each cell, of any size. Where it does not show a part,
        that is pooled under P and its visibility is the share of P in w.
        alpha: (B,) in [0, 1]; None pools under the network's own parsing.
        """
        size = (features.shape[2], features.shape[3])
        if self.pooling == "parsing":
            normed = self.norm(torch.cat([earlier, features], 1))
            logits = self.head(normed)
            attention = logits.float().softmax(1)
            weights = normalised_weights(_foreground_first(attention if self.pulled else attention.detach()))
            own = attention[:, 1:].detach()
            described = [
                weighted_sum(normed, normalised_weights(own)),
                own.mean((2, 3))[:, :, None],
                own.amax((2, 3))[:, :, None],
            ]
            shown = self.shown(torch.cat(described, 2))
            visibility = shown.detach().sigmoid()
        else:
            logits = shown = None
            attention = self._fixed(features)
            weights = normalised_weights(_foreground_first(attention))
            visibility = attention.new_ones(len(features), self.parts)
        if alpha is not None and self.pooling == "parsing":
            if masks is None:
                raise ValueError("alpha is given without masks; give the cached masks it guides with, or alpha=None")
            given = _foreground_first(resize_distribution(masks, size))
            a = alpha.float().view(-1, 1, 1, 1)
            there = given.sum((2, 3), keepdim=True) > 0
            weights = torch.where(there, (1 - a) * weights + a * normalised_weights(given), weights)
            seen = (given[:, 1:].mean((2, 3)) / self.tau).clamp(max=1)
            visibility = (1 - a.flatten(1)) * visibility + a.flatten(1) * seen
        pooled = weighted_sum(features, weights)
        foreground, parts = pooled[:, 0], pooled[:, 1:]
        projected = torch.stack([linear(parts[:, q]) for q, linear in enumerate(self.project)], 1)
        necked = [neck(projected[:, q]) for q, neck in enumerate(self.necks)]
        foreground_necked, foreground_logits = self.foreground_neck(foreground)
        return PartFeatures(
            logits=logits,
            attention=attention,
            foreground=foreground,
            pooled=parts,
            projected=projected,
            foreground_necked=foreground_necked,
            necked=torch.stack([n.feature for n in necked], 1),
            foreground_logits=foreground_logits,
            part_logits=torch.stack([n.logits for n in necked], 1),
            visibility=visibility,
            shown=shown,
        )

    def _fixed(self, features: Tensor) -> Tensor:
        """Return the attention (B, Q+1, H, W) of a control, no background: bands from the top, or 1/Q everywhere."""
        height, width = features.shape[2:]
        if self.pooling == "global":
            bands = torch.full((self.parts, height), 1 / self.parts, device=features.device)
        else:
            edges = torch.arange(self.parts + 1, device=features.device) * (height / self.parts)
            rows = torch.arange(height, device=features.device)
            # the share of each row that lies in each band
            bands = (torch.minimum(edges[1:, None], rows + 1) - torch.maximum(edges[:-1, None], rows)).clamp(min=0)
        bands = torch.cat([torch.zeros_like(bands[:1]), bands])
        return bands[None, :, :, None].expand(len(features), -1, -1, width)


def _foreground_first(distribution: Tensor) -> Tensor:
    """(B, Q+1, H, W) with the foreground, 1 - background, in the background's place."""
    return torch.cat([1 - distribution[:, :1], distribution[:, 1:]], 1)


class PartLogits(nn.Module):
    """One linear logit a part: features (B, Q, C) -> (B, Q), float32."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(parts, channels))
        self.bias = nn.Parameter(torch.zeros(parts))

    def forward(self, features: Tensor) -> Tensor:
        return (features.float() * self.weight).sum(2) + self.bias


def alpha_schedule(progress: float, guided: float) -> float:
    """alpha(t), how far the cached masks guide: linear from 1 at the start to 0 where `guided` is reached.

    progress, guided: shares of training, in [0, 1].

    >>> alpha_schedule(0.0, 0.5), alpha_schedule(0.125, 0.5), alpha_schedule(0.75, 0.5), alpha_schedule(0.0, 0.0)
    (1.0, 0.75, 0.0, 0.0)
    """
    return max(0.0, 1.0 - progress / guided) if guided else 0.0


def mask_distribution(part_labels: Tensor, parts: int, size: tuple[int, int] | None = None) -> Tensor:
    """Return M: part labels (B, h, w), 0..parts or 255, resized by area to a distribution (B, parts+1, *size).

    size: None for the grid that the network pools on if the labels have the size of its input.

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
    if size is None:
        size = (part_labels.shape[1] // STRIDE, part_labels.shape[2] // STRIDE)
    share = F.interpolate(one_hot.float(), size=size, mode="area")
    labelled = share.sum(1, keepdim=True)
    distribution = share / labelled.clamp(min=torch.finfo(share.dtype).tiny)
    background = (classes == 0).to(share.dtype)
    return torch.where(labelled > 0, distribution, background)
