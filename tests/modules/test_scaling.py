import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_whitebox.modules._scaling import (
    channel_scaling,
    feature_scaling,
    quantile_edges,
    scale_features,
)


def test_an_integer_weight_scales_like_a_repetition(rng):
    X, weight = rng.standard_normal((20, 3)), rng.integers(1, 4, 20)
    repeated = X.repeat(weight, 0)
    once = np.ones(len(repeated))
    for weighted, plain in zip(
        feature_scaling(X, weight), feature_scaling(repeated, once), strict=True
    ):
        assert_allclose(weighted, plain)
    for weighted, plain in zip(
        channel_scaling(X, 3, weight), channel_scaling(repeated, 3, once), strict=True
    ):
        assert_allclose(weighted, plain)


@pytest.mark.parametrize("unit", [1, 1 / 3, 1e-6])
def test_an_integer_weight_cuts_bins_like_a_repetition_in_any_unit(rng, unit):
    X = np.column_stack([rng.standard_normal(60), rng.integers(0, 5, 60)])
    weight = rng.integers(0, 4, 60)
    repeated = X.repeat(weight, 0)
    for n_bins in (4, 7):
        one = quantile_edges(X, n_bins, weight * unit)
        assert_array_equal(
            one, quantile_edges(repeated, n_bins, np.ones(len(repeated)))
        )


def test_scaling_is_by_the_quartiles_of_numpy(rng):
    X, weight = rng.standard_normal((50, 3)), rng.uniform(0.1, 3, 50)
    low, median, high = np.quantile(
        X, [0.25, 0.5, 0.75], axis=0, weights=weight, method="inverted_cdf"
    )
    centre, scale = feature_scaling(X, weight)
    assert_array_equal(centre, median)
    assert_allclose(scale, 1 / (high - low))


def test_edges_are_the_quantiles_of_numpy(rng):
    X, weight = rng.standard_normal((50, 3)), rng.uniform(0.1, 3, 50)
    levels = np.linspace(0, 1, 9)
    expected = np.quantile(X, levels, axis=0, weights=weight, method="inverted_cdf").T
    assert_allclose(quantile_edges(X, 8, weight), expected, rtol=1e-6)


def test_edges_are_different_values_of_the_column_padded_by_the_last():
    X = np.array([[0.0, 7.0], [1.0, 7.0], [1.0, 7.0], [2.0, 7.0]])
    edges = quantile_edges(X, 4, np.ones(4))
    assert_array_equal(edges, [[0, 1, 2, 2, 2], [7, 7, 7, 7, 7]])


def test_edges_that_float32_cannot_tell_apart_are_one():
    X = np.array([[1.0], [1.0 + 1e-9], [2.0]])
    assert_array_equal(quantile_edges(X, 2, np.ones(3)), [[1, 2, 2]])


def test_rows_of_weight_zero_and_missing_numbers_change_nothing(rng):
    X = rng.standard_normal((30, 2))
    more = np.vstack([X, [[1e9, np.nan], [-1e9, 3.0]], np.full((4, 2), np.nan)])
    weight = np.r_[np.ones(30), 0, 0, np.ones(4)]
    for function in (
        lambda X, w: feature_scaling(X, w)[0],
        lambda X, w: feature_scaling(X, w)[1],
        lambda X, w: quantile_edges(X, 5, w),
    ):
        assert_array_equal(function(more, weight), function(X, np.ones(30)))


def test_missing_numbers_stay_missing(rng):
    X = rng.standard_normal((9, 2))
    X[3, 1] = np.nan
    scaled = scale_features(X, *feature_scaling(X, np.ones(9)), soften=True)
    assert_array_equal(np.isnan(scaled), np.isnan(X))


def test_a_column_without_numbers_is_scaled_to_nothing():
    X = np.full((5, 1), np.nan)
    assert_array_equal(feature_scaling(X, np.ones(5)), [[0], [0]])
    assert_array_equal(quantile_edges(X, 3, np.ones(5)), [[0, 0, 0, 0]])


def test_no_columns_have_no_edges():
    X = np.zeros((5, 0))
    assert feature_scaling(X, np.ones(5))[0].shape == (0,)
    assert quantile_edges(X, 3, np.ones(5)).shape == (0, 4)


def test_constant_columns_are_scaled_to_zero_wherever_they_go():
    X = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    centre, scale = feature_scaling(X, np.ones(3))
    scaled = scale_features([[1e300, 1e300]], centre, scale, soften=True)
    assert scaled[0, 1] == 0
    assert np.isfinite(scaled).all()


def test_scaling_does_not_depend_on_units(rng):
    X = rng.standard_normal((30, 2))
    units = np.array([1e-6, 1e9])
    one = scale_features(X, *feature_scaling(X, np.ones(30)), soften=True)
    two = X * units + 5 * units
    two = scale_features(two, *feature_scaling(two, np.ones(30)), soften=True)
    assert_allclose(one, two, rtol=1e-6)


def test_far_values_are_drawn_in_but_keep_their_order():
    scaled = scale_features([[-1e9], [-10.0], [0.1], [10.0]], 0.0, 1.0, soften=True)
    assert (np.diff(scaled[:, 0]) > 0).all()
    assert np.abs(scaled).max() <= 3
    assert_allclose(scaled[2], 0.1, rtol=1e-3)


def test_images_are_standardised_by_channel(rng):
    X = rng.standard_normal((50, 4, 4, 3)) * [1, 5, 0] + [0, 2, 7]
    flat = X.reshape(50, -1)
    scaled = scale_features(flat, *channel_scaling(flat, 3, np.ones(50)), soften=False)
    channels = scaled.reshape(-1, 3)
    assert_allclose(channels.mean(0), 0, atol=1e-12)
    assert_allclose(channels.std(0), [1, 1, 0], atol=1e-12)
