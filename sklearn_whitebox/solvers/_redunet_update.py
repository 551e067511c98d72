"""Update a ReduNet by more rows, layer by layer."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_whitebox.solvers._redunet_forward import (
    LayerMap,
    apply_redunet,
    automatic_temperature,
)
from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._redunet_moments import ClassMoments
from sklearn_whitebox.solvers._redunet_operators import Operators, make_operators
from sklearn_whitebox.solvers._redunet_spectra import normalize_signals

Array = NDArray[Any]


def update_redunet(
    layers: Sequence[ReduNetLayer],
    V: Array,
    labels: Array,
    weights: Array | None = None,
    *,
    distortion: float,
    forget: float | None = None,
    mode: str = "moments",
    automatic: bool = True,
    step_mode: str = "relative",
    rank: int | str | None = "auto",
    device: torch.device | str | None = None,
) -> tuple[list[ReduNetLayer], Array]:
    r"""Let more rows take part in every layer of a network.

    In each layer in turn the operators are updated by the features of the new rows, and
    the rows are sent through the updated layer. Features of earlier rows are not worked
    out again, so the network is near, not equal, to one built from all rows.

    Parameters
    ----------
    layers : sequence of ReduNetLayer
        The network. Layers that have not kept their moments are inverted, which costs
        what building them did, and digits: as many as :math:`d/\epsilon^2` has.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Input features of the new rows.
    labels : ndarray of shape (n_samples,)
        Their classes, from 0.
    weights : ndarray of shape (n_samples,), default=None
        How many times each row counts.
    distortion : float
        Allowed mean squared error per sample, ε².
    forget : float, default=None
        Weight τ of the new rows in an average that forgets older ones:
        :math:`S_k \leftarrow (1-\tau) S_k + \tau \tfrac{n_k}{m_k} T_k` for second
        moments :math:`T_k` of :math:`m_k` new rows. None adds them instead, so that
        all rows count the same.
    mode : {"moments", "operators"}, default="moments"
        Whether second moments are averaged, or the operators as in the programs of
        [1]_, which needs `forget` and leaves the shares of the classes.
    automatic : bool, default=True
        Whether the temperature follows the new rows, see :func:`automatic_temperature`.
    step_mode : {"relative", "absolute"}, default="relative"
        Whether the step is kept relative to α, or itself.
    rank : int, "auto" or None, default="auto"
        How to keep operators, see :func:`make_operators`.
    device : torch.device or str, default=None
        Where to compute; None is the CPU.

    Returns
    -------
    layers : list of ReduNetLayer
        The updated network.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Output features of the new rows.

    Raises
    ------
    ValueError
        If `mode` needs `forget`, or `forget` is not a share.

    References
    ----------
    .. [1] Chan, Yu, You, Qi, Wright, Ma (2022). ReduNet: a white-box deep network from
       the principle of maximizing rate reduction. JMLR 23.
    """
    _check(mode, forget)
    if not len(V) or (weights is not None and not (weights > 0).any()):
        return list(layers), apply_redunet(layers, V, device=device)
    where = None if device is None else torch.device(device)
    updated = []
    frequency_weights = layers[0].frequency_weights if layers else np.ones(V.shape[1])
    unit = normalize_signals(V, frequency_weights)
    if layers:
        unit = unit.astype(layers[0].bases.dtype, copy=False)
    features = torch.from_numpy(unit).to(where)
    for layer in layers:
        batch = ClassMoments(
            layer.n_classes,
            *features.shape[1:],
            bound=features.shape[2] / distortion,
            device=where,
        )
        batch.add(features, labels, weights)
        options: dict[str, Any] = {
            "distortion": distortion,
            "frequency_weights": frequency_weights,
            "dtype": layer.bases.dtype,
        }
        if mode == "operators":
            assert forget is not None
            new = _average_operators(layer, make_operators(batch, **options), forget)
        else:
            known = layer_moments(layer, distortion=distortion)
            moments, counts = join_moments(*known, batch, forget)
            joined = ClassMoments.from_array(moments, counts, where)
            # Classes that were absent may be of any rank.
            ranks = np.where([True, *(layer.shares > 0)], layer.ranks, 0)
            operators = make_operators(joined, rank=rank, previous=ranks, **options)
            new = _renew(layer, operators, step_mode)
            if layer.moments is not None:
                new = replace(new, moments=moments, counts=counts)
            if automatic:
                share = float(batch.counts.sum() / counts.sum())
                share = share if forget is None else forget
                new = _retune(layer, new, features, weights, share)
        updated.append(new)
        features, _ = LayerMap(new, where)(features)
    return updated, features.cpu().numpy()


def layer_moments(layer: ReduNetLayer, *, distortion: float) -> tuple[Array, Array]:
    r"""Recover the second moments that the operators of a layer are of.

    Parameters
    ----------
    layer : ReduNetLayer
        Layer; moments it has kept are returned as they are.
    distortion : float
        Allowed mean squared error per sample, ε², it was built with.

    Returns
    -------
    moments : ndarray of shape (n_classes, n_frequencies, n_channels, n_channels)
        Acting on rows, in float64: :math:`S_k = (M_k^{-1} - I) / \alpha_k`.
    counts : ndarray of shape (n_classes,)
        Rows of each class.
    """
    if layer.moments is not None and layer.counts is not None:
        return layer.moments, layer.counts
    n_channels = layer.bases.shape[1]
    counts = layer.shares * (n_channels / (layer.alpha * distortion))
    operators = layer.compression_operators().conj()
    fine = np.complex128 if np.iscomplexobj(operators) else np.float64
    moments = np.zeros(operators.shape, dtype=fine)
    for k in np.flatnonzero(layer.shares > 0):
        scale = layer.class_scales[k]
        values, vectors = np.linalg.eigh(operators[k].astype(fine) / scale)
        # An operator that was averaged or trained may have left the range (0, 1].
        values = (1 / np.clip(values, 1e-12, 1) - 1) / scale
        scaled = vectors * values[:, None]
        moments[k] = scaled @ np.swapaxes(vectors, 1, 2).conj()
    return moments, counts


def _check(mode: str, forget: float | None) -> None:
    if mode == "operators" and forget is None:
        raise ValueError('mode="operators" needs forget, a number in (0, 1].')
    if forget is not None and not 0 < forget <= 1:
        raise ValueError(f"forget={forget} must be in (0, 1], or None.")


def join_moments(
    moments: Array, counts: Array, batch: ClassMoments, forget: float | None
) -> tuple[Array, Array]:
    """Add the second moments of new rows, or average them in.

    Parameters
    ----------
    moments : ndarray of shape (n_classes, n_frequencies, n_channels, n_channels)
        Second moments of the rows so far, acting on rows.
    counts : ndarray of shape (n_classes,)
        Rows of each class so far.
    batch : ClassMoments
        New rows.
    forget : float or None
        Weight of the new rows in an average, see :func:`update_redunet`; None adds.

    Returns
    -------
    moments, counts : ndarray
        Of all rows; an average leaves the counts of the classes it knew.
    """
    moments, counts = moments.copy(), counts.copy()
    for k in np.flatnonzero(batch.counts > 0):
        fresh = batch.moment(int(k)).cpu().numpy()
        if forget is None or counts[k] == 0:
            moments[k] += fresh
            counts[k] += batch.counts[k]
        else:
            gain = forget * counts[k] / batch.counts[k]
            moments[k] = (1 - forget) * moments[k] + gain * fresh
    return moments, counts


def _renew(layer: ReduNetLayer, operators: Operators, step_mode: str) -> ReduNetLayer:
    step = layer.step
    if step_mode == "relative":
        step *= layer.alpha / operators.alpha
    return operators.to_layer(
        step,
        layer.temperature,
        balanced=layer.balanced,
        weights=layer.frequency_weights,
    )


def _retune(
    old: ReduNetLayer,
    new: ReduNetLayer,
    features: Tensor,
    weights: Array | None,
    share: float,
) -> ReduNetLayer:
    """Average temperatures in the unit of the norms, which rows added make small."""
    unit_old, unit_new = (1.0, 1.0) if new.balanced else (old.alpha, new.alpha)
    fresh = automatic_temperature(new, features, weights) * unit_new
    kept = old.temperature * unit_old
    averaged = kept ** (1 - share) * fresh**share
    return replace(new, temperature=float(averaged / unit_new))


def _average_operators(
    layer: ReduNetLayer, batch: Operators, forget: float
) -> ReduNetLayer:
    fresh = batch.to_layer(
        layer.step, 1.0, balanced=False, weights=layer.frequency_weights
    )
    expansion = layer.expansion_operator()
    expansion = expansion + forget * (fresh.expansion_operator() - expansion)
    compressions = layer.compression_operators()
    seen = (batch.shares > 0) & (layer.shares > 0)
    moved = fresh.compression_operators()[seen] - compressions[seen]
    compressions[seen] += forget * moved
    return ReduNetLayer.from_operators(
        expansion,
        compressions,
        layer.shares,
        step=layer.step,
        temperature=layer.temperature,
        alpha=layer.alpha,
        balanced=layer.balanced,
        frequency_weights=layer.frequency_weights,
    )
