import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import nnls
from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

from sklearn_whitebox.solvers import _omp, omp_encode


@pytest.fixture(params=["gram", "residuals"])
def engine(request, monkeypatch):
    if request.param == "residuals":
        monkeypatch.setattr(_omp, "_MAX_GRAM_ATOMS", 0)
        monkeypatch.setattr(_omp, "_MAX_GRAM_BYTES", 0)
    return request.param


def unit_rows(X):
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def test_codes_equal_those_of_scikit_learn(engine, rng):
    X = rng.normal(size=(40, 30))
    dictionary = unit_rows(rng.normal(size=(90, 30)))
    codes = omp_encode(X, dictionary, n_nonzero_coefs=6, tol=0, selection="correlation")
    expected = orthogonal_mp(dictionary.T, X.T, n_nonzero_coefs=6).T
    assert_allclose(codes.toarray(), expected, atol=1e-10)


def test_self_codes_equal_pursuits_without_the_own_row(engine, rng):
    X = unit_rows(rng.normal(size=(50, 12)))
    codes = omp_encode(
        X,
        X,
        n_nonzero_coefs=5,
        tol=0,
        selection="correlation",
        exclude_self=True,
    ).toarray()
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
        per_row = (3 * n_atoms + 7 * 10) * 8
        assert max(1, block.stop) * per_row <= max(2**26, per_row)


def test_inputs_are_left_as_they_were(engine, rng):
    X = rng.normal(size=(10, 6))
    before = X.copy()
    omp_encode(X, X, n_nonzero_coefs=3, exclude_self=True)
    assert_array_equal(X, before)


def test_nothing_to_code_gives_an_empty_matrix():
    assert omp_encode(np.empty((0, 3)), np.eye(3), n_nonzero_coefs=2).shape == (0, 3)
    assert omp_encode(np.ones((1, 3)), np.ones((1, 3)), exclude_self=True).nnz == 0


def test_bounded_errors_give_the_codes_of_scikit_learn(engine, rng):
    X = rng.normal(size=(40, 20))
    dictionary = unit_rows(rng.normal(size=(50, 20)))
    codes = omp_encode(X, dictionary, tol=0, max_error=1.5, selection="correlation")
    expected = orthogonal_mp_gram(
        dictionary @ dictionary.T,
        dictionary @ X.T,
        tol=1.5**2,
        norms_squared=np.sum(X**2, axis=1),
    )
    assert_allclose(codes.toarray(), expected.T, atol=1e-9)


def test_memory_is_that_of_a_block_and_the_codes(rng):
    X = rng.standard_normal((20_000, 16), dtype=np.float32)
    dictionary = rng.standard_normal((256, 16), dtype=np.float32)
    omp_encode(X[:10], dictionary, n_nonzero_coefs=3)
    tracemalloc.start()
    codes = omp_encode(X, dictionary, n_nonzero_coefs=3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert codes.nnz == 60_000
    # Dense codes would take 20 MB.
    assert peak < 5e6


def slow_pursuit(x, dictionary, n_steps):
    """Try every atom at every step and keep the one of least error."""
    support, solution = [], None
    for _ in range(n_steps):
        trials = []
        for j in set(range(len(dictionary))) - set(support):
            atoms = dictionary[[*support, j]]
            z = np.linalg.lstsq(atoms.T, x, rcond=None)[0]
            trials.append((np.sum((x - z @ atoms) ** 2), j, z))
        _, j, solution = min(trials, key=lambda trial: trial[0])
        support.append(j)
    code = np.zeros(len(dictionary))
    code[support] = solution
    return code


def coherent_dictionary(rng, n_atoms, n_features):
    atoms = rng.normal(size=(n_atoms, n_features)) + 1.5
    return atoms * rng.uniform(0.5, 2, size=(n_atoms, 1))


def test_every_step_lowers_the_error_as_much_as_an_atom_can(engine, rng):
    X = rng.normal(size=(20, 8))
    dictionary = coherent_dictionary(rng, 21, 8)
    codes = omp_encode(X, dictionary, n_nonzero_coefs=4, tol=0)
    expected = [slow_pursuit(x, dictionary, 4) for x in X]
    assert_allclose(codes.toarray(), expected, atol=1e-9)


def test_reduction_leaves_less_error_than_correlation(rng):
    X = rng.normal(size=(300, 20))
    dictionary = unit_rows(coherent_dictionary(rng, 60, 20))
    errors = [
        np.sum((X - omp_encode(X, dictionary, n_nonzero_coefs=5, selection=s)
                @ dictionary) ** 2)
        for s in ("reduction", "correlation")
    ]  # fmt: skip
    assert errors[0] < 0.97 * errors[1]


@pytest.mark.parametrize("selection", ["reduction", "correlation"])
def test_codes_are_least_squares_on_their_support(engine, selection, rng, dtype):
    X = rng.normal(size=(60, 32)).astype(dtype)
    dictionary = unit_rows(coherent_dictionary(rng, 100, 32)).astype(dtype)
    codes = omp_encode(X, dictionary, n_nonzero_coefs=12, selection=selection)
    assert codes.dtype == dtype
    accuracy = 1e-5 if dtype == np.float32 else 1e-10
    for i, x in enumerate(X.astype(np.float64)):
        atoms = dictionary[codes[[i]].indices].astype(np.float64)
        expected = np.linalg.lstsq(atoms.T, x, rcond=None)[0]
        error = np.linalg.norm(codes[[i]].data - expected)
        assert error <= accuracy * np.linalg.norm(expected)


@pytest.mark.parametrize("selection", ["reduction", "correlation"])
@pytest.mark.parametrize("positive", [False, True])
def test_largest_error_is_a_norm_and_may_differ_by_row(
    engine, selection, positive, rng
):
    X = rng.normal(size=(40, 12))
    dictionary = unit_rows(rng.normal(size=(30, 12)))
    dictionary = np.vstack([dictionary, -dictionary])
    settings = {"selection": selection, "positive": positive}
    bounds = rng.uniform(0.2, 6, size=40)
    codes = omp_encode(X, dictionary, max_error=bounds, **settings)
    left = np.linalg.norm(X - codes @ dictionary, axis=1)
    assert (left <= bounds).all()
    idle = np.linalg.norm(X, axis=1) <= bounds
    assert idle.any()
    assert_array_equal(np.diff(codes.indptr)[idle], 0)
    # One atom fewer would not have been enough.
    for i in np.flatnonzero(~idle):
        count = codes.indptr[i + 1] - codes.indptr[i]
        fewer = omp_encode(X[[i]], dictionary, n_nonzero_coefs=count - 1, **settings)
        assert np.linalg.norm(X[i] - fewer @ dictionary) > bounds[i]
    assert (omp_encode(X, dictionary, max_error=1.0, **settings) != omp_encode(
        X, dictionary, max_error=np.ones(40), **settings)).nnz == 0  # fmt: skip


def test_positive_codes_are_non_negative_least_squares_on_their_support(
    engine, rng, dtype
):
    X = np.abs(rng.normal(size=(80, 15))).astype(dtype)
    dictionary = unit_rows(np.abs(rng.normal(size=(40, 15)))).astype(dtype)
    accuracy = 1e-5 if dtype == np.float32 else 1e-9
    for selection in ("reduction", "correlation"):
        codes = omp_encode(
            X, dictionary, n_nonzero_coefs=6, positive=True, selection=selection
        )
        assert (codes.data > 0).all()
        assert (np.diff(codes.indptr) <= 6).all()
        for i in range(len(X)):
            atoms = dictionary[codes[[i]].indices].astype(np.float64)
            expected, _ = nnls(atoms.T, X[i].astype(np.float64))
            assert_allclose(codes[[i]].data, expected, atol=accuracy)


def test_positive_codes_of_enough_atoms_solve_non_negative_least_squares(engine, rng):
    X = rng.normal(size=(50, 10))
    dictionary = unit_rows(rng.normal(size=(25, 10)) + 0.5)
    codes = omp_encode(X, dictionary, n_nonzero_coefs=10, tol=0, positive=True)
    for x, fitted in zip(X, codes @ dictionary, strict=True):
        _, expected = nnls(dictionary.T, x)
        assert_allclose(np.linalg.norm(x - fitted), expected, atol=1e-8)


@pytest.mark.parametrize("positive", [False, True])
def test_codes_stay_sound_when_the_residual_is_exhausted(engine, positive, rng, dtype):
    dictionary = unit_rows(coherent_dictionary(rng, 40, 6)).astype(dtype)
    dictionary = np.vstack([dictionary, dictionary[:5], np.zeros((3, 6), dtype)])
    X = np.vstack([rng.normal(size=(30, 6)), np.zeros((2, 6)), dictionary[:4]])
    X = np.vstack([X, np.repeat(X[:1], 3, axis=0)]).astype(dtype)
    codes = omp_encode(X, dictionary, n_nonzero_coefs=100, tol=0, positive=positive)
    assert np.isfinite(codes.data).all()
    assert (np.diff(codes.indptr) <= 6).all()
    assert_array_equal(np.diff(codes.indptr)[30:36], [0, 0, 1, 1, 1, 1])
    assert_array_equal(codes[[0]].toarray(), codes[[38]].toarray())
    if not positive:
        scale = 1 if dtype == np.float64 else 1e8
        assert_allclose(codes @ dictionary, X, atol=1e-12 * scale)


@pytest.mark.parametrize("positive", [False, True])
def test_a_row_alone_has_the_code_it_has_among_others(engine, positive, rng):
    X = rng.normal(size=(70, 16))
    dictionary = unit_rows(rng.normal(size=(50, 16)))
    settings = {"n_nonzero_coefs": 5, "positive": positive}
    codes = omp_encode(X, dictionary, **settings).toarray()
    order = rng.permutation(70)
    shuffled = omp_encode(X[order], dictionary, **settings).toarray()
    assert_allclose(shuffled, codes[order], atol=1e-10)
    for i in range(0, 70, 9):
        alone = omp_encode(X[[i]], dictionary, **settings).toarray()
        assert_allclose(alone[0], codes[i], atol=1e-10)


def test_equal_dictionaries_of_any_size_give_equal_codes(rng):
    X = rng.normal(size=(600, 8))
    large = unit_rows(rng.normal(size=(1100, 8)))
    assert _omp._wants_gram(X, 1100, 3, False)
    assert not _omp._wants_gram(X[:1], 1100, 3, False)
    codes = omp_encode(X, large, n_nonzero_coefs=3).toarray()
    alone = omp_encode(X[:1], large, n_nonzero_coefs=3).toarray()
    assert_allclose(alone[0], codes[0], atol=1e-10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"selection": "best"}, "selection='best'"),
        ({"max_error": -1.0}, "max_error"),
        ({"max_error": np.ones(3)}, "each of the 2 rows"),
        ({"tol": -1.0}, "tol"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        omp_encode(np.ones((2, 3)), np.eye(3), **settings)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="equally many columns"):
        omp_encode(np.ones((2, 3)), np.eye(4))
    with pytest.raises(ValueError, match="exclude_self"):
        omp_encode(np.ones((2, 3)), np.eye(3), exclude_self=True)
