import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV

from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.estimators import _learned_encoder_fitting
from sklearn_whitebox.estimators._learned_sparse_encoder import LearnedSparseEncoder
from sklearn_whitebox.functional import fista_step, ista_step, lasso_duality_gap
from sklearn_whitebox.solvers import lasso_encode

ALPHA = 0.1


def data(n_samples=600, d=20, k=50, seed=0):
    X, _, D = make_sparse_codes(n_samples, d, k, n_nonzero=3, random_state=seed)
    return X, D


def objective(X, Z, D, alpha=ALPHA):
    return np.mean(0.5 * np.sum((X - Z @ D) ** 2, 1) + alpha * np.abs(Z).sum(1))


def fista(X, D, n_steps):
    Z = Y = np.zeros((len(X), len(D)))
    t = 1.0
    for _ in range(n_steps):
        Z, Y, t = fista_step(X, Z, Y, D, alpha=ALPHA, momentum=t)
    return Z


@pytest.mark.parametrize("form", ["coupled", "free"])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("length", [1.0, 30.0])
def test_untrained_encoder_is_iterative_soft_thresholding(form, positive, length):
    X, D = data(50)
    D, alpha = D * length, ALPHA * length
    model = LearnedSparseEncoder(
        D, n_layers=8, form=form, alpha=alpha, positive_code=positive, max_iter=0
    )
    Z = np.zeros((len(X), len(D)))
    for _ in range(8):
        Z = ista_step(X, Z, D, alpha=alpha, positive=positive)
    np.testing.assert_allclose(model.fit(X).transform(X), Z, atol=1e-6)
    assert model.n_iter_ == 0
    assert model.loss_curve_ == []


@pytest.mark.parametrize("form", ["coupled", "analytic"])
def test_eight_trained_layers_beat_twenty_accelerated_steps(form):
    X, D = data(3500)
    X, X_test = X[:3000], X[3000:]
    model = LearnedSparseEncoder(
        D, n_layers=8, form=form, alpha=ALPHA, max_iter=50, random_state=0
    ).fit(X)
    assert -model.score(X_test) < objective(X_test, fista(X_test, D, 20), D)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["coupled", "free", "analytic"])
def test_excess_objective_of_eight_layers_is_a_fiftieth_of_the_optimum(form):
    X, D = data(22000)
    X, X_test = X[:20000], X[20000:]
    best = objective(X_test, lasso_encode(X_test, D, alpha=ALPHA).solution, D)
    model = LearnedSparseEncoder(
        D, n_layers=8, form=form, alpha=ALPHA, max_iter=32, random_state=0
    ).fit(X)
    excess = -model.score(X_test) - best
    assert excess < 0.02 * best
    assert excess < 0.8 * (objective(X_test, fista(X_test, D, 20), D) - best)


def test_supervised_training_comes_close_to_exact_codes():
    X, D = data(2500)
    X, X_test = X[:2000], X[2000:]
    exact = lasso_encode(X_test, D, alpha=ALPHA).solution
    settings = {"n_layers": 6, "alpha": ALPHA, "random_state": 0}
    errors = [
        np.mean((model.fit(X).transform(X_test) - exact) ** 2)
        for model in (
            LearnedSparseEncoder(D, max_iter=0, **settings),
            LearnedSparseEncoder(D, max_iter=40, loss="supervised", **settings),
        )
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("tol", [1e-1, 1e-6])
def test_safeguarded_codes_are_certified_on_any_samples(dtype, positive, tol):
    X, D = data(400)
    model = LearnedSparseEncoder(
        D,
        n_layers=4,
        alpha=ALPHA,
        max_iter=5,
        positive_code=positive,
        safeguard=True,
        tol=max(tol, 1e-5 if dtype == np.float32 else 0),
        random_state=0,
    ).fit(X)
    rng = np.random.default_rng(1)
    strange = np.vstack([X, 5 * rng.standard_normal((50, 20)), np.zeros((1, 20))])
    codes = model.transform(strange.astype(dtype)).astype(float)
    gaps = lasso_duality_gap(strange, codes, D, alpha=ALPHA, positive=positive)
    # Rounding of the samples to single precision moves the objective, too.
    slack = 1e-5 if dtype == np.float32 else 1e-12
    assert np.all(gaps <= (model.tol + slack) * np.sum(strange**2, 1) / 2 + 1e-12)
    if positive:
        assert codes.min() >= 0


def test_codes_within_the_tolerance_are_those_of_the_network():
    X, D = data(300)
    model = LearnedSparseEncoder(D, alpha=ALPHA, max_iter=3, random_state=0).fit(X)
    plain = model.transform(X)
    loose = model.set_params(safeguard=True, tol=10.0).transform(X)
    np.testing.assert_array_equal(plain, loose)


def test_safeguard_says_when_it_cannot_keep_its_word():
    X, D = data(3)
    model = LearnedSparseEncoder(D, alpha=ALPHA, max_iter=1, safeguard=True, tol=1e-30)
    with pytest.warns(ConvergenceWarning, match="increase tol"):
        model.fit(X).transform(X)


def test_targets_that_are_not_exact_are_no_secret(monkeypatch):
    X, D = data(5)
    monkeypatch.setattr(_learned_encoder_fitting, "_TARGET_TOL", 1e-30)
    model = LearnedSparseEncoder(D, alpha=ALPHA, max_iter=1, loss="supervised")
    with pytest.warns(ConvergenceWarning, match="codes that supervise.*loss='lasso'"):
        model.fit(X)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_supervised_training_keeps_no_dense_codes(early_stopping):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((16000, 6)).astype(np.float32)
    D = rng.standard_normal((400, 6))
    model = LearnedSparseEncoder(
        D,
        n_layers=1,
        loss="supervised",
        early_stopping=early_stopping,
        max_iter=1,
        random_state=0,
    )
    model.fit(X[:300])
    tracemalloc.start()
    score = model.fit(X).score(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.isfinite(score)
    assert peak < 0.8 * len(X) * len(D) * 4


def test_what_training_refuses_is_refused_before_atoms_are_learnt(monkeypatch):
    X, _ = data(40)
    monkeypatch.setattr(_learned_encoder_fitting, "learn_dictionary_online", None)
    for change, message in [
        ({"alpha": 1e3}, "alpha=1e.03 >= alpha_max for every sample"),
        ({"early_stopping": True, "validation_fraction": 0.999}, "leaves none of 40"),
        ({"device": "abacus"}, "device='abacus' cannot be used here"),
    ]:
        with pytest.raises(ValueError, match=message):
            LearnedSparseEncoder(**change).fit(X)


def test_samples_opposite_to_all_atoms_have_no_positive_code():
    model = LearnedSparseEncoder(np.eye(3), positive_code=True, max_iter=1)
    with pytest.raises(ValueError, match="no sample correlates positively"):
        model.fit(-np.eye(3))


def test_scaled_samples_give_scaled_codes():
    X, _ = data(300)
    settings = {"n_layers": 4, "max_iter": 4, "random_state": 0}
    one = LearnedSparseEncoder(**settings).fit(X)
    other = LearnedSparseEncoder(**settings).fit(X * 2.0**40)
    np.testing.assert_allclose(
        other.transform(X * 2.0**40), one.transform(X) * 2.0**40, rtol=1e-5, atol=1e6
    )
    assert other.alpha_ == pytest.approx(one.alpha_ * 2.0**40)


def test_gap_and_curve_tell_what_training_brings():
    X, D = data(1000)
    settings = {"n_layers": 6, "alpha": ALPHA, "random_state": 0}
    plain = LearnedSparseEncoder(D, max_iter=0, **settings).fit(X)
    trained = LearnedSparseEncoder(D, max_iter=40, **settings).fit(X)
    assert trained.gap_ < 0.5 * plain.gap_
    assert trained.loss_curve_[-1] == pytest.approx(-trained.score(X), rel=0.02)
    assert trained.loss_curve_[-1] < trained.loss_curve_[0]


def test_early_stopping_keeps_the_best_weights():
    X, D = data(300)
    model = LearnedSparseEncoder(
        D,
        n_layers=6,
        alpha=ALPHA,
        learning_rate=0.05,
        early_stopping=True,
        validation_fraction=0.3,
        n_iter_no_change=3,
        max_iter=100,
        random_state=0,
    ).fit(X)
    curve = model.validation_curve_
    assert len(curve) == model.n_iter_ < 100
    assert model.best_iteration_ == 1 + int(np.argmin(curve))


def test_atoms_are_learnt_where_none_are_given():
    X, _ = data(1500)
    model = LearnedSparseEncoder(
        n_components=50, n_layers=8, max_iter=30, random_state=0
    ).fit(X)
    assert model.components_.shape == (50, 20)
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1, rtol=1e-6)
    codes = model.transform(X)
    error = np.mean((X - model.inverse_transform(codes)) ** 2) / np.mean(X**2)
    assert error < 0.3


def test_later_changes_of_parameters_do_not_change_the_network():
    X, D = data(100)
    model = LearnedSparseEncoder(D, n_layers=3, alpha=ALPHA, max_iter=1).fit(X)
    codes = model.transform(X)
    model.set_params(n_layers=5, form="free", positive_code=True, dictionary=None)
    np.testing.assert_array_equal(model.transform(X), codes)


def test_parameters_can_be_searched():
    X, D = data(200)
    model = LearnedSparseEncoder(D, alpha=ALPHA, max_iter=2, random_state=0)
    search = GridSearchCV(model, {"n_layers": [1, 6]}, cv=2).fit(X)
    assert search.best_params_ == {"n_layers": 6}
    assert clone(model).dictionary is not D


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dictionary": np.eye(19)}, "dictionary has 19 columns but X has 20"),
        ({"dictionary": np.eye(20) * (np.arange(20) > 2)}, "3 zero atoms.* in row 0"),
        ({"dictionary": np.full((3, 20), np.nan)}, "dictionary contains NaN"),
        ({"dictionary": np.ones(20)}, "Expected 2D array"),
        ({"n_components": 7}, "n_components=7 contradicts the dictionary of 50"),
        ({"alpha": 1e3}, "alpha=1e.03 >= alpha_max for every sample.*use alpha < "),
        ({"n_layers": 10**9}, "lower n_components, n_layers or batch_size"),
        ({"learning_rate": 1e30}, "Training diverged.*lower learning_rate=1e.30"),
        (
            {"early_stopping": True, "validation_fraction": 0.999},
            "leaves none of 40 samples",
        ),
    ],
)
def test_bad_settings_are_refused_with_a_way_out(change, message):
    X, D = data(40)
    settings = {"dictionary": D, "alpha": ALPHA, "n_layers": 3, "max_iter": 9}
    with pytest.raises(ValueError, match=message):
        LearnedSparseEncoder(**{**settings, **change}).fit(X)


def test_bad_samples_are_refused():
    X, D = data(40)
    with pytest.raises(ValueError, match="X is zero everywhere"):
        LearnedSparseEncoder(D).fit(np.zeros_like(X))
    model = LearnedSparseEncoder(D, max_iter=1).fit(X)
    with pytest.raises(ValueError, match=r"has 3 columns; codes of this .* have 50"):
        model.inverse_transform(np.ones((2, 3)))
