"""`cscl parser score`: IoU of a parser with annotated photographs, in colour, grey and simulated infrared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from data.crops import SPECTRA, load, plain_crop
from data.photos import Photos
from parsing.errors import InputError
from parsing.labels import label_set
from parsing.registry import ParserSpec, find_parser
from parsing.schemes import PartScheme, part_scheme

from .masks_score import confusion, iou


@dataclass(frozen=True)
class ParserScores:
    """IoU in [0, 1] by spectrum and class, over all pixels of `images` person crops of `size` (height, width)."""

    parser: str
    weights: str
    part: str
    images: int
    size: tuple[int, int]
    classes: tuple[str, ...]
    iou: dict[str, tuple[float, ...]]
    foreground: dict[str, float]

    def mean(self, spectrum: str) -> float:
        """mIoU over all classes, background among them."""
        return float(np.nanmean(self.iou[spectrum]))

    def to_json(self) -> dict[str, Any]:
        values = {s: dict(zip(self.classes, v, strict=True)) for s, v in self.iou.items()}
        return {**self.__dict__, "mIoU": {s: self.mean(s) for s in self.iou}, "iou": values}

    def lines(self) -> list[str]:
        columns = ("mIoU", "person", *self.classes)
        rows = [
            f"{s:14s} " + " ".join(f"{100 * v:10.1f}" for v in (self.mean(s), self.foreground[s], *values))
            for s, values in self.iou.items()
        ]
        return [
            f"{self.parser} {self.weights[:12]} on {self.images} photographs ({self.part}), crops of "
            f"{self.size[0]}x{self.size[1]}; near-infrared and thermal are simulated",
            f"{'IoU in %':14s} " + " ".join(f"{c[:10]:>10s}" for c in columns),
            *rows,
        ]


def score_parser(
    photos: Path,
    spec: ParserSpec,
    part: Literal["train", "val"] = "val",
    size: tuple[int, int] = (288, 144),
    scheme: str | None = None,
    flip: bool = True,
    seed: int = 0,
    progress: bool = True,
) -> ParserScores:
    """Parse the person of every photograph of `part` in each spectrum; infrared is drawn from (seed, photo).

    scheme: compare in a part scheme; needed for a parser of another label set than street.
    """
    library, parser, street = Photos(photos), find_parser(spec), label_set("street")
    ids = library.val if part == "val" else library.train
    chosen = part_scheme(scheme) if scheme else None
    if chosen is None and parser.labels != street:
        raise InputError(f"{parser.name} answers with {parser.labels.name} classes, the truth is street: give --scheme")
    truth_table, answer_table = (_table(chosen, labels) for labels in (street, parser.labels))
    classes = street.classes if chosen is None else ("background", *chosen.parts)
    counts = {s: np.zeros((len(classes), len(classes)), np.int64) for s in SPECTRA}
    scored = 0
    for number, photo_id in enumerate(tqdm(ids, unit="photo", desc="score parser", disable=not progress)):
        photo = load(library, photo_id, size[0])
        if photo is None:
            continue
        scored += 1
        crops = [plain_crop(photo, size, s, np.random.default_rng((seed, number, k))) for k, s in enumerate(SPECTRA)]
        prepared = torch.stack([parser.prepare(image) for image, _ in crops])
        probabilities, _ = parser.parse(prepared, [size] * len(crops), size, flip)
        answers = probabilities.argmax(1).to(torch.uint8).cpu().numpy()
        for spectrum, (_, truth), answer in zip(SPECTRA, crops, answers, strict=True):
            counts[spectrum] += confusion(truth_table[truth], answer_table[answer], len(classes))
    if not scored:
        raise InputError(f"{photos}: no photograph of {part} shows a person")
    return ParserScores(
        parser.name,
        parser.weights_hash,
        part,
        scored,
        size,
        classes,
        {s: tuple(iou(c).tolist()) for s, c in counts.items()},
        {s: float(c[1:, 1:].sum() / (c.sum() - c[0, 0])) for s, c in counts.items()},
    )


def _table(scheme: PartScheme | None, labels: Any) -> Any:
    return np.arange(256, dtype=np.uint8) if scheme is None else scheme.table(labels)
