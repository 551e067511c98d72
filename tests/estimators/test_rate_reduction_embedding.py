import time
import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from sklearn_whitebox import RateReductionEmbedding
from sklearn_whitebox.estimators._embedding_description import class_angles
from sklearn_whitebox.functional import rate_reduction


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True)
    return train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)


def small_network(n_features, n_components):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Linear(n_features, 8),
            torch.nn.Tanh(),
            torch.nn.Linear(8, n_components),
        )


@pytest.mark.parametrize("encoder", ["linear", "mlp", small_network])
def test_features_separate_unseen_wine(wine, encoder):
    X, X_test, y, y_test = wine
    embedding = RateReductionEmbedding(12, encoder=encoder, random_state=0)
    model = make_pipeline(embedding, KNeighborsClassifier()).fit(X, y)
    assert model.score(X_test, y_test) >= 0.92
    before = rate_reduction(X / np.linalg.norm(X, axis=1, keepdims=True), y)
    assert embedding.rate_reduction_ > before


@pytest.mark.slow
def test_digits_reach_the_published_neighbourhood():
    X, y = load_digits(return_X_y=True)
    scores = []
    for seed in range(2):
        parts = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        embedding = RateReductionEmbedding(64, random_state=seed)
        model = make_pipeline(embedding, KNeighborsClassifier())
        scores.append(model.fit(parts[0], parts[2]).score(parts[1], parts[3]))
    assert np.mean(scores) >= 0.97


def test_training_raises_the_rate_reduction(wine):
    X, _, y, _ = wine
    curve = RateReductionEmbedding(6, max_iter=30, random_state=0).fit(X, y).loss_curve_
    assert len(curve) == 30
    assert curve[-1] < curve[0] < 0


def test_classes_become_orthogonal(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(12, max_iter=200, random_state=0).fit(X, y)
    Z = embedding.transform(X)
    across = np.abs(Z @ Z.T)[y[:, None] != y]
    within = np.abs(Z @ Z.T)[y[:, None] == y]
    assert across.mean() < 0.1 < within.mean()


def test_features_are_unit_rows_that_do_not_depend_on_their_batch(wine):
    X, X_test, y, _ = wine
    embedding = RateReductionEmbedding(5, max_iter=5, random_state=0).fit(X, y)
    Z = embedding.transform(X_test)
    np.testing.assert_allclose(np.linalg.norm(Z, axis=1), 1, rtol=1e-5)
    one_by_one = np.vstack([embedding.transform(x[None]) for x in X_test[:5]])
    np.testing.assert_allclose(one_by_one, Z[:5], atol=1e-5)


def test_score_is_the_rate_reduction_of_the_features(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(5, max_iter=5, random_state=0).fit(X, y)
    expected = rate_reduction(embedding.transform(X).astype(np.float64), y)
    assert embedding.score(X, y) == pytest.approx(expected, rel=1e-5)
    assert embedding.rate_reduction_ == pytest.approx(expected, rel=1e-5)


def test_early_stopping_returns_the_best_pass(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(
        4, early_stopping=True, n_iter_no_change=5, max_iter=60, random_state=0
    ).fit(X, y)
    best = int(np.argmin(embedding.validation_curve_)) + 1
    assert embedding.best_iteration_ == best
    assert embedding.n_iter_ <= min(60, best + 5)


def test_inputs_are_recovered_up_to_their_length_by_the_linear_encoder(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(13, encoder="linear", max_iter=5, random_state=0)
    Z = embedding.fit(X, y).transform(X)
    again = embedding.transform(embedding.inverse_transform(Z))
    np.testing.assert_allclose(again, Z, atol=1e-3)
    assert not hasattr(RateReductionEmbedding(), "inverse_transform")


def test_bases_span_the_features_of_their_class(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(6, max_iter=5, random_state=0).fit(X, y)
    Z = embedding.transform(X)
    for k, (basis, spectrum) in enumerate(
        zip(embedding.class_bases_, embedding.class_spectra_, strict=True)
    ):
        moments = (spectrum[:, None] * basis).T @ (spectrum[:, None] * basis)
        np.testing.assert_allclose(moments, Z[y == k].T @ Z[y == k], atol=1e-3)


def test_grid_search_over_the_distortion(wine):
    X, _, y, _ = wine
    model = make_pipeline(
        RateReductionEmbedding(4, max_iter=10, random_state=0), KNeighborsClassifier()
    )
    grid = {"ratereductionembedding__distortion": [0.1, 0.5]}
    search = GridSearchCV(model, grid, cv=3).fit(X, y)
    assert search.best_score_ > 0.8


def test_strings_and_constant_columns_are_fine(wine):
    X, _, y, _ = wine
    names = np.array(["barolo", "grignolino", "barbera"])[y]
    X = np.column_stack([X, np.full(len(X), 7.3)])
    embedding = RateReductionEmbedding(4, max_iter=2, random_state=0).fit(X, names)
    assert set(embedding.classes_) == set(names)
    assert np.isfinite(embedding.transform(X)).all()


def test_bad_input_is_named(wine):
    X, _, y, _ = wine
    with pytest.raises(ValueError, match="single class"):
        RateReductionEmbedding().fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="early_stopping=True cannot hold out"):
        RateReductionEmbedding(early_stopping=True).fit(X[:4], [0, 1, 2, 3])
    with pytest.raises(ValueError, match="range of float32"):
        RateReductionEmbedding(standardize=False).fit(X * 1e40, y)
    with pytest.raises(ValueError, match="overflow float64"):
        RateReductionEmbedding().fit(X * 1e200, y)
    with pytest.raises(ValueError, match="square is lost in float64"):
        RateReductionEmbedding().fit(X * 1e-200, y)
    for device in ("nonsense", "meta"):
        with pytest.raises(ValueError, match=f"device='{device}'"):
            RateReductionEmbedding(device=device).fit(X, y)
    for widths in [(0,), (-3,), (10.5,), ("a",)]:
        with pytest.raises(ValueError, match="hidden_layer_sizes="):
            RateReductionEmbedding(hidden_layer_sizes=widths).fit(X, y)
    with pytest.raises(ValueError, match="Training diverged"):
        RateReductionEmbedding(learning_rate=1e30).fit(X, y)
    with pytest.raises(ValueError, match=r"batches of .* needs .* GiB"):
        RateReductionEmbedding(10**6, hidden_layer_sizes=(3,)).fit(X, y)


def too_wide(n_features, n_components):
    return torch.nn.utils.skip_init(torch.nn.Linear, n_features, n_components + 1)


def too_narrow_input(n_features, n_components):
    return torch.nn.utils.skip_init(torch.nn.Linear, n_features + 1, n_components)


def no_module(n_features, n_components):
    return None


@pytest.mark.parametrize(
    ("encoder", "error", "message"),
    [
        (too_wide, ValueError, "must map them to"),
        (too_narrow_input, ValueError, "cannot map float32 rows of 13 features"),
        (no_module, TypeError, "must return a torch.nn.Module"),
    ],
)
def test_encoders_of_the_wrong_shape_are_refused(wine, encoder, error, message):
    X, _, y, _ = wine
    with pytest.raises(error, match=message):
        RateReductionEmbedding(3, encoder=encoder).fit(X, y)


def test_parameters_set_after_fit_do_not_break_the_model(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(3, max_iter=2, random_state=0).fit(X, y)
    Z = embedding.transform(X)
    embedding.set_params(encoder="linear", hidden_layer_sizes=(5,))
    np.testing.assert_array_equal(embedding.transform(X), Z)


def test_float32_columns_far_from_zero_are_standardised(rng):
    X = (1000 + rng.normal(size=(400_000, 2))).astype(np.float32)
    y = (X[:, 0] > 1000).astype(int)
    embedding = RateReductionEmbedding(
        2, max_iter=1, hidden_layer_sizes=(2,), batch_size=100_000, random_state=0
    ).fit(X, y)
    np.testing.assert_allclose(embedding.mean_, 1000, atol=0.01)
    np.testing.assert_allclose(embedding.scale_, 1, atol=0.01)


def test_inverse_keeps_kind_and_type_and_refuses_nan(wine):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(13, encoder="linear", max_iter=2, random_state=0)
    Z = embedding.fit(X, y).transform(X.astype(np.float32))
    assert embedding.inverse_transform(Z).dtype == np.float32
    assert torch.is_tensor(embedding.inverse_transform(torch.from_numpy(Z)))
    with pytest.raises(ValueError, match="NaN"):
        embedding.inverse_transform(np.full((1, 13), np.nan))


def test_model_of_a_gpu_machine_encodes_on_the_cpu(wine, monkeypatch):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(3, max_iter=2, random_state=0).fit(X, y)
    Z = embedding.transform(X)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    embedding.set_params(device="cuda")
    np.testing.assert_array_equal(embedding.transform(X), Z)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_features_of_the_cpu(wine):
    X, _, y, _ = wine
    features = [
        RateReductionEmbedding(3, max_iter=5, device=device, random_state=0)
        .fit(X, y)
        .transform(X)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(*features, atol=1e-2)


def test_classes_without_weight_are_as_good_as_absent(wine):
    X, _, y, _ = wine
    counted = y != 0
    embedding = RateReductionEmbedding(4, max_iter=3, random_state=0)
    Z = embedding.fit(X, y, sample_weight=counted.astype(float)).transform(X)
    assert embedding.classes_.tolist() == [1, 2]
    absent = embedding.fit(X[counted], y[counted]).transform(X)
    np.testing.assert_array_equal(Z, absent)
    with pytest.raises(ValueError, match=r"class_weight=\{0: 0\} must be positive"):
        embedding.set_params(class_weight={0: 0}).fit(X, y)


@pytest.mark.parametrize("width", [10**7, 10**8])
def test_networks_beyond_memory_are_refused_before_they_are_built(wine, width):
    X, _, y, _ = wine
    embedding = RateReductionEmbedding(4, hidden_layer_sizes=(width, width))
    with pytest.raises(ValueError, match="hidden_layer_sizes"):
        embedding.fit(X, y)


@pytest.mark.parametrize(
    ("encoder", "error", "message"),
    [
        (lambda p, d: torch.nn.LSTM(p, d), TypeError, "returned tuple"),
        (
            lambda p, d: torch.nn.Linear(p, d).requires_grad_(False),
            ValueError,
            "nothing to train",
        ),
    ],
)
def test_networks_that_cannot_be_trained_are_refused(wine, encoder, error, message):
    X, _, y, _ = wine
    with pytest.raises(error, match=message):
        RateReductionEmbedding(4, encoder=encoder).fit(X, y)


def test_streams_of_many_classes_do_not_warn(rng):
    y = np.tile(np.arange(40), 5)
    X = rng.normal(size=(40, 6))[y] + 0.1 * rng.normal(size=(200, 6))
    embedding = RateReductionEmbedding(40, encoder="linear", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        embedding.partial_fit(X[:120], y[:120]).partial_fit(X[120:], y[120:])
    assert embedding.class_angles_.shape == (40, 40)


def test_angles_between_classes_of_several_ranks():
    bases = [np.eye(3)[:1], np.eye(3)[1:], np.array([[1.0, 1.0, 0.0]]) / 2**0.5]
    angles = class_angles(bases, [np.ones(1), np.ones(2), np.ones(1)])
    np.testing.assert_allclose(angles, [[0, 90, 45], [90, 0, 45], [45, 45, 0]])


def test_linear_encoder_starts_from_wide_data_in_a_moment(rng):
    y = np.arange(40) % 4
    X = rng.normal(size=(40, 20_000)) + rng.normal(size=(4, 20_000))[y]
    embedding = RateReductionEmbedding(encoder="linear", max_iter=3, random_state=0)
    start = time.perf_counter()
    embedding.fit(X, y)
    # The scatter of the features, of 1.5 GiB, would take minutes.
    assert time.perf_counter() - start < 30
    assert np.isfinite(embedding.transform(X)).all()
