"""Subspaces of given groups of rows: fit, compare, merge."""

import numpy as np
from numpy.typing import NDArray

from sklearn_whitebox.functional import segmentation_coding_length

Array = NDArray[np.floating]
Indices = NDArray[np.int64]

# Parts that take part in greedy merging; its cost grows with their square.
_MAX_PARTS = 200

# Growth of the coordinates spent beyond which refinement is given up. Accepted ones end
# below where they start and exceed it by a few percent on the way.
_MOST_GROWTH = 1.1

# Share of the largest squared singular value below which others are rounding errors.
_ROUNDING = 1e-12

# Coordinates in which coding lengths are compared.
_MAX_COORDINATES = 64


def fit_subspaces(
    X: Array,
    labels: Indices,
    n_clusters: int,
    *,
    subspace_dim: int | None = None,
    energy: float = 0.95,
) -> list[Array]:
    """Fit a linear subspace to the rows of each cluster.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    labels : ndarray of shape (n_samples,)
        Cluster of each row; rows with negative labels are left out.
    n_clusters : int
        Number of clusters.
    subspace_dim : int, default=None
        Dimension of each subspace, lowered where a cluster has a smaller rank; None
        takes as many as hold the share `energy` of the squared norm of the rows.
    energy : float, default=0.95
        That share.

    Returns
    -------
    bases : list of ndarray of shape (dim, n_features)
        Orthonormal rows, in the order of falling energy and the dtype of `X`.
    """
    return [
        _principal_directions(X[labels == k], subspace_dim, energy)
        for k in range(n_clusters)
    ]


def _principal_directions(rows: Array, dim: int | None, energy: float) -> Array:
    return leading_directions(*_spectrum(rows), dim=dim, energy=energy)


def principal_spectra(
    X: Array, labels: Indices, n_clusters: int
) -> list[tuple[Array, Array]]:
    """Decompose the rows of each cluster.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    labels : ndarray of shape (n_samples,)
        Cluster of each row.
    n_clusters : int
        Number of clusters.

    Returns
    -------
    spectra : list of (ndarray, ndarray)
        Squared singular values in falling order, float64, and right singular vectors
        as rows, in the dtype of `X`.
    """
    return [_spectrum(X[labels == k]) for k in range(n_clusters)]


def _spectrum(rows: Array) -> tuple[Array, Array]:
    n_rows, n_features = rows.shape
    if n_rows == 0:
        return np.empty(0), np.empty((0, n_features), rows.dtype)
    wide = rows.astype(np.float64)
    if n_rows > n_features:
        squares, vectors = np.linalg.eigh(wide.T @ wide)
        squares, directions = squares[::-1], vectors[:, ::-1].T
    else:
        # The smaller Gram matrix takes a fraction of the time of a singular value
        # decomposition; directions of rounding errors are left out.
        squares, vectors = np.linalg.eigh(wide @ wide.T)
        squares, vectors = squares[::-1], vectors[:, ::-1]
        kept = squares > _ROUNDING * max(squares[0], np.finfo(np.float64).tiny)
        squares = squares[kept]
        directions = (vectors[:, kept] / np.sqrt(squares)).T @ wide
        # Weak ones are orthogonal only as far as their norm exceeds that of rounding.
        directions = np.linalg.qr(directions.T)[0].T
    return np.maximum(squares, 0), directions.astype(rows.dtype)


def leading_directions(
    squares: Array, directions: Array, *, dim: int | None, energy: float
) -> Array:
    """Keep the directions that hold enough of the squared norm.

    Parameters
    ----------
    squares : ndarray of shape (n_directions,)
        Squared singular values in falling order.
    directions : ndarray of shape (n_directions, n_features)
        Orthonormal rows.
    dim : int or None
        Number of directions, lowered to the rank.
    energy : float
        Share of the squared norm that is kept if `dim` is None; one direction of space
        always stays free, since a subspace that is all of space fits every row.

    Returns
    -------
    basis : ndarray of shape (n_kept, n_features)
        The first of them.
    """
    if len(squares) == 0:
        return directions
    rank = int((squares > _ROUNDING * squares[0]).sum()) if squares[0] > 0 else 0
    if dim is None:
        share = np.cumsum(squares) / max(squares.sum(), np.finfo(np.float64).tiny)
        limit = max(1, directions.shape[1] - 1)
        dim = min(limit, int(np.searchsorted(share, energy)) + 1)
    return np.ascontiguousarray(directions[: min(dim, rank)])


def subspace_residuals(X: Array, bases: list[Array]) -> Array:
    """Measure the distance of each row to each subspace.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    bases : list of ndarray of shape (dim, n_features)
        Orthonormal bases.

    Returns
    -------
    distances : ndarray of shape (n_samples, n_subspaces)
        Norms of the residuals, in the dtype of `X`.
    """
    distances = np.empty((len(X), len(bases)), X.dtype)
    for k, basis in enumerate(bases):
        # The difference itself: norms subtracted lose half the digits near zero.
        residual = X - (X @ basis.T) @ basis
        distances[:, k] = np.sqrt(np.einsum("ij,ij->i", residual, residual))
    return distances


def refine_by_coding_length(
    X: Array,
    labels: Indices,
    n_clusters: int,
    *,
    distortion: float,
    subspace_dim: int | None = None,
    max_iter: int = 50,
) -> Indices:
    """Move rows to their nearest subspaces, as far as that shortens their code.

    Subspaces are fitted to the clusters and rows assigned to the nearest in turn. The
    outcome is kept if the subspaces explain the rows, to twice the distortion, with no
    more coordinates than before, and the segmentation coding length is shorter. Where
    clusters are flat, that repairs the errors of a graph cut; where they are curved,
    nothing changes.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    labels : ndarray of shape (n_samples,)
        Cluster of each row, from 0.
    n_clusters : int
        Number of clusters.
    distortion : float
        Allowed mean squared error per sample of the code.
    subspace_dim : int, default=None
        Dimension of the subspaces, as in :func:`fit_subspaces`.
    max_iter : int, default=50
        Most rounds.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        With as many clusters.

    Notes
    -----
    A round costs O(n d min(n/K, d)) for the subspaces and as much for the code. Rounds
    end once the coordinates have grown by a tenth, since they do not come back.
    """
    moved = labels
    spent = []
    for _ in range(max_iter):
        bases = fit_subspaces(X, moved, n_clusters, subspace_dim=subspace_dim)
        spent.append(sum(len(bases[k]) for k in moved))
        # One cluster that grows until its subspace is most of space fits everything.
        if spent[-1] > _MOST_GROWTH * spent[0]:
            return labels
        distances = subspace_residuals(X, bases)
        if np.median(distances.min(1) ** 2) > 2 * distortion:
            return labels
        before, moved = moved, np.argmin(distances, axis=1)
        if len(np.unique(moved)) < n_clusters:
            return labels
        if (moved == before).all():
            break
    if spent[-1] > spent[0]:
        return labels
    lengths = [
        segmentation_coding_length(X, segments, distortion=distortion)
        for segments in (labels, moved)
    ]
    return moved if lengths[1] < lengths[0] else labels


def merge_by_coding_length(
    X: Array, labels: Indices, n_clusters: int, *, distortion: float
) -> Indices:
    r"""Merge parts greedily until few enough are left, for the least coding length.

    Each step joins the two parts for which
    :math:`L(X_k \cup X_l) - L(X_k) - L(X_l)`, with the lengths of their labels, is
    least; L is the coding length of a Gaussian with zero mean.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    labels : ndarray of shape (n_samples,)
        Part of each row, from 0; rows with negative labels are left out.
    n_clusters : int
        Parts to keep.
    distortion : float
        Allowed mean squared error per sample.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        From 0 to ``n_clusters - 1``; negative where they were, and for members of
        parts beyond the 200 largest, which do not take part.

    Notes
    -----
    Lengths are compared in the 64 leading coordinates of all rows. Costs O(p² r³) for
    p parts and r coordinates.

    References
    ----------
    .. [1] Ma, Derksen, Hong, Wright (2007). Segmentation of multivariate mixed data via
       lossy data coding and compression. IEEE TPAMI 29(9).
    """
    sizes = np.bincount(labels[labels >= 0])
    kept = np.argsort(-sizes, kind="stable")[: max(_MAX_PARTS, n_clusters)]
    kept = kept[sizes[kept] > 0]
    directions = _principal_directions(X[labels >= 0], _MAX_COORDINATES, 1.0)
    rows = X.astype(np.float64) @ directions.T.astype(np.float64)
    scatters = np.stack([rows[labels == k].T @ rows[labels == k] for k in kept])
    counts = sizes[kept].astype(np.float64)
    dim = X.shape[1]
    lengths = _lengths(scatters, counts, dim, distortion)
    costs = np.full((len(kept), len(kept)), np.inf)
    for i in range(len(kept) - 1):
        later = np.arange(i + 1, len(kept))
        costs[i, later] = _merge_costs(
            i, later, scatters, counts, lengths, dim, distortion
        )
    target = np.arange(len(kept))
    for _ in range(len(kept) - n_clusters):
        i, j = divmod(int(np.argmin(costs)), len(costs))
        scatters[i] += scatters[j]
        counts[i] += counts[j]
        merged_pair = scatters[i : i + 1], counts[i : i + 1]
        lengths[i] = _lengths(*merged_pair, dim, distortion)[0]
        target[target == j] = i
        costs[j] = costs[:, j] = np.inf
        others = np.setdiff1d(np.unique(target), [i])
        fresh = _merge_costs(i, others, scatters, counts, lengths, dim, distortion)
        costs[np.minimum(i, others), np.maximum(i, others)] = fresh
    position = np.full(len(sizes), -1)
    position[kept] = np.unique(target, return_inverse=True)[1]
    merged: Indices = np.where(labels >= 0, position[np.maximum(labels, 0)], -1)
    return merged


def _lengths(scatters: Array, counts: Array, dim: int, distortion: float) -> Array:
    scale = dim / (counts * distortion)
    matrices = np.eye(scatters.shape[-1]) + scale[:, None, None] * scatters
    lengths: Array = (counts + dim) / 2 * np.linalg.slogdet(matrices)[1]
    return lengths


def _merge_costs(
    i: int,
    others: Indices,
    scatters: Array,
    counts: Array,
    lengths: Array,
    dim: int,
    distortion: float,
) -> Array:
    if len(others) == 0:
        return np.empty(0)
    total = counts[i] + counts[others]
    joint = _lengths(scatters[i] + scatters[others], total, dim, distortion)
    names = counts[i] * np.log(counts[i] / total)
    names = names + counts[others] * np.log(counts[others] / total)
    return joint - lengths[i] - lengths[others] + names
