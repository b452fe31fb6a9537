"""Counts over the masks of a cache, against loops over the pixels."""

from collections.abc import Callable

import numpy as np
import pytest
from support.caches import edit

from parsing import MaskCache
from parsing.cache.shard import Status
from parsing.labels import IGNORED
from pipelines.masks.counts import count_masks

MODALITY = [0, 0, 0, 0, 0, 1, 1, 1]


def test_counts_are_those_of_a_loop(make_cache: Callable[..., MaskCache]) -> None:
    masks = np.random.default_rng(0).integers(0, 12, (8, 48, 24), dtype=np.uint8)
    masks[1], masks[2, :10], masks[3][masks[3] == 4] = 0, IGNORED, 5
    path = make_cache("lip", masks=masks, status=[0, Status.EMPTY, 0, 0, Status.UNREADABLE, 0, 0, 0]).path
    with edit(path) as file:
        file["modality"][:] = MODALITY
    counts = count_masks(MaskCache(path))
    assert counts.masks.tolist() == [4, 3]
    for modality, numbers in enumerate(([0, 1, 2, 3], [5, 6, 7])):
        chosen = masks[numbers]
        for c in range(20):
            assert counts.images[modality, c] == sum((mask == c).any() for mask in chosen)
            assert counts.pixels[modality, c] == (chosen == c).sum()
        people = ((chosen > 0) & (chosen != IGNORED)).sum()
        assert counts.of_person()[modality, 5] == pytest.approx((chosen == 5).sum() / people)
        assert np.nansum(counts.of_person()[modality]) == pytest.approx(1)
        assert counts.of_images()[modality, 4] == pytest.approx(sum((m == 4).any() for m in chosen) / len(chosen))
    assert np.isnan(counts.person[4])
    assert counts.person[1] == 0
    assert counts.person[2] == pytest.approx(((masks[2] > 0) & (masks[2] != IGNORED)).mean())


def test_a_modality_without_masks_has_no_shares(make_cache: Callable[..., MaskCache]) -> None:
    counts = count_masks(make_cache("person7"))
    assert np.isnan(counts.of_images()[1]).all()
    assert np.isnan(counts.of_person()[1]).all()
