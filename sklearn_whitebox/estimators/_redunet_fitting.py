"""What a ReduNet classifier does between validation and storage."""

import tempfile

import numpy as np
from scipy.special import softmax
from sklearn.utils.class_weight import compute_class_weight

from sklearn_whitebox._array import as_numpy, check_memory
from sklearn_whitebox._compat import _check_sample_weight
from sklearn_whitebox.estimators._redunet_inputs import (
    apply_lift,
    left_out_accuracy,
    lifted_shape,
    sample_size,
    unit_features,
)
from sklearn_whitebox.solvers._frequency_coding import (
    FrequencyCoder,
    subspace_scores,
)
from sklearn_whitebox.solvers._redunet import array_chunks, build_redunet
from sklearn_whitebox.solvers._redunet_finetune import FinetuneSettings
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
)
from sklearn_whitebox.solvers._weighted_rows import merge_equal_rows

# Rows lifted and classified at a time. Fixed, so that results do not depend on the
# machine.
BLOCK = 1024


def drop_weightless(X, y, sample_weight):
    """Leave out rows of weight zero, so that their labels do not count, either.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    y : ndarray of shape (n_samples,)
        Labels.
    sample_weight : array-like of shape (n_samples,)
        How many times each row counts.

    Returns
    -------
    X, y, sample_weight : ndarray
        Of the rows that are left.
    """
    sample_weight = _check_sample_weight(
        as_numpy(sample_weight), X, dtype=np.float64, ensure_non_negative=True
    )
    kept = sample_weight > 0
    if not kept.any():
        raise ValueError("sample_weight is zero for every sample.")
    return X[kept], y[kept], sample_weight[kept]


def weigh_rows(X, labels, classes, sample_weight, class_weight):
    """Merge equal rows of a class, and weigh classes.

    What follows depends neither on the order of the rows, nor on whether one is
    repeated or weighted.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    labels : ndarray of shape (n_samples,)
        Classes, from 0.
    classes : ndarray of shape (n_classes,)
        Their names.
    sample_weight : ndarray of shape (n_samples,) or None
        How many times each row counts, more than zero.
    class_weight : dict, "balanced" or None
        As in scikit-learn.

    Returns
    -------
    X : ndarray of shape (n_distinct, n_features)
        Distinct rows.
    labels : ndarray of shape (n_distinct,)
        Their classes.
    counts : ndarray of shape (n_distinct,)
        How often each occurs.
    weights : ndarray of shape (n_distinct,)
        The same with the classes weighed.
    """
    weights = np.ones(len(X)) if sample_weight is None else sample_weight
    first, _, counts = merge_equal_rows(
        np.column_stack([X, labels.astype(X.dtype)]), weights
    )
    X, labels = X[first], labels[first]
    totals = np.bincount(labels, weights=counts, minlength=len(classes))
    factors = class_factors(class_weight, classes, totals)
    return X, labels, counts, counts * factors[labels]


def class_factors(class_weight, classes, totals):
    """Tell how often each sample of a class counts.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        As in scikit-learn.
    classes : ndarray of shape (n_classes,)
        Names of the classes.
    totals : ndarray of shape (n_classes,)
        Weight of the samples of each.

    Returns
    -------
    factors : ndarray of shape (n_classes,)
        One unless weighed, and for absent classes.
    """
    factors = np.ones(len(classes))
    present = totals > 0
    if isinstance(class_weight, str):
        factors[present] = totals.sum() / (present.sum() * totals[present])
    elif class_weight is not None:
        factors = compute_class_weight(class_weight, classes=classes, y=classes)
        if not (factors > 0).all():
            raise ValueError(
                f"class_weight={class_weight!r} must be positive for every class; "
                "leave out the samples of a class that shall not count."
            )
    return factors


def lifted_features(X, lift, arrays, shape):
    """Lift rows and take them to frequencies, as they enter the network.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Rows.
    lift : str or transformer
        Kind of lift.
    arrays : dict of str to ndarray
        Its arrays.
    shape : tuple of int or None
        Shape of signals that enter the lift.

    Returns
    -------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features of unit norm.
    """
    out = lifted_shape(lift, arrays, shape)
    blocks = [
        unit_features(apply_lift(lift, arrays, X[i : i + BLOCK], shape), out)
        for i in range(0, len(X), BLOCK)
    ]
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def choose_inputs(candidates, X, labels, weights, *, shape, n_classes, distortions):
    """Choose lift and distortion by how well classes are coded, by rows left out.

    Of all that are within a standard error of the best, the first lift is taken, and
    for it the largest distortion, which keeps the least of the noise.

    Parameters
    ----------
    candidates : list of (str or transformer, dict)
        Lifts and their arrays, the simplest first.
    X : ndarray of shape (n_samples, n_features)
        Training rows.
    labels : ndarray of shape (n_samples,)
        Their classes.
    weights : ndarray of shape (n_samples,)
        How many times each counts.
    shape : tuple of int or None
        Shape of signals that enter the lift.
    n_classes : int
        Number of classes.
    distortions : sequence of float
        Allowed mean squared errors per sample, rising.

    Returns
    -------
    lift, distortion : int
        Numbers of those chosen.
    accuracy : ndarray of shape (n_lifts, n_distortions)
        Share of rows classified rightly.
    """
    accuracy = np.empty((len(candidates), len(distortions)))
    for row, (lift, arrays) in zip(accuracy, candidates, strict=True):
        width = apply_lift(lift, arrays, X[:1], shape).shape[1]
        some = slice(sample_size(width))
        row[:] = left_out_accuracy(
            lifted_features(X[some], lift, arrays, shape),
            labels[some],
            weights[some],
            n_classes=n_classes,
            distortions=distortions,
            shares=frequency_weights(lifted_shape(lift, arrays, shape)),
        )
    # Sums of shares may exceed one by rounding, which has no square root.
    np.minimum(accuracy, 1, out=accuracy)
    best, n_rows = accuracy.max(), min(weights.sum(), len(X))
    good = accuracy >= best - np.sqrt(best * (1 - best) / n_rows)
    first = int(good.any(axis=1).argmax())
    return first, int(np.flatnonzero(good[first])[-1]), accuracy


def work_per_row(row_shape, n_classes):
    """Count the multiply-adds of a layer for one row.

    Parameters
    ----------
    row_shape : tuple of int
        Frequencies and channels of a row.
    n_classes : int
        Number of classes.

    Returns
    -------
    work : float
        For dense operators.
    """
    return float(row_shape[0] * row_shape[1] ** 2 * (n_classes + 1))


def check_network(
    counts, row_shape, itemsize, *, n_layers, dense, in_memory, trained=False
):
    """Refuse networks beyond the memory budget before they are built.

    Parameters
    ----------
    counts : ndarray of shape (n_classes,)
        Distinct rows of each class.
    row_shape : tuple of int
        Frequencies and channels of a row.
    itemsize : int
        Bytes of a number.
    n_layers : int
        Most layers.
    dense : bool
        Whether operators are kept dense in any case.
    in_memory : bool
        Whether the features of all rows are in memory.
    trained : bool, default=False
        Whether gradients are propagated back through the layers.
    """
    n_frequencies, n_channels = row_shape
    sides = np.concatenate([[counts.sum()], counts])
    ranks = np.where(dense | (2 * sides > n_channels), n_channels, sides)
    layer = itemsize * n_frequencies * n_channels * ranks.sum()
    width = 16 if itemsize in (8, 16) and n_frequencies > 1 else 8
    moments = 3 * width * n_frequencies * n_channels * ranks.sum()
    features = (
        3 * itemsize * n_frequencies * n_channels * (counts.sum() if in_memory else 0)
    )
    training = 0
    if trained:
        n_rows = min(counts.sum(), FinetuneSettings().batch_size)
        # Responses of classes and what norms and sums keep of them; AdamW's moments.
        responses = itemsize * n_rows * n_frequencies * n_channels * (len(counts) + 2)
        training = n_layers * (3 * responses + 3 * layer)
    check_memory(
        float(n_layers * layer + moments + features + training),
        what=f"A network of {n_layers} layers for {len(counts)} classes of features "
        f"with {n_channels} channels at {n_frequencies} frequencies",
        remedy="lower n_layers or n_channels, reduce the features with PCA first, or "
        + ("do without finetune" if trained else "set chunk_size"),
    )


def build(X, labels, weights, *, lift, arrays, shape, chunk_size, **options):
    """Build a network, with features in memory or chunk by chunk.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Training rows.
    labels : ndarray of shape (n_samples,)
        Their classes.
    weights : ndarray of shape (n_samples,)
        How many times each counts.
    lift : str or transformer
        Kind of lift.
    arrays : dict of str to ndarray
        Its arrays.
    shape : tuple of int or None
        Shape of signals that enter the lift.
    chunk_size : int or None
        Rows that are lifted at a time; None keeps all features in memory.
    **options : dict
        Of :func:`build_redunet`.

    Returns
    -------
    result : ReduNetResult
        The network.
    """
    options["frequency_weights"] = frequency_weights(lifted_shape(lift, arrays, shape))
    if chunk_size is None:
        V = lifted_features(X, lift, arrays, shape)
        return build_redunet(array_chunks(V, labels, weights), **options)

    def chunks():
        for start in range(0, len(X), chunk_size):
            rows = slice(start, start + chunk_size)
            V = lifted_features(X[rows], lift, arrays, shape)
            yield V, labels[rows], weights[rows]

    return build_redunet(chunks, cache=tempfile.gettempdir(), **options)


def class_scores(V, spectra, *, distortion, shares, n_components):
    """Score classes of the features after the last layer.

    Parameters
    ----------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features.
    spectra : list of ClassSpectrum
        Classes.
    distortion : float
        Allowed mean squared error per sample.
    shares : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    n_components : int or None
        Dimension of subspaces; None scores by coding lengths.

    Returns
    -------
    scores : ndarray of shape (n_samples, n_classes)
        The larger, the better.
    """
    coder = FrequencyCoder(spectra, distortion=distortion, frequency_weights=shares)
    # Coordinates in all classes take more memory than features.
    widest = max(spectrum.values.size for spectrum in spectra)
    block = int(min(BLOCK, max(32, 2**22 // max(widest, 1))))
    parts = [np.empty((0, len(spectra)))]
    for i in range(0, len(V), block):
        rows = V[i : i + block]
        if n_components is None:
            parts.append(coder.scores(rows))
        else:
            parts.append(subspace_scores(rows, spectra, n_components, shares))
    return np.concatenate(parts)


def choose_sharpness(scores, weights, accuracy):
    """Find the factor of the scores for which confidence is as high as accuracy.

    Features of the training rows are more certain than those of new ones, since the
    layers were built from them. Their mean confidence is brought to the accuracy that
    the first layer has on rows left out.

    Parameters
    ----------
    scores : ndarray of shape (n_samples, n_classes)
        Of training rows.
    weights : ndarray of shape (n_samples,)
        How many times each counts.
    accuracy : float
        Accuracy that is to be expected.

    Returns
    -------
    factor : float
        Between 1e-4 and 1e4.
    """
    shares = weights / weights.sum()
    # As many errors as samples could show at least.
    target = min(accuracy, 1 - 0.5 / (len(weights) + 1))
    # Probabilities keep the order of the scores even where these mean nothing.
    chance = 1 / scores.shape[1]
    target = max(target, chance + 0.05 * (1 - chance))
    low, high = -4.0, 4.0
    for _ in range(50):
        middle = (low + high) / 2
        confidence = softmax(10**middle * scores, axis=1).max(axis=1)
        if shares @ confidence < target:
            low = middle
        else:
            high = middle
    return float(10**high)
