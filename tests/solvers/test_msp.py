import numpy as np
import pytest
from sklearn.decomposition import FastICA

from sklearn_whitebox.datasets import make_sparse_codes
from sklearn_whitebox.metrics import dictionary_recovery
from sklearn_whitebox.solvers import (
    haar_orthogonal,
    learn_complete_dictionary,
    maximize_sparsity,
)
from sklearn_whitebox.solvers._contrast import untangled
from sklearn_whitebox.solvers._rotations import polar_factor


def planted(n_features, n_samples, density, *, noise=0.0, seed=0):
    X, _, D = make_sparse_codes(
        n_samples,
        n_features,
        density=density,
        noise=noise,
        orthogonal=True,
        random_state=seed,
    )
    return X, D


def start(n_features, seed=0):
    return haar_orthogonal(n_features, np.random.default_rng(seed))


def test_haar_matrices_are_orthogonal_and_uniform():
    generator = np.random.default_rng(0)
    draws = np.array([haar_orthogonal(3, generator) for _ in range(2000)])
    np.testing.assert_allclose(
        draws @ draws.transpose(0, 2, 1) - np.eye(3), 0, atol=1e-12
    )
    # A plain QR factor has entries of one sign on its diagonal.
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose((draws**2).mean(axis=0), 1 / 3, atol=0.03)


@pytest.mark.parametrize("power", [3, 4])
def test_objective_never_falls_and_atoms_stay_orthogonal(power):
    X, _ = planted(15, 2000, 0.3)
    iterates = []
    for n_iter in range(1, 12):
        result = maximize_sparsity(X, power=power, max_iter=n_iter, tol=0)
        iterates.append(result.solution)
        assert (np.diff(result.objective) >= 0).all()
    for A in iterates:
        np.testing.assert_allclose(A @ A.T, np.eye(15), atol=1e-10)


@pytest.mark.parametrize("power", [3, 4])
def test_rotated_samples_give_rotated_atoms(power):
    X, _ = planted(8, 1000, 0.2)
    Q, init = start(8, 1), start(8, 2)
    A = maximize_sparsity(X, power=power, init=init, tol=1e-8).solution
    rotated = maximize_sparsity(X @ Q, power=power, init=init @ Q, tol=1e-8).solution
    np.testing.assert_allclose(rotated, A @ Q, atol=1e-8)


def test_deep_linear_network_form_gives_the_same_atoms():
    X, _ = planted(10, 2000, 0.2)
    A = start(10)
    result = maximize_sparsity(X, power=4, init=A, max_iter=10, tol=0)
    Z = X @ A.T
    for _ in range(10):
        U, _, Vt = np.linalg.svd((Z**3).T @ Z)
        layer = U @ Vt
        A, Z = layer @ A, Z @ layer.T
    np.testing.assert_allclose(result.solution, A, atol=1e-10)


@pytest.mark.parametrize("n_features", [25, 50])
def test_plain_maximisation_reaches_the_published_accuracy(n_features):
    X, D = planted(n_features, 400 * n_features, 0.3)
    errors = {}
    for power in (3, 4):
        result = maximize_sparsity(X, power=power, tol=1e-6)
        assert result.converged
        errors[power] = dictionary_recovery(result.solution, D).rotation_error
    assert errors[4] < 0.006
    assert errors[3] < errors[4] / 2


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize(
    ("n_features", "n_samples", "density"),
    [(10, 2000, 0.1), (25, 10_000, 0.3), (50, 2000, 0.1), (50, 500, 0.1)],
)
def test_refinement_recovers_exactly_without_noise(
    n_features, n_samples, density, whiten
):
    X, D = planted(n_features, n_samples, density)
    found = learn_complete_dictionary(X, whiten=whiten, tol=1e-4).solution
    assert 1 - dictionary_recovery(found["components"], D).min_cosine < 1e-8


@pytest.mark.parametrize("density", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("oblique", [False, True])
def test_twenty_samples_per_atom_are_enough_without_noise(density, oblique):
    X, _, D = make_sparse_codes(
        1000, 50, density=density, orthogonal=not oblique, random_state=0
    )
    result = learn_complete_dictionary(X, tol=1e-3)
    found = result.solution
    assert result.converged
    assert 1 - dictionary_recovery(found["components"], D).min_cosine < 1e-8
    assert found["is_refined"]
    assert found["is_exact"]
    assert found["density"] == pytest.approx(density, abs=0.01)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("density", [0.1, 0.5])
def test_atoms_are_closer_and_more_often_found_than_by_independent_components(
    density, noise
):
    X, D = planted(25, 500, density, noise=noise)
    ica = FastICA(whiten="unit-variance", random_state=0).fit(X).mixing_.T
    ica /= np.linalg.norm(ica, axis=1, keepdims=True)
    peer = dictionary_recovery(ica, D)
    found = learn_complete_dictionary(X, tol=1e-3).solution["components"]
    ours = dictionary_recovery(found, D)
    assert ours.rotation_error < 0.5 * peer.rotation_error
    assert ours.fraction_detected == 1 > peer.fraction_detected


def test_weak_directions_without_noise_are_not_taken_for_noise():
    rng = np.random.default_rng(0)
    U, _, Vt = np.linalg.svd(rng.standard_normal((15, 15)))
    D = U * np.geomspace(1000, 1, 15) @ Vt
    codes = np.where(rng.random((3000, 15)) < 0.2, rng.standard_normal((3000, 15)), 0)
    solution = learn_complete_dictionary(codes @ D).solution
    assert solution["condition"] > 1e5
    assert 1 - dictionary_recovery(solution["components"], D).min_cosine < 1e-8


def test_noise_that_grows_in_linear_codes_is_met_by_sparse_ones():
    X, _, D = make_sparse_codes(2500, 25, density=0.1, noise=0.1, random_state=1)
    plain, refined = (
        learn_complete_dictionary(X, refine=refine, tol=1e-3).solution["components"]
        for refine in (False, True)
    )
    assert dictionary_recovery(plain, D).fraction_detected < 0.9
    assert dictionary_recovery(refined, D).fraction_detected == 1


def test_pairs_of_sums_and_differences_are_told_apart():
    X, D = planted(10, 4000, 0.2)
    saddle = D.copy()
    saddle[:2] = np.array([[1, 1], [1, -1]]) @ D[:2] / np.sqrt(2)
    turned = untangled(X.astype(np.float32), saddle.astype(np.float32))
    np.testing.assert_allclose(np.abs(turned @ D.T), np.eye(10), atol=1e-6)
    assert untangled(X.astype(np.float32), D.astype(np.float32)) is None


def test_the_best_of_several_starts_is_kept():
    X, _ = planted(12, 300, 0.5)
    curves = [
        learn_complete_dictionary(X, n_init=n_init, refine=False).objective
        for n_init in (1, 4)
    ]
    assert curves[1][-1] >= curves[0][-1]


@pytest.mark.parametrize("cond", [1.0, 1e3, 1e9])
def test_polar_factor_is_that_of_the_singular_value_decomposition(cond):
    rng = np.random.default_rng(0)
    U, V = haar_orthogonal(8, rng), haar_orthogonal(8, rng)
    factor = polar_factor(U * np.geomspace(cond, 1, 8) @ V)
    np.testing.assert_allclose(factor, U @ V, atol=1e-6)
    np.testing.assert_allclose(factor @ factor.T, np.eye(8), atol=1e-12)


def test_polar_factor_of_a_singular_matrix_is_orthogonal():
    factor = polar_factor(np.outer(np.arange(4.0), np.ones(4)))
    np.testing.assert_allclose(factor @ factor.T, np.eye(4), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_degenerate_features_neither_fail_nor_give_nan(dtype, scale):
    X, _ = planted(8, 1000, 0.2)
    X = np.hstack([X, X[:, :2], np.zeros((1000, 1)), np.full((1000, 1), 0.0)])
    X = (scale * X).astype(dtype)
    for whiten in ("auto", True, False):
        solution = learn_complete_dictionary(X, whiten=whiten, tol=1e-3).solution
        assert solution["rank"] == 8
        assert solution["components"].shape == (8, 12)
        assert np.isfinite(solution["components"]).all()
        assert solution["components"].dtype == dtype


@pytest.mark.parametrize("n_features", [1, 2])
def test_one_or_two_features_work(n_features):
    X = np.random.default_rng(0).standard_normal((50, n_features))
    components = learn_complete_dictionary(X).solution["components"]
    np.testing.assert_allclose(np.linalg.norm(components, axis=1), 1)


def test_noise_is_told_from_exact_codes():
    X, _ = planted(15, 3000, 0.2, noise=0.05)
    solution = learn_complete_dictionary(X, tol=1e-3).solution
    assert solution["is_refined"]
    assert not solution["is_exact"]
    assert solution["density"] == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(
    ("noise", "cosine"), [(0.1, 0.9998), (0.3, 0.9980), (0.5, 0.990)]
)
def test_refinement_does_not_lose_under_noise(noise, cosine):
    X, D = planted(25, 10_000, 0.3, noise=noise)
    plain, refined = (
        dictionary_recovery(
            learn_complete_dictionary(X, whiten=False, refine=refine).solution[
                "components"
            ],
            D,
        ).min_cosine
        for refine in (False, True)
    )
    assert refined > cosine
    # With that much noise, thresholds and norms do equally well.
    assert refined >= plain - 1e-4


@pytest.mark.parametrize("seed", range(3))
def test_oblique_dictionary_is_recovered_by_preconditioning(seed):
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((20, 20))
    U, _, Vt = np.linalg.svd(D)
    D = U * np.geomspace(77, 1, 20) @ Vt
    X = (
        np.where(rng.random((20_000, 20)) < 0.2, rng.standard_normal((20_000, 20)), 0)
        @ D
    )
    plain = learn_complete_dictionary(X, refine=False).solution["components"]
    assert dictionary_recovery(plain, D).min_cosine > 0.99
    found = learn_complete_dictionary(X).solution["components"]
    assert 1 - dictionary_recovery(found, D).min_cosine < 1e-8


def test_samples_of_low_rank_get_as_many_atoms_as_the_rank():
    X, _, D = make_sparse_codes(
        3000, 12, 5, density=0.2, orthogonal=True, random_state=0
    )
    solution = learn_complete_dictionary(X).solution
    assert solution["rank"] == 5
    assert solution["components"].shape == (5, 12)
    assert 1 - dictionary_recovery(solution["components"], D).min_cosine < 1e-8


def test_fewer_atoms_span_the_leading_directions():
    X, _ = planted(12, 3000, 0.2)
    X = X * np.r_[np.full(4, 10.0), np.full(8, 0.1)]
    components = learn_complete_dictionary(X, 4).solution["components"]
    assert components.shape == (4, 12)
    assert np.linalg.norm(components[:, 4:]) < 0.05


def test_fewer_samples_than_features_work():
    X, _ = planted(30, 12, 0.3)
    solution = learn_complete_dictionary(X).solution
    assert solution["components"].shape == (12, 30)
    assert np.isfinite(solution["components"]).all()


def test_kurtosis_finds_sources_that_are_not_sparse():
    rng = np.random.default_rng(0)
    D = rng.standard_normal((20, 20))
    X = rng.uniform(-1, 1, size=(20_000, 20)) @ D
    settings = {"refine": False, "max_iter": 100}
    sparse = learn_complete_dictionary(X, objective="lp", **settings)
    both = learn_complete_dictionary(X, objective="kurtosis", **settings)
    assert not sparse.converged
    assert dictionary_recovery(sparse.solution["components"], D).min_cosine < 0.9
    assert both.converged
    assert both.n_iter < 30
    assert dictionary_recovery(both.solution["components"], D).min_cosine > 0.999
    assert both.solution["excess_kurtosis"] == pytest.approx(-1.2, abs=0.05)


@pytest.mark.parametrize("seed", range(3))
def test_flat_sources_profit_from_more_starts_and_survive_refinement(seed):
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((30, 30))
    X = rng.uniform(-1, 1, size=(3000, 30)) @ D
    results = [
        learn_complete_dictionary(
            X,
            objective="kurtosis",
            whiten=True,
            n_init=n_init,
            max_iter=60,
            tol=1e-3,
            generator=np.random.default_rng(seed),
        )
        for n_init in (1, 8)
    ]
    one, many = (
        dictionary_recovery(r.solution["components"], D).mean_cosine for r in results
    )
    assert results[1].objective[-1] >= results[0].objective[-1] > 0
    assert many >= one - 1e-4
    assert many > 0.99


def test_excess_kurtosis_tells_gaussian_from_sparse_samples():
    rng = np.random.default_rng(0)
    gaussian = learn_complete_dictionary(rng.standard_normal((20_000, 10))).solution
    assert gaussian["excess_kurtosis"] < 0.1
    X, _ = planted(10, 20_000, 0.2)
    sparse = learn_complete_dictionary(X).solution
    assert sparse["excess_kurtosis"] == pytest.approx(3 / 0.2 - 3, abs=0.8)


def test_float32_stays_and_recovers():
    X, D = planted(20, 5000, 0.2)
    components = learn_complete_dictionary(X.astype(np.float32)).solution["components"]
    assert components.dtype == np.float32
    assert dictionary_recovery(components, D).min_cosine > 0.9999


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_atoms_do_not_depend_on_the_scale_of_the_samples(scale):
    X, _ = planted(10, 2000, 0.2)
    expected = learn_complete_dictionary(X).solution["components"]
    found = learn_complete_dictionary(scale * X).solution["components"]
    np.testing.assert_allclose(np.abs(found @ expected.T), np.eye(10), atol=1e-7)


def test_zero_samples_give_finite_atoms():
    components = learn_complete_dictionary(np.zeros((5, 3))).solution["components"]
    assert np.isfinite(components).all()


def test_start_is_used_and_checked():
    X, D = planted(10, 2000, 0.2)
    informed = learn_complete_dictionary(X, init=D, whiten=False)
    assert informed.n_iter < learn_complete_dictionary(X, whiten=False).n_iter
    with pytest.raises(ValueError, match="init has shape"):
        learn_complete_dictionary(X, init=np.eye(3))
    with pytest.raises(ValueError, match="power=5"):
        maximize_sparsity(X, power=5)
    with pytest.raises(ValueError, match="objective='l0'"):
        learn_complete_dictionary(X, objective="l0")
    with pytest.raises(ValueError, match="max_iter=0"):
        learn_complete_dictionary(X, max_iter=0)


def test_callback_stops_the_loop():
    X, _ = planted(10, 1000, 0.2)
    result = maximize_sparsity(X, callback=lambda iteration, _: iteration == 2)
    assert result.n_iter == 3
    assert not result.converged


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize("objective", ["huber", "lp", "kurtosis"])
def test_callback_that_returns_true_stops_the_whole_fit(objective, weak):
    X, _ = planted(10, 3000, 0.2)
    if weak:
        X = X * np.geomspace(1, 1e-3, 10)
    for last in (0, 7, 30):
        seen = []

        def callback(iteration, _, seen=seen, last=last):
            seen.append(iteration)
            return iteration == last

        result = learn_complete_dictionary(
            X, objective=objective, n_init=4, callback=callback, tol=1e-12
        )
        assert seen == list(range(last + 1))
        assert not result.converged
        assert not result.solution["is_refined"]
        assert np.isfinite(result.solution["components"]).all()


@pytest.mark.parametrize("max_iter", [1, 2, 7])
@pytest.mark.parametrize("objective", ["huber", "lp", "kurtosis"])
def test_callback_is_called_at_most_as_often_as_announced(objective, max_iter):
    X, _ = planted(10, 3000, 0.5, noise=0.2)
    for scale in (1.0, np.geomspace(1, 1e-3, 10)):
        seen = []
        learn_complete_dictionary(
            X * scale,
            objective=objective,
            n_init=3,
            max_iter=max_iter,
            callback=lambda iteration, _, seen=seen: seen.append(iteration),
        )
        assert seen == list(range(len(seen)))
        assert 0 < len(seen) <= 3 * max_iter
