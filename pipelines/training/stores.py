"""Images and part labels of a training, from stores beside the mask cache that all processes of a machine share."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from data.loading.store import Buffer, ImageStore, Store, digest, find_folder
from data.records import Record
from parsing.cache.reader import MaskCache

from .batches import iterate_part_labels
from .progress import Progress


class LabelStore(Store):
    """The part labels (H, W) of the masks of a list of images, at the size of the network's input.

    Args:
        cache: of the masks.
        records: images that it has a mask of.
        table: (256,), from classes to part numbers, see `MaskCache.table`.
        size: (H, W).
    """

    what = "part labels"

    def __init__(
        self, cache: MaskCache, records: Sequence[Record], table: NDArray[np.uint8], size: tuple[int, int]
    ) -> None:
        self.cache, self.records, self.table, self.size = cache, records, table, size
        names = [r.name for r in records]
        super().__init__(
            find_folder(cache.path),
            group=f"labels-{size[0]}x{size[1]}-{digest([names, table.tolist()])[:12]}",
            content={"shards": cache.shard_hashes},
            names=names,
            shape=size,
        )

    def compute(self) -> Iterator[tuple[Tensor, Buffer]]:
        """Yield the part labels of some images after the other, hashed as they are."""
        for some in iterate_part_labels(self.cache, records=self.records, table=self.table, size=self.size):
            yield some, some.contiguous().numpy().data


def make_image_store(cache: MaskCache, root: Path, records: Sequence[Record], size: tuple[int, int]) -> ImageStore:
    """Return the store of the images of these records; nothing is written yet.

    It belongs to images of the sizes that the cache recorded: if it is there, the sizes need not be compared again.

    Args:
        cache: with the sizes of the images.
        root: folder of the images.
        records: images that the cache has a mask of.
        size: (height, width) of the network's input.
    """
    sizes = np.ascontiguousarray(cache.source_size[[cache.number(r.name) for r in records]], "<i8")
    about = {"source_size": hashlib.sha256(sizes.tobytes()).hexdigest()}
    return ImageStore(find_folder(cache.path), root=root, names=[r.name for r in records], size=size, about=about)


def open_store(store: Store, fabric: Fabric, progress: Progress) -> tuple[dict[str, Tensor], str]:
    """Return all arrays of a store by name, and their hash. The first process of each machine writes a missing store.

    If it cannot be written, a note says so, and every process computes them into its own memory.

    Raises:
        UnreadableImageError, CacheError: if an image or a mask cannot be read; the message names it.
    """
    if fabric.local_rank == 0 and (reason := store.make()):
        progress.note(
            f"{store.path.parent} cannot be written ({reason}): every process keeps the {store.what} in its own "
            f"memory, {store.bytes / 1e9:.1f} GB"
        )
    fabric.barrier()
    arrays, content = store.open()
    return dict(zip(store.names, arrays, strict=True)), content


def hash_masks(labels: str, confidence: Tensor) -> str:
    """Return the SHA-256 of the masks of a training.

    Args:
        labels: hash of their part labels, see `open_store`.
        confidence: (N,), their weights.
    """
    return hashlib.sha256(labels.encode() + confidence.numpy().tobytes()).hexdigest()
