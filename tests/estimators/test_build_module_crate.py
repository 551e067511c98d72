"""Modules of CRATE estimators do all that the estimators do to rows."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.exceptions import NotFittedError

from sklearn_whitebox import CRATEClassifier, CRATERegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
SMALL = {"n_ensemble": 1, "max_iter": 2, "d_token": 8, "n_heads": 2, "random_state": 0}


def digits(n=120):
    X, y = load_digits(return_X_y=True)
    return X[:n].astype(np.float32), y[:n]


def table(n=90, seed=0):
    """Numbers, some missing, and labels of three kinds, some missing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "colour": rng.choice(["red", "green", "blue"], n),
            "size": rng.normal(1e3, 5, n),
            "grade": pd.Categorical(rng.integers(0, 4, n)),
            "weight": rng.exponential(2, n),
            "tall": rng.random(n) < 0.5,
        }
    )
    frame.loc[3:7, "weight"] = np.nan
    frame["grade"] = frame["grade"].mask(np.arange(n) % 11 == 0)
    y = (frame["size"] > 1e3).astype(int) + (frame["colour"] == "red")
    return frame, y.to_numpy()


def run(module, X):
    with torch.no_grad():
        found = module(torch.from_numpy(np.ascontiguousarray(X)))
    if isinstance(found, tuple):
        return tuple(part.numpy() for part in found)
    return found.numpy()


def single(X):
    return np.asarray(X, dtype=np.float32)


@pytest.mark.parametrize(
    "settings",
    [
        {"n_ensemble": 3, "n_members": 2},
        {"pool": "class", "n_layers": 2},
        {"pool": "mean", "attention": "tssa"},
        {"tokens": "feature", "sparsifier": "odl", "encoding": "periodic"},
        {"sparsifier": "mlp", "encoding": "linear", "n_layers": 2},
        {"n_layers": 0, "sparsifier": None},
        {"precision": "float64"},
    ],
    ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items()),
)
def test_crate_of_every_kind(settings):
    X, y = load_iris(return_X_y=True)
    model = CRATEClassifier(**(SMALL | settings)).fit(X, y)
    module = model.build_module()
    np.testing.assert_allclose(
        run(module, single(X)), model.predict_proba(single(X)), atol=2e-6
    )
    np.testing.assert_allclose(
        run(module.double(), X), model.predict_proba(X), atol=1e-6
    )


def test_probabilities_are_those_of_the_temperature():
    X, y = load_iris(return_X_y=True)
    model = CRATEClassifier(**(SMALL | {"calibrate": True})).fit(X, y)
    assert model.temperature_ != 1
    np.testing.assert_allclose(
        run(model.build_module(), single(X)), model.predict_proba(single(X)), atol=1e-6
    )
    logs = model.build_module().log_probabilities(torch.from_numpy(single(X)))
    wanted = np.log(model.predict_proba(single(X)))
    np.testing.assert_allclose(logs.detach().numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8), (4, 8, 2)])
def test_crate_of_images(shape):
    X, y = digits()
    model = CRATEClassifier(**SMALL, image_shape=shape).fit(X, y)
    module = model.build_module()
    np.testing.assert_allclose(run(module, X), model.predict_proba(X), atol=2e-6)
    features = module.features(torch.from_numpy(X)).detach().numpy()
    np.testing.assert_allclose(features, model.transform(X), atol=2e-5)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_parameter_decides_the_precision(precision):
    X, y = load_iris(return_X_y=True)
    # So few rows are trained in double precision in either case.
    model = CRATEClassifier(**SMALL, precision=precision).fit(X[::5], y[::5])
    module = model.build_module()
    assert next(module.parameters()).dtype == getattr(torch, precision)
    tolerance = 1e-12 if precision == "float64" else 2e-6
    np.testing.assert_allclose(
        run(module, X), model.predict_proba(X), atol=tolerance, rtol=0
    )
    module.networks.float()
    found = run(module, X)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.predict_proba(X), atol=2e-6)


@pytest.mark.parametrize("tokens", ["dense", "feature"])
def test_tables_with_categories_and_missing_numbers(tokens):
    frame, y = table()
    settings = SMALL | {"n_ensemble": 2, "missing": "token", "tokens": tokens}
    model = CRATEClassifier(**settings).fit(frame, y)
    strange = frame.copy()
    strange.loc[0, "colour"] = "mauve"
    strange.loc[1, "colour"] = None
    strange["grade"] = strange["grade"].astype(object)
    strange.loc[2, "grade"] = 17
    strange.loc[4, "size"] = np.nan
    for rows in (frame, strange, strange.iloc[::-1]):
        coded = model.encode_categories(rows)
        assert coded.shape == frame.shape
        assert coded.dtype == np.float64
        module = model.build_module()
        wanted = model.predict_proba(rows)
        np.testing.assert_allclose(run(module, coded), wanted, atol=5e-6)
    coded = model.encode_categories(strange)
    assert coded[0, 0] == -1
    assert np.isnan(coded[1, 0])
    assert coded[2, 2] == -1
    np.testing.assert_array_equal(coded[5:, 1], frame["size"][5:])
    colours = model.categories_[0]
    assert colours[int(coded[9, 0])] == frame["colour"][9]


def test_codes_that_are_no_category_are_unknown():
    frame, y = table()
    model = CRATEClassifier(**SMALL, missing="token").fit(frame, y)
    coded = single(model.encode_categories(frame)[:1]).repeat(7, 0)
    coded[:, 0] = [-1, -7, 3, 0.5, 1e9, np.inf, -np.inf]
    found = run(model.build_module(), coded)
    np.testing.assert_allclose(found, found[:1].repeat(7, 0), atol=1e-6)


def test_a_column_without_missing_labels_takes_them_as_unknown():
    frame, y = table()
    model = CRATEClassifier(**SMALL, missing="token").fit(frame, y)
    coded = single(model.encode_categories(frame)[:2])
    coded[:, 0] = [-1, np.nan]
    coded[:, 1:] = coded[:1, 1:]
    found = run(model.build_module(), coded)
    np.testing.assert_allclose(found[1], found[0], atol=2e-6)


def test_a_table_of_labels_alone():
    frame, y = table()
    frame = frame[["colour", "tall"]]
    model = CRATEClassifier(**SMALL).fit(frame, y)
    coded = model.encode_categories(frame)
    np.testing.assert_allclose(
        run(model.build_module(), single(coded)), model.predict_proba(frame), atol=2e-6
    )


def test_encoding_a_table_of_numbers_copies_it():
    X, y = load_iris(return_X_y=True)
    model = CRATEClassifier(**SMALL).fit(X, y)
    coded = model.encode_categories(X)
    np.testing.assert_array_equal(coded, X)
    assert not np.shares_memory(coded, X)
    with pytest.raises(NotFittedError):
        CRATEClassifier().encode_categories(X)


def test_missing_numbers_come_out_where_none_were_allowed():
    X, y = digits(60)
    model = CRATEClassifier(**SMALL).fit(X, y)
    X = X[:5]
    X[1, 3] = np.nan
    found = run(model.build_module(), X)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2, 3, 4]]).all()


@pytest.mark.parametrize("n_outputs", [0, 1, 3])
def test_predictions_of_a_regression_are_in_the_units_of_the_target(n_outputs):
    X, _ = load_iris(return_X_y=True)
    y = 1.7e9 + 3 * X[:, :1] @ np.ones((1, max(n_outputs, 1)))
    y = y[:, 0] if n_outputs == 0 else y
    settings = SMALL | {"n_ensemble": 2, "n_members": 2}
    model = CRATERegressor(**settings).fit(X, y)
    found = run(model.build_module(), single(X))
    assert found.shape == y.shape
    np.testing.assert_allclose(found, model.predict(single(X)), atol=1e-4, rtol=0)


def test_far_columns_keep_their_digits():
    X, y = make_classification(200, 6, random_state=0)
    X = np.round(X * 100) + 2**23  # exact in float32, but only just
    model = CRATEClassifier(**SMALL).fit(X, y)
    found = run(model.build_module(), single(X))
    np.testing.assert_allclose(found, model.predict_proba(X), atol=5e-6)
