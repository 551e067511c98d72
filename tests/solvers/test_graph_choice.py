import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, load_iris
from sklearn.neighbors import kneighbors_graph
from sklearn.preprocessing import normalize

from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.metrics import clustering_accuracy
from sklearn_whitebox.solvers import (
    _graph_choice,
    add_graphs,
    affinity_from_codes,
    build_graph,
    choose_graph,
    graph_components,
    neighbor_expression,
    ridge_self_expression,
    spectral_embedding,
    spectral_pairs,
    weigh_nodes,
)


def assign(embedding, n_clusters, weights):
    kmeans = KMeans(n_clusters, n_init=3, random_state=0)
    return kmeans.fit(embedding, sample_weight=weights).labels_


def choice(X, n_clusters):
    rows = normalize(X)
    return choose_graph(X, rows, np.ones(len(X)), n_clusters, assign=assign)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neighbors_are_those_of_scikit_learn(rng, dtype):
    X = rng.normal(size=(80, 3)).astype(dtype)
    codes = neighbor_expression(X, n_neighbors=7).solution
    assert codes.dtype == dtype
    connected = kneighbors_graph(X, 7).toarray() > 0
    assert_array_equal(codes.toarray() > 0, connected)
    lengths = np.linalg.norm(X[:, None] - X[None], axis=2)
    last = np.sort(np.where(connected, lengths, 0), axis=1)[:, -1]
    expected = np.exp(-(lengths**2) / (last[:, None] * last[None])) * connected
    assert_allclose(codes.toarray(), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_weights_of_neighbors_do_not_depend_on_unit_and_origin(rng, scale):
    X = rng.normal(size=(40, 3))
    codes = neighbor_expression(X).solution
    moved = neighbor_expression(scale * (X + 5)).solution
    assert_array_equal(moved.indices, codes.indices)
    assert_allclose(moved.data, codes.data, rtol=1e-6)


def test_a_weight_counts_as_copies_in_the_cut(rng):
    X = rng.normal(size=(30, 4))
    affinity = affinity_from_codes(neighbor_expression(X, n_neighbors=5).solution)
    weights = rng.integers(1, 4, 30).astype(float)
    weighed = spectral_pairs(weigh_nodes(affinity, weights), 4).values
    copies = np.repeat(np.arange(30), weights.astype(int))
    repeated = spectral_pairs(affinity[copies][:, copies], 4).values
    assert_allclose(weighed, repeated, atol=1e-10)


def test_equal_weights_leave_a_graph_alone(rng):
    graph = sparse.csr_array(np.ones((3, 3)) - np.eye(3))
    assert weigh_nodes(graph, np.full(3, 2.5)) is graph


def test_sums_of_graphs_hold_the_edges_of_both(rng):
    X = rng.normal(size=(60, 8))
    near, linear = (build_graph(X, X, name) for name in ("neighbors", "ridge"))
    both = build_graph(X, X, "ridge+neighbors")
    assert (both.affinity != add_graphs(linear, near).affinity).nnz == 0
    plain = add_graphs(linear, near, shared_neighbors=0).affinity
    parts = [
        affinity_from_codes(graph.result.solution, shared_neighbors=0)
        for graph in (linear, near)
    ]
    assert_allclose(plain.toarray(), (parts[0] + parts[1]).toarray())
    assert (both.result.solution != linear.result.solution).nnz == 0


def test_eigenpairs_serve_any_number_of_clusters(rng):
    X, _ = make_union_of_subspaces(200, 10, n_subspaces=3, noise=0.1, random_state=0)
    affinity = build_graph(X, X, "ridge").affinity
    components, _ = graph_components(affinity)
    pairs = spectral_pairs(affinity, 20, components=components)
    for n_clusters in (2, 3, 7):
        direct, values = spectral_embedding(affinity, n_clusters)
        reused, again = spectral_embedding(affinity, n_clusters, pairs=pairs)
        assert_allclose(again, values, atol=1e-10)
        assert_allclose(reused @ reused.T, direct @ direct.T, atol=1e-6)


def test_independent_subspaces_are_coded_linearly():
    X, _ = make_union_of_subspaces(300, 30, n_subspaces=3, noise=0.1, random_state=0)
    found = choice(X, 3)
    assert found.method == "ridge"
    assert found.evidence["effective_dimension"] > 3
    linear = ridge_self_expression(normalize(X), alpha=300 / 60).solution
    # Rounding of the penalty may swap a last coefficient.
    shared = (found.graph.result.solution != 0).multiply(linear != 0).sum()
    assert shared >= 0.999 * linear.nnz


def test_subspaces_that_fill_the_space_are_coded_sparsely():
    X, y = make_union_of_subspaces(
        1000, 9, n_subspaces=5, subspace_dim=6, random_state=0
    )
    found = choice(X, 5)
    assert found.method == "elastic_net"
    assert found.evidence["saving_elastic_net"] > 0.1
    embedding, _ = spectral_embedding(found.graph.affinity, 5)
    labels = assign(embedding, 5, np.ones(1000))
    assert clustering_accuracy(y, labels) > 0.9


def test_tables_of_few_features_are_linked_by_neighbors():
    found = choice(load_iris().data, 3)
    assert found.method == "neighbors"
    assert found.evidence["effective_dimension"] < 3


def test_images_use_both():
    assert choice(load_digits().data, 10).method == "ridge+neighbors"


def test_one_cluster_that_has_it_all_is_no_good_cut(rng):
    # A blob and stragglers, far out and far from one another: cutting those off costs
    # nothing, and separates nothing.
    X = np.vstack([rng.normal(size=(200, 2)), 100 * rng.normal(size=(4, 2))])
    near = build_graph(X, X, "neighbors", n_neighbors=3)
    labels, conductance = _graph_choice._cut(
        near.affinity, np.ones(len(X)), 10, lambda E, K, w: np.zeros(len(E), int), 0
    )
    assert conductance == 1
    assert set(labels) == {0}


def test_methods_are_compared_on_a_sample_of_many_rows(monkeypatch):
    X, _ = make_union_of_subspaces(300, 30, n_subspaces=3, noise=0.1, random_state=0)
    monkeypatch.setattr(_graph_choice, "PILOT_SIZE", 150)
    found = choice(X, 3)
    assert found.graph is None
    assert found == choice(X[:150], 3)._replace(graph=None)


@pytest.mark.parametrize("method", ["omp", "ridge", "thresholding"])
def test_other_devices_make_the_same_codes(monkeypatch, method):
    X, _ = make_union_of_subspaces(100, 12, n_subspaces=2, noise=0.1, random_state=0)
    expected = build_graph(X, X, method).affinity
    settings = {"n_neighbors": 15}
    made = _graph_choice._express_on(
        torch.device("cpu"), X, method=method, **settings
    ).solution
    rounds = 1 if method == "omp" else 2
    affinity = affinity_from_codes(made, shared_neighbors=rounds)
    assert_allclose(affinity.toarray(), expected.toarray(), atol=1e-8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("method", ["elastic_net", "omp", "ridge", "thresholding"])
def test_cuda_makes_the_same_codes(method):
    X, _ = make_union_of_subspaces(500, 20, n_subspaces=3, noise=0.1, random_state=0)
    there = build_graph(X, X, method, device=torch.device("cuda"))
    here = build_graph(X, X, method)
    assert_allclose(there.affinity.toarray(), here.affinity.toarray(), atol=1e-5)
