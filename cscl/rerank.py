"""k-reciprocal re-ranking (Zhong et al., CVPR 2017, equations 3 to 12): it sees all queries at once."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

Array = ArrayLike | torch.Tensor

K1, K2, WEIGHT = 20, 6, 0.3
"""What the field re-ranks with."""
_BLOCK = 1 << 22
"""Numbers held at once beside the matrix of all distances."""


def k_reciprocal(
    query: Array,
    gallery: Array,
    k1: int = K1,
    k2: int = K2,
    weight: float = WEIGHT,
) -> NDArray[np.float64]:
    """Return distances (Nq, Ng) from the plain ones and from the neighbours that two images share.

    The plain ones are squared Euclidean, squared once more: the function the field re-ranks with squares what
    it is given, and is given squared distances. That moves the weights, not the neighbours.

    query, gallery: (Nq, D), (Ng, D) features.
    k1, k2: neighbours that must be mutual; neighbours over which an image's code is averaged (1: none).
    weight: of the plain distance, scaled to [0, 1] for each query; 1 - weight goes to the Jaccard distance.
    Memory is that of (Nq+Ng)^2 float32 and time grows with it. ValueError for features that do not fit each
    other or are not finite, k below 1 or not below Nq+Ng, weight outside [0, 1].
    """
    features, n_query = _features(query, gallery)
    n = len(features)
    for name, k in (("k1", k1), ("k2", k2)):
        if not 1 <= k < n:
            raise ValueError(f"{name} must lie in 1..{n - 1} for {n} images (query and gallery), got {k}")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight must lie in [0, 1], got {weight}")

    distances = _scaled_distances(features)
    nearest = _nearest(distances, max(k1 + 1, round(k1 / 2) + 1, k2))
    mutual = _mutual(nearest[:, : k1 + 1])
    # Equation 5: a mutual neighbour that shares more than two thirds of its own close circle brings it along.
    circle = _mutual(nearest[:, : round(k1 / 2) + 1])
    shared = (mutual.astype(np.int32) @ circle.astype(np.int32).T).multiply(mutual).tocoo()
    sizes = np.diff(circle.indptr)
    brings = shared.data > 2 / 3 * sizes[shared.col]
    brought = _relation(shared.row[brings], shared.col[brings], n) @ circle
    expanded = (mutual + brought).tocoo()

    # Equation 7: the code of an image, a distribution over the images of its expanded set.
    values = np.exp(-distances[expanded.row, expanded.col].astype(np.float64))
    sums = np.bincount(expanded.row, weights=values, minlength=n)
    codes = sparse.csr_array((values / sums[expanded.row], (expanded.row, expanded.col)), shape=(n, n))
    if k2 > 1:
        rows = np.repeat(np.arange(n), k2)
        codes = (_relation(rows, nearest[:, :k2].ravel(), n).astype(np.float64) / k2 @ codes).tocsr()
    result = _jaccard(codes[:n_query], codes[n_query:])
    result *= 1 - weight
    result += weight * distances[:n_query, n_query:]
    return result


def _features(query: Array, gallery: Array) -> tuple[NDArray[np.float64], int]:
    """Gallery below query as float64, and Nq; ValueError if they do not fit or are not finite."""
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


def _scaled_distances(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """Squared Euclidean distances (N, N), squared again, each row divided by its largest; kept in float32."""
    n = len(features)
    squares = (features**2).sum(axis=1)
    distances = np.empty((n, n), dtype=np.float32)
    block = max(1, _BLOCK // n)
    for start in range(0, n, block):
        rows = slice(start, start + block)
        part = squares[rows, None] + squares - 2 * features[rows] @ features.T
        np.square(np.maximum(part, 0, out=part), out=part)
        largest = part.max(axis=1, keepdims=True)
        distances[rows] = np.divide(part, largest, out=np.zeros_like(part), where=largest > 0)
    return distances


def _nearest(distances: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """(N, k) the image itself, then its nearest; ties in index order. Only these are sorted."""
    n = len(distances)
    nearest = np.empty((n, k), dtype=np.int64)
    block = max(1, _BLOCK // n)
    for start in range(0, n, block):
        part = distances[start : start + block].copy()
        own = np.arange(len(part))
        part[own, start + own] = -1  # an exact copy of an image must not take its place in its own list
        rows, columns = np.nonzero(part <= np.partition(part, k - 1, axis=1)[:, k - 1 : k])
        order = np.lexsort((part[rows, columns], rows))  # stable, and the columns ascend within a row
        firsts = np.searchsorted(rows, own)
        nearest[start + own] = columns[order[firsts[:, None] + np.arange(k)]]
    return nearest


def _relation(rows: NDArray[np.int64], columns: NDArray[np.int64], n: int) -> sparse.csr_array:
    """Return the (n, n) boolean matrix that is true at these pairs."""
    return sparse.csr_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(n, n))


def _mutual(nearest: NDArray[np.int64]) -> sparse.csr_array:
    """(N, N) true where each of two images is in the other's list, itself included (equation 4)."""
    n, k = nearest.shape
    neighbours = _relation(np.repeat(np.arange(n), k), nearest.ravel(), n)
    return neighbours.multiply(neighbours.T).tocsr()


def _jaccard(query: sparse.csr_array, gallery: sparse.csr_array) -> NDArray[np.float64]:
    """(Nq, Ng) one minus shared over united weight of the codes, which each sum to 1 (equation 10).

    A sum of minima has no matrix product, but codes are sparse: each entry of a query's code meets those of the
    gallery's codes in its column. Goes by blocks of queries that meet about _BLOCK entries.
    """
    n_query, n_gallery = query.shape[0], gallery.shape[0]
    by_column = gallery.tocsc()
    lengths = np.diff(by_column.indptr)
    met = np.concatenate([[0], np.cumsum(lengths[query.indices])])
    ends = met[query.indptr]  # (Nq + 1) entries met before each query
    shared: NDArray[np.float64] = np.zeros((n_query, n_gallery))
    start = 0
    while start < n_query:
        stop = max(start + 1, int(np.searchsorted(ends, ends[start] + _BLOCK, side="right")) - 1)
        stop = min(stop, start + max(1, _BLOCK // n_gallery), n_query)
        own = slice(query.indptr[start], query.indptr[stop])
        columns, counts = query.indices[own], lengths[query.indices[own]]
        # The entries of those columns of the gallery, one column after the other.
        skips = by_column.indptr[columns] - (met[own] - met[own.start])
        entries = np.arange(met[own.stop] - met[own.start]) + np.repeat(skips, counts)
        minima = np.minimum(np.repeat(query.data[own], counts), by_column.data[entries])
        rows = np.repeat(np.arange(stop - start), np.diff(query.indptr[start : stop + 1]))
        cells = np.repeat(rows, counts) * n_gallery + by_column.indices[entries]
        found = np.bincount(cells, weights=minima, minlength=(stop - start) * n_gallery)
        shared[start:stop] = found.reshape(-1, n_gallery)
        start = stop
    return 1 - shared / (2 - shared)
