"""Training steps and loops on random images, as `cscl train` does them, for measuring."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cscl.model import CSCL
from data.loading.sampler import IdentitySampler
from data.records import Record
from parsing.modality import MODALITIES

from ..recipes.reading import Recipe, read_recipe
from ..training.batches import Batches
from ..training.feed import WORKERS, feed
from ..training.processes import make_fabric
from ..training.stepper import Stepper

IDENTITIES = 395
"""Of the training set of SYSU-MM01."""
PARTS = 4
POOL = 32
"""People whose images a loop draws from."""
ENDLESS = 1_000_000
"""Steps per epoch of a loop: more than anybody measures."""


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


def make_step(recipe: Recipe, device: str, count: int = 1) -> Callable[[], None]:
    """Return `count` training steps on one batch of random images and masks, at a rate of 0."""
    fabric = make_fabric(device, "auto")
    stepper = Stepper(recipe, fabric, CSCL(recipe.model.config(IDENTITIES, PARTS, ())))
    batch = draw_batch(recipe)

    def step() -> None:
        for _ in range(count):
            stepper(batch, alpha=0.5, factor=0.0)
        wait(device)

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


def make_loop(recipe: Recipe, device: str, steps: int) -> Callable[[], None]:
    """Return `steps` training steps with batches drawn, augmented and copied as in a training.

    Batches that were made in advance, while nobody trained, are thrown away first.
    """
    fabric = make_fabric(device, "auto")
    stepper = Stepper(recipe, fabric, CSCL(recipe.model.config(IDENTITIES, PARTS, ())))
    batches = feed(draw_batches(recipe), 0, fabric.device)
    ahead = 2 * WORKERS.get(fabric.device.type, 0)  # two per process, torch's default

    def loop() -> None:
        for number, batch in zip(range(ahead + steps), batches, strict=False):
            if number >= ahead:
                stepper(batch, alpha=0.5, factor=0.0)
        wait(device)

    return loop


def draw_batches(recipe: Recipe) -> Batches:
    """Return batches of POOL random people, with twice as many images of each as a batch shows."""
    shots = range(2 * recipe.train.images)
    records = [
        Record(f"{modality}/{person}/{shot}.jpg", identity=person, camera=1, modality=modality)
        for person in range(max(POOL, recipe.train.identities))
        for modality in MODALITIES
        for shot in shots
    ]
    rng, size = torch.Generator().manual_seed(0), recipe.data.size
    sampler = IdentitySampler(records, recipe.train.identities, images=recipe.train.images, seed=0)
    return Batches(
        records,
        images=torch.randint(0, 256, (len(records), 3, *size), generator=rng, dtype=torch.uint8),
        part_labels=torch.randint(0, PARTS + 1, (len(records), *size), generator=rng, dtype=torch.uint8),
        confidence=torch.ones(len(records)),
        sampler=sampler,
        steps=ENDLESS,
        recipe=recipe,
        flipped=tuple(range(PARTS + 1)),
    )


def wait(device: str) -> None:
    """Wait until a GPU has done all that it was asked for."""
    if device != "cpu":
        torch.cuda.synchronize(device)
