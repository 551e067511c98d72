"""Elastic nets of rows over each other, with inner products in sixteen bits.

The support is found with rounded inner products, which cost little memory and no
products of matrices. Exact ones then correct the coefficients, and decide wherever
rounding could matter, so that the solution and its certificate are those of exact
arithmetic.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._active_set import Workspace, active_set
from sklearn_whitebox.solvers._omp_screened import STEP, correlate, largest_exactly
from sklearn_whitebox.solvers._top_products import all_above, highest

Array = NDArray[Any]
Indices = NDArray[np.int64]
Rounded = NDArray[np.int16]

# Rows that may join at a time, and rows of a small problem; with more, products of
# matrices are faster, and the caller does it that way.
_WIDTH = 16
_LARGEST = 384

# Exact corrections with the rounded Gram matrix before it is computed exactly, and
# corrections in all.
_PATIENCE = 3
_CORRECTIONS = 8

# Least share of a row outside the span of others, and violation of a small problem.
_DEPENDENT = 1e-9
_TIGHT = 1e-9

_MAX_STEPS = 1000


@njit(nogil=True, cache=True, error_model="numpy")
def express_rows(
    X: Array,
    rounded: Rounded,
    norms: Array,
    scales: Array,
    error: float,
    gamma: float,
    l1_ratio: float,
    tol: float,
    max_iter: int,
    start: int,
    stop: int,
    counts: Indices,
    gaps: Array,
) -> tuple[NDArray[np.int32], Array, int]:
    """Solve some rows; say how many coefficients each has, and how good they are.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, of norm one at most.
    rounded : ndarray of shape (n_samples, n_samples)
        Inner products of the rows at unit length.
    norms, scales : ndarray of shape (n_samples,)
        Norms of the rows in double and in single precision.
    error : float
        Error of a rounded inner product.
    gamma, l1_ratio, tol : float
        As in :func:`elastic_net_self_expression`.
    max_iter : int
        Most changes of the support of a row.
    start, stop : int
        The rows to solve.
    counts, gaps : ndarray of shape (stop - start,)
        Overwritten by the number of coefficients of each row, and by the largest
        relative violation of its optimality conditions; infinite if it was given up.

    Returns
    -------
    columns, values : ndarray
        Coefficients of the rows, one after the other.
    n_iter : int
        Most changes of the support.
    """
    n_samples = X.shape[0]
    score = np.empty(n_samples + 1, np.float32)
    bits = score.view(np.int32)
    room = _LARGEST + _WIDTH
    gram = np.empty(room * room)
    heights = np.empty(room + 1)
    work = Workspace(
        np.empty(room), heights, heights.view(np.int64), np.empty(room),
        np.empty(room, np.int64), np.empty((6, room)),
    )  # fmt: skip
    places = np.empty(room, np.int32)
    inverse = np.empty((96, 96))
    columns = np.empty(64 * (stop - start), np.int32)
    values = np.empty(64 * (stop - start), np.float64)
    longest = norms.max()
    used, most = 0, 0
    for i in range(start, stop):
        m, n_iter, gap, inverse = _express_row(
            X, rounded, norms, scales, longest, error, gamma, l1_ratio, tol, max_iter,
            i, score, bits, gram, work, places, inverse,
        )  # fmt: skip
        most = max(most, n_iter)
        gaps[i - start] = gap
        if used + m > columns.shape[0]:
            columns = np.concatenate((columns, np.empty_like(columns)))
            values = np.concatenate((values, np.empty_like(values)))
        count = 0
        for k in range(m):
            z = work.numbers[1, k]
            if z != 0.0:
                columns[used], values[used] = places[work.support[k]], z
                used += 1
                count += 1
        counts[i - start] = count
    return columns[:used], values[:used], most


@njit(nogil=True, cache=True, error_model="numpy")
def _express_row(
    X: Array,
    rounded: Rounded,
    norms: Array,
    scales: Array,
    longest: float,
    error: float,
    gamma: float,
    l1_ratio: float,
    tol: float,
    max_iter: int,
    i: int,
    score: Array,
    bits: Array,
    gram: Array,
    work: Workspace,
    places: NDArray[np.int32],
    inverse: Array,
) -> tuple[int, int, float, Array]:
    """Return the size of the support, iterations, violation, and work memory."""
    row = X[i]
    m, n_iter = 0, 0
    slack = error * norms[i] * longest
    _score(rounded, i, places, 0, norms, scales, work, score)
    _, coherence = largest_exactly(X, row, score, bits, 2 * slack)
    if coherence <= 0.0:
        return 0, 0, 0.0, inverse
    l1 = coherence / gamma
    l2 = l1 * (1 - l1_ratio) / l1_ratio
    picked = np.empty(_WIDTH, np.int32)
    pulls = np.empty(_WIDTH, np.float32)
    while n_iter < max_iter:
        n_new = highest(score, l1 + slack, picked, pulls)
        if n_new == 0:
            break
        if m + n_new > _LARGEST:
            return 0, n_iter, np.inf, inverse
        n_iter += 1
        _gather(rounded, norms, l2, gram, m, picked[:n_new], places, work)
        k = m + n_new
        b = np.empty(k)
        for a in range(k):
            b[a] = norms[i] * norms[places[a]] * STEP * rounded[i, places[a]]
        m, inverse = _solve(gram, b, l1, coherence, m, work, inverse)
        slack = _score(rounded, i, places, m, norms, scales, work, score)
        slack = error * longest * (norms[i] + slack)
    return _correct(
        X, rounded, norms, scales, longest, error, l1, l2, coherence, tol, i, score,
        gram, work, places, inverse, m, n_iter,
    )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def _correct(
    X: Array,
    rounded: Rounded,
    norms: Array,
    scales: Array,
    longest: float,
    error: float,
    l1: float,
    l2: float,
    coherence: float,
    tol: float,
    i: int,
    score: Array,
    gram: Array,
    work: Workspace,
    places: NDArray[np.int32],
    inverse: Array,
    m: int,
    n_iter: int,
) -> tuple[int, int, float, Array]:
    """Make the coefficients those of exact inner products.

    The small problem is solved again with the correlations shifted, so that at the
    present coefficients its gradient is the exact one: where that changes nothing, the
    coefficients are exact, however rough the Gram matrix.
    """
    near = np.empty(_LARGEST + _WIDTH, np.int32)
    before = np.empty(_LARGEST + _WIDTH)
    residual = np.empty_like(X[i])
    k, slack, moved = 0, 0.0, np.inf
    worst, is_exact = np.inf, False
    for correction in range(_CORRECTIONS):
        if moved + slack / 4 > slack:
            # The coefficients moved too far for the rows that could be left out.
            weight = _score(rounded, i, places, m, norms, scales, work, score)
            slack = 4 * error * longest * (norms[i] + weight)
            n_near = all_above(score, l1 - slack, near)
            if m + n_near > _LARGEST:
                return 0, n_iter, np.inf, inverse
            _gather(rounded, norms, l2, gram, m, near[:n_near], places, work)
            k, moved, is_exact = m + n_near, 0.0, False
        small = gram[: k * k].reshape((k, k))
        if correction >= _PATIENCE and not is_exact:
            is_exact = True
            for a in range(k):
                for c in range(a, k):
                    small[a, c] = np.dot(X[places[a]], X[places[c]])
                    small[c, a] = small[a, c]
                small[a, a] += l2
            inverse[:m, :m] = _inverse_of(small, work.support, m)
        b = np.empty(k)
        worst = _exact_gradient(X, i, places, k, m, l1, l2, work, residual, b)
        if worst <= tol * coherence:
            break
        before[:k] = 0.0
        for a in range(m):
            p, z = work.support[a], work.numbers[1, a]
            before[p] = z
            for c in range(k):
                b[c] += z * small[p, c]
        m, inverse = _solve(gram, b, l1, coherence, m, work, inverse)
        n_iter += 1
        for a in range(m):
            before[work.support[a]] -= work.numbers[1, a]
        for a in range(k):
            moved += abs(before[a]) * norms[places[a]] * longest
    return m, n_iter, worst / coherence, inverse


@njit(nogil=True, cache=True, error_model="numpy")
def _inverse_of(gram: Array, support: Indices, m: int) -> Array:
    part = np.empty((m, m))
    for a in range(m):
        for c in range(m):
            part[a, c] = gram[support[a], support[c]]
        part[a, a] += 1e-14 * part[a, a]
    return np.linalg.pinv(part)


@njit(nogil=True, cache=True, error_model="numpy")
def _exact_gradient(
    X: Array,
    i: int,
    places: NDArray[np.int32],
    k: int,
    m: int,
    l1: float,
    l2: float,
    work: Workspace,
    residual: Array,
    b: Array,
) -> float:
    """Write the exact correlations less the ridge's pull; return the violation."""
    residual[:] = X[i]
    for a in range(m):
        z = residual.dtype.type(work.numbers[1, a])
        atom = X[places[work.support[a]]]
        for f in range(residual.shape[0]):
            residual[f] -= z * atom[f]
    outside = work.outside
    outside[:k] = 1
    worst = 0.0
    for c in range(k):
        b[c] = np.dot(X[places[c]], residual)
    for a in range(m):
        p, z = work.support[a], work.numbers[1, a]
        outside[p] = 0
        b[p] -= l2 * z
        worst = max(worst, abs(b[p] - l1 * np.sign(z)))
    for c in range(k):
        if outside[c] == 1:
            worst = max(worst, abs(b[c]) - l1)
    return worst


@njit(nogil=True, cache=True, error_model="numpy")
def _solve(
    gram: Array,
    b: Array,
    l1: float,
    coherence: float,
    m: int,
    work: Workspace,
    inverse: Array,
) -> tuple[int, Array]:
    """Solve a small problem, from the support and the inverse of its Gram matrix."""
    k = b.shape[0]
    part = Workspace(
        work.residual[:k], work.heights[: k + 1], work.bits[: k + 1], work.outside[:k],
        work.support, work.numbers,
    )  # fmt: skip
    m, _, inverse = active_set(
        gram[: k * k].reshape((k, k)), b, l1, False, _DEPENDENT, _TIGHT * coherence,
        _MAX_STEPS, m, part, inverse,
    )  # fmt: skip
    return m, inverse


@njit(nogil=True, cache=True, error_model="numpy")
def _gather(
    rounded: Rounded,
    norms: Array,
    l2: float,
    gram: Array,
    m: int,
    joining: NDArray[np.int32],
    places: NDArray[np.int32],
    work: Workspace,
) -> None:
    """Set up the small problem of the support, which comes first, and more rows."""
    k = m + joining.shape[0]
    kept = np.empty(m, np.int32)
    for a in range(m):
        kept[a] = places[work.support[a]]
        work.support[a] = a
    places[:m] = kept
    places[m:k] = joining
    small = gram[: k * k].reshape((k, k))
    for a in range(k):
        row = rounded[places[a]]
        norm = norms[places[a]] * STEP
        for c in range(a + 1):
            small[a, c] = norm * norms[places[c]] * row[places[c]]
            small[c, a] = small[a, c]
        small[a, a] = norms[places[a]] ** 2 + l2


@njit(nogil=True, cache=True, error_model="numpy")
def _score(
    rounded: Rounded,
    i: int,
    places: NDArray[np.int32],
    m: int,
    norms: Array,
    scales: Array,
    work: Workspace,
    score: Array,
) -> float:
    """Score all rows but the own and the support; return the norm of the code."""
    support = np.empty(m, np.int32)
    weights = np.empty(m + 1)
    weights[0] = norms[i]
    total = 0.0
    for a in range(m):
        support[a] = places[work.support[a]]
        weights[a + 1] = work.numbers[1, a] * norms[support[a]]
        total += abs(weights[a + 1])
    correlate(rounded, i, support, m, weights, scales, score)
    score[i] = -1
    for a in range(m):
        score[support[a]] = -1
    return total
