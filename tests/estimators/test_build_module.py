"""Modules of plain torch give what the estimators that they are built of give."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
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
