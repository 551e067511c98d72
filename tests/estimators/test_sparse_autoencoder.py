import pickle
import tracemalloc

import numpy as np
import pytest
import torch
from scipy import sparse

from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.estimators._sparse_autoencoder import SparseAutoencoder
from sklearn_whitebox.metrics import dictionary_recovery

VARIANTS = [{"n_active": 3}, {"activation": "relu"}]


def superposition(n_samples=5000, d=20, k=40, seed=0):
    """Non-negative sparse features, twice as many as dimensions."""
    _, codes, D = make_sparse_codes(n_samples, d, k, n_nonzero=3, random_state=seed)
    return np.abs(codes) @ D, D


@pytest.mark.parametrize("variant", VARIANTS)
def test_features_in_superposition_are_found(variant, global_random_seed):
    X, D = superposition(seed=global_random_seed)
    model = SparseAutoencoder(40, random_state=0, **variant).fit(X)
    found = dictionary_recovery(model.components_, D, threshold=0.05)
    assert found.fraction_detected >= 0.8
    assert model.dead_fraction_ <= 0.05
    assert model.score(X) > 0.85


@pytest.mark.parametrize("variant", VARIANTS)
def test_few_of_too_many_atoms_are_dead(variant):
    X, _ = superposition(3000)
    model = SparseAutoencoder(120, max_iter=30, random_state=0, **variant).fit(X)
    assert model.dead_fraction_ <= 0.1


def test_dead_atoms_are_replaced_and_counted():
    X, _ = superposition(1000)
    # Long steps against a strong penalty silence atoms for good.
    settings = {"activation": "relu", "alpha": 3.0, "learning_rate": 0.01}
    replaced, dead = [], []
    for dead_after in (2000, 10**9):
        model = SparseAutoencoder(
            80, dead_after=dead_after, max_iter=40, random_state=0, **settings
        ).fit(X)
        replaced.append(model.n_replaced_)
        dead.append(model.dead_fraction_)
    assert replaced[0] > 0
    assert replaced[1] == 0
    assert dead[0] < dead[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_attributes_describe_the_rows_of_the_fit(variant):
    X, _ = superposition(1000)
    model = SparseAutoencoder(30, max_iter=20, random_state=0, **variant).fit(X)
    codes = model.transform(X)
    rebuilt = model.inverse_transform(codes)
    np.testing.assert_allclose(rebuilt, codes @ model.components_ + model.pre_bias_)
    unexplained = np.sum((X - rebuilt) ** 2) / np.sum((X - X.mean(0)) ** 2)
    assert model.explained_variance_ratio_ == pytest.approx(1 - unexplained)
    assert model.score(X) == model.explained_variance_ratio_
    assert model.l0_ == pytest.approx(np.mean(np.sum(codes > 0, axis=1)))
    assert model.dead_fraction_ == np.mean(~(codes > 0).any(axis=0))
    assert codes.min() >= 0
    np.testing.assert_allclose(np.linalg.norm(model.components_, axis=1), 1, rtol=1e-9)
    assert len(model.loss_curve_) == model.n_iter_ == 20


def test_codes_are_the_formula_of_the_documentation():
    X, _ = superposition(500)
    model = SparseAutoencoder(
        30, activation="relu", center="mean", max_iter=5, random_state=0
    ).fit(X)
    w = model.weights_
    inputs = (X - model.center_) / model.scale_
    values = (inputs - w["pre_bias"]) @ w["encoder"].T + w["encoder_bias"]
    expected = model.scale_ * np.maximum(values, 0)
    np.testing.assert_allclose(model.transform(X), expected, atol=1e-9)
    np.testing.assert_allclose(model.center_, X.mean(0))
    assert np.mean(inputs**2) == pytest.approx(1)


def test_top_k_codes_have_at_most_so_many_non_zeros():
    X, _ = superposition(500)
    codes = SparseAutoencoder(30, n_active=4, max_iter=3).fit_transform(X)
    assert np.max(np.sum(codes > 0, axis=1)) <= 4


def test_larger_alpha_gives_sparser_codes():
    X, _ = superposition(2000)
    l0 = [
        SparseAutoencoder(activation="relu", alpha=alpha, max_iter=30, random_state=0)
        .fit(X)
        .l0_
        for alpha in (0.0, 0.3, 1.0)
    ]
    assert l0[0] > l0[1] > l0[2]


@pytest.mark.parametrize("variant", VARIANTS)
def test_offset_and_scale_of_the_rows_do_not_matter(variant):
    X, _ = superposition(500)
    one = SparseAutoencoder(30, max_iter=5, random_state=0, **variant).fit(X)
    moved = 8 * X + 64
    other = SparseAutoencoder(30, max_iter=5, random_state=0, **variant).fit(moved)
    np.testing.assert_allclose(other.components_, one.components_, atol=1e-3)
    np.testing.assert_allclose(other.pre_bias_, 8 * one.pre_bias_ + 64, rtol=1e-3)
    assert other.score(moved) == pytest.approx(one.score(X), abs=1e-3)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sparse_output_has_the_same_codes(dtype, variant):
    X, _ = superposition(5000)
    X = X.astype(dtype)
    model = SparseAutoencoder(30, max_iter=1, random_state=0, **variant).fit(X)
    dense = model.transform(X)
    codes = model.set_params(sparse_output=True).transform(X)
    assert isinstance(codes, sparse.csr_array)
    assert codes.dtype == dtype
    np.testing.assert_array_equal(codes.toarray(), dense)
    np.testing.assert_allclose(
        model.inverse_transform(codes), model.inverse_transform(dense), atol=1e-5
    )


def test_sparse_output_needs_no_dense_codes():
    X = np.random.default_rng(0).standard_normal((16384, 8)).astype(np.float32)
    model = SparseAutoencoder(512, n_active=4, max_iter=1, sparse_output=True)
    model.fit(X[:256])
    tracemalloc.start()
    model.transform(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.8 * len(X) * 512 * 4


def test_batch_size_beyond_the_rows_costs_nothing():
    X, _ = superposition(50)
    model = SparseAutoencoder(30, batch_size=10**12, max_iter=1).fit(X)
    assert model.n_iter_ == 1


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stream_teaches_as_well(variant):
    X, D = superposition(20000)
    model = SparseAutoencoder(40, random_state=0, **variant)
    for _ in range(16):
        for part in np.array_split(X, 40):
            model.partial_fit(part)
    found = dictionary_recovery(model.components_, D, threshold=0.05)
    assert found.fraction_detected >= 0.8
    assert model.n_iter_ == len(model.loss_curve_) == 640
    assert model.score(X) > 0.8


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stream_goes_on_from_a_file(variant):
    parts = np.array_split(superposition(900)[0], 3)
    direct = SparseAutoencoder(30, random_state=0, **variant)
    stored = SparseAutoencoder(30, random_state=0, **variant)
    for part in parts:
        direct.partial_fit(part)
        stored = pickle.loads(pickle.dumps(stored)).partial_fit(part)
    for name, weight in direct.weights_.items():
        np.testing.assert_array_equal(stored.weights_[name], weight)


def test_the_scaler_of_a_stream_is_that_of_its_first_part():
    X, _ = superposition(600)
    model = SparseAutoencoder(30, random_state=0).partial_fit(X[:300])
    center, scale = model.center_.copy(), model.scale_
    model.partial_fit(100 * X[300:])
    np.testing.assert_array_equal(model.center_, center)
    assert model.scale_ == scale


def test_refused_part_leaves_the_stream_as_it_was():
    X, _ = superposition(300)
    model = SparseAutoencoder(30, random_state=0).partial_fit(X)
    before = dict(vars(model))
    bad = X.copy()
    bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        model.partial_fit(bad)
    assert all(vars(model)[name] is value for name, value in before.items())


def test_rows_that_do_not_vary_are_no_trouble():
    X = np.full((50, 6), 3.0)
    model = SparseAutoencoder(4, max_iter=2, random_state=0).fit(X)
    assert np.isfinite(model.transform(X)).all()
    np.testing.assert_allclose(model.inverse_transform(model.transform(X)), X, atol=0.1)


def test_activations_of_a_network_go_in_as_tensors():
    X, _ = superposition(200)
    tensor = torch.from_numpy(X).float().requires_grad_()
    codes = SparseAutoencoder(30, max_iter=2, random_state=0).fit_transform(tensor)
    assert torch.is_tensor(codes)
    assert codes.dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_active": 31}, "n_active=31 must be at most the 30 atoms"),
        ({"n_components": 10**9}, "lower n_components or batch_size"),
        ({"learning_rate": 1e38}, "Training diverged.*lower learning_rate=1e.38"),
    ],
)
def test_bad_settings_are_refused_with_a_way_out(change, message):
    X, _ = superposition(40)
    settings = {"n_components": 30, "max_iter": 5, "random_state": 0}
    with pytest.raises(ValueError, match=message):
        SparseAutoencoder(**{**settings, **change}).fit(X)


def test_codes_of_another_width_are_refused():
    X, _ = superposition(40)
    model = SparseAutoencoder(30, max_iter=1).fit(X)
    with pytest.raises(ValueError, match=r"has 3 columns; codes of this .* have 30"):
        model.inverse_transform(np.ones((2, 3)))
