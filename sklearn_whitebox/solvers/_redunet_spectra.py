"""Signals and their frequencies: where circular convolutions become matrices."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Array = NDArray[Any]


def frequency_weights(input_shape: Sequence[int] | None = None) -> Array:
    """Count how often each stored frequency occurs in the whole spectrum.

    Parameters
    ----------
    input_shape : tuple of int, default=None
        Channels, then one or two axes along which shifts shall not matter. None, or
        channels alone, means plain vectors, which have one frequency.

    Returns
    -------
    weights : ndarray of shape (n_frequencies,)
        One where a frequency is its own mirror image, two where its mirror image is
        left out. They sum to the number of shifts.

    Examples
    --------
    >>> frequency_weights((3, 6)).tolist()
    [1.0, 2.0, 2.0, 1.0]
    >>> frequency_weights().tolist()
    [1.0]
    """
    axes = _shift_axes(input_shape)
    if not axes:
        return np.ones(1)
    length = axes[-1]
    last = np.full(length // 2 + 1, 2.0)
    last[0] = 1.0
    if length % 2 == 0:
        last[-1] = 1.0
    return np.tile(last, math.prod(axes[:-1]))


def to_frequencies(X: Array, input_shape: Sequence[int] | None = None) -> Array:
    """Transform signals into their discrete spectra.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Flattened signals in row-major order, float32 or float64.
    input_shape : tuple of int, default=None
        ``(channels, length)`` or ``(channels, height, width)`` of one signal; None
        means plain vectors.

    Returns
    -------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Unnormalised transform along the shift axes, without the frequencies that are
        mirror images. Complex, or `X` itself as one frequency for plain vectors.

    Raises
    ------
    ValueError
        If the number of features is not that of the shape.

    Examples
    --------
    >>> import numpy as np
    >>> to_frequencies(np.eye(4)[:1], (1, 4))[0, :, 0].real.tolist()
    [1.0, 1.0, 1.0]
    """
    axes = _shift_axes(input_shape)
    if not axes or input_shape is None:
        return X[:, None, :]
    if X.shape[1] != math.prod(input_shape):
        raise ValueError(
            f"input_shape={tuple(input_shape)} has {math.prod(input_shape)} entries, "
            f"but X has {X.shape[1]} features."
        )
    signals = X.reshape(len(X), *input_shape)
    spectra = scipy.fft.rfftn(signals, axes=tuple(range(2, signals.ndim)))
    n_frequencies = math.prod(spectra.shape[2:])
    flat = spectra.reshape(len(X), input_shape[0], n_frequencies)
    return np.ascontiguousarray(np.swapaxes(flat, 1, 2))


def from_frequencies(V: Array, input_shape: Sequence[int] | None = None) -> Array:
    """Transform spectra back into flattened signals.

    Parameters
    ----------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        What :func:`to_frequencies` returns.
    input_shape : tuple of int, default=None
        As there.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
        Real signals.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.arange(6.0).reshape(1, 6)
    >>> V = to_frequencies(X, (2, 3))
    >>> bool(np.allclose(from_frequencies(V, (2, 3)), X))
    True
    """
    axes = _shift_axes(input_shape)
    if not axes:
        return V.reshape(len(V), V.shape[1] * V.shape[2])
    n_channels = V.shape[2]
    half = (*axes[:-1], axes[-1] // 2 + 1)
    spectra = np.swapaxes(V, 1, 2).reshape(len(V), n_channels, *half)
    signals = scipy.fft.irfftn(spectra, s=axes, axes=tuple(range(2, spectra.ndim)))
    return signals.reshape(len(V), n_channels * math.prod(axes))


def normalize_signals(V: Array, frequency_weights: Array) -> Array:
    """Bring signals, given by their spectra, to unit norm.

    Parameters
    ----------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features; any scale that the dtype holds.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.

    Returns
    -------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        The same features with unit norm; rows of zeros stay zero.
    """
    largest = np.abs(V).max(axis=(1, 2), initial=0)
    # Numbers near the ends of the range have no square.
    V = V / np.where(largest > 0, largest, 1)[:, None, None]
    powers = (V.real**2 + V.imag**2 if np.iscomplexobj(V) else V**2).sum(axis=2)
    norms = np.sqrt(powers @ (frequency_weights / frequency_weights.sum()))
    norms = norms.astype(powers.dtype)
    unit: Array = V / np.where(norms > 0, norms, 1)[:, None, None]
    return unit


def _shift_axes(input_shape: Sequence[int] | None) -> tuple[int, ...]:
    if input_shape is None:
        return ()
    if not 1 <= len(input_shape) <= 3 or any(int(n) < 1 for n in input_shape):
        raise ValueError(
            f"input_shape={tuple(input_shape)} must be (channels, length) or "
            "(channels, height, width) with positive entries."
        )
    return tuple(int(n) for n in input_shape[1:])
