"""How rows become the features that enter a ReduNet: lifting, and its choice."""

import math
from numbers import Integral

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils.validation import check_array

from sklearn_whitebox._array import as_numpy, to_tensor
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.modules._lifting import CircularLift, RandomLift
from sklearn_whitebox.solvers._frequency_coding import (
    FrequencyCoder,
    class_spectra,
    scores_left_out,
)
from sklearn_whitebox.solvers._redunet_forward import normalize_signals
from sklearn_whitebox.solvers._redunet_moments import ClassMoments
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    to_frequencies,
)

# Rows by which lifts are compared, and numbers in all of their features.
_MOST_ROWS = 3000
_MOST_NUMBERS = 2**24

# Beyond so many channels, the operators cost more than further features bring.
_MOST_CHANNELS = 256


def signal_shape(input_shape, n_features):
    """Check the shape of signals.

    Parameters
    ----------
    input_shape : tuple of int or None
        As given by the user.
    n_features : int
        Numbers in a row.

    Returns
    -------
    shape : tuple of int or None
        The same in Python integers.
    """
    if input_shape is None:
        return None
    shape = tuple(input_shape)
    if len(shape) not in (2, 3) or not all(
        isinstance(side, Integral) and side >= 1 for side in shape
    ):
        raise ValueError(
            f"input_shape={input_shape!r} must be (channels, length) or (channels, "
            "height, width), in positive integers."
        )
    if math.prod(shape) != n_features:
        raise ValueError(
            f"input_shape={input_shape!r} has {math.prod(shape)} entries, but rows "
            f"have {n_features} features."
        )
    return tuple(int(side) for side in shape)


def default_channels(n_features, n_rows, shape):
    """Choose the number of random features.

    Parameters
    ----------
    n_features : int
        Numbers in a row.
    n_rows : int
        Distinct training rows.
    shape : tuple of int or None
        Shape of signals.

    Returns
    -------
    n_channels : int
        Few enough for classes to be thin subspaces.
    """
    if shape is not None:
        return 20 if len(shape) == 2 else 32
    wide = min(max(8 * n_features, 128), _MOST_CHANNELS)
    return max(2, min(wide, n_rows // 2))


def fit_lift(lift, rows, weights, *, shape, n_channels, kernel_size, seed):
    """Settle what a lift takes from the training rows and the random numbers.

    Parameters
    ----------
    lift : {"none", "bias", "random_relu"}
        Kind of lift.
    rows : ndarray of shape (n_samples, n_features)
        Training rows.
    weights : ndarray of shape (n_samples,)
        How many times each counts.
    shape : tuple of int or None
        Shape of signals.
    n_channels : int
        Random features or filters.
    kernel_size : int or tuple of int
        Length of the filters.
    seed : int
        Of the random numbers.

    Returns
    -------
    arrays : dict of str to ndarray
        What :func:`apply_lift` needs.
    """
    if lift == "none":
        return {}
    generator = torch.Generator().manual_seed(seed)
    if shape is not None:
        if lift == "bias":
            return {"scale": np.array(_root_mean_square(rows, weights))}
        sizes = kernel_size
        if isinstance(kernel_size, Integral):
            sizes = (kernel_size,) * (len(shape) - 1)
        whole = all(isinstance(size, Integral) and size >= 1 for size in sizes)
        if len(sizes) != len(shape) - 1 or not whole:
            raise ValueError(
                f"kernel_size={kernel_size!r} must be a positive integer or have "
                f"{len(shape) - 1} entries for input_shape={shape}, all of them such."
            )
        filters = CircularLift(shape[0], n_channels, sizes, generator=generator)
        return {"weight": filters.weight.numpy()}
    arrays = _standardization(rows, weights)
    if lift == "random_relu":
        features = RandomLift(rows.shape[1], n_channels, generator=generator)
        arrays["weight"] = features.weight.numpy()
        arrays["bias"] = features.bias.numpy()
    return arrays


def _standardization(rows, weights):
    total = weights.sum()
    wide = rows.astype(np.float64, copy=False)
    mean = weights @ wide / total
    deviation = np.sqrt(weights @ (wide - mean) ** 2 / total)
    # A constant column has a deviation of rounding size, not exactly zero.
    constant = deviation <= 10 * np.finfo(rows.dtype).eps * np.abs(mean)
    return {"mean": mean, "scale": np.where(constant, 1.0, deviation)}


def _root_mean_square(rows, weights):
    squares = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    size = np.sqrt(weights @ squares / (weights.sum() * rows.shape[1]))
    return float(size) if size > 0 else 1.0


def apply_lift(lift, arrays, rows, shape):
    """Lift rows.

    Parameters
    ----------
    lift : str or transformer
        Kind of lift, or a fitted transformer.
    arrays : dict of str to ndarray
        What :func:`fit_lift` returned.
    rows : ndarray of shape (n_samples, n_features)
        Rows.
    shape : tuple of int or None
        Shape of signals that enter the lift.

    Returns
    -------
    lifted : ndarray of shape (n_samples, n_lifted)
        In the floating type of `rows`.
    """
    if not isinstance(lift, str):
        return _transformed(lift.transform(rows), rows)
    if lift == "none":
        return rows
    if shape is not None:
        return _lift_signals(lift, arrays, rows, shape)
    scaled = ((rows - arrays["mean"]) / arrays["scale"]).astype(rows.dtype)
    if lift == "bias":
        return np.hstack([scaled, np.ones((len(rows), 1), rows.dtype)])
    n_channels, n_inputs = arrays["weight"].shape
    features = RandomLift(n_inputs, n_channels)
    return _run(features, arrays, scaled)


def _lift_signals(lift, arrays, rows, shape):
    if lift == "bias":
        scaled = (rows / arrays["scale"]).astype(rows.dtype)
        ones = np.ones((len(rows), math.prod(shape[1:])), rows.dtype)
        return np.hstack([scaled, ones])
    n_channels, n_inputs, *sizes = arrays["weight"].shape
    # Filters commute with the scale of a signal, and squares of float32 are few.
    largest = np.abs(rows).max(axis=1, keepdims=True, initial=0)
    scaled = rows / np.where(largest > 0, largest, 1)
    signals = scaled.reshape(len(rows), *shape)
    lifted = _run(CircularLift(n_inputs, n_channels, sizes), arrays, signals)
    return lifted.reshape(len(rows), -1)


def _run(module, arrays, rows):
    for name, buffer in module.named_buffers():
        buffer.copy_(torch.from_numpy(np.array(arrays[name])))
    inputs = to_tensor(rows)
    with torch_threads(rows.size * len(arrays["weight"])), torch.no_grad():
        return module.to(inputs.dtype)(inputs).numpy()


def _transformed(lifted, rows):
    lifted = check_array(
        as_numpy(lifted), dtype=[np.float64, np.float32], input_name="lifted rows"
    )
    if len(lifted) != len(rows):
        raise ValueError(
            f"lift gave {len(lifted)} rows for {len(rows)}; it must keep their number."
        )
    return np.ascontiguousarray(lifted, dtype=rows.dtype)


def fit_transformer(lift, rows, labels):
    """Fit a copy of the transformer of the user.

    Parameters
    ----------
    lift : transformer
        Cloned, not changed.
    rows : ndarray of shape (n_samples, n_features)
        Training rows.
    labels : ndarray of shape (n_samples,)
        Their classes.

    Returns
    -------
    lift : transformer
        Fitted.
    """
    return clone(lift).fit(rows, labels)


def lifted_shape(lift, arrays, shape):
    """Tell the shape of lifted signals.

    Parameters
    ----------
    lift : str or transformer
        Kind of lift.
    arrays : dict of str to ndarray
        What :func:`fit_lift` returned.
    shape : tuple of int or None
        Shape of signals that enter the lift.

    Returns
    -------
    shape : tuple of int or None
        Shape of those that leave it.
    """
    if shape is None or not isinstance(lift, str) or lift == "none":
        return shape
    n_channels = shape[0] + 1 if lift == "bias" else len(arrays["weight"])
    return (n_channels, *shape[1:])


def unit_features(lifted, shape):
    """Take rows to frequencies and to unit norm.

    Parameters
    ----------
    lifted : ndarray of shape (n_samples, n_lifted)
        Lifted rows.
    shape : tuple of int or None
        Shape of lifted signals.

    Returns
    -------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features.
    """
    return normalize_signals(to_frequencies(lifted, shape), frequency_weights(shape))


def sample_size(n_numbers):
    """Tell how many rows suffice to compare lifts and to set probabilities.

    Parameters
    ----------
    n_numbers : int
        Numbers in the features of a row.

    Returns
    -------
    n_rows : int
        At least 200.
    """
    return int(min(_MOST_ROWS, max(200, _MOST_NUMBERS // max(n_numbers, 1))))


def left_out_accuracy(V, labels, weights, *, n_classes, distortions, shares):
    """Share of rows that classes without the row itself code in the fewest nats.

    Parameters
    ----------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Unit features.
    labels : ndarray of shape (n_samples,)
        Classes, from 0.
    weights : ndarray of shape (n_samples,)
        How many times each row counts.
    n_classes : int
        Number of classes.
    distortions : sequence of float
        Allowed mean squared errors per sample.
    shares : ndarray of shape (n_frequencies,)
        How often each frequency counts.

    Returns
    -------
    accuracy : ndarray of shape (n_distortions,)
        Weighted.
    """
    moments = ClassMoments(n_classes, *V.shape[1:], bound=math.inf)
    moments.add(torch.from_numpy(V), labels, weights)
    spectra = class_spectra(moments)
    coders = [
        FrequencyCoder(spectra, distortion=distortion, frequency_weights=shares)
        for distortion in distortions
    ]
    scores = scores_left_out(V, labels, weights, coders)
    return (scores.argmax(axis=2) == labels) @ weights / weights.sum()
