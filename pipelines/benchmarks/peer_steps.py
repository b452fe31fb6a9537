"""The training step and loop of AGW's own code, on random images, for measuring."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

from data.loading.transforms import MEAN, STD, normalise

from .peer import peer_modules
from .steps import IDENTITIES, POOL, Setting, draw_batch, wait

WORKERS = 4
"""Processes that make batches: their default."""
LONGEST = 2000
"""Steps of their sampler, which draws them all at once."""
PeerStep = Callable[[Tensor, Tensor, Tensor], None]


def make_peer_step(peer: Path, setting: Setting, device: str) -> Callable[[], None]:
    """Return their step on one batch."""
    batch, step = draw_batch(setting.read("agw")), _make_step(peer, device)
    visible, infrared = normalise(batch["images"]).chunk(2)

    def run() -> None:
        step(visible, infrared, batch["identities"])
        wait(device)

    return run


def make_peer_loop(peer: Path, setting: Setting, device: str, steps: int) -> Callable[[], None]:
    """Return `steps` of their training with batches from their data set, sampler and transforms.

    Batches that were made in advance, while nobody trained, are thrown away first.
    """
    step, batches = _make_step(peer, device), _load(peer, setting)

    def loop() -> None:
        for number, (visible, infrared, one, other) in zip(range(2 * WORKERS + steps), batches, strict=False):
            if number >= 2 * WORKERS:
                step(visible, infrared, torch.cat([one, other]))
        wait(device)

    return loop


def _make_step(peer: Path, device: str) -> PeerStep:
    """Return a step of their network, losses and optimiser, with the figures that their loop asks for in each."""
    with peer_modules(peer, "model", "loss") as (model, loss):
        network: Any = model.embed_net(IDENTITIES).to(device).train()
        triplet = loss.TripletLoss_WRT().to(device)
    if device != "cpu":
        torch.backends.cudnn.benchmark = True
    last = {id(p) for module in (network.bottleneck, network.classifier) for p in module.parameters()}
    rest = [p for p in network.parameters() if id(p) not in last]
    groups = [{"params": rest}, {"params": [p for p in network.parameters() if id(p) in last]}]
    optimiser = torch.optim.SGD(groups, lr=0.0, weight_decay=5e-4, momentum=0.9, nesterov=True)
    identity = nn.CrossEntropyLoss()

    def step(visible: Tensor, infrared: Tensor, people: Tensor) -> None:
        people = people.to(device)
        feature, logits = network(visible.to(device), infrared.to(device))
        losses = [identity(logits, people), triplet(feature, people)[0]]
        logits.argmax(1).eq(people).sum().item()
        total = losses[0] + losses[1]
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        for value in (total, *losses):
            value.item()

    return step


def _load(peer: Path, setting: Setting) -> Iterator[list[Tensor]]:
    """Yield batches of their data set, made by as many processes as they use."""
    recipe = setting.read("agw")
    people, images, (height, width) = recipe.train.identities, recipe.train.images, recipe.data.size
    with peer_modules(peer, "data_loader", "utils") as (data_loader, utils):
        with _their_files(2 * images, (height, width)):
            data = data_loader.SYSUData("")
        labels = data.train_color_label
        # Labels again and again: an epoch is as long as these, and a new epoch would start new processes.
        many = np.tile(labels, -(-LONGEST * people * images // len(labels)))
        places = utils.GenIdx(labels, labels)
        sampler = utils.IdentitySampler(many, many, *places, images, people, 0)
    data.cIndex, data.tIndex = sampler.index1, sampler.index2
    data.transform = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.Pad(recipe.augment.padding),
            transforms.RandomCrop((height, width)),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    yield from DataLoader(data, people * images, sampler=sampler, num_workers=WORKERS, drop_last=True)


@contextmanager
def _their_files(shots: int, size: tuple[int, int]) -> Iterator[None]:
    """Be in a folder from which they find random images of POOL people at their fixed place."""
    rng, before = np.random.default_rng(0), Path.cwd()
    with TemporaryDirectory() as place:
        folder = Path(place) / "Datasets" / "SYSU-MM01"
        folder.mkdir(parents=True)
        (Path(place) / "run").mkdir()
        for kind in ("rgb", "ir"):
            images = rng.integers(0, 256, (POOL * shots, *size, 3), dtype=np.uint8)
            np.save(folder / f"train_{kind}_resized_img.npy", images)
            np.save(folder / f"train_{kind}_resized_label.npy", np.arange(POOL).repeat(shots))
        os.chdir(Path(place) / "run")
        try:
            yield
        finally:
            os.chdir(before)
