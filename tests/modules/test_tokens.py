import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from sklearn_whitebox.modules import (
    DenseTokens,
    FeatureTokens,
    PatchTokens,
    PeriodicEncoding,
)
from sklearn_whitebox.modules._scaling import (
    channel_scaling,
    feature_scaling,
    scale_features,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_encoding_keeps_the_number_and_adds_waves_of_it(generator):
    encoding = PeriodicEncoding(3, n_waves=5, width=4)
    encoding.draw(generator)
    X = torch.randn(6, 3, generator=generator)
    encoded = encoding(X)
    assert encoded.shape == (6, 3, 4)
    assert torch.equal(encoded[..., 0], X)
    for j in range(3):
        angle = X[:, j, None] * encoding.frequency[j] + encoding.phase[j]
        waves = torch.cos(2 * torch.pi * angle) @ encoding.weight[j] + encoding.bias[j]
        assert_allclose(
            encoded[:, j, 1:].detach(), waves.detach(), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("tokens", "n_tokens"),
    [
        (DenseTokens(6, 5, 8), 5),
        (FeatureTokens(6, 8), 6),
        (PatchTokens((4, 6, 1), 2, 8, normalize=True), 6),
    ],
)
def test_tokenisers_give_as_many_tokens_as_they_say(tokens, n_tokens):
    width = 24 if isinstance(tokens, PatchTokens) else 6
    assert tokens.n_tokens == n_tokens
    assert tokens(torch.zeros(3, width)).shape == (3, n_tokens, 8)


def test_a_feature_token_depends_on_its_feature_alone(generator):
    tokens = FeatureTokens(4, 8)
    tokens.encoding.draw(generator)
    tokens.draw(generator)
    X = torch.randn(1, 4, generator=generator)
    moved = X.clone()
    moved[0, 2] += 1
    changed = (tokens(X) != tokens(moved)).any(-1)[0]
    assert changed.tolist() == [False, False, True, False]


def test_a_dense_token_depends_on_all_features(generator):
    tokens = DenseTokens(4, 3, 8)
    tokens.encoding.draw(generator)
    tokens.draw(generator)
    X = torch.randn(1, 4, generator=generator, requires_grad=True)
    for token in range(3):
        (gradient,) = torch.autograd.grad(tokens(X)[0, token].sum(), X)
        assert (gradient != 0).all()


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
