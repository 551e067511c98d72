"""What a fit of RateReductionClusterer does, step by step, on plain arrays."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy import sparse
from sklearn.cluster import KMeans

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox._threads import serial_blas, serial_pools, torch_threads
from sklearn_whitebox.estimators._network_state import arrays_of, load_arrays
from sklearn_whitebox.modules._cluster_network import ClusterNetwork
from sklearn_whitebox.solvers._copies import distinct_rows
from sklearn_whitebox.solvers._graph_cut import cut_graph
from sklearn_whitebox.solvers._membership_graph import membership_affinity
from sklearn_whitebox.solvers._rate_clustering import (
    ridge_directions,
    train_rate_clusters,
)
from sklearn_whitebox.solvers._spectral import graph_components
from sklearn_whitebox.solvers._subspaces import fit_subspaces, subspace_residuals

# Rows encoded at a time; fixed, so that results do not depend on the machine.
_CHUNK = 4096


def distinct_directions(rows):
    """Find one row for each direction that occurs.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Unit rows, or zero.

    Returns
    -------
    first : ndarray of shape (n_distinct,)
        Indices of rows that equal, or oppose, no earlier row, and are not zero.
    position : ndarray of shape (n_samples,)
        Position in `first` of each row; -1 for rows of zeros.
    """
    first, inverse, _ = distinct_rows(rows)
    filled = rows[first].any(axis=1)
    position = np.where(filled, np.cumsum(filled) - 1, -1)
    return first[filled], position[inverse]


def make_network(rows, n_components, hidden_layer_sizes, init, generator):
    """Build the network at its start.

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Unit rows.
    n_components : int
        Width of the features.
    hidden_layer_sizes : tuple of int
        Widths of the hidden layers.
    init : {"ridge", "random"}
        Start of the stem.
    generator : Generator
        Draws the other weights.

    Returns
    -------
    network : ClusterNetwork
        On the CPU.
    """
    start = None
    if init == "ridge":
        with torch_threads(float(len(rows)) * rows.shape[1] ** 2):
            start = ridge_directions(to_tensor(rows), n_components)
    return ClusterNetwork(
        rows.shape[1],
        n_components,
        hidden_layer_sizes,
        start=start,
        generator=generator,
    )


def train_network(network, rows, device, work, **settings):
    """Train on a device, and bring the weights back.

    Parameters
    ----------
    network : ClusterNetwork
        The start.
    rows : ndarray of shape (n_samples, n_features)
        Unit rows.
    device : torch.device
        Where to train.
    work : float
        Multiply-adds of a step.
    **settings : kwargs
        As :func:`~sklearn_whitebox.solvers.train_rate_clusters` takes them.

    Returns
    -------
    weights : dict of str to ndarray
        Trained weights.
    loss_curve : list of float
        Loss of every pass.
    """
    with torch_threads(work):
        result = train_rate_clusters(
            network.to(device), to_tensor(rows, device=device), **settings
        )
    return arrays_of(result.weights), result.loss_curve


def network_of(weights):
    """Rebuild the network from its arrays.

    Parameters
    ----------
    weights : dict of str to ndarray
        State of a network.

    Returns
    -------
    network : ClusterNetwork
        On the CPU, ready for inference.
    """
    n_components, n_inputs = weights["stem.weight"].shape
    widths = [len(w) for name, w in weights.items() if name.startswith("body.")]
    return load_arrays(ClusterNetwork(n_inputs, n_components, widths), weights)


def embed(weights, rows, device, *, with_stem=False):
    """Run the network on rows.

    Parameters
    ----------
    weights : dict of str to ndarray
        State of the network.
    rows : ndarray of shape (n_samples, n_features)
        Unit rows.
    device : torch.device
        Where to compute.
    with_stem : bool, default=False
        Whether to give the coordinates of the stem, too.

    Returns
    -------
    outputs : list of Tensor of shape (n_samples, n_components)
        Features, cluster embeddings and, if asked for, coordinates, on the device.
    """
    network = network_of(weights).to(device)
    work = float(min(len(rows), _CHUNK)) * sum(w.size for w in weights.values())
    parts = []
    with torch_threads(work), torch.no_grad():
        for start in range(0, len(rows), _CHUNK):
            chunk = to_tensor(rows[start : start + _CHUNK], device=device)
            outputs = network(chunk)
            if with_stem:
                outputs = (*outputs, network.coordinates(chunk))
            parts.append(outputs)
        return [torch.cat(pieces) for pieces in zip(*parts, strict=True)]


class MembershipGraph(NamedTuple):
    """A graph of samples, its parts, and a way to cut it.

    Parameters
    ----------
    affinity : csr_array of shape (n_samples, n_samples)
        Symmetric weights.
    components : list of ndarray
        Connected components of two samples and more.
    isolated : ndarray
        Samples without an edge.
    cut : callable
        Gives labels from 0 for a number of clusters.
    """

    affinity: sparse.csr_array
    components: list
    isolated: np.ndarray
    cut: Callable


def membership_graph(F, C, features, *, temperature, n_neighbors, distortion, seed):
    """Join neighbours, weighted by their memberships, and prepare to cut.

    Parameters
    ----------
    F : Tensor of shape (n_samples, n_components)
        Unit rows, whose cosines choose the neighbours.
    C : Tensor of shape (n_samples, n_components)
        Cluster embeddings, whose cosines make the memberships.
    features : ndarray of shape (n_samples, n_components)
        Features of the samples.
    temperature : float
        Temperature of the memberships.
    n_neighbors : int
        Edges of a sample.
    distortion : float
        Allowed mean squared error, for merging components by coding length.
    seed : int
        Seeds k-means and the eigensolver.

    Returns
    -------
    graph : MembershipGraph
        Graph and cutter.
    """
    with torch_threads(float(len(F)) ** 2 * F.shape[1]):
        affinity = membership_affinity(
            F, C, temperature=temperature, n_neighbors=n_neighbors
        )
    components, isolated = graph_components(affinity)

    def assign(embedding, n_clusters):
        return KMeans(n_clusters, n_init=20, random_state=seed).fit_predict(embedding)

    def cut(n_clusters):
        if n_clusters == 1:
            return np.zeros(len(features), np.int64)
        if n_clusters >= len(features):
            return np.arange(len(features))
        groups = list(components)
        if sum(map(len, groups)) < n_clusters:
            groups += [np.array([i]) for i in isolated]
        work = 2.0 * len(features) * n_clusters * (n_clusters + 3)
        with serial_blas(), serial_pools(work):
            labels = cut_graph(
                features,
                affinity,
                groups,
                n_clusters,
                assign=assign,
                distortion=distortion,
                seed=seed,
            )
            return label_the_rest(features, labels)

    return MembershipGraph(affinity, components, isolated, cut)


def label_the_rest(Z, labels):
    """Give samples with negative labels to the nearest subspace of the others.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Features.
    labels : ndarray of shape (n_samples,)
        Cluster of each sample, negative where it has none.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        From 0; all zero if there was no cluster.
    """
    missing = labels < 0
    if missing.all():
        return np.zeros_like(labels)
    if missing.any():
        bases = fit_subspaces(Z, labels, labels.max() + 1)
        labels = labels.copy()
        labels[missing] = nearest_subspace(Z[missing], bases)
    return labels


def nearest_subspace(Z, bases):
    """Assign features to the nearest subspace.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_features)
        Features.
    bases : list of ndarray of shape (dim, n_features)
        Orthonormal bases.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Positions in `bases`.
    """
    labels = np.empty(len(Z), np.int64)
    bases = [basis.astype(Z.dtype, copy=False) for basis in bases]
    for start in range(0, len(Z), _CHUNK):
        block = slice(start, start + _CHUNK)
        labels[block] = np.argmin(subspace_residuals(Z[block], bases), axis=1)
    return labels
