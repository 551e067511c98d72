"""Images ↔ tokens: patches in rows, channels last."""

import math
from collections.abc import Sequence

from torch import Tensor


def images_to_patches(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into square patches that do not overlap.

    Parameters
    ----------
    images : Tensor of shape (..., height, width, n_channels)
        Images, channels last.
    patch_size : int
        Side of a patch in pixels; must divide both sides of the image.

    Returns
    -------
    patches : Tensor of shape (..., n_patches, patch_size**2 * n_channels)
        One patch a row, in raster order; inside a patch the order is row, column,
        channel.

    Raises
    ------
    ValueError
        If `patch_size` does not divide height and width.
    """
    height, width, n_channels = images.shape[-3:]
    check_patch_size((height, width), patch_size)
    n_rows, n_columns = height // patch_size, width // patch_size
    batch = images.shape[:-3]
    cut = images.reshape(
        *batch, n_rows, patch_size, n_columns, patch_size, n_channels
    ).transpose(-4, -3)
    return cut.reshape(*batch, n_rows * n_columns, patch_size**2 * n_channels)


def patches_to_images(
    patches: Tensor, image_shape: Sequence[int], patch_size: int
) -> Tensor:
    """Put patches back into images; undoes :func:`images_to_patches`.

    Parameters
    ----------
    patches : Tensor of shape (..., n_patches, patch_size**2 * n_channels)
        Patches in raster order.
    image_shape : (int, int) or (int, int, int)
        Height, width and, unless it is one, number of channels.
    patch_size : int
        Side of a patch in pixels.

    Returns
    -------
    images : Tensor of shape (..., height, width, n_channels)
        Images, channels last.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    height, width, n_channels = (*image_shape, 1)[:3]
    check_patch_size((height, width), patch_size)
    n_rows, n_columns = height // patch_size, width // patch_size
    wanted = (n_rows * n_columns, patch_size**2 * n_channels)
    if tuple(patches.shape[-2:]) != wanted:
        raise ValueError(
            f"patches of shape {tuple(patches.shape)} must end in {wanted} for images "
            f"of shape {(height, width, n_channels)} and patch_size={patch_size}."
        )
    batch = patches.shape[:-2]
    cut = patches.reshape(
        *batch, n_rows, n_columns, patch_size, patch_size, n_channels
    ).transpose(-4, -3)
    return cut.reshape(*batch, height, width, n_channels)


def admissible_patch_sizes(image_shape: Sequence[int]) -> list[int]:
    """List the patch sizes that divide both sides of an image.

    Parameters
    ----------
    image_shape : sequence of int
        Height and width come first.

    Returns
    -------
    sizes : list of int
        Common divisors in ascending order.
    """
    common = math.gcd(image_shape[0], image_shape[1])
    return [size for size in range(1, common + 1) if common % size == 0]


def check_patch_size(image_shape: Sequence[int], patch_size: int) -> None:
    """Refuse a patch size that does not divide both sides of an image.

    Parameters
    ----------
    image_shape : sequence of int
        Height and width come first.
    patch_size : int
        Side of a patch in pixels.

    Raises
    ------
    ValueError
        If it does not divide them; the message lists the sizes that do.
    """
    admissible = admissible_patch_sizes(image_shape)
    if patch_size not in admissible:
        raise ValueError(
            f"patch_size={patch_size} must divide height and width of the image, "
            f"{tuple(image_shape[:2])}; use one of {admissible}."
        )


def default_patch_size(image_shape: Sequence[int]) -> int:
    """Choose the patch that cuts an image into about 32 tokens.

    Parameters
    ----------
    image_shape : sequence of int
        Height and width come first.

    Returns
    -------
    patch_size : int
        The admissible side whose number of patches is closest to 32 on a logarithmic
        scale, the larger of two: 2 for 8x8 pixels, 4 for 28x28, 8 for 32x32.
    """
    height, width = image_shape[:2]

    def distance(size: int) -> tuple[float, int]:
        n_patches = (height // size) * (width // size)
        return round(abs(math.log2(n_patches / 32)), 9), -size

    return min(admissible_patch_sizes(image_shape), key=distance)
