"""Put the columns of a table, or the channels of images, on one scale."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# A scaled value beyond this is as good as infinite, and its square is not.
_FAR = 1e6

# Slack for sums of weights that are no integers, relative to their total.
_ROUNDING = 1e-10

_NARROWEST = 1e-12


def feature_scaling(X: Array, sample_weight: Array) -> tuple[Array, Array]:
    """Find median and spread of every column.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Table. NaN, a missing number, is passed over.
    sample_weight : ndarray of shape (n_samples,)
        Weights; an integer counts as that many rows, zero as none.

    Returns
    -------
    centre : ndarray of shape (n_features,)
        Median; zero for a column without numbers.
    scale : ndarray of shape (n_features,)
        One over the interquartile range; over half the range where that is zero; zero
        for a constant column.
    """
    levels = np.array([0, 0.25, 0.5, 0.75, 1])
    quantiles = _column_quantiles(X, levels, sample_weight)
    lowest, low, centre, high, highest = np.nan_to_num(quantiles.T)
    spread = np.where(high > low, high - low, (highest - lowest) / 2)
    return centre, _inverse(spread)


def quantile_edges(X: Array, n_bins: int, sample_weight: Array) -> Array:
    """Cut every column into bins of about equal weight.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Scaled table. NaN, a missing number, is passed over.
    n_bins : int
        Bins of a column, at most.
    sample_weight : ndarray of shape (n_samples,)
        Weights; an integer counts as that many rows, zero as none.

    Returns
    -------
    edges : ndarray of shape (n_features, n_bins + 1)
        Ascending values of the column, all different; where a column has too few, the
        last one is repeated to fill the row. Edges that are one number in float32
        count as equal. A column without numbers has zeros.
    """
    levels = np.linspace(0, 1, n_bins + 1)
    quantiles = _column_quantiles(X, levels, sample_weight)
    edges = np.zeros(quantiles.shape)
    for row, column in zip(edges, quantiles, strict=True):
        different = np.unique(column.astype(np.float32))
        if np.isnan(different).any():
            continue
        # A bin this narrow would have a slope that float32 cannot hold.
        different = different[np.diff(different, prepend=-np.inf) > _NARROWEST]
        row[:] = different[-1]
        row[: len(different)] = different
    return edges


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
        Table or flattened images. NaN stays NaN.
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
    with np.errstate(over="ignore", divide="ignore", under="ignore"):
        inverse = 1 / spread
    return np.where((spread > 0) & np.isfinite(inverse), inverse, 0.0)


def _column_quantiles(X: Array, levels: Array, sample_weight: Array) -> Array:
    X = np.asarray(X, dtype=np.float64)[sample_weight > 0]
    weight = np.asarray(sample_weight, dtype=np.float64)[sample_weight > 0]
    quantiles = np.full((X.shape[1], len(levels)), np.nan)
    for row, column in zip(quantiles, X.T, strict=True):
        present = ~np.isnan(column)
        order = np.argsort(column[present])
        if len(order) == 0:
            continue
        # The inverse of the distribution function: values of rows, and copies of a row
        # count as its weight does.
        reached = np.cumsum(weight[present][order])
        wanted = (levels - _ROUNDING) * reached[-1]
        position = np.searchsorted(reached, wanted).clip(max=len(order) - 1)
        row[:] = column[present][order[position]]
    return quantiles
