"""Confidence fields of BPBreID and KPR: 36 channels of key points and of the joints between them, as .npy."""

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..labels import LabelSet
from ..resize import MOST_PIXELS
from .label_png import Key, LabelPng
from .npy_file import read_npy

CHANNELS = 36
THRESHOLD = 0.5
"""Below it in all channels a pixel is background; BPBreID's own `mask_filtering_threshold`."""
GROUPS = {
    "head": (*range(5), *range(29, 36)),
    "upper": (11, 12, *range(21, 25)),
    "arms": (*range(5, 11), *range(25, 29)),
    "lower": (13, 14, *range(17, 21)),
    "feet": (15, 16),
}
"""Channels of each class, as BPBreID's grouping `eight` has them, without sides."""


def read_pose_fields(path: Path, labels: LabelSet) -> LabelPng:
    """Return the class of the largest field of each pixel.

    Trousers and bare legs are one class, `lower`, since no channel tells them apart.

    Args:
        path: a .npy file, float (36, H, W), as `--to bpbreid` and BPBreID's own extraction write it.
        labels: a label set that has the classes of `GROUPS`, such as person7.

    Raises:
        MissingError: if there is no such file.
        InputError: if it holds anything else, or the label set lacks a class.
    """
    fields = read_npy(path)
    absent = [name for name in GROUPS if name not in labels.classes]
    if absent:
        raise InputError(
            f"{path}: such fields show {', '.join(GROUPS)}, and label set {labels.name} has no {absent[0]}; "
            "give --labels person7"
        )
    if fields.ndim != 3 or fields.dtype.kind != "f" or len(fields) != CHANNELS:
        raise InputError(f"{path} holds {fields.dtype} {fields.shape}; expected fields of numbers ({CHANNELS}, H, W)")
    if 0 in fields.shape or fields[0].size > MOST_PIXELS:
        raise InputError(f"{path} holds {fields.shape}: no mask, or too many pixels for one")
    parts = np.stack([fields[list(channels)].max(0) for channels in GROUPS.values()])
    if not np.isfinite(parts).all():
        raise InputError(f"{path} holds fields that are not finite; extract that image again")
    numbers = np.array([0, *(labels.index(name) for name in GROUPS)])
    labelled = numbers[np.where(parts.max(0) < THRESHOLD, 0, parts.argmax(0) + 1)]
    found, pixels = np.unique(labelled, return_inverse=True)
    return LabelPng(pixels.reshape(labelled.shape), tuple(Key(int(n), None) for n in found))
