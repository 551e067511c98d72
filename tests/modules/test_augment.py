import numpy as np
import pytest
import torch

from sklearn_whitebox.modules._augment import AUGMENTATIONS, augment_images


def _generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images():
    return torch.rand(40, 7, 5, 3, generator=_generator(7), dtype=torch.float64)


SETTINGS = [
    {"max_shift": 0.2},
    {"max_shift": 0.0, "max_rotation": 20.0},
    {"max_shift": 0.0, "max_scaling": 0.2},
    {"max_shift": 0.0, "flip": True},
    {"max_shift": 0.0, "cutout": 0.3},
    {"max_rotation": 5.0, "max_scaling": 0.1, "flip": True, "cutout": 0.3},
    *AUGMENTATIONS.values(),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_generator_alone_decides(images, settings, dtype):
    images = images.to(dtype)
    before = torch.get_rng_state()
    kept = images.clone()
    first = augment_images(images, _generator(), **settings)
    again = augment_images(images, _generator(), **settings)
    other = augment_images(images, _generator(1), **settings)
    assert first.dtype == dtype
    assert first.shape == images.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(images, kept)
    assert torch.equal(before, torch.get_rng_state())


def test_nothing_happens_unless_asked(images):
    assert torch.equal(augment_images(images, _generator(), max_shift=0.0), images)


def test_a_shift_moves_between_pixels_and_repeats_the_border():
    """Follow a ramp, on which a shift is a change of value up to the border."""
    ramp = torch.arange(20.0, dtype=torch.float64).expand(300, 1, 10, 20)
    images = ramp.movedim(1, -1)
    moved = augment_images(images, _generator(), max_shift=0.1)
    distance = moved[:, 0, 10, 0] - 10
    expected = (torch.arange(20.0) + distance[:, None]).clamp(0, 19)
    torch.testing.assert_close(
        moved[..., 0], expected[:, None].expand(-1, 10, -1), atol=1e-9, rtol=0
    )
    assert -2 <= distance.min() < -1.8
    assert 1.8 < distance.max() <= 2
    assert (distance - distance.round()).abs().max() > 0.4


def test_a_shift_does_not_wrap_around():
    image = torch.zeros(200, 5, 5, 1)
    image[:, 2, 2] = 1.0
    moved = augment_images(image, _generator(), max_shift=0.7)
    # A point that leaves the picture is lost; one that comes back would always be seen.
    assert moved[:, :, :, 0].sum((1, 2)).min() == 0


def test_flips_mirror_about_half_of_the_images(images):
    images = images.repeat(10, 1, 1, 1)
    flipped = augment_images(images, _generator(), max_shift=0.0, flip=True)
    same = (flipped - images).abs().flatten(1).amax(1) < 1e-9
    mirrored = (flipped - images.flip(2)).abs().flatten(1).amax(1) < 1e-9
    assert bool((same ^ mirrored).all())
    assert 0.4 < mirrored.double().mean() < 0.6


def test_a_turn_moves_no_pixel_further_than_its_arc():
    """Follow a bright line on a picture that is wider than high."""
    image = torch.zeros(60, 9, 15, 1, dtype=torch.float64)
    image[:, 4] = 1.0
    turned = augment_images(image, _generator(), max_shift=0.0, max_rotation=20.0)
    heights = torch.arange(9.0, dtype=torch.float64)[:, None] - 4
    column = turned[:, :, 12, 0]
    centre = (column * heights[:, 0]).sum(1) / column.sum(1)
    # The line passes the column five pixels right of the centre at 5 tan(angle).
    assert centre.abs().max() <= 5 * np.tan(np.radians(20.0)) + 0.2
    assert centre.abs().max() > 1.0


def test_a_full_turn_of_a_round_blob_changes_little():
    grid = torch.arange(21.0, dtype=torch.float64) - 10
    blob = torch.exp(-(grid[:, None] ** 2 + grid**2) / 18)[None, :, :, None]
    turned = augment_images(
        blob.expand(20, -1, -1, -1), _generator(), max_shift=0.0, max_rotation=180.0
    )
    assert (turned - blob).abs().max() < 0.03


def test_scaling_changes_the_area_within_its_bounds():
    disc = torch.zeros(200, 41, 41, 1, dtype=torch.float64)
    grid = torch.arange(41.0, dtype=torch.float64) - 20
    disc[:, (grid[:, None] ** 2 + grid**2) < 100] = 1.0
    areas = augment_images(disc, _generator(), max_shift=0.0, max_scaling=0.2).sum(
        (1, 2, 3)
    ) / disc.sum((1, 2, 3))
    assert areas.min() > 0.8**2 - 0.03
    assert areas.max() < 1.2**2 + 0.03
    assert areas.max() - areas.min() > 0.5


def test_cutout_covers_no_more_than_its_square(images):
    covered = augment_images(images, _generator(), max_shift=0.0, cutout=0.5)
    changed = (covered != images).any(-1)
    assert changed.flatten(1).sum(1).max() <= 4 * 3
    assert changed.any(2).sum(1).max() <= 4
    assert changed.flatten(1).sum(1).min() >= 1
    mean = images.mean((1, 2), keepdim=True).expand_as(images)
    assert torch.equal(covered[changed], mean[changed])


def test_constant_images_stay_as_they_are(images):
    constant = torch.full_like(images, 0.25)
    settings = {"max_rotation": 30.0, "max_scaling": 0.3, "cutout": 0.2, "flip": True}
    altered = augment_images(constant, _generator(), max_shift=0.2, **settings)
    torch.testing.assert_close(altered, constant)


def test_gradients_flow_through(images):
    images.requires_grad_()
    augment_images(images, _generator(), max_rotation=10.0).sum().backward()
    assert bool((images.grad.sum((1, 2, 3)) > 0).all())


def test_few_and_no_images_are_fine():
    empty = torch.zeros(0, 4, 4, 1)
    assert augment_images(empty, _generator()).shape == (0, 4, 4, 1)
    pixel = torch.ones(2, 1, 1, 1)
    torch.testing.assert_close(augment_images(pixel, _generator()), pixel)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_shift": -0.1}, "max_shift=-0.1"),
        ({"cutout": 1.5}, "cutout=1.5"),
        ({"max_rotation": 200.0}, "max_rotation=200"),
        ({"max_scaling": 1.0}, "max_scaling=1"),
    ],
)
def test_settings_out_of_range_are_refused(images, settings, message):
    with pytest.raises(ValueError, match=message):
        augment_images(images, _generator(), **settings)


def test_flat_images_are_refused(images):
    with pytest.raises(ValueError, match="four dimensions"):
        augment_images(images.flatten(1), _generator())
