"""More samples for a ReduNet that is fitted."""

from dataclasses import replace

import numpy as np
import torch

from sklearn_whitebox.solvers._redunet_moments import ClassMoments
from sklearn_whitebox.solvers._redunet_update import join_moments, update_redunet


def update_network(layers, spectra, V, labels, weights, *, forget, **options):
    """Update every layer and the classes after the last one by more rows.

    Parameters
    ----------
    layers : list of ReduNetLayer
        The network.
    spectra : list of ClassSpectrum
        Classes after the last layer.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features of the new rows.
    labels : ndarray of shape (n_samples,)
        Their classes, from 0.
    weights : ndarray of shape (n_samples,)
        How many times each counts.
    forget : float or None
        Weight of the new rows in an average; None adds them.
    **options : dict
        Of :func:`update_redunet`.

    Returns
    -------
    layers : list of ReduNetLayer
        The updated network, without the moments.
    moments : ClassMoments
        Of the classes after its last layer.
    """
    updated, features = update_redunet(
        layers, V, labels, weights, forget=forget, **options
    )
    batch = ClassMoments(len(spectra), *V.shape[1:], bound=np.inf)
    batch.add(torch.from_numpy(features), labels, weights)
    wide = np.complex128 if np.iscomplexobj(V) else np.float64
    moments = np.stack([_moment(spectrum, wide) for spectrum in spectra])
    counts = np.array([spectrum.count for spectrum in spectra])
    moments, counts = join_moments(moments, counts, batch, forget)
    plain = [replace(layer, moments=None, counts=None) for layer in updated]
    return plain, ClassMoments.from_array(moments, counts)


def _moment(spectrum, dtype):
    basis = spectrum.basis.astype(dtype)
    return np.swapaxes(basis, 1, 2).conj() * spectrum.values[:, None] @ basis
