"""Compiled steps of the self-expression of sparse rows."""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._omp_screened import correlate

Array = NDArray[Any]
Indices = NDArray[np.int64]

# Share of a row's squared norm outside the span of the support below which it counts as
# dependent on it.
_DEPENDENT = 1e-10


@njit(nogil=True, cache=True, error_model="numpy")
def row_products(
    data: Array, indices: Array, indptr: Array, i: int, others: Indices, dense: Array
) -> Array:
    """Multiply a sparse row with others.

    Parameters
    ----------
    data, indices, indptr : ndarray
        Rows of a csr_array.
    i : int
        The row.
    others : ndarray of shape (n_others,)
        Rows to multiply it with.
    dense : ndarray of shape (n_features,)
        Zeros, and zeros again afterwards.

    Returns
    -------
    products : ndarray of shape (n_others,)
        Inner products.
    """
    products = np.zeros(others.shape[0])
    for p in range(indptr[i], indptr[i + 1]):
        dense[indices[p]] = data[p]
    for k in range(others.shape[0]):
        total = 0.0
        for p in range(indptr[others[k]], indptr[others[k] + 1]):
            total += dense[indices[p]] * data[p]
        products[k] = total
    for p in range(indptr[i], indptr[i + 1]):
        dense[indices[p]] = 0.0
    return products


@njit(nogil=True, cache=True, error_model="numpy")
def gram_of(
    data: Array, indices: Array, indptr: Array, rows: Indices, dense: Array
) -> Array:
    """Compute the inner products of some sparse rows.

    Parameters
    ----------
    data, indices, indptr : ndarray
        Rows of a csr_array.
    rows : ndarray of shape (n_rows,)
        The rows.
    dense : ndarray of shape (n_features,)
        Zeros, and zeros again afterwards.

    Returns
    -------
    gram : ndarray of shape (n_rows, n_rows)
        Inner products.
    """
    gram = np.empty((rows.shape[0], rows.shape[0]))
    for k in range(rows.shape[0]):
        gram[k] = row_products(data, indices, indptr, rows[k], rows, dense)
    return gram


@njit(nogil=True, cache=True, error_model="numpy")
def extend_rows(
    data: Array,
    indices: Array,
    indptr: Array,
    rows: Indices,
    heights: Array,
    support: Indices,
    codes: Array,
    step: int,
    limits: Array,
    noise: float,
    alive: NDArray[np.bool_],
    dense: Array,
) -> None:
    """Add to each support the best row that does not depend on it, and solve.

    Parameters
    ----------
    data, indices, indptr : ndarray
        All rows, as of a csr_array.
    rows : ndarray of shape (n_block,)
        The rows that are coded.
    heights : ndarray of shape (n_alive, n_samples)
        Moduli of the correlations of all rows with the residuals of those alive;
        negative where they may not be used. Overwritten.
    support, codes : ndarray of shape (n_block, depth)
        Rows used, and their coefficients; written in place.
    step : int
        Rows used so far.
    limits : ndarray of shape (n_block,)
        Squared residuals at which a row stops.
    noise : float
        Correlations up to this are zeros.
    alive : ndarray of shape (n_block,)
        Rows that go on; written in place.
    dense : ndarray of shape (n_features,)
        Zeros.
    """
    a = -1
    for i in range(rows.shape[0]):
        if not alive[i]:
            continue
        a += 1
        alive[i] = False
        while True:
            j = int(np.argmax(heights[a]))
            if heights[a, j] <= noise:
                support[i, step] = -1
                break
            heights[a, j] = -1.0
            support[i, step] = j
            atoms = support[i, : step + 1]
            gram = gram_of(data, indices, indptr, atoms, dense)
            b = row_products(data, indices, indptr, rows[i], atoms, dense)
            code, is_independent = _least_squares(gram, b)
            if is_independent:
                codes[i, : step + 1] = code
                own = row_products(
                    data, indices, indptr, rows[i], rows[i : i + 1], dense
                )
                left = own[0]
                for k in range(step + 1):
                    left -= code[k] * b[k]
                alive[i] = left > limits[i]
                break


@njit(nogil=True, cache=True, error_model="numpy")
def _least_squares(gram: Array, b: Array) -> tuple[Array, bool]:
    """Solve by Cholesky; False if the last row depends on those before."""
    m = b.shape[0]
    factor = np.zeros((m, m))
    for k in range(m):
        for c in range(k + 1):
            value = gram[k, c]
            for r in range(c):
                value -= factor[k, r] * factor[c, r]
            if c < k:
                factor[k, c] = value / factor[c, c]
            elif value <= _DEPENDENT * gram[k, k]:
                return b, False
            else:
                factor[k, k] = np.sqrt(value)
    code = b.copy()
    for k in range(m):
        for c in range(k):
            code[k] -= factor[k, c] * code[c]
        code[k] /= factor[k, k]
    for k in range(m - 1, -1, -1):
        for c in range(k + 1, m):
            code[k] -= factor[c, k] * code[c]
        code[k] /= factor[k, k]
    return code, True


@njit(nogil=True, cache=True, error_model="numpy")
def pursue_screened(
    data: Array,
    indices: Array,
    indptr: Array,
    n_features: int,
    rounded: NDArray[np.int16],
    norms: Array,
    scales: Array,
    banned: Indices,
    tol: float,
    error: float,
    noise: float,
    start: int,
    stop: int,
    support: Indices,
    codes: Array,
) -> None:
    """Run the pursuits of some rows, with rounded inner products of all.

    Parameters
    ----------
    data, indices, indptr : ndarray
        All rows, as of a csr_array.
    n_features : int
        Columns.
    rounded : ndarray of shape (n_samples, n_samples)
        Inner products of the rows at unit length, in steps of 1/32767.
    norms, scales : ndarray of shape (n_samples,)
        Norms of the rows, in double and in single precision.
    banned : ndarray of shape (n_samples, n_banned)
        Rows that each row may not use; -1 stands for none.
    tol, error, noise : float
        Relative residual at which a row stops, error of a rounded product, and
        correlations that are zeros.
    start, stop : int
        The rows to code.
    support, codes : ndarray of shape (n_samples, depth)
        Written in place.
    """
    depth = support.shape[1]
    longest = norms.max()
    score = np.empty(norms.shape[0] + 1, np.float32)
    places = np.empty(depth, np.int32)
    weights = np.zeros(depth + 1)
    dense, residual = np.zeros(n_features), np.zeros(n_features)
    for i in range(start, stop):
        weights[0] = norms[i]
        left, count = norms[i] ** 2, 0
        is_current = False
        while count < depth and left > (tol * norms[i]) ** 2:
            if not is_current:
                correlate(rounded, i, places, count, weights, scales, score)
                for j in banned[i]:
                    if j >= 0:
                        score[j] = -1
                for k in range(count):
                    score[places[k]] = -1
            total = weights[0]
            for k in range(count):
                total += abs(weights[k + 1])
            least = score[:-1].max() - 2 * error * total * longest
            atoms = support[i, : count + 1]
            _add_residual(data, indices, indptr, i, atoms, codes[i], count, 1, residual)
            best, height = -1, noise
            for j in range(norms.shape[0]):
                if score[j] >= max(least, 0.0):
                    exact = 0.0
                    for p in range(indptr[j], indptr[j + 1]):
                        exact += residual[indices[p]] * data[p]
                    if abs(exact) > height:
                        best, height = j, abs(exact)
            _add_residual(data, indices, indptr, i, atoms, codes[i], count, 0, residual)
            if best < 0:
                break
            support[i, count] = best
            gram = gram_of(data, indices, indptr, atoms, dense)
            b = row_products(data, indices, indptr, i, atoms, dense)
            code, is_independent = _least_squares(gram, b)
            if not is_independent:
                score[best] = -1
                support[i, count] = -1
                is_current = True
                continue
            is_current = False
            places[count] = best
            count += 1
            left = norms[i] ** 2
            for k in range(count):
                codes[i, k] = code[k]
                weights[k + 1] = code[k] * norms[places[k]]
                left -= code[k] * b[k]


@njit(nogil=True, cache=True, error_model="numpy")
def _add_residual(
    data: Array,
    indices: Array,
    indptr: Array,
    i: int,
    atoms: Indices,
    code: Array,
    count: int,
    is_set: int,
    residual: Array,
) -> None:
    """Write what a code leaves of a row into zeros, or put the zeros back."""
    for p in range(indptr[i], indptr[i + 1]):
        residual[indices[p]] = data[p] * is_set
    for k in range(count):
        j = atoms[k]
        for p in range(indptr[j], indptr[j + 1]):
            value = residual[indices[p]] - code[k] * data[p]
            residual[indices[p]] = value * is_set
