"""Fitted CRATE estimators as modules of plain torch."""

import numpy as np
import torch

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox.estimators._crate_ensemble import network_weights
from sklearn_whitebox.estimators._export import builds_module
from sklearn_whitebox.estimators._network_state import load_arrays
from sklearn_whitebox.modules._crate import CRATE
from sklearn_whitebox.modules._crate_config import CRATEConfig
from sklearn_whitebox.modules._exported_crate import (
    CRATEInputs,
    CRATEProbabilities,
    CRATEValues,
)


@builds_module
def probabilities_module(estimator):
    """Build what gives the probabilities of the classes.

    Parameters
    ----------
    estimator : CRATEClassifier
        Fitted estimator.

    Returns
    -------
    module : CRATEProbabilities
        On the CPU, in evaluation mode.
    """
    inputs, networks = _parts(estimator)
    return CRATEProbabilities(inputs, networks, estimator.temperature_)


@builds_module
def values_module(estimator):
    """Build what predicts numbers.

    Parameters
    ----------
    estimator : CRATERegressor
        Fitted estimator.

    Returns
    -------
    module : CRATEValues
        On the CPU, in evaluation mode.
    """
    inputs, networks = _parts(estimator)
    return CRATEValues(
        inputs,
        networks,
        mean=to_tensor(estimator.target_mean_, dtype=torch.float64),
        scale=to_tensor(estimator.target_scale_, dtype=torch.float64),
        is_flat=estimator._is_flat,
    )


def _parts(estimator):
    config = CRATEConfig(**estimator._architecture)
    # Few rows are trained in double precision, too, but runtimes prefer single.
    is_double = estimator.precision == "float64"
    dtype = torch.float64 if is_double else torch.float32
    networks = [
        load_arrays(CRATE(config).to(dtype), network_weights(vars(estimator), number))
        for number in range(estimator.n_networks_)
    ]
    is_nominal = np.asarray(estimator.is_categorical_, dtype=bool)
    categories = estimator.categories_
    inputs = CRATEInputs(
        to_tensor(estimator.centre_, dtype=torch.float64),
        to_tensor(estimator.scale_, dtype=torch.float64),
        numeric=np.flatnonzero(~is_nominal).tolist(),
        nominal=np.flatnonzero(is_nominal).tolist(),
        n_labels=[len(labels) for labels in categories],
        has_missing=[_has_missing(labels) for labels in categories],
        soften=config.tokens != "patch",
    )
    return inputs, networks


def _has_missing(labels):
    """Tell whether missing labels are a category, which then is the last."""
    return len(labels) > 0 and bool(labels[-1] != labels[-1])
