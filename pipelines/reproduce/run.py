"""Check a data set, parse it, train and evaluate every row, and write one page (`cscl reproduce`)."""

import hashlib
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data.registry import find_root
from data.simulators.layouts import MARK
from parsing.cache.reader import MaskCache
from parsing.errors import CsclError, InputError
from parsing.words import quote_path

from ..datasets.check import check
from ..parse.config import ParseConfig
from ..parse.run import parse
from ..retrieval.evaluate import evaluate
from ..retrieval.significance import read_scores
from ..runs.provenance import write_file
from ..runs.scores import Result, average_results
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
    simulated = (root / MARK).is_file()
    _check_counts(config.dataset, root, simulated)
    cache = _make_cache(config, root)
    results: dict[str, tuple[Result, ...]] = {}
    for number, one in enumerate(planned, 1):
        if config.verbosity >= NORMAL:
            tqdm.write(f"{one.run}: run {number} of {len(planned)}, {ROWS[one.row].title}", file=sys.stderr)
        _train(config, planned=one, root=root, cache=cache)
        _evaluate(config, one, root)
    for row in dict.fromkeys(one.row for one in planned):
        each = [read_scores(one.run / "evaluation.json") for one in planned if one.row == row]
        results[ROWS[row].title] = tuple(
            average_results(same) if len(same) > 1 else same[0] for same in zip(*each, strict=True)
        )
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
    """Train a run, or go on with it, unless it is finished."""
    if is_finished(planned.run, planned.recipe):
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


def _evaluate(config: ReproduceConfig, planned: PlannedRun, root: Path) -> None:
    """Evaluate a run, unless its evaluation.json is of its present weights."""
    file, flip = planned.run / "evaluation.json", ROWS[planned.row].flip
    weights = hashlib.sha256((planned.run / "model.safetensors").read_bytes()).hexdigest()
    with suppress(OSError, ValueError, KeyError, TypeError):
        about = json.loads(file.read_text(encoding="utf-8"))["about"]
        if (about["checkpoint"], about["flip"]) == (weights, flip):
            return
    found = evaluate(planned.run, root, flip=flip, device=config.device)
    if found.unwritten:
        raise CsclError(found.unwritten[0][1])
