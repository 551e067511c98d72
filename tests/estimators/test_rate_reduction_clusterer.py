import logging
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler

from sklearn_whitebox import RateReductionClusterer
from sklearn_whitebox.functional import rate_reduction, segmentation_coding_length
from sklearn_whitebox.metrics import clustering_accuracy


def orthogonal_subspaces(rng, n_clusters=3, dim=4, n_features=30, size=60, noise=0.02):
    Q = np.linalg.qr(rng.normal(size=(n_features, n_features)))[0]
    y = np.repeat(np.arange(n_clusters), size)
    X = np.vstack(
        [
            rng.normal(size=(size, dim)) @ Q[k * dim : (k + 1) * dim]
            for k in range(n_clusters)
        ]
    )
    order = rng.permutation(len(X))
    return (X + noise * rng.normal(size=X.shape))[order], y[order]


@pytest.fixture
def subspaces(rng):
    return orthogonal_subspaces(rng)


@pytest.mark.parametrize("hidden", [(), (32,), (32, 16)])
def test_orthogonal_subspaces_are_recovered(subspaces, hidden):
    X, y = subspaces
    model = RateReductionClusterer(3, hidden_layer_sizes=hidden, random_state=0).fit(X)
    assert clustering_accuracy(y, model.labels_) == 1
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    assert model.n_clusters_ == 3


def test_training_lowers_the_loss(subspaces):
    model = RateReductionClusterer(
        3, n_columns=None, learning_rate=1e-3, random_state=0
    ).fit(subspaces[0])
    assert len(model.loss_curve_) == model.n_iter_ == 20
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_random_start_recovers_orthogonal_subspaces(rng):
    X, y = orthogonal_subspaces(rng, size=150)
    model = RateReductionClusterer(
        3, init="random", n_components=32, max_iter=40, random_state=0
    ).fit(X)
    assert clustering_accuracy(y, model.labels_) >= 0.95


def test_new_samples_go_to_their_subspace(subspaces):
    X, y = subspaces
    model = RateReductionClusterer(3, random_state=0).fit(X[::2])
    assert clustering_accuracy(y[1::2], model.predict(X[1::2])) == 1


def test_features_of_the_clusters_become_orthogonal(subspaces):
    X, y = subspaces
    Z = RateReductionClusterer(3, random_state=0).fit(X).transform(X)
    across = np.abs(Z @ Z.T)[y[:, None] != y]
    assert across.mean() < 0.05


def test_features_are_unit_rows_that_do_not_depend_on_their_batch(subspaces, dtype):
    X = subspaces[0].astype(dtype)
    model = RateReductionClusterer(3, max_iter=3, random_state=0).fit(X)
    Z = model.transform(X)
    assert Z.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(Z, model.embedding_, atol=1e-6)
    one_by_one = np.vstack([model.transform(x[None]) for x in X[:5]])
    np.testing.assert_allclose(one_by_one, Z[:5], atol=1e-5)


def test_length_and_sign_of_a_sample_do_not_matter(subspaces, rng):
    X, _ = subspaces
    model = RateReductionClusterer(3, max_iter=3, random_state=0).fit(X)
    scale = rng.choice([-1, 1], size=(len(X), 1)) * 10 ** rng.uniform(
        -6, 6, (len(X), 1)
    )
    np.testing.assert_array_equal(model.predict(X * scale), model.predict(X))
    again = clone(model).fit(X * scale)
    np.testing.assert_array_equal(again.labels_, model.labels_)


@pytest.mark.parametrize("init", ["ridge", "random"])
def test_same_seed_same_model(subspaces, init):
    X, _ = subspaces
    model = RateReductionClusterer(3, init=init, max_iter=3, random_state=3)
    first, second = clone(model).fit(X), clone(model).fit(X)
    np.testing.assert_array_equal(first.labels_, second.labels_)
    for name, w in first.weights_.items():
        np.testing.assert_array_equal(w, second.weights_[name])
    other = clone(model).set_params(random_state=4).fit(X)
    assert first.loss_curve_ != other.loss_curve_


def test_row_order_changes_only_names(subspaces, rng):
    X, _ = subspaces
    order = rng.permutation(len(X))
    model = RateReductionClusterer(3, random_state=0)
    labels, moved = model.fit_predict(X), clone(model).fit_predict(X[order])
    assert clustering_accuracy(labels[order], moved) == 1


def test_labels_are_numbered_by_first_appearance(subspaces):
    labels = RateReductionClusterer(3, max_iter=0, random_state=0).fit_predict(
        subspaces[0]
    )
    assert labels.dtype == np.int32
    _, first = np.unique(labels, return_index=True)
    assert (np.diff(first) > 0).all()
    assert labels[0] == 0


def test_without_training_the_features_are_whitened_coordinates(subspaces):
    X, y = subspaces
    model = RateReductionClusterer(3, max_iter=0, random_state=0).fit(X)
    assert model.loss_curve_ == []
    assert model.n_iter_ == 0
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    ridge = 0.5 * len(X) / X.shape[1] * np.eye(X.shape[1])
    gram = rows @ np.linalg.solve(rows.T @ rows + ridge, rows.T)
    norms = np.sqrt(np.diag(gram))
    Z = model.transform(X)
    np.testing.assert_allclose(Z @ Z.T, gram / norms / norms[:, None], atol=1e-4)
    assert clustering_accuracy(y, model.labels_) == 1


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_the_larger_rate_reduction_are_kept(rng, seed):
    X, _ = orthogonal_subspaces(rng, n_features=16, dim=5, noise=0.4)
    start = RateReductionClusterer(3, max_iter=0, random_state=seed).fit(X)
    model = RateReductionClusterer(
        3, learning_rate=0.03, temperature=0.2, random_state=seed
    ).fit(X)
    assert not start.keeps_start_
    Z = model.embedding_
    kept, rival = (
        rate_reduction(Z, labels, distortion=0.1)
        for labels in (model.labels_, start.labels_)
    )
    assert kept >= rival - 1e-6
    if model.keeps_start_:
        np.testing.assert_array_equal(model.labels_, start.labels_)


def test_number_of_clusters_is_found_by_coding_length(subspaces):
    X, y = subspaces
    model = RateReductionClusterer("auto", max_clusters=6, random_state=0).fit(X)
    assert model.n_clusters_ == 3
    assert clustering_accuracy(y, model.labels_) == 1
    path = model.n_clusters_path_
    np.testing.assert_array_equal(path[:, 0], np.arange(1, 7))
    assert path[path[:, 1].argmin(), 0] == 3
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    length = segmentation_coding_length(rows, model.labels_, distortion=0.05)
    assert path[2, 1] == pytest.approx(length, rel=1e-6)


def test_a_best_cut_at_the_end_of_the_range_warns(subspaces):
    model = RateReductionClusterer("auto", max_clusters=2, max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning, match="max_clusters=2"):
        model.fit(subspaces[0])


def test_samples_beyond_the_anchors_follow_them(subspaces):
    X, y = subspaces
    model = RateReductionClusterer(3, max_anchors=60, random_state=0).fit(X)
    assert model.affinity_matrix_.shape == (60, 60)
    assert len(model.anchor_indices_) == 60
    assert clustering_accuracy(y, model.labels_) == 1


def test_copies_share_a_label_and_zero_rows_join_the_largest_cluster(subspaces):
    X, _ = subspaces
    X = np.vstack([X, np.repeat(X[:1], 40, axis=0), -X[:1], np.zeros((2, X.shape[1]))])
    model = RateReductionClusterer(3, max_iter=3, random_state=0).fit(X)
    assert len(set(model.labels_[180:221].tolist()) | {int(model.labels_[0])}) == 1
    largest = np.bincount(model.labels_[:-2]).argmax()
    assert (model.labels_[-2:] == largest).all()
    assert (model.predict(X[-2:]) == largest).all()
    assert not model.transform(X[-2:]).any()
    assert len(model.anchor_indices_) == 180


@pytest.mark.parametrize(
    "X",
    [
        np.zeros((10, 3)),
        np.ones((10, 3)),
        np.eye(10)[:, :1] + 1,
        np.repeat(np.eye(3)[:2], 5, axis=0),
    ],
    ids=["zeros", "copies", "one feature", "two directions"],
)
def test_too_few_directions_warn(X):
    with pytest.warns(ConvergenceWarning, match="n_clusters=3 clusters were found"):
        model = RateReductionClusterer(3, max_iter=2, random_state=0).fit(X)
    assert model.labels_.max() + 1 == model.n_clusters_ == len(model.bases_) < 3
    assert np.isfinite(model.transform(X)).all()
    assert model.predict(X).shape == (len(X),)


def test_numbers_that_overflow_are_refused(rng):
    X = rng.normal(size=(20, 3)) * 1e200
    with pytest.raises(ValueError, match="overflow float64; scale the features first"):
        RateReductionClusterer(3).fit(X)


@pytest.mark.parametrize("n_clusters", [1, 6])
def test_one_cluster_and_as_many_as_samples(rng, n_clusters):
    X = rng.normal(size=(6, 4))
    model = RateReductionClusterer(n_clusters, max_iter=2, random_state=0).fit(X)
    assert len(np.unique(model.labels_)) == n_clusters


@pytest.mark.parametrize("scale", [1e-15, 1e12])
def test_units_do_not_matter(subspaces, scale, dtype):
    X, y = subspaces
    model = RateReductionClusterer(3, max_iter=2, random_state=0)
    labels = model.fit_predict((X * scale).astype(dtype))
    assert clustering_accuracy(y, labels) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"temperature": 1e-9},
        {"temperature": 1e9},
        {"distortion": 1e-9},
        {"distortion": 1e9},
        {"compression_weight": 50.0},
        {"learning_rate": 1.0},
        {"batch_size": 2},
        {"n_neighbors": 1000},
        {"n_components": 1},
    ],
)
@pytest.mark.filterwarnings("ignore:The affinity graph has")
def test_extreme_settings_give_finite_features(subspaces, settings):
    model = RateReductionClusterer(3, max_iter=2, random_state=0, **settings)
    model.fit(subspaces[0][:60])
    assert np.isfinite(model.embedding_).all()
    assert model.n_clusters_ == 3


def test_more_features_than_samples(rng):
    X, y = orthogonal_subspaces(rng, n_features=200, size=20)
    model = RateReductionClusterer(3, random_state=0).fit(X)
    assert model.embedding_.shape == (60, 60)
    assert clustering_accuracy(y, model.labels_) == 1


def test_many_components_warn_and_are_merged(rng):
    X, y = orthogonal_subspaces(rng, n_clusters=6, size=40, noise=0)
    model = RateReductionClusterer(3, n_neighbors=5, max_iter=2, random_state=0)
    with pytest.warns(UserWarning, match="6 connected components, more than"):
        model.fit(X)
    assert model.n_connected_components_ == 6
    assert model.n_clusters_ == 3
    contingency = [set(y[model.labels_ == k]) for k in range(3)]
    assert sum(map(len, contingency)) == 6


def test_tensors_come_back_as_tensors(subspaces):
    X = torch.from_numpy(subspaces[0])
    model = RateReductionClusterer(3, max_iter=2, random_state=0).fit(X)
    assert isinstance(model.labels_, np.ndarray)
    labels, Z = model.predict(X), model.transform(X)
    assert torch.is_tensor(labels)
    assert labels.dtype == torch.int32
    assert torch.is_tensor(Z)
    assert Z.dtype == torch.float64


def test_pickled_model_is_the_same(subspaces):
    X, _ = subspaces
    model = RateReductionClusterer(3, max_iter=2, random_state=0).fit(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(again.transform(X), model.transform(X))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_failed_refit_keeps_the_old_model(subspaces, error, monkeypatch):
    X, _ = subspaces
    model = RateReductionClusterer(3, max_iter=2, random_state=0).fit(X)
    before = model.predict(X)

    def fail(*_, **__):
        raise error

    module = "sklearn_whitebox.estimators._rate_clusterer_steps.membership_affinity"
    monkeypatch.setattr(module, fail)
    with pytest.raises(error):
        model.fit(X[:, :5])
    monkeypatch.undo()
    np.testing.assert_array_equal(model.predict(X), before)
    assert model.n_features_in_ == X.shape[1]


def test_passes_are_logged(subspaces, caplog):
    logger = logging.getLogger("sklearn_whitebox")
    logger.addHandler(caplog.handler)
    try:
        RateReductionClusterer(3, max_iter=2, verbose=2).fit(subspaces[0])
    finally:
        logger.removeHandler(caplog.handler)
    assert sum("iteration" in line for line in caplog.messages) == 2


def test_features_are_named_in_pipelines(subspaces):
    X, _ = subspaces
    model = make_pipeline(
        MaxAbsScaler(), RateReductionClusterer(3, n_components=4, max_iter=1)
    )
    model.set_output(transform="pandas")
    names = model.fit(X).transform(X).columns.tolist()
    assert names == [f"ratereductionclusterer{i}" for i in range(4)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_clusters": 200}, "n_clusters=200 must be at most the 180 samples"),
        ({"max_anchors": 2}, "max_anchors=2 must be at least n_clusters=3"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes="),
        ({"hidden_layer_sizes": ("a",)}, "hidden_layer_sizes="),
        ({"device": "nonsense"}, "device='nonsense'"),
        ({"batch_size": 1}, "'batch_size' parameter"),
        ({"learning_rate": 1e30, "max_iter": 3}, "Training diverged"),
    ],
)
def test_bad_settings_are_named(subspaces, settings, message):
    settings = {"n_clusters": 3, **settings}
    with pytest.raises(ValueError, match=message):
        RateReductionClusterer(**settings).fit(subspaces[0])


def test_too_large_steps_are_refused(rng):
    X = rng.normal(size=(60_000, 4))
    model = RateReductionClusterer(3, batch_size=60_000, max_iter=1)
    with pytest.raises(ValueError, match="lower batch_size"):
        model.fit(X)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_gpu_and_cpu_find_the_same_clusters(subspaces):
    X, y = subspaces
    model = RateReductionClusterer(3, device="cuda", random_state=0).fit(X)
    assert clustering_accuracy(y, model.labels_) == 1
    on_cpu = clone(model).set_params(device="cpu").fit(X)
    np.testing.assert_array_equal(on_cpu.labels_, model.labels_)
    Z = model.transform(torch.from_numpy(X).cuda())
    assert Z.is_cuda


@pytest.mark.slow
def test_digits_reach_the_accuracy_of_the_benchmark():
    X, y = load_digits(return_X_y=True)
    labels = RateReductionClusterer(10, random_state=0).fit_predict(X)
    assert clustering_accuracy(y, labels) >= 0.88


def test_features_that_vanish_are_reported():
    X = np.random.default_rng(0).normal(size=(150, 12))
    clusterer = RateReductionClusterer(
        3, max_iter=3, n_components=16, learning_rate=1e10, random_state=0
    )
    with pytest.raises(ValueError, match=r"diverged.*learning_rate"):
        clusterer.fit(X)
