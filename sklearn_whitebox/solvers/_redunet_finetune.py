"""Train the operators of a ReduNet further, by gradient."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_whitebox.solvers._redunet_layers import ReduNetLayer
from sklearn_whitebox.solvers._train import TrainResult, TrainSettings, train

Array = NDArray[Any]
Callback = Callable[[int, float], bool]


@dataclass(frozen=True)
class FinetuneSettings:
    """How :func:`finetune_redunet` trains.

    Parameters
    ----------
    objective : {"rate_reduction", "cross_entropy"}, default="rate_reduction"
        What is climbed; the other needs a head.
    distortion : float, default=0.1
        Allowed mean squared error per sample, ε², of the rate reduction.
    max_epochs : int, default=20
        Passes over the samples.
    batch_size : int, default=1000
        Rows of a batch; rates of small batches are biased.
    learning_rate : float, default=1e-4
        Peak rate of AdamW. The operators are small and exact to begin with: ten times
        more trades samples not seen for those in training.
    """

    objective: str = "rate_reduction"
    distortion: float = 0.1
    max_epochs: int = 20
    batch_size: int = 1000
    learning_rate: float = 1e-4


def finetune_redunet(
    module: nn.Module,
    X: Tensor,
    labels: Tensor,
    *,
    generator: torch.Generator,
    settings: FinetuneSettings | None = None,
    head: nn.Module | None = None,
    weights: Tensor | None = None,
    callback: Callback | None = None,
) -> TrainResult:
    """Train a ReduNet by the rate reduction, or by the cross-entropy of a head.

    Parameters
    ----------
    module : Module
        A :class:`sklearn_whitebox.modules.ReduNet`; trained in place.
    X : Tensor of shape (n_samples, n_features)
        Samples, flattened in row-major order.
    labels : Tensor of shape (n_samples,)
        Classes, from 0.
    generator : Generator
        Source of the order of the rows, on the CPU.
    settings : FinetuneSettings, default=None
        Objective and step sizes.
    head : Module, default=None
        Maps flattened features to scores of the classes, such as
        :class:`sklearn_whitebox.modules.SubspaceHead`; trained too.
    weights : Tensor of shape (n_samples,), default=None
        How many times each row counts.
    callback : callable, default=None
        Called as ``callback(epoch, loss)`` after each epoch; True stops training.

    Returns
    -------
    result : TrainResult
        History; its weights are those of the module and the head in one list.

    Raises
    ------
    ValueError
        If the cross-entropy has no head.
    FloatingPointError
        If the loss stops being finite.
    """
    settings = settings or FinetuneSettings()
    if settings.objective == "cross_entropy" and head is None:
        raise ValueError('objective="cross_entropy" needs a head.')
    network: Any = module
    parts = nn.ModuleList([module] if head is None else [module, head])

    def loss(rows: Tensor) -> Tensor:
        V = network.propagate(network.to_spectra(X[rows]))
        kept = None if weights is None else weights[rows]
        if head is None or settings.objective == "rate_reduction":
            return -spectral_rate_reduction(
                V,
                labels[rows],
                distortion=settings.distortion,
                frequency_weights=network.weights,
                weights=kept,
            )
        scores = head(network.to_signals(V))
        losses = nn.functional.cross_entropy(scores, labels[rows], reduction="none")
        if kept is None:
            return losses.mean()
        return (kept * losses).sum() / kept.sum()

    n_batches = math.ceil(len(X) / settings.batch_size)

    def batches(epoch: int) -> Iterator[Tensor]:
        return _stratified(labels, n_batches, generator)

    return train(
        parts,
        loss,
        batches,
        TrainSettings(
            learning_rate=settings.learning_rate,
            max_epochs=settings.max_epochs,
            steps_per_epoch=n_batches,
        ),
        callback=callback,
    )


def layer_tensors(layers: Sequence[ReduNetLayer]) -> dict[str, Tensor]:
    """Write layers as the tensors that a module is made of.

    Parameters
    ----------
    layers : sequence of ReduNetLayer
        The network, at least one layer.

    Returns
    -------
    tensors : dict of str to Tensor
        Arguments of :class:`sklearn_whitebox.modules.ReduNet`, for the classes that
        are not absent.

    Raises
    ------
    ValueError
        If there are no layers.
    """
    if not layers:
        raise ValueError("layers must hold at least one layer.")
    real = layers[0].shrinkages.dtype
    present = np.flatnonzero(layers[0].shares > 0)
    expansions, compressions, sharpness = [], [], []
    steps = [layer.step * layer.alpha for layer in layers]
    for layer in layers:
        scales = layer.class_scales[present]
        expansions.append(layer.expansion_operator().conj() / layer.alpha)
        operators = layer.compression_operators()[present].conj()
        compressions.append(operators / scales[:, None, None, None])
        norms = np.ones(len(present)) if layer.balanced else scales
        sharpness.append(layer.temperature * norms)
    dtype = layers[0].bases.dtype
    return {
        "expansions": torch.from_numpy(np.stack(expansions).astype(dtype)),
        "compressions": torch.from_numpy(np.stack(compressions).astype(dtype)),
        "steps": torch.from_numpy(np.array(steps, dtype=real)),
        "sharpness": torch.from_numpy(np.stack(sharpness).astype(real)),
        "frequency_weights": torch.from_numpy(layers[0].frequency_weights.astype(real)),
    }


def layers_from_tensors(
    layers: Sequence[ReduNetLayer], expansions: Tensor, compressions: Tensor
) -> list[ReduNetLayer]:
    """Put operators that were trained back into layers.

    Parameters
    ----------
    layers : sequence of ReduNetLayer
        The network that training began with.
    expansions : Tensor of shape (n_layers, F, C, C)
        Contractions of the module, for F frequencies of C channels, on the CPU.
    compressions : Tensor of shape (n_layers, n_present, F, C, C)
        Those of its classes.

    Returns
    -------
    layers : list of ReduNetLayer
        Dense layers that do what the module does.
    """
    trained = []
    for layer, expansion, rows in zip(layers, expansions, compressions, strict=True):
        present = np.flatnonzero(layer.shares > 0)
        scales = layer.class_scales[present, None, None, None]
        shape = (layer.n_classes, *expansion.shape)
        operators = np.zeros(shape, dtype=layer.bases.dtype)
        operators[present] = rows.resolve_conj().numpy().conj() * scales
        trained.append(
            ReduNetLayer.from_operators(
                layer.alpha * expansion.resolve_conj().numpy().conj(),
                operators,
                layer.shares,
                step=layer.step,
                temperature=layer.temperature,
                alpha=layer.alpha,
                balanced=layer.balanced,
                frequency_weights=layer.frequency_weights,
            )
        )
    return trained


def spectral_rate_reduction(
    V: Tensor,
    labels: Tensor,
    *,
    distortion: float,
    frequency_weights: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    r"""Rate reduction of signals and all their shifts, per sample and shift.

    .. math:: \frac{1}{2T} \sum_t \Bigl[\log\det\bigl(I + \alpha \Sigma(t)\bigr)
       - \sum_k \gamma_k \log\det\bigl(I + \alpha_k \Sigma_k(t)\bigr)\Bigr]

    Parameters
    ----------
    V : Tensor of shape (n_samples, n_frequencies, n_channels)
        Spectra, see :func:`to_frequencies`.
    labels : Tensor of shape (n_samples,)
        Classes.
    distortion : float
        Allowed mean squared error per sample, ε².
    frequency_weights : Tensor of shape (n_frequencies,)
        Share of each frequency in all; they sum to one.
    weights : Tensor of shape (n_samples,), default=None
        How many times each row counts.

    Returns
    -------
    reduction : Tensor of shape ()
        In nats; can be differentiated. For one frequency the plain rate reduction.
    """
    if weights is None:
        weights = torch.ones(len(V), dtype=V.real.dtype, device=V.device)
    total = weights.sum()
    rows = weights.sqrt()[:, None, None] * V
    scale = V.shape[2] / distortion
    logdets = _logdets(rows, scale / total)
    for k in labels.unique():
        chosen = labels == k
        mass = weights[chosen].sum()
        if mass > 0:
            logdets = logdets - mass / total * _logdets(rows[chosen], scale / mass)
    return frequency_weights.to(logdets) @ logdets / 2


def _logdets(rows: Tensor, scale: Tensor) -> Tensor:
    spectra = rows.transpose(0, 1)  # (n_frequencies, n_samples, n_channels)
    wide = spectra.shape[1] < spectra.shape[2]
    gram = spectra @ spectra.mH if wide else spectra.mH @ spectra
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    lower = torch.linalg.cholesky(identity + scale * gram)
    return 2 * lower.diagonal(dim1=1, dim2=2).real.log().sum(1)


def _stratified(
    labels: Tensor, n_batches: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Deal the rows of each class to all batches in turn, in random order."""
    order = torch.randperm(len(labels), generator=generator)
    order = order[torch.argsort(labels[order].cpu(), stable=True)]
    for first in range(n_batches):
        yield order[first::n_batches]
