import pickle

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from sklearn_whitebox import EnsembleKSubspaces
from sklearn_whitebox.datasets import make_union_of_subspaces
from sklearn_whitebox.metrics import clustering_accuracy


@pytest.fixture
def union():
    return make_union_of_subspaces(
        180, 12, n_subspaces=3, subspace_dim=3, noise=0.02, random_state=0
    )


@pytest.mark.parametrize("init", ["k-subspaces++", "random"])
@pytest.mark.parametrize(
    ("n_samples", "n_features", "n_subspaces", "dim", "noise", "least"),
    [(150, 100, 3, 10, 0.0, 0.95), (320, 20, 4, 5, 0.05, 0.98)],
)
def test_planted_subspaces_are_found(
    init, n_samples, n_features, n_subspaces, dim, noise, least
):
    X, y = make_union_of_subspaces(
        n_samples,
        n_features,
        n_subspaces=n_subspaces,
        subspace_dim=dim,
        noise=noise,
        random_state=0,
    )
    clusterer = EnsembleKSubspaces(
        n_subspaces, subspace_dim=dim, n_estimators=60, init=init, random_state=0
    ).fit(X)
    assert clustering_accuracy(y, clusterer.labels_) >= least


def test_votes_beat_a_single_short_run():
    X, y = make_union_of_subspaces(
        250, 9, n_subspaces=5, subspace_dim=6, noise=0.03, random_state=0
    )
    scores = [
        clustering_accuracy(
            y,
            EnsembleKSubspaces(
                5, subspace_dim=6, n_estimators=n, refine=False, random_state=0
            ).fit_predict(X),
        )
        for n in (1, 60)
    ]
    assert scores[1] > scores[0] + 0.1


def test_dimension_is_found_and_attributes_agree(union):
    X, y = union
    clusterer = EnsembleKSubspaces(3, n_estimators=30, random_state=0).fit(X)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert_array_equal(clusterer.subspace_dims_, [3, 3, 3])
    assert_array_equal(clusterer.predict(X), clusterer.labels_)
    assert_array_equal(clusterer.transform(X).argmin(axis=1), clusterer.labels_)
    assert clusterer.labels_[0] == 0
    affinity = clusterer.affinity_matrix_
    assert abs(affinity - affinity.T).max() < 1e-12
    assert affinity.diagonal().max() == 0
    assert len(clusterer.objectives_) == clusterer.n_iter_ == 30


def test_copies_get_one_label(union):
    X, _ = union
    doubled = np.vstack([X, -X[:90]])
    labels = EnsembleKSubspaces(3, n_estimators=20, random_state=0).fit_predict(doubled)
    assert_array_equal(labels[180:], labels[:90])


def test_model_survives_pickle_and_threads(union):
    X, _ = union
    clusterer = EnsembleKSubspaces(3, n_estimators=20, random_state=0).fit(X)
    copy = pickle.loads(pickle.dumps(clusterer))
    assert_array_equal(copy.transform(X), clusterer.transform(X))
    threaded = clone(clusterer).set_params(n_jobs=2).fit(X)
    assert_array_equal(threaded.labels_, clusterer.labels_)
    assert_array_equal(threaded.objectives_, clusterer.objectives_)


def test_tensors_and_float32_are_kept(union):
    X, y = union
    tensor = torch.from_numpy(X.astype(np.float32))
    clusterer = EnsembleKSubspaces(
        3, subspace_dim=3, n_estimators=20, random_state=0
    ).fit(tensor)
    assert clustering_accuracy(y, clusterer.labels_) == 1
    assert clusterer.transform(tensor).dtype == torch.float32
    assert torch.is_tensor(clusterer.predict(tensor))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 200}, "n_samples=180 should be >= n_clusters=200"),
        ({"subspace_dim": 12}, "must be less than n_features=12"),
    ],
)
def test_bad_settings_are_refused(union, settings, message):
    X, _ = union
    with pytest.raises(ValueError, match=message):
        EnsembleKSubspaces(3).set_params(**settings).fit(X)


def test_memory_is_checked_beforehand(union):
    X, _ = union
    with (
        sklearn.config_context(working_memory=1e-4),
        pytest.raises(ValueError, match="working_memory"),
    ):
        EnsembleKSubspaces(3).fit(X)


def test_fewer_distinct_samples_than_clusters_warn():
    X = np.outer([1.0, 2.0, -1.0, 3.0, 5.0], [1.0, 1.0, 0.0])
    with pytest.warns(ConvergenceWarning, match="Only 1 of n_clusters=3"):
        clusterer = EnsembleKSubspaces(3, n_estimators=5, random_state=0).fit(X)
    assert_array_equal(clusterer.labels_, 0)


@pytest.mark.parametrize(
    "X",
    [
        np.eye(5),
        np.vstack([np.zeros((2, 4)), np.eye(4), np.eye(4)]),
        np.random.default_rng(0).normal(size=(6, 50)),
        np.random.default_rng(0).normal(size=(3, 4)),
    ],
)
def test_awkward_data_get_finite_models(X):
    clusterer = EnsembleKSubspaces(3, n_estimators=10, random_state=0).fit(X)
    assert np.isfinite(clusterer.transform(X)).all()
    assert len(np.unique(clusterer.labels_)) == clusterer.n_clusters_
