import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

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


def _small(**settings):
    training = {"max_iter": 5, "early_stopping": False, "random_state": 0}
    return CRATERegressor(**SMALL | training | settings)


@pytest.fixture(scope="module")
def bumps():
    rng = np.random.default_rng(0)
    X = rng.uniform(-2, 2, (400, 3))
    noise = 0.1 * rng.standard_normal((400, 2))
    Y = np.column_stack([np.sin(2 * X[:, 0]) + X[:, 1] ** 2, 5 + 100 * abs(X[:, 2])])
    return train_test_split(X, Y + noise * [1, 100], random_state=0)


def test_what_is_not_linear_is_predicted_better_than_by_a_ridge(bumps):
    X, X_test, Y, Y_test = bumps
    model = CRATERegressor(n_ensemble=2, d_token=16, max_iter=25, random_state=0)
    score = model.fit(X, Y[:, 0]).score(X_test, Y_test[:, 0])
    assert score > 0.9
    assert score > Ridge().fit(X, Y[:, 0]).score(X_test, Y_test[:, 0]) + 0.5


def test_several_targets_are_learnt_together(bumps):
    X, X_test, Y, Y_test = bumps
    model = _small(max_iter=25, learning_rate=0.02).fit(X, Y)
    assert model.predict(X_test).shape == Y_test.shape
    assert model.score(X_test, Y_test) > 0.8
    assert model.n_outputs_ == 2
    assert_allclose(model.target_mean_, Y.mean(0))
    assert_allclose(model.target_scale_, Y.std(0))


def test_predictions_have_the_dimensions_of_the_targets(bumps):
    X, X_test, Y, _ = bumps
    flat = _small(max_iter=1).fit(X, Y[:, 0]).predict(X_test)
    column = _small(max_iter=1).fit(X, Y[:, :1]).predict(X_test)
    assert flat.shape == (len(X_test),)
    assert_array_equal(column, flat[:, None])


def test_the_scale_of_the_targets_does_not_matter(bumps):
    X, X_test, Y, _ = bumps
    expected = _small().fit(X, Y[:, 0]).predict(X_test)
    found = _small().fit(X, 1e6 * Y[:, 0] - 1e8).predict(X_test)
    assert_allclose((found + 1e8) / 1e6, expected, rtol=1e-3, atol=1e-3)


def test_early_stopping_watches_the_squared_error(bumps):
    X, X_test, Y, Y_test = bumps
    model = _small(early_stopping=True, max_iter=8)
    model.fit(X, Y, X_val=X_test, y_val=Y_test)
    error = ((model.predict(X_test) - Y_test) / model.target_scale_) ** 2
    assert_allclose(error.mean(), min(model.validation_curve_), rtol=1e-5)
    with pytest.raises(ValueError, match="y has 1 targets, but the model has 2"):
        model.fit(X, Y, X_val=X_test, y_val=Y_test[:, 0])


def test_constant_targets_are_predicted(bumps):
    X, _, _, _ = bumps
    assert_allclose(
        _small(max_iter=9).fit(X, np.full(len(X), 7.0)).predict(X), 7, atol=1
    )


def test_weights_move_the_prediction(rng):
    X = rng.standard_normal((100, 2))
    y = np.arange(100) % 2
    weight = np.where(y == 1, 9.0, 1.0)
    model = _small(max_iter=10).fit(X, y, sample_weight=weight)
    assert model.predict(X).mean() == pytest.approx(0.9, abs=0.1)


def test_weights_that_leave_nothing_are_refused(bumps):
    X, _, Y, _ = bumps
    with pytest.raises(ValueError, match=r"all weights are zero|non-zero number"):
        _small().fit(X, Y, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="must not be negative"):
        _small().fit(X, Y, sample_weight=-np.ones(len(X)))


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_targets_of_any_size_are_predicted_or_refused(bumps, size):
    X, _, Y, _ = bumps
    if size > 1:
        with pytest.raises(ValueError, match="squares overflow"):
            _small().fit(X, Y * size)
    else:
        assert np.isfinite(_small().fit(X, Y * size).predict(X)).all()


def test_other_targets_are_refused_in_a_stream(bumps):
    X, _, Y, _ = bumps
    model = _small().partial_fit(X, Y)
    with pytest.raises(ValueError, match="y has 1 targets, but the model has 2"):
        model.partial_fit(X, Y[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tensors_come_back_as_tensors(bumps, dtype):
    X, X_test, Y, _ = bumps
    model = _small(max_iter=1).fit(torch.tensor(X), torch.tensor(Y))
    found = model.predict(torch.tensor(X_test, dtype=dtype))
    assert isinstance(found, torch.Tensor)
    assert_allclose(found.numpy(), model.predict(X_test), rtol=1e-3)


def test_rows_are_predicted_one_by_one_as_together(bumps):
    X, X_test, Y, _ = bumps
    model = _small(max_iter=1).fit(X, Y)
    single = np.vstack([model.predict(row[None]) for row in X_test[:5]])
    assert_allclose(single, model.predict(X_test)[:5], rtol=1e-9)


def test_a_fitted_model_survives_pickle_and_skops(bumps):
    skops = pytest.importorskip("skops.io")
    X, X_test, Y, _ = bumps
    model = _small(max_iter=1, n_ensemble=2).partial_fit(X, Y)
    expected = model.predict(X_test)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X_test), expected)
    dumped = skops.dumps(model)
    untrusted = skops.get_untrusted_types(data=dumped)
    assert all(name.endswith("CRATERegressor") for name in untrusted)
    assert_array_equal(skops.loads(dumped, trusted=untrusted).predict(X_test), expected)
