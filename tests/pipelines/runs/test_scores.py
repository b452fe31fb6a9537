"""Scores of a protocol: who is skipped, means and deviations over the trials, chance, re-ranking."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from support.places import ORACLES

from cscl.ranking import rank
from cscl.rerank import k_reciprocal
from data.readers.llcm import LLCM
from data.readers.regdb import RegDB
from data.readers.sysu import SYSU
from data.records import DataSet, Modality, Protocol, Record, Tracklet, Trial, same_person_and_camera
from parsing.errors import InputError
from pipelines.runs.scores import (
    Result,
    average_results,
    list_needed_records,
    score,
    stack_features,
    unmatched_lines,
)

ORACLE = ORACLES / "evaluation.npz"


def images(modality: Modality, people: Sequence[tuple[int, int]]) -> tuple[Record, ...]:
    """Records of (identity, camera) pairs."""
    return tuple(
        Record(f"{modality}/{n}.jpg", identity=i, camera=c, modality=modality) for n, (i, c) in enumerate(people)
    )


QUERY = images("infrared", [(1, 3), (1, 6), (2, 3), (3, 6)])
GALLERY = images("visible", [(1, 1), (1, 2), (2, 2), (2, 3), (3, 6), (3, 1)])


def at_angles(records: Sequence[Record], degrees: Sequence[float]) -> dict[str, NDArray[np.float64]]:
    """Unit vectors in the plane, so that who is near whom is read off the angles."""
    radians = np.deg2rad(degrees)
    return {r.name: np.array([math.cos(a), math.sin(a)]) for r, a in zip(records, radians, strict=True)}


FEATURES = at_angles(QUERY, [0, 10, 20, 90]) | at_angles(GALLERY, [40, 3, 21, 70, 85, 11])


@pytest.mark.parametrize("owner", [RegDB, SYSU, LLCM])
def test_each_data_set_hides_what_its_protocol_says(owner: type[DataSet]) -> None:
    found = owner.skip(Trial(QUERY, GALLERY))
    for i, q in enumerate(QUERY):
        for j, g in enumerate(GALLERY):
            expected = {
                RegDB: False,
                SYSU: q.camera == 3 and g.camera == 2,
                LLCM: q.camera == g.camera and q.identity == g.identity,
            }[owner]
            assert (False if found is None else bool(found[i, j])) == expected
    assert (found is None) == (owner is RegDB)
    assert found is None or found.any()


@pytest.mark.parametrize("owner", [RegDB, SYSU, LLCM])
@pytest.mark.parametrize("deduplicated", [True, False])
def test_a_protocol_is_the_mean_of_its_trials(owner: type[DataSet], deduplicated: bool) -> None:
    trials = (Trial(QUERY, GALLERY), Trial(QUERY, GALLERY[1:]), Trial(QUERY[:3], GALLERY[::-1]))
    result = score(
        Protocol("p", trials=trials, skip=owner.skip, deduplicated=deduplicated, gallery_rule="seeded"), FEATURES
    )
    rank1, m_ap, m_inp, last = [], [], [], []
    for trial in trials:
        distances = np.array([[1 - FEATURES[q.name] @ FEATURES[g.name] for g in trial.gallery] for q in trial.query])
        scores = rank(
            distances, [q.identity for q in trial.query], [g.identity for g in trial.gallery], owner.skip(trial),
            deduplicated=deduplicated,
        )  # fmt: skip
        rank1.append(scores.cmc[0])
        last.append(scores.cmc[-1])
        m_ap.append(scores.mAP)
        m_inp.append(scores.mINP)
    spread = {"Rank-1": rank1, "Rank-20": last, "mAP": m_ap, "mINP": m_inp}
    assert list(result.deviations) == ["Rank-1", "Rank-5", "Rank-10", "Rank-20", "mAP", "mINP"]
    assert {name: result.deviations[name] for name in spread} == pytest.approx(
        {n: np.std(v) for n, v in spread.items()}
    )
    assert result.cmc[1] == pytest.approx(np.mean(rank1))
    assert result.cmc[20] == pytest.approx(np.mean(last))
    assert (result.mAP, result.mINP) == pytest.approx((np.mean(m_ap), np.mean(m_inp)))
    assert (result.protocol, result.gallery_rule, result.trials) == ("p", "seeded", 3)
    assert (result.queries, result.gallery, result.reranked) == (4, 6, False)


def test_nearer_means_more_alike_by_cosine() -> None:
    result = score(
        Protocol(
            "p", trials=(Trial(QUERY[:1], GALLERY[:3]),), skip=DataSet.skip, deduplicated=True, gallery_rule="all"
        ),
        FEATURES,
    )
    assert result.cmc[1] == 1.0  # 3 degrees away, the right person
    assert result.mAP == pytest.approx((1 + 2 / 3) / 2)  # then 21 degrees, another one, then 40, the right one
    assert result.mINP == pytest.approx(2 / 3)


def test_chance_is_the_share_of_right_images_among_those_seen() -> None:
    result = score(
        Protocol("p", trials=(Trial(QUERY, GALLERY),), skip=SYSU.skip, deduplicated=True, gallery_rule="all"), FEATURES
    )
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
    protocol = Protocol("p", trials=(Trial(query, gallery),), skip=DataSet.skip, deduplicated=True, gallery_rule="all")
    plain, reranked = score(protocol, features), score(protocol, features, rerank=True)
    assert (plain.reranked, reranked.reranked) == (False, True)
    by_hand = rank(
        k_reciprocal(stack_features(query, features), stack_features(gallery, features)),
        [q.identity for q in query],
        [g.identity for g in gallery],
    )
    assert reranked.mAP == pytest.approx(by_hand.mAP)
    assert reranked.mAP != pytest.approx(plain.mAP)
    assert (reranked.chance_rank1, reranked.chance_map) == (plain.chance_rank1, plain.chance_map)


def test_too_few_images_to_rerank_are_refused_with_the_protocol() -> None:
    with pytest.raises(InputError, match=r"--rerank: tiny cannot be re-ranked: k1 must lie in 1\.\.9 for 10 images"):
        score(
            Protocol("tiny", trials=(Trial(QUERY, GALLERY),), skip=DataSet.skip, deduplicated=True, gallery_rule="all"),
            FEATURES,
            rerank=True,
        )


@pytest.mark.parametrize("name", ["single", "multi", "missing"])
@pytest.mark.parametrize("evaluator", ["sysu", "regdb"])
def test_a_trial_scores_what_the_public_evaluators_say(name: str, evaluator: str) -> None:
    with np.load(ORACLE) as file:
        case = {key.split("/")[1]: file[key] for key in file.files if key.startswith(f"{name}/")}
    records: dict[str, tuple[Record, ...]] = {}
    features: dict[str, np.ndarray] = {}
    sides: tuple[tuple[str, Modality], ...] = (("query", "infrared"), ("gallery", "visible"))
    for side, modality in sides:
        people = zip(case[f"{side}_id"].tolist(), case[f"{side}_cam"].tolist(), strict=True)
        records[side] = images(modality, list(people))
        unit = case[side].astype(np.float64)
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        features |= dict(zip((r.name for r in records[side]), unit, strict=True))
    trial = Trial(records["query"], records["gallery"])
    sysu = evaluator == "sysu"
    rule = SYSU.skip if sysu else DataSet.skip
    result = score(Protocol(name, trials=(trial, trial), skip=rule, deduplicated=sysu, gallery_rule="all"), features)
    expected = [case[f"{evaluator}_cmc"][k - 1] for k in (1, 5, 10, 20)]
    assert list(result.cmc.values()) == pytest.approx(expected, abs=1e-6)
    assert (result.mAP, result.mINP) == pytest.approx(
        (float(case[f"{evaluator}_map"]), float(case[f"{evaluator}_minp"])), abs=1e-6
    )


def test_queries_keep_their_own_scores_over_the_trials_that_they_have_a_match_in() -> None:
    trials = (Trial(QUERY, GALLERY), Trial(QUERY, GALLERY[1:]), Trial(QUERY[:3], GALLERY[:1]))
    result = score(Protocol("p", trials=trials, skip=DataSet.skip, deduplicated=True, gallery_rule="seeded"), FEATURES)
    assert (result.seeds, result.runs) == ((0, 1, 2), 1)
    found = result.per_query
    assert found is not None
    assert found.names == tuple(sorted(q.name for q in QUERY))
    for name, identity, values in zip(found.names, found.identities, found.values, strict=True):
        query = next(q for q in QUERY if q.name == name)
        assert identity == query.identity
        rows, counted = [], []
        for trial, valid in zip(trials, (4, 4, 2), strict=True):  # valid: queries that have a match
            if query in trial.query and any(g.identity == query.identity for g in trial.gallery):
                d = [[1 - FEATURES[name] @ FEATURES[g.name] for g in trial.gallery]]
                one = rank(d, [identity], [g.identity for g in trial.gallery])
                rows.append((one.cmc[0], one.mAP, one.mINP))
                counted.append(1 / valid)
        assert values == pytest.approx(np.average(rows, 0, counted))


def test_runs_are_averaged_and_deviate_from_each_other() -> None:
    first = score(
        Protocol("p", trials=(Trial(QUERY, GALLERY),), skip=DataSet.skip, deduplicated=True, gallery_rule="all"),
        FEATURES,
    )
    other = score(
        Protocol(
            "p", trials=(Trial(QUERY[1:], GALLERY[2:]),), skip=DataSet.skip, deduplicated=True, gallery_rule="all"
        ),
        FEATURES,
    )
    mean = average_results([first, other])
    for name in ("mAP", "mINP", "chance_rank1", "chance_map"):
        assert getattr(mean, name) == pytest.approx((getattr(first, name) + getattr(other, name)) / 2)
    assert mean.cmc == {k: pytest.approx((first.cmc[k] + other.cmc[k]) / 2) for k in first.cmc}
    for name, value in mean.deviations.items():
        assert value == pytest.approx(abs(first.figures[name] - other.figures[name]) / 2), name
    assert (mean.runs, mean.seeds) == (2, ())
    assert average_results([first, first]) == replace(
        first, queries=2 * first.queries, runs=2, deviations=dict.fromkeys(first.deviations, 0)
    )


def test_the_means_of_the_queries_are_the_figures_also_over_runs_of_other_people() -> None:
    """As over the splits of RegDB, where some people are tested more often than others."""
    everybody = (Trial(QUERY, GALLERY), Trial(QUERY[:2], GALLERY))
    runs = [(Trial(QUERY[1:], GALLERY),), everybody, (Trial(QUERY[:3], GALLERY[2:4]),)]
    each = [
        score(Protocol("p", trials=trials, skip=DataSet.skip, deduplicated=True, gallery_rule="all"), FEATURES)
        for trials in runs
    ]
    for result in (*each, average_results(each), average_results([each[0], each[0]])):
        found = result.per_query
        assert found is not None
        assert found.weights.max() == 1
        means = found.weights @ found.values / found.weights.sum()
        assert means == pytest.approx((result.cmc[1], result.mAP, result.mINP))


def test_queries_left_out_are_those_of_all_runs() -> None:
    def scored(query: tuple[Record, ...], gallery: tuple[Record, ...]) -> Result:
        return score(
            Protocol("p", trials=(Trial(query, gallery),), skip=DataSet.skip, deduplicated=True, gallery_rule="all"),
            FEATURES,
        )

    mean = average_results([scored(QUERY, GALLERY), scored(QUERY[1:], GALLERY[:4])])
    assert (mean.queries, mean.unmatched) == (7, 1)
    assert unmatched_lines([mean]) == [
        "note: 1 of the 7 queries of p in 2 runs are left out: no gallery shows their person"
    ]


def test_queries_without_a_match_are_counted_and_none_with_one_is_refused() -> None:
    gallery = images("visible", [(1, 1), (2, 2)])
    features = at_angles(QUERY, [0, 10, 20, 90]) | at_angles(gallery, [3, 21])
    protocol = Protocol("p", trials=(Trial(QUERY, gallery),), skip=DataSet.skip, deduplicated=False, gallery_rule="all")
    result = score(protocol, features)
    assert (result.queries, result.unmatched, result.cmc[1]) == (4, 1, 1)
    assert unmatched_lines([result]) == ["note: 1 of the 4 queries of p are left out: no gallery shows their person"]
    assert unmatched_lines([score(replace(protocol, trials=(Trial(QUERY[:3], gallery),)), features)]) == []
    with pytest.raises(InputError, match=r"p: no gallery shows a person of its 1 queries"):
        score(replace(protocol, trials=(Trial(QUERY[3:], gallery),)), features)


def tracklets(modality: Modality, people: Sequence[tuple[int, int]], rng: np.random.Generator) -> tuple[Tracklet, ...]:
    """Tracklets of (identity, camera) pairs, of one to four images each, the last of which counts twice."""
    made = []
    for number, (identity, camera) in enumerate(people):
        frames = [
            Record(f"{modality}/{number}/{f}.jpg", identity=identity, camera=camera, modality=modality)
            for f in range(1 + int(rng.integers(4)))
        ]
        name = f"{modality}/{number}"
        sampled = (*frames, frames[-1])
        made.append(Tracklet(name, identity=identity, camera=camera, modality=modality, sampled=sampled))
    return tuple(made)


def test_a_tracklet_is_ranked_by_the_mean_feature_of_its_images() -> None:
    """Against the evaluator of HITSZ-VCM's authors, restated: own person in own camera removed, CMC over tracklets."""
    rng = np.random.default_rng(0)
    people = [(int(i), int(c)) for i, c in rng.integers(1, 5, (40, 2))]
    trial = Trial(tracklets("infrared", people[:15], rng), tracklets("visible", people[15:], rng))
    protocol = Protocol("p", trials=(trial,), skip=same_person_and_camera, deduplicated=False, gallery_rule="all")
    needed = list_needed_records([protocol])
    assert set(needed) == {image.name for t in (*trial.query, *trial.gallery) for image in t.images}
    features = {name: rng.standard_normal(8) for name in needed}
    features = {name: row / np.linalg.norm(row) for name, row in features.items()}

    def mean(track: Record) -> NDArray[np.float64]:
        row = np.mean([features[image.name] for image in track.images], 0)
        return np.asarray(row / np.linalg.norm(row))

    hits, precisions = [], []
    for query in trial.query:
        seen = [g for g in trial.gallery if (g.identity, g.camera) != (query.identity, query.camera)]
        seen.sort(key=lambda g: -float(np.dot(mean(query), mean(g))))
        right = np.array([g.identity == query.identity for g in seen])
        if right.any():
            hits.append(right.cumsum() > 0)
            precisions.append((right.cumsum() / np.arange(1, len(right) + 1))[right].mean())
    result = score(protocol, features)
    assert result.mAP == pytest.approx(np.mean(precisions))
    for k in (1, 5, 10):
        assert result.cmc[k] == pytest.approx(np.mean([h[k - 1] for h in hits]))
    assert (result.queries, result.gallery) == (15, 25)
    opposite = {image.name: (-1) ** n * np.eye(8)[0] for t in trial.query for n, image in enumerate(t.images[:2])}
    pair = [t for t in trial.query if len({image.name for image in t.images}) == 2][:1]
    assert pair
    both = Tracklet("x", identity=1, camera=1, modality="visible", sampled=pair[0].images[:2])
    with pytest.raises(InputError, match="features of x have the mean 0"):
        stack_features([both], opposite)
