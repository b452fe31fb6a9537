"""Training batches of images and part labels, from data that lies in memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from data.loading.sampler import IdentitySampler
from data.loading.transforms import JointTransform, Stack
from data.records import Record
from parsing.cache.provenance import command_of
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.modality import MODALITIES
from parsing.words import quote_path

from ..recipes.reading import Recipe

_BLOCK = 1024
"""Number of masks that are in memory at the cache's own size."""


class Batches(Dataset[dict[str, Tensor]]):
    """All batches of a run, by their number from 0; batch `i` depends on the seed and `i` only.

    A run that resumes at step `i` thus sees the batches that it would have seen. A batch holds `train.identities`
    identities, each with `train.images` visible and as many infrared images. It is divided evenly over the processes,
    and within a process into `train.accumulate` pieces, always by identity: all images of an identity are in one piece.

    Args:
        records: N training images.
        images: N of (3, H, W) uint8, in the order of the records, as are the two below.
        part_labels: N of (H, W) uint8, 0..Q or 255.
        confidence: (N,) in [0, 1].
        sampler: draws the images of each batch.
        steps: number of batches per epoch.
        recipe: of the run.
        flipped: permutation of the Q+1 classes under a left-right flip, see `ModelConfig.flipped`.
        process: (number, count): number of the process that uses this object, from 0, and how many there are.

    Raises:
        InputError: if the identities of a batch cannot be divided evenly.
    """

    def __init__(
        self,
        records: Sequence[Record],
        images: Stack,
        part_labels: Stack,
        confidence: Tensor,
        sampler: IdentitySampler,
        steps: int,
        recipe: Recipe,
        flipped: tuple[int, ...],
        process: tuple[int, int] = (0, 1),
    ) -> None:
        number, count = process
        pieces = recipe.train.accumulate
        all_pieces = count * pieces
        if sampler.identities % all_pieces:
            raise InputError(
                f"train.identities = {sampler.identities} cannot be divided evenly among {count} processes with "
                f"train.accumulate = {pieces}; make it a multiple of {all_pieces}"
            )
        # A slot is a position in the whole batch. The sampler puts all visible images first, then all infrared images,
        # both in the same order of identities: (modality, piece, image) -> one row of slots per piece.
        slots = torch.arange(2 * sampler.identities * sampler.images).view(2, all_pieces, -1).transpose(0, 1).flatten(1)
        self._slots = slots[number * pieces : (number + 1) * pieces].flatten()
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
        """Return this process's share of a batch, piece after piece, as tensors by name.

        images (B, 3, H, W) uint8, part_labels (B, H, W) uint8, infrared (B,) bool, identities (B,) long from 0, and
        confidence (B,) float32.
        """
        return self._make_batch(number, self._slots)

    def whole(self, number: int) -> tuple[dict[str, Tensor], list[str]]:
        """Return the whole batch of all processes, as `batches[number]` does, and the names of its images."""
        slots = torch.arange(2 * self.sampler.identities * self.sampler.images)
        return self._make_batch(number, slots), [self.records[row].name for row in self._draw_rows(number).tolist()]

    def _draw_rows(self, number: int) -> Tensor:
        return torch.from_numpy(self.sampler.batch(*divmod(number, self.steps)))

    def _make_batch(self, number: int, slots: Tensor) -> dict[str, Tensor]:
        rows = self._draw_rows(number)[slots]
        # The seed of an augmentation contains the slot, so that an image gets the same one whatever the processes are.
        images, part_labels = self.transform(
            [self.images[row] for row in rows.tolist()],
            masks=[self.part_labels[row] for row in rows.tolist()],
            infrared=self.infrared[rows].tolist(),
            seeds=[_make_seed(self.seed, number, slot) for slot in slots.tolist()],
        )
        return {
            "images": images,
            "part_labels": part_labels,
            "infrared": self.infrared[rows],
            "identities": self.identities[rows],
            "confidence": self.confidence[rows],
        }


def _make_seed(*numbers: int) -> int:
    """Return a seed for torch, which takes 63 bits, that depends on all of the numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def select_with_masks(records: Sequence[Record], cache: MaskCache) -> tuple[Record, ...]:
    """Return the records whose image has a mask; images that the parser could not read have none.

    Raises:
        InputError: if an image is not in the cache at all.
    """
    lacking = [r.name for r in records if r.name not in cache]
    if lacking:
        command = f"{command_of(cache.made_by)} --dataset {cache.data_set} --out {quote_path(cache.path)}"
        raise InputError(
            f"{cache.path} has no mask of {lacking[0]}" + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
            + f"; run `{command}` again to complete it"
            + (", with a mask of each" if "import" in command_of(cache.made_by) else "")
        )  # fmt: skip
    return tuple(r for r in records if cache.has_mask[cache.number(r.name)])


def read_part_labels(
    cache: MaskCache, records: Sequence[Record], table: NDArray[np.uint8], size: tuple[int, int]
) -> Tensor:
    """Return the part labels (N, H, W) uint8 of all records, as `iterate_part_labels` yields them."""
    blocks = list(iterate_part_labels(cache, records=records, table=table, size=size))
    return torch.cat(blocks) if blocks else torch.empty((0, *size), dtype=torch.uint8)


def iterate_part_labels(
    cache: MaskCache, records: Sequence[Record], table: NDArray[np.uint8], size: tuple[int, int]
) -> Iterator[Tensor]:
    """Yield part labels (n, H, W) uint8 of some records after the other, resized by nearest neighbour.

    Args:
        cache: with masks of any size.
        records: N images.
        table: (256,), from classes to part numbers, see `MaskCache.table`.
        size: (H, W).
    """
    rows, columns = (
        ((np.arange(wanted, dtype=np.float32) + 0.5) * have / wanted).astype(np.int64)
        for wanted, have in zip(size, cache.size, strict=True)
    )
    for start in range(0, len(records), _BLOCK):
        labels = cache.preload([r.name for r in records[start : start + _BLOCK]])
        yield torch.from_numpy(table[labels[:, rows[:, None], columns]])


def permute_within_modality(records: Sequence[Record], seed: int) -> tuple[int, ...]:
    """Return for each record the number of another one of its modality, so that each number occurs once.

    Training with the masks of these images (`data.masks = "other"`) is the control that shows what masks are worth.
    """
    result = list(range(len(records)))
    for salt, modality in enumerate(MODALITIES):
        rows = np.array([n for n, r in enumerate(records) if r.modality == modality])
        # Each takes the image before it in a random cyclic order: nobody keeps its own, as in a plain permutation.
        order = np.random.default_rng((seed, 0x07E2, salt)).permutation(rows)
        for row, other in zip(order.tolist(), np.roll(order, 1).tolist(), strict=True):
            result[row] = other
    return tuple(result)


def read_confidences(cache: MaskCache, records: Sequence[Record], least: float) -> Tensor:
    """Return the confidences (N,) of the masks, in [0, 1]; 0 instead of those below `least`."""
    found = torch.from_numpy(cache.confidence[[cache.number(r.name) for r in records]])
    return torch.where(found < least, 0.0, found)
