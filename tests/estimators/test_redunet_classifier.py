"""ReduNetClassifier: scikit-learn's contract, the theory, copies, updates."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_whitebox import NearestSubspaceClassifier, ReduNetClassifier
from sklearn_whitebox.functional import rate_reduction
from sklearn_whitebox.solvers import ReduNetLayer

INSTANCES = [
    ReduNetClassifier(),
    ReduNetClassifier(
        3, distortion=0.1, lift="bias", n_components=2, balance_membership=False
    ),
    ReduNetClassifier(3, lift="bias", chunk_size=7, compress_layers=1, class_weight={}),
    ReduNetClassifier(
        3, lift="random_relu", n_channels=8, compress_layers=None, forget=0.1
    ),
    ReduNetClassifier(2, lift=PolynomialFeatures(), finetune=1, membership="labels"),
]


@parametrize_with_checks(INSTANCES, expected_failed_checks=None)
def test_follows_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


def split(load, seed=0):
    X, y = load(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)


@pytest.fixture(scope="module")
def wine():
    return split(load_wine)


@pytest.fixture(scope="module")
def fitted(wine):
    return ReduNetClassifier(10, random_state=0).fit(wine[0], wine[2])


def subspaces(n_samples=30, n_features=12, n_classes=3, noise=0.05, seed=0):
    """Draw classes in random planes through the origin."""
    rng = np.random.default_rng(seed)
    bases = np.random.default_rng(99).standard_normal((n_classes, 2, n_features))
    labels = np.repeat(np.arange(n_classes), n_samples)
    codes = rng.standard_normal((len(labels), 2))
    X = np.einsum("ni,nij->nj", codes, bases[labels])
    return X + noise * rng.standard_normal(X.shape), labels


def by_hand(Z, labels, n_layers, *, distortion, step):
    """Follow the formulas for training features, with balanced hard memberships."""
    Z = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    n, d = Z.shape
    for _ in range(n_layers):
        contraction = np.linalg.inv(np.eye(d) + d / (n * distortion) * Z.T @ Z)
        ascent, residuals = Z @ contraction, []
        moves = []
        for k in np.unique(labels):
            own = Z[labels == k]
            scale = d / (len(own) * distortion)
            moves.append(Z @ np.linalg.inv(np.eye(d) + scale * own.T @ own))
            residuals.append(np.linalg.norm(moves[-1], axis=1))
        residuals = np.stack(residuals, axis=1)
        median = np.sort(residuals.min(axis=1))[(n - 1) // 2]
        weights = np.exp(-50 * (residuals - residuals.min(1, keepdims=True)) / median)
        weights /= weights.sum(axis=1, keepdims=True)
        ascent = ascent - np.einsum("nk,knj->nj", weights, np.stack(moves))
        Z = Z + step * ascent
        Z = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    return Z


def test_layers_are_the_formulas():
    X, y = subspaces()
    net = ReduNetClassifier(4, lift=None, tol=0.0, distortion=0.3).fit(X, y)
    expected = by_hand(X, y, 4, distortion=0.3, step=0.5)
    np.testing.assert_allclose(net.transform(X), expected, atol=1e-8)
    assert net.rate_reduction_ == pytest.approx(
        rate_reduction(expected, y, distortion=0.3), rel=1e-8
    )


def test_features_follow_rotations_of_the_input():
    X, y = subspaces()
    Q = np.linalg.qr(np.random.default_rng(1).standard_normal((12, 12)))[0]
    net = ReduNetClassifier(10, lift=None)
    Z, turned = net.fit(X, y).transform(X), clone(net).fit(X @ Q, y).transform(X @ Q)
    np.testing.assert_allclose(turned, Z @ Q, atol=1e-6)


def test_classes_become_orthogonal_and_the_rate_never_falls():
    X, y = subspaces(60)
    net = ReduNetClassifier(60, lift=None).fit(X, y)
    assert (np.diff(net.objective_curve_) > -1e-9).all()
    fresh, labels = subspaces(60, seed=1)
    cosines = np.abs(net.transform(X) @ net.transform(fresh).T)
    same = y[:, None] == labels
    before = np.abs(X @ fresh.T)
    before /= np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(fresh, axis=1)
    assert cosines[~same].mean() < 0.2 * before[~same].mean()
    assert net.score(fresh, labels) > 0.97


def test_gaussian_means_become_orthogonal_points():
    rng = np.random.default_rng(0)

    def draw(n):
        labels = np.repeat(np.arange(3), n)
        return np.eye(3)[labels] + 0.1 * rng.standard_normal((3 * n, 3)), labels

    (X, y), (X_new, y_new) = draw(500), draw(100)
    net = ReduNetClassifier(50, lift=None, tol=0.0).fit(X, y)
    cosines = np.abs(net.transform(X_new) @ net.transform(X).T)
    same = y_new[:, None] == y
    assert cosines[same].mean() > 0.999
    assert cosines[~same].mean() < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("distortion", [0.1, 0.5])
def test_digits_reach_the_published_accuracy(distortion):
    X, X_test, y, y_test = split(load_digits)
    net = ReduNetClassifier(20, distortion=distortion, lift=None).fit(X, y)
    Z, Z_test = net.transform(X), net.transform(X_test)
    assert net.score(X_test, y_test) >= 0.985
    for head in (
        KNeighborsClassifier(5),
        LogisticRegression(max_iter=300),
        NearestSubspaceClassifier(6),
    ):
        assert head.fit(Z, y).score(Z_test, y_test) >= 0.985


def test_unscaled_iris_is_classified():
    X, X_test, y, y_test = split(load_iris)
    assert ReduNetClassifier(100, lift=None).fit(X, y).score(X_test, y_test) >= 0.97


@pytest.mark.parametrize("lift", ["auto", "bias", "random_relu"])
def test_lifted_wine_is_classified(wine, lift):
    X, X_test, y, y_test = wine
    net = ReduNetClassifier(20, lift=lift, random_state=0).fit(X, y)
    assert net.score(X_test, y_test) >= 0.9


def test_automatic_lift_takes_the_best_on_samples_left_out(wine, fitted):
    accuracy = fitted.lift_accuracy_
    assert accuracy[fitted.lift_] >= max(accuracy.values()) - 0.02
    assert accuracy["bias"] > accuracy["none"] + 0.1


def test_automatic_distortion_is_as_good_as_the_best_by_a_standard_error(wine):
    X, _, y, _ = wine
    net = ReduNetClassifier(1, lift="bias").fit(X, y)
    distortions = (0.01, 0.03, 0.1, 0.3, 1.0)
    reached = [
        clone(net).set_params(distortion=d).fit(X, y).lift_accuracy_["bias"]
        for d in distortions
    ]
    best = max(reached)
    assert net.lift_accuracy_["bias"] == best
    slack = np.sqrt(best * (1 - best) / len(X))
    good = [d for d, a in zip(distortions, reached, strict=True) if a >= best - slack]
    assert net.distortion_ == max(good)


def test_many_features_need_the_relative_step():
    X, y = subspaces(20, 400, noise=0.5)
    X_test, y_test = subspaces(50, 400, noise=0.5, seed=1)
    relative = ReduNetClassifier(20, lift=None).fit(X, y)
    with pytest.warns(UserWarning, match="Use step_mode='relative'") as record:
        absolute = ReduNetClassifier(20, lift=None, step_mode="absolute").fit(X, y)
    assert record[0].filename == __file__
    assert relative.score(X_test, y_test) >= absolute.score(X_test, y_test)
    assert relative.score(X_test, y_test) > 0.9
    # Few samples in many dimensions: eigenpairs, and much less memory than matrices.
    layer = ReduNetLayer.from_arrays(relative.layers_[0])
    assert (layer.ranks >= 0).all()
    assert layer.nbytes < 0.5 * 8 * 4 * 400**2


def test_balanced_memberships_serve_unequal_classes():
    X, X_test, y, y_test = split(load_breast_cancer)
    scores = [
        ReduNetClassifier(10, lift="bias", balance_membership=balanced)
        .fit(X, y)
        .score(X_test, y_test)
        for balanced in (False, True)
    ]
    assert scores[1] > scores[0] + 0.05


def test_labels_as_memberships_separate_training_samples_only():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 40)), rng.integers(0, 2, 60)
    X_test, y_test = rng.standard_normal((300, 40)), rng.integers(0, 2, 300)
    net = ReduNetClassifier(50, distortion=0.1, lift=None, membership="labels")
    net.fit(X, y)
    # New samples do not follow, nor do training samples sent through the network.
    assert net.objective_curve_[-1] > net.objective_curve_[0] + 5
    assert net.score(X_test, y_test) < 0.65


@pytest.mark.parametrize("chunk_size", [1, 17, 1000])
def test_chunks_change_nothing(wine, fitted, chunk_size):
    X, X_test, y, _ = wine
    streamed = clone(fitted).set_params(chunk_size=chunk_size).fit(X, y)
    np.testing.assert_array_equal(
        streamed.predict_proba(X_test), fitted.predict_proba(X_test)
    )


def test_order_and_copies_of_samples_change_nothing(wine, fitted):
    X, X_test, y, _ = wine
    order = np.random.default_rng(0).permutation(len(X))
    weights = np.random.default_rng(1).integers(0, 4, len(X))
    shuffled = clone(fitted).fit(X[order], y[order])
    np.testing.assert_array_equal(fitted.transform(X_test), shuffled.transform(X_test))
    weighted = clone(fitted).fit(X, y, sample_weight=weights)
    copied = clone(fitted).fit(np.repeat(X, weights, axis=0), np.repeat(y, weights))
    np.testing.assert_array_equal(weighted.transform(X_test), copied.transform(X_test))
    np.testing.assert_array_equal(
        weighted.predict_proba(X_test), copied.predict_proba(X_test)
    )


def test_class_weights_are_weights_of_samples(wine, fitted):
    X, X_test, y, _ = wine
    net = clone(fitted).set_params(lift=None, distortion=0.1)
    by_class = clone(net).set_params(class_weight={0: 3, 1: 1, 2: 2}).fit(X, y)
    by_sample = net.fit(X, y, sample_weight=np.array([3, 1, 2])[y])
    np.testing.assert_allclose(
        by_class.transform(X_test), by_sample.transform(X_test), atol=1e-9
    )
    balanced = clone(fitted).set_params(class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(balanced.class_count_, len(y) / 3)


@pytest.mark.parametrize("options", [{}, {"n_components": 3}])
def test_probabilities_are_as_confident_as_samples_left_out_allow(wine, options):
    X, X_test, y, y_test = wine
    net = ReduNetClassifier(20, distortion=0.1, lift="bias", **options).fit(X, y)
    P = net.predict_proba(X_test)
    np.testing.assert_allclose(P.sum(axis=1), 1)
    np.testing.assert_array_equal(net.classes_[P.argmax(axis=1)], net.predict(X_test))
    np.testing.assert_allclose(np.exp(net.predict_log_proba(X_test)), P)
    assert log_loss(y_test, P) < 0.3
    confidence = net.predict_proba(X).max(axis=1).mean()
    assert confidence == pytest.approx(net.lift_accuracy_["bias"], abs=1e-3)


def test_statistics_of_training_samples_are_those_of_the_fit(wine, fitted):
    X, X_test, y, y_test = wine
    found = fitted.layer_statistics(X, y)
    n_layers = fitted.n_layers_
    np.testing.assert_allclose(found["rate_reduction"], fitted.objective_curve_)
    for name in ("coding_rate", "membership_accuracy", "step", "temperature"):
        np.testing.assert_allclose(found[name], fitted.statistics_[name])
    assert found["coding_rate"].shape == (n_layers + 1,)
    assert found["membership_entropy"].shape == (n_layers,)
    fresh = fitted.layer_statistics(X_test, y_test)
    assert fresh["rate_reduction"][-1] > fresh["rate_reduction"][0]
    unlabelled = fitted.layer_statistics(X_test)
    assert "rate_reduction" not in unlabelled
    np.testing.assert_allclose(
        unlabelled["estimated_rate_reduction"], fresh["estimated_rate_reduction"]
    )
    with pytest.raises(ValueError, match="not in classes_"):
        fitted.layer_statistics(X, y + 1)


def test_bases_span_the_features_of_the_classes(wine, fitted):
    X, _, y, _ = wine
    Z = fitted.transform(X)
    for k, (basis, spectrum) in enumerate(
        zip(fitted.class_bases_, fitted.class_spectra_, strict=True)
    ):
        np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-8)
        expected = np.linalg.svd(Z[y == k], compute_uv=False)[: len(spectrum)]
        np.testing.assert_allclose(spectrum, expected, atol=1e-6)


def test_stops_when_layers_bring_nothing(wine):
    X, _, y, _ = wine
    net = ReduNetClassifier(500, lift="bias", tol=0.05).fit(X, y)
    assert net.n_layers_ < 100
    assert len(net.objective_curve_) == net.n_layers_ + 1


def test_fine_tuning_raises_the_rate_reduction(wine):
    X, X_test, y, y_test = wine
    net = ReduNetClassifier(5, lift="bias", random_state=0).fit(X, y)
    tuned = clone(net).set_params(finetune=10).fit(X, y)
    assert tuned.rate_reduction_ > net.rate_reduction_
    assert len(tuned.loss_curve_) == 10
    assert tuned.score(X_test, y_test) > net.score(X_test, y_test) - 0.03


def test_tensors_and_pickles(wine, fitted):
    X, X_test, y, _ = wine
    net = clone(fitted).fit(torch.from_numpy(X), torch.from_numpy(y))
    Z = net.transform(torch.from_numpy(X_test))
    assert torch.is_tensor(Z)
    np.testing.assert_array_equal(Z, fitted.transform(X_test))
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.predict(X_test), fitted.predict(X_test))


@pytest.mark.parametrize(("trained", "used"), [("f4", "f8"), ("f8", "f4")])
def test_floating_types_may_differ_between_fit_and_use(wine, fitted, trained, used):
    X, X_test, y, _ = wine
    net = clone(fitted).fit(X.astype(trained), y)
    Z = net.transform(X_test.astype(used))
    assert Z.dtype == used
    np.testing.assert_allclose(np.abs(Z - fitted.transform(X_test)).max(), 0, atol=0.01)


def test_weights_of_separate_classes_may_be_any(rng):
    y = np.repeat(np.arange(3), 20)
    X = 20 * rng.normal(size=(3, 8))[y] + rng.normal(size=(60, 8))
    for _ in range(20):
        # Shares of all weights sum to one up to rounding.
        model = ReduNetClassifier(2, random_state=0).fit(
            X, y, sample_weight=rng.random(60)
        )
        assert model.score(X, y) == 1


def test_random_features_beyond_memory_are_refused_at_once(rng):
    X, y = rng.normal(size=(30, 4)), np.arange(30) % 3
    model = ReduNetClassifier(lift="random_relu", n_channels=10**8)
    with pytest.raises(ValueError, match="n_channels"):
        model.fit(X, y)
