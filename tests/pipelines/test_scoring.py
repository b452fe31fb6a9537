"""Scores of a protocol: who is skipped, means and deviations over the trials, chance, re-ranking."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from cscl.ranking import rank
from cscl.rerank import k_reciprocal
from data.records import Modality, Protocol, Record, Skip, Trial
from parsing.errors import InputError
from pipelines.scoring import score, skipped, stacked


def images(modality: Modality, people: Sequence[tuple[int, int]]) -> tuple[Record, ...]:
    """Records of (identity, camera) pairs."""
    return tuple(Record(f"{modality}/{n}.jpg", i, c, modality) for n, (i, c) in enumerate(people))


QUERY = images("infrared", [(1, 3), (1, 6), (2, 3), (3, 6)])
GALLERY = images("visible", [(1, 1), (1, 2), (2, 2), (2, 3), (3, 6), (3, 1)])


def at_angles(records: Sequence[Record], degrees: Sequence[float]) -> dict[str, NDArray[np.float64]]:
    """Unit vectors in the plane, so that who is near whom is read off the angles."""
    radians = np.deg2rad(degrees)
    return {r.name: np.array([math.cos(a), math.sin(a)]) for r, a in zip(records, radians, strict=True)}


FEATURES = at_angles(QUERY, [0, 10, 20, 90]) | at_angles(GALLERY, [40, 3, 21, 70, 85, 11])


@pytest.mark.parametrize("rule", ["nothing", "sysu-same-place", "same-identity-and-camera"])
def test_each_rule_skips_what_it_says(rule: Skip) -> None:
    found = skipped(rule, Trial(QUERY, GALLERY))
    for i, q in enumerate(QUERY):
        for j, g in enumerate(GALLERY):
            expected = {
                "nothing": False,
                "sysu-same-place": q.camera == 3 and g.camera == 2,
                "same-identity-and-camera": q.camera == g.camera and q.identity == g.identity,
            }[rule]
            assert (False if found is None else bool(found[i, j])) == expected
    assert (found is None) == (rule == "nothing")
    assert found is None or found.any()


@pytest.mark.parametrize("rule", ["nothing", "sysu-same-place", "same-identity-and-camera"])
@pytest.mark.parametrize("deduplicated", [True, False])
def test_a_protocol_is_the_mean_of_its_trials(rule: Skip, deduplicated: bool) -> None:
    trials = (Trial(QUERY, GALLERY), Trial(QUERY, GALLERY[1:]), Trial(QUERY[:3], GALLERY[::-1]))
    result = score(Protocol("p", trials, rule, deduplicated, "seeded"), FEATURES)
    rank1, m_ap, m_inp, last = [], [], [], []
    for trial in trials:
        distances = np.array([[1 - FEATURES[q.name] @ FEATURES[g.name] for g in trial.gallery] for q in trial.query])
        scores = rank(
            distances, [q.identity for q in trial.query], [g.identity for g in trial.gallery], skipped(rule, trial),
            deduplicated=deduplicated,
        )  # fmt: skip
        rank1.append(scores.cmc[0])
        last.append(scores.cmc[-1])
        m_ap.append(scores.mAP)
        m_inp.append(scores.mINP)
    assert result.cmc[1] == pytest.approx(np.mean(rank1))
    assert result.cmc[20] == pytest.approx(np.mean(last))
    assert (result.mAP, result.mINP) == pytest.approx((np.mean(m_ap), np.mean(m_inp)))
    assert (result.rank1_deviation, result.map_deviation) == pytest.approx((np.std(rank1), np.std(m_ap)))
    assert (result.protocol, result.gallery_rule, result.trials) == ("p", "seeded", 3)
    assert (result.queries, result.gallery, result.reranked) == (4, 6, False)


def test_nearer_means_more_alike_by_cosine() -> None:
    result = score(Protocol("p", (Trial(QUERY[:1], GALLERY[:3]),), "nothing", True, "all"), FEATURES)
    assert result.cmc[1] == 1.0  # 3 degrees away, the right person
    assert result.mAP == pytest.approx((1 + 2 / 3) / 2)  # then 21 degrees, another one, then 40, the right one
    assert result.mINP == pytest.approx(2 / 3)


def test_chance_is_the_share_of_right_images_among_those_seen() -> None:
    result = score(Protocol("p", (Trial(QUERY, GALLERY),), "sysu-same-place", True, "all"), FEATURES)
    shares = []
    for q in QUERY:
        seen = [g for g in GALLERY if not (q.camera == 3 and g.camera == 2)]
        shares.append(sum(g.identity == q.identity for g in seen) / len(seen))
    assert result.chance_rank1 == pytest.approx(np.mean(shares))
    assert result.chance_rank1 < result.chance_map < 1


def test_reranking_is_flagged_and_changes_the_distances() -> None:
    rng = np.random.default_rng(0)
    query = images("infrared", [(i, 3) for i in range(8) for _ in range(2)])
    gallery = images("visible", [(i, 1) for i in range(8) for _ in range(3)])
    centres = rng.normal(size=(8, 6))
    features = {}
    for record in (*query, *gallery):
        feature = centres[record.identity] + 1.2 * rng.normal(size=6)
        features[record.name] = feature / np.linalg.norm(feature)
    protocol = Protocol("p", (Trial(query, gallery),), "nothing", True, "all")
    plain, reranked = score(protocol, features), score(protocol, features, rerank=True)
    assert (plain.reranked, reranked.reranked) == (False, True)
    by_hand = rank(
        k_reciprocal(stacked(query, features), stacked(gallery, features)),
        [q.identity for q in query],
        [g.identity for g in gallery],
    )
    assert reranked.mAP == pytest.approx(by_hand.mAP)
    assert reranked.mAP != pytest.approx(plain.mAP)
    assert (reranked.chance_rank1, reranked.chance_map) == (plain.chance_rank1, plain.chance_map)


def test_too_few_images_to_rerank_are_refused_with_the_protocol() -> None:
    with pytest.raises(InputError, match=r"--rerank: tiny cannot be re-ranked: k1 must lie in 1\.\.9 for 10 images"):
        score(Protocol("tiny", (Trial(QUERY, GALLERY),), "nothing", True, "all"), FEATURES, rerank=True)
