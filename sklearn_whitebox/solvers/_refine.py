"""Refinement of complete dictionaries: threshold the codes, fit the atoms, repeat."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._atoms import unit_rows

Array = NDArray[Any]

# Codes are kept beyond this many standard deviations of the noise, and this is the
# share of a normal variable's variance that lies within them.
_WIDTH = 2.5
_SHARE = 0.9112
# The threshold starts at this share of the size of large codes, above what leaks from
# one atom's codes into another's, and falls by this factor until it meets the noise.
_START = 0.5
_DECAY = 0.7
# Planted atoms settle in twenty to fifty steps; without them nothing ever settles.
_MAX_STEPS = 60
# A quantile and a variance need no more rows than this.
_ENOUGH_ROWS = 2000


def noise_scale(codes: Array, threshold: Array, n_steps: int = 4) -> Array:
    """Estimate, per atom, the spread of the codes that should be zero.

    Codes are taken as a mixture of a narrow normal distribution and of rarer large
    values. The variance of those within 2.5 standard deviations, corrected for the
    truncation, is iterated to a fixed point.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        Dense codes.
    threshold : ndarray of shape (n_components,)
        Magnitude beyond which codes are not noise.
    n_steps : int, default=4
        Fixed-point steps.

    Returns
    -------
    scale : ndarray of shape (n_components,)
        Standard deviations.
    """
    magnitudes = np.abs(codes[:: max(1, len(codes) // _ENOUGH_ROWS)])
    scale = np.minimum(threshold / _WIDTH, np.median(magnitudes, axis=0) / 0.6745)
    for _ in range(n_steps):
        within = magnitudes <= _WIDTH * scale
        power = np.sum(np.where(within, magnitudes, 0) ** 2, axis=0)
        scale = np.sqrt(power / np.maximum(within.sum(0), 1) / _SHARE)
    return np.asarray(scale)


def refine_orthogonal(X: Array, atoms: Array, *, max_iter: int, tol: float) -> Array:
    """Alternate hard-thresholded codes and orthogonal Procrustes solutions.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        Samples.
    atoms : ndarray of shape (n_components, n_components)
        Orthogonal start.
    max_iter : int
        Most alternations; more than 60 are never made.
    tol : float
        Stop when the atoms change by at most the square of this per atom.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_components)
        Orthogonal atoms with sparser codes, or the start if there are none.
    """

    def fit(codes: Array, previous: Array) -> Array:
        U, _, Vt = np.linalg.svd(codes.T @ X)
        return U @ Vt

    return _alternate(X, atoms, lambda D: X @ D.T, fit, max_iter, tol)


def refine_complete(X: Array, atoms: Array, *, max_iter: int, tol: float) -> Array:
    """Alternate hard-thresholded codes and least-squares atoms of unit norm.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        Samples.
    atoms : ndarray of shape (n_components, n_components)
        Invertible start.
    max_iter : int
        Most alternations; more than 60 are never made.
    tol : float
        Stop when the atoms change by at most the square of this per atom.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_components)
        Unit atoms with sparser codes, or the start if there are none.
    """

    def fit(codes: Array, previous: Array) -> Array:
        gram = codes.T @ codes
        # Atoms whose codes were all cut keep their place.
        unused = np.diag(gram) <= 0
        gram[unused, unused] = 1
        target = codes.T @ X
        target[unused] = previous[unused]
        return unit_rows(np.linalg.solve(gram, target))

    return _alternate(X, atoms, lambda D: X @ np.linalg.inv(D), fit, max_iter, tol)


def _alternate(
    X: Array,
    atoms: Array,
    encode: Callable[[Array], Array],
    fit: Callable[[Array, Array], Array],
    max_iter: int,
    tol: float,
) -> Array:
    enough = max(tol * tol, 4 * float(np.finfo(X.dtype).eps)) * np.sqrt(len(atoms))
    D = atoms
    try:
        codes = encode(D)
        before = _spread(codes)
        squares = codes * codes
        # Root mean square of the non-zeros of Bernoulli-Gaussian codes.
        energy = np.mean(squares, axis=0)
        fourth = np.mean(squares * squares, axis=0)
        size = np.sqrt(fourth / np.where(energy > 0, 3 * energy, 1))
        threshold = _START * size
        for _ in range(min(max_iter, _MAX_STEPS)):
            floor = _WIDTH * noise_scale(codes, threshold)
            kept = np.where(np.abs(codes) > threshold, codes, 0)
            threshold = np.maximum(_DECAY * threshold, floor)
            previous, D = D, fit(kept, D)
            codes = encode(D)
            if np.linalg.norm(D - previous) <= enough:
                break
    except np.linalg.LinAlgError:  # atoms became dependent: too few samples
        return atoms
    return D if np.isfinite(codes).all() and _spread(codes) < before else atoms


def _spread(codes: Array) -> float:
    """Mean over atoms of the ℓ1 norm per unit of ℓ2 norm: smaller is sparser."""
    size = np.sqrt(np.mean(codes * codes, axis=0))
    return float(np.mean(np.mean(np.abs(codes), axis=0) / np.where(size > 0, size, 1)))
