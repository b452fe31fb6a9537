"""`cscl benchmark train`: a training step of the whole network beside the baseline's and, with `--peer`, AGW's own."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cscl.model import CSCL
from data.loading.transforms import normalise

from ..devices import find_device
from ..recipes.reading import Recipe, read_recipe
from ..training.processes import make_fabric
from ..training.stepper import Stepper
from .measure import Row, Side, by_turns, compared
from .memory import peak_memory
from .peer import peer_modules

IDENTITIES = 395
"""Of the training set of SYSU-MM01."""
PARTS = 4
MEMORY_RUNS = 3
"""Number of times that memory is measured at most: it hardly differs."""


@dataclass(frozen=True)
class Setting:
    """What is trained: a shipped recipe, and the number of images per step."""

    recipe: str
    images: int

    def read(self, method: str) -> Recipe:
        """Return the recipe of a method, with a quarter of the images from each person."""
        people = max(2, self.images // 8)
        changes = [f"train.identities={people}", f"train.images={self.images // (2 * people)}"]
        return read_recipe(Path(self.recipe), [*changes, "model.pretrained=false"], method)

    def __str__(self) -> str:
        recipe = self.read("cscl")
        return f"{self.images} images of {recipe.data.size[0]}x{recipe.data.size[1]}, {recipe.model.backbone}"


CPU = (Setting("small", 32), Setting("cscl", 8))
GPU = (Setting("cscl", 64), Setting("cscl", 128))


def measure(runs: int, peer: Path | None, device: str) -> list[Row]:
    """Return two rows per setting, time and memory, and one more with `peer`, a checkout of AGW.

    Raises:
        InputError: if this machine does not have the device.
        MissingError: if the checkout lacks a module.
    """
    device = find_device(device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        settings = CPU if device == "cpu" else GPU
        return [row for setting in settings for row in _rows(setting, runs, peer, device)]
    finally:
        torch.set_num_threads(threads)


def _rows(setting: Setting, runs: int, peer: Path | None, device: str) -> list[Row]:
    sides: dict[str, Side] = {method: make_step(setting.read(method), device) for method in ("cscl", "baseline")}
    rows = [_compare(f"training step, {setting}", sides, setting.images, runs, device, "the baseline")]
    del sides
    rows.append(_compare_memory(setting, min(runs, MEMORY_RUNS), device))
    if peer is not None and setting.recipe == "cscl":  # whose size and network are AGW's
        theirs = make_peer_step(peer, setting, device)
        sides = {"agw": make_step(setting.read("agw"), device), "peer": theirs}
        rows.append(_compare(f"step of `agw`, {setting}", sides, setting.images, runs, device, "AGW's own code"))
    return rows


def _compare(what: str, sides: dict[str, Side], images: int, runs: int, device: str, other: str) -> Row:
    """Return the row of two sides."""
    ours, theirs = sides
    on_cpu = device == "cpu"
    seconds = by_turns(sides, runs, time.process_time if on_cpu else time.perf_counter)
    unit = "images per second" + (" of one core" if on_cpu else "")
    return compared(what, seconds=seconds, ours=ours, theirs=theirs, count=images, unit=unit, other=other)


def _compare_memory(setting: Setting, runs: int, device: str) -> Row:
    """Return the row of the memory that each needs at its peak: weights, gradients, optimiser and activations."""
    found = {
        method: [peak_memory(torch.device(device), run_steps, setting, method, device) for _ in range(runs)]
        for method in ("cscl", "baseline")
    }
    ratios = [ours / theirs for ours, theirs in zip(found["cscl"], found["baseline"], strict=True)]
    return Row(
        what=f"training step, {setting}",
        ours=statistics.median(found["cscl"]),
        theirs=statistics.median(found["baseline"]),
        unit="MiB",
        other="the baseline's memory",
        ratio=statistics.median(ratios),
        least=min(ratios),
        most=max(ratios),
        runs=runs,
    )


def run_steps(setting: Setting, method: str, device: str) -> None:
    """Make a network and train it for two steps; the second has the optimiser's state from the beginning on."""
    torch.set_num_threads(1)
    step = make_step(setting.read(method), device)
    step()
    step()


def make_step(recipe: Recipe, device: str) -> Callable[[], None]:
    """Return a training step on random images and masks, as `cscl train` does it, at a rate of 0."""
    fabric = make_fabric(device, "auto")
    stepper = Stepper(recipe, fabric, CSCL(recipe.model.config(IDENTITIES, PARTS, ())))
    batch = draw_batch(recipe)

    def step() -> None:
        stepper(batch, alpha=0.5, factor=0.0)
        _wait(device)

    return step


def draw_batch(recipe: Recipe) -> dict[str, Tensor]:
    """Return a batch of random images and masks, of the size and in the order of `Batches`."""
    half, (height, width) = recipe.train.identities * recipe.train.images, recipe.data.size
    rng = torch.Generator().manual_seed(0)
    return {
        "images": torch.randint(0, 256, (2 * half, 3, height, width), generator=rng, dtype=torch.uint8),
        "part_labels": torch.randint(0, PARTS + 1, (2 * half, height, width), generator=rng, dtype=torch.uint8),
        "infrared": torch.arange(2 * half) >= half,
        "identities": torch.arange(2 * half) % half // recipe.train.images,
        "confidence": torch.ones(2 * half),
    }


def make_peer_step(peer: Path, setting: Setting, device: str) -> Callable[[], None]:
    """Return a step of their network, losses and optimiser, with the figures that their loop asks for in each."""
    batch = draw_batch(setting.read("agw"))
    visible, infrared = normalise(batch["images"]).chunk(2)
    with peer_modules(peer, "model", "loss") as (model, loss):
        network: Any = model.embed_net(IDENTITIES).to(device).train()
        triplet = loss.TripletLoss_WRT().to(device)
    last = [*network.bottleneck.parameters(), *network.classifier.parameters()]
    rest = [p for p in network.parameters() if all(p is not one for one in last)]
    groups = [{"params": rest}, {"params": last}]
    optimiser = torch.optim.SGD(groups, lr=0.0, weight_decay=5e-4, momentum=0.9, nesterov=True)
    identity = nn.CrossEntropyLoss()

    def step() -> None:
        one, two, people = (values.to(device) for values in (visible, infrared, batch["identities"]))
        feature, logits = network(one, two)
        losses = identity(logits, people), triplet(feature, people)[0]
        correct = logits.argmax(1).eq(people).sum().item()
        optimiser.zero_grad()
        sum(losses).backward()
        optimiser.step()
        _ = correct, [value.item() for value in losses]
        _wait(device)

    return step


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()
