"""Number of clusters by coding length."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.functional import segmentation_coding_length

Array = NDArray[np.floating]
Indices = NDArray[np.int64]


def leading_coordinates(X: Array, n_components: int) -> Array:
    """Give the coordinates of rows in their leading principal directions.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows; nothing is subtracted.
    n_components : int
        Most directions.

    Returns
    -------
    coordinates : ndarray of shape (n_samples, n_kept)
        In float64; `n_kept` is at most the number of rows and of features.

    Notes
    -----
    Costs O(n d min(n, d)).
    """
    wide = X.astype(np.float64)
    if len(X) >= X.shape[1]:
        _, vectors = np.linalg.eigh(wide.T @ wide)
        return np.asarray(wide @ vectors[:, ::-1][:, :n_components])
    values, vectors = np.linalg.eigh(wide @ wide.T)
    scale = np.sqrt(np.maximum(values, 0))[::-1][:n_components]
    return np.asarray(vectors[:, ::-1][:, :n_components] * scale)


def choose_cut(
    Z: Array,
    cut: Callable[[int], Indices],
    candidates: Iterable[int],
    *,
    distortion: float,
    code_mean: bool = False,
) -> tuple[Indices, Array]:
    """Cut into each number of clusters and keep the cut with the shortest code.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Rows, or features of them, that are coded.
    cut : callable
        Gives labels for a number of clusters; negative ones are left out of the code.
    candidates : iterable of int
        Numbers to try.
    distortion : float
        Allowed mean squared error per sample of the code.
    code_mean : bool, default=False
        Code the mean of each cluster apart.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Labels of the best cut; of equal ones the first.
    path : ndarray of shape (n_candidates, 2)
        Number of clusters and coding length in nats, a row for each candidate.

    References
    ----------
    .. [1] Chu, Tong, Ding, Dai, Haeffele, Vidal, Ma (2024). Image clustering via the
       principle of rate reduction in the age of pretrained models. ICLR.
    """
    path = []
    best = np.zeros(len(Z), np.int64)
    shortest = np.inf
    wide = Z.astype(np.float64)
    for n_clusters in candidates:
        labels = cut(n_clusters)
        inside = labels >= 0
        length = segmentation_coding_length(
            wide[inside], labels[inside], distortion=distortion, code_mean=code_mean
        )
        path.append((n_clusters, length))
        if length < shortest:
            best, shortest = labels, length
    return best, np.array(path, dtype=np.float64).reshape(-1, 2)
