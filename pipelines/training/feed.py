"""The batches of a training, one after the other, while others are made."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from parsing.stopping import ignore_signals

from .batches import Batches

WORKERS = {"cuda": 4}
"""Number of processes that make batches, by device; on a CPU the training needs the cores itself."""


def feed(batches: Batches, start: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Yield the batches from number `start` on, for CUDA in pinned memory, from where copies do not wait."""
    yield from DataLoader(
        batches, batch_size=None, sampler=range(start, len(batches)), worker_init_fn=ignore_signals,
        num_workers=WORKERS.get(device.type, 0), pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # without one the loader advances the global generator
    )  # fmt: skip
