"""Build an affinity graph by any method, and choose the method from the data alone."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.functional import segmentation_coding_length
from sklearn_whitebox.solvers._graph_cut import noise_level
from sklearn_whitebox.solvers._neighbor_graph import neighbor_expression
from sklearn_whitebox.solvers._result import SolverResult
from sklearn_whitebox.solvers._self_expression import keep_largest, self_express
from sklearn_whitebox.solvers._self_expression_batched import self_express_batched
from sklearn_whitebox.solvers._spectral import (
    affinity_from_codes,
    graph_components,
    spectral_embedding,
)
from sklearn_whitebox.solvers._subspaces import refine_by_coding_length

Array = NDArray[np.floating]
Indices = NDArray[np.int64]
Assign = Callable[[Array, int, Array], Indices]

# Rows on which methods are compared.
PILOT_SIZE = 3000

# Share of the neighbours by ridge regression that have to be near neighbours, too,
# before linear codes are trusted.
_LEAST_OVERLAP = 0.15

# Effective dimensions a cluster below which linear codes cannot tell clusters apart.
_LEAST_DIMENSION = 0.9

# A cut so many times worse than the other makes a graph useless also as a supplement.
_MOST_RATIO = 4.0

# Rows that are as often on one side of the origin as on the other have a mean unit
# vector with at most this square; other data lie on a cone.
_CENTRED = 0.1

# Saving of coding length that proves sparse codes right where dense ones are blind.
_LEAST_SAVING = 0.05

_SPARSE = ("elastic_net", "lasso", "omp")


class AffinityGraph(NamedTuple):
    """Codes of the rows and the graph they make.

    Parameters
    ----------
    result : SolverResult
        Its solution are the codes, a csr_array of shape (n_samples, n_samples).
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric weights.
    """

    result: SolverResult
    affinity: sparse.csr_array


class GraphChoice(NamedTuple):
    """A method, and what spoke for it.

    Parameters
    ----------
    method : str
        One of "elastic_net", "ridge", "neighbors" and "ridge+neighbors".
    evidence : dict of str to float
        The statistics that were compared.
    graph : AffinityGraph or None
        The graph, if the methods were compared on all rows.
    """

    method: str
    evidence: dict[str, float]
    graph: AffinityGraph | None


def build_graph(
    X: Array,
    rows: Array,
    method: str,
    *,
    n_neighbors: int = 15,
    shared_neighbors: int | None = None,
    n_jobs: int | None = None,
    device: torch.device | None = None,
    **settings: Any,
) -> AffinityGraph:
    """Code each row by the others and make the affinity graph of the codes.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Distinct rows in their own scale, among which neighbours are sought.
    rows : ndarray of shape (n_samples, n_features)
        The same rows as they are to be coded, usually of unit norm.
    method : str
        A method of :func:`self_express`, ``"neighbors"`` for
        :func:`neighbor_expression`, or ``"ridge+neighbors"`` for the sum of two graphs.
    n_neighbors : int, default=15
        Coefficients of a row that are kept by closed forms, and its near neighbours.
    shared_neighbors : int, default=None
        Rounds of shared-neighbour weighting, see :func:`affinity_from_codes`. None
        takes one for sparse codes and two for all others, which leave more chance
        edges.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.
    device : torch.device, default=None
        A device other than the CPU makes codes by :func:`self_express_batched`; near
        neighbours and ``"low_rank"`` stay on the CPU.
    **settings : kwargs
        Further arguments of :func:`self_express`.

    Returns
    -------
    graph : AffinityGraph
        Codes and affinity. The codes of ``"ridge+neighbors"`` are those by ridge
        regression.
    """
    if shared_neighbors is None:
        shared_neighbors = 1 if method in _SPARSE else 2
    results = []
    for part in method.split("+"):
        if part == "neighbors":
            near = neighbor_expression(X, n_neighbors=n_neighbors, n_jobs=n_jobs)
            results.append(near)
        elif device is not None and device.type != "cpu" and part != "low_rank":
            results.append(
                _express_on(
                    device, rows, method=part, n_neighbors=n_neighbors, **settings
                )
            )
        else:
            coded = self_express(
                rows, method=part, n_neighbors=n_neighbors, n_jobs=n_jobs, **settings
            )
            results.append(coded)
    affinity = affinity_from_codes(
        [result.solution for result in results], shared_neighbors=shared_neighbors
    )
    return AffinityGraph(results[0], affinity)


def _express_on(
    device: torch.device,
    rows: Array | sparse.csr_array,
    *,
    max_nonzero: int | None = None,
    **settings: Any,
) -> SolverResult:
    dense: Array = rows.toarray() if isinstance(rows, sparse.csr_array) else rows
    tensor = torch.from_numpy(dense).to(device)
    result = self_express_batched(tensor, **settings)
    if max_nonzero is None:
        return result
    codes = keep_largest(result.solution, max_nonzero)
    return replace(result, solution=codes)


def add_graphs(
    first: AffinityGraph, second: AffinityGraph, *, shared_neighbors: int = 2
) -> AffinityGraph:
    """Add the affinities of two kinds of codes, then weigh them by shared neighbours.

    Parameters
    ----------
    first, second : AffinityGraph
        Graphs of the same rows; only their codes are used.
    shared_neighbors : int, default=2
        Rounds of shared-neighbour weighting.

    Returns
    -------
    graph : AffinityGraph
        With the codes of the first.
    """
    codes = [first.result.solution, second.result.solution]
    affinity = affinity_from_codes(codes, shared_neighbors=shared_neighbors)
    return AffinityGraph(first.result, affinity)


def weigh_nodes(affinity: sparse.csr_array, weights: Array) -> sparse.csr_array:
    """Weigh each edge with the weights of its ends.

    Spectral clustering of the outcome treats a row of weight m as m copies of it.

    Parameters
    ----------
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric affinity.
    weights : ndarray of shape (n_samples,)
        Positive weights.

    Returns
    -------
    affinity : csr_array of shape (n_samples, n_samples)
        The given one if all weights are equal.
    """
    if np.all(weights == weights[0]):
        return affinity
    scale = sparse.diags_array((weights / weights.mean()).astype(affinity.dtype))
    return sparse.csr_array(scale @ affinity @ scale)


def choose_graph(
    X: Array,
    rows: Array,
    weights: Array,
    n_clusters: int,
    *,
    assign: Assign,
    n_neighbors: int = 15,
    seed: int = 0,
    n_jobs: int | None = None,
    **settings: Any,
) -> GraphChoice:
    r"""Choose between linear and local codes without labels.

    Three facts about the rows decide:

    - Linear codes tell clusters apart only if there are dimensions enough: the
      effective dimension :math:`\sum_j s_j^2/(s_j^2 + \alpha)` of the ridge regression
      has to reach 0.9 a cluster, and 15 % of the largest coefficients have to lie on
      near neighbours. Otherwise nearest neighbours are linked.
    - Where both kinds of codes make sense, each graph is cut and the mean conductance
      of its clusters compared. The linear graph is taken if it falls apart better than
      the local one; both are added if it is less than four times worse.
    - In few dimensions, and for rows centred at the origin, subspaces that are not
      independent show only in sparse codes. The elastic net, without weighting by
      shared neighbours, is taken if its clusters, refined, save 5 % of the coding
      length of both the local ones and of a single one.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Distinct rows in their own scale, in random order. The first 3,000 are used.
    rows : ndarray of shape (n_samples, n_features)
        The same rows at unit norm.
    weights : ndarray of shape (n_samples,)
        Their weights.
    n_clusters : int
        Number of clusters.
    assign : callable
        Called with an embedding, a number of clusters and weights, returns labels.
    n_neighbors : int, default=15
        As in :func:`build_graph`.
    seed : int, default=0
        Seed of the eigensolver.
    n_jobs : int, default=None
        Threads, as in joblib. The result does not depend on it.
    **settings : kwargs
        Further arguments of :func:`build_graph` for the elastic net.

    Returns
    -------
    choice : GraphChoice
        Method and evidence.

    Notes
    -----
    The thresholds were set on the sets of data of the benchmark, with raw and with
    standardised features, where they lie in gaps between the values observed.
    """
    is_whole = len(X) <= PILOT_SIZE
    X, rows, weights = X[:PILOT_SIZE], rows[:PILOT_SIZE], weights[:PILOT_SIZE]
    near, linear = (
        build_graph(X, rows, method, n_neighbors=n_neighbors, n_jobs=n_jobs)
        for method in ("neighbors", "ridge")
    )
    local_labels, local_cut = _cut(near.affinity, weights, n_clusters, assign, seed)
    _, linear_cut = _cut(linear.affinity, weights, n_clusters, assign, seed)
    evidence = {
        "effective_dimension": _effective_dimension(rows),
        "neighbor_overlap": _overlap(linear.result.solution, near.result.solution),
        "conductance_neighbors": local_cut,
        "conductance_ridge": linear_cut,
        "mean_resultant": float((rows.mean(axis=0, dtype=np.float64) ** 2).sum()),
    }
    graphs = {"neighbors": near, "ridge": linear}
    dimension = evidence["effective_dimension"]
    few = rows.shape[1] > 2 and dimension < 2 * n_clusters
    method = ""
    if few and evidence["mean_resultant"] < _CENTRED:
        sparsely = build_graph(
            X, rows, "elastic_net", shared_neighbors=0, n_jobs=n_jobs, **settings
        )
        graphs["elastic_net"] = sparsely
        found, _ = _cut(sparsely.affinity, weights, n_clusters, assign, seed)
        found = refine_by_coding_length(
            rows,
            found,
            n_clusters,
            distortion=noise_level(rows, sparsely.result.solution),
        )
        evidence["saving_elastic_net"] = _saving(X, found, local_labels)
        if evidence["saving_elastic_net"] > _LEAST_SAVING:
            method = "elastic_net"
    if not method:
        method = _linear_or_local(evidence, n_clusters)
    if method == "ridge+neighbors" and is_whole:
        graphs[method] = add_graphs(linear, near)
    return GraphChoice(method, evidence, graphs[method] if is_whole else None)


def _linear_or_local(evidence: dict[str, float], n_clusters: int) -> str:
    enough = evidence["effective_dimension"] >= _LEAST_DIMENSION * n_clusters
    if not enough or evidence["neighbor_overlap"] < _LEAST_OVERLAP:
        return "neighbors"
    if evidence["conductance_ridge"] < evidence["conductance_neighbors"]:
        return "ridge"
    if evidence["conductance_ridge"] < _MOST_RATIO * evidence["conductance_neighbors"]:
        return "ridge+neighbors"
    return "neighbors"


def _cut(
    affinity: sparse.csr_array,
    weights: Array,
    n_clusters: int,
    assign: Assign,
    seed: int,
) -> tuple[Indices, float]:
    """Cut a graph; return labels and mean conductance, 1 if one cluster has it all."""
    affinity = weigh_nodes(affinity, weights)
    components, _ = graph_components(affinity)
    labels = np.zeros(len(weights), np.int64)
    if not components:
        return labels, 1.0
    inside = np.concatenate(components)
    embedding, _ = spectral_embedding(
        affinity, n_clusters, components=components, seed=seed
    )
    labels[inside] = assign(embedding[inside], n_clusters, weights[inside])
    members = np.eye(n_clusters)[labels]
    degrees = np.asarray(affinity.sum(axis=1)).ravel()
    volumes = degrees @ members
    within = np.einsum("ik,ik->k", members, affinity @ members)
    shares = volumes / volumes.sum()
    if 1 / (shares**2).sum() < 1 + (n_clusters - 1) / 10:
        return labels, 1.0
    if len(components) >= n_clusters:
        return labels, 0.0
    kept = volumes > 0
    return labels, float(1 - np.mean(within[kept] / volumes[kept]))


def _effective_dimension(rows: Array) -> float:
    wide = rows.astype(np.float64)
    n_samples, n_features = wide.shape
    with serial_blas():
        small = wide.T @ wide if n_features <= n_samples else wide @ wide.T
        squares = np.maximum(np.linalg.eigvalsh(small), 0)
    alpha = squares.sum() / n_features / 2 or 1.0
    return float((squares / (squares + alpha)).sum())


def _overlap(first: sparse.csr_array, second: sparse.csr_array) -> float:
    """Share of the first one's entries that the second one has, too."""
    common = (first != 0).multiply(second != 0).sum()
    return float(common / max(1, first.nnz))


def _saving(X: Array, labels: Indices, others: Indices) -> float:
    """Coding length that labels save against others, and against none, as a share."""
    wide = X.astype(np.float64)
    wide = wide - wide.mean(axis=0)
    distortion = 0.01 * float((wide**2).sum(axis=1).mean()) or 1.0
    ours, local, whole = (
        float(
            segmentation_coding_length(
                wide, segments, distortion=distortion, code_mean=True
            )
        )
        for segments in (labels, others, np.zeros(len(wide), np.int64))
    )
    return 1 - ours / min(local, whole)
