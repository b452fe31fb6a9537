"""Similarity of embeddings that are made of features which an image may not show (Embedding of docs/method.md)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def compute_similarity(query: Floats, gallery: Floats, blocks: Sequence[int] = ()) -> Floats:
    """Return the similarity (Nq, Ng), in [-1, 1], of embeddings: the mean of the cosines of their features.

    In the mean a feature counts by the product of its lengths in the two embeddings, so that a part counts as far as
    both images show it: sum_k v_k v'_k cos_k / sum_k v_k v'_k, as in BPBReID (Somers et al., WACV 2023). The cosine of
    the embeddings as a whole, which this is for a single feature, takes a part that one image hides for a difference.

    Args:
        query: (Nq, D).
        gallery: (Ng, D).
        blocks: numbers of values of the features, which add up to D (`Embedder.blocks`); none for embeddings of one
            feature and length 1.

    Raises:
        ValueError: if the lengths do not add up to D.

    >>> left, right = np.array([[1.0, 0.0, 1.0, 0.0]]), np.array([[1.0, 0.0, 0.0, 0.0]])
    >>> compute_similarity(left, right, (2, 2)).tolist()
    [[1.0]]
    """
    products = query @ gallery.T
    if len(blocks) < 2:
        return products
    if sum(blocks) != query.shape[1]:
        raise ValueError(f"features of {' + '.join(map(str, blocks))} values do not make up {query.shape[1]}")
    shared = _lengths(query, blocks) @ _lengths(gallery, blocks).T
    return np.divide(products, shared, out=np.zeros_like(products), where=shared > 0)


def _lengths(embeddings: Floats, blocks: Sequence[int]) -> Floats:
    """Return the length of each feature (N, K) in embeddings (N, D)."""
    starts = np.cumsum([0, *blocks[:-1]])
    return np.sqrt(np.add.reduceat(np.square(embeddings), starts, axis=1))
