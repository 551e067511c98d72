"""Rows merged where they are equal, in an order that depends on their values only."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


def merge_equal_rows(X: Array, weights: Array) -> tuple[Indices, Indices, Array]:
    """Merge equal rows and order the rest by a hash of their values.

    What is computed from the merged rows depends neither on the order of the rows, nor
    on whether a row is repeated or weighted; and since hashes are as good as random,
    the first m of them are a random sample.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    weights : ndarray of shape (n_samples,)
        Their weights; rows of weight zero are left out.

    Returns
    -------
    first : ndarray of shape (n_distinct,)
        Index of one of the equal rows, in the order of the hashes.
    inverse : ndarray of shape (n_samples,)
        Position in `first` of the row that equals each row; -1 for those left out.
    totals : ndarray of shape (n_distinct,)
        Sums of the weights of equal rows, in float64.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 2.0]])
    >>> first, inverse, totals = merge_equal_rows(X, np.ones(3))
    >>> sorted(totals)
    [np.float64(1.0), np.float64(2.0)]
    """
    kept = np.flatnonzero(weights > 0)
    hashes, bits = _hashes(X[kept])
    order = np.argsort(hashes, kind="stable")
    order = _settle_collisions(hashes, bits, order)
    starts = np.ones(len(order), bool)
    ties = np.flatnonzero(hashes[order[1:]] == hashes[order[:-1]])
    starts[ties + 1] = (bits[order[ties]] != bits[order[ties + 1]]).any(axis=1)
    groups = np.cumsum(starts) - 1
    inverse = np.full(len(X), -1, np.int64)
    inverse[kept[order]] = groups
    totals = np.zeros(groups[-1] + 1)
    np.add.at(totals, groups, weights[kept[order]])
    return kept[order[starts]].astype(np.int64), inverse, totals


def sample_by_hash(X: Array, share: float) -> Indices:
    """Pick rows by a hash of their values, wherever and beside whatever they are.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    share : float
        Of all rows, about how many to pick; equal rows go together.

    Returns
    -------
    picked : ndarray of int
        Those that :func:`merge_equal_rows` would put first, in the order of `X`.
    """
    if share >= 1:
        return np.arange(len(X))
    hashes, _ = _hashes(X)
    return np.flatnonzero(hashes < np.uint64(share * 2.0**64))


def _hashes(X: Array) -> tuple[NDArray[np.uint64], Array]:
    # Negative zeros equal positive ones and must hash like them.
    bits = np.ascontiguousarray(X + X.dtype.type(0))
    return _hash_rows(bits.view(np.uint32 if X.itemsize == 4 else np.uint64)), bits


def _settle_collisions(
    hashes: NDArray[np.uint64], rows: Array, order: Indices
) -> Indices:
    """Sort different rows of one hash by value, so that equal ones are neighbours."""
    tied = np.flatnonzero(np.diff(hashes[order]) == 0)
    different = tied[(rows[order[tied]] != rows[order[tied + 1]]).any(axis=1)]
    order = order.copy()
    for value in np.unique(hashes[order[different]]):
        place = np.flatnonzero(hashes[order] == value)
        members = order[place]
        order[place] = members[np.lexsort(rows[members].T[::-1])]
    return order


@njit(nogil=True, cache=True)
def _hash_rows(bits: NDArray[np.unsignedinteger]) -> NDArray[np.uint64]:
    hashes = np.empty(len(bits), np.uint64)
    for i in range(len(bits)):
        h = np.uint64(0x9E3779B97F4A7C15)
        for j in range(bits.shape[1]):
            h ^= np.uint64(bits[i, j])
            h *= np.uint64(0xBF58476D1CE4E5B9)
            h ^= h >> np.uint64(29)
        h *= np.uint64(0x94D049BB133111EB)
        hashes[i] = h ^ (h >> np.uint64(32))
    return hashes
