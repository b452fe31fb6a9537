"""Scores of classes as a .npy file, such as the logits that SCHP's extractor writes with `--logits`."""

from pathlib import Path

import numpy as np

from ..errors import InputError
from ..labels import LabelSet
from ..resize import MOST_PIXELS
from .label_png import Key, LabelPng
from .npy_file import read_npy


def read_class_scores(path: Path, labels: LabelSet) -> LabelPng:
    """Return the class of the largest score of each pixel.

    Args:
        path: a .npy file, (H, W, C) as SCHP writes it or (C, H, W), logits or probabilities.
        labels: the C classes, background first.

    Raises:
        MissingError: if there is no such file.
        InputError: if it holds anything else, scores that are not finite, or C rows or columns and both orders fit.
    """
    scores = read_npy(path)
    classes = len(labels)
    if scores.ndim != 3 or scores.dtype.kind != "f" or classes not in (scores.shape[-1], scores.shape[0]):
        raise InputError(
            f"{path} holds {scores.dtype} {scores.shape}; expected scores (H, W, {classes}) or ({classes}, H, W), one "
            f"per class of {labels.name}; give another --labels if the parser has other classes"
        )
    if scores.shape[0] == scores.shape[-1]:
        raise InputError(
            f"{path} holds {scores.shape}: the first axis and the last one have the {classes} classes of {labels.name} "
            "alike; save the scores at another size"
        )
    axis = 2 if scores.shape[-1] == classes else 0
    if 0 in scores.shape or scores.size // classes > MOST_PIXELS:
        raise InputError(f"{path} holds {scores.shape}: no mask, or too many pixels for one")
    if not np.isfinite(scores).all():
        raise InputError(f"{path} holds scores that are not finite; parse that image again")
    found, pixels = np.unique(scores.argmax(axis), return_inverse=True)
    height, width = (scores.shape[0], scores.shape[1]) if axis == 2 else scores.shape[1:]
    return LabelPng(pixels.reshape(height, width), tuple(Key(int(n), None) for n in found))
