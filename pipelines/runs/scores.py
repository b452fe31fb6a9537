"""Scores of embeddings under the protocols of a data set, each with the expected score of a random ranking."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cscl.ranking import Scores, chance, rank
from cscl.rerank import K1, K2, WEIGHT, k_reciprocal
from cscl.similarity import compute_similarity
from data.records import DataSet, Protocol, Record, Trial
from parsing.errors import InputError

RANKS = (1, 5, 10, 20)
"""Values of k for which a result has Rank-k."""
FIGURES = (*(f"Rank-{k}" for k in RANKS), "mAP", "mINP")
"""Names of a result's scores."""
CURVE = 20
"""Number of ranks of a result's CMC curve."""


@dataclass(frozen=True, eq=False)
class PerQuery:
    """Scores of each query, averaged over the trials in which it has a match. Queries that never have one are absent.

    A trial counts in a query's average, as in the result's, by one over the number of its queries that have a match.

    Attributes:
        names: Nq image names, sorted.
        identities: (Nq,).
        values: (Nq, 3) in [0, 1]: Rank-1 (share of trials in which the first image is a match), AP and INP.
        weights: (Nq,) in (0, 1], the largest is 1: how much a query counts, so that the means of `values` with these
            weights are the scores of the result. They differ if queries count in different numbers of trials or runs,
            as over the splits of RegDB.
    """

    names: tuple[str, ...]
    identities: NDArray[np.int64]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Result:
    """Mean scores of one protocol over its trials, in [0, 1].

    Attributes:
        protocol: its name.
        gallery_rule: rule by which galleries are drawn.
        trials: number of trials.
        queries: number of images or tracklets that are queries of the first trial; summed over the runs.
        gallery: number of those in the gallery of the first trial of the first run.
        cmc: Rank-k by k, for RANKS.
        mAP, mINP: means.
        deviations: standard deviation of each of FIGURES over the trials; over the runs if there are several.
        chance_rank1, chance_map: expected scores of a random ranking.
        reranked: whether the distances are re-ranked.
        seeds: seed of the gallery per trial; empty if galleries are not drawn at random.
        runs: number of runs over which the scores are averaged.
        curve: Rank-1 to Rank-20.
        unmatched: number of queries without a match in any gallery, which are left out of all means; summed over the
            runs.
        trials_hash: hash of the queries and galleries, see `digests.hash_trials`; over runs of other trials the hash of
            theirs. Empty in results of versions that did not record it.
        images_hash: hash of the images' content, see `digests.ImageHashes`, likewise; empty too for features that
            others computed.
        per_query: scores of each query.
    """

    protocol: str
    gallery_rule: str
    trials: int
    queries: int
    gallery: int
    cmc: dict[int, float]
    mAP: float  # noqa: N815 - the field's name
    mINP: float  # noqa: N815 - the field's name
    deviations: dict[str, float]
    chance_rank1: float
    chance_map: float
    reranked: bool
    seeds: tuple[int, ...] = ()
    runs: int = 1
    curve: tuple[float, ...] = ()
    unmatched: int = 0
    trials_hash: str = ""
    images_hash: str = ""
    per_query: PerQuery | None = field(default=None, repr=False, compare=False)

    @property
    def figures(self) -> dict[str, float]:
        """Rank-k, mAP and mINP by name, in the order of FIGURES."""
        return dict(zip(FIGURES, (*self.cmc.values(), self.mAP, self.mINP), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return all fields but `per_query`."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "per_query"}


def score(
    protocol: Protocol, features: Mapping[str, NDArray[np.float64]], rerank: bool = False, blocks: Sequence[int] = ()
) -> Result:
    """Return the mean scores of a protocol over its trials.

    Args:
        protocol: with its trials.
        features: embeddings (D,) of length 1 by image name.
        rerank: whether to use re-ranked distances (`k_reciprocal`).
        blocks: lengths of the features that an embedding is made of, see `compute_similarity`; none for one feature.

    Raises:
        InputError: if there are too few images to re-rank, or no query has a match in a gallery.
    """
    rows, chances, each = [], [], []
    for trial in protocol.trials:
        ids = [np.array([r.identity for r in side]) for side in (trial.query, trial.gallery)]
        skip = protocol.skip(trial)
        scores = rank(
            _compute_all_distances(protocol, trial=trial, features=features, rerank=rerank, blocks=blocks),
            ids[0],
            ids[1],
            skip,
            deduplicated=protocol.deduplicated,
        )
        each.append(scores)
        rows.append([*(scores.rank(k) for k in RANKS), scores.mAP, scores.mINP])
        luck = chance(ids[0], ids[1], skip)
        chances.append((luck.rank1, luck.mAP))
    per_query = _collect_per_query(protocol.trials, each)
    if not per_query.names:
        raise InputError(
            f"{protocol.name}: no gallery shows a person of its {len(protocol.trials[0].query)} queries, so that there "
            "is nothing to score; test people who are seen in both modalities"
        )
    mean, deviation = np.mean(rows, 0), np.std(rows, 0)
    luck_mean = np.mean(chances, 0)
    first = protocol.trials[0]
    return Result(
        protocol.name,
        gallery_rule=protocol.gallery_rule,
        trials=len(protocol.trials),
        queries=len(first.query),
        gallery=len(first.gallery),
        cmc={k: float(v) for k, v in zip(RANKS, mean, strict=False)},
        mAP=float(mean[-2]),
        mINP=float(mean[-1]),
        deviations=dict(zip(FIGURES, deviation.tolist(), strict=True)),
        chance_rank1=float(luck_mean[0]),
        chance_map=float(luck_mean[1]),
        reranked=rerank,
        seeds=tuple(range(len(protocol.trials))) if protocol.gallery_rule == "seeded" else (),
        curve=tuple(float(np.mean([s.rank(k) for s in each])) for k in range(1, CURVE + 1)),
        unmatched=len({q.name for trial in protocol.trials for q in trial.query}) - len(per_query.names),
        per_query=per_query,
    )


def _collect_per_query(trials: Sequence[Trial], scores: Sequence[Scores]) -> PerQuery:
    """Return the scores per query over all trials, from the scores of each trial."""
    records = [q for trial in trials for q in trial.query]
    values = np.concatenate(
        [np.stack([s.first_hit == 1, s.average_precision, s.inverse_negative_penalty], 1) for s in scores]
    )
    valid = np.concatenate([s.first_hit > 0 for s in scores])
    names, identities = np.array([q.name for q in records]), np.array([q.identity for q in records])
    weights = np.repeat([1 / max(1, s.valid) for s in scores], [len(s.first_hit) for s in scores])
    return mean_by_query(names[valid], identities[valid], values[valid], weights[valid])


def mean_by_query(
    names: NDArray[Any], identities: NDArray[np.int64], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> PerQuery:
    """Return the means of values (N, 3), with weights (N,), over equal image names (N,)."""
    found, first, of = np.unique(names, return_index=True, return_inverse=True)
    sums = np.zeros((len(found), values.shape[1]))
    np.add.at(sums, of, values * weights[:, None])
    total = np.bincount(of, weights=weights, minlength=len(found))
    largest = total.max(initial=0)
    return PerQuery(tuple(found.tolist()), identities[first], sums / total[:, None], total / largest)


def select_protocols(data_set: DataSet, names: Sequence[str], gallery: str, split: int) -> list[Protocol]:
    """Return the protocols of a data set that `names` has, all if it is empty.

    Raises:
        InputError: if a name is unknown, or a protocol has no query or no gallery.
    """
    offered = data_set.protocols(gallery, split)
    known = [p.name for p in offered]
    for name in names:
        if name not in known:
            raise InputError(f"--protocol {name}: {data_set.name} has {', '.join(known)}")
    chosen = [p for p in offered if not names or p.name in names]
    for protocol in chosen:
        query, against = (min(len(getattr(t, side)) for t in protocol.trials) for side in ("query", "gallery"))
        if not query or not against:
            raise InputError(
                f"{data_set.name}: {protocol.name} has {query} queries and {against} gallery images in "
                f"{data_set.root}, so that there is nothing to score; "
                f"`cscl data check --dataset {data_set.name}` says what is missing"
            )
    return chosen


def list_needed_records(protocols: Sequence[Protocol]) -> dict[str, Record]:
    """Return every image that the protocols rank, by name, in the order in which they are met first."""
    return {image.name: image for record in list_ranked_records(protocols).values() for image in record.images}


def list_ranked_records(protocols: Sequence[Protocol]) -> dict[str, Record]:
    """Return every image or tracklet that the protocols rank, by name, in the order in which they are met first."""
    return {record.name: record for p in protocols for t in p.trials for record in (*t.query, *t.gallery)}


RERANKING = {"k1": K1, "k2": K2, "lambda": WEIGHT}
"""Parameters of the re-ranking, as results state them."""


def describe_distance(blocks: Sequence[int]) -> str:
    """Return the words of a table for how embeddings of these features are compared."""
    return "cosine distance of what both images show" if len(blocks) > 1 else "cosine distance"


def describe_reranking(reranked: bool) -> str:
    """Return the words of a table for whether its results are re-ranked, and how."""
    parameters = " ".join(f"{name} {value}" for name, value in RERANKING.items())
    return f"re-ranked (k-reciprocal, {parameters})" if reranked else "not re-ranked"


def unmatched_lines(results: Sequence[Result]) -> list[str]:
    """Return a line per protocol whose queries do not all have a match."""
    return [
        f"note: {r.unmatched} of the {r.queries} queries of {r.protocol}{f' in {r.runs} runs' * (r.runs > 1)} are left "
        "out: no gallery shows their person"
        for r in results
        if r.unmatched
    ]


def average_results(results: Sequence[Result]) -> Result:
    """Return the mean results of one protocol over several runs, such as the splits of RegDB."""
    queries = [r.per_query for r in results if r.per_query is not None]
    return replace(
        results[0],
        queries=sum(r.queries for r in results),
        unmatched=sum(r.unmatched for r in results),
        trials_hash=join_hashes(r.trials_hash for r in results),
        images_hash=join_hashes(r.images_hash for r in results),
        cmc={k: float(np.mean([r.cmc[k] for r in results])) for k in results[0].cmc},
        mAP=float(np.mean([r.mAP for r in results])),
        mINP=float(np.mean([r.mINP for r in results])),
        deviations={name: float(np.std([r.figures[name] for r in results])) for name in FIGURES},
        chance_rank1=float(np.mean([r.chance_rank1 for r in results])),
        chance_map=float(np.mean([r.chance_map for r in results])),
        runs=len(results),
        curve=tuple(float(np.mean(values)) for values in zip(*(r.curve for r in results), strict=True)),
        per_query=mean_by_query(
            np.concatenate([np.array(q.names) for q in queries]),
            np.concatenate([q.identities for q in queries]),
            np.concatenate([q.values for q in queries]),
            np.concatenate([q.weights / q.weights.sum() for q in queries]),
        ),
    )


def join_hashes(hashes: Iterable[str]) -> str:
    """Return the hash itself if all are equal, the hash of the different ones if not, and none if one is not known."""
    each = sorted(set(hashes))
    if "" in each:
        return ""
    return each[0] if len(each) == 1 else hashlib.sha256("\n".join(each).encode()).hexdigest()


def compute_distances(
    protocol: Protocol,
    trial: Trial,
    features: Mapping[str, NDArray[np.float64]],
    rerank: bool = False,
    blocks: Sequence[int] = (),
) -> NDArray[np.float64]:
    """Return the distances (Nq, Ng) that `score` ranks; infinite if the query does not see the gallery image.

    Arguments and errors as in `score`.
    """
    found = _compute_all_distances(protocol, trial=trial, features=features, rerank=rerank, blocks=blocks)
    skipped = protocol.skip(trial)
    return found if skipped is None else np.where(skipped, np.inf, found)


def _compute_all_distances(
    protocol: Protocol,
    trial: Trial,
    features: Mapping[str, NDArray[np.float64]],
    rerank: bool,
    blocks: Sequence[int],
) -> NDArray[np.float64]:
    """Return the distances (Nq, Ng) of a trial, including gallery images that a query does not see."""
    query, gallery = stack_features(trial.query, features), stack_features(trial.gallery, features)
    if not rerank:
        return 1 - compute_similarity(query, gallery, blocks)
    try:
        return k_reciprocal(query, gallery, blocks=blocks)
    except ValueError as error:
        raise InputError(f"--rerank: {protocol.name} cannot be re-ranked: {error}") from error


def stack_features(records: Sequence[Record], features: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the features (N, D) of the records.

    A tracklet has its own, or else the mean of its images', scaled to length 1.

    Raises:
        InputError: if the images of a tracklet cancel each other.
    """
    return np.stack([_mean_feature(record, features) for record in records])


def _mean_feature(record: Record, features: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    if record.name in features:
        return features[record.name]
    mean = np.mean([features[image.name] for image in record.images], axis=0)
    length = np.linalg.norm(mean)
    if not length:
        raise InputError(f"the features of {record.name} have the mean 0; a cosine has no answer")
    return np.asarray(mean / length)
