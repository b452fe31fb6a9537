"""Score a parser on annotated photographs in colour, grey and simulated infrared (`cscl parser score`)."""

import math
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

from data.photographs import MOST_MISPLACED
from data.photographs.crops import SPECTRA, Pair, Photo, cut_plain_crop, load, misplace_box
from data.photographs.library import Photos
from parsing.errors import InputError, first_line
from parsing.labels import IGNORED, label_set
from parsing.parsers.labelling import label_images, stack_images
from parsing.parsers.registry import ParserSpec, find_parser
from parsing.progress import Bar

from ..masks.score import Tally, find_common_classes, iou
from ..pages.sheets import MaskItem, mask_sheet


@dataclass(frozen=True)
class ParserScores:
    """IoU in [0, 1] by condition and class, over all pixels of the person crops; NaN for an absent class.

    A condition is a spectrum, or a spectrum with the width in pixels to which the crop was reduced (`grey 32`), or with
    the largest error of the box's sides (`grey 30 % off`).

    Attributes:
        images: number of crops.
        size: their (height, width).
        rho: Spearman's rank correlation of confidence and mIoU, by condition.
        undrawn: reason why there is no sheet; empty if it was drawn or not asked for.
    """

    parser: str
    weights: str
    subset: str
    images: int
    size: tuple[int, int]
    border: int
    classes: tuple[str, ...]
    iou: dict[str, tuple[float, ...]]
    foreground: dict[str, float]
    rho: dict[str, float]
    undrawn: str = ""

    def mean(self, condition: str) -> float:
        """Return the mIoU over all classes, including background."""
        return float(np.nanmean(self.iou[condition]))

    def to_json(self) -> dict[str, Any]:
        """Return all values for `--json`."""
        values = {s: dict(zip(self.classes, map(_number, v), strict=True)) for s, v in self.iou.items()}
        scores = {name: value for name, value in self.__dict__.items() if name != "undrawn"}
        rho = {s: _number(v) for s, v in self.rho.items()}
        return {**scores, "mIoU": {s: self.mean(s) for s in self.iou}, "iou": values, "rho": rho}

    def lines(self) -> list[str]:
        """Return the table as lines of text."""
        columns = ("mIoU", "person", *self.classes)
        misplaced = any(condition.endswith("off") for condition in self.iou)
        wide = max(18, *map(len, self.iou))
        rows = [
            f"{s:{wide}s} "
            + " ".join(f"{100 * v:10.1f}" for v in (self.mean(s), self.foreground[s], *values))
            + f"{self.rho[s]:6.2f}"
            for s, values in self.iou.items()
        ]
        left_out = f"; pixels within {self.border} of another true class left out" if self.border else ""
        return [
            f"{self.parser} {self.weights[:12]} on {self.images} photographs ({self.subset}), crops of "
            f"{self.size[0]}x{self.size[1]}; near-infrared and thermal are simulated{left_out}",
            f"{'IoU in %':{wide}s} " + " ".join(f"{c[:10]:>10s}" for c in columns) + "   rho",
            *rows,
            "rho: Spearman's, of confidence and mIoU; a number behind a spectrum: crops reduced to that width",
            *(["off: each side of the box misplaced by up to this share of the person"] * misplaced),
        ]


def _number(value: float) -> float | None:
    """Return a value as JSON has it, which knows no NaN."""
    return None if math.isnan(value) else value


def score_parser(
    photos: Path,
    spec: ParserSpec,
    subset: Literal["train", "val", "test"] = "val",
    size: tuple[int, int] = (288, 144),
    widths: Sequence[int] = (),
    box_errors: Sequence[float] = (),
    scheme: str | None = None,
    border: int = 0,
    flip: bool = True,
    sheet: Path | None = None,
    seed: int = 0,
) -> ParserScores:
    """Parse the person of every photograph in each spectrum, and return the scores.

    Args:
        subset: photographs to use.
        seed: of the simulated infrared images, which depend on seed and photograph only.
        widths: widths in pixels to which the crops are reduced for further conditions, like images of distant persons.
        box_errors: shares of the person, in (0, MOST_MISPLACED], by which each side of the box is off at most, for
            further conditions, like boxes of a poor detector; directions depend on seed and photograph only.
        scheme: part scheme to score in; necessary for a parser of another label set than person7.
        border: pixels with another true class at most this many rows and columns away are ignored, like the void border
            of PASCAL VOC. What remains shows wrong parts rather than inexact outlines of parser or annotation.
        sheet: PNG file for the best, median and two worst masks in each spectrum.
    """
    library, parser, labels = Photos(photos), find_parser(spec), label_set("person7")
    ids = library.split[subset]
    if not ids:
        raise InputError(f"{photos / 'meta.json'}: there is no photograph in {subset}")
    if scheme is None and parser.labels != labels:
        raise InputError(
            f"{parser.name} answers with {parser.labels.name} classes, the truth is {labels.name}: give --scheme"
        )
    _, classes, (truth_table, answer_table) = find_common_classes(
        ("the truth", parser.name), (labels, parser.labels), scheme
    )
    for error in box_errors:
        if not 0 < error <= MOST_MISPLACED:
            raise InputError(f"a box error is a share of the person in (0, {MOST_MISPLACED}], got {error}")
    variants = ("", *(f" {width}" for width in widths), *(f" {100 * error:g} % off" for error in box_errors))
    tallies = {s + variant: Tally(len(classes)) for variant in variants for s in SPECTRA}
    answered: dict[str, list[Answer]] = {s: [] for s in SPECTRA}
    for number, photo_id in enumerate(Bar(ids, unit="photo", desc="score parser")):
        photo = load(library, photo_id, size[0])
        if photo is None:
            continue
        crops = _cut_crops(photo, size=size, key=(seed, number))
        seen = [crops]
        seen += [[(_reduce_image(image, width), truth) for image, truth in crops] for width in widths]
        seen += [_cut_crops(photo, size=size, key=(seed, number), error=error) for error in box_errors]
        for variant, cases in zip(variants, seen, strict=True):
            prepared = stack_images([parser.prepare(image) for image, _ in cases])
            sources = [image.shape[:2] for image, _ in cases]
            masks = label_images(parser, batch=prepared, sources=sources, size=size, flip=flip)
            answers, trust = masks.labels, masks.confidence.tolist()
            for spectrum, (image, truth), answer, sure in zip(SPECTRA, cases, answers, trust, strict=True):
                tally = tallies[spectrum + variant]
                miou = tally.add(_ignore_border(truth_table[truth], border), answer_table[answer], sure)
                if not variant and sheet is not None:
                    answered[spectrum].append(
                        Answer(
                            miou, photo_id=photo_id, image=image, truth=truth_table[truth], answer=answer_table[answer]
                        )
                    )
    if library.notes:
        tqdm.write(f"note: {'; '.join(library.notes)}", file=sys.stderr)
    scored = len(tallies[SPECTRA[0]].mious)
    if not scored:
        raise InputError(f"{photos}: no photograph of {subset} shows a person")
    if not tallies[SPECTRA[0]].pixels.any():
        raise InputError(f"--border {border}: no pixel of crops of {size[0]}x{size[1]} is left")
    undrawn = ""
    if sheet is not None:
        try:
            _draw(answered, sheet, classes)
        except OSError as error:  # the scores must not be lost with their picture
            undrawn = f"{sheet} cannot be written: {error.strerror or first_line(error)}"
    return ParserScores(
        parser.name,
        weights=parser.weights_hash,
        subset=subset,
        images=scored,
        size=size,
        border=border,
        classes=classes,
        iou={c: tuple(iou(t.pixels).tolist()) for c, t in tallies.items()},
        foreground={c: float(t.pixels[1:, 1:].sum() / (t.pixels.sum() - t.pixels[0, 0])) for c, t in tallies.items()},
        rho={c: t.rho for c, t in tallies.items()},
        undrawn=undrawn,
    )


def _cut_crops(photo: Photo, size: tuple[int, int], key: tuple[int, int], error: float = 0.0) -> list[Pair]:
    """Return the photograph's crop and truth in each spectrum; with an error its box is misplaced."""
    box = misplace_box(photo.box, error, np.random.default_rng((*key, len(SPECTRA)))) if error else None
    return [
        cut_plain_crop(photo, size=size, spectrum=s, rng=np.random.default_rng((*key, k)), box=box)
        for k, s in enumerate(SPECTRA)
    ]


def _reduce_image(image: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    reduced = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return np.array(reduced)  # not asarray, which is read-only: torch warns of that


def _ignore_border(truth: NDArray[np.uint8], border: int) -> NDArray[np.uint8]:
    """Return classes (H, W) with IGNORED for pixels that have another class at most `border` rows and columns away."""
    window = 2 * border + 1
    return np.where(maximum_filter(truth, window) == minimum_filter(truth, window), truth, np.uint8(IGNORED))


@dataclass(frozen=True, eq=False)
class Answer:
    """One mask of the sheet: mIoU, photograph, image (H, W, 3), true and predicted classes (H, W)."""

    miou: float
    photo_id: str
    image: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    answer: NDArray[np.uint8]


def _draw(answered: Mapping[str, list[Answer]], sheet: Path, classes: Sequence[str]) -> None:
    """Draw the best, the median and the two worst masks of each spectrum, beside the truth."""
    items = []
    for spectrum, answers in answered.items():
        ranked = sorted(answers, key=lambda a: -a.miou)
        named = {len(ranked) // 2: "median", len(ranked) - 2: "second worst", len(ranked) - 1: "worst", 0: "best"}
        for number in sorted(number for number in named if number >= 0):
            one = ranked[number]
            caption = f"{named[number]}: mIoU {100 * one.miou:.0f}, {one.photo_id}"
            items.append(MaskItem(one.image, labels=one.answer, modality=spectrum, caption=caption, truth=one.truth))
    mask_sheet(items, sheet, classes, columns=4, height=144, quantized=True)
