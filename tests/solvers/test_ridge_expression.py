import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from sklearn_whitebox.solvers import _top_products, ridge_self_expression, self_express
from sklearn_whitebox.solvers._top_products import largest_entries, largest_products


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def ridge_row_by_row(X, alpha):
    codes = np.zeros((len(X), len(X)))
    for i in range(len(X)):
        others = np.delete(np.arange(len(X)), i)
        peer = Ridge(alpha=alpha, fit_intercept=False, solver="svd")
        codes[i, others] = peer.fit(X[others].T, X[i]).coef_
    return codes


def keep_largest_by_sorting(codes, n_largest):
    order = np.argsort(-np.abs(codes), axis=1, kind="stable")[:, :n_largest]
    kept = np.zeros_like(codes)
    np.put_along_axis(kept, order, np.take_along_axis(codes, order, 1), 1)
    return kept


@pytest.mark.parametrize("shape", [(60, 20), (30, 50), (25, 25)])
@pytest.mark.parametrize("alpha", [1e-3, 0.7])
def test_codes_equal_separate_ridge_fits(rng, shape, alpha):
    X = rng.normal(size=shape)
    expected = ridge_row_by_row(X, alpha)
    every = ridge_self_expression(X, alpha=alpha, n_neighbors=100).solution
    assert_allclose(every.toarray(), expected, atol=1e-10)
    few = ridge_self_expression(X, alpha=alpha, n_neighbors=5).solution
    assert_allclose(few.toarray(), keep_largest_by_sorting(expected, 5), atol=1e-10)
    assert_array_equal(few.diagonal(), 0)


def test_default_penalty_is_half_the_mean_eigenvalue(rng):
    X = unit_rows(rng.normal(size=(60, 8)))
    default = self_express(X, method="ridge").solution
    expected = ridge_self_expression(X, alpha=60 / 16).solution
    assert_allclose(default.toarray(), expected.toarray())


@pytest.mark.parametrize("n_features", [8, 2000])
def test_ridge_does_not_depend_on_threads(rng, dtype, n_features):
    X = unit_rows(rng.normal(size=(1300, n_features))).astype(dtype)
    one = ridge_self_expression(X, alpha=1.0, n_jobs=1).solution
    two = ridge_self_expression(X, alpha=1.0, n_jobs=2).solution
    assert one.dtype == dtype
    assert_array_equal(one.data, two.data)
    assert_array_equal(one.indices, two.indices)


def test_single_precision_is_close_to_double(rng):
    X = unit_rows(rng.normal(size=(200, 30)))
    double = ridge_self_expression(X, alpha=1.0, n_neighbors=199).solution.toarray()
    single = ridge_self_expression(
        X.astype(np.float32), alpha=1.0, n_neighbors=199
    ).solution.toarray()
    assert_allclose(single, double, atol=1e-6)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_of_ridge_does_not_matter(rng, shape, scale):
    X = rng.normal(size=shape).astype(np.float32)
    expected = ridge_self_expression(X, alpha=1.0).solution.toarray()
    scaled = ridge_self_expression(
        (X * np.float64(scale)).astype(np.float32), alpha=scale**2
    )
    assert_allclose(scaled.solution.toarray(), expected, rtol=1e-3, atol=1e-5)


def test_independent_subspaces_stay_apart(rng, dtype):
    blocks = [rng.normal(size=(20, 3)) @ np.eye(9)[3 * k : 3 * k + 3] for k in range(3)]
    X = unit_rows(np.vstack(blocks)) @ np.linalg.qr(rng.normal(size=(9, 9)))[0]
    codes = self_express(X.astype(dtype), method="ridge", n_neighbors=40).solution
    rows, columns = codes.nonzero()
    assert_array_equal(rows // 20, columns // 20)


def test_zero_and_equal_rows_are_not_used_by_ridge(rng):
    X = unit_rows(rng.normal(size=(40, 6)))
    X[7] = X[3]
    X[9] = -X[3]
    X[11] = 0
    codes = self_express(X, method="ridge").solution.toarray()
    assert_array_equal(np.diag(codes), 0)
    assert_array_equal(codes[:, [7, 9, 11]], 0)
    assert_array_equal(codes[7], codes[3])
    assert_array_equal(codes[9], -codes[3])
    assert_array_equal(codes[11], 0)


@pytest.mark.parametrize("n_samples", [1, 2, 3])
def test_ridge_of_few_rows(n_samples):
    codes = ridge_self_expression(np.ones((n_samples, 2)), alpha=1.0).solution
    assert codes.shape == (n_samples, n_samples)
    assert codes.nnz == n_samples * (n_samples - 1)


@pytest.mark.parametrize("options", [{"alpha": 0.0}, {"alpha": np.nan}])
def test_penalty_must_be_positive(options):
    with pytest.raises(ValueError, match=r"alpha=.* must be positive"):
        ridge_self_expression(np.eye(3), **options)
    with pytest.raises(ValueError, match="n_neighbors=0 must be at least 1"):
        ridge_self_expression(np.eye(3), alpha=1.0, n_neighbors=0)


@pytest.mark.parametrize("n_rows", [2, 150, 700])
@pytest.mark.parametrize("n_largest", [1, 4])
def test_selection_equals_sorting(rng, monkeypatch, dtype, n_rows, n_largest):
    monkeypatch.setattr(_top_products, "_TILE_ROWS", 64)
    monkeypatch.setattr(_top_products, "_TILE_COLUMNS", 100)
    # Small integers: there are many ties and zeros, and products are exact.
    X = rng.integers(-2, 3, (n_rows, 4)).astype(dtype)
    products = X @ X.T
    np.fill_diagonal(products, 0)
    expected = keep_largest_by_sorting(products, n_largest)
    for found in (
        largest_products(X, X, n_largest, n_jobs=2),
        largest_entries(products, n_largest),
    ):
        kept = np.zeros_like(products)
        rows, places = np.nonzero(found.columns >= 0)
        kept[rows, found.columns[rows, places]] = found.values[rows, places]
        assert_array_equal(kept, expected)
