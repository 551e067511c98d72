"""Train the operators of a ReduNet further, by gradient."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_whitebox.solvers._train import TrainResult, TrainSettings, train

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
