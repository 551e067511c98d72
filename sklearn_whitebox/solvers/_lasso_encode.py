"""Sparse codes of samples on given atoms, by the lasso, with a duality gap each."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import run_blocks, serial_blas
from sklearn_whitebox.solvers._active_set import make_workspace
from sklearn_whitebox.solvers._blocks import BLOCK, block_product, row_product
from sklearn_whitebox.solvers._elastic_net import _weights_per_row
from sklearn_whitebox.solvers._lasso_rows import compress, encode_rows, insist
from sklearn_whitebox.solvers._result import SolverResult

# Rows that are one task of joblib: fixed, as blocks are.
_TASK = 8 * BLOCK

Array = NDArray[Any]


def lasso_encode(
    X: Array,
    dictionary: Array,
    *,
    alpha: float | Array,
    positive: bool = False,
    tol: float | None = None,
    max_iter: int = 1000,
    init: Array | sparse.csr_array | None = None,
    sparse_output: bool = False,
    n_jobs: int | None = None,
) -> SolverResult:
    r"""Write every sample as a sparse combination of given atoms.

    .. math:: \min_z \tfrac12 \|x - zD\|_2^2 + \alpha \|z\|_1

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples x.
    dictionary : ndarray of shape (n_components, n_features)
        One atom per row.
    alpha : float or ndarray of shape (n_samples,)
        Non-negative weight of the ℓ1 norm, one for all samples or one each. From
        ``max |xD'|`` upwards the code is zero.
    positive : bool, default=False
        Whether codes must not be negative.
    tol : float, default=None
        A sample is done when its duality gap is at most this times half its squared
        norm. None is 1e-5 for float32 and 1e-9 for float64. It holds before codes are
        rounded to their dtype, which shows where `alpha` is tiny.
    max_iter : int, default=1000
        Most rounds of the active set, and steps and sweeps where it fails, per sample.
    init : ndarray or csr_array of shape (n_samples, n_components), default=None
        Codes to start from, such as those of a neighbouring `alpha`; None starts from
        zero, which costs little more.
    sparse_output : bool, default=False
        Whether the codes are a CSR array. Then memory is that of the non-zeros and of
        one block of dense codes.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    result : SolverResult
        The solution is the codes, an ndarray or csr_array of shape (n_samples,
        n_components) in the dtype of `X`; the gap is the largest relative duality gap
        over the samples, or violation of the optimality conditions where `alpha` is
        zero.

    Raises
    ------
    ValueError
        If the shapes do not agree or `alpha` is negative.

    Notes
    -----
    An active-set Newton method: the atoms that violate optimality most join the
    support, and the objective is minimised over the support with the signs held, until
    nothing violates optimality [1]_. With s non-zeros a round costs O(ks + s²), and
    there are about ten; the inner products cost O(kd) and the Gram matrix O(k²) memory.
    The few samples where that does not reach `tol` follow the exact solution path of
    :func:`elastic_net_gram`. The code of a sample does not depend on the other
    samples. Two cases have a closed form, which is used: orthonormal atoms
    (soft-thresholding), and independent atoms without penalty (least squares).

    References
    ----------
    .. [1] Lee, Battle, Raina, Ng (2006). Efficient sparse coding algorithms. NeurIPS.

    Examples
    --------
    >>> import numpy as np
    >>> lasso_encode(np.array([[3.0, 0.5]]), np.eye(2), alpha=1.0).solution
    array([[2., 0.]])
    """
    X, dictionary = _check_pair(X, dictionary)
    init = _check_init(init, X, dictionary)
    weights = _weights_per_row("alpha", alpha, X.shape[0])
    if tol is None:
        tol = 1e-5 if X.dtype == np.float32 else 1e-9
    with serial_blas():
        codes = _closed_form(X, dictionary, weights, positive)
        if codes is not None:
            codes = sparse.csr_array(codes) if sparse_output else codes
            return SolverResult(codes, n_iter=0, converged=True, gap=0.0)
        problem = _Problem.of(dictionary, positive, tol, max_iter)
        tasks = (
            (
                X[start : start + _TASK],
                weights[start : start + _TASK],
                None if init is None else init[start : start + _TASK],
                problem,
                sparse_output,
            )
            for start in range(0, max(1, X.shape[0]), _TASK)
        )
        parts = run_blocks(_encode_task, tasks, n_jobs=n_jobs)
    gap = max(part[2] for part in parts)
    blocks: Any = [part[0] for part in parts]
    return SolverResult(
        solution=sparse.vstack(blocks, format="csr")
        if sparse_output
        else np.concatenate(blocks),
        n_iter=max(part[1] for part in parts),
        converged=gap <= tol,
        gap=gap,
    )


def _check_pair(X: Array, dictionary: Array) -> tuple[Array, Array]:
    X = np.asarray(X)
    if X.dtype not in (np.float32, np.float64):
        X = X.astype(np.float64)
    dictionary = np.ascontiguousarray(dictionary, dtype=X.dtype)
    if X.ndim != 2 or dictionary.ndim != 2 or X.shape[1] != dictionary.shape[1]:
        raise ValueError(
            f"X of shape {X.shape} and dictionary of shape {dictionary.shape} must be "
            "matrices with equally many columns."
        )
    if not (np.isfinite(X).all() and np.isfinite(dictionary).all()):
        raise ValueError("X and dictionary must not contain NaN or infinity.")
    return X, dictionary


def _check_init(
    init: Array | sparse.csr_array | None, X: Array, dictionary: Array
) -> Array | sparse.csr_array | None:
    if init is None:
        return None
    init = sparse.csr_array(init) if sparse.issparse(init) else np.asarray(init)
    if init.shape != (len(X), len(dictionary)):
        raise ValueError(
            f"init has shape {init.shape}; it must have one row for each of {len(X)} "
            f"samples and one column for each of {len(dictionary)} atoms."
        )
    return init


def _closed_form(
    X: Array, dictionary: Array, alpha: Array, positive: bool
) -> Array | None:
    """Codes on orthonormal atoms, or least squares on independent ones, or None."""
    k, d = dictionary.shape
    if k > d:
        return None
    gram = dictionary @ dictionary.T
    eps = float(np.finfo(X.dtype).eps)
    if np.abs(gram - np.eye(k)).max() <= max(1e-8, 10 * eps):
        weights = alpha[:, None].astype(X.dtype)
        codes = row_product(X, dictionary.T)
        above = np.maximum(codes - weights, 0)
        return above if positive else above - np.maximum(-codes - weights, 0)
    if positive or alpha.any():
        return None
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    if values[0] <= 1e6 * eps * values[-1]:
        return None
    inverse = (vectors / values) @ vectors.T
    return row_product(X, dictionary.T @ inverse.astype(X.dtype))


@dataclass(frozen=True)
class _Problem:
    """What all samples share, with atoms of at most unit norm."""

    dictionary: Array
    gram: Array
    single: Array  # the Gram matrix in single precision
    scale: float  # largest squared norm of an atom
    positive: bool
    tol: float
    max_iter: int

    @classmethod
    def of(
        cls, dictionary: Array, positive: bool, tol: float, max_iter: int
    ) -> "_Problem":
        gram = np.ascontiguousarray(dictionary @ dictionary.T)
        scale = float(gram.diagonal().max(initial=0.0)) or 1.0
        gram /= scale
        single = gram.astype(np.float32, copy=False)
        return cls(dictionary, gram, single, scale, positive, tol, max_iter)

    def in_double(self) -> "_Problem":
        """Compute the Gram matrix again, for samples that need it."""
        dictionary = self.dictionary.astype(np.float64)
        return _Problem.of(dictionary, self.positive, self.tol, self.max_iter)


def _encode_task(
    X: Array,
    alpha: Array,
    init: Array | sparse.csr_array | None,
    problem: _Problem,
    sparse_output: bool,
) -> tuple[Any, int, float]:
    """Code the rows of one task, block by block."""
    n, k = len(X), len(problem.dictionary)
    coder = _Coder(problem)
    codes = np.zeros((BLOCK if sparse_output else n, k), X.dtype)
    parts: list[tuple[Array, Array, Array]] = []
    most, worst = 0, 0.0
    for start in range(0, max(1, n), BLOCK):
        rows = slice(start, min(start + BLOCK, n))
        block = codes[: rows.stop - start] if sparse_output else codes[rows]
        if init is not None:
            part: Any = init[rows]
            block[:] = part.toarray() if sparse.issparse(part) else part
        n_iter, gaps = coder.encode(X[rows], alpha[rows], init is not None, block)
        most, worst = max(most, n_iter), max(worst, float(gaps.max(initial=0.0)))
        if sparse_output:
            parts.append(_to_sparse(block))
            block[:] = 0
    if sparse_output:
        indices, values, counts = (np.concatenate(p) for p in zip(*parts, strict=True))
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return sparse.csr_array((values, indices, offsets), shape=(n, k)), most, worst
    return codes, most, worst


class _Coder:
    """Codes blocks of samples one after the other in the same memory."""

    def __init__(self, problem: _Problem) -> None:
        k = len(problem.dictionary)
        self._problem = problem
        self._fast = make_workspace(k, np.float32)
        is_single = problem.gram.dtype == np.float32
        self._work = self._fast if is_single else make_workspace(k, np.float64)
        side = min(k, 72)
        self._inverse = np.empty((side, side))
        self._careful: _Coder | None = None

    def encode(
        self, X: Array, alpha: Array, is_warm: bool, codes: Array
    ) -> tuple[int, Array]:
        """Write the codes of a block over zeros or a start; return steps and gaps."""
        problem = self._problem
        correlations = block_product(X, problem.dictionary.T)
        squares = np.einsum("ij,ij->i", X, X, dtype=np.float64)
        # Powers of the scale of a sample need not fit its dtype, those of one do.
        largest = np.abs(correlations).max(axis=1).astype(np.float64)
        units = np.where(largest > 0, largest, 1)
        correlations /= units[:, None].astype(X.dtype)
        squares *= problem.scale / units**2
        penalties = np.where(largest > 0, alpha / units, np.inf)
        gaps = np.empty(len(X))
        if is_warm:
            codes *= (problem.scale / units[:, None]).astype(X.dtype)
        n_iter, self._inverse = encode_rows(
            problem.gram,
            problem.single,
            correlations,
            squares,
            penalties,
            problem.positive,
            problem.tol,
            problem.max_iter,
            self._work,
            self._fast,
            self._inverse,
            is_warm,
            codes,
            gaps,
        )
        failed = np.flatnonzero(gaps > problem.tol)
        if len(failed) and X.dtype == np.float64:
            more = insist(
                problem.gram,
                correlations,
                squares,
                penalties,
                problem.positive,
                problem.tol,
                problem.max_iter,
                codes,
                gaps,
            )
            n_iter = max(n_iter, more)
        codes *= (units[:, None] / problem.scale).astype(X.dtype)
        if len(failed) and X.dtype != np.float64:
            if self._careful is None:
                self._careful = _Coder(problem.in_double())
            exact = np.zeros((len(failed), codes.shape[1]))
            more, gaps[failed] = self._careful.encode(
                X[failed].astype(np.float64), alpha[failed], False, exact
            )
            codes[failed] = exact
            n_iter = max(n_iter, more)
        return n_iter, gaps


def _to_sparse(block: Array) -> tuple[Array, Array, Array]:
    """Columns and values of the non-zeros of dense rows, and their numbers."""
    n_nonzero = np.count_nonzero(block)
    indices, values = np.empty(n_nonzero, np.int32), np.empty(n_nonzero, block.dtype)
    counts = np.empty(len(block), np.int64)
    compress(block, indices, values, counts)
    return indices, values, counts
