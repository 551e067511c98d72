import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from sklearn_whitebox.functional import rate_reduction, rate_reduction_gradient
from sklearn_whitebox.solvers._redunet import array_chunks, build_redunet
from sklearn_whitebox.solvers._redunet_forward import (
    apply_redunet,
    iterate_redunet,
    layer_memberships,
)
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    from_frequencies,
    normalize_signals,
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


def test_labels_move_features_alike_wherever_these_are(rng, tmp_path):
    X, y = _subspaces(rng, dim=6, noise=0.5)
    options = {"n_layers": 4, "membership": "labels", "monotone": False}
    whole = _build(X, y, **options)
    for cache in (None, tmp_path):
        assert _build(X, y, cache=cache, **options).statistics == whole.statistics


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
