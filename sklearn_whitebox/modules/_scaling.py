"""Put the columns of a table, or the channels of images, on one scale."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A scaled value beyond this is as good as infinite, and its square is not.
_FAR = 1e6


def feature_scaling(X: Array, sample_weight: Array) -> tuple[Array, Array]:
    """Find median and spread of every column.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Table.
    sample_weight : ndarray of shape (n_samples,)
        Weights; an integer counts as that many rows.

    Returns
    -------
    centre : ndarray of shape (n_features,)
        Median.
    scale : ndarray of shape (n_features,)
        One over the interquartile range; over half the range where that is zero; zero
        for a constant column.
    """
    X = np.asarray(X, dtype=np.float64)
    low, centre, high = np.quantile(
        X, [0.25, 0.5, 0.75], axis=0, weights=sample_weight, method="inverted_cdf"
    )
    spread = high - low
    spread = np.where(spread > 0, spread, np.ptp(X, axis=0) / 2)
    return centre, _inverse(spread)


def channel_scaling(
    X: Array, n_channels: int, sample_weight: Array
) -> tuple[Array, Array]:
    """Find mean and standard deviation of every channel of flattened images.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_pixels * n_channels)
        Images, channels last.
    n_channels : int
        Number of channels.
    sample_weight : ndarray of shape (n_samples,)
        Weights; an integer counts as that many images.

    Returns
    -------
    centre : ndarray of shape (n_pixels * n_channels,)
        Mean of the channel of every entry.
    scale : ndarray of shape (n_pixels * n_channels,)
        One over its standard deviation; zero for a constant channel.
    """
    pixels = np.asarray(X, dtype=np.float64).reshape(len(X), -1, n_channels)
    mean = np.average(pixels.mean(1), axis=0, weights=sample_weight)
    squares = ((pixels - mean) ** 2).mean(1)
    deviation = np.sqrt(np.average(squares, axis=0, weights=sample_weight))
    n_pixels = pixels.shape[1]
    return np.tile(mean, n_pixels), np.tile(_inverse(deviation), n_pixels)


def scale_features(X: Array, centre: Array, scale: Array, *, soften: bool) -> Array:
    r"""Centre, scale and, for tables, draw in the far values smoothly.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Table or flattened images.
    centre : ndarray of shape (n_features,)
        Subtracted.
    scale : ndarray of shape (n_features,)
        Multiplied.
    soften : bool
        Map the result z to :math:`z / \sqrt{1 + (z/3)^2}`, which lies in (-3, 3).

    Returns
    -------
    scaled : ndarray of shape (n_samples, n_features)
        In float64.
    """
    with np.errstate(over="ignore"):
        Z = (np.asarray(X, dtype=np.float64) - centre) * scale
    Z = np.clip(Z, -_FAR, _FAR)
    return Z / np.sqrt(1 + (Z / 3) ** 2) if soften else Z


def _inverse(spread: Array) -> Array:
    with np.errstate(over="ignore", divide="ignore"):
        inverse = 1 / spread
    return np.where((spread > 0) & np.isfinite(inverse), inverse, 0.0)
