"""Clusters as counts, means and orthogonal factors, and the cost of joining two."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._coding_kernels import merge_costs_kernel

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Nats that leaving out one direction of a cluster may change the whole length by.
_NEGLIGIBLE = 1e-8


class CodedClusters:
    r"""Clusters, their coding lengths, and what it costs to join two of them.

    The scatter of a cluster is kept as a factor with orthogonal rows, :math:`F^\top F`
    with :math:`FF^\top` diagonal, so that the coding length of a union takes one
    determinant of the side of the smaller factor,

    .. math:: \log\det(I + c(A^\top A + B^\top B)) = \sum_b \log(1 + c\beta_b)
       + \log\det\bigl(I + c(AA^\top - A B^\top W B A^\top)\bigr), \quad
       W_b = \frac{c}{1 + c \beta_b},

    with :math:`\beta` the squared norms of the rows of B. The products
    :math:`AB^\top` of one cluster with all others are one matrix product.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    labels : ndarray of shape (n_samples,), default=None
        Cluster of each sample, from 0, none empty; None makes each sample one.
    distortion : float
        Allowed mean squared error per sample.
    code_mean : bool, default=False
        Whether clusters are coded around their means.
    basis_cost : bool, default=True
        Whether the subspace of a cluster is paid for.
    """

    def __init__(
        self,
        X: Array,
        labels: Indices | None = None,
        *,
        distortion: float,
        code_mean: bool = False,
        basis_cost: bool = True,
    ) -> None:
        rows: Array = X.astype(np.float64) / math.sqrt(distortion)
        self.dim = X.shape[1]
        self.pool: Array
        self.means: Array
        self.code_mean = code_mean
        self.basis = float(self.dim) if basis_cost else 0.0
        # Differences of means lose their digits if the data sit far from the origin.
        self.offset = rows.mean(axis=0) if code_mean else np.zeros(self.dim)
        rows -= self.offset
        rows, self.directions = _leading_coordinates(rows)
        self.offset_square = float(self.offset @ self.offset)
        self.offset_here = self.directions @ self.offset
        if labels is None:
            self._start_single(rows)
        else:
            self._start_from(rows, labels)

    def _start_single(self, rows: Array) -> None:
        n_samples, width = rows.shape
        self.counts = np.ones(n_samples)
        self.means = rows.copy() if self.code_mean else np.empty((n_samples, 0))
        if self.code_mean:
            self.pool = np.empty((0, width))
            self.ranks = np.zeros(n_samples, np.int64)
            self.starts = np.zeros(n_samples, np.int64)
        else:
            self.pool = rows
            self.ranks = np.ones(n_samples, np.int64)
            self.starts = np.arange(n_samples)
        self._measure()

    def _start_from(self, rows: Array, labels: Indices) -> None:
        n_clusters = int(labels.max()) + 1
        width = rows.shape[1]
        self.counts = np.bincount(labels).astype(np.float64)
        self.means = np.empty((n_clusters, width if self.code_mean else 0))
        factors = []
        for k in range(n_clusters):
            members = rows[labels == k]
            if self.code_mean:
                self.means[k] = members.mean(axis=0)
                members = members - self.means[k]
            factors.append(self._orthogonal(members, self.counts[k]))
        self.ranks = np.array([len(factor) for factor in factors])
        self.starts = np.cumsum(self.ranks) - self.ranks
        self.pool = np.concatenate(factors)
        self._measure()

    def _measure(self) -> None:
        """Fill in what follows from the factors and the means."""
        self.squares = np.einsum("ij,ij->i", self.pool, self.pool)
        owner = np.repeat(np.arange(len(self.counts)), self.ranks)
        if self.code_mean:
            self.tilts = np.einsum("ij,ij->i", self.pool, self.means[owner])
            self.mean_squares = np.einsum("ij,ij->i", self.means, self.means)
            self.mean_offsets = self.means @ self.offset_here
        else:
            self.tilts = np.zeros(len(self.pool))
            self.mean_squares = self.mean_offsets = np.zeros(len(self.counts))
        scale = self.dim / self.counts[owner]
        logdets = np.bincount(
            owner, np.log1p(scale * self.squares), minlength=len(self.counts)
        )
        self.lengths = (self.counts + self.basis) / 2 * logdets
        if self.code_mean:
            norms = self.mean_squares + 2 * self.mean_offsets + self.offset_square
            self.lengths += self.dim / 2 * np.log1p(norms)
        self._used = len(self.pool)

    def __len__(self) -> int:
        return len(self.counts)

    def total_length(self) -> float:
        """Return the segmentation coding length of all clusters, in nats."""
        shares = self.counts / self.counts.sum()
        return float(self.lengths.sum() - self.counts @ np.log(shares))

    def factor(self, k: int) -> Array:
        """Return the factor of one cluster."""
        start = self.starts[k]
        rows: Array = self.pool[start : start + self.ranks[k]]
        return rows

    def merge_costs(self, k: int, partners: Indices, *, gather: bool = True) -> Array:
        """Return the change of the total length by joining a cluster with others.

        Parameters
        ----------
        k : int
            The cluster.
        partners : ndarray of shape (n_partners,)
            The others.
        gather : bool, default=True
            Copy the factors of the partners together, which pays if they are few.

        Returns
        -------
        costs : ndarray of shape (n_partners,)
            In nats; negative where joining shortens the code.
        """
        right = self.factor(k)
        if self.code_mean:
            right = np.vstack([right, self.means[k]])
        starts = self.starts[partners]
        if gather:
            ranks = self.ranks[partners]
            rows, positions = _gathered(self.pool, starts, ranks)
            means = self.means[partners]
            mean_positions = np.arange(len(partners))
        else:
            rows, positions = self.pool[: self._used], starts
            means, mean_positions = self.means, partners
        products = rows @ right.T
        mean_products = means @ right.T if self.code_mean else np.empty((0, 0))
        return merge_costs_kernel(
            k,
            partners,
            products,
            positions,
            mean_products,
            mean_positions,
            self.counts,
            self.lengths,
            self.starts,
            self.ranks,
            self.squares,
            self.tilts,
            self.mean_squares,
            self.mean_offsets,
            self.offset_square,
            self.dim,
            self.basis,
            self.code_mean,
        )

    def merge(self, i: int, j: int) -> None:
        """Join cluster `j` into cluster `i`; slot `j` is dead afterwards."""
        total = self.counts[i] + self.counts[j]
        parts = [self.factor(i), self.factor(j)]
        if self.code_mean:
            pull = math.sqrt(self.counts[i] * self.counts[j] / total)
            parts.append(pull * (self.means[i] - self.means[j])[None])
            self.means[i] += self.counts[j] / total * (self.means[j] - self.means[i])
            self.mean_squares[i] = self.means[i] @ self.means[i]
            self.mean_offsets[i] = self.means[i] @ self.offset_here
        factor = self._orthogonal(np.concatenate(parts), total)
        self.counts[i], self.counts[j] = total, 0
        self.ranks[i] = self.ranks[j] = 0
        self._store(i, factor)
        start = self.starts[i]
        squares = self.squares[start : start + len(factor)]
        logdet = np.log1p(self.dim / total * squares).sum()
        self.lengths[i] = (total + self.basis) / 2 * logdet
        if self.code_mean:
            norm = self.mean_squares[i] + 2 * self.mean_offsets[i] + self.offset_square
            self.lengths[i] += self.dim / 2 * math.log1p(norm)

    def _store(self, k: int, factor: Array) -> None:
        if self._used + len(factor) > len(self.pool):
            self._repack(len(factor))
        start, stop = self._used, self._used + len(factor)
        self.starts[k], self.ranks[k] = start, len(factor)
        self.pool[start:stop] = factor
        self.squares[start:stop] = np.einsum("ij,ij->i", factor, factor)
        if self.code_mean:
            self.tilts[start:stop] = factor @ self.means[k]
        self._used = stop

    def _repack(self, room: int) -> None:
        """Move the living rows together, and leave room for as many again."""
        owners = np.argsort(self.starts, kind="stable")
        owners = owners[self.ranks[owners] > 0]
        rows = _flat_positions(self.starts[owners], self.ranks[owners])
        n_free = max(room, len(rows) // 2 + 64)
        self.pool = np.concatenate(
            [self.pool[rows], np.zeros((n_free, self.pool.shape[1]))]
        )
        self.squares = np.concatenate([self.squares[rows], np.zeros(n_free)])
        self.tilts = np.concatenate([self.tilts[rows], np.zeros(n_free)])
        self.starts[owners] = np.cumsum(self.ranks[owners]) - self.ranks[owners]
        self._used = len(rows)

    def keep(self, slots: Indices) -> None:
        """Forget all other slots; the kept ones are renumbered in order."""
        for name in ("counts", "lengths", "starts", "ranks", "means"):
            setattr(self, name, getattr(self, name)[slots])
        self.mean_squares = self.mean_squares[slots]
        self.mean_offsets = self.mean_offsets[slots]
        self._repack(0)

    def _orthogonal(self, rows: Array, count: float) -> Array:
        """Return a factor of the scatter of some rows, with orthogonal rows."""
        if len(rows) <= 1:
            return rows
        if len(rows) <= rows.shape[1]:
            squares, vectors = np.linalg.eigh(rows @ rows.T)
            kept = self._kept(squares, count)
            factor: Array = vectors[:, kept].T @ rows
            return factor
        squares, vectors = np.linalg.eigh(rows.T @ rows)
        kept = self._kept(squares, count)
        return np.sqrt(squares[kept])[:, None] * vectors[:, kept].T

    def _kept(self, squares: Array, count: float) -> Any:
        largest = squares[-1]
        whole = (self.counts.sum() + self.dim) / 2 * self.dim / count
        return squares > max(_NEGLIGIBLE / whole, 1e-15 * largest, 0.0)


def _leading_coordinates(rows: Array) -> tuple[Array, Array]:
    """Express rows in an orthonormal basis of their span, if that is smaller."""
    n_samples, n_features = rows.shape
    identity = np.eye(n_features)
    if n_features <= 8:
        return np.ascontiguousarray(rows), identity
    if n_samples >= n_features:
        squares, vectors = np.linalg.eigh(rows.T @ rows)
        if squares[-1] <= 0 or squares[0] > 1e-13 * squares[-1]:
            return np.ascontiguousarray(rows), identity
        directions = vectors[:, squares > 1e-13 * squares[-1]].T
    else:
        _, values, directions = np.linalg.svd(rows, full_matrices=False)
        directions = directions[values > 1e-10 * values[0]]
    directions = np.ascontiguousarray(directions)
    return np.ascontiguousarray(rows @ directions.T), directions


def _flat_positions(starts: Indices, ranks: Indices) -> Indices:
    ends = np.cumsum(ranks)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - ranks), ranks)


def _gathered(pool: Array, starts: Indices, ranks: Indices) -> tuple[Array, Indices]:
    return pool[_flat_positions(starts, ranks)], np.cumsum(ranks) - ranks
