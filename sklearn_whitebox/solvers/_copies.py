"""Rows that are equal up to their sign."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Rows on one line through the origin that make a subspace rather than duplicates.
_LINE_SIZE = 5


def distinct_rows(
    X: Array | sparse.csr_array,
) -> tuple[Indices, Indices, Array]:
    """Find the rows that equal, or oppose, no earlier row.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    first : ndarray of shape (n_distinct,)
        Sorted indices of the distinct rows.
    inverse : ndarray of shape (n_samples,)
        Position in `first` of the row that equals each row up to its sign.
    signs : ndarray of shape (n_samples,)
        The sign, in the dtype of `X`.
    """
    if sparse.issparse(X):
        return _distinct_sparse_rows(X)
    n_samples = len(X)
    largest = float(np.abs(X).max()) if X.size else 0.0
    # Rows that were normalised from multiples of one row differ in the last bits.
    decimals = 5 if X.dtype == np.float32 else 10
    keys = np.array(X, order="C")
    if largest > 0:
        keys /= X.dtype.type(largest)
    np.round(keys, decimals, out=keys)
    leading = keys[np.arange(n_samples), np.argmax(keys != 0, axis=1)]
    signs = np.where(leading < 0, -1, 1).astype(X.dtype)
    keys *= signs[:, None]
    keys += 0  # no negative zeros
    raw = keys.view(np.dtype((np.void, keys.shape[1] * keys.itemsize))).ravel()
    _, index, inverse = np.unique(raw, return_index=True, return_inverse=True)
    order = np.argsort(index)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    first = index[order]
    inverse = rank[inverse.ravel()]
    return first, inverse, signs * signs[first][inverse]


def _distinct_sparse_rows(X: Any) -> tuple[Indices, Indices, Array]:
    X = sparse.csr_array(X)
    X.sort_indices()
    largest = float(np.abs(X.data).max()) if X.nnz else 1.0
    decimals = 5 if X.dtype == np.float32 else 10
    data = np.round(X.data / (largest or 1.0), decimals)
    seen: dict[bytes, int] = {}
    first: list[int] = []
    inverse = np.empty(X.shape[0], np.int64)
    signs = np.ones(X.shape[0], X.dtype)
    for i in range(X.shape[0]):
        row = slice(X.indptr[i], X.indptr[i + 1])
        used = data[row] != 0
        values = data[row][used]
        if len(values) and values[0] < 0:
            signs[i], values = -1, -values
        key = X.indices[row][used].tobytes() + b"|" + values.tobytes()
        inverse[i] = seen.setdefault(key, len(first))
        if inverse[i] == len(first):
            first.append(i)
    index = np.array(first, np.int64)
    return index, inverse, signs * signs[index][inverse]


def spread_to_copies(
    codes: sparse.csr_array, first: Indices, inverse: Indices, signs: Array
) -> sparse.csr_array:
    """Give the codes of distinct rows to all rows.

    Parameters
    ----------
    codes : csr_array of shape (n_distinct, n_distinct)
        Codes of the distinct rows by each other.
    first, inverse, signs : ndarray
        What :func:`distinct_rows` returned.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_samples)
        Codes by the first of equal rows; rows on a well populated line are written by
        each other instead.
    """
    n_samples = len(inverse)
    members = np.bincount(inverse)
    on_line = members[inverse] >= _LINE_SIZE
    keep = sparse.diags_array(np.where(on_line, 0, signs).astype(codes.dtype))
    spread = sparse.csr_array(keep @ codes[inverse])
    spread.eliminate_zeros()
    spread = sparse.csr_array(
        (spread.data, first[spread.indices], spread.indptr),
        shape=(n_samples, n_samples),
    )
    rows = np.flatnonzero(on_line)
    if len(rows):
        # Each sample of a line is written by the line's first, that by the second.
        order = rows[np.argsort(inverse[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(inverse[order], prepend=-1))
        partner = first[inverse[order]]
        partner[starts] = order[starts + 1]
        values = signs[order] * signs[partner]
        links = sparse.csr_array((values, (order, partner)), shape=spread.shape)
        spread = sparse.csr_array(spread + links)
    spread.sort_indices()
    return spread
