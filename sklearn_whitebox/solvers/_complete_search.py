"""Stages of the search for a complete dictionary: rotate, sharpen, turn."""

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._atoms import unit_rows
from sklearn_whitebox.solvers._contrast import (
    NORMAL_HUBER,
    huber_rotation,
    inverse_root,
    is_sparse,
    untangled,
)
from sklearn_whitebox.solvers._lasso_encode import lasso_encode
from sklearn_whitebox.solvers._online_dictionary import learn_dictionary_online
from sklearn_whitebox.solvers._refine import (
    Sharpened,
    polish,
    procrustes,
    start_threshold,
    thresholded,
)
from sklearn_whitebox.solvers._refine_checked import (
    SINGLE,
    has_outliers,
    is_sparser,
    refined,
)
from sklearn_whitebox.solvers._rotations import haar_orthogonal, polar_factor
from sklearn_whitebox.solvers._sparsity import Watch

Array = NDArray[Any]

# The refinement takes over from the rotation once no atom moves by more than this.
_HANDOVER = 1e-2
# It sees at least so many rows, or all.
_FEWEST = 1000
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
_FEW_CODED = 500
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
    watch: Watch,
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
    watch : Watch
        Called after each iteration of any start; at least one must be left.

    Returns
    -------
    rotated : Rotated
        The rotation.
    """
    n_samples, k = X.shape
    enough = max(_FEWEST, 40 * k, k * k // 2)
    stages = [(X, np.eye(k), max(tol, _HANDOVER) if refine else tol, max_iter)]
    if n_samples > 1.5 * enough:
        chosen = X[generator.choice(n_samples, enough, replace=False)]
        # Newton's step supposes that the very rows it sees are white.
        whitening = inverse_root(chosen)
        stages.insert(
            0, (chosen, whitening, max(tol, _HANDOVER), max(1, max_iter // 2))
        )
    found = Rotated(np.eye(k))
    for rows, whitening, enough_change, most in stages:
        if not watch.left:
            break
        white = rows if rows is X else rows @ whitening.astype(X.dtype)
        most = min(most, max(1, max_iter - len(found.objective)))
        A, curve, found.converged = _rotate_on(
            white, starts, generator, max_iter=most, tol=enough_change, watch=watch
        )
        found.transform = whitening @ A.T.astype(np.float64)
        found.objective += curve
        starts = [A]
        if refine and found.converged:
            found.sharpened = refined(rows, found.transform, max_iter=max_iter)
            found.saw_all = rows is X
            if found.sharpened is not None:
                break
        left = min(max_iter - len(found.objective), watch.left)
        if refine and rows is X and tol < enough_change and left > 0:
            A, curve, found.converged = huber_rotation(
                X,
                A,
                max_iter=left,
                tol=tol,
                callback=watch,
                # Steps that never raise the norm leave codes that are least sparse.
                patience=0 if is_sparse(X, A) else max_iter,
            )
            found.transform = A.T.astype(np.float64)
            found.objective += curve
    return found


def _rotate_on(
    X: Array,
    starts: list[Array],
    generator: np.random.Generator,
    *,
    max_iter: int,
    tol: float,
    watch: Watch,
) -> tuple[Array, list[float], bool]:
    """Rotate from the best start, and again from where atoms are mixed or not sparse.

    At least one iteration must be left; none is made after the watch has stopped.
    """
    turn = partial(huber_rotation, X, tol=tol, callback=watch)
    runs = []
    for start in starts:
        if watch.left:
            runs.append(turn(start, max_iter=min(max_iter, watch.left)))
    A, curve, converged = max(runs, key=lambda run: run[1][-1])
    for _ in range(_MAX_UNTANGLED):
        apart = untangled(X, A) if converged and watch.left else None
        if apart is None:
            break
        A, more, converged = turn(apart, max_iter=min(max_iter, watch.left))
        curve = curve + more
    if converged and watch.left and not is_sparse(X, A):
        # Newton's step also ends where codes are least sparse.
        start = haar_orthogonal(X.shape[1], generator)
        most = min(max_iter, watch.left)
        other, more, settled = turn(start, max_iter=most, patience=0)
        if settled and more[-1] > max(curve[-1], -NORMAL_HUBER * X.shape[1]):
            A, curve = other, curve + more
    return A, curve, converged and not watch.is_stopped


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
        if found.converged and _noise_grows(single, atoms, raw, transform):
            return *_coded_atoms(single, atoms, raw, roots, generator), False
        return atoms, None, False
    density = float(1 - sharp.share.mean())
    if not oblique:
        atoms = _orthogonal_atoms(single, sharp, roots, max_iter, tol)
        return atoms, density, _is_exact(sharp)
    if not sharp.is_noisy:
        if tol < SINGLE and X is not single:
            sharp = refined(X, transform, sharp, max_iter=max_iter, tol=tol) or sharp
    elif _noise_grows(single, atoms_of(sharp.transform, roots), sharp, transform):
        atoms = atoms_of(transform, roots)
        return *_coded_atoms(single, atoms, sharp, roots, generator), False
    else:
        sharp = polish(single, sharp)
        if not is_sparser(single, sharp.transform, transform):
            return atoms_of(transform, roots), None, False
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
) -> tuple[Array, float]:
    """Atoms and density by lasso codes, in which noise does not grow."""
    # Noise of one variance in all directions makes that of codes T'diag(roots)⁻²T.
    growth = np.sum((sharp.transform / roots[:, None]) ** 2, axis=0)
    sigma = min(float(np.sqrt(np.median(sharp.variance / growth))), float(roots.min()))
    n_samples, k = single.shape
    enough = max(_ENOUGH_CODED, 100 * k)
    if n_samples > enough:
        single = single[generator.choice(n_samples, enough, replace=False)]
    alpha = _LASSO_WIDTH * sigma
    single = single * roots.astype(np.float32)
    result = learn_dictionary_online(
        single,
        atoms.astype(np.float32),
        alpha=alpha,
        max_iter=_CODED_EPOCHS,
        tol=1e-3,
        generator=generator,
    )
    atoms = unit_rows(result.solution["components"])
    codes = lasso_encode(single[:_FEW_CODED], atoms, alpha=alpha).solution
    return atoms.astype(np.float64), float(np.mean(codes != 0))


def _is_exact(sharp: Sharpened) -> bool:
    return bool(sharp.variance.max() <= _EXACT)


def _noise_grows(X: Array, atoms: Array, sharp: Sharpened, transform: Array) -> bool:
    """Whether noise in linear codes harms oblique atoms more than sampling does.

    Least squares on codes with noise of variance v is biased by about v, and has a
    standard error of about the root of v k / n. Codes by the rotation must be sparse.
    """
    inverse = np.linalg.inv(atoms)
    growth = float(np.mean(np.sum(inverse * inverse, axis=0)))
    n_samples, k = X.shape
    noise = float(np.mean(sharp.variance / np.sum(sharp.transform**2, axis=0)))
    is_large = growth > _GROWTH and noise > 0.25 * k / n_samples
    return is_large and has_outliers(X, transform)


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
    if is_sparser(X, found.T, atoms.T):
        return found, density
    return atoms, None
