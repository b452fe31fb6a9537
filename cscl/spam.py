"""SPAM, the Semantic-guided Part Alignment Module (SPAM of docs/method.md): pooling under semantic masks."""

from typing import NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import STRIDE
from .config import PartPooling
from .neck import BNNeck
from .parsing_head import HeadNorm, ParsingHead
from .pooling import normalised_weights, resize_distribution, weighted_sum

IGNORED = 255
"""Part label of pixels that no loss and no average counts."""
PART_POOLINGS: tuple[str, ...] = get_args(PartPooling)


class PartFeatures(NamedTuple):
    """Output of SPAM for B images.

    Attributes:
        logits: (B, Q+1, H, W), parsing logits; None for the controls, which do not parse.
        attention: P (B, Q+1, H, W), the softmax of the logits.
        foreground: f_fg (B, C).
        pooled: f_q (B, Q, C), or (B, Q, C_3 + C) if the parts average two stages.
        projected: (B, Q, D), f_q after the linear layer of its part.
        foreground_necked: (B, C), f_fg after its BNNeck.
        necked: (B, Q, D), the projected features after their BNNecks.
        foreground_logits: (B, identities).
        part_logits: (B, Q, identities).
        visibility: v_q (B, Q) in [0, 1], without gradient.
        shown: (B, Q), logits of the visibility head, whose sigmoid is s_q; None for the controls.
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
    """Pool Q part features and a foreground feature from F = X_4 under the part attention P.

    P is the softmax of a 1x1 convolution of [X_3 ; F].

    Args:
        channels: (C_3, C_4), channels of X_3 and F.
        parts: Q.
        identities: number of training identities.
        part_dim: D, channels of a part feature.
        tau: share of the image, in (0, 1], from which on a part counts as fully visible.
        pulled: whether all losses send gradients to P, or only the parsing and the division loss.
        pooling: `parsing` for P, or a control that needs no masks: `stripes`, Q bands of equal height as in PCB (Sun et
            al., ECCV 2018), or `global`, the whole map for each part.
        stages: 1 for f_q of F, 2 for f_q of [X_3 ; F].

    Raises:
        ValueError: if the pooling is unknown.
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
        stages: int = 1,
    ) -> None:
        super().__init__()
        if pooling not in PART_POOLINGS:
            raise ValueError(f"no part pooling {pooling!r}; choose one of {', '.join(PART_POOLINGS)}")
        self.parts, self.tau, self.pulled, self.pooling, self.stages = parts, tau, pulled, pooling, stages
        if pooling == "parsing":
            self.norm = HeadNorm(sum(channels))
            self.head = ParsingHead(sum(channels), parts + 1)
            self.shown = PartLogits(sum(channels) + 2, parts)
        self.project = nn.ModuleList(nn.Linear(sum(channels[-stages:]), part_dim, bias=False) for _ in range(parts))
        self.necks = nn.ModuleList(BNNeck(part_dim, identities) for _ in range(parts))
        self.foreground_neck = BNNeck(channels[1], identities)

    def forward(
        self, earlier: Tensor, features: Tensor, masks: Tensor | None = None, alpha: Tensor | None = None
    ) -> PartFeatures:
        """Return the features pooled under w_q = (1-alpha) P_q / |P_q| + alpha M_q / |M_q|.

        Args:
            earlier: X_3 (B, C_3, H, W).
            features: F (B, C_4, H, W).
            masks: M (B, Q+1, h, w), a distribution over classes at each cell, on a grid of any size. A part that a mask
                does not show is pooled under P, with visibility (1-alpha) s_q.
            alpha: (B,) in [0, 1], weight of the mask of each image; None for 0.

        Raises:
            ValueError: if alpha is given without masks.
        """
        parsed = self.pooling == "parsing"
        maps = [earlier, features] if parsed else [earlier, features][-self.stages :]
        logits = given = None
        if parsed:
            scale, shift = self.norm.fold(maps)
            logits = self.head(maps, scale, shift)
            attention = logits.float().softmax(1)
        else:
            attention = self._control_attention(features)
        weights = own = normalised_weights(_replace_background(attention if self.pulled else attention.detach()))
        if parsed and alpha is not None:
            if masks is None:
                raise ValueError("alpha is given without masks; give the cached masks it guides with, or alpha=None")
            given = _replace_background(resize_distribution(masks, (features.shape[2], features.shape[3])))
            weights = _mix(own, given, alpha.float())
        # One product per map gives the averages under what pools and, where that is not P, those under P for v.
        apart = given is not None or self.pulled
        under = torch.cat([weights, own[:, 1:].detach()], 1) if apart else weights
        averages = [weighted_sum(x, under) for x in maps]
        foreground = averages[-1][:, 0]
        parts = torch.cat([average[:, 1 : self.parts + 1] for average in averages[-self.stages :]], 2)
        shown, visibility = None, attention.new_ones(len(features), self.parts)
        if parsed:
            # s_q: the visibility of a part, from its mean feature, its area and its largest probability. The area alone
            # does not do: P never reaches 0, and puts feet at the bottom of images that show none.
            mean = torch.cat([average[:, -self.parts :] for average in averages], 2)
            each = attention[:, 1:].detach()
            total = under[:, -self.parts :].sum((2, 3))
            area, largest = each.mean((2, 3)), each.amax((2, 3))
            normed = scale * mean + shift * total[:, :, None]
            shown = self.shown(torch.cat([normed, area[:, :, None], largest[:, :, None]], 2))
            visibility = shown.detach().sigmoid()
        if given is not None and alpha is not None:
            seen = (given[:, 1:].mean((2, 3)) / self.tau).clamp(max=1)
            a = alpha.float()[:, None]
            visibility = (1 - a) * visibility + a * seen
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

    def _control_attention(self, features: Tensor) -> Tensor:
        """Return the fixed attention (B, Q+1, H, W) of a control: bands from top to bottom, or 1/Q everywhere.

        The background (class 0) is 0.
        """
        height, width = features.shape[2:]
        if self.pooling == "global":
            bands = torch.full((self.parts, height), 1 / self.parts, device=features.device)
        else:
            edges = torch.arange(self.parts + 1, device=features.device) * (height / self.parts)
            rows = torch.arange(height, device=features.device)
            # The height need not be a multiple of Q: a row may lie in two bands, and each gets its share of it.
            bands = (torch.minimum(edges[1:, None], rows + 1) - torch.maximum(edges[:-1, None], rows)).clamp(min=0)
        bands = torch.cat([torch.zeros_like(bands[:1]), bands])
        return bands[None, :, :, None].expand(len(features), -1, -1, width)


def _replace_background(distribution: Tensor) -> Tensor:
    """Return a distribution (B, Q+1, H, W) with the background, class 0, replaced by the foreground, 1 - background."""
    return torch.cat([1 - distribution[:, :1], distribution[:, 1:]], 1)


def _mix(own: Tensor, given: Tensor, alpha: Tensor) -> Tensor:
    """Return w (B, K, H, W), alpha (B,) of it from the maps `given`; `own` alone where a given map is empty.

    What is mixed is normalised, not the maps themselves: at alpha = 0.5 the mask has half of the weight of a small part
    too.
    """
    a = alpha.view(-1, 1, 1, 1)
    there = given.sum((2, 3), keepdim=True) > 0
    return torch.where(there, (1 - a) * own + a * normalised_weights(given), own)


class PartLogits(nn.Module):
    """One linear layer with one output per part: features (B, Q, C) -> logits (B, Q), float32."""

    def __init__(self, channels: int, parts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(parts, channels))
        self.bias = nn.Parameter(torch.zeros(parts))

    def forward(self, features: Tensor) -> Tensor:
        return (features.float() * self.weight).sum(2) + self.bias


def alpha_schedule(progress: float, guided: float) -> float:
    """Return alpha(t), the weight of the cached masks in SPAM's pooling.

    It falls linearly from 1 at the start of training to 0 at `guided`, and stays 0.

    Args:
        progress: share of training that is done, in [0, 1].
        guided: share of training over which the masks guide the pooling, in [0, 1].

    >>> alpha_schedule(0.0, 0.5), alpha_schedule(0.125, 0.5), alpha_schedule(0.75, 0.5), alpha_schedule(0.0, 0.0)
    (1.0, 0.75, 0.0, 0.0)
    """
    return max(0.0, 1.0 - progress / guided) if guided else 0.0


def mask_distribution(
    part_labels: Tensor, parts: int, size: tuple[int, int] | None = None, checked: bool = True
) -> Tensor:
    """Return M (B, Q+1, *size), float32: the share of each class in each cell of a grid.

    Ignored pixels count for no class. A cell that has no other pixels is background, so that nothing is pooled there.

    Args:
        part_labels: (B, h, w), integers 0..Q or 255 (ignored).
        parts: Q.
        size: (H, W) of the grid. None for the grid on which the network pools, if the labels have its input's size.
        checked: whether to look for other numbers, which waits for a GPU; if not, they count as ignored.

    Raises:
        ValueError: if the labels are not integers (B, h, w), or hold another number.
    """
    if part_labels.ndim != 3 or part_labels.is_floating_point():
        raise ValueError(f"part labels are {part_labels.dtype}, {tuple(part_labels.shape)}; give integers (B, h, w)")
    classes = torch.arange(parts + 1, device=part_labels.device).view(1, -1, 1, 1)
    one_hot = part_labels[:, None] == classes
    if checked:
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
