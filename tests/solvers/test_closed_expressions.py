import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.solvers import (
    low_rank_self_expression,
    self_express,
    thresholding_self_expression,
)
from sklearn_whitebox.solvers._low_rank_expression import _root
from sklearn_whitebox.solvers._thresholding_expression import unit_rows


def low_rank_objective(X, codes, alpha):
    left = np.linalg.norm(X - codes @ X) ** 2 / 2
    return left + alpha * np.linalg.norm(codes, "nuc")


@pytest.mark.parametrize("shape", [(40, 12), (12, 40)])
def test_low_rank_solution_is_the_minimum(rng, shape):
    X = rng.normal(size=shape)
    root = _root(X, 30.0)
    codes = root @ root.T
    best = low_rank_objective(X, codes, 30.0)
    assert 0 < root.shape[1] < min(shape)
    for scale in (1e-3, 1e-2, 0.1):
        for _ in range(10):
            other = codes + scale * rng.normal(size=codes.shape)
            assert low_rank_objective(X, other, 30.0) > best
        assert low_rank_objective(X, codes * (1 + scale), 30.0) > best
        assert low_rank_objective(X, codes * (1 - scale), 30.0) > best


def test_low_rank_entries_are_powers_of_cosines(rng):
    X = rng.normal(size=(30, 6))
    codes = low_rank_self_expression(X, alpha=2.0, n_neighbors=29, power=3).solution
    basis, values, _ = np.linalg.svd(X, full_matrices=False)
    basis, values = basis[:, values**2 > 2], values[values**2 > 2]
    dense = (basis * (1 - 2 / values**2)) @ basis.T
    scale = np.sqrt(np.diag(dense))
    expected = (dense / scale / scale[:, None]) ** 3
    np.fill_diagonal(expected, 0)
    assert_allclose(codes.toarray(), expected, atol=1e-9)


def test_noise_is_told_from_a_low_rank(rng):
    signal = rng.normal(size=(300, 4)) @ rng.normal(size=(4, 40))
    assert _root(signal + 0.3 * rng.normal(size=signal.shape), None).shape[1] == 4
    assert _root(signal, None).shape[1] == 4
    assert _root(rng.normal(size=(300, 9)), None).shape[1] == 9


def test_thresholding_links_the_smallest_angles(rng):
    X = rng.normal(size=(50, 5))
    codes = thresholding_self_expression(X, n_neighbors=7).solution.toarray()
    cosines = unit_rows(X) @ unit_rows(X).T
    np.fill_diagonal(cosines, 0)
    weights = np.sign(cosines) * np.exp(-2 * np.arccos(np.abs(cosines)))
    weights[np.argsort(np.argsort(-np.abs(cosines), axis=1), axis=1) >= 7] = 0
    assert_allclose(codes, weights, atol=1e-12)


@pytest.mark.parametrize("method", ["low_rank", "thresholding"])
def test_closed_forms_do_not_depend_on_threads(rng, dtype, method):
    X = rng.normal(size=(1300, 8)).astype(dtype)
    one = self_express(X, method=method, n_jobs=1).solution
    two = self_express(X, method=method, n_jobs=2).solution
    assert one.dtype == dtype
    assert_array_equal(one.data, two.data)
    assert_array_equal(one.indices, two.indices)


@pytest.mark.parametrize("method", ["low_rank", "thresholding"])
def test_independent_subspaces_are_not_linked(rng, dtype, method):
    blocks = [rng.normal(size=(20, 3)) @ np.eye(9)[3 * k : 3 * k + 3] for k in range(3)]
    X = np.vstack(blocks) @ np.linalg.qr(rng.normal(size=(9, 9)))[0]
    codes = self_express(X.astype(dtype), method=method, n_neighbors=40).solution
    rows, columns = codes.nonzero()
    assert_array_equal(rows // 20, columns // 20)


@pytest.mark.parametrize("method", ["low_rank", "thresholding"])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_of_closed_forms_does_not_matter(rng, method, scale):
    X = rng.normal(size=(40, 6)).astype(np.float32)
    expected = self_express(X, method=method).solution.toarray()
    scaled = (X * np.float64(scale)).astype(np.float32)
    codes = self_express(scaled, method=method).solution.toarray()
    assert_allclose(codes, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["low_rank", "thresholding"])
def test_closed_forms_follow_permutations_and_signs(rng, method):
    X = rng.normal(size=(60, 10))
    codes = self_express(X, method=method).solution.toarray()
    signs = rng.choice([-1.0, 1.0], 60)
    flipped = self_express(X * signs[:, None], method=method).solution.toarray()
    assert_allclose(flipped, codes * signs[:, None] * signs, atol=1e-10)
    order = rng.permutation(60)
    moved = self_express(X[order], method=method).solution.toarray()
    assert_allclose(moved, codes[order][:, order], atol=1e-10)


@pytest.mark.parametrize("method", ["low_rank", "thresholding"])
def test_zero_rows_and_copies_are_not_linked(rng, method):
    X = rng.normal(size=(40, 6))
    X[7] = X[3]
    X[9] = -X[3]
    X[11] = 0
    codes = self_express(X, method=method).solution.toarray()
    assert_array_equal(np.diag(codes), 0)
    assert_array_equal(codes[:, [7, 9, 11]], 0)
    assert_array_equal(codes[7], codes[3])
    assert_array_equal(codes[9], -codes[3])
    assert_array_equal(codes[11], 0)


def test_lasso_is_the_elastic_net_without_the_squared_norm(rng):
    X = unit_rows(rng.normal(size=(50, 6)))
    lasso = self_express(X, method="lasso", gamma=20).solution
    expected = self_express(X, method="elastic_net", l1_ratio=1, gamma=20).solution
    assert_array_equal(lasso.toarray(), expected.toarray())


@pytest.mark.parametrize("n_samples", [1, 2])
@pytest.mark.parametrize("method", ["low_rank", "thresholding"])
def test_closed_forms_of_few_rows(method, n_samples):
    assert self_express(np.eye(3)[:n_samples], method=method).solution.nnz == 0


@pytest.mark.parametrize(
    "solver", [low_rank_self_expression, thresholding_self_expression]
)
def test_wrong_settings_of_closed_forms_are_named(solver):
    with pytest.raises(ValueError, match="n_neighbors=0 must be at least 1"):
        solver(np.eye(3), n_neighbors=0)
    with pytest.raises(ValueError, match="alpha=-1 must not be negative"):
        low_rank_self_expression(np.eye(3), alpha=-1)
