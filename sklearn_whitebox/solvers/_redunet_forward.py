"""Send features through the layers of a ReduNet."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_whitebox._threads import torch_threads
from sklearn_whitebox.solvers._redunet_layers import DENSE, ReduNetLayer
from sklearn_whitebox.solvers._redunet_spectra import normalize_signals

Array = NDArray[Any]

# Rows of one product: the responses of all classes to them should stay in cache.
_RESPONSE_BYTES = 2**22


class LayerMap:
    """A layer made ready for rows of features on a device.

    Parameters
    ----------
    layer : ReduNetLayer
        The layer.
    device : torch.device, default=None
        Where the features are; None is the CPU.
    """

    def __init__(self, layer: ReduNetLayer, device: torch.device | None = None) -> None:
        def put(array: Array) -> Tensor:
            return _to_tensor(array).to(device)

        self.operators, self.bases = put(layer.operators), put(layer.bases)
        real = layer.shrinkages.dtype
        self.shrinkages = put(layer.shrinkages)
        self.step = layer.step * layer.alpha
        self.n_channels = layer.bases.shape[1]
        self.expands_dense = layer.ranks[0] == DENSE
        present = np.flatnonzero(layer.shares > 0)
        self.n_classes, self.n_present = layer.n_classes, len(present)
        ranks = layer.ranks[1:]
        dense = [k for k in present if ranks[k] == DENSE]
        thin = [k for k in present if ranks[k] != DENSE]
        # Responses come as dense classes first, then those of low rank.
        order = np.array(dense + thin, dtype=np.int64)
        self.n_dense = len(dense)
        self.order = torch.from_numpy(order).to(device)
        self.first = 0 if self.expands_dense else int(layer.ranks[0])
        # Columns of each class of low rank among the coordinates.
        edges = self.first + np.cumsum([0, *ranks[thin]])
        self.columns = [slice(*map(int, pair)) for pair in pairwise(edges)]
        c = layer.shrinkages
        self.losses = put(np.sqrt(c * (2 - c)))
        scales = np.ones(len(order)) if layer.balanced else layer.class_scales[order]
        self.scales = put((layer.temperature * scales).astype(real))
        self.temperature = layer.temperature
        weights = layer.frequency_weights
        self.weights = put((weights / weights.sum()).astype(real))

    @property
    def width(self) -> int:
        """Multiply-adds of one row."""
        return self.operators.numel() + 2 * self.bases.numel()

    def block_size(self) -> int:
        """Return how many rows to send through at once.

        Returns
        -------
        n_rows : int
            Depends on the shapes and the device only.
        """
        width = self.operators.shape[2] + 2 * self.bases.shape[2] + self.n_channels
        cost = len(self.weights) * width * self.bases.element_size()
        budget = _RESPONSE_BYTES * (1 if self.bases.device.type == "cpu" else 256)
        return int(min(8192, max(32, budget // max(cost, 1))))

    def __call__(
        self, V: Tensor, memberships: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Send features through the layer.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            Features.
        memberships : Tensor of shape (n_samples, n_classes), default=None
            Use these instead of the estimated ones.

        Returns
        -------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            Features of the next layer.
        memberships : Tensor of shape (n_samples, n_classes)
            The memberships used.
        """
        result = torch.empty_like(V)
        used = torch.zeros(
            (len(V), self.n_classes), dtype=self.scales.dtype, device=V.device
        )
        size = self.block_size()
        for start in range(0, len(V), size):
            rows = slice(start, start + size)
            given = None if memberships is None else memberships[rows]
            result[rows], used[rows] = self._step(V[rows], given)
        return result, used

    def norms(self, V: Tensor) -> Tensor:
        r"""Return the norms that the softmax sees, times the temperature.

        Parameters
        ----------
        V : Tensor of shape (n_samples, n_frequencies, n_channels)
            Features.

        Returns
        -------
        norms : Tensor of shape (n_samples, n_present)
            Of the classes that are not absent, in the order of ``self.order``.
        """
        size = self.block_size()
        blocks = [
            self._norms(self._respond(V[start : start + size]), V[start : start + size])
            for start in range(0, len(V), size)
        ]
        return torch.cat(blocks)

    def _respond(self, V: Tensor) -> tuple[Tensor, Tensor]:
        rows = V.transpose(0, 1)  # (n_frequencies, n_samples, n_channels)
        return rows @ self.operators, rows @ self.bases

    def _norms(self, responses: tuple[Tensor, Tensor], V: Tensor) -> Tensor:
        dense, coordinates = responses
        squares = []
        if self.n_dense:
            split = self._split(dense)[:, :, -self.n_dense :]
            squares.append(self._over_frequencies(_power(split)))
        if self.n_present > self.n_dense:
            lost = coordinates * self.losses[:, None]
            powers = torch.stack([_power(lost[:, :, c]) for c in self.columns], dim=2)
            total = _power(V.transpose(0, 1))[:, :, None]
            left = self._over_frequencies(total - powers)
            squares.append(left.clamp_min(0))
        return torch.cat(squares, 1).sqrt() * self.scales

    def _step(self, V: Tensor, memberships: Tensor | None) -> tuple[Tensor, Tensor]:
        responses = self._respond(V)
        dense, coordinates = responses
        used = torch.zeros(
            (len(V), self.n_classes), dtype=self.scales.dtype, device=V.device
        )
        if memberships is None:
            weights = torch.softmax(-self._norms(responses, V), dim=1)
            used[:, self.order] = weights
        else:
            used, weights = memberships, memberships[:, self.order]
        ascent = self._ascend(V.transpose(0, 1), dense, coordinates, weights)
        moved = torch.add(V, ascent.transpose(0, 1), alpha=self.step)
        norm = self._over_frequencies(_power(moved.transpose(0, 1))).sqrt()
        norm = torch.where(norm > 0, norm, 1)
        _as_real(moved).div_(norm[:, None, None])
        return moved, used

    def _ascend(
        self, rows: Tensor, dense: Tensor, coordinates: Tensor, weights: Tensor
    ) -> Tensor:
        """Return M z minus the weighted M_k z.

        The identities of the operators of low rank cancel as far as the memberships
        sum to one, so they are added up by hand.
        """
        n_dense = self.n_dense
        if self.expands_dense:
            ascent = dense[:, :, : self.n_channels].clone()
            whole = -weights[:, n_dense:].sum(1)
        else:
            ascent = torch.zeros_like(rows)
            whole = weights[:, :n_dense].sum(1)
        if n_dense:
            split = self._split(dense)[:, :, -n_dense:]
            parts = _as_real(ascent)
            for k in range(n_dense):
                parts.addcmul_(split[:, :, k], weights[:, k, None], value=-1)
        if self.n_present > n_dense or not self.expands_dense:
            ascent += whole[:, None] * rows
        if self.bases.shape[2]:
            shrunk = coordinates * self.shrinkages[:, None]
            shrunk[:, :, : self.first].neg_()
            for k, columns in enumerate(self.columns, start=n_dense):
                _as_real(shrunk[:, :, columns]).mul_(weights[:, k, None])
            ascent += shrunk @ self.bases.mH
        return ascent

    def _split(self, dense: Tensor) -> Tensor:
        """Part the responses by operator; real and imaginary parts side by side."""
        return _as_real(dense.unflatten(2, (-1, self.n_channels)))

    def _over_frequencies(self, values: Tensor) -> Tensor:
        return torch.tensordot(self.weights, values, dims=1)


def label_memberships(labels: Array, n_classes: int, like: Tensor) -> Tensor:
    """Write labels as memberships, one for the class of a row and zero for others.

    Parameters
    ----------
    labels : ndarray of shape (n_samples,)
        Classes, from 0.
    n_classes : int
        Number of classes.
    like : Tensor
        Gives precision and device.

    Returns
    -------
    memberships : Tensor of shape (n_samples, n_classes)
        Real also for complex features.
    """
    shares = torch.from_numpy(np.eye(n_classes)[labels])
    return shares.to(like.device, like.real.dtype)


def apply_layer(layer: ReduNetLayer, V: Array) -> Array:
    """Send features through one layer.

    Parameters
    ----------
    layer : ReduNetLayer
        The layer.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features of unit norm.

    Returns
    -------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features of the next layer.
    """
    return apply_redunet([layer], V, normalize=False)


def layer_memberships(layer: ReduNetLayer, V: Array) -> Array:
    """Estimate to which classes features belong.

    Parameters
    ----------
    layer : ReduNetLayer
        The layer.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features that enter the layer.

    Returns
    -------
    memberships : ndarray of shape (n_samples, n_classes)
        Non-negative; rows sum to one. Zero for absent classes.
    """
    layer_map = LayerMap(layer)
    norms = layer_map.norms(_to_tensor(V, layer.bases.dtype))
    memberships = np.zeros((len(V), layer.n_classes), dtype=norms.numpy().dtype)
    memberships[:, layer_map.order.numpy()] = torch.softmax(-norms, dim=1).numpy()
    return memberships


def apply_redunet(
    layers: Iterable[ReduNetLayer],
    V: Array,
    *,
    chunk: int = 2048,
    normalize: bool = True,
    frequency_weights: Array | None = None,
    device: torch.device | str | None = None,
) -> Array:
    """Send features through all layers.

    Parameters
    ----------
    layers : iterable of ReduNetLayer
        The layers, first to last.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Input features, see :func:`to_frequencies`.
    chunk : int, default=2048
        Rows on the device at a time.
    normalize : bool, default=True
        Whether to bring the rows to unit norm first, as fitting does.
    frequency_weights : ndarray of shape (n_frequencies,), default=None
        How often each frequency counts in norms; None asks the first layer, or counts
        once if there is none.
    device : torch.device or str, default=None
        Where to compute; None is the CPU.

    Returns
    -------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Output features of unit norm, on the CPU; rows of zeros stay zero.

    Notes
    -----
    A row costs O(d²) for each dense operator and O(d r) for one of rank r.
    """
    where = None if device is None else torch.device(device)
    layers = list(layers)
    maps = [LayerMap(layer, where) for layer in layers]
    if frequency_weights is None:
        known = layers[0].frequency_weights if layers else np.ones(V.shape[1])
        frequency_weights = known
    kind = np.result_type(V, np.float32)
    result = np.empty(V.shape, kind)
    # Features take the precision of the layers, and their own again in the end.
    inside = layers[0].bases.dtype if layers else kind
    with torch_threads(min(chunk, len(V)) * max((m.width for m in maps), default=0)):
        for start in range(0, len(V), chunk):
            rows = V[start : start + chunk]
            if normalize:
                rows = normalize_signals(rows, frequency_weights)
            block = _to_tensor(rows, inside).to(where)
            for layer_map in maps:
                block, _ = layer_map(block)
            result[start : start + chunk] = block.cpu().numpy()
    return result


def iterate_redunet(
    layers: Iterable[ReduNetLayer], V: Array, *, device: Any = None
) -> Iterator[tuple[Array, Array]]:
    """Send features through the layers and show them after each.

    Parameters
    ----------
    layers : iterable of ReduNetLayer
        The layers, first to last.
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Input features.
    device : torch.device or str, default=None
        Where to compute; None is the CPU.

    Yields
    ------
    V : ndarray of shape (n_samples, n_frequencies, n_channels)
        Features after the layer.
    memberships : ndarray of shape (n_samples, n_classes)
        Memberships that the layer estimated.
    """
    block = None
    for layer in layers:
        if block is None:
            unit = normalize_signals(V, layer.frequency_weights)
            block = _to_tensor(unit, layer.bases.dtype).to(device)
        block, memberships = LayerMap(layer, device)(block)
        yield block.cpu().numpy(), memberships.cpu().numpy()


def automatic_temperature(
    layer: ReduNetLayer, V: Tensor, weights: Array | None = None
) -> float:
    """Choose the factor of the norms so that memberships are all but certain.

    Parameters
    ----------
    layer : ReduNetLayer
        Layer, whatever its temperature.
    V : Tensor of shape (n_samples, n_frequencies, n_channels)
        Features that enter it.
    weights : ndarray of shape (n_samples,), default=None
        How many times each row counts.

    Returns
    -------
    temperature : float
        Fifty over the lower median of the smallest norms.
    """
    layer_map = LayerMap(replace(layer, temperature=1.0), V.device)
    smallest = layer_map.norms(V).amin(1).double().cpu().numpy()
    weights = np.ones(len(smallest)) if weights is None else weights
    counted = (weights > 0) & (smallest > 0)
    if not counted.any():
        return 1.0
    order = np.argsort(smallest[counted], kind="stable")
    reached = np.cumsum(weights[counted][order])
    # The lower median is the same for a row of weight two and for two copies.
    middle = int(np.searchsorted(reached, reached[-1] / 2))
    return float(50 / smallest[counted][order][middle])


def _to_tensor(array: Array, dtype: Any = None) -> Tensor:
    """Share memory where torch allows it: not with arrays that are read-only."""
    return torch.from_numpy(np.require(array, dtype, ["C", "W"]))


def _as_real(values: Tensor) -> Tensor:
    """View complex numbers as twice as many real ones, whose kernels are fast."""
    return torch.view_as_real(values).flatten(-2) if values.is_complex() else values


def _power(values: Tensor) -> Tensor:
    """Sum the squares along the last axis."""
    return torch.linalg.vector_norm(_as_real(values), dim=-1).square()
