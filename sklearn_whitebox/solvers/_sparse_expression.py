"""Self-expression of sparse rows, by products of sparse matrices."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import run_blocks
from sklearn_whitebox.solvers._elastic_net import elastic_net_gram
from sklearn_whitebox.solvers._omp import padded_to_csr
from sklearn_whitebox.solvers._omp_screened import (
    can_round,
    round_tile,
    rounding_error,
)
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._sparse_kernels import (
    extend_rows,
    gram_of,
    pursue_screened,
    row_products,
)

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Dense rows that fit are faster than sparse ones.
_DENSE_BYTES = 2**28

# Memory of the dense correlations of a block; a constant, so that results do not
# depend on the number of threads.
_BLOCK_BYTES = 2**26

# Correlations up to this share of the largest squared norm are zeros.
_NOISE = 1e-14

_SUPPORT_SIZE = 48


def fits_dense(X: sparse.csr_array) -> bool:
    """Tell whether the rows may be made dense.

    Parameters
    ----------
    X : csr_array of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    fits : bool
        Whether they take 256 MiB at most.
    """
    return X.shape[0] * X.shape[1] * X.dtype.itemsize <= _DENSE_BYTES


def sparse_pursuit(
    X: sparse.csr_array,
    *,
    n_nonzero_coefs: int,
    tol: float = 1e-6,
    excluded: Indices | None = None,
    n_jobs: int | None = None,
) -> sparse.csr_array:
    """Code each sparse row over the others by orthogonal matching pursuit.

    Parameters
    ----------
    X : csr_array of shape (n_samples, n_features)
        Rows, float32 or float64.
    n_nonzero_coefs : int
        Most coefficients of a row.
    tol : float, default=1e-6
        A row stops when the norm of its residual is at most `tol` times its own norm;
        it is known to about 1e-7 in double precision, since only inner products are
        used.
    excluded : ndarray of shape (n_samples, n_excluded), default=None
        Further rows that each row may not use; -1 stands for none.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    codes : csr_array of shape (n_samples, n_samples)
        Coefficients, with zero diagonal.

    Notes
    -----
    Up to 11,585 rows their inner products are computed once and held in 16 bits, and
    exact ones decide between the best. Beyond, each step multiplies the sparse
    residuals of a block of rows with all rows, at the cost of the products of their
    non-zeros, and 64 MiB a thread.
    """
    n_samples = X.shape[0]
    wide = X.astype(np.float64)
    depth = max(0, min(n_nonzero_coefs, X.shape[1], n_samples - 1))
    banned = np.arange(n_samples)[:, None]
    if excluded is not None:
        banned = np.hstack([banned, excluded])
    if depth and can_round(n_samples):
        return _pursue_screened(wide, banned, depth, tol, n_jobs).astype(X.dtype)
    blocks = [(wide, rows, banned[rows], depth, tol) for rows in _blocks(n_samples)]
    parts = run_blocks(_pursue_block, blocks, n_jobs=n_jobs)
    support = np.vstack([part[0] for part in parts])
    codes = np.vstack([part[1] for part in parts]).astype(X.dtype)
    return padded_to_csr(support, codes, n_samples)


def _pursue_screened(
    X: Any, banned: Indices, depth: int, tol: float, n_jobs: int | None
) -> sparse.csr_array:
    """Pursue with inner products in sixteen bits, computed once."""
    n_samples, n_features = X.shape
    norms = np.sqrt(np.asarray(X.multiply(X).sum(axis=1)).ravel())
    inverse = np.where(norms > 0, 1 / np.where(norms > 0, norms, 1), 0)
    unit = sparse.csr_array(sparse.diags_array(inverse) @ X)
    rounded = np.empty((n_samples, n_samples), np.int16)
    support = np.full((n_samples, depth), -1)
    codes = np.zeros((n_samples, depth))

    def fill(rows: Indices) -> None:
        start, stop = rows[0], rows[-1] + 1
        strip = (unit[start:stop] @ unit[start:].T).toarray()
        width = stop - start
        round_tile(strip[:, :width], start, start, rounded)
        round_tile(strip[:, width:], start, stop, rounded)

    def pursue(rows: Indices) -> None:
        pursue_screened(
            X.data, X.indices, X.indptr, n_features, rounded, norms,
            norms.astype(np.float32), banned, tol, rounding_error(n_features),
            _NOISE * norms.max() ** 2, rows[0], rows[-1] + 1, support, codes,
        )  # fmt: skip

    banned = np.ascontiguousarray(banned)
    blocks = [(rows,) for rows in _blocks(n_samples)]
    # All threads fill one matrix of up to 256 MiB, too large to be sent to each task.
    run_blocks(fill, blocks, n_jobs=n_jobs, in_place=True)
    run_blocks(pursue, blocks, n_jobs=n_jobs, in_place=True)
    return padded_to_csr(support, codes, n_samples)


def _blocks(n_samples: int) -> list[Indices]:
    size = int(np.clip(_BLOCK_BYTES // (8 * n_samples), 1, 1024))
    return [
        np.arange(start, min(start + size, n_samples))
        for start in range(0, n_samples, size)
    ]


def _pursue_block(
    X: Any, rows: Indices, banned: Indices, depth: int, tol: float
) -> tuple[Indices, Array]:
    block = X[rows]
    n_rows = len(rows)
    support = np.full((n_rows, depth), -1)
    codes = np.zeros((n_rows, depth))
    energies = np.asarray(block.multiply(block).sum(axis=1)).ravel()
    noise = _NOISE * energies.max(initial=0.0)
    forbidden = np.where(banned < 0, rows[:, None], banned)
    alive = energies > 0
    for step in range(depth):
        active = np.flatnonzero(alive)
        if len(active) == 0:
            break
        partial = padded_to_csr(support[active], codes[active], X.shape[0])
        heights = np.abs(((block[active] - partial @ X) @ X.T).toarray())
        np.put_along_axis(heights, forbidden[active], -1.0, axis=1)
        np.put_along_axis(heights, support[active, :step], -1.0, axis=1)
        extend_rows(
            X.data, X.indices, X.indptr, rows, heights, support, codes, step,
            tol**2 * energies, noise, alive, np.zeros(X.shape[1]),
        )  # fmt: skip
    return support, codes


def sparse_elastic_net(
    X: sparse.csr_array,
    *,
    gamma: float = 10.0,
    l1_ratio: float = 0.9,
    tol: float = 1e-6,
    max_iter: int = 40,
    n_jobs: int | None = None,
) -> SolverResult:
    """Solve the elastic net of each sparse row on the others.

    Parameters
    ----------
    X : csr_array of shape (n_samples, n_features)
        Rows, float32 or float64.
    gamma, l1_ratio, tol, max_iter : float, int
        As in :func:`elastic_net_self_expression`.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    result : SolverResult
        As of :func:`elastic_net_self_expression`.

    Notes
    -----
    As for dense rows, but with sparse products of blocks of residuals with all rows,
    in double precision, and small problems set up row by row.
    """
    n_samples = X.shape[0]
    if n_samples < 2:
        empty = sparse.csr_array((n_samples, n_samples), dtype=X.dtype)
        return SolverResult(solution=empty, n_iter=0, converged=True, gap=0.0)
    wide = X.astype(np.float64)
    settings = (gamma, l1_ratio, tol, max_iter)
    blocks = [(wide, rows, *settings) for rows in _blocks(n_samples)]
    parts = run_blocks(_express_block, blocks, n_jobs=n_jobs)
    codes = sparse.csr_array(sparse.vstack([part[0] for part in parts], format="csr"))
    gap = max(part[2] for part in parts)
    return SolverResult(
        solution=codes.astype(X.dtype),
        n_iter=max(part[1] for part in parts),
        converged=gap <= tol,
        gap=gap,
    )


def _express_block(
    X: Any, rows: Indices, gamma: float, l1_ratio: float, tol: float, max_iter: int
) -> tuple[Any, int, float]:
    block = X[rows]
    n_samples = X.shape[0]
    height = np.abs((block @ X.T).toarray())
    height[np.arange(len(rows)), rows] = -1
    coherence = np.maximum(height.max(axis=1), 0)
    l1 = coherence / gamma
    l2 = l1 * (1 - l1_ratio) / l1_ratio
    places: list[Indices] = [np.empty(0, np.int64) for _ in rows]
    values: list[Array] = [np.empty(0) for _ in rows]
    gaps = np.zeros(len(rows))
    active = np.flatnonzero(coherence > 0)
    n_iter = 0
    while len(active):
        kept = []
        for a, i in enumerate(active):
            pull = height[a] if n_iter else height[i]
            pull[places[i]] = -1
            excess = float(pull.max()) - l1[i]
            if excess > tol * coherence[i] and n_iter < max_iter:
                kept.append(i)
                size = min(_SUPPORT_SIZE, n_samples - 1)
                nearest = np.argpartition(pull, n_samples - size)[n_samples - size :]
                entering = nearest[pull[nearest] > l1[i]]
                support = np.concatenate([places[i], entering])
                start = np.concatenate([values[i], np.zeros(len(entering))])
                places[i], values[i], gap = _solve(
                    X, rows[i], support, start, l1[i], l2[i], 0.1 * tol
                )
                gaps[i] = gap
            else:
                gaps[i] = max(gaps[i], excess / coherence[i], 0.0)
        if not kept:
            break
        n_iter += 1
        active = np.array(kept)
        codes = _to_csr([places[i] for i in active], [values[i] for i in active], X)
        height = np.abs(((block[active] - codes @ X) @ X.T).toarray())
        height[np.arange(len(active)), rows[active]] = -1
    return _to_csr(places, values, X), n_iter, float(gaps.max(initial=0.0))


def _solve(
    X: Any, row: int, support: Indices, start: Array, l1: float, l2: float, tol: float
) -> tuple[Indices, Array, float]:
    """Solve a small problem; return the support, its coefficients and violation."""
    csr = (X.data, X.indices, X.indptr)
    dense = np.zeros(X.shape[1])
    result = elastic_net_gram(
        gram_of(*csr, support, dense),
        row_products(*csr, row, support, dense)[None],
        l1=l1,
        l2=l2,
        tol=tol,
        max_iter=10_000,
        init=start[None],
    )
    code = result.solution[0]
    used = code != 0
    return support[used], code[used], result.gap or 0.0


def _to_csr(places: list[Indices], values: list[Array], X: Any) -> sparse.csr_array:
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in places])])
    codes = sparse.csr_array(
        (np.concatenate(values), np.concatenate(places), offsets),
        shape=(len(places), X.shape[0]),
    )
    codes.sort_indices()
    return codes
