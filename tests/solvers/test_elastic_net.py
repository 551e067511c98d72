import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso

from sklearn_whitebox.functional import lasso_duality_gap
from sklearn_whitebox.solvers import elastic_net_gram, lasso_encode
from sklearn_whitebox.solvers._elastic_net import _elastic_net_single


def make_problem(rng, n_samples=20, n_features=15, n_components=30, dtype=np.float64):
    D = rng.standard_normal((n_components, n_features))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    return rng.standard_normal((n_samples, n_features)).astype(dtype), D.astype(dtype)


def optimality_violation(gram, b, l1, l2, positive, z):
    pull = b - gram @ z - l2 * z
    outside = (pull if positive else np.abs(pull)) - l1
    excess = np.where(z != 0, np.abs(pull - l1 * np.sign(z)), np.maximum(outside, 0))
    return excess.max() / np.abs(b).max()


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("alpha", [0.02, 0.1, 0.5])
def test_codes_are_those_of_scikit_learns_lasso(rng, alpha, positive):
    X, D = make_problem(rng)
    codes = lasso_encode(X, D, alpha=alpha, positive=positive, tol=1e-10).solution
    lasso = Lasso(
        alpha=alpha / X.shape[1],
        fit_intercept=False,
        positive=positive,
        tol=1e-14,
        max_iter=200_000,
    )
    expected = np.array([lasso.fit(D.T, x).coef_ for x in X])
    np.testing.assert_allclose(codes, expected, atol=1e-6)


@pytest.mark.parametrize("l1_ratio", [0.2, 0.9])
def test_codes_are_those_of_scikit_learns_elastic_net(rng, l1_ratio):
    X, D = make_problem(rng)
    weight = 0.2
    codes = elastic_net_gram(
        D @ D.T, X @ D.T, l1=weight * l1_ratio, l2=weight * (1 - l1_ratio), tol=1e-10
    ).solution
    net = ElasticNet(
        alpha=weight / X.shape[1],
        l1_ratio=l1_ratio,
        fit_intercept=False,
        tol=1e-14,
        max_iter=100_000,
    )
    expected = np.array([net.fit(D.T, x).coef_ for x in X])
    np.testing.assert_allclose(codes, expected, atol=1e-8)


@pytest.mark.parametrize("degenerate", ["duplicates", "zero atoms", "integers"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("l2", [0.0, 0.5])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("warm", [False, True])
def test_optimality_conditions_hold_on_degenerate_dictionaries(
    rng, degenerate, share, l2, positive, warm
):
    X, D = make_problem(rng, n_samples=5, n_features=10, n_components=8)
    if degenerate == "integers":
        X, D = np.round(2 * X), np.round(3 * D)
    else:
        D = np.vstack([D, D, -D[:2]] if degenerate == "duplicates" else [D, 0 * D])
    gram, correlations = D @ D.T, X @ D.T
    l1 = share * np.abs(correlations).max(axis=1)
    init = rng.standard_normal(correlations.shape) if warm else None
    result = elastic_net_gram(
        gram, correlations, l1=l1, l2=l2, positive=positive, tol=1e-9, init=init
    )
    assert result.converged
    for b, weight, z in zip(correlations, l1, result.solution, strict=True):
        assert optimality_violation(gram, b, weight, l2, positive, z) <= 1e-8
        assert not positive or (z >= 0).all()


def test_warm_and_cold_starts_agree(rng):
    X, D = make_problem(rng)
    gram, correlations = D @ D.T, X @ D.T
    cold = elastic_net_gram(gram, correlations, l1=0.1, tol=1e-12).solution
    warm = elastic_net_gram(
        gram, correlations, l1=0.1, tol=1e-12, init=rng.standard_normal(cold.shape)
    ).solution
    np.testing.assert_allclose(warm, cold, atol=1e-9)


def test_duality_gap_is_certified(rng):
    X, D = make_problem(rng)
    result = lasso_encode(X, D, alpha=0.1, tol=1e-8)
    gaps = lasso_duality_gap(X, result.solution, D, alpha=0.1)
    relative = gaps / (0.5 * (X**2).sum(axis=1))
    assert result.converged
    assert relative.max() <= 1e-8
    assert result.gap == pytest.approx(relative.max(), abs=1e-12)


def test_code_is_zero_exactly_from_the_largest_correlation_on(rng):
    X, D = make_problem(rng)
    largest = np.abs(X @ D.T).max(axis=1)
    assert not lasso_encode(X, D, alpha=largest).solution.any()
    codes = lasso_encode(X, D, alpha=0.999 * largest).solution
    assert (np.count_nonzero(codes, axis=1) == 1).all()


@pytest.mark.parametrize("positive", [False, True])
def test_orthonormal_atoms_soft_threshold(rng, positive):
    Q = np.linalg.qr(rng.standard_normal((8, 8)))[0][:6]
    X = rng.standard_normal((10, 8))
    codes = lasso_encode(X, Q, alpha=0.4, positive=positive).solution
    general = elastic_net_gram(
        Q @ Q.T, X @ Q.T, l1=0.4, positive=positive, tol=1e-12
    ).solution
    np.testing.assert_allclose(codes, general, atol=1e-12)


def test_without_penalty_codes_are_least_squares(rng):
    X, D = make_problem(rng, n_features=12, n_components=7)
    codes = lasso_encode(X, D, alpha=0.0).solution
    np.testing.assert_allclose(codes, X @ np.linalg.pinv(D), atol=1e-10)


def test_float32_stays_and_agrees_with_float64(rng):
    X, D = make_problem(rng)
    single = lasso_encode(X.astype(np.float32), D.astype(np.float32), alpha=0.1)
    double = lasso_encode(X, D, alpha=0.1)
    assert single.solution.dtype == np.float32
    assert single.converged
    np.testing.assert_allclose(single.solution, double.solution, atol=2e-4)


def test_a_code_does_not_depend_on_other_samples_nor_on_threads(rng, dtype):
    X, D = make_problem(rng, n_samples=300, dtype=dtype)
    together = lasso_encode(X, D, alpha=0.1).solution
    np.testing.assert_array_equal(
        lasso_encode(X, D, alpha=0.1, n_jobs=2).solution, together
    )
    alone = np.vstack([lasso_encode(x[None], D, alpha=0.1).solution for x in X[:20]])
    # The inner products of one row and of many round differently.
    atol = 1e-10 if dtype == np.float64 else 2e-4
    np.testing.assert_allclose(alone, together[:20], atol=atol)


def test_zero_samples_have_zero_codes(rng):
    _, D = make_problem(rng)
    result = lasso_encode(np.zeros((2, D.shape[1])), D, alpha=0.1)
    assert result.converged
    assert not result.solution.any()


def test_kernel_works_in_place(rng):
    X, D = make_problem(rng)
    z = np.zeros(len(D))
    n_iter, violation = _elastic_net_single(
        D @ D.T, D @ X[0], 0.1, 0.0, False, z, 1e-10, 1000
    )
    assert n_iter > 0
    assert violation <= 1e-10
    assert optimality_violation(D @ D.T, D @ X[0], 0.1, 0.0, False, z) <= 1e-9


def test_too_few_iterations_are_admitted(rng):
    X, D = make_problem(rng)
    result = lasso_encode(X, D, alpha=0.001, max_iter=2)
    assert not result.converged
    assert result.gap > 1e-4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l1": -1.0}, "l1 must not be negative"),
        ({"l2": -1.0}, "l2=-1.0"),
        ({"l1": np.ones(3)}, "one per sample"),
        ({"init": np.ones((1, 1))}, "init has shape"),
        ({"gram": np.eye(2)}, "gram has shape"),
    ],
)
def test_wrong_input_is_named(rng, change, message):
    X, D = make_problem(rng)
    arguments = {"gram": D @ D.T, "correlations": X @ D.T, "l1": 0.1} | change
    gram, correlations = arguments.pop("gram"), arguments.pop("correlations")
    with pytest.raises(ValueError, match=message):
        elastic_net_gram(gram, correlations, **arguments)


def test_features_must_agree(rng):
    X, D = make_problem(rng)
    with pytest.raises(ValueError, match="equally many columns"):
        lasso_encode(X[:, 1:], D, alpha=0.1)
