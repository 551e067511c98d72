import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.solvers import self_express, self_express_batched

METHODS = ["elastic_net", "lasso", "omp", "ridge", "thresholding"]


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda",
            marks=pytest.mark.skipif(
                not torch.cuda.is_available(), reason="needs a CUDA device"
            ),
        ),
    ]
)
def device(request):
    return request.param


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


@pytest.mark.parametrize("method", METHODS)
def test_codes_are_those_of_the_compiled_engine(rng, method, dtype, device):
    X = unit_rows(rng.normal(size=(150, 20))).astype(dtype)
    options = {"method": method, "gamma": 30.0}
    if dtype == np.float64 and method in ("elastic_net", "lasso"):
        options["tol"] = 1e-10
    expected = self_express(X, **options)
    found = self_express_batched(torch.as_tensor(X, device=device), **options)
    assert found.converged
    assert found.solution.dtype == dtype
    ours, theirs = found.solution.toarray(), expected.solution.toarray()
    if dtype == np.float64:
        assert_allclose(ours, theirs, atol=1e-7)
    else:  # coefficients of nearly dependent rows depend on the last bits
        assert_allclose(ours @ X, theirs @ X, atol=1e-3)
        assert_allclose(np.abs(ours).sum(1), np.abs(theirs).sum(1), atol=2e-3)


@pytest.mark.parametrize("method", METHODS)
def test_memory_changes_no_code(rng, method):
    X = torch.as_tensor(unit_rows(rng.normal(size=(60, 8))))
    whole = self_express_batched(X, method=method).solution.toarray()
    rows = self_express_batched(X, method=method, max_bytes=1).solution.toarray()
    assert_allclose(rows, whole, atol=1e-6)


def test_elastic_net_of_a_difficult_penalty_is_certified(rng):
    X = unit_rows(rng.normal(size=(200, 12)) @ np.diag(0.6 ** np.arange(12)))
    result = self_express_batched(torch.as_tensor(X), gamma=300.0, tol=1e-8)
    assert result.converged
    assert result.gap <= 1e-8
    expected = self_express(X, gamma=300.0, tol=1e-10).solution
    assert_allclose(result.solution.toarray(), expected.toarray(), atol=1e-4)


@pytest.mark.parametrize("shape", [(40, 6), (12, 40)])
@pytest.mark.parametrize("method", METHODS)
def test_zero_rows_and_copies(rng, method, shape):
    X = unit_rows(rng.normal(size=shape))
    X[7] = X[3]
    X[9] = -X[3]
    X[11] = 0
    codes = self_express_batched(torch.as_tensor(X), method=method).solution.toarray()
    assert_array_equal(np.diag(codes), 0)
    assert_array_equal(codes[:, [7, 9, 11]], 0)
    assert_array_equal(codes[7], codes[3])
    assert_array_equal(codes[9], -codes[3])
    assert_array_equal(codes[11], 0)
    expected = self_express(X, method=method).solution.toarray()
    assert_allclose(codes, expected, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_samples", [1, 2])
def test_few_rows(method, n_samples):
    X = torch.eye(3)[:n_samples]
    assert self_express_batched(X, method=method).solution.nnz == 0


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="method='low_rank' must be one of"):
        self_express_batched(torch.eye(3), method="low_rank")
    with pytest.raises(ValueError, match="must be a matrix of float32 or float64"):
        self_express_batched(torch.eye(3, dtype=torch.int64))
