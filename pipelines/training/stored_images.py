"""The decoded images of a training, from a store beside the mask cache that all processes of a machine share."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from torch import Tensor

from data.loading.store import ImageStore, find_folder
from data.records import Record
from parsing.cache.reader import MaskCache

from .progress import Progress


def make_store(
    masks: Path, root: Path, records: Sequence[Record], cache: MaskCache, size: tuple[int, int]
) -> ImageStore:
    """Return the store of the images of these records; nothing is written yet.

    It belongs to images of the sizes that the cache recorded: if it is there, the sizes need not be compared again.

    Args:
        masks: index file of the cache.
        root: folder of the images.
        records: images that the cache has a mask of.
        cache: with their sizes.
        size: (height, width) of the network's input.
    """
    sizes = np.ascontiguousarray(cache.source_size[[cache.number(r.name) for r in records]], "<i8")
    about = {"source_size": hashlib.sha256(sizes.tobytes()).hexdigest()}
    return ImageStore(find_folder(masks), root=root, names=[r.name for r in records], size=size, about=about)


def open_store(store: ImageStore, fabric: Fabric, progress: Progress) -> dict[str, Tensor]:
    """Return all images (3, H, W) uint8 by name. The first process of each machine writes the store if it is missing.

    If it cannot be written, a note says so, and every process decodes the images into its own memory.

    Raises:
        UnreadableImageError: if an image cannot be read; the message names it.
    """
    if fabric.local_rank == 0 and (reason := store.make()):
        progress.note(
            f"{store.path.parent} cannot be written ({reason}): every process keeps the images in its own memory, "
            f"{store.bytes / 1e9:.1f} GB"
        )
    fabric.barrier()
    return dict(zip(store.names, store.open(), strict=True))
