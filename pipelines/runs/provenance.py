"""Provenance of a run: its recipe and the data it was trained on, read without importing torch."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.records import DataSet, Record
from data.registry import data_set, find_root, open_data_set
from parsing import files
from parsing.errors import CsclError, InputError, MissingError
from parsing.words import quote_path

from ..images import find_images
from ..recipes.reading import Recipe, make_recipe, read_values


@dataclass(frozen=True)
class RunInfo:
    """Content of run.json: the data that a run was trained on, and the epoch of its weights.

    Attributes:
        data_set: name of the data set.
        root: its folder, relative to that of the run.
        masks: index file of the mask cache, relative to the folder of the run.
        fingerprint: of the cache.
        label_set: name of the cache's label set.
        identities: number of training identities.
        selection: `data.select` of the recipe.
        epoch: epoch of the weights in model.safetensors, from 1; 0 before there are any.
        pattern: the cache's pattern of image paths.
        people: names, in the data set, of all people used for training or for selecting the epoch. Empty in runs of
            versions that did not record them.
        people_hash: `hash_people` of the people trained on, without those who selected the epoch. Equal hashes mean
            equal training identities, also where the names are not shown.
        records_hash: `hash_records` of the images. Empty in runs of versions that did not record it.
        images_hash, masks_hash: hashes of the content of the images, and of part labels and weights of the masks, see
            pipelines/training/stores.py. Empty likewise.
        sessions: one per start of the training, in order, see pipelines/training/session.py: command, time of the
            start, duration, device, threads, versions. Empty in runs of versions that did not record them.
        init: the run from whose weights this one started, and the SHA-256 of these weights; None for other starts.
        finished: whether all epochs are done.
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
    people_hash: str = ""
    records_hash: str = ""
    images_hash: str = ""
    masks_hash: str = ""
    sessions: Sequence[Mapping[str, Any]] = ()
    init: Mapping[str, str] | None = None
    finished: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether epochs are missing; False too for runs of versions that recorded no sessions and no end."""
        return bool(self.sessions) and self.finished is not True


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that a killed process leaves either the old or the new one, see `parsing.files`.

    Raises:
        CsclError: if it cannot be written.
    """
    try:
        files.write_file(path, content)
    except OSError as error:
        raise CsclError(f"{path} could not be written: {error.strerror or error}") from error


def hash_people(names: Iterable[str]) -> str:
    """Return the SHA-256 of the names of people, whatever their order."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def hash_records(data_set: DataSet, trained: Sequence[Record], validating: Sequence[Record]) -> str:
    """Return the SHA-256 of the images of a training, in their order: names, people and cameras.

    Args:
        data_set: of the images.
        trained: images trained on.
        validating: images of the people who select the epoch.
    """
    rows = [[[r.name, data_set.person(r.identity), r.camera] for r in records] for records in (trained, validating)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def check_trained(run: Path) -> None:
    """Check that a run has weights, without importing torch.

    Raises:
        MissingError: if it has none.
    """
    if not (run / "model.safetensors").is_file():
        raise MissingError(f"{run} holds no model.safetensors; give the folder of a finished `cscl train --run`")


def read_run(run: Path) -> tuple[Recipe, RunInfo]:
    """Return recipe and provenance of a run.

    Raises:
        MissingError: if there is no run in this folder.
        InputError: if its files are damaged.
    """
    if not (run / "run.json").is_file():
        raise MissingError(f"{run} is no run: it holds no run.json; `cscl train --run {quote_path(run)}` makes one")
    try:
        info = RunInfo(**json.loads((run / "run.json").read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(f"{run / 'run.json'} cannot be read: {error}") from error
    return read_own_recipe(run), info


def read_own_recipe(run: Path, changes: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a run, with `changes` as in `read_recipe`.

    Raises:
        MissingError: if the run has none.
        InputError: if it is damaged, or a change does not fit.
    """
    values = read_values(run / "recipe.toml", "")
    _convert_guided(values.get("train"))
    return make_recipe(values, changes)


def _convert_guided(train: Any) -> None:
    """Make a share of `guided` in a recipe's section `train` if it is a number of epochs, as it was before 0.1.0."""
    guided, epochs = (train.get(key) if isinstance(train, dict) else None for key in ("guided", "epochs"))
    if type(guided) is int and type(epochs) is int and 0 < guided <= epochs:  # a share is written as a float, also 1.0
        train["guided"] = guided / epochs


def open_images(run: Path, info: RunInfo, root: Path | None, permutations: Path | None = None) -> DataSet:
    """Return the data set of a run.

    Args:
        run: folder of the run.
        info: its provenance.
        root: folder of the images; None for the one of the training.
        permutations: file with the official galleries of SYSU-MM01.
    """
    return open_data_set(
        info.data_set, root=find_run_images(run, info, root), permutations=permutations, pattern=info.pattern
    )


def find_run_images(run: Path, info: RunInfo, root: Path | None) -> Path:
    """Return the folder of the run's data set without listing it: `root`, or if None the one of the training.

    Raises:
        MissingError: if it does not exist.
    """
    return find_root(info.data_set, find_images(run, find_own_root(run, info), root))


def find_own_root(run: Path, info: RunInfo) -> Path:
    """Return the folder in which the run's data set was at its training."""
    return Path(os.path.normpath(run.resolve() / info.root))


def describe(info: RunInfo, recipe: Recipe) -> dict[str, Any]:
    """Return the facts about a run that belong beside its results."""
    return {
        "method": recipe.title,
        "backbone": recipe.model.backbone,
        "pretrained": recipe.model.pretrained,
        **({"init": info.init.get("run", "")} if isinstance(info.init, Mapping) else {}),
        "selection": info.selection,
        "epoch": info.epoch,
        "seed": recipe.seed,
        **({"split": recipe.data.split} if data_set(info.data_set).split_count > 1 else {}),
        "masks": info.fingerprint,
    }
