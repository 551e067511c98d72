"""Incremental coding lengths: what one more sample costs a class."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


def class_moments(
    X: Array, sample_weight: Array | None = None, *, code_mean: bool = False
) -> tuple[float, Array, Array]:
    """Summarise the samples of a class for coding.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples of the class, perhaps none.
    sample_weight : ndarray of shape (n_samples,), default=None
        How many times each sample counts.
    code_mean : bool, default=False
        Whether the class is coded around its mean.

    Returns
    -------
    count : float
        Sum of the weights.
    mean : ndarray of shape (n_features,)
        Weighted mean; zero unless `code_mean`.
    factor : ndarray of shape (rank, n_features)
        Orthogonal rows with ``factor.T @ factor`` the scatter around that mean.
    """
    rows = X.astype(np.float64)
    weights = np.ones(len(rows)) if sample_weight is None else sample_weight
    count = float(weights.sum())
    mean = np.zeros(rows.shape[1])
    if code_mean and count > 0:
        mean = weights @ rows / count
    rows = np.sqrt(weights)[:, None] * (rows - mean)
    return count, mean, _orthogonal_factor(rows)


def add_moments(
    first: tuple[float, Array, Array],
    second: tuple[float, Array, Array],
    *,
    code_mean: bool = False,
) -> tuple[float, Array, Array]:
    """Summarise the union of two sets of samples.

    Parameters
    ----------
    first, second : tuple of (float, ndarray, ndarray)
        What :func:`class_moments` returns.
    code_mean : bool, default=False
        As there.

    Returns
    -------
    moments : tuple of (float, ndarray, ndarray)
        As from all samples at once, but for rounding.
    """
    (count, mean, factor), (other_count, other_mean, other_factor) = first, second
    total = count + other_count
    if count == 0 or other_count == 0:
        return first if other_count == 0 else second
    rows = [factor, other_factor]
    if code_mean:
        gap = other_mean - mean
        rows.append(np.sqrt(count * other_count / total) * gap[None])
        mean = mean + other_count / total * gap
    return total, mean, _orthogonal_factor(np.concatenate(rows))


def principal_basis(
    count: float, mean: Array, factor: Array, *, code_mean: bool = False
) -> Array:
    """Find the directions of a class that its samples tell from noise.

    Their number is the one that the Bayesian information criterion gives a Gaussian
    whose other directions all have one variance.

    Parameters
    ----------
    count : float
        Samples of the class.
    mean : ndarray of shape (n_features,)
        Their mean.
    factor : ndarray of shape (rank, n_features)
        Orthogonal rows, the scatter of the class.
    code_mean : bool, default=False
        Whether the scatter is that around the mean.

    Returns
    -------
    basis : ndarray of shape (dim, n_features)
        Orthonormal rows, in the order of falling variance; less than all of space.
    """
    n_features = len(mean)
    squares = np.einsum("ij,ij->i", factor, factor)
    order = np.argsort(-squares, kind="stable")
    order = order[squares[order] > 1e-12 * squares.max(initial=0)]
    variances = np.zeros(n_features)
    variances[: len(order)] = squares[order] / count
    total = variances.sum()
    freedom = count - 1 if code_mean else count
    limit = int(min(len(order), n_features - 1, freedom))
    if limit < 1 or not total > 0:
        return np.empty((0, n_features))
    dims = np.arange(limit + 1)
    kept = np.concatenate([[0.0], np.cumsum(variances[:limit])])
    logs = np.concatenate([[0.0], np.cumsum(np.log(variances[:limit]))])
    # The floor is what rounding leaves of exact subspaces.
    noise = np.maximum((total - kept) / (n_features - dims), 1e-12 * total)
    fit = count / 2 * (logs + (n_features - dims) * np.log(noise))
    n_parameters = dims * n_features - dims * (dims - 1) / 2 + 1
    dim = int(np.argmin(fit + n_parameters / 2 * np.log(count)))
    basis: Array = factor[order[:dim]] / np.sqrt(squares[order[:dim]])[:, None]
    return basis


def _orthogonal_factor(rows: Array) -> Array:
    n_rows, n_features = rows.shape
    if n_rows == 0:
        return rows
    if n_rows <= n_features:
        squares, vectors = np.linalg.eigh(rows @ rows.T)
        kept = squares > 1e-14 * max(squares[-1], 0.0)
        factor: Array = np.ascontiguousarray(vectors[:, kept].T @ rows)
        return factor
    squares, vectors = np.linalg.eigh(rows.T @ rows)
    kept = squares > 1e-14 * max(squares[-1], 0.0)
    return np.ascontiguousarray(np.sqrt(squares[kept])[:, None] * vectors[:, kept].T)


class ClassCoder:
    r"""Coding lengths of a class with a sample added, and with one taken out.

    All follow from the eigenvalues of the scatter and the coordinates of the samples
    along its eigenvectors, which are computed once for any number of distortions:

    .. math:: \log\det(I + cS + g\,xx^\top) = \log\det(I + cS)
       + \log\bigl(1 + g\,x^\top (I + cS)^{-1} x\bigr)

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples to be added, or taken out.
    count : float
        Samples of the class.
    mean : ndarray of shape (n_features,)
        Their mean, zero if it is not coded.
    factor : ndarray of shape (rank, n_features)
        Orthogonal rows, the scatter of the class around `mean`.
    code_mean : bool, default=False
        Whether the mean is coded.
    basis_cost : bool, default=True
        Whether the subspace is paid for.
    """

    def __init__(
        self,
        X: Array,
        count: float,
        mean: Array,
        factor: Array,
        *,
        code_mean: bool = False,
        basis_cost: bool = True,
    ) -> None:
        self.count, self.code_mean = count, code_mean
        self.dim = X.shape[1]
        self.basis = self.dim if basis_cost else 0
        self.eigenvalues = np.einsum("ij,ij->i", factor, factor)
        rows = X.astype(np.float64) - mean
        lengths = np.sqrt(self.eigenvalues)
        directions = factor / np.where(lengths > 0, lengths, 1)[:, None]
        coordinates = rows @ directions.T
        self.squares = coordinates**2
        total = np.einsum("ij,ij->i", rows, rows)
        self.outside = np.maximum(total - self.squares.sum(axis=1), 0)
        # Norms of means, for the code of the mean.
        self.mean_square = float(mean @ mean)
        self.along = rows @ mean
        self.total = total

    def length(self, distortion: float) -> float:
        """Measure the class as it is.

        Parameters
        ----------
        distortion : float
            Allowed mean squared error per sample.

        Returns
        -------
        length : float
            Coding length in nats, without labels.
        """
        if self.count <= 0:
            return 0.0
        scale = self.dim / (self.count * distortion)
        logdet = float(np.log1p(scale * self.eigenvalues).sum())
        length = (self.count + self.basis) / 2 * logdet
        if self.code_mean:
            length += self.dim / 2 * np.log1p(self.mean_square / distortion)
        return length

    def increments(self, distortion: float) -> Array:
        """Measure by how much each sample, added alone, lengthens the code.

        Parameters
        ----------
        distortion : float
            Allowed mean squared error per sample.

        Returns
        -------
        lengths : ndarray of shape (n_samples,)
            In nats, without labels.
        """
        count = self.count + 1
        scale = self.dim / (count * distortion)
        gain = scale * self.count / count if self.code_mean else scale
        logdet = np.log1p(scale * self.eigenvalues).sum()
        logdet = logdet + np.log1p(gain * self._whitened(scale))
        lengths: Array = (count + self.basis) / 2 * logdet
        if self.code_mean:
            lengths += self._mean_length(1 / count, distortion)
        return lengths - self.length(distortion)

    def decrements(self, distortion: float, amount: Array) -> Array:
        """Measure by how much taking out each sample shortens the code.

        Parameters
        ----------
        distortion : float
            Allowed mean squared error per sample.
        amount : ndarray of shape (n_samples,)
            Weight taken out, in (0, 1] and at most that of the sample, which belongs to
            the class.

        Returns
        -------
        lengths : ndarray of shape (n_samples,)
            In nats.
        """
        lengths = np.full(len(self.squares), self.length(distortion))
        left = self.count - amount
        some = np.flatnonzero(left > 1e-9 * self.count)
        for value in np.unique(left[some]):
            rows = some[left[some] == value]
            taken = self.count - value
            scale = self.dim / (value * distortion)
            loss = scale * taken
            if self.code_mean:
                loss *= self.count / value
            share = np.minimum(loss * self._whitened(scale, rows), 1 - 1e-12)
            logdet = np.log1p(scale * self.eigenvalues).sum() + np.log1p(-share)
            lengths[rows] -= (value + self.basis) / 2 * np.maximum(logdet, 0)
            if self.code_mean:
                means = self._mean_length(-taken / value, distortion)
                lengths[rows] -= means[rows]
        return lengths

    def _whitened(self, scale: float, rows: Indices | slice = slice(None)) -> Array:
        """Return the squared norms of the samples under the inverse of I + cS."""
        inside = self.squares[rows] @ (1 / (1 + scale * self.eigenvalues))
        whitened: Array = self.outside[rows] + inside
        return whitened

    def _mean_length(self, step: float, distortion: float) -> Array:
        """Return the lengths of the mean moved towards each sample by a step."""
        square = self.mean_square + 2 * step * self.along + step**2 * self.total
        lengths: Array = self.dim / 2 * np.log1p(np.maximum(square, 0) / distortion)
        return lengths
