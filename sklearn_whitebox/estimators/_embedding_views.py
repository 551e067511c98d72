"""Views of rows: what an embedding learns from without labels."""

import math

import numpy as np
import torch

from sklearn_whitebox._array import as_numpy
from sklearn_whitebox.estimators._embedding_inputs import standardized

# Noise of the default views of a table, in standard deviations, and the share of
# entries that is replaced by the mean.
_NOISE = 0.1
_DROPPED = 0.1
# Largest shift of the default views of an image, as a share of its side, and the
# largest share that a crop cuts off.
_SHIFT = 0.1
_CROP = 0.2


def make_views(estimator, X, inputs, generator):
    """Prepare the views of some rows.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Whose augmentation is asked, with a fitted scaler.
    X : ndarray of shape (n_rows, n_features)
        Rows.
    inputs : Tensor of shape (n_rows, n_features)
        The same, standardised.
    generator : Generator
        Source of the changes.

    Returns
    -------
    views : ViewMaker
        Maps row numbers to views.

    Raises
    ------
    ValueError
        If `input_shape` does not fit the rows, or there are no views without
        augmentation.
    """
    if estimator.augment is None:
        raise ValueError(
            "augment=None leaves objective='self_supervised' nothing to learn from; "
            "use 'auto' or a callable."
        )
    shape = estimator.input_shape
    if shape is not None:
        shape = tuple(int(side) for side in shape)
        if len(shape) not in (2, 3) or math.prod(shape) != X.shape[1]:
            raise ValueError(
                f"input_shape={estimator.input_shape!r} must be (H, W) or (C, H, W) "
                f"with a product of n_features={X.shape[1]}."
            )
    return ViewMaker(
        X,
        inputs,
        estimator.mean_,
        estimator.scale_,
        n_views=estimator.n_views,
        augment=estimator.augment if callable(estimator.augment) else None,
        input_shape=shape,
        generator=generator,
    )


class ViewMaker:
    """Views of rows: the row itself and altered copies of it.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows as the user gave them.
    inputs : Tensor of shape (n_samples, n_features)
        Standardised rows, on the device.
    mean, scale : ndarray of shape (n_features,)
        Fitted scaler.
    n_views : int
        Views of a row.
    augment : callable or None
        The user's, on rows as given.
    input_shape : tuple of int or None
        (H, W) or (C, H, W), for shifts and crops.
    generator : Generator
        Source of the changes.
    """

    def __init__(
        self, X, inputs, mean, scale, *, n_views, augment, input_shape, generator
    ):
        self.X, self.inputs = X, inputs
        self.mean, self.scale = mean, scale
        self.n_views = n_views
        self.augment = augment
        self.input_shape = input_shape
        self.generator = generator
        self.deviation = inputs.std(0, correction=0)
        self.centre = inputs.mean(0)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        self.rng = np.random.default_rng(seed)

    def __call__(self, rows):
        """Make the views of some rows, side by side.

        Parameters
        ----------
        rows : Tensor of shape (n_rows,)
            Row numbers.

        Returns
        -------
        views : Tensor of shape (n_rows * n_views, n_features)
            The first view of a row is the row itself.
        """
        own = self.inputs[rows.to(self.inputs.device)]
        copies = own.repeat_interleave(self.n_views - 1, 0)
        if self.augment is not None:
            changed = self._ask(rows.repeat_interleave(self.n_views - 1).numpy())
        elif self.input_shape is not None:
            changed = shift_and_crop(copies, self.input_shape, self.generator)
        else:
            changed = self._jitter(copies)
        views = torch.cat(
            [own[:, None], changed.view(len(own), self.n_views - 1, -1)], 1
        )
        return views.flatten(0, 1)

    def altered(self, rows):
        """Let the user's callable alter rows of a batch.

        Parameters
        ----------
        rows : Tensor of shape (n_rows,)
            Row numbers.

        Returns
        -------
        inputs : Tensor of shape (n_rows, n_features)
            Altered rows, standardised.
        """
        return self._ask(rows.numpy())

    def _jitter(self, rows):
        noise = torch.randn(
            rows.shape, generator=self.generator, dtype=torch.float32
        ).to(rows.device)
        kept = torch.rand(rows.shape, generator=self.generator, dtype=torch.float32).to(
            rows.device
        )
        noisy = rows + _NOISE * self.deviation * noise
        return torch.where(kept < _DROPPED, self.centre, noisy)

    def _ask(self, rows):
        chunk = self.X[rows]
        changed = np.asarray(as_numpy(self.augment(chunk, self.rng)))
        if changed.shape != chunk.shape or changed.dtype.kind not in "fiu":
            raise ValueError(
                f"augment returned an array of shape {changed.shape} and type "
                f"{changed.dtype} for rows of shape {chunk.shape}; it must return "
                "numbers of the same shape."
            )
        if not np.isfinite(changed).all():
            raise ValueError("augment returned NaN or infinity.")
        inputs = standardized(changed, self.mean, self.scale)
        return torch.from_numpy(inputs).to(self.inputs.device)


def shift_and_crop(rows, input_shape, generator):
    """Shift images at random and cut off some of their border.

    Parameters
    ----------
    rows : Tensor of shape (n_rows, n_features)
        Flattened images.
    input_shape : tuple of int
        (H, W) or (C, H, W).
    generator : Generator
        Source of shifts and sizes.

    Returns
    -------
    rows : Tensor of shape (n_rows, n_features)
        Images resampled to the same shape; the border is repeated outside.
    """
    shape = (1, *input_shape) if len(input_shape) == 2 else tuple(input_shape)
    images = rows.view(len(rows), *shape)
    draws = torch.rand(len(rows), 3, generator=generator, dtype=torch.float32)
    size = 1 - _CROP * draws[:, 0]
    # In coordinates from -1 to 1, in which a side is 2 long.
    shifts = 2 * _SHIFT * (2 * draws[:, 1:] - 1)
    affine = torch.zeros(len(rows), 2, 3, dtype=torch.float32)
    affine[:, 0, 0] = affine[:, 1, 1] = size
    affine[:, :, 2] = shifts
    grid = torch.nn.functional.affine_grid(
        affine.to(rows.device), list(images.shape), align_corners=False
    )
    moved = torch.nn.functional.grid_sample(
        images, grid, padding_mode="border", align_corners=False
    )
    return moved.flatten(1)
