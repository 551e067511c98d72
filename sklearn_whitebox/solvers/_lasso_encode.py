"""Sparse codes of samples on given atoms, by the lasso, with a duality gap each."""

from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._elastic_net import (
    _elastic_net_single,
    _refresh,
    _weights_per_row,
)
from sklearn_whitebox.solvers._result import SolverResult

# Rows per block: fixed, so that the result does not depend on the number of jobs.
_BLOCK = 128

Array = NDArray[Any]


@njit(nogil=True, cache=True)
def _lasso_gap(
    gram: Array, b: Array, squared_norm: float, l1: float, positive: bool, z: Array
) -> float:
    """Duality gap of a lasso code, relative to half the squared norm of the sample."""
    residual = np.empty(b.shape[0])
    code = z.astype(np.float64)
    _refresh(gram, b, 0.0, code, residual)
    fitted = 0.0  # ‖zD‖²
    explained = 0.0  # x · zD
    norm = 0.0
    worst = 0.0
    for j in range(b.shape[0]):
        fitted += code[j] * (b[j] - residual[j])
        explained += code[j] * b[j]
        norm += abs(code[j])
        worst = max(worst, residual[j] if positive else abs(residual[j]))
    error = max(squared_norm - 2.0 * explained + fitted, 0.0)
    shrink = min(1.0, l1 / worst) if worst > 0.0 else 1.0
    primal = 0.5 * error + l1 * norm
    dual = shrink * (squared_norm - explained) - 0.5 * shrink * shrink * error
    return max(primal - dual, 0.0) / (0.5 * squared_norm)


@njit(nogil=True, cache=True)
def _lasso_rows(
    gram: Array,
    correlations: Array,
    squared_norms: Array,
    l1: Array,
    positive: bool,
    codes: Array,
    tol: float,
    max_iter: int,
) -> tuple[int, float]:
    most = 0
    worst = 0.0
    for i in range(correlations.shape[0]):
        if squared_norms[i] <= 0.0:
            continue
        n_iter = 0
        gap = np.inf
        violation = tol
        # The optimality conditions are cheap to check, the gap is what is promised.
        for _ in range(4):
            used, reached = _elastic_net_single(
                gram,
                correlations[i],
                l1[i],
                0.0,
                positive,
                codes[i],
                violation,
                max_iter - n_iter,
            )
            n_iter += used
            if l1[i] > 0.0:
                gap = _lasso_gap(
                    gram, correlations[i], squared_norms[i], l1[i], positive, codes[i]
                )
            else:  # no residual but zero is feasible for the dual problem
                gap = reached
            if gap <= tol or n_iter >= max_iter:
                break
            violation *= 0.1
        most = max(most, n_iter)
        worst = max(worst, gap)
    return most, worst


def lasso_encode(
    X: Array,
    dictionary: Array,
    *,
    alpha: float | Array,
    positive: bool = False,
    tol: float = 1e-4,
    max_iter: int = 1000,
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
    tol : float, default=1e-4
        A sample is done when its duality gap is at most this times half its squared
        norm.
    max_iter : int, default=1000
        Most steps along the path and sweeps over the coordinates of a sample.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.

    Returns
    -------
    result : SolverResult
        The solution is the codes, an ndarray of shape (n_samples, n_components) in the
        dtype of `X`; the gap is the largest relative duality gap over the samples,
        or violation of the optimality conditions where `alpha` is zero.

    Raises
    ------
    ValueError
        If the shapes do not agree or `alpha` is negative.

    Notes
    -----
    See :func:`elastic_net_gram`. The code of a sample does not depend on the other
    samples but for rounding. Costs O(n k d) for the inner products. Two cases have a
    closed form, which is used: orthonormal atoms (soft-thresholding), and independent
    atoms without penalty (least squares).

    Examples
    --------
    >>> import numpy as np
    >>> lasso_encode(np.array([[3.0, 0.5]]), np.eye(2), alpha=1.0).solution
    array([[2., 0.]])
    """
    X = np.asarray(X)
    dictionary = np.asarray(dictionary, dtype=X.dtype)
    if X.shape[1] != dictionary.shape[1]:
        raise ValueError(
            f"X has {X.shape[1]} features but the atoms have {dictionary.shape[1]}."
        )
    weights = _weights_per_row("alpha", alpha, X.shape[0])
    starts = range(0, X.shape[0], _BLOCK)
    with serial_blas():
        gram = np.ascontiguousarray(dictionary @ dictionary.T)
        codes = _closed_form(X, dictionary, gram, weights, positive)
        if codes is not None:
            return SolverResult(codes, n_iter=0, converged=True, gap=0.0)
        parts = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_encode_block)(
                X[start : start + _BLOCK],
                dictionary,
                gram,
                weights[start : start + _BLOCK],
                positive,
                tol,
                max_iter,
            )
            for start in starts
        )
    gap = max(part[2] for part in parts)
    return SolverResult(
        solution=np.concatenate([part[0] for part in parts]),
        n_iter=max(part[1] for part in parts),
        converged=gap <= tol,
        gap=gap,
    )


def _closed_form(
    X: Array, dictionary: Array, gram: Array, alpha: Array, positive: bool
) -> Array | None:
    """Codes on orthonormal atoms, or least squares on independent ones, or None."""
    k, d = dictionary.shape
    if k > d:
        return None
    eps = float(np.finfo(X.dtype).eps)
    if np.abs(gram - np.eye(k)).max() <= max(1e-8, 10 * eps):
        weights = alpha[:, None].astype(X.dtype)
        codes = X @ dictionary.T
        above = np.maximum(codes - weights, 0)
        return above if positive else above - np.maximum(-codes - weights, 0)
    if positive or alpha.any():
        return None
    values, vectors = np.linalg.eigh(gram.astype(np.float64))
    if values[0] <= 1e6 * eps * values[-1]:
        return None
    inverse = (vectors / values) @ vectors.T
    return X @ (dictionary.T @ inverse.astype(X.dtype))


def _encode_block(
    X: Array,
    dictionary: Array,
    gram: Array,
    alpha: Array,
    positive: bool,
    tol: float,
    max_iter: int,
) -> tuple[Array, int, float]:
    correlations = np.ascontiguousarray(X @ dictionary.T)
    squared_norms = np.einsum("ij,ij->i", X, X, dtype=np.float64)
    codes = np.zeros_like(correlations)
    n_iter, gap = _lasso_rows(
        gram, correlations, squared_norms, alpha, positive, codes, tol, max_iter
    )
    return codes, n_iter, gap
