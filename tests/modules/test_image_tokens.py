import pytest
import torch
from torch.testing import assert_close

from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._image_tokens import PatchTokens


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


def _tokens(image_shape=(8, 12, 2), patch_size=4, **settings):
    config = CRATEConfig(
        n_outputs=3,
        tokens="patch",
        image_shape=image_shape,
        patch_size=patch_size,
        **{"d_token": 16, "stem": True, **settings},
    )
    tokens = PatchTokens(config, device="meta")
    tokens.to_empty(device="cpu")
    tokens.draw(_generator())
    return tokens.double()


def _images(n_samples, shape, seed=1):
    return torch.randn(n_samples, *shape, generator=_generator(seed)).double()


@pytest.mark.parametrize("stem", [True, False])
@pytest.mark.parametrize(
    ("shape", "patch_size", "n_tokens"),
    [
        ((8, 12, 2), 4, 6),
        ((8, 8, 1), 2, 16),
        ((6, 9, 1), 3, 6),
        ((5, 5, 3), 1, 25),
        ((16, 32, 1), 16, 2),
    ],
)
def test_tokens_are_as_many_as_patches(shape, patch_size, n_tokens, stem):
    tokens = _tokens(shape, patch_size, stem=stem)
    images = _images(3, shape)
    found = tokens(images.flatten(1))
    assert found.shape == (3, n_tokens, 16)
    assert tokens.n_tokens == n_tokens
    assert torch.equal(found, tokens(images))
    assert torch.isfinite(found).all()


def test_the_generator_alone_draws_the_weights():
    before = torch.get_rng_state()
    first, again = _tokens(), _tokens()
    assert torch.equal(before, torch.get_rng_state())
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("stem", [True, False])
def test_gradients_reach_every_parameter(stem):
    tokens = _tokens(stem=stem)
    tokens(_images(4, (8, 12, 2))).square().sum(1).pow(2).sum().backward()
    for name, parameter in tokens.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_gradients_are_those_of_the_function():
    tokens = _tokens((4, 4, 1), 2, d_token=4)
    images = _images(2, (4, 4, 1)).requires_grad_()
    assert torch.autograd.gradcheck(tokens, (images,))


def test_rows_do_not_depend_on_one_another():
    tokens = _tokens().train()
    images = _images(5, (8, 12, 2))
    assert_close(tokens(images)[2:3], tokens(images[2:3]), rtol=1e-12, atol=1e-12)
    trained = tokens(images)
    assert torch.equal(tokens.eval()(images), trained)


@pytest.mark.parametrize("patch_size", [2, 4, 8])
def test_moving_an_image_by_a_patch_moves_its_tokens(patch_size):
    side = 6 * patch_size
    tokens = _tokens((side, side, 1), patch_size)
    images = torch.zeros(2, side, side, 1, dtype=torch.float64)
    middle = slice(2 * patch_size, 3 * patch_size)
    images[:, middle, middle] = _images(2, (patch_size, patch_size, 1))
    moved = images.roll(patch_size, 1)
    before = tokens(images).reshape(2, 6, 6, -1)
    after = tokens(moved).reshape(2, 6, 6, -1)
    # The border knows that it is one: nothing lies beyond.
    assert_close(after[:, 2:-1, 1:-1], before[:, 1:-2, 1:-1])


def test_without_a_stem_a_token_depends_on_its_patch_alone():
    tokens = _tokens(stem=False)
    images = _images(1, (8, 12, 2))
    changed = images.clone()
    changed[:, :4, 4:8] += 1.0 + _images(1, (4, 4, 2), seed=5)
    differ = (tokens(images) != tokens(changed)).any(-1)[0]
    assert differ.tolist() == [False, True, False, False, False, False]


def test_a_stem_lets_neighbours_see_the_border_of_a_patch():
    tokens = _tokens((16, 16, 1), 4)
    images = _images(1, (16, 16, 1))
    changed = images.clone()
    changed[:, 4:8, 4:8] += 1.0
    differ = (tokens(images) - tokens(changed)).abs().sum(-1).reshape(4, 4) > 1e-9
    assert differ[1, 1]
    assert differ[1, 2]
    assert not differ[3, 3]


def test_the_stem_keeps_the_scale_of_what_passes_through():
    tokens = _tokens((32, 32, 3), 4, d_token=64)
    maps = _images(8, (32, 32, 3)).movedim(-1, 1)
    sizes = [maps.square().mean()]
    for layer in tokens.stem:
        maps = torch.relu(layer(maps))
        sizes.append(maps.square().mean())
    assert all(0.4 < size / sizes[0] < 2.0 for size in sizes)


def test_work_counts_the_multiply_adds():
    tokens = _tokens((8, 8, 1), 4, d_token=8)
    # 4 x 4 places of 3 x 3 x 1 x 4 and of 3 x 3 x 4 x 4, 2 x 2 places of 16 x 8.
    assert tokens.n_multiply_adds == 16 * 36 + 16 * 144 + 4 * 128


@pytest.mark.parametrize(
    ("patch_size", "strides"),
    [
        (1, [1, 1]),
        (2, [1, 1]),
        (3, [1, 1]),
        (4, [2, 1]),
        (6, [2, 1]),
        (8, [2, 2]),
        (16, [2, 2, 2]),
        (32, [2, 2, 2]),
    ],
)
def test_convolutions_halve_until_a_patch_is_two_pixels_wide(patch_size, strides):
    tokens = _tokens((64, 64, 1) if patch_size % 3 else (12, 12, 1), patch_size)
    assert [layer.stride[0] for layer in tokens.stem] == strides


def test_dropout_is_drawn_from_the_generator():
    tokens = _tokens(token_dropout=0.5)
    images = _images(20, (8, 12, 2))
    dropped = tokens(images, _generator())
    assert torch.equal(dropped, tokens(images, _generator()))
    assert 0.4 < (dropped == 0).double().mean() < 0.6
    assert not (tokens(images) == 0).any()


def test_small_patches_are_not_normalised_without_a_stem():
    bare = _tokens((4, 4, 1), 2, stem=False, patch_norm=False)
    images = _images(2, (4, 4, 1))
    assert_close(bare(2 * images) - bare(images), bare(images) - bare(0 * images))


def test_images_need_a_shape_that_patches_tile():
    with pytest.raises(ValueError, match="image_shape"):
        PatchTokens(CRATEConfig(n_outputs=2, tokens="patch"))
    with pytest.raises(ValueError, match=r"patch_size=3 .* use one of \[1, 2, 4\]"):
        _tokens((8, 12, 1), 3)
