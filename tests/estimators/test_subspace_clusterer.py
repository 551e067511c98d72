import dataclasses
import logging
import pickle

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from sklearn_whitebox import SubspaceClusterer
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.estimators import _subspace_labels
from sklearn_whitebox.metrics import clustering_accuracy
from sklearn_whitebox.solvers import _graph_choice, self_express

METHODS = ["auto", "elastic_net", "omp", "ridge"]
ALL_METHODS = [*METHODS, "lasso", "low_rank", "neighbors", "thresholding"]


@pytest.fixture
def union():
    return make_union_of_subspaces(
        180, 30, n_subspaces=3, subspace_dim=4, noise=0.02, random_state=0
    )


@pytest.mark.parametrize("method", ALL_METHODS)
@pytest.mark.parametrize("assign_labels", ["kmeans", "cluster_qr"])
def test_independent_subspaces_are_found(method, assign_labels, global_random_seed):
    X, y = make_union_of_subspaces(
        180, 30, n_subspaces=3, noise=0.02, random_state=global_random_seed
    )
    clusterer = SubspaceClusterer(
        3, method=method, assign_labels=assign_labels, random_state=0
    ).fit(X)
    # Near neighbours may be a matter of chance where subspaces come close.
    least = 0.99 if method == "neighbors" else 1
    assert clustering_accuracy(y, clusterer.labels_) >= least
    assert_array_equal(clusterer.subspace_dims_, [4, 4, 4])
    baseline = KMeans(3, random_state=0).fit_predict(X)
    assert clustering_accuracy(y, baseline) < 0.7


@pytest.mark.parametrize("method", METHODS)
def test_noisy_union_is_found(method):
    X, y = make_union_of_subspaces(
        320, 20, n_subspaces=4, subspace_dim=5, noise=0.05, random_state=1
    )
    labels = SubspaceClusterer(4, method=method, random_state=0).fit_predict(X)
    assert clustering_accuracy(y, labels) >= 0.95


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, 0.95),
        ({"method": "elastic_net"}, 0.82),
        ({"method": "lasso", "gamma": 500, "shared_neighbors": 0}, 0.95),
        ({"method": "omp"}, 0.6),
        (
            {
                "method": "omp",
                "n_nonzero_coefs": 6,
                "n_pursuits": 1,
                "shared_neighbors": 0,
                "refine": False,
            },
            0.45,
        ),
    ],
)
def test_close_subspaces_that_fill_the_space_are_mostly_found(options, least):
    scores = []
    for seed in range(5):
        X, y = make_union_of_subspaces(
            250, 9, n_subspaces=5, subspace_dim=6, random_state=seed
        )
        labels = SubspaceClusterer(5, random_state=0, **options).fit_predict(X)
        scores.append(clustering_accuracy(y, labels))
    assert np.median(scores) >= least


def test_refinement_repairs_flat_clusters_and_leaves_curved_ones():
    X, y = make_union_of_subspaces(
        1000, 9, n_subspaces=5, subspace_dim=6, random_state=0
    )
    plain = SubspaceClusterer(5, refine=False, random_state=0).fit(X)
    refined = SubspaceClusterer(5, random_state=0).fit(X)
    assert clustering_accuracy(y, plain.labels_) < 0.98
    assert clustering_accuracy(y, refined.labels_) == 1
    assert np.mean(refined.predict(X) == refined.labels_) >= 0.95
    digits, _ = load_digits(return_X_y=True)
    plain = SubspaceClusterer(10, refine=False, random_state=0).fit(digits[:600])
    refined = SubspaceClusterer(10, random_state=0).fit(digits[:600])
    assert clustering_accuracy(plain.labels_, refined.labels_) > 0.995


def test_digits_are_clustered_better_than_by_k_means():
    X, y = load_digits(return_X_y=True)
    labels = SubspaceClusterer(10, random_state=0).fit_predict(X)
    assert clustering_accuracy(y, labels) > 0.9
    baseline = KMeans(10, n_init=10, random_state=0).fit_predict(X)
    assert clustering_accuracy(y, baseline) < 0.85


@pytest.mark.parametrize("method", ["elastic_net", "omp"])
def test_affine_subspaces_are_found(method):
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 60)
    line = rng.uniform(-1, 1, size=(120, 1)) * [1.0, 1.0] + np.outer(y, [0.0, 1.5])
    X = line + 100.0
    clusterer = SubspaceClusterer(2, method=method, random_state=0).fit(X)
    assert clusterer.affine_
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert_allclose(clusterer.offset_, X.mean(0))
    assert clusterer.bases_[0].shape[1] == 3


@pytest.mark.parametrize("method", ["ridge", "omp", "low_rank"])
def test_samples_on_a_narrow_cone_are_reported(method, union):
    X = union[0] + 10
    with pytest.warns(UserWarning, match=r"cosine.*affine=True"):
        SubspaceClusterer(3, method=method, random_state=0).fit(X)
    SubspaceClusterer(3, method=method, affine=True, random_state=0).fit(X)


def test_multiples_of_a_sample_may_be_apart_for_near_neighbours(rng):
    y = np.repeat([0, 1, 2], 30)
    X = (np.array([2.0, 6.0, 10.0])[y] + 0.1 * rng.normal(size=90))[:, None]
    clusterer = SubspaceClusterer(3, random_state=0).fit(X)
    assert clusterer.method_ == "neighbors"
    assert clustering_accuracy(y, clusterer.labels_) == 1


@pytest.mark.parametrize("method", [m for m in ALL_METHODS if m != "auto"])
def test_clusters_are_counted_with_every_method(union, method):
    X, y = union
    clusterer = SubspaceClusterer(
        "auto", method=method, max_clusters=6, random_state=0
    ).fit(X)
    assert clusterer.n_clusters_ == 3
    assert clustering_accuracy(y, clusterer.labels_) >= 0.99


def test_a_tiny_cluster_does_not_spoil_prediction():
    X, _ = make_moons(600, noise=0.05, random_state=0)
    X = np.vstack([X, [[30.0, 30.0], [30.1, 30.0]]])
    clusterer = SubspaceClusterer(3, random_state=0).fit(X)
    assert_array_equal(np.bincount(clusterer.labels_), [300, 300, 2])
    assert np.mean(clusterer.predict(X) == clusterer.labels_) > 0.99


@pytest.mark.parametrize("unit", [1e-3, 1.0, 1e3])
def test_regularisation_is_in_the_unit_of_the_data(union, unit):
    X = union[0] * np.random.default_rng(0).uniform(0.5, 2, size=(180, 1)) * unit
    options = {"normalize": False, "random_state": 0}
    clusterer = SubspaceClusterer(
        3, method="ridge", alpha=3 * unit**2, predict_method="coding_length", **options
    ).fit(X)
    codes = self_express(X, method="ridge", alpha=3 * unit**2).solution
    assert_allclose(clusterer.representation_.toarray(), codes.toarray(), atol=1e-8)
    assert clusterer.predict_agreement_ > 0.95
    assert np.mean(clusterer.predict(X) == clusterer.labels_) > 0.95


def test_affine_clusters_do_not_move_with_the_data():
    X, y = make_union_of_subspaces(
        120, 10, n_subspaces=2, subspace_dim=2, offset=2.0, random_state=0
    )
    clusterer = SubspaceClusterer(2, affine=True, random_state=0).fit(X)
    moved = clone(clusterer).fit(X + 5.0)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert same_clusters(moved.labels_, clusterer.labels_)
    distances = np.sort(clusterer.transform(X), axis=1)
    assert_allclose(np.sort(moved.transform(X + 5.0), axis=1), distances, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_labels_follow_permutations_rotations_signs_and_scales(union, method, rng):
    X, _ = union
    clusterer = SubspaceClusterer(3, method=method, random_state=0)
    labels = clusterer.fit_predict(X)
    rotation = np.linalg.qr(rng.normal(size=(30, 30)))[0]
    scales = rng.choice([-1, 1], len(X)) * rng.uniform(0.1, 10, len(X))
    assert same_clusters(clusterer.fit_predict(X @ rotation), labels)
    assert same_clusters(clusterer.fit_predict(X * scales[:, None]), labels)
    # The order of the rows changes nothing, not even the names.
    order = rng.permutation(len(X))
    assert_array_equal(clusterer.fit_predict(X[order]), labels[order])


@pytest.mark.parametrize("method", METHODS)
def test_result_does_not_depend_on_threads(method):
    X, _ = make_union_of_subspaces(
        1100, 30, n_subspaces=3, subspace_dim=4, noise=0.02, random_state=0
    )
    one = SubspaceClusterer(3, method=method, n_jobs=1, random_state=0).fit(X)
    two = SubspaceClusterer(3, method=method, n_jobs=2, random_state=0).fit(X)
    assert_array_equal(one.labels_, two.labels_)
    assert_array_equal(one.representation_.data, two.representation_.data)
    assert_array_equal(one.affinity_matrix_.data, two.affinity_matrix_.data)
    assert_array_equal(one.transform(X), two.transform(X))


def test_small_work_runs_on_one_thread_and_gives_it_back(union, monkeypatch):
    X, _ = union
    seen = []

    class Spy(KMeans):
        def fit(self, X, *args, **options):
            seen.append((torch.get_num_threads(), openmp_threads()))
            return super().fit(X, *args, **options)

    def openmp_threads():
        pools = threadpool_info()
        return {p["num_threads"] for p in pools if p["user_api"] == "openmp"}

    monkeypatch.setattr(_subspace_labels, "KMeans", Spy)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threadpool_limits(2, user_api="openmp"):
            SubspaceClusterer(3, random_state=0).fit(np.tile(X, 2))
            assert torch.get_num_threads() == 2
            assert openmp_threads() == {2}
    finally:
        torch.set_num_threads(before)
    assert set(map(str, seen)) == {"(1, {1})"}


@pytest.mark.parametrize("method", METHODS)
def test_prediction_agrees_with_the_fit_and_extends_it(method):
    X, y = make_union_of_subspaces(400, 30, n_subspaces=4, random_state=0)
    clusterer = SubspaceClusterer(4, method=method, random_state=0).fit(X[:200])
    assert np.mean(clusterer.predict(X[:200]) == clusterer.labels_) >= 0.95
    assert clustering_accuracy(y[200:], clusterer.predict(X[200:])) == 1
    distances = clusterer.transform(X[200:])
    assert distances.shape == (200, 4)
    assert_allclose(distances.min(1), 0, atol=1e-7)
    assert_array_equal(distances.argmin(1), clusterer.predict(X[200:]))


def same_clusters(one, other):
    return clustering_accuracy(one, other) == 1


def disconnected(n_groups=30):
    X = np.zeros((4 * n_groups, 2 * n_groups))
    rng = np.random.default_rng(0)
    for k in range(n_groups):
        X[4 * k : 4 * k + 4, 2 * k : 2 * k + 2] = rng.normal(size=(4, 2))
    return X


def test_more_components_than_clusters_are_merged_with_a_warning():
    X = disconnected()
    clusterer = SubspaceClusterer(10, random_state=0)
    with pytest.warns(UserWarning, match="30 connected components"):
        labels = clusterer.fit_predict(X)
    assert clusterer.n_connected_components_ == 30
    assert clusterer.n_clusters_ == 10
    # No component is torn apart.
    assert all(len(set(labels[4 * k : 4 * k + 4])) == 1 for k in range(30))


def test_merging_finds_the_subspace_that_components_share():
    rng = np.random.default_rng(0)
    planes = [np.eye(6)[2 * k : 2 * k + 2] for k in range(3)]
    angles = rng.uniform(-0.1, 0.1, size=(90, 1))
    angles += np.tile(np.repeat([0.3, 1.4], 15), 3)[:, None]
    codes = np.hstack([np.cos(angles), np.sin(angles)])
    y = np.repeat([0, 1, 2], 30)
    X = np.stack([code @ planes[k] for code, k in zip(codes, y, strict=True)])
    clusterer = SubspaceClusterer(
        3, method="omp", n_nonzero_coefs=1, n_pursuits=2, random_state=0
    )
    with pytest.warns(UserWarning, match="connected components"):
        labels = clusterer.fit_predict(X)
    assert clustering_accuracy(y, labels) == 1


def test_disconnected_graph_is_refused_on_request():
    clusterer = SubspaceClusterer(10, on_disconnected="raise")
    with pytest.raises(ValueError, match=r"30 connected components.*merge"):
        clusterer.fit(disconnected())
    assert not hasattr(clusterer, "labels_")


@pytest.mark.filterwarnings("ignore:The coding length is shortest:UserWarning")
@pytest.mark.parametrize("n_clusters", [10, "auto"])
def test_disconnection_is_refused_or_reported_for_any_count(n_clusters):
    options = {"method": "ridge", "max_clusters": 5, "random_state": 0}
    clusterer = SubspaceClusterer(n_clusters, on_disconnected="raise", **options)
    with pytest.raises(ValueError, match="30 connected components"):
        clusterer.fit(disconnected())
    with pytest.warns(UserWarning, match="30 connected components") as record:
        SubspaceClusterer(n_clusters, **options).fit(disconnected())
    # Warnings name the line of the caller.
    assert {warning.filename for warning in record} == {__file__}


def test_debris_does_not_displace_the_clusters():
    X, y = make_union_of_subspaces(
        200, 20, n_subspaces=2, subspace_dim=3, random_state=0
    )
    X = np.hstack([X, np.zeros((200, 8))])
    debris = np.zeros((8, 28))
    debris[:, 20:] = np.kron(np.eye(4), [[1.0, 0.1], [1.0, -0.1]])
    with pytest.warns(UserWarning, match="connected components"):
        labels = SubspaceClusterer(2, random_state=0).fit_predict(
            np.vstack([X, debris])
        )
    assert clustering_accuracy(y, labels[:200]) == 1


def test_as_many_components_as_clusters_are_the_clusters():
    X = disconnected(4)
    labels = SubspaceClusterer(4, random_state=0).fit_predict(X)
    assert same_clusters(labels, np.repeat(np.arange(4), 4))


@pytest.mark.parametrize("method", METHODS)
def test_zero_isolated_and_repeated_rows_get_labels(union, method):
    X, y = union
    X = np.hstack([X, np.zeros((len(X), 1))])
    X = np.vstack([X, np.zeros((2, 31)), np.eye(31)[30:], X[:5], -2 * X[:5]])
    clusterer = SubspaceClusterer(3, method=method, random_state=0).fit(X)
    labels = clusterer.labels_
    assert clustering_accuracy(y, labels[:180]) == 1
    assert_array_equal(clusterer.isolated_, [180, 181, 182])
    assert_array_equal(labels[183:188], labels[:5])
    assert_array_equal(labels[188:], labels[:5])
    largest = np.argmax(np.bincount(labels))
    assert_array_equal(clusterer.predict(X[180:182]), [largest, largest])


def test_fewer_distinct_samples_than_clusters_give_fewer_clusters():
    X = np.repeat([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 5, axis=0)
    clusterer = SubspaceClusterer(3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="Only 2 of n_clusters=3"):
        clusterer.fit(X)
    assert clusterer.n_clusters_ == 2
    assert same_clusters(clusterer.labels_, [0] * 5 + [1] * 5)


@pytest.mark.parametrize("options", [{}, {"normalize": False}, {"affine": True}])
def test_unit_of_the_data_does_not_matter(union, options):
    X, _ = union
    clusterer = SubspaceClusterer(3, random_state=0, **options)
    labels = clusterer.fit_predict(X)
    assert same_clusters(clusterer.fit_predict(1e-150 * X), labels)
    assert same_clusters(clusterer.predict(1e-150 * X), labels)
    assert same_clusters(clusterer.fit_predict(1e60 * X), labels)


def test_one_cluster_holds_everything(union):
    X, _ = union
    assert set(SubspaceClusterer(1, random_state=0).fit_predict(X)) == {0}


@pytest.mark.parametrize("method", METHODS)
def test_single_precision_stays_single(union, method):
    X, y = union
    clusterer = SubspaceClusterer(3, method=method, random_state=0)
    clusterer.fit(X.astype(np.float32))
    assert clusterer.representation_.dtype == np.float32
    assert clusterer.bases_[0].dtype == np.float32
    assert clusterer.transform(X.astype(np.float32)).dtype == np.float32
    assert clustering_accuracy(y, clusterer.labels_) == 1


def test_tensors_come_back_as_tensors(union):
    X, _ = union
    clusterer = SubspaceClusterer(3, random_state=0).fit(torch.from_numpy(X))
    assert torch.is_tensor(clusterer.predict(torch.from_numpy(X)))
    distances = clusterer.transform(torch.from_numpy(X))
    assert_array_equal(distances.numpy(), clusterer.transform(X))


def test_fitted_model_survives_copies_and_storage(union):
    X, _ = union
    clusterer = SubspaceClusterer(3, random_state=0).fit(X)
    again = pickle.loads(pickle.dumps(clusterer))
    assert_array_equal(again.predict(X), clusterer.predict(X))
    skops = pytest.importorskip("skops.io")
    data = skops.dumps(clusterer)
    loaded = skops.loads(data, trusted=skops.get_untrusted_types(data=data))
    assert_array_equal(loaded.transform(X), clusterer.transform(X))
    assert (loaded.representation_ != clusterer.representation_).nnz == 0


def test_names_and_pipelines_work(union):
    X, _ = union
    pipeline = make_pipeline(
        StandardScaler(with_mean=False), SubspaceClusterer(3, random_state=0)
    ).set_output(transform="pandas")
    frame = pipeline.fit(X).transform(X)
    assert list(frame.columns) == [f"subspaceclusterer{k}" for k in range(3)]
    assert len(pipeline.fit_predict(X)) == len(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 1.0}, "gamma"),
        ({"l1_ratio": 0.0}, "l1_ratio"),
        ({"method": "sparse"}, "method"),
        ({"n_anchors": 5}, "n_anchors=5 should be >= n_clusters=8"),
        ({"n_clusters": 181}, "n_samples=180 should be >= n_clusters=181"),
    ],
)
def test_impossible_settings_are_refused(union, options, message):
    with pytest.raises(ValueError, match=message):
        SubspaceClusterer(**options).fit(union[0])


def test_blocks_of_the_threads_count_in_the_memory_budget():
    X, _ = make_union_of_subspaces(1000, 20, n_subspaces=2, random_state=0)
    with sklearn.config_context(working_memory=1):
        with pytest.raises(ValueError, match="budget"):
            SubspaceClusterer(2, method="elastic_net", n_jobs=8).fit(X)
        SubspaceClusterer(2, method="omp", n_jobs=1, random_state=0).fit(X)


def test_work_beyond_the_memory_budget_is_refused_beforehand(rng):
    X = rng.normal(size=(20_000, 10))
    with (
        sklearn.config_context(working_memory=1),
        pytest.raises(ValueError, match="budget"),
    ):
        SubspaceClusterer(3).fit(X)


def test_lack_of_convergence_is_reported(union, monkeypatch):
    def impatient(X, **options):
        result = self_express(X, **options)
        return dataclasses.replace(result, converged=False, gap=0.5)

    monkeypatch.setattr(_graph_choice, "self_express", impatient)
    with pytest.warns(ConvergenceWarning, match=r"violates .* 5.0e-01.*lower gamma"):
        SubspaceClusterer(3, method="elastic_net", random_state=0).fit(union[0])


def test_verbose_reports_the_stages(union, caplog):
    with caplog.at_level(logging.INFO, logger="sklearn_whitebox"):
        SubspaceClusterer(3, verbose=1, random_state=0).fit(union[0])
    assert "neighbor_overlap" in caplog.text
    assert "edges in 3 parts" in caplog.text
