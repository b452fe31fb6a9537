"""What `cscl reproduce` trains: the rows of the tables, and a run per row, split and seed."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from data.registry import data_set
from parsing.errors import InputError
from parsing.parsers.registry import ParserSpec

from ..recipes.reading import Recipe, read_recipe
from ..training.lengthen import read_resumed_recipe
from ..training.series import check_set

DATA_SETS = ("sysu", "regdb", "llcm")
RECIPES = {"sysu": "cscl", "regdb": "regdb", "llcm": "llcm"}
"""The shipped recipe for each data set."""


@dataclass(frozen=True)
class Row:
    """One row of the tables.

    Attributes:
        title: what the page calls it.
        method: method of the recipe.
        changes: other values of the recipe.
        recipe: the shipped recipe on SYSU-MM01, if it is not that of the data set.
        flip: whether features are averaged over the mirrored image. AGW's figures are without.
        ablation: whether the row is of the ablation table, which is of SYSU-MM01 alone.
    """

    title: str
    method: str
    changes: tuple[str, ...] = ()
    recipe: str = ""
    flip: bool = True
    ablation: bool = False


ROWS = {
    "agw": Row("AGW", "agw", recipe="agw", flip=False),
    "baseline": Row("baseline", "baseline"),
    "pam": Row("baseline + PAM", "cscl", changes=("model.spam=false", "loss.division=0"), ablation=True),
    "cscl": Row("CSCL", "cscl"),
    "icm": Row("CSCL + ICM", "cscl", changes=("loss.icm=0.5",), ablation=True),
}
"""Rows by name. The recipe of CSCL has no ICM, which gained nothing in docs/results.md; the paper's CSCL has it."""


@dataclass(frozen=True)
class ReproduceConfig:
    """The arguments of a reproduction.

    Attributes:
        dataset: one of DATA_SETS.
        root: its folder; None for the usual places.
        out: folder for everything that is made; None for reproduce/DATASET.
        masks: a cache that exists; None to parse into `out`.
        parser: the human parser.
        rows: names of ROWS; empty for those of the data set.
        splits: numbers of the splits; empty for all.
        seeds: one training per seed.
        recipe: file or name of the recipe of every row; None for that of the data set.
        changes: `section.key=value` each, for every row.
        device, precision: of training and evaluation, as in `TrainConfig`.
        workers: processes for parsing, as in `ParseConfig`.
        verbosity: as in `TrainConfig`.

    Raises:
        InputError: if there are both a cache that exists and a parser, which would do nothing.
    """

    dataset: str
    root: Path | None = None
    out: Path | None = None
    masks: Path | None = None
    parser: ParserSpec = field(default_factory=ParserSpec)
    rows: Sequence[str] = ()
    splits: Sequence[int] = ()
    seeds: Sequence[int] = (0,)
    recipe: Path | None = None
    changes: Sequence[str] = ()
    device: str = "auto"
    precision: str = "auto"
    workers: int | None = None
    verbosity: int = 0

    def __post_init__(self) -> None:
        if self.masks is not None and replace(self.parser, device=ParserSpec().device) != ParserSpec():
            raise InputError(
                f"--masks {self.masks}: this cache is used as it is, and --parser {self.parser.name} with its options "
                "would do nothing; leave one of them out"
            )
        if self.masks is not None and self.workers is not None:
            raise InputError(f"--workers {self.workers}: with --masks nothing is parsed; leave one of them out")

    @property
    def folder(self) -> Path:
        """The folder for everything that is made."""
        return Path("reproduce") / self.dataset if self.out is None else self.out

    @property
    def cache(self) -> Path:
        """Index file of the mask cache."""
        return self.folder / f"{self.dataset}_masks.h5" if self.masks is None else self.masks


@dataclass(frozen=True)
class PlannedRun:
    """A training of a row: its folder and recipe."""

    row: str
    run: Path
    recipe: Recipe


def plan(config: ReproduceConfig) -> list[PlannedRun]:
    """Return the trainings in their order: all splits and seeds of a row, then the next row.

    Raises:
        InputError: if a row, split or recipe is wrong.
    """
    check_set(config.changes, {"seed": "--seeds", "data.split": "--splits"})
    count = data_set(config.dataset).split_count
    names = config.rows or [name for name, row in ROWS.items() if config.dataset == "sysu" or not row.ablation]
    if unknown := [name for name in names if name not in ROWS]:
        raise InputError(f"--row {unknown[0]}: choose from {', '.join(ROWS)}")
    splits = config.splits or range(1, count + 1)
    if wrong := [split for split in splits if not 1 <= split <= count]:
        raise InputError(f"--splits: {config.dataset} has the splits 1 to {count}, and no {wrong[0]}")
    planned = []
    for name in names:
        row = ROWS[name]
        own = row.recipe if row.recipe and config.dataset == "sysu" else RECIPES[config.dataset]
        for split in splits:
            for seed in config.seeds:
                changes = [*row.changes, *config.changes, f"seed={seed}", f"data.split={split}"]
                read = partial(read_recipe, config.recipe or Path(own), method=row.method)
                folder = "-".join([name, *([f"split{split}"] if count > 1 else []), f"seed{seed}"])
                run = config.folder / "runs" / folder
                begun = (run / "recipe.toml").is_file()
                recipe = read_resumed_recipe(run, changes, read) if begun else read(changes)
                planned.append(PlannedRun(name, run, recipe))
    return planned
