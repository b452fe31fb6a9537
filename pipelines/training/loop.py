"""The training loop of stage 2: steps, log, validation, checkpoints, and stopping on a signal or a loss not finite."""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from safetensors.torch import save

from cscl.model import CSCL
from cscl.spam import alpha_schedule
from parsing.errors import CsclError
from parsing.stopping import StopRequest

from ..recipes.reading import Recipe
from ..runs.folder import save_info, save_model, save_state
from ..runs.log import RunLog
from ..runs.loggers import MakeLogger
from ..runs.provenance import RunInfo, write_file
from .batches import Batches
from .feed import feed
from .measured import LOG_EVERY, Measured, fetch_rows
from .optimiser import compute_rate_factor
from .processes import any_process, broadcast
from .progress import Progress
from .session import Session
from .stepper import Stepper
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
    start, best = (0, -1.0) if done is None else (int(done["step"]), float(done["best"]))
    stepper = Stepper(recipe, fabric=fabric, model=model, done=done)
    first, every = fabric.is_global_zero, LOG_EVERY.get(fabric.device.type, 1)
    pending: list[Measured] = []
    log = RunLog(run, recipe=recipe, start=start, loggers=loggers) if first else None
    past = info.sessions
    progress.begin(recipe, steps=batches.steps, start=start)
    with StopRequest(impatient=fabric.world_size == 1) as stop, log or nullcontext():
        for number, batch in enumerate(feed(batches, start, fabric.device), start):
            epoch, step = divmod(number, batches.steps)
            factor = compute_rate_factor(recipe.train, number / batches.steps)
            alpha = alpha_schedule(number / len(batches), recipe.train.guided)
            terms, others = stepper(batch, alpha, factor)
            about = {"lr": recipe.train.learning_rate * factor, "alpha": alpha}
            pending.append(Measured({"step": number + 1, "epoch": epoch + 1}, terms, about, others))
            last = step + 1 == batches.steps
            # Processes ask each other for a stop request only here, at steps that they have in common.
            if not (last or len(pending) == every or (fabric.world_size == 1 and stop.asked)):
                continue
            rows = fetch_rows(pending)
            pending.clear()
            for row in rows:
                if not _is_sound(row):
                    raise _make_error(run, row=row, terms=list(terms), batches=batches, write=first)
                if row is not rows[-1]:
                    progress.step(row)
                    if log is not None:
                        log.write_row(row)
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
                    save_state(run, stepper.state(), step=number + 1, best=best, info=info)
            if stopped:
                raise KeyboardInterrupt(f"after step {number + 1} of {len(batches)}, which is saved")
    if first and start == len(batches) and not info.finished:  # its recipe was changed, to one of no more steps
        save_info(run, replace(info, finished=True))


def _is_sound(row: Mapping[str, Any]) -> bool:
    """Return whether loss and gradient are finite; in 16-mixed the gradient may overflow until its scale is below 1."""
    return math.isfinite(row["total"]) and (math.isfinite(row["gradient"]) or row.get("scale", 0) >= 1)


def _make_error(run: Path, row: Mapping[str, Any], terms: Sequence[str], batches: Batches, write: bool) -> CsclError:
    """Return the error for a loss that is not finite; if `write`, save the batch as failed-batch.safetensors.

    The file holds the whole batch of all processes, and the names of its images in its header.
    """
    values = ", ".join(f"{name} {row[name]:.3g}" for name in terms)
    file = run / "failed-batch.safetensors"
    if write:
        batch, names = batches.whole(row["step"] - 1)
        about = {"step": row["step"], "terms": values, "images": names}
        write_file(file, save({k: v.contiguous() for k, v in batch.items()}, {"cscl": json.dumps(about)}))
    return CsclError(
        f"step {row['step']}: the loss or its gradient is not finite ({values}); its batch is in {file}; "
        "lower train.learning_rate"
    )
