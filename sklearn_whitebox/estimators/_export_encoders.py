"""Fitted embeddings, clusterers and sparse encoders as modules of plain torch."""

import numpy as np
import torch

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox.estimators._autoencoder_state import module_of
from sklearn_whitebox.estimators._embedding_network import make_network
from sklearn_whitebox.estimators._export import builds_module
from sklearn_whitebox.estimators._network_state import load_arrays
from sklearn_whitebox.estimators._rate_clusterer_steps import network_of
from sklearn_whitebox.modules._exported import Standardize
from sklearn_whitebox.modules._exported_encoders import (
    Autoencoder,
    ClusterAssigner,
    Embedding,
    SparseCoder,
)


@builds_module
def embedding_module(estimator):
    """Build what computes the features of an embedding.

    Parameters
    ----------
    estimator : RateReductionEmbedding
        Fitted estimator.

    Returns
    -------
    module : Embedding
        On the CPU, in evaluation mode.
    """
    network = load_arrays(make_network(estimator), estimator.weights_)
    factor = None if estimator._sphere else float(estimator.feature_scale_)
    scaler = _standardize(estimator.mean_, estimator.scale_)
    return Embedding(scaler, network, factor)


@builds_module
def clusters_module(estimator):
    """Build what computes features and clusters.

    Parameters
    ----------
    estimator : RateReductionClusterer
        Fitted estimator.

    Returns
    -------
    module : ClusterAssigner
        On the CPU, in evaluation mode.
    """
    network = network_of(estimator.weights_)
    bases = [to_tensor(basis, dtype=torch.float32) for basis in estimator.bases_]
    return ClusterAssigner(network, bases, estimator._largest_cluster)


@builds_module
def sparse_coder_module(estimator):
    """Build what codes rows by an unrolled solver.

    Parameters
    ----------
    estimator : LearnedSparseEncoder
        Fitted estimator.

    Returns
    -------
    module : SparseCoder
        On the CPU, in evaluation mode.

    Raises
    ------
    ValueError
        If codes are mended by an exact solver.
    """
    if estimator.safeguard:
        raise ValueError(
            "safeguard=True lets an exact solver mend the codes, which no module can; "
            "use set_params(safeguard=False), with which the codes are those of the "
            "network alone."
        )
    parts = estimator._network()
    is_double = estimator.weights_["log_thresholds"].dtype == np.float64
    network = parts.make_module(torch.float64 if is_double else torch.float32)
    load_arrays(network, estimator.weights_)
    unit = parts.scale / parts.atom_length
    return SparseCoder(network, scale=parts.scale, unit=unit)


@builds_module
def autoencoder_module(estimator):
    """Build what codes rows by a sparse autoencoder.

    Parameters
    ----------
    estimator : SparseAutoencoder
        Fitted estimator.

    Returns
    -------
    module : Autoencoder
        On the CPU, in evaluation mode.
    """
    network = module_of(estimator.weights_, estimator._n_active, torch.float32)
    scaler = _standardize(estimator.center_, estimator.scale_)
    return Autoencoder(scaler, network)


def _standardize(centre, scale):
    return Standardize(
        to_tensor(centre, dtype=torch.float64), to_tensor(scale, dtype=torch.float64)
    )
