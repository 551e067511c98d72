"""Subspaces through the origin or beside it: fit to rows, find the nearest."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Entries of the products of one block of rows with all bases.
_BLOCK = 2**20

# Below so many dimensions, or so many per direction wanted, all principal directions
# are computed; above, last round's are improved, which costs less and never worsens.
SMALL = 96
FEW = 8


@dataclass(frozen=True)
class Rows:
    """Rows with their squared norms and weights.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    squares : ndarray of shape (n_samples,)
        Their squared norms.
    weights : ndarray of shape (n_samples,) or None
        Their weights, None if all are one.
    """

    X: Array
    squares: Array
    weights: Array | None

    @classmethod
    def of(cls, X: Array, weights: Array | None = None) -> "Rows":
        """Measure the rows, and drop weights that are all one."""
        if weights is not None:
            weights = None if (weights == 1).all() else weights.astype(X.dtype)
        return cls(X, np.einsum("ij,ij->i", X, X), weights)

    @cached_property
    def units(self) -> Array:
        """Rows scaled to unit norm; zero rows stay zero."""
        norms = np.sqrt(self.squares)
        return self.X / np.where(norms > 0, norms, 1)[:, None]

    def total(self, values: Array) -> float:
        """Sum a value of each row by the weights, in float64."""
        if self.weights is None:
            return float(values.sum(dtype=np.float64))
        return float(np.dot(values.astype(np.float64), self.weights))

    def first(self, n_rows: int) -> "Rows":
        """Take the first rows."""
        if n_rows >= len(self.X):
            return self
        weights = None if self.weights is None else self.weights[:n_rows]
        return Rows(self.X[:n_rows], self.squares[:n_rows], weights)


@dataclass(frozen=True)
class Flats:
    """Linear or affine subspaces.

    Parameters
    ----------
    bases : list of ndarray of shape (dim, n_features)
        Orthonormal directions of each; none for a point.
    offsets : ndarray of shape (n_flats, n_features) or None
        A point of each; None if all contain the origin.
    """

    bases: list[Array]
    offsets: Array | None = None

    @classmethod
    def of(cls, bases: list[Array], offsets: Sequence[Array | None]) -> "Flats":
        """Put together what was fitted one by one."""
        points = [offset for offset in offsets if offset is not None]
        return cls(bases, np.stack(points) if points else None)

    def offset(self, k: int) -> Array | None:
        """Give a point of the k-th, None if it contains the origin."""
        return None if self.offsets is None else self.offsets[k]

    def replace(self, k: int, basis: Array, offset: Array | None) -> "Flats":
        """Put another subspace in the place of the k-th."""
        bases = list(self.bases)
        bases[k] = basis
        if self.offsets is None:
            return Flats(bases)
        offsets = self.offsets.copy()
        offsets[k] = offset
        return Flats(bases, offsets)


def flat_residuals(rows: Rows, flats: Flats) -> Array:
    """Measure the squared distance of each row to each subspace by one product.

    Parameters
    ----------
    rows : Rows
        Rows.
    flats : Flats
        Subspaces.

    Returns
    -------
    residuals : ndarray of shape (n_flats, n_samples)
        Differences of squared norms, right to rounding in units of the squared norms.
    """
    sizes = np.array([len(basis) for basis in flats.bases])
    starts = np.cumsum(sizes) - sizes
    products = np.vstack(flats.bases) @ rows.X.T
    products *= products
    residuals = np.tile(rows.squares, (len(sizes), 1))
    lines = np.flatnonzero(sizes)  # the others are points
    if len(lines):
        residuals[lines] -= np.add.reduceat(products, starts[lines], axis=0)
    if flats.offsets is not None:
        # Only the part of the offset across the subspace moves it.
        across = np.stack(
            [m - (m @ U.T) @ U for m, U in zip(flats.offsets, flats.bases, strict=True)]
        )
        residuals -= 2 * (across @ rows.X.T)
        residuals += np.einsum("ij,ij->i", across, across)[:, None]
    return np.maximum(residuals, 0)


def nearest_flats(rows: Rows, flats: Flats) -> tuple[Indices, Array, Array]:
    """Find the nearest subspace of each row.

    Parameters
    ----------
    rows : Rows
        Rows.
    flats : Flats
        Subspaces.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Index of the nearest subspace.
    least : ndarray of shape (n_samples,)
        Squared distance to it.
    second : ndarray of shape (n_samples,)
        Squared distance to the next; infinite if there is only one.

    Notes
    -----
    Rows are visited in blocks. Where the two distances differ by rounding, they are
    computed again from the differences themselves.
    """
    n_samples = len(rows.X)
    labels = np.empty(n_samples, np.int64)
    least, second = np.empty((2, n_samples), rows.X.dtype)
    width = sum(len(basis) for basis in flats.bases) + len(flats.bases)
    step = max(256, _BLOCK // width)
    rounding = 16 * np.finfo(rows.X.dtype).eps
    for start in range(0, n_samples, step):
        block = slice(start, min(start + step, n_samples))
        part = Rows(rows.X[block], rows.squares[block], None)
        residuals = flat_residuals(part, flats)
        nearest, low, next_low = _two_least(residuals)
        if flats.offsets is None:
            scale = part.squares
        else:
            scale = part.squares + float(np.square(flats.offsets).sum(axis=1).max())
        close = np.flatnonzero(next_low - low <= rounding * scale)
        if len(close):
            exact = exact_distances(part.X[close], flats).T ** 2
            nearest[close], low[close], next_low[close] = _two_least(exact)
        labels[block], least[block], second[block] = nearest, low, next_low
    return labels, least, second


def _two_least(residuals: Array) -> tuple[Indices, Array, Array]:
    columns = np.arange(residuals.shape[1])
    nearest = residuals.argmin(axis=0)
    low = residuals[nearest, columns]
    residuals[nearest, columns] = np.inf
    return nearest, low, residuals.min(axis=0)


def exact_distances(X: Array, flats: Flats) -> Array:
    """Measure the distance of each row to each subspace from the residual itself.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    flats : Flats
        Subspaces.

    Returns
    -------
    distances : ndarray of shape (n_samples, n_flats)
        Norms of the residuals, exact to rounding also near zero.
    """
    distances = np.empty((len(X), len(flats.bases)), X.dtype)
    step = max(256, _BLOCK // X.shape[1])
    for k, basis in enumerate(flats.bases):
        for start in range(0, len(X), step):
            part = X[start : start + step]
            if flats.offsets is not None:
                part = part - flats.offsets[k]
            residual = part - (part @ basis.T) @ basis
            squares = np.einsum("ij,ij->i", residual, residual)
            distances[start : start + step, k] = np.sqrt(squares)
    return distances


def fit_flat(
    X: Array,
    weights: Array | None,
    dim: int,
    *,
    affine: bool,
    previous: Array | None = None,
) -> tuple[Array, Array | None]:
    """Fit a subspace to rows by least squares.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        At least one row.
    weights : ndarray of shape (n_samples,) or None
        Their weights.
    dim : int
        Dimension.
    affine : bool
        Whether the subspace goes through the mean of the rows rather than the origin.
    previous : ndarray of shape (dim, n_features), default=None
        Basis to improve by a step of block Krylov iteration, where that is cheaper
        than all principal directions. The sum of squares never grows.

    Returns
    -------
    basis : ndarray of shape (at most dim, n_features)
        Orthonormal rows, as many as the rows have rank.
    offset : ndarray of shape (n_features,) or None
        The mean, if `affine`.
    """
    offset = None
    if affine:
        offset = np.average(X, axis=0, weights=weights).astype(X.dtype)
        X = X - offset
    if weights is not None:
        X = X * np.sqrt(weights)[:, None]
    small = min(X.shape)
    if previous is None or small <= max(SMALL, FEW * dim):
        return _principal(X, dim), offset
    towards = (X @ previous.T).T @ X
    span = np.linalg.qr(np.vstack([previous, towards]).T)[0].T
    coordinates = X @ span.T
    return _principal(coordinates, dim) @ span, offset


def _principal(X: Array, dim: int) -> Array:
    """Leading right singular vectors, from the smaller of the two Gram matrices."""
    if dim == 0:
        return np.empty((0, X.shape[1]), X.dtype)
    tall = X.shape[0] >= X.shape[1]
    gram = X.T @ X if tall else X @ X.T
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:dim], vectors[:, ::-1][:, :dim]
    enough = values > 8 * max(X.shape) * np.finfo(X.dtype).eps * max(values[0], 0)
    if not enough.any():
        return np.eye(1, X.shape[1], dtype=X.dtype)  # any line holds the origin
    vectors = vectors[:, enough]
    if tall:
        return np.ascontiguousarray(vectors.T)
    directions = X.T @ (vectors / np.sqrt(values[enough]))
    # Squaring the singular values cost half the digits of the weak directions.
    return np.ascontiguousarray(np.linalg.qr(directions)[0].T)
