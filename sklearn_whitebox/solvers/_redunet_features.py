"""Features between layers: in memory, in files, or worked out anew."""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_whitebox.solvers._redunet_forward import LayerMap, label_memberships
from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._redunet_spectra import normalize_signals

Array = NDArray[Any]
Block = tuple[Array, Array, Array | None]
Chunks = Callable[[], Iterable[Block]]

# Numbers in a block of rows; it is the unit of all sums, whatever the chunks are.
_BLOCK_NUMBERS = 2**22


class Features:
    """Blocks of the training rows, and their features at the current layer.

    Blocks have one size, which only the shape of a row sets, so that all sums are the
    same to the last bit for every way to cut the rows into chunks.

    Parameters
    ----------
    chunks : callable
        Each call returns the chunks from the start.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    device : torch.device, default=None
        Where to compute; None is the CPU.

    Raises
    ------
    ValueError
        If there are no rows.
    """

    def __init__(
        self,
        chunks: Chunks,
        frequency_weights: Array,
        device: torch.device | None = None,
    ) -> None:
        self.chunks, self.device = chunks, device
        self.frequency_weights = np.asarray(frequency_weights, dtype=np.float64)
        for V, _, _ in chunks():
            if len(V):
                self.shape: tuple[int, int] = V.shape[1:]
                self.dtype = np.result_type(V, np.float32)
                break
        else:
            raise ValueError("the chunks have no rows.")
        self.size = int(min(4096, max(64, _BLOCK_NUMBERS // max(V[0].size, 1))))

    def blocks(self) -> Iterator[tuple[Tensor, Array, Array | None]]:
        """Go through the features of the current layer.

        Yields
        ------
        V : Tensor of shape (n_rows, n_frequencies, n_channels)
            Features, on the device.
        labels : ndarray of shape (n_rows,)
            Classes.
        weights : ndarray of shape (n_rows,) or None
            How many times each row counts.
        """
        raise NotImplementedError  # pragma: no cover

    def stage(self, V: Tensor) -> None:
        """Put by the next layer's features of one block, in the order of the blocks.

        Parameters
        ----------
        V : Tensor of shape (n_rows, n_frequencies, n_channels)
            Features.
        """

    def discard(self) -> None:
        """Forget what was put by."""

    def commit(self, layer: ReduNetLayer) -> None:
        """Make what was put by the current features.

        Parameters
        ----------
        layer : ReduNetLayer
            The layer that led to them.
        """

    def collect(self) -> Array | None:
        """Return the current features of all rows, if they are in memory.

        Returns
        -------
        V : ndarray of shape (n_samples, n_frequencies, n_channels) or None
            Features.
        """
        return None

    def close(self) -> None:
        """Give back what was taken."""

    def _inputs(self) -> Iterator[tuple[Tensor, Array, Array | None]]:
        for V, labels, weights in _cut(self.chunks(), self.size):
            unit = normalize_signals(V, self.frequency_weights)
            unit = unit.astype(self.dtype, copy=False)
            yield torch.from_numpy(unit).to(self.device), labels, weights


class FeaturesInMemory(Features):
    """Features kept in memory, those of two layers at a time.

    Parameters
    ----------
    chunks : callable
        Each call returns the chunks from the start.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    device : torch.device, default=None
        Where to compute; None is the CPU.
    """

    def __init__(
        self,
        chunks: Chunks,
        frequency_weights: Array,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(chunks, frequency_weights, device)
        self.current: list[Tensor] = []
        self.targets: list[tuple[Array, Array | None]] = []
        for V, labels, weights in self._inputs():
            self.current.append(V)
            self.targets.append((labels, weights))
        self.staged: list[Tensor] = []

    def blocks(self) -> Iterator[tuple[Tensor, Array, Array | None]]:
        """Go through the features of the current layer.

        Yields
        ------
        block : tuple
            Features, labels and weights.
        """
        for V, (labels, weights) in zip(self.current, self.targets, strict=True):
            yield V, labels, weights

    def stage(self, V: Tensor) -> None:
        """Put by the next layer's features of one block.

        Parameters
        ----------
        V : Tensor of shape (n_rows, n_frequencies, n_channels)
            Features.
        """
        self.staged.append(V)

    def discard(self) -> None:
        """Forget what was put by."""
        self.staged = []

    def commit(self, layer: ReduNetLayer) -> None:
        """Make what was put by the current features.

        Parameters
        ----------
        layer : ReduNetLayer
            The layer that led to them.
        """
        self.current, self.staged = self.staged, []

    def collect(self) -> Array | None:
        """Return the current features of all rows.

        Returns
        -------
        V : ndarray of shape (n_samples, n_frequencies, n_channels)
            Features.
        """
        return torch.cat(self.current).cpu().numpy()


class FeaturesInFiles(Features):
    """Features kept in a temporary folder, one file for each block.

    Parameters
    ----------
    chunks : callable
        Each call returns the chunks from the start.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    device : torch.device, default=None
        Where to compute; None is the CPU.
    folder : str or path
        Where the temporary folder is made.
    """

    def __init__(
        self,
        chunks: Chunks,
        frequency_weights: Array,
        device: torch.device | None = None,
        *,
        folder: str | Path,
    ) -> None:
        super().__init__(chunks, frequency_weights, device)
        self.folder = tempfile.TemporaryDirectory(dir=folder, prefix="redunet-")
        self.depth, self.n_staged = 0, 0
        self.targets: list[tuple[Array, Array | None]] = []
        for V, labels, weights in self._inputs():
            np.save(self._path(0, len(self.targets)), V.cpu().numpy())
            self.targets.append((labels, weights))

    def blocks(self) -> Iterator[tuple[Tensor, Array, Array | None]]:
        """Go through the features of the current layer.

        Yields
        ------
        block : tuple
            Features, labels and weights.
        """
        for i, (labels, weights) in enumerate(self.targets):
            V = np.load(self._path(self.depth, i))
            yield torch.from_numpy(V).to(self.device), labels, weights

    def stage(self, V: Tensor) -> None:
        """Write the next layer's features of one block.

        Parameters
        ----------
        V : Tensor of shape (n_rows, n_frequencies, n_channels)
            Features.
        """
        np.save(self._path(self.depth + 1, self.n_staged), V.cpu().numpy())
        self.n_staged += 1

    def discard(self) -> None:
        """Forget what was written; the next features take its place."""
        self.n_staged = 0

    def commit(self, layer: ReduNetLayer) -> None:
        """Make what was written the current features.

        Parameters
        ----------
        layer : ReduNetLayer
            The layer that led to them.
        """
        self.depth, self.n_staged = self.depth + 1, 0

    def close(self) -> None:
        """Remove the folder."""
        self.folder.cleanup()

    def _path(self, depth: int, index: int) -> Path:
        # Two layers at a time: names are used again by the next but one.
        return Path(self.folder.name) / f"{depth % 2}-{index}.npy"


class FeaturesAnew(Features):
    """Features worked out from the input by all layers in each pass.

    Parameters
    ----------
    chunks : callable
        Each call returns the chunks from the start.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    device : torch.device, default=None
        Where to compute; None is the CPU.
    n_classes : int, default=None
        Number of classes, if the labels move the features; None is for estimated
        memberships.
    """

    def __init__(
        self,
        chunks: Chunks,
        frequency_weights: Array,
        device: torch.device | None = None,
        n_classes: int | None = None,
    ) -> None:
        super().__init__(chunks, frequency_weights, device)
        self.n_classes = n_classes
        self.maps: list[LayerMap] = []

    def blocks(self) -> Iterator[tuple[Tensor, Array, Array | None]]:
        """Go through the features of the current layer.

        Yields
        ------
        block : tuple
            Features, labels and weights.
        """
        for V, labels, weights in self._inputs():
            given = None
            if self.n_classes is not None:
                given = label_memberships(labels, self.n_classes, V)
            for layer_map in self.maps:
                V, _ = layer_map(V, given)
            yield V, labels, weights

    def commit(self, layer: ReduNetLayer) -> None:
        """Send the rows through one layer more from now on.

        Parameters
        ----------
        layer : ReduNetLayer
            The layer.
        """
        self.maps.append(LayerMap(layer, self.device))


def open_features(
    cache: str | Path | None,
    chunks: Chunks,
    frequency_weights: Array,
    device: torch.device | None = None,
    n_classes: int | None = None,
) -> Features:
    """Choose where the features are.

    Parameters
    ----------
    cache : {"memory"}, path or None
        In memory, in a temporary folder made inside the one given, or nowhere.
    chunks : callable
        Each call returns the chunks from the start.
    frequency_weights : ndarray of shape (n_frequencies,)
        How often each frequency counts.
    device : torch.device, default=None
        Where to compute.
    n_classes : int, default=None
        Number of classes, if the labels move the features; None is for estimated
        memberships.

    Returns
    -------
    features : Features
        To be closed after use.
    """
    if cache is None:
        return FeaturesAnew(chunks, frequency_weights, device, n_classes)
    if cache == "memory":
        return FeaturesInMemory(chunks, frequency_weights, device)
    return FeaturesInFiles(chunks, frequency_weights, device, folder=cache)


def _cut(chunks: Iterable[Block], size: int) -> Iterator[Block]:
    """Cut the rows of all chunks into blocks of one size; the last may be smaller."""
    waiting: list[Block] = []
    n_waiting = 0
    for V, labels, weights in chunks:
        start = 0
        while n_waiting + len(V) - start >= size:
            stop = start + size - n_waiting
            waiting.append(_rows(V, labels, weights, start, stop))
            yield _join(waiting)
            waiting, n_waiting, start = [], 0, stop
        if start < len(V):
            waiting.append(_rows(V, labels, weights, start, len(V)))
            n_waiting += len(V) - start
    if waiting:
        yield _join(waiting)


def _rows(V: Array, labels: Array, weights: Array | None, i: int, j: int) -> Block:
    return V[i:j], np.asarray(labels)[i:j], None if weights is None else weights[i:j]


def _join(parts: list[Block]) -> Block:
    if len(parts) == 1:
        return parts[0]
    weights = [
        np.ones(len(V)) if weights is None else weights for V, _, weights in parts
    ]
    plain = all(part[2] is None for part in parts)
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        None if plain else np.concatenate(weights),
    )
