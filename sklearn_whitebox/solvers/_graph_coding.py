"""Agglomerative clustering by lossy compression, along the edges of a graph."""

from collections.abc import Callable

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._array import check_memory
from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.solvers._agglomerative_coding import (
    fragment_distortion,
    merge_all_pairs,
    replayed,
)
from sklearn_whitebox.solvers._coding_clusters import CodedClusters
from sklearn_whitebox.solvers._edge_lists import EdgeLists
from sklearn_whitebox.solvers._merge_tree import MergeTree, extended_tree

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

# Entries of the block of keys from which nearest partners are taken.
_BLOCK_ENTRIES = 2**22

# Growth of a cluster beyond which its costs are computed anew, where the graph serves
# speed. Computing them at every step costs the product of all sizes and degrees.
_GROWTH = 1.1

# Clusters up to which all pairs of what a graph has left are compared.
_MOST_REMAINING = 8000


def cheapest_partners(
    X: Array, n_neighbors: int, *, distortion: float, code_mean: bool = False
) -> sparse.csr_array:
    """Link each sample to those that cost least to be coded with.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    n_neighbors : int
        Links of each sample, before the graph is made symmetric.
    distortion : float
        Allowed mean squared error per sample.
    code_mean : bool, default=False
        Code pairs around their means; the nearest samples then cost least.

    Returns
    -------
    graph : csr_array of shape (n_samples, n_samples)
        Boolean, symmetric, without a diagonal.

    Notes
    -----
    Costs O(n² d) time, in blocks of 16 MiB.
    """
    n_samples, dim = X.shape
    n_neighbors = min(n_neighbors, n_samples - 1)
    rows = X.astype(np.float64) / np.sqrt(distortion)
    if code_mean:
        rows -= rows.mean(axis=0)
    squares = np.einsum("ij,ij->i", rows, rows)
    # The cost of a pair is an increasing function of these keys, for one row.
    if code_mean:
        weight = squares
    else:
        pair, single = 1 + dim / 2 * squares, 1 + dim * squares
        weight = pair / single ** ((1 + dim) / (2 + dim))
        rows *= np.sqrt(dim / 2 / pair)[:, None]
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    found = np.empty((n_samples, n_neighbors), np.int64)
    step = max(1, _BLOCK_ENTRIES // n_samples)
    with serial_blas():
        for start in range(0, n_samples, step):
            block = slice(start, min(start + step, n_samples))
            products = rows[block] @ rows.T
            _least_keys(
                products, start, weight.astype(np.float32), code_mean, found[block]
            )
    indptr = np.arange(n_samples + 1) * n_neighbors
    data = np.ones(found.size, np.bool_)
    graph = sparse.csr_array(
        (data, found.ravel(), indptr), shape=(n_samples, n_samples)
    )
    return sparse.csr_array(graph + graph.T)


@njit(nogil=True, cache=True)
def _least_keys(
    products: Array, start: int, weight: Array, code_mean: bool, found: Indices
) -> None:
    """Put the columns of the least keys of each row in order into `found`."""
    n_rows, n_columns = products.shape
    n_kept = found.shape[1]
    keys = np.empty(n_kept, np.float32)
    for i in range(n_rows):
        n_found = 0
        bound = np.float32(np.inf)
        for j in range(n_columns):
            if code_mean:
                key = weight[j] - 2 * products[i, j]
            else:
                key = (1 - products[i, j] * products[i, j]) * weight[j]
            if (n_found == n_kept and key >= bound) or j == start + i:
                continue
            place = min(n_found, n_kept - 1)
            while place > 0 and keys[place - 1] > key:
                keys[place], found[i, place] = keys[place - 1], found[i, place - 1]
                place -= 1
            keys[place], found[i, place] = key, j
            n_found = min(n_found + 1, n_kept)
            bound = keys[n_found - 1]


def agglomerate_along_graph(
    X: Array,
    graph: sparse.csr_array,
    *,
    distortion: float,
    fragment_size: int = 1,
    code_mean: bool = False,
    basis_cost: bool = True,
    n_clusters: int | None = None,
    is_constraint: bool = True,
    callback: Callable[[int, float], bool] | None = None,
) -> MergeTree:
    """Join neighbouring clusters as long as that shortens the code of the data.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Samples.
    graph : csr_array of shape (n_samples, n_samples)
        Which samples are neighbours; clusters are if any of their samples are. Made
        symmetric; the diagonal is ignored.
    distortion : float
        Allowed mean squared error per sample, ε².
    fragment_size : int, default=1
        Samples in each of the fragments to start from, on average, which are made along
        the graph, too.
    code_mean : bool, default=False
        Code clusters around their means.
    basis_cost : bool, default=True
        Pay for the subspaces of the clusters.
    n_clusters : int, default=None
        Clusters to stop at; None stops before the first step that lengthens the code.
    is_constraint : bool, default=True
        Whether only neighbours may be joined, as long as there are any. Otherwise the
        graph serves speed: the costs of a cluster are computed anew only when it has
        grown by a tenth, and once no joint of neighbours shortens the code, the
        clusters that are left are joined any with any, if there are at most 8000.
    callback : callable, default=None
        Called with the step and the coding length after it; stops if it returns True.

    Returns
    -------
    tree : MergeTree
        The steps. If the graph has several components and more steps are asked for,
        the components are joined as any pairs; `n_allowed` says where that began.

    Notes
    -----
    Costs O(n + e) memory for e edges, and a determinant for every neighbour of every
    new cluster: about n times the mean number of neighbours.
    """
    with serial_blas():
        clusters = CodedClusters(
            X, distortion=distortion, code_mean=code_mean, basis_cost=basis_cost
        )
        before, nodes = None, np.arange(len(X))
        if fragment_size > 1:
            parts = CodedClusters(
                X,
                distortion=fragment_distortion(X),
                code_mean=code_mean,
                basis_cost=False,
            )
            n_fragments = max(len(X) // fragment_size, n_clusters or 1)
            fragments, *_ = _merge_neighbors(
                parts, graph, n_fragments, is_constraint, None, any_cost=True
            )
            before, nodes = replayed(clusters, fragments)
            graph = _contracted(graph, fragments, nodes)
        tree, nodes, alive, stopped = _merge_neighbors(
            clusters,
            graph,
            n_clusters,
            is_constraint,
            callback,
            any_cost=is_constraint and n_clusters is not None,
            before=before,
            nodes=nodes,
        )
        remaining = np.flatnonzero(alive)
        at_target = len(remaining) <= (n_clusters or 1)
        if stopped or at_target or (is_constraint and n_clusters is None):
            return tree
        if not is_constraint and len(remaining) > _MOST_REMAINING:
            return tree
        check_memory(
            len(remaining) ** 2 * X.dtype.itemsize * 1.25,
            what=f"Joining the {len(remaining)} components of the connectivity graph",
            remedy="connect the graph, or set n_clusters=None",
        )
        clusters.keep(remaining)
        return merge_all_pairs(
            clusters,
            dtype=X.dtype,
            n_clusters=n_clusters,
            before=tree,
            nodes=nodes[remaining],
            callback=callback,
        )


def _contracted(
    graph: sparse.csr_array, tree: MergeTree, nodes: Indices
) -> sparse.csr_array:
    """Graph of the clusters that a tree has come to, in the order of `nodes`."""
    labels = tree.labels(len(tree.children))
    # The clusters are named by first appearance; find the place of each in `nodes`.
    leaf = np.arange(tree.n_leaves + len(tree.children))
    for t, (a, b) in enumerate(tree.children):
        leaf[tree.n_leaves + t] = min(leaf[a], leaf[b])
    place = np.empty(len(nodes), np.int64)
    place[labels[leaf[nodes]]] = np.arange(len(nodes))
    pattern = sparse.coo_array(graph)
    first, second = (place[labels[ends]] for ends in pattern.coords)
    shape = (len(nodes), len(nodes))
    values = (pattern.data != 0).astype(np.float64)
    return sparse.csr_array(sparse.coo_array((values, (first, second)), shape=shape))


def _merge_neighbors(
    clusters: CodedClusters,
    graph: sparse.csr_array,
    n_clusters: int | None,
    is_constraint: bool,
    callback: Callable[[int, float], bool] | None,
    *,
    any_cost: bool,
    before: MergeTree | None = None,
    nodes: Indices | None = None,
) -> tuple[MergeTree, Indices, Mask, bool]:
    """Run the steps along edges, and say whether the callback stopped them."""
    n_parts = len(clusters)
    length = clusters.total_length()
    nodes = np.arange(n_parts) if nodes is None else nodes.copy()
    if before is None:
        empty = np.empty((0, 2), np.int64)
        before = MergeTree(empty, np.empty(0), n_parts, length)
    n_done = len(before.children)
    edges = EdgeLists(graph, clusters, 1.0 if is_constraint else _GROWTH)
    alive = np.ones(n_parts, np.bool_)
    children: list[list[int]] = []
    costs: list[float] = []
    stopped = False
    for step in range(n_parts - max(1, n_clusters or 1)):
        i, j, cost = edges.cheapest(clusters)
        if cost == np.inf or (cost >= 0 and not any_cost):
            break
        children.append(sorted((int(nodes[i]), int(nodes[j]))))
        costs.append(cost)
        length += cost
        clusters.merge(i, j)
        nodes[i] = before.n_leaves + n_done + step
        alive[j] = False
        edges.merge(i, j, clusters)
        if callback is not None and callback(n_done + step, length):
            stopped = True
            break
    allowed = n_done + len(costs) if is_constraint else None
    return extended_tree(before, children, costs, allowed), nodes, alive, stopped
