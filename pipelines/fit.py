"""The training loop of stage 2: steps, the log of their losses, and a checkpoint at every epoch's end."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from cscl.model import CSCL, TotalLoss
from cscl.spam import alpha_schedule, mask_distribution
from data.transforms import normalise
from parsing.errors import CsclError

from .batches import Batches
from .config import Recipe
from .optimiser import learning_rate, make_optimiser
from .runs import RunInfo, keep_rows, save_model, save_state
from .validation import Validation, is_due


def fit(
    run: Path,
    recipe: Recipe,
    fabric: Fabric,
    model: CSCL,
    batches: Batches,
    info: RunInfo,
    validation: Validation | None = None,
    done: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> None:
    """Train `model` on `batches` from the start or, with the saved state `done`, from where it was left.

    Writes metrics.jsonl, state.pt and model.safetensors into `run`: the last weights, or with `validation` those of
    the epoch that it scores best (Rank-1 + mAP). CsclError where the loss is no number any more.
    """
    optimiser = make_optimiser(model, recipe.train)
    start, best = 0, -1.0
    metrics = run / "metrics.jsonl"
    if done is not None:
        model.load_state_dict(done["model"])
        optimiser.load_state_dict(done["optimiser"])
        start, best = int(done["step"]), float(done["best"])
    keep_rows(metrics, start)
    network, optimiser = fabric.setup(model, optimiser)
    criterion = TotalLoss(recipe.loss)
    workers = 4 if fabric.device.type == "cuda" else 0
    loader = DataLoader(
        batches, batch_size=None, sampler=range(start, len(batches)), num_workers=workers,
        generator=torch.Generator(),  # else it draws from the global one
    )  # fmt: skip
    board = SummaryWriter(str(run / "tensorboard"), purge_step=start)
    network.train()
    bar = tqdm(total=len(batches), initial=start, unit="step", desc=f"train {recipe.method}", disable=not progress)
    with board, bar, metrics.open("a", encoding="utf-8") as log:
        for number, batch in enumerate(loader, start):
            epoch, step = divmod(number, batches.steps)
            rate = learning_rate(recipe.train, number / batches.steps)
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * rate
            alpha = alpha_schedule(number / len(batches))
            terms, accuracy = _step(network, criterion, batch, alpha, recipe, fabric)
            total = terms["total"]
            if not bool(torch.isfinite(total)):
                raise CsclError(f"step {number}: the loss is not finite ({_shown(terms)}); lower train.learning_rate")
            optimiser.zero_grad(set_to_none=True)
            fabric.backward(total)
            optimiser.step()
            row: dict[str, Any] = {"step": number + 1, "epoch": epoch + 1}
            row |= {name: float(value.detach()) for name, value in terms.items()}
            row |= {"accuracy": accuracy, "lr": recipe.train.learning_rate * rate, "alpha": alpha}
            last = step + 1 == batches.steps
            kept = last and validation is None
            if last and validation is not None and is_due(epoch, recipe):
                found = validation(model)
                row |= found
                kept = found["rank1"] + found["mAP"] > best
                best = max(best, found["rank1"] + found["mAP"])
            log.write(json.dumps(row) + "\n")
            for name, value in row.items():
                if name not in ("step", "epoch"):
                    board.add_scalar(name, value, number + 1)
            bar.update()
            bar.set_postfix(epoch=epoch + 1, loss=f"{row['total']:.2f}", accuracy=f"{accuracy:.2f}")
            if last:
                log.flush()
                if kept:  # before the state: a run killed in between does the epoch again and keeps it again
                    save_model(run, model, recipe.data.size, replace(info, epoch=epoch + 1))
                save_state(run, model, optimiser, number + 1, best, info)


def _step(
    network: Any, criterion: TotalLoss, batch: Mapping[str, Tensor], alpha: float, recipe: Recipe, fabric: Fabric
) -> tuple[dict[str, Tensor], float]:
    """Terms of the loss for one batch, and the accuracy of the global identity classifier."""
    batch = {name: value.to(fabric.device) for name, value in batch.items()}
    parts = batch["parts"].long()
    masks = guide = None
    if recipe.model.spam:
        masks = mask_distribution(parts, network.config.parts, (parts.shape[1] // 16, parts.shape[2] // 16))
        guide = alpha * batch["confidence"]
    output = network(normalise(batch["images"]), batch["infrared"], masks, guide)
    targets = parts[:, 2::4, 2::4] if output.parsing_logits else None
    terms = criterion(output, batch["identities"], batch["infrared"], targets, batch["confidence"])
    right = output.logits.detach().argmax(1) == batch["identities"]
    return terms, float(right.float().mean())


def _shown(terms: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {float(value.detach()):.3g}" for name, value in terms.items())
