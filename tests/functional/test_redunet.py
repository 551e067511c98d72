import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.functional import rate_reduction, rate_reduction_gradient
from sklearn_whitebox.functional._redunet import (
    compression_operators,
    expansion_operator,
    membership_probabilities,
    redunet_step,
)


def _problem(rng, n=30, d=6, n_classes=3):
    Z = rng.standard_normal((n, d))
    y = np.arange(n) % n_classes
    return Z / np.linalg.norm(Z, axis=1, keepdims=True), y


def _step(Z, y, **options):
    E = expansion_operator(Z, distortion=0.5)
    C = compression_operators(Z, y, distortion=0.5)
    return redunet_step(Z, E, C, np.bincount(y) / len(y), **options)


def test_ten_lines_are_the_reference_network(reference):
    data = reference("redunet_layer")
    eps = float(data["eps_sq"])
    Z, test = data["X"].astype(np.float64), data["X_test"].astype(np.float64)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True)
    test /= np.linalg.norm(test, axis=1, keepdims=True)
    shares = np.bincount(data["y"]) / len(Z)
    for index in range(int(data["n_layers"])):
        assert_allclose(Z, data["Z_layers"][index], atol=2e-6)
        E = expansion_operator(Z, distortion=eps)
        C = compression_operators(Z, data["y"], distortion=eps)
        assert_allclose(E, data["E"][index], atol=2e-6)
        assert_allclose(C, data["C"][index], atol=2e-5)
        Z, test = (redunet_step(A, E, C, shares) for A in (Z, test))
    assert_allclose(test, data["Z_test"], atol=2e-6)


def test_operators_give_the_gradient(rng):
    Z, y = _problem(rng)
    E = expansion_operator(Z, distortion=0.5)
    C = compression_operators(Z, y, distortion=0.5)
    shares = np.bincount(y) / len(y)
    compressed = np.einsum("n,nd->nd", shares[y], np.einsum("nd,nde->ne", Z, C[y]))
    gradient = rate_reduction_gradient(Z, y, distortion=0.5)
    assert_allclose(Z @ E - compressed, gradient, atol=1e-12)


def test_soft_memberships_may_be_hard(rng):
    Z, y = _problem(rng)
    soft = compression_operators(Z, np.eye(3)[y], distortion=0.5)
    assert_allclose(soft, compression_operators(Z, y, distortion=0.5), atol=1e-12)


def test_a_short_step_raises_the_rate_reduction(rng):
    Z, y = _problem(rng)
    moved = _step(Z, y, step_size=0.05)
    before, after = (rate_reduction(A, y, distortion=0.5) for A in (Z, moved))
    assert after > before
    assert_allclose(np.linalg.norm(moved, axis=1), 1)


def test_memberships_sum_to_one_and_sharpen(rng):
    Z, y = _problem(rng)
    C = compression_operators(Z, y, distortion=0.5)
    soft, hard = (membership_probabilities(Z, C, temperature=t) for t in (1, 1e5))
    assert_allclose(soft.sum(axis=1), 1)
    norms = np.linalg.norm(np.einsum("nd,kde->nke", Z, C), axis=2)
    assert_allclose(hard, np.eye(3)[norms.argmin(axis=1)], atol=1e-6)
    assert soft.max() < 0.99


def test_gradients_flow_through_a_step(rng):
    Z, y = (torch.from_numpy(a) for a in _problem(rng, n=9, d=4))
    C = compression_operators(Z, y, distortion=0.5)

    def step(Z, E):
        return redunet_step(Z, E, C, torch.ones(3) / 3, membership_temperature=2.0)

    E = expansion_operator(Z, distortion=0.5)
    inputs = (Z.requires_grad_(), E.detach().requires_grad_())
    assert torch.autograd.gradcheck(step, inputs)


def test_arrays_and_tensors_give_the_same(rng, dtype):
    Z, y = _problem(rng)
    Z = Z.astype(dtype)
    arrays = _step(Z, y)
    E = expansion_operator(torch.from_numpy(Z), distortion=0.5)
    C = compression_operators(torch.from_numpy(Z), y, distortion=0.5)
    tensors = redunet_step(torch.from_numpy(Z), E, C, torch.ones(3) / 3)
    assert arrays.dtype == dtype
    assert_allclose(tensors.numpy(), arrays, rtol=1e-4, atol=1e-5)


def test_classes_without_rows_are_refused(rng):
    Z, y = _problem(rng)
    with pytest.raises(ValueError, match="a class without rows among 5"):
        compression_operators(Z, y + 2)
    with pytest.raises(ValueError, match="not be negative"):
        compression_operators(Z, y - 1)
    soft = np.eye(4)[y]
    with pytest.raises(ValueError, match="a class without rows among 4"):
        compression_operators(Z, soft)
    with pytest.raises(ValueError, match="at least one row"):
        expansion_operator(Z[:0])
    with pytest.raises(ValueError, match="distortion"):
        expansion_operator(Z, distortion=0.0)
    with pytest.raises(ValueError, match="has 29 rows"):
        compression_operators(Z, y[:-1])
