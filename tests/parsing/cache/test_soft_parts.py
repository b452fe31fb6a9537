"""`MaskCache.parts` of a cache that holds probabilities."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from parsing import PART_SCHEMES, CacheError, MaskCache, PartScheme
from parsing.cache.reader import Key


def test_parts_sum_the_probabilities_of_their_classes_at_the_masks_size(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", probs=True)
    name = cache.names[2]
    maps = cache.parts(name, "reid6")
    chances = torch.from_numpy(cache.probs(name)).float() / 255
    for part, classes in enumerate(PART_SCHEMES["reid6"].groups["lip"].values()):
        summed = sum(chances[cache.labels.index(c)] for c in classes)
        assert isinstance(summed, torch.Tensor)
        expected = F.interpolate(summed[None, None], cache.size, mode="bilinear", align_corners=False)[0, 0]
        np.testing.assert_allclose(maps[part], expected.numpy().clip(0, 1), atol=1e-5)
    assert maps.dtype == np.float32
    assert ((maps > 0) & (maps < 1)).any()


def test_batches_are_the_images_one_by_one(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", probs=True)
    keys: list[Key] = [7, cache.names[0], 3]
    batch = cache.parts(keys, "reid4")
    assert batch.shape == (3, 4, *cache.size)
    for maps, key in zip(batch, keys, strict=True):
        np.testing.assert_allclose(maps, cache.parts(key, "reid4"), atol=1e-6)


def test_soft_insists_on_either(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", probs=True)
    hard = cache.parts(0, "reid4", soft=False)
    assert set(np.unique(hard)) == {0, 1}
    assert np.array_equal(hard[2] == 1, cache.part_labels(0, "reid4") == 3)


def test_a_cache_without_probabilities_is_hard_and_says_so_when_asked(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip")
    assert np.array_equal(cache.parts(0), cache.parts(0, soft=False))
    with pytest.raises(CacheError, match="--probs"):
        cache.parts(0, soft=True)


def test_a_partial_scheme_leaves_empty_what_a_label_set_lacks(make_cache: Callable[..., MaskCache]) -> None:
    scheme = PartScheme("own", ("head", "feet"), {"pascal": {"head": ("head",)}}, partial=True)
    maps = make_cache("pascal").parts(0, scheme)
    assert maps[0].any()
    assert not maps[1].any()


def test_another_size_is_resized_once_from_what_is_stored(make_cache: Callable[..., MaskCache]) -> None:
    cache = make_cache("lip", probs=True)
    height, width = cache.size
    stored = cache.parts(0, "reid6", size=(height // 4, width // 4))
    head = [cache.labels.index(c) for c in PART_SCHEMES["reid6"].groups["lip"]["head"]]
    np.testing.assert_allclose(stored[0], cache.probs(0)[head].sum(0) / 255, atol=1e-6)
    assert cache.parts(0, "reid6", soft=False, size=(5, 3)).shape == (6, 5, 3)


def test_no_matrix_product_is_used(make_cache: Callable[..., MaskCache], monkeypatch: pytest.MonkeyPatch) -> None:
    cache = make_cache("lip", probs=True)

    def refuse(*_: object) -> None:
        raise AssertionError("its threads make several processes wait for each other: benchmarks/soft_masks.py")

    monkeypatch.setattr(np, "matmul", refuse)
    assert cache.parts(0).shape == (4, *cache.size)
