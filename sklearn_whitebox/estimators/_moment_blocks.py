"""What classifiers by second moments need of blocks: moments, and a few rows."""

import itertools
from dataclasses import dataclass

import numpy as np
from sklearn.utils.multiclass import check_classification_targets

from sklearn_whitebox._array import check_memory
from sklearn_whitebox._blocks import Blocks, record_columns
from sklearn_whitebox._threads import serial_blas
from sklearn_whitebox.estimators._block_samples import label_rows
from sklearn_whitebox.solvers._moment_sums import merge_classes, sum_classes
from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows, sample_by_hash


@dataclass(frozen=True)
class GatheredMoments:
    """What one pass over the blocks leaves.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,)
        Labels in order.
    moments : list of (float, ndarray, ndarray)
        What :func:`class_moments` returns, of each class.
    X : ndarray of shape (n_picked, n_features)
        Rows of least hash.
    target : ndarray of shape (n_picked,)
        Numbers of their classes.
    weights : ndarray of shape (n_picked,)
        How often each occurs.
    """

    classes: np.ndarray
    moments: list
    X: np.ndarray
    target: np.ndarray
    weights: np.ndarray


def gather_moments(estimator, blocks, classes, *, code_mean, size):
    """Sum the moments of all classes, and pick rows by a hash of them.

    Parameters
    ----------
    estimator : estimator
        Gets ``n_features_in_`` and ``feature_names_in_``.
    blocks : iterable or array
        Blocks of rows with labels.
    classes : array-like or None
        All labels; None looks for them in a pass of its own.
    code_mean : bool
        Whether moments are those around the means.
    size : int or callable
        Rows to pick, or a function of the number of classes that tells.

    Returns
    -------
    gathered : GatheredMoments
        The same however the rows are divided into blocks.
    """
    known = classes is not None
    rows = Blocks(blocks, labelled=True, passes=1 if known else 2)
    share = 1.0
    if not known or rows.loaders is not None:
        rows.survey()
    classes = np.unique(classes) if known else rows.classes
    check_classification_targets(classes)
    size = size(len(classes)) if callable(size) else size
    if rows.n_samples:
        # Twice as many, as the number under a bound of the hash is random.
        share = min(1.0, 2 * size / rows.n_samples)
    sums, sample = {}, None
    results = iter(rows.map(_sum_chunk, classes, code_mean, share, size))
    first = next(results, None)
    if first is None:
        raise ValueError("blocks hold no rows; at least one block must have some.")
    _check_size(len(classes), first[1].shape[1])
    for own, *picked in itertools.chain([first], results):
        merge_classes(sums, own, code_mean=code_mean)
        sample = _least(sample, picked, size)
    if share < 1 and len(sample[0]) < size:  # many rows are equal
        sample = None
        for picked in rows.map(_pick_chunk, classes, size):
            sample = _least(sample, picked, size)
    record_columns(estimator, rows)
    n_features = rows.n_features
    with serial_blas():
        absent = (0.0, np.zeros(n_features), np.empty((0, n_features)))
        moments = [
            sums[k].to_factor(code_mean=code_mean) if k in sums else absent
            for k in range(len(classes))
        ]
    return GatheredMoments(classes, moments, *sample)


def _sum_chunk(X, y, classes, code_mean, share, size):
    """Sum the moments of a chunk and pick its rows of least hash."""
    target = _number_labels(y, classes)
    some = sample_by_hash(label_rows(X, target), share)
    sample = _least(None, (X[some], target[some], np.ones(len(some))), size)
    return sum_classes(X, target, code_mean), *sample


def _pick_chunk(X, y, classes, size):
    target = _number_labels(y, classes)
    return _least(None, (X, target, np.ones(len(X))), size)


def _number_labels(y, classes):
    target = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    if (classes[target] != y).any():
        strange = np.setdiff1d(y, classes)[:5].tolist()
        raise ValueError(f"y has labels {strange} that are not in classes.")
    return target


def _least(sample, more, size):
    """Merge picked rows and keep those of least hash, each once with its weight."""
    if sample is not None:
        parts = zip(sample, more, strict=True)
        more = [np.concatenate(pair) for pair in parts]
    X, target, weights = more
    if len(X) == 0:
        return X, target, weights
    first, _, totals = merge_equal_rows(label_rows(X, target), weights)
    first = first[:size]
    return X[first], target[first], totals[:size]


def _check_size(n_classes, n_features):
    check_memory(
        16.0 * (n_classes + 2) * n_features**2,
        what=f"A matrix of {n_features} features for {n_classes} classes",
        remedy="reduce the features first, for example with "
        "sklearn.random_projection.SparseRandomProjection",
    )
