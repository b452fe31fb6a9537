"""Scores of embeddings under a data set's protocols, each beside chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cscl.ranking import chance, rank
from cscl.rerank import k_reciprocal
from data.records import Protocol, Record, Skip, Trial
from parsing.errors import InputError

RANKS = (1, 5, 10, 20)
Features = NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Means over the trials of one protocol, in [0, 1], with their deviation over the trials for Rank-1 and mAP."""

    protocol: str
    gallery_rule: str
    trials: int
    queries: int
    gallery: int
    cmc: dict[int, float]
    mAP: float  # noqa: N815 - the field's name
    mINP: float  # noqa: N815 - the field's name
    rank1_deviation: float
    map_deviation: float
    chance_rank1: float
    chance_map: float
    reranked: bool


def score(protocol: Protocol, features: Mapping[str, NDArray[np.float64]], rerank: bool = False) -> Result:
    """Average the protocol's trials; `features` are unit embeddings (D,) by image name, compared by cosine.

    rerank: k-reciprocal distances instead; InputError where there are too few images for their neighbourhoods.
    """
    rows, chances = [], []
    for trial in protocol.trials:
        query, gallery = stacked(trial.query, features), stacked(trial.gallery, features)
        distances = _reranked(protocol, query, gallery) if rerank else 1 - query @ gallery.T
        ids = [np.array([r.identity for r in side]) for side in (trial.query, trial.gallery)]
        skip = skipped(protocol.skip, trial)
        scores = rank(distances, ids[0], ids[1], skip, deduplicated=protocol.deduplicated)
        rows.append([*(scores.rank(k) for k in RANKS), scores.mAP, scores.mINP])
        luck = chance(ids[0], ids[1], skip)
        chances.append((luck.rank1, luck.mAP))
    mean, deviation = np.mean(rows, 0), np.std(rows, 0)
    luck_mean = np.mean(chances, 0)
    first = protocol.trials[0]
    return Result(
        protocol.name,
        protocol.gallery_rule,
        len(protocol.trials),
        len(first.query),
        len(first.gallery),
        {k: float(v) for k, v in zip(RANKS, mean, strict=False)},
        float(mean[-2]),
        float(mean[-1]),
        float(deviation[0]),
        float(deviation[-2]),
        float(luck_mean[0]),
        float(luck_mean[1]),
        rerank,
    )


def _reranked(protocol: Protocol, query: Features, gallery: Features) -> Features:
    try:
        return k_reciprocal(query, gallery)
    except ValueError as error:
        raise InputError(f"--rerank: {protocol.name} cannot be re-ranked: {error}") from error


def stacked(records: Sequence[Record], features: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Features (N, D) of the records."""
    return np.stack([features[r.name] for r in records])


def skipped(rule: Skip, trial: Trial) -> NDArray[np.bool_] | None:
    """Which gallery images (Nq, Ng) a query does not see under a rule of `data.records.Protocol`."""
    cameras = [np.array([r.camera for r in side]) for side in (trial.query, trial.gallery)]
    if rule == "sysu-same-place":
        return (cameras[0] == 3)[:, None] & (cameras[1] == 2)
    if rule == "same-identity-and-camera":
        ids = [np.array([r.identity for r in side]) for side in (trial.query, trial.gallery)]
        return (cameras[0][:, None] == cameras[1]) & (ids[0][:, None] == ids[1])
    return None
