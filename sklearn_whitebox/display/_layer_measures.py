"""Measure what the layers of fitted networks do, under common names."""

import numpy as np
import torch

from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.display._classes import as_features, check_has, evenly_spaced
from sklearn_whitebox.estimators._network_state import load_arrays
from sklearn_whitebox.solvers import lasso_encode

_ALTERNATIVES = (
    "CRATEClassifier, CRATERegressor, ReduNetClassifier and LearnedSparseEncoder have "
    "layers. Statistics of your own go to "
    "LayerStatisticsDisplay.from_predictions(statistics)."
)


def measure_layers(estimator, X, y, *, distortion, max_samples):
    """Measure the layers of any estimator that has some.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : array-like of shape (n_samples, n_features) or None
        Rows to measure on; None for what was measured in the fit.
    y : array-like of shape (n_samples,) or None
        Their labels.
    distortion : float
        Allowed mean squared error per token.
    max_samples : int or None
        Most rows, at equal distances.

    Returns
    -------
    statistics : dict of str to ndarray
        One row a layer.

    Raises
    ------
    TypeError
        If the estimator has no layers.
    ValueError
        If `X` is None and the estimator keeps no statistics, or `max_samples` is not
        positive.
    """
    is_unrolled = hasattr(estimator, "form") and hasattr(estimator, "gap_")
    if not is_unrolled:
        wanted = ["layer_statistics"]
        check_has(estimator, wanted, "LayerStatisticsDisplay", _ALTERNATIVES)
    if X is None:
        if not hasattr(estimator, "statistics_"):
            raise ValueError(
                "X=None needs statistics from the fit, which "
                f"{type(estimator).__name__} does not keep; give rows to measure on."
            )
        return dict(estimator.statistics_)
    X, y = evenly_spaced(X, y, max_samples)
    if is_unrolled:
        return _unrolled(estimator, X)
    if not hasattr(estimator, "subspace_maps"):
        return estimator.layer_statistics(X, y)
    found = estimator.layer_statistics(X, distortion=distortion, max_samples=None)
    n_layers = len(found["coding_rate"])
    if n_layers:
        maps = (estimator.subspace_maps(X, layer=layer) for layer in range(n_layers))
        # (samples, heads, tokens) or, of images, (samples, heads, rows, columns)
        shares = [m.reshape(*m.shape[:2], -1).mean((0, 2)) for m in maps]
        found = found | {"energy_share": np.stack(shares)}
    return found


def _unrolled(estimator, X):
    """Follow the codes of an unrolled encoder, and compare them with exact ones."""
    network = estimator._network()
    rows, n_features = as_features(X), estimator.n_features_in_
    if rows.ndim != 2 or rows.shape[1] != n_features or not len(rows):
        raise ValueError(
            f"X of shape {rows.shape} should have {n_features} columns and a row."
        )
    module = load_arrays(network.make_module(torch.float64), estimator.weights_)
    with torch.no_grad(), torch_threads(network.work(len(rows))):
        codes = module.trajectory(torch.from_numpy(rows / network.scale))
    unit = network.scale / network.atom_length
    codes = [np.zeros_like(codes[0].numpy()), *(unit * c.numpy() for c in codes)]
    D = np.asarray(network.components, dtype=np.float64)
    exact = lasso_encode(rows, D, alpha=network.alpha, positive=network.positive)
    found = exact.solution
    found = found.toarray() if hasattr(found, "toarray") else np.asarray(found)
    objective = [_objective(rows, z, D, network.alpha) for z in codes]
    optimum = _objective(rows, found, D, network.alpha)
    return {
        "lasso_objective": np.array(objective),
        "lasso_optimum": np.full(len(codes), optimum),
        "nonzero_fraction": np.array([np.mean(z != 0) for z in codes[1:]]),
    }


def _objective(X, codes, D, alpha):
    squares = ((X - codes @ D) ** 2).sum() / 2
    return float(squares + alpha * np.abs(codes).sum()) / len(X)
