import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ortho_group

from sklearn_whitebox.functional import (
    max_feature_penalty,
    optimal_rank,
    optimal_ranks,
    optimal_rate_reduction,
    project_sphere,
    rate_reduction,
    rate_reduction_gradient,
    regularized_singular_values,
)


def orthogonal_classes(sizes, ranks, n_features, seed=0):
    """Orthogonal classes with an equal spectrum and mean squared norm one."""
    axes = ortho_group.rvs(n_features, random_state=seed)
    ends = np.cumsum(ranks)
    blocks = []
    for size, rank, end in zip(sizes, ranks, ends, strict=True):
        frame = np.eye(size, rank)
        if size > 1:
            frame = ortho_group.rvs(size, random_state=seed)[:, :rank]
        blocks.append(math.sqrt(size / rank) * frame @ axes[end - rank : end])
    return np.vstack(blocks), np.repeat(np.arange(len(sizes)), sizes)


def ascend(Z, y, *, distortion, steps, blocks=False):
    """Climb the rate reduction on the sphere, or with classes of fixed norm."""
    scale = Z.shape[1] / (len(Z) * distortion)
    for _ in range(steps):
        Z = Z + 0.5 / scale * rate_reduction_gradient(Z, y, distortion=distortion)
        if blocks:
            for k in np.unique(y):
                rows = y == k
                Z[rows] *= math.sqrt(rows.sum()) / np.linalg.norm(Z[rows])
        else:
            Z = project_sphere(Z)
    return Z


@pytest.mark.parametrize("ranks", [None, [4] * 3])
def test_optimal_rate_reduction_has_its_known_value(ranks):
    optimum = optimal_rate_reduction([200] * 3, 12, ranks, distortion=0.25)
    assert optimum == pytest.approx(4.526728759682, rel=1e-12)


@pytest.mark.parametrize("ranks", [None, [2, 1, 3]])
def test_orthogonal_classes_of_equal_spectra_reach_the_optimum(ranks):
    sizes = [11, 7, 20]
    used = optimal_ranks(sizes, 9, distortion=0.3) if ranks is None else ranks
    Z, y = orthogonal_classes(sizes, used, 9)
    optimum = optimal_rate_reduction(sizes, 9, ranks, distortion=0.3)
    assert rate_reduction(Z, y, distortion=0.3) == pytest.approx(optimum, rel=1e-12)


def test_no_random_features_beat_the_optimum(rng):
    y = np.repeat([0, 1, 2], 20)
    best = optimal_rate_reduction([20] * 3, 12, [4] * 3, distortion=0.25)
    for _ in range(100):
        Z = project_sphere(rng.normal(size=(60, 12)))
        assert rate_reduction(Z, y, distortion=0.25) < best


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=4),
    st.integers(0, 5),
    st.floats(-4, 1.5),
)
def test_ranks_given_one_by_one_are_the_best_of_all(sizes, spare, exponent):
    n_features = len(sizes) + spare
    distortion = 10**exponent
    possible = [range(1, min(n_features, size) + 1) for size in sizes]
    values = [
        optimal_rate_reduction(sizes, n_features, ranks, distortion=distortion)
        for ranks in itertools.product(*possible)
        if sum(ranks) <= n_features
    ]
    chosen = optimal_ranks(sizes, n_features, distortion=distortion)
    assert chosen.sum() <= n_features
    value = optimal_rate_reduction(sizes, n_features, chosen, distortion=distortion)
    assert value == pytest.approx(max(values), rel=1e-9, abs=1e-13)
    assert value == optimal_rate_reduction(sizes, n_features, distortion=distortion)


@settings(max_examples=80, deadline=None)
@given(st.floats(0.01, 0.99), st.floats(-3, 1.5), st.integers(2, 40))
def test_unequal_spectra_are_never_better(share, exponent, rank):
    n_features, n_samples = 50, 10_000
    scale = n_features / 10**exponent
    smaller = np.linspace(0, 1 / rank, 101)
    equal = (1 - smaller) / (rank - 1)

    def gain(part):
        return np.log1p(scale * share * part) - share * np.log1p(scale * part)

    values = ((rank - 1) * gain(equal) + gain(smaller)) / 2
    assert values.max() <= max(values[0], values[-1]) * (1 + 1e-9) + 1e-14
    sizes = [share * n_samples, (1 - share) * n_samples]
    other = 1 + (rank == 2)
    joint = optimal_rate_reduction(
        sizes, n_features, [rank, other], distortion=10**exponent
    )
    alone = optimal_rate_reduction(
        sizes, n_features, [1, other], distortion=10**exponent
    )
    assert joint - alone == pytest.approx(values[-1] - gain(1.0) / 2, abs=1e-9)


@pytest.mark.parametrize(
    ("sizes", "n_features", "distortion"),
    [
        ([12, 12], 3, 0.1),
        ([5, 15, 9], 5, 0.3),
        ([8, 9, 10], 6, 0.5),
        ([10, 8, 6], 7, 3.0),
        ([7, 7, 7], 2, 0.5),
        ([20, 4, 4, 2], 2, 0.2),
    ],
)
def test_ascent_of_features_ends_at_the_optimum(rng, sizes, n_features, distortion):
    y = np.repeat(np.arange(len(sizes)), sizes)
    optimum = optimal_rate_reduction(sizes, n_features, distortion=distortion)
    reached = []
    for blocks in (False, True):
        for _ in range(8):
            Z = project_sphere(rng.normal(size=(len(y), n_features)))
            Z = ascend(Z, y, distortion=distortion, steps=150, blocks=blocks)
            reached.append(rate_reduction(Z, y, distortion=distortion))
    assert max(reached) <= optimum * (1 + 1e-9)
    # Where a class larger than its share meets too few features it is only a bound.
    exact = len(sizes) <= n_features or max(sizes) / len(y) <= 1 / n_features
    assert max(reached) >= (0.99 if exact else 0.5) * optimum


def test_ascent_makes_classes_orthogonal_with_equal_spectra(rng):
    Z = project_sphere(rng.normal(size=(60, 12)))
    y = np.repeat([0, 1, 2], 20)
    Z = ascend(Z, y, distortion=0.5, steps=500)
    across = np.abs(Z @ Z.T)[y[:, None] != y]
    assert across.max() < 1e-8
    ranks = 0
    for k in range(3):
        squares = np.linalg.svd(Z[y == k], compute_uv=False) ** 2
        squares = squares[squares > 1e-3]
        np.testing.assert_allclose(squares, 20 / len(squares), rtol=1e-3)
        ranks += len(squares)
    assert ranks <= 12


@pytest.mark.parametrize(("n_classes", "n_features"), [(3, 2), (5, 2), (2, 1)])
def test_more_classes_than_features_form_a_tight_frame(n_classes, n_features):
    angles = np.pi * np.arange(n_classes) / n_classes
    lines = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    if n_features == 1:
        lines = np.ones((n_classes, 1))
    Z, y = np.repeat(lines, 4, axis=0), np.repeat(np.arange(n_classes), 4)
    optimum = optimal_rate_reduction([4] * n_classes, n_features, distortion=0.2)
    reduction = rate_reduction(Z, y, distortion=0.2)
    assert reduction == pytest.approx(optimum, rel=1e-12, abs=1e-15)
    assert (optimal_ranks([4] * n_classes, n_features) == 1).all()


def test_one_class_saves_nothing():
    assert optimal_rate_reduction([50], 8) == pytest.approx(0, abs=1e-15)
    assert optimal_ranks([50], 8) == [1]
    assert max_feature_penalty([50], 8) == 0


def test_weights_of_classes_need_not_be_whole():
    whole = optimal_rate_reduction([30, 60], 8)
    assert optimal_rate_reduction([1.5, 3.0], 8, [2, 3]) < whole
    assert optimal_rate_reduction([30.0, 60.0], 8) == whole
    assert optimal_ranks([1.5, 3.0], 8).tolist() == [2, 3]


@pytest.mark.parametrize(("root", "rank"), [(0.9, 4), (1.0, 3), (1.2, 2)])
def test_coarse_distortion_lowers_the_best_rank(root, rank):
    assert optimal_rank(200, 600, 12, 4, distortion=root**2) == rank
    ranks = optimal_ranks([200] * 3, 12, distortion=root**2)
    assert ranks.tolist() == [rank] * 3


def test_impossible_ranks_are_refused():
    with pytest.raises(ValueError, match="cannot have rank 20"):
        optimal_rate_reduction([2, 2], 50, [20, 20])
    with pytest.raises(ValueError, match="only n_features=3 dimensions"):
        optimal_rate_reduction([5, 5], 3, [2, 2])
    with pytest.raises(ValueError, match="ranks has 1 values for 2 classes"):
        optimal_rate_reduction([5, 5], 3, [2])


@pytest.mark.parametrize(
    "function",
    [
        optimal_rate_reduction,
        optimal_ranks,
        max_feature_penalty,
        lambda *args, **kwargs: regularized_singular_values(
            *args, feature_penalty=0.01, **kwargs
        ),
    ],
)
def test_impossible_settings_are_refused(function):
    with pytest.raises(ValueError, match="distortion=0 must be positive"):
        function([5, 5], 3, distortion=0)
    with pytest.raises(ValueError, match="n_features=0"):
        function([5, 5], 0)
    with pytest.raises(ValueError, match="leave out empty"):
        function([5, 0], 3)
    with pytest.raises(ValueError, match="size per class"):
        function([], 3)


def test_a_class_is_no_larger_than_the_whole():
    with pytest.raises(ValueError, match="exceeds n_samples"):
        optimal_rank(20, 10, 3, 2)


def regularised_ascent(y, n_features, *, penalty, distortion, scale=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    Z = torch.randn(len(y), n_features, generator=generator, dtype=torch.float64)
    Z, y = scale * Z, torch.from_numpy(y)
    for _ in range(3000):
        gradient = rate_reduction_gradient(Z, y, distortion=distortion) - penalty * Z
        if float(gradient.norm()) < 1e-9:
            break
        Z = Z + 2.0 * gradient
    return Z.numpy()


@pytest.mark.parametrize("fraction", [0.5, 0.2])
def test_regularised_ascent_reaches_the_closed_form_spectrum(fraction):
    sizes, distortion = (30, 20, 10), 0.5
    y = np.repeat([0, 1, 2], sizes)
    penalty = fraction * max_feature_penalty(sizes, 12, distortion=distortion)
    settings = {"feature_penalty": penalty, "distortion": distortion}
    values, gains = regularized_singular_values(sizes, 12, **settings)
    if fraction == 0.5:
        np.testing.assert_allclose(values, [3.24409, 3.99553, 4.61731], atol=1e-5)
    Z = regularised_ascent(y, 12, penalty=penalty, distortion=distortion)
    objective, ranks = 0.0, []
    for k, value in enumerate(values):
        found = np.linalg.svd(Z[y == k], compute_uv=False)
        found = found[found > 1e-3]
        np.testing.assert_allclose(found, value, rtol=1e-4)
        objective += gains[k] * len(found)
        ranks.append(len(found))
    assert sum(ranks) == 12
    reached = rate_reduction(Z, y, distortion=distortion) - penalty / 2 * (Z**2).sum()
    assert reached == pytest.approx(objective, rel=1e-6)


def test_regularised_spectrum_of_balanced_classes_has_its_known_value():
    penalty = 0.5 * max_feature_penalty([20] * 3, 12, distortion=0.25)
    settings = {"feature_penalty": penalty, "distortion": 0.25}
    values, _ = regularized_singular_values([20] * 3, 12, **settings)
    np.testing.assert_allclose(values**2, 4.4360, atol=1e-4)
    y = np.repeat([0, 1, 2], 20)
    collapsed = regularised_ascent(y, 12, penalty=penalty, distortion=0.25, scale=0.01)
    assert np.abs(collapsed).max() < 1e-6


def test_features_do_not_pay_close_to_the_largest_penalty():
    sizes = [200] * 3
    largest = max_feature_penalty(sizes, 12, distortion=0.25)
    gains = [
        regularized_singular_values(
            sizes, 12, feature_penalty=share * largest, distortion=0.25
        )[1][0]
        for share in (1.0, 0.95, 0.8, 0.5)
    ]
    np.testing.assert_allclose(gains, [-0.017, -0.012, 0.013, 0.111], atol=1e-3)
    with pytest.raises(ValueError, match="at most"):
        regularized_singular_values(
            sizes, 12, feature_penalty=1.01 * largest, distortion=0.25
        )
    with pytest.raises(ValueError, match="positive"):
        regularized_singular_values(sizes, 12, feature_penalty=0)
