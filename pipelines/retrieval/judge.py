"""`cscl score`: features of anybody's method under every protocol of a data set, ranked and scored as our own."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from data.records import DataSet
from data.registry import open_data_set
from data.simulators.layouts import is_simulated
from parsing.errors import InputError

from ..datasets.check import compare_published
from ..runs.digests import add_hashes
from ..runs.provenance import write_file
from ..runs.scores import (
    RERANKING,
    Result,
    describe_distance,
    describe_reranking,
    list_needed_records,
    list_ranked_records,
    score,
    select_protocols,
    unmatched_lines,
)
from ..runs.tables import format_table
from .features import by_name, names_all
from .significance import Comparison, compare, format_result, read_baseline


@dataclass(frozen=True)
class Judgement:
    """Results by protocol of features that a file or a program gave.

    about: method, features and re-ranking, as results of `cscl evaluate` have it. comparison: with another result.
    unlike_published: in what the data set's folder differs from the published data set; empty if in nothing.
    """

    data_set: str
    simulated: bool
    about: dict[str, Any]
    results: tuple[Result, ...]
    comparison: Comparison | None = None
    unlike_published: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "data_set": self.data_set,
            "simulated": self.simulated,
            **({"unlike_published": self.unlike_published} if self.unlike_published else {}),
            "about": self.about,
            "results": [r.to_json() for r in self.results],
            **({"comparison": self.comparison.to_json()} if self.comparison else {}),
        }

    def lines(self) -> list[str]:
        one = self.results[0]
        split = f", split {self.about['split']}" if "split" in self.about else ""
        return [
            f"{self.data_set}{' (simulated data)' if self.simulated else ''}: {self.about['method']}{split}",
            *format_table(self.results),
            f"per cent; {one.trials} trial{'s' * (one.trials > 1)}, galleries {one.gallery_rule}, "
            f"{self.about['feature']}, {self.about['distance']}, {describe_reranking(one.reranked)}",
            *unmatched_lines(self.results),
            *([f"note: {self.unlike_published}"] if self.unlike_published else ()),
            *(self.comparison.lines() if self.comparison else ()),
        ]

    def save(self, file: Path) -> None:
        """Write the result file, which `baseline` of another result and `cscl evaluate --baseline` take.

        Raises:
            CsclError: if it cannot be written.
        """
        write_file(file, format_result(self.to_json(), self.results).encode())


def score_features(
    features: ArrayLike,
    data_set: DataSet | str,
    *,
    root: Path | None = None,
    names: Sequence[str] | None = None,
    method: str = "features",
    protocols: Sequence[str] = (),
    gallery: str = "seeded",
    split: int = 1,
    rerank: bool = False,
    blocks: Sequence[int] = (),
    baseline: Path | None = None,
) -> Judgement:
    """Score features under the protocols of a data set: CMC, mAP and mINP, beside chance.

    >>> result = score_features(features, "sysu", root=Path("data/SYSU-MM01"), names=paths)  # doctest: +SKIP
    >>> result.results[0].mAP, result.results[0].cmc[1]  # doctest: +SKIP

    Features are compared by cosine, those that are made of several as `cscl.similarity` says. What is ranked, skipped
    and counted is the data set's rule (docs/protocols.md).

    Args:
        features: (N, D) in the order of `names`; `pipelines.retrieval.features.read_features` reads files of both.
        data_set: a data set, or its name.
        root: its folder, if it is given by name.
        names: (N) paths of the images, absolute or below some folder, or names of all tracklets (`records.Tracklet`).
            None for one row per image of the data set, or per image of the protocols, sorted by path.
        method: what to call the features in the result.
        protocols: names of those to score; empty for all.
        gallery: SYSU-MM01's rule, `seeded` or `official`.
        split: number of the split, for data sets that have several.
        rerank: k-reciprocal re-ranking.
        blocks: lengths of the features that each row is made of, from `read_blocks` of embeddings.npz; none for one.
        baseline: result file of `cscl score --out` or `cscl evaluate`, for differences with a bootstrap interval.

    Raises:
        InputError: if images have no feature, or features cannot be compared; MissingError if a file is not there.
    """
    other = None if baseline is None else read_baseline(baseline)
    opened = open_data_set(data_set, root) if isinstance(data_set, str) else data_set
    opened.check_split(split, f"--split {split}")
    chosen = select_protocols(opened, names=protocols, gallery=gallery, split=split)
    ranked = list_ranked_records(chosen)
    needed = ranked if names is not None and names_all(names, ranked) else list_needed_records(chosen)
    found = by_name(features, data_set=opened, needed=needed, names=names)
    used = np.stack([found[name] for name in sorted(needed)])
    if blocks and sum(blocks) != used.shape[1]:
        raise InputError(f"features of {' + '.join(map(str, blocks))} values do not make up {used.shape[1]}")
    about = {
        "method": method,
        "feature": f"{used.shape[1]} numbers per image",
        "distance": describe_distance(blocks),
        "features": hashlib.sha256(used.tobytes()).hexdigest(),
        **({"split": split} if opened.split_count > 1 else {}),
        "reranking": RERANKING if rerank else None,
    }
    results = tuple(add_hashes(score(p, found, rerank, blocks), p, opened) for p in chosen)
    judged = Judgement(
        opened.name,
        simulated=is_simulated(opened.root),
        about=about,
        results=results,
        unlike_published=compare_published(opened),
    )
    return judged if other is None else replace(judged, comparison=compare(results, about, other))
