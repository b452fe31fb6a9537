"""A training run's folder: recipe.toml, run.json, metrics.jsonl, model.safetensors, state-STEP.pt, tensorboard/."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from cscl.embedder import Embedder, load, metadata
from cscl.model import CSCL
from data.loading.transforms import MEAN, STD
from parsing import files
from parsing.errors import CsclError, InputError, MissingError, first_line

from .provenance import RunInfo, write_file

STATE = re.compile(r"state-\d{8}\.pt")
"""Names of training states."""


def save_model(run: Path, model: CSCL, size: tuple[int, int], info: RunInfo) -> None:
    """Weights as safetensors, with what rebuilds the network and its input in the metadata; then run.json."""
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    write_file(run / "model.safetensors", save(state, metadata(model.config, size, MEAN, STD)))
    write_file(run / "run.json", (json.dumps(asdict(info), indent=1) + "\n").encode())


def save_state(run: Path, model: CSCL, optimiser: Any, step: int, best: float, info: RunInfo) -> None:
    """What `cscl train --resume` goes on from: `step` steps are done, `best` is the best validation so far.

    The state before stays until the next one is whole; what lies further on than this step is of no more use.
    """
    buffer = io.BytesIO()
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "best": best}
    torch.save(state | {"masks": info.fingerprint}, buffer)
    write_file(run / f"state-{step:08d}.pt", buffer.getvalue())
    for half in files.leftovers(run, STATE):
        half.unlink()
    others = [file for file in _states(run) if file.name != f"state-{step:08d}.pt"]
    before = [file for file in others if file.name < f"state-{step:08d}.pt"]
    for file in others:
        if file not in before[-1:]:
            file.unlink()


def read_state(run: Path) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    """The last state that `save_state` wrote whole, None if a run was stopped before its first; and what was wrong
    with each later one. CsclError if none can be read."""
    wrong: list[str] = []
    for file in reversed(_states(run)):
        try:
            saved: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # what unpickling raises for a foreign file has no common base
            wrong.append(f"{file} cannot be read ({first_line(error)})")
            continue
        if isinstance(saved, dict) and set(saved) == {"model", "optimiser", "step", "best", "masks"}:
            return saved, tuple(wrong)
        wrong.append(f"{file} is no training state of this version")
    if wrong:
        raise CsclError(f"{'; '.join(wrong)}; remove it to begin again")
    return None, ()


def _states(run: Path) -> list[Path]:
    """Return the training states of a run, by step."""
    return sorted(run.glob("state-*.pt"))


def load_model(run: Path, device: str | torch.device = "cpu") -> Embedder:
    """`cscl.load` with errors of ours: the network of a run, in eval mode, and what its images must be."""
    try:
        return load(run, device)
    except FileNotFoundError as error:
        raise MissingError(str(error)) from error
    except ValueError as error:
        raise InputError(str(error)) from error
