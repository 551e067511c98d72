"""Running the fitted network: what the classifier's inference hands over to."""

import contextlib
import operator

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import (
    check_memory,
    inference_device,
    to_tensor,
    validate_array,
)
from sklearn_whitebox._threads import fork_guard, torch_threads
from sklearn_whitebox.estimators._crate_training import (
    attention_bytes,
    count_multiply_adds,
    rows_at_once,
)
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_statistics import layer_statistics
from sklearn_whitebox.modules._crate_steps import CRATEConfig
from sklearn_whitebox.modules._scaling import scale_features


def infer(estimator, X, function):
    """Apply a function of the network to rows, in parts of bounded size.

    Parameters
    ----------
    estimator : CRATEClassifier
        Fitted classifier.
    X : array-like of shape (n_samples, n_features)
        Rows.
    function : callable
        Takes the network and a tensor of rows, gives a tensor with one entry a row.

    Returns
    -------
    result : ndarray of shape (n_samples, ...)
        The results, in order.
    """
    check_is_fitted(estimator)
    X = _validate(estimator, X)
    frame = CRATE(CRATEConfig(**estimator._architecture), device="meta")
    size = min(len(X), rows_at_once(frame))
    with _inference(size * count_multiply_adds(frame)):
        module, inputs = _load(estimator, X)
        parts = [function(module, part).cpu() for part in inputs.split(size)]
        return torch.cat(parts).numpy()


def read_attention(estimator, X, layer):
    """Give the weight of every token in the class token of a layer.

    Parameters
    ----------
    estimator : CRATEClassifier
        Fitted classifier.
    X : array-like of shape (n_samples, n_features)
        Rows.
    layer : int
        Number of the layer; negative numbers count from the last.

    Returns
    -------
    maps : ndarray of shape (n_samples, n_heads, n_tokens) or \
            (n_samples, n_heads, n_rows, n_columns)
        Weights, for images on the grid of their patches.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    check_is_fitted(estimator)
    architecture = estimator._architecture
    n_layers, layer = architecture["n_layers"], operator.index(layer)
    if not -n_layers <= layer < n_layers:
        raise ValueError(
            f"layer={layer} must be in [{-n_layers}, {n_layers - 1}], as the model "
            f"has {n_layers} layers."
        )

    def read(module, rows):
        maps = module.layers[layer].compress.maps(module.trace(rows)[layer].heads)
        return maps[:, :, 0, 1:] if maps.ndim == 4 else maps[:, :, 1:]

    maps = infer(estimator, X, read)
    if architecture["tokens"] != "patch":
        return maps
    height, width, _ = architecture["image_shape"]
    size = architecture["patch_size"]
    return maps.reshape(*maps.shape[:2], height // size, width // size)


def measure_layers(estimator, X, *, distortion, max_samples):
    """Measure compression and sparsity, layer by layer.

    Parameters
    ----------
    estimator : CRATEClassifier
        Fitted classifier.
    X : array-like of shape (n_samples, n_features)
        Rows.
    distortion : float
        Allowed mean squared error per token of unit norm, ε².
    max_samples : int or None
        Look at the first so many rows only.

    Returns
    -------
    statistics : dict of str to ndarray
        One row a layer.

    Raises
    ------
    ValueError
        If `max_samples` or `distortion` is not positive, or the rows are too many to
        keep all tokens of all layers.
    """
    check_is_fitted(estimator)
    if max_samples is not None and operator.index(max_samples) < 1:
        raise ValueError(f"max_samples={max_samples} must be at least 1, or None.")
    X = _validate(estimator, X)[:max_samples]
    frame = CRATE(CRATEConfig(**estimator._architecture), device="meta")
    check_memory(
        len(X) * (_trace_bytes(frame) + 3 * attention_bytes(frame, 8)),
        what=f"Keeping all tokens of {len(X)} rows",
        remedy="use a smaller max_samples",
    )
    with _inference(len(X) * count_multiply_adds(frame)):
        module, inputs = _load(estimator, X)
        found = layer_statistics(module, inputs, distortion=distortion)
        return {name: value.cpu().numpy() for name, value in found.items()}


def _trace_bytes(module):
    """Give the size of what the trace of a row keeps: four times its tokens a layer."""
    config = module.config
    return 4.0 * 8 * config.n_layers * (module.tokens.n_tokens + 1) * config.d_token


def _validate(estimator, X):
    with fork_guard():  # half-precision tensors are converted by torch
        return validate_array(estimator, X, reset=False, power=2)


@contextlib.contextmanager
def _inference(work):
    with torch_threads(work), torch.inference_mode(False), torch.no_grad():
        yield


def _load(estimator, X):
    config = CRATEConfig(**estimator._architecture)
    module = CRATE(config)
    work = len(X) * count_multiply_adds(module)
    device = inference_device(estimator.device, work=work)
    dtype = torch.float32 if X.dtype == np.float32 else torch.float64
    module.to(device=device, dtype=dtype).eval()
    weights = {name: torch.tensor(w) for name, w in estimator.weights_.items()}
    module.load_state_dict(weights)
    soften = config.tokens != "patch"
    inputs = scale_features(X, estimator.centre_, estimator.scale_, soften=soften)
    return module, to_tensor(inputs, device=device, dtype=dtype)
