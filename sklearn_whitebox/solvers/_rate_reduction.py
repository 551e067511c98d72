"""Train an encoder to maximise the rate reduction of its features."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sklearn_whitebox.functional._linalg import accumulable
from sklearn_whitebox.solvers._train import TrainResult, TrainSettings, train

# Rows whose activations the final moments of batch normalisation are taken from.
_SETTLING_ROWS = 16384


def rate_and_expansion(Z: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    r"""Half log-determinant of :math:`I + sZ^\top Z` and its gradient, at one factor.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features.
    scale : float
        Positive factor s.

    Returns
    -------
    rate : Tensor of shape ()
        In nats.
    gradient : Tensor of shape (n_samples, n_features)
        Gradient :math:`sZ(I + sZ^\top Z)^{-1}`.

    Raises
    ------
    FloatingPointError
        If `Z` is not finite.
    """
    dtype = Z.dtype
    Z = accumulable(Z, scale)
    n_samples, n_features = Z.shape
    tall = n_samples >= n_features
    gram = Z.mT @ Z if tall else Z @ Z.mT
    identity = torch.eye(gram.shape[0], dtype=Z.dtype, device=Z.device)
    factor, failed = torch.linalg.cholesky_ex(identity + scale * gram)
    if bool(failed):
        raise FloatingPointError("the features of the encoder are no longer finite")
    inverse = torch.cholesky_inverse(factor)
    gradient = scale * (Z @ inverse if tall else inverse @ Z)
    return factor.diagonal().log().sum().to(dtype), gradient.to(dtype)


class RateReductionLoss(torch.autograd.Function):
    """Negative rate reduction whose backward pass is the closed-form gradient.

    One Cholesky factor per class gives value and gradient together; differentiating
    through the factorisations would cost about twice as much.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, Z: Tensor, groups: list[Tensor], distortion: float
    ) -> Tensor:
        """Return minus the rate reduction, in nats.

        Parameters
        ----------
        ctx : object
            Autograd's context.
        Z : Tensor of shape (n_samples, n_features)
            Features, usually of unit norm.
        groups : list of Tensor
            Row numbers of each class present.
        distortion : float
            Allowed mean squared error per sample, ε².

        Returns
        -------
        loss : Tensor of shape ()
            Minus the rate reduction.
        """
        n_samples, n_features = Z.shape
        rate, gradient = rate_and_expansion(Z, n_features / (n_samples * distortion))
        for rows in groups:
            share = len(rows) / n_samples
            scale = n_features / (len(rows) * distortion)
            class_rate, compression = rate_and_expansion(Z[rows], scale)
            rate = rate - share * class_rate
            gradient.index_add_(0, rows, compression, alpha=-share)
        ctx.save_for_backward(gradient)
        return -rate

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """Return the closed-form gradient times the cotangent.

        Parameters
        ----------
        ctx : object
            Autograd's context.
        cotangent : Tensor of shape ()
            Gradient of the objective with respect to the loss.

        Returns
        -------
        gradients : tuple
            For `Z`; None for the other two arguments.
        """
        (gradient,) = ctx.saved_tensors
        return -cotangent * gradient, None, None


def stratified_batches(
    labels: Tensor, n_batches: int, generator: torch.Generator
) -> Iterator[Tensor]:
    """Deal all rows into batches that hold the classes in proportion.

    Each class is shuffled and spread evenly over the pass, so the share of a class in a
    batch is off by at most one row. A batch that lacks a class would bias the
    conditional rate.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,)
        Class numbers.
    n_batches : int
        Batches of one pass.
    generator : Generator
        Source of the order, on the CPU.

    Yields
    ------
    rows : Tensor
        Row numbers of a batch.
    """
    position = torch.empty(len(labels), dtype=torch.float64)
    for k in labels.unique():
        rows = torch.nonzero(labels == k).squeeze(1)
        order = torch.randperm(len(rows), generator=generator)
        offset = torch.rand(1, generator=generator, dtype=torch.float64)
        position[rows] = (order + offset) / len(rows)
    yield from torch.argsort(position).tensor_split(n_batches)


def maximize_rate_reduction(
    module: nn.Module,
    X: Tensor,
    labels: Tensor,
    *,
    distortion: float,
    settings: TrainSettings,
    generator: torch.Generator,
    held_out: tuple[Tensor, Tensor] | None = None,
    callback: Callable[[int, float], bool] | None = None,
) -> TrainResult:
    """Maximise the rate reduction of an encoder's features by mini-batch gradients.

    Parameters
    ----------
    module : Module
        Maps (n, n_inputs) to (n, n_features) of unit rows. Trained in place.
    X : Tensor of shape (n_samples, n_inputs)
        Training rows.
    labels : Tensor of shape (n_samples,)
        Class numbers, on the CPU.
    distortion : float
        Allowed mean squared error per sample, ε².
    settings : TrainSettings
        Step sizes, batches of a pass and stop rules.
    generator : Generator
        Source of the order of rows, on the CPU.
    held_out : tuple of (Tensor, Tensor), default=None
        Rows and labels for early stopping, rated in one piece because rates of
        different sample sizes cannot be compared.
    callback : callable, default=None
        Called as ``callback(epoch, loss)``; True stops.

    Returns
    -------
    result : TrainResult
        Weights and minus the rate reduction of every epoch.
    """

    def loss(rows: Tensor) -> Tensor:
        groups = class_groups(labels[rows], X.device)
        return _apply(module(X[rows.to(X.device)]), groups, distortion)

    def validate() -> float:
        assert held_out is not None
        rows, their_labels = held_out
        groups = class_groups(their_labels, X.device)
        return float(_apply(module(rows), groups, distortion))

    result = train(
        module,
        loss,
        lambda _: stratified_batches(labels, settings.steps_per_epoch, generator),
        settings,
        validate=validate if held_out is not None else None,
        callback=callback,
    )
    module.load_state_dict(result.weights)
    _settle_batch_norm(module, X)
    result.weights = {
        name: value.detach().cpu() for name, value in module.state_dict().items()
    }
    return result


def class_groups(labels: Tensor, device: torch.device) -> list[Tensor]:
    """List the row numbers of each class that occurs.

    Parameters
    ----------
    labels : Tensor of shape (n_samples,)
        Class numbers.
    device : device
        Where the row numbers are needed.

    Returns
    -------
    groups : list of Tensor
        Row numbers, one tensor per class.
    """
    return [torch.nonzero(labels == k).squeeze(1).to(device) for k in labels.unique()]


def _apply(Z: Tensor, groups: list[Tensor], distortion: float) -> Tensor:
    loss: Tensor = RateReductionLoss.apply(Z, groups, distortion)  # type: ignore[no-untyped-call]
    return loss


def _settle_batch_norm(module: nn.Module, X: Tensor) -> None:
    """Replace running moments by those of the training set at the final weights.

    The running averages lag behind the weights and mix batches of all ages.
    """
    # Evenly spaced rows bound the memory, and their moments serve as well.
    X = X[:: -(-len(X) // _SETTLING_ROWS)]
    norms = [
        m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    if not norms or len(X) < 2:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    module.train()
    with torch.no_grad():
        module(X)
    module.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def whitening_directions(X: np.ndarray, n_components: int) -> np.ndarray:
    """Rows that map centred data to uncorrelated features of unit variance.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Centred data.
    n_components : int
        Rows wanted.

    Returns
    -------
    W : ndarray of shape (n_components, n_features)
        Leading principal directions over their standard deviation, directions of
        negligible variance unscaled; zero rows beyond `n_features`.
    """
    scatter = X.T @ X / len(X)
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
