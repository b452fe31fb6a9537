"""`bpbreid` and `kpr`: 36 channels named as pose estimation's, for VlSomers/bpbreid and KPR after it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from ..cache.reader import MaskCache
from ..labels import LABEL_SETS, LabelSet
from ..schemes import PART_SCHEMES, PartScheme
from .base import Exporter, FileOptions, npy

CHANNELS = 36
"""17 key points of COCO, then 19 joints between them, as OpenPifPaf orders them."""
HEAD, UPPER_TORSO, LOWER_TORSO = 0, 24, 23
SIDED = {"upper-arm": (25, 26), "forearm": (27, 28), "leg": (18, 20), "foot": (15, 16)}
"""Channels of the left and right limb: each is in one body part of every grouping that `encode` promises."""
_LIMBS = {"arms": "upper-arm", "lower": "leg", "legs": "leg", "feet": "foot"}
_FOREARM = ("lower-arm", "lower-arms", "hand", "hands", "glove")


def _groups(labels: LabelSet, parts: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the classes of head, torso and of every limb: left, right, and of no side."""
    groups: dict[str, tuple[str, ...]] = {"head": parts["head"], "torso": parts["upper"]}
    for part, limb in _LIMBS.items():
        for name in parts[part]:
            side, _, rest = name.partition("-")
            sided = side in ("left", "right")
            kind = "forearm" if (rest if sided else name) in _FOREARM else limb
            key = f"{side}-{kind}" if sided else kind
            groups[key] = (*groups.get(key, ()), name)
    return groups


_SCHEME = PartScheme(
    "bpbreid",
    ("head", "torso", *(f"{side}{limb}" for limb in SIDED for side in ("left-", "right-", ""))),
    {name: _groups(LABEL_SETS[name], parts) for name, parts in PART_SCHEMES["reid6"].groups.items()},
    partial=True,
)


class BpbreidExporter(Exporter):
    """float32 (36, H, W): a body part of `five_v`, `eight` and others is the maximum over its channels.

    One file serves every grouping whose parts hold these channels once: full, one, two_v, three_v, four, four_no,
    four_v, five, five_v, six, six_new, eight and eight_v. A label set lacks what pose has, so the torso is halved at
    the height of its middle, arms that are not halved by class likewise, and limbs without a side fall to the side
    of the person's middle: the left limb is on the image's right if the person faces the camera, as the classes
    with sides tell, and otherwise by assumption.
    """

    name = "bpbreid"
    reader = "VlSomers/bpbreid (masks.dir pifpaf_maskrcnn_filtering)"
    path = "masks/pifpaf_maskrcnn_filtering/{1}/{stem}.npy"
    full_path = "masks/pifpaf_maskrcnn_filtering/{dir}/{stem}.npy"
    soft = True
    holes = True  # 23 of the channels are empty, and the loader takes neither fewer nor a compressed file

    def __init__(self, cache: MaskCache, options: FileOptions) -> None:
        height, width = cache.size
        super().__init__(cache, replace(options, size=options.size or (max(1, height // 4), max(1, width // 4))))
        _SCHEME.table(cache.labels)
        self._halved = any("lower-arm" in c for c in cache.labels.classes)
        self._sided = any(c.startswith("left-") for c in cache.labels.classes)

    def encode(self, number: int, target: PurePosixPath) -> bytes:
        parts = dict(zip(_SCHEME.parts, self.maps(number, _SCHEME), strict=True))
        person = np.sum(list(parts.values()), axis=0)
        height, width = person.shape
        channels = np.zeros((CHANNELS, height, width), np.float32)
        channels[HEAD] = parts["head"]
        above = (np.arange(height) + 0.5 < _middle(parts["torso"] if parts["torso"].any() else person, 0))[:, None]
        channels[UPPER_TORSO], channels[LOWER_TORSO] = parts["torso"] * above, parts["torso"] * ~above
        lefts, rights = (np.sum([parts[f"{side}-{limb}"] for limb in SIDED], axis=0) for side in ("left", "right"))
        turned = lefts.any() and rights.any() and _middle(lefts, 1) < _middle(rights, 1)
        left_side = (np.arange(width) + 0.5 >= _middle(person, 1)) ^ bool(turned)
        for limb, (left, right) in SIDED.items():
            channels[left] = parts[f"left-{limb}"] + parts[limb] * left_side
            channels[right] = parts[f"right-{limb}"] + parts[limb] * ~left_side
        if not self._halved:
            for upper, lower in zip(SIDED["upper-arm"], SIDED["forearm"], strict=True):
                channels[lower] += channels[upper] * ~above
                channels[upper] *= above
        return npy(channels.clip(0, 1))

    def notes(self) -> list[str]:
        notes = super().notes()
        if not self._sided:
            notes.append(
                f"label set {self.cache.labels.name} tells no left from right: by the side of the image, "
                "as if everybody faced the camera"
            )
        if not _SCHEME.groups[self.cache.labels.name].keys() & {"foot", "left-foot"}:
            notes.append(f"label set {self.cache.labels.name} has no feet: the channels of the ankles stay empty")
        return notes


class KprExporter(BpbreidExporter):
    """The same files: KPR reads the masks of BPBreID."""

    name = "kpr"
    reader = "VlSomers/keypoint_promptable_reidentification (masks.dir pifpaf_maskrcnn_filtering)"


def _middle(weight: NDArray[np.float32], axis: int) -> float:
    """Return the mean row (axis 0) or column (axis 1) of the pixels of a map; half of its side if it is empty."""
    sums = weight.sum(1 - axis)
    total = float(sums.sum())
    return float((sums * (np.arange(len(sums)) + 0.5)).sum() / total) if total else len(sums) / 2
