import numpy as np
import pytest
import torch

from sklearn_whitebox.modules import images_to_patches, patches_to_images
from sklearn_whitebox.modules._patches import admissible_patch_sizes, default_patch_size


def test_patches_are_flattened_by_row_column_and_channel():
    images = torch.arange(1 * 4 * 6 * 3).reshape(1, 4, 6, 3)
    patches = images_to_patches(images, 2)
    assert patches.shape == (1, 6, 12)
    for number in range(6):
        row, column = divmod(number, 3)
        block = images[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.equal(patches[0, number], block.flatten())


@pytest.mark.parametrize("shape", [(8, 8, 1), (6, 9, 2)])
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_images_survive_the_way_to_patches_and_back(shape, batch):
    size = admissible_patch_sizes(shape)[-1]
    images = torch.from_numpy(
        np.random.default_rng(0).standard_normal((*batch, *shape))
    )
    patches = images_to_patches(images, size)
    assert torch.equal(patches_to_images(patches, shape, size), images)


def test_a_patch_size_that_does_not_divide_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"patch_size=4 .* one of \[1, 2, 3, 6\]"):
        images_to_patches(torch.zeros(12, 18, 1), 4)


def test_patches_that_do_not_fit_the_image_are_refused():
    with pytest.raises(ValueError, match=r"must end in \(16, 4\)"):
        patches_to_images(torch.zeros(3, 15, 4), (8, 8), 2)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((8, 8), 2),
        ((28, 28), 4),
        ((32, 32), 8),
        ((64, 32), 8),
        ((5, 7), 1),
        ((1, 1), 1),
    ],
)
def test_the_default_patch_size_gives_about_32_tokens(shape, size):
    assert default_patch_size(shape) == size
