"""What the layers of a ReduNet do to the rates of features."""

import numpy as np
import torch
from scipy.special import xlogy

from sklearn_whitebox.solvers._redunet_forward import iterate_redunet
from sklearn_whitebox.solvers._redunet_moments import ClassMoments
from sklearn_whitebox.solvers._redunet_operators import make_operators


def final_rates(moments, *, distortion, frequency_weights, dtype):
    """Measure the rates of classes given by their second moments.

    Parameters
    ----------
    moments : ClassMoments
        Second moments of the classes.
    distortion : float
        Allowed mean squared error per sample.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    dtype : dtype
        Of the features, real or complex.

    Returns
    -------
    rate, conditional_rate : float
        In nats per sample, and per shift of signals.
    """
    operators = make_operators(
        moments,
        distortion=distortion,
        frequency_weights=frequency_weights,
        dtype=dtype,
    )
    return float(operators.rates[0]), operators.conditional_rate


def rates_of(V, labels, *, n_classes, distortion, frequency_weights):
    """Measure the rates of features of given classes.

    Parameters
    ----------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features.
    labels : ndarray of shape (n_samples,)
        Classes, from 0.
    n_classes : int
        Number of classes.
    distortion : float
        Allowed mean squared error per sample.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.

    Returns
    -------
    rate, conditional_rate : float
        In nats per sample, and per shift of signals.
    """
    moments = ClassMoments(n_classes, *V.shape[1:], bound=V.shape[2] / distortion)
    moments.add(torch.from_numpy(V), labels)
    return final_rates(
        moments,
        distortion=distortion,
        frequency_weights=frequency_weights,
        dtype=V.dtype,
    )


def describe_layers(layers, V, labels, n_classes, *, distortion, frequency_weights):
    """Measure rates and memberships of samples, layer by layer.

    Parameters
    ----------
    layers : list of ReduNetLayer
        The network.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features of unit norm that enter it.
    labels : ndarray of shape (n_samples,) or None
        Their classes, from 0.
    n_classes : int
        Number of classes.
    distortion : float
        Allowed mean squared error per sample.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.

    Returns
    -------
    statistics : dict of str to ndarray
        See ``ReduNetClassifier.layer_statistics``.
    """
    options = {
        "n_classes": n_classes,
        "distortion": distortion,
        "frequency_weights": frequency_weights,
    }
    found = {"coding_rate": [], "step": [], "temperature": []}
    found |= {"membership_entropy": [], "estimated_conditional_coding_rate": []}
    found |= {"estimated_rate_reduction": []}
    if labels is not None:
        found |= {"conditional_coding_rate": [], "membership_accuracy": []}

    def record_rates(features):
        known = np.zeros(len(features), np.int64) if labels is None else labels
        rate, conditional = rates_of(features, known, **options)
        found["coding_rate"].append(rate)
        if labels is not None:
            found["conditional_coding_rate"].append(conditional)

    record_rates(V)
    passes = iterate_redunet(layers, V)
    for layer, (features, memberships) in zip(layers, passes, strict=True):
        record_rates(features)
        guesses = memberships.argmax(axis=1)
        conditional = rates_of(features, guesses, **options)[1]
        found["estimated_conditional_coding_rate"].append(conditional)
        reduction = found["coding_rate"][-1] - conditional
        found["estimated_rate_reduction"].append(reduction)
        entropy = -xlogy(memberships, memberships).sum(axis=1, dtype=np.float64)
        found["membership_entropy"].append(entropy.mean())
        found["step"].append(layer.step)
        found["temperature"].append(layer.temperature)
        if labels is not None:
            found["membership_accuracy"].append((guesses == labels).mean())
    statistics = {name: np.array(values) for name, values in found.items()}
    if labels is not None:
        rate, conditional = "coding_rate", "conditional_coding_rate"
        statistics["rate_reduction"] = statistics[rate] - statistics[conditional]
    return statistics
