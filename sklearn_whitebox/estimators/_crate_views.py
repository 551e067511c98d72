"""Looking into a fitted white-box transformer: attention, tokens, layers, columns."""

import operator

from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import check_memory
from sklearn_whitebox.estimators._crate_attribution import (
    attribute_features,
    check_attributions,
)
from sklearn_whitebox.estimators._crate_cost import (
    attention_bytes,
    count_multiply_adds,
)
from sklearn_whitebox.estimators._crate_inference import _inference, _load, _validate
from sklearn_whitebox.estimators._crate_reading import (
    read_attention,
    read_energies,
    read_subspaces,
    read_tokens,
)
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._crate_statistics import layer_statistics

__all__ = [
    "attribute_features",
    "check_attributions",
    "measure_layers",
    "read_attention",
    "read_energies",
    "read_subspaces",
    "read_tokens",
]


def measure_layers(estimator, X, *, distortion=0.01, max_samples=256):
    """Measure compression and sparsity, layer by layer.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    distortion : float, default=0.01
        Allowed mean squared error per token of unit norm, ε².
    max_samples : int or None, default=256
        Look at the first so many rows only.

    Returns
    -------
    statistics : dict of str to ndarray
        One row a layer; see :func:`sklearn_whitebox.modules.layer_statistics`.

    Raises
    ------
    ValueError
        If `max_samples` or `distortion` is not positive.

    Notes
    -----
    Costs a forward pass, and O(n q min(n, q)) time for the rate of each head and row, n
    tokens and q their width in the head. Of an ensemble of networks the first is
    measured, of members that share a network all.
    """
    check_is_fitted(estimator)
    if max_samples is not None and operator.index(max_samples) < 1:
        raise ValueError(f"max_samples={max_samples} must be at least 1, or None.")
    if not distortion > 0:
        raise ValueError(f"distortion={distortion} must be positive.")
    X = _validate(estimator, X)[:max_samples]
    frame = CRATE(CRATEConfig(**estimator._architecture), device="meta")
    check_memory(
        3 * attention_bytes(frame, 8),
        what="The attention of a row",
        remedy="use attention='tssa', a larger patch_size or tokens='dense'",
    )
    with _inference(len(X) * count_multiply_adds(frame)):
        (module,), inputs = _load(estimator, X, [0])
        found = layer_statistics(module, inputs, distortion=distortion)
        return {name: value.cpu().numpy() for name, value in found.items()}
