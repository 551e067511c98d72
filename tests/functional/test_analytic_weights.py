import numpy as np
import pytest
from scipy.optimize import minimize

from sklearn_whitebox.functional._analytic_weights import analytic_weights


def unit_atoms(rng, k, d):
    D = rng.standard_normal((k, d))
    return D / np.linalg.norm(D, axis=1, keepdims=True)


def coherence(W, D):
    products = W @ D.T
    return np.sum((products - np.diag(np.diag(products))) ** 2)


@pytest.mark.parametrize("shape", [(50, 20), (20, 20), (5, 20), (1, 3)])
@pytest.mark.parametrize("ridge", [0.0, 0.5, 100.0])
def test_each_weight_sees_its_own_atom_in_full(rng, shape, ridge):
    D = unit_atoms(rng, *shape)
    W = analytic_weights(D, ridge=ridge)
    np.testing.assert_allclose(np.sum(W * D, axis=1), 1, rtol=1e-9)


@pytest.mark.parametrize("shape", [(50, 20), (200, 30), (20, 20), (5, 20)])
@pytest.mark.parametrize("ridge", [0.0, 0.5, 100.0])
def test_weights_are_at_most_as_coherent_as_the_dictionary(rng, shape, ridge):
    D = unit_atoms(rng, *shape)
    W = analytic_weights(D, ridge=ridge)
    assert coherence(W, D) <= coherence(D, D) * (1 + 1e-9)


def test_independent_atoms_give_their_dual_basis(rng):
    D = unit_atoms(rng, 6, 9)
    np.testing.assert_allclose(analytic_weights(D) @ D.T, np.eye(6), atol=1e-9)


def test_no_weights_are_less_coherent(rng):
    D = unit_atoms(rng, 7, 4)
    W = analytic_weights(D, ridge=0.3)
    penalty = 0.3 * np.trace(D.T @ D) / 4
    for j in range(7):
        found = minimize(
            lambda w: np.sum((D @ w) ** 2) + penalty * w @ w,
            D[j],
            constraints={"type": "eq", "fun": lambda w, j=j: w @ D[j] - 1},
            tol=1e-12,
        )
        np.testing.assert_allclose(W[j], found.x, atol=1e-5)


def test_what_has_no_weights_is_refused():
    with pytest.raises(ValueError, match="zero atom"):
        analytic_weights(np.array([[1.0, 0.0], [0.0, 0.0]]))
    with pytest.raises(ValueError, match="ridge=-1"):
        analytic_weights(np.eye(2), ridge=-1)
