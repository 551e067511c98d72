import pickle
import warnings

import numpy as np
import pytest
import sklearn
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_digits, load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_whitebox import NearestSubspaceClassifier
from sklearn_whitebox.datasets import make_union_of_subspaces

FORMS = [
    {"criterion": criterion, "centered": centered}
    for criterion in ("coding_length", "residual")
    for centered in (False, True)
]


@parametrize_with_checks(
    [
        NearestSubspaceClassifier(),
        NearestSubspaceClassifier(1, criterion="residual"),
        NearestSubspaceClassifier(0.9, centered=True),
        NearestSubspaceClassifier(None, priors="empirical"),
        NearestSubspaceClassifier(criterion="residual", centered=True),
    ]
)
def test_follows_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def wine():
    X, y = load_wine(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X / 16, y, stratify=y, random_state=0, train_size=900)


def test_predictions_are_those_of_projections_by_hand(digits):
    X, X_test, y, _ = digits
    model = NearestSubspaceClassifier(8, criterion="residual").fit(X, y)
    residuals = np.empty((len(X_test), 10))
    for k in range(10):
        V = np.linalg.svd(X[y == k], full_matrices=False)[2][:8]
        residuals[:, k] = np.linalg.norm(X_test - X_test @ V.T @ V, axis=1)
    assert_allclose(model.transform(X_test), residuals, rtol=1e-7)
    assert_array_equal(model.predict(X_test), residuals.argmin(axis=1))


def test_centred_subspaces_pass_through_the_means(digits):
    X, X_test, y, _ = digits
    model = NearestSubspaceClassifier(5, criterion="residual", centered=True)
    model.fit(X, y)
    for k in (0, 7):
        mean = X[y == k].mean(axis=0)
        V = np.linalg.svd(X[y == k] - mean, full_matrices=False)[2][:5]
        gaps = X_test - mean
        distances = np.linalg.norm(gaps - gaps @ V.T @ V, axis=1)
        assert_allclose(model.transform(X_test)[:, k], distances, rtol=1e-7)
        assert_allclose(model.means_[k], mean)


def test_centred_points_are_nearest_centroids(rng):
    X = rng.normal(size=(60, 1)) + np.repeat([[0.0], [3.0], [6.0]], 20, axis=0)
    y = np.repeat([0, 1, 2], 20)
    model = NearestSubspaceClassifier(centered=True, criterion="residual").fit(X, y)
    assert model.ranks_.tolist() == [0, 0, 0]
    assert_array_equal(model.predict(X), NearestCentroid().fit(X, y).predict(X))


@pytest.mark.parametrize("form", FORMS)
def test_subspaces_are_told_apart(form):
    X, y = make_union_of_subspaces(
        400, 20, n_subspaces=4, subspace_dim=4, noise=0.02, random_state=0
    )
    model = NearestSubspaceClassifier(**form).fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.98
    for k, basis in enumerate(model.bases_):
        assert basis.shape == (model.ranks_[k], 20)
        assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-12)
        rows = X[::2][y[::2] == k]
        rows = rows - rows.mean(axis=0) * form["centered"]
        values = np.linalg.svd(rows, compute_uv=False)
        assert_allclose(model.spectra_[k], values[: len(model.spectra_[k])], rtol=1e-6)


@pytest.mark.parametrize("criterion", ["coding_length", "residual"])
def test_chosen_ranks_beat_the_published_rule(criterion, wine):
    X, y = wine
    accuracies = []
    for n_components in ("auto", None):
        model = NearestSubspaceClassifier(n_components, criterion=criterion)
        accuracies.append(cross_val_score(model, X, y, cv=StratifiedKFold(10)).mean())
        assert bool(model.fit(X, y).rank_path_) == (n_components == "auto")
    assert model.ranks_.tolist() == [4, 4, 4]
    assert accuracies[0] > accuracies[1] + 0.02


def test_chosen_ranks_are_good_for_unseen_digits(digits):
    X, X_test, y, y_test = digits
    model = NearestSubspaceClassifier().fit(X, y)
    assert model.score(X_test, y_test) > 0.975
    assert abs(model.rank_path_["accuracy"].max() - model.score(X_test, y_test)) < 0.015


@pytest.mark.parametrize("form", FORMS)
def test_probabilities_are_calibrated(form, digits):
    X, X_test, y, y_test = digits
    model = NearestSubspaceClassifier(**form).fit(X, y)
    tempered = log_loss(y_test, model.predict_proba(X_test))
    own = model.transform(X)[np.arange(len(X)), y]
    naive = -(model.transform(X_test) ** 2) / (2 * np.mean(own**2))
    naive = np.exp(naive - naive.max(axis=1, keepdims=True))
    naive = log_loss(y_test, naive / naive.sum(axis=1, keepdims=True))
    assert tempered < 0.1
    assert tempered < naive / 2
    confidence = model.predict_proba(X_test).max(axis=1).mean()
    assert confidence == pytest.approx(model.score(X_test, y_test), abs=0.02)


def test_share_of_energy_sets_the_ranks(digits):
    X, _, y, _ = digits
    model = NearestSubspaceClassifier(0.95).fit(X, y)
    for k in range(10):
        squares = np.linalg.svd(X[y == k], compute_uv=False) ** 2
        share = np.cumsum(squares) / squares.sum()
        rank = model.ranks_[k]
        assert share[rank - 1] >= 0.95 > share[rank - 2]


def test_one_direction_stays_free(rng):
    X, y = rng.normal(size=(60, 4)), np.arange(60) % 2
    for n_components in (4, 100, 1.0):
        model = NearestSubspaceClassifier(n_components).fit(X, y)
        assert model.ranks_.tolist() == [3, 3]
    few = NearestSubspaceClassifier(3).fit(X[:4], y[:4])
    assert few.ranks_.tolist() == [2, 2]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n_components", ["auto", 3, 0.9])
def test_batches_in_any_order_give_one_fit(form, n_components, digits, rng):
    X, _, y, _ = digits
    form = {"n_components": n_components, **form}
    whole = NearestSubspaceClassifier(**form).fit(X, y)
    parts = NearestSubspaceClassifier(**form)
    order = rng.permutation(len(X))
    for rows in np.array_split(order, [50, 51, 400]):
        parts.partial_fit(X[rows], y[rows], classes=np.arange(10))
    assert_array_equal(parts.ranks_, whole.ranks_)
    assert_allclose(parts.temperature_, whole.temperature_, rtol=1e-6)
    assert_allclose(parts.predict_proba(X), whole.predict_proba(X), atol=1e-7)


def test_only_some_samples_judge_and_the_parts_do_not_matter(monkeypatch, digits):
    module = "sklearn_whitebox.estimators._nearest_subspace_classifier"
    monkeypatch.setattr(f"{module}._MOST_JUDGES", 300)
    X, X_test, y, y_test = digits
    whole = NearestSubspaceClassifier().fit(X, y)
    parts = NearestSubspaceClassifier()
    for rows in np.array_split(np.arange(len(X))[::-1], 7):
        parts.partial_fit(X[rows], y[rows], classes=np.arange(10))
    assert len(whole._judges[0]) == 300
    assert_array_equal(parts._judges[0], whole._judges[0])
    assert_array_equal(parts.ranks_, whole.ranks_)
    assert whole.score(X_test, y_test) > 0.97


def test_weights_count_samples(digits, rng):
    X, X_test, y, _ = digits
    weights = rng.integers(0, 4, len(X))
    weighted = NearestSubspaceClassifier().fit(X, y, sample_weight=weights)
    copies = np.repeat(np.arange(len(X)), weights)
    repeated = NearestSubspaceClassifier().fit(X[copies], y[copies])
    assert_array_equal(weighted.ranks_, repeated.ranks_)
    assert_allclose(
        weighted.predict_proba(X_test), repeated.predict_proba(X_test), atol=1e-7
    )


def test_order_of_rows_does_not_matter(digits, rng):
    X, X_test, y, _ = digits
    order = rng.permutation(len(X))
    first = NearestSubspaceClassifier().fit(X, y).predict_proba(X_test)
    second = NearestSubspaceClassifier().fit(X[order], y[order]).predict_proba(X_test)
    assert_allclose(second, first, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_scale_does_not_matter(form, wine):
    X, y = wine
    expected = NearestSubspaceClassifier(**form).fit(X, y).predict_proba(X)
    for scale in (1e-30, 1e-6, 1e6, 1e30):
        found = NearestSubspaceClassifier(**form).fit(scale * X, y)
        assert_allclose(found.predict_proba(scale * X), expected, atol=1e-6)
    single = (X * 1e12).astype(np.float32)
    found = NearestSubspaceClassifier(**form).fit(single, y).predict_proba(single)
    assert_allclose(found, expected, atol=1e-3)


def test_rotation_does_not_matter(wine, rng):
    X, y = wine
    rotation = np.linalg.qr(rng.normal(size=(13, 13)))[0]
    model = NearestSubspaceClassifier(centered=True)
    first = model.fit(X, y).predict_proba(X)
    X = X @ rotation
    assert_allclose(model.fit(X, y).predict_proba(X), first, atol=1e-8)


def test_features_beyond_samples_are_fine(rng):
    X = rng.normal(size=(40, 500))
    y = np.repeat(["a", "b"], 20)
    X[y == "b"] += 3 * rng.normal(size=500)
    model = NearestSubspaceClassifier().fit(X[::2], y[::2])
    assert model.score(X[1::2], y[1::2]) > 0.9
    assert all(len(factor) <= 10 for factor in model.factors_)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "X",
    [
        np.zeros((6, 3)),
        np.repeat(np.eye(3), 2, axis=0),
        np.ones((6, 2)),
        np.arange(6.0)[:, None],
    ],
)
@pytest.mark.parametrize("y", [[0, 0, 1, 1, 2, 2], [0] * 6, [0, 1, 2, 3, 4, 5]])
def test_degenerate_data_are_classified(form, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = NearestSubspaceClassifier(**form).fit(X, y)
        probabilities = model.predict_proba(X)
    assert_allclose(probabilities.sum(axis=1), 1)
    assert np.isfinite(model.transform(X)).all()


def test_noiseless_subspaces_are_told_apart():
    X, y = make_union_of_subspaces(90, 9, n_subspaces=3, subspace_dim=2, random_state=0)
    for form in FORMS:
        assert NearestSubspaceClassifier(2, **form).fit(X, y).score(X, y) == 1
    single = X.astype(np.float32)
    assert NearestSubspaceClassifier(2).fit(single, y).score(single, y) == 1


def test_classes_without_samples_yet_are_not_predicted(wine):
    X, y = wine
    model = NearestSubspaceClassifier(centered=True)
    model.partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    assert 2 not in model.predict(X)
    assert (model.predict_proba(X)[:, 2] == 0).all()
    model.partial_fit(X[100:], y[100:])
    assert model.score(X, y) > 0.9


def test_priors_move_the_decision(wine):
    X, y = wine
    uniform = NearestSubspaceClassifier(3, criterion="residual").fit(X, y)
    assert_allclose(uniform.class_prior_, 1 / 3)
    empirical = NearestSubspaceClassifier(3, priors="empirical").fit(X, y)
    assert_allclose(empirical.class_prior_, np.bincount(y) / len(y))
    tilted = NearestSubspaceClassifier(3, priors=[0.98, 0.01, 0.01]).fit(X, y)
    assert (tilted.predict(X) == 0).mean() > (uniform.predict(X) == 0).mean()


@pytest.mark.parametrize(
    ("priors", "message"),
    [([0.5, 0.5], "shape"), ([0.9, 0.9, -0.8], "non-negative"), ([1, 1, 1], "sum")],
)
def test_wrong_priors_are_refused(priors, message, wine):
    with pytest.raises(ValueError, match=message):
        NearestSubspaceClassifier(priors=priors).fit(*wine)


def test_wrong_classes_are_refused(wine):
    X, y = wine
    with pytest.raises(ValueError, match="classes must be passed"):
        NearestSubspaceClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match="not in classes"):
        NearestSubspaceClassifier().partial_fit(X, y, classes=[0, 1])
    model = NearestSubspaceClassifier().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="not the same as on the last call"):
        model.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(X[:, :4], y)
    assert model.score(X, y) > 0.8


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(178), "non-zero|zero for every"),
        (np.full(178, 1e-6), "scale them"),
        (np.full(178, -1.0), "[Nn]egative"),
        (np.ones(3), "shape"),
    ],
)
def test_wrong_weights_are_refused(weights, message, wine):
    with pytest.raises(ValueError, match=message):
        NearestSubspaceClassifier().fit(*wine, sample_weight=weights)


def test_too_many_features_are_refused_beforehand():
    X = np.ones((4, 20_000), np.float32)
    with (
        sklearn.config_context(working_memory=0.01),
        pytest.raises(ValueError, match=r"needs .* GiB.*reduce the features"),
    ):
        NearestSubspaceClassifier().fit(X, [0, 0, 1, 1])


def test_a_failed_fit_keeps_the_old_model(wine):
    X, y = wine
    model = NearestSubspaceClassifier().fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full_like(X, np.nan), y)
    assert_array_equal(model.predict_proba(X), before)


def test_precision_and_kind_of_array_are_kept(wine, dtype):
    X, y = wine
    X = X.astype(dtype)
    model = NearestSubspaceClassifier().fit(X, y)
    assert model.bases_[0].dtype == dtype
    assert model.predict_proba(X).dtype == model.transform(X).dtype == dtype
    tensor = torch.from_numpy(X)
    assert torch.is_tensor(model.predict_proba(tensor))
    assert model.transform(tensor).dtype == tensor.dtype
    assert_array_equal(model.predict(tensor), model.predict(X))
    exact = NearestSubspaceClassifier().fit(X.astype(np.float64), y)
    assert_allclose(model.predict_proba(X), exact.predict_proba(X), atol=1e-3)


@pytest.mark.parametrize("labels", [["x", "y", "z"], [True, False, True]])
def test_labels_of_any_type_come_back(labels, wine):
    X, y = wine
    labels = np.array(labels)[y]
    model = NearestSubspaceClassifier(centered=True).fit(X, labels)
    assert model.predict(X).dtype == labels.dtype
    assert model.score(X, labels) > 0.85


def test_model_survives_pickling_and_cloning(wine):
    X, y = wine
    model = NearestSubspaceClassifier(4).fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert_array_equal(copy.predict_proba(X), model.predict_proba(X))
    more = copy.partial_fit(X, y)
    assert more.class_count_.sum() == 2 * len(X)
    again = clone(model).fit(X, y)
    assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_distances_have_names_and_serve_in_pipelines(wine):
    X, y = wine
    frame = pytest.importorskip("pandas").DataFrame(X).add_prefix("wine")
    model = NearestSubspaceClassifier().set_output(transform="pandas").fit(frame, y)
    names = [f"nearestsubspaceclassifier{k}" for k in range(3)]
    assert list(model.transform(frame).columns) == names
    pipeline = make_pipeline(StandardScaler(), NearestSubspaceClassifier())
    search = GridSearchCV(
        pipeline, {"nearestsubspaceclassifier__n_components": [2, 0.9]}, cv=3
    )
    assert search.fit(X, y).best_score_ > 0.7


def test_weights_of_separate_classes_may_be_any(rng):
    y = np.repeat(np.arange(3), 20)
    X = 20 * rng.normal(size=(3, 8))[y] + rng.normal(size=(60, 8))
    for _ in range(20):
        # Shares of all weights sum to one up to rounding.
        model = NearestSubspaceClassifier().fit(X, y, sample_weight=rng.random(60))
        assert model.score(X, y) == 1


@pytest.mark.parametrize("scale", [1e-140, 1e-90, 1e90, 1e140])
def test_any_scale_of_the_samples_gives_the_same_classes(scale):
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X) + 1
    expected = NearestSubspaceClassifier().fit(X, y)
    model = NearestSubspaceClassifier().fit(scale * X, y)
    assert_array_equal(model.ranks_, expected.ranks_)
    assert_array_equal(model.predict(scale * X), expected.predict(X))
