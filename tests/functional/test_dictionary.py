import numpy as np
import pytest
import torch

from sklearn_whitebox.functional import (
    fista_step,
    ista_step,
    lasso_duality_gap,
    mutual_coherence,
    normalize_atoms,
    reconstruction_error,
)
from sklearn_whitebox.solvers import lasso_encode


@pytest.fixture
def problem(rng):
    D = normalize_atoms(rng.standard_normal((20, 10)))
    return rng.standard_normal((6, 10)), D


def lasso_objective(X, Z, D, alpha):
    return 0.5 * ((X - Z @ D) ** 2).sum(1) + alpha * np.abs(Z).sum(1)


def test_atoms_get_unit_norm(rng):
    D = normalize_atoms(np.vstack([rng.standard_normal((4, 3)), np.zeros((1, 3))]))
    np.testing.assert_allclose(np.linalg.norm(D, axis=1), [1, 1, 1, 1, 0])


def test_coherence_is_the_largest_cosine(rng):
    D = rng.standard_normal((6, 4))
    slow = max(
        abs(D[i] @ D[j]) / np.linalg.norm(D[i]) / np.linalg.norm(D[j])
        for i in range(6)
        for j in range(i)
    )
    assert mutual_coherence(D) == pytest.approx(slow)
    assert mutual_coherence(np.eye(5)) == 0
    assert mutual_coherence(D[:1]) == 0


def test_reconstruction_error_is_per_sample(problem):
    X, D = problem
    nothing = np.zeros((len(X), len(D)))
    assert reconstruction_error(X, nothing, D) == pytest.approx((X**2).sum() / len(X))
    assert reconstruction_error(X, nothing, D, relative=True) == pytest.approx(1)


@pytest.mark.parametrize("positive", [False, True])
def test_ista_never_raises_the_objective_and_ends_at_the_lasso(problem, positive):
    X, D = problem
    Z = np.zeros((len(X), len(D)))
    before = lasso_objective(X, Z, D, 0.3)
    for _ in range(3000):
        Z = ista_step(X, Z, D, alpha=0.3, positive=positive)
        after = lasso_objective(X, Z, D, 0.3)
        assert (after <= before + 1e-12).all()
        before = after
    exact = lasso_encode(X, D, alpha=0.3, positive=positive, tol=1e-12).solution
    np.testing.assert_allclose(Z, exact, atol=1e-4)


def test_fista_is_faster_than_ista(problem):
    X, D = problem
    plain = fast = point = np.zeros((len(X), len(D)))
    momentum = 1.0
    for _ in range(40):
        plain = ista_step(X, plain, D, alpha=0.1)
        fast, point, momentum = fista_step(
            X, fast, point, D, alpha=0.1, momentum=momentum
        )
    assert (
        lasso_duality_gap(X, fast, D, alpha=0.1).mean()
        < 0.5 * lasso_duality_gap(X, plain, D, alpha=0.1).mean()
    )


@pytest.mark.parametrize("positive", [False, True])
def test_gap_is_not_negative_and_zero_at_the_optimum(problem, rng, positive):
    X, D = problem
    Z = rng.standard_normal((len(X), len(D)))
    Z = np.abs(Z) if positive else Z
    exact = lasso_encode(X, D, alpha=0.2, positive=positive, tol=1e-13).solution
    excess = lasso_objective(X, Z, D, 0.2) - lasso_objective(X, exact, D, 0.2)
    gap = lasso_duality_gap(X, Z, D, alpha=0.2, positive=positive)
    assert (gap >= excess).all()
    at_optimum = lasso_duality_gap(X, exact, D, alpha=0.2, positive=positive)
    np.testing.assert_allclose(at_optimum, 0, atol=1e-9)


def test_gap_takes_one_weight_per_sample(problem):
    X, D = problem
    weights = np.linspace(0.1, 2, len(X))
    Z = np.zeros((len(X), len(D)))
    together = lasso_duality_gap(X, Z, D, alpha=weights)
    alone = [
        lasso_duality_gap(X[i : i + 1], Z[i : i + 1], D, alpha=weights[i])[0]
        for i in range(len(X))
    ]
    np.testing.assert_allclose(together, alone)


def test_steps_are_differentiable_in_the_dictionary(problem):
    X, D = (torch.from_numpy(a) for a in problem)
    D.requires_grad_()
    Z = torch.zeros(len(X), len(D), dtype=X.dtype)
    ista_step(X, Z, D, alpha=0.01, step_size=0.1).square().sum().backward()
    assert torch.isfinite(D.grad).all()
    assert D.grad.abs().sum() > 0


def test_steps_take_batches(rng):
    X = torch.from_numpy(rng.standard_normal((3, 5, 4)))
    D = torch.from_numpy(rng.standard_normal((3, 7, 4)))
    Z = torch.zeros(3, 5, 7, dtype=X.dtype)
    together = ista_step(X, Z, D, alpha=0.1)
    alone = torch.stack([ista_step(X[i], Z[i], D[i], alpha=0.1) for i in range(3)])
    torch.testing.assert_close(together, alone)
