import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.functional import rate_reduction
from sklearn_whitebox.solvers._redunet import array_chunks, build_redunet
from sklearn_whitebox.solvers._redunet_forward import apply_redunet
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    normalize_signals,
    to_frequencies,
)
from sklearn_whitebox.solvers._redunet_update import layer_moments, update_redunet


def _data(rng, n=120, d=10, n_classes=3):
    bases = np.random.default_rng(7).standard_normal((n_classes, 2, d))
    y = rng.integers(n_classes, size=n)
    X = np.einsum("nr,nrd->nd", rng.standard_normal((n, 2)), bases[y])
    return (X + 0.1 * rng.standard_normal((n, d)))[:, None], y


def _build(V, y, **options):
    options = {"n_layers": 3, "keep_moments": True, "distortion": 0.2, **options}
    return build_redunet(array_chunks(V, y), n_classes=3, **options)


def test_moving_averages_are_those_of_the_reference(reference):
    data = reference("redunet_update")
    eps, tau = float(data["eps_sq"]), float(data["tau"])
    V, y = data["X"].astype(np.float64)[:, None], data["y"]
    result = _build(
        V,
        y,
        n_layers=2,
        distortion=eps,
        step_size=float(data["eta"]),
        step_mode="absolute",
        membership_temperature=float(data["lmbda"]),
        monotone=False,
    )
    new = data["X_new"].astype(np.float64)[:, None]
    layers, features = update_redunet(
        result.layers, new, y, distortion=eps, forget=tau, mode="operators"
    )
    for index, (old, layer) in enumerate(zip(result.layers, layers, strict=True)):
        before, after = data["E_before"][index], data["E_after"][index]
        assert_allclose(old.expansion_operator()[0], before, atol=2e-6)
        assert_allclose(layer.expansion_operator()[0], after, atol=2e-6)
    assert_allclose(features[:, 0], data["Z_new"], atol=2e-6)


def test_the_first_layer_counts_all_rows_the_same(rng):
    V, y = _data(rng)
    whole = _build(V, y, n_layers=1)
    result = _build(V[:50], y[:50], n_layers=1)
    layers = result.layers
    for rows in (slice(50, 51), slice(51, 90), slice(90, None)):
        layers, _ = update_redunet(layers, V[rows], y[rows], distortion=0.2)
    (one,), (other,) = whole.layers, layers
    E, C = one.expansion_operator(), one.compression_operators()
    assert_allclose(other.expansion_operator(), E, rtol=1e-9, atol=1e-12)
    assert_allclose(other.compression_operators(), C, rtol=1e-9, atol=1e-12)
    assert_allclose(other.shares, one.shares)
    assert_allclose(other.step, one.step)
    assert 0.5 < other.temperature / one.temperature < 2


def test_an_update_by_the_same_rows_changes_little_but_the_scale(rng):
    V, y = _data(rng)
    result = _build(V, y)
    for forget in (None, 0.3):
        layers, features = update_redunet(
            result.layers, V, y, distortion=0.2, forget=forget
        )
        assert_allclose(features, result.features, atol=1e-8)
        assert_allclose(apply_redunet(layers, V), result.features, atol=1e-8)


def test_updates_reach_a_useful_network(rng):
    V, y = _data(rng, n=600)
    layers = _build(V[:60], y[:60], n_layers=15).layers
    for start in range(60, 600, 60):
        rows = slice(start, start + 60)
        layers, _ = update_redunet(layers, V[rows], y[rows], distortion=0.2)
    new, labels = _data(rng)
    whole = _build(V, y, n_layers=15)
    unit = normalize_signals(new, np.ones(1))
    nets = [unit, apply_redunet(layers, new), apply_redunet(whole.layers, new)]
    before, updated, best = (
        rate_reduction(Z[:, 0], labels, distortion=0.2) for Z in nets
    )
    assert updated > before + 0.8 * (best - before)


def test_weights_are_numbers_of_copies(rng):
    V, y = _data(rng)
    result = _build(V[:60], y[:60])
    weights = rng.integers(0, 3, 60).astype(float)
    copies = np.repeat(np.arange(60), weights.astype(int))
    new, labels = V[60:], y[60:]
    weighted, _ = update_redunet(result.layers, new, labels, weights, distortion=0.2)
    copied, _ = update_redunet(
        result.layers, new[copies], labels[copies], distortion=0.2
    )
    for one, other in zip(weighted, copied, strict=True):
        assert_allclose(one.moments, other.moments, atol=1e-10)
        assert_allclose(one.temperature, other.temperature)


def test_a_class_may_come_later(rng):
    V, y = _data(rng)
    early = y != 2
    result = _build(V[early], y[early])
    assert result.layers[0].shares[2] == 0
    for forget in (None, 0.5):
        layers, features = update_redunet(
            result.layers, V[~early], y[~early], distortion=0.2, forget=forget
        )
        assert (layers[0].shares > 0).all()
        assert np.isfinite(features).all()


def test_nothing_new_changes_nothing(rng):
    V, y = _data(rng)
    result = _build(V, y)
    layers, features = update_redunet(result.layers, V[:0], y[:0], distortion=0.2)
    assert layers == result.layers
    assert len(features) == 0
    layers, features = update_redunet(
        result.layers, V[:3], y[:3], np.zeros(3), distortion=0.2
    )
    assert layers == result.layers
    assert_array_equal(features, apply_redunet(layers, V[:3]))


@pytest.mark.parametrize("rank", [None, "auto", 4])
@pytest.mark.parametrize("shape", [None, (2, 5)])
def test_moments_can_be_recovered_from_operators(rng, rank, shape):
    V, y = _data(rng, n=30, d=10)
    V = to_frequencies(V[:, 0], shape)
    kept, bare = (
        build_redunet(
            array_chunks(V, y),
            n_classes=3,
            n_layers=2,
            frequency_weights=frequency_weights(shape),
            keep_moments=keep,
            rank=rank,
            monotone=False,
        ).layers
        for keep in (True, False)
    )
    if rank != 4:
        moments, counts = layer_moments(bare[1], distortion=0.1)
        assert_allclose(moments, kept[1].moments, atol=1e-9)
        assert_allclose(counts, kept[1].counts)
    results = [
        update_redunet(layers, V[:9], y[:9], distortion=0.1, forget=0.2, rank=rank)
        for layers in (kept, bare)
    ]
    tolerance = 0.1 if rank == 4 else 1e-7
    assert_allclose(results[1][1], results[0][1], atol=tolerance)
    assert results[1][0][0].moments is None


def test_single_precision_keeps_updates_near(rng):
    V, y = _data(rng)
    fine, coarse = (
        _build(A, y, keep_moments=False).layers for A in (V, V.astype(np.float32))
    )
    new, labels = _data(rng, n=30)
    _, expected = update_redunet(fine, new, labels, distortion=0.2)
    new = new.astype(np.float32)
    layers, features = update_redunet(coarse, new, labels, distortion=0.2)
    assert features.dtype == layers[0].operators.dtype == np.float32
    assert_allclose(features, expected, atol=1e-3)


def test_updates_say_what_they_need(rng):
    V, y = _data(rng)
    layers = _build(V, y).layers
    with pytest.raises(ValueError, match="needs forget"):
        update_redunet(layers, V, y, distortion=0.2, mode="operators")
    with pytest.raises(ValueError, match=r"forget=2 must be in"):
        update_redunet(layers, V, y, distortion=0.2, forget=2)
