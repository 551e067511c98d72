"""Distances of new rows to fitted subspaces, safe at any scale."""

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._flats import (
    Flats,
    Rows,
    exact_distances,
    nearest_flats,
)

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


def subspace_distances(
    X: Array, bases: list[Array], offsets: Array | None = None
) -> Array:
    """Measure the distance of each row to each subspace.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    bases : list of ndarray of shape (dim, n_features)
        Orthonormal bases.
    offsets : ndarray of shape (n_subspaces, n_features), default=None
        A point of each subspace; None if all contain the origin.

    Returns
    -------
    distances : ndarray of shape (n_samples, n_subspaces)
        Norms of the residuals, in the dtype of `X`.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.array([[1.0, 0.0]])
    >>> subspace_distances(np.array([[3.0, 4.0]]), [line], np.array([[0.0, 1.0]]))
    array([[3.]])
    """
    rows, flats, unit = _scaled(X, bases, offsets)
    with serial_blas():
        return exact_distances(rows, flats) * unit


def nearest_subspaces(
    X: Array, bases: list[Array], offsets: Array | None = None
) -> Indices:
    """Find the nearest subspace of each row.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    bases : list of ndarray of shape (dim, n_features)
        Orthonormal bases.
    offsets : ndarray of shape (n_subspaces, n_features), default=None
        A point of each subspace; None if all contain the origin.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Index of the nearest subspace; the first of those equally near.
    """
    rows, flats, _ = _scaled(X, bases, offsets)
    with serial_blas():
        return nearest_flats(Rows.of(rows), flats)[0]


def _scaled(
    X: Array, bases: list[Array], offsets: Array | None
) -> tuple[Array, Flats, Array]:
    """Divide by powers of two, so that squares neither overflow nor vanish."""
    bases = [basis.astype(X.dtype, copy=False) for basis in bases]
    if offsets is None:
        peaks = np.abs(X).max(axis=1, keepdims=True)
        unit = np.exp2(np.frexp(peaks)[1]).astype(X.dtype)
        return X / unit, Flats(bases), unit
    center = offsets.mean(axis=0)
    X, offsets = X - center.astype(X.dtype), offsets - center
    peak = max(float(np.abs(part).max(initial=0)) for part in (X, offsets))
    unit = np.exp2(np.frexp(np.asarray([peak]))[1]).astype(X.dtype)
    return X / unit, Flats(bases, (offsets / unit).astype(X.dtype)), unit


def unit_rows(X: Array) -> Array:
    """Scale rows to unit norm.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    units : ndarray of shape (n_samples, n_features)
        The rows over their norms; zero rows stay zero.
    """
    # Scaled first by the largest entry, so that tiny numbers do not underflow.
    peaks = np.abs(X).max(axis=1, keepdims=True)
    X = X / np.where(peaks > 0, peaks, 1)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    units: Array = X / np.where(norms > 0, norms, 1)
    return units
