"""Train the built-in parser, or fine-tune it, on annotated photographs (`cscl parser train`)."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Sized
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, Sampler
from tqdm import tqdm

from data.photographs.crops import PersonCrops, load
from data.photographs.library import Photos
from parsing.errors import CsclError, InputError
from parsing.parsers.sources import BUILT_IN
from parsing.parsers.street import load_street, save_street
from parsing.parsers.street_network import StreetNetwork

from ..devices import find_device
from .encoder_weights import load_encoder
from .pseudo_labels import label_photographs
from .recipe import ParserRecipe, read_parser_recipe


def train_parser(
    photos: Path,
    out: Path,
    recipe: ParserRecipe | None = None,
    init: Path | None = None,
    device: str = "auto",
    workers: int = 1,
) -> Path:
    """Train on the `train` ids of `photos` and write `out` (.safetensors), with a log of losses beside it.

    init: weights to start from, written by this command, or `street`; the recipe's network and encoder weights are
    then of no account. The last weights, averaged (EMA), are kept; no photograph of `val` is looked at.
    """
    recipe, device = recipe or read_parser_recipe(), find_device(device)
    library = Photos(photos)
    _check_writable(out)
    if init is None:
        config = recipe.network
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = config.build()
        load_encoder(network, config.encoder, recipe.encoder_weights)
    else:
        network, config, _ = load_street(BUILT_IN if init == Path("street") else init)
    height, width = recipe.crop_size or config.input_size
    if height > config.input_size[0] or width > config.input_size[1]:
        raise InputError(
            f"crop_size = [{height}, {width}] is larger than the network's input, {list(config.input_size)}; "
            "--set crop_size=[] learns from crops of that size"
        )
    loaded = (load(library, photo_id, height) for photo_id in library.train)
    annotated = [photo for photo in loaded if photo is not None]
    if library.notes:
        tqdm.write(f"note: {'; '.join(library.notes)}", file=sys.stderr)
    if not annotated:
        raise InputError(f"{photos}: none of the {len(library.train)} training photographs shows a person")
    trainer = _Trainer(
        network.to(device).to(memory_format=torch.channels_last), config=config, recipe=recipe, out=out, workers=workers
    )
    trainer.fit(PersonCrops(annotated, (height, width), recipe.seed), recipe.epochs, recipe.learning_rate)
    used = 0
    if recipe.self_epochs and library.unlabelled:
        of_crops = replace(config, input_size=(height, width))
        more = label_photographs(trainer.network, config=of_crops, photos=library, keep=recipe.keep)
        used = len(more)
        both = PersonCrops([*annotated, *more], (height, width), recipe.seed)
        trainer.fit(both, recipe.self_epochs, recipe.learning_rate / 2)
    summary = {"recipe": asdict(recipe), "photos": len(annotated), "pseudo_labelled": used, "log": trainer.log}
    out.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return out


def _check_writable(out: Path) -> None:
    if out.is_dir():
        raise InputError(f"{out} is a folder; give the file to write the weights to, as {out / 'street.safetensors'}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"the weights cannot be written to {out}: {error.strerror}; give another file") from error


class _Shuffled(Sampler[int]):
    """Draw a permutation that depends on (seed, epoch) only."""

    def __init__(self, data: Sized, seed: int) -> None:
        self.size, self.seed, self.epoch = len(data), seed, 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return iter(torch.randperm(self.size, generator=generator).tolist())


class _Trainer:
    """Train one network, one cycle after the other, and write its averaged weights after every epoch."""

    def __init__(
        self, network: nn.Module, config: StreetNetwork, recipe: ParserRecipe, out: Path, workers: int
    ) -> None:
        self.network, self.config, self.recipe = network, config, recipe
        self.out, self.workers = out, workers
        self.criterion = ParsingCriterion(recipe.dice)
        self.log: list[dict[str, Any]] = []
        self.began = time.monotonic()

    def fit(self, crops: PersonCrops, epochs: int, rate: float) -> None:
        """Train for one cycle; the averaged weights are in `network` afterwards."""
        recipe, first = self.recipe, len(self.log)
        order = _Shuffled(crops, recipe.seed)
        batch_size = min(recipe.batch_size, len(crops))
        steps = len(crops) // batch_size
        step = self._make_stepper(epochs * steps, rate)
        averaged = AveragedModel(self.network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
        bar = tqdm(total=epochs * steps, unit="step", desc="train parser")
        for epoch in range(first, first + epochs):
            crops.epoch = order.epoch = epoch
            total = 0.0
            loader = DataLoader(
                crops, batch_size, sampler=order, num_workers=self.workers, drop_last=True,
                generator=torch.Generator(),  # it draws a seed for its workers; not from the global one
            )  # fmt: skip
            self.network.train()
            for images, labels in loader:
                total += step(images, labels)
                averaged.update_parameters(self.network)
                bar.update()
            if not total < float("inf"):
                raise CsclError(f"the loss is not finite in epoch {epoch}; lower the learning rate")
            seconds = round(time.monotonic() - self.began, 1)
            self.log.append({"epoch": epoch, "crops": len(crops), "loss": total / steps, "seconds": seconds})
            bar.set_postfix(epoch=epoch + 1, loss=f"{total / steps:.3f}")
            save_street(averaged.module, self.config, self.out)
        bar.close()
        self.network.load_state_dict(averaged.module.state_dict())

    def _make_stepper(self, total: int, rate: float) -> Callable[[Tensor, Tensor], float]:
        """Take one step on a batch and return its loss; `total` of them make the cycle."""
        recipe, network, config = self.recipe, self.network, self.config
        device = next(network.parameters()).device
        encoder = [p for n, p in network.named_parameters() if n.startswith("encoder.")]
        others = [p for n, p in network.named_parameters() if not n.startswith("encoder.")]
        rates = [recipe.encoder_rate * rate, rate]
        groups = [{"params": p, "lr": r} for p, r in zip((encoder, others), rates, strict=True)]
        optimiser = torch.optim.AdamW(groups, weight_decay=recipe.weight_decay)
        # a tenth of the steps warms up; in very short runs more, since OneCycleLR divides by (warm-up steps - 1)
        warm_up = max(0.1, min(0.75, 1.5 / total))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total, pct_start=warm_up)

        def step(images: Tensor, labels: Tensor) -> float:
            normalised = (images.to(device).float() / 255 - config.mean) / config.std
            logits = network(normalised.contiguous(memory_format=torch.channels_last))
            loss = self.criterion(logits, labels.to(device).long())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            schedule.step()
            return float(loss.detach())

        return step


class ParsingCriterion(nn.Module):
    """Compute cross-entropy plus `dice` times the Dice loss of logits (B, C, H, W) and labels (B, H, W)."""

    def __init__(self, dice: float) -> None:
        super().__init__()
        self.weight = dice
        self.dice = smp.losses.DiceLoss("multiclass", from_logits=True)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        dice: Tensor = self.dice(logits, labels)
        return nn.functional.cross_entropy(logits, labels) + self.weight * dice
