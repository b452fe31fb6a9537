"""Options of the network and of its losses, validated without importing torch."""

import math
from dataclasses import dataclass, fields
from typing import Literal, get_args

BackboneName = Literal["resnet18", "resnet34", "resnet50", "efficientnet_lite0"]
PamGate = Literal["parsing", "se", "mam"]
PartPooling = Literal["parsing", "stripes", "global"]
TripletForm = Literal["weighted", "hard"]
DivisionForm = Literal["attention", "features", "both", "mpanet"]
IcmForm = Literal["icm", "hc", "hctri"]


def _check_choice(what: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise ValueError(f"{what} = {given!r} is not known; choose one of {', '.join(choices)}")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options of the network that a recipe sets. Without `pam` and `spam` the network is a baseline (GeM, BNNeck).

    Attributes:
        backbone: name of the backbone, see `cscl.backbone`.
        pam: whether a PAM follows each of stages 2, 3 and 4.
        pam_gate: form of PAM, see `PAM`.
        spam: whether SPAM computes part features.
        part_pooling: the maps under which SPAM pools: its own parsing, or a control without masks, see `SPAM`.
        part_stages: number of stages, from the last one back, whose features a part averages: 1 for F, 2 for [X_3 ; F].
        whole_weight: length in the embedding of f_g and of f_fg, the features of the whole person; a part that is fully
            visible has length 1.
        pulled: whether all losses send gradients to the part attention P. If False, only the parsing loss and the
            division loss do.
        non_local: whether AGW's non-local blocks are added to stages 2 and 3.
        non_local_channels: channels in which a non-local block compares cells; 0 for half of its input's channels.
        gem_learned: whether GeM's exponent is learned; it starts at 3.
        part_dim: channels of a part feature.
        tau: share of the image, in (0, 1], from which on a part counts as fully visible (v_q = 1). Half a pair of feet
            covers about 0.01.

    Raises:
        ValueError: if a value is unknown or out of range.
    """

    backbone: BackboneName = "resnet50"
    pam: bool = True
    pam_gate: PamGate = "parsing"
    spam: bool = True
    part_pooling: PartPooling = "parsing"
    part_stages: int = 1
    whole_weight: float = 1.0
    pulled: bool = False
    non_local: bool = False
    non_local_channels: int = 0
    gem_learned: bool = True
    part_dim: int = 512
    tau: float = 0.01

    def __post_init__(self) -> None:
        _check_choice("backbone", self.backbone, get_args(BackboneName))
        _check_choice("pam_gate", self.pam_gate, get_args(PamGate))
        _check_choice("part_pooling", self.part_pooling, get_args(PartPooling))
        if self.part_stages not in (1, 2):
            raise ValueError(f"part_stages = {self.part_stages}; give 1 or 2")
        if not 0 < self.whole_weight < math.inf:
            raise ValueError(f"whole_weight = {self.whole_weight}; give a number above 0")
        if self.part_dim < 1:
            raise ValueError(f"part_dim = {self.part_dim}; give at least 1")
        if self.non_local_channels < 0:
            raise ValueError(f"non_local_channels = {self.non_local_channels}; give at least 0")
        if not 0 < self.tau <= 1:
            raise ValueError(f"tau = {self.tau}; give a share of the map's cells, above 0 and at most 1")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ModelOptions):
    """All options of a network: those of the recipe, and those that follow from the training data.

    Attributes:
        identities: number of training identities, which is the number of outputs of each classifier.
        parts: Q, the number of parts, without background.
        flipped: permutation of the Q+1 classes under a left-right flip: class c becomes class flipped[c]. Empty if no
            class has a side. `CSCL.embed` applies it to the cached masks of the flipped image.
    """

    identities: int
    parts: int = 4
    flipped: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("identities", "parts"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}; give at least 1")
        if self.flipped and sorted(self.flipped) != list(range(self.parts + 1)):
            raise ValueError(
                f"flipped = {self.flipped} does not permute the classes 0..{self.parts}; "
                "leave it empty if no class has a side"
            )


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Weights and forms of the terms of the total loss L; a weight of 0 leaves its term out.

    Attributes:
        identity: weight of L_id in L.
        part_identity: weight of the mean over the parts within L_id, where the global feature has weight 1.
        triplet: weight of L_tri in L.
        part_triplet: weight of the mean over the parts within L_tri, where the global feature has weight 1.
        parsing: weight of L_par in L.
        shown: weight of L_vis in L, the loss of the visibility head.
        division: weight of L_div in L.
        icm: weight of L_icm in L.
        balance: weighting of the classes in L_par, from 0 (per pixel) to 1 (per class), see `losses.parsing`.
        smoothing: label smoothing of the identity classifiers, in [0, 1).
        triplet_form: form of L_tri.
        triplet_margin: margin of the triplet form `hard`.
        division_form: form of L_div, see `losses.DIVISION_FORMS`.
        icm_form: form of L_icm, see `icm.ICM_FORMS`.
        margin: margin of the forms `icm` and `hctri`.

    Raises:
        ValueError: if a value is unknown or out of range.
    """

    identity: float = 1.0
    part_identity: float = 1.0
    triplet: float = 1.0
    part_triplet: float = 1.0
    parsing: float = 2.0
    shown: float = 0.35
    balance: float = 0.25
    division: float = 0.5
    icm: float = 0.0
    smoothing: float = 0.1
    triplet_form: TripletForm = "weighted"
    triplet_margin: float = 0.3
    division_form: DivisionForm = "attention"
    icm_form: IcmForm = "icm"
    margin: float = 0.3

    def __post_init__(self) -> None:
        _check_choice("triplet_form", self.triplet_form, get_args(TripletForm))
        _check_choice("division_form", self.division_form, get_args(DivisionForm))
        _check_choice("icm_form", self.icm_form, get_args(IcmForm))
        for name in (f.name for f in fields(self) if not f.name.endswith("_form")):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)}; give a number of at least 0")
        if self.balance > 1:
            raise ValueError(f"balance = {self.balance}; give a number from 0 (pixels) to 1 (classes)")
        if self.smoothing >= 1:
            raise ValueError(f"smoothing = {self.smoothing}; give less than 1")
