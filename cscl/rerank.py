"""k-reciprocal re-ranking (Zhong et al., CVPR 2017, equations 3 to 12).

Two images are mutual neighbours if each is among the k nearest of the other. Every image is described by a sparse code:
a distribution over its mutual neighbours, extended and averaged. The new distance mixes the original one with the
Jaccard distance between codes. Neighbours are searched among queries and gallery together, so that the result for one
query depends on all others: scores with re-ranking are not comparable to scores without.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from .similarity import compute_similarity

Array = ArrayLike | torch.Tensor

K1, K2, WEIGHT = 20, 6, 0.3
"""The values that published results use."""
_BLOCK = 1 << 22
"""Number of values in each temporary array; bounds the memory beside the distances of all pairs."""


def k_reciprocal(
    query: Array,
    gallery: Array,
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
    blocks: Sequence[int] = (),
) -> NDArray[np.float64]:
    """Return re-ranked distances (Nq, Ng), smaller is closer.

    The original distance is the squared Euclidean distance, squared once more: the public implementation squares the
    distances that it is given, and is usually given squared ones. The second square does not change the neighbours,
    only the weights of the codes.

    Memory and time grow with (Nq+Ng)^2; the distances of all pairs are held as float32.

    Args:
        query: features (Nq, D).
        gallery: features (Ng, D).
        k1: number of nearest images within which neighbours must be mutual.
        k2: number of nearest images over which a code is averaged; 1 for no averaging.
        weight: weight of the original distance, scaled to [0, 1] per query, against the Jaccard distance.
        blocks: lengths of the features that embeddings are made of, as in `compute_similarity`, of which the original
            distance is 2 minus twice the value then; none for the distance of the features.

    Raises:
        ValueError: if the features do not fit each other or are not finite, k1 or k2 is not in 1..Nq+Ng-1, or the
            weight is not in [0, 1].
    """
    features, n_query = _join_features(query, gallery)
    n = len(features)
    for name, k in (("k1", k1), ("k2", k2)):
        if not 1 <= k < n:
            raise ValueError(f"{name} must lie in 1..{n - 1} for {n} images (query and gallery), got {k}")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must lie in [0, 1], got {weight}")

    distances = _compute_distances(features, blocks)
    nearest = _find_nearest(distances, max(k1 + 1, round(k1 / 2) + 1, k2))

    # Equation 4: R(p, k1), the mutual neighbours of each image p, as row p of a boolean matrix.
    mutual = _find_mutual(nearest[:, : k1 + 1])
    # Equation 5: R*(p, k1). For each mutual neighbour q of p, compute its own mutual neighbours within k1 / 2. If
    # R(p, k1) contains more than two thirds of them, add them all.
    closer = _find_mutual(nearest[:, : round(k1 / 2) + 1])
    shared = (mutual.astype(np.int32) @ closer.astype(np.int32).T).multiply(mutual).tocoo()  # |R(p, k1) & R(q, k1/2)|
    sizes = np.diff(closer.indptr)
    enough = shared.data > 2 / 3 * sizes[shared.col]
    added = _make_relation(shared.row[enough], shared.col[enough], n) @ closer
    expanded = (mutual + added).tocoo()

    # Equation 7: the code of p is exp(-distance) on R*(p, k1), normalised to sum 1.
    values = np.exp(-distances[expanded.row, expanded.col].astype(np.float64))
    sums = np.bincount(expanded.row, weights=values, minlength=n)
    codes = sparse.csr_array((values / sums[expanded.row], (expanded.row, expanded.col)), shape=(n, n))
    if k2 > 1:  # equation 11: average the codes of the k2 nearest images, which include p itself
        rows = np.repeat(np.arange(n), k2)
        codes = (_make_relation(rows, nearest[:, :k2].ravel(), n).astype(np.float64) / k2 @ codes).tocsr()
    # Equation 12, in place to save memory.
    result = _jaccard_distances(codes[:n_query], codes[n_query:])
    result *= 1 - weight
    result += weight * distances[:n_query, n_query:]
    return result


def _join_features(query: Array, gallery: Array) -> tuple[NDArray[np.float64], int]:
    """Return all features (Nq+Ng, D) as float64, queries first, and Nq; see `k_reciprocal` for errors."""
    both = [
        x.detach().cpu().double().numpy() if isinstance(x, torch.Tensor) else np.asarray(x, np.float64)
        for x in (query, gallery)
    ]
    if any(x.ndim != 2 or 0 in x.shape for x in both) or both[0].shape[1] != both[1].shape[1]:
        raise ValueError(
            f"query and gallery must be (Nq, D) and (Ng, D), none 0; got {both[0].shape} and {both[1].shape}"
        )
    features = np.concatenate(both)
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinite values; check the network's output")
    return features, len(both[0])


def _compute_distances(features: NDArray[np.float64], blocks: Sequence[int]) -> NDArray[np.float32]:
    """Return squared Euclidean distances (N, N), squared again, each row divided by its largest; float32."""
    n = len(features)
    squares = (features**2).sum(axis=1)
    distances = np.empty((n, n), dtype=np.float32)
    block = max(1, _BLOCK // n)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        if blocks:
            part = 2 - 2 * compute_similarity(features[rows], features, blocks)
        else:
            part = squares[rows, None] + squares - 2 * features[rows] @ features.T
        np.square(np.maximum(part, 0, out=part), out=part)
        largest = part.max(axis=1, keepdims=True)
        distances[rows] = np.divide(part, largest, out=np.zeros_like(part), where=largest > 0)
    return distances


def _find_nearest(distances: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return (N, k) for each image its own number and those of its k-1 nearest, by distance; ties by number.

    A row is not sorted as a whole: the values up to the k-th smallest are selected first, and only these are sorted.
    """
    n = len(distances)
    nearest = np.empty((n, k), dtype=np.int64)
    block = max(1, _BLOCK // n)
    for start in range(0, n, block):
        part = distances[start : start + block].copy()
        own = np.arange(len(part))
        part[own, start + own] = -1  # below all others, so that the image itself comes before its exact copies
        rows, columns = np.nonzero(part <= np.partition(part, k - 1, axis=1)[:, k - 1 : k])
        # Ties may select more than k columns. The sort is stable and columns ascend within a row: ties go by number.
        order = np.lexsort((part[rows, columns], rows))
        firsts = np.searchsorted(rows, own)  # where the columns of each row start
        nearest[start + own] = columns[order[firsts[:, None] + np.arange(k)]]
    return nearest


def _make_relation(rows: NDArray[np.int64], columns: NDArray[np.int64], n: int) -> sparse.csr_array:
    """Return the sparse boolean matrix (n, n) that is true at these pairs of row and column."""
    return sparse.csr_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(n, n))


def _find_mutual(nearest: NDArray[np.int64]) -> sparse.csr_array:
    """Return the boolean matrix (N, N) of pairs of images that are in each other's lists (N, k) (equation 4).

    The lists contain the image itself, so the diagonal is true.
    """
    n, k = nearest.shape
    neighbours = _make_relation(np.repeat(np.arange(n), k), nearest.ravel(), n)
    return neighbours.multiply(neighbours.T).tocsr()


def _jaccard_distances(query: sparse.csr_array, gallery: sparse.csr_array) -> NDArray[np.float64]:
    """Return the Jaccard distances (Nq, Ng) between codes: 1 - sum of minima / sum of maxima (equation 10).

    The codes sum to 1, so that the sum of maxima is 2 - the sum of minima. A sum of minima is no matrix product, but
    most minima are 0: only entries of a query's and a gallery's code in the same column contribute. The function lists
    these pairs of entries and adds up their minima, for as many queries at once as give about _BLOCK pairs.
    """
    n_query, n_gallery = query.shape[0], gallery.shape[0]
    by_column = gallery.tocsc()
    lengths = np.diff(by_column.indptr)
    # pairs before each entry of the queries' codes, and before each query
    pairs = np.concatenate([[0], np.cumsum(lengths[query.indices])])
    ends = pairs[query.indptr]  # (Nq + 1)
    shared: NDArray[np.float64] = np.zeros((n_query, n_gallery))
    start = 0
    while start < n_query:
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + _BLOCK, side="right")) - 1)
        stop = min(stop, start + max(1, _BLOCK // n_gallery), n_query)
        own = slice(query.indptr[start], query.indptr[stop])
        columns, counts = query.indices[own], lengths[query.indices[own]]
        # For each entry of these queries, all entries in the same column of the gallery's codes, as one flat list.
        skips = by_column.indptr[columns] - (pairs[own] - pairs[own.start])
        entries = np.arange(pairs[own.stop] - pairs[own.start]) + np.repeat(skips, counts)
        minima = np.minimum(np.repeat(query.data[own], counts), by_column.data[entries])
        rows = np.repeat(np.arange(stop - start), np.diff(query.indptr[start : stop + 1]))
        # where each minimum is added: row and column of the result, as one number
        cells = np.repeat(rows, counts) * n_gallery + by_column.indices[entries]
        sums = np.bincount(cells, weights=minima, minlength=(stop - start) * n_gallery)
        shared[start:stop] = sums.reshape(-1, n_gallery)
        start = stop
    return 1 - shared / (2 - shared)
