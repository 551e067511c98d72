"""The network of an embedding: how it is built, stored and applied."""

import numpy as np
import torch

from sklearn_whitebox._array import inference_device, to_tensor
from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.estimators._embedding_inputs import (
    check_single_range,
    standardized,
)
from sklearn_whitebox.estimators._network_state import blocks_of, load_arrays
from sklearn_whitebox.modules._encoders import SphereEncoder, make_mlp
from sklearn_whitebox.solvers._rate_reduction import whitening_directions

# A mean this many deviations from zero would cost digits inside the first layer.
_FAR = 100.0
# What torch adds to variances.
_BATCH_NORM_EPS = 1e-5
# Fewest rows of a product: for less other kernels run, which round otherwise.
_FEWEST = 16


def make_network(estimator, start=None, weights=None, generator=None):
    """Build the network of an embedding.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Whose architecture is resolved.
    start : ndarray of shape (n_rows, n_features), default=None
        Standardised rows for the start of a linear map; None to load a state.
    weights : ndarray of shape (n_rows,), default=None
        Their weights.
    generator : Generator, default=None
        Draws initial weights; None to load a state.

    Returns
    -------
    network : Module
        Maps (n, n_features_in_) to (n, n_components_), not normalised.
    """
    n_inputs, n_outputs = estimator.n_features_in_, estimator.n_components_
    encoder, hidden = estimator._architecture
    if callable(encoder):
        return _call_factory(encoder, n_inputs, n_outputs)
    network = make_mlp(n_inputs, n_outputs, hidden, generator=generator)
    if encoder == "linear" and start is not None:
        W = whitening_directions(start, n_outputs, weights)
        rows = min(n_inputs, n_outputs)
        with torch.no_grad():  # further rows keep their random start
            network[0].weight[:rows] = torch.from_numpy(W[:rows])
    return network


def _call_factory(factory, n_inputs, n_outputs):
    """Call the user's factory, and refuse what is no encoder of the right shape."""
    network = factory(n_inputs, n_outputs)
    if not isinstance(network, torch.nn.Module):
        raise TypeError(
            "encoder must return a torch.nn.Module, but it returned "
            f"{type(network).__name__}."
        )
    training = network.training
    try:
        with torch.no_grad():
            features = network.eval()(torch.zeros(2, n_inputs))
    except RuntimeError as error:
        raise ValueError(
            f"the network of encoder cannot map float32 rows of {n_inputs} "
            f"features ({error})."
        ) from error
    if not torch.is_tensor(features):
        raise TypeError(
            "the network of encoder must map a tensor to a tensor, but it returned "
            f"{type(features).__name__}."
        )
    if not any(p.requires_grad for p in network.parameters()):
        raise ValueError(
            "the network of encoder has no parameters that require gradients, so there "
            "is nothing to train; return a network with trainable weights."
        )
    shape = tuple(features.shape)
    if shape != (2, n_outputs):
        raise ValueError(
            f"the network of encoder maps 2 rows to shape {shape}; it must map "
            f"them to (2, {n_outputs})."
        )
    return network.train(training)


def with_sphere(estimator, network):
    """Let a network end on the unit sphere, if that is asked.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Whose `normalize` counts.
    network : Module
        Its network; its weights are shared.

    Returns
    -------
    module : Module
        What is trained.
    """
    return SphereEncoder(network) if estimator.normalize == "sphere" else network


def network_work(network, n_rows, n_components):
    """Multiply-adds of one pass of training over some rows."""
    n_weights = sum(p.numel() for p in network.parameters())
    return 3.0 * n_rows * (n_weights + 2 * n_components**2)


def raw_features(estimator, X):
    """Encode rows without normalising them.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        With architecture, weights and scaler.
    X : ndarray of shape (n_samples, n_features)
        Validated rows.

    Returns
    -------
    Z : ndarray of shape (n_samples, n_components)
        In float32.
    """
    encoder, hidden = estimator._architecture
    if callable(encoder):
        return _apply_module(estimator, X)
    layers, fold = _folded_layers(estimator, len(hidden))
    work = 2.0 * min(len(X), 1024) * sum(W.numel() for W, _ in layers)
    device = inference_device(estimator.device, work=work * (len(X) / 1024 + 1))
    layers = [(W.to(device), b.to(device)) for W, b in layers]
    Z = np.empty((len(X), estimator.n_components_), np.float32)
    with torch_threads(work), torch.no_grad():
        for block in blocks_of(len(X)):
            if fold:
                with np.errstate(over="ignore"):
                    inputs = np.array(X[block], dtype=np.float32, order="C")
            else:
                inputs = standardized(X[block], estimator.mean_, estimator.scale_)
            n_rows = len(inputs)
            if n_rows < _FEWEST:
                inputs = np.pad(inputs, ((0, _FEWEST - n_rows), (0, 0)))
            hidden_rows = torch.from_numpy(inputs).to(device)
            for W, b in layers[:-1]:
                hidden_rows = torch.addmm(b, hidden_rows, W).relu_()
            W, b = layers[-1]
            Z[block] = torch.addmm(b, hidden_rows, W).cpu().numpy()[:n_rows]
    check_single_range(Z)
    return Z


def normalized(estimator, Z):
    """Normalise features as the embedding asks, each row by itself.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        With `feature_scale_`.
    Z : ndarray of shape (n_samples, n_components)
        Features in float32, overwritten.

    Returns
    -------
    Z : ndarray of shape (n_samples, n_components)
        Normalised features.
    """
    if estimator._sphere:
        # Squares of large features are beyond the range of float32.
        norms = np.sqrt(np.einsum("ij,ij->i", Z, Z, dtype=np.float64))[:, None]
        return np.divide(Z, np.maximum(norms, 1e-8), out=Z, casting="same_kind")
    return np.multiply(Z, np.float32(estimator.feature_scale_), out=Z)


def _apply_module(estimator, X):
    network = load_arrays(make_network(estimator), estimator.weights_)
    work = network_work(network, min(len(X), 1024), estimator.n_components_)
    device = inference_device(
        estimator.device, work=network_work(network, len(X), estimator.n_components_)
    )
    network = network.to(device).eval()
    chunks = []
    with torch_threads(work), torch.no_grad():
        for block in blocks_of(len(X)):
            rows = standardized(X[block], estimator.mean_, estimator.scale_)
            chunks.append(network(to_tensor(rows, device=device)).cpu().numpy())
    return np.concatenate(chunks)


def _folded_layers(estimator, n_hidden):
    """Weights with batch normalisation and the scaler folded into linear maps."""
    weights = {name: w.astype(np.float64) for name, w in estimator.weights_.items()}
    layers = []
    for i in range(n_hidden):
        W, b = weights[f"{3 * i}.weight"], weights[f"{3 * i}.bias"]
        name = str(3 * i + 1)
        gain = weights[f"{name}.weight"] / np.sqrt(
            weights[f"{name}.running_var"] + _BATCH_NORM_EPS
        )
        shift = weights[f"{name}.bias"] - weights[f"{name}.running_mean"] * gain
        layers.append((W * gain[:, None], b * gain + shift))
    layers.append((weights[f"{3 * n_hidden}.weight"], weights[f"{3 * n_hidden}.bias"]))
    mean, scale = estimator.mean_, estimator.scale_
    fold = bool(
        (np.abs(mean) <= _FAR * scale).all()
        and (scale > 1e-6).all()
        and (scale < 1e6).all()
    )
    if fold:
        W, b = layers[0]
        W = W / scale
        layers[0] = (W, b - W @ mean)
    tensors = [
        (
            torch.from_numpy(W.T.astype(np.float32, order="C")),
            torch.from_numpy(b.astype(np.float32)),
        )
        for W, b in layers
    ]
    return tensors, fold
