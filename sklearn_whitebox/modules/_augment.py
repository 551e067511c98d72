"""Altered images for training: moved, turned, scaled, mirrored, covered."""

import math

import torch
from torch import Tensor


def augment_images(
    images: Tensor,
    generator: torch.Generator,
    *,
    max_shift: int = 1,
    max_rotation: float = 0.0,
    max_scaling: float = 0.0,
    flip: bool = False,
    cutout: int = 0,
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
    max_shift : int, default=1
        Most pixels to move by, up or down and left or right, by whole pixels.
    max_rotation : float, default=0.0
        Largest angle to turn by, in degrees.
    max_scaling : float, default=0.0
        Largest share, below one, to grow or shrink by.
    flip : bool, default=False
        Mirror half of the images, left to right. Not for digits and letters.
    cutout : int, default=0
        Side of a square to be covered by the mean of the image, in pixels; its centre
        is drawn uniformly.

    Returns
    -------
    images : Tensor of shape (n_samples, height, width, n_channels)
        New images, dtype and device as given. Pixels are copies of those given unless
        images are turned or scaled, which interpolates linearly.

    Raises
    ------
    ValueError
        If `images` does not have four dimensions or a setting is out of its range.

    Examples
    --------
    >>> import torch
    >>> from sklearn_whitebox.modules import augment_images
    >>> image = torch.arange(9.0).reshape(1, 3, 3, 1)
    >>> moved = augment_images(image, torch.Generator().manual_seed(0))
    >>> moved[0, ..., 0]
    tensor([[3., 3., 4.],
            [6., 6., 7.],
            [6., 6., 7.]])
    """
    _check(images, max_shift, max_rotation, max_scaling, cutout)
    height, width = images.shape[1:3]
    if flip:
        mirrored = _uniform(images, (len(images), 1), generator) < 0
        images = torch.where(mirrored[:, :, None, None], images.flip(2), images)
    if max_rotation or max_scaling:
        images = _turn(images, generator, math.radians(max_rotation), max_scaling)
    if max_shift:
        moves = torch.randint(
            -max_shift,
            max_shift + 1,
            (len(images), 2),
            generator=generator,
            device=generator.device,
        ).to(images.device)
        rows = torch.arange(height, device=images.device) + moves[:, :1]
        columns = torch.arange(width, device=images.device) + moves[:, 1:]
        images = images[
            torch.arange(len(images), device=images.device)[:, None, None],
            rows.clamp(0, height - 1)[:, :, None],
            columns.clamp(0, width - 1)[:, None, :],
        ]
    if cutout:
        images = _cover(images, generator, cutout)
    return images


def _turn(
    images: Tensor, generator: torch.Generator, angle: float, scaling: float
) -> Tensor:
    """Turn and scale about the centre of the image."""
    n_samples, height, width, n_channels = images.shape
    draws = _uniform(images, (n_samples, 2), generator)
    turn = angle * draws[:, 0]
    size = 1 + scaling * draws[:, 1]
    cos, sin = turn.cos() / size, turn.sin() / size
    zero = torch.zeros_like(cos)
    # Coordinates run from -1 to 1 along both sides, so a turn must know their ratio.
    maps = torch.stack(
        [
            torch.stack([cos, -sin * (height / width), zero], 1),
            torch.stack([sin * (width / height), cos, zero], 1),
        ],
        1,
    )  # (n_samples, 2, 3)
    grid = torch.nn.functional.affine_grid(
        maps, [n_samples, n_channels, height, width], align_corners=False
    )
    turned = torch.nn.functional.grid_sample(
        images.movedim(-1, 1), grid, padding_mode="border", align_corners=False
    )
    return turned.movedim(1, -1)


def _cover(images: Tensor, generator: torch.Generator, side: int) -> Tensor:
    """Cover a square of every image by the mean of the image."""
    n_samples, height, width = images.shape[:3]
    centres = (_uniform(images, (n_samples, 2), generator) + 1) / 2
    inside = []
    for axis, length in enumerate((height, width)):
        places = torch.arange(length, device=images.device) + 0.5
        distance = (places - length * centres[:, axis : axis + 1]).abs()
        inside.append(distance <= side / 2)
    covered = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return torch.where(covered, images.mean((1, 2), keepdim=True), images)


def _uniform(
    like: Tensor, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Draw from -1 to 1, in the dtype and on the device of a tensor."""
    draws = torch.rand(
        shape, generator=generator, dtype=torch.float32, device=generator.device
    )
    return (2 * draws - 1).to(like)


def _check(
    images: Tensor,
    max_shift: int,
    max_rotation: float,
    max_scaling: float,
    cutout: int,
) -> None:
    if images.ndim != 4:
        raise ValueError(
            f"images of shape {tuple(images.shape)} must have four dimensions: "
            "(n_samples, height, width, n_channels)."
        )
    if max_shift < 0 or cutout < 0:
        raise ValueError(
            f"max_shift={max_shift} and cutout={cutout} must not be negative."
        )
    if not 0 <= max_rotation <= 180:
        raise ValueError(f"max_rotation={max_rotation} must be from 0 to 180 degrees.")
    if not 0 <= max_scaling < 1:
        raise ValueError(f"max_scaling={max_scaling} must be from 0 to below 1.")
