"""Several runs of one recipe that differ in split and seed, and the folders that runs have by default."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from data.registry import data_set
from parsing.errors import InputError
from parsing.words import list_briefly

from ..recipes.reading import Recipe, read_recipe
from ..runs.provenance import read_run
from .lengthen import read_resumed_recipe

NUMBERS = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")
MOST = 1000
"""Largest number of runs of a series."""


def read_numbers(text: str, option: str) -> tuple[int, ...]:
    """Return the numbers of `1-10` or `0,2,5-7`, in this order.

    Raises:
        InputError: if it is no such text, or a number is given twice.
    """
    found: list[int] = []
    for piece in text.split(","):
        match = NUMBERS.fullmatch(piece.strip())
        if match is None:
            raise InputError(f"{option} {text}: give numbers such as 1-10 or 0,2,5")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last - first >= MOST:
            raise InputError(f"{option} {text}: {piece.strip()} is no range of 1 to {MOST} numbers")
        found += range(first, last + 1)
    if len(set(found)) < len(found):
        raise InputError(f"{option} {text}: a number is given twice")
    return tuple(found)


def name_run(data_set: str, recipe: Recipe, source: Path | None, method: str | None, splits: int) -> str:
    """Return the name that a run has by default: `sysu-cscl-seed0`, `regdb-small-baseline-split3-seed1`.

    Args:
        data_set: its name.
        recipe: of the run.
        source: file or name of the recipe, if one is given.
        method: method that replaces that of the recipe, if one is given.
        splits: number of splits of the data set; with one split the name has none.
    """
    kinds: list[str] = [recipe.method]
    if source is not None and source.stem != data_set:  # the recipe `regdb` on regdb
        kinds = [source.stem, *([method] if method and method != source.stem else [])]
    return "-".join([data_set, *kinds, _name_member(recipe, splits)])


def _name_member(recipe: Recipe, splits: int) -> str:
    """Return the end of a run's name, `split3-seed1`; with one split `seed1`."""
    return "-".join([*([f"split{recipe.data.split}"] if splits > 1 else []), f"seed{recipe.seed}"])


def is_finished(run: Path, recipe: Recipe) -> bool:
    """Return whether all epochs of a run are done, with this recipe."""
    if not (run / "run.json").is_file() or not (run / "recipe.toml").is_file():
        return False
    found, info = read_run(run)
    return found == recipe and info.finished is True


def check_set(changes: Sequence[str], series: Mapping[str, str]) -> None:
    """Raise InputError if a `section.key=value` sets what an option sets for each run; `series`: the option by key."""
    for change in changes:
        if option := series.get(change.partition("=")[0].strip()):
            raise InputError(f"--set {change}: {option} says it of each run; leave one of them out")


def plan_runs(
    data_set_name: str,
    recipe: Path | None,
    method: str | None,
    changes: Sequence[str],
    splits: Sequence[int],
    seeds: Sequence[int],
    run: Path | None,
    resume: bool,
) -> list[tuple[Path, Recipe]]:
    """Return folder and recipe of each run: one, or one per split and seed.

    Args:
        data_set_name: of the cache; empty if it has none.
        recipe, method, changes: as in `read_recipe`.
        splits, seeds: of a series; empty for those of the recipe.
        run: folder of the run; of a series, the folder that holds its runs. None for a folder below runs/.
        resume: whether runs are continued. Without `recipe` and `method` each has the recipe of its folder, changed.

    Raises:
        InputError: if a recipe is wrong, a change is of what names the runs of a series, the data set does not have a
            split, or a series that is to be continued has not begun, but one of another recipe has.
    """
    check_set(changes, {**({"data.split": "--splits"} if splits else {}), **({"seed": "--seeds"} if seeds else {})})
    count = data_set(data_set_name).split_count if data_set_name else 1
    members = []
    for split in splits or (None,):
        if split is not None and not 1 <= split <= count:
            raise InputError(f"--splits: {data_set_name} has the splits 1 to {count}, and no {split}")
        for seed in seeds or (None,):
            own = [f"data.split={split}"] * (split is not None) + [f"seed={seed}"] * (seed is not None)
            read, said = partial(read_recipe, recipe, method=method), [*changes, *own]
            # What names a run; whether its length fits train.guided is known only with the recipe of the run so far.
            made = read([*said, *["train.guided=0"] * resume])
            name = name_run(data_set_name, recipe=made, source=recipe, method=method, splits=count)
            folder = Path("runs") / name if run is None else run / name if splits or seeds else run
            if resume and (folder / "recipe.toml").is_file():
                made = read_resumed_recipe(folder, said, None if recipe is None and method is None else read)
            elif resume:
                made = read(said)
            members.append((folder, made))
    if resume and recipe is None and (splits or seeds):
        ends = [f"{method}-{end}" if method else end for end in (_name_member(made, count) for _, made in members)]
        _check_begun([folder for folder, _ in members], data_set_name, ends)
    return members


def _check_begun(folders: Sequence[Path], data_set: str, ends: Sequence[str]) -> None:
    """Raise InputError if none of a series' runs has begun, but runs of a recipe that is not given have.

    Args:
        folders: of the runs.
        data_set: its name.
        ends: of the runs' names, after that of a recipe.
    """
    if any((folder / "recipe.toml").is_file() for folder in folders):
        return
    place = folders[0].parent
    others = [file.parent.name for end in ends for file in sorted(place.glob(f"{data_set}-*-{end}/recipe.toml"))]
    if others:
        raise InputError(
            f"--resume: {place} holds no run of this series, but {list_briefly(others)}; give the --recipe of those, "
            "or leave --resume out to begin new ones"
        )
