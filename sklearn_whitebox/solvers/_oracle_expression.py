"""Elastic nets of rows over each other, by oracle active sets."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import run_blocks, serial_blas
from sklearn_whitebox.solvers._omp import padded_to_csr
from sklearn_whitebox.solvers._omp_screened import (
    can_round,
    rounded_products,
    rounding_error,
)
from sklearn_whitebox.solvers._oracle_kernels import next_supports, solve_on_supports
from sklearn_whitebox.solvers._oracle_screened import express_rows
from sklearn_whitebox.solvers._result import SolverResult

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Memory of one block's correlations and their order; a constant, so that results do
# not depend on the number of threads.
_BLOCK_BYTES = 2**26

# Rows of one task with rounded inner products; a constant for the same reason.
_TASK = 256

# Rows a support starts with; few of the nearest stay, and others join.
_SUPPORT_SIZE = 32


def elastic_net_self_expression(
    X: Array,
    *,
    gamma: float = 10.0,
    l1_ratio: float = 0.9,
    tol: float = 1e-6,
    max_iter: int = 40,
    n_jobs: int | None = None,
) -> SolverResult:
    r"""Solve the elastic net of each row on the other rows, by oracle active sets.

    .. math:: \min_{c,\, c_i = 0} \tau\|c\|_1 + \tfrac{1-\tau}{2}\|c\|_2^2
        + \tfrac{\gamma_i}{2}\|x_i - cX\|_2^2, \qquad
        \gamma_i = \gamma\,\tau / \max_{j \ne i} |x_j^\top x_i|

    with τ the `l1_ratio`. The problem is solved on a small support; the residual then
    tells which other rows could enter (those in its *oracle region*), until there is
    none, which proves optimality for all rows.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows, float32 or float64.
    gamma : float, default=10.0
        Greater than 1; up to 1 every solution is zero.
    l1_ratio : float, default=0.9
        The weight τ, in (0, 1].
    tol : float, default=1e-6
        Largest violation of an optimality condition, relative to the largest
        correlation of the row with another.
    max_iter : int, default=40
        Most changes of the support of a row.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    result : SolverResult
        The solution is a csr_array of shape (n_samples, n_samples), the gap the largest
        relative violation of the optimality conditions over all rows.

    Notes
    -----
    Up to 11,585 rows their inner products are held in 16 bits, at most 256 MiB, which
    find the supports; exact ones correct the coefficients and prove them optimal. A row
    then costs O(n s) for each of some ten changes of a support of s rows. Beyond, a
    change costs O(n d), as product of blocks of residuals with all rows, which take
    64 MiB a thread.

    References
    ----------
    .. [1] You, Li, Robinson, Vidal (2016). Oracle based active set algorithm for
       scalable elastic net subspace clustering. CVPR.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    >>> result = elastic_net_self_expression(X)
    >>> result.converged
    True
    """
    X = np.ascontiguousarray(X)
    n_samples = len(X)
    if n_samples < 2:
        empty = sparse.csr_array((n_samples, n_samples), dtype=X.dtype)
        return SolverResult(solution=empty, n_iter=0, converged=True, gap=0.0)
    tol = max(tol, 100 * float(np.finfo(X.dtype).eps))
    settings = (gamma, l1_ratio, tol, max_iter)
    rows = np.arange(n_samples)
    with serial_blas():
        if not can_round(n_samples):
            codes, n_iter, gaps = _express_in_blocks(X, rows, settings, n_jobs)
        else:
            codes, n_iter, gaps = _express_screened(X, settings, n_jobs)
            # Where too many rows are as near as rounding, products must be exact.
            failed = np.flatnonzero(gaps > tol)
            if len(failed):
                exact, more, gaps[failed] = _express_in_blocks(
                    X, failed, settings, n_jobs
                )
                codes = _replace_rows(codes, failed, exact)
                n_iter = max(n_iter, more)
    gap = float(gaps.max())
    return SolverResult(solution=codes, n_iter=n_iter, converged=gap <= tol, gap=gap)


def _express_screened(
    X: Array, settings: tuple[float, float, float, int], n_jobs: int | None
) -> tuple[sparse.csr_array, int, Array]:
    """Solve all rows by rounded inner products; gaps are infinite where that failed."""
    n_samples, n_features = X.shape
    longest = float(np.linalg.norm(X.astype(np.float64, copy=False), axis=1).max())
    # Rows that are already of unit norm keep their last bits.
    scaled = X if abs(longest - 1) < 1e-3 or longest == 0 else X / longest
    norms = np.linalg.norm(scaled.astype(np.float64, copy=False), axis=1)
    scales = norms.astype(np.float32)
    rounded = rounded_products(scaled, n_jobs=n_jobs)
    counts, gaps = np.zeros(n_samples, np.int64), np.zeros(n_samples)
    error = rounding_error(n_features)
    tasks = (
        (
            scaled, rounded, norms, scales, error, *settings, start,
            min(start + _TASK, n_samples), counts[start : start + _TASK],
            gaps[start : start + _TASK],
        )
        for start in range(0, n_samples, _TASK)
    )  # fmt: skip
    # The inner products take up to 256 MiB, too large to be sent to each task.
    parts = run_blocks(express_rows, tasks, n_jobs=n_jobs, in_place=True)
    columns = np.concatenate([part[0] for part in parts])
    values = np.concatenate([part[1] for part in parts]).astype(X.dtype)
    codes = sparse.csr_array(
        (values, columns, np.concatenate([[0], np.cumsum(counts)])),
        shape=(n_samples, n_samples),
    )
    codes.sort_indices()
    return codes, max(part[2] for part in parts), gaps


def _express_in_blocks(
    X: Array,
    rows: Indices,
    settings: tuple[float, float, float, int],
    n_jobs: int | None,
) -> tuple[sparse.csr_array, int, Array]:
    """Solve some rows with products of blocks of residuals."""
    size = _block_size(len(X), X.itemsize)
    starts = range(0, len(rows), size)
    tasks = [(X, rows[start : start + size], *settings) for start in starts]
    blocks = run_blocks(_express_block, tasks, n_jobs=n_jobs)
    codes = sparse.csr_array(sparse.vstack([b[0] for b in blocks], format="csr"))
    gaps = np.concatenate([b[2] for b in blocks])
    return codes, max(b[1] for b in blocks), gaps


def _replace_rows(
    codes: sparse.csr_array, rows: Indices, new: sparse.csr_array
) -> sparse.csr_array:
    order = np.arange(codes.shape[0])
    order[rows] = codes.shape[0] + np.arange(len(rows))
    both = sparse.csr_array(sparse.vstack([codes, new], format="csr"))
    return sparse.csr_array(both[order])


def _block_size(n_samples: int, itemsize: int) -> int:
    per_row = _bytes_per_row(n_samples, itemsize)
    return int(np.clip(_BLOCK_BYTES // per_row, 1, min(512, n_samples)))


def _bytes_per_row(n_samples: int, itemsize: int) -> int:
    # Correlations, and the int64 order in which they are partitioned.
    return n_samples * (itemsize + 8)


def _express_block(
    X: Array,
    own: Indices,
    gamma: float,
    l1_ratio: float,
    tol: float,
    max_iter: int,
) -> tuple[Any, int, Array]:
    block = X[own]
    correlations = block @ X.T
    np.abs(correlations, out=correlations)
    correlations[np.arange(len(block)), own] = -1
    coherence = np.maximum(correlations.max(1), 0).astype(np.float64)
    l1 = coherence / gamma
    l2 = coherence * (1 - l1_ratio) / (gamma * l1_ratio)
    width = min(_SUPPORT_SIZE, len(X) - 1)
    nearest = np.argpartition(correlations, len(X) - width, axis=1)
    support = np.ascontiguousarray(nearest[:, len(X) - width :])
    # The loop makes correlations of its own, and a block's size allows for one set.
    del correlations, nearest
    codes = np.zeros((len(block), width), X.dtype)
    residual = np.zeros_like(block)
    violation = np.zeros(len(block))
    inner = np.zeros(len(block))
    rows = np.flatnonzero(coherence > 0)
    support[coherence <= 0] = -1
    n_iter = 0
    while len(rows) and n_iter < max_iter:
        n_iter += 1
        solve_on_supports(
            X, block, rows, support, codes, residual, l1, l2, 0.1 * tol, inner
        )
        support, codes, grown = next_supports(
            residual[rows] @ X.T,
            rows, own, support, codes, l1, coherence, tol, violation,
        )  # fmt: skip
        rows = rows[grown]
    matrix = padded_to_csr(support, codes, len(X))
    return matrix, n_iter, np.maximum(violation, inner)
