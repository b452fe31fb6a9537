"""Annotated photographs as commands read them: the photograph upright, its labels read as every label PNG is."""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from data.photographs.library import Photos
from parsing.errors import InputError, MissingError
from parsing.images import UnreadableImageError, orientation, read_image, turned
from parsing.importers.label_values import read_labels
from parsing.importers.placing import same_aspect
from parsing.labels import IGNORED, label_set


class Annotated(Photos):
    """`Photos` with palette labels, 16-bit ones and EXIF; what is in doubt is said once, to stderr."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._told = False

    def photo(self, photo_id: str, labelled: bool = True) -> NDArray[np.uint8]:
        """Return the photograph (H, W, 3) in RGB, upright."""
        path = self._path(photo_id, labelled)
        if not path.is_file():
            raise MissingError(f"{path} is named in meta.json but missing")
        try:
            return read_image(path)
        except UnreadableImageError as error:
            raise InputError(f"photograph cannot be read: {error}") from error

    def parts(self, photo_id: str) -> NDArray[np.uint8]:
        """Its street classes (H, W), upright; InputError if they are clearly of another shape."""
        path, street = self.root / "parts" / f"{photo_id}.png", label_set("street")
        if not path.is_file():
            raise MissingError(f"{path} is named in meta.json but missing")
        labels, notes = read_labels(path, street)
        if (labels == IGNORED).any():
            raise InputError(f"{path}: holds {IGNORED}, but there are only the street classes 0 to {len(street) - 1}")
        if notes and not self._told:
            tqdm.write(f"note: {'; '.join(notes)}", file=sys.stderr)
            self._told = True
        return self._as_photo(photo_id, path, labels)

    def _path(self, photo_id: str, labelled: bool) -> Path:
        return self.root / ("photos" if labelled else "unlabelled") / f"{photo_id}.jpg"

    def _as_photo(self, photo_id: str, path: Path, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the labels, turned with the photograph where their size tells that they lie on it as it is stored."""
        try:
            stored, turn = orientation(self._path(photo_id, labelled=True))
        except UnreadableImageError:
            return labels  # `photo` tells
        upright = stored[::-1] if turn >= 5 else stored
        if same_aspect(labels.shape, upright):
            return labels
        if turn >= 5 and same_aspect(labels.shape, stored):
            return turned(labels, turn)
        raise InputError(
            f"{path} is {labels.shape[0]}x{labels.shape[1]}, its photograph {upright[0]}x{upright[1]} (height x "
            "width): they must show the same"
        )
