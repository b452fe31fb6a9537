"""Files in a run's folder.

recipe.toml, run.json, train.log, metrics.jsonl, model.safetensors, state-STEP.pt and tensorboard/.
"""

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
"""Pattern of the names of training states."""


def save_model(run: Path, model: CSCL, size: tuple[int, int], info: RunInfo) -> None:
    """Write model.safetensors, with the options of network and input in its header, and then run.json.

    Args:
        run: folder of the run.
        model: the network.
        size: (height, width) of its input, in pixels.
        info: content of run.json.
    """
    state = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    write_file(run / "model.safetensors", save(state, metadata(model.config, size=size, mean=MEAN, std=STD)))
    save_info(run, info)


def save_info(run: Path, info: RunInfo) -> None:
    """Write run.json."""
    write_file(run / "run.json", (json.dumps(asdict(info), indent=1) + "\n").encode())


def save_state(run: Path, trained: Mapping[str, Any], step: int, best: float, info: RunInfo) -> None:
    """Write the state from which `cscl train --resume` continues, and remove old ones.

    The state before this one stays, in case this file turns out to be damaged. States of later steps are removed: they
    belong to a run that was resumed from an earlier step.

    Args:
        run: folder of the run.
        trained: the states of network and optimiser and, in 16-mixed, of the scaler, see `Stepper.state`.
        step: number of steps done.
        best: best validation score so far, Rank-1 + mAP.
        info: of the run; the fingerprint of its masks is saved too.
    """
    buffer = io.BytesIO()
    torch.save({**trained, "step": step, "best": best, "masks": info.fingerprint}, buffer)
    write_file(run / f"state-{step:08d}.pt", buffer.getvalue())
    for half in files.find_leftovers(run, STATE):
        half.unlink()
    others = [file for file in _list_states(run) if file.name != f"state-{step:08d}.pt"]
    before = [file for file in others if file.name < f"state-{step:08d}.pt"]
    for file in others:
        if file not in before[-1:]:
            file.unlink()


def read_state(run: Path) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    """Return the last training state that can be read, and an error text for each later one that cannot.

    The state is None if the run was stopped before it saved one.

    Raises:
        CsclError: if there are states, but none can be read.
    """
    wrong: list[str] = []
    for file in reversed(_list_states(run)):
        try:
            saved: Mapping[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # unpickling a foreign file raises anything
            wrong.append(f"{file} cannot be read ({first_line(error)})")
            continue
        if isinstance(saved, dict) and set(saved) - {"scaler"} == {"model", "optimiser", "step", "best", "masks"}:
            return saved, tuple(wrong)
        wrong.append(f"{file} is no training state of this version")
    if wrong:
        raise CsclError(f"{'; '.join(wrong)}; remove it to begin again")
    return None, ()


def _list_states(run: Path) -> list[Path]:
    """Return the training states of a run, in the order of their steps."""
    return sorted(run.glob("state-*.pt"))


def load_model(run: Path, device: str | torch.device = "cpu") -> Embedder:
    """Return the embedder of a run, as `cscl.load` does, but with errors that the command line prints in one line.

    Raises:
        MissingError: if the run has no weights.
        InputError: if they are damaged or of another version.
    """
    try:
        return load(run, device)
    except FileNotFoundError as error:
        raise MissingError(str(error)) from error
    except ValueError as error:
        raise InputError(str(error)) from error
