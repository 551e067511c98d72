"""Steps from an affinity graph to the clusters of subspaces."""

import numpy as np
from scipy import sparse
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.neighbors import NearestNeighbors

from sklearn_whitebox.solvers._copies import distinct_rows
from sklearn_whitebox.solvers._spectral import pivoted_qr_labels

# Samples up to which k-means also starts from a hierarchy, whose cost is quadratic.
_HIERARCHY_SIZE = 2000

# Links from each component to others, and the weight of the shortest of them in units
# of the strongest edge.
_BRIDGES = 5
_BRIDGE_WEIGHT = 1e-3


def prepare_rows(X, affine, offset, constant, normalize):
    """Centre, append the constant coordinate and scale to unit norm, as asked.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    affine : bool
        Whether to subtract `offset` and append `constant`.
    offset : ndarray of shape (n_features,)
        Mean of the training samples.
    constant : float
        Value of the further coordinate.
    normalize : bool
        Whether to scale to unit norm.

    Returns
    -------
    rows : ndarray of shape (n_samples, n_features) or (n_samples, n_features + 1)
        Prepared samples.
    """
    if affine:
        column = np.full((len(X), 1), constant, X.dtype)
        X = np.hstack([X - offset.astype(X.dtype), column])
    if not normalize:
        return np.ascontiguousarray(X)
    # Scaled first by the largest entry, so that tiny numbers do not underflow.
    peaks = np.abs(X).max(axis=1, keepdims=True)
    X = X / np.where(peaks > 0, peaks, 1)
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return np.ascontiguousarray(X / np.where(norms > 0, norms, 1))


def affine_frame(X, weights, scale):
    """Find the mean and the constant that make affine subspaces linear ones.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    weights : ndarray of shape (n_samples,)
        Their weights.
    scale : float
        The constant in units of the median norm of the centred samples.

    Returns
    -------
    offset : ndarray of shape (n_features,)
        Mean.
    constant : float
        Positive.
    """
    peak = float(np.abs(X).max()) or 1.0
    mean = np.average(X / peak, axis=0, weights=weights)
    offset = (mean * peak).astype(X.dtype)
    centered = X / peak - mean
    widest = np.abs(centered).max() or 1
    norms = np.linalg.norm(centered / widest, axis=1)
    typical = float(peak * widest * np.median(norms))
    return offset, scale * typical if typical > 0 else 1.0


class Assigner:
    """Cut a spectral embedding into clusters.

    Parameters
    ----------
    kind : {"kmeans", "cluster_qr"}
        By k-means, or by a pivoted QR factorisation.
    n_init : int
        Starts of k-means.
    seed : int
        Their seed.
    """

    def __init__(self, kind, n_init, seed):
        self.kind, self.n_init, self.seed = kind, n_init, seed

    def __call__(self, embedding, n_clusters, weights):
        if self.kind == "cluster_qr":
            return pivoted_qr_labels(embedding, n_clusters)
        if n_clusters == 1:
            return np.zeros(len(embedding), np.int64)
        kmeans = KMeans(n_clusters, n_init=self.n_init, random_state=self.seed)
        best = kmeans.fit(embedding, sample_weight=weights)
        if n_clusters < len(embedding) <= _HIERARCHY_SIZE:
            # Random starts miss the optimum where clusters are many; a hierarchy gives
            # one that does not depend on the seed.
            tree = AgglomerativeClustering(n_clusters).fit_predict(embedding)
            centers = [
                np.average(embedding[tree == k], axis=0, weights=weights[tree == k])
                for k in range(n_clusters)
            ]
            other = KMeans(n_clusters, init=np.array(centers), n_init=1)
            other.fit(embedding, sample_weight=weights)
            if other.inertia_ < best.inertia_:
                best = other
        return best.labels_


def join_opposites(rows, labels):
    """Give rows that are equal up to their sign the label of the first of them.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Prepared samples.
    labels : ndarray of shape (n_samples,)
        Clusters.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Clusters.
    """
    first, inverse, _ = distinct_rows(rows)
    return labels[first][inverse]


def number_by_weight(labels, weights):
    """Rename labels by falling weight of their clusters.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Non-negative integers.
    weights : ndarray of shape (n_samples,)
        Weights.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Int32, from 0 without gaps.
    n_labels : int
        Number of different labels.
    """
    names, inverse = np.unique(labels, return_inverse=True)
    totals = np.bincount(inverse, weights=weights)
    rank = np.argsort(np.argsort(-totals, kind="stable"))
    return rank[inverse].astype(np.int32), len(names)


def bridge_components(affinity, X, components):
    """Connect each component of a graph with what is nearest outside of it.

    Parameters
    ----------
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric affinity.
    X : ndarray of shape (n_samples, n_features)
        Samples.
    components : list of ndarray
        Components of `affinity`.

    Returns
    -------
    affinity : csr_array of shape (n_samples, n_samples)
        With a few links from each component to others added, weak beside those within,
        and the weaker the longer they are.

    Notes
    -----
    Costs O(n² d) at most.
    """
    inside = np.zeros(len(X), bool)
    inside[np.concatenate(components)] = True
    starts, ends, lengths = [], [], []
    for members in components:
        others = inside.copy()
        others[members] = False
        others = np.flatnonzero(others)
        if len(others) == 0:
            continue
        search = NearestNeighbors(n_neighbors=1).fit(X[others])
        gaps, nearest = search.kneighbors(X[members])
        shortest = np.argsort(gaps[:, 0], kind="stable")[:_BRIDGES]
        starts.append(members[shortest])
        ends.append(others[nearest[shortest, 0]])
        lengths.append(gaps[shortest, 0])
    if not starts:
        return affinity
    starts, ends, lengths = map(np.concatenate, (starts, ends, lengths))
    tiny = np.finfo(np.float64).tiny
    relative = max(lengths.min(), tiny) / np.maximum(lengths, tiny)
    weights = _BRIDGE_WEIGHT * (affinity.max() or 1.0) * relative**2
    links = sparse.csr_array(
        (weights.astype(affinity.dtype), (starts, ends)), affinity.shape
    )
    return sparse.csr_array(affinity + links + links.T)


def to_original(matrix, first, inverse, n_samples, *, copy_rows):
    """Index a matrix over distinct samples by all samples.

    Parameters
    ----------
    matrix : csr_array of shape (n_distinct, n_distinct)
        Codes or affinity.
    first : ndarray of shape (n_distinct,)
        Index of each distinct sample.
    inverse : ndarray of shape (n_samples,)
        Distinct sample of each sample; -1 where there is none.
    n_samples : int
        Number of samples.
    copy_rows : bool
        Whether copies get the rows of their first.

    Returns
    -------
    matrix : csr_array of shape (n_samples, n_samples)
        Columns refer to first copies.
    """
    if copy_rows:
        rows = np.flatnonzero(inverse >= 0)
        source = inverse[rows]
    else:
        rows, source = first, np.arange(len(first))
    picked = sparse.csr_array(matrix[source])
    counts = np.zeros(n_samples + 1, np.int64)
    counts[rows + 1] = np.diff(picked.indptr)
    order = np.argsort(rows, kind="stable")
    picked = sparse.csr_array(picked[order])
    out = sparse.csr_array(
        (picked.data, first[picked.indices], np.cumsum(counts)),
        shape=(n_samples, n_samples),
    )
    out.sort_indices()
    return out
