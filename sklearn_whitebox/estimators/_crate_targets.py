"""Targets of a CRATE: class numbers, or standardised numbers, with weights."""

import math
from dataclasses import dataclass

import numpy as np
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets

from sklearn_whitebox._array import as_numpy


@dataclass(frozen=True)
class Targets:
    """What is learnt from the rows that count.

    Parameters
    ----------
    kept : ndarray of bool of shape (n_samples,)
        Rows of positive weight.
    y : ndarray of shape (n_kept,) or (n_kept, n_outputs)
        Class numbers, or standardised numbers.
    weight : ndarray of shape (n_kept,)
        Weights with mean one.
    n_outputs : int
        Width of the head.
    attributes : dict of str to ndarray
        Fitted attributes that say what the outputs mean.
    """

    kept: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    n_outputs: int
    attributes: dict


def prepare_labels(y, sample_weight, class_weight, classes=None):
    """Encode classes as numbers, and weigh the rows by sample and class.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Class labels.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    class_weight : dict, "balanced" or None
        Weights of the classes.
    classes : ndarray or None, default=None
        Sorted class labels that are known already; None finds them.

    Returns
    -------
    targets : Targets
        Rows of positive weight.

    Raises
    ------
    ValueError
        If a weight is negative or not finite, or fewer than two classes have rows to
        learn from, or a label is not among `classes`.
    """
    check_classification_targets(y)
    _check_class_weight(class_weight)
    kept = _positive(sample_weight)
    # Balanced classes are balanced without the rows that are left out.
    y, weight = y[kept], sample_weight[kept]
    if classes is None:
        known, labels = np.unique(y, return_inverse=True)
    else:
        known, labels = classes, number_labels(y, classes)
    if class_weight is not None and len(y):
        weight = weight * compute_sample_weight(class_weight, y)
        positive = weight > 0
        kept[kept] = positive
        labels, weight = labels[positive], weight[positive]
    if classes is None and len(np.unique(labels)) < 2 and len(labels):
        raise ValueError(
            "CRATEClassifier needs samples of at least 2 classes with positive weight "
            f"in the data, but there is only one class: {known[labels[:1]].tolist()}."
        )
    if not len(labels):
        raise ValueError(
            "CRATEClassifier needs samples of positive weight, but all weights of "
            "samples or of their classes are zero."
        )
    weight = weight / weight.mean()
    return Targets(kept, labels, weight, len(known), {"classes_": known})


def number_labels(y, classes):
    """Give the number of every label.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels.
    classes : ndarray of shape (n_classes,)
        Sorted class labels.

    Returns
    -------
    labels : ndarray of int of shape (n_samples,)
        Numbers.

    Raises
    ------
    ValueError
        If a label is not among the classes.
    """
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(
            f"y contains labels that are not among the classes of the model: "
            f"{unknown[:5].tolist()}; the classes are {classes[:20].tolist()}."
        )
    return np.searchsorted(classes, y)


def prepare_numbers(y, sample_weight, scaling=None):
    """Standardise the targets of a regression.

    Parameters
    ----------
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Targets.
    sample_weight : ndarray of shape (n_samples,)
        Weights of the rows.
    scaling : (ndarray, ndarray) or None, default=None
        Mean and scale that are known already; None finds them.

    Returns
    -------
    targets : Targets
        Rows of positive weight.

    Raises
    ------
    ValueError
        If a weight is negative, or all are zero, or the targets are too large.
    """
    kept = _positive(sample_weight)
    if not kept.any():
        raise ValueError(
            "CRATERegressor needs samples of positive weight, but all weights are zero."
        )
    weight = sample_weight[kept]
    y = np.asarray(y, dtype=np.float64)[kept]
    y = y if y.ndim == 2 else y[:, None]
    if scaling is None:
        scaling = _target_scaling(y, weight)
    mean, scale = scaling
    standardised = (y - mean) / scale
    attributes = {"target_mean_": mean, "target_scale_": scale}
    weight = weight / weight.mean()
    return Targets(kept, standardised, weight, y.shape[1], attributes)


def _target_scaling(y, weight):
    largest = np.abs(y).max()
    if largest > 1e150:
        raise ValueError(
            f"y has entries as large as {largest:.3g}, whose squares overflow; scale "
            "the targets first."
        )
    mean = np.average(y, axis=0, weights=weight)
    scale = np.sqrt(np.average((y - mean) ** 2, axis=0, weights=weight))
    # A constant target differs from its mean by rounding only.
    constant = scale <= 1e-12 * np.abs(mean)
    return mean, np.where(constant | (scale == 0), 1.0, scale)


def _positive(sample_weight):
    if (sample_weight < 0).any():
        raise ValueError("sample_weight must not be negative.")
    return sample_weight > 0


def _check_class_weight(class_weight):
    if not isinstance(class_weight, dict):
        return
    for label, value in class_weight.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(
                f"class_weight={class_weight!r} must not be negative, infinite or "
                f"NaN; that of class {label!r} is {value!r}."
            )


def check_classes(classes, known=None):
    """Check the labels announced for a stream of batches.

    Parameters
    ----------
    classes : array-like or None
        Labels.
    known : ndarray or None, default=None
        Sorted labels that were announced before.

    Returns
    -------
    classes : ndarray
        Sorted labels.

    Raises
    ------
    ValueError
        If there are none or fewer than two, or others than before.
    """
    if classes is None:
        if known is None:
            raise ValueError(
                "classes must be passed on the first call to partial_fit; give all "
                "labels that will come."
            )
        return known
    classes = np.unique(as_numpy(classes))
    if known is not None and not np.array_equal(classes, known):
        raise ValueError(
            f"`classes={classes.tolist()}` is not the same as on last call to "
            f"partial_fit, was: {known.tolist()}"
        )
    if len(classes) < 2:
        raise ValueError(
            f"classes={classes.tolist()} must have at least 2 classes; give all labels "
            "that will come."
        )
    return classes
