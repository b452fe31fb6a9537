"""What to build and what to minimise: the options of the network and of its losses, checked without importing torch."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

BackboneName = Literal["resnet18", "resnet34", "resnet50", "efficientnet_lite0"]
PamGate = Literal["parsing", "se", "mam"]
PartPooling = Literal["parsing", "stripes", "global"]
TripletForm = Literal["weighted", "hard"]
DivisionForm = Literal["attention", "features", "both", "mpanet"]
IcmForm = Literal["icm", "hc", "hctri"]


def _choose(what: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise ValueError(f"{what} = {given!r} is not known; choose one of {', '.join(choices)}")


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What a recipe chooses of the network; without `pam` and `spam` it is a baseline (GeM, BNNeck).

    part_pooling: what SPAM pools under, its own parsing or a control without masks (`SPAM`).
    pulled: let the losses that are not about P pull at it.
    non_local, non_local_channels: AGW's blocks, and the channels in which they compare cells, 0 for half of theirs.
    gem_learned: whether GeM's exponent is learned, from 3.
    part_dim: channels of a part's feature.
    tau: v_q reaches 1 if part q covers this share of the image; 0.01 is about what half a pair of feet covers.
    """

    backbone: BackboneName = "resnet50"
    pam: bool = True
    pam_gate: PamGate = "parsing"
    spam: bool = True
    part_pooling: PartPooling = "parsing"
    pulled: bool = False
    non_local: bool = False
    non_local_channels: int = 0
    gem_learned: bool = True
    part_dim: int = 512
    tau: float = 0.01

    def __post_init__(self) -> None:
        _choose("backbone", self.backbone, get_args(BackboneName))
        _choose("pam_gate", self.pam_gate, get_args(PamGate))
        _choose("part_pooling", self.part_pooling, get_args(PartPooling))
        if self.part_dim < 1:
            raise ValueError(f"part_dim = {self.part_dim}; give at least 1")
        if self.non_local_channels < 0:
            raise ValueError(f"non_local_channels = {self.non_local_channels}; give at least 0")
        if not 0 < self.tau <= 1:
            raise ValueError(f"tau = {self.tau}; give a share of the map's cells, above 0 and at most 1")


@dataclass(frozen=True, kw_only=True)
class ModelConfig(ModelOptions):
    """A network to build: what a recipe chooses, and what the data decides.

    identities: training identities, the classifiers' outputs. parts: Q, without background.
    flipped: what a left-right flip does to the Q+1 classes: class c becomes flipped[c]; empty if no class
        has a side. Used for the cached masks of the flipped image in `CSCL.embed`.
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
    """Weights (0 leaves a term out) and forms of the terms of L.

    part_identity, part_triplet: weights of the mean over the parts beside 1 of the global feature, inside L_id and
    L_tri. shown: of the visibility head's loss. balance: of L_par between the classes, see `losses.parsing`.
    smoothing: of the identity labels. margin: of ICM and HcTri. triplet_margin: of the hard triplet alone.
    """

    identity: float = 1.0
    part_identity: float = 1.0
    triplet: float = 1.0
    part_triplet: float = 1.0
    parsing: float = 0.35
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
        _choose("triplet_form", self.triplet_form, get_args(TripletForm))
        _choose("division_form", self.division_form, get_args(DivisionForm))
        _choose("icm_form", self.icm_form, get_args(IcmForm))
        for name in (f.name for f in fields(self) if not f.name.endswith("_form")):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} = {getattr(self, name)}; give a number of at least 0")
        if self.balance > 1:
            raise ValueError(f"balance = {self.balance}; give a number from 0 (pixels) to 1 (classes)")
        if self.smoothing >= 1:
            raise ValueError(f"smoothing = {self.smoothing}; give less than 1")
