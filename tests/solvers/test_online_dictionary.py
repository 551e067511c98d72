from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.metrics import dictionary_recovery
from sklearn_whitebox.solvers import (
    DictionaryStatistics,
    lasso_encode,
    learn_dictionary_online,
    online_step,
    stream_step,
    update_dictionary,
)
from sklearn_whitebox.solvers._atoms import initial_atoms, order_atoms, unit_rows


def planted(seed, *, n_samples=1500):
    X, _, D = make_sparse_codes(n_samples, 20, 50, n_nonzero=3, random_state=seed)
    noise = np.random.default_rng(seed).standard_normal(X.shape)
    # A signal-to-noise ratio of 20 dB.
    return X + 0.1 * noise * np.linalg.norm(X) / np.linalg.norm(noise), D


def default_alpha(X):
    return 1.2 / np.sqrt(X.shape[1]) * np.sqrt(np.mean(np.sum(X**2, axis=1)))


def learn(X, n_components, seed=0, **options):
    generator = np.random.default_rng(seed)
    options = {"alpha": default_alpha(X), "max_iter": 200, **options}
    init = options.pop("init", None)
    if init is None:
        init = initial_atoms(X, n_components, generator)
    return learn_dictionary_online(X, init, generator=generator, **options)


def test_planted_atoms_are_detected():
    found = []
    for seed in range(5):
        X, D = planted(seed)
        components = learn(X, 50, seed).solution["components"]
        found.append(
            [
                dictionary_recovery(components, D, threshold=t).fraction_detected
                for t in (0.01, 0.05)
            ]
        )
    strict, loose = np.mean(found, axis=0)
    assert strict >= 0.88
    assert loose >= 0.93


def test_dictionary_update_never_raises_the_error(rng):
    X = rng.standard_normal((60, 10))
    D = initial_atoms(X, 15, rng)
    codes = lasso_encode(X, D, alpha=0.5).solution
    statistics = DictionaryStatistics.empty(D).add(codes, X)
    error = np.sum((X - codes @ D) ** 2)
    for _ in range(5):
        D = update_dictionary(D, statistics)
        assert (np.linalg.norm(D, axis=1) <= 1 + 1e-12).all()
        improved = np.sum((X - codes @ D) ** 2)
        assert improved <= error + 1e-10
        error = improved


def test_whole_data_as_one_batch_lowers_the_objective_every_time(rng):
    X, _ = planted(0, n_samples=300)
    D = initial_atoms(X, 30, rng)
    objectives = []
    for _ in range(10):
        # Without memory the step is exact alternating minimisation.
        D, _, _, objective = online_step(X, D, DictionaryStatistics.empty(D), alpha=1.0)
        objectives.append(objective.mean())
    assert (np.diff(objectives) <= 1e-3 * objectives[0] * 1e-3).all()


def test_statistics_fade_and_forget(rng):
    D = np.eye(4)
    codes, X = rng.standard_normal((6, 4)), rng.standard_normal((6, 4))
    first = DictionaryStatistics.empty(D).add(codes, X)
    np.testing.assert_allclose(first.gram, codes.T @ codes)
    np.testing.assert_allclose(first.cross, codes.T @ X)
    second = first.add(codes, X)
    assert second.n_steps == 2
    weight = second.gram[0, 0] / first.gram[0, 0]
    assert 1 < weight < 2
    forgotten = second.forget(np.array([1]))
    assert not forgotten.gram[1].any()
    assert not forgotten.gram[:, 1].any()
    assert not forgotten.cross[1].any()
    assert second.gram[1].any()


def test_duplicate_atoms_part():
    X, _ = planted(0)
    rng = np.random.default_rng(0)
    init = initial_atoms(X, 50, rng)
    init[1] = init[0]
    components = learn(X, 50, init=init).solution["components"]
    assert (np.abs(components @ components.T) - np.eye(50)).max() < 0.99


def test_dead_atoms_are_replaced():
    X, _ = planted(0)
    X[:, 0] = 0
    init = initial_atoms(X, 50, np.random.default_rng(0))
    init[3] = np.eye(20)[0]  # no sample reaches it
    assert learn(X, 50, init=init).solution["n_replaced"] >= 1


def test_more_atoms_than_samples_do_not_replace_for_ever(rng):
    X = rng.standard_normal((10, 5))
    result = learn(X, 30)
    assert result.converged
    assert np.isfinite(result.solution["components"]).all()


def test_result_does_not_depend_on_threads():
    X, _ = planted(0, n_samples=600)
    serial = learn(X, 40, batch_size=300)
    threaded = learn(X, 40, batch_size=300, n_jobs=2)
    np.testing.assert_array_equal(
        serial.solution["components"], threaded.solution["components"]
    )
    assert serial.objective == threaded.objective


def test_scaled_samples_give_the_same_atoms():
    X, _ = planted(0, n_samples=500)
    expected = learn(X, 30, max_iter=10).solution["components"]
    found = learn(100 * X, 30, max_iter=10).solution["components"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_codes_can_be_kept_positive(rng):
    X = np.abs(rng.standard_normal((200, 10)))
    result = learn(X, 20, positive_code=True)
    D = result.solution["components"]
    codes = lasso_encode(X, D, alpha=0.1, positive=True).solution
    assert (codes >= 0).all()
    assert result.objective[-1] < result.objective[0]


def test_stream_of_batches_learns():
    X, D = planted(0, n_samples=6000)
    components = initial_atoms(X[:200], 50, np.random.default_rng(0))
    statistics = DictionaryStatistics.empty(components)
    for start in range(0, len(X), 200):
        components, statistics, _, _ = stream_step(
            X[start : start + 200], components, statistics, alpha=default_alpha(X)
        )
    assert dictionary_recovery(components, D, threshold=0.05).fraction_detected > 0.8


def test_float32_stays(dtype):
    X, _ = planted(0, n_samples=300)
    solution = learn(X.astype(dtype), 20, max_iter=3).solution
    assert solution["components"].dtype == dtype
    assert solution["statistics"].gram.dtype == dtype


def test_initial_atoms_are_distinct_unit_rows(rng):
    X, _ = planted(0)
    atoms = initial_atoms(X, 50, rng)
    np.testing.assert_allclose(np.linalg.norm(atoms, axis=1), 1)
    assert (np.abs(atoms @ atoms.T) - np.eye(50)).max() < 0.9
    few = initial_atoms(X[:3], 50, rng)
    np.testing.assert_allclose(np.linalg.norm(few, axis=1), 1)


def test_order_and_sign_of_atoms_are_fixed(rng):
    D = rng.standard_normal((5, 3))
    energy = np.array([1.0, 5.0, 2.0, 4.0, 3.0])
    expected = order_atoms(D, energy)
    shuffle = rng.permutation(5)
    found = order_atoms(-2 * D[shuffle], energy[shuffle])
    np.testing.assert_allclose(found, expected)
    assert (expected.max(axis=1) == np.abs(expected).max(axis=1)).all()


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_smaller_tolerance_takes_more_epochs(tol):
    X, _ = planted(0, n_samples=500)
    loose, tight = (learn(X, 30, tol=t) for t in (tol, tol / 10))
    assert loose.converged
    assert loose.n_iter <= tight.n_iter


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=5), st.integers(0, 100))
def test_statistics_of_any_partition_add_up(cuts, seed):
    rng = np.random.default_rng(seed)
    codes = rng.standard_normal((60, 8)) * (rng.random((60, 8)) < 0.3)
    X = rng.standard_normal((60, 5))
    parts = DictionaryStatistics.empty(rng.standard_normal((8, 5)))
    for start, stop in pairwise([0, *sorted(cuts), 60]):
        part = DictionaryStatistics.of(codes[start:stop], X[start:stop])
        parts = parts.merge(part)
    np.testing.assert_allclose(parts.gram, codes.T @ codes, atol=1e-12)
    np.testing.assert_allclose(parts.cross, codes.T @ X, atol=1e-12)
    assert parts.n_steps == len(cuts) + 1
    assert parts.n_samples == 60


@pytest.mark.parametrize("positive", [False, True])
def test_blocks_of_atoms_descend_like_one_after_the_other(rng, positive):
    k, d = 70, 9
    codes = rng.standard_normal((200, k)) * (rng.random((200, k)) < 0.2)
    X = rng.standard_normal((200, d))
    D = unit_rows(rng.standard_normal((k, d)))
    statistics = DictionaryStatistics.of(codes, X)
    expected = D.copy()
    for j in range(k):
        pull = statistics.cross[j] - statistics.gram[j] @ expected
        atom = expected[j] + pull / statistics.gram[j, j]
        if positive:
            atom = np.maximum(atom, 0)
        expected[j] = atom / max(1, np.linalg.norm(atom))
    found = update_dictionary(D, statistics, positive=positive)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_batches_of_a_stream_are_one_epoch():
    X, _ = planted(0, n_samples=512)
    init = initial_atoms(X, 30, np.random.default_rng(0))
    alpha = default_alpha(X)
    # Too few samples for an atom to be replaced in a single epoch.
    order = np.random.default_rng(1).permutation(len(X))
    whole = learn_dictionary_online(
        X,
        init,
        alpha=alpha,
        batch_size=128,
        max_iter=1,
        generator=np.random.default_rng(1),
    ).solution["components"]
    D, statistics = init, DictionaryStatistics.empty(init)
    for start in range(0, len(X), 128):
        rows = order[start : start + 128]
        D, statistics, _, _ = online_step(X[rows], D, statistics, alpha=alpha)
    cosines = np.abs(unit_rows(D) @ whole.T).max(axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-12)


def test_atoms_can_be_kept_positive(rng):
    X = np.abs(rng.standard_normal((300, 10)))
    result = learn(X, 15, positive_code=True, positive_dict=True)
    assert (result.solution["components"] >= 0).all()
    assert result.objective[-1] < result.objective[0]


def test_unsorted_sparse_codes_are_summed_right():
    codes = sparse.csr_array(
        (np.array([1.0, 2.0, 3.0, 1.0]), np.array([2, 0, 1, 2]), np.array([0, 4])),
        shape=(1, 3),
    )
    dense = np.array([[2.0, 3.0, 2.0]])
    statistics = DictionaryStatistics.of(codes, np.ones((1, 2)))
    np.testing.assert_allclose(statistics.gram, dense.T @ dense)
    np.testing.assert_allclose(statistics.cross, dense.T @ np.ones((1, 2)))
    whole = DictionaryStatistics.of(dense / 4, np.ones((1, 2), dtype=int))
    np.testing.assert_allclose(whole.gram, dense.T @ dense / 16)


def test_new_atoms_of_a_stream_wait_for_their_samples(rng):
    X = rng.standard_normal((40, 5))
    D = np.vstack([np.eye(5), np.full((1, 5), -1.0)])
    D, statistics = unit_rows(D), DictionaryStatistics.empty(D)
    n_replaced = []
    for _ in range(3):
        D, statistics, _, fresh = stream_step(
            np.abs(X), D, statistics, alpha=1.0, positive_code=True
        )
        n_replaced.append(fresh)
    assert n_replaced[0] == 0  # 40 samples are fewer than ten for each of six atoms
    assert sum(n_replaced) >= 1
