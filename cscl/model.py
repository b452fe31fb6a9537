"""The CSCL network and its total loss (Total of docs/method.md): L = L_id + L_tri + 0.35 L_par + ..."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import BACKBONES, STAGES, Backbone, BackboneName
from .icm import ICM_FORMS
from .losses import DIVISION_FORMS, hard_triplet, parsing, part_identity, weighted_triplet
from .neck import BNNeck
from .pam import PAM, PAM_GATES, PamGate
from .pooling import GeM
from .spam import SPAM, PartFeatures

PAM_STAGES = (2, 3, 4)


def _choose(what: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise ValueError(f"{what} = {given!r} is not known; choose one of {', '.join(choices)}")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What to build; without `pam` and `spam` the baseline of AGW (GeM, BNNeck, `non_local` if wanted).

    identities: training identities, the classifiers' outputs. parts: Q, without background.
    flipped: what a left-right flip does to the Q+1 classes: class c becomes flipped[c]; empty where no class
        has a side. Used for the cached masks of the flipped image in `CSCL.embed`.
    tau: v_q reaches 1 where part q covers this share of the map's cells; 0.02 is 3.2 cells of the 18x9 of a
        288x144 image, about what a pair of feet covers.
    """

    identities: int
    backbone: BackboneName = "resnet50"
    parts: int = 4
    flipped: tuple[int, ...] = ()
    pam: bool = True
    pam_gate: PamGate = "parsing"
    spam: bool = True
    non_local: bool = False
    part_dim: int = 512
    tau: float = 0.02

    def __post_init__(self) -> None:
        _choose("backbone", self.backbone, BACKBONES)
        _choose("pam_gate", self.pam_gate, PAM_GATES)
        for name in ("identities", "parts", "part_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; give at least 1")
        if not 0 < self.tau <= 1:
            raise ValueError(f"tau = {self.tau}; give a share of the map's cells, above 0 and at most 1")
        if self.flipped and sorted(self.flipped) != list(range(self.parts + 1)):
            raise ValueError(
                f"flipped = {self.flipped} does not permute the classes 0..{self.parts}; "
                "leave it empty where no class has a side"
            )


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
        return [*self.pam_logits.values(), *([] if self.parts is None else [self.parts.logits])]

    def tensors(self) -> list[Tensor]:
        """Everything here, in an order that `like` takes it back in."""
        return [self.feature, self.necked, self.logits, *self.pam_logits.values(), *(self.parts or ())]

    def like(self, tensors: Sequence[Tensor]) -> "Output":
        """The same with other tensors, such as those of several batches joined."""
        feature, necked, logits, *rest = tensors
        heads = dict(zip(self.pam_logits, rest, strict=False))
        parts = None if self.parts is None else PartFeatures(*rest[len(heads) :])
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
        self.backbone = Backbone(config.backbone, config.non_local)
        channels = self.backbone.channels
        dim = channels[STAGES[-1]]
        self.pam = nn.ModuleDict()
        for stage in PAM_STAGES if config.pam else ():
            self.pam[f"stage{stage}"] = PAM(channels[stage], config.parts, config.pam_gate)
        self.spam = SPAM(dim, config.parts, config.identities, config.part_dim, config.tau) if config.spam else None
        self.pool = GeM()
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
        x = self.backbone.stem(images, infrared)
        pam_logits: dict[int, Tensor] = {}
        for stage in STAGES:
            x = self.backbone.stage(stage, x)
            if f"stage{stage}" in self.pam:
                x, logits = self.pam[f"stage{stage}"](x)
                if logits is not None:
                    pam_logits[stage] = logits
        feature = self.pool(x)
        necked, identity_logits = self.neck(feature)
        parts = None if self.spam is None else self.spam(x, masks, alpha)
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


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights (0 leaves a term out) and forms of the terms of L.

    smoothing: of the identity labels. margin: of ICM and HcTri. triplet_margin: of the hard triplet alone.
    """

    identity: float = 1.0
    triplet: float = 1.0
    parsing: float = 0.35
    division: float = 0.5
    icm: float = 0.5
    smoothing: float = 0.1
    triplet_form: Literal["weighted", "hard"] = "weighted"
    triplet_margin: float = 0.3
    division_form: Literal["both", "attention", "features", "mpanet"] = "both"
    icm_form: Literal["icm", "hc", "hctri"] = "icm"
    margin: float = 0.3

    def __post_init__(self) -> None:
        _choose("triplet_form", self.triplet_form, ("weighted", "hard"))
        _choose("division_form", self.division_form, tuple(DIVISION_FORMS))
        _choose("icm_form", self.icm_form, tuple(ICM_FORMS))
        for name in (f.name for f in fields(self) if not f.name.endswith("_form")):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)}; give a number of at least 0")
        if self.smoothing >= 1:
            raise ValueError(f"smoothing = {self.smoothing}; give less than 1")


class TotalLoss:
    """L and its terms, in float32 also under autocast."""

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __call__(
        self,
        output: Output,
        identities: Tensor,
        infrared: Tensor,
        part_labels: Tensor | None = None,
        confidence: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """`total` and `id`, `triplet`, `parsing`, `division`, `icm` before their weights, 0 where left out.

        identities: (B,) long, 0..identities-1; infrared: (B,) bool.
        part_labels: (B, h, w), 0..Q or 255 (ignored), at a quarter of the input or finer; None without masks.
        confidence: c (B,) in [0, 1], None for 1.
        """
        c, parts, zero = self.config, output.parts, output.logits.new_zeros((), dtype=torch.float32)
        weights = {
            "id": c.identity,
            "triplet": c.triplet,
            "parsing": c.parsing,
            "division": c.division,
            "icm": c.icm,
        }
        terms = dict.fromkeys(weights, zero)
        with torch.autocast(output.logits.device.type, enabled=False):
            if c.identity:
                terms["id"] = self._identity(output, identities)
            feature = output.feature.float()
            if c.triplet:
                terms["triplet"] = (
                    weighted_triplet(feature, identities)
                    if c.triplet_form == "weighted"
                    else hard_triplet(feature, identities, c.triplet_margin)
                )
            heads = output.parsing_logits if c.parsing and part_labels is not None else []
            if heads and part_labels is not None:
                each = [parsing(logits.float(), part_labels, confidence) for logits in heads]
                terms["parsing"] = torch.stack(each).sum()  # a mean would leave SPAM's head a quarter of the weight
            if c.division and parts is not None:
                division = DIVISION_FORMS[c.division_form]
                terms["division"] = division(parts.attention[:, 1:].float(), parts.pooled.float())
            if c.icm:
                aligned = [feature]
                if parts is not None:
                    aligned += list(parts.projected.float().unbind(1))
                icm = ICM_FORMS[c.icm_form]
                terms["icm"] = torch.stack([icm(f, identities, infrared, c.margin) for f in aligned]).mean()
            total = torch.stack([weights[name] * terms[name] for name in weights]).sum()
        return {"total": total, **terms}

    def _identity(self, output: Output, identities: Tensor) -> Tensor:
        """L_id: cross-entropy of the global and the foreground classifier and the visible parts' mean."""
        smoothing = self.config.smoothing
        loss = F.cross_entropy(output.logits.float(), identities, label_smoothing=smoothing)
        if (parts := output.parts) is not None:
            loss = loss + F.cross_entropy(parts.foreground_logits.float(), identities, label_smoothing=smoothing)
            loss = loss + part_identity(parts.part_logits.float(), parts.visibility, identities, smoothing)
        return loss
