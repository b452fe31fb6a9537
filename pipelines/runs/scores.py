"""Scores of embeddings under a data set's protocols, each beside chance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cscl.ranking import Scores, chance, rank
from cscl.rerank import k_reciprocal
from data.records import DataSet, Protocol, Record, Trial
from parsing.errors import InputError

RANKS = (1, 5, 10, 20)
CURVE = 20
"""Ranks of a result's CMC curve."""
Features = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PerQuery:
    """What each query scored, averaged over the trials in which it has a match; a query that never has one is absent.

    names, identities: (Nq,) sorted by name; values: (Nq, 3) Rank-1 (the share of trials), AP and INP in [0, 1].
    """

    names: tuple[str, ...]
    identities: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Means over the trials of one protocol, in [0, 1], with their deviation over the trials for Rank-1 and mAP.

    runs: trained networks over which these are averaged once more; the deviations are then those over the runs.
    seeds: of the galleries, one a trial; empty if they are not drawn.
    curve: the CMC from Rank-1 to Rank-20.
    """

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
    seeds: tuple[int, ...] = ()
    runs: int = 1
    curve: tuple[float, ...] = ()
    per_query: PerQuery | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "per_query"}


def score(protocol: Protocol, features: Mapping[str, NDArray[np.float64]], rerank: bool = False) -> Result:
    """Average the protocol's trials; `features` are unit embeddings (D,) by image name, compared by cosine.

    rerank: k-reciprocal distances instead; InputError if there are too few images for their neighbourhoods.
    """
    rows, chances, each = [], [], []
    for trial in protocol.trials:
        ids = [np.array([r.identity for r in side]) for side in (trial.query, trial.gallery)]
        skip = protocol.skip(trial)
        scores = rank(
            _distances(protocol, trial, features, rerank), ids[0], ids[1], skip, deduplicated=protocol.deduplicated
        )
        each.append(scores)
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
        tuple(range(len(protocol.trials))) if protocol.gallery_rule == "seeded" else (),
        curve=tuple(float(np.mean([s.rank(k) for s in each])) for k in range(1, CURVE + 1)),
        per_query=_per_query(protocol.trials, each),
    )


def _per_query(trials: Sequence[Trial], scores: Sequence[Scores]) -> PerQuery:
    records = [q for trial in trials for q in trial.query]
    values = np.concatenate(
        [np.stack([s.first_hit == 1, s.average_precision, s.inverse_negative_penalty], 1) for s in scores]
    )
    valid = np.concatenate([s.first_hit > 0 for s in scores])
    names, identities = np.array([q.name for q in records]), np.array([q.identity for q in records])
    return mean_by_query(names[valid], identities[valid], values[valid])


def mean_by_query(names: NDArray[Any], identities: NDArray[np.int64], values: NDArray[np.float64]) -> PerQuery:
    """Return rows of values (N, 3) averaged by the image's name (N)."""
    found, first, of = np.unique(names, return_index=True, return_inverse=True)
    sums = np.zeros((len(found), values.shape[1]))
    np.add.at(sums, of, values)
    return PerQuery(tuple(found.tolist()), identities[first], sums / np.bincount(of, minlength=len(found))[:, None])


def chosen_protocols(data_set: DataSet, names: Sequence[str], gallery: str, split: int) -> list[Protocol]:
    """Return the protocols of a data set that `names` has, all if it is empty; InputError for an unknown one."""
    offered = data_set.protocols(gallery, split)
    known = [p.name for p in offered]
    for name in names:
        if name not in known:
            raise InputError(f"--protocol {name}: {data_set.name} has {', '.join(known)}")
    return [p for p in offered if not names or p.name in names]


def needed_records(protocols: Sequence[Protocol]) -> dict[str, Record]:
    """Return every image that the protocols rank, by name, in the order in which they are met first."""
    return {r.name: r for p in protocols for t in p.trials for r in (*t.query, *t.gallery)}


def table_lines(results: Sequence[Result]) -> list[str]:
    """Return the table of the results, a line per protocol, in per cent."""
    columns = ("Rank-1", "Rank-10", "Rank-20", "mAP", "mINP")
    head = f"{'protocol':24s} " + " ".join(f"{c:>7s}" for c in columns) + "   chance Rank-1/mAP"
    rows = [
        f"{r.protocol:24s} {100 * r.cmc[1]:7.2f} {100 * r.cmc[10]:7.2f} {100 * r.cmc[20]:7.2f} {100 * r.mAP:7.2f} "
        f"{100 * r.mINP:7.2f}   {100 * r.chance_rank1:.2f}/{100 * r.chance_map:.2f}"
        for r in results
    ]
    return [head, *rows]


def averaged(results: Sequence[Result]) -> Result:
    """The mean of one protocol's results over several runs, such as the splits of RegDB; deviations over the runs."""
    queries = [r.per_query for r in results if r.per_query is not None]
    return replace(
        results[0],
        cmc={k: float(np.mean([r.cmc[k] for r in results])) for k in results[0].cmc},
        mAP=float(np.mean([r.mAP for r in results])),
        mINP=float(np.mean([r.mINP for r in results])),
        rank1_deviation=float(np.std([r.cmc[1] for r in results])),
        map_deviation=float(np.std([r.mAP for r in results])),
        chance_rank1=float(np.mean([r.chance_rank1 for r in results])),
        chance_map=float(np.mean([r.chance_map for r in results])),
        runs=len(results),
        curve=tuple(float(np.mean(values)) for values in zip(*(r.curve for r in results), strict=True)),
        per_query=mean_by_query(
            np.concatenate([np.array(q.names) for q in queries]),
            np.concatenate([q.identities for q in queries]),
            np.concatenate([q.values for q in queries]),
        ),
    )


def distances(
    protocol: Protocol, trial: Trial, features: Mapping[str, NDArray[np.float64]], rerank: bool = False
) -> Features:
    """Return distances (Nq, Ng) of a trial as `score` ranks them, infinite if a query does not see a gallery image."""
    found = _distances(protocol, trial, features, rerank)
    hidden = protocol.skip(trial)
    return found if hidden is None else np.where(hidden, np.inf, found)


def _distances(protocol: Protocol, trial: Trial, features: Mapping[str, NDArray[np.float64]], rerank: bool) -> Features:
    query, gallery = stacked(trial.query, features), stacked(trial.gallery, features)
    if not rerank:
        return 1 - query @ gallery.T
    try:
        return k_reciprocal(query, gallery)
    except ValueError as error:
        raise InputError(f"--rerank: {protocol.name} cannot be re-ranked: {error}") from error


def stacked(records: Sequence[Record], features: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Features (N, D) of the records."""
    return np.stack([features[r.name] for r in records])
