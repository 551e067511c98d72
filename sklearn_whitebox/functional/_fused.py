"""The two steps of a layer with derivatives of their own: fewer products and copies.

They give what :func:`subspace_self_attention` and :func:`sparsification_step` give.
Automatic differentiation treats the three roles of the coordinates in the attention,
and the two of the residual in the sparse step, as if they were different tensors.
"""

from typing import Any

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, ...]


def can_fuse(tokens: Tensor) -> bool:
    """Tell whether the steps of this file may be used where tokens are.

    Parameters
    ----------
    tokens : Tensor
        Tokens to be transformed.

    Returns
    -------
    fused : bool
        False inside ``torch.compile``, which fuses better, and under autocast, which
        does not reach derivatives written by hand.
    """
    return not (
        torch.compiler.is_compiling() or torch.is_autocast_enabled(tokens.device.type)
    )


def fused_attention(heads: Tensor, mask: Tensor | None = None) -> Tensor:
    """Compress tokens by attention in subspaces.

    Parameters
    ----------
    heads : Tensor of shape (n_samples, n_heads, n_tokens, head_dim)
        Coordinates of the tokens in each subspace.
    mask : Tensor of shape (n_samples, n_heads, n_tokens, n_tokens), default=None
        Multiplies the attention weights, for dropout; takes no gradient.

    Returns
    -------
    heads : Tensor of shape (n_samples, n_heads, n_tokens, head_dim)
        Compressed coordinates.

    Notes
    -----
    Keeps one array of n² numbers a head for the backward pass, which takes four
    products instead of five and adds nothing up.
    """
    attended: Tensor = _Attention.apply(heads, mask)
    return attended


def fused_sparsification(
    tokens: Tensor, dictionary: Tensor, step: Tensor, threshold: Tensor | float
) -> Tensor:
    r"""Sparsify tokens: :math:`\operatorname{relu}(Z + (Z - Z D^\top) E - b)`.

    Parameters
    ----------
    tokens : Tensor of shape (..., n_features)
        Tokens.
    dictionary : Tensor of shape (n_features, n_features)
        Dictionary D, one atom a column.
    step : Tensor of shape (n_features, n_features)
        Dictionary times the step size, E.
    threshold : float or Tensor of shape ()
        Step size times sparsity, b.

    Returns
    -------
    codes : Tensor of shape (..., n_features)
        Non-negative codes.
    """
    codes: Tensor = _Sparsification.apply(tokens, dictionary, step, threshold)
    return codes


def _plain_attention(heads: Tensor, mask: Tensor | None) -> Tensor:
    weights = ((heads * heads.shape[-1] ** -0.5) @ heads.mT).softmax(-1)
    return (weights if mask is None else weights * mask) @ heads


def _plain_sparsification(
    tokens: Tensor, dictionary: Tensor, step: Tensor, threshold: Tensor | float
) -> Tensor:
    residual = tokens - tokens @ dictionary.mT
    return (tokens + residual @ step - threshold).relu()


def _softmax_(scores: Tensor) -> Tensor:
    """Replace scores by their softmax over the last axis."""
    # One pass a reduction beats the kernel, which works on whole rows, on short ones.
    scores.sub_(scores.amax(-1, keepdim=True)).exp_()
    return scores.div_(scores.sum(-1, keepdim=True))


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, heads: Tensor, mask: Tensor | None) -> Tensor:
        W = heads.flatten(0, 1)  # (n_samples * n_heads, n_tokens, head_dim)
        scale = W.shape[-1] ** -0.5
        scores = torch.baddbmm(W.new_zeros(1), W, W.mT, beta=0, alpha=scale)
        weights = _softmax_(scores)
        ctx.save_for_backward(heads, weights, mask)
        if mask is not None:
            weights = weights * mask.flatten(0, 1)
        return torch.bmm(weights, W).view(heads.shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        (gradient,) = gradients
        heads, weights, mask = ctx.saved_tensors
        if torch.is_grad_enabled():
            output = _plain_attention(heads, mask)
            wanted = torch.autograd.grad(output, heads, gradient, create_graph=True)
            return wanted[0], None
        W, G = heads.flatten(0, 1), gradient.reshape(heads.shape).flatten(0, 1)
        scale = W.shape[-1] ** -0.5
        slope = torch.bmm(G, W.mT)
        read = weights
        if mask is not None:
            factor = mask.flatten(0, 1)
            slope.mul_(factor)
            read = weights * factor
        slope.mul_(weights)
        slope.sub_(weights * slope.sum(-1, keepdim=True))
        found = torch.bmm(read.mT, G)
        # Scores are symmetric in the tokens, so they hand back both ways.
        found.baddbmm_(slope, W, alpha=scale).baddbmm_(slope.mT, W, alpha=scale)
        return found.view(heads.shape), None


class _Sparsification(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        dictionary: Tensor,
        step: Tensor,
        threshold: Tensor | float,
    ) -> Tensor:
        Z = tokens.reshape(-1, tokens.shape[-1])
        residual = torch.addmm(Z, Z, dictionary.mT, alpha=-1)
        codes = torch.addmm(Z, residual, step).sub_(threshold).clamp_min_(0)
        codes = codes.view(tokens.shape)
        is_tensor = isinstance(threshold, Tensor)
        ctx.threshold = None if is_tensor else threshold
        kept = threshold if is_tensor else None
        ctx.save_for_backward(tokens, dictionary, step, residual, codes, kept)
        return codes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Gradients:
        (gradient,) = gradients
        tokens, dictionary, step, residual, codes, kept = ctx.saved_tensors
        if torch.is_grad_enabled():
            threshold = ctx.threshold if kept is None else kept
            return _differentiable_gradients(
                (tokens, dictionary, step, threshold), gradient
            )
        width = tokens.shape[-1]
        Z = tokens.reshape(-1, width)
        passed = torch.ops.aten.threshold_backward(gradient, codes, 0)
        passed = passed.reshape(-1, width)
        back = passed @ step.mT  # gradient of the residual
        wanted = ctx.needs_input_grad
        return (
            torch.add(passed, back)
            .addmm_(back, dictionary, alpha=-1)
            .view(tokens.shape),
            (back.mT @ Z).neg_() if wanted[1] else None,
            residual.mT @ passed if wanted[2] else None,
            -passed.sum() if wanted[3] else None,
        )


def _differentiable_gradients(inputs: tuple[Any, ...], gradient: Tensor) -> Gradients:
    """Give the gradients of the sparse step such that they have gradients again."""
    output = _plain_sparsification(*inputs)
    wanted = [isinstance(x, Tensor) and x.requires_grad for x in inputs]
    leaves = [x for x, is_wanted in zip(inputs, wanted, strict=True) if is_wanted]
    found = iter(torch.autograd.grad(output, leaves, gradient, create_graph=True))
    return tuple(next(found) if is_wanted else None for is_wanted in wanted)
