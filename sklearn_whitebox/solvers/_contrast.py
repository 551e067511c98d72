"""Rotations that make white samples sparse, by a fixed point of Newton type."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._rotations import polar_factor

Array = NDArray[Any]

# Entries of a block of rows: its codes and their images stay in the second-level cache.
_BLOCK_ENTRIES = 2**17
# Iterations after which Newton's steps are damped.
_PATIENCE = 40


def row_blocks(X: Array) -> list[Array]:
    """Cut rows into blocks that fit the cache.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.

    Returns
    -------
    blocks : list of ndarray
        Views of consecutive rows.
    """
    size = max(256, _BLOCK_ENTRIES // X.shape[1])
    return [X[start : start + size] for start in range(0, len(X), size)]


@njit(nogil=True, cache=True)
def _clip(Z: Array, inside: Array) -> float:
    """Clip codes to [-1, 1] in place; count those inside, and sum their squares."""
    one = Z.dtype.type(1)
    total = 0.0
    for i in range(Z.shape[0]):
        energy = Z.dtype.type(0)
        for j in range(Z.shape[1]):
            z = min(max(Z[i, j], -one), one)
            inside[j] += abs(z) < one
            energy += z * z
            Z[i, j] = z
        total += energy
    return total


def huber_rotation(
    X: Array,
    A: Array,
    *,
    max_iter: int,
    tol: float,
    callback: Callable[[int, float], Any] | None = None,
    first: int = 0,
) -> tuple[Array, list[float], bool]:
    r"""Rotate white samples until the Huber norm of their codes is stationary.

    The Huber function, :math:`z^2/2` within the unit interval and :math:`|z| - 1/2`
    beyond, is a smooth ℓ1 norm. With its derivative g, a clipped z, the step is

    .. math:: Z = XA^\top, \quad A \leftarrow
        \operatorname{polar}(\operatorname{diag}(\mathrm{E}\, g'(Z)) A
        - \mathrm{E}[g(Z)^\top X]),

    Newton's on the orthogonal group if the codes are independent and white. Where they
    are not, it may cycle. After 40 iterations the mean of g' therefore moves to its
    bound, one, with which no step raises the norm.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        White samples.
    A : ndarray of shape (n_features, n_features)
        Orthogonal start.
    max_iter : int
        Most iterations.
    tol : float
        Stop when no row of A, up to sign, moves by more than this.
    callback : callable, default=None
        Called as ``callback(iteration, objective)``; stops the loop if it returns True.
    first : int, default=0
        Number of the first iteration for the callback.

    Returns
    -------
    A : ndarray of shape (n_features, n_features)
        Rotation.
    objective : list of float
        Minus the mean Huber norm of the codes, before each step.
    converged : bool
        Whether the rows settled.
    """
    n_samples, n_features = X.shape
    blocks = row_blocks(X)
    A = np.asarray(A, dtype=X.dtype)
    curve: list[float] = []
    for n_iter in range(max_iter):
        G = np.zeros_like(A)
        inside = np.zeros(n_features, dtype=X.dtype)
        energy = 0.0
        for block in blocks:
            Z = block @ A.T
            energy += _clip(Z, inside)
            G += Z.T @ block
        G /= n_samples
        # The products of codes and clipped codes are on the diagonal of GA'.
        curve.append(0.5 * energy / n_samples - float(np.vdot(G, A)))
        previous = A
        damping = min(1.0, max(0.0, (n_iter - _PATIENCE) / _PATIENCE))
        curvature = inside / n_samples
        curvature += damping * (1 - curvature)
        A = polar_factor(curvature.astype(A.dtype)[:, None] * A - G)
        if callback is not None and callback(first + n_iter, curve[-1]):
            return A, curve, False
        cosines = np.abs(np.einsum("ij,ij->i", A, previous))
        if np.sqrt(max(0.0, 2 - 2 * float(cosines.min()))) <= tol:
            return A, curve, True
    return A, curve, False
