"""Write every row as a combination of the other rows: self-expression."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox.solvers._copies import distinct_rows, spread_to_copies
from sklearn_whitebox.solvers._low_rank_expression import low_rank_self_expression
from sklearn_whitebox.solvers._omp import omp_encode
from sklearn_whitebox.solvers._omp_screened import (
    can_round,
    rounded_products,
    screened_pursuit,
)
from sklearn_whitebox.solvers._oracle_expression import (
    elastic_net_self_expression,
)
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._ridge_expression import ridge_self_expression
from sklearn_whitebox.solvers._sparse_expression import (
    fits_dense,
    sparse_elastic_net,
    sparse_pursuit,
)
from sklearn_whitebox.solvers._thresholding_expression import (
    thresholding_self_expression,
)

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


def self_express(
    X: Array | sparse.csr_array,
    *,
    method: str = "elastic_net",
    gamma: float = 10.0,
    l1_ratio: float = 0.9,
    n_nonzero_coefs: int = 5,
    n_pursuits: int = 3,
    alpha: float | None = None,
    n_neighbors: int = 15,
    tol: float = 1e-6,
    max_nonzero: int | None = None,
    max_iter: int = 40,
    n_jobs: int | None = None,
) -> SolverResult:
    r"""Write each row as a sparse combination of the other rows.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
        Rows, usually of unit norm, float32 or float64. Sparse rows stay so for
        ``"omp"``, ``"lasso"`` and ``"elastic_net"`` unless they fit 256 MiB dense; the
        closed forms need that.
    method : str, default="elastic_net"
        One of "elastic_net", "lasso", "omp", "ridge", "low_rank" and "thresholding".
        Penalised least squares, see :func:`elastic_net_self_expression`, with the ℓ1
        norm alone for ``"lasso"``; orthogonal matching pursuit, see
        :func:`disjoint_pursuits`; or a closed form, see
        :func:`ridge_self_expression`, :func:`low_rank_self_expression` and
        :func:`thresholding_self_expression`.
    gamma : float, default=10.0
        Weight of the data of the elastic net, in units of its smallest useful value.
    l1_ratio : float, default=0.9
        Share of the ℓ1 norm in the penalty of the elastic net, in (0, 1].
    n_nonzero_coefs : int, default=5
        Most non-zero coefficients of one pursuit, for ``"omp"``.
    n_pursuits : int, default=3
        Pursuits of a row, for ``"omp"``.
    alpha : float, default=None
        Weight of the squared norm of the coefficients, for ``"ridge"``, or of the
        nuclear norm, for ``"low_rank"``. None is chosen from the singular values: for
        ``"ridge"`` half the mean eigenvalue of ``X.T @ X``, which for unit rows is half
        of ``n_samples / n_features``.
    n_neighbors : int, default=15
        Coefficients of a row that are kept, for the closed forms.
    tol : float, default=1e-6
        Relative residual at which the pursuit stops, or largest relative violation of
        the optimality conditions of the elastic net.
    max_nonzero : int, default=None
        Keep only so many coefficients of a row, the largest; None keeps all.
    max_iter : int, default=40
        Most changes of the support of a row, for ``"elastic_net"``.
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
        If `X` is sparse, does not fit, and the method needs dense rows.

    Notes
    -----
    Rows that are equal up to their sign are solved once: otherwise each would be
    written by its copy alone, which tells nothing of its subspace. Other rows use the
    first of them. Only five and more of them count as a subspace, a line, and are
    written by each other. Rows of zeros, and rows orthogonal to all others, have empty
    codes.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    >>> self_express(X, method="omp").solution.shape
    (4, 4)
    """
    if sparse.issparse(X):
        X = _dense_if_possible(sparse.csr_array(X), method)
    first, inverse, signs = distinct_rows(X)
    distinct = X if len(first) == X.shape[0] else X[first]
    if method in ("omp", "lasso", "elastic_net"):
        distinct = _moderate(distinct)
    if method == "omp":
        codes = disjoint_pursuits(
            distinct,
            n_nonzero_coefs=n_nonzero_coefs,
            n_pursuits=n_pursuits,
            tol=tol,
            n_jobs=n_jobs,
        )
        result = SolverResult(solution=codes, n_iter=n_pursuits, converged=True)
    elif method == "ridge":
        result = ridge_self_expression(
            distinct,
            alpha=_mean_eigenvalue(distinct) / 2 if alpha is None else alpha,
            n_neighbors=n_neighbors,
            n_jobs=n_jobs,
        )
    elif method == "low_rank":
        result = low_rank_self_expression(
            distinct, alpha=alpha, n_neighbors=n_neighbors, n_jobs=n_jobs
        )
    elif method == "thresholding":
        result = thresholding_self_expression(
            distinct, n_neighbors=n_neighbors, n_jobs=n_jobs
        )
    else:
        solve = (
            sparse_elastic_net if sparse.issparse(X) else elastic_net_self_expression
        )
        result = solve(
            distinct,
            gamma=gamma,
            l1_ratio=1.0 if method == "lasso" else l1_ratio,
            tol=tol,
            max_iter=max_iter,
            n_jobs=n_jobs,
        )
    codes = result.solution
    if max_nonzero is not None:
        codes = keep_largest(codes, max_nonzero)
    if len(first) < X.shape[0]:
        codes = spread_to_copies(codes, first, inverse, signs)
    return SolverResult(
        solution=codes,
        n_iter=result.n_iter,
        converged=result.converged,
        gap=result.gap,
    )


def self_expression_bytes(
    shape: tuple[int, int],
    itemsize: int,
    *,
    method: str,
    n_neighbors: int = 15,
    n_jobs: int = 1,
) -> int:
    """Tell how much memory a self-expression of dense rows needs beside them.

    Parameters
    ----------
    shape : tuple of (n_samples, n_features)
        Shape of the rows.
    itemsize : int
        Bytes of a number.
    method : str
        As in :func:`self_express`.
    n_neighbors : int, default=15
        Coefficients of a row that are kept, for the closed forms.
    n_jobs : int, default=1
        Threads.

    Returns
    -------
    n_bytes : int
        Upper estimate, without the codes of ``"omp"``, ``"lasso"`` and
        ``"elastic_net"``, whose number is not known before.

    Examples
    --------
    >>> self_expression_bytes((10_000, 500), 4, method="omp") // 2**20
    217
    """
    n_samples, n_features = shape
    small = min(shape)
    # Finding copies takes rounded rows of the width of X, and their bytes in order.
    copies = 2 * n_samples * n_features * itemsize
    if method in ("ridge", "low_rank", "thresholding"):
        kept = n_samples * n_neighbors * (itemsize + 4)
        systems = 4 * 8 * small**2 if method != "thresholding" else 0
        root = n_samples * (small if method == "low_rank" else n_features) * itemsize
        return max(copies, root + systems + (n_jobs + 3) * kept + n_jobs * 2**23)
    if can_round(n_samples):
        products = 2 * n_samples**2 + 4 * n_samples * n_features + n_jobs * 2**23
        return max(copies, products)
    return max(copies, n_jobs * 2 * 2**26)


def _dense_if_possible(X: sparse.csr_array, method: str) -> Array | sparse.csr_array:
    if fits_dense(X):
        dense: Array = X.toarray()
        return dense
    if method in ("omp", "lasso", "elastic_net"):
        return X
    size = X.shape[0] * X.shape[1] * X.dtype.itemsize / 2**30
    raise ValueError(
        f"method={method!r} needs dense rows, and the sparse X would take {size:.1f} "
        "GiB; use method='omp' or 'elastic_net', or reduce the features first, for "
        "example by TruncatedSVD."
    )


def _moderate(X: Any) -> Any:
    """Scale rows whose squares would leave the range; their codes stay the same."""
    largest = float(abs(X).max()) if X.size else 0.0
    _, exponent = np.frexp(largest)
    if largest == 0 or abs(exponent) <= 16:
        return X
    # A power of two, by which a product is exact; twice, because it may not fit.
    half = int(exponent) // 2
    return X * X.dtype.type(2.0**-half) * X.dtype.type(2.0 ** (half - int(exponent)))


def _mean_eigenvalue(X: Array) -> float:
    """Mean eigenvalue of the Gram matrix of the features; one for zeros."""
    energies = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    return float(energies.sum()) / X.shape[1] or 1.0


def disjoint_pursuits(
    X: Array | sparse.csr_array,
    *,
    n_nonzero_coefs: int = 5,
    n_pursuits: int = 3,
    tol: float = 1e-6,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    """Average several matching pursuits of each row, each on rows not used before.

    One pursuit takes few rows, and after the first they are chosen for what is left of
    the row, which may be noise; the graph of such codes is poorly connected. Further
    pursuits without the rows already used find other neighbours of as good a fit.

    Parameters
    ----------
    X : ndarray or csr_array of shape (n_samples, n_features)
        Rows, float32 or float64.
    n_nonzero_coefs : int, default=5
        Most rows in one pursuit; at most ``n_features - 1`` are used, since a code of
        as many rows as there are features fits everything.
    n_pursuits : int, default=3
        Number of pursuits; 1 is the ordinary algorithm.
    tol : float, default=1e-6
        Relative residual at which a pursuit stops.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_samples)
        Mean of the codes, with zero diagonal.

    References
    ----------
    .. [1] You, Robinson, Vidal (2016). Scalable sparse subspace clustering by
       orthogonal matching pursuit. CVPR.
    .. [2] Chen, Li, You (2020). Stochastic sparse subspace clustering. CVPR. (Averages
       pursuits on random subsets of the rows.)

    Examples
    --------
    >>> import numpy as np
    >>> disjoint_pursuits(np.eye(3)[[0, 0, 0, 1]], n_pursuits=2).toarray()[0]
    array([0. , 0.5, 0.5, 0. ])
    """
    n_samples, n_features = X.shape
    depth = min(n_nonzero_coefs, max(1, n_features - 1))
    used = np.empty((n_samples, 0), np.int64)
    total = sparse.csr_array((n_samples, n_samples), dtype=X.dtype)
    pursue = _pursuit_of(X, depth, tol, n_jobs)
    for _ in range(n_pursuits):
        codes = pursue(used)
        total = sparse.csr_array(total + codes)
        used = np.hstack([used, _padded_support(codes, depth)])
    total.data /= n_pursuits
    total.sort_indices()
    return total


def _pursuit_of(
    X: Array | sparse.csr_array, depth: int, tol: float, n_jobs: int | None
) -> Callable[[Indices], sparse.csr_array]:
    """Choose how to pursue; the function takes the rows that are excluded."""
    shared: dict[str, Any] = {"n_nonzero_coefs": depth, "tol": tol, "n_jobs": n_jobs}
    if sparse.issparse(X):
        return lambda used: sparse_pursuit(X, excluded=used, **shared)
    if can_round(len(X)):
        rounded = rounded_products(X, n_jobs=n_jobs)
        return lambda used: screened_pursuit(X, rounded, excluded=used, **shared)
    shared |= {"selection": "correlation", "exclude_self": True}
    return lambda used: omp_encode(X, X, excluded=used, **shared)


def _padded_support(codes: sparse.csr_array, width: int) -> Indices:
    counts = np.diff(codes.indptr)
    rows = np.repeat(np.arange(len(counts)), counts)
    support = np.full((len(counts), width), -1)
    support[rows, np.arange(codes.nnz) - codes.indptr[rows]] = codes.indices
    return support


def keep_largest(codes: sparse.csr_array, max_nonzero: int) -> sparse.csr_array:
    """Keep the largest entries of each row.

    Parameters
    ----------
    codes : csr_array of shape (n_rows, n_columns)
        Codes.
    max_nonzero : int
        Most entries of a row that stay.

    Returns
    -------
    codes : csr_array of shape (n_rows, n_columns)
        The given matrix if no row has more.
    """
    counts = np.diff(codes.indptr)
    if not len(counts) or counts.max() <= max_nonzero:
        return codes
    rows = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-np.abs(codes.data), rows))
    place = np.arange(len(order)) - np.repeat(codes.indptr[:-1], counts)
    kept = np.sort(order[place < max_nonzero])
    indptr = np.concatenate([[0], np.cumsum(np.minimum(counts, max_nonzero))])
    return sparse.csr_array(
        (codes.data[kept], codes.indices[kept], indptr.astype(codes.indptr.dtype)),
        shape=codes.shape,
    )
