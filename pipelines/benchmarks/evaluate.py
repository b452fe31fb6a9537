"""`cscl benchmark evaluate`: CMC, mAP and mINP of ten trials of SYSU-MM01's size, beside slower evaluators."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cscl.ranking import rank
from parsing.errors import CsclError, InputError

from .measure import Row, Side, by_turns, compare_sides
from .peer import peer_modules

QUERIES, GALLERY, PEOPLE, TRIALS = 3803, 301, 96, 10
"""Of the single-shot all-search of SYSU-MM01."""
AGREE = 1e-4
"""By how much Rank-1, mAP and mINP of two evaluators may differ; some compute in float32."""
Trial = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def measure(runs: int, peer: Path | None) -> list[Row]:
    """Return a row beside a plain NumPy evaluator and, with `peer`, one beside that of an AGW checkout.

    Raises:
        MissingError: if the checkout has no evaluator.
        CsclError: if the evaluators disagree.
    """
    trials = [_trial(seed) for seed in range(TRIALS)]
    evaluators: dict[str, Callable[[Trial], tuple[float, float, float]]] = {"ours": _ours, "plain": _plain}
    if peer is not None:
        evaluators["peer"] = _peer(peer)
    sides: dict[str, Side] = {n: lambda f=f: [f(t) for t in trials] for n, f in evaluators.items()}  # type: ignore[misc]
    for name, evaluator in evaluators.items():
        _check_alike(name, _ours(trials[0]), evaluator(trials[0]))
    seconds = by_turns(sides, runs)
    what, unit = f"{TRIALS} trials of {QUERIES} queries and {GALLERY} gallery images", "trials per second"
    rows = [
        compare_sides(
            what,
            seconds=seconds,
            ours="ours",
            theirs="plain",
            count=TRIALS,
            unit=unit,
            other="a NumPy loop over the queries",
        )
    ]
    if peer is not None:
        rows.append(
            compare_sides(
                what, seconds=seconds, ours="ours", theirs="peer", count=TRIALS, unit=unit, other="AGW's eval_sysu"
            )
        )
    return rows


def _trial(seed: int) -> Trial:
    rng = np.random.default_rng(seed)
    query_ids, gallery_ids = rng.integers(0, PEOPLE, QUERIES), np.arange(GALLERY) % PEOPLE
    people = rng.normal(size=(PEOPLE, 32))
    features = [people[ids] + rng.normal(0, 2.0, (len(ids), 32)) for ids in (query_ids, gallery_ids)]
    query, gallery = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in features)
    cameras = rng.choice((3, 6), QUERIES), rng.choice((1, 2, 4, 5), GALLERY)
    return 1 - query @ gallery.T, query_ids, gallery_ids, cameras[0], cameras[1]


def _ours(trial: Trial) -> tuple[float, float, float]:
    distances, query_ids, gallery_ids, query_cameras, gallery_cameras = trial
    skip = (query_cameras[:, None] == 3) & (gallery_cameras[None] == 2)
    scores = rank(distances, query_ids, gallery_ids, skip)
    return scores.rank(1), scores.mAP, scores.mINP


def _plain(trial: Trial) -> tuple[float, float, float]:
    """Score one query after the other, as the equations say it."""
    distances, query_ids, gallery_ids, query_cameras, gallery_cameras = trial
    first, precisions, penalties = [], [], []
    for row, person, camera in zip(distances, query_ids, query_cameras, strict=True):
        order = np.argsort(row, kind="stable")
        order = order[~((camera == 3) & (gallery_cameras[order] == 2))]
        hits = gallery_ids[order] == person
        if not hits.any():
            continue
        places = np.flatnonzero(hits) + 1
        first.append(places[0] == 1)
        precisions.append(np.mean(np.arange(1, len(places) + 1) / places))
        penalties.append(len(places) / places[-1])
    return float(np.mean(first)), float(np.mean(precisions)), float(np.mean(penalties))


def _peer(folder: Path) -> Callable[[Trial], tuple[float, float, float]]:
    """Return the evaluator of a checkout."""
    with peer_modules(folder, "eval_metrics") as (module,):
        if not hasattr(module, "eval_sysu"):
            raise InputError(f"--peer {folder}: its eval_metrics.py has no eval_sysu")
        evaluator = module.eval_sysu

    def run(trial: Trial) -> tuple[float, float, float]:
        cmc, precision, penalty = evaluator(*trial)
        return float(cmc[0]), float(precision), float(penalty)

    return run


def _check_alike(name: str, ours: tuple[float, ...], theirs: tuple[float, ...]) -> None:
    if not np.allclose(ours, theirs, rtol=0, atol=AGREE):
        raise CsclError(f"evaluators disagree on the same distances: ours {ours}, {name} {theirs}")
