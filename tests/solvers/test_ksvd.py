import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.metrics import dictionary_recovery
from sklearn_whitebox.solvers import omp_encode
from sklearn_whitebox.solvers._atoms import initial_atoms, unit_rows
from sklearn_whitebox.solvers._ksvd import learn_dictionary_ksvd
from sklearn_whitebox.solvers._l0_coding import Encoder
from sklearn_whitebox.solvers._l0_kernels import (
    rows_of_atoms,
    sweep_atoms,
    sweep_atoms_exactly,
)
from sklearn_whitebox.solvers._l0_moves import propose_swap, replace_atoms
from sklearn_whitebox.solvers._mod import _least_squares, learn_dictionary_mod


def exact_ksvd(X, init, **settings):
    return learn_dictionary_ksvd(X, init, exact=True, **settings)


learners = pytest.mark.parametrize(
    "learn_dictionary", [learn_dictionary_ksvd, exact_ksvd, learn_dictionary_mod]
)


def planted(seed, *, n_samples=1500, snr=20.0):
    X, _, D = make_sparse_codes(n_samples, 20, 50, n_nonzero=3, random_state=seed)
    noise = np.random.default_rng(seed).standard_normal(X.shape)
    noise *= np.linalg.norm(X) / np.linalg.norm(noise)
    return X + 10 ** (-snr / 20) * noise, D


def learn(learn_dictionary, X, n_components, seed=0, **settings):
    generator = np.random.default_rng(seed)
    settings = {"n_nonzero_coefs": 3, **settings}
    init = settings.pop("init", None)
    if init is None:
        init = initial_atoms(X, n_components, generator)
    return learn_dictionary(X, init, generator=generator, **settings)


@pytest.mark.parametrize(
    ("learn_dictionary", "snr", "least"),
    [
        (learn_dictionary_ksvd, 10, 0.95),
        (learn_dictionary_ksvd, 20, 0.99),
        (learn_dictionary_ksvd, 30, 0.99),
        (learn_dictionary_ksvd, np.inf, 0.99),
        (exact_ksvd, 20, 0.98),
        (learn_dictionary_mod, 20, 0.98),
    ],
)
def test_planted_atoms_are_detected(learn_dictionary, snr, least):
    found = []
    for seed in range(3):
        X, D = planted(seed, snr=snr)
        components = learn(learn_dictionary, X, 50, seed).solution["components"]
        found.append(dictionary_recovery(components, D).fraction_detected)
    assert np.mean(found) >= least


@learners
@pytest.mark.parametrize("positive_code", [False, True])
@pytest.mark.parametrize("positive_dict", [False, True])
def test_objective_never_rises_and_is_that_of_the_atoms(
    learn_dictionary, positive_code, positive_dict, rng
):
    X = rng.standard_normal((150, 12)) + 0.5
    result = learn(
        learn_dictionary,
        X,
        25,
        positive_code=positive_code,
        positive_dict=positive_dict,
        max_iter=40,
    )
    D = result.solution["components"]
    assert len(result.objective) == result.n_iter
    assert (np.diff(result.objective) <= 1e-12 * result.objective[0]).all()
    assert result.objective[-1] < 0.9 * result.objective[0]
    assert_allclose(np.linalg.norm(D, axis=1), 1)
    if positive_dict:
        assert (D >= 0).all()
    # Codes that were kept may be better than those found anew.
    codes = omp_encode(X, D, n_nonzero_coefs=3, positive=positive_code)
    anew = 0.5 * np.mean(np.sum((X - codes @ D) ** 2, axis=1))
    assert 0.8 * anew < result.objective[-1] < 1.02 * anew


@learners
def test_atoms_come_signed_and_by_decreasing_energy(learn_dictionary):
    X, _ = planted(0, n_samples=400)
    D = learn(learn_dictionary, X, 30, max_iter=20).solution["components"]
    largest = D[np.arange(30), np.abs(D).argmax(axis=1)]
    assert (largest > 0).all()
    energy = omp_encode(X, D, n_nonzero_coefs=3).power(2).sum(axis=0)
    assert np.corrcoef(energy, np.arange(30))[0, 1] < -0.9


@pytest.mark.parametrize(
    ("positive_code", "positive_dict", "n_steps"),
    [
        (False, False, 0),
        (False, False, 1),
        (True, False, 1),
        (False, True, 5),
        (True, True, 5),
    ],
)
def test_sweep_lowers_the_error_on_fixed_supports(
    positive_code, positive_dict, n_steps, rng, dtype
):
    X = (rng.standard_normal((120, 10)) + 0.3).astype(dtype)
    D = initial_atoms(np.abs(X) if positive_dict else X, 18, rng)
    encoder = Encoder(X, 3, positive_code, None)
    coding = encoder.encode(D)
    before = coding.objective
    support = coding.support.copy()
    for _ in range(3):
        arrays = coding.R, coding.D, coding.codes, *rows_of_atoms(support, 18)
        order = rng.permutation(18)
        if n_steps:
            sweep_atoms(*arrays, order, positive_code, positive_dict, n_steps)
        else:
            sweep_atoms_exactly(*arrays, order)
        fresh = encoder.with_residuals(coding.D, support, coding.codes)
        assert fresh.objective < before
        assert_allclose(fresh.R, coding.R, atol=1e-12 if dtype == np.float64 else 1e-4)
        before = fresh.objective
    assert_allclose(np.linalg.norm(coding.D, axis=1), 1, rtol=1e-5)
    assert not positive_code or (coding.codes >= 0).all()
    assert not positive_dict or (coding.D >= 0).all()


def test_exact_step_is_the_leading_pair_of_singular_vectors(rng):
    for n_samples in (30, 4):  # more rows than features, and fewer
        X = rng.standard_normal((n_samples, 6))
        D = unit_rows(rng.standard_normal((1, 6)))
        coding = Encoder(X, 1, False, None).encode(D)
        places = rows_of_atoms(coding.support, 1)
        sweep_atoms_exactly(coding.R, coding.D, coding.codes, *places, np.array([0]))
        _, s, V = np.linalg.svd(X)
        assert_allclose(np.abs(V[0] @ coding.D[0]), 1)
        assert_allclose(np.sum(coding.R**2), np.sum(s[1:] ** 2))


@pytest.mark.parametrize("positive_dict", [False, True])
def test_least_squares_lower_the_error_on_fixed_supports(positive_dict, rng):
    X = np.abs(rng.standard_normal((120, 10)))
    encoder = Encoder(X, 3, False, None)
    coding = encoder.encode(initial_atoms(X, 18, rng))
    moved = _least_squares(X, coding, positive_dict)
    fresh = encoder.with_residuals(moved.D, moved.support, moved.codes)
    assert fresh.objective < coding.objective
    assert_array_equal(moved.support, coding.support)
    assert_allclose(np.linalg.norm(moved.D, axis=1), 1)
    if positive_dict:
        assert (moved.D >= 0).all()
    else:
        Z = np.zeros((120, 18))
        held = coding.support >= 0
        Z[np.nonzero(held)[0], coding.support[held]] = coding.codes[held]
        best = np.linalg.lstsq(Z, X, rcond=None)[0]
        assert_allclose(fresh.R, X - Z @ best, atol=1e-6)


@learners
def test_result_depends_on_neither_threads_nor_calls(learn_dictionary):
    X, _ = planted(0, n_samples=1300)
    serial = learn(learn_dictionary, X, 40, max_iter=12)
    threaded = learn(learn_dictionary, X, 40, max_iter=12, n_jobs=2)
    assert_array_equal(serial.solution["components"], threaded.solution["components"])
    assert serial.objective == threaded.objective


@learners
def test_precision_of_the_samples_is_kept(learn_dictionary):
    X, _ = planted(0, n_samples=600)
    before = X.copy()
    double = learn(learn_dictionary, X, 30, max_iter=10)
    assert_array_equal(X, before)
    single = learn(learn_dictionary, X.astype(np.float32), 30, max_iter=10)
    assert single.solution["components"].dtype == np.float32
    assert_allclose(single.objective, double.objective, rtol=0.05)


@learners
def test_scaled_samples_give_the_same_atoms(learn_dictionary):
    X, _ = planted(0, n_samples=500)
    expected = learn(learn_dictionary, X, 30, max_iter=8).solution["components"]
    found = learn(learn_dictionary, 1024 * X, 30, max_iter=8).solution["components"]
    assert_allclose(found, expected, atol=1e-8)


@learners
def test_callback_sees_every_iteration_and_can_stop(learn_dictionary):
    X, _ = planted(0, n_samples=300)
    seen = []

    def callback(iteration, objective):
        seen.append((iteration, objective))
        return iteration == 6

    result = learn(learn_dictionary, X, 20, callback=callback)
    assert [iteration for iteration, _ in seen] == list(range(7))
    assert [objective for _, objective in seen] == result.objective
    assert not result.converged


@learners
@pytest.mark.parametrize("max_swaps", [0, 3, 1000])
def test_learning_converges_with_any_number_of_swaps(learn_dictionary, max_swaps, rng):
    X = rng.standard_normal((60, 6))
    result = learn(learn_dictionary, X, 8, max_swaps=max_swaps, max_iter=3000)
    assert result.converged


@learners
@pytest.mark.parametrize("kind", ["zeros", "equal", "few", "one", "constant column"])
def test_degenerate_samples_give_finite_atoms(learn_dictionary, kind, rng):
    X = {
        "zeros": np.zeros((20, 5)),
        "equal": np.ones((20, 5)),
        "few": rng.standard_normal((4, 5)),
        "one": rng.standard_normal((1, 5)),
        "constant column": np.hstack([rng.standard_normal((20, 4)), np.ones((20, 1))]),
    }[kind]
    result = learn(learn_dictionary, X, 10, max_iter=30)
    D = result.solution["components"]
    assert np.isfinite(D).all()
    assert_allclose(np.linalg.norm(D, axis=1), 1)
    assert np.isfinite(result.objective).all()
    if kind != "constant column":
        assert result.objective[-1] <= 1e-20


@learners
def test_zero_atoms_and_more_coefficients_than_features_are_fine(learn_dictionary, rng):
    X = rng.standard_normal((50, 5))
    init = rng.standard_normal((12, 5))
    init[3] = 0
    result = learn(learn_dictionary, X, 12, init=init, n_nonzero_coefs=40, max_iter=10)
    assert np.isfinite(result.solution["components"]).all()
    assert result.objective[-1] <= 1e-20


@learners
def test_duplicate_atoms_part(learn_dictionary):
    X, _ = planted(0)
    init = initial_atoms(X, 50, np.random.default_rng(0))
    init[1] = init[0]
    init[2] = -init[0]
    result = learn(learn_dictionary, X, 50, init=init)
    components = result.solution["components"]
    assert result.solution["n_replaced"] >= 1
    assert (np.abs(components @ components.T) - np.eye(50)).max() < 0.99


@pytest.mark.parametrize("positive", [False, True])
def test_replacing_atoms_never_raises_the_error(positive, rng):
    X = np.abs(rng.standard_normal((200, 8)))
    D = unit_rows(np.abs(rng.standard_normal((20, 8))))
    D[4] = unit_rows(D[[3]] + 0.02 * rng.standard_normal((1, 8)))
    D[7] = -np.eye(8)[0] if positive else D[3]
    encoder = Encoder(X, 3, positive, None)
    before = encoder.encode(D)
    after, n_replaced = replace_atoms(encoder.encode(D), encoder, positive)
    assert n_replaced >= 1
    fresh = encoder.with_residuals(after.D, after.support, after.codes)
    assert fresh.objective < before.objective
    assert_allclose(after.R, fresh.R, atol=1e-12)
    assert_allclose(after.errors, fresh.errors, atol=1e-12)
    assert not positive or (after.codes >= 0).all()
    for row in after.support:
        held = row[row >= 0]
        assert len(set(held)) == len(held)


@pytest.mark.parametrize("splits", [False, True])
def test_swaps_move_an_atom_to_where_one_is_missed(splits, rng):
    X, D = planted(0, snr=np.inf)
    start = D.copy()
    if splits:
        start[1] = unit_rows(D[[1]] + 0.8 * D[[2]])  # one for two
        start[2] = unit_rows(D[[0]] + 0.2 * rng.standard_normal((1, 20)))  # two for one
    else:
        start[2] = unit_rows(rng.standard_normal((1, 20)))  # one for none
    encoder = Encoder(X, 3, False, None)
    coding = encoder.encode(start)
    trial = propose_swap(coding, encoder, (0, 0), splits=splits, positive_dict=False)
    gone = np.flatnonzero((start != trial.D).any(axis=1))
    assert set(gone) == ({0, 1} if splits else {2}) or set(gone) == {1, 2}
    assert encoder.encode(trial.D).objective < coding.objective
    assert_array_equal(coding.D, start)
