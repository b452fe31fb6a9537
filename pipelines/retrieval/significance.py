"""Compare two results of the same protocols: differences with paired bootstrap intervals."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from parsing.errors import InputError, MissingError, first_line
from parsing.words import list_briefly

from ..runs.scores import PerQuery, Result, join_hashes

MEASURES = ("Rank-1", "mAP", "mINP")
MAY_DIFFER = ("trials", "runs", "reranked")
"""Fields of a result in which two that are compared may differ; it is said."""
HASHES = {"trials_hash": "galleries", "images_hash": "images"}
"""Hashes in a result, with the word by which a difference is said. Two known hashes of trials must be the same."""
UNSTATED = "not stated"
"""What is shown for a fact that one of the results does not have."""
LEVEL, RESAMPLES, SEED = 0.95, 2000, 0
"""Confidence level, number and seed of the bootstrap's resamples."""


@dataclass(frozen=True)
class Difference:
    """A measure of this result minus that of the baseline, in [-1, 1], with its interval from `low` to `high`.

    people: number of people who are queries. Of a single one there is no interval: `low` and `high` are the difference.
    """

    protocol: str
    measure: str
    difference: float
    low: float
    high: float
    people: int

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval excludes 0; False without an interval."""
        return self.people > 1 and (self.low > 0 or self.high < 0)

    def line(self) -> str:
        """Return one row of the table of differences."""
        start = f"{self.protocol:24s} {self.measure:7s} {100 * self.difference:+7.2f}   "
        if self.people < 2:
            return f"{start}no interval: all queries show one person"
        inside = "" if self.beyond_chance else "   0 is inside"
        return f"{start}[{100 * self.low:+.2f}, {100 * self.high:+.2f}]{inside}"


@dataclass(frozen=True)
class Comparison:
    """Comparison of a result with a baseline.

    Attributes:
        baseline: its result file.
        differs: other facts in which the results differ, as `name: this, baseline`.
        differences: one per protocol and measure.
    """

    baseline: Path
    differs: tuple[str, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as in evaluation.json."""
        return {
            "baseline": str(self.baseline),
            "differs": list(self.differs),
            "interval": {"level": LEVEL, "resamples": RESAMPLES, "of": "query identities", "seed": SEED},
            "differences": [{**vars(d), "beyond_chance": d.beyond_chance} for d in self.differences],
        }

    def lines(self) -> list[str]:
        """Return the table of differences as lines of text."""
        return [
            f"against {self.baseline}: difference and {100 * LEVEL:.0f} % interval (paired bootstrap over the queries' "
            f"identities, {RESAMPLES} resamples; the networks are taken as they are: another seed moves both)",
            *(d.line() for d in self.differences),
            *(f"they differ in {what}" for what in self.differs),
        ]


@dataclass(frozen=True)
class Baseline:
    """Content of a result file, as far as comparisons need it.

    Attributes:
        file: the result file.
        about: facts about the results, see `Evaluation.about`.
        results: fields of `Result` as the file has them, by protocol; older versions wrote fewer.
        queries: scores per query, by protocol.
    """

    file: Path
    about: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]]
    queries: Mapping[str, PerQuery]


def compare(results: Sequence[Result], about: Mapping[str, Any], baseline: Baseline) -> Comparison:
    """Compare results with those of another evaluation.

    Args:
        results: one per protocol.
        about: facts about them, see `Evaluation.about`.
        baseline: the other results, see `read_baseline`.

    Raises:
        InputError: if the protocols, galleries or queries are not the same.
    """
    differences: list[Difference] = []
    for result in results:
        if result.protocol not in baseline.results:
            have = list_briefly(list(baseline.results))
            raise InputError(f"--baseline {baseline.file} has no {result.protocol}, but {have}")
        _check_alike(result, baseline)
        if result.per_query is not None:
            differences += _compute_intervals(result.protocol, result.per_query, baseline.queries[result.protocol])
    return Comparison(baseline.file, _list_differing(results, about, baseline), tuple(differences))


def _check_alike(result: Result, baseline: Baseline) -> None:
    """Raise InputError if a result has other queries or galleries than that of the baseline.

    Older results say of their galleries only the rule and the number of images.
    """
    theirs, queries = baseline.results[result.protocol], baseline.queries[result.protocol]
    if (rule := theirs.get("gallery_rule", UNSTATED)) != result.gallery_rule:
        raise InputError(
            f"--baseline {baseline.file}: its galleries are drawn by '{rule}', this result by '{result.gallery_rule}'; "
            "evaluate both alike"
        )
    own, hashes = result.per_query, (result.trials_hash, theirs.get("trials_hash", ""))
    other = ""
    if own is None or own.names != queries.names:
        other = "queries"
    elif theirs.get("gallery", result.gallery) != result.gallery or (all(hashes) and hashes[0] != hashes[1]):
        other = "galleries, or other people in them"
    if other:
        raise InputError(f"--baseline {baseline.file}: {result.protocol} has other {other}; give a result of the same")


def _list_differing(results: Sequence[Result], about: Mapping[str, Any], baseline: Baseline) -> tuple[str, ...]:
    """Return the facts in which results differ from those of the baseline, as `name: this, baseline`."""
    facts = [
        (key, about.get(key, UNSTATED), baseline.about.get(key, UNSTATED)) for key in sorted({*about, *baseline.about})
    ]
    theirs = [baseline.results[result.protocol] for result in results]
    for name in MAY_DIFFER:
        pairs = [(getattr(r, name), other.get(name, UNSTATED)) for r, other in zip(results, theirs, strict=True)]
        if all(pair == pairs[0] for pair in pairs):
            facts.append((name, *pairs[0]))
        else:
            facts += [(f"{name} of {r.protocol}", *pair) for r, pair in zip(results, pairs, strict=True)]
    for name, word in HASHES.items():
        mine, other = [getattr(r, name) for r in results], [str(one.get(name, "")) for one in theirs]
        facts.append((word, join_hashes(mine) or UNSTATED, join_hashes(other) or UNSTATED))
    return tuple(f"{name}: {_shorten(mine)}, {_shorten(other)}" for name, mine, other in facts if mine != other)


def _compute_intervals(protocol: str, own: PerQuery, other: PerQuery) -> list[Difference]:
    """Return the difference of two results of the same queries and its bootstrap interval, per measure.

    People are resampled, not queries: the queries of a person are similar, and the interval would be too narrow.
    """
    people, of = np.unique(own.identities, return_inverse=True)

    def sum_by_person(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.bincount(of, weights=values, minlength=len(people)).astype(np.float64)

    def subtract_means(*sums: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
        """Return the mean of this result minus that of the other, from sums and weights by person of both."""
        mine, my_weights, other, other_weights = (part.sum(axis) for part in sums)
        return np.asarray(mine / my_weights - other / other_weights)

    made = []
    for column, measure in enumerate(MEASURES):
        sums = tuple(
            sum_by_person(values)
            for one in (own, other)
            for values in (one.weights * one.values[:, column], one.weights)
        )
        mean = float(subtract_means(*sums, axis=-1))
        low = high = mean
        if len(people) > 1:
            interval = bootstrap(
                sums, subtract_means, paired=True, vectorized=True,
                n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile",
                random_state=np.random.default_rng(SEED),
            ).confidence_interval  # fmt: skip
            low, high = float(interval.low), float(interval.high)
        made.append(Difference(protocol, measure, difference=mean, low=low, high=high, people=len(people)))
    return made


def format_result(about: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Return the JSON text of a result file: `about`, indented, and the scores of each query, one line per protocol."""
    head = json.dumps(about, indent=1)
    queries = ",\n".join(
        f"  {json.dumps(r.protocol)}: "
        + json.dumps({"names": r.per_query.names, "identities": r.per_query.identities.tolist(),
                      "weights": r.per_query.weights.tolist(),
                      **dict(zip(MEASURES, r.per_query.values.T.tolist(), strict=True))})
        for r in results if r.per_query is not None
    )  # fmt: skip
    return f'{head[:-2]},\n "queries": {{\n{queries}\n }}\n}}\n'


def read_result(file: Path) -> dict[str, Any]:
    """Return the content of a file that `format_result` wrote.

    Raises:
        MissingError: if it does not exist.
        InputError: if it is not a result of this version.
    """
    if not file.is_file():
        raise MissingError(f"--baseline: there is no {file}; give the evaluation.json of another run")
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested too deeply
        raise InputError(f"--baseline {file} is no JSON: {error}") from error
    if not isinstance(found, dict) or not {"about", "results", "queries"} <= set(found):
        raise InputError(f"--baseline {file} is no result of `cscl evaluate` of this version; evaluate that run again")
    return found


def read_baseline(file: Path) -> Baseline:
    """Return what a comparison needs of a file that `format_result` wrote.

    Raises:
        MissingError: if it does not exist.
        InputError: if it is damaged or not a result of this version.
    """
    found = read_result(file)
    try:
        if not isinstance(found["about"], dict):
            raise ValueError("`about` is no table")
        results = {str(one["protocol"]): dict(one) for one in found["results"]}
        queries = {protocol: _read_per_query(found["queries"][protocol]) for protocol in results}
    except _DAMAGES as error:
        raise InputError(_describe_damage(file, error)) from error
    return Baseline(file, about=found["about"], results=results, queries=queries)


def read_scores(file: Path) -> tuple[Result, ...]:
    """Return the results, one per protocol, of a file that `format_result` wrote.

    Raises:
        MissingError: if it does not exist.
        InputError: if it is damaged or not a result of this version.
    """
    found = read_result(file)
    results = []
    try:
        for one in found["results"]:
            values = {**one, "cmc": {int(k): float(v) for k, v in one["cmc"].items()}}
            values |= {name: tuple(one[name]) for name in ("seeds", "curve")}
            results.append(Result(**values, per_query=_read_per_query(found["queries"][one["protocol"]])))
    except _DAMAGES as error:
        raise InputError(_describe_damage(file, error)) from error
    return tuple(results)


_DAMAGES = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading content of another form than `format_result` writes raises."""


def _describe_damage(file: Path, error: Exception) -> str:
    why = f"it lacks {error}" if isinstance(error, KeyError) else first_line(error)
    return f"--baseline {file} is damaged: {why}; evaluate that run again"


def _read_per_query(stored: Mapping[str, Any]) -> PerQuery:
    """Return the scores per query of one protocol of a result file; if not as written, raise one of _DAMAGES."""
    names, columns = stored["names"], [stored[name] for name in ("identities", *MEASURES)]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("the names of its queries are no list of texts")
    identities, values = np.array(columns[0], np.int64), np.array(columns[1:], np.float64)
    weights = np.array(stored.get("weights", [1.0] * len(names)), np.float64)  # earlier versions wrote none
    if (
        identities.shape != (len(names),)
        or weights.shape != (len(names),)
        or values.shape != (len(MEASURES), len(names))
    ):
        raise ValueError("its queries have columns of different lengths")
    if not np.isfinite(values).all() or not (weights > 0).all() or not np.isfinite(weights).all():
        raise ValueError("a score is not finite or a weight is not above 0")
    return PerQuery(tuple(names), identities, values.T, weights)


def _shorten(value: Any) -> str:
    """Return a value as text; of a hash the first digits."""
    text = str(value)
    return f"{text[:12]}..." if len(text) > 40 else text
