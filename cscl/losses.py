"""L_id, L_tri, L_par and L_div of docs/method.md, each a function of plain tensors in float32."""

from collections.abc import Callable
from itertools import combinations

import torch
import torch.nn.functional as F
from torch import Tensor

from .spam import IGNORED

LABEL_STRIDE = 4


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances (N, M) of a (N, D) to b (M, D); exact, with gradient 0 between equal rows."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def part_identity(logits: Tensor, visibility: Tensor, identities: Tensor, smoothing: float = 0.1) -> Tensor:
    """L_id of the parts: cross-entropy of logits (B, Q, identities), averaged with the weights v_q (B, Q).

    The weights are constants here: a part must not become invisible because it is hard to tell.
    """
    targets = identities[:, None].expand(logits.shape[:2])
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing, reduction="none")
    weights = visibility.detach().flatten()
    return (weights * each).sum() / weights.sum().clamp(min=1e-6)


def weighted_triplet(features: Tensor, identities: Tensor, seen: Tensor | None = None) -> Tensor:
    """L_tri, the weighted regularised triplet of AGW (Ye et al., TPAMI 2021), on features (B, D).

    mean_i softplus(sum_p w_ip d_ip - sum_n w_in d_in): positives weigh exp(d), negatives exp(-d), normalised.
    As published, 1e-6 is added to the sums of the weights, so negatives further than about 14 pull no more.
    An image without a negative takes no part, nor does one that is not `seen` (B,) bool (None: all are).
    """
    d = distances(features, features)
    same, other = _pairs(identities, seen)
    positive = _weighted(d, d, same)
    negative = _weighted(d, -d, other)
    return _mean_where(other.any(1), F.softplus(positive - negative))


def _pairs(identities: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """(B, B) bool: pairs of images of one identity (each with itself too), and of two, among those that are seen."""
    same = identities[:, None] == identities[None]
    if seen is None:
        return same, ~same
    both = seen[:, None] & seen[None]
    return same & both, ~same & both


def _weighted(values: Tensor, scores: Tensor, chosen: Tensor) -> Tensor:
    """Return row sums of values (N, M), weighted by the softmax of the chosen scores, as AGW forms it."""
    scores = scores * chosen
    weights = (scores - scores.amax(1, keepdim=True)).exp() * chosen
    return (values * weights).sum(1) / (weights.sum(1) + 1e-6)


def hard_triplet(features: Tensor, identities: Tensor, seen: Tensor | None = None, margin: float = 0.3) -> Tensor:
    """Return the batch-hard triplet (Hermans et al., 2017) on features (B, D).

    mean_i relu(margin + furthest same - nearest other). Who takes no part: as in `weighted_triplet`.
    """
    d = distances(features, features)
    same, other = _pairs(identities, seen)
    positive = d.masked_fill(~same, 0).max(1).values
    negative = d.masked_fill(~other, torch.inf).min(1).values
    return _mean_where(other.any(1), F.relu(margin + positive - negative))


def _mean_where(chosen: Tensor, values: Tensor) -> Tensor:
    """Return the mean of the chosen values (N,); 0 with gradient 0 if there are none."""
    return values.masked_fill(~chosen, 0).sum() / chosen.sum().clamp(min=1)


def label_targets(part_labels: Tensor) -> Tensor:
    """Return part labels (B, H, W) of the input's size as the parsing loss compares them: (B, H/4, W/4), long.

    The nearest pixel is taken, since labels cannot be averaged; a quarter is finer than any map of logits.
    """
    return part_labels[:, LABEL_STRIDE // 2 :: LABEL_STRIDE, LABEL_STRIDE // 2 :: LABEL_STRIDE].long()


def parsing(logits: Tensor, part_labels: Tensor, confidence: Tensor | None = None, balance: float = 1.0) -> Tensor:
    """L_par of one head: pixel cross-entropy, balanced between the classes, weighted by c / mean c.

    logits (B, Q+1, h', w') are upsampled to the labels (B, h, w), 0..Q or 255 (ignored).
    confidence: c (B,) in [0, 1], None for 1; over its mean, so that doubtful masks count less than others but the
    loss of a batch does not fall with them. balance: in [0, 1]. The mean of each class is taken over its n pixels,
    then that over the classes present, with weights n^(1 - balance): 1 is EANet's (Huang et al., 2018), in which
    feet count as much as the background, 0 the plain mean over pixels.
    """
    height, width = part_labels.shape[-2:]
    if height < logits.shape[2] or width < logits.shape[3]:
        raise ValueError(
            f"part labels of {height}x{width} are coarser than the parsing map of "
            f"{logits.shape[2]}x{logits.shape[3]}; give them at a quarter of the input's size or finer"
        )
    classes = logits.shape[1]
    labels = part_labels.long()
    upsampled = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    each = F.cross_entropy(upsampled, labels, ignore_index=IGNORED, reduction="none")
    if confidence is not None:
        each = each * _relative(confidence).view(-1, 1, 1)
    # Ignored pixels are counted as one class more, which is then dropped.
    index = labels.masked_fill(labels == IGNORED, classes).flatten()
    sums = each.new_zeros(classes + 1).index_add(0, index, each.flatten())[:classes]
    counts = torch.bincount(index, minlength=classes + 1)[:classes]
    weights = torch.where(counts > 0, counts.clamp(min=1).to(sums.dtype) ** (1 - balance), 0)
    return (weights * sums / counts.clamp(min=1)).sum() / weights.sum().clamp(min=1e-6)


def _relative(confidence: Tensor) -> Tensor:
    """c / mean c of a batch (B,); 0 if no mask is trusted."""
    return confidence / confidence.mean().clamp(min=1e-6)


def part_visibility(logits: Tensor, part_labels: Tensor, confidence: Tensor | None = None, tau: float = 0.01) -> Tensor:
    """Binary cross-entropy of the visibility logits (B, Q) with min(1, area of the part / tau), weighted by c / mean c.

    part_labels: (B, h, w), 0..Q or 255; area: the share of all pixels, so that what is erased or cut off is not shown.
    confidence: c (B,) in [0, 1], None for 1.
    """
    classes = torch.arange(1, logits.shape[1] + 1, device=logits.device).view(1, -1, 1, 1)
    area = (part_labels[:, None] == classes).float().mean((2, 3))
    each = F.binary_cross_entropy_with_logits(logits, (area / tau).clamp(max=1), reduction="none").mean(1)
    if confidence is not None:
        each = each * _relative(confidence)
    return each.mean()


def attention_overlap(attention: Tensor) -> Tensor:
    """Return the mean over images and pairs q<r of <P_q, P_r> / sqrt(|P_q| |P_r|), P (B, Q, H, W), |P_q| its area."""
    maps = attention.flatten(2)
    area = maps.sum(2)
    overlap = maps @ maps.transpose(1, 2) / (area[:, :, None] * area[:, None] + 1e-6).sqrt()
    return _pair_mean(overlap)


def separation(attention: Tensor) -> Tensor:
    """MPANet's form of the same: mean over images and pairs of <P_q, P_r>, not normalised by area."""
    maps = attention.flatten(2)
    return _pair_mean(maps @ maps.transpose(1, 2))


def feature_overlap(parts: Tensor, allowed: float = 0.2) -> Tensor:
    """Return the mean over images and pairs q<r of max(0, cos(f_q, f_r) - allowed)^2, f (B, Q, C)."""
    unit = F.normalize(parts, dim=2, eps=1e-6)
    return _pair_mean(F.relu(unit @ unit.transpose(1, 2) - allowed).square())


def _pair_mean(values: Tensor) -> Tensor:
    """Mean of values (B, Q, Q) over the batch and the pairs q<r; 0 if there is one part alone."""
    pairs = list(combinations(range(values.shape[1]), 2))
    if not pairs:
        return values.sum() * 0
    first, second = zip(*pairs, strict=True)
    return values[:, list(first), list(second)].mean()


DIVISION_FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "both": lambda attention, parts: attention_overlap(attention) + feature_overlap(parts),
    "attention": lambda attention, parts: attention_overlap(attention),
    "features": lambda attention, parts: feature_overlap(parts),
    "mpanet": lambda attention, parts: separation(attention),
}
"""L_div by name, of the parts' attention P (B, Q, H, W) and their pooled features f_q (B, Q, C)."""
