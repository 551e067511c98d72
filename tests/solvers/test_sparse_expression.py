import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from sklearn_whitebox.solvers import _sparse_expression, distinct_rows, self_express


@pytest.fixture
def rows(rng):
    X = sparse.random_array((90, 40), density=0.3, rng=rng, data_sampler=rng.normal)
    X = X.toarray()
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.fixture(params=["few rows", "many rows"])
def no_dense_rows(monkeypatch, request):
    fits = request.param == "few rows"
    monkeypatch.setattr(_sparse_expression, "can_round", lambda n_samples: fits)
    monkeypatch.setattr(_sparse_expression, "_DENSE_BYTES", 0)
    monkeypatch.setattr(_sparse_expression, "_BLOCK_BYTES", 90 * 8 * 16)


@pytest.mark.usefixtures("no_dense_rows")
@pytest.mark.parametrize("method", ["elastic_net", "lasso", "omp"])
def test_sparse_rows_have_the_codes_of_dense_ones(rows, method, dtype):
    X = rows.astype(dtype)
    options = {"method": method, "tol": 1e-5 if dtype == np.float32 else 1e-10}
    expected = self_express(X, **options)
    found = self_express(sparse.csr_array(X), **options, n_jobs=2)
    assert found.solution.dtype == dtype
    assert found.converged
    tol = 1e-4 if dtype == np.float32 else 1e-7
    assert_allclose(found.solution.toarray(), expected.solution.toarray(), atol=tol)
    again = self_express(sparse.csr_array(X), **options)
    assert_array_equal(again.solution.data, found.solution.data)


@pytest.mark.parametrize("method", ["ridge", "low_rank", "thresholding", "omp"])
def test_sparse_rows_that_fit_are_made_dense(rows, method):
    expected = self_express(rows, method=method).solution
    found = self_express(sparse.csr_matrix(rows), method=method).solution
    assert_array_equal(found.toarray(), expected.toarray())


@pytest.mark.usefixtures("no_dense_rows")
def test_closed_forms_name_what_sparse_rows_need(rows):
    with pytest.raises(ValueError, match="method='ridge' needs dense rows"):
        self_express(sparse.csr_array(rows), method="ridge")


@pytest.mark.usefixtures("no_dense_rows")
@pytest.mark.parametrize("method", ["elastic_net", "omp"])
def test_sparse_copies_and_zero_rows(rows, method):
    rows[7] = rows[3]
    rows[9] = -rows[3]
    rows[11] = 0
    codes = self_express(sparse.csr_array(rows), method=method).solution.toarray()
    assert_array_equal(np.diag(codes), 0)
    assert_array_equal(codes[:, [7, 9, 11]], 0)
    assert_array_equal(codes[9], -codes[3])
    assert_array_equal(codes[11], 0)
    assert np.abs(codes[3]).sum() > 0


@pytest.mark.usefixtures("no_dense_rows")
def test_sparse_rows_that_depend_on_others_are_passed_over():
    X = sparse.csr_array(np.array([[1.0, 0.0, 0], [1.0, 1.0, 0], [1.0, -1.0, 0]]))
    codes = self_express(X, method="omp", n_pursuits=1).solution.toarray()
    assert_allclose(codes @ X.toarray(), X.toarray(), atol=1e-12)


def test_distinct_sparse_rows_are_those_of_dense_ones(rng):
    X = rng.integers(-1, 2, (60, 3)).astype(float)
    for dense, found in zip(
        distinct_rows(X), distinct_rows(sparse.csr_array(X)), strict=True
    ):
        assert_array_equal(found, dense)


@pytest.mark.usefixtures("no_dense_rows")
@pytest.mark.parametrize("method", ["elastic_net", "omp"])
@pytest.mark.parametrize("n_samples", [1, 2])
def test_few_sparse_rows(method, n_samples):
    X = sparse.csr_array(np.eye(3)[:n_samples])
    assert self_express(X, method=method).solution.nnz == 0
