"""Hashes of what a result was measured on: queries and galleries of a protocol, and the content of their images."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from data.loading.images import load_image_with_hash
from data.records import DataSet, Protocol, Record
from parsing.files import file_hashes

from .scores import Result, list_needed_records


def hash_trials(protocol: Protocol, data_set: DataSet) -> str:
    """Return the SHA-256 of the images and people, by name, of the queries and the gallery of each trial, in order.

    A person's number is not hashed: in `folder` it depends on who else is in the data set.
    """
    lines: dict[str, bytes] = {}
    found = hashlib.sha256()
    for trial in protocol.trials:
        for side in (trial.query, trial.gallery):
            for record in side:
                if record.name not in lines:
                    person = data_set.person(record.identity) if record.identity >= 0 else ""
                    lines[record.name] = "\0".join([record.name, person, *(i.name for i in record.images)]).encode()
                found.update(lines[record.name] + b"\n")
            found.update(b"\n")
    return found.hexdigest()


class ImageHashes:
    """Hashes of the image files below a folder; each file is read once, also if it is loaded by `make_loader`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._files: dict[str, str] = {}

    def make_loader(self, size: tuple[int, int]) -> Callable[[Record], Tensor]:
        """Return a function that loads an image as `embed.make_loader` does, and keeps the hash of what it read."""

        def load(record: Record) -> Tensor:
            image, self._files[record.name] = load_image_with_hash(self.root / record.name, size)
            return image

        return load

    def hash(self, protocol: Protocol) -> str:
        """Return the SHA-256 of the names and the content of all images that a protocol ranks."""
        names = sorted(list_needed_records([protocol]))
        self._files |= file_hashes(self.root, [name for name in names if name not in self._files])
        return hashlib.sha256("".join(f"{self._files[name]} {name}\n" for name in names).encode()).hexdigest()


def add_hashes(result: Result, protocol: Protocol, data_set: DataSet, images: ImageHashes | None = None) -> Result:
    """Return the result of a protocol with the hashes of its trials and, if `images` is given, of its images."""
    return replace(
        result,
        trials_hash=hash_trials(protocol, data_set),
        images_hash="" if images is None else images.hash(protocol),
    )
