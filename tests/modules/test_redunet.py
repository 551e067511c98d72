import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.datasets import load_digits

from sklearn_whitebox.functional import rate_reduction
from sklearn_whitebox.modules._redunet import ReduNet, SubspaceHead
from sklearn_whitebox.solvers._redunet import array_chunks, build_redunet
from sklearn_whitebox.solvers._redunet_finetune import (
    FinetuneSettings,
    finetune_redunet,
    layer_tensors,
    layers_from_tensors,
    spectral_rate_reduction,
)
from sklearn_whitebox.solvers._redunet_forward import (
    apply_redunet,
    layer_memberships,
)
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    from_frequencies,
    normalize_signals,
    to_frequencies,
)

SHAPES = [None, (12,), (3, 4), (4, 3), (2, 3, 2), (2, 2, 3), (12, 1)]


def _network(rng, shape=None, dtype=np.float64, n=40, d=12, **options):
    X = rng.standard_normal((n, d)).astype(dtype)
    y = np.arange(n) % 3
    X[np.arange(n), y] += 2
    options = {"n_layers": 3, "monotone": False, **options}
    result = build_redunet(
        array_chunks(to_frequencies(X, shape), y),
        n_classes=3,
        frequency_weights=frequency_weights(shape),
        **options,
    )
    return X, y, result


def _module(layers, shape=None):
    return ReduNet(**layer_tensors(layers), input_shape=shape)


def _layers(layers, module):
    return layers_from_tensors(layers, *module.operators())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("rank", [None, 2])
def test_the_module_does_what_the_layers_do(rng, shape, balanced, rank, dtype):
    X, _, result = _network(
        rng, shape, dtype, balance_membership=balanced, rank=rank, distortion=1.0
    )
    module = _module(result.layers, shape)
    tolerance = 1e-9 if dtype == np.float64 else 1e-3
    expected = from_frequencies(result.features, shape)
    Z = module(torch.from_numpy(X)).detach().numpy()
    assert Z.dtype == dtype
    assert_allclose(Z, expected, atol=tolerance)
    V = apply_redunet(_layers(result.layers, module), to_frequencies(X, shape))
    assert_allclose(from_frequencies(V, shape), expected, atol=tolerance)


@pytest.mark.parametrize("shape", [None, (3, 4)])
def test_memberships_are_those_of_the_layers(rng, shape):
    X, _, result = _network(rng, shape)
    module = _module(result.layers, shape)
    V = normalize_signals(to_frequencies(X, shape), frequency_weights(shape))
    for index, layer in enumerate(result.layers):
        ours = module.memberships(torch.from_numpy(V), index).detach().numpy()
        assert_allclose(ours, layer_memberships(layer, V), atol=1e-8)


def test_absent_classes_stay_absent(rng):
    X = rng.standard_normal((20, 6))
    y = np.repeat([1, 4], 10)
    result = build_redunet(array_chunks(X[:, None], y), n_classes=6, n_layers=2)
    module = _module(result.layers)
    assert module.compressions.shape[1] == 2
    layers = _layers(result.layers, module)
    assert_allclose(layers[0].shares, result.layers[0].shares)
    assert_allclose(apply_redunet(layers, X[:, None]), result.features, atol=1e-10)


@pytest.mark.parametrize("shape", [None, (3, 4)])
def test_gradients_reach_every_parameter(rng, shape):
    X, y, result = _network(rng, shape, n=15, n_layers=2, membership_temperature=3.0)
    module = _module(result.layers, shape)
    X = torch.from_numpy(X)

    def loss(expansions, compressions):
        weights = {"expansions": expansions, "compressions": compressions}
        Z = torch.func.functional_call(module, weights, (X,))
        return rate_reduction(Z, torch.from_numpy(y), distortion=0.5)

    weights = [p.detach().clone().requires_grad_() for p in module.parameters()]
    assert torch.autograd.gradcheck(loss, weights, fast_mode=True)
    for gradient in torch.autograd.grad(loss(*weights), weights):
        assert all((layer != 0).any() for layer in gradient)


@pytest.mark.parametrize("shape", [None, (3, 4)])
def test_operators_stay_hermitian(rng, shape):
    X, _, result = _network(rng, shape)
    module = _module(result.layers, shape)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.from_numpy(rng.standard_normal(parameter.shape))
    for layer in _layers(result.layers, module):
        for operators in (layer.expansion_operator(), layer.compression_operators()):
            assert_allclose(operators, np.swapaxes(operators, -1, -2).conj(), atol=1e-9)
    V = apply_redunet(_layers(result.layers, module), to_frequencies(X, shape))
    expected = module(torch.from_numpy(X)).detach().numpy()
    assert_allclose(from_frequencies(V, shape), expected, atol=1e-8)


def test_zero_rows_have_gradients(rng):
    X, _, result = _network(rng)
    X[0] = 0
    module = _module(result.layers)
    Z = module(torch.from_numpy(X))
    assert (Z[0] == 0).all()
    Z.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters())


def test_the_state_is_a_dictionary_of_tensors(rng):
    X, _, result = _network(rng)
    module, other = _module(result.layers), _module(result.layers)
    with torch.no_grad():
        module.expansions += 0.01
    other.load_state_dict(module.state_dict())
    X = torch.from_numpy(X)
    assert torch.equal(module(X), other(X))


def test_wrong_shapes_are_refused(rng):
    _, _, result = _network(rng)
    with pytest.raises(ValueError, match="has 3 frequencies, but the layers have 1"):
        _module(result.layers, (3, 4))
    with pytest.raises(ValueError, match="at least one layer"):
        _module([])
    tensors = layer_tensors(result.layers)
    tensors["expansions"] = tensors["expansions"][:0]
    with pytest.raises(ValueError, match="at least one layer"):
        ReduNet(**tensors)


def test_the_spectral_rate_is_that_of_all_shifts(rng):
    shape = (2, 2, 3)
    X = rng.standard_normal((10, 12))
    y = torch.from_numpy(np.arange(10) % 3)
    V = torch.from_numpy(to_frequencies(X, shape))
    weights = torch.from_numpy(frequency_weights(shape) / 6)
    ours = spectral_rate_reduction(V, y, distortion=0.4, frequency_weights=weights)
    signals = X.reshape(10, *shape)
    shifts = [np.roll(signals, s, (2, 3)).reshape(10, 12) for s in np.ndindex(2, 3)]
    copies = torch.from_numpy(np.concatenate(shifts))
    assert_allclose(ours, rate_reduction(copies, y.repeat(6), distortion=0.4) / 6)
    copies = spectral_rate_reduction(
        V[[0, 0, *range(10)]],
        y[[0, 0, *range(10)]],
        distortion=0.4,
        frequency_weights=weights,
    )
    counts = torch.ones(10, dtype=torch.float64)
    counts[0] = 3
    weighted = spectral_rate_reduction(
        V, y, distortion=0.4, frequency_weights=weights, weights=counts
    )
    assert_allclose(weighted, copies)


@pytest.mark.parametrize("objective", ["rate_reduction", "cross_entropy"])
@pytest.mark.parametrize("shape", [None, (8, 8)])
def test_training_lowers_the_loss(objective, shape):
    X, y = load_digits(return_X_y=True)
    X, y = X[:400].astype(np.float32), y[:400]
    result = build_redunet(
        array_chunks(to_frequencies(X, shape), y),
        n_classes=10,
        n_layers=3,
        frequency_weights=frequency_weights(shape),
        monotone=False,
    )
    Z = from_frequencies(result.features, shape)
    bases = [np.linalg.svd(Z[y == k], full_matrices=False)[2][:4] for k in range(10)]
    head = SubspaceHead(torch.from_numpy(np.stack(bases)))
    settings = FinetuneSettings(objective=objective, max_epochs=6, batch_size=200)
    nets = []
    for _ in range(2):
        module = _module(result.layers, shape)
        run = finetune_redunet(
            module,
            torch.from_numpy(X),
            torch.from_numpy(y),
            head=head if objective == "cross_entropy" else None,
            generator=torch.Generator().manual_seed(0),
            settings=settings,
        )
        nets.append(run)
        head = SubspaceHead(torch.from_numpy(np.stack(bases)))
    assert nets[0].loss_curve == nets[1].loss_curve
    assert nets[0].loss_curve[-1] < nets[0].loss_curve[0]
    V = apply_redunet(_layers(result.layers, module), to_frequencies(X, shape))
    assert_allclose(
        from_frequencies(V, shape),
        module(torch.from_numpy(X)).detach().numpy(),
        atol=2e-3,
    )


@pytest.mark.parametrize("objective", ["rate_reduction", "cross_entropy"])
def test_rows_without_weight_do_not_train(rng, objective):
    X, y, result = _network(rng, dtype=np.float32)
    bases = torch.eye(12)[:9].reshape(3, 3, 12)
    runs = []
    for scale in (1.0, 100.0):
        changed = X.copy()
        changed[:6] *= -scale
        changed[:6, 0] += scale
        weights = torch.ones(len(X))
        weights[:6] = 0
        module = _module(result.layers)
        run = finetune_redunet(
            module,
            torch.from_numpy(changed),
            torch.from_numpy(y),
            head=SubspaceHead(bases),
            weights=weights,
            generator=torch.Generator().manual_seed(0),
            settings=FinetuneSettings(objective=objective, max_epochs=3),
        )
        runs.append((run.loss_curve, module.expansions.detach().numpy()))
    assert_allclose(runs[1][0], runs[0][0], rtol=1e-4)
    assert_allclose(runs[1][1], runs[0][1], atol=1e-4)


def test_cross_entropy_needs_a_head(rng):
    X, y, result = _network(rng)
    with pytest.raises(ValueError, match="needs a head"):
        finetune_redunet(
            _module(result.layers),
            torch.from_numpy(X),
            torch.from_numpy(y),
            generator=torch.Generator(),
            settings=FinetuneSettings(objective="cross_entropy"),
        )
