"""Similarity of embeddings over what both images show, held against the sum as it is written."""

import numpy as np
import pytest

from cscl.rerank import k_reciprocal
from cscl.similarity import compute_similarity

RNG = np.random.default_rng(0)
BLOCKS = (3, 4, 2)


def unit(x: np.ndarray) -> np.ndarray:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))


def draw(count: int, visibility: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return embeddings of length 1 and their features of length 1."""
    features = [unit(RNG.standard_normal((count, length))) for length in BLOCKS]
    return unit(np.concatenate([v[:, None] * f for v, f in zip(visibility.T, features, strict=True)], 1)), features


def test_it_is_the_mean_of_the_cosines_weighted_by_both_visibilities() -> None:
    one, other = RNG.random((5, 3)), RNG.random((6, 3))
    (query, of_query), (gallery, of_gallery) = draw(5, one), draw(6, other)
    found = compute_similarity(query, gallery, BLOCKS)
    for i in range(5):
        for j in range(6):
            weights = one[i] * other[j]
            cosines = [a[i] @ b[j] for a, b in zip(of_query, of_gallery, strict=True)]
            assert found[i, j] == pytest.approx(weights @ cosines / weights.sum())


def test_a_part_that_one_image_hides_changes_nothing() -> None:
    shown = np.array([[1.0, 1.0, 1.0]])
    gallery, features = draw(1, shown)
    hidden = unit(np.concatenate([features[0], features[1], 0 * features[2]], 1))
    assert compute_similarity(hidden, gallery, BLOCKS).item() == pytest.approx(1)
    assert (hidden @ gallery.T).item() < 0.9
    assert compute_similarity(7 * hidden, gallery / 3, BLOCKS).item() == pytest.approx(1), "lengths as a whole are free"


def test_images_that_share_nothing_have_the_similarity_0() -> None:
    one, other = np.eye(9)[[0]], np.eye(9)[[8]]
    assert compute_similarity(one, other, BLOCKS).tolist() == [[0]]


def test_one_feature_is_compared_by_the_inner_product() -> None:
    query, gallery = RNG.standard_normal((2, 9)), RNG.standard_normal((3, 9))
    for blocks in ((), (9,)):
        assert compute_similarity(query, gallery, blocks).tolist() == (query @ gallery.T).tolist()


def test_lengths_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match=r"features of 3 \+ 4 values do not make up 9"):
        compute_similarity(np.eye(9), np.eye(9), (3, 4))


def test_reranking_starts_from_it() -> None:
    """Of features that both images show wholly it is the plain re-ranking, else another one."""
    whole = np.ones((12, 3))
    query, gallery = draw(12, whole)[0], draw(12, whole)[0]
    plain = k_reciprocal(query, gallery, k1=6, k2=3)
    np.testing.assert_allclose(k_reciprocal(query, gallery, k1=6, k2=3, blocks=BLOCKS), plain, atol=1e-6)
    hidden = draw(12, RNG.random((12, 3)))[0]
    found = k_reciprocal(hidden, gallery, k1=6, k2=3, blocks=BLOCKS)
    alone = 2 - 2 * compute_similarity(hidden, np.concatenate([hidden, gallery]), BLOCKS)
    expected = np.square(alone[:, 12:]) / np.square(alone).max(1, keepdims=True)
    original = k_reciprocal(hidden, gallery, k1=6, k2=3, weight=1, blocks=BLOCKS)
    np.testing.assert_allclose(original, expected, atol=1e-6)
    assert not np.allclose(found, k_reciprocal(hidden, gallery, k1=6, k2=3))
