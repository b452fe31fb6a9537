"""CMC, mAP and mINP of a distance matrix; what each data set counts is in docs/protocols.md."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Array = ArrayLike | torch.Tensor

_BLOCK = 1 << 20
"""Distances ranked at once: bounds the memory of a trial and suits the processor's cache."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one trial, each in [0, 1], averaged over the queries with a match in their gallery.

    cmc: (K,) cmc[k-1] is Rank-k; K counts the gallery's identities (deduplicated) or images.
    valid, left_out: queries with and without a match in their gallery.
    average_precision, inverse_negative_penalty: (Nq,) per query, NaN if it was left out.
    first_hit: (Nq,) rank of the first match from 1, as the CMC counts it; 0 if the query was left out.
    Without a valid query, `cmc`, `mAP` and `mINP` are NaN.
    """

    cmc: Floats
    mAP: float  # noqa: N815 - the field's name
    mINP: float  # noqa: N815 - the field's name
    valid: int
    left_out: int
    average_precision: Floats
    inverse_negative_penalty: Floats
    first_hit: Integers

    def rank(self, k: int) -> float:
        """Rank-k; past the end of a short gallery it is the last value of the CMC. ValueError below 1."""
        if k < 1:
            raise ValueError(f"ranks count from 1, got {k}")
        return float(self.cmc[min(k, len(self.cmc)) - 1])


@dataclass(frozen=True)
class Chance:
    """What a ranking at random is expected to score, each in [0, 1]; NaN without a valid query."""

    rank1: float
    mAP: float  # noqa: N815 - the field's name
    mINP: float  # noqa: N815 - the field's name


def rank(
    distances: Array,
    query_ids: Array,
    gallery_ids: Array,
    skip: Array | None = None,
    *,
    deduplicated: bool = True,
) -> Scores:
    """Rank every query's gallery and score it.

    distances: (Nq, Ng), smaller is closer; equal ones keep the order of the gallery.
    query_ids, gallery_ids: (Nq), (Ng) integers; a negative one is an unknown person, who matches nobody.
    skip: (Nq, Ng) true where a query does not see a gallery image.
    deduplicated: count each gallery identity once in the CMC, at its first image (SYSU-MM01, LLCM), or count
        images (RegDB). mAP and mINP are on the full ranking in both.
    Both public evaluators of SYSU-MM01, its authors' and AGW's, are `deduplicated`; their galleries differ.
    ValueError for shapes that do not fit, an empty gallery, no query, distances that are NaN.
    """
    distances = _array(distances)
    if distances.ndim != 2 or 0 in distances.shape or distances.dtype.kind not in "fiu":
        raise ValueError(f"distances must be numbers (Nq, Ng), neither 0; got {distances.dtype} {distances.shape}")
    query, gallery, skipped = _checked(query_ids, gallery_ids, skip, distances.shape)
    by_identity = np.argsort(gallery, kind="stable")
    identities, starts = np.unique(gallery[by_identity], return_index=True)

    n_query, n_gallery = distances.shape
    precision, penalty = np.full(n_query, np.nan), np.full(n_query, np.nan)
    first_hit = np.zeros(n_query, dtype=np.int64)
    block = max(1, _BLOCK // n_gallery)
    for start in range(0, n_query, block):
        rows = slice(start, start + block)
        order = stable_order(distances[rows])
        match = gallery[order] == query[rows, None]
        if skipped is not None:
            seen = ~np.take_along_axis(skipped[rows], order, axis=1)
            match &= seen
        # Matches are few: everything below is on their list, query by query and nearest first.
        row, column = np.nonzero(match)
        if not len(row):
            continue
        place = column + 1 if skipped is None else np.cumsum(seen, axis=1)[row, column]
        valid, first, total = np.unique(row, return_index=True, return_counts=True)
        hits = np.arange(len(row)) - np.repeat(first, total) + 1
        precision[start + valid] = np.add.reduceat(hits / place, first) / total
        penalty[start + valid] = total / place[first + total - 1]
        if not deduplicated:
            first_hit[start + valid] = place[first]
            continue
        position = np.empty_like(order)
        np.put_along_axis(position, order, np.arange(n_gallery)[None], axis=1)
        if skipped is not None:
            position[skipped[rows]] = n_gallery
        nearest = np.minimum.reduceat(position[:, by_identity], starts, axis=1)
        first_hit[start + valid] = (nearest[valid] <= column[first, None]).sum(axis=1)

    length = len(identities) if deduplicated else n_gallery
    n_valid = int((first_hit > 0).sum())
    if n_valid == 0:
        return Scores(np.full(length, np.nan), np.nan, np.nan, 0, n_query, precision, penalty, first_hit)
    cmc = np.cumsum(np.bincount(first_hit, minlength=length + 1)[1:]) / n_valid
    return Scores(
        cmc,
        float(np.nanmean(precision)),
        float(np.nanmean(penalty)),
        n_valid,
        n_query - n_valid,
        precision,
        penalty,
        first_hit,
    )


def chance(
    query_ids: Array,
    gallery_ids: Array,
    skip: Array | None = None,
) -> Chance:
    """Expected scores of a ranking at random, exactly, not by trying; arguments and errors as in `rank`.

    For R matches among N images: Rank-1 is R/N; AP is (H_N + (R-1)/(N-1) (N-H_N)) / N, H_N a harmonic
    number; INP is the mean of R/l over the place l of the last match, of probability C(l-1,R-1) / C(N,R).
    """
    shape = (len(_array(query_ids)), len(_array(gallery_ids)))
    query, gallery, skipped = _checked(query_ids, gallery_ids, skip, shape)
    match = query[:, None] == gallery[None]
    seen = np.full(shape, True) if skipped is None else ~skipped
    # Many queries share the same two counts, so each pair of counts is worked out once.
    counts, times = np.unique(np.stack([(match & seen).sum(1), seen.sum(1)], axis=1), axis=0, return_counts=True)
    counts, times = counts[counts[:, 0] > 0], times[counts[:, 0] > 0]
    if not len(counts):
        return Chance(np.nan, np.nan, np.nan)
    each = np.array([_expected(int(matches), int(images)) for matches, images in counts])
    return Chance(*(float(value) for value in np.average(each, axis=0, weights=times)))


def _expected(matches: int, images: int) -> tuple[float, float, float]:
    """Expected (Rank-1, AP, INP) of `matches` right images among `images` in random order."""
    harmonic = float((1 / np.arange(1, images + 1)).sum())
    spread = (matches - 1) / (images - 1) if images > 1 else 0.0
    place = np.arange(images, matches - 1, -1)
    # P(l) falls from l = N down by P(l-1) / P(l) = (l - R) / (l - 1), which needs no large binomials.
    ratios = (place[:-1] - matches) / np.maximum(place[:-1] - 1, 1)
    probability = matches / images * np.concatenate([[1.0], np.cumprod(ratios)])
    return (
        matches / images,
        (harmonic + spread * (images - harmonic)) / images,
        float((probability * matches / place).sum()),
    )


def stable_order(distances: NDArray[Any]) -> NDArray[np.int64]:
    """Return the ranking (Nq, Ng) of distances (Nq, Ng): columns by distance, equal ones in their own order.

    The one rule of order of the project. ValueError if a distance is NaN.

    numpy's stable sort is several times slower than its default: only rows that hold a tie are sorted by it.
    """
    order = np.argsort(distances, axis=1)
    ordered = np.take_along_axis(distances, order, axis=1)
    if np.isnan(ordered[:, -1]).any():  # NaN sorts last
        raise ValueError("distances hold NaN; check the features for NaN and for vectors of length 0")
    tied = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    order[tied] = np.argsort(distances[tied], axis=1, kind="stable")
    return order


def _checked(
    query_ids: Array,
    gallery_ids: Array,
    skip: Array | None,
    shape: tuple[int, ...],
) -> tuple[Integers, Integers, Booleans | None]:
    """Identities, the unknown ones made unlike all others, and what is skipped; ValueError if unfit."""
    query, gallery = _array(query_ids), _array(gallery_ids)
    for name, ids, length in (("query_ids", query, shape[0]), ("gallery_ids", gallery, shape[1])):
        if ids.shape != (length,) or not length or ids.dtype.kind not in "iu":
            raise ValueError(f"{name} must be {length} integers, at least 1; got {ids.dtype} {ids.shape}")
    skipped = None if skip is None else _array(skip)
    if skipped is not None and (skipped.shape != shape or skipped.dtype != np.bool_):
        raise ValueError(f"skip must be boolean of shape {shape}; got {skipped.dtype} {skipped.shape}")
    query, gallery = query.astype(np.int64), gallery.astype(np.int64)
    gallery = np.where(gallery < 0, -1 - np.arange(len(gallery)), gallery)
    return np.where(query < 0, -1 - len(gallery), query), gallery, skipped


def _array(values: Array) -> NDArray[Any]:
    """Return the values as a numpy array; a tensor may be on any device."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
