"""Re-ranking: the public code's distances, a slow version, duplicates, bad input."""

from typing import Any

import numpy as np
import pytest
import torch
from support.places import ORACLES

from cscl.rerank import k_reciprocal

ORACLE = ORACLES / "rerank_and_triplet.npz"


def features(seed: int, n_query: int = 14, n_gallery: int = 23, people: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Query and gallery features around one centre a person."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 8))
    draw = [centres[rng.integers(0, people, n)] + rng.normal(size=(n, 8)) for n in (n_query, n_gallery)]
    return draw[0], draw[1]


def slow(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """The paper's sets, image by image."""
    images = np.concatenate([query, gallery])
    n = len(images)
    distances = np.array([[((a - b) ** 2).sum() ** 2 for b in images] for a in images])
    distances /= distances.max(axis=1, keepdims=True)
    ranked = [sorted(range(n), key=lambda j: (j != i, distances[i, j])) for i in range(n)]

    def mutual(i: int, k: int) -> set[int]:
        return {j for j in ranked[i][: k + 1] if i in ranked[j][: k + 1]}

    codes = np.zeros((n, n))
    for i in range(n):
        expanded = set(mutual(i, k1))
        for j in mutual(i, k1):
            circle = mutual(j, round(k1 / 2))
            if len(circle & mutual(i, k1)) > 2 / 3 * len(circle):
                expanded |= circle
        for j in expanded:
            codes[i, j] = np.exp(-distances[i, j])
        codes[i] /= codes[i].sum()
    codes = np.array([codes[ranked[i][:k2]].mean(axis=0) for i in range(n)])
    result = np.zeros((len(query), len(gallery)))
    for i in range(len(query)):
        for j in range(len(gallery)):
            pair = codes[i], codes[len(query) + j]
            jaccard = 1 - np.minimum(*pair).sum() / np.maximum(*pair).sum()
            result[i, j] = (1 - weight) * jaccard + weight * distances[i, len(query) + j]
    return result


@pytest.mark.parametrize(("k1", "k2"), [(20, 6), (8, 2)])
def test_distances_are_those_of_the_public_code(k1: int, k2: int) -> None:
    with np.load(ORACLE) as file:
        found = k_reciprocal(file["rerank_query"], gallery=file["rerank_gallery"], k1=k1, k2=k2, weight=0.3)
        np.testing.assert_allclose(found, file[f"rerank_k1_{k1}_k2_{k2}_lambda_0.3"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("k1", "k2", "weight"), [(6, 3, 0.3), (5, 1, 0.0), (1, 2, 0.5), (7, 4, 1.0), (20, 30, 0.3)])
def test_distances_are_those_of_the_slow_version(k1: int, k2: int, weight: float) -> None:
    query, gallery = features(4)
    found = k_reciprocal(query, gallery=gallery, k1=k1, k2=k2, weight=weight)
    np.testing.assert_allclose(found, slow(query, gallery=gallery, k1=k1, k2=k2, weight=weight), rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", [1, 40, 300])
def test_blocks_of_queries_meet(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    query, gallery = features(5)
    whole = k_reciprocal(query, gallery=gallery, k1=6, k2=3)
    monkeypatch.setattr("cscl.rerank._BLOCK", block)
    np.testing.assert_allclose(k_reciprocal(query, gallery=gallery, k1=6, k2=3), whole, rtol=0, atol=1e-12)


def test_copies_of_one_image_give_finite_distances_and_come_first() -> None:
    query, gallery = features(2)
    query[:] = query[0]
    gallery[:12] = query[0]
    found = k_reciprocal(query, gallery=gallery, k1=4, k2=2)
    assert np.isfinite(found).all()
    assert np.max(found[:, :12]) < np.min(found[:, 12:])


def test_features_that_are_all_equal_are_all_at_the_same_small_distance() -> None:
    found = k_reciprocal(np.ones((3, 4)), gallery=np.ones((5, 4)), k1=7, k2=1)
    np.testing.assert_allclose(found, 0, atol=1e-12)


def test_tensors_answer_as_arrays() -> None:
    query, gallery = features(6)
    tensors = k_reciprocal(torch.from_numpy(query), gallery=torch.from_numpy(gallery), k1=5, k2=2)
    assert tensors.tolist() == k_reciprocal(query, gallery=gallery, k1=5, k2=2).tolist()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"query": np.zeros(8)}, r"\(Nq, D\) and \(Ng, D\)"),
        ({"query": np.zeros((3, 7))}, r"got \(3, 7\) and \(23, 8\)"),
        ({"gallery": np.zeros((0, 8))}, "none 0"),
        ({"query": np.full((3, 8), np.inf)}, "NaN or infinite"),
        ({"k1": 0}, r"k1 must lie in 1\.\.36"),
        ({"k1": 37}, "k1 must lie"),
        ({"k2": 0}, "k2 must lie"),
        ({"weight": 1.5}, "weight must lie"),
    ],
)
def test_input_that_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    query, gallery = features(0)
    given: dict[str, Any] = {"query": query, "gallery": gallery, "k1": 5}
    with pytest.raises(ValueError, match=message):
        k_reciprocal(**given | changed)
