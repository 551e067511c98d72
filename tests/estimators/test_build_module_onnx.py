"""Modules of estimators go through ONNX and back, with any number of rows."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from sklearn_whitebox import (
    CRATEClassifier,
    CRATERegressor,
    LearnedSparseEncoder,
    NearestSubspaceClassifier,
    PolarTransformer,
    RateReductionClusterer,
    RateReductionEmbedding,
    ReduNetClassifier,
    SparseAutoencoder,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # What torch itself warns of when it copies an exported graph.
    pytest.mark.filterwarnings(
        r"ignore:.isinstance\(treespec, LeafSpec\). is deprecated:FutureWarning"
    ),
]
SMALL = {"n_ensemble": 1, "max_iter": 2, "d_token": 8, "n_heads": 2, "random_state": 0}


def digits(n=120):
    X, y = load_digits(return_X_y=True)
    return X[:n].astype(np.float32), y[:n]


def serve(module, X, path):
    """Write a module as documented, and give what runs it without torch."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    torch.onnx.export(
        module,
        (torch.from_numpy(X),),
        path,
        input_names=["X"],
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n_samples")},),
        external_data=False,
        verbose=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return lambda rows: session.run(None, {"X": rows})


def check(module, X, path, *, tolerance=1e-5):
    """Compare onnxruntime with torch on batches of several sizes."""
    run = serve(module, X[:3], path)
    for n_rows in (1, 2, len(X)):
        with torch.no_grad():
            wanted = module(torch.from_numpy(X[:n_rows]))
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for one, other in zip(wanted, run(X[:n_rows]), strict=True):
            assert one.numpy().dtype == other.dtype
            scale = max(1.0, float(np.abs(one.numpy()).max()))
            np.testing.assert_allclose(other, one.numpy(), atol=tolerance * scale)
    return run


def frame_of(n=90):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "colour": rng.choice(["red", "green", None], n),
            "size": np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 5, n)),
            "tall": rng.random(n) < 0.5,
        }
    )
    return frame, rng.integers(0, 3, n)


def test_crate_of_a_table_with_categories(tmp_path):
    frame, y = frame_of()
    settings = SMALL | {"n_ensemble": 2, "missing": "token"}
    model = CRATEClassifier(**settings).fit(frame, y)
    frame.loc[0, "colour"] = "mauve"
    X = model.encode_categories(frame).astype(np.float32)
    assert np.isnan(X[:, :2]).any(0).all()
    assert X[0, 0] == -1
    run = check(model.build_module(), X, tmp_path / "model.onnx")
    np.testing.assert_allclose(run(X)[0], model.predict_proba(frame), atol=1e-5)


@pytest.mark.slow
def test_crate_of_numbers_lets_no_missing_one_pass(tmp_path):
    X, y = digits()
    model = CRATEClassifier(**SMALL, pool="class", n_layers=2).fit(X, y)
    run = check(model.build_module(), X, tmp_path / "model.onnx")
    X[1, 5] = np.nan
    found = run(X[:3])[0]
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


@pytest.mark.slow
def test_crate_of_images(tmp_path):
    X, y = digits()
    model = CRATEClassifier(**SMALL, image_shape=(8, 8)).fit(X, y)
    check(model.build_module(), X, tmp_path / "model.onnx")


@pytest.mark.slow
def test_crate_regression_of_several_targets(tmp_path):
    X, y = digits()
    y = 1e6 + X[:, 20:23]
    settings = SMALL | {"tokens": "feature", "attention": "tssa", "n_members": 2}
    model = CRATERegressor(**settings).fit(X[:, :20], y)
    run = check(model.build_module(), X[:, :20].copy(), tmp_path / "model.onnx")
    np.testing.assert_allclose(run(X[:, :20])[0], model.predict(X[:, :20]), atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"n_channels": 90}, marks=pytest.mark.slow, id="vectors"),
        pytest.param({"n_channels": 4, "input_shape": (1, 8, 8)}, id="images"),
    ],
)
def test_redunet(settings, tmp_path):
    X, y = digits()
    model = ReduNetClassifier(3, lift="random_relu", random_state=0, **settings)
    model.fit(X, y)
    run = check(model.build_module(), X, tmp_path / "model.onnx")
    np.testing.assert_allclose(run(X)[0], model.predict_proba(X), atol=1e-5)


@pytest.mark.slow
def test_embedding(tmp_path):
    X, y = digits()
    model = RateReductionEmbedding(
        12, hidden_layer_sizes=(16,), max_iter=2, random_state=0
    ).fit(X, y)
    run = check(model.build_module(), X, tmp_path / "model.onnx")
    np.testing.assert_allclose(run(X)[0], model.transform(X), atol=1e-5)


def test_clusterer_gives_features_and_labels(tmp_path):
    X, _ = digits()
    model = RateReductionClusterer(3, n_components=8, max_iter=1, random_state=0)
    model.fit(X)
    X[5] = 0
    run = check(model.build_module(), X, tmp_path / "model.onnx")
    features, labels = run(X)
    np.testing.assert_allclose(features, model.transform(X), atol=1e-5)
    np.testing.assert_array_equal(labels, model.predict(X))


@pytest.mark.slow
def test_encoder(tmp_path):
    X, _ = digits()
    model = LearnedSparseEncoder(
        n_components=20, n_layers=3, max_iter=2, random_state=0
    ).fit(X)
    run = check(model.build_module(), X, tmp_path / "model.onnx")
    np.testing.assert_allclose(run(X)[0], model.transform(X), atol=1e-4)


@pytest.mark.slow
def test_autoencoder(tmp_path):
    X, _ = digits()
    model = SparseAutoencoder(20, max_iter=2, random_state=0).fit(X)
    run = check(model.build_module(), X, tmp_path / "model.onnx")
    np.testing.assert_allclose(run(X)[0], model.transform(X), atol=1e-4)


@pytest.mark.slow
def test_nearest_subspaces(tmp_path):
    X, y = digits()
    model = NearestSubspaceClassifier().fit(X, y)
    check(model.build_module(), X, tmp_path / "model.onnx")


@pytest.mark.slow
def test_a_pipeline_of_modules(tmp_path):
    X, y = digits()
    polar = PolarTransformer(4, n_angles=16).fit(X)
    rings = polar.transform(X)
    model = ReduNetClassifier(2, input_shape=polar.output_shape_, random_state=0)
    model.fit(rings, y)
    module = torch.nn.Sequential(polar.build_module(), model.build_module()).eval()
    run = check(module, X, tmp_path / "model.onnx")
    np.testing.assert_allclose(run(X)[0], model.predict_proba(rings), atol=1e-5)


def test_an_exported_program_needs_no_class_of_ours(tmp_path):
    X, y = digits()
    model = CRATEClassifier(**SMALL).fit(X, y)
    module = model.build_module()
    rows = torch.from_numpy(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = torch.export.export(
            module, (rows[:3],), dynamic_shapes=({0: torch.export.Dim("n_samples")},)
        )
    torch.export.save(program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2").module()
    for n_rows in (1, 3, 100):
        torch.testing.assert_close(loaded(rows[:n_rows]), module(rows[:n_rows]))
