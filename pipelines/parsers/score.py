"""`cscl parser score`: IoU of a parser with annotated photographs, in colour, grey and simulated infrared."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import maximum_filter, minimum_filter
from tqdm import tqdm

from data.photographs.crops import SPECTRA, Spectrum, load, plain_crop
from data.photographs.library import Photos
from parsing.errors import InputError
from parsing.labels import IGNORED, label_set
from parsing.parsers.labelling import label_images, stacked
from parsing.parsers.registry import ParserSpec, find_parser

from ..masks.score import Tally, common_classes, iou
from ..pages.sheets import MaskItem, mask_sheet


@dataclass(frozen=True)
class ParserScores:
    """IoU in [0, 1] by condition and class, over all pixels of `images` person crops of `size` (height, width).

    A condition is a spectrum, or a spectrum and the width in pixels that the crop was reduced to (`grey 32`). rho:
    Spearman's rank correlation of confidence and mIoU, by condition.
    """

    parser: str
    weights: str
    part: str
    images: int
    size: tuple[int, int]
    border: int
    classes: tuple[str, ...]
    iou: dict[str, tuple[float, ...]]
    foreground: dict[str, float]
    rho: dict[str, float]

    def mean(self, condition: str) -> float:
        """mIoU over all classes, background among them."""
        return float(np.nanmean(self.iou[condition]))

    def to_json(self) -> dict[str, Any]:
        values = {s: dict(zip(self.classes, v, strict=True)) for s, v in self.iou.items()}
        return {**self.__dict__, "mIoU": {s: self.mean(s) for s in self.iou}, "iou": values}

    def lines(self) -> list[str]:
        columns = ("mIoU", "person", *self.classes)
        rows = [
            f"{s:18s} "
            + " ".join(f"{100 * v:10.1f}" for v in (self.mean(s), self.foreground[s], *values))
            + f"{self.rho[s]:6.2f}"
            for s, values in self.iou.items()
        ]
        left_out = f"; pixels within {self.border} of another true class left out" if self.border else ""
        return [
            f"{self.parser} {self.weights[:12]} on {self.images} photographs ({self.part}), crops of "
            f"{self.size[0]}x{self.size[1]}; near-infrared and thermal are simulated{left_out}",
            f"{'IoU in %':18s} " + " ".join(f"{c[:10]:>10s}" for c in columns) + "   rho",
            *rows,
            "rho: Spearman's, of confidence and mIoU; a number behind a spectrum: crops reduced to that width",
        ]


def score_parser(
    photos: Path,
    spec: ParserSpec,
    part: Literal["train", "val", "test"] = "val",
    size: tuple[int, int] = (288, 144),
    widths: Sequence[int] = (),
    scheme: str | None = None,
    border: int = 0,
    flip: bool = True,
    sheet: Path | None = None,
    seed: int = 0,
) -> ParserScores:
    """Parse the person of every photograph of `part` in each spectrum; infrared is drawn from (seed, photo).

    widths: score the crops once more reduced to each of these widths, as a distant person's would be. scheme: compare
    in a part scheme; needed for a parser of another label set than street. border: leave out the pixels that are this
    near to another class of the truth, by rows and columns, like the void border of PASCAL VOC; what is left tells
    wrong parts from inexact outlines, of the answer or of the annotation. sheet: PNG of the best, the median and the
    worst answers in each spectrum.
    """
    library, parser, street = Photos(photos), find_parser(spec), label_set("street")
    ids = library.split[part]
    if not ids:
        raise InputError(f"{photos / 'meta.json'}: there is no photograph in {part}")
    if scheme is None and parser.labels != street:
        raise InputError(f"{parser.name} answers with {parser.labels.name} classes, the truth is street: give --scheme")
    _, classes, (truth_table, answer_table) = common_classes(
        ("the truth", parser.name), (street, parser.labels), scheme
    )
    tallies = {_condition(s, w): Tally(len(classes)) for w in (None, *widths) for s in SPECTRA}
    answered: dict[str, list[Answer]] = {s: [] for s in SPECTRA}
    for number, photo_id in enumerate(tqdm(ids, unit="photo", desc="score parser")):
        photo = load(library, photo_id, size[0])
        if photo is None:
            continue
        crops = [plain_crop(photo, size, s, np.random.default_rng((seed, number, k))) for k, s in enumerate(SPECTRA)]
        for width in (None, *widths):
            seen = [image if width is None else _reduced(image, width) for image, _ in crops]
            prepared = stacked([parser.prepare(image) for image in seen])
            masks = label_images(parser, prepared, [s.shape[:2] for s in seen], size, flip)
            answers, trust = masks.labels, masks.confidence.tolist()
            for spectrum, (image, truth), answer, sure in zip(SPECTRA, crops, answers, trust, strict=True):
                tally = tallies[_condition(spectrum, width)]
                miou = tally.add(_without_border(truth_table[truth], border), answer_table[answer], sure)
                if width is None and sheet is not None:
                    answered[spectrum].append(Answer(miou, photo_id, image, truth_table[truth], answer_table[answer]))
    if library.notes:
        tqdm.write(f"note: {'; '.join(library.notes)}", file=sys.stderr)
    scored = len(tallies[SPECTRA[0]].mious)
    if not scored:
        raise InputError(f"{photos}: no photograph of {part} shows a person")
    if not tallies[SPECTRA[0]].pixels.any():
        raise InputError(f"--border {border}: no pixel of crops of {size[0]}x{size[1]} is left")
    if sheet is not None:
        _draw(answered, sheet, classes)
    return ParserScores(
        parser.name,
        parser.weights_hash,
        part,
        scored,
        size,
        border,
        classes,
        {c: tuple(iou(t.pixels).tolist()) for c, t in tallies.items()},
        {c: float(t.pixels[1:, 1:].sum() / (t.pixels.sum() - t.pixels[0, 0])) for c, t in tallies.items()},
        {c: t.rho for c, t in tallies.items()},
    )


def _condition(spectrum: Spectrum, width: int | None) -> str:
    return spectrum if width is None else f"{spectrum} {width}"


def _reduced(image: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))


def _without_border(truth: NDArray[np.uint8], border: int) -> NDArray[np.uint8]:
    """Classes (H, W), IGNORED where another class is at most `border` rows and columns away."""
    window = 2 * border + 1
    return np.where(maximum_filter(truth, window) == minimum_filter(truth, window), truth, np.uint8(IGNORED))


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer of the sheet: mIoU, photo, image (H, W, 3), true and answered classes (H, W)."""

    miou: float
    photo_id: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    answer: NDArray[np.uint8]


def _draw(answered: Mapping[str, list[Answer]], sheet: Path, classes: Sequence[str], each: int = 3) -> None:
    """Best, median and worst answers of each spectrum, `each` of them, each beside the truth."""
    items = []
    for spectrum, answers in answered.items():
        ranked = sorted(answers, key=lambda a: -a.miou)
        middle = max(0, len(ranked) // 2 - each // 2)
        for kind, some in (
            ("best", ranked[:each]),
            ("median", ranked[middle : middle + each]),
            ("worst", ranked[-each:]),
        ):
            for one in some:
                caption = f"mIoU {100 * one.miou:.0f}, {one.photo_id}"
                items.append(MaskItem(one.image, one.truth, f"{spectrum}, {kind}", "truth"))
                items.append(MaskItem(one.image, one.answer, f"{spectrum}, {kind}", caption))
    mask_sheet(items, sheet, classes)
