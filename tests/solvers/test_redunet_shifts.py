import numpy as np
import pytest
from numpy.testing import assert_allclose

from sklearn_whitebox.solvers._redunet import array_chunks, build_redunet
from sklearn_whitebox.solvers._redunet_forward import (
    apply_redunet,
    layer_memberships,
)
from sklearn_whitebox.solvers._redunet_operators import make_operators
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


def _reference_options(data, n_shifts=1):
    return {
        "distortion": float(data["eps_sq"]) * n_shifts,
        "step_size": float(data["eta"]) * n_shifts,
        "membership_temperature": float(data["lmbda"]) * n_shifts,
        "n_layers": int(data["n_layers"]),
        "step_mode": "absolute",
        "monotone": False,
    }


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


def test_no_layers_leave_unit_norms(rng):
    X = rng.standard_normal((5, 2, 6))
    V, weights = to_frequencies(X.reshape(5, 12), (2, 6)), frequency_weights((2, 6))
    unit = apply_redunet([], V, frequency_weights=weights)
    norms = np.linalg.norm(from_frequencies(unit, (2, 6)), axis=1)
    assert_allclose(norms, 1)


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


def _lift(X, kernels):
    """Convolve circularly with random kernels and keep what is positive."""
    length = X.shape[1]
    windows = (np.arange(length)[:, None] + np.arange(kernels.shape[1])) % length
    channels = np.einsum("ntk,ck->nct", X[:, windows], kernels)
    return np.maximum(channels, 0).reshape(len(X), -1)


@pytest.mark.parametrize("n_channels", [1, 12])
def test_shifted_motifs_are_told_apart_wherever_they_are(rng, n_channels):
    motifs = np.zeros((2, 32))
    for motif in motifs:
        motif[rng.choice(32, 5, replace=False)] = rng.standard_normal(5)
    y = np.arange(440) % 2
    X = np.stack([np.roll(motifs[k], rng.integers(32)) for k in y])
    X += 0.1 * rng.standard_normal(X.shape)
    if n_channels > 1:
        X = _lift(X, rng.standard_normal((n_channels, 5)))

    def accuracy(shape):
        result = _build(X[:40], y[:40], input_shape=shape, n_layers=20, monotone=False)
        weights = frequency_weights(shape)
        operators = make_operators(
            result.final, distortion=0.1, frequency_weights=weights, dtype=complex
        )
        last = operators.to_layer(1.0, 1e3, balanced=True, weights=weights)
        V = to_frequencies(_transform(result, X[40:], shape), shape)
        return (layer_memberships(last, V + 0j).argmax(axis=1) == y[40:]).mean()

    assert accuracy((n_channels, 32)) > 0.98
    assert accuracy(None) < 0.8
