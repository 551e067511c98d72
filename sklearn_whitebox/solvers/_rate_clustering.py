"""Learn features and memberships together, by maximal rate reduction."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sklearn_whitebox.functional._sinkhorn import sinkhorn
from sklearn_whitebox.solvers._rate_reduction_loss import rate_and_expansion
from sklearn_whitebox.solvers._train import TrainResult, TrainSettings, train
from sklearn_whitebox.solvers._unrolled import shuffled_batches

Callback = Callable[[int, float], bool]


@dataclass(frozen=True)
class RateClusteringObjective:
    r"""Constants of :math:`-R(Z) + \gamma R_c(Z|\Pi) + \tfrac\lambda2\|\Pi\|_F^2`.

    Parameters
    ----------
    distortion : float, default=0.1
        Allowed mean squared error per sample, ε².
    temperature : float, default=0.12
        Temperature of the Sinkhorn projection of absolute cosines.
    compression_weight : float, default=1.0
        Weight γ of the rate of the groups.
    membership_penalty : float, default=0.05
        Weight λ of the squared memberships; positive spreads them.
    n_columns : int or None, default=24
        Groups of a batch that are drawn to estimate the mean over all; None takes all.
    """

    distortion: float = 0.1
    temperature: float = 0.12
    compression_weight: float = 1.0
    membership_penalty: float = 0.05
    n_columns: int | None = 24


class RateLoss(torch.autograd.Function):
    """Negative coding rate with its closed-form gradient."""

    @staticmethod
    def forward(ctx: Any, Z: Tensor, distortion: float) -> Tensor:  # type: ignore[override]
        """Return minus the rate, in nats.

        Parameters
        ----------
        ctx : object
            Autograd's context.
        Z : Tensor of shape (n_samples, n_features)
            Features.
        distortion : float
            Allowed mean squared error per sample, ε².

        Returns
        -------
        loss : Tensor of shape ()
            Minus the rate.
        """
        n_samples, n_features = Z.shape
        rate, gradient = rate_and_expansion(Z, n_features / (n_samples * distortion))
        ctx.save_for_backward(gradient)
        return -rate

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
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
            For `Z`; None for the distortion.
        """
        (gradient,) = ctx.saved_tensors
        return -cotangent * gradient, None


class MembershipRate(torch.autograd.Function):
    r"""Mean rate of overlapping groups, one for each column of the memberships.

    .. math:: \frac1{2q} \sum_{j} \log\det\Bigl(I + \tfrac{d}{\epsilon^2}
       Z^\top \operatorname{diag}(\pi_j) Z\Bigr)

    A group has the mass of one sample, since the columns of a doubly stochastic matrix
    sum to one. The sum over the q columns given is an unbiased estimate of that over
    all if they are drawn at random.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, Z: Tensor, memberships: Tensor, distortion: float
    ) -> Tensor:
        """Return the rate, in nats.

        Parameters
        ----------
        ctx : object
            Autograd's context.
        Z : Tensor of shape (n_samples, n_features)
            Features.
        memberships : Tensor of shape (n_samples, n_columns)
            Non-negative weights.
        distortion : float
            Allowed mean squared error per sample, ε².

        Returns
        -------
        rate : Tensor of shape ()
            Mean rate of the columns.
        """
        n_features, n_columns = Z.shape[1], memberships.shape[1]
        scale = n_features / distortion
        weighted = memberships.T[:, :, None] * Z  # (n_columns, n_samples, n_features)
        gram = weighted.mT @ Z
        identity = torch.eye(n_features, dtype=Z.dtype, device=Z.device)
        factor, failed = torch.linalg.cholesky_ex(identity + scale * gram)
        if bool(failed.any()):
            raise FloatingPointError("the features of the network are no longer finite")
        inverse = torch.cholesky_inverse(factor)
        shrunk = Z @ inverse  # (n_columns, n_samples, n_features)
        factors = scale / n_columns
        for_features = factors * torch.einsum("nq,qnd->nd", memberships, shrunk)
        for_memberships = factors / 2 * torch.einsum("qnd,nd->nq", shrunk, Z)
        ctx.save_for_backward(for_features, for_memberships)
        return factor.diagonal(dim1=1, dim2=2).log().sum() / n_columns

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        """Return the closed-form gradients times the cotangent.

        Parameters
        ----------
        ctx : object
            Autograd's context.
        cotangent : Tensor of shape ()
            Gradient of the objective with respect to the rate.

        Returns
        -------
        gradients : tuple
            For `Z` and the memberships; None for the distortion.
        """
        for_features, for_memberships = ctx.saved_tensors
        return cotangent * for_features, cotangent * for_memberships, None


def rate_clustering_loss(
    Z: Tensor,
    C: Tensor,
    objective: RateClusteringObjective,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Rate of overlapping groups less the rate of all, with memberships from `C`.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, unit rows.
    C : Tensor of shape (n_samples, n_features)
        Cluster embeddings, unit rows. The memberships are the Sinkhorn projection of
        the absolute cosines of the embeddings.
    objective : RateClusteringObjective
        Constants.
    generator : Generator, default=None
        Draws the columns, on the CPU; None takes all of them.

    Returns
    -------
    loss : Tensor of shape ()
        In nats, to be minimised.

    Notes
    -----
    Costs O(n² + q n d² + q d³ + n³/3) for q columns.

    References
    ----------
    .. [1] Ding, Tong, Chan, Dai, Ma, Haeffele (2023). Unsupervised manifold linearizing
       and clustering. ICCV.
    """
    plan = sinkhorn((C @ C.mT).abs(), temperature=objective.temperature)
    columns = plan
    n_columns = objective.n_columns
    if generator is not None and n_columns is not None and n_columns < len(Z):
        drawn = torch.randperm(len(Z), generator=generator)[:n_columns]
        columns = plan[:, drawn.to(Z.device)]
    rate: Tensor = MembershipRate.apply(Z, columns, objective.distortion)  # type: ignore[no-untyped-call]
    whole: Tensor = RateLoss.apply(Z, objective.distortion)  # type: ignore[no-untyped-call]
    penalty = objective.membership_penalty / 2 * plan.square().sum()
    return whole + objective.compression_weight * rate + penalty


def train_rate_clusters(
    module: nn.Module,
    X: Tensor,
    *,
    objective: RateClusteringObjective,
    settings: TrainSettings,
    generator: torch.Generator,
    warmup_epochs: int = 0,
    callback: Callback | None = None,
) -> TrainResult:
    """Train a network with two heads to find features and memberships.

    Parameters
    ----------
    module : Module
        Maps (n, n_inputs) to features and cluster embeddings, both (n, n_features) of
        unit rows, and has a method ``copy_features_to_clusters``. Trained in place.
    X : Tensor of shape (n_samples, n_inputs)
        Rows, on the device of the module.
    objective : RateClusteringObjective
        Constants of the loss.
    settings : TrainSettings
        Step sizes and batches of a pass.
    generator : Generator
        Source of the order of rows and of the columns, on the CPU.
    warmup_epochs : int, default=0
        Passes that only spread the features, by their rate; the cluster head then goes
        on from the feature head.
    callback : callable, default=None
        Called as ``callback(epoch, loss)``, warm-up included; True stops training.

    Returns
    -------
    result : TrainResult
        Weights, and the mean loss of every pass: minus the rate during the warm-up.
    """

    def spread(rows: Tensor) -> Tensor:
        Z, _ = module(X[rows.to(X.device)])
        loss: Tensor = RateLoss.apply(Z, objective.distortion)  # type: ignore[no-untyped-call]
        return loss

    def group(rows: Tensor) -> Tensor:
        Z, C = module(X[rows.to(X.device)])
        return rate_clustering_loss(Z, C, objective, generator=generator)

    def batches(_: int) -> Any:
        return shuffled_batches(len(X), settings.steps_per_epoch, generator)

    stopped = False

    def report(first: int, epoch: int, loss: float) -> bool:
        nonlocal stopped
        stopped = callback is not None and callback(first + epoch, loss)
        return stopped

    history: list[float] = []
    result = TrainResult()
    if warmup_epochs:
        warmup = replace(settings, max_epochs=warmup_epochs)
        told = functools.partial(report, 0)
        result = train(module, spread, batches, warmup, callback=told)
        history += result.loss_curve
        module.copy_features_to_clusters()  # type: ignore[operator]
    if not stopped and settings.max_epochs:
        told = functools.partial(report, warmup_epochs)
        result = train(module, group, batches, settings, callback=told)
        history += result.loss_curve
    result.loss_curve = history
    state = module.state_dict()
    result.weights = {name: w.detach().cpu().clone() for name, w in state.items()}
    return result


def ridge_directions(X: Tensor, n_components: int, *, ridge: float = 0.5) -> Tensor:
    r"""Linear map whose inner products are ridge self-expressive codes.

    With :math:`W = (X^\top X + \lambda I)^{-1/2}` the Gram matrix of the rows
    :math:`Wx_i` is :math:`X(X^\top X + \lambda I)^{-1}X^\top`, row i of which writes
    sample i by all samples at the least ridge objective. Between principal components
    (small singular values count less) and whitening (all count alike), λ chooses.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Rows.
    n_components : int
        Leading principal directions kept.
    ridge : float, default=0.5
        Penalty λ in units of the mean eigenvalue of :math:`X^\top X`.

    Returns
    -------
    directions : Tensor of shape (n_components, n_features)
        Rows in the order of falling energy, scaled to outputs of unit mean square
        norm; zero rows beyond the number of features. Signs are fixed by the largest
        entry. Rows of zeros give the identity.

    Notes
    -----
    Costs O(n d min(n, d)); computed in float64.
    """
    rows = X.double()
    _, spectrum, directions = torch.linalg.svd(_square_root(rows), full_matrices=False)
    energies = spectrum.square()
    level = ridge * rows.square().sum() / rows.shape[1]
    if not bool(level > 0):
        return torch.eye(n_components, rows.shape[1], dtype=X.dtype, device=X.device)
    kept = min(n_components, len(directions))
    directions = directions[:kept]
    strongest = directions.abs().argmax(1, keepdim=True)
    signs = directions.gather(1, strongest).sign()
    scaled = signs * directions / (energies[:kept, None] + level).sqrt()
    shares = energies[:kept] / (energies[:kept] + level)
    scaled = scaled / (shares.sum() / len(rows)).sqrt()
    out = torch.zeros((n_components, rows.shape[1]), dtype=X.dtype, device=X.device)
    out[:kept] = scaled.to(X.dtype)
    return out


def _square_root(rows: Tensor) -> Tensor:
    """Give the rows, or fewer with the same Gram matrix of their columns."""
    n_samples, n_features = rows.shape
    if n_samples <= n_features:
        return rows
    values, vectors = torch.linalg.eigh(rows.mT @ rows)
    return values.clamp_min(0).sqrt()[:, None] * vectors.mT
