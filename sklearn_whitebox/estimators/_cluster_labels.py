"""Small steps that clusterers share."""

import numpy as np


def unit_rows(X):
    """Scale rows to unit norm, in float32.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Finite rows of any scale.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features)
        Unit rows; zero rows stay zero.
    """
    # Scaled first by the largest entry, so that tiny numbers do not underflow.
    peaks = np.abs(X).max(axis=1, keepdims=True)
    rows = X / np.where(peaks > 0, peaks, 1)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.ascontiguousarray(rows / np.where(norms > 0, norms, 1), np.float32)


def number_by_appearance(labels):
    """Rename labels in the order in which they first occur.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Any integers.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Int32, from 0 without gaps.
    n_labels : int
        Number of different labels.
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))
    return rank[inverse.ravel()].astype(np.int32), len(first)
