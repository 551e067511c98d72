"""Reading attention, subspaces and tokens of a fitted white-box transformer."""

import operator

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox.estimators._crate_inference import infer


def read_attention(estimator, X, layer=-1):
    """Give the weight of every token in the class token, or in the mean of the tokens.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    layer : int or "rollout", default=-1
        Number of the layer; negative numbers count from the last. ``"rollout"``
        multiplies the attention of all layers, averaged over the heads and with equal
        parts of the identity for the residual connections, as one head. It ignores
        what the sparse steps do and is a heuristic.

    Returns
    -------
    maps : ndarray of shape (n_samples, n_heads, n_tokens) or \
            (n_samples, n_heads, n_rows, n_columns)
        For ``attention="mssa"`` weights in the row of the class token, which with its
        weight on itself sum to one, or without a class token the mean row, which sums
        to one; for ``"tssa"`` memberships, which sum to one over the heads. Images give
        the grid of their patches, one token per feature the order of the columns.

    Raises
    ------
    ValueError
        If there is no such layer, or no attention between tokens to roll out.

    Notes
    -----
    Costs a forward pass. Of an ensemble the first member is read.
    """
    check_is_fitted(estimator)
    if isinstance(layer, str):
        return on_tokens(estimator, _read_rollout(estimator, X, layer))
    layer = _check_layer(estimator, layer)

    def read(module, rows):
        found = _trace(module, rows, layer)
        maps = module.layers[layer].compress.maps(found.heads)
        return _of_tokens(module, _reading(module, maps) if maps.ndim == 4 else maps)

    return on_tokens(estimator, infer(estimator, X, read))


def read_subspaces(estimator, X, layer=-1):
    r"""Give the share of every token that lies in the subspace of each head.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    layer : int, default=-1
        Number of the layer; negative numbers count from the last.

    Returns
    -------
    maps : ndarray of shape (n_samples, n_heads, n_tokens) or \
            (n_samples, n_heads, n_rows, n_columns)
        :math:`\|z_i U_k\|^2 / \sum_l \|z_i U_l\|^2` of the normalised token that enters
        the layer; sums to one over the heads. The class token is left out.

    Raises
    ------
    ValueError
        If there is no such layer.

    Notes
    -----
    Costs a forward pass. Of an ensemble the first member is read.
    """
    energies = _read_energies(estimator, X, layer)
    sums = energies.sum(1, keepdims=True)
    shares = np.divide(
        energies,
        sums,
        out=np.full_like(energies, 1 / energies.shape[1]),
        where=sums > 0,
    )
    return on_tokens(estimator, shares)


def read_energies(estimator, X, layer=-1):
    r"""Give the energy of every token in the subspace of each head.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    layer : int, default=-1
        Number of the layer; negative numbers count from the last.

    Returns
    -------
    energies : ndarray of shape (n_samples, n_heads, n_tokens) or \
            (n_samples, n_heads, n_rows, n_columns)
        :math:`\|z_i U_k\|^2` of the normalised token that enters the layer. The class
        token is left out.

    Raises
    ------
    ValueError
        If there is no such layer.

    Notes
    -----
    Costs a forward pass. Of an ensemble the first member is read.
    """
    return on_tokens(estimator, _read_energies(estimator, X, layer))


def read_tokens(estimator, X, layer=-1):
    """Give the tokens that leave a layer.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    layer : int or None, default=-1
        Number of the layer; negative numbers count from the last. None gives the tokens
        that enter the first.

    Returns
    -------
    tokens : ndarray of shape (n_samples, n_tokens, d_token)
        Tokens; the class token, if there is one, comes first. One token per feature
        follows the order of the columns.

    Raises
    ------
    ValueError
        If there is no such layer.

    Notes
    -----
    Costs a forward pass. Of an ensemble the first member is read.
    """
    check_is_fitted(estimator)
    if layer is None:
        tokens = infer(estimator, X, _embed)
    else:
        layer = _check_layer(estimator, layer)
        tokens = infer(
            estimator, X, lambda module, rows: _trace(module, rows, layer).output
        )
    return _in_order(estimator, tokens, axis=1)


def _check_layer(estimator, layer):
    """Refuse a layer that the network does not have; count from the first."""
    if not hasattr(layer, "__index__"):
        raise TypeError(f"layer={layer!r} should be the number of a layer, an integer.")
    n_layers, layer = estimator._architecture["n_layers"], operator.index(layer)
    if not n_layers:
        raise ValueError(
            f"layer={layer} does not exist, as the model has no layers; fit it with "
            "n_layers of at least 1."
        )
    if not -n_layers <= layer < n_layers:
        raise ValueError(
            f"layer={layer} must be in [{-n_layers}, {n_layers - 1}], as the model "
            f"has {n_layers} layers."
        )
    return layer % n_layers


def _embed(module, rows):
    """Give the tokens that enter the first layer, of the first member."""
    tokens = module.embed(rows)
    return tokens.reshape(len(rows), -1, *tokens.shape[-2:])[:, 0]


def _trace(module, rows, layer):
    """Run rows up to a layer, and keep what went through that one only."""
    tokens = _embed(module, rows)
    for before in module.layers[:layer]:
        tokens = before(tokens)
    return module.layers[layer].trace(tokens)


def _reading(module, weights):
    """Give the row of the weights that the head of the network reads."""
    if module.class_token is None:
        return weights.mean(-2)
    return weights[..., -1 if module.config.is_causal else 0, :]


def _of_tokens(module, values):
    """Leave the class token out of the last axis."""
    if module.class_token is None:
        return values
    return values[..., :-1] if module.config.is_causal else values[..., 1:]


def _read_energies(estimator, X, layer):
    check_is_fitted(estimator)
    layer = _check_layer(estimator, layer)

    def read(module, rows):
        heads = _trace(module, rows, layer).heads
        return _of_tokens(module, (heads**2).sum(-1))

    return infer(estimator, X, read)


def _read_rollout(estimator, X, layer):
    if layer != "rollout":
        raise ValueError(f"layer={layer!r} should be a number or 'rollout'.")
    architecture = estimator._architecture
    if architecture["attention"] != "mssa" or not architecture["n_layers"]:
        raise ValueError(
            "layer='rollout' needs attention from token to token, of attention='mssa' "
            "in at least one layer; name a layer instead."
        )

    def read(module, rows):
        tokens, flow = _embed(module, rows), None
        for part in module.layers:
            trace = part.trace(tokens)
            tokens = trace.output
            step = part.compress.maps(trace.heads).mean(1)
            step = (step + torch.eye(step.shape[-1], device=step.device)) / 2
            flow = step if flow is None else step @ flow
        return _of_tokens(module, _reading(module, flow))[:, None]

    return infer(estimator, X, read)


def on_tokens(estimator, maps):
    """Put the tokens, the last axis, on the grid of patches or in order of columns.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.
    maps : ndarray of shape (..., n_tokens)
        One number a token, without the class token.

    Returns
    -------
    maps : ndarray of shape (..., n_tokens) or (..., n_rows, n_columns)
        The same numbers.
    """
    architecture = estimator._architecture
    if architecture["tokens"] != "patch":
        return _in_order(estimator, maps, axis=-1)
    height, width, _ = architecture["image_shape"]
    size = architecture["patch_size"]
    return maps.reshape(*maps.shape[:-1], height // size, width // size)


def _in_order(estimator, array, *, axis):
    """Bring tokens that stand for columns from the network's order to that of `X`."""
    order = column_order(estimator)
    if estimator._architecture["tokens"] != "feature" or order is None:
        return array
    n_others = array.shape[axis] - len(order)
    place = np.concatenate([np.arange(n_others), n_others + np.argsort(order)])
    return np.take(array, place, axis=axis)


def column_order(estimator):
    """Tell which column of `X` each column that enters the network was.

    Parameters
    ----------
    estimator : CRATEClassifier or CRATERegressor
        Fitted estimator.

    Returns
    -------
    order : ndarray of int of shape (n_features,) or None
        Numeric columns come first, nominal ones behind them; None if there are no
        nominal ones.
    """
    is_categorical = getattr(estimator, "is_categorical_", None)
    if is_categorical is None or not np.any(is_categorical):
        return None
    return np.argsort(is_categorical, kind="stable")
