"""Two results of the same protocols beside each other: differences with a paired bootstrap interval."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from parsing.errors import InputError, MissingError

from ..runs.scores import PerQuery, Result

MEASURES = ("Rank-1", "mAP", "mINP")
LEVEL, RESAMPLES, SEED = 0.95, 2000, 0


@dataclass(frozen=True)
class Difference:
    """This result minus the baseline, in [-1, 1], and its interval; of one protocol and measure."""

    protocol: str
    measure: str
    difference: float
    low: float
    high: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Comparison:
    """differs: what else the two results differ in, as `name: this, the baseline's`."""

    baseline: Path
    differs: tuple[str, ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "baseline": str(self.baseline),
            "differs": list(self.differs),
            "interval": {"level": LEVEL, "resamples": RESAMPLES, "of": "query identities", "seed": SEED},
            "differences": [{**vars(d), "beyond_chance": d.beyond_chance} for d in self.differences],
        }

    def lines(self) -> list[str]:
        rows = [
            f"{d.protocol:24s} {d.measure:7s} {100 * d.difference:+7.2f}   [{100 * d.low:+.2f}, {100 * d.high:+.2f}]"
            f"{'' if d.beyond_chance else '   0 is inside'}"
            for d in self.differences
        ]
        return [
            f"against {self.baseline}: difference and {100 * LEVEL:.0f} % interval (paired bootstrap over the queries' "
            f"identities, {RESAMPLES} resamples; the networks are taken as they are: another seed moves both)",
            *rows,
            *(f"they differ in {what}" for what in self.differs),
        ]


def compare(results: Sequence[Result], about: Mapping[str, Any], baseline: Path) -> Comparison:
    """Compare with the result file of another evaluation; InputError where protocols or queries are not the same."""
    other = read_result(baseline)
    theirs = {r["protocol"]: r for r in other["results"]}
    differences: list[Difference] = []
    differs = {k: (about.get(k), other["about"].get(k)) for k in sorted({*about, *other["about"]})}
    for result in results:
        if result.protocol not in theirs:
            raise InputError(f"--baseline {baseline} has no {result.protocol}, but {', '.join(theirs)}")
        for name in ("gallery_rule", "trials", "runs", "reranked"):
            differs[name] = (getattr(result, name), theirs[result.protocol][name])
        if differs["gallery_rule"][0] != differs["gallery_rule"][1]:
            rules = "'{}', this result by '{}'".format(*differs["gallery_rule"][::-1])
            raise InputError(f"--baseline {baseline}: its galleries are drawn by {rules}; evaluate both alike")
        mine, found = result.per_query, _per_query(other["queries"][result.protocol], baseline)
        if mine is None or mine.names != found.names:
            raise InputError(f"--baseline {baseline}: {result.protocol} has other queries; give a result of the same")
        differences += _differences(result.protocol, mine.identities, mine.values - found.values)
    said = tuple(f"{k}: {_short(a)}, {_short(b)}" for k, (a, b) in differs.items() if a != b)
    return Comparison(baseline, said, tuple(differences))


def _differences(protocol: str, identities: NDArray[np.int64], values: NDArray[np.float64]) -> list[Difference]:
    """Mean of values (Nq, 3) and its interval; images of a person are alike, so people are what is drawn again."""
    people, of = np.unique(identities, return_inverse=True)
    sums = np.stack([np.bincount(of, weights=column, minlength=len(people)) for column in values.T])
    counts = np.bincount(of, minlength=len(people)).astype(np.float64)
    made = []
    for measure, column in zip(MEASURES, sums, strict=True):
        mean = float(column.sum() / counts.sum())
        low = high = mean
        if len(people) > 1:
            interval = bootstrap(
                (column, counts), lambda s, n, axis: s.sum(axis) / n.sum(axis), paired=True, vectorized=True,
                n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile",
                random_state=np.random.default_rng(SEED),
            ).confidence_interval  # fmt: skip
            low, high = float(interval.low), float(interval.high)
        made.append(Difference(protocol, measure, mean, low, high))
    return made


def result_text(about: Mapping[str, Any], results: Sequence[Result]) -> str:
    """Return a result file: readable JSON, then what each query scored, one line a protocol."""
    head = json.dumps(about, indent=1)
    queries = ",\n".join(
        f"  {json.dumps(r.protocol)}: "
        + json.dumps({"names": r.per_query.names, "identities": r.per_query.identities.tolist(),
                      **dict(zip(MEASURES, r.per_query.values.T.tolist(), strict=True))})
        for r in results if r.per_query is not None
    )  # fmt: skip
    return f'{head[:-2]},\n "queries": {{\n{queries}\n }}\n}}\n'


def read_result(file: Path) -> dict[str, Any]:
    """Return what `result_text` made of an evaluation."""
    if not file.is_file():
        raise MissingError(f"--baseline: there is no {file}; give the evaluation.json of another run")
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested without end
        raise InputError(f"--baseline {file} is no JSON: {error}") from error
    if not isinstance(found, dict) or not {"about", "results", "queries"} <= set(found):
        raise InputError(f"--baseline {file} is no result of `cscl evaluate` of this version; evaluate that run again")
    return found


def _per_query(stored: Mapping[str, Any], file: Path) -> PerQuery:
    try:
        return PerQuery(
            tuple(stored["names"]),
            np.array(stored["identities"], np.int64),
            np.array([stored[m] for m in MEASURES], np.float64).T.reshape(len(stored["names"]), len(MEASURES)),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"--baseline {file} is damaged: {error}; evaluate that run again") from error


def _short(value: Any) -> str:
    """Return a value in a line: hashes by their first digits."""
    text = str(value)
    return f"{text[:12]}..." if len(text) > 40 else text
