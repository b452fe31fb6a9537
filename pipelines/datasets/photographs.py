"""Convert a clone of Clothing Co-Parsing to photographs with person7 classes, as `Photos` reads them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.drafts import draft_folder
from data.photographs.ccp import TEST, VAL, Clone
from data.photographs.classes import is_person, person7_parts
from parsing.labels import label_set
from parsing.progress import Bar
from parsing.resize import resize_labels

_MADE_BY = "cscl data make photos"
_HEIGHT, _QUALITY = 512, 88
_UNLABELLED_HEIGHT, _UNLABELLED_QUALITY = 384, 82


@dataclass(frozen=True, slots=True)
class Made:
    """Ids of the photographs by their use; those in `left_out` have annotations without a person."""

    out: Path
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]
    unlabelled: tuple[str, ...]
    left_out: tuple[str, ...]

    def line(self) -> str:
        """Return what was made, in one line."""
        nobody = f"; without a person and left out: {', '.join(self.left_out)}" if self.left_out else ""
        return (
            f"{self.out}: photographs with person7 classes, {len(self.train)} to train, {len(self.val)} to validate, "
            f"{len(self.test)} to test; {len(self.unlabelled)} unlabelled{nobody}"
        )


def make_photos(ccp: Path, out: Path, overwrite: bool = False) -> Made:
    """Write the photographs of the clone `ccp` to `out`, 512 high with labels and 384 high without.

    The split is that of the built-in parser: `val` scored it, `test` was not used, the rest trained it.
    """
    clone, out = Clone(ccp), Path(out)
    kept, left_out = [], []
    with (
        draft_folder(out, ours=_ours, kind="photographs made by this command", overwrite=overwrite) as draft,
        Bar(
            total=len(clone.annotated) + len(clone.unannotated),
            unit="image",
            desc=f"making {out.name}",
        ) as bar,
    ):
        for folder in ("photos", "parts", "unlabelled"):
            (draft / folder).mkdir()
        for photo_id in clone.annotated:
            photo = clone.photo(photo_id)
            classes = clone.classes(photo_id, photo.shape[:2])
            parts = person7_parts(resize_labels(classes, _size(photo, _HEIGHT)))
            if is_person(parts).any():
                _save(photo, file=draft / "photos" / f"{photo_id}.jpg", height=_HEIGHT, quality=_QUALITY)
                Image.fromarray(parts).save(draft / "parts" / f"{photo_id}.png")
                kept.append(photo_id)
            else:
                left_out.append(photo_id)
            bar.update()
        for photo_id in clone.unannotated:
            file = draft / "unlabelled" / f"{photo_id}.jpg"
            _save(clone.photo(photo_id), file=file, height=_UNLABELLED_HEIGHT, quality=_UNLABELLED_QUALITY)
            bar.update()
        split = {
            "train": [i for i in kept if i not in VAL + TEST],
            "val": [i for i in kept if i in VAL],
            "test": [i for i in kept if i in TEST],
        }
        meta = {"made_by": _MADE_BY, "source": "Clothing Co-Parsing", "parts": label_set("person7").classes, **split}
        (draft / "meta.json").write_text(json.dumps(meta) + "\n", encoding="utf-8")
        if (licence := Path(ccp) / "LICENSE").is_file():
            (draft / "LICENSE").write_bytes(licence.read_bytes())
    train, val, test = map(tuple, split.values())
    return Made(out, train=train, val=val, test=test, unlabelled=clone.unannotated, left_out=tuple(left_out))


def _size(photo: NDArray[np.uint8], height: int) -> tuple[int, int]:
    """Return the size (H, W) of the photograph at this height."""
    return height, max(round(photo.shape[1] * height / photo.shape[0]), 1)


def _save(photo: NDArray[np.uint8], file: Path, height: int, quality: int) -> None:
    height, width = _size(photo, height)
    Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS).save(file, quality=quality)


def _ours(folder: Path) -> bool:
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(meta, dict) and meta.get("made_by") == _MADE_BY
