"""Stages of the search for a complete dictionary: rotate, sharpen, turn."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._atoms import unit_rows
from sklearn_whitebox.solvers._contrast import huber_rotation
from sklearn_whitebox.solvers._online_dictionary import learn_dictionary_online
from sklearn_whitebox.solvers._refine import (
    Sharpened,
    polish,
    procrustes,
    sharpen,
    start_threshold,
    thresholded,
)
from sklearn_whitebox.solvers._rotations import polar_factor

Array = NDArray[Any]

# The refinement takes over from the rotation once no atom moves by more than this.
_HANDOVER = 1e-2
# Relative change of codes below which single precision has nothing more to say.
_SINGLE = 1e-6
# Codes of two atoms with a larger cosine belong to one atom found twice.
_TWICE = 0.9
# Rows that the sparsity of codes is measured on.
_ENOUGH_ROWS = 2000
# Growth of the variance of noise, in linear codes, from which atoms are so oblique that
# lasso codes serve better.
_GROWTH = 1.5
# These take this weight in standard deviations of the noise, and at least so many
# samples, so many times.
_LASSO_WIDTH = 2.0
_ENOUGH_CODED = 5000
_CODED_EPOCHS = 4
# Atoms are stuck whose small codes have more than this share of the variance that the
# worst ones have, while there are others with less than the second share.
_STUCK = 1e-2
_FOUND = 1e-4
_MAX_RELEASED = 2
# Variance of small codes, of all atoms, that vanishes.
_EXACT = 1e-4
# Times that pairs of atoms are told apart.
_MAX_UNTANGLED = 3


@dataclass
class Rotated:
    """Codes found by a rotation, and how.

    Parameters
    ----------
    transform : ndarray of shape (n_components, n_components)
        Rotation that takes samples to codes.
    objective : list of float
        After each iteration.
    converged : bool
        Whether the rotation settled.
    sharpened : Sharpened or None
        The refinement on the same rows, if it made codes sparser.
    saw_all : bool
        Whether these were all rows.
    """

    transform: Array
    objective: list[float] = field(default_factory=list)
    converged: bool = False
    sharpened: Sharpened | None = None
    saw_all: bool = False


def rotate(
    X: Array,
    starts: list[Array],
    *,
    generator: np.random.Generator,
    refine: bool,
    max_iter: int,
    tol: float,
    callback: Callable[[int, float], Any] | None = None,
) -> Rotated:
    """Rotate white samples by :func:`huber_rotation`, on some rows first.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        White samples.
    starts : list of ndarray of shape (n_components, n_components)
        Orthogonal matrices; the best by objective is kept.
    generator : numpy.random.Generator
        Source of the choice of rows.
    refine : bool
        Whether to be content with some rows where :func:`sharpen` makes their codes
        sparser.
    max_iter : int
        Most iterations per start.
    tol : float
        Stop when no row moves by more than this, or 0.01 if `refine`.
    callback : callable, default=None
        Called as ``callback(iteration, objective)``; stops the loop if it returns True.

    Returns
    -------
    rotated : Rotated
        The rotation.
    """
    n_samples, k = X.shape
    enough = max(40 * k, k * k // 2)
    stages = [(X, np.eye(k), max(tol, _HANDOVER) if refine else tol, max_iter)]
    if n_samples > 1.5 * enough:
        chosen = X[generator.choice(n_samples, enough, replace=False)]
        # Newton's step supposes that the very rows it sees are white.
        whitening = _inverse_root(chosen)
        stages.insert(
            0, (chosen, whitening, max(tol, _HANDOVER), max(1, max_iter // 2))
        )
    found = Rotated(np.eye(k))
    for rows, whitening, enough_change, most in stages:
        white = rows if rows is X else rows @ whitening.astype(X.dtype)
        runs = [
            huber_rotation(
                white,
                start,
                max_iter=min(most, max(1, max_iter - len(found.objective))),
                tol=enough_change,
                callback=callback,
                first=len(found.objective),
            )
            for start in starts
        ]
        A, curve, found.converged = max(runs, key=lambda run: run[1][-1])
        for _ in range(_MAX_UNTANGLED if found.converged else 0):
            start = untangled(white, A)
            if start is None:
                break
            A, more, found.converged = huber_rotation(
                white, start, max_iter=most, tol=enough_change, callback=callback
            )
            curve = curve + more
        found.transform = whitening @ A.T.astype(np.float64)
        found.objective += curve
        starts = [A]
        if refine and found.converged:
            found.sharpened = refined(rows, found.transform, max_iter=max_iter)
            found.saw_all = rows is X
            if found.sharpened is not None:
                break
    return found


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


def _inverse_root(X: Array) -> Array:
    """Inverse root of the second moment of nearly white samples."""
    moment = np.asarray(X.T @ X, dtype=np.float64) / len(X)
    values, vectors = np.linalg.eigh(moment)
    floor = np.finfo(X.dtype).eps * max(float(values[-1]), 1e-30)
    return np.asarray(vectors / np.sqrt(np.maximum(values, floor)) @ vectors.T)


def refined(
    X: Array,
    transform: Array,
    start: Sharpened | None = None,
    *,
    max_iter: int,
    tol: float = 0.0,
) -> Sharpened | None:
    """Sharpen codes, if that makes them sparser.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        White samples.
    transform : ndarray of shape (n_components, n_components)
        Matrix that takes samples to the codes to be improved upon.
    start : Sharpened, default=None
        A refinement of `transform` to start from.
    max_iter : int
        Most steps.
    tol : float, default=0.0
        As in :func:`sharpen`; no less than what the precision of `X` resolves.

    Returns
    -------
    sharpened : Sharpened or None
        The refinement.
    """
    tol = max(tol, _SINGLE if X.dtype == np.float32 else 1e-14)
    first = transform if start is None else start.transform
    threshold = None if start is None else start.threshold
    try:
        found = sharpen(X, first, threshold=threshold, max_iter=max_iter, tol=tol)
        for _ in range(_MAX_RELEASED):
            stuck = found.variance > _STUCK * found.variance.max()
            if found.is_noisy or found.variance.min() > _FOUND * found.variance.max():
                break
            released, threshold = _released(X, found, stuck)
            found = sharpen(
                X, released, threshold=threshold, max_iter=max_iter, tol=tol
            )
    except np.linalg.LinAlgError:  # codes became dependent: too few samples
        return None
    return found if _is_sparser(X, found.transform, transform) else None


def _released(X: Array, found: Sharpened, stuck: Array) -> tuple[Array, Array]:
    """Start atoms that are stuck anew, uncorrelated with those found exactly."""
    T, threshold = found.transform.copy(), found.threshold.copy()
    good, bad = T[:, ~stuck], T[:, stuck]
    bad = bad - good @ np.linalg.lstsq(good, bad, rcond=None)[0]
    U, _, Vt = np.linalg.svd(bad, full_matrices=False)
    T[:, stuck] = U @ Vt
    head = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    threshold[stuck] = start_threshold(head @ T[:, stuck].astype(X.dtype))
    return T, threshold


def _is_sparser(X: Array, transform: Array, reference: Array) -> bool:
    """Whether codes are sparser than the reference, and no two of them the same."""
    if not _is_regular(transform):
        return False
    rows = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    spreads = [_spread(rows @ T.astype(X.dtype)) for T in (transform, reference)]
    return spreads[0] < spreads[1]


def _is_regular(transform: Array) -> bool:
    """Whether codes are finite and no two of them nearly the same."""
    if not np.isfinite(transform).all():
        return False
    gram = transform.T @ transform
    norms = np.sqrt(np.diag(gram))
    if not (norms > 0).all():
        return False
    cosines = np.abs(gram / np.outer(norms, norms)) - np.eye(len(gram))
    return bool(cosines.max() < _TWICE)


def _spread(codes: Array) -> float:
    """Mean over atoms of the ℓ1 norm per unit of ℓ2 norm: smaller is sparser."""
    size = np.sqrt(np.mean(codes * codes, axis=0))
    return float(np.mean(np.mean(np.abs(codes), axis=0) / np.where(size > 0, size, 1)))


def refined_atoms(
    X: Array,
    single: Array,
    found: Rotated,
    roots: Array,
    *,
    oblique: bool,
    max_iter: int,
    tol: float,
    generator: np.random.Generator,
) -> tuple[Array, float | None, bool]:
    """Refine atoms found by a rotation of white samples.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        White samples.
    single : ndarray of shape (n_samples, n_components)
        The same in single precision.
    found : Rotated
        The rotation.
    roots : ndarray of shape (n_components,)
        What each column was divided by to make it white.
    oblique : bool
        Whether atoms need not be orthogonal.
    max_iter : int
        Most steps of a refinement.
    tol : float
        Relative change of codes that is small enough.
    generator : numpy.random.Generator
        Source of the order of samples where they are coded.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_components)
        Unit atoms, before the samples were made white.
    density : float or None
        Share of codes that are not zero, or None if no refinement was kept.
    is_exact : bool
        Whether the small codes vanish.
    """
    transform = found.transform
    sharp = found.sharpened
    if not found.saw_all or sharp is None:
        sharp = refined(single, transform, sharp, max_iter=max_iter, tol=tol)
    if sharp is None:
        atoms = atoms_of(transform, roots)
        if not oblique:
            return polar_factor(atoms), None, False
        raw = thresholded(single, transform)
        if found.converged and _noise_grows(single, atoms, raw):
            return _coded_atoms(single, atoms, raw, roots, generator), None, False
        return atoms, None, False
    density = float(1 - sharp.share.mean())
    if not oblique:
        atoms = _orthogonal_atoms(single, sharp, roots, max_iter, tol)
        return atoms, density, _is_exact(sharp)
    if not sharp.is_noisy:
        if tol < _SINGLE and X is not single:
            sharp = refined(X, transform, sharp, max_iter=max_iter, tol=tol) or sharp
    elif _noise_grows(single, atoms_of(sharp.transform, roots), sharp):
        atoms = atoms_of(transform, roots)
        atoms = _coded_atoms(single, atoms, sharp, roots, generator)
        return atoms, density, False
    else:
        polished = polish(single, sharp)
        if _is_regular(polished.transform):
            sharp = polished
            density = float(1 - sharp.share.mean())
    return atoms_of(sharp.transform, roots), density, _is_exact(sharp)


def atoms_of(transform: Array, roots: Array) -> Array:
    """Find the unit atoms of codes that are linear in white samples.

    Parameters
    ----------
    transform : ndarray of shape (n_components, n_components)
        Takes white samples to codes.
    roots : ndarray of shape (n_components,)
        What each column was divided by to make it white.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_components)
        Unit rows.
    """
    return unit_rows(np.linalg.inv(transform) * roots)


def _orthogonal_atoms(
    single: Array, sharp: Sharpened, roots: Array, max_iter: int, tol: float
) -> Array:
    raw = np.linalg.inv(sharp.transform) * roots
    norms = np.linalg.norm(raw, axis=1)
    atoms = polar_factor(raw / norms[:, None])
    single = single * roots.astype(np.float32)
    if sharp.is_noisy:
        start = replace(sharp, transform=atoms.T, variance=sharp.variance * norms**2)
        return polish(single, start, orthogonal=True).transform.T
    threshold = sharp.threshold * norms
    return procrustes(single, atoms, threshold, max_iter=max_iter, tol=tol)[0]


def _coded_atoms(
    single: Array,
    atoms: Array,
    sharp: Sharpened,
    roots: Array,
    generator: np.random.Generator,
) -> Array:
    """Atoms by lasso codes, in which noise does not grow as in linear ones."""
    # Noise of one variance in all directions makes that of codes T'diag(roots)⁻²T.
    growth = np.sum((sharp.transform / roots[:, None]) ** 2, axis=0)
    sigma = min(float(np.sqrt(np.median(sharp.variance / growth))), float(roots.min()))
    n_samples, k = single.shape
    enough = max(_ENOUGH_CODED, 100 * k)
    if n_samples > enough:
        single = single[generator.choice(n_samples, enough, replace=False)]
    result = learn_dictionary_online(
        single * roots.astype(np.float32),
        atoms.astype(np.float32),
        alpha=_LASSO_WIDTH * sigma,
        max_iter=_CODED_EPOCHS,
        tol=1e-3,
        generator=generator,
    )
    return unit_rows(result.solution["components"].astype(np.float64))


def _is_exact(sharp: Sharpened) -> bool:
    return bool(sharp.variance.max() <= _EXACT)


def _noise_grows(X: Array, atoms: Array, sharp: Sharpened) -> bool:
    """Whether noise in linear codes harms oblique atoms more than sampling does.

    Least squares on codes with noise of variance v is biased by about v, and has a
    standard error of about the root of v k / n.
    """
    inverse = np.linalg.inv(atoms)
    growth = float(np.mean(np.sum(inverse * inverse, axis=0)))
    n_samples, k = X.shape
    noise = float(np.mean(sharp.variance / np.sum(sharp.transform**2, axis=0)))
    return growth > _GROWTH and noise > 0.25 * k / n_samples


def turned(
    X: Array, atoms: Array, *, max_iter: int, tol: float
) -> tuple[Array, float | None]:
    """Refine orthogonal atoms, if that makes codes sparser.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        Samples.
    atoms : ndarray of shape (n_components, n_components)
        Orthogonal atoms.
    max_iter : int
        Most steps.
    tol : float
        As in :func:`procrustes`.

    Returns
    -------
    atoms : ndarray of shape (n_components, n_components)
        Orthogonal atoms.
    density : float or None
        Share of codes that are not zero, or None if the start is returned.
    """
    head = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    threshold = start_threshold(head @ atoms.T.astype(X.dtype))
    found, density = procrustes(X, atoms, threshold, max_iter=max_iter, tol=tol)
    if _is_sparser(X, found.T, atoms.T):
        return found, density
    return atoms, None
