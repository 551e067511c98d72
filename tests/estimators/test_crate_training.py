"""How both white-box transformers train: stopping, members, streams, interruptions."""

import pickle
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.estimators import _crate_ensemble, _crate_fitting
from sklearn_whitebox.estimators._crate_calibration import (
    fit_temperature,
    held_out_log_loss,
)
from sklearn_whitebox.estimators._crate_config import resolve_plan
from sklearn_whitebox.estimators._crate_diagnosis import spectral_norm
from sklearn_whitebox.estimators._crate_ensemble import choose_held_out
from sklearn_whitebox.estimators._crate_regressor import CRATERegressor

SMALL = {
    "n_layers": 1,
    "d_token": 8,
    "n_heads": 2,
    "n_tokens": 3,
    "n_members": 1,
    "n_ensemble": 1,
    "pool": "class",
    "augment": None,
    "dropout": 0.1,
    "weight_decay": 0.01,
    "learning_rate": 2e-3,
}


def _small(make=CRATEClassifier, **settings):
    training = {"max_iter": 4, "early_stopping": False, "random_state": 0}
    return make(**SMALL | training | settings)


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((160, 4))
    y = (X[:, 0] + rng.standard_normal(160) > 0).astype(int)
    return X, y


@pytest.fixture
def starts(monkeypatch):
    """The runs that a fit starts, in order."""
    found = []
    train_network = _crate_ensemble.train_network

    def record(setup, rows, given, run, callback):
        found.append(run)
        return train_network(setup, rows, given, run, callback)

    monkeypatch.setattr(_crate_ensemble, "train_network", record)
    return found


def _watched(model, X, y, mask):
    return log_loss(y[mask], model.predict_proba(X[mask]), labels=model.classes_)


def test_the_weights_of_the_best_pass_are_kept(noisy, starts):
    X, y = noisy
    settings = {"early_stopping": True, "refit": False, "calibrate": False}
    model = _small(max_iter=12, learning_rate=0.03, **settings).fit(X, y)
    (run,) = starts
    assert run.held_out.sum() == pytest.approx(0.15 * len(y), abs=1)
    curve = model.validation_curve_
    assert model.best_iteration_ == np.argmin(curve) + 1
    assert_allclose(_watched(model, X, y, run.held_out), min(curve), rtol=1e-5)


def test_rows_are_held_out_in_the_shares_of_the_classes(noisy, starts):
    X, y = noisy
    _small(early_stopping=True, validation_fraction=0.25, max_iter=1).fit(X, y)
    held_out = starts[0].held_out
    for label in (0, 1):
        assert held_out[y == label].mean() == pytest.approx(0.25, abs=0.01)


def test_a_refit_trains_on_all_rows_for_the_best_number_of_passes(noisy, starts):
    X, y = noisy
    settings = {"max_iter": 12, "learning_rate": 0.03, "early_stopping": True}
    model = _small(**settings, refit=True).fit(X, y)
    _, second = starts
    assert second.held_out is None
    assert second.n_epochs == model.best_iteration_
    without = _small(**settings, refit=False).fit(X, y)
    assert without.validation_curve_ == model.validation_curve_
    assert without.temperature_ == model.temperature_
    assert not np.array_equal(without.predict_proba(X), model.predict_proba(X))


def test_calibration_never_raises_the_log_loss_held_out(noisy, starts):
    X, y = noisy
    settings = {"early_stopping": True, "refit": False, "max_iter": 8}
    model = _small(**settings, calibrate=True).fit(X, y)
    held_out = starts[0].held_out
    without = _small(**settings, calibrate=False).fit(X, y)
    assert without.temperature_ == 1 != model.temperature_
    assert_array_equal(model.predict(X), without.predict(X))
    calibrated = _watched(model, X, y, held_out)
    assert calibrated <= _watched(without, X, y, held_out)


@pytest.mark.parametrize("shape", [(2,), (3, 2)])
def test_the_temperature_is_that_of_the_least_log_loss(rng, shape):
    logits = rng.standard_normal((20_000, *shape))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    while probabilities.ndim > 2:
        probabilities = probabilities.mean(1)
    y = (rng.random(len(logits)) < probabilities[:, 1]).astype(int)
    weight = np.ones(len(y))
    parts = [(np.arange(len(y)), 3 * logits)]
    found = fit_temperature(parts, y, weight)
    assert found == pytest.approx(3, rel=0.1)
    losses = [held_out_log_loss(parts, y, weight, t) for t in (found, 1.0)]
    assert losses[0] < losses[1]


def test_few_rows_that_are_all_right_do_not_make_a_model_certain():
    logits = np.array([[2.0, 0.0], [0.0, 2.0]] * 5)
    parts = [(np.arange(10), logits)]
    y, weight = np.array([0, 1] * 5), np.ones(10)
    few = fit_temperature(parts, y, weight)
    many = fit_temperature(
        [(np.arange(1000), np.tile(logits, (100, 1)))],
        np.tile(y, 100),
        np.ones(1000),
    )
    assert 0.1 <= many < few < 1


def test_rows_given_for_validation_are_watched(noisy, starts):
    X, y = noisy
    settings = {"early_stopping": "auto", "calibrate": False, "max_iter": 6}
    model = _small(**settings).fit(X[:100], y[:100], X_val=X[100:], y_val=y[100:])
    assert [run.held_out for run in starts] == [None]
    found = log_loss(y[100:], model.predict_proba(X[100:]))
    assert_allclose(found, min(model.validation_curve_), rtol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"X_val": np.zeros((3, 4))}, "must be given together"),
        ({"X_val": np.zeros((3, 4)), "y_val": [0, 1]}, "X_val has 3 rows, but y_val"),
        ({"X_val": np.zeros((2, 4)), "y_val": [0, 7]}, r"not among .*: \[7\]"),
        ({"X_val": np.zeros((2, 3)), "y_val": [0, 1]}, "X has 3 features"),
    ],
)
def test_rows_for_validation_that_do_not_fit_are_refused(noisy, given, message):
    with pytest.raises(ValueError, match=message):
        _small(early_stopping=True).fit(*noisy, **given)


def test_rows_for_validation_that_nothing_would_read_are_refused(noisy):
    X, y = noisy
    with pytest.raises(ValueError, match="leave out X_val"):
        _small(calibrate=False).fit(X, y, X_val=X, y_val=y)


@pytest.mark.parametrize("make", [CRATEClassifier, CRATERegressor])
def test_an_ensemble_predicts_the_mean_of_its_networks(noisy, make):
    X, y = noisy
    model = _small(make, n_ensemble=3, max_iter=2).fit(X, y)
    assert all(len(stack) == 3 for stack in model.weights_.values())
    method = "predict_proba" if make is CRATEClassifier else "predict"
    parts = []
    for member in range(3):
        single = pickle.loads(pickle.dumps(model))
        single.weights_ = {n: stack[member] for n, stack in model.weights_.items()}
        single.n_networks_ = 1
        parts.append(getattr(single, method)(X))
    assert_allclose(getattr(model, method)(X), np.mean(parts, axis=0), rtol=1e-6)
    assert not np.allclose(parts[0], parts[1])


def test_the_first_network_of_an_ensemble_is_that_of_a_fit_without_one(noisy):
    X, y = noisy
    many = _small(n_ensemble=2, max_iter=2).fit(X, y).weights_
    alone = _small(max_iter=2).fit(X, y).weights_
    for name, weight in alone.items():
        assert_array_equal(many[name][0], weight)


def test_members_that_share_a_network_are_averaged(noisy):
    X, y = noisy
    model = _small(n_members=3, max_iter=2).fit(X, y)
    features = model.transform(X)
    assert features.shape == (len(X), 24)
    assert_allclose(model.predict_proba(X).sum(1), 1, rtol=1e-6)
    odds = np.exp(model.decision_function(X))
    assert_allclose(odds / (1 + odds), model.predict_proba(X)[:, 1], rtol=1e-6)


@pytest.mark.parametrize("make", [CRATEClassifier, CRATERegressor])
def test_the_number_of_jobs_does_not_change_the_result(noisy, make):
    X, y = noisy
    settings = {"n_ensemble": 3, "early_stopping": True, "refit": True, "max_iter": 2}
    serial = _small(make, **settings).fit(X, y)
    parallel = _small(make, **settings, n_jobs=3).fit(X, y)
    for name, weight in serial.weights_.items():
        assert_array_equal(weight, parallel.weights_[name])


def test_folds_hold_out_every_row_once(rng):
    y = np.repeat([0, 1, 2], [20, 7, 1])
    model = _small(early_stopping=True, n_ensemble=3)
    plan = resolve_plan(model, 100, is_classifier=True, is_image=False)
    masks = choose_held_out(y, plan, 0.2, 3, 0, is_classifier=True)
    times = np.sum(masks, axis=0)
    assert_array_equal(times, np.append(np.ones(27), 0))
    assert all((~mask[y == 1]).sum() >= 4 for mask in masks)


@pytest.mark.parametrize("n_ensemble", [1, 2])
def test_an_interrupt_leaves_the_old_model_or_keeps_the_best(noisy, n_ensemble):
    X, y = noisy
    model = _small(n_ensemble=n_ensemble, max_iter=2).fit(X, y)
    model.set_params(max_iter=1000)
    old = dict(vars(model))
    with _interrupt_in_pass(4), pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert vars(model) == old
    model.set_params(on_interrupt="keep")
    with (
        _interrupt_in_pass(4),
        pytest.warns(ConvergenceWarning, match="was interrupted after 4 passes"),
    ):
        model.fit(X, y)
    assert model.n_iter_ == 4
    assert model.n_networks_ == 1
    assert np.isfinite(model.predict_proba(X)).all()


class _interrupt_in_pass:
    """Interrupt a fit as Ctrl-C would, at the end of a pass."""

    def __init__(self, n_passes):
        self._n_passes, self._patch = n_passes, pytest.MonkeyPatch()

    def __enter__(self):
        call = _crate_ensemble.Halt.__call__

        def interrupted(halt, epoch, loss):
            if epoch + 1 == self._n_passes:
                raise KeyboardInterrupt
            return call(halt, epoch, loss)

        self._patch.setattr(_crate_ensemble.Halt, "__call__", interrupted)

    def __exit__(self, *_):
        self._patch.undo()


def test_an_interrupt_of_the_main_thread_ends_all_networks(noisy, monkeypatch):
    X, y = noisy
    parallel = _crate_ensemble.Parallel

    class Interrupted(parallel):
        def __call__(self, tasks):
            threads = [
                threading.Thread(target=function, args=arguments)
                for function, arguments, _ in tasks
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            raise KeyboardInterrupt

    monkeypatch.setattr(_crate_ensemble, "Parallel", Interrupted)
    model = _small(n_ensemble=2, max_iter=100_000, on_interrupt="keep")
    with pytest.warns(ConvergenceWarning, match="2 of n_ensemble=2 networks"):
        model.fit(X, y)
    assert model.n_networks_ == 2


@pytest.mark.parametrize("settings", [{}, {"early_stopping": True, "n_ensemble": 2}])
def test_training_ends_in_time(noisy, settings):
    X, y = noisy
    model = _small(max_iter=10**6, n_iter_no_change=10**6, max_time=0.5, **settings)
    start = time.monotonic()
    with pytest.warns(ConvergenceWarning, match=r"stopped at max_time=0\.5 seconds"):
        model.fit(X, y)
    assert time.monotonic() - start < 10
    assert np.isfinite(model.predict_proba(X)).all()


def test_a_limit_that_is_not_reached_changes_nothing_but_the_clock(noisy, starts):
    X, y = noisy
    settings = {"early_stopping": True, "max_iter": 2}
    model = _small(**settings, max_time=1e6).fit(X, y)
    # The clock is at zero before the first step only.
    without = _small(**settings).fit(X, y)
    assert_allclose(model.predict_proba(X), without.predict_proba(X), rtol=1e-5)
    assert len(starts) == 4


@pytest.mark.parametrize("make", [CRATEClassifier, CRATERegressor])
def test_a_stream_of_batches_is_learnt(noisy, make):
    X, y = noisy
    model = _small(make, learning_rate=0.02, batch_size=16)
    known = {"classes": [0, 1]} if make is CRATEClassifier else {}
    for _ in range(10):
        for start in range(0, 160, 40):
            model.partial_fit(X[start : start + 40], y[start : start + 40], **known)
            known = {}
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.n_iter_ == len(model.loss_curve_) == 40
    assert model.score(X, y) > (0.7 if make is CRATEClassifier else 0.2)
    assert vars(model)["_stream"]["n_steps"] == 40 * 3


@pytest.mark.parametrize("n_ensemble", [1, 2])
def test_a_stream_goes_on_after_pickling(noisy, n_ensemble):
    X, y = noisy
    model = _small(n_ensemble=n_ensemble, dropout=0.2)
    model.partial_fit(X[:80], y[:80], classes=[0, 1])
    loaded = pickle.loads(pickle.dumps(model))
    expected = model.partial_fit(X[80:], y[80:]).predict_proba(X)
    assert_array_equal(loaded.partial_fit(X[80:], y[80:]).predict_proba(X), expected)


def test_a_batch_after_a_fit_goes_on_from_its_weights(noisy):
    X, y = noisy
    model = _small(max_iter=15, early_stopping=True).fit(X, y)
    before = model.predict_proba(X)
    temperature = model.temperature_
    model.set_params(learning_rate=1e-6).partial_fit(X, y)
    assert_allclose(model.predict_proba(X), before, atol=1e-3)
    assert model.temperature_ == temperature


def test_a_batch_may_miss_classes(noisy):
    X, _ = noisy
    model = _small().partial_fit(X[:10], ["b"] * 10, classes=["c", "a", "b"])
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.predict_proba(X).shape == (160, 3)


def test_batches_that_do_not_fit_are_refused_and_change_nothing(noisy):
    X, y = noisy
    model = _small()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    model.partial_fit(X, y, classes=[0, 1])
    before = dict(vars(model))
    for arguments, message in [
        ((X, y + 5), "labels that are not among the classes"),
        ((X, y, [0, 1, 2]), "is not the same as on last call"),
        ((X[:, :2], y), "X has 2 features"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.partial_fit(*arguments)
    model.set_params(n_layers=2)
    with pytest.raises(ValueError, match="partial_fit needs the classes"):
        model.partial_fit(X, y)
    before["n_layers"] = 2
    assert vars(model) == before


@pytest.mark.parametrize("make", [CRATEClassifier, CRATERegressor])
def test_an_integer_weight_is_a_repetition_in_double_precision(make, rng):
    X, y = load_wine(return_X_y=True)
    weight = rng.integers(0, 3, len(y))
    settings = {"precision": "float64", "batch_size": 10**6, "max_iter": 3}
    weighted = _small(make, **settings).fit(X, y, sample_weight=weight)
    repeated = _small(make, **settings).fit(X.repeat(weight, 0), y.repeat(weight))
    for name, w in weighted.weights_.items():
        assert w.dtype == np.float64 or name.endswith("edges")
        assert_allclose(w, repeated.weights_[name], rtol=1e-6, atol=1e-9)


def test_weights_of_a_fit_in_double_precision_predict_float32(noisy):
    X, y = noisy
    model = _small(precision="float64").fit(X, y)
    found = model.predict_proba(X.astype(np.float32))
    assert found.dtype == np.float32
    assert_allclose(found, model.predict_proba(X), atol=1e-4)


def test_bfloat16_needs_cuda(noisy):
    with pytest.raises(ValueError, match="precision='bfloat16' needs a CUDA device"):
        _small(precision="bfloat16", device="cpu").fit(*noisy)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("settings", [{}, {"n_ensemble": 2}, {"compile": True}])
def test_training_on_cuda_learns(noisy, precision, settings):
    X, y = noisy
    model = _small(max_iter=20, device="cuda", precision=precision, **settings)
    model.fit(X, y)
    assert model.score(X, y) > 0.7
    on_gpu = model.predict_proba(X)
    assert_allclose(model.set_params(device="cpu").predict_proba(X), on_gpu, atol=1e-4)


def test_a_failed_refit_keeps_the_old_model(noisy):
    X, y = noisy
    model = _small().fit(X, y)
    before = model.predict_proba(X)
    model.set_params(learning_rate=1e30)
    with pytest.raises(ValueError, match="lower it, or scale X"):
        model.fit(X[:, :2], y)
    assert_array_equal(model.predict_proba(X), before)


def test_warm_start_needs_as_many_networks(noisy):
    X, y = noisy
    model = _small(n_ensemble=2, warm_start=True, max_iter=1).fit(X, y)
    model.fit(X, y)
    with pytest.raises(ValueError, match="warm_start=True needs n_ensemble=2"):
        model.set_params(n_ensemble=3).fit(X, y)


def test_warm_start_needs_the_same_columns(noisy):
    pandas = pytest.importorskip("pandas")
    X, y = noisy
    table = pandas.DataFrame(X, columns=list("abcd"))
    model = _small(warm_start=True, max_iter=2).fit(table, y)
    before = model.predict_proba(table)
    with pytest.raises(ValueError, match=r"columns .* are not .* of the model"):
        model.fit(table[list("dcba")], y)
    with pytest.raises(ValueError, match="The 2 columns are not 4"):
        model.fit(X[:, :2], y)
    with pytest.raises(ValueError, match="categorical columns are not those"):
        model.set_params(categorical_features=[0]).fit(table, y)
    assert_array_equal(model.predict_proba(table), before)


@pytest.mark.parametrize("make", [CRATEClassifier, CRATERegressor])
def test_warm_start_after_a_batch_keeps_one_network_and_refits_it(noisy, starts, make):
    X, y = noisy
    model = make(max_iter=1, warm_start=True, random_state=0)
    first = {"classes": [0, 1]} if make is CRATEClassifier else {}
    model.partial_fit(X, y, **first).fit(X, y)
    assert model.n_networks_ == 1
    assert starts[0].held_out.sum() == pytest.approx(0.15 * len(y), abs=1)
    assert starts[-1].held_out is None


def test_rows_given_for_validation_calibrate_by_default(noisy):
    X, y = noisy
    settings = {"max_iter": 3, "n_ensemble": 1, "random_state": 0}
    few = CRATEClassifier(**settings).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    assert few.temperature_ != 1
    settings |= {"image_shape": (2, 2), "n_layers": 1}
    image = CRATEClassifier(**settings).fit(X, y, X_val=X, y_val=y)
    assert image.temperature_ != 1


def test_networks_that_only_calibrate_hold_out_other_rows_each(noisy, starts):
    X, y = noisy
    _small(calibrate=True, n_ensemble=3, max_iter=1).fit(X, y)
    assert_array_equal(np.sum([run.held_out for run in starts], axis=0), 1)


def test_warm_start_keeps_the_architecture_that_was_resolved():
    X, y = load_iris(return_X_y=True)
    model = _small(warm_start=True, max_iter=1, d_token="auto", n_bins="auto")
    d_token = model.fit(X, y)._architecture["d_token"]
    model.fit(np.vstack([X] * 20), np.tile(y, 20))
    assert model._architecture["d_token"] == d_token


def test_many_tokens_are_warned_of_and_very_many_refused(rng):
    X, y = rng.standard_normal((60, 201)), np.arange(60) % 2
    settings = {"tokens": "feature", "max_iter": 1}
    with pytest.warns(UserWarning, match="a token of each of 201 features"):
        _small(**settings).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _small(**settings, attention="tssa").fit(X, y)
    with pytest.raises(ValueError, match=r"use attention='tssa' .* At most 2000"):
        _small(**settings).fit(rng.standard_normal((60, 2001)), y)


def test_dead_tokens_are_warned_of(noisy, monkeypatch):
    X, y = noisy
    store = _crate_fitting.store

    def kill(estimator, *arguments):
        store(estimator, *arguments)
        for name in ("weight", "bias"):
            estimator.weights_[f"layers.0.sparsify_norm.{name}"] *= 0

    monkeypatch.setattr(_crate_fitting, "store", kill)
    with pytest.warns(UserWarning, match="Layer 0 leaves 100% of its tokens entirely"):
        _small(max_iter=1).fit(X, y)


def test_steps_that_do_not_converge_are_warned_of(noisy, monkeypatch):
    X, y = noisy
    store = _crate_fitting.store

    def widen(estimator, *arguments):
        store(estimator, *arguments)
        estimator.weights_["layers.0.sparsify.dictionary"] *= 10

    monkeypatch.setattr(_crate_fitting, "store", widen)
    with pytest.warns(UserWarning, match="The proximal steps of layer 0 do not"):
        _small(max_iter=1, sparsifier="odl").fit(X, y)


def test_the_spectral_norm_is_the_largest_singular_value(rng):
    matrix = rng.standard_normal((5, 9))
    found = spectral_norm(torch.from_numpy(matrix), n_turns=500)
    assert_allclose(found, np.linalg.norm(matrix, 2), rtol=1e-6)
    assert spectral_norm(torch.zeros(3, 2)) == 0


def test_a_loss_that_does_not_fall_is_warned_of(noisy):
    X, y = noisy
    with pytest.warns(ConvergenceWarning, match="fell by less than 1 % in 10 epochs"):
        _small(learning_rate=1e-12, max_iter=10).fit(X, y)


def test_progress_counts_the_passes_of_all_networks(noisy, capsys):
    X, y = noisy
    _small(n_ensemble=2, max_iter=3, verbose=2).fit(X, y)
    lines = [line for line in capsys.readouterr().err.splitlines() if "of 6" in line]
    assert len(lines) == 6


def test_categories_and_missing_numbers_are_learnt(rng):
    pandas = pytest.importorskip("pandas")
    kind = rng.choice(["red", "green", "blue"], 300)
    number = rng.standard_normal(300)
    y = (kind == "red") | (number > 1)
    number[kind == "green"] = np.nan
    table = pandas.DataFrame({"number": number, "kind": pandas.Categorical(kind)})
    X, X_test, y, y_test = train_test_split(table, y, random_state=0)
    model = _small(missing="token", max_iter=30, learning_rate=0.02).fit(X, y)
    assert model.score(X_test, y_test) > 0.85
    assert model.feature_names_in_.tolist() == ["number", "kind"]
    assert model.is_categorical_.tolist() == [False, True]
    assert model.categories_[0].tolist() == ["blue", "green", "red"]
    unseen = X_test.assign(kind=pandas.Categorical(["violet"] * len(X_test)))
    assert np.isfinite(model.predict_proba(unseen)).all()
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict_proba(X_test), model.predict_proba(X_test))
    single = np.vstack([model.predict_proba(X_test.iloc[[i]]) for i in range(4)])
    assert_allclose(single, model.predict_proba(X_test)[:4], rtol=1e-9)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(X_test[["kind", "number"]])


def test_missing_numbers_are_refused_unless_asked_for(noisy):
    X, y = noisy
    gaps = X.copy()
    gaps[::3, 1] = np.nan
    with pytest.raises(ValueError, match="Fit with missing='token'"):
        _small().fit(gaps, y)
    model = _small().fit(X, y)
    with pytest.raises(ValueError, match="Fit with missing='token'"):
        model.predict(gaps)
    model = clone(model).set_params(missing="token").fit(X, y)
    assert np.isfinite(model.predict_proba(gaps)).all()


def test_text_of_an_array_is_refused_with_a_way_out(noisy):
    X, y = noisy
    text = X.astype(object)
    text[:, 1] = "red"
    with pytest.raises(ValueError, match="Give the indices of such columns"):
        _small().fit(text, y)
    with pytest.raises(ValueError, match="y holds text"):
        CRATERegressor().fit(X, text[:, 1])


def test_categories_and_images_exclude_each_other(noisy):
    X, y = noisy
    with pytest.raises(ValueError, match="image_shape is for pixels"):
        _small(image_shape=(2, 2), categorical_features=[0]).fit(X, y)


def test_missing_pixels_are_refused(noisy):
    X, y = noisy
    gaps = X.copy()
    gaps[::3, 1] = np.nan
    with pytest.raises(ValueError, match="missing='token' is for tables"):
        _small(image_shape=(2, 2), missing="token").fit(gaps, y)
    with pytest.raises(ValueError, match="Fill what is missing"):
        _small(image_shape=(2, 2)).fit(gaps, y)


def test_images_are_altered_in_training_only(rng):
    X = rng.standard_normal((80, 36))
    y = np.arange(80) % 2
    settings = {"image_shape": (6, 6), "patch_size": 3, "max_iter": 2, "stem": False}
    model = _small(**settings, augment="shift").fit(X, y)
    assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    plain = _small(**settings).fit(X, y)
    assert not np.array_equal(model.predict_proba(X), plain.predict_proba(X))
    with pytest.raises(ValueError, match="augment='shift' needs image_shape"):
        _small(augment="shift").fit(X, y)
