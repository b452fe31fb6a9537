"""The losses L_id, L_tri, L_par, L_vis and L_div of docs/method.md, as functions of float32 tensors."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .spam import IGNORED

LABEL_STRIDE = 4
"""Input pixels per label, along each side, on the grid of the parsing loss."""


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Return Euclidean distances (N, M) of a (N, D) to b (M, D).

    Computed from differences, not from products, so that small distances are exact; equal rows have gradient 0.
    """
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def part_identity(logits: Tensor, visibility: Tensor, identities: Tensor, smoothing: float = 0.1) -> Tensor:
    """Return L_id of the parts: cross-entropy averaged over images and parts with the visibilities as weights.

    No gradient passes to the weights: otherwise the network could lower the loss by calling hard parts invisible.

    Args:
        logits: (B, Q, identities).
        visibility: v_q (B, Q) in [0, 1].
        identities: (B,), from 0.
        smoothing: label smoothing, in [0, 1).
    """
    targets = identities[:, None].expand(logits.shape[:2])
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), label_smoothing=smoothing, reduction="none")
    weights = visibility.detach().flatten()
    return (weights * each).sum() / weights.sum().clamp(min=1e-6)


def weighted_triplet(features: Tensor, identities: Tensor, seen: Tensor | None = None) -> Tensor:
    """Return L_tri, the weighted regularised triplet loss of AGW (Ye et al., TPAMI 2021).

    mean_i softplus(sum_p w_ip d_ip - sum_n w_in d_in), with positives p weighted by exp(d), negatives n by exp(-d), and
    the weights of an image normalised to sum 1. As in AGW's code, 1e-6 is added to the normaliser, so that negatives
    beyond a distance of about 14 no longer count.

    Args:
        features: (B, D).
        identities: (B,).
        seen: (B,) bool, images to use; None for all. An image without a negative is left out too.
    """
    d = distances(features, features)
    same, other = _pairs(identities, seen)
    positive = _softmax_sum(d, d, same)
    negative = _softmax_sum(d, -d, other)
    return _mean_where(other.any(1), F.softplus(positive - negative))


def _pairs(identities: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return two (B, B) bool: pairs of seen images of the same identity (diagonal included), and of two identities."""
    same = identities[:, None] == identities[None]
    if seen is None:
        return same, ~same
    both = seen[:, None] & seen[None]
    return same & both, ~same & both


def _softmax_sum(values: Tensor, scores: Tensor, chosen: Tensor) -> Tensor:
    """Return row sums (N,) of values (N, M) weighted by a softmax over the chosen scores, with AGW's 1e-6."""
    scores = scores * chosen
    weights = (scores - scores.amax(1, keepdim=True)).exp() * chosen
    return (values * weights).sum(1) / (weights.sum(1) + 1e-6)


def hard_triplet(features: Tensor, identities: Tensor, seen: Tensor | None = None, margin: float = 0.3) -> Tensor:
    """Return the batch-hard triplet loss (Hermans et al., 2017): mean_i relu(margin + furthest same - nearest other).

    Arguments as in `weighted_triplet`.
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
    """Return part labels (B, H, W) of the input's size on the grid of the parsing loss: (B, H/4, W/4), long.

    Each cell takes the label of its nearest pixel, since labels cannot be averaged. A quarter of the size saves memory
    and loses nothing: no map of logits is finer.
    """
    return part_labels[:, LABEL_STRIDE // 2 :: LABEL_STRIDE, LABEL_STRIDE // 2 :: LABEL_STRIDE].long()


def parsing(logits: Tensor, part_labels: Tensor, confidence: Tensor | None = None, balance: float = 1.0) -> Tensor:
    """Return L_par of one parsing head: pixel cross-entropy, balanced between classes and weighted by confidence.

    The loss is averaged over the n pixels of each class, and then over the classes present with weights
    n^(1 - balance).

    Args:
        logits: (B, Q+1, h', w'); they are upsampled to the labels.
        part_labels: (B, h, w), 0..Q or 255 (ignored), at least as fine as the logits.
        confidence: c (B,) in [0, 1], None for 1. An image's weight is c over the mean c of the images that have one, so
            that uncertain masks count less than others while the scale of the batch's loss stays. With c = 0 a mask
            counts for nothing, as if the image were not in the batch.
        balance: in [0, 1]. At 1 all classes count alike, as in EANet (Huang et al., 2018); at 0 all pixels do.

    Raises:
        ValueError: if the labels are coarser than the logits.
    """
    height, width = part_labels.shape[-2:]
    if height < logits.shape[2] or width < logits.shape[3]:
        raise ValueError(
            f"part labels of {height}x{width} are coarser than the parsing map of "
            f"{logits.shape[2]}x{logits.shape[3]}; give them at a quarter of the input's size or finer"
        )
    classes = logits.shape[1]
    labels = part_labels.long()
    if confidence is not None:
        used = confidence > 0
        labels = labels.masked_fill(~used.view(-1, 1, 1), IGNORED)  # else its pixels would count in the means below
        share = used.sum().clamp(min=1) / len(used)
    upsampled = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    each = F.cross_entropy(upsampled, labels, ignore_index=IGNORED, reduction="none")
    if confidence is not None:
        each = each * (share * _divide_by_mean(confidence)).view(-1, 1, 1)
    # Sums and counts per class. Ignored pixels go to an additional class, which is dropped.
    index = labels.masked_fill(labels == IGNORED, classes).flatten()
    sums = each.new_zeros(classes + 1).index_add(0, index, each.flatten())[:classes]
    # Not `bincount`, which waits for a GPU.
    counts = index.new_zeros(classes + 1).index_add(0, index, torch.ones_like(index))[:classes]
    weights = torch.where(counts > 0, counts.clamp(min=1).to(sums.dtype) ** (1 - balance), 0)
    return (weights * sums / counts.clamp(min=1)).sum() / weights.sum().clamp(min=1e-6)


def _divide_by_mean(confidence: Tensor) -> Tensor:
    """Return c / mean c of a batch (B,); 0 if every c is 0."""
    return confidence / confidence.mean().clamp(min=1e-6)


def part_visibility(logits: Tensor, part_labels: Tensor, confidence: Tensor | None = None, tau: float = 0.01) -> Tensor:
    """Return L_vis: binary cross-entropy of the visibility logits with min(1, area of the part / tau).

    The area is the part's share of all pixels, ignored ones included: a part that is erased or cut off is not visible.

    Args:
        logits: (B, Q).
        part_labels: (B, h, w), 0..Q or 255 (ignored).
        confidence: c (B,) in [0, 1], None for 1; an image's weight is c / mean c.
        tau: area, in (0, 1], from which on a part counts as fully visible.
    """
    classes = torch.arange(1, logits.shape[1] + 1, device=logits.device).view(1, -1, 1, 1)
    area = (part_labels[:, None] == classes).float().mean((2, 3))
    each = F.binary_cross_entropy_with_logits(logits, (area / tau).clamp(max=1), reduction="none").mean(1)
    if confidence is not None:
        each = each * _divide_by_mean(confidence)
    return each.mean()


def attention_overlap(attention: Tensor) -> Tensor:
    """Return L_div: the mean over images and pairs q<r of <P_q, P_r> / sqrt(|P_q| |P_r|).

    Args:
        attention: P (B, Q, H, W), without background; |P_q| is the sum of P_q over the cells.
    """
    maps = attention.flatten(2)
    area = maps.sum(2)
    overlap = maps @ maps.transpose(1, 2) / (area[:, :, None] * area[:, None] + 1e-6).sqrt()
    return _pair_mean(overlap)


def separation(attention: Tensor) -> Tensor:
    """Return L_div as in MPANet (Wu et al., CVPR 2021): the mean over images and pairs q<r of <P_q, P_r>.

    Args:
        attention: P (B, Q, H, W), without background.
    """
    maps = attention.flatten(2)
    return _pair_mean(maps @ maps.transpose(1, 2))


def feature_overlap(parts: Tensor, allowed: float = 0.2) -> Tensor:
    """Return L_div on features: the mean over images and pairs q<r of max(0, cos(f_q, f_r) - allowed)^2.

    Args:
        parts: f (B, Q, C).
        allowed: cosine up to which the loss is 0.
    """
    unit = F.normalize(parts, dim=2, eps=1e-6)
    return _pair_mean(F.relu(unit @ unit.transpose(1, 2) - allowed).square())


def _pair_mean(values: Tensor) -> Tensor:
    """Return the mean of values (B, Q, Q) over the batch and the pairs q<r; 0 if there is only one part."""
    first, second = torch.triu_indices(values.shape[1], values.shape[1], offset=1, device=values.device)
    if not len(first):
        return values.sum() * 0  # keeps the graph, so that backward works
    return values[:, first, second].mean()


DIVISION_FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "both": lambda attention, parts: attention_overlap(attention) + feature_overlap(parts),
    "attention": lambda attention, parts: attention_overlap(attention),
    "features": lambda attention, parts: feature_overlap(parts),
    "mpanet": lambda attention, parts: separation(attention),
}
"""L_div by name, as a function of the attention P (B, Q, H, W) and the pooled features f_q (B, Q, C)."""
