"""How well a network's parts fit the masks: attention inside the part, its labels' IoU, visibility; per part."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from cscl.embedder import Embedder
from cscl.spam import IGNORED, mask_distribution
from data.records import Record
from parsing.cache.reader import MaskCache
from parsing.images import orientation
from parsing.schemes import PartScheme

from ..runs.embed import from_root
from ..training.batches import read_part_labels

MOST = 2000
"""Images that are measured at the most, spread over those given."""


@dataclass(frozen=True)
class PartRow:
    """One part, over the images whose mask shows it (`images`), which is where it covers `tau` of the image.

    inside: the mean share of the attention's mass that lies inside the part; ideal: the same of the mask itself,
    resized to the attention's grid. iou: of the attention's labels with the mask's, over all images.
    auc: the chance that an image which shows the part has a higher visibility v_q than one which does not, ties
    counting half; None if all or no images show it. auc_absent: the same, but against the images whose mask has no
    pixel of the part: those that show less than `tau` of it are neither. visibility: the mean v_q where it is shown,
    and where not.
    """

    part: str
    images: int
    inside: float
    ideal: float
    iou: float
    auc: float | None
    auc_absent: float | None
    visibility: tuple[float | None, float | None]

    @property
    def ratio(self) -> float | None:
        """Inside over ideal; None if no mask shows the part."""
        return self.inside / self.ideal if self.ideal else None


@dataclass(frozen=True)
class PartTable:
    """What `measure_parts` finds. grid: (height, width) of the attention; images: measured; masks: fingerprint."""

    rows: tuple[PartRow, ...]
    grid: tuple[int, int]
    images: int
    masks: str

    @property
    def iou(self) -> float:
        """Mean over the parts."""
        return float(np.mean([row.iou for row in self.rows]))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "mIoU": self.iou}

    def cells(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """Column names and a row of text a part."""
        columns = ("part", "inside", "ideal", "ratio", "IoU", "AUC", "absent", "v shown", "v not")
        rows = [
            [r.part, *map(_per_cent, (r.inside, r.ideal, r.ratio, r.iou, r.auc, r.auc_absent, *r.visibility))]
            for r in self.rows
        ]
        return columns, rows

    def lines(self) -> list[str]:
        height, width = self.grid
        columns, rows = self.cells()
        return [
            *(f"{first:24s} " + " ".join(f"{cell:>7s}" for cell in others) for first, *others in (columns, *rows)),
            f"per cent; attention of SPAM at {height}x{width} against the masks {self.masks[:12]} of {self.images} "
            f"test images, mIoU {_per_cent(self.iou)}",
        ]


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def averaged_parts(tables: Sequence[PartTable]) -> PartTable | None:
    """Return the mean over several runs of what `measure_parts` found; None if there is none."""
    if not tables:
        return None

    def mean(values: Sequence[float | None]) -> float | None:
        known = [v for v in values if v is not None]
        return float(np.mean(known)) if known else None

    rows = []
    for each in zip(*(t.rows for t in tables), strict=True):
        seen = (mean([r.visibility[0] for r in each]), mean([r.visibility[1] for r in each]))
        inside, ideal, iou = (float(np.mean([getattr(r, name) for r in each])) for name in ("inside", "ideal", "iou"))
        auc, absent = mean([r.auc for r in each]), mean([r.auc_absent for r in each])
        rows.append(replace(each[0], inside=inside, ideal=ideal, iou=iou, auc=auc, auc_absent=absent, visibility=seen))
    return replace(tables[0], rows=tuple(rows))


def first_other_image(records: Sequence[Record], root: Path, cache: MaskCache) -> str | None:
    """The name of the first of the records whose image below `root` has another size than the one that was parsed;
    None if all agree: names alone do not tell that a cache is of these images."""
    for record in records:
        if record.name in cache and (root / record.name).is_file():
            parsed = cache.source_size[cache.number(record.name)].tolist()
            if sorted(orientation(root / record.name)[0]) != sorted(parsed):  # sorted: EXIF may turn it
                return record.name
    return None


@torch.inference_mode()
def measure_parts(
    embedder: Embedder, records: Sequence[Record], root: Path, cache: MaskCache, scheme: PartScheme,
    batch_size: int = 64,
) -> PartTable | None:  # fmt: skip
    """The table of the `records` that have a mask in the cache; None for a network without part attention, and where
    no image has a mask."""
    spam = embedder.network.spam
    known = [r for r in records if r.name in cache and cache.has_mask[cache.number(r.name)]]
    if spam is None or spam.pooling != "parsing" or not known:
        return None
    known = known[:: -(-len(known) // MOST)]
    device = next(embedder.parameters()).device
    labels = read_part_labels(cache, known, scheme.table(cache.labels), embedder.size)
    load, found = from_root(root, embedder.size), []
    with tqdm(total=len(known), unit="image", desc="parts") as bar:
        for start in range(0, len(known), batch_size):
            batch = known[start : start + batch_size]
            images = torch.stack([load(r) for r in batch]).to(device)
            infrared = torch.tensor([r.modality == "infrared" for r in batch], device=device)
            parts = embedder.parts(images, infrared)
            found.append(_of_batch(parts.attention.cpu(), parts.visibility.cpu(), labels[start : start + batch_size]))
            grid = tuple(parts.attention.shape[2:])
            bar.update(len(batch))
    each = [np.concatenate(values) for values in zip(*(f[:4] for f in found), strict=True)]
    counts = np.sum([f[4] for f in found], 0)
    inside, ideal, area, visibility = each
    rows = [
        _row(name, inside[:, q], ideal[:, q], area[:, q], visibility[:, q], counts[:, q], spam.tau)
        for q, name in enumerate(scheme.parts)
    ]
    return PartTable(tuple(rows), (grid[0], grid[1]), len(known), cache.fingerprint)


def _of_batch(attention: Tensor, visibility: Tensor, labels: Tensor) -> tuple[NDArray[Any], ...]:
    """(B, Q) each: mass inside, mass inside of the ideal, area of the mask, v; and (2, Q) intersections and unions.

    attention (B, Q+1, h, w), labels (B, H, W) of parts.
    """
    classes = attention.shape[1]
    masks = mask_distribution(labels.long(), classes - 1, (attention.shape[2], attention.shape[3]))[:, 1:]
    own = attention[:, 1:]
    inside = (own * masks).sum((2, 3)) / own.sum((2, 3)).clamp(min=1e-9)
    ideal = masks.square().sum((2, 3)) / masks.sum((2, 3)).clamp(min=1e-9)
    finer = F.interpolate(attention, size=labels.shape[1:], mode="bilinear", align_corners=False).argmax(1)
    finer = torch.where(labels == IGNORED, IGNORED, finer)
    counts = torch.tensor(
        [
            [int(((finer == q) & (labels == q)).sum()) for q in range(1, classes)],
            [int(((finer == q) | (labels == q)).sum()) for q in range(1, classes)],
        ]
    )
    return inside.numpy(), ideal.numpy(), masks.mean((2, 3)).numpy(), visibility.numpy(), counts.numpy()


def _row(
    name: str, inside: NDArray[Any], ideal: NDArray[Any], area: NDArray[Any], visibility: NDArray[Any],
    counts: NDArray[Any], tau: float,
) -> PartRow:  # fmt: skip
    """Return a part's row from what `_of_batch` found of it, each (N,); counts: intersection and union in pixels."""
    shown = area >= tau

    def mean(values: NDArray[Any]) -> float | None:
        return float(values.mean()) if len(values) else None

    return PartRow(
        name,
        int(shown.sum()),
        mean(inside[shown]) or 0.0,
        mean(ideal[shown]) or 0.0,
        float(counts[0] / counts[1]) if counts[1] else 0.0,
        area_under_curve(visibility, shown),
        area_under_curve(visibility[shown | (area == 0)], shown[shown | (area == 0)]),
        (mean(visibility[shown]), mean(visibility[~shown])),
    )


def area_under_curve(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float | None:
    """ROC-AUC of scores (N,) for positive (N,): the chance that a positive one scores higher, ties counting half.

    None if all or none are positive.
    """
    there, not_there = scores[positive], np.sort(scores[~positive])
    if not len(there) or not len(not_there):
        return None
    below = np.searchsorted(not_there, there, "left")
    up_to = np.searchsorted(not_there, there, "right")
    return float((below + up_to).mean() / 2 / len(not_there))
