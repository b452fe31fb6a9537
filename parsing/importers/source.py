"""Where one mask of an import comes from: a file of its own, or an entry of a file of many."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..files import file_hash
from .label_png import LabelPng


class MaskSource(Protocol):
    """One mask that somebody made; as text it is what messages call it."""

    def read(self) -> LabelPng:
        """Return the mask; MissingError or InputError if there is none."""

    def digest(self) -> str:
        """Return a SHA-256 that changes with the mask."""


@dataclass(frozen=True)
class MaskFile:
    """A mask in a file of its own, which `reader` reads."""

    path: Path
    reader: Callable[[Path], LabelPng]

    def read(self) -> LabelPng:
        return self.reader(self.path)

    def digest(self) -> str:
        return file_hash(self.path)

    def __str__(self) -> str:
        return str(self.path)
