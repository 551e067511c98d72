import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.metrics import dictionary_recovery
from sklearn_whitebox.solvers import lasso_encode
from sklearn_whitebox.solvers._atoms import initial_atoms
from sklearn_whitebox.solvers._palm import learn_dictionary_palm


def lasso_objective(X, D, alpha, positive=False):
    codes = lasso_encode(X, D, alpha=alpha, positive=positive, tol=1e-6).solution
    error = 0.5 * np.sum((X - codes @ D) ** 2)
    return (error + alpha * np.abs(codes).sum()) / len(X)


@pytest.mark.parametrize("positive_code", [False, True])
@pytest.mark.parametrize("positive_dict", [False, True])
def test_objective_never_rises(positive_code, positive_dict, rng, dtype):
    X = (rng.standard_normal((150, 12)) + 0.5).astype(dtype)
    result = learn_dictionary_palm(
        X,
        initial_atoms(X, 20, rng),
        alpha=0.5,
        positive_code=positive_code,
        positive_dict=positive_dict,
        max_iter=200,
    )
    slack = 1e-6 if dtype == np.float32 else 1e-14
    assert (np.diff(result.objective) <= slack * result.objective[0]).all()
    D = result.solution["components"]
    assert D.dtype == dtype
    assert_allclose(np.linalg.norm(D, axis=1), 1, rtol=1e-5)
    assert not positive_dict or (D >= 0).all()


def test_objective_settles_at_that_of_exact_codes(rng):
    X, _, _ = make_sparse_codes(200, 10, 15, n_nonzero=2, random_state=0)
    init = initial_atoms(X, 15, rng)
    result = learn_dictionary_palm(X, init, alpha=0.3, max_iter=3000, tol=1e-7)
    exact = lasso_objective(X, result.solution["components"], 0.3)
    assert exact < lasso_objective(X, init, 0.3)
    assert_allclose(result.objective[-1], exact, rtol=1e-3)


def test_planted_atoms_are_detected():
    X, _, D = make_sparse_codes(1500, 20, 20, n_nonzero=3, random_state=0)
    init = initial_atoms(X, 20, np.random.default_rng(0))
    result = learn_dictionary_palm(X, init, alpha=0.2, max_iter=2000)
    found = dictionary_recovery(result.solution["components"], D, threshold=0.05)
    assert found.fraction_detected >= 0.9


def test_penalty_above_every_correlation_leaves_codes_empty(rng):
    X = rng.standard_normal((30, 6))
    init = initial_atoms(X, 8, rng)
    alpha = 1.01 * np.abs(X @ init.T).max()
    result = learn_dictionary_palm(X, init, alpha=alpha, max_iter=5)
    assert_allclose(result.objective, 0.5 * np.mean(np.sum(X**2, axis=1)))


def test_unused_atoms_are_replaced(rng):
    X = rng.standard_normal((100, 8))
    X[:, 0] = 0
    init = initial_atoms(X, 12, rng)
    init[3] = np.eye(8)[0]
    result = learn_dictionary_palm(X, init, alpha=0.3, max_iter=300)
    assert result.solution["n_replaced"] >= 1
    assert (np.diff(result.objective) <= 1e-12).all()
    assert np.abs(result.solution["components"][:, 0]).max() < 1e-8


@pytest.mark.parametrize("kind", ["zeros", "equal", "few"])
def test_degenerate_samples_give_finite_atoms(kind, rng):
    X = {
        "zeros": np.zeros((20, 5)),
        "equal": np.ones((20, 5)),
        "few": rng.standard_normal((3, 5)),
    }[kind]
    result = learn_dictionary_palm(X, initial_atoms(X, 9, rng), alpha=0.1)
    assert np.isfinite(result.solution["components"]).all()
    assert np.isfinite(result.objective).all()


def test_callback_can_stop_and_threads_change_nothing(rng):
    X = rng.standard_normal((60, 6))
    init = initial_atoms(X, 10, rng)
    stopped = learn_dictionary_palm(X, init, alpha=0.2, callback=lambda i, _: i == 4)
    assert stopped.n_iter == 5
    assert not stopped.converged
    one = learn_dictionary_palm(X, init, alpha=0.2, max_iter=5)
    two = learn_dictionary_palm(X, init, alpha=0.2, max_iter=5, n_jobs=2)
    assert_array_equal(one.solution["components"], two.solution["components"])
    assert one.objective == stopped.objective
