"""Orthogonal matching pursuit of many rows in one dictionary."""

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._omp_kernels import (
    back_substitute,
    extend,
    pursue_with_gram,
)

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Up to here the dictionary's Gram matrix is cheap, fits the cache and saves most of
# the products; beyond it (self-expression) residuals are correlated block by block.
_MAX_GRAM_ATOMS = 1024

# Memory of the work arrays of one block. A constant, so that blocks, and with them
# the last bits of the result, do not depend on the number of threads.
_BLOCK_BYTES = 2**26


def omp_encode(
    X: Array,
    dictionary: Array,
    *,
    n_nonzero_coefs: int | None = None,
    tol: float = 1e-6,
    exclude_self: bool = False,
    excluded: Indices | None = None,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    r"""Code each row over few atoms by orthogonal matching pursuit.

    Each step adds the atom that correlates most with the residual and projects the row
    anew on all atoms chosen so far.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows to code, float32 or float64.
    dictionary : ndarray of shape (n_atoms, n_features)
        One atom a row, of the dtype of `X`. The selection compares atoms by their
        correlation, so they should have equal norms.
    n_nonzero_coefs : int, default=None
        Most atoms a row; None allows a tenth of the features, at least one.
    tol : float, default=1e-6
        A row stops when the norm of its residual is at most `tol` times its own norm.
    exclude_self : bool, default=False
        Whether row i may not use atom i, for data coded over themselves.
    excluded : ndarray of shape (n_samples, n_excluded), default=None
        Further atoms that each row may not use; -1 stands for none.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_atoms)
        Coefficients in the dtype of `X`, indices sorted.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Notes
    -----
    Costs O(n_samples n_atoms n_features s) for s coefficients, and no more than 64 MiB
    of work memory a thread. Up to 1,024 atoms the Gram matrix of the dictionary is
    used instead, O(n_samples n_atoms (n_features + s²)). Atoms that depend linearly on
    those already chosen are passed over.

    References
    ----------
    .. [1] Pati, Rezaiifar, Krishnaprasad (1993). Orthogonal matching pursuit. Asilomar.
    .. [2] Rubinstein, Zibulevsky, Elad (2008). Efficient implementation of the K-SVD
       algorithm using batch orthogonal matching pursuit. Technion.

    Examples
    --------
    >>> import numpy as np
    >>> omp_encode(np.array([[3.0, 0.5]]), np.eye(2), n_nonzero_coefs=1).toarray()
    array([[3., 0.]])
    """
    X, dictionary = _check_pair(X, dictionary, exclude_self)
    n_samples, n_features = X.shape
    n_atoms = len(dictionary)
    if n_nonzero_coefs is None:
        n_nonzero_coefs = max(1, n_features // 10)
    available = n_atoms - 1 if exclude_self else n_atoms
    depth = max(0, min(n_nonzero_coefs, n_features, available))
    if n_samples == 0 or depth == 0:
        return sparse.csr_array((n_samples, n_atoms), dtype=X.dtype)

    banned = _banned_atoms(n_samples, exclude_self, excluded)
    with serial_blas():
        gram = dictionary @ dictionary.T if n_atoms <= _MAX_GRAM_ATOMS else None
        largest = np.sqrt(np.einsum("ij,ij->i", dictionary, dictionary).max())
        blocks = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_encode_block)(
                X[rows], banned[rows], dictionary, gram, depth, tol, largest
            )
            for rows in _row_blocks(X, n_atoms, depth, gram is not None)
        )
    support = np.concatenate([block[0] for block in blocks])
    codes = np.concatenate([block[1] for block in blocks])
    return padded_to_csr(support, codes, n_atoms)


def padded_to_csr(support: Indices, codes: Array, n_columns: int) -> sparse.csr_array:
    """Turn padded rows of indices and values into a sparse matrix.

    Parameters
    ----------
    support : ndarray of shape (n_rows, width)
        Column of each value; -1 where there is none.
    codes : ndarray of shape (n_rows, width)
        Values.
    n_columns : int
        Columns of the result.

    Returns
    -------
    matrix : csr_array of shape (n_rows, n_columns)
        With sorted indices and without stored zeros.
    """
    used = (support >= 0) & (codes != 0)
    offsets = np.concatenate([[0], np.cumsum(used.sum(1))])
    small = max(n_columns, offsets[-1]) < np.iinfo(np.int32).max
    kind = np.int32 if small else np.int64
    matrix = sparse.csr_array(
        (codes[used], support[used].astype(kind), offsets.astype(kind)),
        shape=(len(support), n_columns),
    )
    matrix.sort_indices()
    return matrix


def _check_pair(X: Array, dictionary: Array, exclude_self: bool) -> tuple[Array, Array]:
    X = np.ascontiguousarray(X)
    dictionary = np.ascontiguousarray(dictionary, dtype=X.dtype)
    if X.ndim != 2 or dictionary.ndim != 2 or X.shape[1] != dictionary.shape[1]:
        raise ValueError(
            f"X of shape {X.shape} and dictionary of shape {dictionary.shape} must be "
            "matrices with equally many columns."
        )
    if exclude_self and len(X) != len(dictionary):
        raise ValueError(
            f"exclude_self=True needs one atom for each row, but there are "
            f"{len(dictionary)} atoms and {len(X)} rows; pass X as the dictionary."
        )
    return X, dictionary


def _banned_atoms(
    n_samples: int, exclude_self: bool, excluded: Indices | None
) -> Indices:
    columns = [np.arange(n_samples)[:, None]] if exclude_self else []
    if excluded is not None:
        columns.append(np.asarray(excluded, np.int64).reshape(n_samples, -1))
    if not columns:
        return np.empty((n_samples, 0), np.int64)
    return np.ascontiguousarray(np.hstack(columns))


def _row_blocks(X: Array, n_atoms: int, depth: int, has_gram: bool) -> list[slice]:
    per_row = n_atoms if has_gram else n_atoms + (depth + 2) * X.shape[1]
    size = int(np.clip(_BLOCK_BYTES // (per_row * X.itemsize), 1, 1024))
    return [slice(start, start + size) for start in range(0, len(X), size)]


def _encode_block(
    block: Array,
    banned: Indices,
    dictionary: Array,
    gram: Array | None,
    depth: int,
    tol: float,
    largest: float,
) -> tuple[Indices, Array]:
    support = np.full((len(block), depth), -1)
    codes = np.zeros((len(block), depth), block.dtype)
    eps = float(np.finfo(block.dtype).eps)
    if gram is not None:
        correlations = block @ dictionary.T
        pursue_with_gram(
            block,
            dictionary,
            gram,
            correlations,
            banned,
            tol,
            eps,
            largest,
            support,
            codes,
        )
    else:
        _pursue_by_residuals(
            block, dictionary, banned, tol, eps, largest, support, codes
        )
    return support, codes


def _pursue_by_residuals(
    block: Array,
    dictionary: Array,
    banned: Indices,
    tol: float,
    eps: float,
    largest: float,
    support: Indices,
    codes: Array,
) -> None:
    """Run all rows in step, so that correlations are one product of matrices a step."""
    n_rows, depth = support.shape
    residual = block.copy()
    basis = np.zeros((n_rows, depth, block.shape[1]), block.dtype)
    triangle = np.zeros((n_rows, depth, depth), block.dtype)
    heights = np.zeros((n_rows, depth), block.dtype)
    norms = np.sqrt(np.einsum("ij,ij->i", block, block))
    alive = norms > 0
    for step in range(depth):
        rows = np.flatnonzero(alive)
        if len(rows) == 0:
            break
        correlations = residual[rows] @ dictionary.T
        extend(
            correlations, rows, banned, dictionary, residual, basis, triangle, heights,
            support, norms, alive, step, tol, eps, largest,
        )  # fmt: skip
    back_substitute(triangle, heights, support, codes)
