"""How long a reproduction would take on this machine, from a few images and steps that are measured now."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from lightning_fabric import Fabric

from cscl.model import CSCL
from cscl.total_loss import TotalLoss
from data.loading.sampler import IdentitySampler
from data.records import DataSet
from data.registry import open_data_set
from parsing.schemes import part_scheme

from ..devices import find_device
from ..parse.config import ParseConfig
from ..parse.preview import preview
from ..parse.run import parse
from ..recipes.reading import Recipe
from ..runs.provenance import read_run
from ..runs.scores import list_needed_records
from ..training.optimiser import make_optimiser
from ..training.processes import make_fabric
from ..training.progress import format_duration
from ..training.series import is_finished
from ..training.step import take_gradients
from ..training.validation import hold_out
from .plan import PlannedRun, ReproduceConfig, plan

PARSED = 16
"""Number of images to parse for the estimate."""


@dataclass(frozen=True)
class Work:
    """One part of the work.

    Attributes:
        what: its name.
        amount: number of images or steps that are left.
        unit: of the amount.
        seconds: estimated duration.
    """

    what: str
    amount: int
    unit: str
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The work that is left, in order."""

    folder: Path
    device: str
    work: tuple[Work, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return {"out": str(self.folder), "device": self.device, "work": [vars(one) for one in self.work],
                "seconds": sum(one.seconds for one in self.work)}  # fmt: skip

    def lines(self) -> list[str]:
        """Return the text that `cscl reproduce --dry-run` prints, as lines."""
        width = max(len(one.what) for one in self.work)
        return [
            f"{self.folder}: on {self.device}, from steps measured now; reading images is not counted",
            *(
                f"{one.what:{width}s}  {one.amount:9,d} {one.unit:6s}  {format_duration(one.seconds):>10s}"
                for one in self.work
            ),
            f"{'in all':{width}s}  {'':16s}  {format_duration(sum(one.seconds for one in self.work)):>10s}",
        ]


def estimate(config: ReproduceConfig) -> Estimate:
    """Measure a few steps of each kind, and return how long what is left would take.

    Raises:
        MissingError, InputError: for the data set and recipes, as in `reproduce`.
    """
    opened = open_data_set(config.dataset, config.root)
    planned, device = plan(config), find_device(config.device)
    left = {one.run: _count_steps(opened, one) for one in planned}  # first, since it refuses what cannot be trained
    work = [] if config.masks is not None else [_estimate_parsing(config)]
    timed: dict[Recipe, tuple[float, float]] = {}
    for row in dict.fromkeys(one.row for one in planned):
        steps, seconds, embedding = 0, 0.0, 0.0
        for one in (p for p in planned if p.row == row):
            kind = replace(one.recipe, seed=0, data=replace(one.recipe.data, split=1))
            if kind not in timed:
                timed[kind] = _time_network(opened, one.recipe, config)
            needed = len(list_needed_records(opened.protocols(split=one.recipe.data.split)))
            steps, seconds = steps + left[one.run], seconds + left[one.run] * timed[kind][0]
            embedding += needed * timed[kind][1]
        work.append(Work(f"train {row}", amount=steps, unit="steps", seconds=seconds))
        work.append(
            Work(f"evaluate {row}", amount=sum(1 for p in planned if p.row == row), unit="runs", seconds=embedding)
        )
    return Estimate(config.folder, device, tuple(work))


def _estimate_parsing(config: ReproduceConfig) -> Work:
    whole = ParseConfig(
        config.dataset, root=config.root, out=config.cache, parser=config.parser, workers=config.workers
    )
    found = preview(whole)
    left = found.images - found.done_images
    if not left:
        return Work("parse", amount=0, unit="images", seconds=0.0)
    with TemporaryDirectory() as folder:
        for number in range(2):  # the first one loads the parser
            few = replace(whole, out=Path(folder) / f"{number}.h5", limit=PARSED, workers=0)
            result = parse(few)
    seconds = left * result.seconds / result.images / count_workers(config)
    return Work("parse", amount=left, unit="images", seconds=seconds)


def count_workers(config: ReproduceConfig) -> int:
    """Return how many images are parsed at a time: by one process per GPU or core, or as many as the user gives."""
    if config.workers is not None:
        return max(1, config.workers)
    device = find_device(config.parser.device)
    return torch.cuda.device_count() if device == "cuda" else torch.get_num_threads() if device == "cpu" else 1


def _count_steps(opened: DataSet, planned: PlannedRun) -> int:
    """Return the number of steps that a run still has to do."""
    if is_finished(planned.run, planned.recipe):
        return 0
    recipe = planned.recipe
    records: Sequence[Any] = opened.train(recipe.data.split)
    if recipe.data.select == "val":
        records, _ = hold_out(opened, opened.train(recipe.data.split))
    sampler = IdentitySampler(records, identities=recipe.train.identities, images=recipe.train.images, seed=recipe.seed)
    done = 0
    if (planned.run / "run.json").is_file():
        sessions = read_run(planned.run)[1].sessions
        done = int(sessions[-1]["steps"][1]) if sessions else 0
    return max(0, recipe.train.epochs * (recipe.train.steps or sampler.steps) - done)


def _time_network(opened: DataSet, recipe: Recipe, config: ReproduceConfig) -> tuple[float, float]:
    """Return the seconds of a training step, and those of embedding an image and its mirror image.

    On a CPU a smaller batch is measured, and the time of the whole one computed from its share.
    """
    fabric = make_fabric(config.device, config.precision)
    identities = len({r.identity for r in opened.train(recipe.data.split)})
    people, images = (recipe.train.identities, recipe.train.images) if fabric.device.type == "cuda" else (2, 2)
    scheme = part_scheme(recipe.data.scheme)
    with torch.random.fork_rng(devices=[]):
        model = CSCL(recipe.model.config(identities, len(scheme), ()))
    network, optimiser = fabric.setup(model, make_optimiser(model, recipe.train))
    batch = _draw_batch(people, images=images, parts=len(scheme), size=recipe.data.size)
    piece = replace(recipe, train=replace(recipe.train, accumulate=1))
    criterion = TotalLoss(recipe.loss, recipe.model.tau)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        take_gradients(network, criterion=criterion, batch=batch, alpha=1.0, recipe=piece, fabric=fabric)
        optimiser.step()

    @torch.inference_mode()
    def embed() -> None:
        model.eval().embed(batch["images"].to(fabric.device).float(), batch["infrared"].to(fabric.device))

    network.train()
    share = len(batch["images"]) / (2 * recipe.train.identities * recipe.train.images)
    return _time(step, fabric) / share, _time(embed, fabric) / len(batch["images"])


def _draw_batch(people: int, images: int, parts: int, size: tuple[int, int]) -> dict[str, torch.Tensor]:
    """Return a batch of noise, as `Batches` gives them."""
    count, rng = 2 * people * images, torch.Generator().manual_seed(0)
    return {
        "images": torch.randint(0, 256, (count, 3, *size), dtype=torch.uint8, generator=rng),
        "part_labels": torch.randint(0, parts + 1, (count, *size), dtype=torch.uint8, generator=rng),
        "infrared": torch.arange(count) >= count // 2,
        "identities": torch.arange(people).repeat_interleave(images).repeat(2),
        "confidence": torch.ones(count),
    }


def _time(work: Any, fabric: Fabric) -> float:
    """Return the seconds of one call, after one to warm up."""
    spent = []
    for _ in range(3 if fabric.device.type == "cuda" else 2):
        began = time.perf_counter()
        work()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize(fabric.device)
        spent.append(time.perf_counter() - began)
    return min(spent[1:])
