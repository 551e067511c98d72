"""Altered images for training: moved, turned, scaled, mirrored, covered."""

import math
from typing import Any

import torch
from torch import Tensor

from sklearn_whitebox.modules._shared_draws import own_part, whole_shape

# Small enough to leave the class of a digit, a face or a garment alone.
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "shift": {"max_shift": 0.07},
    "affine": {"max_shift": 0.07, "max_rotation": 10.0, "max_scaling": 0.1},
    "mirror": {
        "max_shift": 0.07,
        "max_rotation": 10.0,
        "max_scaling": 0.1,
        "flip": True,
    },
}


def augment_images(
    images: Tensor,
    generator: torch.Generator,
    *,
    max_shift: float = 0.07,
    max_rotation: float = 0.0,
    max_scaling: float = 0.0,
    flip: bool = False,
    cutout: float = 0.0,
) -> Tensor:
    """Alter every image of a batch in its own random way.

    What moves out of the picture is lost, and the pixels of its border are repeated
    where something is missing: neither strokes that come back on the other side nor
    edges of a wrong grey.

    Parameters
    ----------
    images : Tensor of shape (n_samples, height, width, n_channels)
        Images, channels last.
    generator : Generator
        Source of all draws. They are made on its device, so that one seed alters images
        alike on all devices.
    max_shift : float, default=0.07
        Furthest to move up or down and left or right, as a share of height and width.
        Moves are no whole pixels: on a tiny image one pixel is far.
    max_rotation : float, default=0.0
        Largest angle to turn by, in degrees.
    max_scaling : float, default=0.0
        Largest share, below one, to grow or shrink by.
    flip : bool, default=False
        Mirror half of the images, left to right. Not for digits and letters.
    cutout : float, default=0.0
        Sides of a rectangle to be covered by the mean of the image, as a share of
        height and width; its centre is drawn uniformly.

    Returns
    -------
    images : Tensor of shape (n_samples, height, width, n_channels)
        New images, interpolated linearly; dtype and device as given.

    Raises
    ------
    ValueError
        If `images` does not have four dimensions or a setting is out of its range.

    Examples
    --------
    >>> import torch
    >>> from sklearn_whitebox.modules import augment_images
    >>> image = torch.arange(9.0).reshape(1, 3, 3, 1)
    >>> moved = augment_images(image, torch.Generator().manual_seed(0), max_shift=0.1)
    >>> moved.shape
    torch.Size([1, 3, 3, 1])
    """
    if images.ndim != 4:
        raise ValueError(
            f"images of shape {tuple(images.shape)} must have four dimensions: "
            "(n_samples, height, width, n_channels)."
        )
    if not 0 <= max_rotation <= 180:
        raise ValueError(f"max_rotation={max_rotation} must be from 0 to 180 degrees.")
    for name, share in (
        ("max_shift", max_shift),
        ("max_scaling", max_scaling),
        ("cutout", cutout),
    ):
        if not 0 <= share < 1:
            raise ValueError(f"{name}={share} must be at least 0 and below 1.")
    if len(images) == 0:
        return images
    if max_shift or max_rotation or max_scaling or flip:
        draws = _uniform(images, (len(images), 5), generator)
        images = _move(
            images,
            angle=math.radians(max_rotation) * draws[:, 0],
            size=1 + max_scaling * draws[:, 1],
            shift=max_shift * draws[:, 2:4],
            mirrored=draws[:, 4] < 0 if flip else None,
        )
    if cutout:
        images = _cover(images, _uniform(images, (len(images), 2), generator), cutout)
    return images


def _move(
    images: Tensor,
    *,
    angle: Tensor,
    size: Tensor,
    shift: Tensor,
    mirrored: Tensor | None,
) -> Tensor:
    """Turn and scale about the centre of the image, then move."""
    n_samples, height, width, n_channels = images.shape
    sign = torch.ones_like(angle)
    if mirrored is not None:
        sign = torch.where(mirrored, -sign, sign)
    cos, sin = angle.cos() / size, angle.sin() / size
    # Coordinates run from -1 to 1 along both sides, so a turn must know their ratio,
    # and a shift by the whole side is one of two.
    maps = torch.stack(
        [
            torch.stack(
                [sign * cos, -sign * sin * (height / width), 2 * shift[:, 1]], 1
            ),
            torch.stack([sin * (width / height), cos, 2 * shift[:, 0]], 1),
        ],
        1,
    )  # (n_samples, 2, 3)
    grid = torch.nn.functional.affine_grid(
        maps, [n_samples, n_channels, height, width], align_corners=False
    )
    moved = torch.nn.functional.grid_sample(
        images.movedim(-1, 1), grid, padding_mode="border", align_corners=False
    )
    return moved.movedim(1, -1)


def _cover(images: Tensor, draws: Tensor, share: float) -> Tensor:
    """Cover a rectangle of every image by the mean of the image."""
    inside = []
    for axis, length in enumerate(images.shape[1:3]):
        places = torch.arange(length, device=images.device) + 0.5
        centre = length * (draws[:, axis : axis + 1] + 1) / 2
        inside.append((places - centre).abs() <= share * length / 2)
    covered = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return torch.where(covered, images.mean((1, 2), keepdim=True), images)


def _uniform(
    like: Tensor, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Draw from -1 to 1, in the dtype and on the device of a tensor."""
    draws = torch.rand(
        whole_shape(shape, generator),
        generator=generator,
        dtype=torch.float32,
        device=generator.device,
    )
    return (2 * own_part(draws, generator) - 1).to(like)
