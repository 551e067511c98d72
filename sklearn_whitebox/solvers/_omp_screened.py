"""Matching pursuit of rows over each other, with inner products in sixteen bits.

Which row joins next is decided among the few whose correlation, computed from rounded
inner products, is within its error of the largest. Those are computed exactly, so that
rounding changes no choice.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import run_blocks
from sklearn_whitebox.solvers._omp import padded_to_csr
from sklearn_whitebox.solvers._omp_kernels import NOISE
from sklearn_whitebox.solvers._omp_residuals import _finish, _orthogonalise, _project
from sklearn_whitebox.solvers._thresholding_expression import unit_rows

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Rounded = NDArray[np.int16]

# Inner products of that many bytes are held at most.
_MAX_BYTES = 2**28

# Inner products of unit rows are multiples of this.
STEP = 1.0 / 32767

# Fixed sizes, so that the last bits do not depend on the number of threads.
_TILE = 512
_TASK = 256

# Scores that are compared with the least useful one before any is looked at.
_CHUNK = 64


def can_round(n_samples: int) -> bool:
    """Tell whether the rounded inner products of so many rows fit their memory.

    Parameters
    ----------
    n_samples : int
        Rows.

    Returns
    -------
    fits : bool
        True up to 11,585 rows, which take 256 MiB.
    """
    return 2 * n_samples**2 <= _MAX_BYTES


def rounded_products(X: Array, *, n_jobs: int | None = None) -> Rounded:
    """Compute the inner products of rows scaled to unit length, in steps of 1/32767.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    rounded : ndarray of shape (n_samples, n_samples)
        Multiples of 1/32767.
    """
    rows = unit_rows(X).astype(np.float32, copy=False)
    n_samples = len(rows)
    rounded = np.empty((n_samples, n_samples), np.int16)

    def fill(start: int) -> None:
        for first in range(start, n_samples, _TILE):
            products = rows[start : start + _TILE] @ rows[first : first + _TILE].T
            round_tile(products, start, first, rounded)

    # All threads fill one matrix of up to 256 MiB, too large to be sent to each task.
    starts = [(start,) for start in range(0, n_samples, _TILE)]
    run_blocks(fill, starts, n_jobs=n_jobs, in_place=True, batch_size=1)
    return rounded


def rounding_error(n_features: int) -> float:
    """Bound the error of a rounded inner product.

    Parameters
    ----------
    n_features : int
        Terms of the product.

    Returns
    -------
    error : float
        Half a step, and what single precision loses in the sum.
    """
    eps = float(np.finfo(np.float32).eps)
    return 0.5 * STEP + 4 * float(np.sqrt(n_features)) * eps


def screened_pursuit(
    X: Array,
    rounded: Rounded,
    *,
    n_nonzero_coefs: int,
    tol: float = 1e-6,
    excluded: Indices | None = None,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    """Code each row over the others by orthogonal matching pursuit.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, float32 or float64.
    rounded : ndarray of shape (n_samples, n_samples)
        What :func:`rounded_products` returned for them.
    n_nonzero_coefs : int
        Most coefficients of a row.
    tol : float, default=1e-6
        A row stops when the norm of its residual is at most `tol` times its own norm.
    excluded : ndarray of shape (n_samples, n_excluded), default=None
        Further rows that each row may not use; -1 stands for none.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_samples)
        Coefficients in the dtype of `X`, with zero diagonal.

    Notes
    -----
    With s coefficients a row costs O(n s²) cheap additions of rounded products and
    O(d s²) exact ones, instead of O(n d s).
    """
    n_samples, n_features = X.shape
    depth = max(0, min(n_nonzero_coefs, n_features, n_samples - 1))
    own = np.arange(n_samples)[:, None]
    banned = own if excluded is None else np.hstack([own, excluded])
    banned = np.ascontiguousarray(banned)
    support = np.full((n_samples, depth), -1, np.int32)
    codes = np.zeros((n_samples, depth), X.dtype)
    norms = np.linalg.norm(X.astype(np.float64, copy=False), axis=1)
    scales = norms.astype(np.float32)
    error = rounding_error(n_features)
    if depth:
        tasks = (
            (
                X, rounded, norms, scales, banned, tol, error, start,
                min(start + _TASK, n_samples), support, codes,
            )
            for start in range(0, n_samples, _TASK)
        )  # fmt: skip
        run_blocks(_pursue, tasks, n_jobs=n_jobs, in_place=True)
    return padded_to_csr(support, codes, n_samples)


@njit(nogil=True, cache=True, error_model="numpy")
def round_tile(
    products: Array, first_row: int, first_column: int, rounded: Rounded
) -> None:
    """Write a tile and its mirror image."""
    n_rows, n_columns = products.shape
    for a in range(n_rows):
        for b in range(n_columns):
            value = np.float32(32767) * products[a, b]
            value = min(max(value, np.float32(-32767)), np.float32(32767))
            whole = np.int16(value + np.copysign(np.float32(0.5), value))
            rounded[first_row + a, first_column + b] = whole
    if first_row == first_column:
        return
    for b in range(n_columns):
        mirror = rounded[first_column + b]
        for a in range(n_rows):
            mirror[first_row + a] = rounded[first_row + a, first_column + b]


@njit(nogil=True, cache=True, error_model="numpy")
def _pursue(
    X: Array,
    rounded: Rounded,
    norms: Array,
    scales: Array,
    banned: Indices,
    tol: float,
    error: float,
    start: int,
    stop: int,
    support: NDArray[np.int32],
    codes: Array,
) -> None:
    n_samples, n_features = X.shape
    depth = support.shape[1]
    eps = float(np.finfo(X.dtype).eps)
    longest = norms.max()
    score = np.empty(n_samples + 1, np.float32)
    bits = score.view(np.int32)
    basis = np.zeros((depth, n_features), X.dtype)
    triangle = np.zeros((depth, depth), X.dtype)
    heights = np.zeros(depth, X.dtype)
    weights = np.zeros(depth + 1)
    for i in range(start, stop):
        residual = X[i].copy()
        left, limit = norms[i], tol * norms[i]
        noise = NOISE * eps * norms[i] * longest
        is_current = False
        count = 0
        weights[0] = norms[i]
        while count < depth and left > limit:
            if not is_current:
                correlate(rounded, i, support[i], count, weights, scales, score)
                for j in banned[i]:
                    if j >= 0:
                        score[j] = -1
                for k in range(count):
                    score[support[i, k]] = -1
            slack = 0.0
            for k in range(count + 1):
                slack += abs(weights[k])
            j, height = largest_exactly(
                X, residual, score, bits, 2 * error * slack * longest
            )
            if j < 0 or height <= noise:
                break
            if not _orthogonalise(X[j], basis, triangle, count, eps):
                score[j] = -1
                is_current = True
                continue
            is_current = False
            support[i, count] = j
            heights[count], left = _project(residual, basis[count])
            count += 1
            _solve(triangle, heights, support[i], count, norms, weights)
        _finish(
            triangle.reshape(1, depth, depth), heights.reshape(1, depth),
            support[i : i + 1], codes[i : i + 1],
        )  # fmt: skip


@njit(nogil=True, cache=True, error_model="numpy")
def correlate(
    rounded: Rounded,
    i: int,
    support: NDArray[np.int32],
    count: int,
    weights: Array,
    scales: Array,
    score: NDArray[np.float32],
) -> None:
    """Set the scores to the moduli of the correlations with the residual, roughly."""
    n = rounded.shape[0]
    row = rounded[i]
    w = np.float32(weights[0] * STEP)
    for j in range(n):
        score[j] = w * row[j]
    k = 0
    while k + 4 <= count:
        p0, p1 = rounded[support[k]], rounded[support[k + 1]]
        p2, p3 = rounded[support[k + 2]], rounded[support[k + 3]]
        w0, w1 = np.float32(weights[k + 1] * STEP), np.float32(weights[k + 2] * STEP)
        w2, w3 = np.float32(weights[k + 3] * STEP), np.float32(weights[k + 4] * STEP)
        for j in range(n):
            score[j] -= w0 * p0[j] + w1 * p1[j] + w2 * p2[j] + w3 * p3[j]
        k += 4
    while k + 2 <= count:
        p, q = rounded[support[k]], rounded[support[k + 1]]
        u = np.float32(weights[k + 1] * STEP)
        v = np.float32(weights[k + 2] * STEP)
        for j in range(n):
            score[j] -= u * p[j] + v * q[j]
        k += 2
    if k < count:
        p, u = rounded[support[k]], np.float32(weights[k + 1] * STEP)
        for j in range(n):
            score[j] -= u * p[j]
    for j in range(n):
        score[j] = abs(score[j]) * scales[j]


@njit(nogil=True, cache=True, error_model="numpy")
def largest_exactly(
    X: Array,
    residual: Array,
    score: NDArray[np.float32],
    bits: NDArray[np.int32],
    slack: float,
) -> tuple[int, float]:
    """Find the first row of the largest correlation among those that may have it."""
    n = score.shape[0] - 1
    top = bits[0]
    for j in range(n):
        top = max(top, bits[j])
    bits[n] = top
    least = np.float32(max(float(score[n]) - slack, 0.0))
    best, height = -1, -1.0
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        n_hits = np.int32(0)
        for j in range(start, stop):
            n_hits += np.int32(score[j] >= least)
        if n_hits == 0:
            continue
        for j in range(start, stop):
            if score[j] >= least:
                exact = abs(float(np.dot(X[j], residual)))
                if exact > height:
                    best, height = j, exact
    return best, height


@njit(nogil=True, cache=True, error_model="numpy")
def _solve(
    triangle: Array,
    heights: Array,
    support: NDArray[np.int32],
    count: int,
    norms: Array,
    weights: Array,
) -> None:
    """Set weights[1:] to the coefficients of unit rows."""
    for k in range(count - 1, -1, -1):
        value = float(heights[k])
        for m in range(k + 1, count):
            value -= triangle[k, m] * weights[m + 1] / norms[support[m]]
        weights[k + 1] = value / triangle[k, k] * norms[support[k]]
