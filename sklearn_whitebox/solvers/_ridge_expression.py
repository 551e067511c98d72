"""Write every row as a ridge regression on all other rows, in closed form."""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._omp import padded_to_csr
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._top_products import (
    Largest,
    largest_entries,
    largest_products,
)

Array = NDArray[np.floating]

# Rows that are summed at a time in double precision.
_ROWS = 4096

# Entries up to this multiple of their rounding error are zeros.
_NOISE = 10.0


def ridge_self_expression(
    X: Array,
    *,
    alpha: float,
    n_neighbors: int = 15,
    n_jobs: int | None = None,
) -> SolverResult:
    r"""Regress each row on all others by ridge, and keep its largest coefficients.

    .. math:: \min_{c,\, c_i = 0} \|x_i - cX\|_2^2 + \alpha \|c\|_2^2

    The solutions of all rows are one matrix in closed form,

    .. math:: c_{ij} = \frac{x_i^\top (X^\top X + \alpha I)^{-1} x_j}{1 - h_i}, \qquad
        h_i = x_i^\top (X^\top X + \alpha I)^{-1} x_i ,

    the same as of as many separate fits, each without the row itself. Only the wanted
    entries of the matrix are kept.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, float32 or float64.
    alpha : float
        Positive weight of the squared norm of the coefficients, in squared units of
        `X`. For unit rows half of ``n_samples / n_features`` is a good start.
    n_neighbors : int, default=15
        Coefficients of a row to keep, with their signs: those of largest modulus, of
        equal ones the first.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    result : SolverResult
        The solution is a csr_array of shape (n_samples, n_samples) with zero diagonal
        and the dtype of `X`; row i represents sample i.

    Raises
    ------
    ValueError
        If `alpha` is not positive or `n_neighbors` is less than one.

    Notes
    -----
    Costs O(n d min(n, d) + n² d) in single precision if `X` is, of which only half is
    computed since the products are symmetric; the small system is solved in double
    precision. Memory is a copy of `X`, a few MiB a thread and the result. With fewer
    samples than features a matrix of n × n is inverted instead, which is smaller than
    `X`. An `alpha` below the rounding error of the system is raised to it.

    References
    ----------
    .. [1] Lu, Min, Zhao, Zhu, Huang, Yan (2012). Robust and efficient subspace
       segmentation via least squares regression. ECCV.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> ridge_self_expression(X, alpha=1.0).solution.toarray()
    array([[0. , 0.5, 0. ],
           [0.5, 0. , 0. ],
           [0. , 0. , 0. ]])
    """
    if not alpha > 0:
        raise ValueError(f"alpha={alpha} must be positive.")
    if not n_neighbors >= 1:
        raise ValueError(f"n_neighbors={n_neighbors} must be at least 1.")
    X = np.ascontiguousarray(X)
    n_samples, n_features = X.shape
    # Squares of very large or small numbers would leave the range of the dtype.
    unit = float(np.abs(X).max(initial=0.0)) or 1.0
    with serial_blas():
        if n_samples < n_features:
            largest = _express_few(X, unit, alpha, n_neighbors, n_jobs)
        else:
            largest = _express_many(X, unit, alpha, n_neighbors, n_jobs)
    codes = padded_to_csr(largest.columns, largest.values, n_samples)
    return SolverResult(solution=codes, n_iter=1, converged=True)


def _express_many(
    X: Array, unit: float, alpha: float, n_neighbors: int, n_jobs: int | None
) -> Largest:
    """Solve a system in the features, and multiply its solutions with the rows."""
    n_samples, n_features = X.shape
    gram = np.zeros((n_features, n_features))
    for start in range(0, n_samples, _ROWS):
        rows = X[start : start + _ROWS].astype(np.float64) / unit
        gram += rows.T @ rows
    factor = linalg.cho_factor(_penalised(gram, alpha / unit**2), check_finite=False)
    inverse = linalg.cho_solve(factor, np.eye(n_features), check_finite=False)
    solved = np.empty_like(X)
    left_out = np.empty(n_samples)
    floors = np.empty(n_samples)
    for start in range(0, n_samples, _ROWS):
        block = slice(start, start + _ROWS)
        rows = X[block].astype(np.float64) / unit
        solution = rows @ inverse
        left_out[block] = 1 - np.einsum("ij,ij->i", solution, rows)
        floors[block] = np.linalg.norm(solution, axis=1)
        solved[block] = solution / unit
    eps = float(np.finfo(X.dtype).eps)
    longest = float(np.linalg.norm(X / unit, axis=1).max(initial=0.0))
    left_out = np.maximum(left_out, np.finfo(np.float64).eps)
    largest = largest_products(solved, X, n_neighbors, n_jobs=n_jobs)
    values = largest.values
    values[np.abs(values) <= (_NOISE * eps * longest * floors)[:, None]] = 0
    values /= left_out[:, None].astype(X.dtype)
    return largest


def _express_few(
    X: Array, unit: float, alpha: float, n_neighbors: int, n_jobs: int | None
) -> Largest:
    """Invert the system in the samples."""
    rows = X.astype(np.float64) / unit
    gram = _penalised(rows @ rows.T, alpha / unit**2)
    factor = linalg.cho_factor(gram, check_finite=False)
    inverse = linalg.cho_solve(factor, np.eye(len(X)), check_finite=False)
    largest = largest_entries(inverse, n_neighbors, n_jobs=n_jobs)
    values = largest.values
    diagonal = np.diagonal(inverse)
    noise = _NOISE * float(np.finfo(X.dtype).eps) * diagonal.max()
    values[np.abs(values) <= noise] = 0
    values /= -diagonal[:, None]
    return Largest(largest.columns, values.astype(X.dtype))


def _penalised(gram: Array, alpha: float) -> Array:
    """Add the penalty, or what keeps the system positive in rounding, if larger."""
    least = 4 * np.finfo(np.float64).eps * float(np.trace(gram))
    gram[np.diag_indices_from(gram)] += max(alpha, least)
    return gram
