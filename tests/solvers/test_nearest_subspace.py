import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import multivariate_normal

from sklearn_whitebox.solvers import class_moments
from sklearn_whitebox.solvers._left_out_subspaces import LeftOutSubspaces
from sklearn_whitebox.solvers._nearest_subspace import (
    class_directions,
    class_variances,
    energy_ranks,
    squared_residuals,
)


def low_rank(rng, size, rank, n_features, noise=0.02, offset=0.0):
    X = rng.normal(size=(size, rank)) @ rng.normal(size=(rank, n_features))
    return X + noise * rng.normal(size=X.shape) + offset


@pytest.mark.parametrize("shape", [(30, 8), (5, 8), (8, 8)])
def test_directions_are_those_of_the_singular_value_decomposition(rng, shape):
    X = rng.normal(size=shape)
    squares, directions = class_directions(class_moments(X))
    _, values, expected = np.linalg.svd(X, full_matrices=False)
    assert_allclose(squares, values**2, rtol=1e-9)
    assert_allclose(np.abs(directions @ expected.T), np.eye(min(shape)), atol=1e-9)


def test_directions_of_weak_energy_are_orthonormal(rng):
    X = rng.normal(size=(6, 9)) * 10.0 ** -np.arange(9)
    _, directions = class_directions(class_moments(X))
    assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=1e-12)
    squares, none = class_directions(class_moments(X), limit=0)
    assert len(squares) == len(directions)
    assert none.shape == (0, 9)


def test_energy_ranks_hold_their_share():
    spectra = [np.array([6.0, 3.0, 1.0]), np.array([1.0]), np.empty(0)]
    assert energy_ranks(spectra, 0.6).tolist() == [1, 1, 0]
    assert energy_ranks(spectra, 0.61).tolist() == [2, 1, 0]
    assert energy_ranks(spectra, 1.0).tolist() == [3, 1, 0]


@pytest.mark.parametrize("code_mean", [False, True])
def test_residuals_are_distances_to_projections(rng, dtype, code_mean):
    X = low_rank(rng, 50, 3, 7, offset=1.0).astype(dtype)
    moments = [class_moments(X[k::3], code_mean=code_mean) for k in range(3)]
    means = np.stack([mean for _, mean, _ in moments])
    bases = [
        class_directions(m, limit=k)[1].astype(dtype) for k, m in enumerate(moments)
    ]
    variances = [np.arange(1.0, k + 1) for k in range(3)]
    found, inside = squared_residuals(X, means, bases, variances)
    for k in range(3):
        gaps = X.astype(np.float64) - means[k]
        basis = bases[k].astype(np.float64)
        coordinates = gaps @ basis.T
        expected = ((gaps - coordinates @ basis) ** 2).sum(axis=1)
        tolerance = {"rtol": 2e-3 if dtype == np.float32 else 1e-8, "atol": 1e-10}
        assert_allclose(found[:, k], expected, **tolerance)
        assert_allclose(inside[:, k], (coordinates**2 / variances[k]).sum(1), rtol=1e-3)


def test_tiny_residuals_keep_their_digits(rng):
    basis = np.eye(6)[:2]
    X = np.hstack([rng.normal(size=(20, 2)), 1e-9 * rng.normal(size=(20, 4))])
    found, _ = squared_residuals(X, np.zeros((1, 6)), [basis], None)
    assert_allclose(found[:, 0], (X[:, 2:] ** 2).sum(axis=1), rtol=1e-9)


@pytest.mark.parametrize("shape", [(25, 9), (9, 25), (12, 12), (60, 2)])
@pytest.mark.parametrize("code_mean", [False, True])
def test_residuals_without_a_sample_are_those_of_refitting(rng, code_mean, shape):
    X = rng.normal(size=shape) * rng.uniform(0.1, 3, size=shape[1]) + 1
    form = {"code_mean": code_mean}
    target, weights = np.zeros(len(X), int), np.ones(len(X))
    judge = LeftOutSubspaces(X, target, weights, [class_moments(X, **form)], **form)
    # Without a sample the class has a rank less.
    most = min(len(X) - 1 - code_mean, shape[1])
    for rank in {0, 1, most // 2, most}:
        expected = np.empty(len(X))
        for i in range(len(X)):
            rest = class_moments(np.delete(X, i, axis=0), **form)
            basis = class_directions(rest, limit=rank)[1]
            row, mean = X[i : i + 1], rest[1][None]
            expected[i] = squared_residuals(row, mean, [basis], None)[0].item()
        found = judge.residuals(np.array([rank]))[:, 0]
        assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["repeated", "sparse", "weak", "equal"])
def test_special_spectra_are_followed_without_a_sample(rng, kind):
    X = {
        "repeated": np.repeat(rng.normal(size=(6, 5)), 2, axis=0),
        "sparse": (rng.normal(size=(15, 6)) * (rng.uniform(size=(15, 6)) < 0.3)),
        "weak": rng.normal(size=(12, 5)) * 10.0 ** -np.arange(5),
        "equal": np.vstack([np.eye(5), -np.eye(5), np.eye(5)[:2]]),
    }[kind]
    target, weights = np.zeros(len(X), int), np.ones(len(X))
    judge = LeftOutSubspaces(X, target, weights, [class_moments(X)], code_mean=False)
    found = judge.residuals(np.array([5]))[:, 0]
    for i in range(len(X)):
        basis = class_directions(class_moments(np.delete(X, i, axis=0)), limit=5)[1]
        expected = squared_residuals(
            X[i : i + 1], np.zeros((1, X.shape[1])), [basis], None
        )
        assert_allclose(found[i], expected[0].item(), rtol=1e-6, atol=1e-8)


def test_directions_beyond_those_asked_for_count_as_one(rng):
    X = rng.normal(size=(60, 50)) * np.linspace(3, 0.1, 50)
    moments, target, weights = [class_moments(X)], np.zeros(60, int), np.ones(60)
    form = {"code_mean": False}
    exact = LeftOutSubspaces(X, target, weights, moments, max_rank=40, **form)
    short = LeftOutSubspaces(X, target, weights, moments, max_rank=8, **form)
    for rank in (3, 8):
        assert_allclose(
            short.residuals(np.array([rank])),
            exact.residuals(np.array([rank])),
            rtol=0.01,
        )


def test_a_direction_that_only_one_sample_has_goes_with_it():
    X = np.repeat(np.eye(4), [5, 5, 5, 1], axis=0)
    judge = LeftOutSubspaces(
        X, np.zeros(16, int), np.ones(16), [class_moments(X)], code_mean=False
    )
    found = judge.residuals(np.array([4]))
    assert_allclose(found[:, 0], [0] * 15 + [1], atol=1e-9)


def test_other_classes_do_not_change_without_the_sample(rng):
    X, target = rng.normal(size=(20, 6)), np.repeat([0, 1], 10)
    moments = [class_moments(X[target == k]) for k in (0, 1)]
    judge = LeftOutSubspaces(X, target, np.ones(20), moments, code_mean=False)
    found = judge.residuals(np.array([2, 3]))
    bases = [
        class_directions(m, limit=r)[1] for m, r in zip(moments, (2, 3), strict=True)
    ]
    whole, _ = squared_residuals(X, np.zeros((2, 6)), bases, None)
    assert_allclose(found[target == 0, 1], whole[target == 0, 1])
    assert (found[target == 1, 1] > whole[target == 1, 1]).all()


def test_weights_count_copies_of_samples(rng):
    X, weights = rng.normal(size=(12, 5)), rng.integers(1, 4, 12)
    target = np.repeat([0, 1], 6)
    copies = np.repeat(np.arange(12), weights)

    def judge(rows, weight):
        moments = [
            class_moments(X[rows][target[rows] == k], weight[target[rows] == k])
            for k in (0, 1)
        ]
        found = LeftOutSubspaces(
            X[rows], target[rows], weight, moments, code_mean=False
        )
        return found.lengths(np.array([2, 2]), coordinates=True)[0]

    once = judge(np.arange(12), weights.astype(float))
    assert_allclose(judge(copies, np.ones(len(copies))), once[copies], rtol=1e-6)


@pytest.mark.parametrize("code_mean", [False, True])
def test_lengths_are_those_of_gaussians(rng, code_mean):
    X, n_samples = low_rank(rng, 4000, 2, 5, noise=0.3, offset=0.5), 4000
    target = np.arange(n_samples) % 2
    X[target == 1] = X[target == 1] @ np.diag([1, 2, 1, 0.5, 1])
    form = {"code_mean": code_mean}
    moments = [class_moments(X[target == k], **form) for k in (0, 1)]
    judge = LeftOutSubspaces(X, target, np.ones(n_samples), moments, **form)
    ranks = np.array([2, 3])
    lengths, noise = judge.lengths(ranks, coordinates=True)
    densities = np.empty(lengths.shape)
    for k in (0, 1):
        squares, directions = class_directions(moments[k])
        variances = np.full(5, noise)
        variances[: ranks[k]] = class_variances(squares, ranks[k], 2000.0, noise)
        covariance = directions.T @ (variances[:, None] * directions)
        densities[:, k] = multivariate_normal.logpdf(X, moments[k][1], covariance)
    # One sample in two thousand hardly matters.
    shift = (lengths + densities)[0, 0]
    assert_allclose(lengths, shift - densities, rtol=0.02, atol=0.02)


def test_chosen_ranks_are_those_of_the_classes(rng):
    X = np.vstack([low_rank(rng, 150, rank, 20) for rank in (4, 4, 4)])
    target = np.repeat([0, 1, 2], 150)
    moments = [class_moments(X[target == k]) for k in range(3)]
    judge = LeftOutSubspaces(X, target, np.ones(450), moments, code_mean=False)
    ranks, path = judge.choose_ranks()
    assert (ranks <= 4).all()
    assert path["accuracy"].max() == 1
    assert path["ranks"].shape == (len(path["accuracy"]), 3)
    assert (path["ranks"] < 20).all()


def test_temperature_has_the_largest_likelihood(rng):
    X = rng.normal(size=(60, 6)) + np.repeat(np.eye(3, 6), 20, axis=0)
    target = np.repeat([0, 1, 2], 20)
    weights = rng.uniform(0.5, 2, 60)
    moments = [class_moments(X[target == k], weights[target == k]) for k in range(3)]
    judge = LeftOutSubspaces(X, target, weights, moments, code_mean=False)
    lengths, _ = judge.lengths(np.array([2, 2, 2]))
    log_prior = np.log([0.5, 0.3, 0.2])
    found = judge.temperature(lengths, log_prior)
    doubt = 1 / (weights.sum() + 3)
    aims = doubt / 3 + (1 - doubt) * np.eye(3)[target]

    def loss(exponent):
        scores = log_softmax(log_prior - lengths / np.exp(exponent), axis=1)
        return -(weights[:, None] * aims * scores).sum()

    best = minimize_scalar(loss, bounds=(-5, 8), method="bounded")
    assert found == pytest.approx(np.exp(best.x), rel=1e-3)


def test_samples_that_are_a_whole_class_do_not_judge(rng):
    X, target = rng.normal(size=(5, 4)), np.array([0, 0, 0, 0, 1])
    moments = [class_moments(X[target == k]) for k in (0, 1)]
    judge = LeftOutSubspaces(X, target, np.ones(5), moments, code_mean=False)
    assert_array_equal(judge.target, [0, 0, 0, 0])
    nobody = LeftOutSubspaces(X[4:], target[4:], np.ones(1), moments, code_mean=False)
    ranks, path = nobody.choose_ranks()
    assert ranks.tolist() == [1, 1]
    assert path == {}
    lengths, noise = nobody.lengths(ranks)
    assert noise > 0
    assert nobody.temperature(lengths, np.log([0.5, 0.5])) == 1
