import numpy as np
import pytest
import torch

from sklearn_whitebox.solvers import lasso_encode
from sklearn_whitebox.solvers._lasso_batched import lasso_encode_batched

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"),
    ),
]
TOL = {torch.float32: 1e-5, torch.float64: 1e-9}


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def problem(n, d, k, *, seed=0):
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((k, d))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    codes = np.where(rng.random((n, k)) < 4 / k, rng.standard_normal((n, k)), 0)
    return codes @ D + 0.05 * rng.standard_normal((n, d)), D


def encode(X, D, *, dtype=torch.float64, device="cpu", **settings):
    given = (torch.from_numpy(A).to(device, dtype) for A in (X, D))
    result = lasso_encode_batched(*given, **settings)
    assert result.solution.dtype == dtype
    assert result.solution.device.type == device
    return result, result.solution.cpu().double().numpy()


def relative_gaps(X, D, alpha, Z, positive=False):
    """Duality gaps from the definition."""
    residual = X - Z @ D
    slopes = residual @ D.T
    worst = np.maximum(slopes, 0).max(1) if positive else np.abs(slopes).max(1)
    alpha = np.broadcast_to(alpha, len(X))
    theta = np.minimum(1, alpha / np.maximum(worst, 1e-300))[:, None] * residual
    primal = 0.5 * np.sum(residual**2, axis=1) + alpha * np.abs(Z).sum(axis=1)
    squares = np.sum(X**2, axis=1)
    dual = 0.5 * squares - 0.5 * np.sum((X - theta) ** 2, axis=1)
    return (primal - dual) / (0.5 * squares)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(
    ("shape", "alpha"),
    [((300, 20, 50), 0.1), ((300, 20, 8), 0.05), ((200, 16, 64), 0.5)],
)
def test_codes_are_certified_and_agree_with_the_solver_for_the_cpu(
    shape, alpha, positive, dtype, device
):
    X, D = problem(*shape)
    result, Z = encode(X, D, alpha=alpha, positive=positive, dtype=dtype, device=device)
    assert result.converged
    assert result.gap <= TOL[dtype]
    gaps = relative_gaps(X, D, alpha, Z, positive)
    assert gaps.max() <= 1.5 * TOL[dtype] + (dtype == torch.float32) * 1e-6
    exact = lasso_encode(X, D, alpha=alpha, positive=positive, tol=1e-12).solution
    size = np.linalg.norm(X, axis=1)
    # The fit is within the root of twice the gap, as the loss is strongly convex in it.
    distance = np.linalg.norm((Z - exact) @ D, axis=1)
    assert (distance <= size * np.sqrt(np.maximum(gaps, 0) + 1e-12) + 1e-6).all()
    if positive:
        assert (Z >= 0).all()
    if dtype == torch.float64:
        np.testing.assert_allclose(Z, exact, atol=1e-5)


def test_every_sample_may_have_its_own_alpha():
    X, D = problem(200, 15, 40)
    alpha = np.geomspace(1e-3, 2, 200)
    _, Z = encode(X, D, alpha=torch.from_numpy(alpha))
    np.testing.assert_allclose(
        Z, lasso_encode(X, D, alpha=alpha, tol=1e-12).solution, atol=1e-5
    )


def test_codes_vanish_from_the_largest_inner_product_on():
    X, D = problem(50, 10, 20)
    alpha = np.abs(X @ D.T).max(axis=1)
    _, Z = encode(X, D, alpha=torch.from_numpy(alpha * (1 + 1e-12)))
    assert not Z.any()
    _, Z = encode(X, D, alpha=torch.from_numpy(0.99 * alpha))
    assert ((Z != 0).sum(axis=1) >= 1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tiny_alpha_gives_dense_codes_that_are_certified(dtype):
    X, D = problem(60, 12, 24)
    result, Z = encode(X, D, alpha=1e-4, dtype=dtype)
    assert result.converged
    assert (Z != 0).sum(axis=1).mean() > 9
    assert relative_gaps(X, D, 1e-4, Z).max() <= 1.5 * TOL[dtype]


@pytest.mark.parametrize("positive", [False, True])
def test_no_alpha_is_least_squares(positive):
    X, D = problem(80, 20, 8)
    result, Z = encode(X, D, alpha=0.0, positive=positive)
    assert result.converged
    if positive:
        slopes = (X - Z @ D) @ D.T
        assert slopes.max() < 1e-8
        assert np.abs(slopes[Z > 0]).max() < 1e-8
    else:
        np.testing.assert_allclose(Z, X @ np.linalg.pinv(D), atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_copies_of_atoms_and_empty_samples_and_atoms_do_no_harm(dtype):
    X, D = problem(100, 12, 20)
    X[::10] = 0
    D = np.vstack([D, D[:6], -D[:3], np.zeros((2, 12))])
    result, Z = encode(X, D, alpha=0.1, dtype=dtype)
    assert result.converged
    assert not Z[::10].any()
    exact = lasso_encode(X, D, alpha=0.1, tol=1e-12).solution
    np.testing.assert_allclose(Z @ D, exact @ D, atol=1e-2)
    assert np.isfinite(Z).all()


def test_codes_do_not_depend_on_the_block_or_the_other_samples():
    X, D = problem(130, 15, 40)
    _, together = encode(X, D, alpha=0.1)
    _, blocks = encode(X, D, alpha=0.1, block_size=17)
    _, alone = encode(X[5:6], D, alpha=0.1)
    np.testing.assert_allclose(blocks, together, atol=1e-6)
    np.testing.assert_allclose(alone, together[5:6], atol=1e-6)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaled_samples_give_scaled_codes(scale, dtype):
    X, D = problem(50, 10, 20)
    _, plain = encode(X, D, alpha=0.1, dtype=dtype)
    _, scaled = encode(scale * X, D, alpha=0.1 * scale, dtype=dtype)
    np.testing.assert_allclose(scaled / scale, plain, atol=1e-3)


def test_long_atoms_are_allowed():
    X, D = problem(60, 10, 20)
    D *= np.geomspace(0.1, 30, 20)[:, None]
    _, Z = encode(X, D, alpha=0.5)
    assert relative_gaps(X, D, 0.5, Z).max() <= 1.5e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_samples", [0, 1, 130])
def test_sparse_codes_are_the_dense_ones(n_samples, dtype, device):
    X, D = problem(n_samples, 15, 40)
    _, dense = encode(X, D, alpha=0.1, block_size=17, dtype=dtype, device=device)
    given = (torch.from_numpy(A).to(device, dtype) for A in (X, D))
    result = lasso_encode_batched(*given, alpha=0.1, block_size=17, sparse_output=True)
    codes = result.solution
    assert codes.format == "csr"
    assert codes.shape == (n_samples, 40)
    assert codes.dtype == (np.float32 if dtype == torch.float32 else np.float64)
    assert codes.nnz == np.count_nonzero(dense)
    np.testing.assert_array_equal(codes.toarray(), dense)


def test_inference_mode_works():
    X, D = problem(30, 10, 20)
    with torch.inference_mode():
        result, _ = encode(X, D, alpha=0.1)
    assert result.converged


def test_too_few_steps_are_made_up_for_sample_by_sample():
    X, D = problem(40, 12, 30)
    result, Z = encode(X, D, alpha=1e-3, max_iter=1)
    assert relative_gaps(X, D, 1e-3, Z).max() == pytest.approx(result.gap, abs=1e-8)


def test_no_samples_give_no_codes():
    result, Z = encode(np.zeros((0, 4)), np.eye(4), alpha=0.1)
    assert Z.shape == (0, 4)
    assert result.converged


def test_bad_input_is_refused():
    X, D = torch.ones(3, 4), torch.eye(4)
    with pytest.raises(ValueError, match="same number of columns"):
        lasso_encode_batched(X, D[:, :3], alpha=1.0)
    with pytest.raises(ValueError, match="alpha must not be negative"):
        lasso_encode_batched(X, D, alpha=-1.0)
    with pytest.raises(ValueError, match="alpha has shape"):
        lasso_encode_batched(X, D, alpha=torch.ones(2))
    with pytest.raises(ValueError, match="on cpu but the atoms"):
        lasso_encode_batched(X, D.double(), alpha=1.0)
    with pytest.raises(ValueError, match="max_iter=0"):
        lasso_encode_batched(X, D, alpha=1.0, max_iter=0)
    with pytest.raises(ValueError, match="X has dtype"):
        lasso_encode_batched(X.long(), D.long(), alpha=1.0)
