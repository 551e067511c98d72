"""Distances to the subspaces of classes, and what samples left out say of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Moments = tuple[float, Array, Array]

# Directions of a class up to which its rank is sought.
_MOST_DIRECTIONS = 64

# Ranks and shares of the energy that are compared.
_RANKS = (*range(1, 9), 10, 12, 14, 16, 19, 22, 26, 30, 35, 41, 48, 56, 64)
_SHARES = 1 - 10.0 ** -np.arange(0.1, 3.6, 0.25)

# Standard errors that a smaller subspace may lose in accuracy.
_TOLERATED = 0.5

# Share of the largest squared singular value below which others are rounding errors.
_ROUNDING = 1e-12

# Ridge of leverages, as a share of the largest squared singular value.
_RIDGE = 1e-6

# Leverage beyond which the variances of a class without the sample are not followed.
_MOST_LEVERAGE = 0.9

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


class LeftOutSubspaces:
    r"""Distances of samples to the subspaces of all classes fitted without them.

    Taking a sample x out of a class with scatter S changes its distance to the leading
    subspace to first order as in regression: the residual grows by :math:`1/(1 - h)`
    with the leverage :math:`h = x^\top S^+ x` inside the subspace. The same leverage
    gives all ranks at once.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples among those of the classes.
    target : ndarray of shape (n_samples,)
        Their classes, from 0.
    weights : ndarray of shape (n_samples,)
        How many times they count; one copy is taken out.
    moments : sequence of tuple
        What :func:`class_moments` returns for each class.
    code_mean : bool
        Whether the moments are about the means.
    n_directions : int, default=64
        Largest rank of a class that is asked for.
    """

    def __init__(
        self,
        X: Array,
        target: Indices,
        weights: Array,
        moments: Sequence[Moments],
        *,
        code_mean: bool,
        n_directions: int = _MOST_DIRECTIONS,
    ) -> None:
        self.counts = np.array([count for count, _, _ in moments])
        taken = np.minimum(weights, 1.0)
        left = self.counts[target] - taken
        # A class that is nothing but the sample cannot be judged by it.
        kept = left > 1e-9 * self.counts[target]
        X, self.target, self.weights = X[kept], target[kept], weights[kept]
        self.taken, self.left = taken[kept], left[kept]
        self.growth: Array = np.ones(len(X))
        if code_mean:
            self.growth = self.counts[self.target] / self.left
        self.n_features, self.code_mean = X.shape[1], code_mean
        self.spectra: list[Array] = []
        self.norms: list[Array] = []
        self.squares: list[Array] = []
        for moment in moments:
            squares, directions = class_directions(moment, limit=n_directions)
            rows = X.astype(np.float64) - moment[1]
            coordinates = rows @ directions.T
            self.spectra.append(squares)
            self.norms.append(np.einsum("ij,ij->i", rows, rows))
            self.squares.append(coordinates**2)

    def residuals(self, ranks: Indices) -> tuple[Array, Array]:
        """Measure the squared distances for given ranks.

        Parameters
        ----------
        ranks : ndarray of shape (n_classes,)
            Dimensions of the subspaces.

        Returns
        -------
        residuals : ndarray of shape (n_samples, n_classes)
            Squared distances.
        leverages : ndarray of shape (n_samples,)
            Of the samples in the subspaces of their own classes, below one.
        """
        residuals = np.empty((len(self.target), len(self.counts)))
        leverages = np.zeros(len(self.target))
        for k, rank in enumerate(ranks):
            squares = self.squares[k][:, :rank]
            norms = self.norms[k]
            rest = norms - squares.sum(axis=1)
            rest[rest < _ROUNDING * norms] = 0
            residuals[:, k] = rest
            own = np.flatnonzero(self.target == k)
            if len(own) == 0:
                continue
            energies = self.spectra[k][: squares.shape[1]]
            # A little ridge gives the limit for directions that only the sample has,
            # where the residual and one minus the leverage are both zero.
            ridge = _RIDGE * energies.max(initial=0)
            weak = ridge / (energies + ridge) if ridge else energies
            share = squares[own] @ (1 / (energies + ridge))
            share *= self.taken[own] * self.growth[own]
            grown = (rest[own] + squares[own] @ weak**2) / (1 - share) ** 2
            # No subspace is farther than its point.
            grown = np.minimum(grown, norms[own])
            residuals[own, k] = self.growth[own] ** 2 * grown
            leverages[own] = share
        return residuals, leverages

    def noise_variance(self, residuals: Array, ranks: Indices) -> float:
        """Pool the squared distances of samples to their own classes.

        Parameters
        ----------
        residuals : ndarray of shape (n_samples, n_classes)
            What :meth:`residuals` returns.
        ranks : ndarray of shape (n_classes,)
            Dimensions of the subspaces.

        Returns
        -------
        variance : float
            Mean square per direction outside the subspaces; positive.
        """
        own = residuals[np.arange(len(residuals)), self.target]
        free = np.maximum(self.n_features - np.asarray(ranks)[self.target], 1)
        norms = np.stack(self.norms, axis=1)
        floor = 1e-12 * float(norms.mean()) if norms.size else 0.0
        total = float(self.weights @ free)
        variance = float(self.weights @ own) / total if total > 0 else 0.0
        return max(variance, floor / self.n_features) or 1.0

    def lengths(
        self, ranks: Indices, *, coordinates: bool = False
    ) -> tuple[Array, float]:
        """Measure the samples in nats under the classes without them.

        Parameters
        ----------
        ranks : ndarray of shape (n_classes,)
            Dimensions of the subspaces.
        coordinates : bool, default=False
            Whether coordinates in the subspaces are coded, too.

        Returns
        -------
        lengths : ndarray of shape (n_samples, n_classes)
            Negative logarithms of densities, up to a constant.
        noise : float
            Variance outside the subspaces.
        """
        residuals, leverages = self.residuals(ranks)
        noise = self.noise_variance(residuals, ranks)
        lengths = residuals / (2 * noise)
        if not coordinates:
            return lengths, noise
        for k, rank in enumerate(ranks):
            if not rank:
                continue
            variances = class_variances(self.spectra[k], rank, self.counts[k], noise)
            inside = self.squares[k][:, :rank] @ (1 / variances)
            own = np.flatnonzero(self.target == k)
            # Without the sample, variances along it are smaller.
            shrunk = self.left[own] / self.counts[k] * self.growth[own] ** 2
            share = np.minimum(leverages[own], _MOST_LEVERAGE)
            inside[own] *= shrunk / (1 - share)
            volume = np.log(variances / noise).sum() + np.zeros(len(inside))
            volume[own] += np.log1p(-share)
            lengths[:, k] += (inside + volume) / 2
        return lengths, noise

    def choose_ranks(
        self, *, coordinates: bool = False
    ) -> tuple[Indices, dict[str, Array]]:
        """Choose the smallest subspaces that classify the samples about best.

        One rank for all classes, and one share of the energy for all, are compared;
        with means also rank zero, the nearest mean.

        Parameters
        ----------
        coordinates : bool, default=False
            Whether coordinates in the subspaces are coded, too.

        Returns
        -------
        ranks : ndarray of shape (n_classes,)
            With an accuracy within half a standard error of the best.
        path : dict of str to ndarray
            The ``"ranks"`` of shape (n_compared, n_classes) and their ``"accuracy"``.
        """
        free = self.n_features - 1
        most = np.array([min(s.shape[1], free) for s in self.squares], np.int64)
        ranks = (0, *_RANKS) if self.code_mean else _RANKS
        tried = [np.minimum(rank, most) for rank in ranks]
        tried += [
            np.minimum(energy_ranks(self.spectra, share), most) for share in _SHARES
        ]
        compared = np.unique(np.stack(tried), axis=0)
        total = self.weights.sum()
        if total == 0:
            return np.minimum(1, most), {}
        accuracy = np.empty(len(compared))
        for i, dims in enumerate(compared):
            lengths, _ = self.lengths(dims, coordinates=coordinates)
            right = lengths.argmin(axis=1) == self.target
            accuracy[i] = right @ self.weights / total
        best = accuracy.max()
        error = np.sqrt(best * (1 - best) / total)
        good = np.flatnonzero(accuracy >= best - _TOLERATED * error - 1e-9)
        chosen = good[np.argmin(compared[good].sum(axis=1))]
        return compared[chosen], {"ranks": compared, "accuracy": accuracy}

    def temperature(self, lengths: Array, log_prior: Array) -> float:
        """Find by what to divide the lengths for the best probabilities.

        Parameters
        ----------
        lengths : ndarray of shape (n_samples, n_classes)
            What :meth:`lengths` returns.
        log_prior : ndarray of shape (n_classes,)
            Logarithms of the probabilities of the classes.

        Returns
        -------
        temperature : float
            Of the largest likelihood of the classes of the samples.
        """
        n_samples, n_classes = lengths.shape
        gaps = lengths - lengths.min(axis=1, keepdims=True, initial=np.inf)
        spread = float(gaps.mean()) if gaps.size else 0.0
        if n_classes < 2 or not spread > 0:
            return 1.0
        # One wrong sample more, of any class, keeps separate classes from certainty.
        total = self.weights.sum()
        doubt = 1 / (total + n_classes)
        aims = np.full(lengths.shape, doubt / n_classes)
        aims[np.arange(n_samples), self.target] += 1 - doubt
        aims *= self.weights[:, None]
        possible = np.isfinite(log_prior)
        aims, gaps, prior = aims[:, possible], gaps[:, possible], log_prior[possible]

        def slope(exponent: float) -> float:
            """Differentiate the loss, which is convex, by the inverse temperature."""
            scores = prior - gaps * (np.exp(exponent) / spread)
            surplus = aims - self.weights[:, None] * softmax(scores, axis=1)
            return float((surplus * gaps).sum())

        ends = -7.0, 9.0
        if slope(ends[0]) >= 0 or slope(ends[1]) <= 0:
            best = ends[0] if slope(ends[0]) >= 0 else ends[1]
        else:
            best = brentq(slope, *ends, xtol=1e-12)
        return float(spread * np.exp(-best))


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
