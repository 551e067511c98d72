import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import ElasticNet

from sklearn_whitebox.solvers import (
    _omp,
    _oracle_expression,
    disjoint_pursuits,
    distinct_rows,
    elastic_net_self_expression,
    omp_encode,
    self_express,
    self_expression_bytes,
)
from sklearn_whitebox.solvers._self_expression import keep_largest


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def coherence(X):
    correlations = np.abs(X @ X.T)
    np.fill_diagonal(correlations, 0)
    return correlations.max(1)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.9, 0.4])
@pytest.mark.parametrize("support_size", [6, 48])
def test_codes_equal_those_of_scikit_learn(rng, monkeypatch, l1_ratio, support_size):
    monkeypatch.setattr(_oracle_expression, "_SUPPORT_SIZE", support_size)
    monkeypatch.setattr(_oracle_expression, "can_round", lambda n: support_size == 48)
    X = unit_rows(rng.normal(size=(80, 9)))
    result = elastic_net_self_expression(X, gamma=50, l1_ratio=l1_ratio, tol=1e-11)
    codes = result.solution.toarray()
    weights = 50 * l1_ratio / coherence(X)
    for i in range(0, 80, 8):
        others = np.delete(np.arange(80), i)
        peer = ElasticNet(
            alpha=1 / (weights[i] * 9),
            l1_ratio=l1_ratio,
            fit_intercept=False,
            tol=1e-14,
            max_iter=1_000_000,
        ).fit(X[others].T, X[i])
        assert_allclose(codes[i, others], peer.coef_, atol=1e-6)


def test_solution_meets_the_optimality_conditions_at_all_rows(rng):
    X = unit_rows(rng.normal(size=(300, 15)))
    l1_ratio, tol = 0.8, 1e-8
    result = elastic_net_self_expression(X, gamma=30, l1_ratio=l1_ratio, tol=tol)
    assert result.converged
    assert result.gap <= tol
    codes = result.solution.toarray()
    weights = 30 * l1_ratio / coherence(X)
    pull = weights[:, None] * (X - codes @ X) @ X.T
    np.fill_diagonal(pull, 0)
    shrunk = np.sign(pull) * np.maximum(np.abs(pull) - l1_ratio, 0)
    assert_allclose(codes, shrunk / (1 - l1_ratio), atol=1e-5)


def test_no_weight_up_to_one_gives_a_code(rng):
    X = unit_rows(rng.normal(size=(30, 6)))
    assert elastic_net_self_expression(X, gamma=1 - 1e-9).solution.nnz == 0
    assert elastic_net_self_expression(X, gamma=1.1).solution.nnz > 0


@pytest.mark.parametrize("method", ["elastic_net", "omp"])
def test_result_does_not_depend_on_threads(rng, method, dtype, monkeypatch):
    monkeypatch.setattr(_omp, "_BLOCK_BYTES", 2**19)
    X = unit_rows(rng.normal(size=(1300, 12))).astype(dtype)
    assert _oracle_expression._block_size(len(X), X.itemsize) <= 512
    assert len(_omp._row_blocks(X, len(X), 5, has_gram=False)) > 4
    one = self_express(X, method=method, n_jobs=1)
    two = self_express(X, method=method, n_jobs=2)
    assert one.solution.dtype == dtype
    assert one.converged
    assert_array_equal(one.solution.data, two.solution.data)
    assert_array_equal(one.solution.indices, two.solution.indices)


def test_result_does_not_depend_on_blocks(rng, monkeypatch):
    X = unit_rows(rng.normal(size=(100, 12)))
    whole = elastic_net_self_expression(X, tol=1e-10).solution
    monkeypatch.setattr(_oracle_expression, "can_round", lambda n: False)
    assert_allclose(
        elastic_net_self_expression(X, tol=1e-10).solution.toarray(),
        whole.toarray(),
        atol=1e-8,
    )
    monkeypatch.setattr(_oracle_expression, "_BLOCK_BYTES", 1)
    parts = elastic_net_self_expression(X, tol=1e-10).solution
    assert_allclose(parts.toarray(), whole.toarray(), atol=1e-8)


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("n_samples", [1, 300, 20_000, 262_145, 3_000_000])
def test_work_memory_of_a_block_is_bounded(n_samples, itemsize):
    size = _oracle_expression._block_size(n_samples, itemsize)
    assert 1 <= size <= min(512, n_samples)
    assert size * n_samples * (itemsize + 8) <= 2**26


@pytest.mark.parametrize("method", ["elastic_net", "omp"])
def test_codes_follow_permutations_rotations_and_signs(rng, method):
    X = unit_rows(rng.normal(size=(60, 10)))
    options = {"method": method, "tol": 1e-10}
    codes = self_express(X, **options).solution.toarray()
    rotation = np.linalg.qr(rng.normal(size=(10, 10)))[0]
    turned = self_express(X @ rotation, **options).solution.toarray()
    assert_allclose(turned, codes, atol=1e-6)
    signs = rng.choice([-1.0, 1.0], 60)
    flipped = self_express(X * signs[:, None], **options).solution.toarray()
    assert_allclose(flipped, codes * signs[:, None] * signs, atol=1e-6)
    order = rng.permutation(60)
    moved = self_express(X[order], **options).solution.toarray()
    assert_allclose(moved, codes[order][:, order], atol=1e-6)


@pytest.mark.parametrize("method", ["elastic_net", "omp"])
def test_independent_subspaces_give_codes_within_them(rng, method):
    blocks = [rng.normal(size=(20, 3)) @ np.eye(9)[3 * k : 3 * k + 3] for k in range(3)]
    codes = self_express(unit_rows(np.vstack(blocks)), method=method).solution
    rows, columns = codes.nonzero()
    assert_array_equal(rows // 20, columns // 20)


@pytest.mark.parametrize("method", ["elastic_net", "omp"])
def test_copies_and_zero_rows_do_not_represent_each_other(rng, method):
    X = unit_rows(rng.normal(size=(40, 6)))
    X[7] = X[3]
    X[9] = -X[3]
    X[11] = 0
    codes = self_express(X, method=method).solution.toarray()
    assert_array_equal(np.diag(codes), 0)
    assert_array_equal(codes[:, [7, 9, 11]], 0)
    assert_array_equal(codes[[3, 7, 9], 3], 0)
    assert_array_equal(codes[7], codes[3])
    assert_array_equal(codes[9], -codes[3])
    assert_array_equal(codes[11], 0)
    assert np.abs(codes[3]).sum() > 0


def test_a_line_of_samples_is_a_subspace(rng):
    line = unit_rows(rng.choice([-1.0, 1.0], (6, 1)) * rng.normal(size=4))
    X = np.vstack([line, unit_rows(rng.normal(size=(20, 4)))])
    codes = self_express(X).solution.toarray()
    assert_array_equal(codes[:6, 6:], 0)
    assert_allclose(codes[:6] @ X, line)
    assert_array_equal(np.diag(codes), 0)


def test_distinct_rows_are_found_up_to_sign_and_rounding(rng):
    row = rng.normal(size=4)
    X = unit_rows(np.stack([row, 3 * row, -row / 7, row[::-1]]))
    first, inverse, signs = distinct_rows(X)
    assert_array_equal(first, [0, 3])
    assert_array_equal(inverse, [0, 0, 0, 1])
    assert_array_equal(signs, [1, 1, -1, 1])


def test_one_pursuit_is_orthogonal_matching_pursuit(rng):
    X = unit_rows(rng.normal(size=(50, 12)))
    alone = disjoint_pursuits(X, n_nonzero_coefs=4, n_pursuits=1)
    expected = omp_encode(
        X, X, n_nonzero_coefs=4, selection="correlation", exclude_self=True
    )
    assert_allclose(alone.toarray(), expected.toarray(), atol=1e-12)


def test_further_pursuits_use_rows_not_used_before(rng):
    X = unit_rows(rng.normal(size=(50, 12)))
    one = disjoint_pursuits(X, n_nonzero_coefs=4, n_pursuits=1).toarray()
    three = disjoint_pursuits(X, n_nonzero_coefs=4, n_pursuits=3).toarray()
    assert_array_equal((three != 0).sum(1), 12)
    assert_allclose(three[one != 0] * 3, one[one != 0])


def test_only_the_largest_coefficients_are_kept():
    codes = sparse.csr_array([[0, 3.0, -5.0, 1.0], [2.0, 0, 0, 0], [0, 0, 0, 0]])
    kept = keep_largest(codes, 2).toarray()
    assert_array_equal(kept, [[0, 3, -5, 0], [2, 0, 0, 0], [0, 0, 0, 0]])
    assert keep_largest(codes, 3) is codes


def test_few_rows_are_no_problem():
    for n in (1, 2):
        X = np.eye(3)[:n]
        for method in ("elastic_net", "omp"):
            assert self_express(X, method=method).solution.nnz == 0


@pytest.mark.parametrize("shape", [(1500, 60), (200, 900)])
@pytest.mark.parametrize(
    "method", ["omp", "elastic_net", "ridge", "low_rank", "thresholding"]
)
def test_memory_stays_within_the_estimate(rng, dtype, method, shape):
    X = unit_rows(rng.normal(size=shape)).astype(dtype)
    self_express(X[:20], method=method)
    tracemalloc.start()
    codes = self_express(X, method=method).solution
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    estimate = self_expression_bytes(shape, X.itemsize, method=method)
    assert peak <= estimate + 8 * codes.nnz * (X.itemsize + 8)


@pytest.mark.parametrize("scale", [2.0**100, 2.0**-100])
@pytest.mark.parametrize("method", ["elastic_net", "omp"])
def test_scale_of_all_rows_does_not_matter(rng, method, scale):
    X = unit_rows(rng.normal(size=(50, 5))).astype(np.float32)
    expected = self_express(X, method=method).solution
    found = self_express(X * np.float32(scale), method=method).solution
    assert_allclose(found.toarray(), expected.toarray(), atol=1e-5)
    assert found.nnz > 0
