"""Agreement of a network's parts with the masks, per part: attention inside the part, IoU, and visibility."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from cscl.embedder import Embedder
from cscl.spam import IGNORED, mask_distribution
from data.records import Record
from parsing.cache.reader import MaskCache
from parsing.errors import InputError
from parsing.progress import Bar
from parsing.schemes import PartScheme

from ..runs.embed import make_loader
from ..training.batches import read_part_labels

MOST = 2000
"""Largest number of images to measure, taken at equal distances from the list."""


@dataclass(frozen=True)
class PartRow:
    """Agreement for one part. An image shows the part if its mask gives it at least the share `tau` of the image.

    All values but `images` are in [0, 1].

    Attributes:
        part: its name.
        images: number of images that show it.
        inside: share of the attention that lies inside the mask, mean over these images.
        ideal: the same for the mask itself, resized to the grid of the attention: the best possible value.
        iou: of the attention's labels with the mask's, over the pixels of all images.
        auc: probability that an image which shows the part has a higher visibility v_q than one which does not, with
            ties counted half; None if all or no images show it.
        auc_absent: the same against images without a single pixel of the part; those with less than `tau` are left out.
        visibility: mean v_q of the images that show it, and of those that do not; None without such images.
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
        """`inside` / `ideal`; None if no mask shows the part."""
        return self.inside / self.ideal if self.ideal else None


@dataclass(frozen=True)
class PartTable:
    """Agreement of all parts.

    Attributes:
        rows: one per part of the scheme.
        grid: (height, width) of the attention.
        images: number of images measured.
        masks: fingerprint of the cache.
    """

    rows: tuple[PartRow, ...]
    grid: tuple[int, int]
    images: int
    masks: str

    @property
    def iou(self) -> float:
        """Mean IoU over the parts."""
        return float(np.mean([row.iou for row in self.rows]))

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "mIoU": self.iou}

    def cells(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """Return the column names, and one row of text per part."""
        columns = ("part", "inside", "ideal", "ratio", "IoU", "AUC", "absent", "v shown", "v not")
        rows = [
            [r.part, *map(_per_cent, (r.inside, r.ideal, r.ratio, r.iou, r.auc, r.auc_absent, *r.visibility))]
            for r in self.rows
        ]
        return columns, rows

    def lines(self) -> list[str]:
        """Return the table as lines of text."""
        height, width = self.grid
        columns, rows = self.cells()
        return [
            *(f"{first:24s} " + " ".join(f"{cell:>7s}" for cell in others) for first, *others in (columns, *rows)),
            f"per cent; attention of SPAM at {height}x{width} against the masks {self.masks[:12]} of {self.images} "
            f"test images, mIoU {_per_cent(self.iou)}",
        ]


def _per_cent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def average_parts(tables: Sequence[PartTable]) -> PartTable | None:
    """Return the means over the tables of several runs; None if there are none."""
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


@torch.inference_mode()
def measure_parts(
    embedder: Embedder, records: Sequence[Record], root: Path, cache: MaskCache, scheme: PartScheme,
    batch_size: int = 64,
) -> PartTable | None:  # fmt: skip
    """Return the agreement on the images that have a mask in the cache, at most MOST of them.

    Args:
        embedder: the trained network.
        records: images.
        root: their folder.
        cache: with their masks.
        scheme: the network's part scheme.
        batch_size: number of images per batch.

    Returns:
        None for a network without part attention, or if no image has a mask.

    Raises:
        InputError: if the scheme has another number of parts than the network.
    """
    spam = embedder.network.spam
    known = [r for r in records if r.name in cache and cache.has_mask[cache.number(r.name)]]
    if spam is None or spam.pooling != "parsing" or not known:
        return None
    if len(scheme) != spam.parts:
        raise InputError(
            f"part scheme {scheme.name!r} has {len(scheme)} parts, but the network was trained on {spam.parts}"
        )
    known = known[:: -(-len(known) // MOST)]
    device = next(embedder.parameters()).device
    labels = read_part_labels(cache, records=known, table=scheme.table(cache.labels), size=embedder.size)
    load, found = make_loader(root, embedder.size), []
    with Bar(total=len(known), unit="image", desc="parts") as bar:
        for start in range(0, len(known), batch_size):
            batch = known[start : start + batch_size]
            images = torch.stack([load(r) for r in batch]).to(device)
            infrared = torch.tensor([r.modality == "infrared" for r in batch], device=device)
            parts = embedder.parts(images, infrared)
            found.append(
                _measure_batch(parts.attention.cpu(), parts.visibility.cpu(), labels[start : start + batch_size])
            )
            grid = tuple(parts.attention.shape[2:])
            bar.update(len(batch))
    each = [np.concatenate(values) for values in zip(*(f[:4] for f in found), strict=True)]
    counts = np.sum([f[4] for f in found], 0)
    inside, ideal, area, visibility = each
    rows = [
        _make_row(
            name,
            inside=inside[:, q],
            ideal=ideal[:, q],
            area=area[:, q],
            visibility=visibility[:, q],
            counts=counts[:, q],
            tau=spam.tau,
        )
        for q, name in enumerate(scheme.parts)
    ]
    return PartTable(tuple(rows), grid=(grid[0], grid[1]), images=len(known), masks=cache.fingerprint)


def _measure_batch(attention: Tensor, visibility: Tensor, labels: Tensor) -> tuple[NDArray[Any], ...]:
    """Return `inside`, `ideal`, area and v, each (B, Q), and pixels (2, Q) in intersections and unions; see `PartRow`.

    Args:
        attention: (B, Q+1, h, w).
        visibility: v (B, Q).
        labels: (B, H, W), part labels.
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


def _make_row(
    name: str, inside: NDArray[Any], ideal: NDArray[Any], area: NDArray[Any], visibility: NDArray[Any],
    counts: NDArray[Any], tau: float,
) -> PartRow:  # fmt: skip
    """Return the row of one part from its values of `_measure_batch`, (N,) over all images, and its two counts (2,)."""
    shown = area >= tau

    def mean(values: NDArray[Any]) -> float | None:
        return float(values.mean()) if len(values) else None

    return PartRow(
        name,
        images=int(shown.sum()),
        inside=mean(inside[shown]) or 0.0,
        ideal=mean(ideal[shown]) or 0.0,
        iou=float(counts[0] / counts[1]) if counts[1] else 0.0,
        auc=compute_auc(visibility, shown),
        auc_absent=compute_auc(visibility[shown | (area == 0)], shown[shown | (area == 0)]),
        visibility=(mean(visibility[shown]), mean(visibility[~shown])),
    )


def compute_auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float | None:
    """Return the area under the ROC curve: the probability that a positive scores above a negative, ties counted half.

    Args:
        scores: (N,).
        positive: (N,).

    Returns:
        None if all or none are positive.
    """
    positives, negatives = scores[positive], np.sort(scores[~positive])
    if not len(positives) or not len(negatives):
        return None
    below = np.searchsorted(negatives, positives, "left")
    up_to = np.searchsorted(negatives, positives, "right")
    return float((below + up_to).mean() / 2 / len(negatives))
