"""Fitted ReduNet classifiers as modules of plain torch."""

import math
from itertools import pairwise

import numpy as np
import torch

from sklearn_whitebox._array import to_tensor
from sklearn_whitebox.estimators._export import builds_module
from sklearn_whitebox.modules._exported import Standardize
from sklearn_whitebox.modules._exported_redunet import (
    ClassScores,
    LiftedRows,
    RealSpectra,
    ReduNetProbabilities,
    ReduNetStep,
)
from sklearn_whitebox.modules._lifting import CircularLift, RandomLift
from sklearn_whitebox.solvers._frequency_coding import FrequencyCoder, _leading
from sklearn_whitebox.solvers._redunet_layers import DENSE
from sklearn_whitebox.solvers._redunet_spectra import frequency_weights


@builds_module
def redunet_module(estimator):
    """Build what gives the probabilities of the classes.

    Parameters
    ----------
    estimator : ReduNetClassifier
        Fitted estimator.

    Returns
    -------
    module : ReduNetProbabilities
        On the CPU, in evaluation mode.

    Raises
    ------
    ValueError
        If the lift is a transformer of the user.
    """
    is_double = estimator._dtype in ("float64", "complex128")
    dtype = torch.float64 if is_double else torch.float32
    shape = estimator._lifted_shape()
    shares = frequency_weights(shape)
    return ReduNetProbabilities(
        _rows(estimator, dtype),
        None if shape is None else RealSpectra(shape, dtype),
        [_step(layer, dtype) for layer in estimator._layers()],
        to_tensor(shares / shares.sum(), dtype=dtype),
        _scores(estimator, shares),
    )


def _rows(estimator, dtype):
    kind, arrays = estimator.lift_, estimator.lift_arrays_
    shape = estimator._signal_shape
    if not isinstance(kind, str):
        raise ValueError(
            f"lift is a {type(kind).__name__}, which is no part of the network; fit "
            "with lift=None on rows that it has transformed, and export it apart."
        )
    standardize = lift = None
    if "scale" in arrays:
        scale = to_tensor(arrays["scale"], dtype=torch.float64)
        mean = arrays.get("mean", np.zeros(()))
        standardize = Standardize(to_tensor(mean, dtype=torch.float64), scale)
    if kind == "random_relu":
        n_channels, n_inputs, *sizes = arrays["weight"].shape
        lift = RandomLift(n_inputs, n_channels, dtype=dtype)
        if shape is not None:
            lift = CircularLift(n_inputs, n_channels, sizes, dtype=dtype)
        state = {name: to_tensor(arrays[name]) for name in lift.state_dict()}
        lift.load_state_dict(state)
    n_ones = 0
    if kind == "bias":
        n_ones = 1 if shape is None else math.prod(shape[1:])
    return LiftedRows(
        estimator.n_features_in_,
        standardize=standardize,
        lift=lift,
        shape=shape,
        n_ones=n_ones,
    )


def _step(layer, dtype):
    n_frequencies, n_channels = layer.bases.shape[:2]
    present = np.flatnonzero(layer.shares > 0)
    ranks = layer.ranks[1:]
    dense = [k for k in present if ranks[k] == DENSE]
    thin = [k for k in present if ranks[k] != DENSE]
    expands_dense = layer.ranks[0] == DENSE
    first = 0 if expands_dense else int(layer.ranks[0])
    owners = np.zeros((layer.bases.shape[2], len(thin)))
    edges = first + np.cumsum([0, *ranks[thin]])
    for column, (start, stop) in enumerate(pairwise(edges)):
        owners[int(start) : int(stop), column] = 1
    order = np.array(dense + thin, dtype=np.int64)
    scales = np.ones(len(order)) if layer.balanced else layer.class_scales[order]
    blocks = layer.operators.reshape(n_frequencies, n_channels, -1, n_channels)
    return ReduNetStep(
        to_tensor(np.swapaxes(blocks, 1, 2)),
        to_tensor(layer.bases),
        shrinkages=to_tensor(layer.shrinkages, dtype=dtype),
        owners=to_tensor(owners, dtype=dtype),
        expands_dense=bool(expands_dense),
        step=layer.step * layer.alpha,
        scales=to_tensor(layer.temperature * scales, dtype=dtype),
    )


def _scores(estimator, shares):
    spectra = estimator._spectra()
    distortion, n_components = estimator.distortion_, estimator._head_components
    coder = FrequencyCoder(spectra, distortion=distortion, frequency_weights=shares)
    dampings, scales, factors, constants = [], [], [], []
    for spectrum, share in zip(spectra, coder.log_shares, strict=True):
        count, width = spectrum.count, spectrum.basis.shape[2]
        # Of classes without rows the constant alone counts, which is -inf.
        scale = width / ((count + 1) * distortion) if count > 0 else 0.0
        factor, constant = (count + 1) / 2 if count > 0 else 0.0, share
        damping = 1 / (1 + scale * spectrum.values)
        if n_components is not None:
            damping = ~_leading(spectrum.values, n_components, shares)
            factor, constant = float(count > 0), 0.0 if count > 0 else -np.inf
        elif count > 0:
            n_frequencies, rank = spectrum.values.shape
            nothing = np.zeros((n_frequencies, 1, rank)), np.zeros((n_frequencies, 1))
            constant = share - coder.increments(spectrum, *nothing)[0]
        dampings.append(to_tensor(damping, dtype=torch.float64))
        scales.append(scale)
        factors.append(factor)
        constants.append(constant)
    return ClassScores(
        [_double(spectrum.basis) for spectrum in spectra],
        dampings,
        scales=torch.tensor(scales, dtype=torch.float64),
        factors=torch.tensor(factors, dtype=torch.float64),
        constants=torch.tensor(constants, dtype=torch.float64),
        sharpness=float(estimator.sharpness_),
        log_factors=to_tensor(estimator._log_factors, dtype=torch.float64),
        takes_logarithm=n_components is None,
    )


def _double(basis):
    is_complex = np.iscomplexobj(basis)
    return to_tensor(basis, dtype=torch.complex128 if is_complex else torch.float64)
