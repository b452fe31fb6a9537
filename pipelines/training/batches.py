"""Batches of images and part masks for stage 2, from images and a mask cache held in memory."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from data.loading.sampler import IdentitySampler
from data.loading.transforms import JointTransform
from data.records import Record
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.modality import MODALITIES
from parsing.words import quoted

from ..recipes.reading import Recipe


class Batches(Dataset[dict[str, Tensor]]):
    """Batch number `i` of the run, made of nothing but the seed and `i`.

    images (N, 3, H, W) uint8, part_labels (N, H, W) uint8, confidence (N) in [0, 1]: those of `records`.
    steps: batches an epoch. flipped: what mirroring does to the parts.
    process: (number, count) of the process that these are for, which gets `identities / count` whole people of each
        batch, all their images together with `train.accumulate` pieces of whole people one after the other.
    InputError if the people of a batch cannot be dealt out evenly.
    """

    def __init__(
        self,
        records: Sequence[Record],
        images: Tensor,
        part_labels: Tensor,
        confidence: Tensor,
        sampler: IdentitySampler,
        steps: int,
        recipe: Recipe,
        flipped: tuple[int, ...],
        process: tuple[int, int] = (0, 1),
    ) -> None:
        number, count = process
        dealt, pieces = count * recipe.train.accumulate, recipe.train.accumulate
        if sampler.identities % dealt:
            raise InputError(
                f"train.identities = {sampler.identities} cannot be dealt evenly to {count} processes with "
                f"train.accumulate = {pieces}; make it a multiple of {dealt}"
            )
        slots = torch.arange(2 * sampler.identities * sampler.images).view(2, dealt, -1).transpose(0, 1).flatten(1)
        self._slots = slots[number * pieces : (number + 1) * pieces].flatten()
        """Of this process in the whole batch."""
        self.records = records
        self.images, self.part_labels, self.confidence = images, part_labels, confidence
        self.sampler, self.steps, self.seed = sampler, steps, recipe.seed
        self.infrared = torch.tensor([r.modality == "infrared" for r in records])
        numbers = {identity: n for n, identity in enumerate(sorted({r.identity for r in records}))}
        self.identities = torch.tensor([numbers[r.identity] for r in records])
        self.transform = JointTransform(recipe.data.size, recipe.augment, flipped)
        self.total = recipe.train.epochs * steps

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """images (B, 3, H, W) and part_labels (B, H, W) uint8; infrared, identities from 0, and confidence (B)."""
        return self._take(number, self._slots)

    def whole(self, number: int) -> tuple[dict[str, Tensor], list[str]]:
        """Return the batch of all processes, and its images' names."""
        slots = torch.arange(2 * self.sampler.identities * self.sampler.images)
        return self._take(number, slots), [self.records[row].name for row in self._rows(number).tolist()]

    def _rows(self, number: int) -> Tensor:
        return torch.from_numpy(self.sampler.batch(*divmod(number, self.steps)))

    def _take(self, number: int, slots: Tensor) -> dict[str, Tensor]:
        rows = self._rows(number)[slots]
        moved = [
            self.transform(
                self.images[row], self.part_labels[row], bool(self.infrared[row]), _seed(self.seed, number, slot)
            )
            for slot, row in zip(slots.tolist(), rows.tolist(), strict=True)
        ]
        return {
            "images": torch.stack([image for image, _ in moved]),
            "part_labels": torch.stack([mask for _, mask in moved]),
            "infrared": self.infrared[rows],
            "identities": self.identities[rows],
            "confidence": self.confidence[rows],
        }


def _seed(*numbers: int) -> int:
    """Return a seed for torch out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def with_masks(records: Sequence[Record], cache: MaskCache) -> tuple[Record, ...]:
    """Return the records whose image could be read; InputError if one is not in the cache."""
    lacking = [r.name for r in records if r.name not in cache]
    if lacking:
        raise InputError(
            f"{cache.path} has no mask of {lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
            + f"; run `cscl parse --dataset {cache.data_set} --out {quoted(cache.path)}` again to complete it"
        )  # fmt: skip
    return tuple(r for r in records if cache.has_mask[cache.number(r.name)])


def read_part_labels(
    cache: MaskCache, records: Sequence[Record], table: NDArray[np.uint8], size: tuple[int, int]
) -> Tensor:
    """Return part labels (N, H, W) uint8 at the network's input size, read once; nearest if the cache has another."""
    labels = torch.from_numpy(table[cache.preload(r.name for r in records)])
    if tuple(labels.shape[1:]) == size:
        return labels
    rows, columns = (
        ((torch.arange(wanted) + 0.5) * have / wanted).long()
        for wanted, have in zip(size, labels.shape[1:], strict=True)
    )
    return labels[:, rows][:, :, columns]


def of_others(records: Sequence[Record], seed: int) -> tuple[int, ...]:
    """For each record the number of another one of its modality, each taken once: a control of what masks are worth."""
    answer = list(range(len(records)))
    for salt, modality in enumerate(MODALITIES):
        rows = np.array([n for n, r in enumerate(records) if r.modality == modality])
        order = np.random.default_rng((seed, 0x07E2, salt)).permutation(rows)
        for row, other in zip(order.tolist(), np.roll(order, 1).tolist(), strict=True):
            answer[row] = other
    return tuple(answer)


def confidences(cache: MaskCache, records: Sequence[Record], least: float) -> Tensor:
    """Confidence (N) of the masks in [0, 1], float32; 0 if it is below `least`."""
    found = torch.from_numpy(cache.confidence[[cache.number(r.name) for r in records]])
    return torch.where(found < least, 0.0, found)
