import math

import numpy as np
import pytest
import torch
from scipy.stats import ortho_group

from sklearn_whitebox.functional import (
    coding_length,
    max_feature_penalty,
    optimal_rank,
    optimal_rate_reduction,
    project_sphere,
    rate_reduction,
    rate_reduction_gradient,
    segmentation_coding_length,
)


def orthogonal_classes(n_classes, rank, n_features, size, seed=0):
    """Unit rows with an exactly equal spectrum in mutually orthogonal subspaces."""
    basis = ortho_group.rvs(n_features, random_state=seed)[: n_classes * rank]
    blocks = [
        np.repeat(basis[k * rank : (k + 1) * rank], size // rank, axis=0)
        for k in range(n_classes)
    ]
    return np.vstack(blocks), np.repeat(np.arange(n_classes), size)


def test_optimal_rate_reduction_is_reached_by_orthogonal_classes():
    Z, y = orthogonal_classes(3, 4, 12, 200)
    expected = 4.526728759682
    assert rate_reduction(Z, y, distortion=0.25) == pytest.approx(expected, rel=1e-9)
    closed = optimal_rate_reduction([200] * 3, 12, [4] * 3, distortion=0.25)
    assert closed == pytest.approx(expected, rel=1e-9)


def test_no_random_features_beat_the_optimum(rng):
    y = np.repeat([0, 1, 2], 20)
    best = optimal_rate_reduction([20] * 3, 12, [4] * 3, distortion=0.25)
    for _ in range(100):
        Z = project_sphere(rng.normal(size=(60, 12)))
        assert rate_reduction(Z, y, distortion=0.25) < best


def test_impossible_ranks_are_refused():
    with pytest.raises(ValueError, match="cannot have rank 20"):
        optimal_rate_reduction([2, 2], 50, [20, 20])
    with pytest.raises(ValueError, match="only n_features=3 dimensions"):
        optimal_rate_reduction([5, 5], 3, [2, 2])


@pytest.mark.parametrize(("root", "rank"), [(0.9, 4), (1.0, 3), (1.2, 2)])
def test_coarse_distortion_lowers_the_best_rank(root, rank):
    assert optimal_rank(200, 600, 12, 4, distortion=root**2) == rank


def test_projected_ascent_makes_classes_orthogonal(rng):
    Z = project_sphere(rng.normal(size=(60, 12)))
    y = np.repeat([0, 1, 2], 20)
    alpha = 12 / (60 * 0.5)
    for _ in range(100):
        gradient = rate_reduction_gradient(Z, y, distortion=0.5)
        Z = project_sphere(Z + 0.5 / alpha * gradient)
    across = np.abs(Z @ Z.T)[y[:, None] != y]
    assert across.max() < 1e-8


def test_regularised_ascent_reaches_the_closed_form_spectrum():
    sizes, d, distortion = (30, 20, 10), 12, 0.5
    n = sum(sizes)
    y = torch.from_numpy(np.repeat([0, 1, 2], sizes))
    penalty = 0.5 * max_feature_penalty(sizes, d, distortion=distortion)
    alpha = d / (n * distortion)
    roots = []
    for size in sizes:
        alpha_k = d / (size * distortion)
        eta = (alpha_k - alpha) - penalty * (n / size + 1)
        discriminant = math.sqrt(eta**2 - 4 * penalty**2 * n / size)
        roots.append(math.sqrt((eta + discriminant) / (2 * penalty * alpha_k)))
    np.testing.assert_allclose(roots, [3.24409, 3.99553, 4.61731], atol=1e-5)
    generator = torch.Generator().manual_seed(0)
    Z = torch.randn(n, d, generator=generator, dtype=torch.float64)
    for _ in range(3000):
        gradient = rate_reduction_gradient(Z, y, distortion=distortion) - penalty * Z
        Z = Z + 2.0 * gradient
    for k, root in enumerate(roots):
        values = torch.linalg.svdvals(Z[y == k])
        values = values[values > 1e-3]
        np.testing.assert_allclose(values, root, rtol=1e-4)


def test_segmentation_length_adds_clusters_and_labels(rng):
    X, labels = rng.normal(size=(30, 4)), np.repeat([0, 5], [10, 20])
    expected = sum(coding_length(X[labels == k], distortion=0.3) for k in (0, 5))
    expected -= 10 * math.log(10 / 30) + 20 * math.log(20 / 30)
    length = segmentation_coding_length(X, labels, distortion=0.3)
    assert length == pytest.approx(expected)


def test_true_segmentation_is_shorter_than_random_ones(rng):
    X = np.vstack(
        [rng.normal(size=(40, 2)) @ rng.normal(size=(2, 10)) for _ in range(3)]
    )
    X += 0.01 * rng.normal(size=X.shape)
    y = np.repeat([0, 1, 2], 40)
    truth = segmentation_coding_length(X, y, distortion=0.01)
    for _ in range(50):
        shuffled = rng.permutation(y)
        assert segmentation_coding_length(X, shuffled, distortion=0.01) > truth


def test_coding_the_mean_pays_for_a_shifted_cluster(rng):
    X = rng.normal(size=(40, 6)) * 0.5 + 3
    plain = coding_length(X, distortion=0.25)
    assert coding_length(X, distortion=0.25, code_mean=True) < plain


def test_length_of_no_rows_is_zero():
    assert coding_length(np.zeros((0, 3)), distortion=1.0) == 0
