import logging
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from scipy.cluster.hierarchy import dendrogram, fcluster, is_valid_linkage
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.neighbors import kneighbors_graph

from sklearn_whitebox import CodingLengthClusterer
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.functional import coding_length, segmentation_coding_length
from sklearn_whitebox.metrics import clustering_accuracy


@pytest.fixture
def union():
    return make_union_of_subspaces(
        240, 20, n_subspaces=4, subspace_dim=3, noise=0.05, random_state=0
    )


def linkage(clusterer, n_samples):
    """The matrix that SciPy wants, as in scikit-learn's example of dendrograms."""
    sizes = np.ones(2 * n_samples - 1)
    for t, pair in enumerate(clusterer.children_):
        sizes[n_samples + t] = sizes[pair].sum()
    return np.column_stack(
        [clusterer.children_, clusterer.distances_, sizes[n_samples:]]
    )


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05, 0.08])
def test_subspaces_are_counted_without_settings(noise, global_random_seed):
    X, y = make_union_of_subspaces(
        240,
        20,
        n_subspaces=3,
        subspace_dim=[2, 3, 5],
        noise=noise,
        random_state=global_random_seed,
    )
    clusterer = CodingLengthClusterer().fit(X)
    assert clusterer.n_clusters_ == 3
    assert clustering_accuracy(y, clusterer.labels_) >= 0.97
    if noise <= 0.05:
        assert_array_equal(np.sort(clusterer.subspace_dims_), [2, 3, 5])


@pytest.mark.parametrize("distance", [1.0, 3.0])
def test_affine_subspaces_are_counted_with_their_means(distance):
    X, y = make_union_of_subspaces(
        240,
        10,
        n_subspaces=4,
        subspace_dim=2,
        noise=0.02,
        offset=distance,
        random_state=0,
    )
    clusterer = CodingLengthClusterer().fit(X)
    assert clusterer.code_mean_
    assert clusterer.n_clusters_ == 4
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert_array_equal(clusterer.subspace_dims_, [2] * 4)
    for k in range(4):
        members = X[clusterer.labels_ == k]
        assert_allclose(clusterer.means_[k], members.mean(0), atol=1e-12)


def test_blobs_are_counted():
    X, y = make_blobs(300, centers=5, cluster_std=0.6, random_state=3)
    clusterer = CodingLengthClusterer().fit(X)
    assert clusterer.n_clusters_ == 5
    assert clustering_accuracy(y, clusterer.labels_) == 1


def test_lengths_are_what_the_functions_say(union):
    X, _ = union
    clusterer = CodingLengthClusterer(distortion=0.05, code_mean=False).fit(X)
    direct = segmentation_coding_length(X, clusterer.labels_, distortion=0.05)
    assert_allclose(clusterer.coding_length_, direct, rtol=1e-10)
    curve = clusterer.coding_length_curve_
    assert_allclose(curve[clusterer.n_clusters_ - 1], direct, rtol=1e-10)
    assert_allclose(curve[0], coding_length(X, distortion=0.05), rtol=1e-10)
    assert np.isfinite(curve).all()
    assert_allclose(clusterer.merge_costs_.sum(), curve[0] - curve[-1], rtol=1e-9)


@pytest.mark.parametrize("code_mean", [False, True])
@pytest.mark.parametrize("basis_cost", [False, True])
def test_transform_gives_incremental_lengths(code_mean, basis_cost, union, rng):
    X, _ = union
    options = {"code_mean": code_mean, "basis_cost": basis_cost}
    clusterer = CodingLengthClusterer(4, distortion=0.05, fragment_size=1, **options)
    clusterer.fit(X)
    new = rng.normal(size=(5, 20))
    lengths = clusterer.transform(new)
    for k in range(4):
        members = X[clusterer.labels_ == k]
        before = coding_length(members, distortion=0.05, **options)
        for i in range(5):
            joint = np.vstack([members, new[i]])
            after = coding_length(joint, distortion=0.05, **options)
            label = -np.log(len(members) / len(X))
            assert_allclose(lengths[i, k], after - before + label, rtol=1e-8)
    assert_array_equal(clusterer.predict(new), lengths.argmin(axis=1))


def test_predict_agrees_with_the_labels_and_generalises():
    X, y = make_union_of_subspaces(
        600, 20, n_subspaces=3, subspace_dim=4, noise=0.03, random_state=0
    )
    clusterer = CodingLengthClusterer().fit(X[:300])
    assert np.mean(clusterer.predict(X[:300]) == clusterer.labels_) >= 0.95
    assert clustering_accuracy(y[300:], clusterer.predict(X[300:])) == 1


def test_dendrogram_can_be_drawn_and_cut(union):
    X, _ = union
    clusterer = CodingLengthClusterer().fit(X)
    matrix = linkage(clusterer, len(X))
    assert is_valid_linkage(matrix)
    drawing = dendrogram(matrix, no_plot=True, truncate_mode="level", p=3)
    assert drawing["ivl"]
    below = np.nextafter(clusterer.distance_threshold_, 0)
    cut = fcluster(matrix, below, criterion="distance")
    assert clustering_accuracy(cut, clusterer.labels_) == 1


def test_number_of_clusters_can_be_given(union):
    X, _ = union
    for n_clusters in (1, 2, 7, 240):
        clusterer = CodingLengthClusterer(n_clusters, distortion=0.05).fit(X)
        assert clusterer.n_clusters_ == n_clusters
        assert len(np.unique(clusterer.labels_)) == n_clusters


def test_partial_tree_has_the_same_labels(union):
    X = union[0][:120]
    full = CodingLengthClusterer().fit(X)
    part = clone(full).set_params(compute_full_tree=False).fit(X)
    assert_array_equal(full.labels_, part.labels_)
    assert len(part.children_) == len(X) - part.n_clusters_
    assert np.isnan(part.coding_length_curve_[: part.n_clusters_ - 1]).all()
    assert_array_equal(part.merge_costs_, full.merge_costs_[: len(part.merge_costs_)])


def test_outliers_are_left_out(union, rng):
    X, y = union
    strange = rng.normal(size=(25, 20))
    clusterer = CodingLengthClusterer(min_cluster_size=10).fit(np.vstack([X, strange]))
    assert clusterer.n_clusters_ == 4
    assert clustering_accuracy(y, clusterer.labels_[:240]) >= 0.97
    assert np.mean(clusterer.labels_[240:] == -1) >= 0.8
    assert_array_equal(np.bincount(clusterer.labels_ + 1)[1:], clusterer.cluster_sizes_)
    assert np.mean(clusterer.predict(5 * rng.normal(size=(50, 20))) == -1) > 0.8
    assert set(clusterer.predict(X)) <= {-1, 0, 1, 2, 3}


@pytest.mark.parametrize("connectivity", [12, "graph", "callable"])
def test_connectivity_finds_the_same_clusters(connectivity, union):
    X, y = union
    graph = kneighbors_graph(X, 12)
    connectivity = {"graph": graph, "callable": lambda _: graph}.get(
        connectivity, connectivity
    )
    clusterer = CodingLengthClusterer(connectivity=connectivity).fit(X)
    assert clusterer.n_clusters_ == 4
    assert clustering_accuracy(y, clusterer.labels_) >= 0.95


def test_complete_connectivity_changes_nothing(union):
    X, _ = union
    free = CodingLengthClusterer(distortion=0.05).fit(X)
    bound = clone(free).set_params(connectivity=np.ones((240, 240))).fit(X)
    assert_array_equal(free.children_, bound.children_)
    assert_array_equal(free.labels_, bound.labels_)


def test_wrong_connectivity_is_refused(union):
    clusterer = CodingLengthClusterer(connectivity=sparse.eye_array(7))
    with pytest.raises(ValueError, match="one row and one column for each"):
        clusterer.fit(union[0])


@pytest.mark.parametrize("name", ["n_clusters", "min_cluster_size"])
def test_more_than_samples_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}=9 is more than the n_samples=8"):
        CodingLengthClusterer(**{name: 9}).fit(np.eye(8))


def test_memory_is_checked_beforehand():
    X = np.zeros((60_000, 2))
    X[:, 0] = np.arange(60_000)
    with pytest.raises(ValueError, match="set connectivity"):
        CodingLengthClusterer(distortion=1.0, code_mean=False, fragment_size=1).fit(X)


def test_distortion_above_the_data_warns(union):
    with pytest.warns(UserWarning, match="all structure counts as noise"):
        clusterer = CodingLengthClusterer(distortion=100.0).fit(union[0])
    assert clusterer.n_clusters_ == 1


def test_too_large_minimum_size_warns():
    with pytest.warns(UserWarning, match="no cut of the tree"):
        CodingLengthClusterer(5, min_cluster_size=4, distortion=1.0).fit(np.eye(8))


def test_precision_is_kept(union, dtype):
    X, y = union
    clusterer = CodingLengthClusterer().fit(X.astype(dtype))
    assert clusterer.transform(X.astype(dtype)).dtype == dtype
    assert clusterer.bases_[0].dtype == dtype
    assert clusterer.labels_.dtype == np.int32
    assert clustering_accuracy(y, clusterer.labels_) >= 0.98


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_scale_does_not_matter(scale, union):
    X = union[0][:100]
    labels = CodingLengthClusterer().fit_predict(X)
    assert_array_equal(CodingLengthClusterer().fit_predict(scale * X), labels)


def test_order_of_samples_does_not_matter(union, rng):
    X = union[0][:120]
    order = rng.permutation(len(X))
    labels = CodingLengthClusterer().fit_predict(X)
    shuffled = CodingLengthClusterer().fit_predict(X[order])
    assert clustering_accuracy(labels[order], shuffled) == 1


def test_threads_do_not_matter(union):
    one, two = (CodingLengthClusterer(n_jobs=k).fit(union[0][:100]) for k in (1, 2))
    assert_array_equal(one.labels_, two.labels_)
    assert_array_equal(one.merge_costs_, two.merge_costs_)


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((6, 3)),
        np.ones((6, 3)),
        np.repeat(np.eye(3), 4, axis=0),
        np.vstack([np.zeros((3, 2)), np.ones((3, 2))]),
        np.eye(2),
        np.arange(12).reshape(6, 2),
        np.random.default_rng(0).normal(size=(5, 40)),
    ],
)
@pytest.mark.parametrize("connectivity", [None, 2])
def test_degenerate_data_are_clustered(X, connectivity):
    clusterer = CodingLengthClusterer(connectivity=connectivity).fit(X)
    assert np.isfinite(clusterer.transform(X)).all()
    assert (clusterer.labels_ >= 0).all()
    for row in np.unique(X, axis=0):
        copies = (row == X).all(axis=1)
        assert len(set(clusterer.labels_[copies])) <= max(1, copies.sum() // 2)


def test_state_is_plain_and_survives_pickling(union):
    X, _ = union
    clusterer = CodingLengthClusterer().fit(X)
    copy = pickle.loads(pickle.dumps(clusterer))
    assert_array_equal(copy.predict(X), clusterer.predict(X))
    kinds = (np.ndarray, int, float, bool, str, list, dict, type(None))
    assert all(isinstance(value, kinds) for value in vars(clusterer).values())


def test_tensors_come_back_as_tensors(union):
    X = torch.from_numpy(union[0])
    clusterer = CodingLengthClusterer(distortion=0.05).fit(X)
    assert torch.is_tensor(clusterer.predict(X))
    assert torch.is_tensor(clusterer.transform(X))
    assert isinstance(clusterer.labels_, np.ndarray)


def test_stages_are_logged(union, caplog):
    logger = logging.getLogger("sklearn_whitebox")
    logger.addHandler(caplog.handler)
    try:
        CodingLengthClusterer(verbose=1).fit(union[0])
    finally:
        logger.removeHandler(caplog.handler)
    assert "4 clusters at distortion" in caplog.text
