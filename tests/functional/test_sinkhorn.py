import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from sklearn_whitebox.functional import sinkhorn, sinkhorn_potentials


def scaled_by_hand(similarity, temperature, n_iter=20_000):
    """Alternate division of rows and columns, without logarithms."""
    plan = np.exp(similarity / temperature)
    for _ in range(n_iter):
        plan /= plan.sum(1, keepdims=True)
        plan /= plan.sum(0, keepdims=True)
    return plan


def unit_rows(rng, n_samples, n_features):
    X = rng.normal(size=(n_samples, n_features))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.mark.parametrize("symmetric", [True, False])
def test_rows_and_columns_sum_to_one(rng, symmetric):
    C = unit_rows(rng, 40, 5)
    S = C @ C.T if symmetric else rng.normal(size=(40, 40))
    plan = sinkhorn(S, temperature=0.1, tol=1e-9)
    np.testing.assert_allclose(plan.sum(0), 1, atol=1e-8)
    np.testing.assert_allclose(plan.sum(1), 1, atol=1e-8)
    assert (plan >= 0).all()
    if symmetric:
        np.testing.assert_array_equal(plan, plan.T)


@pytest.mark.parametrize("symmetric", [True, False])
def test_agrees_with_scaling_by_hand(rng, symmetric):
    C = unit_rows(rng, 25, 4)
    S = C @ C.T if symmetric else C @ unit_rows(rng, 25, 4).T
    plan = sinkhorn(S, temperature=0.3, tol=1e-12)
    np.testing.assert_allclose(plan, scaled_by_hand(S, 0.3), atol=1e-10)


def test_symmetric_and_alternating_scalings_meet(rng):
    C = unit_rows(rng, 30, 3)
    S = C @ C.T
    nearly = S.copy()
    nearly[0, 1] += 1e-14
    np.testing.assert_allclose(
        sinkhorn(S, tol=1e-12), sinkhorn(nearly, tol=1e-12, max_iter=5000), atol=1e-9
    )


def test_ten_iterations_suffice_for_inner_products(rng):
    blobs = np.repeat(np.eye(6), 30, axis=0) + 0.02 * rng.normal(size=(180, 6))
    C = torch.from_numpy(blobs / np.linalg.norm(blobs, axis=1, keepdims=True))
    errors = []
    for n_iter in range(1, 15):
        rows, columns = sinkhorn_potentials(C @ C.T / 0.1, tol=0, max_iter=n_iter)
        plan = torch.exp(C @ C.T / 0.1 + rows[:, None] + columns)
        errors.append(float((plan.sum(1) - 1).abs().max()))
    assert errors[9] < 1e-3
    falling = np.array(errors[1:]) <= 0.6 * np.array(errors[:-1]) + 1e-12
    assert falling.all()


def test_hot_plan_is_uniform_and_cold_plan_is_the_best_assignment(rng):
    S = rng.uniform(size=(8, 8))
    np.testing.assert_allclose(sinkhorn(S, temperature=1e6), 1 / 8, atol=1e-6)
    rows, columns = linear_sum_assignment(-S)
    cold = sinkhorn(S, temperature=1e-3, tol=1e-6, max_iter=100_000)
    np.testing.assert_array_equal(cold.argmax(1), columns[np.argsort(rows)])
    assert cold.max(1).min() > 0.99


def test_constants_on_rows_and_columns_do_not_matter(rng):
    S = rng.normal(size=(12, 12))
    shifted = S + rng.normal(size=(12, 1)) + 50 * rng.normal(size=12)
    np.testing.assert_allclose(
        sinkhorn(S, temperature=1.0, tol=1e-12),
        sinkhorn(shifted, temperature=1.0, tol=1e-12),
        atol=1e-10,
    )


def test_hubs_are_held_to_the_mass_of_one(rng):
    S = rng.uniform(size=(20, 20))
    S = S + S.T
    S[:, 3] += 5
    S[3, :] += 5
    plan = sinkhorn(S, temperature=0.5, tol=1e-8)
    assert plan[:, 3].sum() == pytest.approx(1, abs=1e-6)


def test_forbidden_entries_stay_zero(rng):
    S = rng.normal(size=(6, 6))
    np.fill_diagonal(S, -np.inf)
    plan = sinkhorn(S, temperature=1.0, tol=1e-10)
    np.testing.assert_array_equal(np.diag(plan), 0)
    np.testing.assert_allclose(plan.sum(1), 1, atol=1e-8)


def test_extreme_similarities_do_not_overflow(rng, dtype):
    C = unit_rows(rng, 10, 3).astype(dtype)
    plan = sinkhorn(C @ C.T * 1e20, temperature=1e-5)
    np.testing.assert_allclose(plan, np.eye(10), atol=1e-3)
    assert plan.dtype == dtype


def test_batches_are_scaled_one_by_one(rng):
    S = torch.from_numpy(rng.normal(size=(3, 2, 7, 7)))
    plans = sinkhorn(S, temperature=1.0, tol=1e-12)
    for i in range(3):
        for j in range(2):
            alone = sinkhorn(S[i, j], temperature=1.0, tol=1e-12)
            torch.testing.assert_close(plans[i, j], alone, atol=1e-9, rtol=0)


@pytest.mark.parametrize("shape", [(5, 5), (2, 4, 4)])
@pytest.mark.parametrize("symmetric", [True, False])
def test_gradient_of_the_fixed_point_is_exact(rng, shape, symmetric):
    S = torch.from_numpy(rng.normal(size=shape)).requires_grad_()

    def plan(S):
        S = S + S.mT if symmetric else S
        return sinkhorn(S, temperature=0.7, tol=1e-14, max_iter=10_000)

    assert torch.autograd.gradcheck(plan, S, atol=1e-7)


def test_gradient_equals_that_of_unrolled_iterations(rng):
    C = torch.from_numpy(unit_rows(rng, 12, 3)).requires_grad_()
    G = torch.from_numpy(rng.normal(size=(12, 12)))
    L = C @ C.T / 0.2
    a = torch.zeros(12, dtype=torch.float64)
    for _ in range(200):
        a = (a - torch.logsumexp(L + a, 1)) / 2
    (slow,) = torch.autograd.grad((torch.exp(L + a[:, None] + a) * G).sum(), C)
    plan = sinkhorn(C @ C.T, temperature=0.2, tol=1e-14)
    (fast,) = torch.autograd.grad((plan * G).sum(), C)
    torch.testing.assert_close(fast, slow, atol=1e-9, rtol=0)


def test_gradient_is_finite_for_separate_blocks_in_single_precision(rng):
    C = torch.eye(4).repeat_interleave(5, 0).requires_grad_()
    plan = sinkhorn(C @ C.T, temperature=0.02)
    (plan**2).sum().backward()
    assert torch.isfinite(C.grad).all()


@pytest.mark.parametrize(
    ("similarity", "settings", "message"),
    [
        (np.zeros((2, 3)), {}, "n_samples, n_samples"),
        (np.zeros(3), {}, "n_samples, n_samples"),
        (np.zeros((2, 2)), {"temperature": 0.0}, "temperature=0.0"),
        (np.zeros((2, 2)), {"temperature": np.inf}, "temperature=inf"),
    ],
)
def test_bad_input_is_named(similarity, settings, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn(similarity, **settings)


@pytest.mark.parametrize("n", [0, 1])
def test_tiny_matrices(n):
    np.testing.assert_allclose(sinkhorn(np.full((n, n), -3.0)), np.eye(n))


def test_integers_are_taken():
    np.testing.assert_allclose(sinkhorn(np.zeros((2, 2), int)), 0.5)
