import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split

from sklearn_whitebox import CRATEClassifier
from sklearn_whitebox.estimators import _crate_inference

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
    return CRATEClassifier(**SMALL | training | settings)


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return train_test_split(X, y, stratify=y, random_state=0)


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)


def test_digits_are_classified_as_images(digits):
    X, X_test, y, y_test = digits
    model = CRATEClassifier(
        image_shape=(8, 8), patch_size=4, d_token=32, max_iter=20, random_state=0
    )
    assert model.fit(X[:600], y[:600]).score(X_test, y_test) > 0.93


@pytest.mark.slow
def test_digits_reach_the_accuracy_of_the_guide(digits):
    X, X_test, y, y_test = digits
    model = CRATEClassifier(image_shape=(8, 8), random_state=0)
    assert model.fit(X, y).score(X_test, y_test) >= 0.96


@pytest.mark.slow
def test_breast_cancer_reaches_the_accuracy_of_the_guide():
    X, y = load_breast_cancer(return_X_y=True)
    scores, losses = [], []
    for seed in range(2):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.3, stratify=y, random_state=seed
        )
        model = CRATEClassifier(random_state=seed).fit(X_train, y_train)
        scores.append(model.score(X_test, y_test))
        losses.append(log_loss(y_test, model.predict_proba(X_test)))
    assert np.mean(scores) >= 0.945
    assert np.mean(losses) <= 0.17


@pytest.mark.parametrize("tokens", ["dense", "feature"])
def test_wine_is_classified(wine, tokens):
    X, X_test, y, y_test = wine
    model = CRATEClassifier(
        n_layers=2,
        d_token=16,
        tokens=tokens,
        n_ensemble=2,
        max_iter=20,
        random_state=0,
    )
    assert model.fit(X, y).score(X_test, y_test) > 0.9


def test_probabilities_logits_and_predictions_agree(wine):
    X, X_test, y, _ = wine
    model = _small().fit(X, y)
    probabilities = model.predict_proba(X_test)
    logits = model.decision_function(X_test)
    assert_allclose(probabilities.sum(1), 1, rtol=1e-6)
    assert_array_equal(model.classes_[probabilities.argmax(1)], model.predict(X_test))
    odds = np.exp(logits - logits.max(1, keepdims=True))
    assert_allclose(odds / odds.sum(1, keepdims=True), probabilities, rtol=1e-9)


@pytest.mark.parametrize(("pool", "width"), [("class", 8), ("mean", 8), ("concat", 24)])
def test_features_are_those_the_head_classifies(wine, pool, width):
    X, X_test, y, _ = wine
    model = _small(pool=pool, max_iter=1).fit(X, y)
    features = model.transform(X_test)
    assert features.shape == (len(X_test), width)
    assert len(model.get_feature_names_out()) == width
    head = features @ model.weights_["head.weight"].T + model.weights_["head.bias"]
    assert_allclose(head, model.decision_function(X_test), rtol=1e-9)
    assert list(model.get_feature_names_out())[:2] == [
        "crateclassifier0",
        "crateclassifier1",
    ]


@pytest.mark.parametrize("attention", ["mssa", "tssa"])
@pytest.mark.parametrize("sparsifier", ["ista", "odl", "mlp", None])
def test_every_variant_learns(wine, attention, sparsifier):
    X, _, y, _ = wine
    model = _small(attention=attention, sparsifier=sparsifier, max_iter=15)
    model.fit(X, y)
    assert model.loss_curve_[-1] < 0.8 * model.loss_curve_[0]
    learnt = {n: w for n, w in model.weights_.items() if not n.endswith("edges")}
    assert model.n_parameters_ == sum(w.size for w in learnt.values())


def test_early_stopping_keeps_the_best_pass():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((150, 4)), rng.integers(3, size=150)
    model = _small(
        max_iter=80,
        early_stopping=True,
        refit=False,
        n_iter_no_change=5,
        learning_rate=0.03,
    ).fit(X, y)
    curve = model.validation_curve_
    assert len(curve) == len(model.loss_curve_) == model.n_iter_ < 80
    assert model.best_iteration_ == np.argmin(curve) + 1 == model.n_iter_ - 5
    shorter = clone(model).set_params(n_iter_no_change=model.n_iter_)
    assert shorter.fit(X, y).validation_curve_[: model.n_iter_] == curve


def test_few_rows_are_not_held_out():
    X, y = load_iris(return_X_y=True)
    with pytest.warns(UserWarning, match="early_stopping=True needs at least 50 rows"):
        model = _small(early_stopping=True).fit(X[::4], y[::4])
    assert model.validation_curve_ == []
    assert model.best_iteration_ == model.n_iter_ == 5


def test_a_class_with_a_single_row_is_learnt_not_held_out():
    X, y = load_iris(return_X_y=True)
    y = y.copy()
    y[0] = 7
    model = _small(early_stopping=True, validation_fraction=0.9).fit(X, y)
    assert_array_equal(model.classes_, [0, 1, 2, 7])


def test_an_integer_weight_is_a_repetition_where_a_step_sees_all_rows(rng):
    X, y = load_iris(return_X_y=True)
    X, y = X[::5], y[::5]
    weight = rng.integers(0, 3, len(y))
    weighted = _small(max_iter=20).fit(X, y, sample_weight=weight)
    repeated = _small(max_iter=20).fit(X.repeat(weight, 0), y.repeat(weight))
    assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1.0, 1: 5.0, 2: 1.0}])
@pytest.mark.parametrize("n_rows", [30, 150])
def test_rows_of_zero_weight_are_as_good_as_absent(n_rows, class_weight):
    X, y = load_iris(return_X_y=True)
    rows = np.arange(len(y))[:: len(y) // n_rows]
    X, y = X[rows], y[rows]
    weight = np.ones(len(y))
    weight[np.flatnonzero(y == 1)[3:]] = 0
    settings = {"max_iter": 20, "class_weight": class_weight}
    model = _small(**settings).fit(X, y, sample_weight=weight)
    without = _small(**settings).fit(X[weight > 0], y[weight > 0])
    assert_array_equal(model.predict_proba(X), without.predict_proba(X))


def test_a_class_of_zero_weight_is_as_good_as_absent(wine):
    X, _, y, _ = wine
    model = _small(class_weight="balanced").fit(X, y, sample_weight=1.0 * (y != 0))
    assert_array_equal(model.classes_, [1, 2])
    without = _small(class_weight="balanced").fit(X[y != 0], y[y != 0])
    assert_array_equal(model.predict_proba(X), without.predict_proba(X))


def test_class_weights_move_the_decision():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2))
    y = (rng.random(300) < 0.1).astype(int)
    rare = _small(max_iter=10).fit(X, y).predict_proba(X)[:, 1].mean()
    model = _small(max_iter=10, class_weight="balanced").fit(X, y)
    assert rare < 0.3 < model.predict_proba(X)[:, 1].mean()


def test_the_same_seed_gives_the_same_model_in_a_fresh_process():
    code = (
        "import numpy as np\n"
        "from sklearn.datasets import load_iris\n"
        "from sklearn_whitebox import CRATEClassifier\n"
        "X, y = load_iris(return_X_y=True)\n"
        f"model = CRATEClassifier(**{SMALL}, max_iter=3, early_stopping=False, "
        "random_state=0)\n"
        "model.fit(X, y)\n"
        "print(model.predict_proba(X).tobytes().hex())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    X, y = load_iris(return_X_y=True)
    model = _small(max_iter=3).fit(X, y)
    assert run.stdout.strip() == model.predict_proba(X).tobytes().hex()


def test_fitting_leaves_the_process_as_it_was(wine):
    X, X_test, y, _ = wine
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    threads = torch.get_num_threads()
    _small(dropout=0.1).fit(X, y).predict_proba(X_test)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad])
def test_fitting_and_inference_work_where_gradients_are_off(wine, context):
    X, X_test, y, _ = wine
    expected = _small().fit(X, y).predict_proba(X_test)
    with context():
        model = _small().fit(X, y)
        found = model.predict_proba(X_test)
        model.layer_statistics(X_test)
    assert_array_equal(found, expected)


def test_grid_search_over_the_steps(wine):
    X, _, y, _ = wine
    grid = {"attention": ["mssa", "tssa"], "sparsifier": ["ista", None]}
    search = GridSearchCV(_small(max_iter=3), grid, cv=2).fit(X, y)
    assert set(search.best_params_) == set(grid)


def test_a_fitted_model_survives_pickle_and_skops(wine):
    skops = pytest.importorskip("skops.io")
    X, X_test, y, _ = wine
    model = _small().fit(X, y)
    expected = model.predict_proba(X_test)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict_proba(X_test), expected)
    dumped = skops.dumps(model)
    untrusted = skops.get_untrusted_types(data=dumped)
    assert all(name.endswith("CRATEClassifier") for name in untrusted)
    loaded = skops.loads(dumped, trusted=untrusted)
    assert_array_equal(loaded.predict_proba(X_test), expected)


def test_parameters_changed_after_the_fit_do_not_change_the_model(wine):
    X, X_test, y, _ = wine
    model = _small().fit(X, y)
    expected = model.predict_proba(X_test)
    model.set_params(n_layers=2, attention="tssa", d_token=16)
    assert_array_equal(model.predict_proba(X_test), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_tensors_come_back_as_tensors_but_labels_as_arrays(wine, n_classes, dtype):
    X, X_test, y, _ = wine
    known = y < n_classes
    model = _small().fit(torch.tensor(X[known]), torch.tensor(y[known]))
    rows = torch.tensor(X_test, dtype=dtype)
    for method in ("predict_proba", "decision_function", "transform"):
        result = getattr(model, method)(rows)
        assert isinstance(result, torch.Tensor)
        assert result.dtype == dtype
        assert_array_equal(result.numpy(), getattr(model, method)(rows.numpy()))
    labels = model.predict(rows)
    assert isinstance(labels, np.ndarray)
    assert labels.dtype == model.classes_.dtype
    assert_array_equal(labels, model.predict(rows.numpy()))


def test_string_labels_are_predicted_for_tensors(wine):
    X, X_test, y, _ = wine
    model = _small().fit(X, np.array(["red", "rosé", "white"])[y])
    assert set(model.predict(torch.tensor(X_test))) <= {"red", "rosé", "white"}


def test_rows_are_classified_one_by_one_as_together(wine):
    X, X_test, y, _ = wine
    model = _small().fit(X, y)
    together = model.predict_proba(X_test)
    single = np.vstack([model.predict_proba(row[None]) for row in X_test[:5]])
    assert_allclose(single, together[:5], rtol=1e-9)
    order = np.random.default_rng(0).permutation(len(X_test))
    assert_allclose(model.predict_proba(X_test[order]), together[order], rtol=1e-9)


def test_permuted_features_give_the_same_predictions_with_permuted_tokenisers(wine):
    X, X_test, y, _ = wine
    model = _small(tokens="feature").fit(X, y)
    order = np.random.default_rng(0).permutation(X.shape[1])
    permuted = pickle.loads(pickle.dumps(model))
    permuted.centre_, permuted.scale_ = model.centre_[order], model.scale_[order]
    permuted.weights_ = {
        name: w[order] if name.startswith("tokens.") else w
        for name, w in model.weights_.items()
    }
    assert_allclose(
        permuted.predict_proba(X_test[:, order]),
        model.predict_proba(X_test),
        rtol=1e-9,
    )


def test_warm_start_goes_on_where_the_last_fit_ended(wine):
    X, _, y, _ = wine
    model = _small(warm_start=True, max_iter=15).fit(X, y)
    ended = model.loss_curve_[-1]
    assert model.set_params(max_iter=1).fit(X, y).loss_curve_[0] < 1.2 * ended
    with pytest.raises(ValueError, match="warm_start=True needs"):
        model.fit(X[y > 0], y[y > 0])
    with pytest.raises(ValueError, match="warm_start=True needs"):
        model.set_params(n_layers=2).fit(X, y)


def test_warm_start_takes_another_dropout(wine):
    X, _, y, _ = wine
    model = _small(warm_start=True, max_iter=15, dropout=0.2).fit(X, y)
    ended = model.loss_curve_[-1]
    model.set_params(max_iter=1, dropout=0.0).fit(X, y)
    assert model.loss_curve_[0] < 1.2 * ended


def test_warm_start_ignores_the_number_of_views_where_there_are_none(wine):
    X, _, y, _ = wine
    model = _small(warm_start=True, tokens="feature", max_iter=1).fit(X, y)
    model.set_params(n_tokens=7).fit(X, y)
    with pytest.raises(ValueError, match="warm_start=True needs"):
        model.set_params(tokens="dense").fit(X, y)


@pytest.mark.parametrize("device", ["cpu", torch.device("cpu"), None])
def test_the_device_is_a_name_or_a_device_of_torch(wine, device):
    X, X_test, y, _ = wine
    model = clone(_small(device=device)).fit(X, y)
    assert_array_equal(
        pickle.loads(pickle.dumps(model)).predict_proba(X_test),
        _small().fit(X, y).predict_proba(X_test),
    )


@pytest.mark.parametrize("device", ["cuda:99", torch.device("cuda", 99)])
def test_a_model_of_a_missing_gpu_predicts_on_the_cpu(wine, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    X, X_test, y, _ = wine
    model = _small().fit(X, y)
    expected = model.predict_proba(X_test)
    model.set_params(device=device)
    loaded = pickle.loads(pickle.dumps(model))
    assert_array_equal(loaded.predict_proba(X_test), expected)
    loaded.layer_statistics(X_test)
    loaded.attention_maps(X_test)
    with pytest.raises(ValueError, match="cannot be used here"):
        loaded.fit(X, y)
    with pytest.raises(ValueError, match="cannot be used here"):
        model.set_params(device="nonsense").predict(X_test)


def test_the_device_is_chosen_by_the_work_of_the_whole_call(wine, monkeypatch):
    X, _, y, _ = wine
    model = _small().fit(X, y)
    seen = []

    def record(device, *, work):
        seen.append(work)
        return torch.device("cpu")

    monkeypatch.setattr(_crate_inference, "inference_device", record)
    model.predict(X[:1])
    model.predict(np.tile(X[:1], (1300, 1)))
    assert seen[1] == 1300 * seen[0]


def _classify_in_child(model, X, halves, queue):
    queue.put(model.predict_proba(X).sum())
    queue.put(model.layer_statistics(X)["coding_rate"].sum())
    queue.put(len(model.predict(halves)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_many_rows_are_classified_in_a_forked_process(wine, dtype):
    X, _, y, _ = wine
    # 512 rows at once are so much work that the pool of threads would be used.
    model = CRATEClassifier(max_iter=1, random_state=0).fit(X, y)
    rows = np.resize(X, (5000, X.shape[1])).astype(dtype)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        torch.randn(800, 800) @ torch.randn(800, 800)
        torch.randn(2_000_000).exp()
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        # The child's own conversion would hang, as nothing guards it.
        halves = torch.from_numpy(rows).half()
        arguments = (model, rows, halves, queue)
        child = context.Process(target=_classify_in_child, args=arguments)
        child.start()
        try:
            assert_allclose(queue.get(timeout=30), 5000, rtol=1e-4)
            assert np.isfinite(queue.get(timeout=30))
            assert queue.get(timeout=30) == 5000
        finally:
            child.join(timeout=5)
            child.kill()
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("method", ["predict", "transform", "layer_statistics"])
def test_inference_on_many_rows_puts_the_threads_back(wine, method):
    X, _, y, _ = wine
    model = _small().fit(X, y)
    before = torch.get_num_threads()
    getattr(model, method)(np.resize(X, (1500, X.shape[1])))
    assert torch.get_num_threads() == before


def test_inference_before_the_fit_is_refused(wine):
    for method in ("predict", "attention_maps", "layer_statistics"):
        with pytest.raises(NotFittedError):
            getattr(CRATEClassifier(), method)(wine[0])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_samples": 0}, ValueError, "max_samples=0 must be"),
        ({"max_samples": -3}, ValueError, "max_samples=-3 must be"),
        ({"max_samples": 2.5}, TypeError, "integer"),
        ({"distortion": 0.0}, ValueError, "distortion"),
    ],
)
def test_statistics_of_nothing_are_refused(wine, settings, error, message):
    X, _, y, _ = wine
    with pytest.raises(error, match=message):
        _small(max_iter=1).fit(X, y).layer_statistics(X, **settings)


def test_many_tokens_are_read_in_parts_that_fit_the_memory(rng):
    X = rng.standard_normal((64, 40))
    model = _small(tokens="feature", max_iter=1).fit(X, np.arange(64) % 2)
    expected = model.predict_proba(X), model.attention_maps(X)
    with config_context(working_memory=0.1):
        assert_allclose(model.predict_proba(X), expected[0], rtol=1e-9)
        assert_allclose(model.attention_maps(X), expected[1], rtol=1e-9)


def test_attention_maps_of_tables_have_one_weight_a_token(wine):
    X, X_test, y, _ = wine
    mssa = _small().fit(X, y).attention_maps(X_test)
    assert mssa.shape == (len(X_test), 2, 3)
    assert ((mssa >= 0) & (mssa.sum(-1, keepdims=True) < 1)).all()
    tssa = _small(attention="tssa").fit(X, y).attention_maps(X_test, layer=0)
    assert_allclose(tssa.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "concat"])
def test_without_a_class_token_attention_maps_are_mean_rows(wine, pool):
    X, X_test, y, _ = wine
    model = _small(pool=pool, max_iter=1).fit(X, y)
    for layer in (0, "rollout"):
        assert_allclose(model.attention_maps(X_test, layer).sum(-1), 1, rtol=1e-6)
    assert model.token_features(X_test).shape == (len(X_test), 3, 8)
    shares = model.feature_attributions(X_test, target=0, n_steps=2, level="token")
    odds = model.predict_proba(np.vstack([X_test, model.centre_]))[:, 0]
    odds = np.log(odds / (1 - odds))
    assert_allclose(shares.sum(1), odds[:-1] - odds[-1], atol=1e-6)


def test_attention_maps_of_images_have_the_shape_of_the_patches(digits):
    X, X_test, y, _ = digits
    model = _small(image_shape=(8, 8), patch_size=2, max_iter=1).fit(X[:200], y[:200])
    assert model.attention_maps(X_test[:7]).shape == (7, 2, 4, 4)
    with pytest.raises(ValueError, match=r"layer=1 must be in \[-1, 0\]"):
        model.attention_maps(X_test, layer=1)
    with pytest.raises(TypeError, match="integer"):
        model.attention_maps(X_test, layer=0.5)


def test_layer_statistics_have_one_row_a_layer(wine):
    X, _, y, _ = wine
    model = _small(n_layers=2).fit(X, y)
    found = model.layer_statistics(X, max_samples=20)
    assert all(len(value) == 2 for value in found.values())
    assert_allclose(found["coding_rate"], model.layer_statistics(X[:20])["coding_rate"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_shape": (3, 4)}, "has 12 values, but X has 13 features"),
        ({"image_shape": (13,)}, "must be .height, width. or"),
        ({"image_shape": (13, 1.0)}, "must be .height, width. or"),
        ({"image_shape": (13, 1), "patch_size": 2}, r"patch_size=2 .* one of \[1\]"),
        ({"patch_size": 2}, "patch_size=2 needs image_shape"),
        ({"n_heads": 3}, "n_heads=3 must divide d_token=8"),
        ({"learning_rate": 1e30}, "lower it, or scale X"),
        ({"device": "nonsense"}, "device='nonsense' cannot be used"),
    ],
)
def test_settings_that_do_not_fit_are_refused(wine, settings, message):
    X, _, y, _ = wine
    with pytest.raises(ValueError, match=message):
        _small(**settings).fit(X, y)


def test_one_class_is_refused(wine):
    X, _, y, _ = wine
    with pytest.raises(ValueError, match="at least 2 classes"):
        _small().fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="at least 2 classes"):
        _small().fit(X, y, sample_weight=(y == 1).astype(float))
    with pytest.raises(ValueError, match="must not be negative"):
        _small().fit(X, y, sample_weight=np.where(y == 1, -1.0, 1.0))


def test_attention_beyond_the_memory_is_refused_before_it_is_tried():
    X = np.zeros((60, 4096))
    X[::2] = 1
    model = CRATEClassifier(tokens="feature", batch_size=60)
    with pytest.raises(ValueError, match="use attention='tssa'"):
        model.fit(X, np.arange(60) % 2)


@pytest.mark.parametrize("n_rows", [2, 3, 10, 49, 50, 65])
def test_small_and_degenerate_tables_are_fitted_without_warnings(n_rows):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n_rows, 4))
    X[:, 1] = 3.0
    X[:, 2] = np.arange(n_rows) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = _small(early_stopping="auto").fit(X, np.arange(n_rows) % 2)
    far = np.full((1, 4), 1e60)
    assert np.isfinite(model.predict_proba(far)).all()


def test_training_on_all_rows_at_once_stops_where_the_loss_stops_falling():
    X, y = load_iris(return_X_y=True)
    model = _small(max_iter=500, n_iter_no_change=5).fit(X[::4], y[::4])
    assert model.n_iter_ < 500
    recent = model.loss_curve_[-6:]
    assert recent[0] - min(recent) < 1e-3


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf")])
def test_impossible_class_weights_are_refused(wine, value):
    X, _, y, _ = wine
    with pytest.raises(ValueError, match=r"class_weight=.* that of class 0"):
        _small(class_weight={0: value}).fit(X, y)
    with pytest.raises(ValueError, match="all weights of samples or of their classes"):
        _small(class_weight={0: 0, 1: 0, 2: 0}).fit(X, y)


def test_large_float32_columns_are_scaled_and_not_refused(wine):
    X, _, y, _ = wine
    X = X.astype(np.float32) * np.where(np.arange(13) == 3, np.float32(1e9), 1)
    assert np.isfinite(_small().fit(X, y).predict_proba(X)).all()


def test_weights_beyond_the_memory_are_refused_before_they_are_made():
    model = CRATEClassifier(d_token=2**17, n_heads=1)
    with pytest.raises(ValueError, match=r"Training \d+ weights needs .* d_token"):
        model.fit(np.eye(20), np.arange(20) % 2)
