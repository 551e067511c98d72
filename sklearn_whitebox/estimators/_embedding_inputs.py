"""What an embedding reads: labels, weights, scaled rows and their views."""

from dataclasses import dataclass

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from sklearn_whitebox._array import as_numpy
from sklearn_whitebox._compat import _check_sample_weight
from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows

# Its square times a billion rows is in the range of float32.
_MOST_SQUARABLE = 1e14


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


def number_labels(seen, labels, classes):
    """Give the labels of a block their numbers among all known ones.

    Parameters
    ----------
    seen : ndarray of shape (n_seen,)
        Labels of the block.
    labels : ndarray of shape (n_samples,)
        Their numbers among those, -1 without label.
    classes : ndarray of shape (n_classes,)
        Known labels, sorted.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Numbers among the known ones, -1 without label.

    Raises
    ------
    ValueError
        If a label is not known.
    """
    strange = np.setdiff1d(seen, classes)
    if len(strange):
        raise ValueError(f"y has labels {strange!r} that are not in classes.")
    # The last entry is for rows without label, number -1.
    table = np.append(np.searchsorted(classes, seen), -1)
    return table[labels]


def gather_rows(X, labels, classes, sample_weight, class_weight, *, present=False):
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
    present : bool, default=False
        Whether classes without rows of positive weight are left out.

    Returns
    -------
    rows : Rows
        Distinct rows of positive weight, weights of mean one.

    Raises
    ------
    ValueError
        If weights are negative or all zero, or those of a class are not positive.
    """
    weights = np.ones(len(X))
    if sample_weight is not None:
        weights = _check_sample_weight(
            as_numpy(sample_weight), X, dtype=np.float64, ensure_non_negative=True
        )
    if present:
        counted = np.unique(labels[(labels >= 0) & (weights > 0)])
        table = np.full(len(classes) + 1, -1)
        table[counted] = np.arange(len(counted))
        labels, classes = table[labels], classes[counted]
    keyed = np.column_stack([X, labels.astype(X.dtype)])
    first, _, totals = merge_equal_rows(keyed, weights)
    labels = labels[first]
    if class_weight is not None:
        totals = totals * _class_factors(labels, totals, classes, class_weight)
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
        if not (factors > 0).all():
            raise ValueError(
                f"class_weight={class_weight!r} must be positive for every class; "
                "leave out the rows of a class that shall not count."
            )
    return np.append(factors, 1.0)[labels]


def fit_scaler(rows, *, standardize):
    """Means and scales of the columns.

    Parameters
    ----------
    rows : Rows
        Training rows.
    standardize : bool or "auto"
        Whether to scale at all; ``"auto"`` gives columns of comparable ranges one
        common scale.

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
    ranges = X.max(axis=0).astype(np.float64) - X.min(axis=0)
    constant = is_constant(mean, deviation, X.dtype)
    return mean, column_scales(deviation, ranges, constant, standardize=standardize)


def column_scales(deviation, ranges, constant, *, standardize):
    """Choose by what to divide the columns.

    Parameters
    ----------
    deviation : ndarray of shape (n_features,)
        Their standard deviations.
    ranges : ndarray of shape (n_features,)
        Their largest entries less their smallest.
    constant : ndarray of shape (n_features,)
        Which of them do not vary.
    standardize : True or "auto"
        ``"auto"`` gives columns of comparable ranges one common scale.

    Returns
    -------
    scale : ndarray of shape (n_features,)
        Positive; one for constant columns that have a scale of their own.
    """
    if standardize == "auto" and _share_unit(ranges[~constant]):
        return np.full_like(deviation, np.sqrt(np.mean(deviation[~constant] ** 2)))
    return np.where(constant, 1, deviation)


def _share_unit(ranges):
    """Tell whether the columns look like grey values: one unit for all.

    Scaling such columns to unit variance would blow up those that hardly vary.
    """
    if len(ranges) < 2:
        return False
    typical = np.median(ranges)
    return np.quantile(ranges, 0.75) <= 2 * typical and ranges.max() <= 4 * typical


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


def check_square_range(inputs):
    """Refuse entries whose squares batch normalisation cannot sum in float32."""
    if max(float(inputs.max()), -float(inputs.min())) > _MOST_SQUARABLE:
        raise ValueError(
            "X has entries whose squares are beyond the range of float32, in which "
            "networks are trained; use standardize=True or scale X first."
        )


def check_single_range(inputs):
    """Refuse entries that became infinite in float32."""
    if not np.isfinite(inputs).all():
        raise ValueError(
            "X has entries beyond the range of float32, in which networks compute; "
            "use standardize=True or scale X first."
        )
