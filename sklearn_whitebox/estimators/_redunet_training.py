"""Gradient ascent through the layers of a ReduNet that is built."""

import math

import numpy as np
import torch

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox.modules._redunet import ReduNet
from sklearn_whitebox.solvers._redunet_finetune import (
    FinetuneSettings,
    finetune_redunet,
    layer_tensors,
    layers_from_tensors,
)
from sklearn_whitebox.solvers._redunet_forward import apply_redunet
from sklearn_whitebox.solvers._redunet_moments import ClassMoments
from sklearn_whitebox.solvers._redunet_spectra import (
    frequency_weights,
    from_frequencies,
)


def train_network(
    layers,
    V,
    labels,
    weights,
    *,
    n_classes,
    shape,
    distortion,
    n_passes,
    seed,
    device,
    callback,
):
    """Raise the rate reduction of the features after the last layer.

    Parameters
    ----------
    layers : list of ReduNetLayer
        The network, at least one layer.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features of unit norm that enter it.
    labels : ndarray of shape (n_samples,)
        Their classes, from 0.
    weights : ndarray of shape (n_samples,)
        How many times each counts.
    n_classes : int
        Number of classes.
    shape : tuple of int or None
        Shape of lifted signals.
    distortion : float
        Allowed mean squared error per sample.
    n_passes : int
        Passes over the rows.
    seed : int
        Of the order of the rows.
    device : torch.device
        Where to compute.
    callback : callable
        Called as ``callback(index, loss)`` after each pass.

    Returns
    -------
    layers : list of ReduNetLayer
        The trained network, dense.
    moments : ClassMoments
        Of the classes after its last layer.
    losses : list of float
        Mean loss of each pass.
    """
    module = ReduNet(**layer_tensors(layers), input_shape=shape).to(device)
    result = finetune_redunet(
        module,
        to_tensor(from_frequencies(V, shape), device=device),
        torch.from_numpy(labels).to(device),
        generator=torch.Generator().manual_seed(seed),
        settings=FinetuneSettings(distortion=distortion, max_epochs=n_passes),
        weights=to_tensor(weights, device=device, dtype=module.weights.dtype),
        callback=callback,
    )
    trained = layers_from_tensors(layers, *module.cpu().operators())
    features = apply_redunet(
        trained, V, frequency_weights=frequency_weights(shape), device=device
    )
    moments = ClassMoments(n_classes, *V.shape[1:], bound=math.inf)
    moments.add(torch.from_numpy(np.ascontiguousarray(features)), labels, weights)
    return trained, moments, result.loss_curve
