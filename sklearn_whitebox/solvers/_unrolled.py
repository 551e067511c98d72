"""Train an encoder of sparse codes on the lasso objective, or on exact codes."""

from collections.abc import Iterator
from typing import Any

import torch
from scipy import sparse
from torch import Tensor, nn

from sklearn_whitebox.solvers._train import Callback, TrainResult, TrainSettings, train

# Rows whose validation loss is computed at a time.
_BLOCK = 4096


def shuffled_batches(
    n_samples: int, n_batches: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Deal all rows into batches at random.

    Parameters
    ----------
    n_samples : int
        Number of rows.
    n_batches : int
        Batches of one pass.
    generator : Generator
        Source of the order, on the CPU.

    Yields
    ------
    rows : Tensor
        Row numbers of a batch.
    """
    yield from torch.randperm(n_samples, generator=generator).tensor_split(n_batches)


def train_sparse_encoder(
    module: nn.Module,
    X: Tensor,
    dictionary: Tensor,
    *,
    alpha: float,
    settings: TrainSettings,
    generator: torch.Generator,
    targets: Tensor | sparse.csr_array | None = None,
    held_out: tuple[Tensor, Tensor | sparse.csr_array | None] | None = None,
    callback: Callback | None = None,
) -> TrainResult:
    r"""Train a network that maps samples to sparse codes.

    The loss is the mean over the samples of the lasso objective of their codes,
    :math:`\tfrac12\|x - zD\|^2 + \alpha\|z\|_1`, which needs no targets; with targets,
    the mean squared distance :math:`\|z - z^\star\|^2` from them.

    Parameters
    ----------
    module : Module
        Maps (n, n_features) to (n, n_components); trained in place.
    X : Tensor of shape (n_samples, n_features)
        Samples, on the device of the module.
    dictionary : Tensor of shape (n_components, n_features)
        Atoms D, one per row.
    alpha : float
        Weight of the ℓ1 norm.
    settings : TrainSettings
        Step sizes and stop rules.
    generator : Generator
        Source of the order of the rows, on the CPU.
    targets : Tensor or csr_array of shape (n_samples, n_components), default=None
        Codes to imitate, dense for a batch at a time if they are sparse; None minimises
        the objective itself.
    held_out : tuple, default=None
        Samples, and their targets or None, whose loss early stopping watches.
    callback : callable, default=None
        Called as ``callback(epoch, loss)``; True stops training.

    Returns
    -------
    result : TrainResult
        Weights and history.

    Raises
    ------
    FloatingPointError
        If the loss stops being finite.
    """

    def mean_loss(rows: Tensor, wanted: Tensor | None) -> Tensor:
        codes: Tensor = module(rows)
        if wanted is not None:
            return (codes - wanted).square().sum(-1).mean()
        error = (rows - codes @ dictionary).square().sum(-1)
        return (error / 2 + alpha * codes.abs().sum(-1)).mean()

    def loss(rows: Tensor) -> Tensor:
        return mean_loss(X[rows], _dense_rows(targets, rows, X.device))

    def validate() -> float:
        assert held_out is not None
        rows, wanted = held_out
        total = 0.0
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            part = mean_loss(rows[block], _dense_rows(wanted, block, X.device))
            total += float(part) * len(rows[block])
        return total / len(rows)

    return train(
        module,
        loss,
        lambda _: shuffled_batches(len(X), settings.steps_per_epoch, generator),
        settings,
        validate=None if held_out is None else validate,
        callback=callback,
    )


def _dense_rows(
    codes: Tensor | sparse.csr_array | None, rows: Any, device: torch.device
) -> Tensor | None:
    if codes is None or torch.is_tensor(codes):
        return None if codes is None else codes[rows]
    chosen = rows.numpy() if torch.is_tensor(rows) else rows
    return torch.from_numpy(codes[chosen].toarray()).to(device)
