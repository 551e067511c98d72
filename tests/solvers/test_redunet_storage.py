import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.solvers._redunet import array_chunks, build_redunet
from sklearn_whitebox.solvers._redunet_forward import (
    apply_layer,
    apply_redunet,
    layer_memberships,
)
from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._redunet_moments import ClassMoments
from sklearn_whitebox.solvers._redunet_operators import (
    conditional_rate,
    make_operators,
)
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    from_frequencies,
    normalize_signals,
    to_frequencies,
)
from sklearn_whitebox.solvers._redunet_update import update_redunet


def _build(X, y, *, input_shape=None, n_classes=None, weights=None, **options):
    cache = options.pop("cache", "memory")
    n_classes = n_classes or int(y.max()) + 1
    return build_redunet(
        array_chunks(to_frequencies(X, input_shape), y, weights),
        n_classes=n_classes,
        frequency_weights=frequency_weights(input_shape),
        cache=cache,
        **options,
    )


def _transform(result, X, input_shape=None):
    V, weights = to_frequencies(X, input_shape), frequency_weights(input_shape)
    V = apply_redunet(result.layers, V, frequency_weights=weights)
    return from_frequencies(V, input_shape)


def _subspaces(rng, *, n_classes=3, n_rows=40, dim=12, rank=3, noise=0.05):
    X, y = [], []
    for k in range(n_classes):
        basis = rng.standard_normal((rank, dim))
        X.append(rng.standard_normal((n_rows, rank)) @ basis)
        y.append(np.full(n_rows, k))
    X, y = np.concatenate(X), np.concatenate(y)
    order = rng.permutation(len(X))
    return (X + noise * rng.standard_normal(X.shape))[order], y[order]


def test_operators_of_few_rows_are_kept_by_eigenpairs(rng):
    X, y = _subspaces(rng, n_rows=8, dim=50)
    dense, thin = (_build(X, y, n_layers=8, rank=rank) for rank in (None, "auto"))
    assert (dense.layers[0].ranks == -1).all()
    assert (thin.layers[0].ranks == [24, 8, 8, 8]).all()
    assert thin.layers[0].nbytes < dense.layers[0].nbytes / 3
    assert_allclose(thin.features, dense.features, atol=1e-10)
    new = rng.standard_normal((20, 50))
    assert_allclose(_transform(thin, new), _transform(dense, new), atol=1e-10)
    for name, curve in dense.statistics.items():
        assert_allclose(thin.statistics[name], curve, rtol=1e-8)
    for one, other in zip(thin.layers, dense.layers, strict=True):
        E, C = one.expansion_operator(), one.compression_operators()
        assert_allclose(E, other.expansion_operator(), atol=1e-9)
        assert_allclose(C, other.compression_operators(), atol=1e-9)


def test_large_and_small_classes_are_kept_each_in_its_way(rng):
    X, y = _subspaces(rng, n_rows=40, dim=20)
    keep = (y != 1) | (np.cumsum(y == 1) <= 5)
    X, y = X[keep], y[keep]
    mixed = _build(X, y, n_layers=6, rank="auto")
    dense = _build(X, y, n_layers=6, rank=None)
    assert_array_equal(mixed.layers[0].ranks, [-1, -1, 5, -1])
    assert_allclose(mixed.features, dense.features, atol=1e-10)
    new = rng.standard_normal((20, 20))
    assert_allclose(_transform(mixed, new), _transform(dense, new), atol=1e-10)


@pytest.mark.parametrize("shape", [None, (20, 5)])
def test_operators_of_flat_classes_are_kept_by_eigenpairs(rng, shape):
    d = 100 if shape else 20
    X, y = _subspaces(rng, n_rows=100, dim=d, rank=1, noise=0.0)
    options = {"input_shape": shape, "n_layers": 6, "monotone": False}
    thin, dense = (_build(X, y, rank=rank, **options) for rank in ("auto", None))
    assert all((layer.ranks == [3, 1, 1, 1]).all() for layer in thin.layers)
    assert_allclose(thin.features, dense.features, atol=1e-9)
    new = rng.standard_normal((10, d))
    Z = _transform(thin, new, shape)
    assert_allclose(Z, _transform(dense, new, shape), atol=1e-9)


def test_constant_zeros_cost_nothing(rng, dtype):
    X, y = _subspaces(rng, dim=10, noise=0.1)
    padded = np.zeros((len(X), 40), dtype)
    padded[:, ::4] = X
    thin, dense = (_build(padded, y, n_layers=6, rank=rank) for rank in ("auto", None))
    assert all((layer.ranks == [10, 10, 10, 10]).all() for layer in thin.layers)
    tolerance = 1e-10 if dtype == np.float64 else 1e-3
    assert_allclose(thin.features, dense.features, atol=tolerance)


def test_truncation_to_the_rank_of_the_classes_costs_little(rng):
    X, y = _subspaces(rng, n_rows=60, dim=20, noise=1e-4)
    exact, cut = (_build(X, y, n_layers=8, rank=rank) for rank in (None, 3))
    assert_array_equal(cut.layers[0].ranks[1:], 3)
    assert_allclose(cut.features, exact.features, atol=1e-3)


def test_layers_survive_a_dictionary(rng):
    X, y = _subspaces(rng)
    result = _build(X, y, n_layers=2, keep_moments=True)
    for layer in result.layers:
        arrays = layer.to_arrays()
        assert all(isinstance(v, np.ndarray) for v in arrays.values())
        again = ReduNetLayer.from_arrays(arrays)
        V = to_frequencies(X)
        assert_array_equal(apply_layer(again, V), apply_layer(layer, V))
    plain = _build(X, y, n_layers=1).layers[0].to_arrays()
    assert "moments" not in plain
    assert ReduNetLayer.from_arrays(plain).moments is None


def test_operators_make_the_layer_they_are_of(rng):
    X, y = _subspaces(rng)
    (layer,) = _build(X, y, n_layers=1).layers
    again = ReduNetLayer.from_operators(
        layer.expansion_operator(),
        layer.compression_operators(),
        layer.shares,
        step=layer.step,
        temperature=layer.temperature,
    )
    V = normalize_signals(to_frequencies(X), np.ones(1))
    assert_allclose(apply_layer(again, V), apply_layer(layer, V), atol=1e-12)


@pytest.mark.parametrize("rank", [None, "auto", 5])
def test_moments_with_rounding_errors_still_have_operators(rank):
    moment = np.diag([5.0, 1.0, 1e-9, 0.0, -1e-9, -1e-10])[None, None]
    moments = ClassMoments.from_array(moment, np.array([6.0]))
    options = {"distortion": 1e-14, "frequency_weights": np.ones(1)}
    operators = make_operators(moments, dtype=np.float64, rank=rank, **options)
    assert np.isfinite(operators.rates).all()
    assert_allclose(operators.rate_reduction, 0, atol=1e-9)
    assert_allclose(conditional_rate(moments, **options), operators.conditional_rate)
    layer = operators.to_layer(1.0, 1.0, balanced=False, weights=np.ones(1))
    values = np.linalg.eigvalsh(layer.compression_operators()[0, 0]) / operators.alpha
    assert (values > -1e-12).all()
    assert (values < 1 + 1e-12).all()


def test_arrays_may_be_read_only(rng):
    X, y = _subspaces(rng)
    result = _build(X, y, n_layers=2, keep_moments=True)
    arrays = result.layers[1].to_arrays()
    V = to_frequencies(X)
    for array in (*arrays.values(), V, y):
        array.flags.writeable = False
    layer = ReduNetLayer.from_arrays(arrays)
    assert np.isfinite(apply_layer(layer, V)).all()
    assert np.isfinite(layer_memberships(layer, V)).all()
    update_redunet([layer], V, y, distortion=0.1)
    assert build_redunet(array_chunks(V, y), n_classes=3, n_layers=1).layers


@pytest.mark.parametrize("fitted", [np.float32, np.float64])
@pytest.mark.parametrize("given", [np.float32, np.float64, np.int64])
def test_features_keep_their_precision_in_layers_of_any(rng, fitted, given):
    X, y = _subspaces(rng)
    X = (100 * X).round()
    result = _build(X.astype(fitted), y, n_layers=3)
    V = to_frequencies(X.astype(given))
    Z = apply_redunet(result.layers, V)
    assert Z.dtype == (np.float32 if given == np.float32 else np.float64)
    assert_allclose(Z, result.features, atol=1e-3)
    unit = normalize_signals(V, np.ones(1))
    memberships = layer_memberships(result.layers[0], unit)
    assert_allclose(memberships.sum(axis=1), 1, rtol=1e-5)
    _, updated = update_redunet(result.layers, V, y, distortion=0.1)
    assert_allclose(updated, Z, atol=1e-2)
    assert _build(X.astype(given), y, n_layers=1).features.dtype == Z.dtype
