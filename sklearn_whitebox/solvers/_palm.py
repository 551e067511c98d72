"""Dictionary learning by proximal alternating linearised minimisation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._atoms import order_atoms, unit_rows
from sklearn_whitebox.solvers._result import SolverResult

Array = NDArray[Any]

# Iterations between looks for atoms that no code uses.
_LOOK = 10


def learn_dictionary_palm(
    X: Array,
    init: Array,
    *,
    alpha: float,
    positive_code: bool = False,
    positive_dict: bool = False,
    max_iter: int = 1000,
    tol: float = 1e-5,
    generator: np.random.Generator | None = None,
    n_jobs: int | None = None,
    callback: Callable[[int, float], Any] | None = None,
) -> SolverResult:
    r"""Learn a dictionary by one proximal gradient step in codes and atoms in turn.

    .. math:: \min_{D, Z} \sum_i \tfrac12 \|x_i - z_i D\|_2^2 + \alpha \|z_i\|_1
        \quad\text{with}\quad \|d_j\|_2 \leq 1

    Each iteration takes a step of soft-thresholding in all codes, of length
    :math:`1/\|DD^\top\|_2`, and one in all atoms, of length :math:`1/\|Z^\top Z\|_2`,
    which are then brought back into the unit ball. The objective never rises.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples, float32 or float64.
    init : ndarray of shape (n_components, n_features)
        Atoms to start from, for example from :func:`initial_atoms`.
    alpha : float
        Weight of the ℓ1 norm.
    positive_code : bool, default=False
        Whether codes must not be negative.
    positive_dict : bool, default=False
        Whether atoms must not be negative.
    max_iter : int, default=1000
        Most iterations.
    tol : float, default=1e-5
        Stop when the objective falls by at most this share in three iterations in a
        row.
    generator : numpy.random.Generator, default=None
        Taken for the sake of a common signature; nothing is random here.
    n_jobs : int, default=None
        Taken for the sake of a common signature; the products of matrices use one
        thread, so that results are the same everywhere.
    callback : callable, default=None
        Called as ``callback(iteration, objective)``; stops the loop if it returns True.

    Returns
    -------
    result : SolverResult
        The solution is a dictionary with ``components``, an ndarray of shape
        (n_components, n_features) of unit atoms by decreasing energy, and
        ``n_replaced``. The objective is the mean over the samples after each
        iteration.

    Notes
    -----
    An iteration costs O(n k d + (k + d) min(k, d)² + k³). Memory beyond the samples is
    O(n (k + d)): codes are kept dense, since early ones are.

    References
    ----------
    .. [1] Bolte, Sabach, Teboulle (2014). Proximal alternating linearized minimization
       for nonconvex and nonsmooth problems. Mathematical Programming 146.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, 1.0]])
    >>> init = np.array([[1.0, 0.2], [0.3, 1.0]])
    >>> result = learn_dictionary_palm(X, init, alpha=0.1)
    >>> np.abs(result.solution["components"]).round(1)
    array([[0., 1.],
           [1., 0.]])
    """
    D = unit_rows(np.asarray(init, dtype=X.dtype))
    if positive_dict:
        D = unit_rows(np.maximum(D, 0))
    Z = np.zeros((len(X), len(D)), X.dtype)
    curve: list[float] = []
    n_replaced = quiet = 0
    converged = False
    with serial_blas():
        R = X.copy()
        for iteration in range(max_iter):
            Z, R = _code_step(X, D, Z, R, alpha, positive_code)
            D, R = _atom_step(X, D, Z, R, positive_dict)
            fresh = 0
            # The last tenth of the iterations is for settling.
            if iteration % _LOOK == _LOOK - 1 and iteration < 0.9 * max_iter:
                D, fresh = _replace_unused(X, D, Z, R, positive_dict)
                n_replaced += fresh
            error = 0.5 * np.einsum("ij,ij->", R, R, dtype=np.float64)
            penalty = alpha * np.abs(Z).sum(dtype=np.float64)
            curve.append(float((error + penalty) / len(X)))
            if callback is not None and callback(iteration, curve[-1]):
                break
            falls = len(curve) < 2 or curve[-2] - curve[-1] > tol * curve[-1]
            quiet = 0 if falls or fresh else quiet + 1
            if quiet >= 3:
                converged = True
                break
    energy = np.einsum("ij,ij->j", Z, Z)
    # An atom inside the ball would have longer codes if it were of unit norm.
    energy = energy * np.einsum("ij,ij->i", D, D)
    components = order_atoms(D, energy, fix_signs=not (positive_code or positive_dict))
    return SolverResult(
        {"components": components, "n_replaced": n_replaced},
        n_iter=len(curve),
        converged=converged,
        objective=curve,
    )


def _largest_eigenvalue(A: Array) -> float:
    """Squared spectral norm, with a margin for rounding."""
    gram = A @ A.T if A.shape[0] <= A.shape[1] else A.T @ A
    value = float(np.linalg.eigvalsh(gram.astype(np.float64))[-1])
    return value * (1 + 10 * float(np.finfo(A.dtype).eps))


def _code_step(
    X: Array, D: Array, Z: Array, R: Array, alpha: float, positive_code: bool
) -> tuple[Array, Array]:
    """Take a step in all codes; return them and the residual."""
    curvature = _largest_eigenvalue(D)
    if curvature <= 0:
        return Z, R
    Z = Z + (R @ D.T) / X.dtype.type(curvature)
    threshold = X.dtype.type(alpha / curvature)
    if positive_code:
        np.maximum(Z - threshold, 0, out=Z)
    else:
        Z -= np.clip(Z, -threshold, threshold)
    return Z, X - Z @ D


def _atom_step(
    X: Array, D: Array, Z: Array, R: Array, positive_dict: bool
) -> tuple[Array, Array]:
    """Take a step in all atoms; return them and the residual."""
    curvature = _largest_eigenvalue(Z)
    if curvature <= 0:
        return D, R
    D = D + (Z.T @ R) / X.dtype.type(curvature)
    if positive_dict:
        D = np.maximum(D, 0)
    D /= np.maximum(np.linalg.norm(D, axis=1, keepdims=True), 1)
    return D, X - Z @ D


def _replace_unused(
    X: Array, D: Array, Z: Array, R: Array, positive_dict: bool
) -> tuple[Array, int]:
    """Put the worst represented samples in the place of atoms that no code uses."""
    unused = np.flatnonzero(~Z.any(axis=0))
    errors = np.einsum("ij,ij->i", R, R)
    rows = np.argsort(-errors, kind="stable")[: len(unused)]
    rows = rows[errors[rows] > 0]
    if not len(rows):
        return D, 0
    fresh = unit_rows(np.maximum(X[rows], 0) if positive_dict else X[rows])
    D = D.copy()
    D[unused[: len(rows)]] = fresh
    return D, len(rows)
