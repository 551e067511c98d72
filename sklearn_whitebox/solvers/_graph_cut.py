"""Cut an affinity graph into clusters, however many components it has."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox.solvers._spectral import SpectralPairs, spectral_embedding
from sklearn_whitebox.solvers._subspaces import merge_by_coding_length

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Assign = Callable[..., Indices]

# A component below this share of the mean cluster is debris of the graph rather than
# a cluster.
_DEBRIS = 0.1


def cut_graph(
    X: Array,
    affinity: sparse.csr_array,
    groups: list[Indices],
    n_clusters: int,
    *,
    assign: Assign,
    distortion: float,
    seed: int = 0,
    weights: Array | None = None,
    pairs: SpectralPairs | None = None,
) -> Indices:
    """Label the samples of a graph by its components and spectral embedding.

    Up to `n_clusters` components are embedded together and the embedding is cut. Of
    more components, those that are debris are left out, large ones are cut in
    proportion to their size, and the parts are merged by coding length.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric affinity.
    groups : list of ndarray
        Members of each component; a group of one is a cluster of its own.
    n_clusters : int
        Clusters wanted.
    assign : callable
        Called with an embedding and a number of clusters, and with weights if there are
        any, returns labels from 0.
    distortion : float
        Allowed mean squared error per sample, for merging.
    seed : int, default=0
        Seed of the eigensolver.
    weights : ndarray of shape (n_samples,), default=None
        Weights of the samples, for `assign`.
    pairs : SpectralPairs, default=None
        Eigenpairs of the graph, if known; enough of them for `n_clusters`.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        From 0; -1 for samples outside the groups and for debris.
    """

    def assigned(embedding: Array, members: Indices, n_parts: int) -> Indices:
        if weights is None:
            return assign(embedding[members], n_parts)
        return assign(embedding[members], n_parts, weights[members])

    labels = np.full(len(affinity.indptr) - 1, -1)
    alone = any(len(group) < 2 for group in groups)
    if len(groups) == n_clusters or (alone and len(groups) < n_clusters):
        for k, group in enumerate(groups):
            labels[group] = k
        return labels
    if len(groups) < n_clusters:
        if groups:
            inside = np.concatenate(groups)
            embedding, _ = spectral_embedding(
                affinity, n_clusters, components=groups, seed=seed, pairs=pairs
            )
            labels[inside] = assigned(embedding, inside, n_clusters)
        return labels
    smallest = _DEBRIS * sum(map(len, groups)) / n_clusters
    large = [group for group in groups if len(group) >= smallest]
    if sum(map(len, large)) < n_clusters:
        large = groups
    total = sum(map(len, large))
    n_parts = 0
    for group in large:
        share = min(int(np.ceil(n_clusters * len(group) / total)), len(group))
        labels[group] = n_parts
        if share > 1:
            embedding, _ = spectral_embedding(
                affinity, share, components=[group], seed=seed
            )
            labels[group] += assigned(embedding, group, share)
        n_parts = int(labels.max()) + 1
    return merge_by_coding_length(X, labels, n_clusters, distortion=distortion)


def noise_level(X: Array, codes: sparse.csr_array) -> float:
    """Estimate the squared error that a code of the samples need not resolve.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    codes : csr_array of shape (n_samples, n_samples)
        Their self-expressive codes.

    Returns
    -------
    distortion : float
        Median squared residual of the samples from the multiples of what their codes
        make, at least a hundredth of the mean squared norm: without noise the median is
        rounding, which would price every direction. Codes by closed forms are cut off
        or mere similarities, so that their length says nothing.
    """
    fitted = codes @ X
    along = np.einsum("ij,ij->i", fitted, X)
    own = np.einsum("ij,ij->i", fitted, fitted)
    scale = np.maximum(along, 0) / np.where(own > 0, own, 1)
    residual = X - scale[:, None] * fitted
    noise = np.median(np.einsum("ij,ij->i", residual, residual))
    energy = np.einsum("ij,ij->i", X, X).mean(dtype=np.float64)
    return float(max(noise, 0.01 * energy, np.finfo(X.dtype).tiny))
