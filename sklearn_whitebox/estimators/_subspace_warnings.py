"""Warnings of a fit of subspaces."""

import numpy as np

from sklearn_whitebox._warn import warn

# Median cosine between samples beyond which linear codes are warned of.
_CONE = 0.95


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
