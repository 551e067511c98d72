"""Write every row by the others with coefficients of low rank, in closed form."""

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._omp import padded_to_csr
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._thresholding_expression import unit_rows
from sklearn_whitebox.solvers._top_products import largest_products

Array = NDArray[np.floating]

# Rows that are multiplied at a time in double precision.
_ROWS = 4096

# Cosines up to this are right angles: directions that come from the Gram matrix have
# errors of the machine precision times a ratio of squared singular values.
_NOISE = {"float32": 1e-6, "float64": 1e-10}


def low_rank_self_expression(
    X: Array,
    *,
    alpha: float | None = None,
    n_neighbors: int = 15,
    power: float = 4.0,
    n_jobs: int | None = None,
) -> SolverResult:
    r"""Express all rows by each other with a matrix of low rank.

    .. math:: \min_C \tfrac12 \|X - CX\|_F^2 + \alpha \|C\|_*

    With the singular value decomposition :math:`X = U S V^\top` the solution is
    :math:`C = U_1 (I - \alpha S_1^{-2}) U_1^\top`, where only singular values above
    :math:`\sqrt\alpha` stay [1]_. It is kept as the product of its root with itself.
    The entries that are returned are those of that root with its rows made unit length,
    raised to a power to weaken the links between subspaces [2]_; the largest of each
    row are kept.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, float32 or float64.
    alpha : float, default=None
        Non-negative weight of the nuclear norm, in squared units of `X`; zero keeps all
        singular values. None takes the square of the singular value that best divides
        a low rank from white noise of unknown strength [3]_, a multiple of their
        median, but no more than half the mean square: without noise, and where the
        subspaces together fill the space, every direction of more than half an
        average share of the energy stays.
    n_neighbors : int, default=15
        Entries of a row to keep.
    power : float, default=4.0
        Exponent of the entries, which are cosines; their signs are kept.
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
        If `alpha` is negative or `n_neighbors` is less than one.

    Notes
    -----
    Costs O(n d min(n, d)) for the decomposition, by way of the smaller Gram matrix in
    double precision, and O(n² r) for r directions. Memory is n × r, never n × n unless
    that is smaller than `X`. Singular values below the rounding error of the Gram
    matrix, about 1e-7 of the largest, count as zeros.

    References
    ----------
    .. [1] Favaro, Vidal, Ravichandran (2011). A closed form solution to robust subspace
       estimation and clustering. CVPR.
    .. [2] Liu, Lin, Yan, Sun, Yu, Ma (2013). Robust recovery of subspace structures by
       low-rank representation. IEEE TPAMI 35(1).
    .. [3] Gavish, Donoho (2014). The optimal hard threshold for singular values is
       4/√3. IEEE Transactions on Information Theory 60(8).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> low_rank_self_expression(X, alpha=0.0).solution.toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 0., 0.]])
    """
    if alpha is not None and not alpha >= 0:
        raise ValueError(f"alpha={alpha} must not be negative.")
    if not n_neighbors >= 1:
        raise ValueError(f"n_neighbors={n_neighbors} must be at least 1.")
    X = np.ascontiguousarray(X)
    with serial_blas():
        root = unit_rows(_root(X, alpha))
        columns, cosines = largest_products(root, root, n_neighbors, n_jobs=n_jobs)
    heights = np.minimum(np.abs(cosines), 1)
    values = np.copysign(heights**power, cosines)
    values[heights <= _NOISE[X.dtype.name]] = 0
    codes = padded_to_csr(columns, values.astype(X.dtype, copy=False), len(X))
    return SolverResult(solution=codes, n_iter=1, converged=True)


def _root(X: Array, alpha: float | None) -> Array:
    """Return the n × r matrix whose product with itself is the solution."""
    n_samples, n_features = X.shape
    # Squares of very large or small numbers would leave the range of the dtype.
    unit = float(np.abs(X).max(initial=0.0)) or 1.0
    is_wide = n_samples < n_features
    side = min(n_samples, n_features)
    gram = np.zeros((side, side))
    if is_wide:
        rows = X.astype(np.float64) / unit
        gram += rows @ rows.T
    else:
        for start in range(0, n_samples, _ROWS):
            rows = X[start : start + _ROWS].astype(np.float64) / unit
            gram += rows.T @ rows
    squares, vectors = linalg.eigh(gram, check_finite=False)
    squares, vectors = squares[::-1], vectors[:, ::-1]
    squares = np.maximum(squares, 0)
    threshold = _noise_floor(squares, X.shape) if alpha is None else alpha / unit**2
    least = side * np.finfo(np.float64).eps * squares[0]
    kept = squares > max(threshold, least)
    squares, vectors = squares[kept], vectors[:, kept]
    shares = np.sqrt(1 - threshold / squares)
    if is_wide:
        return (vectors * shares).astype(X.dtype)
    weights = vectors * (shares / np.sqrt(squares))
    root = np.empty((n_samples, len(squares)), X.dtype)
    for start in range(0, n_samples, _ROWS):
        rows = X[start : start + _ROWS].astype(np.float64) / unit
        root[start : start + _ROWS] = rows @ weights
    return root


def _noise_floor(squares: Array, shape: tuple[int, ...]) -> float:
    """Square of the singular value that divides signal from noise."""
    aspect = min(shape) / max(shape)
    # Fit of the threshold in medians of the singular values, from the reference.
    multiple = 0.56 * aspect**3 - 0.95 * aspect**2 + 1.82 * aspect + 1.43
    return float(min(multiple**2 * np.median(squares), squares.mean() / 2))
