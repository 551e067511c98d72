"""What an embedding reads: labels, weights, scaled rows and their views."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from sklearn_whitebox._array import as_numpy
from sklearn_whitebox._compat import _check_sample_weight
from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows

# Noise of the default views of a table, in standard deviations, and the share of
# entries that is replaced by the mean.
_NOISE = 0.1
_DROPPED = 0.1
# Largest shift of the default views of an image, as a share of its side, and the
# largest share that a crop cuts off.
_SHIFT = 0.1
_CROP = 0.2


@dataclass(frozen=True)
class Rows:
    """Distinct training rows.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_features)
        Rows, in an order that depends on their values only.
    labels : ndarray of shape (n_rows,)
        Class numbers, -1 without label.
    weights : ndarray of shape (n_rows,) or None
        Weights; None where all are equal.
    classes : ndarray of shape (n_classes,)
        Labels, empty where none are asked for.
    """

    X: np.ndarray
    labels: np.ndarray
    weights: np.ndarray | None
    classes: np.ndarray

    @property
    def mass(self):
        """Weights of the rows, one where there are none."""
        return np.ones(len(self.X)) if self.weights is None else self.weights

    def class_sizes(self):
        """Total weight of every class."""
        known = self.labels >= 0
        return np.bincount(
            self.labels[known], self.mass[known], minlength=len(self.classes)
        )


def split_labels(y, *, partly):
    """Tell class numbers from labels, -1 where a row has none.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels.
    partly : bool
        Whether -1, or the string "-1", says that a row has no label.

    Returns
    -------
    classes : ndarray of shape (n_classes,)
        Labels that occur.
    labels : ndarray of shape (n_samples,)
        Their numbers.
    """
    y = column_or_1d(y, warn=True)
    known = np.ones(len(y), bool)
    if partly:
        known = y != -1 if y.dtype.kind in "iuf" else y.astype(str) != "-1"
    check_classification_targets(y[known] if known.any() else y)
    labels = np.full(len(y), -1, np.int64)
    classes, labels[known] = np.unique(y[known], return_inverse=True)
    return classes, labels


def number_labels(y, classes, *, partly):
    """Give known labels their numbers.

    Parameters
    ----------
    y : array-like of shape (n_samples,)
        Labels.
    classes : ndarray of shape (n_classes,)
        Known labels, sorted.
    partly : bool
        Whether -1 says that a row has no label.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Class numbers, -1 without label.

    Raises
    ------
    ValueError
        If a label is not known.
    """
    seen, labels = split_labels(y, partly=partly)
    strange = np.setdiff1d(seen, classes)
    if len(strange):
        raise ValueError(f"y has labels {strange!r} that are not in classes.")
    table = np.append(np.searchsorted(classes, seen), -1)
    return table[labels]


def gather_rows(X, labels, classes, sample_weight, class_weight):
    """Weight rows and merge equal ones, so that weights are the same as copies.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Validated rows.
    labels : ndarray of shape (n_samples,)
        Class numbers, -1 without label.
    classes : ndarray of shape (n_classes,)
        Labels.
    sample_weight : array-like of shape (n_samples,) or None
        Weights.
    class_weight : dict, "balanced" or None
        Weights of the classes.

    Returns
    -------
    rows : Rows
        Distinct rows of positive weight, weights of mean one.

    Raises
    ------
    ValueError
        If weights are negative or all zero.
    """
    weights = np.ones(len(X))
    if sample_weight is not None:
        weights = _check_sample_weight(
            as_numpy(sample_weight), X, dtype=np.float64, ensure_non_negative=True
        )
        if not weights.any():
            raise ValueError("sample_weight is zero for every sample.")
    keyed = np.column_stack([X, labels.astype(X.dtype)])
    first, _, totals = merge_equal_rows(keyed, weights)
    labels = labels[first]
    if class_weight is not None:
        totals = totals * _class_factors(labels, totals, classes, class_weight)
        first, labels, totals = (part[totals > 0] for part in (first, labels, totals))
        if len(totals) == 0:
            raise ValueError(f"class_weight={class_weight!r} is zero for every class.")
    equal = np.ptp(totals) <= 1e-12 * totals.max()
    weights = None if equal else totals / totals.mean()
    return Rows(X[first], labels, weights, classes)


def _class_factors(labels, weights, classes, class_weight):
    known = labels >= 0
    if class_weight == "balanced":
        sizes = np.bincount(labels[known], weights[known], minlength=len(classes))
        factors = sizes.sum() / (len(classes) * np.maximum(sizes, 1e-300))
    else:
        factors = compute_class_weight(class_weight, classes=classes, y=classes)
        if (factors < 0).any():
            raise ValueError(f"class_weight={class_weight!r} must not be negative.")
    return np.append(factors, 1.0)[labels]


def fit_scaler(rows, *, standardize):
    """Means and scales of the columns.

    Parameters
    ----------
    rows : Rows
        Training rows.
    standardize : bool
        Whether to scale at all.

    Returns
    -------
    mean, scale : ndarray of shape (n_features,)
        What to subtract and divide by.
    """
    X, weights = rows.X, rows.weights
    mean, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
    if not standardize:
        return mean, scale
    # In float32 the sums of many large entries lose the deviations.
    if weights is None:
        mean = X.mean(axis=0, dtype=np.float64)
        deviation = X.std(axis=0, dtype=np.float64)
    else:
        mean = np.average(X.astype(np.float64), axis=0, weights=weights)
        deviation = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weights))
    return mean, np.where(is_constant(mean, deviation, X.dtype), 1, deviation)


def is_constant(mean, deviation, dtype):
    """Tell columns whose deviation is of rounding size, which is not exactly zero."""
    return deviation <= 10 * np.finfo(dtype).eps * np.abs(mean)


def standardized(X, mean, scale):
    """Scale rows, in float32.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    mean, scale : ndarray of shape (n_features,)
        Fitted scaler.

    Returns
    -------
    inputs : ndarray of shape (n_samples, n_features)
        In float32.

    Raises
    ------
    ValueError
        If an entry does not fit into float32.
    """
    with np.errstate(over="ignore"):
        inputs = ((X - mean) / scale).astype(np.float32)
    check_single_range(inputs)
    return inputs


def check_single_range(inputs):
    """Refuse entries that became infinite in float32."""
    if not np.isfinite(inputs).all():
        raise ValueError(
            "X has entries beyond the range of float32, in which networks compute; "
            "use standardize=True or scale X first."
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

    def _jitter(self, rows):
        noise = torch.randn(rows.shape, generator=self.generator).to(rows.device)
        kept = torch.rand(rows.shape, generator=self.generator).to(rows.device)
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
    draws = torch.rand(len(rows), 3, generator=generator)
    size = 1 - _CROP * draws[:, 0]
    # In coordinates from -1 to 1, in which a side is 2 long.
    shifts = 2 * _SHIFT * (2 * draws[:, 1:] - 1)
    affine = torch.zeros(len(rows), 2, 3)
    affine[:, 0, 0] = affine[:, 1, 1] = size
    affine[:, :, 2] = shifts
    grid = torch.nn.functional.affine_grid(
        affine.to(rows.device), list(images.shape), align_corners=False
    )
    moved = torch.nn.functional.grid_sample(
        images, grid, padding_mode="border", align_corners=False
    )
    return moved.flatten(1)
