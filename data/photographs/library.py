"""Annotated photographs of people: `photos/ID.jpg`, part labels `parts/ID.png`, the split in `meta.json`."""

import json
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from parsing.errors import InputError, MissingError
from parsing.labels import label_set

TREE = """expected:
  ROOT/photos/ID.jpg      the photograph
  ROOT/parts/ID.png       one street class a pixel, of the same size
  ROOT/meta.json          {"parts": [the street classes], "train": [IDs], "val": [IDs]}, and optional "test": [IDs]
  ROOT/unlabelled/ID.jpg  optional, more photographs without labels
`cscl data make photos` makes such a folder of a clone of Clothing Co-Parsing"""


class Photos:
    """Reads a folder of annotated photographs; the ids of `meta.json` are never taken as paths."""

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        for needed in ("photos", "parts", "meta.json"):
            if not (self.root / needed).exists():
                raise MissingError(f"no {needed} in the photo folder {self.root}\n{TREE}")
        try:
            meta = json.loads((self.root / "meta.json").read_text(encoding="utf-8"))
            parts = tuple(meta["parts"])
            self.train = _ids(meta["train"])
            self.val = _ids(meta["val"])
            self.test = _ids(meta.get("test", ()))
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise InputError(f"{self.root / 'meta.json'} cannot be used: {error!r}\n{TREE}") from error
        if parts != label_set("street").classes:
            raise InputError(
                f"{self.root / 'meta.json'}: parts must be {list(label_set('street').classes)}, got {parts}"
            )
        for (one, first), (two, second) in combinations(self.split.items(), 2):
            if both := set(first) & set(second):
                raise InputError(f"{self.root / 'meta.json'}: {sorted(both)[0]} is in {one} and in {two}")

    @property
    def split(self) -> dict[str, tuple[str, ...]]:
        """Ids by what they are for."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def unlabelled(self) -> tuple[str, ...]:
        """Ids of the photographs without labels, sorted."""
        return tuple(sorted(p.stem for p in (self.root / "unlabelled").glob("[!.]*.jpg")))

    def photo(self, photo_id: str, labelled: bool = True) -> NDArray[np.uint8]:
        """The photograph (H, W, 3) in RGB."""
        return _read(self.root / ("photos" if labelled else "unlabelled") / f"{photo_id}.jpg", "RGB")

    def parts(self, photo_id: str) -> NDArray[np.uint8]:
        """Its street classes (H, W)."""
        path = self.root / "parts" / f"{photo_id}.png"
        labels = _read(path, "L")
        if labels.max(initial=0) >= len(label_set("street")):
            raise InputError(f"{path}: holds {labels.max()}, but there are only the street classes 0 to 7")
        return labels


def _ids(values: Iterable[object]) -> tuple[str, ...]:
    ids = tuple(str(v) for v in values)
    for photo_id in ids:
        if not photo_id or photo_id.startswith(".") or "/" in photo_id or "\\" in photo_id:
            raise InputError(f"meta.json: {photo_id!r} is no photo id; give the file's name without folder and ending")
    return ids


def _read(path: Path, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return np.asarray(image if image.mode == mode else image.convert(mode))
    except FileNotFoundError:
        raise MissingError(f"{path} is named in meta.json but missing") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
