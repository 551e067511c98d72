import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import orthogonal_mp

from sklearn_whitebox.solvers import _omp, omp_encode


@pytest.fixture(params=["gram", "residuals"])
def engine(request, monkeypatch):
    if request.param == "residuals":
        monkeypatch.setattr(_omp, "_MAX_GRAM_ATOMS", 0)
    return request.param


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def test_codes_equal_those_of_scikit_learn(engine, rng):
    X = rng.normal(size=(40, 30))
    dictionary = unit_rows(rng.normal(size=(90, 30)))
    codes = omp_encode(X, dictionary, n_nonzero_coefs=6, tol=0)
    expected = orthogonal_mp(dictionary.T, X.T, n_nonzero_coefs=6).T
    assert_allclose(codes.toarray(), expected, atol=1e-10)


def test_self_codes_equal_pursuits_without_the_own_row(engine, rng):
    X = unit_rows(rng.normal(size=(50, 12)))
    codes = omp_encode(X, X, n_nonzero_coefs=5, tol=0, exclude_self=True).toarray()
    assert_array_equal(np.diag(codes), 0)
    for i in range(len(X)):
        others = np.delete(np.arange(len(X)), i)
        expected = orthogonal_mp(X[others].T, X[i], n_nonzero_coefs=5)
        assert_allclose(codes[i, others], expected, atol=1e-8)


def test_tolerance_is_relative_to_the_row(engine, rng):
    dictionary = unit_rows(rng.normal(size=(60, 20)))
    X = rng.normal(size=(30, 20))
    tol = 0.3
    codes = omp_encode(X, dictionary, n_nonzero_coefs=20, tol=tol)
    residual = np.linalg.norm(X - codes @ dictionary, axis=1)
    assert (residual <= tol * np.linalg.norm(X, axis=1) * (1 + 1e-10)).all()
    scaled = omp_encode(1e6 * X, dictionary, n_nonzero_coefs=20, tol=tol)
    assert_array_equal(scaled.indices, codes.indices)


def test_exact_codes_stop_early(engine, rng, dtype):
    dictionary = unit_rows(rng.normal(size=(80, 40))).astype(dtype)
    X = 3 * dictionary[:10] - dictionary[20:30]
    tol = 1e-4 if dtype == np.float32 else 1e-8
    codes = omp_encode(X, dictionary, n_nonzero_coefs=20, tol=tol)
    assert codes.dtype == dtype
    assert_allclose(codes @ dictionary, X, atol=1e-3 if dtype == np.float32 else 1e-7)
    assert (np.diff(codes.indptr) <= 4).all()


def test_dependent_atoms_are_passed_over(engine, rng):
    basis = unit_rows(rng.normal(size=(3, 10)))
    dictionary = np.vstack([basis, basis, unit_rows(basis + basis[::-1])])
    X = rng.normal(size=(20, 10))
    codes = omp_encode(X, dictionary, n_nonzero_coefs=9, tol=0)
    assert np.isfinite(codes.data).all()
    assert (np.diff(codes.indptr) <= 3).all()
    expected = X @ np.linalg.pinv(basis) @ basis
    assert_allclose(codes @ dictionary, expected, atol=1e-8)


def test_zero_rows_and_orthogonal_rows_get_no_atoms(engine):
    dictionary = np.eye(5)[:3]
    X = np.vstack([np.zeros(5), np.eye(5)[4], np.eye(5)[0]])
    codes = omp_encode(X, dictionary, n_nonzero_coefs=2)
    assert_array_equal(np.diff(codes.indptr), [0, 0, 1])


def test_result_depends_neither_on_threads_nor_on_blocks(engine, rng, monkeypatch):
    X = unit_rows(rng.normal(size=(300, 16)))
    monkeypatch.setattr(_omp, "_BLOCK_BYTES", 2**17)
    assert len(_omp._row_blocks(X, 300, 4, has_gram=engine == "gram")) > 2
    one = omp_encode(X, X, n_nonzero_coefs=4, exclude_self=True)
    two = omp_encode(X, X, n_nonzero_coefs=4, exclude_self=True, n_jobs=2)
    assert (one != two).nnz == 0
    monkeypatch.setattr(_omp, "_BLOCK_BYTES", 1)
    small = omp_encode(X, X, n_nonzero_coefs=4, exclude_self=True)
    assert_allclose(small.toarray(), one.toarray(), atol=1e-12)


def test_a_block_keeps_to_its_memory_for_any_number_of_atoms():
    X = np.empty((64, 10))
    for n_atoms in (100, 3_000_000):
        block = _omp._row_blocks(X, n_atoms, 5, has_gram=False)[0]
        per_row = (n_atoms + 7 * 10) * 8
        assert max(1, block.stop) * per_row <= max(2**26, per_row)


def test_inputs_are_left_as_they_were(engine, rng):
    X = rng.normal(size=(10, 6))
    before = X.copy()
    omp_encode(X, X, n_nonzero_coefs=3, exclude_self=True)
    assert_array_equal(X, before)


def test_nothing_to_code_gives_an_empty_matrix():
    assert omp_encode(np.empty((0, 3)), np.eye(3), n_nonzero_coefs=2).shape == (0, 3)
    assert omp_encode(np.ones((1, 3)), np.ones((1, 3)), exclude_self=True).nnz == 0


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="equally many columns"):
        omp_encode(np.ones((2, 3)), np.eye(4))
    with pytest.raises(ValueError, match="exclude_self"):
        omp_encode(np.ones((2, 3)), np.eye(3), exclude_self=True)
