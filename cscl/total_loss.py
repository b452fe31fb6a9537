"""The total loss (Total of docs/method.md): L = L_id + L_tri + 2 L_par + 0.35 L_vis + 0.5 L_div + w L_icm."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import LossConfig
from .icm import ICM_FORMS
from .losses import DIVISION_FORMS, hard_triplet, parsing, part_identity, part_visibility, weighted_triplet
from .model import Output, unit


class TotalLoss:
    """Compute L and its terms, in float32 even under autocast.

    Args:
        config: weights and forms of the terms.
        tau: as in `ModelOptions`.
    """

    def __init__(self, config: LossConfig, tau: float = 0.01) -> None:
        self.config, self.tau = config, tau

    def __call__(
        self,
        output: Output,
        identities: Tensor,
        infrared: Tensor,
        part_labels: Tensor | None = None,
        confidence: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the scalars `total` (L), `id`, `triplet`, `parsing`, `shown`, `division` and `icm`.

        The terms are not yet multiplied by their weights; a term that is left out is 0.

        Args:
            output: of the network, for B images.
            identities: (B,) long, from 0.
            infrared: (B,) bool.
            part_labels: (B, h, w), 0..Q or 255 (ignored), at a quarter of the input or finer; None without masks.
            confidence: c (B,) in [0, 1], None for 1.
        """
        c, zero = self.config, output.logits.new_zeros((), dtype=torch.float32)
        weights = {
            "id": c.identity,
            "triplet": c.triplet,
            "parsing": c.parsing,
            "shown": c.shown,
            "division": c.division,
            "icm": c.icm,
        }
        terms = dict.fromkeys(weights, zero)
        with torch.autocast(output.logits.device.type, enabled=False):
            if c.identity:
                terms["id"] = self._identity(output, identities)
            if c.triplet:
                terms["triplet"] = self._triplet(output, identities)
            heads = output.parsing_logits if c.parsing and part_labels is not None else []
            if heads and part_labels is not None:
                each = [parsing(logits.float(), part_labels, confidence, c.balance) for logits in heads]
                # a sum, since with a mean the weight of a head would depend on the number of heads
                terms["parsing"] = torch.stack(each).sum()
            shown = None if output.parts is None else output.parts.shown
            if c.shown and shown is not None and part_labels is not None:
                terms["shown"] = part_visibility(
                    shown.float(), part_labels=part_labels, confidence=confidence, tau=self.tau
                )
            if c.division and output.parts is not None:
                division = DIVISION_FORMS[c.division_form]
                terms["division"] = division(output.parts.attention[:, 1:].float(), output.parts.pooled.float())
            if c.icm:
                terms["icm"] = self._icm(output, identities, infrared)
            total = torch.stack([weights[name] * terms[name] for name in weights]).sum()
        return {"total": total, **terms}

    def _identity(self, output: Output, identities: Tensor) -> Tensor:
        """Return L_id of the global, the foreground and, with their own weight, the part classifiers."""
        smoothing = self.config.smoothing
        loss = F.cross_entropy(output.logits.float(), identities, label_smoothing=smoothing)
        if (parts := output.parts) is not None:
            loss = loss + F.cross_entropy(parts.foreground_logits.float(), identities, label_smoothing=smoothing)
            each = part_identity(
                parts.part_logits.float(), visibility=parts.visibility, identities=identities, smoothing=smoothing
            )
            loss = loss + self.config.part_identity * each
        return loss

    def _triplet(self, output: Output, identities: Tensor) -> Tensor:
        """Return L_tri of f_g plus the weighted mean of the parts' L_tri, each over the images that show the part."""
        loss = self._one_triplet(output.feature.float(), identities)
        if (parts := output.parts) is not None and self.config.part_triplet:
            seen = (parts.visibility >= 0.5).unbind(1)
            each = zip(parts.projected.float().unbind(1), seen, strict=True)
            mean = torch.stack([self._one_triplet(feature, identities, shown) for feature, shown in each]).mean()
            loss = loss + self.config.part_triplet * mean
        return loss

    def _one_triplet(self, feature: Tensor, identities: Tensor, seen: Tensor | None = None) -> Tensor:
        if self.config.triplet_form == "weighted":
            return weighted_triplet(feature, identities, seen)
        return hard_triplet(feature, identities=identities, seen=seen, margin=self.config.triplet_margin)

    def _icm(self, output: Output, identities: Tensor, infrared: Tensor) -> Tensor:
        """Return L_icm of f_g plus the mean of the parts' L_icm, in which images are weighted by the part's visibility.

        Features are scaled to length 1: at first they are 60 and more long, so that the margin would mean nothing and
        L_icm would outweigh all other terms.
        """
        icm, margin = ICM_FORMS[self.config.icm_form], self.config.margin
        loss = icm(unit(output.feature), identities, infrared, margin)
        if (parts := output.parts) is not None:
            each = zip(unit(parts.projected).unbind(1), parts.visibility.unbind(1), strict=True)
            loss = loss + torch.stack([icm(f, identities, infrared, margin, visible=v) for f, v in each]).mean()
        return loss
