import pickle

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox import KSubspaces
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.metrics import clustering_accuracy


@pytest.fixture
def union():
    return make_union_of_subspaces(
        180, 12, n_subspaces=3, subspace_dim=3, noise=0.02, random_state=0
    )


def test_independent_subspaces_are_found(global_random_seed):
    X, y = make_union_of_subspaces(
        180,
        12,
        n_subspaces=3,
        subspace_dim=3,
        noise=0.02,
        random_state=global_random_seed,
    )
    clusterer = KSubspaces(3, random_state=0).fit(X)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert_array_equal(clusterer.subspace_dims_, [3, 3, 3])
    baseline = KMeans(3, random_state=0).fit_predict(X)
    assert clustering_accuracy(y, baseline) < 0.7


def test_fitted_attributes_agree(union):
    X, _ = union
    weights = np.random.default_rng(0).uniform(0.5, 2, size=len(X))
    clusterer = KSubspaces(3, subspace_dim=3, random_state=0)
    clusterer.fit(X, sample_weight=weights)
    distances = clusterer.transform(X)
    assert_array_equal(clusterer.labels_, distances.argmin(axis=1))
    assert_array_equal(clusterer.labels_, clusterer.predict(X))
    inertia = weights @ distances.min(axis=1) ** 2
    assert_allclose(clusterer.inertia_, inertia)
    assert_allclose(clusterer.score(X, sample_weight=weights), -inertia)
    assert (np.diff(clusterer.objective_curve_) <= 0).all()
    assert clusterer.n_iter_ == len(clusterer.objective_curve_)
    sizes = np.bincount(clusterer.labels_, weights)
    assert (np.diff(sizes) <= 0).all()
    for basis in clusterer.bases_:
        assert_allclose(basis @ basis.T, np.eye(3), atol=1e-12)


def test_order_of_samples_does_not_matter(union):
    X, _ = union
    order = np.random.default_rng(0).permutation(len(X))
    clusterer = KSubspaces(3, random_state=0)
    labels = clusterer.fit_predict(X)
    assert_array_equal(clusterer.fit_predict(X[order]), labels[order])


def test_samples_without_weight_are_labelled_by_the_nearest(union):
    X, y = union
    weights = (np.arange(len(X)) % 3 > 0).astype(float)
    clusterer = KSubspaces(3, random_state=0).fit(X, sample_weight=weights)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    part = KSubspaces(3, random_state=0).fit(X[weights > 0])
    assert_array_equal(clusterer.predict(X), part.predict(X))


def test_affine_subspaces_are_found():
    X, y = make_union_of_subspaces(
        240, 6, n_subspaces=3, subspace_dim=2, noise=0.01, offset=1.0, random_state=0
    )
    clusterer = KSubspaces(3, subspace_dim=2, affine=True, random_state=0).fit(X + 9)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert_array_equal(clusterer.predict(X + 9), clusterer.labels_)
    for k in range(3):
        members = X[clusterer.labels_ == k] + 9
        assert_allclose(clusterer.offsets_[k], members.mean(axis=0))


def test_brightness_does_not_matter_to_normalized_samples(union):
    X, _ = union
    scale = np.random.default_rng(0).uniform(0.01, 100, size=(len(X), 1))
    plain = KSubspaces(3, normalize=True, random_state=0).fit(X)
    scaled = KSubspaces(3, normalize=True, random_state=0).fit(X * scale)
    assert_allclose(plain.inertia_, scaled.inertia_)
    assert_array_equal(plain.predict(X * scale), plain.labels_)


def test_tensors_and_float32_are_kept(union):
    X, y = union
    tensor = torch.from_numpy(X.astype(np.float32))
    clusterer = KSubspaces(3, subspace_dim=3, random_state=0).fit(tensor)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert clusterer.bases_[0].dtype == np.float32
    assert clusterer.transform(tensor).dtype == torch.float32
    assert torch.is_tensor(clusterer.predict(tensor))


def test_model_survives_pickle_clone_and_threads(union):
    X, _ = union
    clusterer = KSubspaces(3, random_state=0).fit(X)
    copy = pickle.loads(pickle.dumps(clusterer))
    assert_array_equal(copy.transform(X), clusterer.transform(X))
    threaded = clone(clusterer).set_params(n_jobs=2).fit(X)
    assert threaded.objective_curve_ == clusterer.objective_curve_


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 200}, "n_samples=180 should be >= n_clusters=200"),
        ({"subspace_dim": 12}, "must be less than n_features=12"),
        ({"subspace_dim": 0}, "at least 1 with affine=False"),
        ({"subspace_dim": [1, 2]}, "has 2 entries"),
        ({"subspace_dim": [1.5, 2, 3]}, "subspace_dim"),
        ({"init": [np.eye(2, 12)] * 2}, "init has 2 bases"),
        ({"init": [np.eye(2, 11)] * 3}, r"init\[0\] has shape"),
        ({"init": [np.ones((2, 12))] * 3}, r"init\[0\] are not finite or dependent"),
    ],
)
def test_bad_settings_are_refused(union, settings, message):
    X, _ = union
    clusterer = KSubspaces(3).set_params(**settings)
    with pytest.raises(ValueError, match=message):
        clusterer.fit(X)


def test_bad_weights_are_refused(union):
    X, _ = union
    with pytest.raises(ValueError, match="at least one non-zero"):
        KSubspaces(3).fit(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match=r"sample.weight"):
        KSubspaces(3).fit(X, sample_weight=-np.ones(len(X)))


def test_memory_is_checked_beforehand(union):
    X, _ = union
    with (
        sklearn.config_context(working_memory=1e-4),
        pytest.raises(ValueError, match="working_memory"),
    ):
        KSubspaces(3).fit(X)


def test_a_failed_fit_keeps_the_model(union):
    X, _ = union
    clusterer = KSubspaces(3, random_state=0).fit(X)
    before = clusterer.predict(X)
    with pytest.raises(ValueError, match="NaN"):
        clusterer.fit(np.full((5, 12), np.nan))
    assert_array_equal(clusterer.predict(X), before)


def test_fewer_lines_than_clusters_warn():
    X = np.outer([1.0, 2.0, -1.0, 0.0, 5.0], [1.0, 1.0, 0.0])
    with pytest.warns(ConvergenceWarning, match="Only 1 of n_clusters=3"):
        clusterer = KSubspaces(3, random_state=0).fit(X)
    assert_array_equal(clusterer.labels_, 0)


def test_too_few_rounds_warn(union):
    X, _ = union
    clusterer = KSubspaces(
        3, subspace_dim=2, init="random", n_init=1, n_swaps=0, max_iter=1
    )
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        clusterer.fit(X)


@pytest.mark.parametrize(
    "X",
    [
        np.eye(5),
        np.vstack([np.zeros((2, 4)), np.eye(4), np.eye(4)]),
        np.hstack([np.random.default_rng(0).normal(size=(20, 3)), np.ones((20, 1))]),
        np.random.default_rng(0).normal(size=(6, 50)),
        np.random.default_rng(0).integers(0, 9, size=(30, 4)),
    ],
)
@pytest.mark.parametrize("affine", [False, True])
def test_awkward_data_get_finite_models(X, affine):
    clusterer = KSubspaces(3, affine=affine, random_state=0).fit(X)
    assert np.isfinite(clusterer.transform(X)).all()
    assert clusterer.labels_.dtype == np.int32
    assert len(np.unique(clusterer.labels_)) == clusterer.n_clusters_


def test_one_cluster_each_is_exact():
    X = np.random.default_rng(0).normal(size=(6, 4))
    clusterer = KSubspaces(6, subspace_dim=1, random_state=0).fit(X)
    assert clusterer.inertia_ < 1e-20
    assert sorted(clusterer.labels_) == list(range(6))


@pytest.mark.parametrize("scale", [1e-18, 1e8])
def test_scale_does_not_matter(union, scale):
    X, y = union
    X = (X * scale).astype(np.float32)
    clusterer = KSubspaces(3, random_state=0).fit(X)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert_array_equal(clusterer.predict(X), clusterer.labels_)


@pytest.mark.parametrize("weight", [20, 100, 1e12])
def test_equal_weights_change_no_dimension(weight):
    X, y = make_union_of_subspaces(
        150, 12, n_subspaces=3, subspace_dim=2, noise=0.05, random_state=0
    )
    clusterer = KSubspaces(3, random_state=0)
    clusterer.fit(X, sample_weight=np.full(len(X), weight))
    assert_array_equal(clusterer.subspace_dims_, [2, 2, 2])
    assert clustering_accuracy(y, clusterer.labels_) == 1
