import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from sklearn_whitebox.functional import (
    group_threshold,
    hard_threshold,
    polar,
    project_sphere,
    soft_threshold,
    top_k_threshold,
)


@pytest.mark.parametrize("z", [-2.3, -0.4, 0.0, 0.4, 1.7])
def test_soft_threshold_minimises_its_objective(z):
    best = minimize_scalar(
        lambda u: 0.5 * (u - z) ** 2 + 0.7 * abs(u),
        bounds=(-4, 4),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert soft_threshold(np.array([z]), 0.7)[0] == pytest.approx(best.x, abs=1e-6)


def test_soft_threshold_is_nonexpansive(rng):
    x, z = rng.normal(size=(2, 1000))
    moved = np.abs(soft_threshold(x, 0.3) - soft_threshold(z, 0.3))
    assert (moved <= np.abs(x - z) + 1e-15).all()


def test_positive_soft_threshold_has_no_negative_entry(rng):
    z = rng.normal(size=100)
    expected = np.maximum(soft_threshold(z, 0.2), 0)
    np.testing.assert_allclose(soft_threshold(z, 0.2, positive=True), expected)


def test_hard_threshold_keeps_or_kills(rng):
    z = rng.normal(size=100)
    kept = hard_threshold(z, 0.5)
    np.testing.assert_array_equal(kept, np.where(np.abs(z) > 0.5, z, 0))


def test_group_threshold_shrinks_norms_and_keeps_directions(rng):
    Z = rng.normal(size=(20, 5))
    norms = np.linalg.norm(Z, axis=1)
    shrunk = group_threshold(Z, 1.0)
    np.testing.assert_allclose(
        np.linalg.norm(shrunk, axis=1), np.maximum(norms - 1, 0), atol=1e-12
    )
    assert (np.sum(shrunk * Z, axis=1) >= 0).all()
    assert (group_threshold(np.zeros((2, 3)), 1.0) == 0).all()


@pytest.mark.parametrize("k", [0, 1, 3, 9])
def test_top_k_keeps_the_largest_entries(rng, k):
    Z = rng.normal(size=(10, 6))
    kept = top_k_threshold(Z, k)
    assert ((kept != 0).sum(1) == min(k, 6)).all()
    smallest_kept = np.where(kept != 0, np.abs(kept), np.inf).min(1)
    largest_dropped = np.where(kept == 0, np.abs(Z), 0).max(1)
    assert (smallest_kept >= largest_dropped).all()


def test_top_k_refuses_negative_k():
    with pytest.raises(ValueError, match="k=-1"):
        top_k_threshold(np.eye(2), -1)


def test_thresholds_have_the_derivative_of_their_branches():
    z = torch.tensor([-2.0, 0.1, 3.0], dtype=torch.float64, requires_grad=True)
    soft_threshold(z, 1.0).sum().backward()
    np.testing.assert_array_equal(z.grad, [1, 0, 1])


@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (6, 3)])
def test_polar_factor_is_the_nearest_orthonormal_matrix(rng, shape):
    G = rng.normal(size=shape)
    factor = polar(G)
    small = factor @ factor.T if shape[0] <= shape[1] else factor.T @ factor
    np.testing.assert_allclose(small, np.eye(min(shape)), atol=1e-12)
    for _ in range(20):
        other = polar(rng.normal(size=shape))
        assert np.linalg.norm(G - factor) <= np.linalg.norm(G - other) + 1e-12


def test_lists_and_float32_keep_their_kind(dtype):
    Z = np.array([[3, 4], [0, 0]], dtype=dtype)
    assert project_sphere(Z).dtype == dtype
    assert isinstance(project_sphere([[3.0, 4.0]]), np.ndarray)
    assert torch.is_tensor(project_sphere(torch.eye(2)))


def test_inputs_are_not_written(rng):
    Z = rng.normal(size=(5, 5))
    Z.setflags(write=False)
    copy = Z.copy()
    for function in (soft_threshold, hard_threshold, group_threshold):
        function(Z, 0.5)
    np.testing.assert_array_equal(Z, copy)
