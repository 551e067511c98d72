"""Train an encoder to maximise the rate reduction of its features."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_whitebox.solvers._rate_batches import (
    partly_labelled_batches,
    sorted_blocks,
    stratified_batches,
)
from sklearn_whitebox.solvers._rate_blocks import (
    ClassBlocks,
    RateObjective,
    class_sums,
)
from sklearn_whitebox.solvers._rate_reduction_loss import (
    inverse_and_logdet,
    rate_loss,
)
from sklearn_whitebox.solvers._train import TrainResult, TrainSettings, train

# Rows whose activations the final moments of batch normalisation are taken from.
_SETTLING_ROWS = 16384

# Share of the steps after which rows without label get memberships in the classes, and
# the temperature of these.
_FORMING = 0.2
_TEMPERATURE = 0.03

# Altered rows of a batch: (row numbers, their classes) -> inputs.
Alter = Callable[[Tensor, ClassBlocks], Tensor]

# Views of as many rows as a batch holds, and back: (rows) -> inputs, source-major.
Views = Callable[[Tensor], Tensor]


def scale_blocks(Z: Tensor, blocks: ClassBlocks) -> Tensor:
    """Scale every class to a mean squared norm of one, the Frobenius constraint.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one class after the other; rows without class are one more block.
    blocks : ClassBlocks
        Classes and weights of the rows.

    Returns
    -------
    Z : Tensor of shape (n_samples, n_features)
        Scaled features, differentiable.
    """
    counts = blocks.counts
    if len(Z) > blocks.starts[-1]:
        counts = (*counts, len(Z) - blocks.starts[-1])
    weights = torch.ones_like(Z[:, 0]) if blocks.weights is None else blocks.weights
    weights = weights.to(Z)
    squares = class_sums(weights * Z.square().sum(1), counts)
    masses = class_sums(weights, counts)
    scales = (masses / squares.clamp_min(1e-16)).sqrt()
    lengths = torch.tensor(counts, device=Z.device)
    return Z * torch.repeat_interleave(scales, lengths)[:, None]


def encode_rows(module: nn.Module, X: Tensor, weights: Tensor | None) -> Tensor:
    """Run an encoder, with the weights of the rows if it takes any.

    Parameters
    ----------
    module : Module
        Encoder; its attribute ``takes_weights``, where true, says that it has weighted
        batch statistics.
    X : Tensor of shape (n_samples, n_inputs)
        Rows.
    weights : Tensor of shape (n_samples,) or None
        Weights.

    Returns
    -------
    Z : Tensor of shape (n_samples, n_features)
        Features.
    """
    if weights is not None and getattr(module, "takes_weights", False):
        weighted: Tensor = module(X, weights)
        return weighted
    Z: Tensor = module(X)
    return Z


def soft_memberships(Z: Tensor, blocks: ClassBlocks, distortion: float) -> Tensor:
    r"""Memberships of the rows without class in the classes of a batch.

    A softmax of :math:`z^\top(I + \alpha_k Z_k^\top Z_k)^{-1}z`, which is near
    zero inside the subspace of class k and one at right angles to it.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features of unit norm, one class after the other.
    blocks : ClassBlocks
        Classes and weights of the rows.
    distortion : float
        Allowed mean squared error per sample, ε².

    Returns
    -------
    memberships : Tensor of shape (n_free, n_classes)
        Rows sum to one.
    """
    starts = blocks.starts
    Y = Z if blocks.weights is None else Z * blocks.weights.sqrt()[:, None]
    scales = Z.shape[1] / (blocks.class_masses(Z) * distortion)
    grams = torch.stack([Y[a:b].mT @ Y[a:b] for a, b in pairwise(starts)])
    grams = grams * scales[:, None, None]
    grams.diagonal(dim1=1, dim2=2).add_(1)
    inverses, _ = inverse_and_logdet(grams)
    free = Z[starts[-1] :]
    residuals = ((free @ inverses) * free).sum(2).T  # (n_free, n_classes)
    return torch.softmax(-residuals / _TEMPERATURE, 1)


def _include_free_rows(
    Z: Tensor, blocks: ClassBlocks, distortion: float, *, formed: bool
) -> tuple[Tensor, ClassBlocks]:
    """Share rows without class among the classes, or leave them out at first.

    Rows that count for the rate of all rows alone are pushed away from their classes.
    """
    labelled = blocks.starts[-1]
    if formed:
        memberships = soft_memberships(Z.detach(), blocks, distortion)
        return Z, replace(blocks, memberships=memberships)
    weights = None if blocks.weights is None else blocks.weights[:labelled]
    return Z[:labelled], replace(blocks, weights=weights)


def maximize_rate_reduction(
    module: nn.Module,
    X: Tensor,
    labels: Tensor,
    *,
    objective: RateObjective,
    settings: TrainSettings,
    generator: torch.Generator,
    weights: Tensor | None = None,
    scale_classes: bool = False,
    alter: Alter | None = None,
    held_out: tuple[Tensor, Tensor, Tensor | None] | None = None,
    callback: Callable[[int, float], bool] | None = None,
) -> TrainResult:
    """Maximise the rate reduction of an encoder's features by mini-batch gradients.

    Parameters
    ----------
    module : Module
        Maps (n, n_inputs) to (n, n_features). Trained in place.
    X : Tensor of shape (n_samples, n_inputs)
        Training rows.
    labels : Tensor of shape (n_samples,)
        Class numbers, on the CPU; -1 for rows without label. They are left out of the
        first fifth of the steps, and then shared softly among the classes.
    objective : RateObjective
        Constants of the objective.
    settings : TrainSettings
        Step sizes, batches of a pass and stop rules.
    generator : Generator
        Source of the order of rows, on the CPU.
    weights : Tensor of shape (n_samples,), default=None
        How many times each row counts, on the device of `X`.
    scale_classes : bool, default=False
        Scale the classes of every batch to a mean squared norm of one.
    alter : callable, default=None
        Maps the row numbers of a batch, one class after the other, and their classes
        to altered inputs. None takes the rows as they are.
    held_out : tuple of (Tensor, Tensor, Tensor or None), default=None
        Rows, labels and weights for early stopping, rated in one piece because rates of
        different sample sizes cannot be compared.
    callback : callable, default=None
        Called as ``callback(epoch, loss)``; True stops.

    Returns
    -------
    result : TrainResult
        Weights and minus the rate reduction of every epoch.
    """
    total = settings.max_epochs * settings.steps_per_epoch
    steps = 0

    def rate(inputs: Tensor, blocks: ClassBlocks) -> Tensor:
        Z = encode_rows(module, inputs, blocks.weights)
        if scale_classes:
            Z = scale_blocks(Z, blocks)
        if len(Z) > blocks.starts[-1]:
            formed = steps > _FORMING * total
            Z, blocks = _include_free_rows(
                Z, blocks, objective.distortion, formed=formed
            )
        return rate_loss(Z, blocks, objective)

    def step(rows: Tensor) -> Tensor:
        nonlocal steps
        steps += 1
        rows, blocks = sorted_blocks(rows, labels, weights)
        inputs = X[rows.to(X.device)] if alter is None else alter(rows, blocks)
        return rate(inputs, blocks)

    def validate() -> float:
        assert held_out is not None
        inputs, known, own = held_out
        rows, blocks = sorted_blocks(torch.arange(len(known)), known, own)
        return float(rate(inputs[rows.to(inputs.device)], blocks))

    deal = partly_labelled_batches if bool((labels < 0).any()) else stratified_batches
    result = train(
        module,
        step,
        lambda _: deal(labels, settings.steps_per_epoch, generator),
        settings,
        validate=validate if held_out is not None else None,
        callback=callback,
    )
    return _settled(module, result, X, weights)


def maximize_view_reduction(
    module: nn.Module,
    X: Tensor,
    views: Views,
    *,
    n_views: int,
    objective: RateObjective,
    settings: TrainSettings,
    generator: torch.Generator,
    weights: Tensor | None = None,
    scale_classes: bool = False,
    callback: Callable[[int, float], bool] | None = None,
) -> TrainResult:
    """Maximise the rate reduction of views, the views of a row being a class.

    Parameters
    ----------
    module : Module
        Maps (n, n_inputs) to (n, n_features). Trained in place.
    X : Tensor of shape (n_samples, n_inputs)
        Training rows.
    views : callable
        Maps m row numbers to (m * n_views, n_inputs), the views of a row side by side.
    n_views : int
        Views of a row, at least 2.
    objective : RateObjective
        Constants of the objective.
    settings : TrainSettings
        Step sizes, batches of a pass and stop rules.
    generator : Generator
        Source of the order of rows, on the CPU.
    weights : Tensor of shape (n_samples,), default=None
        How many times each row counts, on the device of `X`.
    scale_classes : bool, default=False
        Scale the views of every row to a mean squared norm of one.
    callback : callable, default=None
        Called as ``callback(epoch, loss)``; True stops.

    Returns
    -------
    result : TrainResult
        Weights and the loss of every epoch.
    """

    def loss(rows: Tensor) -> Tensor:
        own = None if weights is None else weights[rows].repeat_interleave(n_views)
        blocks = ClassBlocks((n_views,) * len(rows), weights=own)
        Z = encode_rows(module, views(rows), own)
        if scale_classes:
            Z = scale_blocks(Z, blocks)
        return rate_loss(Z, blocks, objective)

    same = torch.zeros(len(X), dtype=torch.int64)
    result = train(
        module,
        loss,
        lambda _: stratified_batches(same, settings.steps_per_epoch, generator),
        settings,
        callback=callback,
    )
    return _settled(module, result, X, weights)


def _settled(
    module: nn.Module, result: TrainResult, X: Tensor, weights: Tensor | None
) -> TrainResult:
    module.load_state_dict(result.weights)
    settle_batch_norm(module, X, weights)
    state = module.state_dict()
    weights_now = {name: value.detach().cpu() for name, value in state.items()}
    return replace(result, weights=weights_now)


def settle_batch_norm(module: nn.Module, X: Tensor, weights: Tensor | None) -> None:
    """Replace running moments by those of the training set at the final weights.

    The running averages lag behind the weights and mix batches of all ages.

    Parameters
    ----------
    module : Module
        Encoder, changed in place and put in evaluation mode.
    X : Tensor of shape (n_samples, n_inputs)
        Training rows; of very many, some evenly spaced ones are taken.
    weights : Tensor of shape (n_samples,) or None
        Their weights.
    """
    # Evenly spaced rows bound the memory, and their moments serve as well.
    every = -(-len(X) // _SETTLING_ROWS)
    X = X[::every]
    weights = None if weights is None else weights[::every]
    norms = [
        m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    if norms and len(X) >= 2:
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = 1.0  # the moments of this call alone
        module.train()
        with torch.no_grad():
            encode_rows(module, X, weights)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    module.eval()


def whitening_directions(
    X: np.ndarray, n_components: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Rows that map centred data to uncorrelated features of unit variance.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Centred data.
    n_components : int
        Rows wanted.
    weights : ndarray of shape (n_samples,), default=None
        How many times each row counts.

    Returns
    -------
    W : ndarray of shape (n_components, n_features)
        Leading principal directions over their standard deviation, directions of
        negligible variance unscaled; zero rows beyond `n_features`.

    Notes
    -----
    Takes O(n p min(n, p)) time for n samples of p features.
    """
    if len(X) < X.shape[1]:
        values, vectors = _wide_directions(X, n_components, weights)
    else:
        if weights is None:
            scatter = X.T @ X / len(X)
        else:
            shares = (weights / weights.sum()).astype(X.dtype)
            scatter = (X * shares[:, None]).T @ X
        values, vectors = np.linalg.eigh(scatter)
        values, vectors = values[::-1], vectors[:, ::-1]
    strongest = np.argmax(np.abs(vectors), axis=0)
    vectors = vectors * np.sign(vectors[strongest, np.arange(vectors.shape[1])])
    usable = values > 1e-6 * max(values[0], np.finfo(values.dtype).tiny)
    scale = np.where(usable, 1 / np.sqrt(np.where(usable, values, 1)), 1.0)
    W = (vectors * scale).T
    kept = np.zeros((n_components, X.shape[1]), dtype=X.dtype)
    kept[: len(W)] = W[:n_components]
    return kept


def _wide_directions(
    X: np.ndarray, n_components: int, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Principal variances and directions of fewer samples than features."""
    shares = np.full(len(X), 1 / len(X)) if weights is None else weights / weights.sum()
    Y = X * np.sqrt(shares)[:, None]
    values, combinations = np.linalg.eigh(Y @ Y.T)
    n_kept = min(n_components, X.shape[1])
    values, combinations = values[::-1][:n_kept], combinations[:, ::-1][:, :n_kept]
    usable = values > 1e-6 * max(values[0], np.finfo(values.dtype).tiny)
    directions = Y.T @ combinations[:, usable] / np.sqrt(values[usable])
    # Any others are as good: the samples do not vary along them.
    n_more = n_kept - directions.shape[1]
    more = np.random.default_rng(0).standard_normal((X.shape[1], n_more))
    orthonormal, triangle = np.linalg.qr(np.hstack([directions, more]))
    vectors = orthonormal * np.where(np.diag(triangle) < 0, -1, 1)
    variances = np.zeros(n_kept)
    variances[: directions.shape[1]] = values[usable]
    return variances, vectors
