import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_moons

from sklearn_whitebox import SubspaceClusterer
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.functional import segmentation_coding_length
from sklearn_whitebox.metrics import clustering_accuracy
from sklearn_whitebox.solvers import (
    affinity_from_codes,
    ridge_self_expression,
    spectral_embedding,
)


@pytest.fixture(scope="module")
def union():
    return make_union_of_subspaces(
        600, 30, n_subspaces=3, subspace_dim=4, noise=0.02, random_state=0
    )


@pytest.mark.parametrize("method", ["auto", "ridge", "elastic_net", "neighbors"])
@pytest.mark.parametrize("rule", ["subspace", "representation", "coding_length"])
def test_every_rule_extends_the_clusters(union, method, rule):
    X, y = union
    clusterer = SubspaceClusterer(
        3, method=method, predict_method=rule, random_state=0
    ).fit(X[:400])
    assert clusterer.predict_method_ == rule
    assert clusterer.predict_agreement_ >= 0.98
    assert np.mean(clusterer.predict(X[:400]) == clusterer.labels_) >= 0.98
    assert clustering_accuracy(y[400:], clusterer.predict(X[400:])) >= 0.98
    again = pickle.loads(pickle.dumps(clusterer))
    assert_array_equal(again.predict(X), clusterer.predict(X))


def test_flat_clusters_are_extended_by_subspaces_and_curved_ones_by_codes(union):
    flat = SubspaceClusterer(3, random_state=0).fit(union[0])
    assert flat.predict_method_ == "subspace"
    X, y = make_moons(400, noise=0.05, random_state=0)
    curved = SubspaceClusterer(2, random_state=0).fit(X[:300])
    assert curved.method_ == "neighbors"
    assert curved.predict_method_ == "representation"
    assert clustering_accuracy(y[:300], curved.labels_) == 1
    assert clustering_accuracy(y[300:], curved.predict(X[300:])) == 1


def test_held_out_digits_are_assigned_nearly_as_well_as_those_fitted():
    X, y = load_digits(return_X_y=True)
    clusterer = SubspaceClusterer(10, random_state=0).fit(X[:1200])
    fitted = clustering_accuracy(y[:1200], clusterer.labels_)
    assert clustering_accuracy(y[1200:], clusterer.predict(X[1200:])) > fitted - 0.06


def test_dimensions_are_chosen_by_held_out_samples(union):
    X, _ = union
    clusterer = SubspaceClusterer(3, random_state=0).fit(X)
    assert_array_equal(clusterer.subspace_dims_, [4, 4, 4])
    given = SubspaceClusterer(3, subspace_dim=2, random_state=0).fit(X)
    assert_array_equal(given.subspace_dims_, [2, 2, 2])


def test_the_number_of_clusters_is_counted_by_coding_length(union):
    X, y = union
    clusterer = SubspaceClusterer("auto", max_clusters=6, random_state=0).fit(X)
    assert clusterer.n_clusters_ == 3
    assert clustering_accuracy(y, clusterer.labels_) == 1
    path = clusterer.n_clusters_path_
    assert_array_equal(path[:, 0], np.arange(1, 7))
    assert np.argmin(path[:, 1]) == 2
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    # Lengths are those of the clusters, at a distortion of their own choice.
    lengths = [
        float(
            segmentation_coding_length(rows, labels, distortion=clusterer._distortion)
        )
        for labels in (np.zeros(len(X), int), clusterer.labels_)
    ]
    assert_allclose(path[[0, 2], 1], lengths, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_methods_are_compared_at_about_the_right_number(seed):
    X, y = make_union_of_subspaces(
        90, 12, n_subspaces=3, subspace_dim=2, noise=0.01, random_state=seed
    )
    clusterer = SubspaceClusterer("auto", random_state=0).fit(X)
    assert clusterer.n_clusters_ == 3
    assert clustering_accuracy(y, clusterer.labels_) == 1


def test_subspaces_that_are_all_of_space_are_refused(union):
    with pytest.raises(ValueError, match="subspace_dim=30 must be less than"):
        SubspaceClusterer(3, subspace_dim=30).fit(union[0])


def test_too_low_a_limit_on_the_number_of_clusters_is_reported(union):
    with pytest.warns(UserWarning, match=r"shortest for 2 clusters.*max_clusters"):
        SubspaceClusterer("auto", max_clusters=2, random_state=0).fit(union[0])


@pytest.mark.parametrize("method", ["auto", "elastic_net", "ridge", "neighbors"])
def test_a_weight_is_a_number_of_copies(union, method, rng):
    X, _ = union
    X = X[:150]
    weights = rng.integers(0, 4, len(X))
    clusterer = SubspaceClusterer(3, method=method, random_state=0)
    labels = clusterer.fit(X, sample_weight=weights).predict(X)
    distances = clusterer.transform(X)
    clusterer.fit(np.repeat(X, weights, axis=0))
    assert_array_equal(clusterer.predict(X), labels)
    assert_allclose(clusterer.transform(X), distances)


def test_clusters_are_numbered_by_their_weight(union):
    X, y = union
    weights = np.array([1.0, 5.0, 3.0])[y]
    clusterer = SubspaceClusterer(3, random_state=0).fit(X, sample_weight=weights)
    assert_array_equal(clusterer.labels_, np.array([2, 0, 1])[y])


@pytest.mark.parametrize("method", ["auto", "ridge"])
def test_a_weight_is_a_number_of_copies_also_of_few_samples(method):
    X, y = make_union_of_subspaces(
        44, 20, n_subspaces=3, subspace_dim=2, random_state=0
    )
    clusterer = SubspaceClusterer(3, method=method, random_state=0)
    plain = clusterer.fit(X).labels_
    assert clustering_accuracy(y, plain) == 1
    assert_array_equal(clusterer.fit(X, sample_weight=np.full(44, 3)).labels_, plain)
    assert_array_equal(clusterer.fit(np.repeat(X, 3, axis=0)).labels_[::3], plain)
    padded = np.vstack([X, np.ones((100, 20))])
    weights = np.r_[np.ones(44), np.zeros(100)]
    assert_array_equal(clusterer.fit(padded, sample_weight=weights).labels_[:44], plain)


def test_few_anchors_have_a_graph(union):
    X, y = union
    clusterer = SubspaceClusterer(3, n_anchors=40, random_state=0).fit(X)
    assert clusterer.method_ != "kmeans"
    assert clustering_accuracy(y, clusterer.labels_) > 0.98


def test_samples_of_weight_zero_are_assigned_but_do_not_count(union):
    X, _ = union
    strange = np.random.default_rng(0).normal(size=(50, X.shape[1]))
    weights = np.r_[np.ones(len(X)), np.zeros(50)]
    stacked = np.vstack([X, strange])
    clusterer = SubspaceClusterer(3, random_state=0).fit(stacked, sample_weight=weights)
    alone = SubspaceClusterer(3, random_state=0).fit(X)
    assert_array_equal(clusterer.labels_[: len(X)], alone.labels_)
    assert_array_equal(clusterer.labels_[len(X) :], alone.predict(strange))
    assert clusterer.representation_[len(X) :].nnz == 0


@pytest.mark.parametrize("method", ["omp", "elastic_net", "ridge", "neighbors"])
def test_sparse_input_gives_what_dense_input_does(method, rng):
    X = np.zeros((120, 40))
    for k in range(3):
        block = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 12))
        X[40 * k : 40 * (k + 1), 12 * k : 12 * (k + 1)] = block
    clusterer = SubspaceClusterer(3, method=method, random_state=0)
    dense = clusterer.fit(X)
    labels, distances = dense.labels_, dense.transform(X)
    predicted = dense.predict(X)
    clusterer.fit(sparse.csr_array(X))
    assert_array_equal(clusterer.labels_, labels)
    assert_allclose(clusterer.transform(sparse.csr_array(X)), distances, atol=1e-6)
    assert_array_equal(clusterer.predict(sparse.csc_matrix(X)), predicted)


def test_anchors_stand_for_all(union):
    X, y = union
    clusterer = SubspaceClusterer(3, n_anchors=200, random_state=0).fit(X)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert len(clusterer.anchors_) == 200
    assert clusterer.representation_.shape == (600, 600)
    counts = np.diff(clusterer.representation_.indptr)
    assert_array_equal(np.flatnonzero(counts), clusterer.anchors_)
    everything = SubspaceClusterer(3, random_state=0).fit(X)
    assert len(everything.anchors_) == 0


def test_copies_have_the_code_of_their_first_and_no_edges(union):
    X, _ = union
    X = np.vstack([X[:100], X[:10]])
    clusterer = SubspaceClusterer(3, method="ridge", random_state=0).fit(X)
    codes = clusterer.representation_.toarray()
    assert_array_equal(codes[100:], codes[:10])
    degrees = np.asarray(clusterer.affinity_matrix_.sum(axis=1)).ravel()
    pairs = np.stack([degrees[:10], degrees[100:]])
    assert_array_equal((pairs > 0).sum(axis=0), np.ones(10))
    assert_array_equal(clusterer.labels_[100:], clusterer.labels_[:10])


def test_few_distinct_samples_are_clustered_by_k_means(rng):
    X = rng.integers(0, 2, size=(400, 5)).astype(float)
    clusterer = SubspaceClusterer(4, random_state=0).fit(X)
    assert clusterer.method_ == "kmeans"
    baseline = KMeans(4, n_init=20, random_state=0).fit(X)
    sums = sum(
        ((X[clusterer.labels_ == k] - X[clusterer.labels_ == k].mean(0)) ** 2).sum()
        for k in range(4)
    )
    assert sums <= baseline.inertia_ * 1.01
    assert_array_equal(clusterer.predict(X), clusterer.labels_)


def test_components_can_be_bridged():
    # Two separate arcs on each of two planes: four components.
    rng = np.random.default_rng(0)
    angles = np.repeat([0.2, 1.3], 25)[:, None] + rng.uniform(-0.1, 0.1, size=(50, 1))
    arc = np.hstack([np.cos(angles), np.sin(angles)])
    X = np.vstack([np.hstack([arc, 0 * arc]), np.hstack([0 * arc, arc])])
    y = np.repeat([0, 1], 50)
    options = {"method": "neighbors", "n_neighbors": 5, "random_state": 0}
    bridged = SubspaceClusterer(2, on_disconnected="bridge", **options)
    with pytest.warns(UserWarning, match="connected components"):
        merged = SubspaceClusterer(2, **options).fit(X)
    assert merged.n_connected_components_ > 2
    # Arcs of one plane are nearer to one another than to the other plane.
    assert clustering_accuracy(y, bridged.fit_predict(X)) == 1
    assert bridged.n_connected_components_ == 4
    assert all(
        len(set(merged.labels_[arc])) == 1 for arc in np.split(np.arange(100), 4)
    )


def test_ten_lines_by_hand_give_the_clusters_of_ridge(union):
    X, _ = union
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    n_samples, n_features = rows.shape
    codes = ridge_self_expression(rows, alpha=n_samples / n_features / 2).solution
    affinity = affinity_from_codes(codes, shared_neighbors=2)
    embedding, _ = spectral_embedding(affinity, 3)
    labels = KMeans(3, n_init=20, random_state=0).fit_predict(embedding)
    clusterer = SubspaceClusterer(3, method="ridge", refine=False, random_state=0)
    assert clustering_accuracy(labels, clusterer.fit_predict(X)) == 1
