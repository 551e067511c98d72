"""Refinements of codes that are kept only if they help, and that get unstuck."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.solvers._refine import Sharpened, sharpen, start_threshold

Array = NDArray[Any]

# Relative change of codes below which single precision has nothing more to say.
SINGLE = 1e-6
# Codes of two atoms with a larger cosine belong to one atom found twice.
_TWICE = 0.9
# Mean excess kurtosis from which codes are worth refining.
_OUTLIERS = 0.3
# Codes are sparser if their spread is less than this share of the other's.
_SPARSER = 0.999
# Rows that the sparsity of codes is measured on.
_ENOUGH_ROWS = 2000
# Atoms are stuck whose small codes have more than this share of the variance that the
# worst ones have, while there are others with less than the second share.
_STUCK = 1e-2
_FOUND = 1e-4
_MAX_RELEASED = 2


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
    tol = max(tol, SINGLE if X.dtype == np.float32 else 1e-14)
    first = transform if start is None else start.transform
    threshold = None if start is None else start.threshold
    if start is None and not has_outliers(X, transform):
        return None
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
    return found if is_sparser(X, found.transform, transform) else None


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


def has_outliers(X: Array, transform: Array) -> bool:
    """Tell whether codes have heavier tails than normal ones.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        Samples; at most about 2000 rows are used.
    transform : ndarray of shape (n_components, n_components)
        Matrix that takes samples to codes.

    Returns
    -------
    has_outliers : bool
        Whether there is something to threshold.
    """
    rows = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    squares = np.square(rows @ transform.astype(X.dtype))
    energy = np.mean(squares, axis=0)
    fourth = np.mean(squares * squares, axis=0)
    ratio = fourth / np.where(energy > 0, energy * energy, 1)
    return bool(np.mean(ratio) > 3 + _OUTLIERS)


def is_sparser(X: Array, transform: Array, reference: Array) -> bool:
    """Tell whether codes are sparser than the reference, and no two the same.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_components)
        Samples; at most about 2000 rows are used.
    transform : ndarray of shape (n_components, n_components)
        Matrix that takes samples to codes.
    reference : ndarray of shape (n_components, n_components)
        Another one.

    Returns
    -------
    is_sparser : bool
        Whether the first is better.
    """
    if not is_regular(transform):
        return False
    rows = X[:: max(1, len(X) // _ENOUGH_ROWS)]
    spreads = [_spread(rows @ T.astype(X.dtype)) for T in (transform, reference)]
    return spreads[0] < _SPARSER * spreads[1]


def is_regular(transform: Array) -> bool:
    """Tell whether codes are finite and no two of them nearly the same.

    Parameters
    ----------
    transform : ndarray of shape (n_components, n_components)
        Matrix that takes white samples to codes.

    Returns
    -------
    is_regular : bool
        Whether each atom is found once.
    """
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
