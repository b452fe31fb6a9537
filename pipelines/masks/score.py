"""Score cached masks against the true labels of a simulated data set (`cscl masks score`)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from tqdm import tqdm

from data.simulators.layouts import label_name
from parsing.cache.reader import MaskCache
from parsing.errors import InputError, MissingError
from parsing.importers.label_values import read_labels
from parsing.labels import IGNORED, LabelSet, label_set
from parsing.modality import MODALITIES
from parsing.resize import resize_labels
from parsing.schemes import part_scheme

from ..images import find_images


@dataclass(frozen=True)
class MaskScores:
    """IoU in [0, 1] by modality and class, over all pixels of a modality; NaN (null in JSON) for an absent class.

    Attributes:
        images: number of images compared.
        scheme: part scheme in which they were compared, or the label set person7.
        rho: Spearman's rank correlation of confidence and mIoU, by modality; NaN if one does not vary.
    """

    scheme: str
    classes: tuple[str, ...]
    images: dict[str, int]
    iou: dict[str, tuple[float, ...]]
    rho: dict[str, float]

    @staticmethod
    def counted(scheme: str, classes: tuple[str, ...], tallies: Mapping[str, "Tally"]) -> "MaskScores":
        """Return the scores of the tally of each modality."""
        return MaskScores(
            scheme,
            classes=classes,
            images={m: len(t.mious) for m, t in tallies.items()},
            iou={m: tuple(iou(t.pixels).tolist()) for m, t in tallies.items()},
            rho={m: t.rho for m, t in tallies.items()},
        )

    def mean(self, modality: str) -> float:
        """Return the mIoU over the classes that occur, including background."""
        return float(np.nanmean(self.iou[modality]))

    def to_json(self) -> dict[str, Any]:
        """Return all values for `--json`."""
        return {
            "scheme": self.scheme,
            "images": self.images,
            "mIoU": {m: self.mean(m) for m in self.iou},
            "IoU": {
                m: {c: None if math.isnan(v) else v for c, v in zip(self.classes, values, strict=True)}
                for m, values in self.iou.items()
            },
            "confidence": {m: None if math.isnan(v) else v for m, v in self.rho.items()},
        }

    def rows(self) -> list[list[str]]:
        """Return one row per modality: its name, mIoU, and the IoU of each class, in per cent."""
        return [[m, *(_per_cent(v) for v in (self.mean(m), *values))] for m, values in self.iou.items()]

    def lines(self) -> list[str]:
        """Return the table as lines of text."""
        head = " ".join(f"{c[:10]:>10s}" for c in ("mIoU", *self.classes))
        body = [f"{row[0]:10s} " + " ".join(f"{v:>10s}" for v in row[1:]) for row in self.rows()]
        counted = ", ".join(f"{n} {m}" for m, n in self.images.items())
        rho = ", ".join(f"{v:.2f} {m}" for m, v in self.rho.items() if not math.isnan(v))
        return [
            f"{'':10s} {head}",
            *body,
            f"IoU in per cent in {self.scheme}, all pixels of {counted} images together",
            *([f"rank correlation of an image's confidence with its mIoU (Spearman's rho): {rho}"] if rho else ()),
        ]


def _per_cent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


class Tally:
    """Count pixels of masks against the truth, image by image.

    Attributes:
        pixels: (C, C), of all images.
        mious, confidences: per image.
    """

    def __init__(self, classes: int) -> None:
        self.pixels = np.zeros((classes, classes), np.int64)
        self.mious: list[float] = []
        self.confidences: list[float] = []

    def add(self, truth: NDArray[np.uint8], answer: NDArray[np.uint8], confidence: float) -> float:
        """Count one image; its mIoU is over the classes of either map (NaN if every pixel is ignored)."""
        counts = confusion(truth, answer, len(self.pixels))
        self.pixels += counts
        miou = float(np.nanmean(iou(counts))) if counts.any() else math.nan
        self.mious.append(miou)
        self.confidences.append(confidence)
        return miou

    @property
    def rho(self) -> float:
        """Return Spearman's rank correlation of confidence and mIoU; NaN if one of them does not vary."""
        known = ~np.isnan(self.mious)
        mious, confidences = np.array(self.mious)[known], np.array(self.confidences)[known]
        if len(set(mious)) < 2 or len(set(confidences)) < 2:
            return math.nan
        return float(spearmanr(mious, confidences).statistic)


def score_masks(cache: MaskCache, scheme: str | None = None, root: Path | None = None) -> MaskScores:
    """Compare a cache with `ROOT/labels/`, as `cscl data make` writes it.

    scheme: a part scheme; by default the person7 classes themselves, which only a cache of that label set has.
    """
    root = find_images(cache.path, cache.root, root)
    if not (root / "labels").is_dir():
        raise MissingError(f"{root} has no labels/ with true label maps; only simulated data sets have them")
    labels = label_set("person7")
    if scheme is None and cache.labels != labels:
        raise InputError(
            f"{cache.path} holds {cache.labels.name} classes, the truth is in person7 classes: give --scheme"
        )
    name, classes, tables = find_common_classes(("the truth", str(cache.path)), (labels, cache.labels), scheme)
    tallies: dict[str, Tally] = {}
    for number, image in enumerate(tqdm(cache.names, unit="image", desc="score masks")):
        if not cache.has_mask[number]:
            continue
        file = root / label_name(image)
        if not file.is_file():
            raise MissingError(f"{file} is missing; {root} is not as `cscl data make` wrote it")
        truth = resize_labels(read_labels(file, labels)[0], cache.size)
        tally = tallies.setdefault(MODALITIES[cache.modality[number]], Tally(len(classes)))
        tally.add(tables[0][truth], tables[1][cache[number]], float(cache.confidence[number]))
    ordered: dict[str, Tally] = {m: tallies[m] for m in MODALITIES if m in tallies}
    return MaskScores.counted(name, classes, ordered)


def find_common_classes(
    names: tuple[str, str], labels: tuple[LabelSet, LabelSet], scheme: str | None
) -> tuple[str, tuple[str, ...], tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """Return name and classes of a common set of classes, and the look-up table from each label set to it.

    Raises:
        InputError: if the label sets, called by `names`, differ and no scheme is given.
    """
    if scheme is not None:
        chosen = part_scheme(scheme)
        return chosen.name, ("background", *chosen.parts), (chosen.table(labels[0]), chosen.table(labels[1]))
    if labels[0].classes != labels[1].classes:
        raise InputError(
            f"{names[0]} holds {labels[0].name} classes, {names[1]} {labels[1].name} ones: "
            "give a part scheme to compare in, as --scheme reid4"
        )
    return labels[0].name, labels[0].classes, (np.arange(256, dtype=np.uint8),) * 2


def confusion(truth: NDArray[np.uint8], answer: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Return pixels (classes, classes) by true and predicted class, without pixels that either map ignores."""
    known = (truth != IGNORED) & (answer != IGNORED)
    pairs = truth[known].astype(np.int64) * classes + answer[known]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the intersection over union of each class of a confusion matrix; NaN if neither map has the class."""
    both = np.diag(counts).astype(np.float64)
    either = counts.sum(0) + counts.sum(1) - np.diag(counts)
    shares: NDArray[np.float64] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
    return shares
