import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import orthogonal_mp

from sklearn_whitebox.solvers import (
    _self_expression,
    disjoint_pursuits,
    omp_encode,
)
from sklearn_whitebox.solvers._omp_screened import (
    can_round,
    rounded_products,
    screened_pursuit,
)


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def pursue(X, **options):
    return screened_pursuit(X, rounded_products(X), **options)


def test_codes_equal_those_of_scikit_learn(rng):
    X = unit_rows(rng.normal(size=(90, 20)))
    codes = pursue(X, n_nonzero_coefs=6).toarray()
    assert_array_equal(np.diag(codes), 0)
    for i in range(0, 90, 7):
        others = np.delete(np.arange(90), i)
        peer = orthogonal_mp(X[others].T, X[i], n_nonzero_coefs=6)
        assert_allclose(codes[i, others], peer, atol=1e-10)


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("n_samples", [40, 1100])
def test_rounding_changes_no_choice(rng, dtype, n_samples, scaled):
    # Correlations of rows near a plane differ by less than the rounding.
    X = rng.normal(size=(n_samples, 2)) @ rng.normal(size=(2, 12))
    X = unit_rows(X + 1e-3 * rng.normal(size=X.shape))
    if scaled:
        X *= rng.uniform(0.5, 2, (n_samples, 1))
    X = X.astype(dtype)
    codes = pursue(X, n_nonzero_coefs=4)
    expected = omp_encode(
        X, X, n_nonzero_coefs=4, selection="correlation", exclude_self=True
    )
    assert codes.dtype == dtype
    if dtype == np.float64:
        assert_array_equal(codes.indices, expected.indices)
        assert_allclose(codes.data, expected.data, atol=1e-6)
    else:  # single precision itself confuses rows that are nearly as good
        left = np.linalg.norm(X - codes @ X, axis=1)
        assert_allclose(left, np.linalg.norm(X - expected @ X, axis=1), atol=1e-3)


def test_excluded_rows_are_not_used(rng):
    X = unit_rows(rng.normal(size=(60, 10)))
    first = pursue(X, n_nonzero_coefs=3)
    used = np.hstack([first.indices.reshape(60, 3), np.full((60, 1), -1)])
    second = pursue(X, n_nonzero_coefs=3, excluded=used.astype(np.int64))
    assert_array_equal(np.diff(second.indptr), 3)
    assert first.multiply(second).nnz == 0


def test_pursuit_stops_when_nothing_is_left(rng, dtype):
    blocks = [rng.normal(size=(20, 3)) @ np.eye(9)[3 * k : 3 * k + 3] for k in range(3)]
    X = unit_rows(np.vstack(blocks)).astype(dtype)
    codes = pursue(X, n_nonzero_coefs=8, tol=1e-5)
    rows, columns = codes.nonzero()
    assert_array_equal(rows // 20, columns // 20)
    assert np.diff(codes.indptr).max() == 3
    assert_allclose(codes @ X, X, atol=1e-4 if dtype == np.float32 else 1e-10)


def test_dependent_rows_are_passed_over():
    X = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    codes = pursue(unit_rows(X[:3]), n_nonzero_coefs=3).toarray()
    assert_array_equal((codes != 0).sum(1), [1, 1, 1])
    assert pursue(X, n_nonzero_coefs=3).toarray()[3].any() == np.False_


def test_screened_pursuit_does_not_depend_on_threads(rng, dtype):
    X = unit_rows(rng.normal(size=(1300, 12))).astype(dtype)
    one = disjoint_pursuits(X, n_jobs=1)
    two = disjoint_pursuits(X, n_jobs=2)
    assert_array_equal(one.data, two.data)
    assert_array_equal(one.indices, two.indices)


def test_many_rows_take_residuals_block_by_block(rng, monkeypatch):
    X = unit_rows(rng.normal(size=(100, 12)))
    expected = disjoint_pursuits(X).toarray()
    monkeypatch.setattr(_self_expression, "can_round", lambda n_samples: False)
    assert_allclose(disjoint_pursuits(X).toarray(), expected, atol=1e-10)
    assert can_round(11_585)
    assert not can_round(11_586)
