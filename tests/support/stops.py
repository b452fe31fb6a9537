"""Stopping a training at a batch, as Ctrl-C does."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from pipelines.training.batches import Batches


@contextmanager
def stopped_before_batch(number: int) -> Iterator[None]:
    """Raise KeyboardInterrupt in place of the batch of this number, from 0."""
    fetch = Batches.__getitem__

    def stopped(batches: Batches, wanted: int) -> dict[str, torch.Tensor]:
        if wanted == number:
            raise KeyboardInterrupt
        return fetch(batches, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batches, "__getitem__", stopped)
        yield
