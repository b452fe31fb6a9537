"""Annotated photographs of people: `photos/ID.jpg`, part labels `parts/ID.png`, the split in `meta.json`.

Photographs are read as every image, labels as every label PNG: upright, by number or known colour, of any depth.
"""

import json
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from parsing.errors import InputError, MissingError
from parsing.images import UnreadableImageError, orientation, read_image, turn_array, upright_size
from parsing.importers.label_values import read_labels
from parsing.importers.placing import same_aspect
from parsing.labels import IGNORED, label_set

from ..readers.listing import list_folder

TREE = """expected:
  ROOT/photos/ID.jpg      the photograph (or .png, or any other image)
  ROOT/parts/ID.png       its person7 classes, one per pixel
  ROOT/meta.json          {"parts": [the person7 classes], "train": [IDs], "val": [IDs]}, and optional "test": [IDs]
  ROOT/unlabelled/ID.jpg  optional, more photographs without labels
`cscl data make photos` makes such a folder of a clone of Clothing Co-Parsing"""


class Photos:
    """A folder of annotated photographs; the ids of `meta.json` are never used as paths.

    notes: doubts about how labels were read, for the user; those of the first labels in doubt.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self.notes: tuple[str, ...] = ()
        self._labels = label_set("person7")
        self._listed: dict[str, dict[str, str]] = {}
        for needed in ("photos", "parts", "meta.json"):
            if not (self.root / needed).exists():
                raise MissingError(f"no {needed} in the photo folder {self.root}\n{TREE}")
        try:
            meta = json.loads((self.root / "meta.json").read_text(encoding="utf-8"))
            parts = tuple(meta["parts"])
            self.train = _ids(meta["train"])
            self.val = _ids(meta["val"])
            self.test = _ids(meta.get("test", ()))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(f"{self.root / 'meta.json'} cannot be used: {error!r}\n{TREE}") from error
        if parts != self._labels.classes:
            raise InputError(f"{self.root / 'meta.json'}: parts must be {list(self._labels.classes)}, got {parts}")
        for (one, first), (two, second) in combinations(self.split.items(), 2):
            if both := set(first) & set(second):
                raise InputError(f"{self.root / 'meta.json'}: {sorted(both)[0]} is in {one} and in {two}")

    @property
    def split(self) -> dict[str, tuple[str, ...]]:
        """Ids by the name of their part of the split."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """Ids of the photographs without labels, sorted."""
        return tuple(sorted(self._files("unlabelled")))

    def photo(self, photo_id: str, labelled: bool = True) -> NDArray[np.uint8]:
        """Return the photograph (H, W, 3) in RGB, upright.

        Raises:
            MissingError: there is no such photograph. InputError: it cannot be read.
        """
        try:
            return read_image(self._file("photos" if labelled else "unlabelled", photo_id))
        except UnreadableImageError as error:
            raise InputError(f"photograph cannot be read: {error}") from error

    def parts(self, photo_id: str) -> NDArray[np.uint8]:
        """Return the photograph's person7 classes (H, W), upright, of the photograph's aspect.

        Raises:
            MissingError: there are no labels. InputError: they cannot be read, or lie on another picture.
        """
        path = self.root / "parts" / f"{photo_id}.png"
        if not path.is_file():
            raise MissingError(f"{path} is named in meta.json but missing")
        labels, notes = read_labels(path, self._labels)
        if (labels == IGNORED).any():
            raise InputError(
                f"{path}: holds {IGNORED}, but there are only the person7 classes 0 to {len(self._labels) - 1}"
            )
        self.notes = self.notes or notes
        return self._upright(photo_id, path, labels)

    def _upright(self, photo_id: str, path: Path, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the labels, turned as EXIF turns the photograph if their size shows that they lie on stored pixels."""
        try:
            stored, turn = orientation(self._file("photos", photo_id))
        except UnreadableImageError:
            return labels  # `photo` raises for it
        upright = upright_size(stored, turn)
        if same_aspect(labels.shape, upright):
            return labels
        if same_aspect(labels.shape, stored):
            return turn_array(labels, turn)
        raise InputError(
            f"{path} is {labels.shape[0]}x{labels.shape[1]}, its photograph {upright[0]}x{upright[1]} (height x "
            "width): they must show the same"
        )

    def _file(self, folder: str, photo_id: str) -> Path:
        """Return the path of a photograph, whatever its ending."""
        name = self._files(folder).get(photo_id)
        if name is None:
            raise MissingError(f"{self.root / folder / photo_id}, with the ending of an image, is missing")
        return self.root / folder / name

    def _files(self, folder: str) -> dict[str, str]:
        """Return the file names of a folder's photographs by id; the folder is listed once."""
        if folder not in self._listed:
            files: dict[str, str] = {}
            for name in list_folder(str(self.root / folder)).images:
                other = files.setdefault(PurePosixPath(name).stem, name)
                if other != name:
                    raise InputError(f"{self.root / folder}: {other} and {name} have one id; keep one of them")
            self._listed[folder] = files
        return self._listed[folder]


def _ids(values: Iterable[object]) -> tuple[str, ...]:
    ids = tuple(str(v) for v in values)
    for photo_id in ids:
        if not photo_id or photo_id.startswith(".") or "/" in photo_id or "\\" in photo_id:
            raise InputError(f"meta.json: {photo_id!r} is no photo id; give the file's name without folder and ending")
    return ids
