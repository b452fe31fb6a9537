"""A training run's folder: recipe.toml, run.json, metrics.jsonl, model.safetensors, state.pt, tensorboard/."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from cscl.model import CSCL, ModelConfig
from data.datasets import open_data_set
from data.records import DataSet
from parsing.errors import CsclError, InputError, MissingError
from parsing.labels import label_set
from parsing.schemes import part_scheme

from .config import Recipe, read_recipe


@dataclass(frozen=True)
class RunInfo:
    """What a run was trained on: data set, root and cache (relative to the run's folder), and what it came to.

    epoch: of the weights kept, from 1. identities: of the classifiers.
    """

    data_set: str
    root: str
    masks: str
    fingerprint: str
    label_set: str
    identities: int
    selection: str
    epoch: int = 0


def write_file(path: Path, content: bytes) -> None:
    """Write aside, sync, rename: a killed process leaves the old file or the new one."""
    temporary = path.with_name(path.name + ".part")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CsclError(f"{path} could not be written: {error.strerror or error}") from error


def save_model(run: Path, model: nn.Module, info: RunInfo, config: ModelConfig) -> None:
    """Weights as safetensors, with what rebuilds the network in the metadata; then run.json."""
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    write_file(run / "model.safetensors", save(state, {"format": "cscl-1", "model": json.dumps(asdict(config))}))
    write_file(run / "run.json", (json.dumps(asdict(info), indent=1) + "\n").encode())


def load_model(run: Path, device: str | torch.device = "cpu") -> CSCL:
    """The network of a run, in eval mode; refuses a file that this project did not write."""
    file = run / "model.safetensors"
    if not file.is_file():
        raise MissingError(f"{run} holds no model.safetensors; give the folder of a finished `cscl train --run`")
    try:
        with safe_open(file, "pt") as stored:
            metadata = stored.metadata() or {}
            state = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{file} is no whole safetensors file: {error}") from error
    if metadata.get("format") != "cscl-1":
        raise InputError(f"{file} was not written by `cscl train` of this version")
    values: dict[str, Any] = json.loads(metadata["model"])
    values["flipped"] = tuple(values["flipped"])
    model = CSCL(ModelConfig(**values))
    model.load_state_dict(state)
    return model.eval().to(device)


def read_run(run: Path) -> tuple[Recipe, RunInfo]:
    """Recipe and provenance of a run."""
    if not (run / "run.json").is_file():
        raise MissingError(f"{run} is no run: it holds no run.json; `cscl train --run {run}` makes one")
    try:
        info = RunInfo(**json.loads((run / "run.json").read_text(encoding="utf-8")))
    except (json.JSONDecodeError, TypeError) as error:
        raise InputError(f"{run / 'run.json'} cannot be read: {error}") from error
    return read_recipe(run / "recipe.toml"), info


def open_images(run: Path, info: RunInfo, root: Path | None, permutations: Path | None = None) -> DataSet:
    """The data set a run was trained on, where it lay then or below `root`."""
    return open_data_set(info.data_set, root or Path(os.path.normpath(run / info.root)), permutations)


def part_count(info: RunInfo, recipe: Recipe) -> int:
    """Q of the run, checked against its label set."""
    scheme = part_scheme(recipe.data.scheme)
    scheme.table(label_set(info.label_set))
    return len(scheme)


def describe(info: RunInfo, recipe: Recipe) -> dict[str, Any]:
    """What a figure of this run has to say about it."""
    return {
        "method": recipe.method,
        "backbone": recipe.model.backbone,
        "pretrained": recipe.model.pretrained,
        "selection": info.selection,
        "epoch": info.epoch,
        "seed": recipe.seed,
        "masks": info.fingerprint,
    }
