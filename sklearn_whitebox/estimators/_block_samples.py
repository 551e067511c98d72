"""Rows of blocks that settle something: those of least hash, whatever their order."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows, sample_by_hash


class Picked(NamedTuple):
    """Rows that were picked from blocks.

    Parameters
    ----------
    X : ndarray of shape (n_picked, n_features)
        Distinct rows in the order of their hashes, which is as good as random.
    y : ndarray of shape (n_picked,) or None
        Their labels.
    counts : ndarray of shape (n_picked,)
        How often each is to be repeated, so that there are about as many rows as were
        wanted, in the proportions of all.
    squares : float
        Sum of the squared norms of all rows of the blocks.
    """

    X: np.ndarray
    y: np.ndarray | None
    counts: np.ndarray
    squares: float


def widening_shares(n_samples, size) -> Iterator[float]:
    """Give the shares of all rows to pick until enough of them differ.

    Parameters
    ----------
    n_samples : int
        All rows.
    size : int
        Rows wanted.

    Yields
    ------
    share : float
        The first suffices unless many rows are equal; the last is one.
    """
    # Half as many again, as the number under a bound of the hash is random.
    share = 1.5 * size / n_samples
    while share < 1:
        yield share
        share *= 4
    yield 1.0


def label_rows(X, target):
    """Put the numbers of classes beside the rows, so that they are hashed together.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    target : ndarray of shape (n_samples,)
        Numbers.

    Returns
    -------
    labelled : ndarray of shape (n_samples, n_features + 1)
        In the type of the rows.
    """
    return np.column_stack([X, target.astype(X.dtype)])


def pick_distinct(rows, size):
    """Pick the distinct rows of least hash.

    Parameters
    ----------
    rows : Blocks
        Surveyed blocks.
    size : int
        Most rows to pick.

    Returns
    -------
    picked : Picked
        Rows.
    """
    for share in widening_shares(rows.n_samples, size):
        parts = list(rows.map(_pick_chunk, share, rows.classes))
        *arrays, squares = zip(*parts, strict=True)
        X, target, y, weights = (
            None if part[0] is None else np.concatenate(part) for part in arrays
        )
        keys = X if target is None else label_rows(X, target)
        kept, _, totals = merge_equal_rows(keys, weights) if len(X) else ([], 0, [])
        if len(kept) >= size:
            break
    kept, totals = kept[:size], totals[:size]
    most = max(1.0, totals.sum() / size)
    counts = np.maximum(1, np.rint(totals / most)).astype(np.int64)
    return Picked(X[kept], None if y is None else y[kept], counts, sum(squares))


def _pick_chunk(X, y, share, classes):
    target = y if classes is None or y is None else np.searchsorted(classes, y)
    keys = X if target is None else label_rows(X, target)
    some = sample_by_hash(keys, share)
    weights = np.ones(len(some))
    if len(some):
        first, _, weights = merge_equal_rows(keys[some], weights)
        some = some[first]
    target, y = (None if a is None else a[some] for a in (target, y))
    squares = float(np.einsum("ij,ij->", X, X, dtype=np.float64))
    return X[some], target, y, weights, squares
