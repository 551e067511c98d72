"""Subspaces of classes without one sample: their ranks and their probabilities."""

from collections.abc import Sequence

import numpy as np
from numba import njit
from scipy.optimize import brentq
from scipy.special import softmax

from sklearn_whitebox.solvers._nearest_subspace import (
    Array,
    Indices,
    Moments,
    class_directions,
    class_variances,
    energy_ranks,
)

# Largest rank that is tried. More directions than those are kept apart, because they
# matter for the last ranks.
_MOST_RANK, _FURTHER = 48, 16

# Ranks and shares of the energy that are compared.
_RANKS = (*range(1, 9), 10, 12, 14, 16, 19, 22, 26, 30, 35, 41, 48)
_SHARES = 1 - 10.0 ** -np.arange(0.1, 3.6, 0.25)

# Standard errors that a smaller subspace may lose in accuracy.
_TOLERATED = 0.5

# Share of a squared norm below which others are rounding errors.
_ROUNDING = 1e-12

# Squared entries, as a share of all, that are as good as zero.
_NOTHING = 1e-22

# Steps towards an eigenvalue, and the relative width at which they end.
_MOST_STEPS, _CLOSE = 60, 1e-14


class LeftOutSubspaces:
    r"""Distances of samples to the subspaces of all classes fitted without them.

    Taking a sample x out of a class with scatter S moves its eigenvalues
    :math:`s_l` to the roots of

    .. math:: \sum_l \frac{(v_l^\top x)^2}{s_l - \mu} = 1 ,

    one between every two of them, and the square of x along the new eigenvector is
    :math:`1 / \sum_l (v_l^\top x)^2 (s_l - \mu)^{-2}`. That is exact, and gives all
    ranks at once. Directions beyond those asked for count as one.

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
    max_rank : int, default=48
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
        max_rank: int = _MOST_RANK,
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
        self.max_rank = max_rank
        self.spectra: list[Array] = []
        self.norms: list[Array] = []
        self.squares: list[Array] = []
        self.own: list[tuple[Indices, Array, Array, Array]] = []
        for k, moment in enumerate(moments):
            squares, directions = class_directions(moment, limit=max_rank + _FURTHER)
            rows = X.astype(np.float64) - moment[1]
            coordinates = rows @ directions.T
            self.spectra.append(squares)
            self.norms.append(np.einsum("ij,ij->i", rows, rows))
            self.squares.append(coordinates**2)
            self.own.append(self._leave_out(k))

    def _leave_out(self, k: int) -> tuple[Indices, Array, Array, Array]:
        """List the samples of a class, their residuals by rank, and what is inside."""
        own = np.flatnonzero(self.target == k)
        squares, norms = self.squares[k][own], self.norms[k][own]
        n_directions = squares.shape[1]
        poles, tail = self.spectra[k][:n_directions], self.spectra[k][n_directions:]
        if len(tail):
            # Samples lie along the others in proportion to their energies.
            poles = np.append(poles, tail @ (tail / tail.sum()))
            others = np.maximum(norms - squares.sum(axis=1), 0)
            squares = np.column_stack([squares, others])
        weights = self.taken[own] * self.growth[own]
        # Squares of squares stay within range, and a power of two costs no digits.
        unit = 2.0 ** np.frexp(poles.max(initial=0))[1]
        roots, parts = _downdate(poles / unit, squares / unit, weights, n_directions)
        roots, parts = roots * unit, parts * unit
        growth = self.growth[own, None] ** 2
        rest = norms[:, None] - np.cumsum(parts, axis=1)
        rest[rest < _ROUNDING * norms[:, None]] = 0
        residuals = growth * np.column_stack([norms, rest])
        return own, residuals, growth * parts, roots / self.left[own, None]

    def residuals(self, ranks: Indices) -> Array:
        """Measure the squared distances for given ranks.

        Parameters
        ----------
        ranks : ndarray of shape (n_classes,)
            Dimensions of the subspaces.

        Returns
        -------
        residuals : ndarray of shape (n_samples, n_classes)
            Squared distances.
        """
        residuals = np.empty((len(self.target), len(self.counts)))
        for k, rank in enumerate(ranks):
            norms = self.norms[k]
            rest = norms - self.squares[k][:, :rank].sum(axis=1)
            rest[rest < _ROUNDING * norms] = 0
            residuals[:, k] = rest
            own, own_residuals, _, _ = self.own[k]
            last = min(int(rank), own_residuals.shape[1] - 1)
            residuals[own, k] = own_residuals[:, last]
        return residuals

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
        residuals = self.residuals(ranks)
        noise = self.noise_variance(residuals, ranks)
        lengths = residuals / (2 * noise)
        if not coordinates:
            return lengths, noise
        for k, rank in enumerate(ranks):
            if not rank:
                continue
            variances = class_variances(self.spectra[k], rank, self.counts[k], noise)
            inside = self.squares[k][:, :rank] @ (1 / variances)
            volumes = np.full(len(inside), np.log(variances / noise).sum())
            own, _, parts, own_variances = self.own[k]
            shrunk = np.maximum(own_variances[:, :rank], noise)
            inside[own] = (parts[:, :rank] / shrunk).sum(axis=1)
            volumes[own] = np.log(shrunk / noise).sum(axis=1)
            lengths[:, k] += (inside + volumes) / 2
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
        free = min(free, self.max_rank)
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
        # Sums of shares may exceed one by rounding, which has no square root.
        np.minimum(accuracy, 1, out=accuracy)
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


# Poles that coincide make quotients infinite, which is what they should be.
@njit(nogil=True, cache=True, error_model="numpy")
def _downdate(
    poles: Array, squares: Array, weights: Array, n_roots: int
) -> tuple[Array, Array]:
    """Find the leading eigenvalues of diag(poles) - weight c c', and c along them.

    ``poles`` fall, ``squares`` holds the squared entries of one c a row.
    """
    roots = np.zeros((len(squares), n_roots))
    parts = np.zeros((len(squares), n_roots))
    poles = poles.copy()
    for pole in range(1, len(poles)):
        if poles[pole - 1] - poles[pole] < _ROUNDING * poles[0]:
            poles[pole] = poles[pole - 1]
    for i in range(len(squares)):
        # Every direction keeps a root of its own if no entry is zero.
        entries = np.maximum(squares[i], _NOTHING * squares[i].sum())
        for j in range(n_roots):
            distance = _distance_to_pole(poles, entries, 1 / weights[i], j)
            slope = 0.0
            for pole in range(len(poles)):
                slope += entries[pole] / (poles[pole] - poles[j] + distance) ** 2
            roots[i, j] = poles[j] - distance
            # A direction that only the sample had is gone with it.
            if slope > 0 and roots[i, j] > _ROUNDING * poles[0]:
                parts[i, j] = 1 / (weights[i] ** 2 * slope)
    return roots, parts


@njit(nogil=True, cache=True, error_model="numpy")
def _distance_to_pole(poles: Array, entries: Array, level: float, j: int) -> float:
    """Solve for the root below pole j by the method of Chandrupatla (1997).

    The equation is multiplied by its two nearest poles, which leaves it nearly
    straight. Its unknown is the distance from the pole, which keeps its digits.
    """
    last = j + 1 == len(poles)
    gap = poles[j] if last else poles[j] - poles[j + 1]
    if gap == 0:
        return 0.0
    # The newest point is a; the root is between it and b.
    a, b = 0.0, gap
    f_a = _straightened(poles, entries, level, j, a)
    f_b = _straightened(poles, entries, level, j, b)
    if not f_b > 0 > f_a:
        return gap if last else 0.0
    share = 0.5
    for _ in range(_MOST_STEPS):
        middle = a + share * (b - a)
        value = _straightened(poles, entries, level, j, middle)
        if (value > 0) == (f_a > 0):
            before, f_before = a, f_a
        else:
            before, f_before = b, f_b
            b, f_b = a, f_a
        a, f_a = middle, value
        nearest = a if abs(f_a) < abs(f_b) else b
        margin = _CLOSE * nearest / abs(b - a)
        if margin > 0.5 or value == 0:
            return nearest
        # Inverse quadratic interpolation where it is monotone, and halves elsewhere.
        place = (a - b) / (before - b)
        height = (f_a - f_b) / (f_before - f_b)
        share = 0.5
        if height**2 < place and (1 - height) ** 2 < 1 - place:
            share = f_a / (f_b - f_a) * f_before / (f_b - f_before)
            share += (
                (before - a) / (b - a) * f_a / (f_before - f_a) * f_b / (f_before - f_b)
            )
        share = min(max(share, margin), 1 - margin)
    return nearest


@njit(nogil=True, cache=True, error_model="numpy")
def _straightened(
    poles: Array, entries: Array, level: float, j: int, distance: float
) -> float:
    last = j + 1 == len(poles)
    gap = poles[j] if last else poles[j] - poles[j + 1]
    rest, upper, lower = level, 0.0, 0.0
    for pole in range(len(poles)):
        # Poles that coincide with the two act together with them.
        if poles[pole] == poles[j]:
            upper += entries[pole]
        elif not last and poles[pole] == poles[j + 1]:
            lower += entries[pole]
        else:
            rest -= entries[pole] / (poles[pole] - poles[j] + distance)
    if last:
        return distance * rest - upper
    other = gap - distance
    return distance * other * rest - upper * other + lower * distance
