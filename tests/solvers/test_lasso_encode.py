import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import sparse_encode
from sklearn.linear_model import Lasso

from sklearn_whitebox.functional import lasso_duality_gap
from sklearn_whitebox.solvers import lasso_encode
from sklearn_whitebox.solvers._active_set import active_set, make_workspace

TOL = {np.float32: 1e-5, np.float64: 1e-9}


def make_problem(rng, d=20, k=50, n=60, kind="normal"):
    D = rng.standard_normal((k, d))
    if kind == "duplicates":
        D[1], D[2] = D[0], -D[0]
    elif kind == "same sign":
        D = np.abs(D)
    elif kind == "zero atoms":
        D[::7] = 0
    elif kind == "integers":
        D = np.round(D)
    elif kind == "smooth":  # neighbours are almost the same
        places, centres = np.linspace(0, 1, d), np.linspace(0, 1, k)
        D = np.exp(-0.5 * ((places - centres[:, None]) / 0.05) ** 2)
    D /= np.maximum(np.linalg.norm(D, axis=1, keepdims=True), 1e-12)
    X = rng.standard_normal((n, d))
    return (D[rng.integers(0, k, n)] if kind == "atoms" else X), D


def relative_gap(X, codes, D, alpha, positive=False):
    X, codes, D = (np.asarray(A, dtype=np.float64) for A in (X, codes, D))
    gap = lasso_duality_gap(X, codes, D, alpha=alpha, positive=positive)
    return (gap / np.maximum(0.5 * (X**2).sum(axis=1), 1e-300)).max()


@pytest.mark.parametrize(
    "kind",
    [
        "normal",
        "duplicates",
        "same sign",
        "zero atoms",
        "integers",
        "smooth",
        "atoms",
    ],
)
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("shape", [(20, 50), (30, 12), (3, 80)])
def test_every_code_is_certified(rng, kind, share, positive, shape, dtype):
    X, D = (A.astype(dtype) for A in make_problem(rng, *shape, kind=kind))
    alpha = share * float(np.abs(X @ D.T).max())
    result = lasso_encode(X, D, alpha=alpha, positive=positive)
    assert result.converged
    assert result.solution.dtype == dtype
    assert relative_gap(X, result.solution, D, alpha, positive) <= TOL[dtype]
    assert not positive or (result.solution >= 0).all()


@pytest.mark.parametrize("share", [1e-3, 1e-4])
@pytest.mark.parametrize("kind", ["normal", "duplicates", "same sign", "smooth"])
def test_dense_codes_are_certified_too(rng, share, kind):
    X, D = make_problem(rng, kind=kind)
    alpha = share * np.abs(X @ D.T).max()
    codes = lasso_encode(X, D, alpha=alpha).solution
    assert relative_gap(X, codes, D, alpha) <= 1e-9


def test_codes_are_those_of_coordinate_descent(rng):
    X, D = make_problem(rng)
    expected = sparse_encode(X, D, algorithm="lasso_cd", alpha=0.2, max_iter=100_000)
    codes = lasso_encode(X, D, alpha=0.2).solution
    np.testing.assert_allclose(codes, expected, atol=1e-3)
    model = Lasso(0.2 / 20, fit_intercept=False, tol=1e-14, max_iter=100_000)
    np.testing.assert_allclose(codes[0], model.fit(D.T, X[0]).coef_, atol=1e-7)


def test_larger_supports_than_the_first_guess_fit(rng):
    X, D = make_problem(rng, d=150, k=300, n=5)
    codes = lasso_encode(X, D, alpha=1e-3).solution
    assert (np.count_nonzero(codes, axis=1) > 100).all()
    assert relative_gap(X, codes, D, 1e-3) <= 1e-9


@pytest.mark.parametrize("scale", [2.0**-80, 2.0**-20, 2.0**20, 2.0**80])
def test_scale_of_samples_and_atoms_does_not_matter(rng, scale, dtype):
    X, D = (A.astype(dtype) for A in make_problem(rng))
    expected = lasso_encode(X, D, alpha=0.3).solution
    codes = lasso_encode(X * dtype(scale), D, alpha=0.3 * scale).solution
    np.testing.assert_allclose(codes / dtype(scale), expected, atol=1e-5)
    small = dtype(scale**0.2)
    codes = lasso_encode(X, D * small, alpha=0.3 * float(small)).solution
    np.testing.assert_allclose(codes * small, expected, atol=1e-5)


def test_weights_can_differ_between_samples(rng):
    X, D = make_problem(rng)
    alpha = rng.uniform(0, 1, len(X))
    codes = lasso_encode(X, D, alpha=alpha).solution
    for i in (0, 10, 59):
        alone = lasso_encode(X[i : i + 1], D, alpha=alpha[i]).solution
        np.testing.assert_allclose(codes[i], alone[0], atol=1e-9)


@pytest.mark.parametrize("positive", [False, True])
def test_sparse_output_is_the_same_codes(rng, positive, dtype):
    X, D = (A.astype(dtype) for A in make_problem(rng, n=1500))
    settings = {"alpha": 0.2, "positive": positive}
    dense = lasso_encode(X, D, **settings).solution
    found = lasso_encode(X, D, sparse_output=True, n_jobs=2, **settings).solution
    assert found.format == "csr"
    assert found.dtype == dtype
    assert found.has_sorted_indices
    assert found.nnz == np.count_nonzero(dense)
    np.testing.assert_array_equal(found.toarray(), dense)


def test_sparse_output_of_closed_forms(rng):
    X = rng.standard_normal((30, 5))
    found = lasso_encode(X, np.eye(5), alpha=0.5, sparse_output=True).solution
    expected = np.sign(X) * np.maximum(np.abs(X) - 0.5, 0)
    np.testing.assert_allclose(found.toarray(), expected)


def test_sparse_output_takes_the_memory_of_the_nonzeros(rng):
    X, D = make_problem(rng, d=16, k=512, n=8000)
    lasso_encode(X[:300], D, alpha=1.0, sparse_output=True)
    tracemalloc.start()
    codes = lasso_encode(X, D, alpha=1.0, sparse_output=True).solution
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * (codes.data.nbytes + codes.indices.nbytes) + 8e6
    assert peak < 0.5 * codes.shape[0] * codes.shape[1] * 8


def test_blocks_do_not_change_a_code(rng, dtype):
    X, D = (A.astype(dtype) for A in make_problem(rng, n=1200))
    codes = lasso_encode(X, D, alpha=0.2).solution
    order = rng.permutation(len(X))
    shuffled = lasso_encode(X[order], D, alpha=0.2, n_jobs=2).solution
    np.testing.assert_array_equal(shuffled, codes[order])
    few = lasso_encode(X[7:8], D, alpha=0.2).solution
    np.testing.assert_array_equal(few, codes[7:8])


def test_active_set_goes_on_from_another_solution(rng):
    X, D = make_problem(rng)
    gram, b = D @ D.T, D @ X[0]
    work, inverse = make_workspace(50, np.float64), np.empty((8, 8))
    m, cold, inverse = active_set(
        gram, b, 0.2, False, 1e-5, 1e-12, 100, 0, work, inverse
    )
    reached = np.zeros(50)
    reached[work.support[:m]] = work.numbers[1, :m]
    # The neighbouring problem starts where this one ended.
    m, warm, inverse = active_set(
        gram, b, 0.19, False, 1e-5, 1e-12, 100, m, work, inverse
    )
    found = np.zeros(50)
    found[work.support[:m]] = work.numbers[1, :m]
    assert warm < cold
    for code, alpha in ((reached, 0.2), (found, 0.19)):
        assert relative_gap(X[:1], code[None], D, alpha) < 1e-12


def test_too_few_steps_leave_an_honest_gap(rng):
    X, D = make_problem(rng)
    result = lasso_encode(X, D, alpha=0.05, max_iter=1)
    assert not result.converged
    gap = relative_gap(X, result.solution, D, 0.05)
    assert result.gap == pytest.approx(gap, rel=1e-6)


@pytest.mark.parametrize("as_sparse", [False, True])
@pytest.mark.parametrize("kind", ["normal", "duplicates"])
@pytest.mark.parametrize("positive", [False, True])
def test_a_start_saves_steps_and_changes_nothing(rng, kind, positive, as_sparse, dtype):
    X, D = (A.astype(dtype) for A in make_problem(rng, kind=kind))
    settings = {"positive": positive, "sparse_output": as_sparse}
    near = lasso_encode(X, D, alpha=0.105, **settings)
    cold = lasso_encode(X, D, alpha=0.1, **settings)
    warm = lasso_encode(X, D, alpha=0.1, init=near.solution, **settings)
    assert warm.n_iter < cold.n_iter
    codes = warm.solution.toarray() if as_sparse else warm.solution
    assert relative_gap(X, codes, D, 0.1, positive) <= 2 * TOL[dtype]


def test_a_hopeless_start_is_survived(rng):
    X, D = make_problem(rng)
    init = 1e6 * rng.standard_normal((60, 50))
    codes = lasso_encode(X, D, alpha=0.3, init=init).solution
    np.testing.assert_allclose(codes, lasso_encode(X, D, alpha=0.3).solution, atol=1e-7)
    zero = lasso_encode(X, D, alpha=1e3, init=init).solution
    assert not zero.any()


def test_no_samples_have_no_codes(rng):
    X, D = make_problem(rng)
    assert lasso_encode(X[:0], D, alpha=0.1).solution.shape == (0, 50)
    found = lasso_encode(X[:0], D, alpha=0.1, sparse_output=True).solution
    assert found.shape == (0, 50)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"init": np.zeros((2, 2))}, "init has shape"),
        ({"alpha": -1.0}, "alpha"),
        ({"dictionary": np.zeros((3, 4))}, "equally many columns"),
        ({"X": np.full((2, 20), np.nan)}, "NaN"),
    ],
)
def test_wrong_input_is_named(rng, change, message):
    X, D = make_problem(rng)
    arguments = {"X": X, "dictionary": D, "alpha": 0.1, **change}
    with pytest.raises(ValueError, match=message):
        lasso_encode(**arguments)


def test_closed_forms_do_not_depend_on_other_samples(rng, dtype):
    X = rng.standard_normal((300, 12)).astype(dtype)
    Q = np.linalg.qr(rng.standard_normal((12, 12)))[0].astype(dtype)
    for D, alpha in ((Q, 0.3), ((Q * np.arange(1, 13)).astype(dtype), 0.0)):
        codes = lasso_encode(X, D, alpha=alpha).solution
        alone = lasso_encode(X[5:6], D, alpha=alpha).solution
        np.testing.assert_array_equal(alone, codes[5:6])


@pytest.mark.parametrize("seed", range(8, 15))
def test_hardly_any_penalty_is_certified(seed):
    rng = np.random.default_rng(seed)
    X, D = make_problem(rng, d=10, k=12, n=200)
    result = lasso_encode(X, D, alpha=1e-6)
    assert result.converged
    assert relative_gap(X, result.solution, D, 1e-6) <= 1e-9
