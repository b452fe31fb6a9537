"""`cscl parser train`: train the built-in parser, or fine-tune it, on annotated photographs."""

import json
import time
from collections.abc import Iterator, Sized
from dataclasses import asdict, dataclass, field
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from data.crops import PersonCrops
from data.photos import Photos
from parsing.errors import CsclError, InputError
from parsing.street import BUILT_IN, MEAN, STD, StreetNetwork, load_street, save_street

from .devices import find_device


@dataclass(frozen=True)
class ParserRecipe:
    """All that decides the weights. `epochs` pass over the training photographs, with AdamW and one cycle."""

    network: StreetNetwork = field(default_factory=StreetNetwork)
    epochs: int = 32
    batch_size: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    ema: float = 0.995
    dice: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise InputError(f"epochs and batch_size must be at least 1, got {self.epochs} and {self.batch_size}")


class _Shuffled(Sampler[int]):
    """A permutation that is a pure function of (seed, epoch)."""

    def __init__(self, data: Sized, seed: int) -> None:
        self.size, self.seed, self.epoch = len(data), seed, 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return iter(torch.randperm(self.size, generator=generator).tolist())


def train_parser(
    photos: Path,
    out: Path,
    recipe: ParserRecipe | None = None,
    init: Path | None = None,
    device: str = "auto",
    workers: int = 1,
    progress: bool = True,
) -> Path:
    """Train on the `train` ids of `photos` and write `out` (.safetensors), with a log of losses beside it.

    init: weights to start from, written by this command, or `street`. The last weights, averaged (EMA), are kept; no
    photograph of `val` is looked at.
    """
    recipe, device = recipe or ParserRecipe(), find_device(device)
    library = Photos(photos)
    if out.is_dir():
        raise InputError(f"{out} is a folder; give the file to write the weights to, as {out / 'street.safetensors'}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the weights cannot be written to {out}: {error.strerror}; give another file") from error
    config = recipe.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = config.build()
    if init is not None:
        network, config, _ = load_street(BUILT_IN if init == Path("street") else init)
    crops = PersonCrops(library, library.train, config.input_size, recipe.seed)
    if not crops:
        raise InputError(f"{photos}: none of the {len(library.train)} training photographs shows a person")
    order = _Shuffled(crops, recipe.seed)
    steps = max(1, len(crops) // recipe.batch_size)
    network.to(device).to(memory_format=torch.channels_last).train()
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    total_steps = recipe.epochs * steps
    # a tenth of the steps warms up; in very short runs more, since OneCycleLR divides by (warm-up steps - 1)
    warm_up = max(0.1, min(0.75, 1.5 / total_steps))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.learning_rate, total_steps, pct_start=warm_up)
    criterion = ParsingCriterion(recipe.dice)
    mean, std = (torch.tensor(v, device=device).view(3, 1, 1) * 255 for v in (MEAN, STD))

    def normalise(images: Tensor) -> Tensor:
        return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)

    log, began = [], time.monotonic()
    bar = tqdm(total=total_steps, unit="step", desc="train parser", disable=not progress)
    for epoch in range(recipe.epochs):
        crops.epoch = order.epoch = epoch
        total = 0.0
        loader = DataLoader(
            crops, min(recipe.batch_size, len(crops)), sampler=order, num_workers=workers, drop_last=True,
            generator=torch.Generator(),  # it draws a seed for its workers; not from the global one
        )  # fmt: skip
        for images, labels in loader:
            loss = criterion(network(normalise(images.to(device))), labels.to(device).long())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            averaged.update_parameters(network)
            total += float(loss.detach())
            bar.update()
        if not total < float("inf"):
            raise CsclError(f"the loss is not finite in epoch {epoch}; lower the learning rate")
        log.append({"epoch": epoch, "loss": total / steps, "seconds": round(time.monotonic() - began, 1)})
        bar.set_postfix(epoch=epoch + 1, loss=f"{total / steps:.3f}")
        save_street(averaged.module, config, out)
    bar.close()
    summary = {"recipe": asdict(recipe), "photos": len(crops), "log": log}
    out.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return out


class ParsingCriterion(nn.Module):
    """Cross-entropy plus `dice` times the Dice loss of logits (B, C, H, W) against labels (B, H, W)."""

    def __init__(self, dice: float) -> None:
        super().__init__()
        self.weight = dice
        self.dice = smp.losses.DiceLoss("multiclass", from_logits=True)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, labels) + self.weight * self.dice(logits, labels)
