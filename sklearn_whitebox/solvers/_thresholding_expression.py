"""Link every row with the rows at the smallest angles."""

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._omp import padded_to_csr
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._top_products import largest_products

Array = NDArray[np.floating]

# Cosines up to this multiple of the machine precision are right angles.
_NOISE = 10.0


def thresholding_self_expression(
    X: Array, *, n_neighbors: int = 15, n_jobs: int | None = None
) -> SolverResult:
    r"""Link each row with the rows at the smallest angles, up to their sign.

    The weight of a link is :math:`\exp(-2 \arccos |\cos(x_i, x_j)|)` with the sign of
    the cosine, so that rows are not combined but only compared: the cheapest of the
    self-expressive methods.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows of any norm, float32 or float64.
    n_neighbors : int, default=15
        Links of a row.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    result : SolverResult
        The solution is a csr_array of shape (n_samples, n_samples) with zero diagonal
        and the dtype of `X`; row i belongs to sample i.

    Raises
    ------
    ValueError
        If `n_neighbors` is less than one.

    Notes
    -----
    Costs O(n² d), of which half is computed, and a copy of `X` of memory. Rows at right
    angles are not linked, nor are rows of zeros.

    References
    ----------
    .. [1] Heckel, Bölcskei (2015). Robust subspace clustering via thresholding. IEEE
       Transactions on Information Theory 61(11).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    >>> thresholding_self_expression(X).solution.toarray()
    array([[ 0., -1.,  0.],
           [-1.,  0.,  0.],
           [ 0.,  0.,  0.]])
    """
    if not n_neighbors >= 1:
        raise ValueError(f"n_neighbors={n_neighbors} must be at least 1.")
    rows = unit_rows(X)
    columns, cosines = largest_products(rows, rows, n_neighbors, n_jobs=n_jobs)
    heights = np.minimum(np.abs(cosines), 1)
    weights = np.copysign(np.exp(-2 * np.arccos(heights)), cosines)
    weights[heights <= _NOISE * np.finfo(rows.dtype).eps] = 0
    codes = padded_to_csr(columns, weights, len(rows))
    return SolverResult(solution=codes, n_iter=1, converged=True)


def unit_rows(X: Array) -> Array:
    """Scale rows to unit length.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        Rows of any norm.

    Returns
    -------
    rows : ndarray of shape (n_rows, n_columns)
        A copy; rows of zeros stay.
    """
    # Twice, because squares of very large or small numbers leave the range.
    largest = np.abs(X).max(axis=1, keepdims=True, initial=0)
    rows = X / np.where(largest > 0, largest, 1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(norms > 0, norms, 1)
    return np.ascontiguousarray(rows)
