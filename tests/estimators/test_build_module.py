"""Modules of plain torch give what the estimators that they are built of give."""

import copy
import io
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError

from sklearn_whitebox import (
    CRATEClassifier,
    CRATERegressor,
    LearnedSparseEncoder,
    RateReductionClusterer,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseAutoencoder,
)

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


def pairs(one, other):
    """Compare results part by part."""
    if isinstance(one, tuple):
        return zip(one, other, strict=True)
    return [(one, other)]


def single(X):
    return np.asarray(X, dtype=np.float32)


FITTED = {}


def fitted(name):
    """Fit each kind of estimator once."""
    if name not in FITTED:
        X, y = digits()
        model = {
            "classifier": lambda: CRATEClassifier(**SMALL).fit(X, y),
            "regressor": lambda: CRATERegressor(**SMALL).fit(X, y),
            "redunet": lambda: ReduNetClassifier(2, random_state=0).fit(X, y),
            "embedding": lambda: RateReductionEmbedding(
                12, hidden_layer_sizes=(16,), max_iter=2, random_state=0
            ).fit(X, y),
            "clusterer": lambda: RateReductionClusterer(
                3, n_components=8, max_iter=1, random_state=0
            ).fit(X),
            "encoder": lambda: LearnedSparseEncoder(
                n_components=20, n_layers=3, max_iter=2, random_state=0
            ).fit(X),
            "autoencoder": lambda: SparseAutoencoder(
                20, max_iter=2, random_state=0
            ).fit(X),
        }[name]
        FITTED[name] = model()
    return FITTED[name]


def expected(model, X):
    if isinstance(model, RateReductionClusterer):
        return model.transform(X), model.predict(X)
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    return model.predict(X) if hasattr(model, "predict") else model.transform(X)


NAMES = [
    "classifier",
    "regressor",
    "redunet",
    "embedding",
    "clusterer",
    "encoder",
    "autoencoder",
]


@pytest.mark.parametrize("name", NAMES)
def test_module_gives_what_the_estimator_gives(name):
    model, (X, _) = fitted(name), digits()
    module = model.build_module()
    assert isinstance(module, torch.nn.Module)
    assert not module.training
    assert all(p.device.type == "cpu" for p in module.parameters())
    for one, other in pairs(expected(model, X), run(module, X)):
        assert one.shape == other.shape
        scale = max(1.0, float(np.abs(one).max()))
        np.testing.assert_allclose(other, one, atol=5e-6 * scale, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_does_not_depend_on_the_others(name):
    module, (X, _) = fitted(name).build_module(), digits()
    for n in (1, 7):
        whole, part = run(module, X), run(module, X[:n])
        for one, other in pairs(whole, part):
            np.testing.assert_allclose(other, one[:n], atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_double_rows_and_whole_numbers_are_taken(name):
    module, (X, _) = fitted(name).build_module(), digits()
    wanted = run(module, X)
    for dtype in (np.float64, np.int64, np.uint8):
        found = run(module, X.astype(dtype))
        for one, other in pairs(wanted, found):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(other, one, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_changing_the_module_leaves_the_estimator_alone(name):
    model, (X, _) = fitted(name), digits()
    before = copy.deepcopy(expected(model, X))
    module = model.build_module()
    with torch.no_grad():
        for values in (*module.parameters(), *module.buffers()):
            values.zero_()
    np.testing.assert_array_equal(expected(model, X)[0], before[0])
    again = run(model.build_module(), X)
    assert np.abs(again[0]).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_training_moves_the_module(name):
    model, (X, _) = fitted(name), digits(20)
    module = model.build_module()
    assert all(p.requires_grad for p in module.parameters())
    rows = torch.from_numpy(X)
    found = module(rows)
    before = found[0] if isinstance(found, tuple) else found
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    before.flatten()[::2].sum().backward()
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(g.isfinite().all()) for g in gradients)
    optimizer.step()
    found = module(rows)
    after = found[0] if isinstance(found, tuple) else found
    assert bool((after != before).any())


@pytest.mark.parametrize("name", NAMES)
def test_state_and_pickle_of_a_module_go_through_a_file(name):
    model, (X, _) = fitted(name), digits(20)
    module = model.build_module()
    with torch.no_grad():
        for values in module.parameters():
            values.mul_(1.1)
    wanted = run(module, X)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = model.build_module()
    other.load_state_dict(torch.load(file, weights_only=True))
    for copied in (other, pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        np.testing.assert_array_equal(run(copied, X)[0], wanted[0])


@pytest.mark.parametrize("name", NAMES)
def test_an_estimator_without_fit_builds_nothing(name):
    with pytest.raises(NotFittedError):
        clone(fitted(name)).build_module()


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_another_width_are_refused(name):
    module, (X, _) = fitted(name).build_module(), digits(5)
    for rows in (X[:, :1], X[:, :-1], X[0]):
        with pytest.raises(ValueError, match=r"takes rows of shape \(n_samples, 64\)"):
            module(torch.from_numpy(rows))


@pytest.mark.parametrize("name", NAMES)
def test_all_that_a_module_computes_with_moves_with_it(name):
    module = fitted(name).build_module().to("meta")
    found = module(torch.zeros(3, 64, device="meta"))
    found = found if isinstance(found, tuple) else (found,)
    assert all(part.device.type == "meta" for part in found)


@pytest.mark.parametrize("name", NAMES)
def test_the_modes_of_the_caller_do_not_matter(name):
    model, (X, _) = fitted(name), digits(5)
    wanted = run(model.build_module(), X)
    with torch.inference_mode(), torch.device("meta"):
        module = model.build_module()
    assert not any(p.is_inference() for p in module.parameters())
    np.testing.assert_array_equal(run(module, X)[0], wanted[0])


def test_arrays_are_refused_with_the_way_out():
    module, (X, _) = fitted("classifier").build_module(), digits(5)
    with pytest.raises(TypeError, match=r"torch\.from_numpy"):
        module(X)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_modules_run_in_half_precision(dtype):
    model, (X, _) = fitted("classifier"), digits(60)
    found = model.build_module().to(dtype)(torch.from_numpy(X))
    assert found.dtype == dtype
    wanted = model.predict_proba(X)
    np.testing.assert_allclose(found.detach().float().numpy(), wanted, atol=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_the_global_generator_is_not_touched(name):
    model = fitted(name)
    before = torch.get_rng_state()
    model.build_module()
    assert torch.equal(torch.get_rng_state(), before)


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
    X, _ = digits(5)
    X[1, 3] = np.nan
    found = run(fitted("classifier").build_module(), X)
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


@pytest.mark.parametrize("name", ["crate", "redunet", "embedding", "autoencoder"])
def test_streams_build_what_they_have_learnt(name):
    X, y = digits()
    model = {
        "crate": CRATEClassifier(**SMALL),
        "redunet": ReduNetClassifier(2, random_state=0),
        "embedding": RateReductionEmbedding(
            12, hidden_layer_sizes=(8,), random_state=0
        ),
        "autoencoder": SparseAutoencoder(20, random_state=0),
    }[name]
    options = {} if name == "autoencoder" else {"classes": np.arange(12)}
    target = [] if name == "autoencoder" else [y]
    for half in (slice(60), slice(60, None)):
        model.partial_fit(X[half], *[t[half] for t in target], **options)
        wanted = expected(model, X)
        np.testing.assert_allclose(
            run(model.build_module(), X), wanted, atol=5e-6 * np.abs(wanted).max()
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "settings",
    [
        {"lift": None},
        {"lift": "bias", "n_components": 2, "class_weight": "balanced"},
        {"lift": "random_relu", "n_channels": 150},
        {"lift": None, "balance_membership": False, "compress_layers": 3},
        {"lift": None, "input_shape": (4, 16)},
        {"lift": "bias", "input_shape": (1, 8, 8)},
        {"lift": "random_relu", "input_shape": (2, 8, 4), "n_channels": 5},
        {"lift": None, "input_shape": (1, 64), "n_components": 1, "finetune": 1},
        {"lift": None, "input_shape": (8, 2, 4), "compress_layers": 1},
    ],
    ids=lambda settings: "-".join(f"{k}={v}" for k, v in settings.items()),
)
def test_redunet_of_every_kind(settings, dtype):
    X, y = digits(100)
    X = X.astype(dtype)
    model = ReduNetClassifier(3, random_state=0, **settings).fit(X, y)
    module = model.build_module()
    assert next(module.parameters()).dtype == getattr(torch, np.dtype(dtype).name)
    tolerance = 1e-5 if dtype == np.float32 else 1e-11
    new = X[::-1] + 0.5
    np.testing.assert_allclose(
        run(module, new), model.predict_proba(new), atol=tolerance
    )
    features = module.features(torch.from_numpy(new)).detach().numpy()
    np.testing.assert_allclose(features, model.transform(new), atol=tolerance)


def test_redunet_of_fewer_rows_than_features():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 80)), np.arange(12) % 3
    model = ReduNetClassifier(3, lift=None, random_state=0).fit(X, y)
    assert model.layers_[0]["ranks"][0] > 0
    new = rng.normal(size=(9, 80))
    np.testing.assert_allclose(
        run(model.build_module(), new), model.predict_proba(new), atol=1e-11
    )


def test_redunet_with_a_lift_of_the_user_says_what_to_do():
    X, y = digits()
    model = ReduNetClassifier(2, lift=PCA(5), random_state=0).fit(X, y)
    with pytest.raises(ValueError, match=r"lift is a PCA.*lift=None"):
        model.build_module()


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_redunet_of_rows_of_any_scale(scale):
    X, y = digits(60)
    X = (X * np.float32(scale)).astype(np.float32)
    model = ReduNetClassifier(2, lift=None, random_state=0).fit(X[:, :40] / scale, y)
    module = model.build_module()
    rows = torch.from_numpy(X[:, :40])
    assert bool(module(rows).isfinite().all())
    wanted = model.predict_proba(X[:, :40] / scale)
    np.testing.assert_allclose(module(rows).detach().numpy(), wanted, atol=1e-5)


class Gated(torch.nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.value = torch.nn.Linear(n_inputs, n_outputs)
        self.gate = torch.nn.Linear(n_inputs, n_outputs)

    def forward(self, X):
        return self.value(X) * self.gate(X).sigmoid()


@pytest.mark.parametrize("encoder", ["linear", "mlp", Gated])
@pytest.mark.parametrize("normalize", ["sphere", "frobenius", None])
def test_embedding_of_every_kind(encoder, normalize):
    X, y = digits()
    model = RateReductionEmbedding(
        12, encoder=encoder, normalize=normalize, max_iter=2, random_state=0
    )
    torch.manual_seed(0)
    wanted = model.fit(X, y).transform(X)
    np.testing.assert_allclose(run(model.build_module(), X), wanted, atol=5e-6)


@pytest.mark.parametrize("form", ["coupled", "free", "analytic"])
@pytest.mark.parametrize("positive", [False, True])
def test_encoder_of_every_form(form, positive):
    X, _ = digits()
    model = LearnedSparseEncoder(
        n_components=10,
        n_layers=3,
        form=form,
        positive_code=positive,
        max_iter=1,
        random_state=0,
    )
    wanted = model.fit(X).transform(X)
    np.testing.assert_allclose(run(model.build_module(), X), wanted, atol=1e-4)


def test_encoder_with_a_safeguard_says_what_to_do():
    model = copy.deepcopy(fitted("encoder")).set_params(safeguard=True)
    with pytest.raises(ValueError, match=r"set_params\(safeguard=False\)"):
        model.build_module()


@pytest.mark.parametrize("settings", [{"activation": "relu"}, {"n_active": 2}])
def test_autoencoder_of_every_kind(settings):
    X, _ = digits()
    model = SparseAutoencoder(15, max_iter=2, random_state=0, **settings).fit(X)
    module = model.build_module()
    codes = model.transform(X)
    np.testing.assert_allclose(run(module, X), codes, atol=1e-4)
    rebuilt = module.decode(torch.from_numpy(codes)).detach().numpy()
    np.testing.assert_allclose(rebuilt, model.inverse_transform(codes), atol=0.05)


def test_rows_of_zeros_are_clustered_as_by_the_estimator():
    X, _ = digits(10)
    X[3] = 0
    model = fitted("clusterer")
    features, labels = run(model.build_module(), X)
    np.testing.assert_array_equal(labels, model.predict(X))
    assert not features[3].any()
