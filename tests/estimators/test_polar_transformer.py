"""PolarTransformer: rotations become shifts."""

import pickle

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from sklearn.datasets import load_digits
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_whitebox import PolarTransformer


@parametrize_with_checks(
    [PolarTransformer(), PolarTransformer(2, n_angles=3)], expected_failed_checks=None
)
def test_follows_the_contract_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((3, 9, 9))


def flat(images):
    return images.reshape(len(images), -1)


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_shifts(size, turns):
    images = np.random.default_rng(0).standard_normal((3, size, size))
    polar = PolarTransformer(6, n_angles=24).fit(flat(images))
    Z = polar.transform(flat(images)).reshape(3, 6, 24)
    turned = np.rot90(images, turns, axes=(1, 2))
    turned = polar.transform(flat(turned)).reshape(3, 6, 24)
    np.testing.assert_allclose(turned, np.roll(Z, 6 * turns, axis=2), atol=1e-12)


def test_sampling_is_bilinear(images):
    polar = PolarTransformer(5, n_angles=12, max_radius=3.3).fit(flat(images))
    Z = polar.transform(flat(images)).reshape(3, 5, 12)
    radii, angles = np.linspace(0, 3.3, 5)[:, None], 2 * np.pi * np.arange(12) / 12
    where = 4 - radii * np.sin(angles), 4 + radii * np.cos(angles)
    for image, z in zip(images, Z, strict=True):
        expected = map_coordinates(image, where, order=1)
        np.testing.assert_allclose(z, expected, atol=1e-12)


def test_constant_images_stay_constant_within_the_image():
    X = np.ones((2, 48))
    polar = PolarTransformer(4, n_angles=10, input_shape=(6, 8)).fit(X)
    np.testing.assert_allclose(polar.transform(X), 1, atol=1e-12)


def test_beyond_the_image_is_zero():
    X = np.ones((2, 25))
    polar = PolarTransformer(2, n_angles=4, max_radius=10.0).fit(X)
    Z = polar.transform(X).reshape(2, 2, 4)
    assert (Z[:, 0] == 1).all()
    assert not Z[:, 1].any()


def test_channels_are_sampled_alike(images):
    stacked = np.stack([images, 2 * images], axis=1)
    one = PolarTransformer(3, n_angles=8).fit_transform(flat(images))
    two = PolarTransformer(3, n_angles=8, input_shape=(2, 9, 9)).fit(flat(stacked))
    assert two.output_shape_ == (6, 8)
    np.testing.assert_array_equal(
        two.transform(flat(stacked)), np.hstack([one, 2 * one])
    )


@pytest.mark.parametrize(
    ("n_features", "shape"), [(64, (8, 8)), (12, (3, 4)), (7, (1, 7)), (1, (1, 1))]
)
def test_missing_shape_is_the_most_nearly_square(n_features, shape):
    polar = PolarTransformer(2, n_angles=4).fit(np.ones((2, n_features)))
    assert polar.input_shape_ == (1, *shape)


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((3, 3), "9 pixels, but X has 8 features"),
        ((8,), "must be \\(height, width\\)"),
        ((-2, -4), "in positive integers"),
        ((2.0, 4.0), "in positive integers"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape, match):
    with pytest.raises(ValueError, match=match):
        PolarTransformer(input_shape=shape).fit(np.ones((2, 8)))


def test_too_many_points_are_refused_beforehand():
    with pytest.raises(ValueError, match="lower n_radii or n_angles"):
        PolarTransformer(10**6, n_angles=10**6).fit(np.ones((2, 9)))


def test_float32_and_tensors_come_back_as_they_came():
    X = load_digits().data[:10].astype(np.float32)
    polar = PolarTransformer(4, n_angles=16).fit(X)
    Z = polar.transform(torch.from_numpy(X))
    assert Z.dtype == torch.float32
    np.testing.assert_array_equal(Z, polar.transform(X))
    copied = pickle.loads(pickle.dumps(polar))
    np.testing.assert_array_equal(Z, copied.transform(X))
