"""Running the fitted networks: what the estimators' inference hands over to."""

import contextlib

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklearn_whitebox._array import inference_device, to_tensor
from sklearn_whitebox._threads import fork_guard, torch_threads
from sklearn_whitebox.estimators._crate_cost import (
    count_multiply_adds,
    rows_at_once,
)
from sklearn_whitebox.estimators._crate_ensemble import network_weights
from sklearn_whitebox.estimators._crate_inputs import code_rows, scale_rows
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig


def infer(estimator, X, function, *, member=0):
    """Apply a function of a network to rows, in parts of bounded size.

    Parameters
    ----------
    estimator : BaseCRATE
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    function : callable
        Takes the network and a tensor of rows, gives a tensor with one entry a row.
    member : int, default=0
        Which network of the ensemble.

    Returns
    -------
    result : ndarray of shape (n_samples, ...)
        The results, in order.
    """
    check_is_fitted(estimator)
    return _apply(estimator, _validate(estimator, X), function, [member])[0]


def infer_all(estimator, X, function):
    """Apply a function of every network to rows, in parts of bounded size.

    Parameters
    ----------
    estimator : BaseCRATE
        Fitted estimator.
    X : array-like of shape (n_samples, n_features)
        Rows.
    function : callable
        Takes a network and a tensor of rows, gives a tensor with one entry a row.

    Returns
    -------
    results : list of ndarray of shape (n_samples, ...)
        The results of every network of the ensemble, in order.
    """
    check_is_fitted(estimator)
    members = range(estimator.n_networks_)
    return _apply(estimator, _validate(estimator, X), function, members)


def _apply(estimator, X, function, members):
    frame = CRATE(CRATEConfig(**estimator._architecture), device="meta")
    size = min(len(X), rows_at_once(frame))
    results = []
    with _inference(size * count_multiply_adds(frame)):
        networks, inputs = _load(estimator, X, members)
        for module in networks:
            parts = [function(module, part).cpu() for part in inputs.split(size)]
            results.append(torch.cat(parts).numpy())
    return results


def member_weights(estimator, member):
    """Give the weights of one network of the ensemble.

    Parameters
    ----------
    estimator : BaseCRATE
        Fitted estimator.
    member : int
        Number of the network.

    Returns
    -------
    weights : dict of str to ndarray
        State of a :class:`sklearn_whitebox.modules.CRATE`.
    """
    return network_weights(vars(estimator), member)


def _validate(estimator, X):
    with fork_guard():  # half-precision tensors are converted by torch
        return code_rows(estimator, X)


@contextlib.contextmanager
def _inference(work):
    with torch_threads(work), torch.inference_mode(False), torch.no_grad():
        yield


def _load(estimator, X, members):
    """Give networks, one after the other, and what they take for rows."""
    config = CRATEConfig(**estimator._architecture)
    work = len(X) * count_multiply_adds(CRATE(config, device="meta"))
    device = inference_device(estimator.device, work=work)
    dtype = torch.float32 if X.dtype == np.float32 else torch.float64

    def network(member):
        module = CRATE(config).to(device=device, dtype=dtype).eval()
        weights = member_weights(estimator, member)
        module.load_state_dict({name: torch.tensor(w) for name, w in weights.items()})
        return module

    inputs = scale_rows(X, estimator.centre_, estimator.scale_, config)
    return map(network, members), to_tensor(inputs, device=device, dtype=dtype)
