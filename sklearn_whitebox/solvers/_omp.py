"""Orthogonal matching pursuit of many rows in one dictionary."""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import run_blocks, serial_blas
from sklearn_whitebox.solvers._omp_kernels import DEPENDENT, LANES, pursue
from sklearn_whitebox.solvers._omp_nonnegative import pursue_nonnegative
from sklearn_whitebox.solvers._omp_residuals import pursue_in_step

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Up to here the dictionary's Gram matrix is cheap, fits the cache and saves most of
# the products; beyond it, it must also be small in memory and shared by many rows.
# Else residuals are correlated block by block, as they always are in self-expression.
_MAX_GRAM_ATOMS = 1024
_MAX_GRAM_BYTES = 2**28

# Memory of the work arrays of one block. A constant, so that blocks, and with them
# the last bits of the result, do not depend on the number of threads.
_BLOCK_BYTES = 2**26


def omp_encode(
    X: Array,
    dictionary: Array,
    *,
    n_nonzero_coefs: int | None = None,
    tol: float = 1e-6,
    max_error: float | Array | None = None,
    selection: str = "reduction",
    positive: bool = False,
    exclude_self: bool = False,
    excluded: Indices | None = None,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    r"""Code each row over few atoms by orthogonal matching pursuit.

    Each step adds an atom and projects the row anew on all atoms chosen so far. The
    atom is the one with which the new residual is smallest, which is what order
    recursive (or optimised) matching pursuit means, or the one that correlates most
    with the residual, as in the original algorithm. The former has the lower error.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows to code, float32 or float64.
    dictionary : ndarray of shape (n_atoms, n_features)
        One atom a row, of the dtype of `X`.
    n_nonzero_coefs : int, default=None
        Most atoms a row; never more than there are features or atoms. None allows a
        tenth of the features, at least one, or all of them if `max_error` is given.
    tol : float, default=1e-6
        A row stops when the norm of its residual is at most `tol` times its own norm.
    max_error : float or ndarray of shape (n_samples,), default=None
        A row also stops when the norm of its residual, not squared, is at most this;
        one for all rows or one each. Noise of standard deviation σ in d features calls
        for about ``1.15 * σ * sqrt(d)``.
    selection : {"reduction", "correlation"}, default="reduction"
        Whether the next atom is the one that lowers the residual most or the one that
        correlates most with it. The latter presumes atoms of equal norms.
    positive : bool, default=False
        Whether coefficients must not be negative. Atoms then join only where their
        correlation is positive, and leave again where they would need a negative
        coefficient, so that a code is the non-negative least squares of its support.
    exclude_self : bool, default=False
        Whether row i may not use atom i, for data coded over themselves.
    excluded : ndarray of shape (n_samples, n_excluded), default=None
        Further atoms that each row may not use; -1 stands for none.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_atoms)
        Coefficients in the dtype of `X`, indices sorted. On its atoms each row is the
        least squares solution.

    Raises
    ------
    ValueError
        If the shapes do not fit together, `selection` is unknown or a tolerance is
        negative.

    Notes
    -----
    Costs O(n_samples n_atoms (n_features + s²)) for s coefficients with the Gram matrix
    of the dictionary, which is used up to 1,024 atoms, and beyond for many rows while
    it fits 256 MiB. Else O(n_samples n_atoms n_features s), and no more than 64 MiB of
    work memory a thread. Atoms that depend linearly on those already chosen are passed
    over.

    References
    ----------
    .. [1] Pati, Rezaiifar, Krishnaprasad (1993). Orthogonal matching pursuit. Asilomar.
    .. [2] Gharavi-Alkhansari, Huang (1998). A fast orthogonal matching pursuit
       algorithm. ICASSP.
    .. [3] Rebollo-Neira, Lowe (2002). Optimized orthogonal matching pursuit approach.
       IEEE Signal Processing Letters 9(4).
    .. [4] Nguyen, Idier, Soussen, Djermoune (2019). Non-negative orthogonal greedy
       algorithms. IEEE Transactions on Signal Processing 67(21).

    Examples
    --------
    >>> import numpy as np
    >>> omp_encode(np.array([[3.0, 0.5]]), np.eye(2), n_nonzero_coefs=1).toarray()
    array([[3., 0.]])
    """
    X, dictionary = _check_pair(X, dictionary, exclude_self)
    n_samples, n_features = X.shape
    n_atoms = len(dictionary)
    if selection not in ("reduction", "correlation"):
        raise ValueError(
            f"selection={selection!r} must be 'reduction' or 'correlation'."
        )
    smallest = _smallest_errors(n_samples, max_error, tol)
    if n_nonzero_coefs is None:
        n_nonzero_coefs = max(1, n_features // 10 if max_error is None else n_features)
    available = n_atoms - 1 if exclude_self else n_atoms
    depth = max(0, min(n_nonzero_coefs, n_features, available))
    if n_samples == 0 or depth == 0:
        return sparse.csr_array((n_samples, n_atoms), dtype=X.dtype)

    banned = _banned_atoms(n_samples, exclude_self, excluded)
    with serial_blas():
        has_gram = _wants_gram(X, n_atoms, depth, bool(banned.shape[1]))
        atoms = _Atoms.of(dictionary, has_gram, selection == "reduction", positive)
        blocks = (
            (X[rows], banned[rows], smallest[rows], tol, atoms, depth)
            for rows in _row_blocks(X, n_atoms, depth, has_gram or positive)
        )
        parts = run_blocks(_encode_block, blocks, n_jobs=n_jobs)
    return _stack(deque(parts), n_samples, n_atoms)


def padded_to_csr(
    support: NDArray[np.signedinteger], codes: Array, n_columns: int
) -> sparse.csr_array:
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
    per_row = n_atoms if has_gram else 3 * n_atoms + (depth + 2) * X.shape[1]
    size = int(np.clip(_BLOCK_BYTES // (per_row * X.itemsize), 1, 1024))
    return [slice(start, start + size) for start in range(0, len(X), size)]


@dataclass(frozen=True)
class _Atoms:
    """The dictionary and what a pursuit derives from it; Gram rows are padded."""

    dictionary: Array
    gram: Array
    squares: Array
    by_reduction: bool
    positive: bool

    @classmethod
    def of(
        cls, dictionary: Array, has_gram: bool, by_reduction: bool, positive: bool
    ) -> "_Atoms":
        n_atoms = len(dictionary)
        n_padded = -(-n_atoms // LANES) * LANES
        gram = np.zeros((n_atoms if has_gram else 0, n_padded), dictionary.dtype)
        squares = np.full(n_padded, -1, dictionary.dtype)
        if has_gram:
            np.matmul(dictionary, dictionary.T, out=gram[:, :n_atoms])
            squares[:n_atoms] = np.diagonal(gram)
        else:
            squares[:n_atoms] = np.einsum("ij,ij->i", dictionary, dictionary)
        # An atom of zeros can never be chosen, no more than the padding.
        squares[squares == 0] = -1
        return cls(dictionary, gram, squares, by_reduction, positive)


def _smallest_errors(
    n_samples: int, max_error: float | Array | None, tol: float
) -> Array:
    errors = np.asarray(0.0 if max_error is None else max_error, np.float64)
    if errors.ndim and errors.shape != (n_samples,):
        raise ValueError(
            f"max_error of shape {errors.shape} must be a number or have one entry for "
            f"each of the {n_samples} rows of X."
        )
    if not (errors >= 0).all():
        raise ValueError(f"max_error={max_error} must not be negative.")
    if not tol >= 0:
        raise ValueError(f"tol={tol} must not be negative.")
    return np.broadcast_to(errors, (n_samples,))


def _wants_gram(X: Array, n_atoms: int, depth: int, has_banned: bool) -> bool:
    if n_atoms <= _MAX_GRAM_ATOMS:
        return True
    fits = n_atoms**2 * X.itemsize <= _MAX_GRAM_BYTES
    return fits and not has_banned and n_atoms <= len(X) * depth


def _encode_block(
    block: Array,
    banned: Indices,
    smallest: Array,
    tol: float,
    atoms: _Atoms,
    depth: int,
) -> tuple[Indices, NDArray[np.int32], Array]:
    """Return the number of atoms of each row, their places and their coefficients."""
    support = np.full((len(block), depth), -1, np.int32)
    codes = np.zeros((len(block), depth), block.dtype)
    energies = np.einsum("ij,ij->i", block, block)
    limits = np.maximum(tol**2 * energies.astype(np.float64), smallest**2)
    dictionary, squares = atoms.dictionary, atoms.squares
    n_atoms = len(dictionary)
    if len(atoms.gram) or atoms.positive:
        correlations = np.zeros((len(block), len(squares)), block.dtype)
        np.matmul(block, dictionary.T, out=correlations[:, :n_atoms])
        eps = float(np.finfo(block.dtype).eps)
        floors = (DEPENDENT * eps * np.abs(squares)).astype(block.dtype)
        score = np.empty_like(squares)
        bits = score.view(np.dtype(f"i{score.itemsize}"))
        loop = pursue_nonnegative if atoms.positive else pursue
        loop(
            block, energies, limits, dictionary, atoms.gram, squares, floors,
            correlations, banned, atoms.by_reduction, score, bits, support, codes,
        )  # fmt: skip
    else:
        pursue_in_step(
            block, limits, dictionary, squares[:n_atoms], banned, atoms.by_reduction,
            support, codes,
        )  # fmt: skip
    used = codes != 0
    return used.sum(1), support[used], codes[used]


def _stack(
    parts: deque[tuple[Indices, NDArray[np.int32], Array]], n_rows: int, n_columns: int
) -> sparse.csr_array:
    """Join blocks, dropping each once it is copied so that memory holds all but one."""
    counts = np.concatenate([part[0] for part in parts])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    small = max(n_columns, offsets[-1]) < np.iinfo(np.int32).max
    kind = np.int32 if small else np.int64
    data = np.empty(offsets[-1], parts[0][2].dtype)
    indices = np.empty(offsets[-1], kind)
    start = 0
    while parts:
        _, places, values = parts.popleft()
        stop = start + len(places)
        indices[start:stop] = places
        data[start:stop] = values
        start = stop
    matrix = sparse.csr_array(
        (data, indices, offsets.astype(kind)), shape=(n_rows, n_columns)
    )
    matrix.has_sorted_indices = True
    return matrix
