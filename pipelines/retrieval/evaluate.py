"""Evaluate a run under every protocol of its data set, or the mean of several runs (`cscl evaluate`)."""

import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data.records import DataSet, Protocol, Record
from data.simulators.layouts import is_simulated
from parsing.cache.reader import MaskCache
from parsing.errors import CacheError, CsclError, InputError
from parsing.files import file_hash
from parsing.image_sizes import find_other_image
from parsing.words import list_briefly

from ..datasets.check import compare_published
from ..devices import find_device
from ..pages.style import FigureFormat
from ..recipes.reading import find_differences
from ..runs import Format
from ..runs.digests import ImageHashes, add_hashes
from ..runs.embed import embed
from ..runs.folder import load_model
from ..runs.provenance import RunInfo, check_trained, describe, find_own_root, open_images, read_run, write_file
from ..runs.scheme import have_other_schemes, read_scheme
from ..runs.scores import (
    RERANKING,
    Result,
    average_results,
    describe_distance,
    describe_reranking,
    list_needed_records,
    score,
    select_protocols,
    unmatched_lines,
)
from ..runs.tables import format_table, write_table
from .part_table import PartTable, average_parts, measure_parts
from .report import draw_figures, list_part_names
from .significance import Comparison, compare, format_result, read_baseline

MAY_DIFFER = ("seed", "data.split")
"""Keys of the recipe in which runs may differ if they are averaged."""


@dataclass(frozen=True)
class Evaluation:
    """Results by protocol, with the facts that belong beside each number.

    Attributes:
        runs: one run, or those over which the results are means.
        data_set: its name.
        simulated: whether its images are simulated.
        about: facts such as method, seed and hash of the weights; for several runs a list if they differ.
        results: one per protocol.
        parts: agreement of the network's parts with the cached masks; None without parts or masks of these images.
        comparison: differences to the baseline, if one was given.
        unlike_published: in what the data set's folder differs from the published data set; empty if in nothing.
        written: files that were written.
        unwritten: files that could not be written, with the reason. This is no exception, so that the results of a long
            evaluation are still printed.
    """

    runs: tuple[Path, ...]
    data_set: str
    simulated: bool
    about: dict[str, Any]
    results: tuple[Result, ...]
    parts: PartTable | None = None
    comparison: Comparison | None = None
    unlike_published: str = ""
    written: tuple[Path, ...] = ()
    unwritten: tuple[tuple[Path, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the content of evaluation.json, but for the results per query."""
        return {
            "run": ", ".join(str(run) for run in self.runs),
            "data_set": self.data_set,
            "simulated": self.simulated,
            **({"unlike_published": self.unlike_published} if self.unlike_published else {}),
            "about": self.about,
            "results": [r.to_json() for r in self.results],
            **({"parts": self.parts.to_json()} if self.parts else {}),
            **({"comparison": self.comparison.to_json()} if self.comparison else {}),
        }

    def lines(self) -> list[str]:
        """Return the table that `cscl evaluate` prints, as lines."""
        shown = ("method", "backbone", "pretrained", "init", "selection", "epoch", "seed", "split")
        about = ", ".join(f"{k} {_format_value(self.about[k])}" for k in shown if k in self.about)
        one = self.results[0]
        over = f"mean of {one.runs} runs, " if one.runs > 1 else ""
        if one.runs > 1 or one.trials > 1:
            over += f"± standard deviation over the {'runs' if one.runs > 1 else 'trials'}; "
        return [
            f"{self.data_set}{' (simulated data)' if self.simulated else ''}: {about}",
            *format_table(self.results),
            f"per cent; {over}{one.trials} trial{'s' * (one.trials > 1)}, galleries {one.gallery_rule}, "
            f"{self.about['feature']}, {self.about['distance']}, "
            f"{'flip averaged' if self.about['flip'] else 'no flip'}, " + describe_reranking(one.reranked),
            f"weights {_format_value(self.about['checkpoint'], 12)}, masks {_format_value(self.about['masks'], 12)}",
            *unmatched_lines(self.results),
            *([f"note: {self.unlike_published}"] if self.unlike_published else ()),
            *(self.parts.lines() if self.parts else ()),
            *(self.comparison.lines() if self.comparison else ()),
        ]

    def table(self, kind: Format) -> list[str]:
        """Return the scores in another format, as lines."""
        return write_table([(result.protocol, result) for result in self.results], kind)


def evaluate(
    run: Path,
    root: Path | None = None,
    protocols: Sequence[str] = (),
    gallery: str = "seeded",
    permutations: Path | None = None,
    rerank: bool = False,
    flip: bool = True,
    figures: bool = False,
    figure_format: FigureFormat = "png",
    masks: Path | None = None,
    device: str = "auto",
) -> Evaluation:
    """Embed every query and gallery image once, score each protocol, and write the results into the run's folder.

    Written are evaluation.json (`-official` or `-reranked` are added to its name if they apply), embeddings.npz, and
    with `figures` the folder figures/.

    Args:
        run: folder of a finished run.
        root: folder of the images, if it is not the one that the run names.
        protocols: names of protocols; empty for all.
        gallery: rule by which galleries are drawn, `seeded` or `official`.
        permutations: file with the official galleries of SYSU-MM01.
        rerank: whether to re-rank, see `cscl.rerank`.
        flip: whether to average the embeddings of an image and its mirror image.
        figures: whether to draw pictures and a page of them.
        figure_format: format in which the pictures are written beside the PNG files of the page.
        masks: cache with which to compare the network's parts; None for the one of the training, if it still exists.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.

    Raises:
        MissingError, InputError: if the run or the images are not there, a protocol is unknown, `masks` belongs to
            other images, or test people were trained on.
    """
    recipe, info = read_run(run)
    data_set = open_images(run, info=info, root=root, permutations=permutations)
    chosen = select_protocols(data_set, names=protocols, gallery=gallery, split=recipe.data.split)
    _check_people(run, info=info, data_set=data_set, protocols=chosen)
    if info.unfinished:
        said = f"its training is not finished: epoch {info.epoch} of {recipe.train.epochs}"
        tqdm.write(f"note: {run}: {said}; `cscl train --resume` goes on with it", file=sys.stderr)
    embedder = load_model(run, find_device(device))
    checkpoint = file_hash(run / "model.safetensors")  # here, since a training that still runs writes others
    needed = list_needed_records(chosen)
    records = list(needed.values())
    images = ImageHashes(data_set.root)
    embedded = embed(embedder, records, images.make_loader(embedder.size), flip=flip)
    features = dict(zip(needed, embedded.double().numpy(), strict=True))
    results = tuple(add_hashes(score(p, features, rerank, embedder.blocks), p, data_set, images) for p in chosen)
    about = describe(info, recipe) | {
        "checkpoint": checkpoint,
        "feature": "[f_g ; f_fg ; v_q f_q] after the necks" if recipe.model.spam else "f_g after the neck",
        "distance": describe_distance(embedder.blocks),
        "flip": flip,
        "reranking": RERANKING if rerank else None,
        **({"finished": False} if info.unfinished else {}),
    }
    scheme, edited = read_scheme(run, recipe.data.scheme)
    parsed = bool(list_part_names(scheme, embedder))
    if parsed and edited:
        tqdm.write(f"note: {edited}", file=sys.stderr)
    # Opening the masks reads the size of every image: skip it if there are no parts to compare.
    parts = None
    if parsed or masks is not None:
        try:
            cache = _find_masks(run, info=info, masks=masks, records=records, root=data_set.root)
            if cache is not None:
                parts = measure_parts(embedder, records=records, root=data_set.root, cache=cache, scheme=scheme)
        except CacheError as error:  # the results are there: what a look at the parts lacks must not lose them
            if masks is not None:
                raise
            tqdm.write(f"note: the parts are not compared with the masks of the training: {error}", file=sys.stderr)
    simulated = is_simulated(data_set.root)
    evaluation = Evaluation(
        (run,),
        data_set=info.data_set,
        simulated=simulated,
        about=about,
        results=results,
        parts=parts,
        unlike_published=compare_published(data_set),
    )
    name = "evaluation" + "-official" * (gallery == "official") + "-reranked" * rerank
    files = [run / f"{name}.json", run / "embeddings.npz"]
    unwritten = _try_writing(files[0], format_result(evaluation.to_json(), results).encode())
    stored = io.BytesIO()
    np.savez_compressed(
        stored, names=np.array(list(needed)), embeddings=embedded.numpy(), blocks=np.array(embedder.blocks)
    )
    unwritten += _try_writing(files[1], stored.getvalue())
    if figures and not unwritten:
        measured = "; ".join(evaluation.lines()[i] for i in (0, 2 + len(results)))
        try:
            files.append(
                draw_figures(
                    run,
                    recipe=recipe,
                    embedder=embedder,
                    data_set=data_set,
                    protocols=chosen,
                    results=results,
                    features=features,
                    measured=measured,
                    simulated=simulated,
                    part_table=parts,
                    figure_format=figure_format,
                )
            )
        except OSError as error:
            unwritten += ((run / "figures", f"{run / 'figures'} could not be written: {error.strerror or error}"),)
    failed = {path for path, _ in unwritten}
    return replace(evaluation, written=tuple(f for f in files if f not in failed), unwritten=unwritten)


def _try_writing(path: Path, content: bytes) -> tuple[tuple[Path, str], ...]:
    """Write a file; return its path with the reason if that fails, else nothing."""
    try:
        write_file(path, content)
    except CsclError as error:
        return ((path, str(error)),)
    return ()


def _check_people(run: Path, info: RunInfo, data_set: DataSet, protocols: Sequence[Protocol]) -> None:
    """Check that no person of the protocols was trained on.

    Raises:
        InputError: if the images are the data set of the training. For another folder, where the same number may be
            another person, a note is printed instead.
    """
    records = {r for p in protocols for t in p.trials for r in (*t.query, *t.gallery) if r.identity >= 0}
    tested = {data_set.person(identity) for identity in {r.identity for r in records}}
    both = sorted(tested.intersection(info.people))
    if not both:
        return
    found = f"{run} was trained on {len(both)} of the {len(tested)} people to test ({list_briefly(both)})"
    if data_set.root.resolve() == find_own_root(run, info).resolve():
        raise InputError(f"{found}; their scores say nothing: test others, or train again without them")
    tqdm.write(f"note: {found}, if {data_set.root} shows the same people", file=sys.stderr)


def _find_masks(
    run: Path, info: RunInfo, masks: Path | None, records: Sequence[Record], root: Path
) -> MaskCache | None:
    """Return the cache `masks`; if None, that of the training if it still exists and belongs to these images."""
    names = [record.name for record in records]
    if masks is not None:
        cache = MaskCache(masks)
        if other := find_other_image(names, root, cache):
            raise InputError(f"--masks {masks} belongs to other images: {other} has another size in {root}")
        return cache
    own = Path(os.path.normpath(run.resolve() / info.masks))
    if not own.is_file() or (cache := MaskCache(own)).fingerprint != info.fingerprint:
        return None
    return None if find_other_image(names, root, cache) else cache


def evaluate_runs(
    runs: Sequence[Path], out: Path | None = None, baseline: Path | None = None, **options: Any
) -> Evaluation:
    """Evaluate each run, average the results, and compare them with a baseline.

    Args:
        runs: one or more; several may differ in seed and split only, as for the ten splits of RegDB.
        out: file for the result, in addition to the files in each run.
        baseline: result file of another evaluation. It may be one that is written here, such as evaluation.json of an
            earlier evaluation of the same run: it is read first.
        options: keyword arguments of `evaluate`.

    Raises:
        InputError: if the runs differ in anything else, or as in `evaluate` and `compare`.
    """
    _check_alike(runs, options.get("root"))
    other = None if baseline is None else read_baseline(baseline)
    evaluations = [evaluate(run, **options) for run in runs]
    evaluation = first = evaluations[0]
    if len(evaluations) > 1:
        abouts = [e.about for e in evaluations]
        evaluation = replace(
            first,
            runs=tuple(runs),
            written=tuple(one for e in evaluations for one in e.written),
            unwritten=tuple(one for e in evaluations for one in e.unwritten),
            about={
                key: value if all(about.get(key) == value for about in abouts) else [about.get(key) for about in abouts]
                for key, value in first.about.items()
            },
            parts=average_parts([e.parts for e in evaluations if e.parts is not None]),
            results=tuple(average_results(each) for each in zip(*(e.results for e in evaluations), strict=True)),
        )
    if other is not None:
        evaluation = replace(evaluation, comparison=compare(evaluation.results, evaluation.about, other))
    if out is not None:
        text = format_result(evaluation.to_json(), evaluation.results)
        failed = _try_writing(out, text.encode())
        written = (*evaluation.written, *([] if failed else [out]))
        evaluation = replace(evaluation, written=written, unwritten=evaluation.unwritten + failed)
    return evaluation


def _check_alike(runs: Sequence[Path], root: Path | None) -> None:
    """Raise InputError if the runs are not of the same images, masks, first weights and recipe, except for MAY_DIFFER.

    Copies of one run, which have the same weights, are refused too: they would count as several.

    Args:
        runs: their folders.
        root: folder of the images if it is one for all, or None.
    """
    if len(runs) == 1:
        return
    if len({run.resolve() for run in runs}) < len(runs):
        raise InputError("the same run is given twice")
    weights: dict[str, Path] = {}
    for run in runs:
        check_trained(run)
        if (first := weights.setdefault(file_hash(run / "model.safetensors"), run)) != run:
            raise InputError(f"{run} and {first} have the same weights: they are copies of one run; leave one out")
    (recipe, info), *others = each = [read_run(run) for run in runs]
    if unfinished := [str(run) for run, (_, one) in zip(runs, each, strict=True) if one.unfinished]:
        raise InputError(
            f"{list_briefly(unfinished)}: not finished, so that a mean would be of other lengths; "
            "`cscl train --resume` goes on"
        )
    of_split = {recipe.data.split: info}
    for run, (other_recipe, other) in zip(runs[1:], others, strict=True):
        if other.data_set != info.data_set:
            raise InputError(f"{run} is of {other.data_set}, {runs[0]} of {info.data_set}; average one data set")
        folders = [find_own_root(one, about).resolve() for one, about in ((run, other), (runs[0], info))]
        if root is None and folders[0] != folders[1]:
            raise InputError(
                f"{run} is of the images in {folders[0]}, {runs[0]} of those in {folders[1]}; "
                "--root names one folder for all"
            )
        same = of_split.setdefault(other_recipe.data.split, other)  # a run that was trained on the same people
        unlike = [
            *(key for key in find_differences(asdict(recipe), asdict(other_recipe)) if key not in MAY_DIFFER),
            *(["the training images"] if _is_unlike(same, other, "records_hash", "images_hash") else []),
            *(["the masks"] if other.fingerprint != info.fingerprint or _is_unlike(same, other, "masks_hash") else []),
            *(["the parts of their scheme"] if have_other_schemes(run, runs[0]) else []),
            *(["the run that they started from (--init)"] if _find_start(other) != _find_start(info) else []),
        ]
        if unlike:
            raise InputError(f"{run} and {runs[0]} differ in {', '.join(unlike)}; only seeds and splits are averaged")


def _is_unlike(one: RunInfo, other: RunInfo, *names: str) -> bool:
    """Return whether two runs have different values of a hash that both have recorded."""
    pairs = [(getattr(one, name), getattr(other, name)) for name in names]
    return any(all(pair) and pair[0] != pair[1] for pair in pairs)


def _find_start(info: RunInfo) -> str:
    """Return the SHA-256 of the weights that a run started from, if they are another run's; else nothing."""
    return str(info.init.get("weights", "")) if isinstance(info.init, Mapping) else ""


def _format_value(value: Any, digits: int | None = None) -> str:
    """Return a value of `about` as text; strings are cut after `digits` characters."""
    if isinstance(value, list):
        return " ".join(_format_value(v, digits) for v in value)
    if isinstance(value, dict):
        return " ".join(f"{k} {v}" for k, v in value.items())
    return str(value)[:digits]
