"""The content of a cache's shards before they are written: which images, in which columns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..labels import IGNORED
from ..modality import MODALITIES, Modality
from .index import shard_name
from .shard import Columns, Status, StoredFile, write_shard

MOST_IN_A_SHARD = 1024


class ImageRecord(Protocol):
    """What a data set knows of an image; `data.records.Record` is one."""

    @property
    def name(self) -> str:
        """Path below the data set's folder, with forward slashes."""

    @property
    def identity(self) -> int:
        """The data set's number of the person; -1 if unknown."""

    @property
    def camera(self) -> int:
        """The data set's number of the camera; 0 if unknown."""

    @property
    def modality(self) -> Modality:
        """Visible or infrared."""


@dataclass(frozen=True)
class OneImage:
    """An ImageRecord of one's own."""

    name: str
    identity: int = -1
    camera: int = 0
    modality: Modality = "visible"


Image = TypeVar("Image", bound=ImageRecord)


def shard_length(images: int) -> int:
    """Return how many images a shard has in a cache of so many: it depends on nothing else, so that any number of
    workers writes the same files."""
    return min(MOST_IN_A_SHARD, max(64, math.ceil(images / 32)))


def plan_shards(folder: Path, images: Sequence[Image]) -> dict[Path, Sequence[Image]]:
    """Return the path of each shard in `folder` and its images, in order."""
    length = shard_length(len(images))
    return {
        folder / shard_name(start // length): images[start : start + length] for start in range(0, len(images), length)
    }


def people_columns(images: Sequence[ImageRecord]) -> dict[str, NDArray[Any]]:
    """Return the columns (N) of a shard that say who is on the images and what took them."""
    return {
        "identity": np.array([image.identity for image in images], np.int32),
        "camera": np.array([image.camera for image in images], np.int32),
        "modality": np.array([MODALITIES.index(image.modality) for image in images], np.uint8),
    }


class ShardBuilder:
    """The content of one shard while it is made: each image is unreadable until its mask is put.

    Args:
        images: of the shard, in order.
        size: (height, width) of the masks.
        probs_shape: (C, h, w) of the probabilities of an image; None for none.

    Attributes:
        status: (N) uint8, may be set for images without a mask.
    """

    def __init__(
        self, images: Sequence[ImageRecord], size: tuple[int, int], probs_shape: tuple[int, int, int] | None = None
    ) -> None:
        count = len(images)
        self.images = images
        self.labels = np.zeros((count, *size), np.uint8)
        self.status = np.full(count, Status.UNREADABLE, np.uint8)
        self.confidence = np.zeros(count, np.float32)
        self.source_size = np.zeros((count, 2), np.int32)
        self.probs = None if probs_shape is None else np.zeros((count, *probs_shape), np.uint8)

    def put(
        self,
        rows: Sequence[int],
        labels: NDArray[np.uint8],
        source_size: Sequence[tuple[int, int]],
        confidence: NDArray[np.float32] | None = None,
        probs: NDArray[np.uint8] | None = None,
    ) -> None:
        """Enter the masks of K images.

        Args:
            rows: (K) their places in the shard.
            labels: (K, H, W) classes; an image without a class other than background and `IGNORED` is empty.
            source_size: (K) height and width of the image files.
            confidence: (K) in [0, 1]; None for 1, and 0 for an empty mask.
            probs: (K, C, h, w) class probabilities in 1/255, if the shard has them.
        """
        found = ((labels > 0) & (labels != IGNORED)).any((1, 2))
        self.labels[rows] = labels
        self.status[rows] = np.where(found, Status.OK, Status.EMPTY)
        self.confidence[rows] = found if confidence is None else confidence
        self.source_size[rows] = source_size
        if self.probs is not None and probs is not None:
            self.probs[rows] = probs

    def write(self, path: Path, attributes: Mapping[str, Any]) -> StoredFile:
        """Write the shard `path`, whole or not at all.

        Raises:
            CsclError: if the disk is full or the place cannot be written to.
        """
        names = np.array([image.name for image in self.images], dtype=object)
        people = people_columns(self.images)
        columns = Columns(names, status=self.status, confidence=self.confidence, source_size=self.source_size, **people)
        return StoredFile(
            path,
            columns=columns,
            attributes=attributes,
            sha256=write_shard(path, self.labels, columns, attributes, self.probs),
        )
