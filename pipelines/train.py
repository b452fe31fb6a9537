"""`cscl train`: stage 2, CSCL or a baseline on the cached masks of a data set."""

import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from cscl.model import CSCL, ModelConfig, TotalLoss
from cscl.spam import alpha_schedule, mask_distribution
from data.datasets import open_data_set
from data.records import Protocol, Record, Trial
from data.sampler import IdentitySampler
from data.store import load_images
from data.sysu import SYSU
from data.transforms import JointTransform, normalise
from parsing.cache import MaskCache
from parsing.errors import CsclError, InputError, MissingError
from parsing.schemes import part_scheme
from parsing.shard import Status

from .config import Recipe, TrainRecipe, read_recipe
from .embed import embed
from .pretrained import imagenet_weights
from .runs import RunInfo, save_model, write_file
from .scoring import score


@dataclass(frozen=True)
class TrainConfig:
    """What `cscl train` was asked for. device: `auto`, `cpu`, `cuda`; precision: `auto` is bf16 on CUDA."""

    masks: Path
    run: Path
    recipe: Recipe
    root: Path | None = None
    resume: bool = False
    device: str = "auto"
    precision: str = "auto"
    progress: bool = True


def train(config: TrainConfig) -> Path:
    """Train and write the run's folder; see pipelines/runs.py for what lies there.

    The data set and its root come from the cache. Raises InputError where an image has no mask in it.
    """
    recipe, run = config.recipe, config.run
    done = _checked_run(config)
    cache = MaskCache(config.masks)
    data_set = open_data_set(cache.data_set, config.root or cache.root)
    records = data_set.train(recipe.data.split)
    held_out: tuple[Record, ...] = ()
    if recipe.data.select == "val":
        people = validation_identities(data_set, records)
        held_out = tuple(r for r in records if r.identity in people)
        records = tuple(r for r in records if r.identity not in people)
    records = _with_masks(records, cache)
    scheme = part_scheme(recipe.data.scheme)
    flipped = scheme.flipped(cache.labels)
    sampler = IdentitySampler(records, recipe.train.identities, recipe.train.images, recipe.seed)
    identities = sorted({r.identity for r in records})
    model_config = ModelConfig(
        identities=len(identities),
        parts=len(scheme),
        flipped=flipped,
        **{name: getattr(recipe.model, name) for name in _MODEL_FIELDS},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = CSCL(model_config)
    if (weights := imagenet_weights(recipe.model.backbone, recipe.model.pretrained)) is not None:
        try:
            model.load_backbone(weights)
        except ValueError as error:
            raise InputError(f"model.pretrained = {recipe.model.pretrained!r}: {error}") from error
    images = load_images(data_set.root, [r.name for r in records], recipe.data.size, config.progress)
    masks = _part_masks(cache, records, scheme.table(cache.labels), recipe.data.size)
    confidence = torch.tensor([cache.confidence[cache.number(r.name)] for r in records])
    confidence = torch.where(confidence < recipe.data.min_confidence, 0.0, confidence)
    steps = recipe.train.steps or sampler.steps
    batches = Batches(records, images, masks, confidence, sampler, steps, recipe, flipped)
    run.mkdir(parents=True, exist_ok=True)
    write_file(run / "recipe.toml", recipe.to_toml().encode())
    info = RunInfo(
        cache.data_set,
        os.path.relpath(data_set.root.resolve(), run.resolve()),
        os.path.relpath(config.masks.resolve(), run.resolve()),
        cache.fingerprint,
        cache.labels.name,
        len(identities),
        recipe.data.select,
    )
    validation = None
    if held_out:
        loaded = load_images(data_set.root, [r.name for r in held_out], recipe.data.size, config.progress)
        validation = Validation(held_out, loaded)
    _fit(config, model, model_config, batches, info, validation, done)
    return run


_MODEL_FIELDS = ("backbone", "pam", "pam_gate", "spam", "non_local", "part_dim", "tau")


class Batches(Dataset[dict[str, Tensor]]):
    """Batch number `i` of the run, made of nothing but the seed and `i`."""

    def __init__(
        self,
        records: tuple[Record, ...],
        images: Tensor,
        masks: Tensor,
        confidence: Tensor,
        sampler: IdentitySampler,
        steps: int,
        recipe: Recipe,
        flipped: tuple[int, ...],
    ) -> None:
        self.images, self.masks, self.confidence = images, masks, confidence
        self.sampler, self.steps, self.seed = sampler, steps, recipe.seed
        self.infrared = torch.tensor([r.modality == "infrared" for r in records])
        numbers = {identity: n for n, identity in enumerate(sorted({r.identity for r in records}))}
        self.identities = torch.tensor([numbers[r.identity] for r in records])
        self.transform = JointTransform(recipe.data.size, recipe.augment, flipped)
        self.total = recipe.train.epochs * steps

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        epoch, step = divmod(number, self.steps)
        rows = torch.from_numpy(self.sampler.batch(epoch, step))
        moved = [
            self.transform(self.images[row], self.masks[row], bool(self.infrared[row]), _seed(self.seed, number, slot))
            for slot, row in enumerate(rows.tolist())
        ]
        return {
            "images": torch.stack([image for image, _ in moved]),
            "parts": torch.stack([mask for _, mask in moved]),
            "infrared": self.infrared[rows],
            "identities": self.identities[rows],
            "confidence": self.confidence[rows],
        }


def _seed(*numbers: int) -> int:
    """A seed for torch out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


class Validation:
    """Infrared queries against all visible images of people held out of training: what picks the epoch."""

    def __init__(self, records: tuple[Record, ...], images: Tensor) -> None:
        self.records = records
        self._images = {r.name: image for r, image in zip(records, images, strict=True)}
        sides = [tuple(r for r in records if r.modality == m) for m in ("infrared", "visible")]
        if not all(sides):
            raise InputError(
                "data.select = 'val': the validation identities have images in one modality alone; use 'last'"
            )
        self.protocol = Protocol("validation", (Trial(sides[0], sides[1]),), "nothing", True, "all")

    def __call__(self, model: CSCL) -> dict[str, float]:
        training = model.training
        model.eval()
        features = embed(model, self.records, lambda r: self._images[r.name], progress=False).double().numpy()
        model.train(training)
        result = score(self.protocol, {r.name: f for r, f in zip(self.records, features, strict=True)})
        return {"rank1": result.cmc[1], "mAP": result.mAP}


def validation_identities(data_set: Any, records: tuple[Record, ...]) -> frozenset[int]:
    """SYSU-MM01's own validation identities; elsewhere every fifth training identity."""
    if isinstance(data_set, SYSU) and data_set.validation_identities:
        return data_set.validation_identities
    return frozenset(sorted({r.identity for r in records})[::5])


def learning_rate(recipe: TrainRecipe, epoch: float) -> float:
    """Factor of the learning rates at a point of training, in epochs from 0."""
    warm = min(1.0, (epoch + 1e-2) / recipe.warmup) if recipe.warmup else 1.0
    if recipe.schedule == "step":
        return warm * 0.1 ** sum(epoch >= m for m in recipe.milestones)
    progress = torch.tensor(min(1.0, epoch / recipe.epochs))
    return warm * float(0.5 * (1 + torch.cos(torch.pi * progress)))


def _fit(
    config: TrainConfig,
    model: CSCL,
    model_config: ModelConfig,
    batches: Batches,
    info: RunInfo,
    validation: Validation | None,
    done: Mapping[str, Any] | None,
) -> None:
    recipe, run = config.recipe, config.run
    fabric = _fabric(config)
    optimiser = _optimiser(model, recipe)
    start, best = 0, -1.0
    metrics = run / "metrics.jsonl"
    if done is not None:
        model.load_state_dict(done["model"])
        optimiser.load_state_dict(done["optimiser"])
        start, best = int(done["step"]), float(done["best"])
    _keep_rows(metrics, start)
    network, optimiser = fabric.setup(model, optimiser)
    criterion = TotalLoss(recipe.loss)
    workers = 4 if fabric.device.type == "cuda" else 0
    loader = DataLoader(batches, batch_size=None, sampler=range(start, len(batches)), num_workers=workers)
    board = SummaryWriter(str(run / "tensorboard"), purge_step=start)
    network.train()
    bar = tqdm(
        total=len(batches), initial=start, unit="step", desc=f"train {recipe.method}", disable=not config.progress
    )
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
            if last and validation is not None and _due(epoch, recipe):
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
                _checkpoint(run, model, optimiser, number + 1, best)
                if kept:
                    save_model(run, model, replace(info, epoch=epoch + 1), model_config)


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


def _fabric(config: TrainConfig) -> Fabric:
    device = ("cuda" if torch.cuda.is_available() else "cpu") if config.device == "auto" else config.device
    precision: Any = config.precision
    if precision == "auto":
        precision = "bf16-mixed" if device == "cuda" else "32-true"
    try:
        return Fabric(accelerator=device, devices=1, precision=precision)
    except (ValueError, RuntimeError) as error:
        raise InputError(f"--device {config.device} --precision {config.precision}: {error}") from error


def _optimiser(model: CSCL, recipe: Recipe) -> torch.optim.Optimizer:
    """Two rates (backbone, the rest) by two decays (matrices; norms, biases and scalars have none)."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    made = [
        {
            "params": parameters,
            "base": recipe.train.learning_rate * (recipe.train.backbone_rate if backbone else 1.0),
            "weight_decay": recipe.train.weight_decay if matrix else 0.0,
        }
        for (backbone, matrix), parameters in groups.items()
    ]
    if recipe.train.optimiser == "adamw":
        return torch.optim.AdamW(made, lr=recipe.train.learning_rate)
    return torch.optim.SGD(made, lr=recipe.train.learning_rate, momentum=0.9, nesterov=True)


def _due(epoch: int, recipe: Recipe) -> bool:
    return (epoch + 1) % recipe.data.evaluate_every == 0 or epoch + 1 == recipe.train.epochs


def _checked_run(config: TrainConfig) -> Mapping[str, Any] | None:
    """The saved state to go on from, or None for a new run; refuses to overwrite one or to change its recipe."""
    state, recipe = config.run / "state.pt", config.run / "recipe.toml"
    if not config.resume:
        if recipe.exists():
            raise InputError(f"{config.run} already holds a run; give --resume to go on with it, or another --run")
        return None
    if not recipe.is_file():
        raise MissingError(f"--resume: {config.run} holds no run")
    if read_recipe(recipe) != config.recipe:
        raise InputError(f"--resume: {recipe} says something else than this command; leave --recipe and --set out")
    if not state.is_file():
        return None
    try:
        saved: Mapping[str, Any] = torch.load(state, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CsclError(f"{state} cannot be read ({error}); remove it to begin again") from error
    return saved


def _checkpoint(run: Path, model: CSCL, optimiser: Any, step: int, best: float) -> None:
    buffer = io.BytesIO()
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "step": step, "best": best}
    torch.save(state, buffer)
    write_file(run / "state.pt", buffer.getvalue())


def _keep_rows(metrics: Path, step: int) -> None:
    """Drop what was logged after the checkpoint that a resumed run goes on from."""
    rows = metrics.read_text(encoding="utf-8").splitlines(keepends=True) if metrics.exists() else []
    write_file(metrics, "".join(rows[:step]).encode())


def _with_masks(records: tuple[Record, ...], cache: MaskCache) -> tuple[Record, ...]:
    """The records whose image could be read; InputError where one is not in the cache."""
    lacking = [r.name for r in records if r.name not in cache]
    if lacking:
        raise InputError(
            f"{cache.path} has no mask of {lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
            + f"; run `cscl parse --dataset {cache.data_set} --out {cache.path}` again to complete it"
        )  # fmt: skip
    return tuple(r for r in records if cache.status[cache.number(r.name)] != Status.UNREADABLE)


def _part_masks(cache: MaskCache, records: tuple[Record, ...], table: Any, size: tuple[int, int]) -> Tensor:
    """Part labels (N, H, W) uint8 at the network's input size, read once."""
    labels = torch.from_numpy(table[cache.preload(r.name for r in records)])
    if tuple(labels.shape[1:]) == size:
        return labels
    rows, columns = (
        ((torch.arange(wanted) + 0.5) * have / wanted).long()
        for wanted, have in zip(size, labels.shape[1:], strict=True)
    )
    return labels[:, rows][:, :, columns]


def _shown(terms: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {float(value):.3g}" for name, value in terms.items())
