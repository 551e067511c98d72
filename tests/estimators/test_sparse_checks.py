import tracemalloc

import numpy as np
import pytest

from sklearn_whitebox.estimators._sparse_checks import largest_correlation
from sklearn_whitebox.solvers import lasso_encode


@pytest.mark.parametrize("positive", [False, True])
def test_codes_vanish_from_the_largest_correlation_on(positive, dtype):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 6)).astype(dtype)
    D = rng.standard_normal((9, 6)).astype(dtype)
    X[4321] = -20 * D[3]  # beyond the first blocks, and large in magnitude alone
    largest = largest_correlation(X, D, positive=positive)
    products = X @ D.T
    expected = products.max() if positive else np.abs(products).max()
    assert largest == pytest.approx(expected, rel=1e-6)
    above = lasso_encode(X, D, alpha=1.001 * largest, positive=positive).solution
    below = lasso_encode(X, D, alpha=0.999 * largest, positive=positive).solution
    assert not above.any()
    assert below.any()


def test_negative_correlations_are_none_for_positive_codes():
    assert largest_correlation(-np.eye(3), np.eye(3), positive=True) == 0
    assert largest_correlation(-np.eye(3), np.eye(3), positive=False) == 1


def test_largest_correlation_never_holds_all_products():
    X, D = np.ones((20000, 4)), np.ones((300, 4))
    tracemalloc.start()
    largest_correlation(X, D, positive=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.25 * len(X) * len(D) * 8
