"""The CSCL network (docs/method.md): backbone, PAM, SPAM, pooling and necks, and the embedding for retrieval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .backbone import STAGES, Backbone
from .config import ModelConfig
from .neck import BNNeck
from .pam import G_BOUNDS, PAM
from .pooling import GEM_BOUNDS, GeM
from .spam import SPAM, PartFeatures

PAM_STAGES = (2, 3, 4)


@dataclass(eq=False)  # not frozen: Lightning Fabric walks over outputs and refuses frozen ones
class Output:
    """Output of the network for B images.

    Attributes:
        feature: f_g (B, C), the global feature before its BNNeck.
        necked: (B, C), the same after it.
        logits: (B, identities), identity logits of f_g.
        parts: output of SPAM; None without SPAM.
        pam_logits: parsing logits (B, Q+1, H, W) by stage, of each PAM that has a parsing head.
        whole_weight: as in `ModelOptions`.
    """

    feature: Tensor
    necked: Tensor
    logits: Tensor
    parts: PartFeatures | None
    pam_logits: dict[int, Tensor]
    whole_weight: float = 1.0

    @property
    def parsing_logits(self) -> list[Tensor]:
        """The logits that the parsing loss supervises: those of every PAM, then those of SPAM."""
        own = None if self.parts is None else self.parts.logits
        return [*self.pam_logits.values(), *([] if own is None else [own])]

    def tensors(self) -> list[Tensor]:
        """Return all tensors of this output, in the order in which `like` takes them."""
        parts = [t for t in self.parts or () if t is not None]
        return [self.feature, self.necked, self.logits, *self.pam_logits.values(), *parts]

    def like(self, tensors: Sequence[Tensor]) -> "Output":
        """Return an output of the same structure with other tensors, such as several batches concatenated."""
        feature, necked, logits, *rest = tensors
        heads = dict(zip(self.pam_logits, rest, strict=False))
        parts = None
        if self.parts is not None:
            there = [name for name, value in self.parts._asdict().items() if value is not None]
            parts = self.parts._replace(**dict(zip(there, rest[len(heads) :], strict=True)))
        return replace(self, feature=feature, necked=necked, logits=logits, parts=parts, pam_logits=heads)

    @property
    def embedding(self) -> Tensor:
        """[w f_g ; w f_fg ; v_1 f_1 ; ... ; v_Q f_Q], (B, D) float32, of features after their necks, each of length 1.

        w is `whole_weight`; without parts the embedding is f_g.
        """
        if self.parts is None:
            return unit(self.necked)
        whole = [self.whole_weight * unit(x) for x in (self.necked, self.parts.foreground_necked)]
        parts = self.parts.visibility[:, :, None] * unit(self.parts.necked)
        return torch.cat([*whole, parts.flatten(1)], 1)


def unit(x: Tensor) -> Tensor:
    """Return x in float32, scaled to length 1 along its last dimension."""
    return F.normalize(x.float(), dim=-1, eps=1e-6)


class CSCL(nn.Module):
    """The network of Cross-modality Semantic Consistency Learning (Liu et al., TMM 2025), see docs/method.md.

    Attributes:
        blocks: lengths of the features that the embedding is made of: f_g; with SPAM f_g, f_fg and f_1 to f_Q.
        embedding_dim: length of the embedding, their sum.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.backbone, config.non_local, config.non_local_channels)
        channels = self.backbone.channels
        dim = channels[STAGES[-1]]
        self.pam = nn.ModuleDict()
        for stage in PAM_STAGES if config.pam else ():
            self.pam[f"stage{stage}"] = PAM(
                channels[stage], parts=config.parts, gate=config.pam_gate, rectified=self.backbone.rectified
            )
        self.spam = None
        if config.spam:
            grids = (channels[STAGES[-2]], dim)
            self.spam = SPAM(
                grids,
                parts=config.parts,
                identities=config.identities,
                part_dim=config.part_dim,
                tau=config.tau,
                pulled=config.pulled,
                pooling=config.part_pooling,
                stages=config.part_stages,
            )
        self.pool = GeM(learned=config.gem_learned)
        self.neck = BNNeck(dim, config.identities)
        self.blocks = (dim,) if self.spam is None else (dim, dim, *[config.part_dim] * config.parts)
        self.embedding_dim = sum(self.blocks)

    def forward(
        self, images: Tensor, infrared: Tensor | int, masks: Tensor | None = None, alpha: Tensor | None = None
    ) -> Output:
        """Return features, logits and part features of a batch.

        Args:
            images: (B, 3, H, W), normalised, of both modalities in any order.
            infrared: (B,) bool; or the number of visible images, if these come first, which saves a look at the
                GPU.
            masks: M (B, Q+1, h, w), a distribution over classes at each cell, on a grid of any size.
            alpha: (B,) in [0, 1], weight of M against the network's own parsing in SPAM's pooling; None for 0.

        Raises:
            ValueError: if a shape or type does not fit.
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
        return Output(
            feature,
            necked=necked,
            logits=identity_logits,
            parts=parts,
            pam_logits=pam_logits,
            whole_weight=self.config.whole_weight,
        )

    def embed(
        self,
        images: Tensor,
        infrared: Tensor | int,
        masks: Tensor | None = None,
        alpha: Tensor | None = None,
        flip: bool = True,
    ) -> Tensor:
        """Return embeddings (B, `embedding_dim`), float32, of length 1; `compute_similarity` compares them.

        Args:
            images: as in `forward`.
            infrared: as in `forward`.
            masks: as in `forward`.
            alpha: as in `forward`.
            flip: whether to average the embeddings of an image and its mirror image.

        Raises:
            ValueError: if the network is in training mode.
        """
        if self.training:
            raise ValueError("in training mode an embedding depends on the rest of its batch; call eval() first")
        embedding = self(images, infrared, masks, alpha).embedding
        if flip:
            mirrored = None if masks is None else self.flip_masks(masks)
            embedding = (embedding + self(images.flip(3), infrared, mirrored, alpha).embedding) / 2
        return unit(embedding)

    def flip_masks(self, masks: Tensor) -> Tensor:
        """Return the masks (B, Q+1, h, w) of the mirror images, with left and right classes swapped."""
        return (masks[:, list(self.config.flipped)] if self.config.flipped else masks).flip(3)

    @torch.no_grad()
    def bound_scalars(self) -> None:
        """Clamp g of each PAM and the exponent of GeM to their bounds; call it after every optimiser step."""
        for module in self.pam.values():
            cast(PAM, module).g.clamp_(*G_BOUNDS)
        self.pool.p.clamp_(*GEM_BOUNDS)

    def scalars(self) -> dict[str, Tensor]:
        """Return copies of the scalar parameters for logging: `g2`, `g3`, `g4` of the PAMs that exist, `p` of GeM."""
        gates = {f"g{name[-1]}": cast(PAM, module).g for name, module in self.pam.items()}
        return {name: value.detach().clone() for name, value in {**gates, "p": self.pool.p}.items()}

    def load_backbone(self, state: Mapping[str, Tensor]) -> None:
        """Copy pretrained weights into the backbone, see `Backbone.load`."""
        self.backbone.load(state)

    def _check(self, images: Tensor, infrared: Tensor | int, masks: Tensor | None, alpha: Tensor | None) -> None:
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images have shape {tuple(images.shape)}; give (B, 3, H, W)")
        batch, classes = images.shape[0], self.config.parts + 1
        if isinstance(infrared, bool):  # an int to Python, which would count visible images
            raise ValueError(f"infrared is {infrared}; give bool, ({batch},), or the number of visible images")
        if isinstance(infrared, int):
            if not 0 <= infrared <= batch:
                raise ValueError(f"{infrared} visible images of {batch}; give a number of at most {batch}")
        elif infrared.shape != (batch,) or infrared.dtype != torch.bool:
            raise ValueError(f"infrared is {infrared.dtype} of shape {tuple(infrared.shape)}; give bool, ({batch},)")
        if masks is not None and (masks.ndim != 4 or masks.shape[:2] != (batch, classes)):
            raise ValueError(f"masks have shape {tuple(masks.shape)}; give ({batch}, {classes}, h, w)")
        if alpha is not None and alpha.shape != (batch,):
            raise ValueError(f"alpha has shape {tuple(alpha.shape)}; give ({batch},)")
