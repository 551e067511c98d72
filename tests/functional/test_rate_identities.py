"""Identities and bounds of rates that are not tied to a single function."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from sklearn_whitebox.functional import (
    coding_rate,
    conditional_coding_rate,
    inverse_identity_plus_gram,
    logdet_identity_plus_gram,
    project_sphere,
    rate_reduction,
    rate_reduction_gradient,
    subspace_coding_rate,
)

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(-3, 3), SEEDS)
def test_determinants_agree_on_both_sides_of_the_gram(n, d, exponent, seed):
    Z = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, d)))
    scale = 10**exponent
    slow = np.linalg.slogdet(np.eye(d) + scale * Z.numpy().T @ Z.numpy())[1]
    for side in (Z, Z.mT):
        value = float(logdet_identity_plus_gram(side, scale))
        assert value == pytest.approx(slow, rel=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), SEEDS)
def test_rates_are_invariant_to_rotation_order_and_repetition(n, d, seed):
    rng = np.random.default_rng(seed)
    Z, y = rng.normal(size=(n, d)), rng.integers(0, 3, n)
    rotated = Z @ ortho_group.rvs(d, random_state=rng)
    mixed = ortho_group.rvs(n, random_state=rng) @ Z
    order = rng.permutation(n)
    rate, reduction = coding_rate(Z), rate_reduction(Z, y)
    assert coding_rate(rotated) == pytest.approx(rate, rel=1e-9)
    assert coding_rate(mixed) == pytest.approx(rate, rel=1e-9)
    close = {"rel": 1e-9, "abs": 1e-9}
    assert rate_reduction(rotated, y) == pytest.approx(reduction, **close)
    assert rate_reduction(Z[order], y[order]) == pytest.approx(reduction, **close)
    twice = rate_reduction(np.vstack([Z, Z]), np.concatenate([y, y]))
    assert twice == pytest.approx(reduction, **close)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 5), SEEDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rate_reduction_of_hard_labels_is_never_negative(dtype, n, d, k, seed):
    rng = np.random.default_rng(seed)
    Z = (rng.normal(size=(n, d)) * 10 ** rng.uniform(-2, 2)).astype(dtype)
    y = rng.integers(0, k, n)
    tolerance = 1e-10 if dtype == np.float64 else 1e-4
    assert rate_reduction(Z, y) >= -tolerance * max(1.0, coding_rate(Z))


def test_rate_reduction_is_zero_only_for_equal_second_moments(rng):
    Z = rng.normal(size=(20, 5))
    y = np.repeat([0, 1], [20, 40])
    rotation = ortho_group.rvs(20, random_state=0)
    # The same second moment from other rows, and from twice as many.
    equal = np.vstack([Z, rotation @ Z, Z])
    assert rate_reduction(equal, y) == pytest.approx(0, abs=1e-12)
    for change in (1e-2, 1e-1, 1.0):
        different = equal.copy()
        different[0, 0] += change
        assert rate_reduction(different, y) > 1e-9


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 25), st.integers(1, 8), SEEDS)
def test_conditional_rate_is_concave_along_every_segment(n, d, seed):
    rng = np.random.default_rng(seed)
    Z, share = rng.normal(size=(n, d)), rng.uniform()
    first, second = rng.dirichlet(np.full(3, 0.3), (2, n))
    middle = conditional_coding_rate(Z, share * first + (1 - share) * second)
    ends = [conditional_coding_rate(Z, weights) for weights in (first, second)]
    assert middle >= share * ends[0] + (1 - share) * ends[1] - 1e-9


def test_orthogonal_classes_share_the_scale_of_the_whole(rng):
    sizes, dims = [10, 15, 7], [3, 4, 2]
    Z, starts = np.zeros((32, 9)), np.cumsum([0, *dims])
    y = np.repeat([0, 1, 2], sizes)
    for k in range(3):
        block = rng.normal(size=(sizes[k], dims[k]))
        Z[np.ix_(y == k, range(starts[k], starts[k + 1]))] = block
    scale = 9 / (32 * 0.5)
    parts = [
        logdet_identity_plus_gram(torch.from_numpy(Z[y == k]), scale) for k in range(3)
    ]
    assert coding_rate(Z) == pytest.approx(float(sum(parts)) / 2, rel=1e-12)


def test_bound_by_rank_is_attained_by_equal_eigenvalues_only(rng):
    axes = ortho_group.rvs(8, random_state=0)[:4]
    bound = 4 / 2 * math.log1p(8 / (4 * 0.25))
    assert coding_rate(np.repeat(axes, 5, axis=0), distortion=0.25) == pytest.approx(
        bound, rel=1e-12
    )
    uneven = np.repeat(axes, [4, 5, 5, 6], axis=0)
    assert coding_rate(uneven, distortion=0.25) < bound - 1e-4
    random = project_sphere(rng.normal(size=(300, 4)) @ axes)
    assert coding_rate(random, distortion=0.25) < bound


def test_rates_vanish_at_coarse_distortion_and_without_scale(rng):
    Z, y = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    for distortion in (1e4, 1e8):
        linear = 4 / (2 * 30 * distortion) * (Z**2).sum()
        assert coding_rate(Z, distortion=distortion) == pytest.approx(linear, rel=1e-2)
        conditional = conditional_coding_rate(Z, y, distortion=distortion)
        assert 0 <= conditional == pytest.approx(linear, rel=1e-2)
    assert conditional_coding_rate(1e-8 * Z, y) < 1e-14


def test_rate_reduction_grows_with_scale_to_a_limit(rng):
    Z, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    values = [rate_reduction(s * Z, y) for s in (0.1, 0.3, 1, 3, 10, 100, 1000)]
    assert values == sorted(values)
    assert values[-1] - values[-2] < 1e-3


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.floats(-3, 3), SEEDS)
def test_adding_a_scatter_never_adds_more_than_its_trace(n, d, exponent, seed):
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(n, d)), 10**exponent * rng.normal(size=(n, d))
    both = logdet_identity_plus_gram(torch.from_numpy(np.vstack([A, B])), 1.0)
    gain = float(both - logdet_identity_plus_gram(torch.from_numpy(A), 1.0))
    assert -1e-12 <= gain <= (B**2).sum() + 1e-9


@pytest.mark.parametrize("n_features", [1, 5, 12])
def test_rate_against_a_complete_basis_is_the_coding_rate(rng, n_features):
    Z = rng.normal(size=(9, n_features))
    basis = np.ones((1, 1))
    if n_features > 1:
        basis = ortho_group.rvs(n_features, random_state=1)
    assert subspace_coding_rate(Z, basis[None]) == pytest.approx(coding_rate(Z))


def test_gradient_is_a_ridge_regression_on_the_other_rows(rng):
    Z = torch.from_numpy(rng.normal(size=(40, 6)))
    alpha, z = 0.7, torch.from_numpy(rng.normal(size=6))
    expanded = alpha * inverse_identity_plus_gram(Z, alpha) @ z
    weights = torch.linalg.solve(
        alpha * Z @ Z.mT + torch.eye(40, dtype=Z.dtype), alpha * Z @ z
    )
    np.testing.assert_allclose(expanded, alpha * (z - Z.mT @ weights), atol=1e-12)


@pytest.mark.parametrize("shape", [(30, 7), (5, 9)])
def test_gradient_matches_central_differences(rng, shape):
    Z = rng.normal(size=shape)
    weights = rng.dirichlet(np.ones(3), shape[0])
    gradient = rate_reduction_gradient(Z, weights)
    numeric = np.empty(shape)
    for index in np.ndindex(*shape):
        step = np.zeros(shape)
        step[index] = 1e-5
        ends = [rate_reduction(Z + s * step, weights) for s in (1, -1)]
        numeric[index] = (ends[0] - ends[1]) / 2e-5
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)


def test_class_scales_times_shares_are_the_common_scale(rng):
    """The identity that lets all classes of a gradient share one factor."""
    Z, y = rng.normal(size=(30, 4)), np.repeat([0, 1, 2], [5, 10, 15])
    hard = rate_reduction_gradient(Z, y)
    soft = rate_reduction_gradient(Z, np.eye(3)[y])
    np.testing.assert_allclose(hard, soft, atol=1e-12)
