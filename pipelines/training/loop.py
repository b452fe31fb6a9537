"""The training loop of stage 2: steps, log, validation, checkpoints, and stopping on a signal or a loss not finite."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader

from cscl.model import CSCL
from cscl.spam import alpha_schedule
from cscl.total_loss import TotalLoss
from parsing.errors import CsclError
from parsing.stopping import StopRequest, ignore_signals

from ..recipes.reading import Recipe
from ..runs.folder import save_info, save_model, save_state
from ..runs.log import RunLog
from ..runs.loggers import MakeLogger
from ..runs.provenance import RunInfo, write_file
from .batch_norm import share_batch_norm
from .batches import Batches
from .optimiser import compute_rate_factor, make_optimiser
from .processes import any_process, broadcast
from .progress import Progress
from .session import Session
from .step import take_gradients
from .validation import Validation, is_due


def fit(
    run: Path,
    recipe: Recipe,
    fabric: Fabric,
    model: CSCL,
    batches: Batches,
    info: RunInfo,
    session: Session,
    progress: Progress,
    loggers: Sequence[MakeLogger] = (),
    validation: Validation | None = None,
    done: Mapping[str, Any] | None = None,
) -> None:
    """Train `model` on `batches`, and write metrics.jsonl, training states and model.safetensors into `run`.

    Of several processes only the first writes, validates and shows progress.

    Args:
        run: existing folder.
        recipe: of the run.
        fabric: device and processes.
        model: with its weights at the start.
        batches: all batches of the run.
        info: description of the run, saved as run.json with the record of `session`.
        session: this start of the training.
        progress: says how it goes.
        loggers: make the loggers beside TensorBoard.
        validation: scores the model after some epochs; the weights of the epoch with the highest Rank-1 + mAP are kept.
            None to keep the last weights.
        done: saved state from which to continue; None to start.

    Raises:
        KeyboardInterrupt: if a signal asked to stop, after the state is saved.
        CsclError: if the loss or the norm of its gradient is not finite, after the batch is saved for inspection.
    """
    start, best = 0, -1.0
    if done is not None:
        model.load_state_dict(done["model"])
        start, best = int(done["step"]), float(done["best"])
    if fabric.world_size > 1:
        share_batch_norm(model, fabric.device)
    network, optimiser = fabric.setup(model, make_optimiser(model, recipe.train))
    if done is not None:  # not before `setup`, which moves the weights to their device
        optimiser.load_state_dict(done["optimiser"])
    criterion = TotalLoss(recipe.loss, recipe.model.tau)
    first = fabric.is_global_zero
    loader = DataLoader(
        batches, batch_size=None, sampler=range(start, len(batches)), worker_init_fn=ignore_signals,
        num_workers=4 if fabric.device.type == "cuda" else 0,
        generator=torch.Generator(),  # without one the loader advances the global generator
    )  # fmt: skip
    network.train()
    log = RunLog(run, recipe, start, loggers) if first else None
    past = info.sessions
    progress.begin(recipe, steps=batches.steps, start=start)
    with StopRequest(impatient=fabric.world_size == 1) as stop, log or nullcontext():
        for number, batch in enumerate(loader, start):
            epoch, step = divmod(number, batches.steps)
            factor = compute_rate_factor(recipe.train, number / batches.steps)
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * factor
            alpha = alpha_schedule(number / len(batches), recipe.train.guided)
            optimiser.zero_grad(set_to_none=True)
            terms, measured = take_gradients(
                network, criterion=criterion, batch=batch, alpha=alpha, recipe=recipe, fabric=fabric
            )
            if not bool(torch.isfinite(terms["total"])):
                raise _make_error(run, number=number, terms=terms, batches=batches, write=first)
            norm = fabric.clip_gradients(
                network, optimiser, max_norm=recipe.train.clip or math.inf, error_if_nonfinite=False
            )
            if norm is None or not bool(torch.isfinite(norm)):
                raise _make_error(run, number=number, terms=terms, batches=batches, write=first)
            optimiser.step()
            model.bound_scalars()
            row: dict[str, Any] = {"step": number + 1, "epoch": epoch + 1}
            row |= {name: float(value) for name, value in terms.items()}
            row |= {"lr": recipe.train.learning_rate * factor, "alpha": alpha, "gradient": float(norm)}
            row |= measured | model.scalars()
            last = step + 1 == batches.steps
            kept = last and validation is None
            if last and validation is not None and is_due(epoch, recipe):
                found = broadcast(fabric, validation(model) if first else None)
                row |= found
                kept = found["rank1"] + found["mAP"] > best
                best = max(best, found["rank1"] + found["mAP"])
            progress.step(row)
            stopped = any_process(fabric, stop.asked) and number + 1 < len(batches)
            if log is not None:
                log.write_row(row)
                if last or stopped:
                    log.sync()
                    info = replace(
                        info,
                        epoch=epoch + 1 if kept else info.epoch,
                        sessions=(*past, session.record(number + 1)),
                        finished=number + 1 == len(batches),
                    )
                    # Weights before state: a run killed in between repeats the epoch and writes the same weights again.
                    if kept:
                        save_model(run, model=model, size=recipe.data.size, info=info)
                    else:
                        save_info(run, info)
                    save_state(run, model=model, optimiser=optimiser, step=number + 1, best=best, info=info)
            if stopped:
                raise KeyboardInterrupt(f"after step {number + 1} of {len(batches)}, which is saved")


def _make_error(run: Path, number: int, terms: Mapping[str, Tensor], batches: Batches, write: bool) -> CsclError:
    """Return the error for a loss that is not finite; if `write`, save the batch as failed-batch.safetensors.

    The file holds the whole batch of all processes, and the names of its images in its header.
    """
    values = ", ".join(f"{name} {float(value):.3g}" for name, value in terms.items())
    file = run / "failed-batch.safetensors"
    if write:
        batch, names = batches.whole(number)
        about = {"step": number + 1, "terms": values, "images": names}
        write_file(file, save({k: v.contiguous() for k, v in batch.items()}, {"cscl": json.dumps(about)}))
    return CsclError(
        f"step {number + 1}: the loss or its gradient is not finite ({values}); its batch is in {file}; "
        "lower train.learning_rate"
    )
