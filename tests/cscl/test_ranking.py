"""CMC, mAP and mINP: public evaluators' answers, a slow version, ties, skips, short galleries, bad input."""

from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from support.places import ORACLES

from cscl.ranking import _BLOCK, chance, rank

ORACLE = ORACLES / "evaluation.npz"


def slow(
    distances: np.ndarray, query_ids: np.ndarray, gallery_ids: np.ndarray, skip: np.ndarray, deduplicated: bool
) -> tuple[np.ndarray, float, float, int]:
    """(CMC, mAP, mINP, valid) one query and one image at a time, as protocols.md words it."""
    length = len(set(gallery_ids)) if deduplicated else len(gallery_ids)
    hits, precisions, penalties = np.zeros(length), [], []
    for row, person in enumerate(query_ids):
        seen = [j for j in range(len(gallery_ids)) if not skip[row, j]]
        ranked = [gallery_ids[j] for j in sorted(seen, key=lambda j: distances[row, j])]
        if person not in ranked:
            continue
        places = [place for place, other in enumerate(ranked, 1) if other == person]
        precisions.append(sum(n / place for n, place in enumerate(places, 1)) / len(places))
        penalties.append(len(places) / places[-1])
        counted = list(dict.fromkeys(ranked)) if deduplicated else ranked
        hits[counted.index(person) :] += 1
    n = len(precisions)
    return hits / n, sum(precisions) / n, sum(penalties) / n, n


def trial(
    seed: int, n_query: int = 37, n_gallery: int = 53, people: int = 9, levels: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A random trial; `levels` distinct distances make ties."""
    rng, shape = np.random.default_rng(seed), (n_query, n_gallery)
    distances = rng.random((n_query, n_gallery)) if levels is None else rng.integers(0, levels, (n_query, n_gallery))
    skip = rng.random(shape) < 0.3
    skip[0] = True
    return distances, rng.integers(0, people + 3, n_query), rng.integers(0, people, n_gallery), skip


@pytest.mark.parametrize("name", ["small", "single", "multi", "missing"])
def test_scores_are_those_of_the_public_evaluators(name: str) -> None:
    with np.load(ORACLE) as file:
        case = {key.split("/")[1]: file[key] for key in file.files if key.startswith(f"{name}/")}
    query, gallery = (case[k].astype(np.float64) for k in ("query", "gallery"))
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    distances = 1 - query @ gallery.T
    same_place = (case["query_cam"][:, None] == 3) & (case["gallery_cam"][None] == 2)
    found = {
        "sysu": rank(distances, case["query_id"], case["gallery_id"], same_place),
        "regdb": rank(distances, case["query_id"], case["gallery_id"], deduplicated=False),
    }
    found["sysu_official"] = found["sysu"]
    compared = 0
    for evaluator, scores in found.items():
        for key, value in (("cmc", scores.cmc), ("map", scores.mAP), ("minp", scores.mINP)):
            if f"{evaluator}_{key}" in case:
                expected = case[f"{evaluator}_{key}"]
                np.testing.assert_allclose(np.ravel(value)[: expected.size], np.ravel(expected), rtol=0, atol=1e-6)
                compared += 1
    assert compared == (5 if name == "small" else 8)


@pytest.mark.parametrize("levels", [None, 4], ids=["distinct", "ties"])
@pytest.mark.parametrize("deduplicated", [True, False])
@pytest.mark.parametrize("skipping", [True, False])
def test_scores_are_those_of_the_slow_version(levels: int | None, deduplicated: bool, skipping: bool) -> None:
    distances, query, gallery, skip = trial(3, levels=levels)
    scores = rank(distances, query, gallery, skip if skipping else None, deduplicated=deduplicated)
    cmc, mean_ap, mean_inp, valid = slow(
        distances, query_ids=query, gallery_ids=gallery, skip=skip & skipping, deduplicated=deduplicated
    )
    np.testing.assert_allclose(scores.cmc, cmc, atol=1e-12)
    assert scores.mAP == pytest.approx(mean_ap, abs=1e-12)
    assert scores.mINP == pytest.approx(mean_inp, abs=1e-12)
    assert (scores.valid, scores.left_out) == (valid, len(query) - valid)
    assert 0 < valid < len(query)


def test_blocks_of_queries_meet() -> None:
    n_gallery = _BLOCK // 3
    distances = np.zeros((7, n_gallery), dtype=np.float32)
    gallery = np.zeros(n_gallery, dtype=np.int64)
    gallery[[0, 5]] = 1, 2
    distances[np.arange(7), np.arange(7)] = -1
    scores = rank(distances, [1, 1, 1, 2, 2, 2, 2], gallery)
    assert scores.first_hit.tolist() == [1, 2, 2, 3, 3, 1, 3]


def test_ties_keep_the_order_of_the_gallery() -> None:
    scores = rank(np.zeros((2, 40)), [7, 8], [8] * 20 + [7] * 20, deduplicated=False)
    assert scores.first_hit.tolist() == [21, 1]
    assert scores.average_precision[0] == pytest.approx(np.mean([n / (20 + n) for n in range(1, 21)]))


def test_tensors_and_lists_answer_alike() -> None:
    distances, query, gallery, skip = trial(5)
    arrays = rank(distances, query, gallery, skip)
    tensors = rank(*(torch.from_numpy(x) for x in (distances, query, gallery, skip)))
    lists = rank(distances.tolist(), query.tolist(), gallery.tolist(), skip.tolist())
    assert arrays.cmc.tolist() == tensors.cmc.tolist() == lists.cmc.tolist()
    assert arrays.mAP == tensors.mAP == lists.mAP


def test_queries_without_a_match_are_left_out_and_counted() -> None:
    scores = rank(
        [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]],
        [1, 5, 2],
        [1, 2],
        [[False, False], [False, False], [False, True]],
    )
    assert (scores.valid, scores.left_out) == (1, 2)
    assert scores.cmc.tolist() == [1, 1]
    assert np.isnan(scores.average_precision).tolist() == [False, True, True]
    assert np.isnan(scores.inverse_negative_penalty).tolist() == [False, True, True]
    assert scores.first_hit.tolist() == [1, 0, 0]


def test_without_any_valid_query_the_scores_are_nan_not_zero() -> None:
    scores = rank(np.zeros((2, 3)), [1, 1], [1, 2, 3], np.ones((2, 3), dtype=bool))
    assert (scores.valid, scores.left_out) == (0, 2)
    assert np.isnan([*scores.cmc, scores.mAP, scores.mINP, scores.rank(1)]).all()
    assert np.isnan(list(vars(chance([1], [2])).values())).all()


def test_unknown_people_match_nobody_and_are_not_one_identity() -> None:
    scores = rank([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]], [-1, 4], [-1, -1, 4])
    assert (scores.valid, scores.left_out) == (1, 1)
    assert scores.first_hit.tolist() == [0, 3]


def test_cmc_is_as_long_as_the_gallery_and_rank_k_stops_at_its_end() -> None:
    distances, query, gallery, _ = trial(1, people=4)
    assert len(rank(distances, query, gallery).cmc) == 4
    plain = rank(distances, query, gallery, deduplicated=False)
    assert len(plain.cmc) == len(gallery)
    assert rank(distances, query, gallery).rank(20) == rank(distances, query, gallery).rank(4) == 1
    with pytest.raises(ValueError, match="count from 1"):
        plain.rank(0)


def test_chance_is_the_mean_over_all_orders() -> None:
    query, gallery = [1, 2, 9], [1, 2, 2, 3, 2]
    skip = np.zeros((3, 5), dtype=bool)
    skip[1, 4] = True
    orders = [rank([order] * 3, query, gallery, skip) for order in permutations(range(5))]
    expected = chance(query, gallery, skip)
    assert expected.rank1 == pytest.approx(np.mean([s.rank(1) for s in orders]))
    assert expected.mAP == pytest.approx(np.mean([s.mAP for s in orders]))
    assert expected.mINP == pytest.approx(np.mean([s.mINP for s in orders]))


def test_chance_of_a_gallery_of_one_image_is_certainty() -> None:
    assert list(vars(chance([3], [3])).values()) == [1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4), [1], [1]), "distances must be"),
        ((np.zeros((0, 4)), [], [1] * 4), "distances must be"),
        ((np.zeros((2, 0)), [1, 1], []), "distances must be"),
        ((np.array([["a"]]), [1], [1]), "distances must be"),
        ((np.zeros((2, 3)), [1], [1, 2, 3]), "query_ids must be 2 integers"),
        ((np.zeros((2, 3)), [1, 2], [[1, 2, 3]]), "gallery_ids must be 3 integers"),
        ((np.zeros((2, 3)), [1.0, 2.0], [1, 2, 3]), "query_ids must be 2 integers"),
        ((np.zeros((2, 3)), [1, 2], [1, 2, 3], np.zeros((3, 2), dtype=bool)), "skip must be boolean"),
        ((np.zeros((2, 3)), [1, 2], [1, 2, 3], np.zeros((2, 3))), "skip must be boolean"),
        ((np.array([[0.0, np.nan]]), [1], [1, 2]), "NaN"),
    ],
)
def test_input_that_does_not_fit_is_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank(*arguments)


def test_chance_refuses_what_rank_refuses() -> None:
    with pytest.raises(ValueError, match="skip must be boolean"):
        chance([1], [1, 2], np.zeros((2, 1), dtype=bool))
    with pytest.raises(ValueError, match="at least 1"):
        chance([], [1])
