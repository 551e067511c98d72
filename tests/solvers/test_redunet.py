import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from sklearn_whitebox.functional import rate_reduction, rate_reduction_gradient
from sklearn_whitebox.solvers._redunet import array_chunks, build_redunet
from sklearn_whitebox.solvers._redunet_forward import (
    apply_layer,
    apply_redunet,
    iterate_redunet,
    layer_memberships,
    normalize_signals,
)
from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    from_frequencies,
    to_frequencies,
)


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


def _plain_redunet(X, y, *, distortion, step_size, temperature, n_layers):
    """Build with absolute steps as in the paper, one inverse at a time."""
    Z = X / np.linalg.norm(X, axis=1, keepdims=True)
    n, d = Z.shape
    for _ in range(n_layers):
        alpha = d / (n * distortion)
        E = alpha * np.linalg.inv(np.eye(d) + alpha * Z.T @ Z)
        responses, shares = [], []
        for k in range(y.max() + 1):
            rows = Z[y == k]
            scale = d / (len(rows) * distortion)
            C = scale * np.linalg.inv(np.eye(d) + scale * rows.T @ rows)
            responses.append(Z @ C)
            shares.append(len(rows) / n)
        responses = np.array(responses)
        scores = -temperature * np.linalg.norm(responses, axis=2)
        scores = np.exp(scores - scores.max(axis=0))
        weights = np.array(shares)[:, None] * scores / scores.sum(axis=0)
        Z = Z + step_size * (Z @ E - np.einsum("kn,knd->nd", weights, responses))
        Z = Z / np.linalg.norm(Z, axis=1, keepdims=True)
    return Z


def _reference_options(data, n_shifts=1):
    return {
        "distortion": float(data["eps_sq"]) * n_shifts,
        "step_size": float(data["eta"]) * n_shifts,
        "membership_temperature": float(data["lmbda"]) * n_shifts,
        "n_layers": int(data["n_layers"]),
        "step_mode": "absolute",
        "monotone": False,
    }


@pytest.mark.parametrize("name", ["redunet_layer", "redunet_layer_soft"])
@pytest.mark.parametrize("rank", [None, "auto"])
def test_features_are_those_of_the_reference(reference, name, rank):
    data = reference(name)
    X, y = data["X"].astype(np.float64), data["y"]
    result = _build(X, y, rank=rank, **_reference_options(data))
    assert_allclose(result.features[:, 0], data["Z_train"], atol=2e-6)
    assert_allclose(_transform(result, X), data["Z_train"], atol=2e-6)
    test = data["X_test"].astype(np.float64)
    assert_allclose(_transform(result, test), data["Z_test"], atol=2e-6)


def test_operators_and_rates_are_those_of_the_reference(reference):
    data = reference("redunet_layer")
    X, y = data["X"].astype(np.float64), data["y"]
    result = _build(X, y, **_reference_options(data))
    for index, layer in enumerate(result.layers):
        E, C = layer.expansion_operator(), layer.compression_operators()
        assert_allclose(E[0], data["E"][index], atol=2e-6)
        assert_allclose(C[:, 0], data["C"][index], atol=2e-5, rtol=1e-5)
        assert_allclose(layer.shares, data["gamma"][index], atol=1e-7)
    steps = iterate_redunet(result.layers, to_frequencies(X))
    for index, (V, memberships) in enumerate(steps):
        assert_allclose(V[:, 0], data["Z_layers"][index + 1], atol=2e-6)
        assert_array_equal(memberships.argmax(axis=1), data["y_estimated"][index])
    statistics = result.statistics
    reduction = statistics["estimated_rate_reduction"]
    assert_allclose(reduction, data["loss_total"], rtol=1e-5)
    assert_allclose(statistics["coding_rate"][1:], data["loss_R"], rtol=1e-5)
    conditional = statistics["estimated_conditional_coding_rate"]
    assert_allclose(conditional, data["loss_Rc"], rtol=1e-5)


@pytest.mark.parametrize("name", ["redunet_fourier1d", "redunet_fourier2d"])
@pytest.mark.parametrize("rank", [None, "auto"])
def test_shift_invariant_features_are_those_of_the_reference(reference, name, rank):
    data = reference(name)
    lifted = data["lifted"].astype(np.float64)
    shape, axes = lifted.shape[1:], lifted.shape[2:]
    X = lifted.reshape(len(lifted), -1)
    options = _reference_options(data, n_shifts=int(np.prod(axes)))
    result = _build(X, data["y"], input_shape=shape, rank=rank, **options)
    Z = from_frequencies(result.features, shape)
    assert_allclose(Z.reshape(lifted.shape), data["Z_train"], atol=2e-6)
    assert_allclose(_transform(result, X, shape), Z, atol=1e-12)
    half = axes[-1] // 2 + 1
    for index, layer in enumerate(result.layers):
        E = data["E"][index].reshape(shape[0], shape[0], *axes)[..., :half]
        E = np.moveaxis(E.reshape(shape[0], shape[0], -1), 2, 0)
        ours = layer.expansion_operator() * np.prod(axes)
        assert_allclose(ours, E, atol=1e-6 * abs(E).max())


def test_float32_agrees_with_the_reference(reference):
    data = reference("redunet_layer")
    result = _build(data["X"], data["y"], **_reference_options(data))
    assert result.features.dtype == np.float32
    assert_allclose(result.features[:, 0], data["Z_train"], atol=2e-4)


@pytest.mark.parametrize("rank", [None, "auto"])
def test_it_does_what_the_paper_writes(rng, rank):
    X, y = _subspaces(rng)
    options = {"distortion": 0.3, "step_size": 0.2, "n_layers": 5}
    result = _build(
        X,
        y,
        rank=rank,
        step_mode="absolute",
        monotone=False,
        membership_temperature=20.0,
        **options,
    )
    expected = _plain_redunet(X, y, temperature=20.0, **options)
    assert_allclose(result.features[:, 0], expected, atol=1e-12)


def test_a_step_with_the_labels_follows_the_gradient_of_the_rate_reduction(rng):
    X, y = _subspaces(rng)
    result = _build(X, y, membership="labels", n_layers=1, distortion=0.3)
    (layer,) = result.layers
    Z = normalize_signals(X[:, None], np.ones(1))[:, 0]
    moved = Z + layer.step * rate_reduction_gradient(Z, y, distortion=0.3)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    assert_allclose(result.features[:, 0], moved, atol=1e-12)


def test_statistics_are_the_rates_of_the_features(rng):
    X, y = _subspaces(rng)
    for n_layers in (0, 1, 3):
        result = _build(X, y, n_layers=n_layers, distortion=0.3)
        rate = rate_reduction(result.features[:, 0], y, distortion=0.3)
        curve = result.statistics["rate_reduction"]
        assert len(curve) == n_layers + 1
        assert_allclose(curve[-1], rate, rtol=1e-10)
        steps = [len(v) for v in result.statistics.values()]
        assert sorted(set(steps)) == sorted({n_layers, n_layers + 1})


def test_estimated_memberships_of_separate_subspaces_are_the_labels(rng):
    X, y = _subspaces(rng, noise=0.01)
    result = _build(X, y, n_layers=4)
    assert result.statistics["membership_accuracy"] == [1.0] * 4
    V = normalize_signals(to_frequencies(X), np.ones(1))
    memberships = layer_memberships(result.layers[0], V)
    assert_allclose(memberships.sum(axis=1), 1)
    assert_array_equal(memberships.argmax(axis=1), y)
    assert np.median(memberships.max(axis=1)) > 1 - 1e-6


@pytest.mark.parametrize(
    ("options", "across", "within"),
    [
        ({"step_mode": "absolute", "n_layers": 50}, 0.080, 0.990),
        ({"step_mode": "absolute", "n_layers": 200}, 0.021, 0.999),
        ({"step_mode": "absolute", "n_layers": 500}, 0.003, 0.9999),
        ({"step_mode": "relative", "n_layers": 50}, 0.0002, 0.9999),
    ],
)
def test_gaussian_classes_become_orthogonal(options, across, within):
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(3), 500)
    X = np.eye(3)[y] + 0.1 * rng.standard_normal((1500, 3))
    test = np.eye(3)[y] + 0.1 * rng.standard_normal((1500, 3))
    result = _build(X, y, distortion=0.1, step_size=0.5, **options)
    curve = np.array(result.statistics["rate_reduction"])
    assert (np.diff(curve) >= -1e-9).all()
    cosines = abs(_transform(result, test) @ result.features[:, 0].T)
    same = y[:, None] == y
    assert cosines[~same].mean() < across
    assert cosines[same].mean() > within


def test_chunks_change_nothing(rng, tmp_path):
    X, y = _subspaces(rng, n_classes=4, n_rows=2600, dim=6, rank=2, noise=0.1)
    V, whole = X[:, None], _build(X, y, n_layers=6)
    cuts = np.sort(rng.choice(len(X), 4, replace=False))

    def chunks():
        for rows in np.split(np.arange(len(X)), cuts):
            yield V[rows], y[rows], None

    for cache in ("memory", None, tmp_path):
        parts = build_redunet(chunks, n_classes=4, n_layers=6, cache=cache)
        for one, other in zip(whole.layers, parts.layers, strict=True):
            assert one.temperature == other.temperature
            assert_array_equal(one.operators, other.operators)
        assert parts.statistics == whole.statistics
        assert (parts.features is None) == (cache != "memory")
        assert_array_equal(parts.moments, whole.moments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dim", [6, 60])
@pytest.mark.parametrize("rank", [None, "auto"])
def test_a_weight_is_a_number_of_copies(rng, dim, rank):
    X, y = _subspaces(rng, n_rows=15, dim=dim)
    weights = rng.integers(0, 4, len(X)).astype(float)
    copies = np.repeat(np.arange(len(X)), weights.astype(int))
    weighted = _build(X, y, weights=weights, n_layers=5, rank=rank)
    copied = _build(X[copies], y[copies], n_layers=5, rank=rank)
    assert_allclose(_transform(weighted, X), _transform(copied, X), atol=1e-9)
    assert_allclose(weighted.counts, copied.counts)
    for name, curve in copied.statistics.items():
        assert_allclose(weighted.statistics[name], curve, rtol=1e-8)


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


def test_no_layers_leave_unit_norms(rng):
    X = rng.standard_normal((5, 2, 6))
    V, weights = to_frequencies(X.reshape(5, 12), (2, 6)), frequency_weights((2, 6))
    unit = apply_redunet([], V, frequency_weights=weights)
    norms = np.linalg.norm(from_frequencies(unit, (2, 6)), axis=1)
    assert_allclose(norms, 1)


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


def test_a_long_step_is_halved_until_the_rate_reduction_rises():
    rng = np.random.default_rng(1)
    X, y = _subspaces(rng, n_rows=12, dim=8, noise=0.6)
    options = {"n_layers": 30, "step_mode": "absolute", "step_size": 3.0}
    free = _build(X, y, monotone=False, **options)
    assert (np.diff(free.statistics["rate_reduction"]) < -0.1).any()
    guarded = _build(X, y, **options)
    assert (np.diff(guarded.statistics["rate_reduction"]) >= -1e-9).all()
    assert len(set(guarded.statistics["step"])) > 1


def test_layers_stop_where_the_rate_reduction_levels_off(rng):
    X, y = _subspaces(rng)
    result = _build(X, y, n_layers=400, tol=1e-2)
    assert result.converged
    assert 5 <= len(result.layers) < 400
    curve = result.statistics["rate_reduction"]
    assert curve[-1] - curve[-6] <= 1e-2 * curve[-1]
    assert not _build(X, y, n_layers=3, tol=1e-2).converged


def test_the_callback_sees_each_layer_and_can_stop(rng):
    X, y = _subspaces(rng)
    seen = []

    def callback(index, objective):
        seen.append((index, objective))
        return index == 2

    result = _build(X, y, n_layers=10, callback=callback)
    assert len(result.layers) == 3
    assert [v for _, v in seen] == result.statistics["rate_reduction"][1:]


@pytest.mark.parametrize("rank", [None, "auto"])
def test_rotations_commute_with_the_network(rng, rank):
    X, y = _subspaces(rng, n_rows=15, dim=40)
    Q, _ = np.linalg.qr(rng.standard_normal((40, 40)))
    plain, turned = (_build(A, y, n_layers=6, rank=rank) for A in (X, X @ Q))
    new = rng.standard_normal((10, 40))
    assert_allclose(_transform(turned, new @ Q), _transform(plain, new) @ Q, atol=1e-8)


def test_names_of_classes_do_not_matter(rng):
    X, y = _subspaces(rng)
    names = np.array([4, 0, 2])
    plain = _build(X, y, n_layers=6)
    renamed = _build(X, names[y], n_layers=6, n_classes=6)
    assert_allclose(renamed.features, plain.features, atol=1e-10)
    V = normalize_signals(to_frequencies(X), np.ones(1))
    memberships = layer_memberships(renamed.layers[0], V)
    assert_allclose(memberships[:, names], layer_memberships(plain.layers[0], V))
    assert (memberships[:, [1, 3, 5]] == 0).all()


@pytest.mark.parametrize("shape", [(3, 8), (3, 7), (2, 4, 6), (2, 5, 3), (4, 1)])
def test_shifts_commute_with_the_network(rng, shape, dtype):
    X = rng.standard_normal((30, int(np.prod(shape)))).astype(dtype)
    y = rng.integers(3, size=30)
    result = _build(X, y, input_shape=shape, n_layers=5, monotone=False)
    assert result.features.dtype == np.result_type(dtype, np.complex64)
    new = rng.standard_normal((6, *shape)).astype(dtype)
    axes = tuple(range(2, new.ndim))
    shift = tuple(range(1, new.ndim - 1))
    rolled = np.roll(new, shift, axes)
    Z = _transform(result, new.reshape(6, -1), shape).reshape(new.shape)
    other = _transform(result, rolled.reshape(6, -1), shape).reshape(new.shape)
    assert Z.dtype == dtype
    tolerance = 1e-10 if dtype == np.float64 else 1e-3
    assert_allclose(other, np.roll(Z, shift, axes), atol=tolerance)
    assert_allclose(np.linalg.norm(Z.reshape(6, -1), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 4), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("rank", [None, "auto"])
def test_it_is_the_plain_network_of_all_shifts(rng, shape, rank):
    axes = shape[1:]
    n_shifts = int(np.prod(axes))
    X = rng.standard_normal((12, *shape))
    y = np.arange(12) % 3
    shifted = [
        np.roll(X, shift, tuple(range(2, X.ndim))) for shift in np.ndindex(*axes)
    ]
    copies = np.concatenate(shifted).reshape(12 * n_shifts, -1)
    options = {"n_layers": 4, "distortion": 0.4, "rank": rank}
    X = X.reshape(12, -1)
    signals = _build(X, y, input_shape=shape, **options)
    vectors = _build(copies, np.tile(y, n_shifts), **options)
    new = rng.standard_normal((5, X.shape[1]))
    Z = _transform(signals, new, shape)
    assert_allclose(Z, _transform(vectors, new), atol=1e-9)
    for name in ("coding_rate", "rate_reduction"):
        per_shift = np.array(vectors.statistics[name]) / n_shifts
        assert_allclose(signals.statistics[name], per_shift, rtol=1e-8)
    temperatures = vectors.statistics["temperature"]
    assert_allclose(signals.statistics["temperature"], temperatures, rtol=1e-8)


def test_one_shift_is_none(rng):
    X, y = _subspaces(rng, n_rows=10, dim=6)
    plain, signals = (_build(X, y, input_shape=s, n_layers=4) for s in (None, (6, 1)))
    assert_allclose(signals.features.real, plain.features, atol=1e-12)


@pytest.mark.parametrize("shape", [None, (6,), (2, 3), (3, 2), (1, 2, 3), (1, 3, 2)])
def test_spectra_lead_back_to_the_signals(rng, shape, dtype):
    X = rng.standard_normal((4, 6)).astype(dtype)
    V = to_frequencies(X, shape)
    assert V.shape[1] == len(frequency_weights(shape))
    back = from_frequencies(V, shape)
    assert back.dtype == dtype
    assert_allclose(back, X, atol=1e-6)
    weights = frequency_weights(shape)
    powers = (abs(V) ** 2).sum(axis=2) @ (weights / weights.sum())
    assert_allclose(powers, (X**2).sum(axis=1), rtol=1e-5)


def test_spectra_need_all_entries():
    with pytest.raises(ValueError, match=r"input_shape=\(2, 3\) has 6 entries"):
        to_frequencies(np.ones((1, 5)), (2, 3))
    with pytest.raises(ValueError, match="must be"):
        frequency_weights((2, 0))


def test_balanced_memberships_do_not_favour_the_large_class(rng):
    y = np.repeat([0, 1], [500, 20])
    X = np.zeros((520, 10))
    X[:500, :2] = rng.standard_normal((500, 2))
    X[500:, 2:4] = rng.standard_normal((20, 2))
    far = np.zeros((50, 1, 10))
    # Mostly off both subspaces, but nearer to the small class.
    far[:, 0, 4:] = rng.standard_normal((50, 6))
    far[:, 0, 2] = 1.0
    far = normalize_signals(far, np.ones(1))
    shares = []
    for balanced in (False, True):
        result = _build(X, y, n_layers=1, balance_membership=balanced)
        memberships = layer_memberships(result.layers[0], far)
        shares.append((memberships.argmax(axis=1) == 1).mean())
    assert shares == [0.0, 1.0]


@pytest.mark.parametrize("rank", [None, "auto"])
def test_degenerate_rows_and_classes_are_taken(rng, rank, dtype):
    X = rng.standard_normal((20, 8)).astype(dtype)
    y = np.repeat([0, 3], 10)
    y[0] = 2
    X[:3] = 0
    X[5] = X[6]
    result = _build(X, y, n_classes=5, n_layers=6, rank=rank)
    assert np.isfinite(result.features).all()
    assert (result.features[:3] == 0).all()
    assert all(np.isfinite(v).all() for v in result.statistics.values())
    zeros = _build(np.zeros_like(X), y, n_classes=5, n_layers=6, rank=rank)
    assert (zeros.features == 0).all()


def test_one_class_has_nothing_to_gain(rng):
    X = rng.standard_normal((30, 5))
    result = _build(X, np.zeros(30, dtype=int), n_layers=20, tol=1e-3)
    assert_allclose(result.statistics["rate_reduction"], 0, atol=1e-12)
    Z = normalize_signals(X[:, None], np.ones(1))
    assert_allclose(result.features, Z, atol=1e-12)
    assert result.converged


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter(rng, scale, dtype):
    X, y = _subspaces(rng)
    plain, scaled = (_build((X * s).astype(dtype), y) for s in (1.0, scale))
    assert_allclose(scaled.features, plain.features, atol=1e-2)
    assert_allclose(
        scaled.statistics["rate_reduction"],
        plain.statistics["rate_reduction"],
        rtol=1e-3,
    )


@pytest.mark.parametrize("distortion", [1e-12, 1e12])
def test_extreme_distortions_give_finite_layers(rng, distortion, dtype):
    X, y = _subspaces(rng)
    result = _build(X.astype(dtype), y, distortion=distortion, n_layers=5)
    assert np.isfinite(result.features).all()
    assert all(np.isfinite(v).all() for v in result.statistics.values())


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
)
def test_any_data_climb_and_stay_on_the_sphere(n, dim, n_classes, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, dim)) * 10 ** rng.uniform(-3, 3, dim)
    y = rng.integers(n_classes, size=n)
    options = {
        "n_classes": n_classes,
        "n_layers": 4,
        "distortion": 10 ** rng.uniform(-2, 1),
        "balance_membership": bool(rng.integers(2)),
    }
    result = _build(X, y, **options)
    curve = result.statistics["rate_reduction"]
    assert (np.diff(curve) >= -1e-9).all()
    assert curve[0] >= -1e-9
    norms = np.linalg.norm(result.features[:, 0], axis=1)
    assert_allclose(norms, 1, rtol=1e-9)
    assert_allclose(_transform(result, X), result.features[:, 0], atol=1e-6)
    dense = _build(X, y, rank=None, **options)
    if len(dense.layers) == len(result.layers):
        assert_allclose(dense.features, result.features, atol=1e-5)


def test_rows_without_weight_are_refused(rng):
    X, y = _subspaces(rng)
    with pytest.raises(ValueError, match="sample_weight must be positive"):
        _build(X, y, weights=np.zeros(len(X)))
    with pytest.raises(ValueError, match="no rows"):
        _build(X[:0], y[:0], n_classes=3)
    with pytest.raises(ValueError, match="labels must be integers from 0"):
        _build(X, y, n_classes=2)


def test_digits_become_easier_for_the_nearest_subspace():
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    result = _build(X[::2], y[::2], n_layers=20)
    curve = result.statistics["rate_reduction"]
    assert curve[-1] > 1.5 * curve[0]
    Z, new = result.features[:, 0], _transform(result, X[1::2])

    def accuracy(train, test):
        errors = []
        for k in range(10):
            _, _, basis = np.linalg.svd(train[y[::2] == k], full_matrices=False)
            errors.append(np.linalg.norm(test @ basis[:6].T, axis=1))
        return (np.argmax(errors, axis=0) == y[1::2]).mean()

    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert accuracy(Z, new) > max(0.97, accuracy(unit[::2], unit[1::2]) - 0.002)
