"""Doubly stochastic projection by Sinkhorn scaling, with its exact gradient."""

import math
from typing import Any

import torch
from torch import Tensor

from sklearn_whitebox.functional._arrays import accepts_arrays


@accepts_arrays
def sinkhorn(
    similarity: Tensor,
    *,
    temperature: float = 0.1,
    tol: float = 1e-3,
    max_iter: int = 1000,
) -> Tensor:
    r"""Doubly stochastic matrix nearest to a similarity, in the sense of entropy.

    Solves

    .. math:: \max_\Pi \ \langle \Pi, S \rangle - \tau \sum_{ij} \Pi_{ij} \log \Pi_{ij}

    over non-negative matrices whose rows and columns sum to one. Sample i shares the
    mass of one with the samples most similar to it, and no sample collects more than
    one: hubs and outliers weigh the same as all others.

    Parameters
    ----------
    similarity : Tensor of shape (..., n_samples, n_samples)
        Similarities S, or logits. Minus infinity forbids an entry; enough finite ones
        must be left for a doubly stochastic matrix.
    temperature : float, default=0.1
        Weight τ of the entropy, in the units of `similarity`. Large values give the
        uniform matrix, small ones the permutation of greatest similarity.
    tol : float, default=1e-3
        Largest error of a row or column sum at which scaling stops.
    max_iter : int, default=1000
        Most scalings of rows and columns; what is reached then is returned.

    Returns
    -------
    plan : Tensor of shape (..., n_samples, n_samples)
        Non-negative, rows and columns sum to one up to `tol`. Symmetric if
        `similarity` is.

    Raises
    ------
    ValueError
        If the matrix is not square, or `temperature` is not positive.

    Notes
    -----
    Works on logarithms, O(n²) an iteration. A symmetric matrix is scaled by the
    geometric mean of the old and the new scaling, which at least halves the error in
    each iteration where the plan is positive semi-definite, as it is for inner
    products; alternating scalings slow down as clusters separate. Differentiable once:
    the backward pass solves the linear equations of the fixed point, O(n³/3), in place
    of unrolling the iterations.

    References
    ----------
    .. [1] Cuturi (2013). Sinkhorn distances: lightspeed computation of optimal
       transport. NeurIPS.
    .. [2] Ding, Tong, Chan, Dai, Ma, Haeffele (2023). Unsupervised manifold linearizing
       and clustering. ICCV.

    Examples
    --------
    >>> import numpy as np
    >>> sinkhorn(np.zeros((2, 2)))
    array([[0.5, 0.5],
           [0.5, 0.5]])
    >>> sinkhorn(10 * np.eye(3)).round(6)
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 1.]])
    """
    if not temperature > 0 or not math.isfinite(temperature):
        raise ValueError(f"temperature={temperature} must be positive and finite.")
    _check_square(similarity)
    if not similarity.is_floating_point():
        similarity = similarity.to(torch.get_default_dtype())
    logits = similarity / temperature
    return _Plan.apply(logits, float(tol), int(max_iter))  # type: ignore[no-any-return, no-untyped-call]


def sinkhorn_potentials(
    logits: Tensor, *, tol: float = 1e-3, max_iter: int = 1000
) -> tuple[Tensor, Tensor]:
    r"""Find the logarithms of scalings that make :math:`e^{L}` doubly stochastic.

    Parameters
    ----------
    logits : Tensor of shape (..., n_samples, n_samples)
        Logarithms L of a non-negative matrix: similarities over their temperature.
    tol : float, default=1e-3
        Largest error of a row or column sum at which scaling stops.
    max_iter : int, default=1000
        Most scalings of rows and columns.

    Returns
    -------
    rows, columns : Tensor of shape (..., n_samples)
        Potentials a and b: :math:`\exp(L_{ij} + a_i + b_j)` has unit sums. They are the
        same vector where `logits` is symmetric.

    Raises
    ------
    ValueError
        If the matrix is not square.
    """
    _check_square(logits)
    if torch.equal(logits, logits.mT):
        potential = _symmetric_potential(logits, tol, max_iter)
        return potential, potential
    columns = logits.new_zeros(logits.shape[:-1])
    rows = -torch.logsumexp(logits, -1)
    for _ in range(max_iter):
        columns = -torch.logsumexp(logits + rows[..., :, None], -2)
        overshoot = torch.logsumexp(logits + columns[..., None, :], -1)
        # Columns are exact, so this is the whole error.
        if _largest_error(rows + overshoot) < tol:
            break
        rows = -overshoot
    return rows, columns


def _symmetric_potential(logits: Tensor, tol: float, max_iter: int) -> Tensor:
    # Half of the exact potential of a constant matrix.
    potential = -torch.logsumexp(logits, -1) / 2
    for _ in range(max_iter):
        overshoot = potential + torch.logsumexp(logits + potential[..., None, :], -1)
        potential = potential - overshoot / 2
        # A step at least halves the error of a semi-definite plan.
        if _largest_error(overshoot) < tol:
            break
    return potential


def _largest_error(log_sums: Tensor) -> float:
    return float(torch.expm1(log_sums).abs().max()) if log_sums.numel() else 0.0


def _check_square(matrix: Tensor) -> None:
    shape = tuple(getattr(matrix, "shape", ()))
    if len(shape) < 2 or shape[-1] != shape[-2]:
        raise ValueError(
            f"similarity must have shape (..., n_samples, n_samples), got {shape}."
        )


class _Plan(torch.autograd.Function):
    """Scaled matrix whose backward pass differentiates the fixed point."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tol: float, max_iter: int) -> Tensor:  # type: ignore[override]
        rows, columns = sinkhorn_potentials(logits, tol=tol, max_iter=max_iter)
        # In this order a symmetric matrix stays symmetric to the last bit.
        plan = torch.exp(logits + (rows[..., :, None] + columns[..., None, :]))
        ctx.save_for_backward(plan)
        return plan

    @staticmethod
    @torch.autograd.function.once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        r"""Pull a cotangent back through the scaling.

        With :math:`H = \Pi \circ G` the gradient is
        :math:`H - \Pi \circ (\alpha 1^\top + 1\beta^\top)`, where
        :math:`\alpha + \Pi\beta = H1` and :math:`\Pi^\top\alpha + \beta = H^\top 1`.
        """
        (plan,) = ctx.saved_tensors
        weighted = plan * cotangent
        alpha, beta = _solve_marginals(plan, weighted.sum(-1), weighted.sum(-2))
        shift = alpha[..., :, None] + beta[..., None, :]
        return weighted - plan * shift, None, None


def _solve_marginals(
    plan: Tensor, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    n = plan.shape[-1]
    identity = torch.eye(n, dtype=plan.dtype, device=plan.device)
    # alpha + 1 and beta - 1 solve the equations as well: the mean pins them down. Each
    # disconnected block leaves such a freedom, which the ridge pins down.
    ridge = 4 * torch.finfo(plan.dtype).eps * n
    schur = (1 + ridge) * identity - plan @ plan.mT + 1 / max(n, 1)
    target = rows - (plan @ columns[..., None])[..., 0]
    factor, failed = torch.linalg.cholesky_ex((schur + schur.mT) / 2)
    if bool(failed.any()):
        # Sums a little above one, where scaling stopped early.
        values, vectors = torch.linalg.eigh((schur + schur.mT) / 2)
        inverse = 1 / values.clamp_min(ridge)
        coordinates = vectors.mT @ target[..., None]
        alpha = (vectors @ (inverse[..., None] * coordinates))[..., 0]
    else:
        alpha = torch.cholesky_solve(target[..., None], factor)[..., 0]
    beta = columns - (plan.mT @ alpha[..., None])[..., 0]
    return alpha, beta
