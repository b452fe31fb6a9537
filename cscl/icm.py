"""ICM, Identity-aware Center Mining (ICM of docs/method.md), and two published hetero-center losses."""

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .losses import distances


class Centers(NamedTuple):
    """Mean features of the identities of a batch in each modality; index 0 is visible, 1 infrared.

    An identity is numbered by its first image, so that of B numbers only as many have an image as there are identities.

    Attributes:
        centers: (2, B, D); 0 if the batch does not show an identity of this number in this modality.
        seen: (2, B) bool, whether it does.
        of: (B,), number of each image's identity.
    """

    centers: Tensor
    seen: Tensor
    of: Tensor


def modality_centers(features: Tensor, identities: Tensor, infrared: Tensor, visible: Tensor | None = None) -> Centers:
    """Return the centers c_i^v and c_i^r of a batch.

    Args:
        features: (B, D).
        identities: (B,).
        infrared: (B,) bool.
        visible: (B,) in [0, 1], weight of each image in its center; None for 1. A center whose weights are all 0 counts
            as not seen.
    """
    # A slot per image, that of the identity's first one: the number of identities would have to come from the device.
    of, count = (identities[:, None] == identities[None]).int().argmax(1), len(identities)
    slot = of + count * infrared
    weights = features.new_ones(len(features)) if visible is None else visible.to(features.dtype)
    sums = features.new_zeros(2 * count, features.shape[1]).index_add(0, slot, weights[:, None] * features)
    totals = features.new_zeros(2 * count).index_add(0, slot, weights)
    seen = totals > 0
    means = sums / torch.where(seen, totals, torch.ones_like(totals))[:, None]
    return Centers(means.unflatten(0, (2, -1)), seen.view(2, -1), of)


def identity_center_mining(
    features: Tensor, identities: Tensor, infrared: Tensor, margin: float = 0.3, visible: Tensor | None = None
) -> Tensor:
    """Return L_icm = pull + mine + 0.5 hard, each a mean over the identities i that the batch shows in both modalities.

        pull = ||c_i^v - c_i^r||
        mine = relu(margin + ||c_i^v - c_i^r|| - smallest distance from c_i^v or c_i^r to a center of another identity)
        hard = largest distance of an image of i, times its `visible`, to the center of i in the other modality

    An identity that is shown in one modality only serves as another identity in `mine`. If none is shown in both, the
    loss is 0.

    Args:
        features: (B, D).
        identities: (B,).
        infrared: (B,) bool.
        margin: of `mine`.
        visible: (B,) in [0, 1], see `modality_centers`.
    """
    centers, seen, of = modality_centers(features, identities=identities, infrared=infrared, visible=visible)
    both = seen.all(0)
    gap = (centers[0] - centers[1]).norm(dim=1)
    mine = F.relu(margin + gap - _nearest_other(centers, seen).amin(0))
    misplacement = (features - centers[1 - infrared.long(), of]).norm(dim=1)
    if visible is not None:
        misplacement = misplacement * visible
    members = of[None] == torch.arange(len(both), device=of.device)[:, None]
    hard = misplacement.expand(len(both), -1).masked_fill(~members, 0).max(1).values
    total: Tensor = (gap + mine + 0.5 * hard).masked_fill(~both, 0).sum()
    return total / both.sum().clamp(min=1)


def hetero_center(
    features: Tensor, identities: Tensor, infrared: Tensor, margin: float = 0.3, visible: Tensor | None = None
) -> Tensor:
    """Return the hetero-center loss (Zhu et al., Neurocomputing 2020), sum_i ||c_i^v - c_i^r||^2.

    Arguments as in `identity_center_mining`; `margin` is ignored.
    """
    centers, seen, _ = modality_centers(features, identities=identities, infrared=infrared, visible=visible)
    return (centers[0] - centers[1]).square().sum(1).masked_fill(~seen.all(0), 0).sum()


def hetero_center_triplet(
    features: Tensor, identities: Tensor, infrared: Tensor, margin: float = 0.3, visible: Tensor | None = None
) -> Tensor:
    """Return the hetero-center triplet loss (Liu et al., TMM 2021).

    The mean over all centers of relu(margin + distance to the same identity's other center - distance to the nearest
    center of another identity). Arguments as in `identity_center_mining`.
    """
    centers, seen, _ = modality_centers(features, identities=identities, infrared=infrared, visible=visible)
    same = (centers[0] - centers[1]).norm(dim=1).masked_fill(~seen.all(0), 0)
    each = F.relu(margin + same - _nearest_other(centers, seen))
    return each.masked_fill(~seen, 0).sum() / seen.sum().clamp(min=1)


def _nearest_other(centers: Tensor, seen: Tensor) -> Tensor:
    """Return (2, B), the distance of each center to the nearest center of another identity; inf if there is none."""
    count = seen.shape[1]
    identity = torch.arange(2 * count, device=seen.device) % count
    excluded = (identity[:, None] == identity[None]) | ~seen.flatten()
    flat = centers.flatten(0, 1)
    return distances(flat, flat).masked_fill(excluded, torch.inf).amin(1).view(2, count)


class IcmForm(Protocol):
    """A loss of centers: features (B, D), identities (B,), infrared (B,) bool, visible (B,) in [0, 1] or None for 1."""

    def __call__(
        self, features: Tensor, identities: Tensor, infrared: Tensor, margin: float = 0.3, visible: Tensor | None = None
    ) -> Tensor: ...


ICM_FORMS: dict[str, IcmForm] = {
    "icm": identity_center_mining,
    "hc": hetero_center,
    "hctri": hetero_center_triplet,
}
"""The losses by the name that `LossConfig.icm_form` gives; all take the arguments of `identity_center_mining`."""
