"""Rate reduction of a batch and its exact gradient, a few matrix products each."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sklearn_whitebox.functional._linalg import accumulable
from sklearn_whitebox.solvers._rate_blocks import ClassBlocks, RateObjective

# Classes with fewer rows than this share of the dimension are coded on the side of
# their rows. Below the crossover of the operation counts, since the side of the
# features shares its Gram matrix with the rate of all rows.
_WIDE = 0.6
# Side up to which LAPACK beats splitting a matrix in two and multiplying blocks.
_LEAF = 48
# Beyond this condition a Gram matrix in float32 has lost the small eigenvalues.
_FINE = 1e5


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
    tall = Z.shape[0] >= Z.shape[1]
    gram = Z.mT @ Z if tall else Z @ Z.mT
    inverse, logdet = inverse_and_logdet(_plus_identity(gram * scale))
    gradient = scale * (Z @ inverse if tall else inverse @ Z)
    return logdet.to(dtype) / 2, gradient.to(dtype)


def inverse_and_logdet(M: Tensor) -> tuple[Tensor, Tensor]:
    """Invert positive definite matrices and give their log-determinants.

    Parameters
    ----------
    M : Tensor of shape (..., side, side)
        Symmetric positive definite.

    Returns
    -------
    inverse : Tensor of shape (..., side, side)
        Inverses.
    logdet : Tensor of shape (...)
        Logarithms of the determinants.

    Raises
    ------
    FloatingPointError
        If a matrix is not positive definite.

    Notes
    -----
    Large matrices are split by their Schur complement until LAPACK's Cholesky takes
    over: batches of block products run at the speed of the machine, while small
    triangular factors do not. Halves the time at 128 × 128.
    """
    side = M.shape[-1]
    if side <= _LEAF or side > 8 * _LEAF:
        factor, failed = torch.linalg.cholesky_ex(M)
        if bool(failed.any()):
            raise FloatingPointError("the features of the encoder are no longer finite")
        logdet = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return torch.cholesky_inverse(factor), logdet
    half = side // 2
    first, logdet = inverse_and_logdet(M[..., :half, :half])
    across = M[..., :half, half:]
    solved = first @ across
    rest, further = inverse_and_logdet(M[..., half:, half:] - across.mT @ solved)
    corner = solved @ rest
    inverse = torch.empty_like(M)
    inverse[..., half:, half:] = rest
    inverse[..., :half, half:] = -corner
    inverse[..., half:, :half] = -corner.mT
    inverse[..., :half, :half] = first + corner @ solved.mT
    return inverse, logdet + further


class RateReductionLoss(torch.autograd.Function):
    """Negative rate reduction whose backward pass is the closed-form gradient.

    One factor per class gives value and gradient together; differentiating through the
    factorisations would cost about twice as much.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, Z: Tensor, blocks: ClassBlocks, objective: RateObjective
    ) -> Tensor:
        """Return the loss, in nats.

        Parameters
        ----------
        ctx : object
            Autograd's context.
        Z : Tensor of shape (n_samples, n_features)
            Features, one class after the other.
        blocks : ClassBlocks
            Classes and weights of the rows.
        objective : RateObjective
            Constants.

        Returns
        -------
        loss : Tensor of shape ()
            What is minimised.
        """
        loss, gradient = rate_loss_and_gradient(Z, blocks, objective)
        ctx.save_for_backward(gradient)
        return loss

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
        return cotangent * gradient, None, None


def rate_loss(Z: Tensor, blocks: ClassBlocks, objective: RateObjective) -> Tensor:
    """Rate of the classes minus the rate of all rows, differentiable in the features.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one class after the other.
    blocks : ClassBlocks
        Classes and weights of the rows.
    objective : RateObjective
        Constants.

    Returns
    -------
    loss : Tensor of shape ()
        In nats.

    Raises
    ------
    FloatingPointError
        If the features are not finite.
    """
    loss: Tensor = RateReductionLoss.apply(Z, blocks, objective)  # type: ignore[no-untyped-call]
    return loss


def rate_loss_and_gradient(
    Z: Tensor, blocks: ClassBlocks, objective: RateObjective
) -> tuple[Tensor, Tensor]:
    r"""Evaluate the loss and its gradient in the features, in closed form.

    A row of class k has the gradient :math:`z(C_k - wE)`, with
    :math:`E = s\alpha(I + s\alpha S)^{-1}` from the scatter S of all rows and
    :math:`C_k = \gamma_k\alpha_k(I + \alpha_k S_k)^{-1}`, where
    :math:`\gamma_k\alpha_k` is the same for all classes.

    Parameters
    ----------
    Z : Tensor of shape (n_samples, n_features)
        Features, one class after the other.
    blocks : ClassBlocks
        Classes and weights of the rows.
    objective : RateObjective
        Constants.

    Returns
    -------
    loss : Tensor of shape ()
        In nats.
    gradient : Tensor of shape (n_samples, n_features)
        In the floating type of `Z`.

    Raises
    ------
    FloatingPointError
        If the features are not finite.

    Notes
    -----
    Costs 2 n d² multiply-adds and 1.5 d³ a class; classes of m < 0.6 d rows cost
    2 m² d + m³ instead, all of one size at once.
    """
    n_rows, n_features = Z.shape
    dtype = Z.dtype
    steep = n_features / objective.distortion * max(1.0, objective.expansion_scale)
    if dtype == torch.float32 and n_rows:
        largest = float(Z.square().sum(1).max())
        Z = Z.double() if steep * largest > _FINE else Z
    roots = None
    if blocks.weights is not None:
        roots = blocks.weights.to(Z).sqrt()[:, None]
    Y = Z if roots is None else roots * Z
    total = blocks.total_mass(n_rows)
    masses = blocks.class_masses(Y)
    per_row = objective.feature_penalty / total
    loss, gradient = _reduction(Y, blocks, masses, total, objective, per_row)
    if per_row:
        loss = loss + per_row / 2 * Y.square().sum()
    if roots is not None:
        gradient = gradient * roots
    return loss.to(dtype), gradient.to(dtype)


def _reduction(
    Y: Tensor,
    blocks: ClassBlocks,
    masses: Tensor,
    total: float,
    objective: RateObjective,
    per_row: float,
) -> tuple[Tensor, Tensor]:
    n_rows, n_features = Y.shape
    alpha = objective.expansion_scale * n_features / (total * objective.distortion)
    weight = objective.expansion_weight
    labelled = float(masses.sum())
    tall, wide = _sides(blocks, n_rows, n_features)
    if n_rows < n_features and blocks.moments is None and blocks.memberships is None:
        rate, gradient = rate_and_expansion(Y, alpha)
        gradient = per_row * Y - weight * gradient
        loss = -weight * rate
    else:
        loss, gradient = _tall_part(
            Y, blocks, tall, masses, alpha, objective, per_row, labelled
        )
    coefficient = n_features / (labelled * objective.distortion) if labelled else 0.0
    for classes in wide:
        scales = n_features / (masses[classes] * objective.distortion)
        rates, compression, rows = _wide_part(Y, blocks, classes, scales)
        loss = loss + masses[classes] @ rates / labelled
        gradient.index_add_(0, rows, compression, alpha=coefficient)
    return loss, gradient


def _sides(
    blocks: ClassBlocks, n_rows: int, n_features: int
) -> tuple[list[int], list[list[int]]]:
    """Choose the side of each class; wide ones in groups of similar size."""
    if blocks.moments is not None or blocks.memberships is not None:
        return list(range(len(blocks.counts))), []
    limit = n_rows if n_rows < n_features else _WIDE * n_features
    tall = [k for k, count in enumerate(blocks.counts) if count > limit]
    small = sorted(
        (count, k) for k, count in enumerate(blocks.counts) if 0 < count <= limit
    )
    wide: list[list[int]] = []
    least = 0
    for count, k in small:
        if not wide or count > 1.5 * least:
            wide.append([])
            least = count
        wide[-1].append(k)
    return tall, [sorted(classes) for classes in wide]


def _tall_part(
    Y: Tensor,
    blocks: ClassBlocks,
    tall: list[int],
    masses: Tensor,
    alpha: float,
    objective: RateObjective,
    per_row: float,
    labelled: float,
) -> tuple[Tensor, Tensor]:
    """Rate of all rows and of the tall classes, on the side of the features."""
    n_features = Y.shape[1]
    starts = blocks.starts
    spans = [(starts[k], starts[k + 1]) for k in tall]
    grams = Y.new_empty(len(tall) + 1, n_features, n_features)
    for gram, (a, b) in zip(grams, spans, strict=False):
        torch.mm(Y[a:b].mT, Y[a:b], out=gram)
    others = _gaps(spans, len(Y))
    torch.sum(grams[:-1], 0, out=grams[-1])
    for a, b in others:
        grams[-1].addmm_(Y[a:b].mT, Y[a:b])
    free = _FreeRows(Y[starts[-1] :], blocks)
    free.add_to(grams)
    scales = n_features / (masses[tall].clamp_min(1e-30) * objective.distortion)
    factors = torch.cat([scales, scales.new_tensor([alpha])])
    inverses, logdets = inverse_and_logdet(
        _plus_identity(grams * factors[:, None, None])
    )
    loss = -objective.expansion_weight / 2 * logdets[-1]
    if tall:
        loss = loss + masses[tall] @ logdets[:-1] / (2 * labelled)
    expansion = -objective.expansion_weight * alpha * inverses[-1]
    expansion.diagonal().add_(per_row)
    gradient = torch.empty_like(Y)
    for a, b in others:
        torch.mm(Y[a:b], expansion, out=gradient[a:b])
    if tall:
        coefficient = n_features / (labelled * objective.distortion)
        compression = inverses[:-1] * coefficient
        free.add_gradient(gradient[starts[-1] :], compression)
        compression += expansion
        for operator, (a, b) in zip(compression, spans, strict=True):
            torch.mm(Y[a:b], operator, out=gradient[a:b])
    return loss, gradient


class _FreeRows:
    """Rows of no class with shares in all, and features that are not in the batch."""

    def __init__(self, rows: Tensor, blocks: ClassBlocks) -> None:
        self.rows = rows
        self.moments = blocks.moments
        self.shares: Tensor | None = None
        if blocks.memberships is not None:
            # (n_classes, n_free, n_features)
            self.shares = blocks.memberships.to(rows).T[:, :, None] * rows

    def add_to(self, grams: Tensor) -> None:
        if self.moments is not None:
            moments = self.moments.to(grams)
            grams[:-1] += moments
            grams[-1] += moments.sum(0)
        if self.shares is not None:
            grams[:-1] += self.shares.mT @ self.rows

    def add_gradient(self, gradient: Tensor, compression: Tensor) -> None:
        if self.shares is not None:
            gradient += (self.shares @ compression).sum(0)


def _gaps(spans: list[tuple[int, int]], n_rows: int) -> list[tuple[int, int]]:
    """List the ranges of rows between the spans."""
    edges = [0, *(edge for span in spans for edge in span), n_rows]
    return [(a, b) for a, b in list(pairwise(edges))[::2] if b > a]


def _wide_part(
    Y: Tensor, blocks: ClassBlocks, classes: list[int], scales: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Rates and compressions of classes of few rows, on the side of the rows."""
    counts = torch.tensor([blocks.counts[k] for k in classes])
    starts = torch.tensor(blocks.starts)[classes]
    offsets = torch.arange(int(counts.max()))
    inside = offsets < counts[:, None]  # (n_classes, n_most)
    rows = starts[:, None] + offsets
    equal = bool(inside.all())
    rows = (rows if equal else rows.clamp_max(len(Y) - 1)).to(Y.device)
    padded = Y[rows]  # (n_classes, n_most, n_features)
    if not equal:
        # Zero rows change neither the determinant nor the products.
        padded = padded * inside.to(Y)[:, :, None]
    gram = (padded @ padded.mT) * scales[:, None, None]
    inverse, logdets = inverse_and_logdet(_plus_identity(gram))
    compression = inverse @ padded
    rows, compression = rows.flatten(), compression.flatten(0, 1)
    if not equal:
        kept = inside.flatten().to(Y.device)
        rows, compression = rows[kept], compression[kept]
    return logdets / 2, compression, rows


def _plus_identity(gram: Tensor) -> Tensor:
    """Add the identity in place."""
    gram.diagonal(dim1=-2, dim2=-1).add_(1)
    return gram
