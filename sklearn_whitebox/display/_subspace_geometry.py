"""Bases of classes, and the principal angles between them."""

import numpy as np
from scipy.linalg import orth, svdvals

from sklearn_whitebox.display._classes import as_array

SUMMARIES = {"smallest": np.min, "mean": np.mean, "largest": np.max}


def strongest(basis, spectrum, energy):
    """Keep the first directions of a basis that hold a share of the squared norm.

    Parameters
    ----------
    basis : ndarray of shape (rank, n_features)
        Orthonormal directions, strongest first.
    spectrum : ndarray of shape (rank,)
        Singular values along them.
    energy : float
        Share of the squared norm to hold.

    Returns
    -------
    basis : ndarray of shape (dim, n_features)
        The first directions.
    """
    squares = np.asarray(spectrum, dtype=np.float64) ** 2
    held = np.cumsum(squares) / max(squares.sum(), np.finfo(np.float64).tiny)
    # The last sum differs from one by rounding.
    dim = min(int(np.searchsorted(held, energy - 1e-9)) + 1, len(squares))
    return np.asarray(basis)[: dim if squares.sum() > 0 else 0]


def class_bases(Z, y, energy):
    """Give the strongest directions of the features of each class.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Features; they are not centred.
    y : ndarray of shape (n_samples,)
        Class of each row.
    energy : float
        Share of the squared norm of a class to hold.

    Returns
    -------
    bases : list of ndarray of shape (dim, n_features)
        One for each class, in sorted order.
    """
    bases = []
    for label in np.unique(y):
        _, spectrum, basis = np.linalg.svd(Z[y == label], full_matrices=False)
        bases.append(strongest(basis, spectrum / (spectrum.max() or 1.0), energy))
    return bases


def spectral_bases(bases, spectra, energy, occurs):
    """Give the strongest directions of classes of signals at each frequency.

    Shifts of signals do not mix frequencies, so a subspace that is closed under shifts
    is a direct sum over them.

    Parameters
    ----------
    bases : list of ndarray of shape (n_frequencies, rank, n_channels)
        Complex orthonormal directions of each class.
    spectra : list of ndarray of shape (n_frequencies, rank)
        Singular values along them.
    energy : float
        Share of the squared norm of a class to hold, over all frequencies.
    occurs : ndarray of shape (n_frequencies,)
        How often each frequency occurs in the whole spectrum.

    Returns
    -------
    bases : list of list of ndarray of shape (dim, n_channels)
        Of each class, the directions at each frequency.
    """
    found = []
    for basis, spectrum in zip(bases, spectra, strict=True):
        strength = np.sqrt(occurs)[:, None] * np.asarray(spectrum, dtype=np.float64)
        order = np.argsort(-strength, axis=None, kind="stable")
        kept = strongest(order, strength.ravel()[order], energy)
        chosen = np.zeros(strength.size, dtype=bool)
        chosen[kept] = True
        chosen = chosen.reshape(strength.shape)
        found.append([rows[held] for rows, held in zip(basis, chosen, strict=True)])
    return found


def check_bases(bases):
    """Check that bases are matrices of finite numbers in one space.

    Parameters
    ----------
    bases : sequence of array-like of shape (dim, n_features)
        A basis of each subspace.

    Returns
    -------
    bases : list of ndarray of shape (dim, n_features)
        The same, as float64 or complex128.

    Raises
    ------
    ValueError
        If they are not, or there is none.
    """
    matrices = [as_array(basis) for basis in bases]
    matrices = [m.astype(np.result_type(m, np.float64)) for m in matrices]
    if not matrices:
        raise ValueError("bases is empty; give at least one basis.")
    for i, matrix in enumerate(matrices):
        if matrix.ndim != 2 or not np.isfinite(matrix).all():
            raise ValueError(
                f"bases[{i}] should be a matrix of finite numbers with a direction in "
                f"each row, not of shape {matrix.shape}."
                if matrix.ndim != 2
                else f"bases[{i}] holds NaN or infinity."
            )
        if matrix.shape[1] != matrices[0].shape[1]:
            raise ValueError(
                f"bases[{i}] has {matrix.shape[1]} features, but bases[0] has "
                f"{matrices[0].shape[1]}; subspaces of different spaces have no angles."
            )
    return matrices


def angle_matrix(bases, statistic, occurs=(1,)):
    """Summarise the principal angles of each pair of subspaces.

    Parameters
    ----------
    bases : list of list of ndarray of shape (dim, n_features)
        Of each subspace, a basis of its part in each of several orthogonal spaces.
    statistic : {"smallest", "mean", "largest"}
        Which of the angles.
    occurs : sequence of int, default=(1,)
        How many copies there are of each of the orthogonal spaces.

    Returns
    -------
    angles : ndarray of shape (n_bases, n_bases)
        In degrees; NaN where a subspace has dimension 0.
    """
    summary = SUMMARIES[statistic]
    bases = [[_orthonormal(part) for part in parts] for parts in bases]
    occurs = np.asarray(occurs, dtype=np.int64)
    dims = [int(occurs @ [len(part) for part in parts]) for parts in bases]
    angles = np.zeros((len(bases), len(bases)))
    for i, first in enumerate(bases):
        for j, second in enumerate(bases[:i]):
            found = [
                np.repeat(_principal_angles(*pair), times)
                for *pair, times in zip(first, second, occurs, strict=True)
            ]
            found = np.concatenate(found)
            # Directions without a partner in their space are orthogonal to all others.
            alone = min(dims[i], dims[j]) - len(found)
            found = np.concatenate([found, np.full(alone, 90.0)])
            angles[i, j] = angles[j, i] = summary(found) if len(found) else np.nan
        if not dims[i]:
            angles[i, i] = np.nan
    return angles


def _orthonormal(basis):
    return orth(basis.T).T if basis.size else basis


def _principal_angles(first, second):
    """Angles in degrees between two row spaces, smallest first."""
    if len(first) < len(second):
        first, second = second, first
    if not len(second):
        return np.empty(0)
    cosines = second @ first.conj().T
    # Cosines near 1 have lost half of the digits of a small angle, sines have not.
    sines = np.minimum(svdvals(second - cosines @ first)[::-1], 1)
    cosines = np.minimum(svdvals(cosines), 1)
    small = cosines**2 > 1 / 2
    return np.rad2deg(np.where(small, np.arcsin(sines), np.arccos(cosines)))
