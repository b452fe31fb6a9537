"""What a run says of itself: its recipe and what it was trained on; read without importing torch."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.records import DataSet
from data.registry import data_set, find_root, open_data_set
from parsing import files
from parsing.errors import CsclError, InputError, MissingError
from parsing.labels import label_set
from parsing.schemes import part_scheme
from parsing.words import quoted

from ..images import find_images
from ..recipes.reading import Recipe, read_recipe


@dataclass(frozen=True)
class RunInfo:
    """What a run was trained on: data set, root and cache (relative to the run's folder), and what it came to.

    epoch: of the weights kept, from 1. identities: of the classifiers. pattern: the cache's. people: names, in the
    data set, of everyone trained on or used to choose the epoch; empty in runs made before this was recorded.
    """

    data_set: str
    root: str
    masks: str
    fingerprint: str
    label_set: str
    identities: int
    selection: str
    epoch: int = 0
    pattern: str | None = None
    people: Sequence[str] = ()


def write_file(path: Path, content: bytes) -> None:
    """Write aside, sync, rename: a killed process leaves the old file or the new one."""
    try:
        files.write_file(path, content)
    except OSError as error:
        raise CsclError(f"{path} could not be written: {error.strerror or error}") from error


def check_trained(run: Path) -> None:
    """Raise MissingError if `run` holds no trained weights, before torch is imported to read them."""
    if not (run / "model.safetensors").is_file():
        raise MissingError(f"{run} holds no model.safetensors; give the folder of a finished `cscl train --run`")


def read_run(run: Path) -> tuple[Recipe, RunInfo]:
    """Return recipe and provenance of a run."""
    if not (run / "run.json").is_file():
        raise MissingError(f"{run} is no run: it holds no run.json; `cscl train --run {quoted(run)}` makes one")
    try:
        info = RunInfo(**json.loads((run / "run.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{run / 'run.json'} cannot be read: {error}") from error
    return read_recipe(run / "recipe.toml"), info


def open_images(run: Path, info: RunInfo, root: Path | None, permutations: Path | None = None) -> DataSet:
    """Return the data set a run was trained on, where it lay then or below `root`."""
    return open_data_set(info.data_set, find_run_images(run, info, root), permutations, info.pattern)


def find_run_images(run: Path, info: RunInfo, root: Path | None) -> Path:
    """Return the folder of the run's data set, without listing it: where it was, or `root`.

    Raises:
        MissingError: it is not there.
    """
    return find_root(info.data_set, find_images(run, own_root(run, info), root))


def own_root(run: Path, info: RunInfo) -> Path:
    """Return where the run's data set was when it was trained."""
    return Path(os.path.normpath(run.resolve() / info.root))


def part_count(info: RunInfo, recipe: Recipe) -> int:
    """Return Q of the run, checked against its label set."""
    scheme = part_scheme(recipe.data.scheme)
    scheme.table(label_set(info.label_set))
    return len(scheme)


def describe(info: RunInfo, recipe: Recipe) -> dict[str, Any]:
    """Return what a figure of this run has to say about it."""
    return {
        "method": recipe.method,
        "backbone": recipe.model.backbone,
        "pretrained": recipe.model.pretrained,
        "selection": info.selection,
        "epoch": info.epoch,
        "seed": recipe.seed,
        **({"split": recipe.data.split} if data_set(info.data_set).split_count > 1 else {}),
        "masks": info.fingerprint,
    }
