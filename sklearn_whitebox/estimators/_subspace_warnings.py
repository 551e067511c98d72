"""Warnings of a fit, at the line of its caller."""

import sys
import warnings

import numpy as np

# Median cosine between samples beyond which linear codes are warned of.
_CONE = 0.95


def warn(message, category):
    """Warn with the line of whoever called from outside of this library.

    Parameters
    ----------
    message : str
        What happened, and what to do.
    category : type
        Class of the warning.
    """
    level, frame = 1, sys._getframe()
    inside = ("sklearn_whitebox", "sklearn", "contextlib")
    while frame is not None and frame.f_globals["__name__"].split(".")[0] in inside:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def warn_of_cone(rows):
    """Warn if nearly all samples lie around one direction.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Samples in random order, of which the first thousand are looked at.
    """
    some = rows[:1000].astype(np.float64)
    norms = np.linalg.norm(some, axis=1, keepdims=True)
    some = some / np.where(norms > 0, norms, 1)
    cosines = np.abs(some @ some.T)[np.triu_indices(len(some), 1)]
    middle = np.median(cosines) if len(cosines) else 0.0
    if middle > _CONE and rows.shape[1] > 1:
        warn(
            f"The median cosine between samples is {middle:.3f}: what they have in "
            "common drowns what they differ in. Set affine=True, subtract the mean, or "
            "use method='auto'.",
            UserWarning,
        )
