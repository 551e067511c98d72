import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.estimators._crate_config import make_config, resolve_plan
from sklearn_whitebox.estimators._crate_regressor import CRATERegressor
from sklearn_whitebox.modules._crate import CRATE


@pytest.fixture
def published(reference):
    vectors = reference("crate_full_tiny")
    state = {
        name[2:]: torch.from_numpy(value)
        for name, value in vectors.items()
        if name.startswith("w.")
    }
    images = np.moveaxis(vectors["img"], 1, -1)
    return state, images.reshape(len(images), -1), vectors["logits"]


@pytest.mark.parametrize(
    ("name", "n_parameters"),
    [
        ("crate-tiny", 6_090_856),
        ("crate-small", 13_116_328),
        ("crate-base", 22_796_008),
        ("crate-large", 77_641_192),
    ],
)
@pytest.mark.parametrize("make", [CRATEClassifier, CRATERegressor])
def test_presets_have_the_published_numbers_of_parameters(make, name, n_parameters):
    model = make.from_preset(name)
    n_pixels = 224 * 224 * 3
    is_classifier = make is CRATEClassifier
    plan = resolve_plan(model, 1000, is_classifier=is_classifier, is_image=True)
    config = make_config(model, plan, n_pixels, (), 1000)
    module = CRATE(config, device="meta")
    assert sum(p.numel() for p in module.parameters()) == n_parameters


def test_parameters_of_a_preset_may_be_others(rng):
    small = {"image_shape": (16, 16), "n_layers": 1, "d_token": 6, "max_iter": 1}
    model = CRATEClassifier.from_preset("crate-tiny", **small)
    assert (model.n_heads, model.patch_size, model.stem) == (6, 16, False)
    X = rng.standard_normal((10, 256))
    assert model.fit(X, np.arange(10) % 2).predict_proba(X).shape == (10, 2)


@pytest.mark.parametrize("name", ["crate-alpha-base", "nonsense"])
def test_presets_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match=f"name='{name}'"):
        CRATEClassifier.from_preset(name)


def test_a_checkpoint_gives_a_fitted_classifier(published):
    state, X, logits = published
    model = CRATEClassifier.from_checkpoint(state, n_heads=3)
    assert_allclose(model.decision_function(X), logits, atol=2e-5)
    assert_array_equal(model.predict(X), logits.argmax(1))
    assert model.n_features_in_ == X.shape[1]
    assert model.transform(X).shape == (len(X), 24)
    assert model.attention_maps(X).shape == (len(X), 3, 2, 2)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_labels_and_scaling_of_a_checkpoint_are_the_callers(published):
    state, X, logits = published
    names = np.array([f"class {9 - k:02d}" for k in range(logits.shape[1])])
    mean, std = np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0])
    model = CRATEClassifier.from_checkpoint(
        state, n_heads=3, classes=names, mean=mean, std=std
    )
    pixels = (X.reshape(len(X), -1, 3) * std + mean).reshape(X.shape)
    assert_array_equal(model.predict(pixels), names[logits.argmax(1)])
    assert_array_equal(model.classes_, np.sort(names))
    assert_allclose(
        model.decision_function(pixels), logits[:, np.argsort(names)], atol=2e-4
    )
    with pytest.raises(ValueError, match="2 different labels"):
        CRATEClassifier.from_checkpoint(state, n_heads=3, classes=[0, 1])


def test_a_checkpoint_can_be_trained_on(published):
    state, X, logits = published
    model = CRATEClassifier.from_checkpoint(
        state, n_heads=3, step_size=0.05, warm_start=True, max_iter=2, random_state=0
    )
    y = np.arange(len(X)) % 2
    start = model.decision_function(X)
    model.partial_fit(X, y)
    assert not np.array_equal(model.decision_function(X), start)
    rows = np.tile(X, (5, 1))[: max(10, logits.shape[1])]
    model.fit(rows, np.arange(len(rows)) % logits.shape[1])
    assert model._architecture["step_size"] == 0.05


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"state": "crate.pth"}, TypeError, "read a file with torch.load"),
        ({"mean": [0.0, 1.0]}, ValueError, "one of each of the 3 channels"),
        ({"std": 0.0}, ValueError, "std=0.0 must be positive"),
    ],
)
def test_what_is_no_checkpoint_or_scaling_is_refused(
    published, settings, error, message
):
    state, _, _ = published
    settings = {"state": state, "n_heads": 3, **settings}
    with pytest.raises(error, match=message):
        CRATEClassifier.from_checkpoint(**settings)
