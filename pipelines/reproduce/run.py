"""Check a data set, parse it, train and evaluate every row, and write one page (`cscl reproduce`)."""

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.records import DataSet
from data.registry import find_root, open_data_set
from data.simulators.layouts import is_simulated
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError
from parsing.words import quote_path

from ..datasets.check import check
from ..parse.config import ParseConfig
from ..parse.run import parse
from ..retrieval.evaluate import evaluate
from ..retrieval.significance import read_result, read_scores
from ..runs.digests import ImageHashes, hash_trials
from ..runs.provenance import find_own_root, read_run, write_file
from ..runs.scores import Result, average_results, select_protocols
from ..training.config import TrainConfig
from ..training.progress import NORMAL
from ..training.series import is_finished
from ..training.train import train
from .page import write_tables
from .plan import ROWS, PlannedRun, ReproduceConfig, plan


@dataclass(frozen=True)
class Reproduction:
    """Results of all rows.

    Attributes:
        page: the page with them.
        simulated: whether the images are simulated.
        results: one per protocol, by the title of the row.
    """

    page: Path
    simulated: bool
    results: dict[str, tuple[Result, ...]]

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        rows = {title: [r.to_json() for r in results] for title, results in self.results.items()}
        return {"page": str(self.page), "simulated": self.simulated, "rows": rows}

    def lines(self) -> list[str]:
        """Return the tables as text, in the order of the page, and where that is."""
        text = self.page.with_name("results.md").read_text(encoding="utf-8")
        return [*text.rstrip().splitlines(), "", f"{self.page}: open it in a browser"]


def reproduce(config: ReproduceConfig) -> Reproduction:
    """Do what is not done yet, and write the page again.

    Everything lies below `config.folder`: the cache, runs/ with a run per row, split and seed, index.html, results.md
    and results.json. Finished shards, epochs, runs and evaluations are kept, so that a stopped call goes on.

    Raises:
        CsclError: if the counts of a data set that is no simulation differ from the published ones.
        InputError: as in the parts of the work; all recipes are read before anything is done.
    """
    planned = plan(config)
    root = find_root(config.dataset, config.root)
    simulated = is_simulated(root)
    _check_counts(config.dataset, root, simulated)
    cache = _make_cache(config, root)
    tests = _Tests(open_data_set(config.dataset, root))
    each: dict[str, list[tuple[Result, ...]]] = {}
    for number, one in enumerate(planned, 1):
        if config.verbosity >= NORMAL:
            tqdm.write(f"{one.run}: run {number} of {len(planned)}, {ROWS[one.row].title}", file=sys.stderr)
        _train(config, planned=one, root=root, cache=cache)
        each.setdefault(ROWS[one.row].title, []).append(_evaluate(config, one, tests))
    results = {
        title: tuple(average_results(same) if len(same) > 1 else same[0] for same in zip(*runs, strict=True))
        for title, runs in each.items()
    }
    page = write_tables(config, planned=planned, results=results, simulated=simulated, fingerprint=cache.fingerprint)
    made = Reproduction(page, simulated=simulated, results=results)
    write_file(config.folder / "results.json", (json.dumps(made.to_json(), indent=1) + "\n").encode())
    return made


def _check_counts(name: str, root: Path, simulated: bool) -> None:
    """Raise CsclError if the counts of a real data set differ from the published ones."""
    report = check(name, root)
    if simulated:
        tqdm.write(f"note: {root} is simulated: nothing here can be compared with published figures", file=sys.stderr)
    elif not report.ok:
        wrong = ", ".join(row.what for row in report.rows if not row.ok)
        raise CsclError(
            f"{root} differs from the published {name} in {wrong}, so that figures could not be compared; "
            f"`cscl data check --dataset {name} --root {quote_path(root)}` has the counts"
        )


def _make_cache(config: ReproduceConfig, root: Path) -> MaskCache:
    """Parse what the cache lacks, unless a cache is given."""
    if config.masks is None:
        config.folder.mkdir(parents=True, exist_ok=True)
        parse(ParseConfig(config.dataset, root, config.cache, parser=config.parser, workers=config.workers))
    cache = MaskCache(config.cache)
    if cache.data_set != config.dataset:
        raise InputError(f"--masks {config.cache} is of {cache.data_set or 'no data set'}, not of {config.dataset}")
    return cache


def _train(config: ReproduceConfig, planned: PlannedRun, root: Path, cache: MaskCache) -> None:
    """Train a run, or go on with it, unless it is finished.

    Raises:
        CsclError: if it is finished, but was trained with other masks or on the images of another folder that exists.
    """
    if is_finished(planned.run, planned.recipe):
        info = read_run(planned.run)[1]
        own, again = find_own_root(planned.run, info).resolve(), "give another --out, or remove that run"
        if info.fingerprint != cache.fingerprint:
            raise CsclError(f"{planned.run} was trained with other masks than those of {config.cache}; {again}")
        if own.is_dir() and own != root.resolve():
            raise CsclError(f"{planned.run} was trained on the images in {own}, not on those in {root}; {again}")
        return
    train(
        TrainConfig(
            config.cache,
            run=planned.run,
            recipe=planned.recipe,
            root=root,
            resume=(planned.run / "recipe.toml").is_file(),
            device=config.device,
            precision=config.precision,
            verbosity=config.verbosity,
        ),
        cache,
    )


class _Tests:
    """What is tested: the protocols of a data set with the hashes that a result of all of them has."""

    def __init__(self, data_set: DataSet) -> None:
        self.root = data_set.root
        self._data_set = data_set
        self._images = ImageHashes(data_set.root)
        self._hashes: dict[int, list[tuple[str, str, str]]] = {}

    def hashes(self, split: int) -> list[tuple[str, str, str]]:
        """Return name, hash of the trials and hash of the images of each protocol, in their order."""
        if split not in self._hashes:
            self._hashes[split] = [
                (one.name, hash_trials(one, self._data_set), self._images.hash(one))
                for one in select_protocols(self._data_set, names=(), gallery="seeded", split=split)
            ]
        return self._hashes[split]


def _evaluate(config: ReproduceConfig, planned: PlannedRun, tests: _Tests) -> tuple[Result, ...]:
    """Return the results of a run: those of its evaluation.json if nothing that decides them has changed since."""
    flip = ROWS[planned.row].flip
    if found := _read_results(planned, flip, tests):
        return found
    evaluation = evaluate(planned.run, tests.root, flip=flip, device=config.device)
    if evaluation.unwritten:
        raise CsclError(evaluation.unwritten[0][1])
    return evaluation.results


def _read_results(planned: PlannedRun, flip: bool, tests: _Tests) -> tuple[Result, ...]:
    """Return the results in evaluation.json; none if it is not there, damaged, or of other weights, images or trials.

    Results of versions that did not record images and trials are none.
    """
    file = planned.run / "evaluation.json"
    weights = hashlib.sha256((planned.run / "model.safetensors").read_bytes()).hexdigest()
    try:
        about, results = read_result(file)["about"], read_scores(file)
    except CsclError:
        return ()
    hashes = [(one.protocol, one.trials_hash, one.images_hash) for one in results]
    same = isinstance(about, dict) and (about.get("checkpoint"), about.get("flip")) == (weights, flip)
    return results if same and hashes == tests.hashes(planned.recipe.data.split) else ()
