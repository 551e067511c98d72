"""Agglomerative clustering by lossy compression, over all pairs of clusters."""

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sklearn_whitebox._array import check_memory
from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._coding_clusters import CodedClusters
from sklearn_whitebox.solvers._merge_tree import MergeTree, extended_tree

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Rows of the matrix of costs that are filled at once.
_BLOCK = 256

# Distortion at which fragments are made, as a share of the mean squared norm.
_FRAGMENT_SHARE = 0.3


def agglomerate_by_coding_length(
    X: Array,
    *,
    distortion: float,
    fragment_size: int = 1,
    code_mean: bool = False,
    basis_cost: bool = True,
    n_clusters: int | None = None,
    callback: Callable[[int, float], bool] | None = None,
) -> MergeTree:
    r"""Join clusters in pairs as long as that shortens the code of the data.

    Starting from single samples, each step joins the two clusters for which

    .. math:: L(X_k \cup X_l) - L(X_k) - L(X_l)
       + n_k \log\tfrac{n_k}{n_k+n_l} + n_l \log\tfrac{n_l}{n_k+n_l}

    is least, with L the :func:`~sklearn_whitebox.functional.coding_length`.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    distortion : float
        Allowed mean squared error per sample, ε².
    fragment_size : int, default=1
        Samples in each of the fragments to start from, on average; see
        :func:`merge_into_fragments`. Unions are judged by their coding length from
        there on.
    code_mean : bool, default=False
        Code clusters around their means.
    basis_cost : bool, default=True
        Pay for the subspaces of the clusters.
    n_clusters : int, default=None
        Clusters to stop at; None stops before the first step that lengthens the code.
    callback : callable, default=None
        Called with the step and the coding length after it; stops if it returns True.

    Returns
    -------
    tree : MergeTree
        The steps.

    Notes
    -----
    Costs O(n²) memory, in the dtype of `X`, and about n² determinants of the side of
    the smaller of two clusters, which is at most the number of features. Equal costs
    go to the pair that comes first.

    References
    ----------
    .. [1] Ma, Derksen, Hong, Wright (2007). Segmentation of multivariate mixed data via
       lossy data coding and compression. IEEE TPAMI 29(9).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.kron(np.eye(2), np.ones((10, 1)))
    >>> tree = agglomerate_by_coding_length(X, distortion=0.01)
    >>> np.bincount(tree.labels(tree.best_step()))
    array([10, 10])
    """
    check_memory(
        len(X) ** 2 * X.dtype.itemsize * 1.25,
        what=f"The matrix of the costs of joining {len(X)} samples",
        remedy="set connectivity to a number of neighbours, or take fewer samples",
    )
    with serial_blas():
        clusters = CodedClusters(
            X, distortion=distortion, code_mean=code_mean, basis_cost=basis_cost
        )
        if fragment_size == 1:
            return merge_all_pairs(
                clusters, dtype=X.dtype, n_clusters=n_clusters, callback=callback
            )
        fragments = merge_into_fragments(
            X, fragment_size, code_mean=code_mean, n_clusters=n_clusters
        )
        tree, nodes = replayed(clusters, fragments)
        return merge_all_pairs(
            clusters,
            dtype=X.dtype,
            n_clusters=n_clusters,
            before=tree,
            nodes=nodes,
            callback=callback,
        )


def fragment_distortion(X: Array) -> float:
    """Return the distortion at which fragments are made.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.

    Returns
    -------
    distortion : float
        Three tenths of the mean squared norm of the centred samples.
    """
    centred = X.astype(np.float64)
    centred = centred - centred.mean(axis=0)
    square = float(np.einsum("ij,ij->", centred, centred)) / len(X)
    return _FRAGMENT_SHARE * square if square > 0 else 1.0


def merge_into_fragments(
    X: Array, size: int, *, code_mean: bool = False, n_clusters: int | None = None
) -> MergeTree:
    """Join samples to small groups by their rates alone, at a coarse distortion.

    Where noise is not small, the code of a single sample is mostly the code of its
    subspace. The first cluster to have a subspace then draws in samples of the others.
    Without the cost of subspaces, groups grow evenly and stay purer.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    size : int
        Samples in a group, on average.
    code_mean : bool, default=False
        Code groups around their means.
    n_clusters : int, default=None
        Groups at the least.

    Returns
    -------
    tree : MergeTree
        The steps, with their costs in that measure.
    """
    n_fragments = max(len(X) // size, n_clusters or 1)
    clusters = CodedClusters(
        X, distortion=fragment_distortion(X), code_mean=code_mean, basis_cost=False
    )
    return merge_all_pairs(clusters, dtype=X.dtype, n_clusters=n_fragments)


def replayed(
    clusters: CodedClusters, tree: MergeTree, n_merges: int | None = None
) -> tuple[MergeTree, Indices]:
    """Make the steps of a tree with other clusters, and price them there.

    Parameters
    ----------
    clusters : CodedClusters
        The leaves of the tree; changed.
    tree : MergeTree
        The steps.
    n_merges : int, default=None
        How many of them; None makes all.

    Returns
    -------
    tree : MergeTree
        The same steps with the changes of the coding length of `clusters`, all forced.
    nodes : ndarray of shape (n_parts,)
        Node of each of the clusters left.
    """
    n_leaves = len(clusters)
    children = tree.children[:n_merges]
    slots = np.arange(n_leaves + len(children))
    alive = np.zeros(len(slots), np.bool_)
    alive[:n_leaves] = True
    start = length = clusters.total_length()
    costs = []
    for t, (a, b) in enumerate(children):
        i, j = sorted((slots[a], slots[b]))
        counts = clusters.counts[[i, j]]
        before = clusters.lengths[i] + clusters.lengths[j]
        clusters.merge(i, j)
        names = float(counts @ np.log(counts / counts.sum()))
        costs.append(float(clusters.lengths[i] - before) + names)
        slots[n_leaves + t] = i
        alive[[a, b]] = False
        alive[n_leaves + t] = True
        length += costs[-1]
    nodes = np.flatnonzero(alive)
    nodes = nodes[np.argsort(slots[nodes])]
    clusters.keep(slots[nodes])
    forced = MergeTree(
        children, np.array(costs), n_leaves, start, n_forced=len(children)
    )
    return forced, nodes


def merge_all_pairs(
    clusters: CodedClusters,
    *,
    dtype: np.dtype = np.dtype(np.float64),  # noqa: B008
    n_clusters: int | None = None,
    before: MergeTree | None = None,
    nodes: Indices | None = None,
    callback: Callable[[int, float], bool] | None = None,
) -> MergeTree:
    """Join coded clusters, any with any; see :func:`agglomerate_by_coding_length`.

    Parameters
    ----------
    clusters : CodedClusters
        Where to start; changed.
    dtype : dtype, default=float64
        Precision in which costs are kept.
    n_clusters : int, default=None
        Clusters to stop at.
    before : MergeTree, default=None
        Steps that led to these clusters.
    nodes : ndarray of shape (n_parts,), default=None
        Node of each cluster in that tree.
    callback : callable, default=None
        Called with the step and the coding length.

    Returns
    -------
    tree : MergeTree
        The steps.
    """
    n_parts = len(clusters)
    length = clusters.total_length()
    if before is None or nodes is None:
        nodes = np.arange(n_parts)
        empty = np.empty((0, 2), np.int64)
        before = MergeTree(empty, np.empty(0), n_parts, length)
    nodes = nodes.copy()
    n_done = len(before.children)
    costs = _all_costs(clusters, dtype)
    alive = np.ones(n_parts, np.bool_)
    best = np.empty(n_parts, dtype)
    partner = np.empty(n_parts, np.int64)
    stale = np.zeros(n_parts, np.bool_)
    _scan_rows(costs, alive, best, partner, stale)
    children, deltas = [], []
    for step in range(n_parts - max(1, n_clusters or 1)):
        i = int(np.argmin(best))
        while stale[i]:
            _scan_row(costs, alive, best, partner, stale, i)
            i = int(np.argmin(best))
        delta = float(best[i])
        if n_clusters is None and delta >= 0:
            break
        i, j = sorted((i, int(partner[i])))
        children.append(sorted((nodes[i], nodes[j])))
        deltas.append(delta)
        length += delta
        clusters.merge(i, j)
        nodes[i] = before.n_leaves + n_done + step
        alive[j] = False
        n_alive = n_parts - step - 1
        others = np.flatnonzero(alive)
        others = others[others != i]
        fresh = clusters.merge_costs(i, others, gather=False).astype(dtype)
        _update_costs(costs, alive, best, partner, stale, i, j, others, fresh)
        if n_alive < len(alive) // 2:
            kept = np.flatnonzero(alive)
            costs = _compacted(costs, kept)
            partner = (np.cumsum(alive) - 1)[partner[kept]]
            nodes, best, alive = nodes[kept], best[kept], alive[kept]
            stale = stale[kept]
            clusters.keep(kept)
        if callback is not None and callback(n_done + step, length):
            break
    return extended_tree(before, children, deltas)


def _all_costs(clusters: CodedClusters, dtype: np.dtype) -> Array:
    n_parts = len(clusters)
    costs = np.empty((n_parts, n_parts), dtype)
    if (clusters.counts == 1).all():
        for start in range(0, n_parts, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, n_parts))
            costs[rows] = single_costs(clusters, rows)
    else:
        for k in range(n_parts):
            later = np.arange(k + 1, n_parts)
            costs[k, later] = clusters.merge_costs(k, later)
            costs[later, k] = costs[k, later]
    np.fill_diagonal(costs, np.inf)
    return costs


def single_costs(clusters: CodedClusters, rows: Indices) -> Array:
    """Costs of joining some samples with all samples, in closed form.

    Parameters
    ----------
    clusters : CodedClusters
        Clusters of one sample each.
    rows : ndarray of shape (n_rows,)
        Samples.

    Returns
    -------
    costs : ndarray of shape (n_rows, n_samples)
        In nats; meaningless where a sample meets itself.
    """
    points = clusters.means if clusters.code_mean else clusters.pool[: len(clusters)]
    squares = np.einsum("ij,ij->i", points, points)
    products = points[rows] @ points.T
    scale = clusters.dim / 2
    if clusters.code_mean:
        gaps = squares[rows, None] + squares - 2 * products
        logdet = np.log1p(scale / 2 * np.maximum(gaps, 0))
        along = clusters.mean_offsets
        joint = (squares[rows, None] + squares + 2 * products) / 4
        joint += along[rows, None] + along + clusters.offset_square
        means = clusters.dim / 2 * np.log1p(np.maximum(joint, 0))
    else:
        single = 1 + scale * squares
        logdet = np.log(
            np.maximum(single[rows, None] * single - (scale * products) ** 2, 1)
        )
        means = 0.0
    lengths = clusters.lengths
    costs: Array = (2 + clusters.basis) / 2 * logdet + means
    costs -= lengths[rows, None] + lengths + 2 * np.log(2)
    return costs


@njit(nogil=True, cache=True)
def _scan_rows(
    costs: Array, alive: Mask, best: Array, partner: Indices, stale: Mask
) -> None:
    for k in range(len(costs)):
        _scan_row(costs, alive, best, partner, stale, k)


@njit(nogil=True, cache=True)
def _scan_row(
    costs: Array, alive: Mask, best: Array, partner: Indices, stale: Mask, k: int
) -> None:
    least, where = np.inf, -1
    for other in range(costs.shape[1]):
        if alive[other] and costs[k, other] < least:
            least, where = costs[k, other], other
    best[k], partner[k], stale[k] = least, where, False


@njit(nogil=True, cache=True)
def _update_costs(
    costs: Array,
    alive: Mask,
    best: Array,
    partner: Indices,
    stale: Mask,
    i: int,
    j: int,
    others: Indices,
    fresh: Array,
) -> None:
    """Enter the costs of the new cluster `i`; cluster `j` has died.

    A row whose best partner became dearer keeps its old best cost, a lower bound, and
    is scanned only once that bound is the least of all.
    """
    best[j], partner[j], stale[j] = np.inf, -1, False
    for t in range(len(others)):
        k = others[t]
        costs[k, i] = costs[i, k] = fresh[t]
        if fresh[t] < best[k]:
            best[k], partner[k], stale[k] = fresh[t], i, False
        elif partner[k] == i or partner[k] == j:
            stale[k] = True
    _scan_row(costs, alive, best, partner, stale, i)


@njit(nogil=True, cache=True)
def _compacted(costs: Array, kept: Indices) -> Array:
    small = np.empty((len(kept), len(kept)), costs.dtype)
    for a in range(len(kept)):
        for b in range(len(kept)):
            small[a, b] = costs[kept[a], kept[b]]
    return small
