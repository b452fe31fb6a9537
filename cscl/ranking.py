"""CMC, mAP and mINP of a distance matrix; docs/protocols.md says which images each data set counts."""

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
"""Number of distances that are ranked at once. It bounds the memory; larger blocks leave the processor's cache."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of one trial, each in [0, 1], averaged over the queries that have a match in their gallery.

    Attributes:
        cmc: (K,), cmc[k-1] is Rank-k. K is the number of identities (deduplicated) or images of the gallery.
        mAP, mINP: means over the queries. Like `cmc` they are NaN if no query has a match.
        valid, left_out: number of queries with and without a match.
        average_precision, inverse_negative_penalty: (Nq,), per query; NaN without a match.
        first_hit: (Nq,), rank of the first match, from 1, as the CMC counts it; 0 without a match.
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
        """Return Rank-k; beyond the end of a short gallery the last value of the CMC.

        Raises:
            ValueError: if k is below 1.
        """
        if k < 1:
            raise ValueError(f"ranks count from 1, got {k}")
        return float(self.cmc[min(k, len(self.cmc)) - 1])


@dataclass(frozen=True)
class Chance:
    """Expected scores of a random ranking, each in [0, 1]; NaN if no query has a match."""

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
    """Rank the gallery of every query and return the scores.

    Args:
        distances: (Nq, Ng), smaller is closer; equal distances keep the order of the gallery.
        query_ids: (Nq,) integers; a negative number is an unknown person, who matches nobody.
        gallery_ids: (Ng,) integers, likewise.
        skip: (Nq, Ng) bool, gallery images that a query does not see; None for none.
        deduplicated: whether the CMC counts each gallery identity once, at its first image (SYSU-MM01 and LLCM, in both
            public evaluators of SYSU-MM01), or counts images (RegDB). mAP and mINP always use the full ranking.

    Raises:
        ValueError: if shapes do not fit, query or gallery is empty, or a distance is NaN.
    """
    distances = _to_numpy(distances)
    if distances.ndim != 2 or 0 in distances.shape or distances.dtype.kind not in "fiu":
        raise ValueError(f"distances must be numbers (Nq, Ng), neither 0; got {distances.dtype} {distances.shape}")
    query, gallery, skipped = _check_arguments(query_ids, gallery_ids=gallery_ids, skip=skip, shape=distances.shape)
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
        # From here on work on the list of matches, ordered by query, then by distance: it is far shorter than `order`.
        row, column = np.nonzero(match)
        if not len(row):
            continue
        # rank of each match, from 1, among the images that its query sees
        place = column + 1 if skipped is None else np.cumsum(seen, axis=1)[row, column]
        # queries with a match, where the matches of each start in the list, and how many they are
        valid, first, total = np.unique(row, return_index=True, return_counts=True)
        # number of each match among those of its query, from 1
        hits = np.arange(len(row)) - np.repeat(first, total) + 1
        precision[start + valid] = np.add.reduceat(hits / place, first) / total
        penalty[start + valid] = total / place[first + total - 1]
        if not deduplicated:
            first_hit[start + valid] = place[first]
            continue
        # Deduplicated: the rank of the first match is the number of identities whose nearest image is not further away.
        position = np.empty_like(order)
        np.put_along_axis(position, order, np.arange(n_gallery)[None], axis=1)
        if skipped is not None:
            position[skipped[rows]] = n_gallery  # behind all others
        nearest = np.minimum.reduceat(position[:, by_identity], starts, axis=1)
        first_hit[start + valid] = (nearest[valid] <= column[first, None]).sum(axis=1)

    length = len(identities) if deduplicated else n_gallery
    n_valid = int((first_hit > 0).sum())
    if n_valid == 0:
        return Scores(
            np.full(length, np.nan),
            mAP=np.nan,
            mINP=np.nan,
            valid=0,
            left_out=n_query,
            average_precision=precision,
            inverse_negative_penalty=penalty,
            first_hit=first_hit,
        )
    cmc = np.cumsum(np.bincount(first_hit, minlength=length + 1)[1:]) / n_valid
    return Scores(
        cmc,
        mAP=float(np.nanmean(precision)),
        mINP=float(np.nanmean(penalty)),
        valid=n_valid,
        left_out=n_query - n_valid,
        average_precision=precision,
        inverse_negative_penalty=penalty,
        first_hit=first_hit,
    )


def chance(
    query_ids: Array,
    gallery_ids: Array,
    skip: Array | None = None,
) -> Chance:
    """Return the expected scores of a random ranking, in closed form. Arguments and errors as in `rank`.

    For R matches among N images, the expected Rank-1 is R/N. The expected AP is (H_N + (R-1)/(N-1) (N-H_N)) / N, with
    the harmonic number H_N. The expected INP is the mean of R/l over the rank l of the last match, which has the
    probability C(l-1, R-1) / C(N, R).
    """
    shape = (len(_to_numpy(query_ids)), len(_to_numpy(gallery_ids)))
    query, gallery, skipped = _check_arguments(query_ids, gallery_ids=gallery_ids, skip=skip, shape=shape)
    match = query[:, None] == gallery[None]
    seen = np.full(shape, True) if skipped is None else ~skipped
    # The expectation depends on R and N only, and many queries share them: compute it once per pair.
    counts, times = np.unique(np.stack([(match & seen).sum(1), seen.sum(1)], axis=1), axis=0, return_counts=True)
    counts, times = counts[counts[:, 0] > 0], times[counts[:, 0] > 0]
    if not len(counts):
        return Chance(np.nan, np.nan, np.nan)
    each = np.array([_expected_scores(int(matches), int(images)) for matches, images in counts])
    return Chance(*(float(value) for value in np.average(each, axis=0, weights=times)))


def _expected_scores(matches: int, images: int) -> tuple[float, float, float]:
    """Return expected (Rank-1, AP, INP) of R = `matches` among N = `images` in random order, see `chance`."""
    harmonic = float((1 / np.arange(1, images + 1)).sum())
    spread = (matches - 1) / (images - 1) if images > 1 else 0.0
    place = np.arange(images, matches - 1, -1)
    # From P(N) = R/N downwards by P(l-1) / P(l) = (l-R) / (l-1), since the binomials would overflow.
    ratios = (place[:-1] - matches) / np.maximum(place[:-1] - 1, 1)
    probability = matches / images * np.concatenate([[1.0], np.cumprod(ratios)])
    return (
        matches / images,
        (harmonic + spread * (images - harmonic)) / images,
        float((probability * matches / place).sum()),
    )


def stable_order(distances: NDArray[Any]) -> NDArray[np.int64]:
    """Return the ranking (Nq, Ng) of distances (Nq, Ng): column numbers by distance, equal distances in column order.

    Every ranking of the project uses this function, so that ties are treated alike everywhere.

    Raises:
        ValueError: if a distance is NaN.
    """
    order = np.argsort(distances, axis=1)
    ordered = np.take_along_axis(distances, order, axis=1)
    if np.isnan(ordered[:, -1]).any():  # NaN sorts last
        raise ValueError("distances hold NaN; check the features for NaN and for vectors of length 0")
    # numpy's stable sort is several times slower than its default: use it only for rows with a tie.
    tied = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    order[tied] = np.argsort(distances[tied], axis=1, kind="stable")
    return order


def _check_arguments(
    query_ids: Array,
    gallery_ids: Array,
    skip: Array | None,
    shape: tuple[int, ...],
) -> tuple[Integers, Integers, Booleans | None]:
    """Return query and gallery identities and `skip` as arrays.

    Unknown identities get negative numbers that no image of the other side has, so that they match nobody; those of the
    gallery are all different.

    Raises:
        ValueError: if a shape or type does not fit.
    """
    query, gallery = _to_numpy(query_ids), _to_numpy(gallery_ids)
    for name, ids, length in (("query_ids", query, shape[0]), ("gallery_ids", gallery, shape[1])):
        if ids.shape != (length,) or not length or ids.dtype.kind not in "iu":
            raise ValueError(f"{name} must be {length} integers, at least 1; got {ids.dtype} {ids.shape}")
    skipped = None if skip is None else _to_numpy(skip)
    if skipped is not None and (skipped.shape != shape or skipped.dtype != np.bool_):
        raise ValueError(f"skip must be boolean of shape {shape}; got {skipped.dtype} {skipped.shape}")
    query, gallery = query.astype(np.int64), gallery.astype(np.int64)
    gallery = np.where(gallery < 0, -1 - np.arange(len(gallery)), gallery)
    return np.where(query < 0, -1 - len(gallery), query), gallery, skipped


def _to_numpy(values: Array) -> NDArray[Any]:
    """Return the values as a numpy array; a tensor may be on any device."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
