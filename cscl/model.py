"""The CSCL network and its total loss (Total of docs/method.md): L = L_id + L_tri + 0.35 L_par + ..."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import STAGES, Backbone
from .config import LossConfig, ModelConfig
from .icm import ICM_FORMS
from .losses import DIVISION_FORMS, hard_triplet, parsing, part_identity, part_visibility, weighted_triplet
from .neck import BNNeck
from .pam import G_BOUNDS, PAM
from .pooling import GEM_BOUNDS, GeM
from .spam import SPAM, PartFeatures

PAM_STAGES = (2, 3, 4)


@dataclass(eq=False)  # not frozen: Lightning Fabric walks over outputs and refuses frozen ones
class Output:
    """What the network answers for B images.

    feature, necked: f_g before and after the BNNeck (B, C). logits: its identity logits (B, identities).
    parts: what SPAM finds (the foreground's feature too), None without it.
    pam_logits: the parsing logits (B, Q+1, H, W) of each PAM that has a parsing head, by stage.
    """

    feature: Tensor
    necked: Tensor
    logits: Tensor
    parts: PartFeatures | None
    pam_logits: dict[int, Tensor]

    @property
    def parsing_logits(self) -> list[Tensor]:
        """The logits that the parsing loss supervises: every PAM's, then SPAM's."""
        own = None if self.parts is None else self.parts.logits
        return [*self.pam_logits.values(), *([] if own is None else [own])]

    def tensors(self) -> list[Tensor]:
        """Everything here, in an order that `like` takes it back in."""
        parts = [t for t in self.parts or () if t is not None]
        return [self.feature, self.necked, self.logits, *self.pam_logits.values(), *parts]

    def like(self, tensors: Sequence[Tensor]) -> "Output":
        """The same with other tensors, such as those of several batches joined."""
        feature, necked, logits, *rest = tensors
        heads = dict(zip(self.pam_logits, rest, strict=False))
        parts = None
        if self.parts is not None:
            there = [name for name, value in self.parts._asdict().items() if value is not None]
            parts = self.parts._replace(**dict(zip(there, rest[len(heads) :], strict=True)))
        return Output(feature, necked, logits, parts, heads)

    @property
    def embedding(self) -> Tensor:
        """[f_g ; f_fg ; v_q f_q] after their necks, each L2-normalised before its v_q: (B, D), float32."""
        pieces = [_unit(self.necked)]
        if self.parts is not None:
            parts = self.parts.visibility[:, :, None] * _unit(self.parts.necked)
            pieces += [_unit(self.parts.foreground_necked), parts.flatten(1)]
        return torch.cat(pieces, 1)


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.float(), dim=-1, eps=1e-6)


class CSCL(nn.Module):
    """Cross-modality Semantic Consistency Learning (Liu et al., TMM 2025), as docs/method.md builds it."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, config.non_local, config.non_local_channels)
        channels = self.backbone.channels
        dim = channels[STAGES[-1]]
        self.pam = nn.ModuleDict()
        for stage in PAM_STAGES if config.pam else ():
            self.pam[f"stage{stage}"] = PAM(channels[stage], config.parts, config.pam_gate, self.backbone.rectified)
        self.spam = None
        if config.spam:
            grids = (channels[STAGES[-2]], dim)
            self.spam = SPAM(
                grids, config.parts, config.identities, config.part_dim, config.tau, config.pulled, config.part_pooling
            )
        self.pool = GeM(learned=config.gem_learned)
        self.neck = BNNeck(dim, config.identities)
        self.embedding_dim = dim if self.spam is None else 2 * dim + config.parts * config.part_dim

    def forward(
        self, images: Tensor, infrared: Tensor, masks: Tensor | None = None, alpha: Tensor | None = None
    ) -> Output:
        """Images (B, 3, H, W) of either modality in any order; infrared (B,) bool says which.

        masks: M (B, Q+1, h, w), a distribution over classes at each cell, of any size.
        alpha: (B,) in [0, 1], how far M guides SPAM's pooling; None is 0, the network's own parsing.
        Raises ValueError for shapes that do not fit.
        """
        self._check(images, infrared, masks, alpha)
        x = earlier = self.backbone.stem(images, infrared)
        pam_logits: dict[int, Tensor] = {}
        for stage in STAGES:
            earlier, x = x, self.backbone.stage(stage, x)
            if f"stage{stage}" in self.pam:
                x, logits = self.pam[f"stage{stage}"](x)
                if logits is not None:
                    pam_logits[stage] = logits
        feature = self.pool(x)
        necked, identity_logits = self.neck(feature)
        parts = None if self.spam is None else self.spam(earlier, x, masks, alpha)
        return Output(feature, necked, identity_logits, parts, pam_logits)

    def embed(
        self,
        images: Tensor,
        infrared: Tensor,
        masks: Tensor | None = None,
        alpha: Tensor | None = None,
        flip: bool = True,
    ) -> Tensor:
        """The embedding for retrieval, (B, `embedding_dim`), float32, of length 1; compare by cosine.

        With `flip` the mean over the image and its mirror image. Needs eval mode (ValueError).
        """
        if self.training:
            raise ValueError("embed in training mode would depend on the rest of the batch; call eval() first")
        embedding = self(images, infrared, masks, alpha).embedding
        if flip:
            mirrored = None if masks is None else self.flip_masks(masks)
            embedding = (embedding + self(images.flip(3), infrared, mirrored, alpha).embedding) / 2
        return _unit(embedding)

    def flip_masks(self, masks: Tensor) -> Tensor:
        """Masks (B, Q+1, h, w) of the mirror image, with the classes that have a side swapped."""
        return (masks[:, list(self.config.flipped)] if self.config.flipped else masks).flip(3)

    @torch.no_grad()
    def bound_scalars(self) -> None:
        """Put each PAM's g and GeM's exponent back into their bounds; to be called after every step of training."""
        for module in self.pam.values():
            cast(PAM, module).g.clamp_(*G_BOUNDS)
        self.pool.p.clamp_(*GEM_BOUNDS)

    def scalars(self) -> dict[str, float]:
        """What steers the network: `g2`, `g3`, `g4` of the stages' PAMs, as far as they are there, and GeM's `p`."""
        gates = {f"g{name[-1]}": cast(PAM, module).g.item() for name, module in self.pam.items()}
        return {**gates, "p": self.pool.p.item()}

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """See `Backbone.load`."""
        self.backbone.load(state)

    def _check(self, images: Tensor, infrared: Tensor, masks: Tensor | None, alpha: Tensor | None) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images have shape {tuple(images.shape)}; give (B, 3, H, W)")
        batch, classes = images.shape[0], self.config.parts + 1
        if infrared.shape != (batch,) or infrared.dtype != torch.bool:
            raise ValueError(f"infrared is {infrared.dtype} of shape {tuple(infrared.shape)}; give bool, ({batch},)")
        if masks is not None and (masks.ndim != 4 or masks.shape[:2] != (batch, classes)):
            raise ValueError(f"masks have shape {tuple(masks.shape)}; give ({batch}, {classes}, h, w)")
        if alpha is not None and alpha.shape != (batch,):
            raise ValueError(f"alpha has shape {tuple(alpha.shape)}; give ({batch},)")


class TotalLoss:
    """L and its terms, in float32 also under autocast. tau: of `ModelConfig`."""

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
        """`total` and, before their weights and 0 where left out, id, triplet, parsing, shown, division and icm.

        identities: (B,) long, 0..identities-1; infrared: (B,) bool.
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
                terms["parsing"] = torch.stack(each).sum()  # a mean would leave SPAM's head a quarter of the weight
            told = None if output.parts is None else output.parts.shown
            if c.shown and told is not None and part_labels is not None:
                terms["shown"] = part_visibility(told.float(), part_labels, confidence, self.tau)
            if c.division and output.parts is not None:
                division = DIVISION_FORMS[c.division_form]
                terms["division"] = division(output.parts.attention[:, 1:].float(), output.parts.pooled.float())
            if c.icm:
                terms["icm"] = self._icm(output, identities, infrared)
            total = torch.stack([weights[name] * terms[name] for name in weights]).sum()
        return {"total": total, **terms}

    def _identity(self, output: Output, identities: Tensor) -> Tensor:
        """L_id: cross-entropy of the global and the foreground classifier and, weighted, the visible parts' mean."""
        smoothing = self.config.smoothing
        loss = F.cross_entropy(output.logits.float(), identities, label_smoothing=smoothing)
        if (parts := output.parts) is not None:
            loss = loss + F.cross_entropy(parts.foreground_logits.float(), identities, label_smoothing=smoothing)
            each = part_identity(parts.part_logits.float(), parts.visibility, identities, smoothing)
            loss = loss + self.config.part_identity * each
        return loss

    def _triplet(self, output: Output, identities: Tensor) -> Tensor:
        """L_tri of f_g and, weighted, the mean of the parts', each among the images that show it."""
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
        return hard_triplet(feature, identities, seen, self.config.triplet_margin)

    def _icm(self, output: Output, identities: Tensor, infrared: Tensor) -> Tensor:
        """L_icm of f_g and the mean of the parts', in which an image counts by what it shows of the part.

        Of features of length 1: their own lengths, 60 and more at first, would drown the margin and all other terms.
        """
        icm, margin = ICM_FORMS[self.config.icm_form], self.config.margin
        loss = icm(_unit(output.feature), identities, infrared, margin, None)
        if (parts := output.parts) is not None:
            each = zip(_unit(parts.projected).unbind(1), parts.visibility.unbind(1), strict=True)
            loss = loss + torch.stack([icm(f, identities, infrared, margin, v) for f, v in each]).mean()
        return loss
