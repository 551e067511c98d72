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
# Mean of the Huber function of a standard normal variable.
NORMAL_HUBER = 0.42466
# Iterations after which Newton's steps are damped.
_PATIENCE = 40
# Rows that correlations of squared codes are taken from.
_ENOUGH_ROWS = 2000


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
    patience: int = _PATIENCE,
) -> tuple[Array, list[float], bool]:
    r"""Rotate white samples until the Huber norm of their codes is stationary.

    The Huber function, :math:`z^2/2` within the unit interval and :math:`|z| - 1/2`
    beyond, is a smooth ℓ1 norm. With its derivative g, a clipped z, the step is

    .. math:: Z = XA^\top, \quad A \leftarrow
        \operatorname{polar}(\operatorname{diag}(\mathrm{E}\, g'(Z)) A
        - \mathrm{E}[g(Z)^\top X]),

    Newton's on the orthogonal group if the codes are independent and white. Where they
    are not, it may cycle, or end where codes are less sparse than normal ones. After
    some iterations the mean of g' therefore moves to its bound, one, with which no step
    raises the norm.

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
    patience : int, default=40
        Iterations before the mean of g' starts to move; 0 takes its bound at once.

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
        inside = np.zeros(n_features)
        energy = 0.0
        for block in blocks:
            Z = block @ A.T
            # Single precision counts the rows of a block exactly, not those of all.
            count = np.zeros(n_features, dtype=X.dtype)
            energy += _clip(Z, count)
            inside += count
            G += Z.T @ block
        G /= n_samples
        # The products of codes and clipped codes are on the diagonal of GA'.
        curve.append(0.5 * energy / n_samples - float(np.vdot(G, A)))
        previous = A
        late = n_iter - patience
        damping = min(1.0, max(0.0, late / patience)) if patience > 0 else 1.0
        curvature = inside / n_samples
        curvature += damping * (1 - curvature)
        A = polar_factor(curvature.astype(A.dtype)[:, None] * A - G)
        if callback is not None and callback(n_iter, curve[-1]):
            return A, curve, False
        cosines = np.abs(np.einsum("ij,ij->i", A, previous))
        if np.sqrt(max(0.0, 2 - 2 * float(cosines.min()))) <= tol:
            return A, curve, True
    return A, curve, False


def untangled(X: Array, A: Array) -> Array | None:
    """Turn pairs of atoms that look like the sum and the difference of two atoms.

    Such a pair is a saddle point of every norm that favours sparse codes, at which a
    fixed point may end. The squares of its codes are correlated, while those of
    independent codes are not.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        White samples.
    A : ndarray of shape (n_components, n_components)
        Rotation.

    Returns
    -------
    turned : ndarray of shape (n_components, n_components) or None
        Rotation with disjoint pairs turned by 45 degrees, if there are any.
    """
    rows = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    squares = np.square(rows @ A.T)
    squares -= squares.mean(axis=0)
    gram = np.asarray(squares.T @ squares, dtype=np.float64) / len(rows)
    variance = np.maximum(np.diag(gram), np.finfo(np.float32).tiny)
    np.fill_diagonal(gram, 0)
    correlation = gram / np.sqrt(np.outer(variance, variance))
    # The variance of the squares of unit codes is their excess kurtosis plus two.
    expected = 1 - 2 / np.maximum(np.minimum(variance[:, None], variance), 2)
    score = correlation - np.maximum(0.5 * expected, 5 / np.sqrt(len(rows)))
    turned = A.copy()
    while score.max() > 0:
        i, j = np.unravel_index(np.argmax(score), score.shape)
        turned[i] = (A[i] + A[j]) * np.sqrt(0.5)
        turned[j] = (A[i] - A[j]) * np.sqrt(0.5)
        score[[i, j]] = -1
        score[:, [i, j]] = -1
    return None if np.array_equal(turned, A) else turned


def is_sparse(X: Array, A: Array) -> bool:
    """Tell whether no atom's codes are less sparse than a normal variable.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        White samples.
    A : ndarray of shape (n_components, n_components)
        Rotation.

    Returns
    -------
    is_sparse : bool
        Whether the Huber norm of no code could fall by turning it into a normal one, up
        to sampling error.
    """
    rows = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    Z = rows @ A.T
    excess = np.mean(np.abs(Z) < 1, axis=0) - np.mean(np.clip(Z, -1, 1) * Z, axis=0)
    return bool(excess.min() > -2 / np.sqrt(len(rows)))


def inverse_root(X: Array) -> Array:
    """Compute the inverse root of the second moment of nearly white samples.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    root : ndarray of shape (n_features, n_features)
        Symmetric matrix.
    """
    moment = np.asarray(X.T @ X, dtype=np.float64) / len(X)
    values, vectors = np.linalg.eigh(moment)
    floor = np.finfo(X.dtype).eps * max(float(values[-1]), 1e-30)
    return np.asarray(vectors / np.sqrt(np.maximum(values, floor)) @ vectors.T)
