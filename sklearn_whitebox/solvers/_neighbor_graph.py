"""Write every row by its nearest neighbours, with weights of a local scale."""

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from sklearn_whitebox._threads import count_threads
from sklearn_whitebox.solvers._result import SolverResult

Array = NDArray[np.floating]


def neighbor_expression(
    X: Array, *, n_neighbors: int = 15, n_jobs: int | None = None
) -> SolverResult:
    r"""Link each row with its nearest neighbours.

    The weight of a link of length :math:`r_{ij}` is
    :math:`\exp(-r_{ij}^2 / (\sigma_i \sigma_j))`, where :math:`\sigma_i` is the
    distance of row i from the last of its neighbours: the local counterpart of a
    self-expressive code, for data that lie near curved or low-dimensional sets that no
    linear subspaces separate.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Distinct rows, float32 or float64.
    n_neighbors : int, default=15
        Links of a row.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    result : SolverResult
        The solution is a csr_array of shape (n_samples, n_samples) with zero diagonal
        and the dtype of `X`; row i belongs to sample i.

    Notes
    -----
    Costs at most O(n² d) and O(n) memory, see
    :class:`~sklearn.neighbors.NearestNeighbors`.

    References
    ----------
    .. [1] Zelnik-Manor, Perona (2004). Self-tuning spectral clustering. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> neighbor_expression(X, n_neighbors=1).solution.toarray().round(2)
    array([[0.  , 0.37, 0.  ],
           [0.37, 0.  , 0.  ],
           [0.  , 0.14, 0.  ]])
    """
    n_samples = len(X)
    width = min(n_neighbors, n_samples - 1)
    if width < 1:
        empty = sparse.csr_array((n_samples, n_samples), dtype=X.dtype)
        return SolverResult(solution=empty, n_iter=0, converged=True)
    # Distances are wanted in the unit of the data, whose squares might over- or
    # underflow.
    peak = float(np.abs(X - X[0]).max()) or 1.0
    scaled = np.ascontiguousarray((X - X[0]) / peak)
    search = NearestNeighbors(n_neighbors=width, n_jobs=count_threads(n_jobs))
    # A cluster of machines would be sent all rows for each of its few chunks.
    with parallel_config(backend="threading"):
        distances, columns = search.fit(scaled).kneighbors()
    squares = distances.astype(np.float64) ** 2
    last = np.maximum(distances[:, -1].astype(np.float64), np.finfo(np.float32).tiny)
    weights = np.exp(-squares / (last[:, None] * last[columns]))
    indptr = np.arange(0, n_samples * width + 1, width)
    codes = sparse.csr_array(
        (weights.astype(X.dtype).ravel(), columns.ravel().astype(np.int64), indptr),
        shape=(n_samples, n_samples),
    )
    codes.eliminate_zeros()
    codes.sort_indices()
    return SolverResult(solution=codes, n_iter=1, converged=True)
