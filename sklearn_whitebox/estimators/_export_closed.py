"""Fitted closed-form estimators as modules of plain torch."""

import numpy as np
import torch

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox.estimators._export import builds_module
from sklearn_whitebox.modules._exported_closed import Resampler, SubspaceProbabilities


@builds_module
def subspaces_module(estimator):
    """Build what gives the probabilities of the classes.

    Parameters
    ----------
    estimator : NearestSubspaceClassifier
        Fitted estimator.

    Returns
    -------
    module : SubspaceProbabilities
        On the CPU, in evaluation mode.
    """
    noise, temperature = estimator.noise_variance_, estimator.temperature_
    with np.errstate(divide="ignore"):
        constants = np.log(estimator.class_prior_)
    precisions = [np.zeros(len(basis)) for basis in estimator.bases_]
    if estimator.criterion == "coding_length":
        variances = estimator._variances()
        precisions = [1 / v for v in variances]
        volumes = np.array([np.log(v / noise).sum() for v in variances])
        constants = constants - volumes / (2 * temperature)
    constants[estimator.class_count_ == 0] = -np.inf
    is_double = estimator.bases_[0].dtype == np.float64
    return SubspaceProbabilities(
        _double(estimator.means_),
        [_double(basis) for basis in estimator.bases_],
        [_double(values) for values in precisions],
        noise=float(noise),
        temperature=float(temperature),
        constants=_double(constants),
        dtype=torch.float64 if is_double else torch.float32,
    )


@builds_module
def resampler_module(estimator):
    """Build what samples images along circles.

    Parameters
    ----------
    estimator : PolarTransformer
        Fitted estimator.

    Returns
    -------
    module : Resampler
        On the CPU, in evaluation mode.
    """
    n_channels, height, width = estimator.input_shape_
    sampling = estimator._sampling_weights(height, width).tocsc()
    counts = np.diff(sampling.indptr)
    pixels = np.zeros((max(counts.max(initial=0), 1), len(counts)), dtype=np.int64)
    weights = np.zeros(pixels.shape)
    points = np.repeat(np.arange(len(counts)), counts)
    position = np.arange(len(points)) - sampling.indptr[points]
    pixels[position, points] = sampling.indices
    weights[position, points] = sampling.data
    return Resampler(n_channels, height * width, to_tensor(pixels), _double(weights))


def _double(array):
    return to_tensor(array, dtype=torch.float64)
