"""Directions of classes, and distances to the subspaces that they span."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Moments = tuple[float, Array, Array]

# Share of the largest squared singular value below which others are rounding errors.
_ROUNDING = 1e-12

# Share of the squared norm below which a residual is computed as a difference of rows;
# the difference of squared norms is exact to their precision only.
_SMALL = {4: 1e-3, 8: 1e-6}

# Entries of the coordinates that are held at a time.
_BLOCK = 2**24


def class_directions(
    moments: Moments, *, limit: int | None = None
) -> tuple[Array, Array]:
    """Sort the directions of a class by their energy.

    Parameters
    ----------
    moments : tuple of (float, ndarray, ndarray)
        What :func:`class_moments` returns.
    limit : int, default=None
        Most directions; None takes as many as the class has.

    Returns
    -------
    squares : ndarray of shape (n_all,)
        Squared singular values in falling order, without rounding errors.
    directions : ndarray of shape (n_directions, n_features)
        Orthonormal rows, the first of them.
    """
    _, _, factor = moments
    squares = np.einsum("ij,ij->i", factor, factor)
    order = np.argsort(-squares, kind="stable")
    order = order[squares[order] > _ROUNDING * squares.max(initial=0)]
    rows = factor[order[:limit]]
    if len(rows) == 0:
        return squares[order], np.empty((0, factor.shape[1]))
    # Weak rows are orthogonal only as far as their norm exceeds that of rounding.
    directions, triangle = np.linalg.qr(rows.T)
    signs = np.where(np.diag(triangle) < 0, -1.0, 1.0)
    return squares[order], np.ascontiguousarray((directions * signs).T)


def energy_ranks(spectra: Sequence[Array], share: float) -> Indices:
    """Count the directions that hold a share of the energy of each class.

    Parameters
    ----------
    spectra : sequence of ndarray
        Squared singular values of each class in falling order.
    share : float
        Share of their sum.

    Returns
    -------
    ranks : ndarray of shape (n_classes,)
        Number of directions.
    """
    ranks = np.zeros(len(spectra), np.int64)
    for k, squares in enumerate(spectra):
        if len(squares):
            held = np.cumsum(squares) / squares.sum()
            # The last sum differs from one by rounding.
            enough = int(np.searchsorted(held, share - 1e-12)) + 1
            ranks[k] = min(enough, len(squares))
    return ranks


def squared_residuals(
    X: Array, means: Array, bases: Sequence[Array], variances: Sequence[Array] | None
) -> tuple[Array, Array]:
    """Measure rows against affine subspaces, with one matrix product for all.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    means : ndarray of shape (n_classes, n_features)
        Points of the subspaces.
    bases : sequence of ndarray of shape (rank, n_features)
        Orthonormal rows, in the dtype of `X`.
    variances : sequence of ndarray of shape (rank,) or None
        Variances along the bases, if the coordinates matter.

    Returns
    -------
    residuals : ndarray of shape (n_samples, n_classes)
        Squared distances, float64.
    inside : ndarray of shape (n_samples, n_classes)
        Squared coordinates over variances, summed; zero without `variances`.

    Notes
    -----
    Costs O(n d r) time for subspaces of r dimensions in total, and memory for blocks of
    rows.
    """
    residuals = np.empty((len(X), len(bases)))
    inside = np.zeros((len(X), len(bases)))
    stacked = np.concatenate([*bases]).T
    ends = np.cumsum([len(basis) for basis in bases])
    shifted = bool(means.any())
    size = max(1, _BLOCK // max(stacked.shape[1], X.shape[1]))
    for start in range(0, len(X), size):
        block = slice(start, start + size)
        rows = X[block]
        coordinates = (rows @ stacked).astype(np.float64)
        for k, basis in enumerate(bases):
            own = coordinates[:, ends[k] - len(basis) : ends[k]]
            mean = means[k].astype(X.dtype)
            gaps = rows - mean if shifted else rows
            if shifted:
                own = own - (mean @ basis.T).astype(np.float64)
            whole = np.einsum("ij,ij->i", gaps, gaps, dtype=np.float64)
            rest = whole - np.einsum("ij,ij->i", own, own)
            near = np.flatnonzero(rest < _SMALL[X.itemsize] * whole)
            if len(near):
                difference = gaps[near] - (gaps[near] @ basis.T) @ basis
                rest[near] = np.einsum(
                    "ij,ij->i", difference, difference, dtype=np.float64
                )
            residuals[block, k] = rest
            if variances is not None:
                inside[block, k] = own**2 @ (1 / variances[k])
    return residuals, inside


def class_variances(squares: Array, rank: int, count: float, noise: float) -> Array:
    """Give the variances of a class along its leading directions.

    Parameters
    ----------
    squares : ndarray of shape (n_directions,)
        Squared singular values in falling order.
    rank : int
        Number of directions.
    count : float
        Samples of the class.
    noise : float
        Variance outside the subspace, and the least inside.

    Returns
    -------
    variances : ndarray of shape (rank,)
        Mean squares of the coordinates.
    """
    variances: Array = np.maximum(squares[:rank] / count, noise)
    return variances
