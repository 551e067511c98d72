"""Refinement of complete dictionaries: threshold the codes, correct the atoms."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox.solvers._contrast import row_blocks
from sklearn_whitebox.solvers._rotations import polar_factor

Array = NDArray[Any]

# Codes are kept beyond this many standard deviations of the noise. Normal noise that
# is known to lie within them has this share of its variance.
_WIDTH = 2.5
_SHARE = 0.9112
# The threshold starts at this share of the size of large codes, above what leaks from
# one atom's codes into another's; it falls at most by this factor in a step, and not
# below so many standard deviations of what is seen to leak from the worst atom.
_START = 0.5
_FALL = 0.5
_LEAK = 5.0
# Planted atoms settle in ten to forty steps; without them nothing ever settles.
_MAX_STEPS = 60
# Moments of codes need no more rows than this.
_ENOUGH_ROWS = 2000
# Where there is noise, atoms have settled when they move by less than this share of
# their standard error, first by thresholds and then by likelihood.
_NEAR = 0.5
# Thresholds of white codes below this are no matter of noise.
_QUIET = 1e-3
_SETTLED = 0.1
_MAX_POLISH = 20
# Steps of expectation maximisation before the first by likelihood.
_MAX_EXPECTED = 100


@dataclass
class Sharpened:
    """What a refinement found.

    Parameters
    ----------
    transform : ndarray of shape (n_components, n_components)
        Matrix that takes samples to codes.
    threshold : ndarray of shape (n_components,)
        Magnitude up to which a code counts as zero.
    share : ndarray of shape (n_components,)
        Share of codes up to the threshold, by atom.
    variance : ndarray of shape (n_components,)
        Mean square of those codes.
    is_noisy : bool
        Whether the threshold has met noise, rather than fallen to zero.
    """

    transform: Array
    threshold: Array
    share: Array
    variance: Array
    is_noisy: bool


@njit(nogil=True, cache=True)
def _split(
    C: Array, threshold: Array, kept: Array, n_small: Array, power: Array
) -> None:
    """Move codes beyond the threshold to `kept`; count and measure those that stay."""
    zero = C.dtype.type(0)
    for i in range(C.shape[0]):
        for j in range(C.shape[1]):
            c = C[i, j]
            is_large = abs(c) > threshold[j]
            rest = zero if is_large else c
            kept[i, j] = c if is_large else zero
            C[i, j] = rest
            n_small[j] += not is_large
            power[j] += rest * rest


def start_threshold(codes: Array) -> Array:
    """Half the root mean square of the non-zeros, if they are normal.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
        Dense codes; at most about 2000 rows are used.

    Returns
    -------
    threshold : ndarray of shape (n_components,)
        Magnitudes.
    """
    codes = codes[:: max(1, len(codes) // _ENOUGH_ROWS)].astype(np.float64)
    squares = codes * codes
    energy = np.mean(squares, axis=0)
    fourth = np.mean(squares * squares, axis=0)
    return np.asarray(_START * np.sqrt(fourth / np.where(energy > 0, 3 * energy, 1)))


def thresholded(X: Array, transform: Array) -> Sharpened:
    """Describe codes at :func:`start_threshold`, without refinement.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        White samples.
    transform : ndarray of shape (n_components, n_components)
        Matrix that takes samples to codes.

    Returns
    -------
    result : Sharpened
        The same transform, with the share and variance of small codes.
    """
    head = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    threshold = start_threshold(head @ transform.astype(X.dtype))
    _, share, variance = _large_and_small(row_blocks(X), transform, threshold)
    return Sharpened(transform, threshold, share, variance, True)


def _large_and_small(
    blocks: list[Array], transform: Array, threshold: Array
) -> tuple[Array, Array, Array]:
    """Products of large and small codes, the share of small ones, their variance."""
    k = transform.shape[1]
    dtype = blocks[0].dtype
    T, limit = transform.astype(dtype), threshold.astype(dtype)
    products = np.zeros((k, k))
    n_small, power = np.zeros(k), np.zeros(k)
    kept = np.empty((len(blocks[0]), k), dtype=dtype)
    n_samples = 0
    for block in blocks:
        C = block @ T
        counts, squares = np.zeros(k, dtype=dtype), np.zeros(k, dtype=dtype)
        _split(C, limit, kept[: len(C)], counts, squares)
        products += kept[: len(C)].T @ C
        n_small += counts
        power += squares
        n_samples += len(C)
    return products / n_samples, n_small / n_samples, power / np.maximum(n_small, 1)


def sharpen(
    X: Array,
    transform: Array,
    *,
    threshold: Array | None = None,
    max_iter: int = _MAX_STEPS,
    tol: float = 1e-6,
) -> Sharpened:
    r"""Make small codes smaller still.

    Let the codes C of white samples be split at a threshold into large ones K and small
    ones L. If the true codes are zero where L is not, then L is what leaks from other
    atoms. Regressing it on the codes,

    .. math:: M = (C^\top C)^{-1} K^\top L \operatorname{diag}(1 - \theta)^{-1}, \quad
        C \leftarrow C - CM,

    with the share :math:`1 - \theta` of codes that are small, removes it but for second
    order. The threshold follows the spread of L down to the noise. Fixed points are
    those of alternating between thresholded codes and least-squares atoms, which gains
    only a factor :math:`\theta` per step.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        White samples.
    transform : ndarray of shape (n_components, n_components)
        Matrix that takes samples to codes, to start from.
    threshold : ndarray of shape (n_components,), default=None
        Threshold to start from; None takes :func:`start_threshold`.
    max_iter : int, default=60
        Most steps; more than 60 are never made.
    tol : float, default=1e-6
        Stop when the codes change by at most this share, or by much less than their
        standard error.

    Returns
    -------
    result : Sharpened
        The transform after the last step and the threshold for its codes; the share
        and the variance of the codes that were small before that step; and whether the
        threshold has met noise.
    """
    n_samples, k = X.shape
    blocks = row_blocks(X)
    T = np.asarray(transform, dtype=np.float64)
    if threshold is None:
        head = X[:: max(1, n_samples // _ENOUGH_ROWS)]
        threshold = start_threshold(head @ T.astype(X.dtype))
    floor = 10 * float(np.finfo(X.dtype).eps)
    share, variance = np.ones(k), np.zeros(k)
    is_noisy = False
    for _ in range(min(max_iter, _MAX_STEPS)):
        products, share, variance = _large_and_small(blocks, T, threshold)
        np.fill_diagonal(products, 0)
        M = np.linalg.solve(T.T @ T, products) / np.maximum(share, 0.1)
        step = np.sqrt(np.vdot(M, M) / k)
        T = T - T @ M
        previous = threshold
        noise = np.sqrt(variance / _SHARE)
        # What leaks is as large as codes are, however rare, and what is beyond a
        # threshold that has fallen too fast leaks for good.
        size = np.sqrt(np.sum(T * T, axis=0) / np.maximum(1 - share, 1 / n_samples))
        leak = _LEAK * np.max(np.abs(M) * size[:, None], axis=0)
        threshold = np.maximum(_WIDTH * noise, np.maximum(leak, _FALL * previous))
        threshold = np.minimum(threshold + floor, previous)
        error = np.sqrt(np.mean(variance) * k / n_samples)
        has_met = np.all(threshold > 0.9 * previous)
        is_noisy = bool(has_met and threshold.min() > _QUIET)
        if step <= tol or (is_noisy and step <= _NEAR * error):
            break
    return Sharpened(T, threshold, share, variance, is_noisy)


def polish(
    X: Array, start: Sharpened, *, orthogonal: bool = False, max_iter: int = _MAX_POLISH
) -> Sharpened:
    r"""Maximise the likelihood of codes that are zero, or normal, plus normal noise.

    A code has density :math:`(1 - \theta) N(0, \sigma^2) + \theta N(0, \tau^2)`, by
    atom. Each step updates these three by expectation maximisation, and the atoms by
    Newton's method with the Hessian that independent codes have: with the score
    :math:`\varphi` of the density, :math:`G = \mathrm{E}\,\varphi(c) c^\top`,
    :math:`v = \mathrm{E}\,c^2` and :math:`\kappa = \mathrm{E}\,\varphi(c)^2`, each pair
    of atoms solves a system of two equations.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        Samples.
    start : Sharpened
        A refinement by thresholds that has met noise.
    orthogonal : bool, default=False
        Whether the transform is and stays orthogonal.
    max_iter : int, default=20
        Most steps; they end when the atoms move by less than a tenth of their standard
        error.

    Returns
    -------
    result : Sharpened
        The refinement, with the share and variance of the noise by likelihood.
    """
    n_samples, k = X.shape
    blocks = row_blocks(X)
    T, share = start.transform, np.clip(start.share, 0.02, 0.98)
    noise = np.maximum(start.variance, np.finfo(np.float32).tiny)
    energy = np.mean(np.square(X[:: max(1, n_samples // _ENOUGH_ROWS)] @ T), axis=0)
    signal = np.maximum((energy - share * noise) / (1 - share), 2 * noise)
    squares = np.square(X[:: max(1, n_samples // 1000)] @ T.astype(X.dtype))
    for _ in range(_MAX_EXPECTED):
        before = share
        share, noise, signal = _expected(squares, share, noise, signal)
        if np.abs(share - before).max() <= 2e-3:
            break
    for _ in range(max_iter):
        sums = _responsibilities(blocks, T, share, noise, signal)
        small, quiet, energy, fisher, G = (total / n_samples for total in sums)
        share = np.clip(small, 1e-3, 1 - 1e-3)
        noise = np.maximum(quiet / share, np.finfo(np.float32).tiny)
        signal = np.maximum((energy - quiet) / (1 - share), 2 * noise)
        A = fisher[:, None] * energy
        if orthogonal:
            E = (G - G.T) / np.maximum(A + A.T - 2, 0.1)
        else:
            E = (A.T * G - G.T) / np.maximum(A * A.T - 1, 0.05)
            np.fill_diagonal(E, 0)
        E *= min(1.0, 0.5 / max(float(np.abs(E).max()), 1e-30))
        T = T - T @ E.T
        if orthogonal:
            T = polar_factor(T)
        gain = np.mean(1 / np.maximum(fisher * energy - 1, 1e-3))
        if np.vdot(E, E) <= _SETTLED**2 * k * k / n_samples * gain:
            break
    return Sharpened(T, start.threshold, share, noise, True)


def _expected(
    squares: Array, share: Array, noise: Array, signal: Array
) -> tuple[Array, Array, Array]:
    """Improve the densities of codes by expectation maximisation."""
    dtype = squares.dtype
    offset = np.log((1 - share) / share) + 0.5 * np.log(noise / signal)
    slope = 0.5 * (1 / noise - 1 / signal)
    u = offset.astype(dtype) + slope.astype(dtype) * squares
    small = 1 / (1 + np.exp(np.clip(u, -30, 30)))
    quiet = np.einsum("ij,ij->j", small, squares) / len(squares)
    share = np.clip(small.mean(axis=0).astype(np.float64), 1e-3, 1 - 1e-3)
    noise = np.maximum(quiet / share, np.finfo(np.float32).tiny)
    energy = np.mean(squares, axis=0)
    return share, noise, np.maximum((energy - quiet) / (1 - share), 2 * noise)


def _responsibilities(
    blocks: list[Array], transform: Array, share: Array, noise: Array, signal: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Sum over the samples what the next step of :func:`polish` takes."""
    k = len(share)
    dtype = blocks[0].dtype
    T = transform.astype(dtype)
    offset = (np.log((1 - share) / share) + 0.5 * np.log(noise / signal)).astype(dtype)
    slope = (0.5 * (1 / noise - 1 / signal)).astype(dtype)
    precisions = (1 / noise).astype(dtype), (1 / signal).astype(dtype)
    sums = np.zeros((4, k))
    products = np.zeros((k, k))
    for block in blocks:
        C = block @ T
        squares = C * C
        # Probability that a code is noise alone.
        small = 1 / (1 + np.exp(np.clip(offset + slope * squares, -30, 30)))
        score = precisions[1] + (precisions[0] - precisions[1]) * small
        score *= C
        sums[0] += small.sum(axis=0)
        sums[1] += np.einsum("ij,ij->j", small, squares)
        sums[2] += squares.sum(axis=0)
        sums[3] += np.einsum("ij,ij->j", score, score)
        products += score.T @ C
    return sums[0], sums[1], sums[2], sums[3], products


def procrustes(
    X: Array, atoms: Array, threshold: Array, *, max_iter: int, tol: float
) -> tuple[Array, float]:
    """Alternate hard-thresholded codes and orthogonal Procrustes solutions.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        Samples.
    atoms : ndarray of shape (n_components, n_components)
        Orthogonal start.
    threshold : ndarray of shape (n_components,)
        Threshold to start from; it falls until it meets the noise.
    max_iter : int
        Most alternations; more than 60 are never made.
    tol : float
        Stop when the atoms change by at most this, or by much less than their standard
        error.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_components)
        Orthogonal atoms.
    density : float
        Share of codes beyond the threshold.
    """
    n_samples, k = X.shape
    blocks = row_blocks(X)
    share = np.ones(k)
    floor = 10 * float(np.finfo(X.dtype).eps) * np.sqrt(np.mean(X * X))
    for _ in range(min(max_iter, _MAX_STEPS)):
        products, share, variance = _large_and_small(blocks, atoms.T, threshold)
        # K'X = K'(K + L)A, with K'K on its diagonal but for a sampling error.
        energy = np.mean(np.square(X[:_ENOUGH_ROWS] @ atoms.T), axis=0)
        kept = np.maximum(energy - share * variance, np.finfo(X.dtype).tiny)
        previous = atoms
        products /= max(0.1, float(share.mean()))
        atoms = polar_factor((np.diag(kept) + products) @ atoms)
        noise = np.sqrt(variance / _SHARE)
        falling = np.maximum(
            np.clip(_WIDTH * noise, _FALL * threshold, threshold), floor
        )
        step = np.linalg.norm(atoms - previous) / np.sqrt(k)
        error = np.sqrt(np.mean(variance / kept) * k / n_samples)
        has_met_noise = np.mean(falling) > 0.95 * np.mean(threshold)
        threshold = falling
        if step <= tol or (has_met_noise and step <= _SETTLED * error):
            break
    return atoms, float(1 - share.mean())
