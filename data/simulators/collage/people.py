"""Who the people of a `collage` data set are: photographs drawn from one part of the split."""

from typing import Literal

import numpy as np

from parsing.errors import InputError

from ...photographs.library import Photos

Subset = Literal["train", "val", "all", "apart"]


def people(photos: Photos, subset: Subset, train: int, test: int, seed: int) -> tuple[str, ...]:
    """Return photo ids of the identities, those to train first, drawn from a subset of the photographs.

    `apart`: those to train from `train`, those to test from `val`, which the built-in parser never saw.

    Raises:
        InputError: the subset is unknown, or has fewer photographs than people are needed.
    """
    if subset == "apart":
        return people(photos, subset="train", train=train, test=0, seed=seed) + people(
            photos, subset="val", train=0, test=test, seed=seed
        )
    subsets = {"train": photos.train, "val": photos.val, "all": (*photos.train, *photos.val)}
    if subset not in subsets:
        raise InputError(f"photographs are of the subset train, val, all or apart; got {subset!r}")
    ids = sorted(subsets[subset])
    if train + test > len(ids):
        raise InputError(
            f"{train} people to train and {test} to test need {train + test} photos; "
            f"the subset {subset!r} of {photos.root} has {len(ids)}"
        )
    order = np.random.default_rng((seed, 0x57)).permutation(len(ids))
    return tuple(ids[i] for i in order[: train + test])
