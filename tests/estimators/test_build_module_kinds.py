"""Modules of all kinds of ReduNet, embedding, clusterer, encoder and subspaces."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from sklearn_whitebox import (
    LearnedSparseEncoder,
    NearestSubspaceClassifier,
    PolarTransformer,
    RateReductionClusterer,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseAutoencoder,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def digits(n=120):
    X, y = load_digits(return_X_y=True)
    return X[:n].astype(np.float32), y[:n]


def run(module, X):
    with torch.no_grad():
        found = module(torch.from_numpy(np.ascontiguousarray(X)))
    if isinstance(found, tuple):
        return tuple(part.numpy() for part in found)
    return found.numpy()


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
    X, _ = digits()
    model = LearnedSparseEncoder(
        n_components=10, n_layers=2, safeguard=True, max_iter=1, random_state=0
    ).fit(X)
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
    X, _ = digits()
    model = RateReductionClusterer(3, n_components=8, max_iter=1, random_state=0)
    model.fit(X)
    X = X[:10]
    X[3] = 0
    features, labels = run(model.build_module(), X)
    np.testing.assert_array_equal(labels, model.predict(X))
    assert not features[3].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"centered": True, "n_components": 3, "priors": "empirical"},
        {"criterion": "residual", "n_components": 2},
    ],
    ids=["default", "affine", "residual"],
)
def test_nearest_subspaces(settings, dtype):
    X, y = digits()
    X = X.astype(dtype)
    model = NearestSubspaceClassifier(**settings).fit(X, y)
    new = X[::-1] + 0.25
    found, wanted = run(model.build_module(), new), model.predict_proba(new)
    assert found.dtype == dtype
    tolerance = 1e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(found, wanted, atol=tolerance)


def test_nearest_subspaces_of_a_class_that_has_not_come():
    X, y = digits()
    model = NearestSubspaceClassifier(n_components=2)
    model.partial_fit(X.astype(np.float64), y, classes=np.arange(11))
    found = run(model.build_module(), X.astype(np.float64))
    np.testing.assert_allclose(found, model.predict_proba(X.astype(np.float64)))
    assert not found[:, 10].any()


@pytest.mark.parametrize("shape", [None, (2, 8, 4)])
@pytest.mark.parametrize("max_radius", [None, 6.0])
def test_images_sampled_along_circles(shape, max_radius):
    X, _ = digits(10)
    model = PolarTransformer(
        5, n_angles=16, input_shape=shape, max_radius=max_radius
    ).fit(X)
    found = run(model.build_module(), X)
    np.testing.assert_allclose(found, model.transform(X), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "make",
    [
        lambda: PolarTransformer(3, input_shape=(8, 8)),
        lambda: RateReductionClusterer(3, n_components=8, max_iter=1, random_state=0),
        lambda: SparseAutoencoder(20, max_iter=2, random_state=0),
    ],
    ids=["polar", "clusterer", "autoencoder"],
)
def test_rows_of_half_precision_are_computed_with_in_single(make, dtype):
    X, _ = digits()
    rows = torch.from_numpy(X / 16).to(dtype)
    model = make().fit(X / 16)
    with torch.no_grad():
        found = model.build_module()(rows)
    found = found[0] if isinstance(found, tuple) else found
    assert found.dtype == torch.float32
    wanted = model.transform(rows.float().numpy())
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-5)


def test_modules_of_a_pipeline_follow_one_another():
    X, y = digits()
    polar = PolarTransformer(4, n_angles=16).fit(X)
    rings = polar.transform(X)
    model = ReduNetClassifier(2, input_shape=polar.output_shape_, random_state=0)
    model.fit(rings, y)
    module = torch.nn.Sequential(polar.build_module(), model.build_module())
    np.testing.assert_allclose(run(module, X), model.predict_proba(rings), atol=1e-5)
