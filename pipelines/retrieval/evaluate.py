"""`cscl evaluate`: a run under every protocol of its data set, or the mean of several runs."""

import hashlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from cscl.rerank import K1, K2, WEIGHT
from data.records import DataSet, Protocol, Record
from data.simulators.layouts import MARK
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError
from parsing.schemes import part_scheme
from parsing.words import listed

from ..devices import find_device
from ..runs.embed import embed, from_root
from ..runs.folder import load_model
from ..runs.provenance import RunInfo, describe, open_images, own_root, read_run, write_file
from ..runs.scores import Result, averaged, chosen_protocols, needed_records, score, table_lines
from .part_table import PartTable, averaged_parts, first_other_image, measure_parts
from .report import draw_figures, part_names
from .significance import Comparison, compare, result_text

MAY_DIFFER = ("seed", "data.split")
"""Entries of the recipe in which runs that are averaged may differ."""


@dataclass(frozen=True)
class Evaluation:
    """Results by protocol, and what is to be said with every figure of them.

    runs: one, or those over which the results are means; about: of the first, with a list if they differ.
    parts: how well the network's parts fit the cached masks; None without parts, or without masks of these images.
    unwritten: files that could not be written, and why: the figures must not be lost with them.
    """

    runs: tuple[Path, ...]
    data_set: str
    simulated: bool
    about: dict[str, Any]
    results: tuple[Result, ...]
    parts: PartTable | None = None
    comparison: Comparison | None = None
    unwritten: tuple[tuple[Path, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "run": ", ".join(str(run) for run in self.runs),
            "data_set": self.data_set,
            "simulated": self.simulated,
            "about": self.about,
            "results": [r.to_json() for r in self.results],
            **({"parts": self.parts.to_json()} if self.parts else {}),
            **({"comparison": self.comparison.to_json()} if self.comparison else {}),
        }

    def lines(self) -> list[str]:
        shown = ("method", "backbone", "pretrained", "selection", "epoch", "seed", "split")
        about = ", ".join(f"{k} {_said(self.about[k])}" for k in shown if k in self.about)
        one = self.results[0]
        over = f"mean of {one.runs} runs, Rank-1 +/- " if one.runs > 1 else ""
        over += ", ".join(f"{100 * r.rank1_deviation:.2f}" for r in self.results) + "; " if over else ""
        return [
            f"{self.data_set}{' (simulated data)' if self.simulated else ''}: {about}",
            *table_lines(self.results),
            f"per cent; {over}{one.trials} trial{'s' * (one.trials > 1)}, galleries {one.gallery_rule}, "
            f"{self.about['feature']}, cosine distance, {'flip averaged' if self.about['flip'] else 'no flip'}, "
            + (f"re-ranked (k-reciprocal, {_said(self.about['reranking'])})" if one.reranked else "not re-ranked"),
            f"weights {_said(self.about['checkpoint'], 12)}, masks {_said(self.about['masks'], 12)}",
            *(self.parts.lines() if self.parts else ()),
            *(self.comparison.lines() if self.comparison else ()),
        ]


def evaluate(
    run: Path,
    root: Path | None = None,
    protocols: Sequence[str] = (),
    gallery: str = "seeded",
    permutations: Path | None = None,
    rerank: bool = False,
    flip: bool = True,
    figures: bool = False,
    masks: Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """Embed every query and gallery image once, score each protocol, and write the result into `run`.

    A network with part attention is held against the masks it was trained on, or those of the cache `masks`.

    evaluation.json, with `-official` and `-reranked` in its name where that is so, embeddings.npz, and with `figures`
    pictures and a page of them.
    """
    recipe, info = read_run(run)
    data_set = open_images(run, info, root, permutations)
    chosen = chosen_protocols(data_set, protocols, gallery, recipe.data.split)
    _check_people(run, info, data_set, chosen)
    embedder = load_model(run, find_device(device))
    needed = needed_records(chosen)
    records = list(needed.values())
    embedded = embed(embedder, records, from_root(data_set.root, embedder.size), flip=flip)
    features = dict(zip(needed, embedded.double().numpy(), strict=True))
    results = tuple(score(p, features, rerank) for p in chosen)
    about = describe(info, recipe) | {
        "checkpoint": hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest(),
        "feature": "[f_g ; f_fg ; v_q f_q] after the necks" if recipe.model.spam else "f_g after the neck",
        "flip": flip,
        "reranking": {"k1": K1, "k2": K2, "lambda": WEIGHT} if rerank else None,
    }
    scheme, parsed = part_scheme(recipe.data.scheme), bool(part_names(recipe, embedder))
    # without parts to measure the run's own masks, and the size of every image, need not be read
    cache = _masks(run, info, masks, records, data_set.root) if parsed or masks is not None else None
    parts = None if cache is None else measure_parts(embedder, records, data_set.root, cache, scheme)
    simulated = (data_set.root / MARK).is_file()
    evaluation = Evaluation((run,), info.data_set, simulated, about, results, parts)
    name = "evaluation" + "-official" * (gallery == "official") + "-reranked" * rerank
    unwritten = _unwritten(run / f"{name}.json", result_text(evaluation.to_json(), results).encode())
    stored = io.BytesIO()
    np.savez_compressed(stored, names=np.array(list(needed)), embeddings=embedded.numpy())
    unwritten += _unwritten(run / "embeddings.npz", stored.getvalue())
    if figures and not unwritten:
        measured = "; ".join(evaluation.lines()[i] for i in (0, 2 + len(results)))
        try:
            draw_figures(run, recipe, embedder, data_set, chosen, results, features, measured, simulated, parts)
        except OSError as error:
            unwritten += ((run / "figures", f"{run / 'figures'} could not be written: {error.strerror or error}"),)
    return replace(evaluation, unwritten=unwritten)


def _unwritten(path: Path, content: bytes) -> tuple[tuple[Path, str], ...]:
    """Write a file; return it with the reason if it cannot be written."""
    try:
        write_file(path, content)
    except CsclError as error:
        return ((path, str(error)),)
    return ()


def _check_people(run: Path, info: RunInfo, data_set: DataSet, protocols: Sequence[Protocol]) -> None:
    """Raise InputError if the protocols test people whom the run was trained on; say so if the images may be others."""
    records = {r for p in protocols for t in p.trials for r in (*t.query, *t.gallery) if r.identity >= 0}
    tested = {data_set.person(identity) for identity in {r.identity for r in records}}
    both = sorted(tested.intersection(info.people))
    if not both:
        return
    found = f"{run} was trained on {len(both)} of the {len(tested)} people to test ({listed(both)})"
    if data_set.root.resolve() == own_root(run, info).resolve():
        raise InputError(f"{found}; their scores say nothing: test others, or train again without them")
    tqdm.write(f"note: {found}, if {data_set.root} shows the same people", file=sys.stderr)


def _masks(run: Path, info: RunInfo, masks: Path | None, records: Sequence[Record], root: Path) -> MaskCache | None:
    """Return the cache `masks`, or the one that the run was trained on where it still is and is of these images."""
    if masks is not None:
        cache = MaskCache(masks)
        if other := first_other_image(records, root, cache):
            raise InputError(f"--masks {masks} is of other images: {other} has another size in {root}")
        return cache
    own = Path(os.path.normpath(run.resolve() / info.masks))
    if not own.is_file() or (cache := MaskCache(own)).fingerprint != info.fingerprint:
        return None
    return None if first_other_image(records, root, cache) else cache


def evaluate_runs(
    runs: Sequence[Path], out: Path | None = None, baseline: Path | None = None, **options: Any
) -> Evaluation:
    """Evaluate each run with the `options` of `evaluate`, average several, and compare with a `baseline` result.

    Several runs differ in seed or split alone (InputError), as the ten splits of RegDB do. out: where the result
    goes beside the runs' own files.
    """
    _check_alike(runs)
    evaluations = [evaluate(run, **options) for run in runs]
    evaluation = first = evaluations[0]
    if len(evaluations) > 1:
        abouts = [e.about for e in evaluations]
        evaluation = replace(
            first,
            runs=tuple(runs),
            unwritten=tuple(one for e in evaluations for one in e.unwritten),
            about={k: v if all(a[k] == v for a in abouts) else [a[k] for a in abouts] for k, v in abouts[0].items()},
            parts=averaged_parts([e.parts for e in evaluations if e.parts is not None]),
            results=tuple(averaged(each) for each in zip(*(e.results for e in evaluations), strict=True)),
        )
    if baseline is not None:
        evaluation = replace(evaluation, comparison=compare(evaluation.results, evaluation.about, baseline))
    if out is not None:
        text = result_text(evaluation.to_json(), evaluation.results)
        evaluation = replace(evaluation, unwritten=evaluation.unwritten + _unwritten(out, text.encode()))
    return evaluation


def _check_alike(runs: Sequence[Path]) -> None:
    """InputError where runs that are to be averaged are not of one data set and recipe."""
    if len(set(runs)) < len(runs):
        raise InputError("--run: the same run is given twice")
    recipes = [read_run(run) for run in runs]
    for run, (recipe, info) in zip(runs[1:], recipes[1:], strict=True):
        if info.data_set != recipes[0][1].data_set:
            raise InputError(
                f"{run} is of {info.data_set}, {runs[0]} of {recipes[0][1].data_set}; average one data set"
            )
        a, b = (_flat(asdict(r)) for r in (recipe, recipes[0][0]))
        unlike = [key for key in a if a[key] != b[key] and key not in MAY_DIFFER]
        if unlike:
            raise InputError(f"{run} and {runs[0]} differ in {', '.join(unlike)}; only seeds and splits are averaged")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def _said(value: Any, digits: int | None = None) -> str:
    """Return a value of `about` in a line."""
    if isinstance(value, list):
        return " ".join(_said(v, digits) for v in value)
    if isinstance(value, dict):
        return " ".join(f"{k} {v}" for k, v in value.items())
    return str(value)[:digits]
